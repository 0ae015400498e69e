"""Medians of censored times by hand; their slopes: unbiased where the budget as a time is not, or not known."""

import math
import statistics
from itertools import product

import numpy as np
import pandas as pd
from loops import for_each

from circuitgrok.study.accelerated import time_effect
from circuitgrok.study.claims import where
from circuitgrok.study.evidence import decide
from circuitgrok.study.survival import Slope, censored_median


def planted_times(generator, noise, budget):
    """Logarithms of times that grow by e^(7.5 rho), a level for each of three seeds, cut off at the budget."""
    rho = np.tile([0.85, 0.95, 1.0, 1.05, 1.15, 1.25], 3)
    seed = np.repeat([0, 1, 2], 6)
    logs = 7.3 + 7.5 * (rho - 1) + 0.1 * seed + noise * generator.standard_normal(18)
    return rho, seed, np.minimum(logs, budget), logs > budget


def known(logs, is_censored, every=1e-6):
    """Steps after which and by which it happened, evaluated so many apart."""
    after = np.exp(logs)
    return after.tolist(), np.where(is_censored, np.nan, after + every).tolist()


def test_slope_of_censored_times_is_unbiased_where_the_budget_as_a_time_is_not():
    generator, found, naive = np.random.default_rng(1), [], []
    for _ in range(25):
        rho, seed, logs, is_censored = planted_times(generator, 0.15, 8.4)
        found.append(time_effect(*known(logs, is_censored), [rho.tolist()], seed.tolist()))
        naive.append(np.polyfit(rho, logs, 1)[0])  # every seed has the same rho: their levels change nothing
    slopes = np.array([profile.estimate for profile in found])
    four_errors = 4 * slopes.std(ddof=1) / np.sqrt(25)
    assert abs(slopes.mean() - 7.5) < four_errors < 7.5 - np.mean(naive)
    covered = sum(profile.level(7.5) <= 0.95 for profile in found)
    assert covered >= 19  # of 25 at 95 %: four binomial errors of 1.1 below 23.75


def planted_table(budget):
    rho, seed, logs, is_censored = planted_times(np.random.default_rng(2), 0.15, math.log(budget))
    after, by = known(logs, is_censored, every=20)
    return pd.DataFrame(
        {"arm": "held", "rho": rho, "seed": seed, "grokked_after": after, "grokked_by": by, "steps": budget}
    )


def test_a_slope_of_a_table_is_that_of_its_times_with_those_that_are_censored_beyond_the_limit():
    table = planted_table(4000)
    n = int(table["grokked_by"].isna().sum())
    assert 0 < n < 9
    found = Slope(where(arm="held"), "rho").found(pd.concat([table, table.assign(arm="other", rho=0.0)]))
    after, by, rho, seed = (table[name].tolist() for name in ("grokked_after", "grokked_by", "rho", "seed"))
    profile = time_effect(after, by, [rho], seed)
    assert profile is not None and found.interval == profile.interval(0.95)
    assert found.words == f"slope of ln T_grok {found.interval}; {n} of 18 times censored"
    bowl = Slope(where(), "bowl", beside=["rho"]).found(table.assign(bowl=(table["rho"] - 1) ** 2)).interval
    assert bowl is not None and bowl.low < 0 < bowl.high  # the times are on a line


@for_each(
    ("spoilt", "word"),
    [({"grokked_by": math.nan}, "censored"), ({"seed": 0}, "not shown"), ({"rho": 1.0}, "not shown")],
)
def test_a_slope_that_is_not_known_decides_nothing(spoilt, word):
    grows = Slope(where(), "rho").exceeds(0, "It grows.")
    [claim] = decide([grows], planted_table(4000).assign(**spoilt))
    assert claim.decision == word and "not known" in claim.measured
    [claim] = decide([grows], planted_table(4000))
    assert claim.decision == "holds"


NAN = math.nan
MEDIANS = {
    "none censored, odd": ([300, 100, 200], [900] * 3, (200, False)),
    "none censored, even": ([300, 100, 200, 400], [900] * 4, (250, False)),
    "fewer than half": ([300, 100, NAN], [900] * 3, (300, False)),
    "half of an even number: the mean of 300 and what is above 900": ([100, 300, NAN, NAN], [900] * 4, (600, True)),
    "more than half": ([100, NAN, NAN], [900] * 3, (900, True)),
    "all": ([NAN, NAN], [900, 700], (800, True)),
    "one that ended early may be anything above": ([100, 300, NAN], [900, 900, 200], (200, True)),
    "one that ended early, but above the median": ([100, 300, NAN], [900, 900, 300], (300, False)),
    "at step 0": ([0, 0, NAN], [900] * 3, (0, False)),
}


@for_each(("times", "limits", "expected"), MEDIANS.values(), ids=MEDIANS)
def test_median_of_censored_times_by_hand(times, limits, expected):
    assert censored_median(times, limits) == expected


def test_no_time_that_a_censored_one_may_have_contradicts_the_median():
    """Whatever the true times were, a median that is said to be known is theirs, and a bound is below theirs."""
    times, limits = [100.0, 300.0, NAN, 500.0, NAN], [900, 900, 250, 900, 600]
    found = censored_median(times, limits)
    for true in product((251, 400, 10_000), (601, 10_000)):
        known = statistics.median([100, 300, true[0], 500, true[1]])
        assert known >= found.value if found.is_censored else known == found.value


def test_median_of_nothing_is_not_known_and_not_censored():
    value, is_censored = censored_median([], [])
    assert math.isnan(value) and not is_censored
