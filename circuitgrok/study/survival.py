"""Censored times: their median, and the slope of their logarithm, with what is known of runs that did not get there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.study.accelerated import time_effect
from circuitgrok.study.claims import Found, Quantity, Selection

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class Median(NamedTuple):
    """A median, or what it is known to be larger than.

    Attributes:
        value: In the unit of the times; of a censored one the largest lower bound.
        is_censored: Whether all that is known is that it is at least this; then no time stands for it.
    """

    value: float
    is_censored: bool

    def __str__(self) -> str:
        return f"{'> ' * self.is_censored}{self.value:g}"


def censored_median(times: Sequence[float], limits: Sequence[float]) -> Median:
    """The median of times some of which are only known to be larger than a limit.

    A median does not fall when a value grows. So it lies between that with every censored time at its limit and that
    with every one at infinity: where the two agree it is known, and otherwise the first is its lower bound.

    Args:
        times: Of each run, nan where it is censored.
        limits: What a censored time is known to be larger than; of the others it is not read.

    Returns:
        nan, and not censored, without any times.

    Example:
        >>> nan = math.nan
        >>> print(censored_median([100, 300, nan], [900] * 3), censored_median([100, nan, nan], [900] * 3), sep=", ")
        300, > 900
        >>> print(censored_median([100, 300, nan], [900, 900, 200]))  # of a run that ended early
        > 200
    """
    if not len(times):
        return Median(math.nan, False)
    missed = [math.isnan(time) for time in times]
    least = median(limit if m else time for time, limit, m in zip(times, limits, missed, strict=True))
    most = median(math.inf if m else time for time, m in zip(times, missed, strict=True))
    return Median(float(least), least != most)


@dataclass(frozen=True)
class Slope(Quantity):
    """How the logarithm of a time grows along a column, every seed at a level of its own (`accelerated.time_effect`).

    Attributes:
        of: The rows, of which a seed may have several.
        on: The column that it grows along.
        column: Event whose times are taken: columns `<event>_after` and `<event>_by` (nan where it is censored).
        beside: Columns that are held constant.
        name: What it is, for people.
    """

    of: Selection
    on: str
    column: str = "grokked"
    beside: Sequence[str] = ()
    name: str = "slope of ln T_grok"

    def found(self, table: "pd.DataFrame") -> Found:
        """The slope, with the interval of the profile likelihood."""
        rows = self.of(table)
        after, by = rows[f"{self.column}_after"], rows[f"{self.column}_by"]
        regressors = [rows[name].tolist() for name in (self.on, *self.beside)]
        fit = time_effect(after.tolist(), by.tolist(), regressors, rows["seed"].tolist()) if len(rows) else None
        missed, n = int(by.isna().sum()), rows["seed"].nunique()
        said = f"{self.name} {fit.interval(0.95) if fit else 'not known'}; {missed} of {len(rows)} times censored"
        return Found(fit.interval, said, n, bool(missed)) if fit else Found(None, said, n, 0 < missed == len(rows))


def draw_times(ax: "Axes", rows: "pd.DataFrame", x: str, event: str, colour: str, style: str, label: str) -> None:
    """Times of an event against a column: runs as dots, medians as a line, those that are censored as open triangles.

    Args:
        ax: Where.
        rows: A table of runs, with `steps`, their budgets.
        x: The column.
        event: Whose times stand under `<event>_by`.
        colour: Of all of it.
        style: Of the line.
        label: Of the line.
    """
    middles: list[tuple[float, float]] = []
    groups: Any = rows.groupby(x)
    for value, of in groups:
        by = of[f"{event}_by"]
        ax.plot([value] * int(by.notna().sum()), by.dropna(), ".", color=colour, ms=3.5, alpha=0.5)
        middle = censored_median(by.tolist(), of["steps"].tolist())
        middles.append((value, middle.value))
        if middle.is_censored:
            ax.plot(value, middle.value, "^", color=colour, mfc="white", ms=7, zorder=3)
    ax.plot(*zip(*middles, strict=True), color=colour, ls=style, label=label)
