"""Maps over all pairs (a, b) of what was found in a network, one for each part."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from circuitgrok.figures.style import sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 4


def parts_figure(patterns: Float[Tensor, "part pair"], names: Sequence[str]) -> "Figure":
    """The pattern of each part over the square of pairs, each on its own scale about 0.

    Args:
        patterns: One row for each part, pairs row by row; their number must be a square.
        names: Above each map.

    Raises:
        ValueError: The number of pairs is no square.
    """
    side = round(patterns.shape[1] ** 0.5)
    if side**2 != patterns.shape[1]:
        raise ValueError(f"maps need all pairs of a square table; got {patterns.shape[1]} pairs")
    rows = -(-len(patterns) // ACROSS)
    figure, axes = sheet(rows, ACROSS, (2.2 * ACROSS, 2.3 * rows), squeeze=False)
    for ax, pattern, name in zip(axes.flat, patterns, names, strict=False):
        top = pattern.abs().max().item() or 1.0
        ax.imshow(pattern.view(side, side).numpy(), cmap="RdBu_r", vmin=-top, vmax=top, origin="lower")
        ax.set_title(name, fontsize=8)
        ax.grid(False)
        ax.set_xlabel("b")
        ax.set_ylabel("a")
    for ax in list(axes.flat)[len(patterns) :]:
        ax.remove()
    return figure
