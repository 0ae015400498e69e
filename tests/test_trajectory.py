"""Trajectories: planted planes, paths whose components are known, and the random walk by its chain and drawn."""

import math

import pytest
import torch
from loops import for_each
from oracles import generator, noise

from circuitgrok.polar.trajectory import direction_pca, random_walk_ratios, trajectory_pca
from circuitgrok.tree import ravel

EPS = torch.finfo(torch.float64).eps


def some_path(n=7, seed=0):
    """A stack with three roles, one of which does not move."""
    shapes = {"embed.W_E": (40, 33), "blocks.0.mlp.W_in": (33, 50), "blocks.0.mlp.b_in": (50,)}
    stack = {name: noise(n, *shape, seed=seed + i) for i, (name, shape) in enumerate(shapes.items())}
    return stack | {"unembed.W_U": noise(1, 33, 40).expand(n, -1, -1)}


def some_steps(n=7):
    return torch.tensor([0, 1, 10, 30, 100, 150, 400, 700, 800, 1000, 1100, 1200])[:n]


def slow_pca(points):
    """Shares and scores by a singular value decomposition of all coordinates."""
    centred = points - points.mean(0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    return values.square()[:-1] / values.square().sum(), (left * values)[:, :-1]


def chain_ratios(gaps):
    """Eigenvalues of the pseudo-inverse of a chain's Laplacian, conductance 1 / gap for each link."""
    n = len(gaps) + 1
    laplacian = torch.zeros(n, n, dtype=torch.float64)
    for i, gap in enumerate(gaps):
        link = torch.zeros(n, dtype=torch.float64)
        link[i], link[i + 1] = 1, -1
        laplacian += torch.outer(link, link) / gap
    values = 1 / torch.linalg.eigvalsh(laplacian)[1:]
    return values / values.sum()


# Components


def test_components_are_those_of_the_singular_value_decomposition_of_all_coordinates():
    stack, steps = some_path(), some_steps()
    parts = {
        "global": ravel(stack, axes=1),
        "embed": stack["embed.W_E"].flatten(1),
        "mlp": torch.cat([stack["blocks.0.mlp.W_in"].flatten(1), stack["blocks.0.mlp.b_in"]], dim=1),
    }
    found = trajectory_pca(stack, steps)
    assert list(found) == list(parts)  # the unembedding does not move
    for part, points in parts.items():
        explained, scores = slow_pca(points)
        # A squared singular value of n coordinates has an error of about n eps; some thousand coordinates.
        torch.testing.assert_close(found[part].explained, explained, rtol=1e-11, atol=0)
        # The gaps between the shares of Gaussian points are some per cent: vectors lose two more digits.
        agree = (found[part].scores * scores).sum(0).sign()
        torch.testing.assert_close(found[part].scores * agree, scores, rtol=0, atol=1e-8)
        largest = found[part].scores.gather(0, found[part].scores.abs().argmax(0, keepdim=True))
        assert bool((largest > 0).all())


def test_components_of_directions_are_those_of_the_divided_weights():
    stack, steps = some_path(), some_steps()
    found = direction_pca(stack, steps)
    assert list(found) == ["global", "embed", "mlp"]
    for part, points in (("global", ravel(stack, axes=1)), ("embed", stack["embed.W_E"].flatten(1))):
        explained, _ = slow_pca(points / points.norm(dim=1, keepdim=True))
        torch.testing.assert_close(found[part].explained, explained, rtol=1e-11, atol=0)


def test_a_circle_in_a_planted_plane_has_two_equal_components_and_radius_as_scores():
    turn = 2 * math.pi * torch.arange(12, dtype=torch.float64) / 12
    plane = torch.linalg.qr(noise(500, 2)).Q
    circle = 3 * torch.stack([turn.cos(), turn.sin()], dim=1) @ plane.T + 100 * noise(500, seed=1)
    path = trajectory_pca({"embed.W_E": circle}, some_steps(12))["global"]
    # Coordinates of size 100 are rounded at 100 eps, 500 of them and 12 points, against a variance of 9.
    expected = torch.tensor([0.5, 0.5] + [0.0] * 9, dtype=torch.float64)
    torch.testing.assert_close(path.explained, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(path.scores[:, :2].norm(dim=1), torch.full((12,), 3.0).double(), rtol=0, atol=1e-10)
    walk = path.null_by_length
    torch.testing.assert_close(path.over_null[:2], 0.5 / walk[:2], rtol=1e-10, atol=0)
    torch.testing.assert_close(path.tail_over_null[:2], torch.stack([walk.sum(), 0.5 / walk[1:].sum()]))
    assert path.over_null[2:].max() < 1e-9 and path.tail_over_null[2:].max() < 1e-9


def test_moves_of_1e_9_of_the_norm_still_have_components():
    along = torch.tensor([0.0, 1.0, 2.0, 4.0], dtype=torch.float64)
    at = noise(300)
    straight = at + 1e-9 * along[:, None] * noise(300, seed=1)
    path = trajectory_pca({"embed.W_E": straight}, some_steps(4))["global"]
    # Each coordinate is rounded at 1e-16 of its size, that is 1e-7 of the move: 1e-14 of the variance.
    assert path.explained[0].item() == pytest.approx(1, abs=1e-12)


def test_a_path_that_only_grows_has_no_components_of_its_direction():
    growing = torch.tensor([1.0, 2.0, 4.0])[:, None] * torch.tensor([3.0, 4.0])
    with pytest.raises(ValueError, match="no principal components"):
        direction_pca({"embed.W_E": growing}, some_steps(3))
    explained = trajectory_pca({"embed.W_E": growing}, some_steps(3))["global"].explained
    # Of three points, eigenvalues are known to 3 eps of the largest, and their sum too.
    torch.testing.assert_close(explained, torch.tensor([1.0, 0.0]).double(), rtol=0, atol=16 * EPS)


def test_a_role_that_is_zero_somewhere_has_no_direction_and_still_a_path():
    stack = {"embed.W_E": noise(3, 20), "blocks.0.mlp.b_in": noise(3, 5) * torch.tensor([0.0, 1.0, 1.0])[:, None]}
    assert list(trajectory_pca(stack, some_steps(3))) == ["global", "embed", "mlp"]
    assert list(direction_pca(stack, some_steps(3))) == ["global", "embed"]


def test_float32_weights_are_decomposed_in_float64():
    stack = {name: value.float() for name, value in some_path().items()}
    explained, _ = slow_pca(ravel(stack, axes=1).double())
    found = trajectory_pca(stack, some_steps())["global"]
    torch.testing.assert_close(found.explained, explained, rtol=1e-11, atol=0)


# The random walk


@for_each("n", [2, 3, 10, 500])
def test_equal_steps_explain_what_the_sines_say(n):
    k = torch.arange(1, n, dtype=torch.float64)
    expected = 1.5 / ((n**2 - 1) * torch.sin(math.pi * k / (2 * n)).square())
    # The matrix has norm about n and errors of n eps in its singular values, the smallest of which is 1 / 2.
    torch.testing.assert_close(random_walk_ratios(torch.full((n - 1,), 7.0)), expected, rtol=1e-9, atol=0)


def test_unequal_steps_have_the_eigenvalues_of_their_chain():
    gaps = torch.tensor([1.0, 1.0, 1.0, 3.0, 4.0, 8.0, 14.0, 24.0, 44.0, 500.0], dtype=torch.float64)
    torch.testing.assert_close(random_walk_ratios(gaps), chain_ratios(gaps), rtol=1e-11, atol=0)


def test_a_walk_of_orthogonal_moves_is_its_own_null_exactly():
    gaps = torch.tensor([1.0, 5.0, 2.0, 0.5, 30.0, 3.0], dtype=torch.float64)
    frame = torch.linalg.qr(noise(60, 6)).Q.T
    walk = torch.cat([torch.zeros(1, 60, dtype=torch.float64), (gaps.sqrt()[:, None] * frame).cumsum(0)])
    steps = torch.cat([torch.zeros(1), gaps.cumsum(0)]).mul(2).long()
    path = trajectory_pca({"embed.W_E": walk}, steps)["global"]
    torch.testing.assert_close(path.explained, path.null_by_length, rtol=1e-11, atol=0)
    torch.testing.assert_close(path.explained, path.null_by_step, rtol=1e-11, atol=0)
    for ratio in (path.over_null, path.tail_over_null):
        torch.testing.assert_close(ratio, torch.ones(6, dtype=torch.float64), rtol=1e-11, atol=0)


@pytest.mark.parametrize("gaps", [torch.ones(19), torch.tensor([1.0, 1, 2, 4, 8, 16, 32, 64])])
def test_drawn_walks_explain_what_the_null_says_within_four_standard_errors(gaps):
    draws, dims = 30, 4000
    shares = []
    for seed in range(draws):
        moves = gaps.double().sqrt()[:, None] * torch.randn(len(gaps), dims, generator=generator(seed)).double()
        walk = torch.cat([moves.new_zeros(1, dims), moves.cumsum(0)])
        shares.append(slow_pca(walk)[0][:3])
    found = torch.stack(shares)
    error = found.std(0) / math.sqrt(draws)
    # Repulsion of eigenvalues biases the first share by a part in 4000, a tenth of the standard error.
    assert bool(((found.mean(0) - random_walk_ratios(gaps)[:3]).abs() < 4 * error).all())
    assert bool((error < 0.01 * found.mean(0)).all())


def test_moves_of_length_zero_leave_components_without_a_ratio():
    points = noise(5, 50)
    path = trajectory_pca({"embed.W_E": points[[0, 0, 1, 2, 3]]}, some_steps(5))["global"]
    for ratio in (path.over_null, path.tail_over_null):
        assert ratio[:3].isfinite().all() and ratio[3].isnan()


# Refusals


@for_each("measure", [trajectory_pca, direction_pca])
def test_paths_that_are_none_are_refused(measure):
    for steps, rule in (
        ([0, 10], r"got 2 for \[7\]"),
        ([0, 10, 10, 20, 30, 40, 50], "must increase"),
    ):
        with pytest.raises(ValueError, match=rule):
            measure(some_path(), torch.tensor(steps))
    with pytest.raises(ValueError, match="two checkpoints or more"):
        measure(some_path(1), torch.tensor([0]))
    with pytest.raises(ValueError, match="does not move"):
        measure({"embed.W_E": noise(1, 9).expand(7, -1)}, some_steps())


@for_each("gaps", [[], [0.0, 0.0], [1.0, -1.0], [1.0, math.inf], [math.nan]])
def test_lengths_that_are_none_are_refused(gaps):
    with pytest.raises(ValueError, match="finite, 0 or more, and not all 0"):
        random_walk_ratios(torch.tensor(gaps))
