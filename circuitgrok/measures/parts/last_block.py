"""The last block of a network: what every part of that block holds at the last position, for all pairs.

The answer is read at the last position, where two parts of the residual stream meet,

    logits = read(skip + mlp),

`mlp` what the neurons and b_out write, `skip` what passes by them. An ablation replaces something in the block and
evaluates what stands behind it; everything before stays as it is, and so it is computed once, here. Without LayerNorm
reading is linear: both parts are held as logits then, with W_out W_U multiplied out. With it they are held as
residual streams.

In a network of one layer, queries, keys and values depend on one token each: they are computed for every token and
spread over the pairs. Of the last block only the last position is evaluated, a fifth of the work of the plain forward.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.apart import ACTIVATIONS
from circuitgrok.measures.spectra.fourier import sum_table
from circuitgrok.measures.spectra.tuning import NeuronFrequencies, NeuronSpectrum, frequencies_of, neuron_spectrum
from circuitgrok.models.forward import layer_norm
from circuitgrok.models.fused import Rows
from circuitgrok.models.transformer import Transformer
from circuitgrok.tree import Params

Table = dict[str, Any]  # named tuples of tensors, by name


@dataclass(frozen=True)
class LastBlock:
    """The last block of one network at the last position; `block["attn.W_O"]` is a tensor of that block.

    Attributes:
        model: The network's shape.
        params: Its weights.
        resid_pre: The residual stream before the block.
        values: What each position offers to each head.
        pattern: The attention that the last position pays.
        z: Each head's mix of the values.
        resid_mid: The residual stream between attention and MLP.
        pre: The neurons before the nonlinearity.
        post: The neurons after it.
        W_write: What each neuron writes: W_out, or without LayerNorm W_out W_U over the p numbers.
        b_write: The same of b_out.
        skip: What passes by the neurons, in the space of `W_write`.
        mlp: What the neurons and b_out write, in that space.
    """

    model: Transformer
    params: Params
    resid_pre: Float[Tensor, "pair d_model"]
    values: Float[Tensor, "pair pos head d_head"]
    pattern: Float[Tensor, "pair pos head"]
    z: Float[Tensor, "pair head d_head"]
    resid_mid: Float[Tensor, "pair d_model"]
    pre: Float[Tensor, "pair neuron"]
    post: Float[Tensor, "pair neuron"]
    W_write: Float[Tensor, "neuron out"]
    b_write: Float[Tensor, " out"]
    skip: Float[Tensor, "pair out"]
    mlp: Float[Tensor, "pair out"]

    def __getitem__(self, name: str) -> Tensor:
        return self.params[f"blocks.{self.model.n_layers - 1}.{name}"]

    @cached_property
    def mlp_sums(self) -> Float[Tensor, "p out"]:
        """Mean of `mlp` over the pairs of equal sum, in float64, if the pairs are all p^2 in the order a * p + b."""
        return sum_table(self.mlp)

    @cached_property
    def spectrum(self) -> NeuronSpectrum:
        """Energy of each neuron by frequency and kind of wave, over all p^2 pairs."""
        return neuron_spectrum(self.post)

    @cached_property
    def tuned(self) -> NeuronFrequencies:
        """What each neuron is tuned to, over all p^2 pairs."""
        return frequencies_of(self.spectrum)

    def after_attention(
        self, change: Float[Tensor, "pair k"], W: Float[Tensor, "k d_model"]
    ) -> Float[Tensor, "pair c"]:
        """Logits if the attention output changes by `change @ W`; few rows of W, such as one head's W_O, cost less."""
        if self.model.normalization == "LN":
            skip = torch.addmm(self.resid_mid, change, W)
            pre = _reads(self.model, self.params, skip)
        else:
            skip = torch.addmm(self.skip, change, W @ self.params["unembed.W_U"][:, : self.model.p])
            pre = torch.addmm(self.pre, change, W @ self["mlp.W_in"])
        return self.read(skip + torch.addmm(self.b_write, ACTIVATIONS[self.model.act](pre), self.W_write))

    def read(self, written: Float[Tensor, "pair out"]) -> Float[Tensor, "pair c"]:
        """Logits of the p numbers, in float64, from the sum of what was written."""
        p, params = self.model.p, self.params
        if self.model.normalization == "LN":
            written = layer_norm(written, params["ln_final.w"], params["ln_final.b"]) @ params["unembed.W_U"][:, :p]
        return written + params["unembed.b_U"][:p].double()


