"""Motion along level sets: nearest points of ellipsoids, second-order drift, uniform spheres, gradients of traces."""

import math

import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import kstest

from circuitgrok.errors import UserError
from circuitgrok.geometry import angle
from circuitgrok.interventions.penalties import L1, L2, Nuclear
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.directions import descending, flattening, wandering
from circuitgrok.landscape.exploration import explore
from circuitgrok.landscape.level_flow import begun, levelled, surfed
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.models.transformer import Transformer
from circuitgrok.samplers.geometry import Sphere
from circuitgrok.samplers.target import LossGrad
from circuitgrok.tasks.modular import modular_addition

AXES = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)


def bowl(centre=(0.0, 0.0, 0.0)):
    """A quadratic of curvatures 1, 4, 9 about a point."""
    c = torch.tensor(centre, dtype=torch.float64)
    return lambda w: LossGrad((AXES * (w - c) ** 2).sum(-1) / 2, AXES * (w - c))


def draws(n, seed=0):
    return [torch.Generator().manual_seed(1000 * seed + i) for i in range(n)]


def nearest(centre, level):
    """The nearest point to 0 of an ellipsoid that does not hold 0, from the one equation of its multiplier."""
    c = torch.tensor(centre, dtype=torch.float64)

    def off(mu):  # w + mu A (w - c) = 0
        w = mu * AXES * c / (1 + mu * AXES)
        return bowl(centre)(w[None]).value.item() - level

    mu = float(brentq(off, 1e-9, 1e9))  # pyright: ignore
    return mu * AXES * c / (1 + mu * AXES)


def test_least_norm_goes_to_the_nearest_point_of_an_ellipsoid():
    centre, level = (2.0, 1.5, -1.0), 0.5
    start = torch.tensor([[3.0, 1.5, -1.0], [2.0, 1.5, -4 / 3]], dtype=torch.float64)
    assert torch.allclose(bowl(centre)(start).value, torch.tensor([level, level], dtype=torch.float64))
    end = surfed(bowl(centre), begun(start), lambda w: -w, level=level, step=1e-3, n_steps=4000)
    torch.testing.assert_close(end.position, nearest(centre, level).expand(2, -1), atol=3e-3, rtol=0)
    by_rule = surfed(
        bowl(centre), begun(start), descending(L2.rule, {"w": start[0]}), level=level, step=1e-3, n_steps=4000
    )
    torch.testing.assert_close(by_rule.position, end.position, atol=3e-3, rtol=0)


def test_loss_stays_off_its_level_in_second_order_of_the_step_and_does_not_drift():
    start, along = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 1.0, 0.3]]).double()
    short, shorter, longer = (
        surfed(bowl(), begun(start), lambda w: along, level=0.5, step=step, n_steps=n)
        for step, n in ((4e-3, 50), (2e-3, 100), (4e-3, 2000))
    )
    assert short.off_most.item() / shorter.off_most.item() == pytest.approx(4, rel=0.05)
    assert short.off <= short.off_most < 1e-3
    assert longer.off_most < 2 * short.off_most  # forty times as far
    torch.testing.assert_close(short.way, torch.tensor([0.2], dtype=torch.float64))


def test_one_step_moves_by_its_length_across_the_gradient():
    start = levelled(bowl(), torch.randn(5, 3, dtype=torch.float64, generator=draws(1)[0]), 0.5, within=1e-12)
    end = surfed(bowl(), begun(start), wandering(draws(5)), level=0.5, step=0.01, n_steps=1)
    moved = end.position - start
    torch.testing.assert_close(moved.norm(dim=-1), torch.full((5,), 0.01, dtype=torch.float64), rtol=1e-6, atol=0)
    assert (moved * bowl()(start).gradient).sum(-1).abs().max() < 1e-9
    assert end.corrected.max() < 1e-9


