"""Bits memorised: against channels whose mutual information is summed up entry by entry."""

import math

import pytest
import torch
from oracles import generator

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.learning.capacity import bits_by_accuracy, bits_by_loss

EPS = torch.finfo(torch.float64).eps


def symmetric(right, classes):
    """P(answer | label) of a channel that answers right with a probability, and else any other class."""
    return torch.full((classes, classes), (1 - right) / (classes - 1), dtype=torch.float64).fill_diagonal_(right)


def mutual_information(channel):
    """Of a label that is uniform and its answer, in bits, from the table of both."""
    joint = channel / len(channel)
    told = 0.0
    for label in range(len(channel)):
        for answer in range(len(channel)):
            if (both := joint[label, answer].item()) > 0:
                told += both * math.log2(both / (joint[label].sum().item() * joint[:, answer].sum().item()))
    return told


@pytest.mark.parametrize("classes", [2, 7, 29])
@pytest.mark.parametrize("right", [0.0, 0.05, 0.5, 0.99, 1.0])
def test_bits_by_accuracy_are_the_information_of_a_symmetric_channel(right, classes):
    expected = mutual_information(symmetric(right, classes))
    found = bits_by_accuracy(torch.tensor(right, dtype=torch.float64), 100, classes).item()
    # sums of classes^2 terms of at most log2(classes) each
    assert found == pytest.approx(100 * expected, abs=100 * classes**2 * math.log2(classes) * EPS)


@pytest.mark.parametrize("right", [0.3, 0.9])
def test_bits_by_loss_are_that_information_where_the_softmax_is_the_channel(right):
    classes, n = 11, 1100
    answers = torch.arange(classes).repeat(n // classes)
    labels = torch.multinomial(symmetric(right, classes)[answers], 1, generator=generator(0)).flatten()
    logits = symmetric(right, classes).log()[answers]
    loss = cross_entropy(logits, labels).mean()
    # the share that is right varies from draw to draw by sqrt(right (1 - right) / n), the loss with it by the
    # difference of its two values: four standard errors
    spread = math.log2(right * (classes - 1) / (1 - right)) * math.sqrt(right * (1 - right) / n)
    expected = n * mutual_information(symmetric(right, classes))
    assert bits_by_loss(loss, n, classes).item() == pytest.approx(expected, abs=4 * n * spread)


def test_a_table_of_all_labels_holds_all_their_bits_and_sureness_without_ground_less_than_none():
    labels = torch.tensor([0, 3, 1, 2])
    table = 80.0 * torch.nn.functional.one_hot(labels, 4).double()
    assert bits_by_loss(cross_entropy(table, labels).mean(), 4, 4).item() == pytest.approx(8.0, abs=8 * EPS)
    wrong = cross_entropy(table, (labels + 1) % 4).mean()
    assert bits_by_loss(wrong, 4, 4).item() == pytest.approx(8 - 4 * 80 / math.log(2), rel=4 * EPS)


def test_stacks_are_taken_run_by_run():
    values = torch.rand(3, 2, generator=generator(1)).double()
    for measure in (bits_by_loss, bits_by_accuracy):
        alone = [[measure(v, 10, 5).item() for v in row] for row in values]
        assert measure(values, 10, 5).tolist() == alone


@pytest.mark.parametrize(("n", "classes"), [(0, 5), (3, 1)])
def test_no_pairs_and_a_single_class_are_refused(n, classes):
    for measure in (bits_by_loss, bits_by_accuracy):
        with pytest.raises(ValueError, match="two classes"):
            measure(torch.tensor(0.5), n, classes)