def last_block(params: Params, model: Transformer, inputs: Int[Tensor, "pair 3"]) -> LastBlock:
    """The last block of one network, at the last position.

    Args:
        params: One network; index a stack first.
        model: Its shape.
        inputs: Tokens (a, b, '='), one row per pair.

    Returns:
        In the dtype of the weights; `block.read(block.skip + block.mlp)` are the network's logits.

    Example:
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16)
        >>> params, task = model.init(torch.Generator().manual_seed(0)), modular_addition(p=5)
        >>> block = last_block(params, model, task.inputs)
        >>> block.post.shape
        torch.Size([25, 16])
        >>> logits = block.read(block.skip + block.mlp)
        >>> torch.allclose(logits, model.logits(params, task.inputs)[:, :5])
        True
    """
    at, p, W_U = f"blocks.{model.n_layers - 1}.", model.p, params["unembed.W_U"]
    streams = _streams(params, model, inputs)
    pattern, values = _attention(params, model, streams)
    resid_pre = streams[-1].spread()
    z = mixed_values(pattern, values)
    resid_mid = resid_pre + z.flatten(-2) @ params[at + "attn.W_O"].flatten(0, 1) + params[at + "attn.b_O"]
    pre = _reads(model, params, resid_mid)
    post = ACTIVATIONS[model.act](pre)
    W_write, b_write, skip = params[at + "mlp.W_out"], params[at + "mlp.b_out"], resid_mid
    if model.normalization == "none":
        W_write, b_write, skip = W_write @ W_U[:, :p], b_write @ W_U[:, :p], skip @ W_U[:, :p]
    mlp = torch.addmm(b_write, post, W_write)
    return LastBlock(model, params, resid_pre, values, pattern, z, resid_mid, pre, post, W_write, b_write, skip, mlp)


def stacked(tables: Sequence[Table]) -> Table:
    """Equal tables of named tuples as one, with a new axis in front of every tensor."""
    return {
        name: type(first)(*(torch.stack(field) for field in zip(*(table[name] for table in tables), strict=True)))
        for name, first in tables[0].items()
    }


def mixed_values(
    pattern: Float[Tensor, "#pair pos head"], values: Float[Tensor, "pair pos head d_head"]
) -> Float[Tensor, "pair head d_head"]:
    """Each head's mix of the values under an attention pattern; a pattern of one row is that of all pairs."""
    return (pattern.unsqueeze(-1) * values).sum(1)


def _streams(params: Params, model: Transformer, inputs: Tensor) -> list[Rows]:
    """The residual stream before the last block, at every position."""
    tokens = model.tokens(inputs)
    if model.n_layers == 1:
        return [Rows(params["embed.W_E"] + place, tokens[:, i]) for i, place in enumerate(params["pos_embed.W_pos"])]
    earlier = model.model_copy(update={"n_layers": model.n_layers - 1})
    resid = earlier.activations(params, tokens)[f"blocks.{earlier.n_layers - 1}.hook_resid_post"]
    return [Rows(stream, None) for stream in resid.unbind(1)]


def _attention(params: Params, model: Transformer, streams: list[Rows]) -> tuple[Tensor, Tensor]:
    """The last position's pattern `[pair pos head]`, and every position's values `[pair pos head d_head]`."""
    at = f"blocks.{model.n_layers - 1}."

    def heads(stream: Rows, letter: str) -> Tensor:
        weights = params[at + f"attn.W_{letter}"].transpose(0, 1).flatten(-2)
        bias = params[at + f"attn.b_{letter}"].flatten()
        return stream.map(lambda x: x @ weights + bias).spread().unflatten(-1, (model.n_heads, model.d_head))

    normed = [stream.map(lambda x: _normed(model, params, at + "ln1", x)) for stream in streams]
    query = heads(normed[-1], "Q") / math.sqrt(model.d_head)
    scores = torch.stack([(query * heads(stream, "K")).sum(-1) for stream in normed], dim=1)
    pattern = model.attention_rate * scores.softmax(1) + (1 - model.attention_rate)
    return pattern, torch.stack([heads(stream, "V") for stream in normed], dim=1)


def _reads(model: Transformer, params: Params, resid_mid: Tensor) -> Tensor:
    """The neurons before the nonlinearity."""
    at = f"blocks.{model.n_layers - 1}."
    normed = _normed(model, params, at + "ln2", resid_mid)
    return torch.addmm(params[at + "mlp.b_in"], normed, params[at + "mlp.W_in"])


def _normed(model: Transformer, params: Params, which: str, x: Tensor) -> Tensor:
    return layer_norm(x, params[which + ".w"], params[which + ".b"]) if model.normalization == "LN" else x
