"""The modular-addition transformer: its shape, its named base inits, and its faces.

`Transformer` is a frozen description; a network is a dict of tensors under TransformerLens' classic
names (`Params`). `init` draws one, `logits` runs one or a stack of them (`circuitgrok.models.forward`),
`activations` lays one open at every hook (`circuitgrok.models.activations`). All tensors are always
there: a bias that does not train is zero. What trains is chosen by role, never by a piece of a name.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from circuitgrok.models.fused import PLAIN, Workspace, fused
from circuitgrok.tree import ROLES, Params, Role, is_bias, role

if TYPE_CHECKING:
    from circuitgrok.models.dropout import Dropout

Scheme = Literal["nanda", "hooked_transformer", "bridge", "pizza", "torch"]
BiasRole = Literal["attention", "mlp", "unembed"]
LN_EPS = 1e-5


class Transformer(BaseModel):
    """Shape of a transformer for modular arithmetic; `init` draws one, `logits` runs it.

    Example:
        >>> model = Transformer(p=7, d_model=8, d_head=4, n_heads=2, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> model.logits(params, torch.tensor([[2, 3, 7]])).shape  # one row of p + 1 classes for each pair
        torch.Size([1, 8])
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schemes: ClassVar[tuple[str, ...]] = get_args(Scheme)
    called: ClassVar[str] = "a transformer"
    has_heads: ClassVar[bool] = True
    has_embedding: ClassVar[bool] = True

    kind: Literal["transformer"] = "transformer"
    p: int = Field(default=113, ge=3, le=2**20, description="modulus; there are p + 1 tokens, the last is '='")
    n_layers: int = Field(default=1, ge=1, le=8, description="number of blocks")
    n_heads: int = Field(default=4, ge=1, le=2**20, description="attention heads per block")
    d_model: int = Field(default=128, ge=1, le=2**20, description="width of the residual stream")
    d_head: int = Field(default=32, ge=1, le=2**20, description="width of a head")
    d_mlp: int = Field(default=512, ge=1, le=2**20, description="neurons per block")
    act: Literal["relu", "gelu"] = Field(default="relu", description="activation function of the neurons")
    normalization: Literal["none", "LN"] = Field(default="none", description="LayerNorm, for controls")
    d_vocab_out: Literal["p", "p+1"] = Field(default="p+1", description="classes: without or with '='")
    equals: bool = Field(default=True, description="read (a, b, '=') and answer at '='; off: read (a, b), answer at b")
    own_tokens: bool = Field(default=False, description="b has an embedding of its own, behind those of a")
    causal: bool = Field(default=True, description="a position sees itself and those before it; off: all")
    attention_rate: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="attention is this times the softmax, plus what is missing to 1 at every position alike",
    )
    train_biases: tuple[BiasRole, ...] = Field(default=("mlp",), description="roles whose biases train (else zero)")
    allow_narrow_heads: bool = Field(default=False, description="let n_heads * d_head differ from d_model")

    @model_validator(mode="after")
    def _heads_fill_the_stream(self) -> "Transformer":
        if self.n_heads * self.d_head != self.d_model and not self.allow_narrow_heads:
            even = self.d_model % self.n_heads == 0
            fix = f"set d_head to {self.d_model // self.n_heads} or" if even else "change one of them or"
            raise ValueError(
                f"n_heads * d_head must be d_model; got {self.n_heads} * {self.d_head} = "
                f"{self.n_heads * self.d_head} and d_model {self.d_model}: {fix} set allow_narrow_heads"
            )
        return self

    @property
    def n_classes(self) -> int:
        """Number of output classes as an integer: p or p + 1."""
        return self.p + (self.d_vocab_out == "p+1")

    @property
    def n_tokens(self) -> int:
        """Number of tokens: the numbers, once or for each side, and '=' as the last where it is read."""
        return self.p * (1 + self.own_tokens) + self.equals

    @property
    def n_positions(self) -> int:
        """Length of the sequence: 3, or 2 without '='."""
        return 2 + self.equals

    @property
    def attention_sum(self) -> float:
        """What the attention weights of a position that sees all come to: 1, unless `attention_rate` is below 1."""
        return self.attention_rate + (1 - self.attention_rate) * self.n_positions

    @property
    def activations_per_input(self) -> int:
        """Numbers that one forward pass keeps for each pair, about: what bounds the memory of a stack."""
        return self.d_mlp * self.n_layers

    def tokens(self, inputs: Int[Tensor, "*given pair 3"]) -> Int[Tensor, "*given pair pos"]:
        """A task's (a, b, '=') as the tokens that the network reads.

        Example:
            >>> Transformer(p=5, own_tokens=True).tokens(torch.tensor([[1, 2, 5]]))
            tensor([[ 1,  7, 10]])
        """
        shift = torch.tensor([0, self.p, self.p], device=inputs.device) * self.own_tokens
        return (inputs + shift)[..., : self.n_positions]

    @property
    def reads_linearly(self) -> bool:
        """Whether what the neurons write is added to the logits; LayerNorm behind them would not let it."""
        return self.normalization == "none"

    def neuron_to_logit(self, params: Params) -> Float[Tensor, "*stack neuron c"]:
        """What the last block's neurons write to the logits, W_L = W_out W_U, in float64; LayerNorm left out."""
        W_out = params[f"blocks.{self.n_layers - 1}.mlp.W_out"]
        return W_out.double() @ params["unembed.W_U"].double()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, by name, in TransformerLens' order."""
        h, d, e, m = self.n_heads, self.d_model, self.d_head, self.d_mlp
        shapes: dict[str, tuple[int, ...]] = {"embed.W_E": (self.n_tokens, d), "pos_embed.W_pos": (self.n_positions, d)}
        for layer in range(self.n_layers):
            attn, mlp = f"blocks.{layer}.attn.", f"blocks.{layer}.mlp."
            shapes |= {attn + f"W_{x}": (h, d, e) for x in "QKV"} | {attn + "W_O": (h, e, d)}
            shapes |= {attn + f"b_{x}": (h, e) for x in "QKV"} | {attn + "b_O": (d,)}
            shapes |= {mlp + "W_in": (d, m), mlp + "b_in": (m,), mlp + "W_out": (m, d), mlp + "b_out": (d,)}
            if self.normalization == "LN":
                shapes |= {f"blocks.{layer}.ln{i}.{x}": (d,) for i in (1, 2) for x in "wb"}
        if self.normalization == "LN":
            shapes |= {"ln_final.w": (d,), "ln_final.b": (d,)}
        return shapes | {"unembed.W_U": (d, self.n_classes), "unembed.b_U": (self.n_classes,)}

    def is_trainable(self, name: str) -> bool:
        """Whether the tensor trains: every weight, LayerNorm's own, and the biases of the named roles."""
        kind = role(name)
        return not is_bias(name) or kind == "normalization" or kind in self.train_biases

    def init(
        self,
        generator: torch.Generator,
        scheme: Scheme = "nanda",
        alpha: float = 1.0,
        alpha_by_role: Mapping[Role, float] | None = None,
    ) -> Params:
        """Random weights: a named base init times `alpha` (and times the factor of each role).

        Drawn in float64, in the order of `shapes`; biases are zero, LayerNorm starts as the identity and is not
        scaled. See `base_std` for the schemes; `torch` draws as PyTorch's own layers do: embeddings of standard
        deviation 1, matrices and the biases that train uniform in +-1 / sqrt(inputs).

        Example:
            >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
            >>> one = model.init(torch.Generator().manual_seed(0))
            >>> two = model.init(torch.Generator().manual_seed(0), alpha=2.0)
            >>> torch.equal(two["embed.W_E"], 2 * one["embed.W_E"])
            True
        """
        factors: dict[Role, float] = {r: alpha for r in ROLES}
        for named, factor in (alpha_by_role or {}).items():
            factors[named] *= factor
        params = {}
        for name, shape in self.shapes().items():
            if scheme == "torch" and role(name) not in ("embed", "normalization"):
                draw = torch.rand(shape, generator=generator, dtype=torch.float64)
                bound = self.is_trainable(name) / math.sqrt(self._inputs_of(name))
                params[name] = (2 * draw - 1) * (bound * factors[role(name)])
            elif is_bias(name):
                params[name] = torch.zeros(shape, dtype=torch.float64)
            elif role(name) == "normalization":
                params[name] = torch.ones(shape, dtype=torch.float64)
            else:
                draw = torch.randn(shape, generator=generator, dtype=torch.float64)
                params[name] = draw * (base_std(self, scheme, name) * factors[role(name)])
        return params

    def _inputs_of(self, name: str) -> int:
        """How many numbers the layer of a matrix, or of a bias, reads."""
        read = {"O": self.n_heads * self.d_head, "out": self.d_mlp}
        return read.get(name.rsplit("_", 1)[-1], self.d_model)

    def logits(self, params: Params, inputs: Int[Tensor, "*given pair 3"]) -> Float[Tensor, "*stack pair c"]:
        """Logits at the last position, one row per input; differentiable any number of times.

        Args:
            params: One network, or a stack of them (one more axis in front of every tensor).
            inputs: Tokens (a, b, '='), shared by the stack or `[stack, pair, 3]`.

        Raises:
            ValueError: An input is not (a, b, '=') with a, b < p and '=' = p, also for a network that does not read
                '='; for other sequences use `activations`.
        """
        from circuitgrok.models.forward import last_position_logits

        if not bool((inputs[..., 2] == self.p).all()):
            raise ValueError(f"the last token of every input must be '=' ({self.p})")
        if not bool(((inputs[..., :2] >= 0) & (inputs[..., :2] < self.p)).all()):
            raise ValueError(f"the first two tokens of every input must be in 0..{self.p - 1}")
        return last_position_logits(self, params, inputs, PLAIN)

    def training_logits(
        self, params: Params, inputs: Int[Tensor, "*given pair 3"], workspace: Workspace
    ) -> Float[Tensor, "stack pair c"]:
        """The logits of a stack, for one backward pass; no checks.

        A single layer without LayerNorm is differentiated by hand, in buffers kept in `workspace`, which
        the next call overwrites: take first derivatives, and take them before it.
        """
        from circuitgrok.models.forward import last_position_logits

        return last_position_logits(self, params, inputs, fused(workspace, self.attention_sum))

    def noisy_logits(
        self, params: Params, inputs: Int[Tensor, "*given pair 3"], dropout: "Dropout"
    ) -> Float[Tensor, "stack pair c"]:
        """The logits of a stack with dropout of embedded inputs, attention patterns and neurons; no checks."""
        from circuitgrok.models.dropout import noisy_logits

        return noisy_logits(self, params, inputs, dropout)

    def activations(self, params: Params, inputs: Int[Tensor, "pair pos"]) -> dict[str, Tensor]:
        """Every activation of one network under TransformerLens' hook names, at all positions; inputs are `tokens`."""
        from circuitgrok.models.activations import activations

        return activations(self, params, inputs)


