"""The likelihood of differences within groups: against sums over a fine grid of levels, and closed forms of pairs."""

import math

import numpy as np
from loops import for_each
from scipy.stats import norm

from circuitgrok.study.within_groups import Rows, likelihood

GROUP = np.repeat(np.arange(4), 3)


def rows():
    """Of all kinds: known exactly, to narrow and wide intervals, to a bound."""
    generator = np.random.default_rng(0)
    x = np.stack([np.tile([0.0, 1.0, 0.5], 4), generator.standard_normal(12)], axis=1)
    y = generator.standard_normal(4)[GROUP] + x @ [0.7, -0.2] + 0.3 * generator.standard_normal(12)
    lower, upper = y - 0.1 * generator.random(12), y + 0.2 * generator.random(12)
    upper[[0, 5, 6]] = np.inf
    lower[3] = upper[3] = y[3]
    lower[4], upper[4] = y[4] - 2e-5, y[4] + 1e-5
    return Rows(lower, upper, x, GROUP)


def slowly(of, coefficients, spread):
    """The sum over 100,000 levels of products of probabilities, each by scipy."""
    shift, total = of.regressors @ coefficients, 0.0
    levels = np.linspace(of.lower.min() - 9, of.lower.max() + 9, 100_000)
    for group in range(4):
        density = np.ones_like(levels)
        for i in np.flatnonzero(of.group == group):
            low, high = ((end - shift[i] - levels) / spread for end in (of.lower[i], of.upper[i]))
            if of.lower[i] == of.upper[i]:
                density *= norm.pdf(low) / spread
            elif math.isinf(of.upper[i]):
                density *= norm.sf(low)
            else:
                mass = np.where(low > 0, norm.sf(low) - norm.sf(high), norm.cdf(high) - norm.cdf(low))
                density *= mass / (of.upper[i] - of.lower[i])
        total += math.log(np.trapezoid(density, levels))
    return total


@for_each(("coefficients", "spread"), [([0.7, -0.2], 0.3), ([0.2, 0.0], 0.15), ([1.5, 0.3], 0.6), ([0.7, 0.0], 1.0)])
def test_the_likelihood_is_the_sum_over_levels(coefficients, spread):
    point = np.append(coefficients, math.log(spread))
    value, gradient = likelihood(rows(), point)
    # tails beyond 7 s, the rule's 1e-12, and 1e-16 / 1e-4 of a narrow probability as a difference in the slow twin
    assert abs(value - slowly(rows(), coefficients, spread)) < 1e-8
    for i, step in enumerate(1e-4 * np.eye(3)):
        slope = (likelihood(rows(), point + step)[0] - likelihood(rows(), point - step)[0]) / 2e-4
        assert abs(slope - gradient[i]) < 1e-5 * max(1.0, abs(gradient).max())  # (1e-4)^2 times third derivatives


def test_of_exact_pairs_it_is_the_density_of_their_differences_and_of_a_bound_its_probability():
    y, x = np.array([0.3, 1.4, -0.5, 0.1]), np.array([[0.0], [1.0], [0.0], [1.0]])
    pairs = Rows(y, np.array([0.3, 1.4, -0.5, np.inf]), x, np.array([0, 0, 1, 1]))
    expected = norm.logpdf(1.1, 0.8, 0.2 * math.sqrt(2)) + norm.logsf(0.6, 0.8, 0.2 * math.sqrt(2))
    value, _ = likelihood(pairs, np.array([0.8, math.log(0.2)]))
    assert abs(value - expected) < 1e-10


def test_without_a_spread_it_is_how_far_intervals_overlap():
    box = Rows(np.array([0.0, 0.5]), np.array([1.0, 2.5]), np.zeros((2, 0)), np.array([0, 0]))
    value, gradient = likelihood(box, np.array([math.log(0.02)]))
    assert abs(value - math.log(0.5 / (1.0 * 2.0))) < 1e-9  # edges are sharp to 0.02 of both sides alike
    assert abs(gradient[0]) < 1e-9


def test_a_coefficient_at_a_value_is_no_longer_asked_for():
    point = np.array([0.7, -0.2, math.log(0.3)])
    assert np.isclose(likelihood(rows().without(0, 0.7), point[1:])[0], likelihood(rows(), point)[0], rtol=1e-12)
