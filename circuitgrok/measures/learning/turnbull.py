"""The share of runs to which something has not happened yet, from times that are known to intervals.

Turnbull's estimate puts the distribution where the data can tell it: into innermost intervals, those that begin where
a run's interval does and end where the next one ends. Within one of them nothing says when it happened. Where no two
intervals overlap but for those that are censored, it is Kaplan and Meier's.
"""

from collections.abc import Sequence
from typing import NamedTuple

CLOSE = 1e-9  # of a run: what the likelihood's logarithm is short of the largest
MOST = 20_000  # rounds


class Survivors(NamedTuple):
    """The share to which something has not happened yet; it falls within intervals, and is known between them.

    Attributes:
        after: Begins of the intervals, increasing; -1 or so for what held from the first evaluation on.
        by: Their ends, each at or before the next begin.
        share: What is left after each of them; that of the last is not 0 if the longest run is censored.
        n: Runs.
        n_censored: Of them, to which it did not happen within the record.
    """

    after: tuple[float, ...]
    by: tuple[float, ...]
    share: tuple[float, ...]
    n: int
    n_censored: int


def turnbull(after: Sequence[int | float], by: Sequence[int | float]) -> Survivors:
    """The non-parametric maximum of the likelihood of times that are known to intervals.

    Args:
        after: Of each run, the last step at which it had not happened.
        by: The first at which it had, inf or nan if there was none; equal to `after` for a time that is known.

    Raises:
        ValueError: There are no runs, or a time ends before it begins.

    Example:
        >>> turnbull([10, 20, 20, 40], [20, 30, 30, float("nan")])  # the last was looked at until step 40
        Survivors(after=(10.0, 20.0), by=(20.0, 30.0), share=(0.75, 0.25), n=4, n_censored=1)

    Source: B. Turnbull 1976, J. R. Stat. Soc. B 38, 290; R. Peto 1973, Appl. Stat. 22, 86 for the intervals.
    """
    import numpy as np

    low, high = np.asarray(after, dtype=float), np.asarray(by, dtype=float)
    high = np.where(np.isnan(high), np.inf, high)
    if not len(low) or (high < low).any():
        raise ValueError(f"there must be runs, and no time may end before it begins; got {len(low)} runs")
    # what is censored or begins at a step leaves the step itself out; what ends at it does not, and stands before it
    begins = [(step, -1 if step == end else 1) for step, end in zip(low, high, strict=True)]
    marks = sorted([(*begin, True) for begin in begins] + [(end, 0, False) for end in high])
    inner = [(a, b) for a, b in zip(marks, marks[1:], strict=False) if a[2] and not b[2]]
    first, place, last = (np.array(x) for x in zip(*((a[0], a[1], b[0]) for a, b in inner), strict=True))
    own_place = np.array([begin[1] for begin in begins])[:, None]
    is_later = (first > low[:, None]) | ((first == low[:, None]) & (place >= own_place))
    covers = (is_later & (last <= high[:, None])).astype(float)
    mass = np.full(len(inner), 1 / len(inner))
    for _ in range(MOST):
        gain = (covers / (covers @ mass)[:, None]).mean(0)
        mass = mass * gain
        if gain.max() - 1 < CLOSE:
            break
    known, n_censored = np.isfinite(last) & (mass > CLOSE), int(np.isinf(high).sum())
    left = np.round(1 - np.cumsum(mass), 9)[known]
    begin, end, share = (tuple(column.tolist()) for column in (first[known], last[known], np.maximum(left, 0)))
    return Survivors(begin, end, share, len(low), n_censored)
