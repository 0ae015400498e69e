"""The layouts in which networks are read, and which of them a state dict has.

| layout | whose |
|---|---|
| `nanda`, `pizza` | published runs, transposed (`foreign.transposed`) |
| `pizza-mlp` | the MLPs among the pizza checkpoints (`foreign.mlps`) |
| `hooked-transformer`, `bridge` | TransformerLens 1.x to 3.x, and 4.x (`foreign.hooked`) |
| `mlp` | our own MLPs |
| `named` | anybody's own names, by a mapping (`foreign.mapping`) |
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign import mlps, transposed
from circuitgrok.foreign.hooked import (
    NO_MLP,
    from_hooked_transformer,
    is_attention_only,
    is_bridge,
    of_bridge,
)
from circuitgrok.foreign.keys import common_dtype, mismatches, shapes_of
from circuitgrok.foreign.mapping import arranged, model_of
from circuitgrok.foreign.network import Network, activation, said_split
from circuitgrok.foreign.suggested import suggested
from circuitgrok.tree import Params

_SPLIT = {"data_seed", "frac_train", "split"}


def _hooked(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    if "embed.W_E" not in weights or weights["embed.W_E"].ndim != 2:
        raise UserError(f"hooked-transformer: expected embed.W_E with 2 axes; {shapes_of(weights)}")
    if settings.get("normalization_type") not in (None, "LN"):
        raise UserError(f"normalization_type must be None or 'LN'; got {settings['normalization_type']!r}")
    act = given.get("act", activation(settings.get("act_fn") or "relu"))
    if is_attention_only(weights):
        notes.append(NO_MLP)
    elif not {"act", "act_fn"} & {*given, *settings}:
        notes.append("act: the weights do not show it, relu is assumed; --act says another")
    _, model = from_hooked_transformer(weights, act=act)

    def convert(found: Mapping[str, Tensor]) -> Params:
        params, _ = from_hooked_transformer(found, act=act)
        if wrong := mismatches(params, model.shapes()):
            raise UserError(f"the networks of one file must be of one shape: {wrong}")
        return params

    return Network(model, convert, {}, "tl-demo", said_split(_SPLIT, {}, given), test_shift=1)


def _bridge(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    n_heads = given.get("n_heads", settings.get("n_heads"))
    if not isinstance(n_heads, int) or n_heads < 1:
        raise UserError(
            "the state dict of a bridge does not say how many heads there are: give n_heads (--n-heads), or model="
        )
    found = _hooked(of_bridge(weights, n_heads), settings, content, given, notes)
    return found._replace(convert=lambda one: found.convert(of_bridge(one, n_heads)))


def _named(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    mapping = given.get("keys") or suggested(weights)
    model = given.get("model") or model_of(weights, mapping, given)
    if "keys" not in given:
        notes.append("keys are matched by names and shapes, as shown; --map (keys=) says otherwise")
    if not {"act", "model"} & {*given} and hasattr(model, "act"):
        notes.append(f"act: the weights do not show it, {getattr(model, 'act', '')} is assumed; --act says another")

    def convert(found: Mapping[str, Tensor]) -> Params:
        params = arranged(found, mapping, model)
        common_dtype(params)
        return params

    return Network(model, convert, {}, "nanda", said_split(_SPLIT, {}, given), keys=dict(mapping))


LAYOUTS: dict[str, Callable[..., Network]] = {
    "nanda": transposed.nanda,
    "pizza": transposed.pizza,
    "pizza-mlp": mlps.pizza,
    "hooked-transformer": _hooked,
    "bridge": _bridge,
    "mlp": mlps.ours,
    "named": _named,
}


def layout_of(weights: Mapping[str, Tensor], settings: Mapping[str, Any]) -> str:
    """The layout that a state dict has, by its names and shapes; `named` if it is nobody's that is known.

    Example:
        >>> import torch
        >>> layout_of({"fc1.weight": torch.zeros(4, 6), "fc2.weight": torch.zeros(3, 4)}, {})
        'named'
    """
    if is_bridge(weights):
        return "bridge"
    if mlps.is_pizza(weights):
        return "pizza-mlp"
    if mlps.is_ours(weights):
        return "mlp"
    if not {"embed.W_E", "unembed.W_U"} <= weights.keys():
        return "named"
    output = weights.get("blocks.0.attn.W_O")
    if output is None or output.ndim != 2:
        return "hooked-transformer"
    positions = weights.get("pos_embed.W_pos")
    is_pizza = "attn_coeff" in settings or (positions is not None and len(positions) == 2)
    return "pizza" if is_pizza else "nanda"
