"""What multiplies times that are known to intervals: an accelerated-failure-time model by maximum likelihood.

ln T = level of the group + sum_j b_j x_j + s z with normal z. Of a time it is known that it lies between two
evaluations, or beyond the budget; nothing is put in its place. Every seed has a level of its own, which is integrated
out as restricted maximum likelihood does: what is left are differences within seeds, and s does not come out too small
for want of the levels (J. Neyman and E. Scott 1948, Econometrica 16, 1). Without censoring the profile likelihood of a
coefficient is then Student's t. Where most pairs of two arms are censored, their order is all that is asked
(`paired_signs`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from circuitgrok.study.intervals import Interval
from circuitgrok.study.paired_signs import Signs
from circuitgrok.study.within_groups import Rows, likelihood

if TYPE_CHECKING:
    import numpy as np

FIRST = 0.5  # steps: no event is earlier, as no step is divided
FINEST = 0.02  # of the median interval's width: a smaller spread changes no likelihood
LARGEST = 1e4  # of the range of all ends: a larger spread changes none
FARTHEST = 100.0  # of the same: an end that is further away is open


class Profile(Protocol):
    """How well the values of a coefficient go with what is known."""

    @property
    def estimate(self) -> float:
        """The best; inf or -inf where it is censored."""
        ...

    def level(self, value: float) -> float:
        """Confidence level of the interval that ends at a value: one minus the value's two-sided p-value."""
        ...

    def interval(self, level: float = 0.95) -> Interval:
        """The values that are not excluded; inf or -inf for an end that is open."""
        ...


@dataclass(frozen=True)
class Likely:
    """How likely the values of a coefficient are, at the best of everything else.

    Attributes:
        estimate: The most likely.
        rows: Logarithms of the times that say something of it.
        best: The largest log-likelihood.
        point: The other coefficients there, and ln s.
        n: Differences within groups of times that are known.
        error: About the standard error; without censoring the standard error.
        fitting: Between which values every time fits without any error: these are not excluded at any level, as the
            evaluations do not tell them apart. (nan, nan) where no value does.
    """

    estimate: float
    rows: Rows
    best: float
    point: "np.ndarray"
    n: int
    error: float
    fitting: tuple[float, float]

    def level(self, value: float) -> float:
        """Confidence level of the interval that ends at a value: one minus the value's two-sided p-value."""
        from scipy.stats import t

        return float(1 - 2 * t.sf(self._distance(value), self._free))

    def interval(self, level: float = 0.95) -> Interval:
        """The values whose profile likelihood is not too small; without censoring Student's interval."""
        from scipy.stats import t

        limit = float(t.ppf((1 + level) / 2, self._free))
        return Interval(self.estimate, self._end(-1, limit), self._end(1, limit))

    @property
    def _free(self) -> int:
        return self.n - self.rows.regressors.shape[1]

    def _distance(self, value: float) -> float:
        """From the estimate in standard errors, as Student's t has them."""
        import numpy as np

        low, high = self.fitting
        if low <= value <= high:
            return 0.0
        if math.isinf(value):
            return math.inf
        moved = (value - self.estimate) / self.error
        start = np.append(self.point[:-1], self.point[-1] + math.log1p(moved**2 / self._free) / 2)
        drop = max(self.best - _most_likely(self.rows.without(0, value), start)[0], 0.0)
        return math.sqrt(self._free * math.expm1(2 * drop / self.n))

    def _end(self, side: int, limit: float) -> float:
        import numpy as np
        from scipy.optimize import brentq

        inner = float(side * np.nanmax(side * np.array([self.estimate, self.fitting[side > 0]])))

        def excess(away: float) -> float:
            return self._distance(inner + side * away) - limit

        if math.isinf(inner) or excess(1e-8 * self.error) > 0:
            return inner
        farthest = FARTHEST * _extent(self.rows) / np.ptp(self.rows.regressors[:, 0])
        far = 1.02 * limit * self.error
        while excess(far) <= 0:
            far *= 2
            if far > farthest:
                return side * math.inf
        away: Any = brentq(excess, 0, far, xtol=1e-6 * self.error)
        return inner + side * float(away)


