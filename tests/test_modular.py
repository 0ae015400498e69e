"""Modular operations: tables by hand, splits by their definitions, labels by what they may and may not be."""

import math
import random

import pytest
import torch
from loops import for_each

from circuitgrok.tasks.modular import ANSWERS, ModularAddition, Operation, modular_addition
from circuitgrok.tasks.splits import SplitRule, nanda_split, randperm_split

RULES: tuple[SplitRule, ...] = ("nanda", "randperm")
FORMS: tuple[Operation, ...] = ("quadratic", "times_square")
NONZERO: tuple[Operation, ...] = ("multiply", "divide")


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


@for_each("rule", RULES)
@for_each(("p", "frac", "n_train"), [(5, 0.4, 10), (7, 0.5, 24), (10, 0.29, 28), (113, 0.3, 3830)])
def test_split_has_the_stated_size(rule, p, frac, n_train):
    task = modular_addition(p, frac, seed=1, split=rule)
    assert n_train == int(frac * (p * p))  # 0.29 * 100 is 28.99..., and 28 it is
    assert task.n_train == task.is_train.sum() == n_train
    assert task.is_train.shape == (p * p,) and task.is_train.dtype == torch.bool


@for_each("rule", RULES)
def test_same_seed_same_split_and_another_seed_another(rule):
    build = {"nanda": nanda_split, "randperm": randperm_split}[rule]
    assert torch.equal(build(121, 0.3, 4), build(121, 0.3, 4))
    assert not torch.equal(build(121, 0.3, 4), build(121, 0.3, 5))
    assert torch.equal(modular_addition(11, 0.3, 4, rule).is_train, build(121, 0.3, 4))


@for_each(("p", "frac", "seed"), [(5, 0.4, 0), (10, 0.29, 3), (113, 0.3, 0), (113, 0.3, 598)])
def test_nanda_split_is_the_shuffled_list_of_pairs(p, frac, seed):
    pairs = [(i, j) for i in range(p) for j in range(p)]
    before = random.getstate()
    random.seed(seed)
    random.shuffle(pairs)
    random.setstate(before)
    chosen = set(pairs[: int(frac * len(pairs))])
    task = modular_addition(p, frac, seed, "nanda")
    assert {(a, b) for a, b, _ in task.inputs[task.is_train].tolist()} == chosen


@for_each(("p", "frac", "seed"), [(5, 0.4, 0), (113, 0.3, 598)])
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


@for_each("p", [3, 4, 6, 9, 10])
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


@for_each(
    ("fields", "message"),
    [
        ({"p": 2}, "p\n.*greater than or equal to 3"),
        ({"frac_train": 0.0}, "frac_train\n.*greater than 0"),
        ({"frac_train": 1.0}, "frac_train\n.*less than 1"),
        ({"frac_train": float("nan")}, "frac_train"),
        ({"p": 5, "frac_train": 0.03}, "at least one pair on each side of the split: 0.03 of 25 pairs is 0"),
        ({"data_seed": -1}, "data_seed"),
        ({"split": "random"}, "must be one of nanda, randperm, mirror_free; got"),
        ({"fraction": 0.3}, "fraction\n.*Extra inputs"),
        ({"operation": "power"}, "'add', 'subtract', 'multiply', 'divide', 'random', 'quadratic' or 'times_square'"),
        ({"p": 9, "operation": "multiply"}, "p must be prime to multiply: .* have no inverse; got 9"),
        ({"p": 4, "operation": "divide"}, "p must be prime to divide: .* have no inverse; got 4"),
        ({"p": 5, "operation": "divide", "frac_train": 0.06}, "0.06 of 16 pairs is 0"),
        ({"corrupted": 1.5}, "corrupted\n.*less than or equal to 1"),
        ({"corrupted": -0.1}, "corrupted\n.*greater than or equal to 0"),
        ({"p": 5, "frac_train": 0.4, "corrupted": 0.04}, "reach one pair: 0.04 of 10 training pairs rounds to 0"),
        ({"operation": "random", "corrupted": 0.1}, "0 for random labels, which have no wrong ones; got 0.1"),
        ({"label_seed": -1}, "label_seed"),
        (
            {"operation": "subtract", "split": "mirror_free"},
            "mirror_free .* commute, add, .* got subtract: use nanda or",
        ),
        ({"p": 7, "operation": "divide", "split": "mirror_free"}, "mirror_free .* commute, .* got divide"),
        ({"operation": "times_square", "split": "mirror_free"}, "mirror_free .* commute, .* got times_square"),
        (
            {"p": 5, "frac_train": 0.09, "split": "mirror_free"},
            "0.09 of 25 pairs is 0",
        ),  # 2.25 pairs, but 0 of 5 and 10
    ],
)
def test_value_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ModularAddition.model_validate(fields)


