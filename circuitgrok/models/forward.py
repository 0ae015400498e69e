"""The exact last-position forward: only what distinct inputs need is computed.

Inputs are (a, b, '=') and attention is causal, so the residual stream of position 0 takes only p
distinct values, that of position 1 (before attention) another p, and that of '=' one. Only the last
position's logits are needed. Keys, values and scores therefore live in tables with one row per token
and are spread over the pairs afterwards; in a one-layer network without LayerNorm the maps W_O W_in,
W_out W_U and W_O W_U are multiplied out once. It is the same function as the plain forward
(`circuitgrok.models.activations`), which is kept as specification and test.

Without '=', or with further layers that are not causal, there are fewer tables and more pairs.

Everything takes one network, or a stack of networks with one more axis in front of every tensor.
"""

import math

import torch
from torch import Tensor

from circuitgrok.apart import PLAIN, Arithmetic
from circuitgrok.models.fused import Kernels, Rows, weighted_values
from circuitgrok.models.transformer import LN_EPS, Transformer
from circuitgrok.tree import Params


def last_position_logits(model: Transformer, params: Params, inputs: Tensor, kernels: Kernels) -> Tensor:
    """Logits `[*stack, pair, c]` of the last position; `kernels` compute the costly parts of a single layer.

    Tokens are taken as (a, b, '=') without looking at the third; `Transformer.logits` checks it.
    """
    return logits_of_streams(model, params, embedded(model, params, inputs, kernels.arithmetic), kernels)


def embedded(model: Transformer, params: Params, inputs: Tensor, arithmetic: Arithmetic = PLAIN) -> list[Rows]:
    """The residual stream of each position before the first block."""
    p, W_E, W_pos = model.p, params["embed.W_E"], params["pos_embed.W_pos"]
    first = W_E[..., :p, :]
    second = W_E[..., p : 2 * p, :] if model.own_tokens else first
    tokens = inputs[..., :2].unbind(-1)
    streams = [
        Rows(table + W_pos[..., i : i + 1, :], token, arithmetic.ones(token, table))
        for i, (table, token) in enumerate(zip((first, second), tokens, strict=True))
    ]
    if model.equals:
        streams.append(Rows(W_E[..., -1:, :] + W_pos[..., 2:3, :], None))
    return streams


def logits_of_streams(model: Transformer, params: Params, streams: list[Rows], kernels: Kernels) -> Tensor:
    """Logits of the last position from the stream of each position; to differentiate by what a position holds."""
    for layer in range(model.n_layers - 1):
        block = Block(model, params, layer, kernels.arithmetic)
        keys = [block.keys_values(s) for s in streams]
        seen = [keys[: i + 1] if model.causal else keys for i in range(len(streams))]
        streams = [block.after_attention(stream, of) for stream, of in zip(streams, seen, strict=True)]
    block = Block(model, params, model.n_layers - 1, kernels.arithmetic)
    product = kernels.arithmetic.product
    last = streams[-1]
    W_U, b_U = params["unembed.W_U"], params["unembed.b_U"].unsqueeze(-2)
    if model.normalization == "none" and model.n_layers == 1 and model.equals:
        keys = block.keys_values_at_once(streams)
        skip = last.rows + block.bias("attn.b_O")
        return kernels.readout(
            block.attention(last, keys),
            [value for _, value in keys],
            product(block.W_O, block["mlp.W_in"]),
            product(skip, block["mlp.W_in"]) + block.bias("mlp.b_in"),
            product(block["mlp.W_out"], W_U),
            product(block.W_O, W_U),
            product(skip + block.bias("mlp.b_out"), W_U) + b_U,
            model.act,
        )
    final = block.after_attention(last, [block.keys_values(s) for s in streams]).spread()
    if model.normalization == "LN":
        final = layer_norm(final, params["ln_final.w"], params["ln_final.b"])
    return product(final, W_U) + b_U


