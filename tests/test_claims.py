"""Claims against closed forms: ratios with censored times, shares, paired means, and what an open end may decide."""

import math

import pandas as pd
import pytest
from loops import for_each

from circuitgrok.study.claims import Mean, Ratio, Share, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.evidence import Declared, decide, settled
from circuitgrok.study.intervals import mean_interval, share_interval
from circuitgrok.study.selections import Band, at_ends, by_seed, differences, has_grokked

NEVER, LATE, EARLY = [math.nan] * 3, [800.0, 810.0, 790.0], [100.0, 101.0, 99.0]


def table(slow, fast, width=1e-6):
    """Times with the interval that they lie in, in which they are the middle by the logarithm."""
    arms = {"slow": slow, "fast": fast}
    lines = [{"arm": a, "seed": i, "grokked_by": t, "steps": 1000} for a, of in arms.items() for i, t in enumerate(of)]
    rows = pd.DataFrame(lines)
    after, by = rows["grokked_by"] * math.exp(-width / 2), rows["grokked_by"] * math.exp(width / 2)
    return rows.assign(grokked_after=after.fillna(rows["steps"]), grokked_by=by)


RATIO = Ratio(where(arm="slow"), where(arm="fast"))


def test_a_ratio_of_times_known_sharply_is_the_paired_geometric_mean_whatever_the_order_of_rows():
    logs = [math.log(a / b) for a, b in zip(LATE, EARLY, strict=True)]
    rows = table(LATE, EARLY)
    for shown in (rows, rows[::-1]):
        found = RATIO.found(shown)
        assert found.interval == pytest.approx(mean_interval(logs), abs=1e-3) and not found.is_censored
        assert found.n == 3


@for_each(
    ("slow", "fast", "exceeds", "falls", "within"),
    [
        (LATE, EARLY, "holds", "opposite", "opposite"),
        (EARLY, LATE, "opposite", "holds", "opposite"),
        ([math.nan] * 6, EARLY * 2, "holds", "opposite", "opposite"),  # ten times or more
        ([math.nan] * 6, LATE * 2, "censored", "censored", "censored"),  # 1.25 times or more: maybe 4 times
        (LATE * 2, [math.nan] * 6, "opposite", "holds", "censored"),  # 0.8 times or less
        (NEVER, NEVER, "censored", "censored", "censored"),
    ],
)
def test_a_ratio_of_censored_times_decides_only_what_its_bound_allows(slow, fast, exceeds, falls, within):
    declared = [RATIO.exceeds(3, "a"), RATIO.falls_below(3, "b"), RATIO.is_within(3, "c")]
    words = [decide([one], table(slow, fast))[0].decision for one in declared]
    assert words == [exceeds, falls, within]


def test_a_claim_about_all_is_broken_by_one_which_is_named_and_shown_by_enough_seeds():
    every = Share(where(arm="slow"), lambda rows: rows["grokked_by"] < 805, "runs in time")
    claims = [every.is_all("all", "seed {seed} at {grokked_by:.0f}"), every.is_all("all")]
    named, counted = decide(claims, table(LATE, EARLY))
    assert (named.measured, named.decision) == ("runs in time: 2 of 3, not seed 1 at 810", "counterexample")
    assert counted.measured == "runs in time: 2 of 3"
    few = decide(claims[:1], table(LATE[:1] * 5, EARLY))[0]
    assert few.decision == "not shown" and few.needed == 6  # (α / 2)^(1/6) = .541 > ½ > .478 = (α / 2)^(1/5)
    assert decide(claims[:1], table(LATE[:1] * 6, EARLY))[0].decision == "holds"
    assert decide(claims[:1], table([], EARLY))[0].decision == "not shown"


def test_of_a_claim_about_all_n_counts_seeds_and_not_their_rows():
    rows = pd.concat([table(LATE[:1] * 3, []).assign(alpha=alpha) for alpha in range(4)])
    claim = Share(where(arm="slow"), lambda rows: rows["steps"] > 0).is_all("all")
    assert decide([claim], rows)[0].decision == "not shown" and "12 of 12" in decide([claim], rows)[0].measured


@for_each("quantity", [RATIO, Share(where(), lambda rows: rows["steps"] > 0), Mean(where(), "steps", "steps")])
def test_several_rows_of_one_seed_are_refused(quantity):
    rows = pd.concat([table(LATE, EARLY)] * 2)
    with pytest.raises(ValueError, match="n counts seeds"):
        quantity.found(rows)


