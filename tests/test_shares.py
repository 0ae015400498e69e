"""Accuracies of parts of a split, against pairs counted one by one: in a stack, alone, of checkpoints, and resumed."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from loops import for_each
from tiny import tiny
from tiny_kinds import LEAVES, tiny_kind

import circuitgrok as cg
from circuitgrok.store.checkpoints import evaluated
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.tasks.shares import NOBODYS, PARTIAL, shares
from circuitgrok.training.stack import new_stack, subset
from circuitgrok.training.step import evaluate, forward

CONFIGS = {
    "plain": tiny(),
    "two wrong": tiny(data_seed=1, corrupted=0.03),
    "many wrong": tiny(corrupted=0.4, label_seed=5, weight_decay=0.0),
    "no mirror seen": tiny(split="mirror_free"),
    "subtract": tiny(operation="subtract", corrupted=0.2),
    "multiply": tiny(p=11, operation="multiply", frac_train=0.6),
}


def counted(config, said: list[int]) -> dict[str, float]:
    """Accuracies of all parts, pair by pair; `said` of all pairs of the domain in their order."""
    task = config.task.draw()
    pairs = [(int(a), int(b)) for a, b, _ in task.inputs]
    trained = {pair for pair, here in zip(pairs, task.is_train.tolist(), strict=True) if here}
    found: dict[str, list[bool]] = {}
    for (a, b), answer, label, true in zip(pairs, said, task.labels.tolist(), task.true_labels.tolist(), strict=True):
        if (a, b) not in trained:
            found.setdefault("test_acc", []).append(answer == label)
            if (b, a) not in trained:
                found.setdefault("test_mirror_unseen_acc", []).append(answer == label)
            continue
        found.setdefault("train_acc", []).append(answer == label)
        if config.task.corrupted and label == true:
            found.setdefault("train_clean_acc", []).append(answer == label)
        elif label != true:
            found.setdefault("train_corrupted_acc", []).append(answer == label)
            found.setdefault("train_corrupted_true_acc", []).append(answer == true)
    return {name: sum(right) / len(right) for name, right in found.items()}


@for_each("name", CONFIGS)
def test_parts_are_those_that_are_counted_pair_by_pair(name):
    """Of answers at random, half of them true."""
    config = CONFIGS[name]
    task, generator = config.task.draw(), torch.Generator().manual_seed(1)
    noise = torch.randint(11, task.labels.shape, generator=generator)
    said = torch.where(torch.rand(noise.shape, generator=generator) < 0.5, task.true_labels, noise)
    parts = {
        name: ((said[task.where(side)] == labels).sum() / (labels != NOBODYS).sum()).item()
        for side in ("train", "test")
        for name, labels in shares(task, side).items()
    }
    assert parts == pytest.approx(counted(config, said.tolist()), rel=1e-6)  # float32


def test_a_network_that_says_what_the_operation_gives_fits_no_wrong_label_and_one_that_memorised_all():
    config = CONFIGS["many wrong"]
    task = config.task.draw()
    generaliser, memory = counted(config, task.true_labels.tolist()), counted(config, task.labels.tolist())
    assert generaliser["train_corrupted_acc"] == 0 and generaliser["train_corrupted_true_acc"] == 1
    assert memory["train_corrupted_acc"] == 1 and memory["train_corrupted_true_acc"] == 0
    assert generaliser["train_clean_acc"] == memory["train_clean_acc"] == 1


def test_every_run_of_a_stack_records_the_parts_that_it_has_as_it_does_alone(tmp_path):
    together = {name: config for name, config in CONFIGS.items() if name != "multiply"}
    runs = cg.train(list(together.values()), tmp_path, names=list(together))
    assert len({config.stack_key for name, config in together.items() if name != "no mirror seen"} - {""}) <= 2
    for run in runs:
        said = run.config.model.logits(run.at(24), run.task.inputs).argmax(-1).tolist()
        expected = counted(run.config, said)
        [*_, last] = run.records("history.jsonl")
        assert {name: last[name] for name in last if name.endswith("_acc")} == expected, run.name
        again = evaluated(run, 24)
        assert {name: again[name] for name in again if name.endswith("_acc")} == expected, run.name
    for run in runs[1:3]:
        assert cg.train(run.config, tmp_path / "alone", names=[run.name]).history.equals(run.history)


def test_runs_that_stay_in_a_stack_keep_their_parts():
    stack = new_stack([tiny(corrupted=0.2), tiny(), tiny(data_seed=2, corrupted=0.1)])
    whole = evaluate(stack, 0, forward(stack, 0))
    kept = subset(stack, [1, 2], 0)
    assert evaluate(kept, 0, forward(kept, 0)) == whole[1:]
    assert "train_clean_acc" not in whole[1] and "train_clean_acc" in whole[2]


def test_names_of_parts_are_all_that_can_come():
    found = {name for config in CONFIGS.values() for s in ("train", "test") for name in shares(config.task.draw(), s)}
    assert found - {"train_acc", "test_acc"} == set(PARTIAL)


@for_each("name", [name for name in LEAVES if "task" in LEAVES[name]])
def test_tasks_without_mirrors_have_no_parts(name):
    task = tiny_kind(name).task.draw()
    if not hasattr(task, "mirror_seen"):
        sides = [] if task.labels.is_floating_point() else ["train_acc", "test_acc"]
        assert [*shares(task, "train"), *shares(task, "test")] == sides


def test_a_part_without_pairs_is_absent():
    """All pairs but (0, 1) are trained on; and all but (1, 1), which is its own mirror."""
    task = modular_addition(p=5)
    for out, names in ((1, ["test_acc"]), (6, ["test_acc", "test_mirror_unseen_acc"])):
        one = dataclasses.replace(task, is_train=torch.arange(25) != out)
        assert list(shares(one, "test")) == names


def test_a_run_of_before_goes_on_and_knows_the_parts_from_then_on(tmp_path):
    """Its first lines lack them; nan in the history."""
    half = Path(__file__).parent / "fixtures" / "format1" / "half"
    shutil.copytree(half, tmp_path / "half")
    before = [json.loads(line)["step"] for line in (half / "history.jsonl").read_text().splitlines()]
    [run] = cg.train([cg.load(half).config], tmp_path, names=["half"], allow_inexact=True)
    column = run.history["test_mirror_unseen_acc"]
    old, new = column.loc[: before[-1]], column.loc[before[-1] + 1 :]
    assert old.isna().all() and len(new) >= 3 and new.between(0, 1).all()
    assert not math.isnan(run.history["test_acc"].sum())
