"""Bends of paths: circles in many dimensions, straight lines, ways back, walks."""

import math

import pytest
import torch
from loops import for_each
from oracles import noise

from circuitgrok.polar.turning import bend


def pieces(points):
    """Rows as networks of two tensors."""
    return [{"a": row[:3], "b": row[3:].reshape(-1, 1)} for row in points]


@for_each("radius", [0.5, 20.0])
def test_of_a_circle_they_are_the_angle_of_a_step_and_one_over_the_radius_exactly(radius):
    plane = torch.linalg.qr(noise(9, 2)).Q.T
    angles = torch.tensor([0.1, 0.4, 0.7], dtype=torch.float64)
    points = noise(9, seed=1) + radius * torch.stack([angles.cos(), angles.sin()], 1) @ plane
    found = bend(pieces(points))
    assert found.turning.item() == pytest.approx(0.3, rel=1e-9)
    assert found.curvature.item() == pytest.approx(1 / radius, rel=1e-9)


def test_a_line_does_not_bend_and_a_way_back_turns_by_pi():
    at, along = noise(9), noise(9, seed=1)
    straight = bend(pieces([at, at + along, at + 3 * along]))
    assert straight.turning.item() < 1e-12 and straight.curvature.item() < 1e-12
    assert bend(pieces([at, at + along, at])).turning.item() == pytest.approx(math.pi)
    assert bend(pieces([at, at, at + along])).turning.isnan()
    with pytest.raises(ValueError, match="three checkpoints"):
        bend(pieces([at, along]))


def test_a_walk_of_many_dimensions_turns_by_a_right_angle():
    steps = noise(2, 100_000)
    found = bend([{"w": x} for x in (torch.zeros(100_000), steps[0], steps.sum(0))])
    assert found.turning.item() == pytest.approx(math.pi / 2, abs=4 / 100_000**0.5)
