"""Bounds by signs: order statistics by hand, an exact coin under censoring, and the same turned round."""

import math
from itertools import product

import numpy as np
from loops import for_each
from scipy.stats import binom

from circuitgrok.study.paired_signs import Signs

INF = math.inf


def test_of_known_differences_ends_are_order_statistics():
    values = tuple(float(x) for x in np.random.default_rng(0).standard_normal(9))
    signs, ordered = Signs(values, values), sorted(values)
    assert signs.estimate == ordered[4]
    for level in (0.5, 0.9, 0.95, 0.99):
        k = int(binom.ppf((1 - level) / 2, 9, 0.5))  # the largest with P(X < k) <= (1 - level) / 2
        k -= binom.cdf(k - 1, 9, 0.5) > (1 - level) / 2
        assert signs.interval(level)[1:] == (ordered[k - 1], ordered[-k])


ENDS = {
    "too few": ([1.0] * 5, [INF] * 5, (INF, -INF, INF)),
    "six": ([1.0] * 6, [INF] * 6, (INF, 1.0, INF)),
    "below": ([-INF] * 6, [2.0] * 6, (-INF, -INF, 2.0)),
    "one of seven is far below: 8 of 128 are more than 1 in 40": (
        [-9.0] + [1.0] * 6,
        [-9.0] + [INF] * 6,
        (INF, -9, INF),
    ),
    "that is within an interval tells nothing": ([1.0] * 6 + [0.5] * 3, [INF] * 6 + [1.5] * 3, (INF, 1.0, INF)),
}


@for_each(("lower", "upper", "expected"), ENDS.values(), ids=ENDS)
def test_ends_by_hand(lower, upper, expected):
    signs = Signs(tuple(lower), tuple(upper))
    assert signs.interval(0.95) == expected
    mirrored = Signs(tuple(-x for x in upper), tuple(-x for x in lower)).interval(0.95)
    assert mirrored == (-expected[0], -expected[2], -expected[1])


def test_the_level_of_an_end_is_at_least_the_one_asked_for_and_outside_no_value_has_less():
    generator = np.random.default_rng(1)
    lower = generator.standard_normal(12)
    upper = np.where(generator.random(12) < 0.4, INF, lower + generator.random(12))
    signs = Signs(tuple(lower.tolist()), tuple(upper.tolist()))
    for level in (0.5, 0.8, 0.95):
        _, low, high = signs.interval(level)
        for value in np.linspace(-3, 3, 601):
            assert (signs.level(value) >= level) == (value <= low or value >= high)


def test_under_any_censoring_a_true_bound_fails_no_more_often_than_it_may():
    """All 3^6 orders of six pairs: of each pair either is first, or both are beyond the budget."""
    level, missed = 0.9, 0.0
    for signs in product((1, -1, 0), repeat=6):
        pairs = [(0.1, INF) if sign > 0 else (-INF, -0.1) if sign < 0 else (-INF, INF) for sign in signs]
        probability = math.prod(0.4 if sign else 0.2 for sign in signs)
        missed += probability * (Signs(*zip(*pairs, strict=True)).level(0.0) > level)
    assert 0 < missed <= 1 - level
