"""Leads at a rate of false alarms: planted series, seeds that are left out, and the rate itself by simulation."""

import math

import numpy as np
import pandas as pd
import pytest

from circuitgrok.study.alarms import Indicator
from circuitgrok.study.early_warning import leads, level_of, resolved_rate


def run(name, seed, values, grokked=math.nan, every=100):
    steps = [every * i for i in range(len(values))]
    return pd.DataFrame({"run": name, "seed": seed, "step": steps, "x": values, "grokked": grokked})


def found(*runs, rises=False, **how):
    table = pd.concat(runs, ignore_index=True)
    of = leads(table, {"x": Indicator("x", rises=rises)}, table["run"].str.startswith("c"), **how)
    return of.set_index("run")


def test_no_run_is_judged_by_controls_of_its_own_seed():
    of = found(run("a", 0, [9, 4, 1], 900), run("c0", 0, [9, 0, 0]), run("c1", 1, [9, 5, 5]), run("c2", 2, [9, 6, 6]))
    assert of.loc["a", ["level", "alarm", "lead"]].tolist() == [5, 100, 800]  # c0 would have allowed none
    assert of.loc["c0", "level"] == 5 and of.loc["c0", "alarm"] == 100 and math.isnan(of.loc["c0", "lead"])
    assert of.loc["c1", "level"] == 0 and math.isnan(of.loc["c1", "alarm"])
    assert of["is_control"].tolist() == [False, True, True, True]


def test_a_share_of_the_controls_may_give_an_alarm():
    controls = [run(f"c{i}", i, [9, i]) for i in range(1, 21)]
    assert found(run("a", 0, [9, 2.5, 1.5], 900), *controls).loc["a", "level"] == 2  # 1 is below it
    assert found(run("a", 0, [9, 2.5, 1.5], 900), *controls).loc["a", "alarm"] == 200
    assert found(run("a", 0, [9, 2.5, 1.5], 900), *controls, share=0.1).loc["a", "alarm"] == 100
    assert level_of([], 0.5) != level_of([], 0.5)


def test_an_indicator_may_warn_by_rising_and_unknown_values_are_no_alarm():
    of = found(run("a", 0, [1, math.nan, 7, 7], 900), run("c1", 1, [1, 5, math.nan, 3]), rises=True)
    assert of.loc["a", ["level", "alarm", "lead"]].tolist() == [5, 200, 700]


def test_an_alarm_after_the_event_or_none_has_no_lead():
    controls = run("c1", 1, [9, 5, 5])
    late, never = run("late", 0, [9, 9, 4], 150), run("never", 2, [9, 9, 9], 150)
    of = found(late, never, controls)
    assert of.loc[["late", "never"], "lead"].tolist() == [0, 0] and of.loc["late", "alarm"] == 200


def test_what_is_kept_too_shortly_sets_no_level_and_gives_no_alarm():
    dips, keeps = run("a", 0, [9, 3, 9, 4, 4], 900), run("c1", 1, [9, 1, 9, 6, 6])
    assert found(dips, keeps).loc["a", "level"] == 1
    of = found(dips, keeps, held=100)
    assert of.loc["a", "level"] == 6 and of.loc["a", "alarm"] == 300  # kept from 300 to 400
    fine = dips.assign(step=dips["step"] / 10)
    assert math.isnan(found(fine, keeps, held=100).loc["a", "alarm"])  # its record ends after 40 steps


def test_without_controls_there_is_no_level():
    of = found(run("a", 0, [9, 1], 900), run("b", 1, [9, 1], 900))
    assert of["level"].isna().all() and (of["lead"] == 0).all()


def test_the_rate_that_controls_resolve_is_that_of_new_runs():
    """Levels of 57 controls of any one law, and a new run of it: the share of alarms has the law that is said."""
    draws = np.random.default_rng(0)
    rates = [level_of(draws.random(57).tolist(), 0.05) for _ in range(4000)]  # of uniform draws P(new < level)
    said = resolved_rate(57)
    assert abs(np.mean(rates) - said.estimate) < 4 * np.std(rates) / 4000**0.5
    outside = np.mean([not said.low <= rate <= said.high for rate in rates])
    assert abs(outside - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert resolved_rate(19).estimate == pytest.approx(1 / 20)  # none of 19 may: the next is the lowest of 20