def test_wandering_on_a_sphere_becomes_uniform():
    """Of the uniform law of a sphere in three dimensions every coordinate is uniform (Archimedes)."""
    start = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(1500, -1)

    def ball(w):
        return LossGrad(w.square().sum(-1) / 2, w)

    end = surfed(ball, begun(start), wandering(draws(1500)), level=0.5, step=0.2, n_steps=250)
    assert end.off_most.max() < 0.1
    for coordinate in (end.position / end.position.norm(dim=-1, keepdim=True)).T:
        assert kstest(coordinate.numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3


def test_on_the_sphere_the_norm_is_kept_and_the_level_as_well():
    centre, level = (2.0, 1.5, -1.0), 0.5
    start = torch.tensor([[3.0, 1.5, -1.0]], dtype=torch.float64)
    end = surfed(
        bowl(centre), begun(start), lambda w: torch.ones_like(w), level=level, step=1e-3, n_steps=500, geometry=Sphere()
    )
    torch.testing.assert_close(end.position.norm(), start.norm(), rtol=1e-12, atol=0)
    assert end.off_most < 1e-2 and angle(end.position[0], start[0]) > 0.01


def test_levels_are_each_chains_own_and_chains_share_nothing():
    start, levels = torch.tensor([[1.0, 1.0, 1.0]] * 3, dtype=torch.float64), torch.tensor([0.5, 2.0, 8.0]).double()
    begin = levelled(bowl(), start, levels, within=1e-10)
    torch.testing.assert_close(bowl()(begin).value, levels)
    together = surfed(bowl(), begun(begin), lambda w: -w, level=levels, step=1e-2, n_steps=30)
    for i in range(3):
        alone = surfed(bowl(), begun(begin[i : i + 1]), lambda w: -w, level=levels[i].item(), step=1e-2, n_steps=30)
        assert torch.equal(alone.position[0], together.position[i])


def test_what_is_lost_is_told_and_others_are_not_hurt():
    def cliff(w):
        return LossGrad(torch.where(w[:, 0] > 1.05, torch.nan, w.square().sum(-1) / 2), w)

    start = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    end = surfed(cliff, begun(start), lambda w: w, level=0.5, step=0.1, n_steps=5)
    assert end.off.isfinite().tolist() == [True, True]  # straight ahead is across: nothing moves
    end = surfed(cliff, begun(1.1 * start), lambda w: w.flip(-1), level=0.5, step=0.1, n_steps=5)
    assert end.off.isfinite().tolist() == [False, True]


@pytest.mark.parametrize("rule", [L1.rule, L2.rule, Nuclear.rule])
def test_descending_is_the_slope_by_differences(rule):
    like = {"blocks.0.mlp.W_in": torch.zeros(3, 4), "blocks.0.mlp.b_in": torch.zeros(4)}
    at = torch.randn(2, 16, dtype=torch.float64, generator=draws(1)[0])
    slope = -descending(rule, like)(at)

    def value(w):
        return rule({"blocks.0.mlp.W_in": w[:, :12].view(-1, 3, 4), "blocks.0.mlp.b_in": w[:, 12:]})

    for i in range(16):
        e = 1e-6 * torch.eye(16, dtype=torch.float64)[i]
        torch.testing.assert_close(slope[:, i], (value(at + e) - value(at - e)) / 2e-6, rtol=1e-5, atol=1e-7)


def test_flattening_finds_the_gradient_of_a_trace_and_with_it_a_flatter_place_of_equal_loss():
    """L = x^2 (1 + y^2) / 2 on {L = 1/2}: trace 1 + y^2 + x^2 = 1 + y^2 + 1 / (1 + y^2), least at y = 0."""

    def valley(w):
        x, y = w.unbind(-1)
        return LossGrad(x**2 * (1 + y**2) / 2, torch.stack([x * (1 + y**2), x**2 * y], -1))

    start = torch.tensor([[1 / math.sqrt(2), 1.0]], dtype=torch.float64)
    at = start.expand(4000, -1)
    found = flattening(valley, draws(4000))(at)
    g = valley(at).gradient
    size = 1e-2 * at.norm(dim=-1, keepdim=True) / math.sqrt(2)
    mean = (found + 2 * g / size**2).mean(0)
    exact = -torch.tensor([2 * start[0, 0], 2 * start[0, 1]])  # of trace 1 + y^2 + x^2
    torch.testing.assert_close(mean, exact, rtol=0.05, atol=0.05)
    end = surfed(valley, begun(start), flattening(valley, draws(1), n_probes=30), level=0.5, step=4e-3, n_steps=1000)
    assert abs(end.position[0, 1].item()) < 0.1 and end.off_most < 1e-2


def test_on_a_network_a_penalty_falls_while_the_loss_stays():
    model, task = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16), modular_addition(5, 0.5, 0)
    weights = model.init(torch.Generator().manual_seed(0))
    copies = {name: value[None].clone() for name, value in weights.items()}
    loss = ChainLoss(model, task, task.is_train, copies, chosen_pieces(model))
    level = loss(loss.start).value.item()
    end = surfed(loss, begun(loss.start), lambda w: -w, level=level, step=5e-3, n_steps=100)
    assert end.position.norm() < loss.start.norm() - 0.2 and end.off_most < 1e-2
    assert torch.equal(loss.networks_at(loss.start)["embed.W_E"], copies["embed.W_E"])
    how = Sampling(sampler="hmc", step_size=1e-4, localization=0, n_chains=1, n_draws=8)
    assert explore(weights, model, task, how).end["embed.W_E"].shape == copies["embed.W_E"].shape


@pytest.mark.parametrize(("level", "step"), [(0.0, 0.1), (1.0, 0.0), (torch.tensor([1.0, -1.0]), 0.1)])
def test_levels_and_steps_that_are_none_are_refused(level, step):
    with pytest.raises(UserError, match="must be positive"):
        surfed(bowl(), begun(torch.ones(2, 3).double()), lambda w: w, level=level, step=step, n_steps=1)
