"""Walks on a torus: laws at rest by quadrature and by area, shaped noise against exact variances."""

import math

import pytest
import torch
from loops import for_each
from oracles import generator

from circuitgrok.exact.fat_cross import fat_cross_share, fat_cross_walk
from circuitgrok.exact.singular_or_flat import crossing_and_basin, matched_flatness, places
from circuitgrok.exact.surfing import cross_potential
from circuitgrok.exact.torus import gibbs, gibbs_occupancy, torus_walk


def bowl(x):
    return x.square().sum(-1) / 2


@for_each("nbeta", [1.0, 10.0, 300.0])
def test_the_grid_has_the_closed_share_of_the_cross(nbeta):
    law = gibbs(cross_potential, 2.0)
    share = law.share(law.points.abs().amax(-1) < 0.25, nbeta)
    assert share == pytest.approx(gibbs_occupancy(0.25, nbeta=nbeta, half_width=2.0), rel=2e-3)
    assert law.nbeta_of(law.mean_energy(nbeta)) == pytest.approx(nbeta, rel=1e-4)


def test_a_mean_loss_that_no_temperature_has_is_refused():
    with pytest.raises(ValueError, match="mean_energy must be between"):
        gibbs(bowl, 1.0, n=50).nbeta_of(100.0)


def test_points_drawn_from_the_law_have_its_mean_loss():
    law = gibbs(bowl, 3.0)
    points = law.drawn(generator(0), 20_000, 4.0)
    energy = bowl(points)
    assert abs(energy.mean().item() - 1 / 4) < 4 * energy.std().item() / math.sqrt(
        len(points)
    )  # two halves of 1 / nbeta


@for_each(("shaped", "along"), [(0.0, False), (1.5, False), (1.5, True)])
def test_variances_in_a_bowl_are_those_of_the_recursion(shaped, along):
    """Of one coordinate: v <- (1 - lr)^2 v + noise^2 + further noise, which along the gradient is its own share."""
    lr, noise, n = 0.2, 0.05, 40_000
    walk = torus_walk(
        generator(1), n_particles=n, steps=120, lr=lr, noise=noise, half_width=50.0, record=120,
        energy=bowl, shaped=shaped, along=along, start=torch.zeros(n, 2, dtype=torch.float64),
    )  # fmt: skip
    kept = (1 - lr) ** 2 + (shaped * lr) ** 2 * (1 if along else 2)  # in all directions the other coordinate's as well
    expected = noise**2 / (1 - kept)
    variance = walk.positions[-1].square().mean(0)
    assert (variance / expected - 1).abs().max() < 0.1


def test_both_places_hold_the_same_mass_and_the_flat_one_has_the_flatness():
    for smooth in (None, 0.1):
        flat, law = matched_flatness(nbeta=80.0, q=0.35, reach=0.5, half_width=1.5, smooth=smooth)
        at = places(law.points, 0.35, 1.5)
        assert law.share(at["basin"], 80.0) == pytest.approx(law.share(at["crossing"], 80.0), rel=1e-4)
        energy = crossing_and_basin(flat=flat, reach=0.5, half_width=1.5, smooth=smooth)
        curvature = energy(torch.tensor([[1e-3, 0.75]], dtype=torch.float64)).item() / 1e-6
        assert curvature == pytest.approx(flat if smooth is None else flat * 1.5**2 / (1.5**2 + 0.01), rel=1e-3)
    energy = crossing_and_basin(flat=0.5, reach=0.5, half_width=1.5, quartic=0.1)
    x = torch.tensor([[1e-3, 0.75], [1.0, 0.75], [0.1, 0.0]], dtype=torch.float64)
    assert energy(x).tolist() == pytest.approx([0.5 * 1e-12 / (0.01 + 1e-6), 0.5 / 1.01, 0.01])
    with pytest.raises(ValueError, match="flat must be in"):
        crossing_and_basin(flat=0.0, reach=0.5, half_width=1.5)
    with pytest.raises(ValueError, match="no flatness"):
        matched_flatness(nbeta=1e-3, q=0.2, reach=0.05, half_width=2.0, smooth=3.0)


def test_a_walk_whose_refused_steps_stay_is_uniform_by_area():
    for noise in (0.05, 0.4):
        walk = fat_cross_walk(
            generator(2), n_particles=20_000, steps=60, noise=noise, width=0.2, half_width=1.0, record=30, rule="refuse"
        )
        assert (walk.positions.abs().amin(-1) <= 0.2).all()
        for positions in walk.positions:
            share, expected = (
                (positions.abs().amax(-1) < 0.3).double().mean().item(),
                fat_cross_share(0.3, width=0.2, half_width=1.0),
            )
            assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 20_000)


def test_one_projected_step_lands_near_the_crossing_as_two_coordinates_allow():
    """On lines without width: from far up an arm the larger coordinate is kept, so |x|_inf < q takes both below q."""
    n, noise, q = 200_000, 0.5, 0.3
    walk = fat_cross_walk(
        generator(3), n_particles=n, steps=1, noise=noise, width=0.0, half_width=2.0, record=1, rule="project"
    )
    begin, end = walk.positions
    assert (end.abs().amin(-1) == 0).all()
    s = begin.abs().amax(-1)
    far = torch.distributions.Normal(0.0, noise)
    chance = (far.cdf(q - s) - far.cdf(-q - s)) * (2 * far.cdf(torch.tensor(q)) - 1).double()
    assert abs((end.abs().amax(-1) < q).double().mean() - chance.mean()) < 4 * math.sqrt(0.1 / n)
    with pytest.raises(ValueError, match="width must be in"):
        fat_cross_walk(
            generator(0), n_particles=1, steps=1, noise=1.0, width=3.0, half_width=2.0, record=1, rule="refuse"
        )
    with pytest.raises(ValueError, match="0 <= width"):
        fat_cross_share(0.1, width=0.2, half_width=1.0)
