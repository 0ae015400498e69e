"""Arcs against sums of a run's own steps, and against integrals in closed form."""

import math

import numpy as np
import pandas as pd
import pytest
from tiny import tiny

from circuitgrok.study.walked import arcs, at_arc, step_lengths, step_sizes, sustained, walked
from circuitgrok.training.loop import train


def test_arc_of_angles_that_fall_linearly_is_their_integral():
    steps = [0, 1, 5, 20, 60]
    path = walked(pd.Series([1.0 - s / 100 for s in steps], index=steps), 60)
    assert path.index.tolist() == steps
    assert np.allclose(path, [s - s**2 / 200 for s in steps], rtol=1e-15)


def test_arc_of_a_run_is_the_sum_of_its_steps_and_longer_than_its_chord(tmp_path):
    config = tiny(steps=40, checkpoint_every=1, eval_every=4, warmup=0, batch_size=5, rule="sgd", lr=0.1)
    [run] = train([config], tmp_path, names=["run"])
    angles, path = run.updates["update_angle"], arcs(run)
    assert path.index.tolist() == run.history.index.tolist() and path.iloc[0] == 0
    ends = (angles.iloc[0] + angles.iloc[-1]) / 2  # a trapezoid counts half of the first, and twice half of the last
    assert path.iloc[-1] == pytest.approx(angles.sum() - ends + angles.iloc[-1], rel=1e-12)
    few = walked(angles[angles.index % 8 == 0], 40).iloc[-1]
    assert 0.5 < few / path.iloc[-1] < 2  # every eighth step tells the arc of a noisy path to a factor


def test_arc_of_a_run_that_diverged_before_its_second_evaluation_is_none(tmp_path):
    config = tiny(steps=20, checkpoint_every=20, eval_every=20, warmup=0, rule="sgd", lr=1e9)
    [run] = train([config], tmp_path, names=["run"])
    assert run.state == "diverged" and run.history.index.tolist() == [0] and arcs(run).to_dict() == {0: 0.0}


def test_what_is_sustained_is_of_the_last_fifth_and_a_run_of_one_evaluation_is_where_it_is():
    values = pd.Series(np.arange(11.0), index=range(0, 110, 10))
    assert sustained(values) == 9.5 and sustained(values, 54) == 5.0 and sustained(values[:1]) == 0.0
    assert at_arc(values, values / 2, 2.0) == 4.0 and math.isnan(at_arc(values, values / 2, 5.1))


def test_a_step_of_adam_at_the_start_is_one_and_a_step_of_descent_is_the_gradient(tmp_path):
    small = {
        "steps": 6,
        "checkpoint_every": 1,
        "eval_every": 1,
        "warmup": 0,
        "precision": "float64",
        "weight_decay": 0.0,
    }
    adam, plain = train([tiny(**small, eps=1e-30), tiny(**small, rule="sgd", lr=0.3)], tmp_path, names=["a", "b"])
    for run in (adam, plain):
        trained = [name for name in run.at(0) if run.config.model.is_trainable(name)]
        n = sum(run.at(0)[name].numel() for name in trained)
        sizes = step_sizes(run)
        for step in (0, 3):
            moved = sum(float((run.at(step + 1)[name] - run.at(step)[name]).pow(2).sum()) for name in trained)
            assert step_lengths(run)[step] == pytest.approx(moved**0.5, rel=1e-6)
            assert sizes[step] == pytest.approx((moved / n) ** 0.5 / run.config.optimizer.lr, rel=1e-6)
    moving = sum(int((adam.at(1)[name] != adam.at(0)[name]).sum()) for name in trained)
    assert step_sizes(adam)[0] == pytest.approx(
        (moving / n) ** 0.5, rel=1e-6
    )  # a sign in every weight that has a slope
