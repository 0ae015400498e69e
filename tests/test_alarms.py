"""Alarms: planted falls are found where they are, by levels that no run sets for itself."""

import math

import pandas as pd

from circuitgrok.study.alarms import HELD, Indicator, alarms


def run(name, falls_at, end, last=1000):
    steps = list(range(100, last, 100))
    return pd.DataFrame({"run": name, "step": steps, "x": [100.0 if step < falls_at else end for step in steps]})


def found(*runs):
    table = pd.concat(runs, ignore_index=True)
    indicators = {"log": Indicator("x", True), "linear": Indicator("x")}
    lines = alarms(table, indicators, table["run"].str.startswith("falls")).itertuples()
    return {(line.indicator, line.run): line for line in lines}


def test_an_alarm_is_where_an_indicator_has_done_half_of_its_way_by_the_other_runs():
    of = found(run("falls 0", 500, 1.0), run("falls 1", 300, 4.0), run("flat", 9999, 1.0), run("dips", 600, 15.0))
    # logarithmic: half-way levels are 10 and 20, each run judged by the other's, controls by the mean of 15
    assert of["log", "falls 0"].level == 20 and of["log", "falls 1"].level == 10
    assert of["log", "falls 0"].alarm == 500 and of["log", "falls 1"].alarm == 300
    assert math.isnan(of["log", "flat"].alarm) and of["log", "flat"].steps == 900
    assert math.isnan(of["log", "dips"].alarm)  # 15 is not below 15
    # linear: 50.5 and 52
    assert of["linear", "falls 0"].level == 52 and of["linear", "dips"].alarm == 600


def test_an_alarm_must_be_kept_for_some_steps_and_needs_another_run():
    late, flicker = run("falls 0", 800, 1.0), run("falls 1", 300, 1.0)
    flicker.loc[flicker["step"] == 500, "x"] = 100.0  # below at 300 and 400 only, then from 600 on
    of = found(late, flicker)
    assert of["linear", "falls 1"].alarm == 600
    assert HELD == 200 and math.isnan(of["linear", "falls 0"].alarm)  # kept from 800 to 900: too short
    assert all(math.isnan(line.level) and math.isnan(line.alarm) for line in iter(found(flicker).values()))


def test_a_logarithmic_way_through_zero_is_taken_as_it_is():
    of = found(run("falls 0", 500, -4.0), run("other", 500, 1.0))
    assert of["log", "other"].level == 48 and of["log", "other"].alarm == 500


def test_how_long_an_alarm_is_kept_does_not_depend_on_the_grid_of_checkpoints():
    fine = pd.DataFrame({"run": "fine", "step": range(100, 1000, 10)})
    fine["x"] = [100.0 if step < 500 or step == 620 else 1.0 for step in fine["step"]]
    coarse = fine[fine["step"] % 100 == 0]
    other = run("falls", 500, 1.0)
    of_fine, of_coarse = found(fine, other), found(coarse, other)
    assert of_fine["linear", "fine"].alarm == 630 and of_coarse["linear", "fine"].alarm == 500
