"""Examples: two sides in their order, named splits, hashes of all that is seen."""

import hashlib

import pytest
import torch

from circuitgrok.tasks.examples import Examples, digest, joined


def sides() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    train = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([0, 1, 0])
    return train, (torch.tensor([[7.0, 8.0]]), torch.tensor([1]))


def test_training_examples_come_before_test_examples():
    task = joined(*sides())
    assert task.inputs.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]] and task.labels.tolist() == [0, 1, 0, 1]
    assert task.is_train.tolist() == [True, True, True, False] and task.n_train == 3
    assert task.true_labels is task.labels


def test_named_splits_partition_the_examples():
    task = joined(*sides())
    assert torch.equal(task.where("train") ^ task.where("test"), task.where("all")) and task.where("all").all()
    with pytest.raises(ValueError, match="split must be one of train, test, all; got 'test_mirror_seen'"):
        task.where("test_mirror_seen")


def test_hash_is_that_of_the_bytes():
    (x, y), (x_test, y_test) = sides()
    content = bytes([1, 1, 1, 0]) + b"".join(torch.cat(both).numpy().tobytes() for both in ((x, x_test), (y, y_test)))
    assert joined((x, y), (x_test, y_test)).split_hash == hashlib.sha256(content).hexdigest()[:16]
    assert digest(x) != digest(x.T) == digest(x.T.contiguous())


def test_hash_changes_with_side_input_and_label():
    (x, y), (x_test, y_test) = sides()
    other = x.clone()
    other[2, 1] += 2.0**-20
    tasks = [
        joined((x, y), (x_test, y_test)),
        joined((x[:2], y[:2]), (torch.cat([x[2:], x_test]), torch.cat([y[2:], y_test]))),
        joined((other, y), (x_test, y_test)),
        joined((x, y), (x_test, 1 - y_test)),
    ]
    assert len({task.split_hash for task in tasks}) == 4


def test_labels_of_a_regression_are_rows_of_floats():
    task = Examples(torch.zeros(4, 2), torch.zeros(4, 3), torch.ones(4, dtype=torch.bool), "0")
    assert task.labels.shape == (4, 3) and task.n_train == 4
