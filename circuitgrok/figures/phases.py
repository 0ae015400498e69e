"""The phase diagram of a sweep: cells over two fields, in the colour of a number or divided into classes."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from circuitgrok.figures.fields import Places, field_axis, places
from circuitgrok.figures.style import BLUE, ORANGE, PURPLE, in_style, sheet
from circuitgrok.measures.learning.classes import CLASSES
from circuitgrok.text import in_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cell = Mapping[Any, Any]  # a row of `circuitgrok.study.cells.cells`
CLASS_COLOURS = dict(zip(CLASSES, (BLUE, ORANGE, PURPLE, "#333333"), strict=True))
DARK = (BLUE, "#333333")  # white is read on these
INK = ("black", "white")  # on light and on dark
UNITS = {
    "grokked_by": "median time to grok (optimizer steps)",
    "memorised_by": "median time to memorise (optimizer steps)",
    "gap": "median train − test accuracy at the end",
    "train_acc": "median train accuracy at the end",
    "test_acc": "median test accuracy at the end",
    "train_loss": "median train loss at the end",
    "test_loss": "median test loss at the end",
    "r0": "median weight norm at the start",
    "final_norm": "median weight norm at the end",
}
STRIP = 0.16  # of a cell's height: the shares of the classes
CENSORED = "#ececec"
READING = (
    "in a cell: median over runs, runs that grokked / runs\nhatched: the median is censored, only known to be larger",
    "in a cell: number of runs",
)


def draw_phases(ax: "Axes", cells: "pd.DataFrame", fields: Sequence[str], limits: tuple[float, float] | None) -> Any:
    """Each cell in the colour of its value, with the value and how many runs grokked, over the shares of the classes.

    Args:
        ax: Where.
        cells: `circuitgrok.study.cells.cells`.
        fields: Of the horizontal and of the vertical axis.
        limits: Least and largest value of a logarithmic scale of colours; None for a linear one, from 0 to 1.

    Returns:
        What a colour bar is made for. Censored values have no colour: they are hatched.
    """
    across, along = (places(cells[field]) for field in fields)
    shown = cells.assign(value=cells["value"].mask(cells["is_censored"]))
    grid = shown.pivot(index=fields[1], columns=fields[0], values="value")
    grid = grid.reindex(index=list(along.at), columns=list(across.at)).clip(lower=limits[0] if limits else None)
    scale: dict[str, Any] = (
        {"vmin": 0, "vmax": 1} if limits is None else {"norm": "log", "vmin": limits[0], "vmax": limits[1]}
    )
    mesh = ax.pcolormesh(
        across.edges, along.edges, grid.to_numpy(float), cmap="viridis", edgecolors="white", linewidth=1.5, **scale
    )
    for cell in cells.to_dict("records"):
        box = _box(cell, fields, across, along)
        known = not cell["is_censored"] and not math.isnan(cell["value"])
        if not known:
            _fill(ax, box, facecolor=CENSORED, edgecolor="#a8a8a8", hatch="////", lw=0)
            _fill(ax, box, fill=False, edgecolor="white", lw=1.5)
        colour: Any = mesh.cmap(mesh.norm(cell["value"]))
        is_dark = known and bool(_luminance(*colour) < 0.45)
        left, right, low, high = box
        _say(ax, ((left + right) / 2, low + (high - low) * (1 + STRIP) / 2), _words(cell), INK[is_dark], not known)
        _shares(ax, cell, (left, right, low, low + STRIP * (high - low)))
    return mesh


def draw_classes(ax: "Axes", cells: "pd.DataFrame", fields: Sequence[str]) -> None:
    """Each cell divided by the shares of the classes, with the number of runs of each."""
    across, along = (places(cells[field]) for field in fields)
    for cell in cells.to_dict("records"):
        box = _box(cell, fields, across, along)
        parts = _shares(ax, cell, box)
        left, right, low, high = box
        if not parts:
            _say(ax, ((left + right) / 2, (low + high) / 2), "not known" + _missing(cell), "black")
        for name, middle in parts.items():
            said = f"{name}\n{cell[name]}/{cell['n']}" if len(parts) == 1 else f"{cell[name]}"
            ink = INK[CLASS_COLOURS[name] in DARK]
            _say(ax, (middle, (low + high) / 2), said + (_missing(cell) if len(parts) == 1 else ""), ink)


def _box(cell: Cell, fields: Sequence[str], across: Places, along: Places) -> tuple[float, ...]:
    ends = []
    for field, where in zip(fields, (across, along), strict=True):
        i = list(where.at).index(cell[field])
        ends += [where.edges[i], where.edges[i + 1]]
    return tuple(ends)


def _fill(ax: "Axes", box: Sequence[float], **how: Any) -> None:
    left, right, low, high = box
    ax.fill([left, right, right, left], [low, low, high, high], **how)


def _shares(ax: "Axes", cell: Cell, box: Sequence[float]) -> dict[str, float]:
    """Classes side by side, each as wide as its share of the runs that have one; their middles."""
    left, right, low, high = box
    total, middles = sum(cell[name] for name in CLASSES), {}
    for name in CLASSES:
        if cell[name]:
            end = left + (right - left) * cell[name] / total
            _fill(ax, (left, end, low, high), facecolor=CLASS_COLOURS[name], edgecolor="white", lw=0.8)
            middles[name] = (left + end) / 2
            left, total = end, total - cell[name]
    return middles


def _luminance(red: float, green: float, blue: float, _: float) -> float:
    """How bright a colour looks, from 0 to 1 (ITU-R BT.601)."""
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _words(cell: Cell) -> str:
    if not cell["n"]:
        return f"no record{_missing(cell)}"
    value = f"{cell['value']:.3g}" if abs(cell["value"]) < 1000 else f"{cell['value']:.0f}"
    return f"{'> ' * cell['is_censored']}{value}\n{cell['n_grokked']}/{cell['n']}{_missing(cell)}"


def _missing(cell: Cell) -> str:
    return f"\n{cell['n_missing']} not done" if cell["n_missing"] else ""


def _say(ax: "Axes", at: tuple[float, float], said: str, colour: str, boxed: bool = False) -> None:
    box: Any = {"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 1.5} if boxed else None
    ax.text(*at, said, ha="center", va="center", fontsize=7, color=colour, bbox=box)


def phase_figure(
    panels: Mapping[str, "pd.DataFrame"], fields: Sequence[str], labels: Mapping[str, str], colour: str
) -> "Figure":
    """A phase diagram of a sweep: a panel for each setting of the fields that are not on its axes.

    Args:
        panels: `circuitgrok.study.cells.cells` by a panel's title.
        fields: Of the horizontal and of the vertical axis.
        labels: What each of them is.
        colour: What the cells' values are: a column of the sweep's table, or `class` for shares of classes.
    """
    across, along = (max(len(set(cells[field])) for cells in panels.values()) for field in fields)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    size = (columns * (1.1 + max(0.85 * across, 2.2)) + 0.9, rows * (1.1 + max(0.62 * along, 2.0)) + 0.5)
    with in_style():
        figure, grid = sheet(rows, columns, size, squeeze=False)
        axes, mesh = [*grid.flat], None
        known = [v for c in panels.values() for v in c["value"].mask(c["is_censored"]).dropna()]
        limits = _limits(known, colour)
        for ax, (title, cells) in zip(axes, panels.items(), strict=False):
            if colour == "class":
                draw_classes(ax, cells, fields)
            else:
                mesh = draw_phases(ax, cells, fields, limits)
            for which, field in zip("xy", fields, strict=True):
                field_axis(ax, which, places(cells[field]), labels[field])
            ax.grid(False)
            ax.set_title(in_figure(title), fontsize=9)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        if mesh is not None and known:
            _colour_bar(figure, mesh, axes, UNITS[colour], limits)
        _legend(figure, READING[colour == "class"])
    return figure


def _colour_bar(figure: "Figure", mesh: Any, axes: "Sequence[Axes]", label: str, limits: Any) -> None:
    bar = figure.colorbar(mesh, ax=axes, label=label, shrink=0.9)
    if limits:
        low, high = limits
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [k * 10.0**d for d in decades for k in (1, 2, 3, 5) if low <= k * 10.0**d <= high]
        bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks], minor=False)
        bar.minorticks_off()


def _limits(known: Sequence[float], colour: str) -> tuple[float, float] | None:
    """Ends of the scale of colours, a little apart where all values are one."""
    if not colour.endswith(("_by", "_loss", "norm", "r0")):
        return None
    positive = [value for value in known if value > 0] or [1.0]
    return (min(positive), max(positive)) if min(positive) < max(positive) else (positive[0] / 2, positive[0] * 2)


def _legend(figure: "Figure", said: str) -> None:
    ax = figure.axes[0]
    handles = [ax.fill([], [], facecolor=colour, label=name)[0] for name, colour in CLASS_COLOURS.items()]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        fontsize=7,
        title=said or None,
        title_fontsize=7,
    )