class Block:
    """One block's tensors, with heads laid side by side: `W_Q` etc. as [d_model, head * d_head]."""

    def __init__(self, model: Transformer, params: Params, layer: int, arithmetic: Arithmetic) -> None:
        self.model, self.params, self.prefix = model, params, f"blocks.{layer}."
        self.arithmetic = arithmetic
        self.W_O = self["attn.W_O"].flatten(-3, -2)

    def __getitem__(self, name: str) -> Tensor:
        return self.params[self.prefix + name]

    def bias(self, name: str) -> Tensor:
        """A bias, to be added to rows."""
        return self[name].unsqueeze(-2)

    def norm(self, x: Tensor, which: str) -> Tensor:
        """`x` after the LayerNorm `ln1` or `ln2`, if the network has them."""
        if self.model.normalization == "none":
            return x
        return layer_norm(x, self[which + ".w"], self[which + ".b"])

    def heads(self, x: Tensor, letter: str) -> Tensor:
        """[rows d_model] -> [rows head * d_head], with the bias."""
        weights = self[f"attn.W_{letter}"].transpose(-3, -2).flatten(-2)
        return self.arithmetic.product(x, weights) + self[f"attn.b_{letter}"].flatten(-2).unsqueeze(-2)

    def keys_values(self, stream: Rows) -> tuple[Rows, Rows]:
        """What a position shows to those that see it."""
        normed = stream.map(lambda x: self.norm(x, "ln1"))
        return normed.map(lambda x: self.heads(x, "K")), normed.map(lambda x: self.heads(x, "V"))

    def keys_values_at_once(self, streams: list[Rows]) -> list[tuple[Rows, Rows]]:
        """`keys_values` of each position, by one product for all; they lie where no product may begin with them."""
        rows, sizes = torch.cat([stream.rows for stream in streams], -2), [stream.rows.shape[-2] for stream in streams]
        keys, values = (self.heads(rows, letter).split(sizes, -2) for letter in "KV")
        return [(s._replace(rows=k), s._replace(rows=v)) for k, v, s in zip(keys, values, streams, strict=True)]

    def scores(self, query: Rows, key: Rows) -> Tensor:
        """[pair head]; on the rows of `key` before spreading, if all pairs share the query."""
        split = (self.model.n_heads, self.model.d_head)
        if query.rows.shape[-2] == 1:
            one = query.rows.unflatten(-1, split)
            return key.map(lambda k: (k.unflatten(-1, split) * one).sum(-1)).spread()
        return (query.spread().unflatten(-1, split) * key.spread().unflatten(-1, split)).sum(-1)

    def attention(self, stream: Rows, keys: list[tuple[Rows, Rows]]) -> list[Tensor]:
        """Attention of one position to each position it sees, `[pair head]`: the softmax, mixed with all ones."""
        query = stream.map(lambda x: self.heads(self.norm(x, "ln1"), "Q") / math.sqrt(self.model.d_head))
        scores = [self.scores(query, key) for key, _ in keys]
        highest = scores[0]
        for score in scores[1:]:
            highest = torch.maximum(highest, score)
        weights = [self.arithmetic.exp(score - highest.detach()) for score in scores]
        total = sum(weights[1:], start=weights[0])
        rate = self.model.attention_rate
        return [weight / total for weight in weights] if rate == 1 else [w / total * rate + (1 - rate) for w in weights]

    def after_attention(self, stream: Rows, keys: list[tuple[Rows, Rows]]) -> Rows:
        """The stream after the whole block. A position that sees itself alone stays a table."""
        if len(keys) == 1:
            return stream.map(lambda x: self.after_mlp(x + self.through_O(keys[0][1].rows)))
        z = weighted_values(self.attention(stream, keys), [value for _, value in keys])
        return Rows(self.after_mlp(stream.spread() + self.through_O(z)), None)

    def through_O(self, z: Tensor) -> Tensor:
        """What attention adds to the stream: [pair head * d_head] -> [pair d_model]."""
        return self.arithmetic.product(z, self.W_O) + self.bias("attn.b_O")

    def neurons(self, x: Tensor) -> Tensor:
        """[pair d_model] -> [pair d_mlp], after the activation function."""
        pre = self.arithmetic.product(self.norm(x, "ln2"), self["mlp.W_in"]) + self.bias("mlp.b_in")
        return self.arithmetic.activations[self.model.act](pre)

    def after_mlp(self, x: Tensor) -> Tensor:
        """The stream after the neurons, from that before them."""
        return x + self.arithmetic.product(self.neurons(x), self["mlp.W_out"]) + self.bias("mlp.b_out")


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over the last axis, eps 1e-5; `weight` and `bias` may carry stack axes."""
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.pow(2).mean(-1, keepdim=True) + LN_EPS).sqrt()
    return centred / scale * weight.unsqueeze(-2) + bias.unsqueeze(-2)