def test_function_and_config_give_the_same_task():
    config = ModularAddition(p=7, frac_train=0.4, data_seed=3, split="randperm")
    task = modular_addition(7, 0.4, 3, "randperm")
    assert torch.equal(config.draw().is_train, task.is_train)
    assert ModularAddition.model_validate_json(config.model_dump_json()) == config


# Other operations


def drawn(operation: Operation = "add", p: int = 11, frac_train: float = 0.5, **fields):
    return ModularAddition(operation=operation, p=p, frac_train=frac_train, **fields).draw()


# fmt: off
BY_HAND: dict[Operation, list[list[int]]] = {
    "subtract": [[0, 4, 3, 2, 1],
                 [1, 0, 4, 3, 2],
                 [2, 1, 0, 4, 3],
                 [3, 2, 1, 0, 4],
                 [4, 3, 2, 1, 0]],
    "multiply": [[1, 2, 3, 4],
                 [2, 4, 1, 3],
                 [3, 1, 4, 2],
                 [4, 3, 2, 1]],
    "quadratic": [[0, 1, 4, 4, 1],
                  [1, 3, 2, 3, 1],
                  [4, 2, 2, 4, 3],
                  [4, 3, 4, 2, 2],
                  [1, 1, 3, 2, 3]],
    "times_square": [[0, 0, 0, 0, 0],
                     [0, 1, 4, 4, 1],
                     [0, 2, 3, 3, 2],
                     [0, 3, 2, 2, 3],
                     [0, 4, 1, 1, 4]],
    "divide":   [[1, 3, 2, 4],  # the inverses of 1, 2, 3, 4 modulo 5
                 [2, 1, 4, 3],
                 [3, 4, 1, 2],
                 [4, 2, 3, 1]],
}
# fmt: on


@for_each(("operation", "table"), BY_HAND.items())
def test_tables_of_the_other_operations_at_five_by_hand(operation, table):
    task = drawn(operation, p=5)
    side, first = len(table), 5 - len(table)
    assert task.labels.view(side, side).tolist() == table
    assert task.inputs.tolist() == [[a + first, b + first, 5] for a in range(side) for b in range(side)]
    assert task.operation == operation and torch.equal(task.labels, task.true_labels)


@for_each("p", [3, 7, 13])
def test_multiplying_undoes_division_and_zero_is_never_right(p):
    task = drawn("divide", p=p)
    assert all(c * b % p == a for (a, b, _), c in zip(task.inputs.tolist(), task.labels.tolist(), strict=True))
    for operation in NONZERO:
        assert sorted(drawn(operation, p=p).labels.tolist()) == sorted(list(range(1, p)) * (p - 1))


INTEGERS = {"quadratic": lambda a, b: a**2 + a * b + b**2, "times_square": lambda a, b: a * b**2}


@for_each("p", [3, 4, 6, 9, 10, 113])
def test_forms_are_those_of_the_integers_for_any_modulus(p):
    for operation in FORMS:
        task = drawn(operation, p=p)
        assert task.inputs.tolist() == [[a, b, p] for a in range(p) for b in range(p)]
        assert task.labels.tolist() == [INTEGERS[operation](a, b) % p for a in range(p) for b in range(p)]
        assert torch.equal(task.labels, task.true_labels)


