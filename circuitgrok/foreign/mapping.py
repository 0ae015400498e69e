"""Weights under somebody's own names: a mapping {theirs: ours} says which tensor of ours each is, and how it lies.

    embed.W_E                  as ours: rows are what is read, columns what is written
    blocks.0.mlp.W_in.T        the other way round, as torch's linear layers keep it
    blocks.0.mlp.W_in[a]       the rows for a; [b] those for b (of W_E too, where b has an embedding of its own)
    blocks.0.attn.W_QKV.T      queries, keys and values side by side, as torch's attention keeps them
    (nothing)                  left out

All heads of an attention matrix may stand side by side in one axis. Several biases that map to one are added, and a
bias or a position that nothing maps to is zero. Names and shapes suggest a mapping (`foreign.suggested`).
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.keys import copied, mismatches, shapes_of
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.kinds import AnyModel
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import BiasRole, Transformer
from circuitgrok.tree import Params, is_bias, role

_TARGET = re.compile(r"(?P<name>[A-Za-z_]\w*(?:\.\w+)*?)(?:\[(?P<half>[ab])\])?(?P<turned>\.T)?")

MLPRole = Literal["mlp", "unembed"]
BIASES: tuple[MLPRole, ...] = ("mlp", "unembed")  # roles whose biases train in MLPs
_WITH_ATTENTION: tuple[BiasRole, ...] = ("attention", "mlp", "unembed")


class Target(NamedTuple):
    """Where a tensor goes."""

    name: str
    half: str
    turned: bool

    def flat(self, value: Tensor) -> Tensor:
        """The tensor as it lies in ours, heads as they are."""
        return value.mT if self.turned else value


def target(text: str) -> Target:
    """What a mapping says of one tensor.

    Raises:
        UserError: It is no name of ours.

    Example:
        >>> target("blocks.0.mlp.W_in[a].T")
        Target(name='blocks.0.mlp.W_in', half='a', turned=True)
    """
    found = _TARGET.fullmatch(text)
    if not found:
        raise UserError(
            f"a mapping gives each tensor a name of ours, such as embed.W_E, blocks.0.mlp.W_in.T or "
            f"blocks.0.mlp.W_in[a]; got {text!r}"
        )
    return Target(found["name"], found["half"] or "", bool(found["turned"]))


def targets(weights: Mapping[str, Tensor], mapping: Mapping[str, str]) -> dict[str, Target]:
    """Where each tensor of a state dict goes; those that are left out are not there.

    Raises:
        UserError: The mapping and the state dict have not the same names.
    """
    wrong = sorted({*mapping} ^ {*weights})
    if wrong:
        raise UserError(
            f"the mapping must name every tensor of the file, with nothing for those to leave out; differing: "
            f"{', '.join(wrong[:8])}; {shapes_of(weights)}"
        )
    return {theirs: target(ours) for theirs, ours in mapping.items() if ours}


def model_of(weights: Mapping[str, Tensor], mapping: Mapping[str, str], given: Mapping[str, Any]) -> AnyModel:
    """The model whose tensors a mapped state dict has, with fields that leave no trace as given.

    Args:
        weights: Under their names.
        mapping: {theirs: ours}.
        given: Fields of the model that were given, such as `act` and `n_heads`.

    Raises:
        UserError: The shapes are those of no model here, or `n_heads` is needed.
    """
    found = {theirs: (to, to.flat(weights[theirs]).shape) for theirs, to in targets(weights, mapping).items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for to, shape in found.values():
        rows = shape[0] + (shapes.get(to.name, (0,))[0] if to.half else 0)
        shapes[to.name] = (rows, *shape[1:])
    if "unembed.W_U" not in shapes:
        raise UserError(f"nothing maps to unembed.W_U, which every network has; {shapes_of(weights)}")
    halved = {to.name for to, _ in found.values() if to.half}
    layers = {int(name.split(".")[1]) for name in shapes if name.startswith("blocks.")}
    if any(".attn." in name for name in shapes):
        return _transformer(shapes, halved, len(layers), given)
    biases: tuple[MLPRole, ...] = tuple(kind for kind in BIASES if any(is_bias(n) and role(n) == kind for n in shapes))
    n_out, wide = shapes["unembed.W_U"][1], shapes.get("blocks.0.mlp.W_in", (0, 0))
    beside = {name: given[name] for name in ("act",) if name in given}
    if "embed.W_E" in shapes:
        p, (n_rows, d_embed) = n_out, shapes["embed.W_E"]
        return EmbeddingMLP(
            p=p,
            d_embed=d_embed,
            d_hidden=wide[1],
            depth=len(layers),
            combine="concat" if wide[0] == 2 * d_embed else "sum",
            own_tokens=n_rows == 2 * p,
            train_biases=biases,
            **beside,
        )
    if not biases and len(layers) == 1 and not beside and wide[0] == 2 * n_out:
        return QuadraticMLP(p=n_out, n_neurons=wide[1])
    return DenseMLP(n_in=wide[0], n_out=n_out, width=wide[1], depth=len(layers), train_biases=biases, **beside)


def _transformer(
    shapes: Mapping[str, tuple[int, ...]], halved: set[str], n_layers: int, given: Mapping[str, Any]
) -> Transformer:
    """The same of a network with attention."""
    queries = shapes.get("blocks.0.attn.W_Q", shapes.get("blocks.0.attn.W_QKV", (0, 0)))
    d_model = shapes["embed.W_E"][1]
    if len(queries) == 3:
        n_heads, d_head = queries[0], queries[2]
    elif "n_heads" not in given:
        raise UserError("n_heads leaves no trace where all heads stand side by side: give it (--n-heads)")
    else:
        n_heads = int(given["n_heads"])
        d_head = queries[1] // (3 if "blocks.0.attn.W_QKV" in shapes else 1) // n_heads
    equals = shapes.get("pos_embed.W_pos", (2 + bool(given.get("equals", True)),))[0] != 2
    n_out, tokens, own = shapes["unembed.W_U"][1], shapes["embed.W_E"][0] - equals, "embed.W_E" in halved
    p = tokens // 2 if own else tokens
    biases: tuple[BiasRole, ...] = tuple(k for k in _WITH_ATTENTION if any(is_bias(n) and role(n) == k for n in shapes))
    return Transformer(
        p=p,
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_head,
        d_mlp=shapes.get("blocks.0.mlp.W_in", (0, 1))[1],
        act=given.get("act", "relu"),
        normalization="LN" if "ln_final.w" in shapes else "none",
        d_vocab_out="p" if n_out == p else "p+1",
        equals=equals,
        own_tokens=own,
        causal=given.get("causal", True),
        train_biases=biases,
        allow_narrow_heads=n_heads * d_head != d_model,
    )


def arranged(weights: Mapping[str, Tensor], mapping: Mapping[str, str], model: AnyModel) -> Params:
    """A mapped state dict as ours.

    Args:
        weights: Under their names.
        mapping: {theirs: ours}.
        model: Whose tensors come out.

    Raises:
        UserError: A tensor does not fit its place, or a place other than a bias has none.

    Example:
        >>> model = QuadraticMLP(p=3, n_neurons=4)
        >>> theirs = {"fc1.weight": torch.ones(4, 6), "fc2.weight": torch.ones(3, 4)}
        >>> ours = arranged(theirs, {"fc1.weight": "blocks.0.mlp.W_in.T", "fc2.weight": "unembed.W_U.T"}, model)
        >>> ours["blocks.0.mlp.W_in"].shape
        torch.Size([6, 4])
    """
    expected, parts = model.shapes(), {}
    for theirs, to in targets(weights, mapping).items():
        value = to.flat(weights[theirs])
        named = [(to.name, value)]
        if to.name.endswith(("W_QKV", "b_QKV")):
            named = [(to.name[:-3] + letter, part) for letter, part in zip("QKV", value.chunk(3, -1), strict=True)]
        for name, part in named:
            if name not in expected:
                known = ", ".join(expected)
                raise UserError(f"{theirs} maps to {name}, which a {model.kind} of this shape has not: it has {known}")
            parts.setdefault(name, []).append((to.half, _by_head(part, expected[name])))
    zero = next(iter(weights.values())).new_zeros
    absent = {name for name in expected if is_bias(name) or name == "pos_embed.W_pos"}
    if isinstance(model, Transformer) and not any(".mlp." in name for name in parts):
        absent |= {name for name in expected if role(name) == "mlp"}
    params = {name: zero(shape) for name, shape in expected.items() if name not in parts and name in absent}
    for name, found in parts.items():
        if any(half for half, _ in found):
            params[name] = torch.cat([value for _, value in sorted(found, key=lambda part: part[0])])
        elif len(found) == 1 or is_bias(name):
            params[name] = torch.stack([value for _, value in found]).sum(0)
        else:
            raise UserError(f"{len(found)} tensors map to {name}; only biases are added")
    if wrong := mismatches(params, expected):
        raise UserError(f"the mapped tensors do not fit a {model.kind}: {wrong}")
    return {name: copied(params[name]) for name in expected}


def _by_head(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Heads that stand side by side, apart; anything else as it is."""
    if len(shape) == 3 and value.ndim == 2:
        heads, rows, columns = shape
        if value.shape == (rows, heads * columns):
            return value.unflatten(1, (heads, columns)).permute(1, 0, 2)
        if value.shape == (heads * rows, columns):
            return value.unflatten(0, (heads, rows))
    if len(shape) == 2 and value.ndim == 1 and value.numel() == shape[0] * shape[1]:
        return value.reshape(shape)
    return value
