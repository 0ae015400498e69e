"""Spectra: identities of exact ones, and quadrature against known spectra within its own error bars."""

import math
from functools import cache

import pytest
import torch
from loops import for_each
from oracles import dense_hessian, generator, noise

from circuitgrok.exact.potentials import POTENTIALS, localized_llc
from circuitgrok.landscape.lanczos import (
    Density,
    lanczos,
    probe_error,
    random_probes,
    spectral_density,
    spectral_sum,
)
from circuitgrok.landscape.positive_part import bounds, positive, positive_sum, shares

EPS = torch.finfo(torch.float64).eps


def diagonal(eigenvalues):
    """Probes prefer no basis: a diagonal matrix stands for every matrix of its spectrum."""
    return lambda rows: rows * eigenvalues


def grid(*z):
    return torch.tensor(z, dtype=torch.float64)


UNIFORM = torch.linspace(0, 1, 3000, dtype=torch.float64)
LOG_UNIFORM = torch.logspace(-8, 0, 1000, dtype=torch.float64)
BOTH_SIGNS = torch.cat([torch.linspace(-0.3, -0.05, 100), torch.zeros(500), torch.logspace(-2, 0, 400)]).double()
Z = grid(1e-3, 1e-2, 0.1, 1.0)


@cache
def density_of(spectrum, n_steps=80, n_probes=20, seed=0):
    return spectral_density(
        diagonal(spectrum), len(spectrum), n_steps=n_steps, n_probes=n_probes, generator=generator(seed)
    )


@cache
def found_of(spectrum, n_steps=80, n_probes=20, seed=0):
    return lanczos(diagonal(spectrum), random_probes(n_probes, len(spectrum), generator(seed)), n_steps)


# Exact spectra


def effective_dimension(eigenvalues, z):
    return shares(z)(eigenvalues).sum(-1)


def test_effective_dimension_runs_from_the_rank_to_zero_and_scales_with_the_spectrum():
    spectrum = torch.cat([torch.logspace(-3, 2, 9, dtype=torch.float64), torch.zeros(5)])
    curve = effective_dimension(spectrum, grid(1e-15, 1e15))
    # To first order the curve is rank - z sum 1 / lambda at the one end, and sum lambda / z at the other.
    assert curve[0].item() == pytest.approx(9, abs=2e-15 * (1 / spectrum[:9]).sum().item() + 9 * EPS)
    assert curve[1].item() == pytest.approx(spectrum.sum().item() / 1e15, rel=1e-12)
    scaled = effective_dimension(7 * spectrum, 7 * Z)
    torch.testing.assert_close(scaled, effective_dimension(spectrum, Z), rtol=8 * EPS, atol=0)


def test_half_the_effective_dimension_is_the_localized_learning_coefficient_of_a_quadratic():
    spectrum = grid(2.0, 0.5, 0.01)
    assert round(effective_dimension(spectrum, grid(5 / 50)).item() / 2, 4) == 0.9383
    for name in ("x^2", "x^2 + y^2"):
        potential = POTENTIALS[name]
        curvature = torch.linalg.eigvalsh(dense_hessian(potential.energy, torch.zeros(potential.dim).double()))
        exact = localized_llc(potential, 145.0, localization=30.0)  # by another integral, to 1e-9
        assert effective_dimension(curvature, grid(30 / 145)).item() / 2 == pytest.approx(exact, rel=1e-9)


@for_each(("name", "rank"), [("x^4", 0), ("x^2 + y^4", 1), ("x^2 y^2", 0)])
def test_half_the_rank_is_less_than_the_learning_coefficient_of_a_degenerate_minimum(name, rank):
    potential = POTENTIALS[name]
    spectrum = torch.linalg.eigvalsh(dense_hessian(potential.energy, torch.zeros(potential.dim).double()))
    assert int((spectrum > 1e-12).sum()) == rank
    assert effective_dimension(spectrum, grid(1e-9)).item() == pytest.approx(rank, abs=1e-8)
    assert rank / 2 < potential.llc <= potential.dim / 2


def test_negative_eigenvalues_do_not_enter_the_curve():
    assert effective_dimension(grid(-0.1, 0.4, -0.3), grid(0.1, 0.3)).tolist() == pytest.approx([0.8, 4 / 7])


def test_a_z_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"z must be positive; got \[1.0, 0.0\]"):
        effective_dimension(UNIFORM, grid(1.0, 0.0))


# Lanczos


def test_the_basis_is_orthonormal_and_takes_the_matrix_to_its_tridiagonal():
    spectrum = LOG_UNIFORM[::5]
    alphas, betas, basis = lanczos(diagonal(spectrum), noise(2, 200), 60)
    for one in range(2):
        Q, T = basis[one], torch.diag(alphas[one]) + torch.diag(betas[one], 1) + torch.diag(betas[one], -1)
        torch.testing.assert_close(Q @ Q.T, torch.eye(60).double(), rtol=0, atol=200 * EPS)
        torch.testing.assert_close(Q * spectrum @ Q.T, T, rtol=0, atol=200 * EPS)


