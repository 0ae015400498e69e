"""Replica exchange, annealing and Bennett's ratio on the sphere, against von Mises and Fisher's law, which is exact."""

import math

import pytest
import torch
from loops import for_each
from oracles import four_errors, generator
from scipy.optimize import brentq
from scipy.special import gammaln, ive

from circuitgrok.errors import UserError
from circuitgrok.geometry import uniform
from circuitgrok.landscape.density import Effort, cooled
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.samplers.annealed import annealed, ladder
from circuitgrok.samplers.evidence import ln_evidence, ln_ratio
from circuitgrok.samplers.exchange import exchange
from circuitgrok.samplers.target import LossGrad
from circuitgrok.tasks.modular import modular_addition

DIM = 12
BETAS = torch.tensor([0.0, 3.0, 7.0, 13.0, 22.0]).double()


def pole(w):
    """L = -w_0: at inverse temperature b the law is von Mises and Fisher's."""
    return LossGrad(-w[:, 0].double(), -torch.eye(w.shape[1], dtype=w.dtype)[0].expand_as(w))


def ln_Z(b: float, dim: int = DIM) -> float:
    """ln of the mean of exp(b u_0): Gamma(d / 2) (2 / b)^(d / 2 - 1) I_{d / 2 - 1}(b)."""
    order = dim / 2 - 1
    return float(gammaln(dim / 2)) + order * math.log(2 / b) + math.log(float(ive(order, b))) + b


def mean_height(b: float) -> float:
    """E_b[u_0] = I_{d / 2}(b) / I_{d / 2 - 1}(b)."""
    return float(ive(DIM / 2, b) / ive(DIM / 2 - 1, b))


def draws(n: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(n)]


@pytest.fixture(scope="module")
def exchanged():
    """Eight ladders on a sphere of radius 1."""
    start = uniform(8 * 5, DIM, generator(0)).view(8, 5, DIM)
    return exchange(pole, start, BETAS, draws(40), n_rounds=400, n_burnin=100, n_leapfrog=5)


def test_every_rung_has_its_law(exchanged):
    means = -exchanged.losses.mean(0)  # by ladder and rung
    for k, b in enumerate(BETAS.tolist()):
        exact = mean_height(b) if b else 0.0
        error = means[:, k].std() / math.sqrt(8)
        assert abs(means[:, k].mean() - exact) < four_errors(8) * error, b


def test_evidence_of_ladders_is_exact_within_their_spread(exchanged):
    found = ln_evidence(exchanged.losses, BETAS)
    assert found.shape == (8, 5) and bool((found[:, 0] == 0).all())
    for k, b in enumerate(BETAS.tolist()[1:], 1):
        error = found[:, k].std().item() / math.sqrt(8)
        assert abs(found[:, k].mean().item() - ln_Z(b)) < four_errors(8) * error, b
        assert error < 0.1  # and the spread is worth something


def test_norms_are_kept_neighbours_trade_and_steps_are_tuned(exchanged):
    assert torch.allclose(exchanged.positions.norm(dim=-1), torch.ones(8, 5).double(), atol=1e-12)
    assert exchanged.traded.min() > 0.2 and exchanged.traded.max() <= 1
    assert exchanged.acceptance[1:].min() > 0.6 and abs(exchanged.acceptance[0] - 1) < 1e-12
    assert bool((exchanged.step_sizes[1:].diff() < 0).all())  # the colder, the shorter


def test_what_is_observed_is_of_the_coldest_rung(exchanged):
    start = uniform(10, DIM, generator(1)).view(2, 5, DIM)
    seen = exchange(
        pole, start, BETAS, draws(10), n_rounds=200, n_burnin=50, n_leapfrog=5, observe=lambda w: w[:, :1]
    ).observed
    assert seen is not None and seen.shape == (200, 2, 1)
    assert abs(seen.mean().item() - mean_height(22.0)) < 0.05 < mean_height(22.0) - mean_height(13.0)


def test_the_same_generators_give_the_same_bits_and_stay_of_use():
    start = uniform(6, 3, generator(2)).view(2, 3, 3)
    runs = [exchange(pole, start, BETAS[:3], draws(6), n_rounds=5, n_burnin=3) for _ in range(2)]
    assert torch.equal(runs[0].losses, runs[1].losses) and torch.equal(runs[0].positions, runs[1].positions)


