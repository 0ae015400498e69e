"""Estimates at checkpoints of many runs: as `llc_of` has them, none where the step is too long, kept once made."""

import math

import pytest
import torch

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.study.along_runs import at_loss, estimates_at, kept, size_of_weights
from circuitgrok.table.llc import llc_of
from circuitgrok.tree import norm

HOW = Sampling(step_size=2e-4, localization=1000.0, n_draws=24)


def test_rows_are_those_of_the_estimator_with_seeds_of_the_steps(finished):
    steps = finished.steps[-2:]
    rows = estimates_at(finished, steps, HOW)
    exact = llc_of(finished.stack(steps), finished.config.model, finished.task, HOW, seeds=steps)
    assert [row["llc"] for row in rows] == exact.llc.tolist()
    assert [row["llc_prior"] for row in rows] == exact.prior.tolist()


def test_where_the_step_is_above_the_bound_there_is_no_estimate_and_its_neighbour_has_the_same(finished):
    steps = [finished.steps[0], finished.steps[-1]]
    tops = [row["llc_curvature"] for row in estimates_at(finished, steps, HOW)]
    nbeta = HOW.inverse_temperature(finished.task.n_train)
    between = HOW.stability_bound(sum(tops) / 2, nbeta)
    how = HOW.model_copy(update={"step_size": between})
    rows = estimates_at(finished, steps, how)
    stiff, soft = (1, 0) if tops[1] > tops[0] else (0, 1)
    assert rows[stiff] == {"llc_status": "unstable", "llc_curvature": tops[stiff]}
    assert rows[soft]["llc"] == estimates_at(finished, [steps[soft]], how)[0]["llc"]


def test_the_temperature_of_a_loss_and_the_size_of_the_weights(finished):
    step, where = finished.steps[-1], finished.task.is_train
    temperature, spread = at_loss(finished, step, 2.0)
    with torch.no_grad():
        logits = finished.config.model.logits(finished.at(step), finished.task.inputs[where]).double()
    if math.isfinite(temperature.item()):
        assert cross_entropy(logits / temperature, finished.task.labels[where]).mean().item() == pytest.approx(2.0)
    assert spread == pytest.approx(logits.std().item() / temperature.item(), nan_ok=True)
    trained = {k: v for k, v in finished.at(step).items() if finished.config.model.is_trainable(k)}
    n = sum(v.numel() for v in trained.values())
    assert size_of_weights(finished, step) == pytest.approx(norm(trained).item() / math.sqrt(n))


def test_what_was_made_is_read_and_not_made_again(tmp_path):
    made = []
    rows = [kept(tmp_path / "rows.json", lambda: made.append(1) or [{"llc": 1.5, "at": "end"}]) for _ in range(2)]
    assert rows[0] == rows[1] == [{"llc": 1.5, "at": "end"}] and len(made) == 1