def test_forms_of_a_large_modulus_do_not_overflow():
    p = 2**31 - 1  # a b^2 itself is beyond 64 bits
    a, b = torch.tensor([p - 1, p - 2, 2**30]), torch.tensor([p - 1, p - 3, 2**30 + 1])
    expected = [INTEGERS["times_square"](*pair) % p for pair in zip(a.tolist(), b.tolist(), strict=True)]
    assert ANSWERS["times_square"](a, b, p).tolist() == expected


def test_formulas_and_sizes_for_the_trainer():
    configs = {operation: ModularAddition(p=7, operation=operation) for operation in BY_HAND}
    assert configs["quadratic"].formula == "a^2 + a b + b^2 mod 7"
    assert configs["times_square"].formula == "a b^2 mod 7"
    assert {(config.n_classes, config.n_features) for config in configs.values()} == {(7, None)}


@for_each("operation", NONZERO)
def test_split_of_a_smaller_domain_is_drawn_from_its_own_pairs(operation):
    config = ModularAddition(p=13, frac_train=0.3, data_seed=7, operation=operation)
    pairs = [(a, b) for a in range(1, 13) for b in range(1, 13)]
    random.Random(7).shuffle(pairs)
    task = config.draw()
    chosen = {(a, b) for a, b, _ in task.inputs[task.is_train].tolist()}
    assert chosen == set(pairs[: int(0.3 * 144)])
    assert (config.n_pairs, config.n_train) == (len(task.labels), task.n_train) == (144, 43)


@for_each("operation", ["add", "multiply", "quadratic", "random"])
def test_mirror_free_split_leaves_no_test_pair_whose_mirror_was_seen(operation):
    config = ModularAddition(p=11, frac_train=0.4, data_seed=3, split="mirror_free", operation=operation)
    task, m = config.draw(), 10 if operation == "multiply" else 11
    train = {(a, b) for a, b, _ in task.inputs[task.is_train].tolist()}
    assert train == {(b, a) for a, b in train} and not task.where("test_mirror_seen").any()
    assert torch.equal(task.where("test_mirror_unseen"), task.where("test"))
    assert config.n_train == task.n_train == len(train) == 4 + 2 * int(0.4 * m * (m - 1) / 2)
    assert operation == "random" or all(
        task.labels[task.inputs[:, :2].tolist().index([b, a])] == label
        for (a, b, _), label in zip(task.inputs.tolist(), task.labels.tolist(), strict=True)
    )


@for_each("operation", ["add", "multiply", "quadratic"])
@for_each("rule", [*RULES, "mirror_free"])
def test_smaller_share_at_the_same_seed_is_part_of_the_larger(rule, operation):
    tasks = [drawn(operation, p=13, frac_train=f, split=rule, data_seed=5) for f in (0.1, 0.29, 0.3, 0.7, 0.95)]
    for less, more in zip(tasks, tasks[1:], strict=False):
        assert not (less.is_train & ~more.is_train).any() and less.n_train <= more.n_train
        assert torch.equal(less.labels, more.labels)
    assert tasks[0].n_train < tasks[-1].n_train and len({task.split_hash for task in tasks}) >= 4


@for_each(("operation", "p"), [("add", 4), ("add", 9)] + [(name, 7) for name in (*BY_HAND, "random")])
def test_mirror_of_a_pair_is_the_pair_the_other_way_round_in_every_domain(operation, p):
    task = drawn(operation, p=p, frac_train=0.4, data_seed=2)
    train = {(a, b) for a, b, _ in task.inputs[task.is_train].tolist()}
    assert task.mirror_seen.tolist() == [(b, a) in train for a, b, _ in task.inputs.tolist()]
    assert torch.equal(task.where("test_mirror_seen") | task.where("test_mirror_unseen"), ~task.is_train)


