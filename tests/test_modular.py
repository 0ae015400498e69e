"""Modular addition: tables by hand, splits by their definitions."""

import random

import pytest
import torch

from circuitgrok.tasks.modular import (
    ModularAddition,
    SplitRule,
    modular_addition,
    nanda_split,
    randperm_split,
)

RULES: tuple[SplitRule, ...] = ("nanda", "randperm")


def test_inputs_and_labels_at_five_by_hand():
    task = modular_addition(p=5, frac_train=0.4)
    # fmt: off
    assert task.labels.view(5, 5).tolist() == [
        [0, 1, 2, 3, 4],
        [1, 2, 3, 4, 0],
        [2, 3, 4, 0, 1],
        [3, 4, 0, 1, 2],
        [4, 0, 1, 2, 3],
    ]
    # fmt: on
    assert task.inputs[:6].tolist() == [[0, 0, 5], [0, 1, 5], [0, 2, 5], [0, 3, 5], [0, 4, 5], [1, 0, 5]]
    assert task.inputs[3 * 5 + 4].tolist() == [3, 4, 5]
    assert task.inputs.shape == (25, 3) and task.inputs.dtype == task.labels.dtype == torch.int64


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("p", "frac", "n_train"), [(5, 0.4, 10), (7, 0.5, 24), (10, 0.29, 28), (113, 0.3, 3830)])
def test_split_has_the_stated_size(rule, p, frac, n_train):
    task = modular_addition(p, frac, seed=1, split=rule)
    assert n_train == int(frac * (p * p))  # 0.29 * 100 is 28.99..., and 28 it is
    assert task.n_train == task.is_train.sum() == n_train
    assert task.is_train.shape == (p * p,) and task.is_train.dtype == torch.bool


@pytest.mark.parametrize("rule", RULES)
def test_same_seed_same_split_and_another_seed_another(rule):
    build = {"nanda": nanda_split, "randperm": randperm_split}[rule]
    assert torch.equal(build(11, 0.3, 4), build(11, 0.3, 4))
    assert not torch.equal(build(11, 0.3, 4), build(11, 0.3, 5))
    assert torch.equal(modular_addition(11, 0.3, 4, rule).is_train, build(11, 0.3, 4))


@pytest.mark.parametrize(("p", "frac", "seed"), [(5, 0.4, 0), (10, 0.29, 3), (113, 0.3, 0), (113, 0.3, 598)])
def test_nanda_split_is_the_shuffled_list_of_pairs(p, frac, seed):
    pairs = [(i, j) for i in range(p) for j in range(p)]
    before = random.getstate()
    random.seed(seed)
    random.shuffle(pairs)
    random.setstate(before)
    chosen = set(pairs[: int(frac * len(pairs))])
    task = modular_addition(p, frac, seed, "nanda")
    assert {(a, b) for a, b, _ in task.inputs[task.is_train].tolist()} == chosen


@pytest.mark.parametrize(("p", "frac", "seed"), [(5, 0.4, 0), (113, 0.3, 598)])
def test_randperm_split_is_the_draw_of_torchs_global_generator(p, frac, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        order = torch.randperm(p * p)
    task = modular_addition(p, frac, seed, "randperm")
    assert task.is_train.nonzero().flatten().tolist() == sorted(order[: int(p * p * frac)].tolist())


def test_drawing_a_split_leaves_global_random_states_alone():
    before = random.getstate(), torch.get_rng_state()
    for rule in RULES:
        modular_addition(7, 0.31, 12, rule)
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("p", [4, 5, 9])
def test_mirror_seen_asks_for_b_a_in_the_training_set(p):
    task = modular_addition(p, 0.4, seed=2)
    train = {(a, b) for a, b, _ in task.inputs[task.is_train].tolist()}
    assert task.mirror_seen.tolist() == [(b, a) in train for a, b, _ in task.inputs.tolist()]


@pytest.mark.parametrize("p", [3, 4, 6, 9, 10])
def test_even_and_composite_moduli_are_fine(p):
    task = modular_addition(p, 0.5)
    assert sorted(task.labels.tolist()) == sorted(list(range(p)) * p)
    assert all((a + b) % p == c for (a, b, _), c in zip(task.inputs.tolist(), task.labels.tolist(), strict=True))


def test_hash_changes_if_and_only_if_the_split_does():
    tasks = [
        modular_addition(p, frac, seed, rule)
        for p in (4, 5)
        for frac in (0.4, 0.41, 0.5)
        for seed in range(4)
        for rule in RULES
    ]
    for one in tasks:
        assert len(one.split_hash) == 16 and int(one.split_hash, 16) >= 0
        for two in tasks:
            same = one.p == two.p and torch.equal(one.is_train, two.is_train)
            assert same == (one.split_hash == two.split_hash)
    assert modular_addition(5, 0.4).split_hash == modular_addition(5, 0.41).split_hash  # 10 pairs both


def test_hash_of_the_reference_split_never_changes():
    assert modular_addition(113, 0.3, 0, "nanda").split_hash == "28761709c5dcdb33"


def test_named_splits_partition_the_pairs():
    task = modular_addition(7, 0.4, seed=1)
    assert torch.equal(task.where("train"), task.is_train)
    assert torch.equal(task.where("test"), ~task.is_train)
    assert task.where("all").all() and len(task.where("all")) == 49
    seen, unseen = task.where("test_mirror_seen"), task.where("test_mirror_unseen")
    assert torch.equal(seen | unseen, task.where("test")) and not (seen & unseen).any()
    assert seen.any() and unseen.any()
    assert task.mirror_seen[seen].all() and not task.mirror_seen[unseen].any()
    with pytest.raises(ValueError, match="split must be one of train, test, all, test_mirror_seen.*got 'val'"):
        task.where("val")


def test_pair_with_itself_in_the_test_set_has_an_unseen_mirror():
    task = modular_addition(7, 0.4, seed=1)
    diagonal = torch.eye(7, dtype=torch.bool).flatten()
    assert not (task.where("test_mirror_seen") & diagonal).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p": 2}, "p\n.*greater than or equal to 3"),
        ({"frac_train": 0.0}, "frac_train\n.*greater than 0"),
        ({"frac_train": 1.0}, "frac_train\n.*less than 1"),
        ({"frac_train": float("nan")}, "frac_train"),
        ({"p": 5, "frac_train": 0.03}, "at least one pair on each side of the split: 0.03 of 25 pairs is 0"),
        ({"data_seed": -1}, "data_seed"),
        ({"split": "random"}, "'nanda' or 'randperm'"),
        ({"fraction": 0.3}, "fraction\n.*Extra inputs"),
    ],
)
def test_value_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ModularAddition.model_validate(fields)


def test_function_and_config_give_the_same_task():
    config = ModularAddition(p=7, frac_train=0.4, data_seed=3, split="randperm")
    task = modular_addition(7, 0.4, 3, "randperm")
    assert torch.equal(config.task().is_train, task.is_train)
    assert ModularAddition.model_validate_json(config.model_dump_json()) == config
