"""Intervals of means and shares at any level of confidence, and on which side of a bound they lie.

Equal values in all seeds are no certainty: Student's interval would be a point. Of a bounded quantity, such as an
accuracy, an exact interval is given in its stead; of others there is none, and both ends are infinite.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Decision = Literal["holds", "opposite", "not shown", "counterexample", "censored"]


class Interval(NamedTuple):
    """An estimate with the interval that it is known to."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_interval(values: Sequence[float], level: float = 0.95, bounds: tuple[float, float] | None = None) -> Interval:
    """Mean of independent values with Student's confidence interval.

    With all values equal to m in [a, b], a mean μ is refuted if P(every X ≥ m) ≤ ((μ − a)/(m − a))ⁿ (Markov) is below
    half of 1 − level, and likewise from above: that is the interval then, and (−∞, ∞) without bounds.

    Args:
        values: At least two finite numbers, one per seed (take logarithms of ratios first).
        level: Confidence level.
        bounds: Between which every value must lie, if there are such.

    Raises:
        ValueError: Fewer than two values, one that is not finite, or one that is out of bounds.

    Example:
        >>> print(mean_interval([1.0, 2.0, 3.0]), mean_interval([1.0] * 3))
        2 [-0.484, 4.48] 1 [-inf, inf]
        >>> print(mean_interval([1.0] * 10, bounds=(0, 1)))
        1 [0.692, 1]
    """
    from scipy.special import stdtrit

    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        raise ValueError(f"an interval of a mean needs two finite values or more; got {list(values)}")
    least, most = bounds or (-math.inf, math.inf)
    if not all(least <= value <= most for value in values):
        raise ValueError(f"values must lie in [{least:g}, {most:g}]; got {list(values)}")
    n, mean = len(values), math.fsum(values) / len(values)
    if max(values) > min(values):
        spread = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
        half = float(stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(spread / n)
        return Interval(mean, max(mean - half, least), min(mean + half, most))
    if bounds is None:
        return Interval(mean, least, most)
    left = ((1 - level) / 2) ** (1 / n)
    return Interval(mean, least + (mean - least) * left, most - (most - mean) * left)


def share_interval(hits: int, n: int, level: float = 0.95) -> Interval:
    """Share of successes with the exact interval of Clopper and Pearson.

    Raises:
        ValueError: `hits` is not in 0..n, or n is 0.

    Example:
        >>> print(share_interval(3, 3), share_interval(10, 10))
        1 [0.292, 1] 1 [0.692, 1]
    """
    from scipy.special import betaincinv

    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"hits must lie in 0..n with n > 0; got {hits} of {n}")
    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return Interval(hits / n, low, high)


def factor(interval: Interval) -> str:
    """An interval of the mean logarithm of a ratio, as that of the ratio's geometric mean, in words.

    >>> factor(Interval(0.0, -math.log(2), math.log(2)))
    'geometric mean and 95 % interval over seeds 1, 0.5, 2'
    """
    text = ", ".join(f"{math.exp(x):.3g}" for x in interval)
    return f"geometric mean and 95 % interval over seeds {text}"


def above(interval: Interval, bound: float) -> Decision:
    """Whether the quantity is above a bound, as far as its interval can tell.

    >>> above(Interval(2, 1, 3), 0.5), above(Interval(2, 1, 3), 2.5), above(Interval(2, 1, 3), 4)
    ('holds', 'not shown', 'opposite')
    """
    if interval.low > bound:
        return "holds"
    return "opposite" if interval.high < bound else "not shown"


def below(interval: Interval, bound: float) -> Decision:
    """Whether the quantity is below a bound, as far as its interval can tell.

    >>> below(Interval(2, 1, 3), 4), below(Interval(2, 1, 3), 2.5), below(Interval(2, 1, 3), 0.5)
    ('holds', 'not shown', 'opposite')
    """
    if interval.high < bound:
        return "holds"
    return "opposite" if interval.low > bound else "not shown"


def within(interval: Interval, bound: float) -> Decision:
    """Whether the quantity is smaller in size than a bound, as far as its interval can tell.

    >>> within(Interval(0, -1, 1), 2), within(Interval(0, -1, 1), 0.5), within(Interval(2, 1, 3), 0.5)
    ('holds', 'not shown', 'opposite')
    """
    if max(abs(interval.low), abs(interval.high)) < bound:
        return "holds"
    return "opposite" if interval.low > bound or interval.high < -bound else "not shown"
