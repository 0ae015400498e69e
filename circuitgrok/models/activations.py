"""The plain forward at every position: the specification of the model, and its microscope.

Written the slow, obvious way, under TransformerLens' hook names, so that it can be read beside any
other implementation. `Transformer.logits` must agree with its last position (tested), and every entry
must agree with TransformerLens' own cache (tested).
"""

import math

import torch
from torch import Tensor, einsum

from circuitgrok.apart import ACTIVATIONS
from circuitgrok.models.transformer import LN_EPS, Transformer
from circuitgrok.tree import Params


def activations(model: Transformer, params: Params, inputs: Tensor) -> dict[str, Tensor]:
    """All activations of one network, by hook name; `logits` is `[pair, pos, c]`.

    Args:
        model: The network's shape.
        params: One network.
        inputs: Tokens `[pair, pos]`, any sequence up to the network's length; `Transformer.tokens` of a task's inputs.
    """
    cache: dict[str, Tensor] = {}
    cache["hook_embed"] = params["embed.W_E"][inputs]
    cache["hook_pos_embed"] = params["pos_embed.W_pos"][: inputs.shape[1]].expand_as(cache["hook_embed"])
    resid = cache["hook_embed"] + cache["hook_pos_embed"]
    for layer in range(model.n_layers):
        resid = _block(model, params, f"blocks.{layer}.", resid, cache)
    if model.normalization == "LN":
        resid = _normalized(params, "ln_final.", resid, cache)
    cache["logits"] = resid @ params["unembed.W_U"] + params["unembed.b_U"]
    return cache


def _block(model: Transformer, params: Params, at: str, resid: Tensor, cache: dict[str, Tensor]) -> Tensor:
    def normed(which: str, x: Tensor) -> Tensor:
        return _normalized(params, at + which, x, cache) if model.normalization == "LN" else x

    cache[at + "hook_resid_pre"] = resid
    cache[at + "hook_attn_out"] = _attention(model, params, at + "attn.", normed("ln1.", resid), cache)
    cache[at + "hook_resid_mid"] = resid = resid + cache[at + "hook_attn_out"]
    pre = normed("ln2.", resid) @ params[at + "mlp.W_in"] + params[at + "mlp.b_in"]
    cache[at + "mlp.hook_pre"] = pre
    cache[at + "mlp.hook_post"] = ACTIVATIONS[model.act](pre)
    cache[at + "hook_mlp_out"] = cache[at + "mlp.hook_post"] @ params[at + "mlp.W_out"] + params[at + "mlp.b_out"]
    cache[at + "hook_resid_post"] = resid + cache[at + "hook_mlp_out"]
    return cache[at + "hook_resid_post"]


def _attention(model: Transformer, params: Params, at: str, x: Tensor, cache: dict[str, Tensor]) -> Tensor:
    for letter in "qkv":
        weight, bias = params[at + f"W_{letter.upper()}"], params[at + f"b_{letter.upper()}"]
        cache[at + f"hook_{letter}"] = einsum("bpd,hde->bphe", x, weight) + bias
    scores = einsum("bqhe,bkhe->bhqk", cache[at + "hook_q"], cache[at + "hook_k"]) / math.sqrt(model.d_head)
    unseen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1) & model.causal
    cache[at + "hook_attn_scores"] = scores.masked_fill(unseen, -torch.inf)
    rate = model.attention_rate
    softmax = cache[at + "hook_attn_scores"].softmax(-1)
    cache[at + "hook_pattern"] = rate * softmax + (1 - rate) * (~unseen).to(scores.dtype)
    cache[at + "hook_z"] = einsum("bhqk,bkhe->bqhe", cache[at + "hook_pattern"], cache[at + "hook_v"])
    return einsum("bphe,hed->bpd", cache[at + "hook_z"], params[at + "W_O"]) + params[at + "b_O"]


def _normalized(params: Params, at: str, x: Tensor, cache: dict[str, Tensor]) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    cache[at + "hook_scale"] = (centred.pow(2).mean(-1, keepdim=True) + LN_EPS).sqrt()
    cache[at + "hook_normalized"] = centred / cache[at + "hook_scale"]  # TransformerLens 4: before w and b
    return cache[at + "hook_normalized"] * params[at + "w"] + params[at + "b"]
