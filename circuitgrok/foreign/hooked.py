"""State dicts of TransformerLens: of HookedTransformer (1.x to 3.x), and of the bridge of 4.x.

HookedTransformer has the classic names, a tensor for each matrix of all heads. `bridge.state_dict()` of 4.x has those
of torch's layers, `blocks.0.attn.q.weight` as `[head*d_head d_model]`, and so says nothing of the number of heads.
Networks without MLPs get one neuron that is always zero, so that the function is the same.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.keys import common_dtype, copied, mismatches, shapes_of
from circuitgrok.models.transformer import BiasRole, Transformer
from circuitgrok.tree import Params, is_bias, role

Act = Literal["relu", "gelu"]
NO_MLP = (
    "attention only: one neuron that is always zero stands for the MLP that is not there; measures of neurons say "
    "nothing, and key frequencies want rule logit_energy"
)
_BUFFERS = (".attn.mask", ".attn.IGNORE")
_BIAS_ROLES: tuple[BiasRole, ...] = ("attention", "mlp", "unembed")


def from_hooked_transformer(
    state_dict: Mapping[str, Tensor], p: int | None = None, act: Act = "relu"
) -> tuple[Params, Transformer]:
    """Weights and shape from a state dict that TransformerLens 1.x to 3.x saved.

    The buffers `mask` and `IGNORE` are dropped and absent biases are zero. Layers, heads, widths and
    LayerNorm are read off the names and shapes; the roles whose biases are not all zero are taken to
    be those that train. What leaves no trace in the weights cannot be read: the activation function,
    and a normalization without parameters (`LNPre`).

    Args:
        state_dict: Classic names (`blocks.0.attn.W_Q` as [head d_model d_head]).
        p: The modulus: there are p + 1 tokens (p without '=') and p or p + 1 classes. Read off the shapes by default.
        act: The activation function that the network was trained with.

    Returns:
        The weights (copies) and the shape.

    Raises:
        UserError: Something is missing, unknown or of another shape; the message lists
            what was expected and what was found.
    """
    wrong = [n for n, value in state_dict.items() if not (isinstance(n, str) and isinstance(value, Tensor))]
    if wrong:
        raise UserError(f"a state dict holds named tensors only; got also {', '.join(map(str, wrong[:8]))}")
    weights = {name: value for name, value in state_dict.items() if not name.endswith(_BUFFERS)}
    model = inferred(weights, act, p)
    if is_attention_only(weights):
        for name, shape in model.shapes().items():
            if role(name) == "mlp":
                weights[name] = weights["embed.W_E"].new_zeros(shape)
    like = weights["embed.W_E"]
    for name, shape in model.shapes().items():
        if is_bias(name) and role(name) != "normalization":
            weights.setdefault(name, like.new_zeros(shape))
    check_shapes(weights, model)
    params = {name: copied(weights[name]) for name in model.shapes()}
    common_dtype(params)
    nonzero = {role(name) for name, value in params.items() if is_bias(name) and value.any()}
    trained = tuple(r for r in _BIAS_ROLES if r in nonzero)
    return params, model.model_copy(update={"train_biases": trained})


def inferred(weights: Mapping[str, Tensor], act: Act, p: int | None = None) -> Transformer:
    """The shape that the key tensors of a network imply; all others are to be checked against it.

    Raises:
        UserError: A key tensor is missing, or has another number of axes.
    """
    attention_only = is_attention_only(weights)
    keys = {"blocks.0.attn.W_Q": 3, "blocks.0.mlp.W_in": 2, "unembed.W_U": 2, "embed.W_E": 2}
    keys |= {"pos_embed.W_pos": 2} if p is None else {}
    if attention_only:
        del keys["blocks.0.mlp.W_in"]
    bad = {name: n for name, n in keys.items() if name not in weights or weights[name].ndim != n}
    if bad:
        raise UserError(
            "not a HookedTransformer state dict: expected "
            f"{', '.join(f'{name} with {n} axes' for name, n in bad.items())}; {shapes_of(weights)}"
        )
    n_heads, d_model, d_head = weights["blocks.0.attn.W_Q"].shape
    layers = {int(m[1]) for name in weights if (m := re.match(r"blocks\.(\d+)\.", name))}
    equals = "pos_embed.W_pos" not in weights or len(weights["pos_embed.W_pos"]) != 2
    p = len(weights["embed.W_E"]) - equals if p is None else p
    return Transformer(
        p=p,
        n_layers=len(layers),
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_head,
        d_mlp=1 if attention_only else weights["blocks.0.mlp.W_in"].shape[1],
        act=act,
        normalization="LN" if "ln_final.w" in weights else "none",
        d_vocab_out="p" if weights["unembed.W_U"].shape[1] == p else "p+1",
        equals=equals,
        allow_narrow_heads=n_heads * d_head != d_model,
    )


def is_attention_only(weights: Mapping[str, Any]) -> bool:
    """Whether a state dict of classic names has attention and no MLP."""
    return any(".attn." in name for name in weights) and not any(".mlp." in name for name in weights)


def check_shapes(found: Mapping[str, Tensor], model: Transformer) -> None:
    """Refuses weights that do not fit a transformer, with what was expected and found."""
    wrong = mismatches(found, model.shapes())
    if wrong:
        raise UserError(
            f"weights do not fit a transformer with p = {model.p}, {model.n_layers} layers, {model.n_heads} "
            f"heads of {model.d_head}, d_model {model.d_model}, d_mlp {model.d_mlp}, normalization "
            f"{model.normalization}, {model.n_classes} classes: {wrong}"
        )


def is_bridge(weights: Mapping[str, Any]) -> bool:
    """Whether a state dict has the names of a TransformerLens bridge."""
    return {"embed.weight", "unembed.weight", "blocks.0.attn.q.weight"} <= weights.keys()


def of_bridge(weights: Mapping[str, Tensor], n_heads: int) -> dict[str, Tensor]:
    """The state dict of a bridge of TransformerLens 4.x under classic names, all heads apart.

    Args:
        weights: `bridge.state_dict()`.
        n_heads: How many; it is not in the weights.

    Raises:
        UserError: A tensor is of a name that a bridge has not, or of a width that so many heads do not divide.

    Example:
        >>> import torch
        >>> found = of_bridge({"blocks.0.attn.q.weight": torch.ones(6, 4)}, n_heads=2)
        >>> found["blocks.0.attn.W_Q"].shape  # [head d_model d_head]
        torch.Size([2, 4, 3])
    """
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        path, _, kind = name.rpartition(".")
        home, _, last = path.rpartition(".")
        if home.endswith(".attn") and last in ("q", "k", "v", "o"):
            width = value.shape[-1] if (last, kind) == ("o", "weight") else value.shape[0]
            if last + kind != "obias" and width % n_heads:
                raise UserError(f"{name} has {width} rows for all heads; {n_heads} heads do not divide them")
            found[f"{home}.{'W' if kind == 'weight' else 'b'}_{last.upper()}"] = _by_head(last, kind, value, n_heads)
        elif home.endswith(".mlp") and last in ("in", "out"):
            found[f"{home}.{'W' if kind == 'weight' else 'b'}_{last}"] = value.T if kind == "weight" else value
        elif path in ("embed", "pos_embed"):
            found[f"{path}.{'W_E' if path == 'embed' else 'W_pos'}"] = value
        elif path == "unembed":
            found[f"unembed.{'W_U' if kind == 'weight' else 'b_U'}"] = value.T if kind == "weight" else value
        elif last in ("ln1", "ln2") or path == "ln_final":
            found[f"{path}.{kind[0]}"] = value
        else:
            raise UserError(f"a bridge's state dict has no tensor {name!r}; {shapes_of(weights)}")
    return found


def _by_head(last: str, kind: str, value: Tensor, n_heads: int) -> Tensor:
    if last == "o":  # [d_model head*d_head] -> [head d_head d_model]
        return value if kind == "bias" else value.unflatten(1, (n_heads, -1)).permute(1, 2, 0)
    split = value.unflatten(0, (n_heads, -1))  # [head d_head d_model], biases [head d_head]
    return split if kind == "bias" else split.mT
