"""Checkpoints of anybody: five members are enough to be measured, sampled, drawn and summed up as a run is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import files_of, tiny
from tiny_kinds import tiny_kind

from circuitgrok.errors import UserError
from circuitgrok.faces.summary import summary_lines
from circuitgrok.figures import run_figure, save
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.checkpoints import Checkpoints, config_of, history_of
from circuitgrok.store.run import Run, RunError
from circuitgrok.table.explore import explore_run
from circuitgrok.table.llc import llc_along
from circuitgrok.table.measure import measure
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tasks.modular import ModularAddition
from circuitgrok.training.loop import train
from circuitgrok.tree import Params, stack


@dataclass
class Own:
    """Somebody's own checkpoints: the five members, and nothing else."""

    model: AnyModel
    task: Dataset
    networks: dict[int, Params]

    @property
    def steps(self) -> list[int]:
        return sorted(self.networks)

    def at(self, step: int) -> Params:
        return self.networks[step]

    def stack(self, steps: Sequence[int] | None = None) -> Params:
        return stack([self.networks[step] for step in (self.steps if steps is None else steps)])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return train([tiny(steps=200, lr=0.03)], tmp_path_factory.mktemp("own"), names=["mine"])[0]


def copied(run: Checkpoints) -> Own:
    return Own(run.model, run.task, {step: run.at(step) for step in run.steps})


def test_both_are_checkpoints(run):
    assert isinstance(run, Checkpoints) and isinstance(copied(run), Checkpoints)


def test_own_checkpoints_have_the_table_of_the_run_that_they_are_of(run):
    groups: list[Any] = ["polar", "fourier", "circuits", "memorization", "hessian", "attention"]
    table, theirs = measure(run, groups, run.steps[-2:]), measure(copied(run), groups, run.steps[-2:])
    assert table.equals(theirs)  # to the bit: the same arithmetic
    assert theirs.attrs["run"] == "Own" and "no folder" in theirs.attrs["kept"] and "kept" not in table.attrs
    assert {name: theirs.attrs[name] for name in ("key_freqs", "spectrum")} == {
        name: table.attrs[name] for name in ("key_freqs", "spectrum")
    }
    quick = measure(copied(run), steps=run.steps[-1])
    assert "update_norm" not in quick and not [name for name in quick if name not in measure(run, steps=run.steps[-1])]
    with pytest.raises(UserError, match="updates are recorded while training, and only runs"):
        measure(copied(run), "updates")


def test_llc_without_a_folder_is_that_of_the_run_and_nothing_is_written(run, tmp_path, monkeypatch):
    how, at = Sampling(step_size=1e-5, localization=1e3, n_draws=30), run.steps[-1:]
    monkeypatch.chdir(tmp_path)
    assert llc_along(copied(run), how, at).equals(llc_along(run, how, at))
    table = measure(copied(run), ["llc"], at, sampling=how)
    assert table["llc"].tolist() == llc_along(run, how, at)["llc"].tolist() and files_of(tmp_path) == {}
    walk = explore_run(copied(run), at[0], how)
    assert walk.table.equals(explore_run(run, at[0], how).table)


def test_history_figure_and_summary_of_own_checkpoints(run, tmp_path):
    history, table = history_of(copied(run)), measure(copied(run), ["polar", "fourier", "circuits"])
    there = run.history.loc[run.steps]
    for column in ("train_loss", "test_loss", "norm"):  # float32 logits by another path
        assert history[column].tolist() == pytest.approx(there[column].tolist(), rel=1e-4)
    assert history[["train_acc", "test_acc"]].equals(there[["train_acc", "test_acc"]])
    assert history_of(run).equals(run.history)
    figure = run_figure(copied(run), table)
    assert "Own: a + b mod 11, 50% train, first norm" in figure.get_suptitle()
    assert "alpha 1 × nanda" in run_figure(run, table).get_suptitle()
    assert all(Path(path).stat().st_size for path in save(figure, tmp_path / "own"))
    text = "\n".join(summary_lines(copied(run), table))
    assert text.startswith(f"Own: {len(run.steps)} checkpoints, the last at step 200")
    assert "not trained here; the first norm =" in text and "memorised at" in text and "key freqs" in text


def test_config_of_checkpoints_is_their_own_or_made_of_model_and_task(run, tmp_path):
    made, split = config_of(copied(run)), run.task.is_train
    assert made.model == run.model and made.modular.split.startswith("listed:") and config_of(run) == run.config
    assert torch.equal(made.task.draw().is_train, split) and made.task.draw().split_hash == run.task.split_hash
    noisy = ModularAddition(p=11, frac_train=0.5, corrupted=0.1).draw()
    with pytest.raises(UserError, match="a task with wrong or random labels is given by its config"):
        config_of(Own(run.model, noisy, {}))
    [other] = train([tiny_kind("composition")], tmp_path)
    with pytest.raises(UserError, match="need a `config` beside model and task"):
        measure(copied(other))
    with pytest.raises(RunError, match="Own has no checkpoint yet"):
        measure(Own(run.model, run.task, {}))
