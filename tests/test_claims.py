"""Claims against closed forms: ratios with censored times, shares, paired means, and what an open end may decide."""

import math

import pandas as pd
import pytest
from loops import for_each

from circuitgrok.study.claims import Declared, Mean, Ratio, Share, decide, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.selections import at_ends, by_seed
from circuitgrok.study.verdicts import Claim, mean_interval, share_interval

NEVER, LATE, EARLY = [math.nan] * 3, [800.0, 810.0, 790.0], [100.0, 101.0, 99.0]


def table(slow, fast):
    arms = {"slow": slow, "fast": fast}
    lines = [{"arm": a, "seed": i, "grokked_by": t, "steps": 1000} for a, of in arms.items() for i, t in enumerate(of)]
    return pd.DataFrame(lines)


RATIO = Ratio(where(arm="slow"), where(arm="fast"))


def test_a_ratio_is_the_geometric_mean_over_seeds_whatever_the_order_of_rows():
    logs = [math.log(a / b) for a, b in zip(LATE, EARLY, strict=True)]
    rows = table(LATE, EARLY)
    for shown in (rows, rows[::-1]):
        found = RATIO.found(shown)
        assert found.interval == pytest.approx(mean_interval(logs), rel=1e-12)
        assert not found.is_least and not found.is_most


@for_each(
    ("slow", "fast", "exceeds", "falls", "within"),
    [
        (LATE, EARLY, "holds", "fails", "fails"),
        (EARLY, LATE, "fails", "holds", "fails"),
        (NEVER, EARLY, "holds", "fails", "undecided"),  # ten times or more
        (NEVER, LATE, "undecided", "undecided", "undecided"),  # 1.25 times or more: maybe 4 times
        (LATE, NEVER, "fails", "holds", "undecided"),  # 0.8 times or less
        (NEVER, NEVER, "undecided", "undecided", "undecided"),
    ],
)
def test_a_ratio_of_censored_times_decides_only_what_its_bound_allows(slow, fast, exceeds, falls, within):
    declared = [RATIO.exceeds(3, "a"), RATIO.falls_below(3, "b"), RATIO.is_within(3, "c")]
    assert [claim.decision for claim in decide(declared, table(slow, fast))] == [exceeds, falls, within]


def test_rows_in_which_it_is_not_so_are_named_if_asked_for_and_without_rows_nothing_is_decided():
    every = Share(where(arm="slow"), lambda rows: rows["grokked_by"] < 805, "runs in time")
    before = Claim("made", "before", "holds")
    claims = [every.is_all("all", "seed {seed} at {grokked_by:g}"), every.is_all("all"), before]
    named, counted, made = decide(claims, table(LATE, EARLY))
    assert (named.measured, named.decision) == ("runs in time: 2 of 3, not seed 1 at 810", "fails")
    assert counted.measured == "runs in time: 2 of 3" and made == before
    assert decide(claims[:2], table(LATE[:1], EARLY))[0] == ("all", "runs in time: 1 of 1", "holds")
    assert decide(claims[:2], table([], EARLY))[0] == ("all", "runs in time: 0 of 0", "undecided")


def test_a_seed_in_which_both_are_censored_is_counted_and_forbids_decisions():
    rows = table([math.nan, *LATE[1:]], [math.nan, *EARLY[1:]])
    found = RATIO.found(rows)
    assert "1 left out" in found.words
    assert [claim.decision for claim in decide([RATIO.exceeds(3, ""), RATIO.falls_below(3, "")], rows)] == [
        "undecided",
        "undecided",
    ]


def test_a_ratio_of_two_columns_of_the_same_runs():
    rows = table(LATE, EARLY).assign(memorised_by=50.0)
    own = Ratio(where(arm="slow"), where(arm="slow"), by="memorised_by").found(rows).interval
    assert own is not None and own.estimate == pytest.approx(sum(math.log(t / 50) for t in LATE) / 3)


def test_only_seeds_that_both_have_are_compared():
    rows = table(LATE, EARLY)
    found = RATIO.found(rows[~((rows["arm"] == "fast") & (rows["seed"] == 2))])
    logs = [math.log(a / b) for a, b in zip(LATE[:2], EARLY[:2], strict=True)]
    assert found.interval == pytest.approx(mean_interval(logs), rel=1e-12)


def test_a_share_has_wilsons_interval_and_no_rows_decide_nothing():
    share = Share(where(arm="slow"), lambda rows: rows["grokked_by"] > 795)
    assert share.found(table(LATE, EARLY)).interval == share_interval(2, 3)
    assert share.found(table(LATE, EARLY)).words.endswith("(2 of 3)")
    none = Share(where(arm="other"), lambda rows: rows["grokked_by"] > 0)
    claims = decide([none.exceeds(0.5, ""), none.is_all("")], table(LATE, EARLY))
    assert [claim.decision for claim in claims] == ["undecided", "undecided"]


@for_each(("level", "decision"), [(780, "holds"), (795, "fails")])
def test_all_means_every_row(level, decision):
    [claim] = decide(
        [Share(where(arm="slow"), lambda rows: rows["grokked_by"] > level).is_all("All.")], table(LATE, [])
    )
    assert claim.decision == decision


def test_a_mean_and_a_paired_difference():
    rows = table(LATE, EARLY)
    assert Mean(where(arm="slow"), "grokked_by", "T").found(rows).interval == mean_interval(LATE)
    gain = Mean(where(arm="slow"), "grokked_by", "T", less=where(arm="fast"))
    assert gain.found(rows[::-1]).interval == pytest.approx(mean_interval([700.0, 709.0, 691.0]))
    own = Mean(where(arm="slow"), "grokked_by", "T", by="steps").found(rows)
    assert own.interval == mean_interval([time - 1000 for time in LATE])
    other = Mean(where(arm="slow"), "grokked_by", "T", less=where(arm="fast"), by="steps").found(rows[::-1])
    assert other.interval == own.interval
    one_missing = Mean(where(arm="slow"), "grokked_by", "T").found(table([math.nan, 1, 2], EARLY))
    assert one_missing.interval is None and "not known in 1 of 3" in one_missing.words