def test_a_ratio_of_two_events_of_the_same_runs():
    rows = table(LATE, EARLY).assign(memorised_after=50.0, memorised_by=50.0)
    own = Ratio(where(arm="slow"), where(arm="slow"), by="memorised").found(rows).interval
    assert own is not None and own.estimate == pytest.approx(sum(math.log(t / 50) for t in LATE) / 3, abs=1e-4)


def test_only_seeds_that_both_have_are_compared():
    rows = table(LATE, EARLY)
    found = RATIO.found(rows[~((rows["arm"] == "fast") & (rows["seed"] == 2))])
    logs = [math.log(a / b) for a, b in zip(LATE[:2], EARLY[:2], strict=True)]
    assert found.interval == pytest.approx(mean_interval(logs), abs=1e-3)


def test_a_share_has_the_exact_interval_and_no_rows_decide_nothing():
    share = Share(where(arm="slow"), lambda rows: rows["grokked_by"] > 795)
    assert share.found(table(LATE, EARLY)).interval == share_interval(2, 3)
    assert share.found(table(LATE, EARLY)).words.endswith("(2 of 3)")
    none = Share(where(arm="other"), lambda rows: rows["grokked_by"] > 0)
    claims = decide([none.exceeds(0.5, ""), none.is_all("")], table(LATE, EARLY))
    assert [claim.decision for claim in claims] == ["not shown", "not shown"]


def exact(slow, fast):
    """The same with times that are known to the step."""
    return table(slow, fast, 0.0)


def test_a_mean_and_a_paired_difference():
    rows = exact(LATE, EARLY)
    assert Mean(where(arm="slow"), "grokked_by", "T").found(rows).interval == mean_interval(LATE)
    gain = Mean(where(arm="slow"), "grokked_by", "T", less=where(arm="fast"))
    assert gain.found(rows[::-1]).interval == pytest.approx(mean_interval([700.0, 709.0, 691.0]))
    own = Mean(where(arm="slow"), "grokked_by", "T", by="steps").found(rows)
    assert own.interval == mean_interval([time - 1000 for time in LATE])
    other = Mean(where(arm="slow"), "grokked_by", "T", less=where(arm="fast"), by="steps").found(rows[::-1])
    assert other.interval == own.interval
    one_missing = Mean(where(arm="slow"), "grokked_by", "T").found(exact([math.nan, 1, 2], EARLY))
    assert one_missing.interval is None and "not known in 1 of 3" in one_missing.words


def test_equal_values_are_no_certainty():
    rows = exact([1.0] * 6, [1.0] * 6)
    free, bounded = (Mean(where(arm="slow"), "grokked_by", "T", bounds=of) for of in (None, (0, 1)))
    assert decide([free.exceeds(0.9, "")], rows)[0].decision == "not shown"
    found = bounded.found(rows).interval
    assert found == (1.0, pytest.approx(0.025 ** (1 / 6)), 1.0)  # a mean of .541 gives six ones with a chance of .025
    assert decide([bounded.exceeds(0.5, "")], rows)[0].decision == "holds"
    assert decide([bounded.exceeds(0.6, "")], rows)[0].decision == "not shown"


def test_a_geometric_mean_is_bounded_in_its_own_units_and_a_missing_value_decides_nothing():
    mean = Factor(where(arm="slow"), "grokked_by", "T")
    claims = [mean.exceeds(750, ""), mean.exceeds(800, ""), mean.falls_below(750, ""), mean.is_within(900, "")]
    words = [decide([claim], exact(LATE, EARLY))[0].decision for claim in claims]
    assert words == ["holds", "not shown", "opposite", "holds"]
    found = mean.found(exact(LATE, EARLY))
    assert found.interval == mean_interval([math.log(time) for time in LATE])
    assert mean.found(exact([math.nan, 1, 2], EARLY)).interval is None


def test_a_claim_of_ones_own_is_a_sentence_and_a_function():
    own = Declared("There are rows.", lambda rows: settled(f"{len(rows)} rows", "holds" if len(rows) else "opposite"))
    assert decide([own], table(LATE, EARLY))[0][:3] == ("There are rows.", "6 rows", "holds")


def test_what_is_told_beside_a_claim_decides_nothing():
    never = Ratio(where(arm="slow"), where(arm="other"), name="unknown")
    plain = RATIO.exceeds(3, "Slow.")
    for rows in (exact(LATE, EARLY), exact(EARLY, LATE), exact([math.nan] * 3, EARLY)):
        telling = plain.telling(Mean(where(arm="fast"), "steps", "budget"), never)
        [alone], [told] = decide([plain], rows), decide([telling], rows)
        assert told == alone._replace(measured=told.measured)
        assert told.measured == "; ".join([alone.measured, "budget 1e+03 [-inf, inf]", never.found(rows).words])


