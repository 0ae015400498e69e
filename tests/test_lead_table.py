"""The table of leads: what is watched, what is relative, what is summed up, and a column of one's own."""

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from circuitgrok.study.alarms import Indicator
from circuitgrok.study.lead_table import lead_table, relative, summed_up, times, watched, watched_steps


def run(seed, grokked, scale=1.0, last=1000) -> Any:
    """A run that memorises at step 100, with a history of every 10 steps and a checkpoint every 50."""
    steps = range(0, last + 1, 10)
    columns = {"train_acc": [float(s >= 100) for s in steps]}
    columns["test_acc"] = columns["test_mirror_unseen_acc"] = [float(s >= grokked) for s in steps]
    config = SimpleNamespace(init=SimpleNamespace(seed=seed))
    history = pd.DataFrame(columns, index=pd.Index(steps, name="step"))
    return SimpleNamespace(steps=list(range(0, last + 1, 50)), history=history, config=config, scale=scale)


def grows(run, step):
    return {"size": run.scale * step}


def test_runs_are_watched_from_memorising_up_to_the_first_checkpoint_that_has_seen_the_event():
    assert times(run(0, 430)) == {"memorised": 100, "grokked_unseen": 430}
    assert watched_steps(run(0, 430), [0, 20, 300, 350, 600]) == [100, 150, 400, 450]
    assert watched_steps(run(0, math.inf), [0, 300, 600, 2000]) == [100, 400, 700]
    never = run(0, math.inf)
    never.history["train_acc"] = 0.0
    assert watched_steps(never, [0]) == []


def test_columns_stand_side_by_side_and_none_is_given_twice():
    rows = watched(run(0, 430), [grows, lambda run, step: {"one": 1.0}], [100, 150], 90)
    assert rows[1] == {"step": 150, "since": 60, "size": 150, "one": 1.0}
    with pytest.raises(ValueError, match="size"):
        watched(run(0, 430), [grows, grows], [100], 90)


def test_one_function_is_one_row_more():
    runs = {"a": run(0, 600, 3), "b": run(1, 500, 3), "still a": run(0, math.inf), "still b": run(1, math.inf)}
    indicators = {"size": Indicator("size", rises=True), "time": Indicator("since", rises=True)}
    since = [0, 100, 200, 300, 400]
    found: Any = lead_table(runs, [grows], indicators, ["still a", "still b"], since)
    shares = found["median_share"]
    # controls come to 500; 3 times 200 is more: a and b are warned at step 200; time alone tells nothing
    assert found.loc["size", ["warned", "n", "median_lead", "false_alarms"]].tolist() == [1, 2, 350, 0]
    assert shares["size"] == pytest.approx((400 / 600 + 300 / 500) / 2)
    assert found.loc["size", "at_once"] == 0 and found.loc["time", "warned"] == 0


def test_what_a_run_has_from_the_first_on_is_no_change():
    table = pd.DataFrame({"run": ["a", "a", "b", "b"], "x": [4.0, 8.0, 1.0, 5.0]})
    assert relative(table, {"x": Indicator("x", is_logarithmic=True)})["x"].tolist() == [1, 2, 1, 5]
    assert relative(table, {"x": Indicator("x")})["x"].tolist() == [0, 4, 0, 4]


def test_alarms_without_an_event_are_unfounded_and_those_of_controls_false():
    table = pd.DataFrame({"run": list("aabbcc"), "step": [0, 10] * 3, "grokked_unseen": [30.0] * 2 + [math.nan] * 4})
    found = pd.DataFrame(
        {"indicator": "x", "run": list("abc"), "is_control": [False, False, True], "alarm": [0.0, 10.0, math.nan]}
    ).assign(lead=[30.0, math.nan, math.nan])
    [row] = summed_up(found, table).to_dict("records")
    assert row["warned"] == row["at_once"] == row["unfounded"] == 1 and row["false_alarms"] == 0
    assert row["median_share"] == 1 and row["n"] == row["n_without"] == 1