def time_effect(
    after: Sequence[float], by: Sequence[float], regressors: Sequence[Sequence[float]], groups: Sequence[int]
) -> Profile | None:
    """The coefficient of ln T on the first regressor, with a level of its own for every group.

    Args:
        after: Steps at which it had not happened yet.
        by: Steps at which it had; inf or nan where it had not by the end of the record. A time is known exactly where
            it is `after`; what happened before step 1 counts as in its second half.
        regressors: The one asked for, then those that are held constant; each as long as `after`.
        groups: A label for each time, such as its seed. A group without a time that is known says nothing.

    Returns:
        Of two arms that are paired by group and of whose pairs less than half are known in full, what the order of
        times tells: with an estimate inf or -inf, and a bound, where the median ratio is censored. Otherwise the
        profile likelihood. None where times tell no coefficient or no error of it: fewer than two groups that say
        something, a median that is censored on both sides, exact times without spread, no difference more than there
        are coefficients.

        A group's level may be any. Where groups differ less than times within them, a budget biases the estimate of
        the likelihood towards larger effects, by 0.2 s with levels a third as wide as s and 30 % of the slower arm
        censored; of intervals of 95 % of ten such pairs 4 % missed then, of twenty 5 %, most of
        them above; with half of the arm censored, where signs decide more often, 1 and 3 %.

    Raises:
        ValueError: A time is known to be earlier than it is known not to have happened.

    Example:
        >>> slow, fast = [220.0, 450.0, 390.0, 500.0], [100.0, 200.0, 200.0, 250.0]
        >>> arms, seeds = [[1.0] * 4 + [0.0] * 4], [0, 1, 2, 3] * 2
        >>> print(time_effect(slow + fast, slow + fast, arms, seeds).interval(0.95))
        0.74 [0.628, 0.852]
        >>> print(time_effect([400.0] * 4 + fast, [math.inf] * 4 + fast, arms, seeds).interval(0.8))
        inf [0.47, inf]

    Source: J. Kalbfleisch and R. Prentice 2002, The Statistical Analysis of Failure Time Data, 2nd ed., sections 3.2
        and 3.6; D. Harville 1974, Biometrika 61, 383 for the likelihood of differences.
    """
    rows = _informative(after, by, regressors, groups)
    if rows is None:
        return None
    signs = _signs(rows)
    if signs:
        n = sum(math.isfinite(low) and math.isfinite(high) for low, high in zip(signs.lower, signs.upper, strict=True))
        if 2 * n < max(len(signs.lower), 4):
            return None if math.isnan(signs.estimate) else signs
    return _likely(rows)


def _informative(after, by, regressors, groups) -> Rows | None:
    """Logarithms of times, of groups in which one is known and there is another; None of fewer than two groups."""
    import numpy as np

    first, last = np.asarray(after, dtype=float), np.asarray(by, dtype=float)
    last = np.where(np.isnan(last), np.inf, last)
    if (last < first).any():
        raise ValueError("a time is known to be earlier than it is known not to have happened")
    is_early = first <= 0
    lower = np.log(np.where(is_early, FIRST, first))
    upper = np.log(np.where(is_early, np.maximum(last, 2 * FIRST), last))
    labels, group = np.unique(np.asarray(groups), return_inverse=True)
    is_known = np.bincount(group, np.isfinite(upper), len(labels)) > 0
    kept = (is_known & (np.bincount(group) > 1))[group]
    order = np.flatnonzero(kept)[np.argsort(group[kept], kind="stable")]
    columns = np.stack([np.asarray(column, dtype=float) for column in regressors], axis=1)
    names, number = np.unique(group[order], return_inverse=True)
    return Rows(lower[order], upper[order], columns[order], number) if len(names) > 1 else None


