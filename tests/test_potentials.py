"""Potentials: exact values against closed forms in incomplete gammas, plain quadrature, and the tables."""

import dataclasses
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from loops import for_each
from oracles import noise

from circuitgrok.exact.learning_coefficients import normal_crossing_llc
from circuitgrok.exact.potentials import POTENTIALS, Potential, localized_llc, thermodynamic_llc

MONOMIALS = {"x^2": [2], "x^4": [4], "x^2 y^2": [2, 2], "x^2 y^4": [2, 4], "x^2 y^6": [2, 6], "x^4 y^4": [4, 4]}
NBETAS = [0.1, 10.0, 1e3, 1e6]


def laplace(c, nbeta):
    """The integral of t^(c - 1) exp(-nbeta t) over 0..1."""
    return mpmath.gammainc(c, 0, nbeta) / mpmath.mpf(nbeta) ** c


def of_monomial(powers, nbeta):
    """The density of t = K: t^(c - 1) for x^(1/c), a difference of two for x^(1/c) y^(1/d), t^(c - 1) ln t if c = d."""
    with mpmath.workdps(30):
        c, d = 1 / mpmath.mpf(powers[0]), 1 / mpmath.mpf(powers[-1])
        if len(powers) == 1:
            of_energy, total = (laplace(c + i, nbeta) for i in (1, 0))
        elif c == d:
            of_energy, total = (mpmath.diff(lambda s: laplace(s, nbeta), c + i) for i in (1, 0))
        else:
            of_energy, total = (laplace(c + i, nbeta) - laplace(d + i, nbeta) for i in (1, 0))
        return float(nbeta * of_energy / total)


def plain(potential, nbeta, nodes=300):
    """Gauss-Legendre on the whole square, for what is smooth there."""
    x, weight = np.polynomial.legendre.leggauss(nodes)
    points = torch.from_numpy(np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1))
    energy = nbeta * potential.energy(points).numpy()
    density = np.exp(-energy) * np.outer(weight, weight)
    return (energy * density).sum() / density.sum()


# On the box


@for_each("nbeta", NBETAS)
@for_each("name", MONOMIALS)
def test_monomials_agree_with_incomplete_gammas(name, nbeta):
    expected = of_monomial(MONOMIALS[name], nbeta)
    assert thermodynamic_llc(POTENTIALS[name], nbeta) == pytest.approx(expected, rel=1e-9)


@for_each("nbeta", NBETAS)
def test_potentials_of_separate_coordinates_add_up(nbeta):
    square, quartic = of_monomial([2], nbeta), of_monomial([4], nbeta)
    assert thermodynamic_llc(POTENTIALS["x^2 + y^2"], nbeta) == pytest.approx(2 * square, rel=1e-9)
    assert thermodynamic_llc(POTENTIALS["x^2 + y^4"], nbeta) == pytest.approx(square + quartic, rel=1e-9)


@for_each("nbeta", NBETAS)
def test_the_minimum_of_squares_agrees_with_its_volume(nbeta):
    with mpmath.workdps(30):  # vol{K < t} is 4 (2 sqrt(t) - t), and its density in t goes as t^(-1/2) - 1
        mean = laplace(mpmath.mpf(3) / 2, nbeta) - laplace(2, nbeta)
        expected = float(nbeta * mean / (laplace(mpmath.mpf(1) / 2, nbeta) - laplace(1, nbeta)))
    assert thermodynamic_llc(POTENTIALS["min(x^2, y^2)"], nbeta) == pytest.approx(expected, rel=1e-9)


@for_each("name", [name for name, of in POTENTIALS.items() if of.dim == 2 and "min" not in name])
def test_smooth_potentials_agree_with_a_quadrature_without_panels(name):
    expected = plain(POTENTIALS[name], nbeta=100.0)
    assert thermodynamic_llc(POTENTIALS[name], 100.0) == pytest.approx(expected, rel=1e-9)


