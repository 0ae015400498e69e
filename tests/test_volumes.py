"""Shares of a sphere in closed form: against high precision, elementary geometry, and a second form of the same."""

import math

import mpmath
import numpy as np
import pytest
from loops import for_each
from scipy.special import betaln

from circuitgrok.exact import volumes
from circuitgrok.exact.volumes import ln_beta_share, ln_cap, ln_quadratic, ln_two_inputs, teacher_entropy


@for_each(("x", "a", "b"), [(0.5, 1.5, 2.5), (1e-3, 200.0, 2.0), (1e-9, 500.0, 0.5), (0.02, 900.0, 300.0), (1.0, 3, 4)])
def test_incomplete_beta_is_that_of_forty_digits_also_where_it_underflows(x, a, b):
    with mpmath.workdps(40):
        exact = mpmath.log(mpmath.betainc(a, b, 0, x, regularized=True))
    assert ln_beta_share(x, a, b) == pytest.approx(float(exact), rel=1e-10, abs=1e-12)


@for_each(("x", "a"), [(0.24, 26_894.5), (0.9, 26_894.5), (0.97, 5e5)])
def test_incomplete_beta_in_as_many_dimensions_as_networks_have_is_its_series_term_by_term(x, a):
    term, total, n = 1.0, 0.0, 0
    while term > 1e-17 * total:  # (a + 1/2)_n / (a + 1)_n x^n, all positive
        total, term, n = total + term, term * (a + 0.5 + n) / (a + 1 + n) * x, n + 1
    ln_front = a * math.log(x) + math.log1p(-x) / 2 - math.log(a) - float(betaln(a, 0.5))
    assert ln_beta_share(x, a, 0.5) == pytest.approx(ln_front + math.log(total), rel=1e-12)


@for_each("angle", [0.0, 0.3, 1.2, math.pi / 2, 2.5, math.pi])
def test_caps_in_two_and_three_dimensions_are_arcs_and_zones(angle):
    shares = [math.exp(ln_cap(dim, angle)) for dim in (2, 3)]
    assert shares == pytest.approx([angle / math.pi, (1 - math.cos(angle)) / 2], abs=1e-12)


def test_a_cap_is_the_integral_of_sines_and_one_below_a_quadratic():
    phi = np.linspace(0, math.pi, 200_001)
    inside = phi <= 0.8
    density = np.sin(phi) ** 18
    assert math.exp(ln_cap(20, 0.8)) == pytest.approx(
        density[inside].sum() / density.sum(), rel=1e-3
    )  # the grid's step
    two_caps = math.exp(ln_cap(20, 0.8)) * 2  # |u_1..19|^2 <= sin^2: within the angle of either pole
    assert math.exp(ln_quadratic(20, 19, math.sin(0.8) ** 2)) == pytest.approx(two_caps, rel=1e-10)


def test_two_inputs_are_a_lune():
    assert [math.exp(ln_two_inputs(angle)) for angle in (0.0, math.pi / 2, 3.0)] == pytest.approx(
        [0.5, 0.25, (math.pi - 3) / (2 * math.pi)]
    )


@for_each("load", [0.1, 0.5, 1.0, 3.0, 10.0])
def test_a_teachers_entropy_is_the_largest_of_its_free_energy_over_the_overlap(load):
    overlaps = np.linspace(1e-3, 1 - 1e-3, 2000)
    free = [
        math.log1p(-q) / 2 + q / 2 + 2 * load * volumes._mean_of_tails(math.sqrt(q / (1 - q)))
        for q in overlaps
    ]  # fmt: skip
    assert teacher_entropy(load) == pytest.approx(max(free), abs=3e-5)  # a maximum: the error is of the step's square


def test_first_inputs_of_a_teacher_tell_a_bit_each_and_later_ones_less():
    assert teacher_entropy(1e-4) / 1e-4 == pytest.approx(-math.log(2), rel=1e-3)
    slopes = [teacher_entropy(load + 0.1) - teacher_entropy(load) for load in (0.0, 1.0, 4.0)]
    assert slopes == sorted(slopes) and slopes[-1] < 0


@for_each(
    ("call", "said"),
    [
        (lambda: ln_beta_share(1.5, 1, 1), "x must be in 0..1"),
        (lambda: ln_cap(3, 4.0), "angle must be in 0..pi"),
        (lambda: ln_quadratic(3, 3, 0.5), "rank must be between 0 and dim"),
        (lambda: ln_two_inputs(-1.0), "angle must be in 0..pi"),
        (lambda: teacher_entropy(-1.0), "load must be 0 or more"),
    ],
)
def test_what_is_out_of_range_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
