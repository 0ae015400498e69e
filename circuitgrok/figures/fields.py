"""Axes for the values of a field: where each stands, and what a tick says."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.text import in_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WRAP = {"x": 44, "y": 26}  # characters of a line of a label


class Places(NamedTuple):
    """Where the values of a field stand on an axis.

    Attributes:
        at: Position of each value, in their order on the axis.
        edges: Of their cells: one more than there are values.
        is_log: Whether positions are logarithms.
    """

    at: Mapping[Any, float]
    edges: tuple[float, ...]
    is_log: bool


def places(values: Iterable[Any]) -> Places:
    """Positions of values: by their logarithm where ratios are more even than distances; words one after the other.

    Example:
        >>> places([0.5, 1, 2, 4]).at[4], places([0.3, 0.5, 0.7]).is_log, places(["off", "on"]).edges
        (2.0, False, (-0.5, 0.5, 1.5))
    """
    known = list(dict.fromkeys(values))
    if not all(isinstance(value, int | float) for value in known):
        return _placed(known, [float(i) for i in range(len(known))], False)
    known.sort()
    logs = [math.log2(value) for value in known] if known[0] > 0 else []
    is_log = bool(logs) and _unevenness(logs) < _unevenness(known) - 1e-9
    return _placed(known, logs if is_log else [float(value) for value in known], is_log)


def _unevenness(at: Sequence[float]) -> float:
    """Standard deviation of the distances over their mean."""
    gaps = [b - a for a, b in pairwise(at)]
    return pstdev(gaps) / fmean(gaps) if gaps else 0.0


def _placed(known: Sequence[Any], at: Sequence[float], is_log: bool) -> Places:
    between = [(a + b) / 2 for a, b in pairwise(at)]
    first, last = (at[1] - at[0], at[-1] - at[-2]) if len(at) > 1 else (1.0, 1.0)
    return Places(dict(zip(known, at, strict=True)), (at[0] - first / 2, *between, at[-1] + last / 2), is_log)


def field_axis(ax: "Axes", which: str, where: Places, label: str) -> None:
    """The values of a field as ticks of an axis (x or y) in their places, and what it is."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(list(where.at.values()), [_tick(value) for value in where.at])
    axis.set_label_text("\n".join(textwrap.wrap(in_figure(label + " (log scale)" * where.is_log), WRAP[which])))
    ax.set(**{f"{which}lim": (where.edges[0], where.edges[-1])})


def _tick(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else in_figure(value, longest=16)
