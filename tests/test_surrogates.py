"""Walks as mobile as a path: lengths of every move, and the mean square distance of what has no drift."""

import pytest
import torch
from oracles import generator, noise

from circuitgrok.polar.surrogates import isotropic_walk, signed_walk

PATH = {"a": torch.linspace(0, 1, 9)[:, None, None] * noise(1, 3, 2), "b": noise(9, 4).cumsum(0)}


def moved(walk):
    return torch.stack([path.diff(dim=0).flatten(1).norm(dim=1) for path in walk.values()])


def test_both_walks_begin_at_the_start_and_move_every_tensor_as_far():
    for made in (signed_walk, isotropic_walk):
        walk = made(PATH, generator(1))
        assert all(
            torch.equal(walk[name][0], path[0]) and walk[name].shape == path.shape for name, path in PATH.items()
        )
        torch.testing.assert_close(moved(walk), moved(PATH), rtol=1e-5, atol=1e-6)


def test_signs_are_shared_by_all_tensors():
    walk = signed_walk(PATH, generator(2))
    kept = [torch.isclose(walk[name].diff(dim=0), PATH[name].diff(dim=0), atol=1e-6).flatten(1).all(1) for name in PATH]
    assert torch.equal(*kept) and 0 < kept[0].sum() < 8


def test_without_drift_squares_of_moves_add_up_and_with_it_the_path_is_further():
    """Signed moves end at a mean square of the sum of their squares; n equal moves along a line at n times that."""
    ends = torch.stack([signed_walk(PATH, generator(seed))["a"][-1].square().sum() for seed in range(4000)])
    squares = PATH["a"].diff(dim=0).square().sum()
    assert abs(ends.mean() - squares) < 4 * ends.std() / 4000**0.5
    assert (PATH["a"][-1].square().sum() / squares).item() == pytest.approx(8, rel=1e-4)


def test_a_tensor_that_rests_rests():
    still = {"a": torch.ones(4, 2)}
    assert torch.equal(isotropic_walk(still, generator(0))["a"], still["a"])
