"""Courses: legs are one run cut in pieces, they end when the rule is met, and the budget is kept."""

import pytest
from tiny import tiny

from circuitgrok.measures.learning.crossings import HOLD
from circuitgrok.study.asked import Asked
from circuitgrok.study.legs import course, until
from circuitgrok.study.question import train_missing
from circuitgrok.study.study import Study

KEPT = {"eval_every": 2, "keep_moments": True, "checkpoints_per_decade": 0, "checkpoint_on_move": 100.0}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return Asked(quick=True, out=tmp_path_factory.mktemp("out"), threads=1)


@pytest.fixture(scope="module")
def start(given):
    [first] = train_missing({"first": tiny(steps=10, checkpoint_every=10, **KEPT)}, given).values()
    return course(first)


def test_legs_are_the_run_that_was_not_interrupted_to_the_last_bit(given, start):
    [whole] = train_missing({"whole": tiny(steps=34, checkpoint_every=34, **KEPT)}, given).values()
    found = until(("test_acc", 1.1), {"a": start}, {"a": tiny(**KEPT)}, leg=8, budget=35, given=given)["a"]
    assert len(found.legs) == 4 and found.legs[-1].name == "a-leg2"  # a fourth leg of 8 would exceed 35
    assert found.history.index.tolist() == whole.history.index.tolist() == list(range(0, 35, 2))
    for column in ("train_loss", "test_loss", "norm"):
        assert found.history[column].tolist() == whole.history[column].tolist()
    assert found.state == "finished" and found.manifest == start.legs[0].manifest
    assert Study("Is it?", tiny(), {"a": {}}, seeds=[0]).table({"a-s0": found})["steps"].tolist() == [34]


def test_a_course_ends_with_the_leg_in_which_it_is_sure_and_others_go_on(given, start):
    reached = ("norm", start.history["norm"].iloc[0] * 0.5)  # from the first evaluation on
    assert not course(*start.legs).is_over("norm", 1e9) and start.crossed(*reached).by == 0
    assert not start.is_over("train_acc", 1.1)
    assert not start.is_over(*reached)  # evaluated at 0, 2 ... 10: not as long as a level must be kept
    long = start._replace(history=start.history.set_axis(start.history.index * (HOLD // 10)))
    assert long.is_over(*reached)  # to the very step
    short = long._replace(history=long.history.iloc[:-1])
    assert short.crossed(*reached).by == 0 and not short.is_over(*reached)
    found = until(reached, {"a": long, "b": short}, {"b": tiny(**KEPT)}, leg=10, budget=HOLD + 10, given=given)
    assert found["a"] is long and [run.name for run in found["b"].legs] == ["first", "b-leg0"]
