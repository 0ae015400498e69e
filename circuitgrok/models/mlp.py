"""Networks of dense layers: what they share, and the quadratic one.

`QuadraticMLP` here, `EmbeddingMLP` and `DenseMLP` in files of their own are frozen descriptions with the face
of `Transformer`: a network is a dict of tensors, `init` draws one, `logits` runs one or a stack of them. Hidden
layer l is `blocks.{l}.mlp.W_in` and `.b_in`, the last layer `unembed.W_U` and `.b_U`; a bias that does not
train is there and zero.

A pair (a, b) enters the first layer as two vectors side by side, or as their sum, so that its pre-activation
is a row that belongs to a plus a row that belongs to b: two tables of p rows replace a product of p^2 rows
(`pair_sums`). It is the same function as the product with one-hot vectors (tested).

Source: the quadratic network is that of Gromov 2023 (arXiv:2301.02679), without its biases.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from circuitgrok.apart import APART, PLAIN, Activation, Arithmetic
from circuitgrok.models.fused import Rows, Workspace
from circuitgrok.tree import Params, Role, is_bias, role

if TYPE_CHECKING:
    from circuitgrok.models.dropout import Dropout


class LastHidden(NamedTuple):
    """The neurons of the last hidden layer, before and after the nonlinearity; W_U alone reads them."""

    pre: Float[Tensor, "*stack pair neuron"]
    post: Float[Tensor, "*stack pair neuron"]


class PairMLP(BaseModel, ABC):
    """What MLPs on pairs of numbers below p have in common; each says what its network is by `_forward`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    reads_linearly: ClassVar[bool] = True

    p: int

    @property
    def n_classes(self) -> int:
        """Number of output classes: p."""
        return self.p

    def logits(self, params: Params, inputs: Int[Tensor, "*given pair 3"]) -> Float[Tensor, "*stack pair c"]:
        """Logits, one row per input; differentiable any number of times.

        Args:
            params: One network, or a stack of them (one more axis in front of every tensor).
            inputs: Tokens (a, b, '='), of which a and b are read; shared by the stack or `[stack, pair, 3]`.

        Raises:
            ValueError: An input is not three integers with a and b in 0..p-1.
        """
        check_pairs(inputs, self.p)
        return self._forward(params, inputs, PLAIN)

    def training_logits(
        self, params: Params, inputs: Int[Tensor, "*given pair 3"], workspace: Workspace
    ) -> Float[Tensor, "stack pair c"]:
        """The logits of a stack, for one backward pass, without checks; `workspace` is not needed."""
        return self._forward(params, inputs, APART)

    def neuron_to_logit(self, params: Params) -> Float[Tensor, "*stack neuron c"]:
        """What the last hidden layer's neurons write to the logits, W_U, in float64."""
        return params["unembed.W_U"].double()

    def last_hidden(self, params: Params, inputs: Int[Tensor, "*given pair 3"]) -> LastHidden:
        """The last hidden layer, which W_U reads: one row per input, in the precision of the network.

        Raises:
            ValueError: As for `logits`.
        """
        check_pairs(inputs, self.p)
        return self._hidden(params, inputs, PLAIN)

    @abstractmethod
    def _forward(self, params: Params, inputs: Tensor, arithmetic: Arithmetic) -> Tensor: ...

    @abstractmethod
    def _hidden(self, params: Params, inputs: Tensor, arithmetic: Arithmetic) -> LastHidden: ...


