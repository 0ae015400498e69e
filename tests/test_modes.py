"""Grouping of blocks: planted subspaces, patterns and noise; scores of agreement against slow ways."""

import itertools
import math

import pytest
import torch
from loops import for_each
from oracles import generator

from circuitgrok.exact.analytic import max_margin_network
from circuitgrok.geometry import unit
from circuitgrok.measures.parts.matching import adjusted_rand, average_precision, principal_cosines
from circuitgrok.measures.parts.modes import (
    affinity,
    independent_modes,
    nonnegative_modes,
    scaled,
    subspace_groups,
)
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.tasks.modular import modular_addition


def normal(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_neurons_of_one_frequency_and_all_phases_are_a_group_though_no_two_are_alike():
    """The nine products of {1, cos, sin} of a and b of one frequency are nine dimensions; others' are orthogonal."""
    p, n, freqs = 13, 40, (1, 3, 4)
    a, b = torch.cartesian_prod(torch.arange(p), torch.arange(p)).T.double()
    rows = []
    for k in freqs:
        waves = [torch.stack([(2 * math.pi * k * x / p).cos(), (2 * math.pi * k * x / p).sin()]) for x in (a, b)]
        u, v = 2 * math.pi * torch.rand(2, n, generator=generator(k), dtype=torch.float64)
        of_a = torch.stack([u.cos(), u.sin()], 1) @ waves[0]
        of_b = torch.stack([v.cos(), v.sin()], 1) @ waves[1]
        rows.append(of_a * of_b)  # no two alike, four dimensions for each frequency
    every, true = torch.cat(rows), torch.arange(3).repeat_interleave(n)
    found, apart = affinity(every), true[:, None] != true
    # columns are scaled before: functions of one frequency are mixed with others by that, but hardly
    assert found[apart].mean() < 0.1 * found[~apart].mean()
    assert adjusted_rand(subspace_groups(every, 3), true) == 1.0
    noisy = every + 0.3 * every.std() * normal(*every.shape, seed=9)
    assert adjusted_rand(subspace_groups(noisy, 3), true) == 1.0
    alike = scaled(every) @ scaled(every).T
    assert alike[~apart].abs().mean() < 0.5  # and yet not by likeness


def test_the_groups_of_a_network_do_not_change_when_pairs_are_named_anew_or_rows_are_louder():
    model, task = QuadraticMLP(p=11, n_neurons=45), modular_addition(11, 0.5)
    post = model.last_hidden(max_margin_network(11), task.inputs).post.T
    post = post - post.mean(1, keepdim=True)
    groups = subspace_groups(post, 5)
    shuffled = post[:, torch.randperm(121, generator=generator(1))] * (1 + torch.arange(45))[:, None]
    assert adjusted_rand(subspace_groups(shuffled, 5), groups) == 1.0
    sizes = torch.bincount(groups)
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)


def test_scaling_takes_loud_pairs_and_loud_blocks_out():
    rows = normal(5, 8)
    louder = rows * torch.logspace(-1, 1, 8) * torch.logspace(-2, 2, 5)[:, None]
    assert (scaled(louder) - scaled(rows)).abs().max() < 0.05 < (unit(louder) - unit(rows)).abs().max()
    assert (scaled(rows).norm(dim=1) - 1).abs().max() < 1e-12
    gone = scaled(torch.cat([rows, torch.zeros(1, 8)]) * torch.tensor([1.0] * 7 + [0.0]))
    assert gone[-1].abs().max() == 0 and gone[:, -1].abs().max() == 0


def test_rows_that_write_each_other_are_the_least_squares_with_a_ridge():
    rows = normal(6, 9)
    X = scaled(rows)
    Z = torch.zeros(6, 6, dtype=torch.float64, requires_grad=True)
    ((X - Z @ X).square().sum() + 0.5 * Z.square().sum()).backward()
    at_zero = Z.grad
    exact = torch.linalg.solve(X @ X.T + 0.5 * torch.eye(6).double(), X @ X.T)
    slope = 2 * (exact @ X @ X.T) + exact  # of the quadratic, less what it is at 0
    assert (slope + at_zero).abs().max() < 1e-12
    assert (affinity(rows, 0.5) - exact.abs()).abs().max() < 1e-12


@for_each("factorised", [nonnegative_modes, independent_modes])
def test_patterns_that_were_planted_are_found(factorised):
    n, each = 4, 12
    patterns = torch.rand(n, 900, generator=generator(4), dtype=torch.float64) ** 6
    true = torch.arange(n).repeat_interleave(each)
    rows = (1 + torch.rand(n * each, 1, generator=generator(5), dtype=torch.float64)) * patterns[true]
    rows = rows + 0.01 * normal(n * each, 900, seed=6)
    found = factorised(rows, n)
    assert adjusted_rand(found.groups, true) > 0.9
    assert found.loadings.shape == (n * each, n) and found.patterns.shape == (n, 900)


def test_the_adjusted_rand_index_is_that_of_all_pairs_of_blocks():
    one, other = (torch.randint(0, 4, (30,), generator=generator(seed)) for seed in (7, 8))
    other[:15] = one[:15]
    together = [[(x[i] == x[j]).item() for i, j in itertools.combinations(range(30), 2)] for x in (one, other)]
    n, a, b = len(together[0]), *map(sum, together)
    both = sum(x and y for x, y in zip(*together, strict=True))
    exact = (both - a * b / n) / ((a + b) / 2 - a * b / n)
    assert adjusted_rand(one, other) == pytest.approx(exact, rel=1e-12)


def test_average_precision_is_the_mean_precision_at_the_hits():
    scores, true = normal(20, seed=9), torch.tensor([1, 4, 7, 11])
    order = scores.argsort(descending=True).tolist()
    ranks = sorted(order.index(i) + 1 for i in true.tolist())
    assert average_precision(scores, true) == pytest.approx(sum((k + 1) / r for k, r in enumerate(ranks)) / 4)


@for_each("angle", [0.0, 0.3, math.pi / 2])
def test_principal_cosines_are_those_of_a_plane_that_is_turned(angle):
    one = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]])  # the last row adds nothing
    other = torch.tensor([[2.0, 0, 0, 0], [0, math.cos(angle), math.sin(angle), 0]])
    torch.testing.assert_close(
        principal_cosines(one, other), torch.tensor([1.0, math.cos(angle)]).double(), atol=1e-7, rtol=0
    )
