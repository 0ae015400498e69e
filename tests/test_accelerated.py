"""Effects on times: Student's without censoring, a profile on a grid, bounds by hand, coverage, what is not known."""

import math
from typing import Any

import numpy as np
import pytest
from loops import for_each
from scipy.optimize import minimize_scalar
from scipy.stats import norm, t

from circuitgrok.study.accelerated import time_effect
from circuitgrok.study.intervals import mean_interval

INF = math.inf


def pairs(slow, fast):
    """Regressor and groups of two arms, each with every seed once."""
    return [[1.0] * len(slow) + [0.0] * len(fast)], [*range(len(slow))] * 2


def asked(slow, fast):
    """Of arms whose times are pairs (after, by)."""
    after, by = zip(*slow, *fast, strict=True)
    return time_effect(after, by, *pairs(slow, fast))


def effect(slow, fast):
    """The same where it is known."""
    found = asked(slow, fast)
    assert found is not None
    return found


def planted(generator, n, effect, spread, budget=INF, every=20):
    """Times of two arms as a record has them: evaluations every so many steps, nothing after the budget."""
    level = 7 + 0.5 * generator.standard_normal(n)
    times = [np.exp(level + shift + spread * generator.standard_normal(n)) for shift in (effect, 0.0)]
    after = [np.minimum(np.floor(time / every) * every, budget) for time in times]
    arms = [[(low, low + every if low < budget else INF) for low in arm] for arm in after]
    return arms[0], arms[1]


@for_each("width", [0.0, 1e-9])
def test_without_censoring_it_is_students_interval_of_log_ratios(width):
    generator = np.random.default_rng(0)
    fast = np.exp(generator.normal(6, 1, 8))
    slow = fast * np.exp(0.7 + 0.3 * generator.standard_normal(8))
    found = effect(*([(time, time * (1 + width)) for time in arm] for arm in (slow, fast)))
    for level in (0.9, 0.95, 0.999):
        expected = mean_interval(np.log(slow / fast).tolist(), level)
        assert np.abs(np.array(found.interval(level)) - np.array(expected)).max() < 1e-6
        assert abs(found.level(expected.low) - level) < 1e-6 > abs(found.level(expected.high) - level)


def test_a_time_that_is_held_constant_is_least_squares_within_groups():
    generator = np.random.default_rng(1)
    x, beside, group = generator.standard_normal(15), generator.standard_normal(15), np.repeat([0, 1, 2], 5)
    logs = 6 + 0.4 * x - 0.8 * beside + group + 0.2 * generator.standard_normal(15)
    design = np.column_stack([x, beside, *(group == g for g in range(3))]).astype(float)
    coefficients, squares, *_ = np.linalg.lstsq(design, logs, rcond=None)
    error = math.sqrt(squares[0] / 10 * np.linalg.inv(design.T @ design)[0, 0])
    times = np.exp(logs).tolist()
    profile = time_effect(times, times, [x.tolist(), beside.tolist()], group.tolist())
    assert profile is not None
    found = profile.interval(0.95)
    half = 2.2281388519649385 * error  # Student's quantile .975 at 10
    assert np.abs(np.array(found) - (coefficients[0] + np.array([0, -half, half]))).max() < 1e-6


def test_the_profile_is_that_of_differences_integrated_slowly():
    """A pair by its difference: what is known of the slower time, summed over what is known of the faster."""
    slow = [(1600, 1700), (1500, 1600), (1800, INF), (1200, 1300), (1800, INF), (1400, 1500)]
    fast = [(900, 1000), (700, 800), (1200, 1300), (800, 900), (800, 900), (900, 1000)]
    (a, b), (c, d) = (np.log(np.array(arm, dtype=float)).T for arm in (slow, fast))
    y = np.linspace(c, d, 201)

    def cost(log_spread, value):
        below, above = ((end - y - value) / (math.exp(log_spread) * math.sqrt(2)) for end in (a, b))
        mass = np.where(below > 0, norm.sf(below) - norm.sf(above), norm.cdf(above) - norm.cdf(below))
        return -np.log(np.trapezoid(mass, y, axis=0)).sum()

    def least(function, *ends, args=()) -> Any:
        return minimize_scalar(function, bounds=ends, args=args, method="bounded", options={"xatol": 1e-6})

    def profile(value):
        return -least(cost, -4, 1, args=(value,)).fun

    found = effect(slow, fast)
    top = least(lambda value: -profile(value), 0.3, 1.2)
    assert abs(found.estimate - top.x) < 1e-3  # where the likelihood is flat to 1e-3 squared
    for value in (0.2, 0.4, 0.5, 0.8, 1.0):
        size = math.sqrt(3 * math.expm1(2 * (-top.fun - profile(value)) / 4))  # four differences are known
        # 201 levels of an interval: less than 1e-4 of its likelihood
        assert abs(found.level(value) - (1 - 2 * t.sf(size, 3))) < 1e-3
    low, high = (found.level(end) for end in found.interval(0.9)[1:])
    assert abs(low - 0.9) < 1e-5 > abs(high - 0.9)


