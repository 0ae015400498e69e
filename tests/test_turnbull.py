"""Shares that are left: scipy's Kaplan and Meier's where no times overlap, closed forms, and the largest likelihood."""

import math

import numpy as np
import pytest
from scipy.stats import CensoredData, ecdf

from circuitgrok.measures.learning.turnbull import turnbull

INF = math.inf


def test_without_overlaps_it_is_kaplan_and_meiers():
    generator = np.random.default_rng(0)
    times, ends = generator.exponential(100, 40).round(), generator.exponential(150, 40).round()  # with ties
    is_censored = ends < times
    seen, limits = times[~is_censored], ends[is_censored]
    expected = ecdf(CensoredData(uncensored=seen, right=limits)).sf
    found = turnbull([*seen, *limits], [*seen, *[INF] * len(limits)])
    assert found.n == 40 and found.n_censored == is_censored.sum() > 5
    steps = [q for q in expected.quantiles if q in seen]
    assert found.after == found.by == tuple(steps)
    assert np.abs(expected.evaluate(steps) - found.share).max() < 1e-6


def test_evaluations_at_the_same_steps_do_not_overlap():
    after = [0, 10, 10, 20, 30, 30]
    found = turnbull(after, [10, 20, 20, 30, math.nan, math.nan])
    assert found.after == (0, 10, 20) and found.by == (10, 20, 30)
    assert np.allclose(found.share, [5 / 6, 3 / 6, 2 / 6], atol=1e-8)


def test_what_overlaps_is_put_where_both_may_be():
    assert turnbull([0, 5], [10, 20]) == ((5.0,), (10.0,), (0.0,), 2, 0)


def test_three_that_overlap_have_a_closed_form():
    """(0, 2], (1, 4], (3, 5]: masses p in (1, 2] and 1 - p in (3, 4], likelihood p (1 - p)."""
    found = turnbull([0, 1, 3], [2, 4, 5])
    assert found.after == (1, 3) and found.by == (2, 4)
    assert np.allclose(found.share, [0.5, 0], atol=1e-6)


def test_no_shift_of_mass_makes_random_intervals_likelier():
    generator = np.random.default_rng(1)
    low = generator.integers(0, 50, 25)
    high = np.where(generator.random(25) < 0.3, INF, low + generator.integers(1, 40, 25))
    found = turnbull(low.tolist(), high.tolist())
    mass = -np.diff([1, *found.share, 0])  # the last is beyond every record
    after, by = np.append(found.after, low.max()), np.append(found.by, INF)
    covers = (after >= low[:, None]) & (by <= high[:, None])
    gain = (covers / (covers @ mass)[:, None]).sum(0)
    # of what has mass, all gain alike: rounding to 1e-9 of shares of a hundredth, and 1e-9 of the iteration
    assert np.abs(gain[mass > 1e-3] - 25).max() < 1e-3 and gain.max() < 25 + 1e-3


def test_all_censored_is_all_left_and_nothing_is_refused():
    assert turnbull([100, 200], [INF, math.nan]) == ((), (), (), 2, 2)
    for after, by in (([], []), ([10], [5])):
        with pytest.raises(ValueError, match="must be runs"):
            turnbull(after, by)
