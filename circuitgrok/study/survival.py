"""Censored times: their median, and the slope of their logarithm, with what is known of runs that did not get there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from circuitgrok.study.accelerated import Profile, time_effect
from circuitgrok.study.claims import Found, Quantity, Selection

if TYPE_CHECKING:
    import pandas as pd


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
    """How the logarithm of a time grows along a column, every seed at a level of its own, by maximum likelihood.

    Attributes:
        of: The rows.
        on: The column that it grows along.
        column: The event: `<column>_after` is the last step at which it had not happened and `<column>_by` the first
            at which it had, nan where it is censored.
        limit: Column of what is known of a censored time: that it is larger.
        beside: Columns that are held constant.
        name: What it is, for people.
    """

    of: Selection
    on: str
    column: str = "grokked"
    limit: str = "steps"
    beside: Sequence[str] = ()
    name: str = "slope of ln T_grok"

    def profile(self, table: "pd.DataFrame") -> Profile | None:
        """How likely its values are; None where the times do not tell."""
        rows = self.of(table)
        by = rows[f"{self.column}_by"]
        after = rows[f"{self.column}_after"].where(by.notna(), rows[self.limit])
        regressors = [rows[name].tolist() for name in (self.on, *self.beside)]
        return time_effect(after.tolist(), by.tolist(), regressors, rows["seed"].tolist())

    def found(self, table: "pd.DataFrame") -> Found:
        """The slope, with the interval of the profile likelihood."""
        by, profile = self.of(table)[f"{self.column}_by"], self.profile(table)
        slope = None if profile is None else profile.interval()
        return Found(slope, f"{self.name} {slope or 'not known'}; {by.isna().sum()} of {len(by)} times censored")