def test_of_an_arm_that_is_wholly_censored_a_bound_is_known_if_there_are_enough_seeds():
    fast = [(time, time) for time in (100.0, 130.0, 180.0, 150.0, 90.0, 210.0, 120.0)]
    found = effect([(400.0, INF)] * 7, fast)
    gaps = sorted(math.log(400 / time) for time, _ in fast)
    for level, n in ((0.5, 2), (0.8, 4), (0.95, 6), (0.98, 7)):  # so many halves are below (1 - level) / 2
        bound = found.interval(level)
        assert bound.estimate == bound.high == INF and abs(bound.low - gaps[-n]) < 1e-12
        assert level <= found.level(bound.low) == 1 - 2 * 0.5**n
    assert found.interval(0.99).low == -INF
    down = effect(fast, [(400.0, INF)] * 7).interval(0.8)
    assert down.estimate == down.low == -INF and down.high == -found.interval(0.8).low


def test_times_that_agree_exactly_are_known_as_well_as_the_evaluations_allow():
    found = effect([(200, 210)] * 10, [(100, 110)] * 10)
    for level in (0.5, 0.95, 0.9999):
        low, high = found.interval(level)[1:]
        assert low < math.log(200 / 110) + 1e-6 and high > math.log(210 / 100) - 1e-6
    assert found.interval(0.95).high < math.log(2.2)
    assert asked([(200, 200)] * 10, [(100, 100)] * 10) is None  # no error is known of exact times without spread


UNKNOWN = {
    "one seed": ([(200, 210)], [(100, 110)]),
    "one seed that is not censored in both": ([(200, 210), (300, INF)], [(100, 110), (300, INF)]),
    "all censored": ([(200, INF)] * 5, [(200, INF)] * 5),
    "censored in one arm or the other": ([(300, INF)] * 2 + [(100, 110)] * 2, [(100, 110)] * 2 + [(300, INF)] * 2),
}


@for_each(("slow", "fast"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_times_do_not_tell_is_not_known(slow, fast):
    assert asked(slow, fast) is None


def test_a_seed_that_is_censored_in_both_arms_says_nothing():
    slow, fast = planted(np.random.default_rng(3), 5, 0.6, 0.2)
    more = effect([*slow, (900, INF)], [*fast, (900, INF)])
    assert more.interval(0.95) == effect(slow, fast).interval(0.95)


def test_a_seed_that_is_censored_where_others_are_not_moves_the_estimate_towards_its_bound_only():
    slow, fast = planted(np.random.default_rng(3), 6, 0.6, 0.2)
    plain = effect(slow, fast).estimate
    low, high = (effect([*slow, (gap * 1000.0, INF)], [*fast, (1000, 1020)]).estimate for gap in (0.2, 6))
    assert abs(low - plain) < 1e-3 and high > plain + 0.02


def test_an_event_before_the_first_evaluation_is_a_bound_and_nothing_is_before_half_a_step():
    early = effect([(220, 240), (300, 320), (390, 400)], [(-1, 0), (0, 50), (0, 50)]).interval(0.95)
    assert early.estimate > math.log(300 / 50) and math.isfinite(early.high)


def test_a_time_that_is_earlier_than_it_is_known_to_be_is_refused():
    with pytest.raises(ValueError, match="earlier"):
        time_effect([10.0, 20.0], [20.0, 10.0], [[0.0, 1.0]], [0, 0])


def covered(n_runs, **planting):
    """How often an interval of 95 % keeps the planted effect, 0.5, or says nothing."""
    found = [asked(*planted(np.random.default_rng([i, 7]), 8, 0.5, 0.15, **planting)) for i in range(n_runs)]
    return sum(one is None or one.level(0.5) <= 0.95 for one in found)


def test_coverage_with_evaluations_far_apart_and_a_third_of_the_slower_arm_censored():
    n = 200
    assert covered(n, every=50, budget=2350) >= 0.95 * n - 4 * math.sqrt(n * 0.95 * 0.05)


@pytest.mark.slow
@for_each(("every", "budget"), [(20, INF), (100, 2300), (20, 2300), (20, 1500), (20, 1000)])
def test_coverage_at_length(every, budget):
    n = 2000
    assert covered(n, every=every, budget=budget) >= 0.95 * n - 4 * math.sqrt(n * 0.95 * 0.05)
