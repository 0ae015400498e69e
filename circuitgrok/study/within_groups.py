"""The likelihood of values known to intervals, with a level of its own for every group that is integrated out.

A value is level + x b + s z with normal z, and known to lie between two ends: of two that are one it is the density
that counts, of an open one the probability to be above. With a flat measure for the level the integral of a group is
the likelihood of the differences within it, which is all that a level of its own leaves of a group.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

NARROW = 1e-3  # in units of s: below, a probability is a density times a width, to the fourth power of this
TAIL = 7.0  # in units of s: what is further away is less than 1e-11
FINEST = 0.84  # of a normal density's s: the trapezoid rule is off by 2 exp(-2 pi^2 / 0.84^2), 1e-12
MOST = 600  # nodes: so many cover all but intervals that are more than a hundred s wide


class Rows(NamedTuple):
    """Values in the order of their groups.

    Attributes:
        lower: Lower ends `[row]`.
        upper: Upper ends, inf where a value is only known to be larger.
        regressors: `[row, coefficient]`.
        group: Number of each row's group, from 0 on; every group has a row with two ends.
    """

    lower: "np.ndarray"
    upper: "np.ndarray"
    regressors: "np.ndarray"
    group: "np.ndarray"

    def without(self, column: int, value: float) -> "Rows":
        """With one coefficient at a value, and no longer among them."""
        import numpy as np

        shift = value * self.regressors[:, column]
        regressors = np.delete(self.regressors, column, axis=1)
        return Rows(self.lower - shift, self.upper - shift, regressors, self.group)


class _Integrand(NamedTuple):
    """Of every group's integral over its level.

    Attributes:
        levels: Nodes `[group, node]`.
        logs: Logarithms of the integrand there.
        step: Between the nodes of a group.
        by_mean: Derivatives of each row's term by its mean `[row, node]`.
        by_spread: And by ln s.
    """

    levels: "np.ndarray"
    logs: "np.ndarray"
    step: "np.ndarray"
    by_mean: "np.ndarray"
    by_spread: "np.ndarray"


def likelihood(rows: Rows, point: "np.ndarray") -> tuple[float, "np.ndarray"]:
    """The logarithm of the likelihood, and its gradient.

    Args:
        rows: What is known.
        point: The coefficients, then ln s.

    Returns:
        Of an interval the probability is divided by its width, so that it has a limit where that is small.
    """
    import numpy as np

    at = _integrand(rows, point)
    peak = at.logs.max(1)
    weight = np.exp(at.logs - peak[:, None])
    mass = weight.sum(1)
    weight = (weight / mass[:, None])[rows.group]
    gradient = np.append((weight * at.by_mean).sum(1) @ rows.regressors, (weight * at.by_spread).sum())
    return float((peak + np.log(mass * at.step)).sum()), gradient


def levels(rows: Rows, point: "np.ndarray") -> "np.ndarray":
    """The mean level of each group `[group]`, in its likelihood at a point."""
    import numpy as np

    at = _integrand(rows, point)
    weight = np.exp(at.logs - at.logs.max(1)[:, None])
    return (weight * at.levels).sum(1) / weight.sum(1)


def _integrand(rows: Rows, point: "np.ndarray") -> _Integrand:
    import numpy as np

    spread = math.exp(point[-1])
    shift = rows.regressors @ point[:-1]
    lower, upper, group = rows.lower - shift, rows.upper - shift, rows.group
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    low, high = np.maximum.reduceat(lower, starts), np.minimum.reduceat(upper, starts)
    first, last = np.minimum(low, high) - TAIL * spread, np.maximum(low, high) + TAIL * spread
    size = np.diff(starts, append=len(group)).max()
    n = min(math.ceil((last - first).max() * math.sqrt(size) / (FINEST * spread)) + 1, MOST)
    nodes = first[:, None] + (last - first)[:, None] * np.linspace(0, 1, n)
    logs, by_mean, by_spread = _terms(lower, upper, nodes[group], spread)
    return _Integrand(nodes, np.add.reduceat(logs, starts), (last - first) / (n - 1), by_mean, by_spread)


def _terms(lower, upper, level, spread):
    """Logarithm of each row's density at each level `[row, node]`, and its derivatives by level and ln s."""
    import numpy as np
    from scipy.special import log_ndtr

    logs, by_mean, by_spread = np.empty_like(level), np.empty_like(level), np.empty_like(level)
    width = (upper - lower) / spread
    is_open, is_narrow = np.isinf(upper), width < NARROW
    is_wide = ~is_open & ~is_narrow
    half_log = 0.5 * math.log(2 * math.pi)
    if is_open.any():
        z = (lower[is_open, None] - level[is_open]) / spread
        logs[is_open] = log_ndtr(-z)
        hazard = np.exp(-(z**2) / 2 - half_log - logs[is_open])
        by_mean[is_open], by_spread[is_open] = hazard / spread, z * hazard
    if is_narrow.any():
        z = ((lower[is_narrow, None] + upper[is_narrow, None]) / 2 - level[is_narrow]) / spread
        curved = width[is_narrow, None] ** 2 / 24  # of the density over the width, second order
        logs[is_narrow] = -(z**2) / 2 - half_log - math.log(spread) + curved * (z**2 - 1)
        by_mean[is_narrow] = z * (1 - 2 * curved) / spread
        by_spread[is_narrow] = z**2 - 1 - curved * (4 * z**2 - 2)
    if is_wide.any():
        a, b = ((end[is_wide, None] - level[is_wide]) / spread for end in (lower, upper))
        above = a + b > 0
        near, far = np.where(above, -a, b), np.where(above, -b, a)  # the same probability in the lower tail
        top, bottom = log_ndtr(near), log_ndtr(far)
        mass = top + np.log(-np.expm1(bottom - top))
        logs[is_wide] = mass - np.log(spread * width[is_wide, None])
        at_a, at_b = (np.exp(-(z**2) / 2 - half_log - mass) for z in (a, b))
        by_mean[is_wide], by_spread[is_wide] = (at_a - at_b) / spread, a * at_a - b * at_b
    return logs, by_mean, by_spread
