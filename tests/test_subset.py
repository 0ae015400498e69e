"""Subset simulation and Wang-Landau against shares of the sphere that are known."""

import math

import pytest
import torch
from loops import for_each
from oracles import four_errors, generator

from circuitgrok.errors import UserError
from circuitgrok.exact.volumes import ln_cap, ln_quadratic, ln_two_inputs, teacher_entropy
from circuitgrok.geometry import uniform
from circuitgrok.samplers.subset import subsets
from circuitgrok.samplers.wang_landau import wang_landau

DIM = 12
ANGLE = 2.0
INPUTS = torch.tensor([[1.0, 0.0], [math.cos(ANGLE), math.sin(ANGLE)]]).double()
KNOWN = {
    "a cap": (lambda w: -w[:, 0] / w.norm(dim=1), -math.cos(0.6), ln_cap(DIM, 0.6)),
    "a quadratic": (lambda w: w[:, :5].square().sum(1) / w.square().sum(1), 0.02, ln_quadratic(DIM, 5, 0.02)),
    "orthogonal inputs": (lambda w: (w[:, :8] < 0).double().sum(1), 0.0, -8 * math.log(2)),
    "two inputs": (lambda w: ((w[:, :2] @ INPUTS.T) < 0).double().sum(1), 0.0, ln_two_inputs(ANGLE)),
}


@for_each("name", KNOWN)
@for_each("radius", [1.0, 7.0])
def test_subset_simulation_finds_shares_that_are_known(name, radius):
    score, threshold, exact = KNOWN[name]
    found = subsets(score, radius, torch.zeros(150, DIM).double(), threshold, list(range(6)))
    assert abs(found.mean - exact) < four_errors(6) * found.se and found.se < 0.3
    assert bool((score(found.positions.flatten(0, 1)) <= threshold).all())
    assert torch.allclose(found.positions.norm(dim=-1), torch.full((6, 150), radius).double())
    assert all(levels[-1] == threshold and levels == sorted(levels, reverse=True) for levels in found.levels)


def test_where_there_is_no_way_down_it_says_so():
    with pytest.raises(UserError, match="no way below"):
        subsets(lambda w: torch.ones(len(w)).double(), 1.0, torch.zeros(10, 3).double(), 0.0, [0])
    with pytest.raises(UserError, match="a seed of its own"):
        subsets(lambda w: w[:, 0], 1.0, torch.zeros(10, 3).double(), 0.0, [0, 0])


@pytest.mark.slow
def test_perceptrons_that_answer_as_a_teacher_have_gardners_volume():
    dim, load, found = 200, 1.0, []
    for seed in range(6):
        draws = generator(seed)
        x, teacher = torch.randn(int(load * dim), dim, generator=draws), torch.randn(dim, generator=draws)
        signed = (x * (x @ teacher).sign()[:, None]).double().T.contiguous()

        def least_margin(w, signed=signed):
            return -(w @ signed).amin(1)

        run = subsets(least_margin, 1.0, torch.zeros(150, dim).double(), 0.0, [seed], n_moves=15)
        found.append(run.mean / dim)
    mean, error = (torch.tensor(found).mean().item(), torch.tensor(found).std().item() / math.sqrt(6))
    # to leading order in d: what is left out is of order ln(d) / d
    assert abs(mean - teacher_entropy(load)) < four_errors(6) * error + math.log(dim) / dim


def test_wang_landau_finds_zones_of_a_sphere():
    angles = torch.tensor([0.6, 0.9, 1.2, math.pi / 2]).double()
    exact = torch.tensor([ln_cap(8, angle) for angle in angles.tolist()])
    runs = []
    for seed in range(5):
        start = uniform(64, 8, generator(seed))
        found = wang_landau(lambda w: -w[:, :1], [-angles.cos()], start, seed, n_learn=1000, n_rounds=2000)
        runs.append(found.ln_share.logcumsumexp(0)[:-1] - exact)
        assert found.visits.sum() == 64 * 1000 and found.learnt
    off = torch.stack(runs)
    assert bool((off.mean(0).abs() < four_errors(5) * off.std(0) / math.sqrt(5)).all())
    assert off.std(0).max() < 0.3


def test_two_scores_have_a_table_of_shares_and_a_bin_that_is_not_there_has_none():
    start = uniform(32, 3, generator(0))

    def both(w):
        return torch.stack([w[:, 0], w[:, 0].abs()], 1)

    edges = [torch.tensor([0.0]).double(), torch.tensor([0.5, 2.0]).double()]
    found = wang_landau(both, edges, start, 0, n_learn=300, n_rounds=2000)
    shares = found.ln_share.exp()
    assert shares.shape == (2, 3) and shares[:, 2].tolist() == [0, 0]  # |x| never exceeds 2
    assert torch.allclose(shares[:, :2], torch.full((2, 2), 0.25).double(), atol=0.05)
    with pytest.raises(UserError, match="must be finite and rise"):
        wang_landau(both, [torch.tensor([1.0, 0.0])] * 2, start, 0, n_learn=1, n_rounds=1)
