"""Gains of several arms: paired by seed, with intervals that hold together, and what no control leaves undecided."""

import pandas as pd
import pytest
from loops import for_each

from circuitgrok import figures
from circuitgrok.study.claims import where
from circuitgrok.study.effects import Gains, Known, any_exceeds, draw_gains, joint_intervals, student
from circuitgrok.study.evidence import decide
from circuitgrok.study.intervals import mean_interval

NOISE = [0.0, 0.01, -0.01, 0.02]


def table(**gains):
    of = {"plain": 0.0, **gains}
    noisy = [
        (arm, seed, 0.3 + seed / 9 + gain + (arm != "plain") * NOISE[seed])
        for arm, gain in of.items()
        for seed in range(4)
    ]
    return pd.DataFrame([{"arm": arm, "seed": seed, "acc": value} for arm, seed, value in noisy])


GAINS = Gains(where(), "acc", "plain", "points")


def test_gains_are_paired_by_seed_and_intervals_widen_with_the_number_of_arms():
    rows = table(good=0.2, bad=-0.2)
    assert GAINS.found(rows[::-1])["good"].tolist() == pytest.approx([0.2 + x for x in NOISE])
    alone, two = joint_intervals({"a": NOISE}), joint_intervals({"a": NOISE, "b": NOISE})
    assert alone["a"] == mean_interval(NOISE) and two["a"] == mean_interval(NOISE, 0.975)


@for_each(
    ("arms", "decision"),
    [(["good", "bad"], "holds"), (["bad"], "opposite"), (["bad", "null"], "opposite"), (["bad", "other"], "not shown")],
)
def test_one_arm_that_gains_is_enough_and_one_that_is_unknown_forbids_the_opposite(arms, decision):
    [claim] = decide([GAINS.any_exceeds(arms, 0.1, "")], table(good=0.2, bad=-0.2, null=0.0))
    assert claim.decision == decision and ("decided null: null" in claim.measured) == ("null" in arms)


def test_who_gains_is_told_apart_from_zero_and_without_a_control_nobody_does():
    rows = table(good=0.2, bad=-0.2, null=0.0)
    assert GAINS.gainers(rows, ["plain", "good", "bad", "null", "other"]) == ["good"]
    none = rows[rows["arm"] != "plain"]
    assert GAINS.gainers(none, ["good"]) == []
    assert decide([GAINS.any_exceeds(["good"], 0.1, "")], none)[0].decision == "not shown"


def test_a_figure_of_gains_has_a_line_for_each_arm_from_the_top_on_and_no_interval_of_one_seed():
    gains = GAINS.found(table(good=0.2, bad=-0.2)).assign(lone=[0.1, *[float("nan")] * 3])
    figure, ax = figures.sheet(1, 1, (3, 3))
    draw_gains(ax, gains, {"good": "red", "other": "blue", "bad": "green", "lone": "black"}, 0.05)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["lone", "bad", "good"]
    ends = {(line.get_color(), *line.get_xdata()) for line in ax.get_lines() if line.get_linestyle() == "-"}
    expected = joint_intervals({arm: 100 * gains[arm] for arm in ("good",)})["good"]
    assert expected is not None and len(ends) == 2
    [(_, low, high)] = [line for line in ends if line[0] == "red"]
    assert (low, high) == pytest.approx((mean_interval((100 * gains["good"]).tolist()).low, expected.high))


@for_each(
    ("means", "decision"),
    [([0.0, 3.0], "holds"), ([0.0, 0.1], "opposite"), ([0.0, 1.1], "not shown"), ([3.0], "holds")],
)
def test_one_quantity_above_the_bound_is_enough_and_all_must_be_below_it_for_the_opposite(means, decision):
    known = [Known(student(mean, 0.2, 9), f"{mean}") for mean in means]
    [claim] = decide([any_exceeds(known, 1.0, "")], pd.DataFrame())
    assert claim.decision == decision and claim.measured == "; ".join(map(str, means))


def test_quantities_that_are_claimed_together_are_each_judged_at_their_share_of_the_level():
    just = Known(student(1.5, 0.2, 9), "")  # p = 0.034 alone
    one, two = (decide([any_exceeds([just] * n, 1.0, "")], pd.DataFrame())[0] for n in (1, 2))
    assert two.p == pytest.approx(2 * one.p, rel=0.03) and (one.decision, two.decision) == ("holds", "not shown")