def test_the_line_is_resolved_when_it_is_thin():
    potential = POTENTIALS["(x - 1)^2 (x^2 + y^2)^4"]
    assert thermodynamic_llc(potential, 1e6) == pytest.approx(plain(potential, 1e6, nodes=800), rel=1e-9)


@for_each("potential", POTENTIALS.values(), ids=POTENTIALS)
def test_the_learning_coefficient_and_its_multiplicity_are_the_limit(potential):
    # The next term is of order 1 / ln(nbeta)^2 for m = 2, and for m = 1 of order nbeta^(-gap), gap >= 1/4, up to the
    # next exponent: 1/4 in x^2 y^4 (1/2 after 1/4) and on the line of (x - 1)^2 (x^2 + y^2)^4.
    slow = (potential.multiplicity - 1) / math.log(1e6)
    rest = thermodynamic_llc(potential, 1e6) - (float(potential.llc) - slow)
    assert abs(rest) < (4 / math.log(1e6) ** 2 if potential.multiplicity == 2 else 1e6**-0.25)


@for_each("name", MONOMIALS)
def test_monomials_are_normal_crossings(name):
    potential = POTENTIALS[name]
    expected = normal_crossing_llc([power // 2 for power in MONOMIALS[name]])
    assert (potential.llc, potential.multiplicity) == expected


def test_the_point_is_worse_than_the_line():
    potential = POTENTIALS["(x - 1)^2 (x^2 + y^2)^4"]  # r^8 with area r dr around the point, (x - 1)^2 across the line
    assert potential.llc == normal_crossing_llc([4], [1]).llc < normal_crossing_llc([1]).llc


# With localization


@for_each("localization", [0.01, 1.0, 100.0])
@for_each("nbeta", [10.0, 1e3])
def test_localized_quadratics_are_half_the_effective_dimension(nbeta, localization):
    share = 2 * nbeta / (2 * nbeta + localization)  # of a curvature of 2
    for name, dim in (("x^2", 1), ("x^2 + y^2", 2)):
        found = localized_llc(POTENTIALS[name], nbeta, localization=localization)
        assert found == pytest.approx(dim / 2 * share, rel=1e-9)


@for_each("nbeta", [10.0, 1e3, 1e6])
@for_each("power", [2, 4, 6])
def test_localized_products_with_a_square_are_one_quadrature(power, nbeta):
    localization = 3.0
    stops = [0, *(10.0**k for k in range(-6, 1)), 8]

    def curvature(y):
        return 2 * nbeta * y**power

    def density(y):
        return mpmath.exp(-localization * y * y / 2) / mpmath.sqrt(curvature(y) + localization)

    mean, total = (
        mpmath.quad(f, stops)
        for f in (lambda y: density(y) * curvature(y) / (2 * (curvature(y) + localization)), density)
    )
    expected = float(mpmath.fdiv(mean, total))
    found = localized_llc(POTENTIALS[f"x^2 y^{power}"], nbeta, localization=localization)
    assert found == pytest.approx(expected, rel=1e-9)


@for_each("nbeta", [10.0, 1e6])
def test_the_localized_minimum_of_squares_is_one_quadrature(nbeta):
    localization = 2.0
    c = mpmath.mpf(nbeta) + localization / 2  # of exp(-c x^2) where |x| < |y|
    stops = [0, *(10.0**k for k in range(-5, 1)), 8]

    def weight(y):
        return mpmath.exp(-localization * y * y / 2)

    def norm(y):
        return mpmath.sqrt(mpmath.pi / c) * mpmath.erf(mpmath.sqrt(c) * y)

    total = mpmath.quad(lambda y: weight(y) * norm(y), stops)
    square = mpmath.quad(lambda y: weight(y) * (norm(y) / (2 * c) - y * mpmath.exp(-c * y * y) / c), stops)
    found = localized_llc(POTENTIALS["min(x^2, y^2)"], nbeta, localization=localization)
    assert found == pytest.approx(float(nbeta * square / total), rel=1e-9)


@for_each(("name", "degree"), [("x^4", 4), ("x^2 y^4", 6), ("x^4 y^4", 8), ("min(x^2, y^2)", 2)])
def test_a_change_of_units_changes_nothing(name, degree):
    there = localized_llc(POTENTIALS[name], 50.0, localization=1.0)
    here = localized_llc(POTENTIALS[name], 50.0 * 3.0**degree, localization=9.0)
    assert here == pytest.approx(there, rel=1e-9)


def test_a_strong_pull_to_the_point_leaves_the_line_out_of_sight():
    potential = POTENTIALS["(x - 1)^2 (x^2 + y^2)^4"]
    point = Potential("(x^2 + y^2)^4", 2, lambda w: w.square().sum(-1) ** 4, Fraction(1, 4), 1)
    strong = [localized_llc(of, 1e3 * 1e12, localization=1e3 * 1e3) for of in (potential, point)]
    assert strong[0] == pytest.approx(strong[1], rel=1e-2)


# The landscapes


def test_energies_are_what_the_names_say():
    w = torch.tensor([0.5, -2.0], dtype=torch.float64)
    expected = [0.25, 0.0625, 4.25, 16.25, 1.0, 4.0, 16.0, 1.0, 0.25, 0.25 * 4.25**4]
    # powers, which a library of vector functions rounds to the last place but one
    assert [of.energy(w[: of.dim]).item() for of in POTENTIALS.values()] == pytest.approx(expected, rel=1e-15)
    assert all(name == of.name for name, of in POTENTIALS.items())


@for_each("potential", POTENTIALS.values(), ids=POTENTIALS)
def test_energies_take_any_axes_keep_the_dtype_and_are_zero_at_the_origin_and_nowhere_less(potential):
    w = noise(3, 4, potential.dim)
    energy = potential.energy(w)
    assert energy.shape == (3, 4) and (energy >= 0).all()
    # the same few powers and sums in another layout
    torch.testing.assert_close(torch.vmap(torch.vmap(potential.energy))(w), energy, rtol=1e-14, atol=0)
    origin = torch.zeros(potential.dim, dtype=torch.float32)
    assert potential.energy(origin) == 0 and potential.energy(origin).dtype == torch.float32
    assert torch.func.grad(potential.energy)(origin).isfinite().all()


def test_a_potential_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(POTENTIALS["x^2"], "llc", Fraction(1))  # noqa: B010 - the point is that it is refused


# Refusals


@for_each("nbeta", [0.0, -1.0, math.inf, math.nan])
def test_an_inverse_temperature_that_is_not_positive_and_finite_is_refused(nbeta):
    with pytest.raises(ValueError, match="nbeta must be positive and finite; got"):
        thermodynamic_llc(POTENTIALS["x^2"], nbeta)


@for_each("localization", [0.0, -1.0, math.inf, math.nan])
def test_a_localization_that_is_not_positive_and_finite_is_refused(localization):
    with pytest.raises(ValueError, match="localization must be positive and finite; got"):
        localized_llc(POTENTIALS["x^2"], 10.0, localization=localization)


def test_three_dimensions_are_refused():
    potential = Potential("|w|^2", 3, lambda w: w.square().sum(-1), Fraction(3, 2), 1)
    with pytest.raises(ValueError, match=r"one or two dimensions; \|w\|\^2 has 3"):
        thermodynamic_llc(potential, 10.0)


def test_a_zero_where_nobody_looked_is_refused_and_one_that_is_named_is_found():
    potential = Potential("(x - 0.3)^2", 1, lambda w: (w[..., 0] - 0.3) ** 2, Fraction(1, 2), 1)
    with pytest.raises(ValueError, match=r"\(x - 0.3\)\^2 at nbeta = 1000000.0 does not settle"):
        thermodynamic_llc(potential, 1e6)
    named = dataclasses.replace(potential, zeros=(0.3,))
    assert thermodynamic_llc(named, 1e6) == pytest.approx(0.5, rel=1e-9)
