"""Losses: closed forms, and a hand-written gradient against autograd's."""

import math

import pytest
import torch

from circuitgrok.interventions.losses import cross_entropy, training_loss


def draws(dtype, scale):
    generator = torch.Generator().manual_seed(3)
    logits = scale * torch.randn(2, 40, 7, generator=generator, dtype=torch.float64)
    return logits.to(dtype), torch.randint(7, (2, 40), generator=generator)


@pytest.mark.parametrize("margin", [1.0, 25.0])  # at 25 a float32 log-softmax says 0
def test_a_margin_over_equal_rivals_has_its_closed_form(margin):
    logits = torch.zeros(1, 5)
    logits[0, 2] = margin
    expected = math.log1p(4 * math.exp(-margin))
    assert cross_entropy(logits, torch.tensor([2])).item() == pytest.approx(expected, rel=1e-3, abs=2e-16)
    assert training_loss(logits[None], torch.tensor([[2]])).item() == pytest.approx(expected, rel=1e-3, abs=2e-16)


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-15), (torch.float32, 1e-7)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_training_loss_and_its_gradient_are_those_of_the_mean_cross_entropy(dtype, rounding, scale):
    logits, labels = draws(dtype, scale)
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)

    def gradient(loss):
        leaf = logits.clone().requires_grad_()
        values = loss(leaf)
        return values.detach(), torch.autograd.grad((values * weights).sum(), leaf)[0]

    fast, fast_gradient = gradient(lambda leaf: training_loss(leaf, labels))
    plain, plain_gradient = gradient(lambda leaf: cross_entropy(leaf, labels).mean(-1))
    assert torch.equal(fast, plain)
    # entries are at most 3 / 40; both are rounded once more to the logits' type
    torch.testing.assert_close(fast_gradient, plain_gradient, rtol=4 * rounding, atol=rounding)


def test_a_network_that_is_sure_has_no_subnormal_gradients_and_none_that_matter_are_dropped():
    logits, labels = draws(torch.float32, 60.0)
    leaf = logits.clone().requires_grad_()
    gradient = torch.autograd.grad(training_loss(leaf, labels).sum(), leaf)[0]
    plain = torch.autograd.grad(cross_entropy(leaf, labels).mean(-1).sum(), leaf)[0]
    tiny = torch.finfo(torch.float32).tiny
    assert ((plain != 0) & (plain.abs() < tiny)).any()  # else this test is empty
    assert not ((gradient != 0) & (gradient.abs() < tiny)).any()
    dropped = (gradient == 0) & (plain != 0)
    assert dropped.any() and plain[dropped].abs().max() < 1e12 * tiny / 40
