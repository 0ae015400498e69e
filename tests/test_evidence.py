"""Five words, p-values and Holm's level, against closed forms; and how often a family of claims is decided wrongly."""

import math

import pandas as pd
import pytest
import torch
from loops import for_each
from scipy.stats import ttest_1samp

from circuitgrok.study.claims import Mean, Share, where
from circuitgrok.study.evidence import (
    DECIDED,
    LEAST_P,
    Declared,
    Judged,
    decide,
    detectable,
    holm,
    seeds_needed,
    settled,
)
from circuitgrok.study.intervals import Interval, above, below, mean_interval, within

VALUES = [0.4, 1.1, 0.9, 1.6, 0.7, 1.3]


def rows(values):
    return pd.DataFrame({"seed": range(len(values)), "x": values})


MEAN = Mean(where(), "x", "mean of x")


@for_each("bound", [0.0, 0.5, 0.9, 1.2, 3.0])
def test_the_p_value_of_a_mean_is_that_of_the_t_test_whichever_side_is_claimed(bound):
    judged = MEAN.exceeds(bound, "").judge(rows(VALUES))
    expected = ttest_1samp(VALUES, bound)[1]
    assert judged.p_value == pytest.approx(expected, rel=0.02)  # known to a hundredth of itself
    assert MEAN.falls_below(bound, "").judge(rows(VALUES)).p_value == pytest.approx(judged.p_value, rel=0.02)


def test_the_p_value_of_a_share_is_that_of_the_exact_test():
    share = Share(where(), lambda table: table["x"] > 0.5)  # 9 of 10
    judged = share.exceeds(0.4, "").judge(rows([1.0] * 9 + [0.0]))
    tail = sum(math.comb(10, k) * 0.4**k * 0.6 ** (10 - k) for k in (9, 10))
    assert judged.p_value == pytest.approx(2 * tail, rel=0.02)


def test_holm_goes_on_while_claims_are_decided_and_keeps_the_level_at_which_it_stopped():
    assert holm([0.01, 0.04, 0.02], 0.06) == [0.02, 0.06, 0.03]
    assert holm([0.03, 0.001, 0.031], 0.06) == [0.03, 0.02, 0.06]
    assert holm([0.04, 0.001, 0.041], 0.06) == [0.03, 0.02, 0.03]  # 0.041 is below 0.06 but comes after a stop
    assert holm([]) == []


def shown(p):
    """A claim of a p-value."""
    return Declared(f"p {p}", lambda table: Judged("", lambda level: "holds" if 1 - level > p else "not shown"))


def test_words_are_taken_at_holms_level_together():
    claims = decide([shown(0.03), shown(0.001), shown(0.04)], rows(VALUES))
    assert [claim.decision for claim in claims] == ["not shown", "holds", "not shown"]
    alone = decide([shown(0.03)], rows(VALUES))
    assert alone[0].decision == "holds" and alone[0].alpha == 0.05
    assert "judged at 0.05" in alone[0].said and "p = 0.03" in alone[0].said


def test_a_word_never_contradicts_holm_however_near_its_level_a_p_value_is():
    for i in range(-40, 40):
        p = 0.025 * (1 + i / 2000)
        claims = decide([shown(p), shown(p * 1.001)], rows(VALUES))
        words = {claim.decision for claim in claims}
        assert words == ({"holds"} if claims[0].p <= 0.025 else {"not shown"})


def test_what_needs_no_interval_is_decided_at_any_level():
    claims = decide([Declared("All.", lambda table: settled("2 of 3", "counterexample")), shown(0.04)], rows(VALUES))
    assert [claim.decision for claim in claims] == ["counterexample", "holds"] and claims[0].p == LEAST_P
    never = decide([Declared("All.", lambda table: settled("no rows", "not shown"))], rows(VALUES))
    assert never[0].decision == "not shown" and never[0].p == 1


def test_a_family_of_true_nulls_is_decided_wrongly_as_often_as_it_says():
    draws = torch.randn(300, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    claims = [Mean(where(), f"x{i}", "x").exceeds(0, "") for i in range(4)]
    wrong = 0
    for family in draws:
        table = pd.DataFrame({"seed": range(6)} | {f"x{i}": of.tolist() for i, of in enumerate(family)})
        wrong += any(claim.decision in DECIDED for claim in decide(claims, table))
    # independent nulls: 1 - (1 - 0.05 / 4)^4 of families have one below the first step
    rate = 1 - (1 - 0.05 / 4) ** 4
    assert abs(wrong - 300 * rate) < 4 * math.sqrt(300 * rate * (1 - rate))


@for_each(
    ("decision", "interval", "bound"),
    [(above, Interval(2, 0.5, 3.5), 1), (below, Interval(2, 0.5, 3.5), 2.5), (within, Interval(-0.5, -2, 1), 1)],
)
def test_so_many_seeds_as_are_said_would_decide_and_one_less_would_not(decision, interval, bound):
    n = 8
    needed = seeds_needed(interval, n, bound, decision)

    def shrunk(m):
        ends = (interval.estimate + (end - interval.estimate) * math.sqrt(n / m) for end in interval[1:])
        return decision(Interval(interval.estimate, *ends), bound)

    assert shrunk(needed) in DECIDED and shrunk(needed - 1) not in DECIDED


def test_no_number_of_seeds_decides_an_estimate_at_its_bound_and_none_is_known_of_an_open_end():
    assert seeds_needed(Interval(1, 0, 2), 8, 1, above) == math.inf
    assert math.isnan(seeds_needed(Interval(1, -math.inf, math.inf), 8, 0, above))
    undecided = decide([MEAN.exceeds(0.95, "")], rows(VALUES))[0]
    assert undecided.decision == "not shown" and "seeds would" in undecided.said


def test_an_effect_of_the_size_that_is_said_is_found_four_times_of_five():
    n, alpha = 6, 0.01
    size = detectable(n, alpha)
    draws = torch.randn(2000, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + size
    found = sum(above(mean_interval(of.tolist(), 1 - alpha), 0) == "holds" for of in draws)
    assert abs(found - 1600) < 4 * math.sqrt(2000 * 0.8 * 0.2)  # four binomial standard errors