def test_a_factor_is_the_geometric_mean_of_a_column_or_of_its_ratio_to_another_row_or_column():
    rows = exact(LATE, EARLY).assign(norm=lambda of: of["grokked_by"] / (2 + of["seed"]))
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
    assert [claim.decision for claim in decide(claims, rows)] == ["holds", "opposite", "holds", "holds"]


@for_each("value", [math.nan, 0.0, -1.0, math.inf])
def test_a_factor_with_a_seed_that_has_no_logarithm_decides_nothing(value):
    of = Factor(where(arm="slow"), "grokked_by", "T")
    assert of.found(exact([value, *LATE[1:]], EARLY))[:2] == (None, "T not known in 1 of 3 seeds")
    assert of.found(exact([], EARLY)).words == "T not known in 0 of 0 seeds"
    assert [claim.decision for claim in decide([of.exceeds(1, "")], exact([value, *LATE[1:]], EARLY))] == ["not shown"]


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
    both = pd.concat([exact([math.nan, 300, math.nan], EARLY), exact([200, 400, math.nan], EARLY)])
    found = by_seed(where(arm="slow"), grokked_by="min", grokked_after="min", steps="max")(both)
    assert found["seed"].tolist() == [0, 1, 2] and found["grokked_by"].tolist()[:2] == [200, 300]
    assert math.isnan(found["grokked_by"][2]) and found["grokked_after"].tolist() == [200, 300, 1000]
    best = by_seed(where(arm="slow"), grokked_by="min", grokked_after="min")
    assert Ratio(best, where(arm="fast")).found(table(LATE, EARLY)).words == RATIO.found(table(LATE, EARLY)).words


def test_no_seed_is_judged_at_a_value_that_it_picked():
    times = {1.0: [50.0, 90.0] * 5, 2.0: [60.0, 40.0] * 5}  # the first half is fastest at 1, the other at 2
    rows = pd.DataFrame(
        [
            {"alpha": alpha, "seed": s, "grokked_by": t, "steps": 100}
            for alpha, of in times.items()
            for s, t in enumerate(of)
        ]
    )
    band = Band(where(), "alpha", has_grokked, "α")
    judged = band.at_soonest(where())(rows).set_index("seed")["grokked_by"]
    assert band.picks(rows) == [1.0, 2.0] and judged.sort_index().tolist() == [60.0, 90.0] * 5
    claim = band.is_found("There is a band.")
    assert decide([claim], rows)[0].decision == "holds"
    nowhere = decide([claim], rows.assign(grokked_by=math.nan))[0]
    assert nowhere.decision == "opposite" and "0 of 10" in nowhere.measured


def test_differences_of_factors_are_an_additive_designs_interaction_and_of_seeds_that_have_every_cell():
    cells = [(n, alpha, seed) for n in (50, 200, 1000) for alpha in (1.0, 4.0, 8.0) for seed in range(4)]
    table = pd.DataFrame(cells, columns=["n", "alpha", "seed"])
    # seeds and sizes have levels of their own, which go; alpha has 0.1 each, and at n = 50 another 0.02 times the seed
    table["gap"] = table["seed"] + 1 / table["n"] + 0.1 * table["alpha"]
    table["gap"] += 0.02 * table["seed"] * table["alpha"] * (table["n"] == 50)
    rise = differences(where(n=1000), "gap", alpha=(8.0, 1.0))(table)
    assert rise["difference"].tolist() == pytest.approx([0.7] * 4) and rise["seed"].tolist() == [0, 1, 2, 3]
    more = differences(where(), "gap", n=(50, 1000), alpha=(8.0, 1.0))
    swapped = differences(where(), "gap", alpha=(8.0, 1.0), n=(50, 1000))
    assert more(table)["difference"].tolist() == pytest.approx([0.14 * seed for seed in range(4)])
    assert more(table)["difference"].tolist() == pytest.approx(swapped(table)["difference"].tolist())
    less = table[~((table["seed"] == 2) & (table["n"] == 50) & (table["alpha"] == 1))]
    unknown = less.assign(gap=less["gap"].where(less["seed"] != 1))
    assert (
        more(unknown)["seed"].tolist() == [0, 3]
        and differences(where(), "gap", n=(7, 50), alpha=(8.0, 1.0))(table).empty
    )
