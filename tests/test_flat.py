"""Losses of a flat vector: equal to the network's own, on the declared tensors, and exact where they are tiny."""

import mpmath
import pytest
import torch
from loops import for_each
from oracles import generator, noise, slow_cross_entropy

from circuitgrok.landscape.flat import declared, logits_on, loss_on, margin_cross_entropy
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.tree import ravel

EPS = torch.finfo(torch.float64).eps
MODEL = Transformer(p=5, d_model=4, d_head=2, n_heads=2, d_mlp=8)
TASK = modular_addition(p=5, frac_train=0.5)


def network(seed=0):
    return MODEL.init(generator(seed), alpha=2.0)


def test_the_loss_at_the_point_is_the_networks_own_on_the_picked_pairs():
    params = network()
    loss, at, _ = loss_on(MODEL, params, TASK, TASK.is_train)
    slow = slow_cross_entropy(MODEL.logits(params, TASK.inputs), TASK.labels, TASK.is_train)
    assert loss(at).item() == pytest.approx(slow, rel=64 * EPS)  # about 6 classes times 12 pairs of roundings


def test_float32_weights_are_taken_as_the_float64_numbers_they_are():
    params = {name: value.float() for name, value in network().items()}
    loss, at, _ = loss_on(MODEL, params, TASK, TASK.is_train)
    exact = {name: value.double() for name, value in params.items()}
    assert at.dtype == torch.float64 and torch.equal(at, ravel(declared(MODEL, exact)))
    assert torch.equal(loss(at), loss_on(MODEL, exact, TASK, TASK.is_train).function(at))


def test_moving_the_vector_moves_the_declared_tensors_and_no_others():
    params, inputs = network(), TASK.inputs
    logits, at, like = logits_on(MODEL, params, inputs, ["mlp"])
    assert list(like) == [f"blocks.0.mlp.{x}" for x in ("W_in", "b_in", "W_out", "b_out")]
    moved = {name: value + (1.0 if name in like else 0.0) for name, value in params.items()}
    expected = MODEL.logits(moved, inputs)
    # The same network, its weights elsewhere in memory: some hundred roundings of sums of some dozen terms.
    torch.testing.assert_close(logits(at + 1), expected, rtol=0, atol=1000 * EPS * expected.abs().max().item())


def test_what_trains_is_declared_by_default_and_biases_that_do_not_train_are_left_out():
    names = set(declared(MODEL, network()))
    assert names == {name for name in network() if "b_" not in name} | {"blocks.0.mlp.b_in", "blocks.0.mlp.b_out"}


def test_roles_and_globs_choose_together_in_the_order_of_the_network():
    names = list(declared(MODEL, network(), ["unembed", "*.W_Q", "*.W_U"]))
    assert names == ["blocks.0.attn.W_Q", "unembed.W_U", "unembed.b_U"]


def test_a_name_that_matches_nothing_and_an_empty_split_are_refused():
    with pytest.raises(ValueError, match="no tensor matches 'atention'; there are embed.W_E"):
        declared(MODEL, network(), ["mlp", "atention"])
    with pytest.raises(ValueError, match="`where` picks none"):
        loss_on(MODEL, network(), TASK, torch.zeros(25, dtype=torch.bool))


@for_each("margin", [-60.0, -20.5, 0.0, 1.0, 16.0, 37.0, 200.0])
def test_loss_slope_and_curvature_along_the_label_are_exact_to_rounding_of_themselves_where_it_wins(margin):
    z = torch.tensor([[margin, 0.0, 0.0, 0.5]], dtype=torch.float64, requires_grad=True)
    loss = margin_cross_entropy(z, torch.tensor([0]))[0]
    (slope,) = torch.autograd.grad(loss, z, create_graph=True)
    (curvature,) = torch.autograd.grad(slope[0, 0], z)
    with mpmath.workdps(60):
        odds = (2 + mpmath.exp(mpmath.mpf("0.5"))) * mpmath.exp(-mpmath.mpf(margin))
        exact = [mpmath.log1p(odds), -odds / (1 + odds), odds / (1 + odds) ** 2]
    # The exponent m errs by eps |m| / 2 and its exponential by as much relatively; a few more roundings follow.
    for found, truth in zip((loss, slope[0, 0], curvature[0, 0]), exact, strict=True):
        assert found.item() == pytest.approx(float(truth), rel=(8 + 2 * abs(margin)) * EPS, abs=EPS * (margin < 0))


def test_the_margin_form_is_the_cross_entropy_for_every_label():
    logits, labels = 3 * noise(7, 5), torch.tensor([0, 1, 2, 3, 4, 0, 2])
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(margin_cross_entropy(logits, labels), expected, rtol=32 * EPS, atol=0)
