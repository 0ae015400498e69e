"""The spread of chains: 1 to four standard errors at any step size where they are stationary, less where they creep."""

import math

import pytest
import torch
from oracles import generator

from circuitgrok.exact.potentials import POTENTIALS
from circuitgrok.landscape.llc import estimate_llc
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.samplers.diagnostics import diagnose
from circuitgrok.samplers.geometry import FLAT, Orthogonal, Sphere
from circuitgrok.samplers.sample import sample, start
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.spread import spread
from circuitgrok.samplers.target import LossGrad, Target

CURVATURES = torch.logspace(-2, 0, 20).double()
GAMMA = 0.2
STIFFEST = 50.0 + GAMMA  # nbeta times the largest curvature, and the pull


def bowl(w):
    return LossGrad((CURVATURES * w * w).sum(-1) / 2, CURVATURES * w)


def quartic(w):
    at = w.detach().requires_grad_()
    value = POTENTIALS["x^4"].energy(at[:, :1]) / 10 + at[:, 1:].square().sum(-1) / 4
    return LossGrad(value.detach(), torch.autograd.grad(value.sum(), at)[0])


def how(**given):
    return Sampling(**{"step_size": 1 / STIFFEST, "localization": GAMMA, "nbeta": 50.0, "n_chains": 8} | given)


@pytest.mark.parametrize("loss", [bowl, pytest.param(quartic, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "given",
    [
        {"sampler": "sgld", "step_size": 2 / STIFFEST},  # half the bound: variances up to twice too large
        {"sampler": "sghmc", "friction": 0.3, "step_size": 3 / STIFFEST},
        {"sampler": "sghmc", "friction": 0.6, "step_size": 2 / STIFFEST},
        {"sampler": "preconditioned_sgld", "stability": 2.0, "step_size": 0.05, "n_burnin": 200},
        pytest.param({"sampler": "mala"}, marks=pytest.mark.slow),
        pytest.param(
            {"sampler": "hmc", "n_leapfrog": 2}, marks=pytest.mark.slow
        ),  # four would turn a curvature of 30 by pi
    ],
    ids=lambda given: given.get("sampler"),
)
def test_stationary_chains_of_every_sampler_have_spread_along_all_directions(given, loss):
    sampling = how(**{"n_draws": 400, "n_burnin": 100, "n_thin": 3, "localization": 5.0} | given)
    found = estimate_llc(loss, torch.zeros(1, 20).double(), 100, sampling)
    assert abs(found.spread.item() - 1) < 4 * found.spread_se.item() < 0.2


def test_chains_that_start_have_spread_as_far_as_the_formula_of_a_quadratic_says():
    """1 - (1 - e k / 2)^(2t) of the variance after t steps, with the kick's own part: k (1 - e k / 4) s_t^2."""
    e, t = 0.5 / STIFFEST, 12
    target = Target(bowl, torch.zeros(500, 20).double(), 50.0, localization=GAMMA)
    sampler = sgld(target, step_size=e)
    chains = start(sampler, torch.zeros(500, 20).double(), range(500))
    _, draws = sample(sampler, chains, t)
    k = 50.0 * CURVATURES + GAMMA
    exact = (1 - (1 - e * k / 2) ** (2 * t)).mean().item()
    last = draws.spread[-1]
    assert exact < 0.6 and abs(last.mean().item() - exact) < 4 * last.std().item() / math.sqrt(500)


def test_minibatches_leave_the_identity_exact():
    def noisy(w, generators):
        jitter = torch.stack([torch.randn(20, generator=g, dtype=torch.float64) for g in generators])
        return LossGrad(bowl(w).value, bowl(w).gradient + 0.2 * jitter)  # hot: half as much noise again

    sampling = how(sampler="sgld", n_draws=400, n_burnin=100, n_thin=3, localization=5.0)
    found = estimate_llc(bowl, torch.zeros(1, 20).double(), 100, sampling, batch_loss=noisy)
    assert abs(found.spread.item() - 1) < 4 * found.spread_se.item() < 0.2


def test_directions_that_are_taken_away_do_not_count_and_a_sphere_has_none():
    target = Target(bowl, torch.zeros(2, 20).double(), 50.0, localization=GAMMA)
    at = torch.randn(2, 20, generator=generator(0), dtype=torch.float64)
    force = target.force(at, bowl(at))
    normal = torch.zeros(2, 20).double()
    normal[0, 3] = 2.0
    found, flat = spread(target, Orthogonal(normal), at, force), spread(target, FLAT, at, force)
    assert found[0].item() == pytest.approx((20 * flat[0] - at[0, 3] * force[0, 3]).item() / 19, rel=1e-12)
    assert found[1].item() == pytest.approx(flat[1].item(), rel=1e-12)
    assert spread(target, Sphere(), at, force).isnan().all()


def test_diagnose_takes_a_trace_of_it():
    ones = 1 + 0.1 * torch.randn(4, 200, generator=generator(0), dtype=torch.float64)
    found = diagnose(ones, n_burnin=torch.tensor(0))
    assert abs(found.mean.item() - 1) < 4 * found.mcse.item()
