"""An MLP of any depth and width on plain features, or on pairs of numbers as one-hot vectors.

With float inputs (images, parities, teachers' inputs) the first layer is a product; with tokens (a, b, '=') it
reads the concatenation of two one-hot vectors, n_in = 2 p, as row a plus row p + b of its weights.

Without biases and with ReLU, f(c theta) = c^(depth + 1) f(theta) for c > 0: accuracy depends on the direction
of theta alone, and the norm is a temperature of the softmax. That is the control arm of every claim about norms.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from circuitgrok.apart import APART, PLAIN, Activation, Arithmetic
from circuitgrok.models.fused import Workspace
from circuitgrok.models.mlp import (
    LastHidden,
    check_pairs,
    check_scheme,
    dropped,
    gaussian,
    hidden,
    layer_shapes,
    pair_sums,
    scaled,
    unembedded,
    uniform,
)
from circuitgrok.tree import Params, Role, is_bias, role

if TYPE_CHECKING:
    from circuitgrok.models.dropout import Dropout

Features = Float[Tensor, "*given pair n_in"] | Int[Tensor, "*given pair 3"]


class DenseMLP(BaseModel):
    """Shape of an MLP on features or one-hot pairs; `init` draws one, `logits` runs it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    schemes: ClassVar[tuple[str, ...]] = ("torch", "fan_in", "he")
    called: ClassVar[str] = "a dense network"
    has_heads: ClassVar[bool] = False
    has_embedding: ClassVar[bool] = False
    reads_linearly: ClassVar[bool] = True

    kind: Literal["dense"] = "dense"
    n_in: int = Field(default=784, ge=1, le=2**20, description="features of an input; 2 p for pairs of numbers below p")
    n_out: int = Field(default=10, ge=1, le=2**20, description="outputs: classes")
    width: int = Field(default=200, ge=1, le=2**20, description="neurons per hidden layer")
    depth: int = Field(default=2, ge=1, le=1000, description="hidden layers")
    act: Literal["relu", "gelu", "tanh"] = Field(default="relu", description="activation function of the neurons")
    train_biases: tuple[Literal["mlp", "unembed"], ...] = Field(
        default=("mlp", "unembed"), description="roles whose biases train (else zero)"
    )

    @property
    def n_classes(self) -> int:
        """Number of outputs."""
        return self.n_out

    @property
    def activations_per_input(self) -> int:
        """Number of hidden activations of one input."""
        return self.depth * self.width

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, by name."""
        return layer_shapes(self.n_in, self.width, self.depth, self.n_out)

    def is_trainable(self, name: str) -> bool:
        """Whether the tensor trains: every weight, and the biases of the named roles."""
        return not is_bias(name) or role(name) in self.train_biases

    def init(
        self,
        generator: torch.Generator,
        scheme: str = "torch",
        alpha: float = 1.0,
        alpha_by_role: Mapping[Role, float] | None = None,
    ) -> Params:
        """Random weights and biases times alpha and the factor of each role.

        With n the number of a layer's inputs: `torch`, the default of PyTorch's linear layers: uniform in
        +-1 / sqrt(n), trained biases too (norm 11.71 for 784-200-200-10); `fan_in`: normal of standard
        deviation 1 / sqrt(n), and `he`: sqrt(2 / n), biases zero. A bias that does not train is zero always.

        Example:
            >>> model = DenseMLP(n_in=4, width=3, n_out=2, train_biases=())
            >>> one, two = (model.init(torch.Generator().manual_seed(0), alpha=alpha) for alpha in (1.0, 2.0))
            >>> torch.equal(two["unembed.W_U"], 2 * one["unembed.W_U"])
            True
        """
        check_scheme(self.schemes, scheme)
        shapes = self.shapes()
        if scheme == "torch":
            drawn = uniform(shapes, generator, lambda name: shapes[name][0], self.is_trainable)
            return scaled(drawn, alpha, alpha_by_role)
        gain = 2.0 if scheme == "he" else 1.0
        drawn = gaussian(shapes, generator, lambda name: math.sqrt(gain / shapes[name][0]))
        return scaled(drawn, alpha, alpha_by_role)

    def logits(self, params: Params, inputs: Features) -> Float[Tensor, "*stack pair c"]:
        """Outputs, one row per input; differentiable any number of times.

        Args:
            params: One network, or a stack of them (one more axis in front of every tensor).
            inputs: Features, taken in the precision of the network, or tokens (a, b, '=') of which a and b are
                read; shared by the stack or with its axis in front.

        Raises:
            ValueError: There are not `n_in` features; or for tokens: `n_in` is odd, or an input is not three
                integers with a and b in 0..n_in / 2 - 1.
        """
        return unembedded(params, self.last_hidden(params, inputs), PLAIN)

    def neuron_to_logit(self, params: Params) -> Float[Tensor, "*stack neuron c"]:
        """What the last hidden layer's neurons write to the outputs, W_U, in float64."""
        return params["unembed.W_U"].double()

    def last_hidden(self, params: Params, inputs: Features) -> LastHidden:
        """The last hidden layer, which W_U reads: one row per input, in the precision of the network.

        Raises:
            ValueError: As for `logits`.
        """
        if inputs.is_floating_point():
            if inputs.shape[-1] != self.n_in:
                raise ValueError(f"every input must have n_in = {self.n_in} features; got {inputs.shape[-1]}")
        elif self.n_in % 2:
            raise ValueError(f"to read pairs of integers n_in must be 2 p; got n_in = {self.n_in}: give float features")
        else:
            check_pairs(inputs, self.n_in // 2)
        return self._hidden(params, inputs, PLAIN.activations[self.act], PLAIN)

    def training_logits(self, params: Params, inputs: Features, workspace: Workspace) -> Float[Tensor, "stack pair c"]:
        """The outputs of a stack, for one backward pass, without checks; `workspace` is not needed."""
        return unembedded(params, self._hidden(params, inputs, APART.activations[self.act], APART), APART)

    def noisy_logits(self, params: Params, inputs: Features, dropout: "Dropout") -> Float[Tensor, "stack pair c"]:
        """The outputs of a stack with dropout on every hidden layer."""
        act = dropped(APART.activations[self.act], dropout)
        return unembedded(params, self._hidden(params, inputs, act, APART), APART)

    def _hidden(self, params: Params, inputs: Tensor, act: Activation, arithmetic: Arithmetic) -> LastHidden:
        W_in, b_in = params["blocks.0.mlp.W_in"], params["blocks.0.mlp.b_in"]
        if inputs.is_floating_point():
            x = inputs.to(W_in.dtype).expand(*W_in.shape[:-2], *inputs.shape[-2:])
            return hidden(params, self.depth, arithmetic.affine(x, W_in, b_in), act, arithmetic)
        p = self.n_in // 2
        first, second = W_in[..., :p, :] + b_in.unsqueeze(-2), W_in[..., p:, :]
        return hidden(params, self.depth, pair_sums(first, second, inputs, arithmetic), act, arithmetic)
