"""Which weights are meant: a pattern chooses among the tensors, a grain says which numbers make up one vector.

A pattern is

    a role     embed, attention, mlp, unembed, normalization (`tree.role`)
    a glob     over whole names: blocks.*.attn.W_[QK]
    a path     blocks.0, blocks.*.attn: where it is no whole name, all that lies under it
    a head     blocks.0.attn.head.2: what it owns of its layer's tensors

and a grain

    global     all numbers together, biases and embeddings included
    role       those of each role
    tensor     each tensor
    head       each head of each layer: its W_Q, b_Q, W_K, b_K, W_V, b_V and W_O
    part       heads; neurons, each what enters it (a column of W_in, its b_in) and what leaves it (a row of W_out);
               and each tensor that belongs to neither. b_O and b_out belong to all parts of a layer, and so to none
    neuron     the vector that comes into each output of a weight matrix: a column of W [in out], and of each head for
               attention. The embeddings' rows, a token's and a position's, are theirs. Biases and the gains of
               LayerNorm have no such vector

Source: the last grain is that of A. Kosson et al., "Rotational Equilibrium" (arXiv:2305.17212).
"""

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.tree import ROLES, Params, along, is_bias, role

Grain = Literal["global", "role", "tensor", "head", "part", "neuron"]
Owner = Literal["head", "neuron"]
# The axis, from the end, that counts the parts of a kind, in each tensor of a layer that they own a share of.
PARTS: dict[str, dict[str, int]] = {
    "attn.head": {
        "attn.W_Q": -3, "attn.b_Q": -2, "attn.W_K": -3, "attn.b_K": -2, "attn.W_V": -3, "attn.b_V": -2, "attn.W_O": -3,
    },
    "mlp.neuron": {"mlp.W_in": -1, "mlp.b_in": -1, "mlp.W_out": -2},
}  # fmt: skip


class Piece(NamedTuple):
    """A tensor, or one head of it."""

    name: str
    head: int | None = None  # index into the axis of heads, which comes first

    def of(self, weights: Mapping[str, Tensor], axes: int = 1) -> Tensor:
        """The piece of every network of a stack, `[*stack ...]`; a view."""
        return weights[self.name] if self.head is None else weights[self.name].select(axes, self.head)

    def put(self, stack: Params, value: Tensor) -> Tensor:
        """The whole tensor of every network of a stack `[network ...]`, with this piece of it replaced."""
        if self.head is None:
            return value
        at = torch.tensor([self.head], device=value.device)
        return stack[self.name].index_copy(1, at, value.unsqueeze(1))


def names(there: Collection[str], pattern: str) -> list[str]:
    """The names that a role, a glob or a path chooses, in the order in which they are there; never silently none.

    Raises:
        UserError: Nothing matches; the message says what there is.

    Example:
        >>> every = ["embed.W_E", "blocks.0.attn.W_Q", "blocks.0.mlp.W_in", "unembed.W_U"]
        >>> names(every, "mlp"), names(every, "*.W_[EU]"), names(every, "blocks.0")
        (['blocks.0.mlp.W_in'], ['embed.W_E', 'unembed.W_U'], ['blocks.0.attn.W_Q', 'blocks.0.mlp.W_in'])
    """
    if pattern in ROLES:
        found = [name for name in there if role(name) == pattern]
    else:
        matches = ([name for name in there if fnmatchcase(name, glob)] for glob in (pattern, f"{pattern}.*"))
        found = next(filter(None, matches), [])
    if not found:
        missing = f"trained tensor has the role {pattern!r}" if pattern in ROLES else f"tensor matches {pattern!r}"
        raise UserError(f"no {missing}; there are {', '.join(there)}")
    return found


def pieces(there: Mapping[str, tuple[int, ...]], pattern: str = "*", network: str = "the network") -> list[Piece]:
    """What a pattern chooses among tensors, in the order in which they are there.

    Args:
        there: Shapes of one network's tensors, by name.
        pattern: As above.
        network: What an error calls it.

    Raises:
        UserError: Nothing matches; the message says what there is.

    Example:
        >>> shapes = {"blocks.0.attn.W_Q": (4, 8, 2), "blocks.0.attn.b_O": (8,), "unembed.W_U": (8, 5)}
        >>> pieces(shapes, "blocks.0.attn.head.3"), pieces(shapes, "unembed")
        ([Piece(name='blocks.0.attn.W_Q', head=3)], [Piece(name='unembed.W_U', head=None)])
    """
    head = re.fullmatch(r"(blocks\.\d+)\.attn\.head\.(\d+)", pattern)
    if not head:
        return [Piece(name) for name in names(there, pattern)]
    heads = {name.removesuffix(".attn.W_Q"): shape[0] for name, shape in there.items() if name.endswith(".attn.W_Q")}
    layer, index = head[1], int(head[2])
    if not heads:
        raise UserError(f"no head {pattern!r}: {network} has none")
    if index >= heads.get(layer, 0):
        raise UserError(f"no head {pattern!r}; there are {len(heads)} layers of {max(heads.values())} heads, from 0")
    owned = {f"{layer}.{name}" for name in PARTS["attn.head"]}
    return [Piece(name, index) for name in there if name in owned]