# Labels that are not what the operation gives


def test_new_fields_at_their_defaults_change_nothing_of_addition():
    task, plain = drawn(p=13, frac_train=0.3, data_seed=1), modular_addition(13, 0.3, 1)
    assert task is plain and task.operation == "add" and not task.is_corrupted.any()
    assert torch.equal(task.where("train_clean"), task.is_train) and not task.where("train_corrupted").any()


def test_random_labels_are_drawn_once_from_their_own_seed():
    task = drawn("random", data_seed=0, label_seed=3)
    again = ModularAddition(p=11, frac_train=0.5, operation="random", label_seed=3, split="randperm").draw()
    assert torch.equal(task.labels, again.labels) and not torch.equal(task.is_train, again.is_train)
    assert torch.equal(task.is_train, modular_addition(11, 0.5).is_train)
    assert not torch.equal(task.labels, drawn("random", label_seed=4).labels)
    assert torch.equal(task.true_labels, task.labels) and not task.is_corrupted.any()


def test_random_labels_are_uniform():
    labels = drawn("random", p=61, label_seed=5).labels
    counts = labels.bincount(minlength=61).double()
    expected = 61**2 / 61
    chi_squared = ((counts - expected) ** 2 / expected).sum().item()
    assert len(counts) == 61 and abs(chi_squared - 60) < 4 * math.sqrt(2 * 60)  # 60 degrees of freedom


@for_each("operation", ["add", "subtract", *NONZERO, *FORMS])
@for_each("share", [0.155, 0.16, 1.0])  # of 60: 9.3 and 9.6, which are 9 and 10
def test_corruption_gives_its_share_of_the_training_pairs_a_wrong_label_of_the_domain(operation, share):
    config = ModularAddition(p=11, frac_train=0.5, operation=operation, corrupted=share, label_seed=2)
    task, clean = config.draw(), drawn(operation)
    wrong = task.labels != clean.labels
    assert torch.equal(task.true_labels, clean.labels) and torch.equal(task.is_corrupted, wrong)
    assert wrong.sum() == config.n_corrupted == round(share * task.n_train) > 0
    assert not (wrong & ~task.is_train).any() and torch.equal(task.is_train, clean.is_train)
    assert set(task.labels.tolist()) <= set(clean.labels.tolist())  # never 0 of a product
    assert torch.equal(task.where("train_corrupted"), wrong)
    assert torch.equal(task.where("train_clean"), task.is_train & ~wrong)


def test_corrupted_pairs_are_spread_over_the_training_set():
    task = drawn(p=61, corrupted=0.1, label_seed=7)
    n_train, n = task.n_train, int(task.is_corrupted.sum())
    places = task.is_corrupted[task.is_train].nonzero().double()
    variance = (n_train + 1) * (n_train - n) / (12 * n)  # of the mean of n of 0..n_train - 1, without replacement
    assert abs(places.mean() - (n_train - 1) / 2) < 4 * math.sqrt(variance)


def test_wrong_labels_are_uniform_over_the_wrong_classes():
    task = drawn(p=61, frac_train=0.9, corrupted=1.0, label_seed=1)
    apart = ((task.labels - task.true_labels) % 61)[task.is_train]
    counts = apart.bincount(minlength=61)[1:].double()
    expected = task.n_train / 60
    chi_squared = ((counts - expected) ** 2 / expected).sum().item()
    assert abs(chi_squared - 59) < 4 * math.sqrt(2 * 59)  # 59 degrees of freedom


def test_more_corruption_by_the_same_seed_keeps_the_wrong_labels_of_less():
    less, more, other = drawn(corrupted=0.2), drawn(corrupted=0.6), drawn(corrupted=0.2, label_seed=1)
    assert not (less.is_corrupted & ~more.is_corrupted).any()
    assert torch.equal(less.labels[less.is_corrupted], more.labels[less.is_corrupted])
    assert not torch.equal(less.labels, other.labels)
