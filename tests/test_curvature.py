"""Curvatures by differences of gradients against Hessians that are known, or taken densely in float64."""

import pytest
import torch
from loops import for_each
from oracles import generator, noise
from test_chain_loss import loss_of, slow

from circuitgrok.landscape.curvature import hessian_product, random_starts, sharpness
from circuitgrok.samplers.target import LossGrad


def bowl(curvatures):
    return lambda w: LossGrad((curvatures * w * w).double().sum(-1) / 2, curvatures * w)


def dense_top(loss):
    """Top eigenvalue of the first network's Hessian, column by column from exact gradients in float64."""
    network = {name: value[0] for name, value in loss.networks.items()}
    where, at = loss.where, loss.start[0]

    def gradient(flat):
        from circuitgrok.tree import unravel

        names = [piece.name for piece in loss.pieces]
        return slow(network | unravel(flat, {name: network[name] for name in names}), names, where)[1]

    step = 1e-5
    columns = [(gradient(at + step * e) - gradient(at - step * e)) / (2 * step) for e in torch.eye(len(at)).double()]
    hessian = torch.stack(columns)
    return torch.linalg.eigvalsh((hessian + hessian.T) / 2)[-1].item()


def test_products_with_a_known_hessian():
    curvatures = torch.tensor([3.0, 0.5, -2.0], dtype=torch.float64)
    vectors = torch.nn.functional.normalize(noise(4, 3), dim=1)
    found = hessian_product(bowl(curvatures), noise(4, 3, seed=1), vectors)
    # a quadratic has no third derivative: what is left is rounding, eps over the step of 1e-3
    assert torch.allclose(found, curvatures * vectors, atol=1e-11)


@for_each("n_steps", [10, 40])
def test_sharpness_is_the_top_eigenvalue_from_below(n_steps):
    curvatures = torch.cat([torch.linspace(0, 1, 60), torch.tensor([4.0, 9.0])]).double()
    found = sharpness(bowl(curvatures), torch.zeros(3, 62, dtype=torch.float64), random_starts(3, 62), n_steps)
    # an eigenvalue that stands at twice the next is found to (1/2)^(4 * steps) by Lanczos; 1e-8 is rounding
    assert ((found <= 9 + 1e-8) & (found > 9 - 1e-6)).all()


def test_sharpness_of_a_network_is_that_of_its_dense_hessian():
    loss = loss_of(n=1, pattern="unembed.W_U")  # convex, and smooth: no neuron switches
    found = sharpness(loss, loss.start, random_starts(1, loss.start.shape[1]), n_steps=30).item()
    # the step, 1e-3 of a norm of 4, squared, times a fourth derivative of the order of the second times logits^2
    assert found == pytest.approx(dense_top(loss), rel=1e-3)


def test_a_flat_loss_has_sharpness_zero_and_one_dimension_is_enough():
    flat = lambda w: LossGrad(w.new_zeros(len(w)).double(), torch.zeros_like(w))  # noqa: E731
    assert sharpness(flat, torch.randn(2, 5, generator=generator(0)), random_starts(2, 5)).tolist() == [0.0, 0.0]
    assert sharpness(bowl(torch.tensor([2.0])), torch.zeros(1, 1), random_starts(1, 1)).item() == pytest.approx(
        2.0, rel=1e-4
    )
