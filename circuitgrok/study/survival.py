"""Censored times: their median, and the slope of their logarithm, with what is known of runs that did not get there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.study.claims import Found, Quantity, Selection
from circuitgrok.study.verdicts import Interval

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
        column: The times, nan where they are censored.
        limit: Column of what is known of a censored time: that it is larger.
        beside: Columns that are held constant.
        name: What it is, for people.
    """

    of: Selection
    on: str
    column: str = "grokked_by"
    limit: str = "steps"
    beside: Sequence[str] = ()
    name: str = "slope of ln T_grok"

    def found(self, table: "pd.DataFrame") -> Found:
        """The slope, with the interval of the profile likelihood."""
        rows = self.of(table)
        times, is_censored = rows[self.column].fillna(rows[self.limit]), rows[self.column].isna().tolist()
        said = f"{sum(is_censored)} of {len(rows)} times censored"
        if not (times > 0).all():
            return Found(None, f"{self.name} not known, a time is not positive; {said}")
        regressors = [rows[name].tolist() for name in (self.on, *self.beside)]
        slope = censored_slope(times.map(math.log).tolist(), is_censored, regressors, rows["seed"].tolist())
        return Found(slope, f"{self.name} {slope or 'not known'}; {said}")


def censored_slope(
    y: Sequence[float], is_censored: Sequence[bool], regressors: Sequence[Sequence[float]], groups: Sequence[int]
) -> Interval | None:
    """The slope of `y` along the first regressor, with a level of its own for every group, by maximum likelihood.

    Errors are normal, and of a censored value it is known that it is larger than the one given (Tobit). The
    interval is that of the profile likelihood, its threshold such that without censoring it is Student's.

    Args:
        y: Values.
        is_censored: Whether the true value is larger.
        regressors: The one asked for, then those that are held constant; each as long as `y`.
        groups: A label for each value; a group without an uncensored value says nothing and is left out.

    Returns:
        Slope and 95 % interval; None if too little is uncensored to tell a slope and an error.

    Example:
        >>> print(censored_slope([1.0, 2.0, 3.1, 3.9, 5.0], [False] * 5, [[1, 2, 3, 4, 5]], [0] * 5))
        0.99 [0.91, 1.07]
        >>> print(censored_slope([1.0, 2.0, 3.1, 3.9, 4.0], [False] * 4 + [True], [[1, 2, 3, 4, 5]], [0] * 5))
        0.98 [0.798, 1.16]

    Source: J. Tobin 1958, Econometrica 26, 24; R. Olsen 1978, Econometrica 46, 1211.
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.stats import t

    open_ended = np.asarray(is_censored, dtype=bool)
    label = np.asarray(groups)
    levels = [group for group in dict.fromkeys(groups) if not open_ended[label == group].all()]
    if not levels:
        return None
    kept = np.isin(label, levels)
    values, open_ended = np.asarray(y, dtype=float)[kept], open_ended[kept]
    asked, *others = [np.asarray(x, dtype=float)[kept] for x in regressors]
    rest = np.stack([*(label[kept] == group for group in levels), *others], axis=1).astype(float)
    design = np.column_stack([asked, rest])
    seen = ~open_ended
    free = int(seen.sum()) - design.shape[1]
    if free < 1 or np.linalg.matrix_rank(design[seen]) < design.shape[1]:
        return None
    best, coefficients, error = _most_likely(values, open_ended, design)

    def excess(slope: float) -> float:
        at, _, _ = _most_likely(values - slope * asked, open_ended, rest)
        return 2 * (best - at) - threshold

    threshold = seen.sum() * math.log1p(t.ppf(0.975, free) ** 2 / free)
    slope, width = float(coefficients[0]), 2 * error / (asked.std() * math.sqrt(len(asked)))
    ends = []
    for side in (-1, 1):
        far = next((d for d in width * 2.0 ** np.arange(40) if excess(slope + side * d) > 0), math.inf)
        found: Any = slope + side * far if math.isinf(far) else brentq(excess, slope, slope + side * far)
        ends.append(float(found))
    return Interval(slope, *ends)


def _most_likely(y, is_censored, design) -> tuple[float, Sequence[float], float]:
    """Largest log-likelihood of y = design b + s z with some y only bounded from below; b and s.

    In b / s and 1 / s the likelihood has one maximum (R. Olsen 1978, Econometrica 46, 1211).
    """
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import log_ndtr

    start, *_ = np.linalg.lstsq(design, y, rcond=None)
    spread = max(float((y - design @ start).std()), 1e-9)
    unit = y / spread

    def cost(point):
        scaled, log_rate = point[:-1], point[-1]
        rate = math.exp(log_rate)
        z = rate * unit - design @ scaled
        tail = log_ndtr(-z)  # of a value above the one given
        logs = np.where(is_censored, tail, log_rate - z**2 / 2)
        pull = np.where(is_censored, np.exp(-(z**2) / 2 - tail) / math.sqrt(2 * math.pi), z)  # -d logs / dz
        by_rate = np.where(is_censored, 0.0, 1.0) - pull * rate * unit
        return -logs.sum(), -np.append(pull @ design, by_rate.sum())

    found = minimize(cost, np.append(start / spread, 0.0), jac=True, method="BFGS", options={"gtol": 1e-7})
    rate = math.exp(found.x[-1])
    constant = (~is_censored).sum() * math.log(spread)
    return -float(found.fun) - constant, found.x[:-1] / rate * spread, spread / rate
