"""The house style: colours, an empty sheet, what is written, axes and legends. matplotlib's only door."""

import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.store.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#777777",
)  # fmt: skip
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "svg.hashsalt": "circuitgrok",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
UNSAID = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}  # what would make other bytes of the same figure
LINES = ("-", "--", "-.", ":", (0, (1, 3)))
MIXED_STEPS = 10  # steps below this are drawn on a linear scale


def in_style() -> AbstractContextManager[None]:
    """The house style, for what is drawn inside."""
    import matplotlib

    return matplotlib.rc_context(STYLE)


@cache
def sheet_class() -> "type[Figure]":
    """A figure that a notebook shows where it stands at the end of a cell, without pyplot and without a magic line."""
    from matplotlib.figure import Figure

    class Sheet(Figure):
        """A figure of the house."""

        def _repr_png_(self) -> bytes:
            return drawn(self, "png", dpi=self.dpi)

    return Sheet


def sheet(rows: int, columns: int, size: tuple[float, float], **subplots: Any) -> "tuple[Figure, Any]":
    """An empty figure in the house style and its Axes, without touching pyplot's global state.

    Args:
        rows: Of panels.
        columns: Of panels.
        size: Width and height in inches.
        subplots: What `Figure.subplots` takes, such as `sharey=True`.

    Example:
        >>> from circuitgrok import figures
        >>> figure, axes = figures.sheet(1, 2, (6.75, 2.5), sharey=True)
        >>> len(axes), figure._repr_png_()[1:4]  # what a notebook shows
        (2, b'PNG')
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with in_style():
        figure = sheet_class()(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, **subplots)
    return figure, axes


def drawn(figure: "Figure", form: str, **options: Any) -> bytes:
    """A file of the figure, the same bytes for the same figure: no date and no version in it."""
    file = io.BytesIO()
    with in_style():
        figure.savefig(file, format=form, metadata={UNSAID[form]: None}, **options)
    return file.getvalue()


def save(figure: "Figure", stem: str | Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write a figure as files, each whole or not at all; their paths.

    Args:
        figure: What is drawn.
        stem: The name without its ending: `stem`.png and `stem`.svg are written. A name that ends on .png, .svg or .pdf
            is that file alone.
        formats: Of the files, some of png, svg and pdf.

    Example:
        >>> from circuitgrok import figures
        >>> figure, ax = figures.sheet(1, 1, (3.3, 2.5))
        >>> [path.name for path in figures.save(figure, "figure")]
        ['figure.png', 'figure.svg']
        >>> [path.name for path in figures.save(figure, "figure.pdf")]
        ['figure.pdf']
    """
    name = Path(stem)
    if name.suffix[1:] in UNSAID:
        formats, name = [name.suffix[1:]], name.with_suffix("")
    paths = [Path(f"{name}.{form}") for form in formats]
    name.parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        write_atomically(path, drawn(figure, path.suffix[1:]))
    return paths


def step_axis(ax: "Axes", last: int) -> None:
    """Steps from 0 on: linear below `MIXED_STEPS`, logarithmic above."""
    ax.set_xscale("symlog", linthresh=MIXED_STEPS, linscale=0.5)
    ax.set_xlim(0, last)
    ax.set_xlabel("optimizer step")


def values_axis(ax: "Axes", values: Sequence[float], label: str) -> None:
    """A logarithmic axis to the base 2 with these values as its ticks."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(set(values)), [f"{value:g}" for value in sorted(set(values))])
    ax.minorticks_off()
    ax.set_xlabel(label)


def times_axis(ax: "Axes", budget: int, which: str = "y", said: str = "budget (censored)") -> None:
    """A logarithmic axis (x or y) of steps that are drawn, with the budget at which times are censored as a line."""
    ax.set(**{f"{which}scale": "log"})
    axis, (low, _), line = (
        (ax.xaxis, ax.get_xlim(), ax.axvline) if which == "x" else (ax.yaxis, ax.get_ylim(), ax.axhline)
    )
    steps = [step for step in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if low / 2 < step < budget]
    axis.set_ticks(steps, [str(step) for step in steps])
    axis.minorticks_off()
    axis.set_label_text("optimizer step")
    line(budget, color=GREY, lw=0.8)
    if which == "y":
        where = ax.get_yaxis_transform()
        ax.text(0.99, budget, said, ha="right", va="bottom", fontsize=7, transform=where)


def legend_above(ax: "Axes", columns: int) -> None:
    """A legend of some columns above the panel, where it covers no line."""
    ax.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)


def legends(axes: "Iterable[Axes]") -> None:
    """A small legend in each of some panels in which something has a name."""
    for ax in axes:
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=7, frameon=False)
