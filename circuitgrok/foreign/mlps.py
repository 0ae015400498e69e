"""Layouts of MLPs: our own, and those among the published pizza checkpoints.

Zhong et al. 2023 released MLPs on embeddings beside their transformers, told by `model_type` of their settings:

    A   E_a + E_b, one hidden layer         B   E_a + E_b, two hidden layers
    D   E_a beside E_b, one hidden layer    C   two hidden layers, the first applied to E_a and to E_b: its bias twice
    X   A, with embeddings of its own for b

and `use_linear` of the other settings is an MLP on E_a beside E_b, under names of its own.

Source: the code released with arXiv:2306.17844.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.keys import common_dtype, copied, mismatches, shapes_of
from circuitgrok.foreign.mapping import BIASES, arranged, model_of
from circuitgrok.foreign.network import Network, activation, said_split
from circuitgrok.models.kinds import AnyModel
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.tree import Params, is_bias, role

_SPLIT = {"data_seed", "frac_train", "split"}
_NAMES = {"lr": "lr", "weight_decay": "weight_decay", "frac": "frac_train"}
_TWICE = "C"


def is_ours(weights: Mapping[str, Any]) -> bool:
    """Whether a state dict has the names of one of our MLPs."""
    names = {*weights}
    return {"blocks.0.mlp.W_in", "unembed.W_U"} <= names and not any(".attn." in name for name in names)


def is_pizza(weights: Mapping[str, Any]) -> bool:
    """Whether a state dict has the names of an MLP among the pizza checkpoints."""
    names = {*weights}
    linear = {"unembed.weight", "l1.weight", "l1.bias"} <= names <= {
        *("embed.weight", "embed1.weight", "embed2.weight", "unembed.weight"),
        *(f"l{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")),
    }  # fmt: skip
    return linear or "blocks.0.W_in" in names


def ours(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    """Our own MLPs: kind and sizes are read off the names and shapes."""
    model = _of_shapes(weights, given)
    if not isinstance(model, QuadraticMLP) and "act" not in given:
        notes.append(f"act: the weights do not show it, {model.act} is assumed; --act says another")

    def convert(found: Mapping[str, Tensor]) -> Params:
        if wrong := mismatches(found, model.shapes()):
            raise UserError(f"weights do not fit a {model.kind}: {wrong}")
        common_dtype(found)
        return {name: copied(found[name]) for name in model.shapes()}

    return Network(model, convert, {}, "nanda", said_split(_SPLIT, {}, given))


def _of_shapes(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> AnyModel:
    """The model; roles whose biases are not all zero are taken to be those that train."""
    beside = given if "blocks.0.mlp.b_in" in weights else {}  # without biases it is the quadratic one
    model = model_of(weights, {name: name for name in weights}, beside)
    if isinstance(model, QuadraticMLP):
        return model
    moved = {role(name) for name, value in weights.items() if is_bias(name) and value.any()}
    return model.model_copy(update={"train_biases": tuple(kind for kind in BIASES if kind in moved)})


def pizza(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], content: Any, given: Mapping[str, Any], notes: list[str]
) -> Network:
    """The MLPs among the pizza checkpoints, as ours: the same logits, sums of two biases rounded once."""
    linear = "blocks.0.W_in" in weights
    mapping = _of_blocks(weights) if linear else _of_layers(weights)
    kind = str(settings.get("model_type", ""))
    if "l2.weight" in weights and not kind:
        notes.append("model_type: B and C have the same tensors, B is assumed; config_<id>.json says which")
    act = given.get("act", activation(settings.get("act_fn", "relu")))
    p = int(settings.get("C", weights["embed.W_E"].shape[1])) if linear else 0
    used = _cut(weights, p) if linear else weights
    model = model_of(used, mapping, {**given, "act": act})
    if settings.get("C", model.n_classes) != model.n_classes or settings.get("eqn_sign"):
        raise UserError(
            f"a pizza MLP with C {settings.get('C')} and eqn_sign {settings.get('eqn_sign', 0)} does not have these "
            f"weights, or reads '=': {shapes_of(weights)}"
        )

    def convert(found: Mapping[str, Tensor]) -> Params:
        params = arranged(_cut(found, p) if linear else found, mapping, model)
        common_dtype(params)
        if kind == _TWICE:
            params["blocks.0.mlp.b_in"] = 2 * params["blocks.0.mlp.b_in"]
        return params

    said = {ours: settings[theirs] for theirs, ours in _NAMES.items() if theirs in settings}
    split = said_split(_SPLIT, said, given)
    if split == "assumed":
        notes.append("the split was drawn without a seed and cannot be rebuilt")
    told = "use_linear" if linear else f"model_type {kind or 'not said'}"
    notes.append(f"an MLP ({told}), not a transformer")
    return Network(model, convert, said, "nanda", split, untrained_at=None)


def _of_layers(weights: Mapping[str, Any]) -> dict[str, str]:
    places = {
        "embed.weight": "embed.W_E", "embed1.weight": "embed.W_E[a]", "embed2.weight": "embed.W_E[b]",
        "l1.weight": "blocks.0.mlp.W_in.T", "l1.bias": "blocks.0.mlp.b_in", "l2.weight": "blocks.1.mlp.W_in.T",
        "l2.bias": "blocks.1.mlp.b_in", "unembed.weight": "unembed.W_U.T",
    }  # fmt: skip
    return {name: places[name] for name in weights}


def _of_blocks(weights: Mapping[str, Any]) -> dict[str, str]:
    """W_E [d token], W_in [out in], W_U [in token]."""
    places = {"embed.W_E": "embed.W_E.T", "unembed.W_U": "unembed.W_U"}
    for layer in range(sum(name.endswith(".W_in") for name in weights)):
        here = f"blocks.{layer}."
        places |= {f"{here}W_in": f"{here}mlp.W_in.T", f"{here}b_in": f"{here}mlp.b_in"}
    if unknown := sorted({*weights} - {*places}):
        raise UserError(f"a pizza MLP has no {', '.join(unknown)}; {shapes_of(weights)}")
    return {name: places[name] for name in weights}


def _cut(weights: Mapping[str, Tensor], p: int) -> dict[str, Tensor]:
    """Without the columns for the padding behind both embeddings of an odd width, and for classes never right."""
    read = 2 * weights["embed.W_E"].shape[0]
    cut = {"blocks.0.W_in": weights["blocks.0.W_in"][:, :read], "unembed.W_U": weights["unembed.W_U"][:, :p]}
    return {**weights, **cut}
