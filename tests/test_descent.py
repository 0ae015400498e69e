"""Descent in trajectories from rest: the leapfrog's own cosine on a quadratic, and gradient descent as its shortest."""

import pytest
import torch
from loops import for_each
from oracles import generator, noise

from circuitgrok.errors import UserError
from circuitgrok.samplers.descent import descent
from circuitgrok.samplers.geometry import FLAT, Sphere
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.target import LossGrad, Target


def bowl(curvature, chains=3, localization=0.0):
    return Target(
        lambda w: LossGrad((curvature * w * w).double().sum(-1) / 2, curvature * w),
        torch.zeros(chains, len(curvature), dtype=torch.float64),
        nbeta=1.0,
        localization=localization,
    )


@for_each("n_leapfrog", [1, 4, 9])
def test_on_a_quadratic_leapfrogs_from_rest_follow_their_cosine(n_leapfrog):
    """Of v -> kick -> drift -> kick with curvature a the angle of a leapfrog is arccos(1 - step_size a / 2)."""
    curvature, sizes = torch.tensor([0.5, 2.0, 7.0]).double(), torch.tensor([0.01, 0.02, 0.005]).double()
    made, start = descent(bowl(curvature), step_size=sizes, n_leapfrog=n_leapfrog), noise(3, 3)
    state, info = made.step(made.init(start, []), [])
    angle = torch.arccos(1 - sizes[:, None] * curvature / 2)
    torch.testing.assert_close(state["position"], start * torch.cos(n_leapfrog * angle), rtol=0, atol=1e-13)
    assert info.acceptance.min() > 0.9


def test_one_leapfrog_is_gradient_descent_with_half_the_step_size():
    curvature, start = torch.tensor([1.0, 3.0]).double(), noise(3, 2)
    made = descent(bowl(curvature, localization=0.5), step_size=0.1, n_leapfrog=1)
    state = made.init(start, [])
    for _ in range(5):
        state, _ = made.step(state, [])
    torch.testing.assert_close(state["position"], start * (1 - 0.05 * (curvature + 0.5)) ** 5, rtol=1e-13, atol=0)


def test_a_trajectory_that_would_rise_is_not_taken_and_its_neighbour_is():
    sizes = torch.tensor([5.0, 0.1]).double()  # beyond 4 over the curvature, and far below
    made, start = descent(bowl(torch.ones(2).double(), 2), step_size=sizes, n_leapfrog=3), noise(2, 2)
    state, info = made.step(made.init(start, []), [])
    assert torch.equal(state["position"][0], start[0]) and (state["position"][1] != start[1]).all()
    assert info.acceptance[0] < 0.5 < info.acceptance[1]


@for_each("geometry", [FLAT, Sphere()])
def test_it_is_where_monte_carlo_goes_as_it_cools(geometry):
    """At U / T with step_size T the velocities drawn are as the root of T, and so is what lies between the two."""
    curvature, start, apart = torch.tensor([0.5, 2.0, 7.0]).double(), noise(3, 3), []
    plain = descent(bowl(curvature), step_size=0.01, n_leapfrog=6, geometry=geometry)
    ended = plain.step(plain.init(start, []), [])[0]["position"]
    for temperature in (1e-6, 1e-8):
        cold = Target(bowl(curvature).loss, torch.zeros_like(start), 1 / temperature, 0.0)
        warm = hmc(cold, step_size=0.01 * temperature, n_leapfrog=6, geometry=geometry)
        state, _ = warm.step(warm.init(start, []), [generator(i) for i in range(3)])
        apart.append((state["position"] - ended).norm().item())
    assert apart[0] / apart[1] == pytest.approx(10, rel=0.01) and 0 < apart[0] < 0.01


def test_steps_that_are_none_are_refused():
    for wrong in ({"step_size": 0.0, "n_leapfrog": 1}, {"step_size": torch.tensor([1.0, -1.0, 1.0]), "n_leapfrog": 1}):
        with pytest.raises(ValueError, match="step_size"):
            descent(bowl(torch.ones(1).double()), **wrong)
    with pytest.raises(UserError, match="n_leapfrog"):
        descent(bowl(torch.ones(1).double()), step_size=1.0, n_leapfrog=0)
