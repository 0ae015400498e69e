"""Stays of samplers' chains, where those of a Gaussian process are known; samplers at equal cost; a law's half."""

import math

import pytest
import torch
from oracles import generator

from circuitgrok.exact.torus import gibbs
from circuitgrok.landscape.equal_cost import SAMPLER_NAMES, STEP_SHARES, at_equal_cost
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.landscape.stays import sampled_visits
from circuitgrok.samplers.target import LossGrad

NBETA, PULL, CURVATURE = 10.0, 2.0, 3.0
STIFF = NBETA * CURVATURE + PULL


def bowl(w: torch.Tensor) -> LossGrad:
    return LossGrad(CURVATURE * w.square().sum(-1) / 2, CURVATURE * w)


def positive(w: torch.Tensor) -> torch.Tensor:
    return w[:, 0] > 0


def test_sgld_in_a_bowl_stays_on_one_side_as_long_as_a_gaussian_process_does():
    """Its correlation from draw to draw is rho = (1 - e k / 2)^thin; its mean stay pi / arccos rho (Rice's formula)."""
    how = Sampling(
        sampler="sgld", step_size=0.2 / STIFF, localization=PULL, nbeta=NBETA, n_draws=1200, n_thin=3
    )  # fmt: skip
    begun = [torch.randn(20, 1, generator=generator(seed), dtype=torch.float64) / STIFF**0.5 for seed in (1, 2)]
    found = sampled_visits(bowl, begun, how, [1, 2], positive)
    rho = (1 - 0.2 / 2) ** 3
    assert len(found) == 2 and found[0] != found[1]
    for of in found:
        assert of.residence == pytest.approx(math.pi / math.acos(rho), rel=0.08)
        assert of.share == pytest.approx(0.5, abs=0.03)


def test_stays_need_a_temperature():
    how = Sampling(sampler="sgld", step_size=1e-3, localization=1.0)
    with pytest.raises(ValueError, match="give nbeta"):
        sampled_visits(bowl, [torch.zeros(1, 1)], how, [0], positive)


def test_at_equal_cost_every_sampler_takes_as_many_gradients_and_keeps_to_the_law():
    for name in SAMPLER_NAMES:
        how = at_equal_cost(name, STIFF, 300, 2, localization=PULL, nbeta=NBETA)
        assert how.n_draws == 300 and (how.n_leapfrog if name == "hmc" else how.n_thin) == 2
        begun = [torch.randn(20, 1, generator=generator(3), dtype=torch.float64) / STIFF**0.5]
        [found] = sampled_visits(bowl, begun, how, [3], lambda w: w[:, 0].abs() < 0.6745 / STIFF**0.5)
        assert found.share == pytest.approx(0.5, abs=0.1), name  # 2 % of the variance, by sgld and sghmc
    assert STEP_SHARES["sgld"] < STEP_SHARES["sghmc"] < STEP_SHARES["mala"] == STEP_SHARES["hmc"]


def test_the_box_of_half_of_the_mass_is_that_of_two_normal_coordinates():
    law = gibbs(lambda x: x.square().sum(-1) / 2, 6.0)
    box = law.box(0.5, 1.0)  # each coordinate is within it with probability sqrt(1/2)
    exact = math.sqrt(2) * torch.erfinv(torch.tensor(0.5**0.5, dtype=torch.float64)).item()
    assert abs(box - exact) <= 12 / 400
