"""Dropout in a stack of transformers: masks that are each run's own, and the forward pass through them.

A dropped number is 0, and the others are divided by the share that is kept, so that every number keeps its mean
("inverted" dropout): what depends linearly on a site has the mean of the plain network, what comes after a
nonlinearity has not. There are three sites:

    embed       the residual stream before the first block, token plus position, at each position
    attention   the attention pattern, after it is mixed with the ones that `attention_rate` asks for
    mlp         the neurons' activations, after the activation function

Every pair has masks of its own, at every head, position and block. Tables with one row per token are left behind
where the embedding is dropped: from there on each pair has a row. Only the last position answers, so that the last
block is that of the last position alone and nothing is drawn for the others.

Source: Srivastava et al. 2014 (JMLR 15) for dropout; the three sites are those of GPT-2, Radford et al. 2019.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.apart import APART, product
from circuitgrok.device import Beforehand, numbers
from circuitgrok.models.forward import Block, embedded, layer_norm
from circuitgrok.models.fused import Rows, weighted_values
from circuitgrok.models.transformer import Transformer
from circuitgrok.tree import Params


class Dropout(NamedTuple):
    """The rates of a stack, and where each of its runs draws from.

    Attributes:
        embed: Share of the embedded inputs that is dropped, in [0, 1).
        attention: Share of the attention pattern.
        mlp: Share of the neurons' activations.
        generators: One for each run; forward passes draw from it one after the other.
    """

    embed: float
    attention: float
    mlp: float
    generators: list[torch.Generator]

    def mask(self, rate: float, like: Float[Tensor, "run ..."]) -> Float[Tensor, "run ..."]:
        """What the numbers are multiplied by: 0 with probability `rate`, else 1 / (1 - rate).

        Each run's is drawn from its own generator, so that it is the same in any stack. At rate 0 it is 1, and
        nothing is drawn.

        Args:
            rate: Share that is dropped, in [0, 1).
            like: Numbers of the runs that there are generators for.

        Raises:
            ValueError: `rate` is out of range, or there is not one generator for each run.

        Example:
            >>> drop = Dropout(0.0, 0.0, 0.5, [torch.Generator().manual_seed(i) for i in range(2)])
            >>> drop.mask(drop.mlp, torch.zeros(2, 5))
            tensor([[0., 2., 0., 0., 0.],
                    [2., 0., 0., 2., 0.]])
        """
        if not 0 <= rate < 1:
            raise ValueError(f"a dropout rate must be 0 or more and below 1; got {rate}")
        if not isinstance(self.generators, Beforehand) and len(self.generators) != len(like):
            raise ValueError(f"each run needs a generator; got {len(self.generators)} for {len(like)} runs")
        if rate == 0:
            return torch.ones_like(like)
        return numbers(partial(_mask, rate, like.shape, like.dtype), self.generators, like.device)

    def __call__(self, rate: float, x: Float[Tensor, "run ..."]) -> Float[Tensor, "run ..."]:
        """The numbers times their mask; at rate 0 the numbers themselves."""
        return x * self.mask(rate, x) if rate else x


def _mask(rate: float, shape: torch.Size, dtype: torch.dtype, generators: Sequence[torch.Generator]) -> Tensor:
    """On the CPU, as the generators; filled in order."""
    mask = torch.empty(shape, dtype=dtype)
    for row, generator in zip(mask, generators, strict=True):
        row.uniform_(generator=generator)
    return mask.ge_(rate).div_(1 - rate)


def noisy_logits(
    model: Transformer, params: Params, inputs: Int[Tensor, "*given pair 3"], dropout: Dropout
) -> Float[Tensor, "run pair c"]:
    """Logits of a stack at the last position, with dropout; in a stack they may be differentiated once.

    Masks are drawn in this order: the embedding of each position; then block by block and position by position the
    pattern over what the position sees, from the first on, and the neurons.

    Args:
        model: The networks' shape.
        params: A stack of networks, `[run ...]`.
        inputs: Tokens (a, b, '='), shared by the stack or `[run, pair, 3]`; not checked.
        dropout: Rates and generators; the generators move on.

    Raises:
        ValueError: A rate is out of range, or there is not one generator for each run.

    Example:
        >>> model = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16)
        >>> params = {k: v[None] for k, v in model.init(torch.Generator().manual_seed(0)).items()}
        >>> inputs = torch.tensor([[1, 2, 5], [4, 0, 5]])
        >>> def drawn(seed, mlp):
        ...     drop = Dropout(0.0, 0.0, mlp, [torch.Generator().manual_seed(seed)])
        ...     return noisy_logits(model, params, inputs, drop)
        >>> torch.equal(drawn(0, mlp=0.1), drawn(0, mlp=0.1)), torch.equal(drawn(0, mlp=0.1), drawn(1, mlp=0.1))
        (True, False)
        >>> torch.allclose(drawn(0, mlp=0.0), model.logits(params, inputs))
        True
    """
    streams = embedded(model, params, inputs, APART)
    if dropout.embed:
        every = (len(params["embed.W_E"]), inputs.shape[-2], model.d_model)
        streams = [Rows(dropout(dropout.embed, stream.spread().expand(every)), None) for stream in streams]
    for layer in range(model.n_layers):
        block = Block(model, params, layer, APART)
        keys = [block.keys_values(stream) for stream in streams]
        seen = [keys[: i + 1] if model.causal else keys for i in range(len(streams))]
        asking = list(zip(streams, seen, strict=True))[-1 if layer == model.n_layers - 1 else 0 :]
        streams = [_after(block, stream, of, dropout) for stream, of in asking]
    final = streams[-1].spread()
    if model.normalization == "LN":
        final = layer_norm(final, params["ln_final.w"], params["ln_final.b"])
    return product(final, params["unembed.W_U"]) + params["unembed.b_U"].unsqueeze(-2)


def _after(block: Block, stream: Rows, keys: list[tuple[Rows, Rows]], dropout: Dropout) -> Rows:
    """A position's stream after the block, a row for each pair; one that sees itself alone may drop that too."""
    pattern = [dropout(dropout.attention, weight) for weight in block.attention(stream, keys)]
    x = stream.spread() + block.through_O(weighted_values(pattern, [value for _, value in keys]))
    post = dropout(dropout.mlp, block.neurons(x))
    return Rows(x + product(post, block["mlp.W_out"]) + block.bias("mlp.b_out"), None)
