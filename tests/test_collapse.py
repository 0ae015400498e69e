"""Collapse: planted logits for which every monitor is known."""

import math

import pytest
import torch
from loops import for_each
from oracles import noise

from circuitgrok.interventions.collapse import collapse_columns

FORMATS = [(torch.float64, 53), (torch.float32, 24), (torch.float16, 11)]  # and their binary digits


def two_classes(*margins: list[float]):
    """One run for each list of margins; the label is 0."""
    lead = torch.tensor(margins, dtype=torch.float64)
    return torch.stack([lead, torch.zeros_like(lead)], dim=-1), torch.zeros(lead.shape, dtype=torch.int64)


@for_each(("dtype", "digits"), FORMATS)
def test_a_pair_collapses_at_the_margin_of_its_format(dtype, digits):
    # 1 + e^-m rounds to 1 for e^-m below half the spacing above 1, which is 2^(1 - digits)
    lost = digits * math.log(2)
    logits, labels = two_classes([lost - 0.02] * 4, [lost + 0.02, 1.0, 2.0, lost + 1], [lost + 0.02] * 4)
    found = collapse_columns(logits, labels, dtype)
    assert found["softmax_collapse"].tolist() == [0.0, 0.5, 1.0]
    assert found["zero_losses"].tolist() == [0.0, 0.5, 1.0]


def test_a_pair_that_is_surely_wrong_has_collapsed_but_its_loss_is_not_zero():
    logits, labels = two_classes([-30.0])
    found = collapse_columns(logits, labels, torch.float32)
    assert found["softmax_collapse"].item() == 1 and found["zero_losses"].item() == 0


def test_after_collapse_the_sum_of_the_gradient_is_the_rivals_probability():
    margins = [18.0, 19.0, 20.0, 21.0]
    logits, labels = two_classes(margins)
    expected = sum(math.exp(-m) for m in margins) / 4
    found = collapse_columns(logits.float(), labels, torch.float32)["gradient_sum"].item()
    assert found == pytest.approx(expected, rel=2**-21)  # exp and the mean's 1 / 4 round a few times by 2^-24
    # In float64 no margin here is lost; each entry of the gradient is off by 2^-53 / 4 or so
    assert collapse_columns(logits, labels, torch.float64)["gradient_sum"].item() < 4 * 2**-53


@for_each(("dtype", "least"), [(torch.float64, 1074), (torch.float32, 149), (torch.float16, 24)])
def test_a_pair_gives_no_gradient_once_its_rival_underflows_as_well(dtype, least):
    # the label's gradient is gone far earlier; the rival's, e^-m, rounds to 0 below half the least number 2^-least
    gone = (least + 1) * math.log(2)
    logits, labels = two_classes([gone / 2], [gone - 1.5], [gone + 1.5])
    found = collapse_columns(logits, labels, dtype)
    assert found["softmax_collapse"].tolist() == [1.0] * 3
    assert found["zero_gradients"].tolist() == [0.0, 0.0, 1.0]


def test_the_gradient_that_counts_is_the_one_the_network_receives():
    logits, labels = two_classes([11.0] * 1024)  # in float16 each rival's share of the mean, e^-11 / 1024, underflows
    found = collapse_columns(logits.float(), labels, torch.float16)
    assert found["softmax_collapse"].item() == 1 and found["gradient_sum"].item() == 0


def test_margins_and_scale_by_hand():
    logits = torch.tensor([[[3.0, 1.0, -1.0], [0.5, 2.0, 1.0]], [[1.0, 1.0, 0.0], [-4.0, 0.0, 0.0]]])
    found = collapse_columns(logits, torch.tensor([[0, 2], [1, 0]]), torch.float64)
    assert found["margin_max"].tolist() == [2.0, 0.0] and found["margin_min"].tolist() == [-1.0, -4.0]
    assert found["logit_scale"].tolist() == [8.5 / 6, 1.0]


def test_margins_are_those_of_the_rounded_logits():
    logits, labels = two_classes([1 + 2**-13, -2 * (1 + 2**-13)])  # float16 has 11 binary digits
    found = collapse_columns(logits, labels, torch.float16)
    assert found["margin_max"].item() == 1 and found["margin_min"].item() == -2 and found["logit_scale"].item() == 0.75


@pytest.mark.parametrize(("dtype", "digits"), FORMATS)
@pytest.mark.bits
def test_a_run_has_the_same_bits_in_a_stack_as_alone_and_nothing_is_left_on_the_logits(dtype, digits):
    logits = (digits * noise(3, 20, 7)).float().requires_grad_()
    labels = logits.argmax(-1)
    with torch.no_grad():  # as where a history is written
        stacked = collapse_columns(logits, labels, dtype)
        alone = [collapse_columns(logits[i : i + 1], labels[i : i + 1], dtype) for i in range(3)]
    assert logits.grad is None
    for name, values in stacked.items():
        assert values.dtype == torch.float64 and values.tolist() == [run[name].item() for run in alone]
