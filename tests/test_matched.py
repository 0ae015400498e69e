"""Temperatures of a given loss, against a closed form; the sampled loss at them is that loss."""

import math

import pytest
import torch

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.matched import temperature_of_loss


@pytest.mark.parametrize("loss", [2.0, 0.5, 1e-2, 1e-6])
@pytest.mark.parametrize("margin", [1e-3, 1.0, 300.0])
def test_equal_margins_have_the_temperature_of_their_closed_form(loss, margin):
    labels = torch.tensor([3, 0, 5])
    logits = margin * torch.nn.functional.one_hot(labels, 9).double()
    exact = margin / math.log(8 / math.expm1(loss))  # log(1 + 8 exp(-m / T)) = loss
    assert temperature_of_loss(logits, labels, loss).item() == pytest.approx(exact, rel=1e-6)


def test_each_network_of_a_stack_has_its_own_and_its_loss_is_the_one_that_was_asked_for():
    labels = torch.arange(20) % 7
    draws = torch.Generator().manual_seed(0)
    right = 5 * torch.nn.functional.one_hot(labels, 7)
    logits = right + torch.randn(4, 20, 7, generator=draws, dtype=torch.float64)
    found = temperature_of_loss(logits, labels, 0.05)
    assert len(set(found.tolist())) == 4
    assert cross_entropy(logits / found[:, None, None], labels).mean(-1).tolist() == pytest.approx([0.05] * 4, rel=1e-9)


def test_a_loss_that_wrong_pairs_forbid_has_no_temperature():
    labels, logits = torch.tensor([0, 0]), torch.tensor([[4.0, 0.0], [0.0, 4.0]])  # one is wrong: at best ln 2
    assert temperature_of_loss(logits, labels, 0.5).isnan()
    for loss in (0.0, math.log(2), 3.0):
        with pytest.raises(ValueError, match="between 0 and ln 2"):
            temperature_of_loss(logits, labels, loss)


def test_chains_see_logits_at_the_temperature_of_their_network(finished):
    params, task, model = finished.stack(finished.steps[-2:]), finished.task, finished.config.model
    where, temperatures = task.is_train, torch.tensor([0.5, 4.0]).double()
    loss = ChainLoss(model, task, where, params, chosen_pieces(model), temperatures)
    found = loss(loss.start)
    with torch.no_grad():
        logits = model.logits(params, task.inputs[where]).double()
    exact = cross_entropy(logits / temperatures[:, None, None], task.labels[where]).mean(-1)
    assert found.value.tolist() == pytest.approx(exact.tolist(), rel=1e-5)  # float32 logits
    step = 1e-2 * found.gradient / found.gradient.norm(dim=1, keepdim=True)
    rise = (loss(loss.start + step).value - loss(loss.start - step).value) / 2
    # the slope along itself; the third derivative adds a share of step^2
    assert rise.tolist() == pytest.approx((1e-2 * found.gradient.norm(dim=1)).tolist(), rel=0.02)
