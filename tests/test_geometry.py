"""Geometries: what is kept, what is removed, and the way back."""

import math

import pytest
import torch
from oracles import noise

from circuitgrok.samplers.geometry import FLAT, Orthogonal, Sphere

EPS = torch.finfo(torch.float64).eps
GEOMETRIES = {"flat": FLAT, "hyperplane": Orthogonal(noise(7, 5, seed=3)), "sphere": Sphere()}


@pytest.fixture(params=GEOMETRIES)
def geometry(request):
    return GEOMETRIES[request.param]


def start(geometry, speed=1.0):
    position = noise(7, 5)
    return position, geometry.tangent(position, speed * noise(7, 5, seed=1))


def test_moving_back_returns_to_the_start(geometry):
    position, velocity = start(geometry)
    there, carried = geometry.move(position, velocity)
    back, returned = geometry.move(there, -carried)
    # A handful of roundings of numbers of size 3, and on the sphere of an angle of size 3.
    torch.testing.assert_close(back, position, rtol=0, atol=100 * EPS)
    torch.testing.assert_close(-returned, velocity, rtol=0, atol=100 * EPS)


def test_two_halves_of_a_geodesic_are_the_whole(geometry):
    position, velocity = start(geometry)
    middle, carried = geometry.move(position, velocity / 2)
    halves, _ = geometry.move(middle, carried)
    torch.testing.assert_close(halves, geometry.move(position, velocity)[0], rtol=0, atol=100 * EPS)


def test_speed_is_kept_and_velocity_stays_tangential(geometry):
    there, carried = geometry.move(*start(geometry))
    torch.testing.assert_close(carried.norm(dim=-1), start(geometry)[1].norm(dim=-1), rtol=100 * EPS, atol=0)
    torch.testing.assert_close(geometry.tangent(there, carried), carried, rtol=0, atol=100 * EPS)


def test_the_tangential_part_is_an_orthogonal_projection(geometry):
    position, vector, other = noise(7, 5), noise(7, 5, seed=1), noise(7, 5, seed=2)
    once = geometry.tangent(position, vector)
    torch.testing.assert_close(geometry.tangent(position, once), once, rtol=0, atol=100 * EPS)
    one, turned = (once * other).sum(-1), (vector * geometry.tangent(position, other)).sum(-1)
    torch.testing.assert_close(one, turned, rtol=0, atol=100 * EPS)


def test_rest_is_rest(geometry):
    position = noise(7, 5)
    there, carried = geometry.move(position, torch.zeros_like(position))
    torch.testing.assert_close(there, position, rtol=4 * EPS, atol=0)
    assert not carried.any()


def test_no_motion_along_the_normal_is_left_whatever_its_length():
    normal = noise(6, 50) * torch.logspace(-20, 20, 6, dtype=torch.float64)[:, None]
    position = noise(6, 50, seed=1)
    unit = normal / normal.norm(dim=-1, keepdim=True)
    moved, geometry = position, Orthogonal(normal)
    for seed in range(20):
        moved, _ = geometry.move(moved, geometry.tangent(moved, 10 * noise(6, 50, seed=seed)))
    assert (moved - position).norm(dim=-1).min() > 100
    assert (unit * (moved - position)).sum(-1).abs().max() < 1e-12


def test_a_normal_of_zero_removes_nothing_and_others_in_the_stack_keep_theirs():
    normal = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert Orthogonal(normal).tangent(normal, torch.ones(2, 2)).tolist() == [[1.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_norm_is_kept_to_rounding_for_a_thousand_long_moves(dtype):
    position = noise(7, 50).to(dtype)
    radius, sphere = position.norm(dim=-1), Sphere()
    for seed in range(1000):
        position, _ = sphere.move(position, sphere.tangent(position, noise(7, 50, seed=seed).to(dtype)))
    # Each move sets the norm afresh, to about three roundings, which add up as a walk: 3 sqrt(1000) < 100 of them.
    assert position.dtype == dtype
    torch.testing.assert_close(position.norm(dim=-1), radius, rtol=100 * torch.finfo(dtype).eps, atol=0)


def test_great_circles_go_once_around_and_through_the_pole():
    north, east = torch.tensor([[0.0, 0.0, 2.0]], dtype=torch.float64), torch.tensor([[1.0, 0.0, 0.0]]).double()
    quarter, carried = Sphere().move(north, math.pi * east)  # an angle of pi / 2 on radius 2
    torch.testing.assert_close(quarter, 2 * east, rtol=0, atol=8 * EPS)
    torch.testing.assert_close(carried, -math.pi / 2 * north, rtol=0, atol=8 * EPS)
    around, _ = Sphere().move(north, 4 * math.pi * east)
    torch.testing.assert_close(around, north, rtol=0, atol=16 * EPS)
