"""Margins and the size of the logits, against loops."""

import math

import pytest
import torch
from loops import for_each
from oracles import (
    labels_of,
    noise,
    other_labels,
    planted_circuit,
    same_on_stacks,
    slow_margins,
)

from circuitgrok.measures.scores import logit_scale, margin, picked


def test_margin_agrees_with_loops():
    logits, labels = noise(49, 7), other_labels(7)
    assert margin(logits, labels).tolist() == slow_margins(logits, labels)


def test_a_margin_is_positive_exactly_where_the_answer_is_right():
    logits, labels = noise(169, 13), labels_of(13)
    assert torch.equal(margin(logits, labels) > 0, logits.argmax(1) == labels)


def test_logit_scale_of_a_planted_circuit_is_the_mean_and_root_mean_square_of_its_cosine():
    logits, _ = planted_circuit(13, [6], scale=3.0)
    mean_abs, std = logit_scale(logits + 10 * noise(169, 1))  # what the softmax ignores is ignored
    cosines = [abs(math.cos(2 * math.pi * t / 13)) for t in range(13)]
    assert mean_abs.item() == pytest.approx(3 * sum(cosines) / 13, rel=1e-12)
    assert std.item() == pytest.approx(3 / math.sqrt(2), rel=1e-12)


# Stacks and refusals


def measures(p):
    labels = other_labels(p)
    return [lambda logits: margin(logits, labels), logit_scale]


@for_each("p", [8, 9])
def test_stacks_and_vmap_give_what_single_networks_give(p):
    for measure in measures(p):
        same_on_stacks(measure, noise(2, 2, p * p, p))


def test_a_mask_that_picks_nothing_is_refused():
    assert picked(torch.tensor([False, True])).tolist() == [1]
    with pytest.raises(ValueError, match="at least one pair"):
        picked(torch.zeros(25, dtype=torch.bool))