def without_reorthogonalisation(eigenvalues, start, n_steps):
    """The three-term recurrence as it stands in textbooks; eigenvalues of its tridiagonal matrix."""
    v, before, beta, alphas, betas = start / start.norm(), torch.zeros_like(start), 0.0, [], []
    for _ in range(n_steps):
        w = eigenvalues * v - beta * before
        alphas.append(w @ v)
        w = w - alphas[-1] * v
        beta = w.norm()
        betas.append(beta)
        before, v = v, w / beta
    off = torch.stack(betas[:-1])
    return torch.linalg.eigvalsh(torch.diag(torch.stack(alphas)) + torch.diag(off, 1) + torch.diag(off, -1))


def test_no_ghosts_of_a_converged_eigenvalue_appear():
    spectrum = torch.cat([torch.linspace(0, 1, 199, dtype=torch.float64), grid(30.0)])
    start = noise(200)
    ghosts = without_reorthogonalisation(spectrum, start, 80)
    assert (ghosts > 29).sum() > 1  # so that the test would see them
    alphas, betas, _ = lanczos(diagonal(spectrum), start[None], 80)
    nodes = torch.linalg.eigvalsh(torch.diag(alphas[0]) + torch.diag(betas[0], 1) + torch.diag(betas[0], -1))
    assert (nodes > 29).sum() == 1


def test_a_krylov_space_that_ends_early_gives_the_exact_spectrum_with_its_multiplicities():
    spectrum = torch.cat([torch.full((6,), 2.0), torch.full((3,), -1.0), torch.zeros(1)]).double()
    density = density_of(spectrum, n_steps=9, n_probes=400)
    for value, multiplicity in ((2.0, 6), (-1.0, 3), (0.0, 1)):
        here = (density.nodes - value).abs() < 1e-10
        mean, stderr = spectral_sum(density, lambda _, here=here: here.double())
        assert here.any(-1).all() and abs(mean - multiplicity) < 4 * stderr
    assert (density.weights.sum(-1) - 10).abs().max() < 100 * EPS


def test_quadrature_is_exact_for_polynomials_of_degree_below_twice_the_steps():
    spectrum, probes = BOTH_SIGNS[::10], noise(2, 100)
    nodes, weights = spectral_density(diagonal(spectrum), 100, n_steps=4, n_probes=2, generator=generator(3))
    probes = torch.randn(2, 100, generator=generator(3), dtype=torch.float64)
    probes = probes / probes.norm(dim=1, keepdim=True)
    for power in range(8):
        exact = 100 * (probes.square() * spectrum**power).sum(-1)
        torch.testing.assert_close((weights * nodes**power).sum(-1), exact, rtol=0, atol=100 * 100 * EPS)
    beyond = 100 * (probes.square() * spectrum**8).sum(-1) - (weights * nodes**8).sum(-1)
    assert beyond.min() > 1e-6


# Estimates


@pytest.mark.parametrize("spectrum", [UNIFORM, LOG_UNIFORM, BOTH_SIGNS])
def test_the_trace_lies_within_four_standard_errors_and_they_are_the_ones_of_theory(spectrum):
    dim = len(spectrum)
    value, stderr = spectral_sum(density_of(spectrum, n_steps=1, n_probes=400), lambda x: x)
    variance = 2 * dim / (dim + 2) * (spectrum.square().sum() - spectrum.sum().square() / dim)
    assert abs(value - spectrum.sum()) < 4 * stderr
    # A standard deviation from 400 draws errs by 1 / sqrt(800) of itself.
    assert stderr.item() == pytest.approx((variance / 400).sqrt().item(), rel=4 / math.sqrt(800))


@pytest.mark.parametrize("n_steps", [2, 12, 40, 80])
@pytest.mark.parametrize("spectrum", [UNIFORM, LOG_UNIFORM, BOTH_SIGNS])
def test_effective_dimension_by_quadrature_lies_within_four_stated_errors_at_any_number_of_nodes(spectrum, n_steps):
    exact = effective_dimension(spectrum, Z)
    found = found_of(spectrum, n_steps)
    curve = positive_sum(found, shares(Z))
    assert ((curve.value - exact).abs() < 4 * curve.error).all()
    assert (curve.lower <= curve.value).all() and (curve.value <= curve.upper).all()
    mass = positive_sum(found._replace(diagonal=-found.diagonal), positive)  # the same probes in -H
    assert abs(mass.value.item() + spectrum.clamp(max=0).sum().item()) < 4 * mass.error.item() + 1e-12