class QuadraticMLP(PairMLP):
    """Shape of W (U e_a + V e_b)^2, a network of one hidden layer without biases; homogeneous of degree 3.

    The rows of U and V are those of `blocks.0.mlp.W_in`: first the numbers as a, then as b.
    """

    schemes: ClassVar[tuple[str, ...]] = ("gromov", "fan_in", "torch")
    called: ClassVar[str] = "a quadratic MLP"
    has_heads: ClassVar[bool] = False
    has_embedding: ClassVar[bool] = False

    kind: Literal["quadratic_mlp"] = "quadratic_mlp"
    p: int = Field(default=97, ge=3, le=2**20, description="modulus: numbers read and classes told apart")
    n_neurons: int = Field(default=500, ge=1, le=2**20, description="hidden neurons, N in the paper")

    @property
    def activations_per_input(self) -> int:
        """Number of hidden activations of one input."""
        return self.n_neurons

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, by name."""
        return {"blocks.0.mlp.W_in": (2 * self.p, self.n_neurons), "unembed.W_U": (self.n_neurons, self.p)}

    def is_trainable(self, name: str) -> bool:
        """Whether the tensor trains: all do."""
        return name in self.shapes()

    def init(
        self,
        generator: torch.Generator,
        scheme: str = "gromov",
        alpha: float = 1.0,
        alpha_by_role: Mapping[Role, float] | None = None,
    ) -> Params:
        """Random weights, times alpha and the factor of each role.

        `gromov`: of standard deviation 0.5 / (2 n_neurons)^(1/3). Logits are cubic in the weights, and their sum has
        one term for each neuron: the exponent keeps the analytic solution (`analytic.gromov_network`) at the same
        multiple of the init for any width. `fan_in`: 1 / sqrt(rows). `torch`, as PyTorch's own layers: uniform in
        +-1 / sqrt(rows).

        Example:
            >>> QuadraticMLP(p=5, n_neurons=4).init(torch.Generator().manual_seed(0))["unembed.W_U"].shape
            torch.Size([4, 5])

        Source: the code of Doshi et al. 2023 (arXiv:2310.13061).
        """
        check_scheme(self.schemes, scheme)
        shapes = self.shapes()
        if scheme == "torch":
            return scaled(uniform(shapes, generator, lambda n: shapes[n][0], self.is_trainable), alpha, alpha_by_role)
        std = {"gromov": lambda _: 0.5 / (2 * self.n_neurons) ** (1 / 3), "fan_in": lambda n: shapes[n][0] ** -0.5}
        drawn = gaussian(shapes, generator, std[scheme])
        return scaled(drawn, alpha, alpha_by_role)

    def noisy_logits(
        self, params: Params, inputs: Int[Tensor, "*given pair 3"], dropout: "Dropout"
    ) -> Float[Tensor, "stack pair c"]:
        """The logits of a stack with dropout on the squares."""
        post = dropped(torch.square, dropout)(self._sums(params, inputs, APART))
        return APART.product(post, params["unembed.W_U"])

    def _forward(self, params: Params, inputs: Tensor, arithmetic: Arithmetic) -> Tensor:
        return arithmetic.product(self._hidden(params, inputs, arithmetic).post, params["unembed.W_U"])

    def _hidden(self, params: Params, inputs: Tensor, arithmetic: Arithmetic) -> LastHidden:
        pre = self._sums(params, inputs, arithmetic)
        return LastHidden(pre, torch.square(pre))

    def _sums(self, params: Params, inputs: Tensor, arithmetic: Arithmetic) -> Tensor:
        W_in = params["blocks.0.mlp.W_in"]
        return pair_sums(W_in[..., : self.p, :], W_in[..., self.p :, :], inputs, arithmetic)


# --- shapes and draws -------------------------------------------------------------------------------


def layer_shapes(n_in: int, width: int, depth: int, n_out: int) -> dict[str, tuple[int, ...]]:
    """Shapes of `depth` hidden layers of equal width and of the last layer, each with its bias.

    >>> layer_shapes(n_in=4, width=3, depth=1, n_out=2)
    {'blocks.0.mlp.W_in': (4, 3), 'blocks.0.mlp.b_in': (3,), 'unembed.W_U': (3, 2), 'unembed.b_U': (2,)}
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (rows, columns) in enumerate(pairwise((n_in, *[width] * depth))):
        shapes |= {f"blocks.{layer}.mlp.W_in": (rows, columns), f"blocks.{layer}.mlp.b_in": (columns,)}
    return shapes | {"unembed.W_U": (width, n_out), "unembed.b_U": (n_out,)}


