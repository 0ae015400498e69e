"""Chains begun anew with shorter steps: as often as they must be, and no oftener; what stands at their start."""

import math

import pandas as pd
import pytest

import circuitgrok as cg
from circuitgrok.landscape.hessian_along import spectrum_columns
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.table import accepted
from circuitgrok.table.accepted import HALVINGS, explore_accepted, ground


@pytest.mark.parametrize(
    ("is_good_below", "diverges_above", "tried"),
    [(2.0, 2.0, 1), (0.3, 2.0, 3), (2.0, 0.3, 3), (0.0, 2.0, HALVINGS + 1)],
)
def test_steps_are_halved_until_they_are_accepted_and_nothing_diverges(
    is_good_below, diverges_above, tried, monkeypatch
):
    seen = []

    def explored(run, step, sampling, prior):
        seen.append((run, step, sampling.step_size, prior))
        acceptance = 0.95 if sampling.step_size <= is_good_below else 0.85
        scores = [0.5, math.nan if sampling.step_size > diverges_above else 0.5]
        return pd.DataFrame({"acceptance": acceptance, "test_acc": scores}), None

    monkeypatch.setattr(accepted, "explore_run", explored)
    run = cg.load("checkpoints/reference")
    table, how = explore_accepted(run, 7, Sampling(step_size=1.0, localization=0.0), prior=3.0)
    assert [size for _, _, size, _ in seen] == [2.0**-i for i in range(tried)]
    assert {(at, step, prior) for at, step, _, prior in seen} == {(run, 7, 3.0)}
    assert how.step_size == seen[-1][2] and len(table) == 2


def test_the_ground_has_the_weights_of_the_checkpoint_and_its_sharpness():
    run = cg.load("checkpoints/reference")
    step = run.steps[len(run.steps) // 4]  # before the loss, and its curvature, is one of rounding
    found = ground(run, step)
    # float32 sums of some 1e4 squares
    assert math.sqrt(found.square) == pytest.approx(run.history["norm"][step], rel=1e-5)
    moving = [value.numel() for name, value in run.at(step).items() if run.config.model.is_trainable(name)]
    assert found.n_weights == sum(moving)
    columns = spectrum_columns(run.stack([step]), run.config.model, run.task, [1.0])
    # eight Lanczos steps find an eigenvalue that stands out, and stay a few per cent below one that does not
    assert 0.9 < found.curvature / columns["sharpness"].item() < 1 + 1e-3