@for_each("n_steps", [2, 3, 4, 15, 60])
@for_each("spectrum", [UNIFORM[::3], LOG_UNIFORM, BOTH_SIGNS, -BOTH_SIGNS, BOTH_SIGNS - 2, UNIFORM - 0.5])
def test_what_each_probe_really_sees_lies_between_its_bounds_and_they_close_in(spectrum, n_steps):
    """No statistics: v^T f(H) v of every probe itself, also where all or none of the spectrum is positive."""
    probes = random_probes(20, len(spectrum), generator(0)).square()

    def f(x):
        return torch.cat([shares(Z)(x), positive(x)])

    lower, upper = bounds(found_of(spectrum, n_steps), f)
    own = (probes * f(spectrum)[:, None]).sum(-1)
    rounding = 1e-10  # of weights with sum 1 on numbers up to 2
    assert (lower <= own + rounding).all() and (own <= upper + rounding).all()
    wider = bounds(found_of(spectrum, max(2, n_steps // 2)), f)
    assert (wider[0] <= lower + rounding).all()
    assert (upper <= wider[1] + 0.02 * (wider[1] - wider[0]) + rounding).all()  # its summit is searched to a per cent


def test_the_bounds_are_reached_by_spectra_of_the_same_moments():
    """A lump at 0 between two others: three eigenvalues, of which Q_0 with three nodes is the very spectrum."""
    lumps = torch.cat([torch.full((20,), -1.0), torch.zeros(50), torch.full((30,), 2.0)]).double()
    lower, upper = bounds(found_of(lumps, 3, 5), shares(Z))
    own = (random_probes(5, 100, generator(0)).square() * shares(Z)(lumps)[:, None]).sum(-1)
    torch.testing.assert_close(lower, own, rtol=1e-9, atol=0)
    # to the same moments up to x^4 there is a spectrum with none at 0
    assert (upper > own * (1 + 1e-3)).all()


def test_a_krylov_space_that_ends_early_leaves_nothing_open():
    lumps = torch.cat([torch.full((20,), -1.0), torch.zeros(50), torch.full((30,), 2.0)]).double()
    lower, upper = bounds(found_of(lumps, 7, 5), shares(Z))
    own = (random_probes(5, 100, generator(0)).square() * shares(Z)(lumps)[:, None]).sum(-1)
    torch.testing.assert_close(lower, own, rtol=1e-9, atol=0)
    torch.testing.assert_close(upper, own, rtol=1e-9, atol=0)


def test_the_error_of_theory_is_the_spread_of_many_probes():
    found = density_of(UNIFORM[::10], n_steps=40, n_probes=400)
    _, spread = spectral_sum(found, shares(Z))
    # a standard deviation from 400 draws errs by 1 / sqrt(800) of itself
    torch.testing.assert_close(probe_error(found, shares(Z)), spread, rtol=4 / math.sqrt(800), atol=0)


def test_steps_end_where_they_are_enough_and_are_those_that_would_have_been_taken():
    start = random_probes(2, len(UNIFORM), generator(0))
    whole = lanczos(diagonal(UNIFORM), start, 9)
    cut = lanczos(diagonal(UNIFORM), start, 9, lambda found: found.diagonal.shape[1] == 4)
    assert cut.basis.shape == (2, 4, 3000) and torch.equal(cut.basis, whole.basis[:, :4])
    assert torch.equal(cut.diagonal, whole.diagonal[:, :4])
    assert torch.equal(cut.off_diagonal, whole.off_diagonal[:, :3])


def test_bounds_of_a_single_step_are_refused():
    with pytest.raises(ValueError, match="2 steps of Lanczos or more; got 1"):
        positive_sum(found_of(UNIFORM, 1, 2), positive)


def test_effective_dimension_by_quadrature_is_right_to_two_percent_down_to_a_thousandth_of_the_largest():
    """Of a uniform spectrum 4 standard errors are at most 4 sqrt(2 / (3000 * 20)) * 0.72 = 1.7 percent of N_eff.

    0.72 is the standard deviation of x / (x + z) over its mean at z = 1, where it is largest: var / mean^2 tends to
    1/3 for x itself, and the probes' mean is what both sides share.
    """
    found = positive_sum(found_of(UNIFORM), shares(Z)).value
    torch.testing.assert_close(found, effective_dimension(UNIFORM, Z), rtol=0.02, atol=0)


def test_families_of_functions_keep_their_axis_and_one_probe_has_no_error():
    density = Density(grid(1.0, 2.0).expand(3, 2), grid(4.0, 5.0).expand(3, 2))
    value, stderr = spectral_sum(density, lambda x: torch.stack([x, x**2]))
    assert value.tolist() == [14.0, 24.0] and stderr.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="n_probes must be at least 2"):
        random_probes(1, 3000, generator(0))
    with pytest.raises(ValueError, match="n_steps must be at least 1; got 0"):
        lanczos(diagonal(UNIFORM), noise(1, 3000), 0)
