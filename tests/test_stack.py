"""Where a run starts: drawn weights, or a checkpoint of another run times the alphas."""

import shutil

import pytest
import torch
from tiny import json_lines, rewritten, tiny

import circuitgrok.training.stack
from circuitgrok import tree
from circuitgrok.canonical import sha256
from circuitgrok.store.run import RunError
from circuitgrok.store.weights import file_name, pack
from circuitgrok.training.loop import train
from circuitgrok.training.origin import initial_weights
from circuitgrok.training.stack import new_stack, state_of, subset
from circuitgrok.training.step import forward, update


@pytest.fixture
def source(tmp_path):
    return train([tiny(precision="float64")], tmp_path, names=["source"])[0]


@pytest.mark.bits
def test_a_run_starts_from_a_checkpoint_of_another_run_bit_for_bit(source):
    weights = initial_weights(tiny(precision="float64", start=f"{source.path}@16"))
    assert all(torch.equal(weights[name], value) for name, value in source.at(16).items())


def test_alphas_stretch_what_is_started_from(source):
    config = tiny(precision="float64", start=f"{source.path}@16", alpha=2.0, alpha_mlp=3.0)
    weights = initial_weights(config)
    for name, value in source.at(16).items():
        factor = 6.0 if tree.role(name) == "mlp" else 2.0
        assert torch.equal(weights[name], factor * value)


def test_training_on_from_a_checkpoint_forgets_the_optimizer_and_records_where_it_came_from(source, tmp_path):
    [run] = train([tiny(precision="float64", start=f"{source.path}@16", steps=8)], tmp_path / "on", names=["on"])
    assert all(torch.equal(run.at(0)[name], value) for name, value in source.at(16).items())
    assert run.manifest["start"]["digest"] == source.index[16]
    assert run.manifest["start"]["norm"] == tree.norm(source.at(16)).item()


def test_a_source_that_changed_since_is_refused(source, tmp_path):
    config = tiny(precision="float64", start=f"{source.path}@16", steps=8)
    train([config], tmp_path / "on", names=["on"])
    other = train([tiny(precision="float64", seed=5)], tmp_path / "other", names=["run"])[0]
    content = pack(other.at(16), {"step": 16, "config": source.config.hash})
    entries = [entry for entry in json_lines(source.path / "index.jsonl") if entry["step"] != 16]
    entries.append({"step": 16, "file": file_name(16), "sha256": sha256(content)})
    (source.path / file_name(16)).write_bytes(content)
    rewritten(source, "index.jsonl", sorted(entries, key=lambda entry: entry["step"]))
    with pytest.raises(RunError, match="started from a checkpoint that is another by now"):
        train([config], tmp_path / "on", names=["on"])


@pytest.mark.parametrize(("step", "said"), [(3, "no checkpoint at step 3; the nearest are"), (16, "another shape")])
def test_a_start_that_is_not_there_or_does_not_fit_is_refused_before_any_work(source, tmp_path, step, said):
    config = tiny(start=f"{source.path}@{step}", d_mlp=16 if step == 3 else 32)
    with pytest.raises(RunError, match=said):
        train([config], tmp_path / "on", names=["on"])
    assert not (tmp_path / "on" / "on" / "config.json").exists()


EVERYTHING_REMEMBERED = {
    "precision": "float64",
    "repulsion": 1e-3,
    "grokfast_ema": 0.5,
    "decay_to_init": True,
    "fixed_norm": True,
    "norm_from_step": 2,
    "start_moments": True,
}


def test_some_runs_of_a_stack_go_on_with_their_bits_and_no_file_is_read_again(source, tmp_path, monkeypatch):
    """The stack of the kept runs alone is the oracle, state by state, after further steps of both."""
    begun = {"start": f"{source.path}@24", "repel_from": f"{source.path}@8"}
    given = [tiny(**EVERYTHING_REMEMBERED | begun | {"weight_decay": decay}) for decay in (0.5, 1.0, 2.0)]
    whole, alone = new_stack(given), new_stack([given[0], given[2]])
    for step in range(5):
        for stack in (whole, alone):
            update(stack, forward(stack, step), step)
    shutil.rmtree(source.path)
    monkeypatch.setattr(circuitgrok.training.stack, "side", None)  # an image task would read its files there
    kept = subset(whole, [0, 2], 5)
    for step in range(5, 9):
        for stack in (kept, alone):
            update(stack, forward(stack, step), step)
    for i in range(2):
        here, there = state_of(kept, i), state_of(alone, i)
        assert here.keys() == there.keys() and len(here) > 5
        assert all(torch.equal(value, there[name]) for name, value in here.items())
    assert kept.decay_target is not None and alone.decay_target is not None
    assert torch.equal(kept.decay_target, alone.decay_target) and kept.clock == alone.clock > 0


def test_a_stack_that_loses_its_only_run_that_decays_to_its_start_has_no_target():
    stack = new_stack([tiny(), tiny(decay_to_init=True)])
    assert subset(stack, [1], 0).decay_target is not None and subset(stack, [0], 0).decay_target is None