def owned(there: Collection[str], layer: str, kind: Owner) -> dict[str, int]:
    """The tensors of a layer that its heads or neurons have a share of, and the axis, from the end, that counts them.

    A neuron has a column of W_in, its b_in, and a row of W_out, or of what the next layer reads it with.

    Args:
        there: Names of a network's tensors.
        layer: Such as `blocks.0`.
        kind: Of what.

    Example:
        >>> owned(["blocks.0.mlp.W_in", "blocks.0.mlp.b_in", "unembed.W_U"], "blocks.0", "neuron")
        {'blocks.0.mlp.W_in': -1, 'blocks.0.mlp.b_in': -1, 'unembed.W_U': -2}
    """
    axes = PARTS["attn.head" if kind == "head" else "mlp.neuron"]
    found = {f"{layer}.{name}": axis for name, axis in axes.items()}
    if kind == "neuron" and f"{layer}.mlp.W_in" in there and f"{layer}.mlp.W_out" not in there:  # dense layers
        behind = f"blocks.{int(layer.split('.')[1]) + 1}.mlp.W_in"
        found[behind if behind in there else "unembed.W_U"] = -2
    return {name: axis for name, axis in found.items() if name in there}


def weights(params: Mapping[str, Tensor], pattern: str = "*") -> Params:
    """The weights of one network that a pattern chooses, as views.

    Raises:
        UserError: Nothing matches; the message says what there is.

    Example:
        >>> weights({"blocks.0.attn.W_Q": torch.eye(3)[:, None]}, "blocks.0.attn.head.2")
        {'blocks.0.attn.W_Q': tensor([[0., 0., 1.]])}
    """
    shapes = {name: tuple(value.shape) for name, value in params.items()}
    return {piece.name: piece.of(params, axes=0) for piece in pieces(shapes, pattern)}


class Vectors(NamedTuple):
    """Many vectors of weights, as tensors: all that lies behind the first `axes` axes is one vector."""

    tensors: Params  # views, `[*vector ...]`; `vector` is run, or run and output, or run, head and output
    axes: int  # how many axes count vectors


def vectors(weights: Mapping[str, Tensor], grain: Grain, axes: int = 1) -> dict[str, Vectors]:
    """The vectors that weights `[*stack ...]` are made of, by the name of the tensor or of what they belong to.

    They are views: changing them in place changes the weights. Tensors without a vector of the grain are left out.

    Example:
        >>> from circuitgrok.tree import norm
        >>> weights = {"blocks.0.attn.W_Q": torch.ones(1, 2, 5, 3), "blocks.0.attn.b_Q": torch.ones(1, 2, 3)}
        >>> [(name, norm(*every).shape) for name, every in vectors(weights, "neuron").items()]
        [('blocks.0.attn.W_Q', torch.Size([1, 2, 3]))]
        >>> [(name, norm(*every).square().round()) for name, every in vectors(weights, "head").items()]
        [('blocks.0.attn.head', tensor([[18., 18.]], dtype=torch.float64))]
    """
    groups: dict[str, Vectors] = {}
    for name, value in weights.items():
        for group, counting in _places(name, value.ndim - axes, grain):
            n = axes + len(counting)
            view = value.movedim(counting, tuple(range(axes, n))) if counting else value
            groups.setdefault(group, Vectors({}, n)).tensors[name] = view
    return groups


def over(numbers: Mapping[str, Tensor], weights: Mapping[str, Tensor], grain: Grain, axes: int = 1) -> Params:
    """One number for each vector, by the names of `vectors`, laid out to meet the tensors that it has a share of.

    >>> over({"embed.W_E": torch.tensor([0.5, 0.25])}, {"embed.W_E": torch.ones(2, 9)}, "neuron", axes=0)
    {'embed.W_E': tensor([[0.5000],
            [0.2500]])}
    """
    return {
        name: along(numbers[group], value).movedim(tuple(range(axes, axes + len(counting))), counting)
        for name, value in weights.items()
        for group, counting in _places(name, value.ndim - axes, grain)
    }


def _places(name: str, ndim: int, grain: Grain) -> list[tuple[str, tuple[int, ...]]]:
    """The vectors that a network's tensor has a share of, and the axes, from the end, that count them; none or one."""
    match grain:
        case "global":
            return [(grain, ())]
        case "role":
            return [(role(name), ())]
        case "neuron" if ndim < 2 or is_bias(name):
            return []
        case "neuron":
            return [(name, (*range(-ndim, -2), -2 if role(name) == "embed" else -1))]
        case "head" | "part":
            *layer, own = name.split(".", 2)
            for kind, owned in PARTS.items():
                if own in owned and (grain == "part" or kind == "attn.head"):
                    return [(".".join([*layer, kind]), (owned[own],))]
    return [] if grain == "head" else [(name, ())]
