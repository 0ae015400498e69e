"""Sparse parity: the whole cube by counting, correlations that are exactly none, sides that share no input."""

import itertools

import pytest
import torch
from loops import for_each

from circuitgrok.tasks.parity import SparseParity


def bits_of(inputs: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(int(x < 0) for x in row) for row in inputs.tolist()]


def test_label_is_whether_an_odd_number_of_the_first_bits_is_set():
    task = SparseParity(n_bits=9, k=4, n_train=100, n_test=50).draw()
    assert task.inputs.dtype == torch.float64 and task.inputs.abs().eq(1).all()
    assert task.labels.tolist() == [sum(bits[:4]) % 2 for bits in bits_of(task.inputs)]


@for_each("k", [1, 2, 3, 6])
def test_parity_on_the_whole_cube_correlates_with_no_other_product(k):
    task = SparseParity(n_bits=6, k=k, n_train=40, n_test=24).draw()
    assert len(set(bits_of(task.inputs))) == 64 and task.labels.sum() == 32
    sign = 1 - 2 * task.labels.double()
    for size in range(7):
        for chosen in itertools.combinations(range(6), size):
            correlation = (sign * task.inputs[:, list(chosen)].prod(1)).mean()
            assert correlation == (chosen == tuple(range(k)))


@for_each("n_bits", [5, 11, 40, 100])
def test_no_input_is_drawn_twice_on_either_side(n_bits):
    config = SparseParity(n_bits=n_bits, n_train=20, n_test=12)
    task = config.draw()
    assert task.inputs.shape == (32, n_bits) and len(set(bits_of(task.inputs))) == 32
    assert task.n_train == 20 and task.is_train[:20].all()


def test_bits_are_fair_and_independent():
    """Means of n signs have a standard error of 1 / sqrt(n)."""
    inputs = SparseParity(n_bits=30, n_train=3000, n_test=1000, data_seed=1).draw().inputs
    together = inputs.T @ inputs / len(inputs)
    assert (inputs.mean(0).abs() < 4 / len(inputs) ** 0.5).all()
    assert ((together - torch.eye(30)).abs() < 4.5 / len(inputs) ** 0.5).all()  # the worst of 435: 4.5, not 4


def test_same_seed_same_examples_and_another_seed_others():
    one, again, other = (SparseParity(n_test=1000, data_seed=s).draw() for s in (0, 0, 1))
    assert one is again and one.split_hash != other.split_hash and not torch.equal(one.inputs, other.inputs)


def test_test_set_is_the_same_for_every_size_and_a_smaller_training_set_part_of_a_larger():
    less, more = (SparseParity(n_bits=10, n_train=n, n_test=300).draw() for n in (100, 700))
    assert torch.equal(less.inputs[less.where("test")], more.inputs[more.where("test")])
    assert torch.equal(less.inputs[less.is_train], more.inputs[more.is_train][:100])


def test_more_bits_that_count_change_labels_only():
    three, four = (SparseParity(k=k).draw() for k in (3, 4))
    assert torch.equal(three.inputs, four.inputs) and three.split_hash != four.split_hash
    assert torch.equal((three.labels != four.labels), three.inputs[:, 3] < 0)


def test_config_says_what_the_trainer_needs():
    config = SparseParity(n_bits=30, n_train=1000, n_test=500)
    assert (config.p, config.n_classes, config.n_features, config.n_pairs) == (None, 2, 30, 1500)
    assert config.n_train == config.draw().n_train and config.formula == "parity of 3 of 30 bits"
    assert SparseParity.model_validate_json(config.model_dump_json()) == config
    assert all(field.description for name, field in SparseParity.model_fields.items() if name != "kind")


@for_each(
    ("fields", "message"),
    [
        ({"n_bits": 2}, "k must be at most n_bits, .* got 3 of 2 bits"),
        ({"n_bits": 10, "n_train": 1000, "n_test": 25}, r"no input is drawn twice: got 1000 \+ 25 of 1024 inputs"),
        ({"n_train": 0}, "n_train\n.*greater than or equal to 1"),
        ({"n_test": 0}, "n_test\n.*greater than or equal to 1"),
        ({"k": 0}, "k\n.*greater than or equal to 1"),
        ({"frac_train": 0.5}, "frac_train\n.*Extra inputs"),
    ],
)
def test_value_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        SparseParity.model_validate(fields)


def test_whole_cube_is_allowed():
    assert SparseParity(n_bits=10, n_train=1000, n_test=24).n_pairs == 1024
