"""Losses, counts, margins and the size of the logits, against loops."""

import math

import pytest
import torch
from oracles import (
    everywhere,
    generator,
    labels_of,
    noise,
    planted_circuit,
    slow_cross_entropy,
    slow_margins,
)

from circuitgrok.measures.scores import accuracy, cross_entropy, logit_scale, margin, margin_summary

EPS = torch.finfo(torch.float64).eps


def some_pairs(p, seed=0):
    return torch.rand(p * p, generator=generator(seed)) < 0.3


def other_labels(p, seed=0):
    """Labels that are not (a + b) mod p: nothing may take them for granted."""
    return torch.randint(p, (p * p,), generator=generator(seed))


def test_cross_entropy_agrees_with_loops_and_answers_in_float64():
    logits, labels, where = noise(49, 7).float(), other_labels(7), some_pairs(7)
    loss = cross_entropy(logits, labels, where)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(slow_cross_entropy(logits, labels, where), rel=1e-14)


@pytest.mark.parametrize("lead", [0.0, 1.0, 16.0, 25.0])
def test_a_lead_over_equal_rivals_costs_what_the_formula_says_also_where_float32_says_zero(lead):
    logits = torch.zeros(25, 5, dtype=torch.float32)
    labels = labels_of(5)
    logits[torch.arange(25), labels] = lead
    expected = math.log1p(4 * math.exp(-lead))
    assert cross_entropy(logits, labels, everywhere(5)).item() == pytest.approx(expected, abs=2 * EPS)


def test_accuracy_is_a_count_over_a_count():
    p, labels = 97, labels_of(97)
    logits = torch.nn.functional.one_hot(labels).float()
    assert accuracy(logits, labels, everywhere(p)).item() == 1.0  # a float32 mean would not say so
    wrong = logits.clone()
    wrong[:3] = wrong[:3].roll(1, dims=1)
    assert accuracy(wrong, labels, everywhere(p)).item() == (p * p - 3) / (p * p)
    assert accuracy(wrong, labels, torch.arange(p * p) < 6).item() == 0.5
    assert accuracy(torch.zeros_like(logits), labels, everywhere(p)).item() == p / (p * p)  # ties: the first


def test_only_the_picked_pairs_count():
    logits, labels, where = noise(49, 7), labels_of(7), some_pairs(7)
    spoiled = torch.where(where[:, None], logits, 1e3 * noise(49, 7, seed=1))
    for score in (cross_entropy, accuracy, margin_summary):
        assert score(logits, labels, where) == score(spoiled, labels, where)


def test_margin_agrees_with_loops_and_its_summary_takes_the_picked_pairs():
    logits, labels, where = noise(49, 7), other_labels(7), some_pairs(7)
    margins = margin(logits, labels)
    assert margins.tolist() == slow_margins(logits, labels)
    mean, smallest = margin_summary(logits, labels, where)
    assert mean.item() == pytest.approx(margins[where].mean().item(), rel=1e-14)
    assert smallest.item() == min(margins[where].tolist())


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
    labels, where = other_labels(p), some_pairs(p)
    of_pairs = (cross_entropy, accuracy, margin_summary)
    return [
        *(lambda logits, f=f: f(logits, labels, where) for f in of_pairs),
        lambda logits: margin(logits, labels),
        logit_scale,
    ]


@pytest.mark.parametrize("p", [8, 9])
def test_stacks_and_vmap_give_what_single_networks_give(p):
    stack = noise(2, 2, p * p, p)
    for measure in measures(p):
        together, mapped = measure(stack), torch.vmap(torch.vmap(measure))(stack)
        for i in range(2):
            for j in range(2):
                alone = measure(stack[i, j])
                for field, whole, by_vmap in zip(parts(alone), parts(together), parts(mapped), strict=True):
                    torch.testing.assert_close(whole[i, j], field, rtol=1e-12, atol=1e-12)
                    torch.testing.assert_close(by_vmap[i, j], field, rtol=1e-12, atol=1e-12)


def parts(result):
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


def test_a_mask_that_picks_nothing_is_refused():
    logits, labels = planted_circuit(5, [1])
    for score in (cross_entropy, accuracy, margin_summary):
        with pytest.raises(ValueError, match="at least one pair"):
            score(logits, labels, ~everywhere(5))