def check_scheme(known: tuple[str, ...], scheme: str) -> None:
    """Refuses a base init that is not one of the model's."""
    if scheme not in known:
        raise ValueError(f"scheme must be one of {', '.join(known)} for this model; got {scheme!r}")


def gaussian(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator, std: Callable[[str], float]) -> Params:
    """Normal weights of the standard deviation of their name, drawn in float64 in this order; biases zero."""
    return {
        name: torch.zeros(shape, dtype=torch.float64)
        if is_bias(name)
        else torch.randn(shape, generator=generator, dtype=torch.float64) * std(name)
        for name, shape in shapes.items()
    }


def uniform(
    shapes: Mapping[str, tuple[int, ...]],
    generator: torch.Generator,
    n_inputs: Callable[[str], int],
    trains: Callable[[str], bool],
) -> Params:
    """Weights and biases as PyTorch's linear layers draw them, uniform in +-1 / sqrt(inputs), in this order.

    A bias follows its weights. What does not train is drawn and left at zero, so that weights do not depend on it.
    """
    params, bound = {}, 0.0
    for name, shape in shapes.items():
        bound = bound if is_bias(name) else 1 / math.sqrt(n_inputs(name))
        params[name] = (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1) * (bound * trains(name))
    return params


def scaled(params: Params, alpha: float, alpha_by_role: Mapping[Role, float] | None) -> Params:
    """Every tensor, biases too, times `alpha` and times the factor of its role."""
    factors = alpha_by_role or {}
    return {name: value * (alpha * factors.get(role(name), 1.0)) for name, value in params.items()}


# --- layers of one network or of a stack ------------------------------------------------------------


def check_pairs(inputs: Tensor, p: int) -> None:
    """Refuses inputs that are not (a, b, '=') with a and b in 0..p-1."""
    if inputs.is_floating_point() or inputs.shape[-1] != 3:
        raise ValueError(f"every input must be three integers (a, b, '='); got {inputs.dtype} {list(inputs.shape)}")
    numbers = inputs[..., :2]
    if not bool(((numbers >= 0) & (numbers < p)).all()):
        found = f"{numbers.min().item()}..{numbers.max().item()}"
        raise ValueError(f"the first two tokens of every input must be in 0..{p - 1}; got {found}")


def pair_sums(
    first: Float[Tensor, "*stack p width"],
    second: Float[Tensor, "*stack p width"],
    inputs: Int[Tensor, "*given pair 3"],
    arithmetic: Arithmetic = PLAIN,
) -> Float[Tensor, "*stack pair width"]:
    """Row a of the first table plus row b of the second, for each input (a, b, '=').

    >>> pair_sums(torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]]), torch.tensor([[1, 0, 2]]))
    tensor([[12.]])
    """
    of_a, of_b = (
        Rows(table, token, arithmetic.ones(token, table)).spread()
        for table, token in zip((first, second), inputs[..., :2].unbind(-1), strict=True)
    )
    return of_a + of_b


def hidden(
    params: Params, depth: int, pre: Float[Tensor, "*stack pair width"], act: Activation, arithmetic: Arithmetic
) -> LastHidden:
    """The last of `depth` hidden layers, from the first one's pre-activations."""
    for layer in range(1, depth):
        pre = arithmetic.affine(act(pre), params[f"blocks.{layer}.mlp.W_in"], params[f"blocks.{layer}.mlp.b_in"])
    return LastHidden(pre, act(pre))


def unembedded(params: Params, last: LastHidden, arithmetic: Arithmetic) -> Float[Tensor, "*stack pair c"]:
    """The logits that W_U reads off the last hidden layer."""
    return arithmetic.affine(last.post, params["unembed.W_U"], params["unembed.b_U"])


def dropped(act: Activation, dropout: "Dropout") -> Activation:
    """The activation with dropout behind it."""
    return lambda pre: dropout(dropout.mlp, act(pre))