def base_std(model: Transformer, scheme: Scheme, name: str) -> float:
    """Standard deviation of a weight under a base init, at alpha = 1.

    `nanda`: 1/sqrt(d_model), but W_U 1/sqrt(d_vocab) with d_vocab = p + 1 (the paper's code; norm 42.2 at
    p = 113, d_model = 128). `hooked_transformer`: 0.8/sqrt(d_model) everywhere (TransformerLens up to 3.x;
    33.6). `bridge`: the same with W_O and W_out divided by sqrt(2 n_layers) (TransformerLens 4.3; 30.4).
    `pizza`: as `nanda`, but W_in 1/sqrt(d_mlp) and W_U 1/sqrt(n_tokens) (the code of Zhong et al. 2023; 37.4).
    `torch`: 1, of the embeddings, which alone are normal there.
    """
    tensor = name.rsplit(".", 1)[-1]
    if scheme == "torch":
        return 1.0
    if scheme == "pizza":
        return 1 / math.sqrt({"W_U": model.n_tokens, "W_in": model.d_mlp}.get(tensor, model.d_model))
    if scheme == "nanda":
        return 1 / math.sqrt(model.p + 1 if tensor == "W_U" else model.d_model)
    std = 0.8 / math.sqrt(model.d_model)
    if scheme == "bridge" and tensor in ("W_O", "W_out"):
        std /= math.sqrt(2 * model.n_layers)
    return std