def _signs(rows: Rows) -> Signs | None:
    """Of groups that are pairs of one time in each of two arms."""
    import numpy as np

    x = rows.regressors[:, 0]
    low, *between, high = np.unique(x) if np.ptp(x) else (0.0, 0.0, 0.0)
    is_high = x == high
    if (
        between
        or rows.regressors.shape[1] > 1
        or (np.bincount(rows.group, is_high) != 1).any()
        or 2 * is_high.sum() != len(x)
    ):
        return None
    above, below = (rows._replace(lower=rows.lower[of], upper=rows.upper[of]) for of in (is_high, ~is_high))
    at_least, at_most = (above.lower - below.upper) / (high - low), (above.upper - below.lower) / (high - low)
    return Signs(tuple(at_least.tolist()), tuple(at_most.tolist()))


def _likely(rows: Rows) -> Likely | None:
    import numpy as np

    known = np.isfinite(rows.upper)
    group, ends = rows.group[known], rows.lower[known] + rows.upper[known]
    columns = np.column_stack([ends / 2, rows.regressors[known]])
    means = np.stack([np.bincount(group, column) for column in columns.T], axis=1) / np.bincount(group)[:, None]
    y, x = np.split(columns - means[group], [1], axis=1)
    n = len(group) - len(means)
    if n <= x.shape[1] or np.linalg.matrix_rank(x) < x.shape[1]:
        return None
    start, *_ = np.linalg.lstsq(x, y[:, 0], rcond=None)
    spread = math.sqrt(float(np.square(y[:, 0] - x @ start).mean()))
    if spread < 1e-9 * _extent(rows) and not (rows.upper > rows.lower).any():
        return None
    best, point = _most_likely(rows, np.append(start, math.log(spread or FINEST)))
    error = math.exp(point[-1]) * math.sqrt(n / (n - x.shape[1]) * float(np.linalg.inv(x.T @ x)[0, 0]))
    return Likely(float(point[0]), rows, best, point[1:], n, error, _fitting(rows))


def _fitting(rows: Rows) -> tuple[float, float]:
    """Between which values of the first coefficient all rows are met without an error; nan if at none."""
    import numpy as np
    from scipy.optimize import linprog

    design = np.column_stack([rows.regressors, rows.group[:, None] == np.arange(rows.group[-1] + 1)])
    has_end = np.isfinite(rows.upper)
    above, below = np.vstack([-design, design[has_end]]), np.concatenate([-rows.lower, rows.upper[has_end]])
    ends = []
    for side in (1, -1):
        found = linprog(side * np.eye(design.shape[1])[0], above, below, bounds=(None, None))
        ends.append({0: found.fun, 3: -math.inf}.get(found.status, math.nan) * side)
    return ends[0], ends[1]


def _extent(rows: Rows) -> float:
    """From the lowest to the highest end of all rows."""
    return float(max(rows.lower.max(), rows.upper[rows.upper < math.inf].max()) - rows.lower.min()) or 1.0


def _bounds(rows: Rows) -> tuple[float, float]:
    """The smallest and largest ln s that differ from others."""
    import numpy as np

    width = rows.upper - rows.lower
    width = width[(width > 0) & (width < math.inf)]
    extent = _extent(rows)
    return math.log(FINEST * float(np.median(width)) if len(width) else 1e-9 * extent), math.log(LARGEST * extent)


def _most_likely(rows: Rows, start: "np.ndarray") -> tuple[float, "np.ndarray"]:
    """The largest log-likelihood, and the coefficients and ln s of it."""
    import numpy as np
    from scipy.optimize import minimize

    low, high = _bounds(rows)
    begin = np.append(start[:-1], np.clip(start[-1], low, high))
    sizes = np.linalg.norm(rows.regressors, axis=0)
    unit = np.append(math.exp(begin[-1]) / np.where(sizes > 0, sizes, 1.0), 0.7 / math.sqrt(len(rows.group)))

    def cost(moved):
        value, gradient = likelihood(rows, begin + unit * moved)
        return -value, -gradient * unit

    limits = [(None, None)] * rows.regressors.shape[1] + [tuple((np.array([low, high]) - begin[-1]) / unit[-1])]
    close = {"ftol": 1e-14, "gtol": 1e-6}  # an error of a millionth of a standard error, and its square in likelihood
    found = minimize(cost, np.zeros_like(begin), jac=True, method="L-BFGS-B", bounds=limits, options=close)
    return -float(found.fun), begin + unit * found.x