def test_a_geometric_mean_is_bounded_in_its_own_units_and_a_missing_value_decides_nothing():
    mean = Factor(where(arm="slow"), "grokked_by", "T")
    claims = [mean.exceeds(750, ""), mean.exceeds(800, ""), mean.falls_below(750, ""), mean.is_within(900, "")]
    decisions = [claim.decision for claim in decide(claims, table(LATE, EARLY))]
    assert decisions == ["holds", "undecided", "fails", "holds"]
    found = mean.found(table(LATE, EARLY))
    assert found.interval == mean_interval([math.log(time) for time in LATE])
    assert mean.found(table([math.nan, 1, 2], EARLY)).interval is None


def test_a_claim_of_ones_own_is_a_sentence_and_a_function():
    own = Declared("There are rows.", lambda rows: (f"{len(rows)} rows", "holds" if len(rows) else "fails"))
    assert decide([own], table(LATE, EARLY))[0] == ("There are rows.", "6 rows", "holds")


def test_what_is_told_beside_a_claim_decides_nothing():
    never = Ratio(where(arm="slow"), where(arm="slow"), name="unknown")
    plain = RATIO.exceeds(3, "Slow.")
    for rows in (table(LATE, EARLY), table(EARLY, LATE), table(NEVER, EARLY)):
        alone, told = decide([plain, plain.telling(Mean(where(arm="fast"), "steps", "budget"), never)], rows)
        assert told == alone._replace(measured=told.measured)
        words = (alone.measured, "budget 1e+03 [1e+03, 1e+03]", never.found(rows).words)
        assert told.measured == "; ".join(words)


def test_a_factor_is_the_geometric_mean_of_a_column_or_of_its_ratio_to_another_row_or_column():
    rows = table(LATE, EARLY).assign(norm=lambda of: of["grokked_by"] / (2 + of["seed"]))
    slow, fast = where(arm="slow"), where(arm="fast")
    own = Factor(slow, "grokked_by", "T")
    paired = Factor(slow, "grokked_by", "T", over=fast)
    columns = Factor(slow, "grokked_by", "T", by="norm")
    both = Factor(slow, "grokked_by", "T", over=fast, by="norm")
    seeds = range(3)
    expected = [LATE, [a / b for a, b in zip(LATE, EARLY, strict=True)], [2 + s for s in seeds]]
    expected.append([LATE[s] / EARLY[s] * (2 + s) for s in seeds])
    for quantity, values in zip((own, paired, columns, both), expected, strict=True):
        for shown in (rows, rows[::-1]):
            assert quantity.found(shown).interval == pytest.approx(mean_interval([*map(math.log, values)]), rel=1e-12)
    claims = [paired.exceeds(7, ""), paired.exceeds(9, ""), paired.falls_below(9, ""), columns.is_within(100, "")]
    assert [claim.decision for claim in decide(claims, rows)] == ["holds", "fails", "holds", "holds"]


@for_each("value", [math.nan, 0.0, -1.0, math.inf])
def test_a_factor_with_a_seed_that_has_no_logarithm_decides_nothing(value):
    of = Factor(where(arm="slow"), "grokked_by", "T")
    assert of.found(table([value, *LATE[1:]], EARLY)) == (None, "T not known in 1 of 3 seeds", False, False)
    assert of.found(table([], EARLY)).words == "T not known in 0 of 0 seeds"
    assert [claim.decision for claim in decide([of.exceeds(1, "")], table([value, *LATE[1:]], EARLY))] == ["undecided"]


def test_a_factor_of_rows_that_lack_a_seed_of_the_others_is_not_known():
    rows = table(LATE, EARLY)
    paired = Factor(where(arm="slow"), "grokked_by", "T", over=where(arm="fast"))
    assert "1 of 3" in paired.found(rows[~((rows["arm"] == "fast") & (rows["seed"] == 1))]).words


def test_the_ends_of_a_grid_are_those_of_the_rows_that_are_chosen():
    cells = [("a", 1.0, 5.0), ("a", 1.0, 7.0), ("a", 2.0, 9.0), ("b", 0.1, 0.0)]
    rows = pd.DataFrame([{"arm": arm, "alpha": alpha, "decay": decay, "seed": 0} for arm, alpha, decay in cells])
    assert at_ends(where(arm="a"), alpha=min)(rows)["decay"].tolist() == [5.0, 7.0]
    assert at_ends(where(arm="a"), alpha=min, decay=max)(rows)["decay"].tolist() == [7.0]
    assert at_ends(where(), decay=min)(rows)["arm"].tolist() == ["b"]


def test_the_best_of_a_seeds_runs_skips_what_is_censored_and_a_seed_without_any_stays_so():
    both = pd.concat([table([math.nan, 300, math.nan], EARLY), table([200, 400, math.nan], EARLY)])
    found = by_seed(where(arm="slow"), grokked_by="min", steps="max")(both)
    assert found["seed"].tolist() == [0, 1, 2] and found["grokked_by"].tolist()[:2] == [200, 300]
    assert math.isnan(found["grokked_by"][2]) and found["steps"].tolist() == [1000] * 3
    ratio = Ratio(by_seed(where(arm="slow"), grokked_by="min", steps="max"), where(arm="fast")).found(
        table(LATE, EARLY)
    )
    assert ratio.interval == RATIO.found(table(LATE, EARLY)).interval
