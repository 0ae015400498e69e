"""An MLP that reads a pair of numbers through an embedding: E_a and E_b, side by side or summed.

The smallest network that groks modular addition with an embedding to look at. With the embeddings side by
side, W_in has one half for a and one for b; summed, both see the same W_in. In either case the product of the
embedding with its part of W_in is a table of p rows (`mlp.pair_sums`).

Source: the network of the delay law, Truong 2026 (arXiv:2606.13753): p 59, E 59 x 128, GELU, 256 neurons.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from circuitgrok.apart import APART, Arithmetic
from circuitgrok.models.fused import Rows
from circuitgrok.models.mlp import (
    LastHidden,
    PairMLP,
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


class EmbeddingMLP(PairMLP):
    """Shape of an MLP on the embeddings of a and b; `init` draws one, `logits` runs it.

    Without biases and with ReLU it is homogeneous of degree depth + 2.
    """

    schemes: ClassVar[tuple[str, ...]] = ("fan_in", "torch", "pizza")
    called: ClassVar[str] = "an MLP on embeddings"
    has_heads: ClassVar[bool] = False
    has_embedding: ClassVar[bool] = True

    kind: Literal["embedding_mlp"] = "embedding_mlp"
    p: int = Field(default=59, ge=3, le=2**20, description="modulus: numbers read and classes told apart")
    d_embed: int = Field(default=128, ge=1, le=2**20, description="width of an embedding")
    d_hidden: int = Field(default=256, ge=1, le=2**20, description="neurons per hidden layer")
    depth: int = Field(default=1, ge=1, le=1000, description="hidden layers")
    act: Literal["relu", "gelu"] = Field(default="gelu", description="activation function of the neurons")
    combine: Literal["concat", "sum"] = Field(default="concat", description="embeddings side by side, or their sum")
    own_tokens: bool = Field(default=False, description="b has an embedding of its own, behind that of a")
    train_biases: tuple[Literal["mlp", "unembed"], ...] = Field(
        default=(), description="roles whose biases train (else zero)"
    )

    @property
    def activations_per_input(self) -> int:
        """Number of hidden activations of one input."""
        return self.depth * self.d_hidden

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, by name."""
        n_in = self.d_embed * (1 + (self.combine == "concat"))
        embedding = {"embed.W_E": (self.p * (1 + self.own_tokens), self.d_embed)}
        return embedding | layer_shapes(n_in, self.d_hidden, self.depth, self.p)

    def is_trainable(self, name: str) -> bool:
        """Whether the tensor trains: every weight, and the biases of the named roles."""
        return not is_bias(name) or role(name) in self.train_biases

    def init(
        self,
        generator: torch.Generator,
        scheme: str = "fan_in",
        alpha: float = 1.0,
        alpha_by_role: Mapping[Role, float] | None = None,
    ) -> Params:
        """Random weights times alpha and the factor of each role.

        `fan_in`: standard deviation 1 / sqrt(rows), and 1 / sqrt(d_embed) for the embedding, so that every
        embedding has length 1 in expectation (norm 19.34 at the default shape); biases zero.
        `torch`, as PyTorch's own layers: embeddings of standard deviation 1, layers uniform in +-1 / sqrt(inputs),
        trained biases too, with a layer of its own for each number that is read (d_embed inputs; norm 87.99).
        `pizza`, as the MLPs of Zhong et al. 2023: embeddings of standard deviation 1 / sqrt(d_hidden / 2), hidden
        layers as PyTorch's own, with all that they read as inputs, and W_U of standard deviation 1 / sqrt(d_hidden).

        Example:
            >>> params = EmbeddingMLP().init(torch.Generator().manual_seed(0))
            >>> round(sum(value.square().sum().item() for value in params.values()) ** 0.5)
            19
        """
        check_scheme(self.schemes, scheme)
        shapes = self.shapes()
        if scheme == "pizza":
            tables = {name: shapes.pop(name) for name in ("embed.W_E", "unembed.W_U")}
            stds = {"embed.W_E": math.sqrt(2 / self.d_hidden), "unembed.W_U": 1 / math.sqrt(self.d_hidden)}
            drawn = gaussian(tables, generator, stds.__getitem__)
            drawn |= uniform(shapes, generator, lambda name: shapes[name][0], self.is_trainable)
            return scaled({name: drawn[name] for name in self.shapes()}, alpha, alpha_by_role)
        if scheme == "torch":
            embedding = gaussian({"embed.W_E": shapes.pop("embed.W_E")}, generator, lambda name: 1.0)
            n_inputs = {name: shape[0] for name, shape in shapes.items()} | {"blocks.0.mlp.W_in": self.d_embed}
            layers = uniform(shapes, generator, n_inputs.__getitem__, self.is_trainable)
            return scaled(embedding | layers, alpha, alpha_by_role)
        fan_in = {name: shape[-1] if role(name) == "embed" else shape[0] for name, shape in shapes.items()}
        drawn = gaussian(shapes, generator, lambda name: 1 / math.sqrt(fan_in[name]))
        return scaled(drawn, alpha, alpha_by_role)

    def noisy_logits(
        self, params: Params, inputs: Int[Tensor, "*given pair 3"], dropout: "Dropout"
    ) -> Float[Tensor, "stack pair c"]:
        """The logits of a stack with dropout on each embedded number and on every hidden layer."""
        rows = zip(self._embeddings(params), inputs[..., :2].unbind(-1), strict=True)
        embedded = torch.stack([Rows(table, token, APART.ones(token, table)).spread() for table, token in rows], dim=-2)
        embedded = dropout(dropout.embed, embedded)
        x = embedded.flatten(-2) if self.combine == "concat" else embedded.sum(-2)
        pre = APART.affine(x, params["blocks.0.mlp.W_in"], params["blocks.0.mlp.b_in"])
        act = dropped(APART.activations[self.act], dropout)
        return unembedded(params, hidden(params, self.depth, pre, act, APART), APART)

    def _embeddings(self, params: Params) -> tuple[Tensor, Tensor]:
        """Those of a and of b; the same rows, unless b has its own."""
        W_E = params["embed.W_E"]
        return W_E[..., : self.p, :], W_E[..., -self.p :, :]

    def _forward(self, params: Params, inputs: Tensor, arithmetic: Arithmetic) -> Tensor:
        return unembedded(params, self._hidden(params, inputs, arithmetic), arithmetic)

    def _hidden(self, params: Params, inputs: Tensor, arithmetic: Arithmetic) -> LastHidden:
        of_a, of_b = self._embeddings(params)
        W_in = params["blocks.0.mlp.W_in"]  # the part of a and that of b are the same rows where the two are summed
        first = arithmetic.affine(of_a, W_in[..., : self.d_embed, :], params["blocks.0.mlp.b_in"])
        second = arithmetic.product(of_b, W_in[..., -self.d_embed :, :])
        pre = pair_sums(first, second, inputs, arithmetic)
        return hidden(params, self.depth, pre, arithmetic.activations[self.act], arithmetic)
