"""Chains begun anew with shorter steps: as often as they must be, and no oftener; what stands at their start."""

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from loops import for_each
from oracles import dense_hessian

import circuitgrok as cg
from circuitgrok.landscape.flat import loss_on
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.models.transformer import Transformer
from circuitgrok.table import accepted
from circuitgrok.table.accepted import HALVINGS, explore_accepted, ground
from circuitgrok.tasks.modular import modular_addition


@for_each(
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


def test_the_ground_has_the_weights_of_the_checkpoint_and_its_largest_curvature():
    model, task = Transformer(p=5, d_model=4, d_head=4, n_heads=1, d_mlp=8), modular_addition(p=5, frac_train=0.6)
    weights = model.init(torch.Generator().manual_seed(0), alpha=2.0)
    run: Any = SimpleNamespace(at=lambda step: weights, config=SimpleNamespace(model=model), task=task)
    loss, at, _ = loss_on(model, weights, task, task.is_train)
    largest = torch.linalg.eigvalsh(dense_hessian(loss, at))[-1].item()
    found = ground(run, 0)
    # eight Lanczos steps find this eigenvalue, seven times the next; differences of float32 gradients are off by 1e-3
    assert found.curvature == pytest.approx(largest, rel=1e-2)
    assert found.n_weights == len(at) and found.square == pytest.approx(at.square().sum().item(), rel=1e-6)
