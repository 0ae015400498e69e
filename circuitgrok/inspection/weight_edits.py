"""Edits of weights, applied: which numbers a pattern chooses, and scale, patch and move on them.

Numbers are computed in float64 and come back in the network's dtype. A patch of everything is the source, a move by 0
the network itself and by 1 the source, to one rounding. Radii and directions are those of the weights that are chosen,
under a grain of `select`: weights that belong to no vector of it, such as biases under `neuron`, stay as they are.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from circuitgrok import geometry, select
from circuitgrok.errors import UserError
from circuitgrok.inspection.edits import Edit, Move, Patch, Scale
from circuitgrok.polar.transplants import by
from circuitgrok.tree import Params, combine, norm


class Slice(NamedTuple):
    """A tensor, or what some heads or neurons own of it.

    Attributes:
        name: Of the tensor.
        axis: Counts heads or neurons.
        indices: Theirs; None for the whole tensor.
    """

    name: str
    axis: int = 0
    indices: tuple[int, ...] | None = None

    def of(self, params: Mapping[str, Tensor]) -> Tensor:
        """The numbers, in a tensor of as many axes."""
        whole = params[self.name]
        return whole if self.indices is None else whole.index_select(self.axis, self._index(whole))

    def put(self, params: Mapping[str, Tensor], value: Tensor) -> Tensor:
        """The whole tensor with other numbers there, in its dtype."""
        whole = params[self.name]
        value = value.to(whole.dtype)
        return value if self.indices is None else whole.index_copy(self.axis, self._index(whole), value)

    def _index(self, whole: Tensor) -> Tensor:
        return torch.tensor(self.indices, device=whole.device)


def slices(params: Mapping[str, Tensor], pattern: str = "*") -> list[Slice]:
    """What a pattern chooses among the weights of one network.

    A role, a glob, a path or a head as in `select`; `head 2`, or `neuron 3,7` of the last block or hidden layer, and
    `layer 0 head 2` of another. A neuron has a column of W_in, its b_in, and a row of W_out, or of what the next layer
    reads it with.

    Raises:
        UserError: Nothing matches; the message says what there is.

    Example:
        >>> weights = {"blocks.0.mlp.W_in": torch.ones(4, 9), "unembed.W_U": torch.ones(9, 5)}
        >>> slices(weights, "neuron 3,7")
        [Slice(name='blocks.0.mlp.W_in', axis=1, indices=(3, 7)), Slice(name='unembed.W_U', axis=0, indices=(3, 7))]
    """
    said = re.fullmatch(r"(?:layer\s+(\d+)\s+)?(head|neuron)\s+((?:\d+\s*,\s*)*\d+)", pattern.strip())
    path = re.fullmatch(r"blocks\.(\d+)\.attn\.(head)\.(\d+)", pattern)
    shapes = {name: tuple(value.shape) for name, value in params.items()}
    if not said and not path:
        return [Slice(name) for name in select.names(shapes, pattern)]
    layers = [int(found[1]) for name in params if (found := re.match(r"blocks\.(\d+)\.", name))]
    layer, kind, numbers = (said or path or ("",) * 3)[1], (said or path)[2], (said or path)[3]  # pyright: ignore
    at = f"blocks.{max(layers) if layer is None else layer}"
    indices = tuple(sorted({int(one) for one in re.findall(r"\d+", numbers)}))
    own = select.owned(params, at, "head" if kind == "head" else "neuron")
    found = [Slice(name, own[name] % len(shapes[name]), indices) for name in params if name in own]
    size = shapes[found[0].name][found[0].axis] if found else 0
    if not found or indices[-1] >= size:
        raise UserError(f"no {pattern!r}: there are {size} {kind}s in {at}, counted from 0")
    return found


def edited_weights(
    params: Mapping[str, Tensor], edits: Iterable[Edit], sources: Mapping[str, Mapping[str, Tensor]] | None = None
) -> Params:
    """One network's weights after edits of weights, in their order; ablations change none.

    Args:
        params: One network.
        edits: Objects, as `edits.edits_of` makes them.
        sources: Other checkpoints under the names by which the edits call them.

    Raises:
        UserError: A pattern chooses nothing, or a source is not given, or its weights are of another shape.

    Example:
        >>> mine, other = {"unembed.W_U": torch.tensor([3.0, 4.0])}, {"unembed.W_U": torch.tensor([0.0, 10.0])}
        >>> edited_weights(mine, [Patch(what="radius")], {"source": other})
        {'unembed.W_U': tensor([6., 8.])}
        >>> edited_weights(mine, [Scale(factor=2), Move(t=0.5)], {"source": other})
        {'unembed.W_U': tensor([3., 9.])}
    """
    now = dict(params)
    for edit in edits:
        if isinstance(edit, Scale | Patch | Move):
            where = slices(now, edit.weights)
            own = {piece.name: piece.of(now) for piece in where}
            other = {} if isinstance(edit, Scale) else _of_source(edit.source, sources or {}, where, now)
            changed = _changed(edit, own, other)
            now |= {piece.name: piece.put(now, changed[piece.name]) for piece in where}
    return now


def _of_source(
    name: str, sources: Mapping[str, Mapping[str, Tensor]], where: list[Slice], own: Mapping[str, Tensor]
) -> Params:
    if name not in sources:
        raise UserError(f"no checkpoint is given under the name {name!r}; there are {', '.join(sources) or 'none'}")
    source = sources[name]
    for piece in where:
        theirs = source[piece.name].shape if piece.name in source else None
        if theirs != own[piece.name].shape:
            raise UserError(
                f"{piece.name} must have one shape in both networks; got {[*own[piece.name].shape]} and "
                f"{'none' if theirs is None else [*theirs]} in {name!r}"
            )
    return {piece.name: piece.of(source) for piece in where}


def _changed(edit: Scale | Patch | Move, own: Params, other: Params) -> Params:
    match edit:
        case Scale():
            return {name: edit.factor * value.double() for name, value in own.items()}
        case Patch(what="weights"):
            return other
        case Patch():
            radius, direction = (by(edit.grain), by(edit.grain))
            long, short = (other, own) if edit.what == "radius" else (own, other)
            counted = set(select.over(_zeros(own, edit.grain), own, edit.grain, axes=0))
            long, short, kept = _only(long, counted), _only(short, counted), _only(own, own.keys() - counted)
            return kept | combine(torch.mul, radius(long, 0).radii, direction(short, 0).directions)
        case Move(path="straight"):
            return combine(lambda x, y: (1 - edit.t) * x.double() + edit.t * y.double(), own, other)
        case Move():
            there = geometry.great_circle(own, other, torch.tensor([edit.t], dtype=torch.float64))
            length = (1 - edit.t) * norm(own) + edit.t * norm(other)
            return {name: length * value[0] for name, value in there.items()}


def _only(params: Params, names: Iterable[str]) -> Params:
    chosen = set(names)
    return {name: value for name, value in params.items() if name in chosen}


def _zeros(params: Params, grain: select.Grain) -> dict[str, Tensor]:
    """A number for each vector of a grain, to ask which tensors have one."""
    return {name: norm(*every) for name, every in select.vectors(params, grain, axes=0).items()}
