"""Gradient surfing: exact recursions particle by particle, stationary laws, and rows of the reference table."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from loops import for_each
from oracles import generator, noise

from circuitgrok.exact.surfing import cross_potential, occupancy, surf
from circuitgrok.exact.torus import gibbs_occupancy, torus_walk

PLAIN: dict[str, Any] = dict(n_particles=10_000, steps=100, lr=0.1, noise=0.0, decay=0.0, momentum=0.0, half_width=2.0)


def surfed(seed=0, **changes):
    """From a plain setting with some changes, recorded at the start and the end if nothing else is asked for."""
    settings: dict[str, Any] = PLAIN | changes
    settings.setdefault("record", max(1, settings["steps"]))
    return surf(generator(seed), **settings)


def free(x):
    return 0 * x[..., 0]


def within_four_errors(share, expected, n, n_expected=math.inf, rounding=0.0):
    """Two binomial shares, the second from `n_expected` particles and rounded for print."""
    error = math.sqrt(expected * (1 - expected) * (1 / n + 1 / n_expected))
    return abs(share - expected) <= 4 * error + rounding


def slow_surf(seed, *, n_particles, steps, lr, noise, decay, momentum, half_width, a=1.0):
    """Particle by particle, coordinate by coordinate, from the same stream."""
    stream = generator(seed)
    start = half_width * (2 * torch.rand(n_particles, 2, generator=stream, dtype=torch.float64) - 1)
    kicks = [torch.randn(n_particles, 2, generator=stream, dtype=torch.float64).tolist() for _ in range(steps)]
    ends = []
    for particle, x in enumerate(start.tolist()):
        v = [0.0, 0.0]
        for kick in kicks:
            lower = 0 if abs(x[0]) < abs(x[1]) else 1
            slope = [decay * (x[i] + 1) + (2 * a * x[i] if i == lower else 0.0) for i in (0, 1)]
            v = [momentum * v[i] - (1 - momentum) * slope[i] for i in (0, 1)]
            x = [x[i] + lr * v[i] + noise * kick[particle][i] for i in (0, 1)]
        ends.append(x)
    return torch.tensor(ends, dtype=torch.float64)


# The landscape


def test_the_minima_are_on_the_arms_and_not_at_the_crossing():
    a, decay = 1.5, 0.4
    along = -decay / (2 * a + decay)
    for minimum in ([along, -1.0], [-1.0, along]):
        x = torch.tensor(minimum, dtype=torch.float64)
        slope = torch.func.grad(lambda x: cross_potential(x, a=a, decay=decay))
        torch.testing.assert_close(slope(x), torch.zeros_like(x), rtol=0, atol=1e-15)
        curvature = torch.func.jacrev(slope)(x)
        assert torch.linalg.eigvalsh(curvature).tolist() == pytest.approx([decay, 2 * a + decay])
    around = cross_potential(torch.tensor([0.0, 0.0]), a=a, decay=decay)
    assert around == decay > cross_potential(torch.tensor([along, -1.0]), a=a, decay=decay)


def test_the_height_is_what_the_formula_says():
    x = noise(50, 2)
    for (x0, x1), height in zip(x.tolist(), cross_potential(x, a=3.0, decay=0.7, centre=(0.5, -2.0)), strict=True):
        expected = 3 * min(x0**2, x1**2) + 0.35 * ((x0 - 0.5) ** 2 + (x1 + 2) ** 2)
        assert height.item() == pytest.approx(expected, rel=1e-14)


# Without noise


def test_without_noise_and_decay_the_crossing_holds_the_share_of_its_area():
    walk = surfed(1)
    for q in (0.1, 0.25, 0.5, 1.0):
        start, end = occupancy(walk.positions, q).fraction.tolist()
        assert start == end
        assert within_four_errors(end, (q / 2) ** 2, 10_000)


def test_with_decay_all_particles_end_in_the_two_minima():
    decay = 0.3
    end = surfed(n_particles=64, decay=decay, steps=1200).positions[-1]
    along = -decay / (2 + decay)
    low_first = end.sort(dim=1).values
    expected = torch.tensor([-1.0, along], dtype=torch.float64).expand(64, 2)
    torch.testing.assert_close(low_first, expected, rtol=0, atol=1e-12)  # 0.97^1200 is 1e-16
    assert 16 < (end[:, 0] < end[:, 1]).sum() < 48


@for_each("momentum", [0.0, 0.5, 0.9])
def test_the_walk_is_that_of_one_particle_at_a_time(momentum):
    settings: dict[str, Any] = dict(
        n_particles=20, steps=30, lr=0.1, noise=0.05, decay=0.2, momentum=momentum, half_width=2.0
    )
    end = surf(generator(3), record=30, **settings).positions[-1]
    torch.testing.assert_close(end, slow_surf(3, **settings), rtol=1e-12, atol=1e-12)


# Noise


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_free_particle_spreads_by_the_noise_of_each_step(momentum):
    n, steps, size = 10_000, 50, 0.2
    start, end = surfed(momentum=momentum, noise=size, steps=steps, energy=free).positions
    square = (end - start).square().mean().item()
    expected = steps * size**2
    assert abs(square - expected) < 4 * expected * math.sqrt(2 / (2 * n))
    assert (end - start).mean(0).abs().max() < 4 * math.sqrt(expected / n)


def test_decay_alone_gives_an_autoregression_with_its_stationary_variance():
    n, lr, decay, size = 10_000, 0.1, 1.0, 0.3
    end = surfed(lr=lr, decay=decay, noise=size, steps=150, energy=free).positions[-1] + 1
    expected = size**2 / (1 - (1 - lr * decay) ** 2)  # 0.9^150 of the start is 1e-7
    assert abs(end.square().mean().item() - expected) < 4 * expected * math.sqrt(2 / (2 * n))
    assert end.mean(0).abs().max() < 4 * math.sqrt(expected / n)


# Occupancies: a = 1, eta = 0.1, at q = 0.1, 0.25, 0.5; the reference has 10^5 particles at T = 100, else 2 10^4


@pytest.mark.parametrize(
    ("steps", "decay", "size", "momentum", "half_width", "shares"),
    [
        (100, 0.0, 0.01, 0.0, 2.0, {0.1: 0.0047, 0.25: 0.0187, 0.5: 0.067}),
        (100, 0.0, 0.05, 0.0, 2.0, {0.1: 0.010, 0.25: 0.044, 0.5: 0.111}),
        (100, 0.0, 0.1, 0.0, 2.0, {0.1: 0.009, 0.25: 0.051, 0.5: 0.148}),
        (100, 0.0, 0.2, 0.0, 2.0, {0.1: 0.004, 0.25: 0.025, 0.5: 0.090}),
        (100, 0.1, 0.1, 0.0, 2.0, {0.1: 0.018, 0.25: 0.099, 0.5: 0.278}),
        (100, 0.1, 0.01, 0.9, 2.0, {0.25: 0.349}),
        (100, 0.0, 0.1, 0.9, 2.0, {0.25: 0.045}),
        (100, 0.1, 0.01, 0.0, 1.0, {0.25: 0.010}),
        (100, 0.1, 0.01, 0.0, 3.0, {0.25: 0.239}),
        (1000, 0.1, 0.1, 0.0, 2.0, {0.1: 0.011, 0.25: 0.056, 0.5: 0.175}),
    ],
)
def test_occupancies_are_those_of_the_table(steps, decay, size, momentum, half_width, shares):
    n, reference = (5_000, 100_000) if steps == 100 else (1_000, 20_000)
    settings = dict(n_particles=n, steps=steps, decay=decay, noise=size, momentum=momentum, half_width=half_width)
    end = surfed(**settings).positions[-1]
    for q, share in shares.items():
        assert within_four_errors(occupancy(end, q).fraction.item(), share, n, reference, rounding=5e-4)


def test_the_crowd_at_the_crossing_comes_and_goes():
    course = {10: 0.023, 30: 0.059, 50: 0.126, 75: 0.275, 100: 0.298, 110: 0.218, 125: 0.075, 150: 0.001}
    steps, positions = surfed(n_particles=5_000, decay=0.1, noise=0.01, steps=300, record=5)
    found = dict(zip(steps.tolist(), occupancy(positions, 0.25).fraction.tolist(), strict=True))
    for step, share in course.items():
        assert within_four_errors(found[step], share, 5_000, 100_000, rounding=5e-4)
    assert all(share <= 1e-3 for step, share in found.items() if step >= 200)  # lr decay t >= 2


@for_each("decay", [0.2, 0.3])
def test_nobody_is_at_the_crossing_any_more_at_twice_the_time_of_decay(decay):
    end = surfed(decay=decay, noise=0.01).positions[-1]
    assert occupancy(end, 0.25).fraction <= 1e-3


def test_the_valleys_of_a_product_do_not_repel():
    product = surfed(n_particles=1_000, noise=0.01, steps=1000, energy=lambda x: x.square().prod(-1))
    end = product.positions[-1]
    assert within_four_errors(occupancy(end, 0.25).fraction.item(), 0.125, 1_000, 20_000)


def test_occupancy_counts_the_open_square_on_every_stack():
    positions = torch.tensor([[[0.1, -0.2], [0.25, 0.0], [0.0, 0.3], [0.2, 0.2]], [[1.0, 1.0]] * 4])
    share, stderr = occupancy(positions, 0.25)
    assert share.tolist() == [0.5, 0.0] and stderr.tolist() == [0.25, 0.0]
    assert share.dtype == torch.float64


# On the torus


@for_each("nbeta", [0.01, 3.0, 1e4])
@for_each("q", [0.0, 0.3, 1.1, 2.0])
def test_the_gibbs_share_is_that_of_a_quadrature(q, nbeta):
    x, weight = np.polynomial.legendre.leggauss(200)

    def inner(side):  # over 0 < y < x < side, y from near zero where the density changes
        outer, of_outer = side * (x + 1) / 2, side * weight / 2
        rooted = (x[:, None] + 1) / 2
        y, of_y = outer * rooted**2, weight[:, None] * outer * rooted
        return (of_outer * (of_y * np.exp(-nbeta * y**2)).sum(0)).sum()

    assert gibbs_occupancy(q, nbeta=nbeta, half_width=2.0) == pytest.approx(inner(q) / inner(2.0), rel=1e-7)


def test_the_torus_walk_settles_at_the_gibbs_share():
    n, lr, size = 4_000, 0.01, 0.05
    walk = torus_walk(generator(0), n_particles=n, steps=600, lr=lr, noise=size, half_width=1.0, record=600)
    share = occupancy(walk.positions, 0.25).fraction.tolist()
    assert within_four_errors(share[0], 0.25**2, n)
    gibbs = gibbs_occupancy(0.25, nbeta=2 * lr / size**2, half_width=1.0)
    # Steps of finite size make a valley wider, by 1 / (1 - lr a) in variance: here one per cent of a share of 0.115.
    assert within_four_errors(share[1], gibbs, n, rounding=0.01 * gibbs)


def test_the_torus_has_no_edge():
    walk = torus_walk(
        generator(0),
        n_particles=5_000,
        steps=20,
        lr=0.1,
        noise=2.0,
        half_width=1.5,
        record=10,
        energy=free,
    )
    assert (walk.positions >= -1.5).all() and (walk.positions <= 1.5).all()
    for positions in walk.positions:
        assert within_four_errors(occupancy(positions, 0.75).fraction.item(), 0.25, 5_000)


# Records and streams


@pytest.mark.bits
def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    settings = dict(n_particles=50, noise=0.1, decay=0.1, momentum=0.5, steps=20)
    first, again, other = (surfed(seed, **settings).positions for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    on_torus: dict[str, Any] = dict(n_particles=50, steps=20, lr=0.1, noise=0.1, half_width=1.0, record=20)
    assert torch.equal(torus_walk(generator(0), **on_torus).positions, torus_walk(generator(0), **on_torus).positions)


def test_starts_and_noise_do_not_depend_on_the_other_settings():
    paths = [surfed(n_particles=50, steps=20, noise=size, energy=free).positions for size in (0.1, 0.2)]
    assert torch.equal(paths[0][0], paths[1][0])
    torch.testing.assert_close(2 * (paths[0][1] - paths[0][0]), paths[1][1] - paths[1][0], rtol=1e-12, atol=1e-12)


def test_what_is_recorded_does_not_change_the_walk_and_starts_with_the_start():
    settings: dict[str, Any] = dict(n_particles=30, noise=0.1, decay=0.1)
    often, seldom = (surfed(steps=12, record=record, **settings) for record in (1, 4))
    assert often.steps.tolist() == list(range(13)) and seldom.steps.tolist() == [0, 4, 8, 12]
    assert torch.equal(often.positions[::4], seldom.positions)
    assert seldom.positions.shape == (4, 30, 2) and seldom.positions.dtype == torch.float64
    assert seldom.positions[0].abs().max() < 2
    none = surfed(steps=0, **settings)
    assert none.steps.tolist() == [0] and torch.equal(none.positions[0], often.positions[0])


# Refusals


@for_each(
    "wrong",
    [
        dict(n_particles=0),
        dict(steps=-1),
        dict(record=0),
        dict(steps=10, record=3),
        dict(lr=0.0),
        dict(noise=-0.1),
        dict(decay=-0.1),
        dict(momentum=1.0),
        dict(momentum=-0.1),
        dict(half_width=0.0),
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"must .*got.*{[*wrong.values()][-1]}"):
        surfed(**wrong)


def test_an_empty_square_and_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="q must be positive; got 0"):
        occupancy(noise(5, 2), 0.0)
    for q, nbeta in ((-0.1, 1.0), (1.1, 1.0), (0.5, 0.0)):
        with pytest.raises(ValueError, match=r"nbeta must be positive and q in 0\.\.1.0; got"):
            gibbs_occupancy(q, nbeta=nbeta, half_width=1.0)
