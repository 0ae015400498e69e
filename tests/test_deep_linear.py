"""Deep linear networks: the loss from its definition, its gradient by autograd, and chains against Aoyagi's numbers."""

import runpy
from functools import reduce
from pathlib import Path

import pytest
import torch
from loops import for_each
from oracles import noise

from circuitgrok.exact.deep_linear import DeepLinear
from circuitgrok.exact.learning_coefficients import deep_linear_network_llc
from circuitgrok.landscape.llc import estimate_llc
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.samplers.target import LossGrad

ANALYSIS = Path(__file__).parents[1] / "analyses" / "estimators.py"
SHAPES = [((4, 3), 2), ((5, 3, 5), 0), ((3, 6, 2, 4), 1), ((4, 4, 4, 4, 4), 4)]


def from_definition(network, weights):
    """(1/2) |W_L ... W_1 - A|^2 of one chain, one number at a time."""
    layers, start = [], 0
    for n_in, n_out in zip(network.widths, network.widths[1:], strict=False):
        layers.append(weights[start : start + n_in * n_out].reshape(n_out, n_in))
        start += n_in * n_out
    product = reduce(lambda total, layer: layer @ total, layers)
    is_one = [(i, i) for i in range(network.rank)]
    entries = [(i, j) for i in range(network.widths[-1]) for j in range(network.widths[0])]
    return torch.stack([(product[entry] - float(entry in is_one)) ** 2 for entry in entries]).sum() / 2


@for_each(("widths", "rank"), SHAPES)
def test_value_and_gradient_are_those_of_the_definition(widths, rank):
    network = DeepLinear(widths, rank)
    weights = network.point + noise(3, len(network.point))
    value, gradient = network.loss(weights)
    for chain, row in enumerate(weights):
        at = row.clone().requires_grad_()
        expected = from_definition(network, at)
        # sums of at most a few hundred products in float64, some of which cancel
        torch.testing.assert_close(value[chain], expected.detach(), rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(gradient[chain], torch.autograd.grad(expected, at)[0], rtol=1e-11, atol=1e-11)


@for_each(("widths", "rank"), SHAPES)
def test_the_point_is_a_zero_at_which_each_layer_has_the_rank_of_the_truth(widths, rank):
    network = DeepLinear(widths, rank)
    value, gradient = network.loss(network.point[None])
    assert value.item() == 0 and not gradient.any()
    layers = network.layers(network.point[None])
    assert [torch.linalg.matrix_rank(layer[0]).item() for layer in layers] == [rank] * (len(widths) - 1)
    assert torch.linalg.matrix_rank(network.truth).item() == rank
    assert network.exact == deep_linear_network_llc(widths, rank)


def test_invertible_layers_make_a_regular_point_of_larger_coefficient():
    """There half the rank of the Hessian is the coefficient; at the most singular point it is only a lower bound."""
    network = DeepLinear((4, 4, 4), 1)
    regular = torch.cat([torch.eye(4, dtype=torch.float64).flatten(), network.truth.flatten()])
    assert network.loss(regular[None])[0].item() == 0
    ranks = [
        torch.linalg.matrix_rank(torch.autograd.functional.hessian(lambda w: network.loss(w[None])[0][0], at)).item()
        for at in (regular, network.point)
    ]
    assert ranks[0] == 16  # all entries of A
    assert ranks[1] / 2 < network.exact.llc < ranks[0] / 2


def test_what_is_no_network_is_refused():
    with pytest.raises(ValueError, match=r"rank must be in 0\.\.3"):
        DeepLinear((5, 3, 5), 4)
    with pytest.raises(ValueError, match="two or more widths"):
        DeepLinear((5,), 0)


@pytest.mark.parametrize(
    ("widths", "rank", "step_size"), [((5, 3, 5), 0, 3e-5), ((10, 10, 10), 1, 5e-6)], ids=["5-3-5", "10-10-10"]
)
def test_hmc_finds_the_coefficient_within_a_tenth(widths, rank, step_size):
    network = DeepLinear(widths, rank)
    how = Sampling(
        sampler="hmc", step_size=step_size, localization=1.0, nbeta=1e4, n_leapfrog=40, n_draws=100, n_chains=8
    )
    found = estimate_llc(lambda w: LossGrad(*network.loss(w)), network.point[None], 1000, how)
    assert found.status == ["diagnostics_passed"], found.faults
    assert found.llc.item() == pytest.approx(float(network.exact.llc), rel=0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("index", range(5))
def test_the_settings_of_the_analysis_find_all_five_coefficients_within_a_tenth(index):
    analysis = runpy.run_path(str(ANALYSIS))
    [row] = analysis["on_network"](analysis["NETWORKS"][index], "hmc")
    assert row["status"] == "diagnostics_passed", row["faults"]
    assert row["llc"] == pytest.approx(row["exact"], rel=0.1)