@for_each(
    ("betas", "n", "said"),
    [
        ([1.0, 2.0], 4, "must rise from 0"),
        ([0.0, 2.0, 1.0], 6, "must rise from 0"),
        ([0.0], 2, "must rise from 0"),
        ([0.0, 1.0], 3, "each of 4 chains needs a generator; got 3"),
    ],
)
def test_ladders_that_are_none_are_refused(betas, n, said):
    start = uniform(2 * len(betas), 3, generator(0)).view(2, len(betas), 3)
    with pytest.raises(UserError, match=said):
        exchange(pole, start, torch.tensor(betas), draws(n), n_rounds=1, n_burnin=0)


def root(gap) -> float:
    return float(brentq(gap, -50, 50, xtol=1e-13))  # pyright: ignore[reportArgumentType]


# --- Bennett's ratio --------------------------------------------------------------------------------


def test_bennetts_ratio_solves_its_equation_as_a_slow_solver_does():
    low, high = torch.randn(50, generator=generator(3)).double(), torch.randn(50, generator=generator(4)).double() - 1

    def gap(c: float) -> float:
        forth = sum(1 / (1 + math.exp(2.0 * x + c)) for x in low.tolist())
        return forth - sum(1 / (1 + math.exp(-2.0 * x - c)) for x in high.tolist())

    assert ln_ratio(low, high, 2.0).item() == pytest.approx(root(gap), abs=1e-10)


def test_of_gaussian_losses_the_ratio_is_exact_within_its_spread():
    # under exp(-b L) a standard normal L has mean -b, and ln Z(b) = b^2 / 2
    low = torch.randn(40, 400, generator=generator(5)).double() - 0.5
    high = torch.randn(40, 400, generator=generator(6)).double() - 1.5
    found = ln_ratio(low, high, 1.0)
    assert abs(found.mean() - (1.5**2 - 0.5**2) / 2) < 4 * found.std() / math.sqrt(40)


# --- annealing --------------------------------------------------------------------------------------


def test_a_ladder_reaches_its_temperature_with_rungs_that_overlap():
    found = ladder(pole, 1.0, torch.zeros(200, DIM).double(), 22.0, draws(200), n_leapfrog=5)
    assert found.betas[0] == 0 and found.betas[-1] == 22.0 and bool((found.betas.diff() > 0).all())
    assert found.positions.shape == (len(found.betas), 200, DIM)
    assert abs(found.ln_Z[-1].item() - ln_Z(22.0)) < 1.0  # of one population, without an error of its own
    heights = -pole(found.positions[-1]).value
    assert abs(heights.mean() - mean_height(22.0)) < 0.05
    with pytest.raises(UserError, match="share must lie in 0..1"):
        ladder(pole, 1.0, torch.zeros(4, 3).double(), 1.0, draws(4), share=1.0)


def test_mean_weights_up_and_down_are_ratios_of_z_and_their_logarithms_a_bracket():
    dim, b, n = 3, 6.0, 1000
    up, sizes = torch.linspace(0, b, 6), torch.full((6,), 0.1)
    there = annealed(pole, uniform(n, dim, generator(7)), up, sizes, draws(n), n_leapfrog=4)
    # heights of von Mises and Fisher in three dimensions, by the inverse of their distribution
    share = torch.rand(n, generator=generator(8)).double()
    height = 1 + ((share + (1 - share) * math.exp(-2 * b)).log()) / b
    around = uniform(n, 2, generator(9)) * (1 - height.square()).sqrt()[:, None]
    back = annealed(pole, torch.cat([height[:, None], around], 1), up.flip(0), sizes, draws(n, n), n_leapfrog=4)
    exact = math.log(math.sinh(b) / b)
    assert exact == pytest.approx(ln_Z(b, dim))
    for weights, ln in ((there, exact), (back, -exact)):
        ratio = (weights - ln).exp()
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(n)
    assert there.mean() < exact < -back.mean()


def test_a_population_goes_on_only_once_it_moves():
    """At a first step that is far too long nobody moves, and copies of one member are worth all: the last was next."""
    model, task = QuadraticMLP(p=11, n_neurons=100), modular_addition(11, 0.8, seed=50, split="mirror_free")
    rungs = cooled(model, task, task.is_train, 20.0, 0.6, Effort(), 0)
    assert len(rungs.betas) > 6 and rungs.betas.diff().max() < 0.2
    distinct = [torch.unique(population[:, 0]).numel() for population in rungs.positions]
    assert min(distinct) > 16  # of 32


def test_a_population_that_never_moves_is_refused():
    calls = iter(range(10**6))

    def rising(rows):
        return LossGrad(torch.full((len(rows),), 1e3 * next(calls), dtype=torch.float64) + rows[:, 0], 0 * rows)

    with pytest.raises(UserError, match="the population does not move"):
        ladder(rising, 1.0, torch.zeros(8, 3, dtype=torch.float64), 1.0, draws(8))
