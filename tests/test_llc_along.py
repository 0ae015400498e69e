"""Estimates along a run: rows, settings, what is kept on disk, and what may not depend on it."""

import math

import numpy as np
import pytest
import torch
from loops import for_each
from tiny import copied
from tiny_kinds import tiny_kind

from circuitgrok.landscape.sampling import Sampling
from circuitgrok.store.kept import Estimates
from circuitgrok.store.run import RunError
from circuitgrok.table import llc as module
from circuitgrok.table.llc import llc_along, llc_of, settings_hash, sharpness_along
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train

HOW = Sampling(step_size=2e-4, localization=1000.0, n_draws=24)


@pytest.fixture
def run(finished, tmp_path):
    return copied(finished, tmp_path)


def lines(run, sampling=HOW):
    return (run.path / "llc" / f"{settings_hash(sampling)}.jsonl").read_text().splitlines()


def test_one_row_per_checkpoint_with_the_estimate_and_what_judges_it(run):
    table = llc_along(run, HOW)
    assert table.index.tolist() == run.steps
    estimate = llc_of(run.stack(), run.config.model, run.task, HOW, seeds=run.steps)
    # the same bits: chains of a checkpoint do not depend on those beside it
    assert np.array_equal(table["llc"], estimate.llc.numpy())
    assert np.array_equal(table["llc_mcse"], estimate.mcse.numpy(), equal_nan=True)
    assert table["llc_status"].tolist() == estimate.status
    assert np.array_equal(table["llc_curvature"], sharpness_along(run, HOW, run.steps).numpy())
    assert np.array_equal(table["llc_curvature"], estimate.curvature.numpy())  # found once before, here among the rest
    assert set(table.columns) == {"llc"} | {f"llc_{name}" for name in estimate._fields if name not in ("llc", "traces")}


def test_an_interrupted_measurement_goes_on_and_ends_as_if_it_had_not_been(run, finished, tmp_path, monkeypatch):
    whole = llc_along(copied(finished, tmp_path / "other"), HOW)
    monkeypatch.setattr(module, "CHAINS_AT_ONCE", 8)  # two checkpoints at once

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        llc_along(run, HOW, tick=stop)
    assert len(lines(run)) == 2
    seen = []
    resumed = llc_along(run, HOW, tick=lambda done, total: seen.append((done, total)))
    assert seen[0] == (4, len(run.steps)) and seen[-1] == (len(run.steps), len(run.steps))
    assert resumed.equals(whole)


def test_what_was_measured_is_read_and_other_settings_have_their_own_file(run, monkeypatch):
    first = llc_along(run, HOW, steps=run.steps[:3])
    monkeypatch.setattr(module, "llc_of", None)  # would be called if something were left to do
    assert llc_along(run, HOW, steps=run.steps[:3]).equals(first)
    with pytest.raises(TypeError):
        llc_along(run, HOW.model_copy(update={"seed": 1}), steps=run.steps[:1])


def test_a_checkpoint_with_another_digest_is_measured_again(run):
    step = run.steps[2]
    llc_along(run, HOW, steps=[step])
    file = run.path / "llc" / f"{settings_hash(HOW)}.jsonl"
    [line] = Estimates(file, run.config.hash)
    for old in (file, file.with_name(f"{file.name}.head")):
        old.unlink()
    Estimates(file, run.config.hash).add([line | {"sha256": "0" * 64}])
    llc_along(run, HOW, steps=[step])
    assert len(lines(run)) == 2


def test_only_the_declared_tensors_move(run):
    weights = run.stack(run.steps[-2:])
    moved = llc_of(weights, run.config.model, run.task, HOW.model_copy(update={"parameters": "unembed"}))
    whole = llc_of(weights, run.config.model, run.task, HOW)
    torch.testing.assert_close(moved.init_loss, whole.init_loss, rtol=1e-12, atol=0)  # one network, two layouts
    assert not moved.llc.equal(whole.llc)
    # the Hessian of some of the weights is a block of that of all: its largest eigenvalue is not larger
    assert (moved.curvature < whole.curvature).all()
    for name, value in run.stack(run.steps[-2:]).items():
        assert torch.equal(weights[name], value), name


def test_the_loss_can_be_of_other_pairs_and_n_stays_that_of_the_training_set(run):
    weights = run.stack(run.steps[-1:])
    found = llc_of(weights, run.config.model, run.task, HOW.model_copy(update={"on": "test_mirror_unseen"}))
    where = run.task.where("test_mirror_unseen")
    logits = run.config.model.logits(weights, run.task.inputs[where])
    loss = torch.nn.functional.cross_entropy(logits[0].double(), run.task.labels[where])
    assert found.init_loss.item() == pytest.approx(loss.item(), rel=1e-6)
    nbeta = HOW.inverse_temperature(run.task.n_train)
    assert found.llc.item() == pytest.approx(nbeta * (found.mean_loss - found.init_loss).item(), rel=1e-12)


def test_on_the_sphere_and_on_minibatches_there_are_estimates_too(run):
    weights = run.stack(run.steps[-1:])
    for given in ({"geometry": "sphere"}, {"geometry": "no_radial"}, {"batch_size": 10}, {"geometry": "no_gradient"}):
        found = llc_of(weights, run.config.model, run.task, HOW.model_copy(update=given))
        assert found.llc.isfinite().all(), given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parameters": "blocks.7.*"}, "no tensor matches"),
        ({"on": "tests"}, "split must be one of"),
        ({"batch_size": 10_000}, "batch_size must be at most the 60 pairs"),
        ({"step_size": 1.0}, "step_size must be below"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(run, given, message):
    with pytest.raises(ValueError, match=message):
        llc_along(run, HOW.model_copy(update=given))
    assert not (run.path / "llc").exists()


def test_a_step_without_a_checkpoint_is_refused(run):
    with pytest.raises(RunError, match="no checkpoint at step 7"):
        llc_along(run, HOW, steps=[7])


def test_the_bound_is_that_of_the_sharpest_checkpoint_of_those_asked_for(run):
    curvatures = sharpness_along(run, HOW, run.steps)
    nbeta = HOW.inverse_temperature(run.task.n_train)
    bound = HOW.stability_bound(curvatures.max().item(), nbeta)
    with pytest.raises(ValueError, match=f"below {bound:.3g}"):
        llc_along(run, HOW.model_copy(update={"step_size": 1.001 * bound}))


def test_an_mlp_on_features_has_estimates_too(tmp_path):
    [run] = train([tiny_kind("parity")], tmp_path, names=["run"])
    table = measure(run, ["llc"], [16], sampling=HOW)
    found = llc_of(run.stack([16]), run.config.model, run.task, HOW, seeds=[16])
    assert table["llc"].tolist() == found.llc.tolist() and math.isfinite(table["llc"].item())
    assert found.init_loss.item() == pytest.approx(run.history.loc[16, "train_loss"], rel=1e-6)


@for_each(
    ("name", "reason"),
    [
        ("quadratic", "llc is of the mean cross-entropy: this run's loss is mse"),
        ("dense", "llc needs logits at temperature 1"),
    ],
)
def test_a_run_that_minimised_something_else_is_refused(tmp_path, name, reason):
    [run] = train([tiny_kind(name, steps=2)], tmp_path, names=["run"])
    for along in (llc_along, sharpness_along):
        with pytest.raises(ValueError, match=reason):
            along(run, HOW, run.steps)
    assert not (run.path / "llc").exists()
