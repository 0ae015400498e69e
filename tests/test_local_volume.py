"""The local volume against caps, quadratics and their uncounted far side; densities of directions; refusals."""

import math

import pytest
import torch
from loops import for_each
from oracles import generator

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.exact.volumes import ln_cap, ln_quadratic
from circuitgrok.geometry import tangent, uniform, unit
from circuitgrok.landscape.local_volume import _ln_density, local_volume_of
from circuitgrok.samplers.target import LossGrad
from circuitgrok.table.local_volume import flatness

DIM, STIFF, LEVEL = 12, 6, 0.02
POLE = torch.eye(DIM).double()[-1]


def stiff(w):
    """Low where the first six coordinates are: seen from the pole, a band around the sphere of the others."""
    return w[:, :STIFF].square().sum(1)


# A ray in direction nu crosses where sin^2 phi |nu_stiff|^2 is the level, and again on its way to the other pole; a ray
# with |nu_stiff|^2 below it never does. By symmetry, what is behind a crossing is as much as what is before it.
NEVER = math.exp(ln_quadratic(DIM - 1, STIFF, LEVEL))
EXACT = math.log((math.exp(ln_quadratic(DIM, STIFF, LEVEL)) + NEVER) / 2)


@for_each("radius", [1.0, 5.0])
def test_a_cap_around_the_point_is_exact_with_a_single_ray(radius):
    found = local_volume_of(lambda w: -w[:, -1] / radius, radius * POLE, -math.cos(0.7), 0, n_rays=1)
    assert found.ln_volume == pytest.approx(ln_cap(DIM, 0.7), abs=1e-4) and math.isnan(found.se)
    assert found.angles.tolist() == pytest.approx([0.7], abs=1e-5)


def test_of_a_quadratic_it_is_what_rays_reach_and_flat_directions_find_it_sooner():
    flat = torch.ones(DIM).double()
    flat[:STIFF] = 0.05
    plain = local_volume_of(stiff, POLE, LEVEL, 0, n_rays=4000)
    led = local_volume_of(stiff, POLE, LEVEL, 0, n_rays=4000, spreads=[flat])
    assert abs(led.ln_volume - EXACT) < 4 * led.se and led.se < 0.1
    assert led.worth > 10 * plain.worth


def test_densities_of_directions_have_a_mean_of_one_and_are_that_of_their_own_draws():
    u = uniform(1, DIM, generator(0))[0]
    spread = torch.rand(DIM, generator=generator(1)).double() + 0.2
    around = unit(tangent(torch.randn(100_000, DIM, generator=generator(2)).double(), u))
    density = _ln_density(around, u, spread).exp()
    assert abs(density.mean() - 1) < 4 * density.std() / math.sqrt(len(density))
    drawn = unit(tangent(spread.sqrt() * torch.randn(100_000, DIM, generator=generator(3)).double(), u))
    back = (-_ln_density(drawn, u, spread)).exp()  # weights to the uniform law
    assert abs(back.mean() - 1) < 4 * back.std() / math.sqrt(len(back))
    assert _ln_density(around[:5], u, torch.ones(DIM).double()).abs().max() < 1e-12


def test_directions_are_led_along_the_axes_of_a_bowl():
    curvatures = torch.logspace(-2, 2, DIM).double()

    def bowl(w):
        return LossGrad((curvatures * (w - POLE).square()).sum(1) / 2, curvatures * (w - POLE))

    spread = flatness(bowl, POLE, 0.1, 0)
    root = 1 / spread
    floor = root.min()  # the pole's own direction does not move at first order
    ratio = ((root - floor) / curvatures)[2:-1]
    assert ratio.max() / ratio.min() < 2  # 64 probes, each component's root mean square to 9 %


def test_checkpoints_have_a_table_and_what_never_rises_is_the_whole_sphere():
    run = cg.reference()
    table = cg.local_volume(run, [0, 4000], n_rays=8, rise=1.0)
    assert list(table) == ["ln_volume", "se", "worth", "angle", "uniform", "per_weight"]
    assert table["ln_volume"][4000] < table["ln_volume"][0] <= 1e-9
    assert table["angle"][0] == math.pi  # random weights of this norm answer at random wherever one turns
    assert cg.local_volume(run, n_rays=4).index.tolist() == [4000]


@for_each(
    ("given", "said"),
    [
        ({"rise": 0.0}, "rise must be positive"),
        ({"n_rays": 2}, "n_rays must be 4 or more, one for each kind of direction; got 2"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, said):
    with pytest.raises(UserError, match=said):
        cg.local_volume(cg.reference(), [4000], **given)


def test_a_point_above_its_level_is_refused():
    with pytest.raises(UserError, match="the point must be below the level"):
        local_volume_of(stiff, unit(torch.ones(DIM).double()), LEVEL, 0)
    with pytest.raises(UserError, match="must be positive"):
        local_volume_of(stiff, POLE, LEVEL, 0, spreads=[torch.zeros(DIM).double()])
