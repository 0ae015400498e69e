"""Gains of several arms: paired by seed, with intervals that hold together, and what no control leaves undecided."""

import pandas as pd
import pytest

from circuitgrok.study.claims import decide, where
from circuitgrok.study.gains import Gains, joint_intervals
from circuitgrok.study.verdicts import mean_interval

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


@pytest.mark.parametrize(
    ("arms", "decision"),
    [(["good", "bad"], "holds"), (["bad"], "fails"), (["bad", "null"], "fails"), (["bad", "other"], "undecided")],
)
def test_one_arm_that_gains_is_enough_and_one_that_is_unknown_forbids_failing(arms, decision):
    [claim] = decide([GAINS.any_exceeds(arms, 0.1, "")], table(good=0.2, bad=-0.2, null=0.0))
    assert claim.decision == decision and ("decided null: null" in claim.measured) == ("null" in arms)


def test_who_gains_is_told_apart_from_zero_and_without_a_control_nobody_does():
    rows = table(good=0.2, bad=-0.2, null=0.0)
    assert GAINS.gainers(rows, ["plain", "good", "bad", "null", "other"]) == ["good"]
    none = rows[rows["arm"] != "plain"]
    assert GAINS.gainers(none, ["good"]) == []
    assert decide([GAINS.any_exceeds(["good"], 0.1, "")], none)[0].decision == "undecided"
