"""The law of the delay on planted times: least squares without censoring, unbiased with it, and its bends."""

import math

import numpy as np
import pytest
from loops import for_each
from scipy.stats import t

import circuitgrok as cg

RHOS, SEEDS = np.array([0.85, 0.95, 1.0, 1.05, 1.15, 1.25]), 5
FREE = [49.0, 50.5, 50.0, math.nan, 51.0, 49.5]  # norms at grok: median 50


def planted(entropy, bend=0.0, budget=5000.0, every=20.0):
    """Norms, times and seeds: slope 7.6 per ρ, T = 1500 at ρ = 1, seeds and runs with normal errors."""
    generator = np.random.default_rng([5, entropy])
    rho, seed = np.tile(RHOS, SEEDS), np.repeat(np.arange(SEEDS), len(RHOS))
    logs = math.log(1500) + 7.6 * (rho - 1) + bend * (1 - ((rho - 1.05) / 0.2) ** 2)
    logs = logs + 0.15 * generator.standard_normal(SEEDS)[seed] + 0.1 * generator.standard_normal(len(rho))
    after = np.minimum(np.floor(np.exp(logs) / every) * every if every else np.exp(logs), budget)
    by = np.where(after < budget, after + every, math.nan)
    return (50 * rho).tolist(), after.tolist(), by.tolist(), seed.tolist()


def test_without_censoring_it_is_least_squares_within_seeds():
    norms, after, by, seeds = planted(0, budget=math.inf, every=0.0)
    law = cg.fit_delay(norms, after, by, seeds, FREE)
    logs, label = np.log(after).reshape(SEEDS, -1), np.array(seeds)
    for found, x in ((law.slope, np.array(norms) / 50 - 1), (law.exponent, np.log(np.array(norms) / 50))):
        design = np.column_stack([x, *(label == seed for seed in range(SEEDS))]).astype(float)
        fitted, squares, *_ = np.linalg.lstsq(design, logs.ravel(), rcond=None)
        free = logs.size - SEEDS - 1
        error = math.sqrt(squares[0] / free * np.linalg.inv(design.T @ design)[0, 0])
        half = t.ppf(0.975, free) * error
        assert np.abs(np.array(found) - (fitted[0] + np.array([0, -half, half]))).max() < 1e-6
        if found is law.slope:
            levels, far = fitted[1:], np.mean(RHOS - 1) * error  # the middle of the line is not at ρ = 1
            wide = t.ppf(0.975, SEEDS - 1) * math.hypot(levels.std(ddof=1) / math.sqrt(SEEDS), far)
            assert law.at_critical is not None
            assert np.abs(np.log(law.at_critical) - (levels.mean() + np.array([0, -wide, wide]))).max() < 1e-6
    assert law.n == 30 and law.n_censored == 0 and law.critical_norm == (50, -math.inf, math.inf)


def test_planted_laws_are_recovered_where_the_budget_as_a_time_is_biased():
    laws, naive = [], []
    for i in range(8):
        norms, after, by, seeds = planted(i)
        laws.append(cg.fit_delay(norms, after, by, seeds, FREE))
        naive.append(np.polyfit(np.array(norms) / 50, np.log(after), 1)[0])
    assert all(2 <= law.n_censored <= 10 for law in laws)
    for name, truth in (("slope", 7.6), ("at_critical", 1500), ("bend", 0.0)):
        values = np.array([getattr(law, name).estimate for law in laws])
        four_errors = 4 * values.std(ddof=1) / math.sqrt(len(laws))
        assert abs(values.mean() - truth) < four_errors
        # of 8 at 95 %: four binomial errors below 7.6
        assert sum(getattr(law, name).low < truth < getattr(law, name).high for law in laws) >= 5
        if name == "slope":
            assert np.mean(naive) < truth - four_errors
    assert sum(law.bend_p < 0.05 for law in laws) <= 3


@for_each("bend", [-0.6, 0.3])
def test_a_planted_bend_is_seen(bend):
    law = cg.fit_delay(*planted(0, bend), FREE)
    assert law.bend is not None and law.bend.low < bend < law.bend.high and law.bend_p < 0.01
    assert not law.bend.low < 0 < law.bend.high
    assert f"bend {law.bend}" in str(law) and f"{law.n_censored} of 30 times censored" in str(law)


def test_what_is_not_known_is_none():
    norms, after, by, seeds = planted(0)
    two = [i for i, norm in enumerate(norms) if norm in (42.5, 62.5)]  # all seeds at the larger are censored
    few = [[column[i] for i in two] for column in (norms, after, by, seeds)]
    law = cg.fit_delay(few[0], few[1], few[2], few[3], FREE)
    assert law.slope is not None and law.slope.estimate == math.inf and law.slope.low == -math.inf  # of five seeds
    assert law.at_critical is law.bend is None and math.isnan(law.bend_p) and "bend not known" in str(law)
    assert cg.fit_delay(norms, after, [math.nan] * 30, seeds, FREE).slope is None
    for wrong, free in ((norms, [math.nan]), ([0.0, *norms[1:]], FREE)):
        with pytest.raises(ValueError, match="norms must be positive"):
            cg.fit_delay(wrong, after, by, seeds, free)


def test_an_interval_of_the_critical_norm_is_of_order_statistics():
    law = cg.fit_delay(*planted(0), norms_at_grok=[48.0, 49.0, 49.5, 50.5, 51.0, 52.0])
    assert law.critical_norm == (50, 48, 52)
