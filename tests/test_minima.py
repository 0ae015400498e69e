"""The minimum on a grid against parabolas that are known, and where the grid does not hold it."""

import math

import numpy as np
import pandas as pd
import pytest
from loops import for_each

from circuitgrok.study.minima import log_crossing, log_minimum, log_slope, minima

RADII = np.array([1.0, 1.5, 2.5, 4.0, 9.0])  # unequal steps of the logarithm


@for_each("at", [1.3, 2.0, 2.5, 3.7, 5.0])
def test_the_minimum_of_a_parabola_in_logarithms_is_exact(at):
    least = log_minimum(RADII, 7 * np.exp(3 * np.log(RADII / at) ** 2))
    assert least.at == pytest.approx(at, rel=1e-12) and not least.is_edge


def test_points_without_a_value_are_left_out():
    losses = np.exp(np.log(RADII / 2.2) ** 2)
    losses[2] = math.nan
    assert log_minimum(RADII, losses).at == pytest.approx(2.2, rel=1e-12)


@for_each(("losses", "at"), [([1, 2, 3, 4, 5], 1.0), ([5, 4, 3, 2, 1], 9.0), ([math.nan] * 4 + [1], 9.0)])
def test_a_minimum_at_an_edge_is_said_to_be_there(losses, at):
    least = log_minimum(RADII, np.array(losses, dtype=float))
    assert least.at == pytest.approx(at, rel=1e-15) and least.is_edge


def test_values_that_are_all_alike_have_their_minimum_at_the_first_and_none_have_none():
    assert log_minimum(RADII, np.ones(5)) == (1.0, True)
    nowhere = log_minimum(RADII, np.full(5, math.nan))
    assert math.isnan(nowhere.at) and nowhere.is_edge


def test_a_flat_bottom_lies_between_its_neighbours():
    least = log_minimum(RADII, np.array([2.0, 1.0, 1.0, 1.0, 2.0]))
    assert RADII[0] <= least.at <= RADII[2] and not least.is_edge


def test_minima_are_those_of_each_group_whatever_the_order_of_its_rows():
    planted = {(teacher, seed): 1.2 + teacher + 0.1 * seed for teacher in (0.5, 2.0) for seed in (0, 1)}
    rows = pd.DataFrame(
        [
            {"teacher": teacher, "seed": seed, "radius": radius, "loss": math.exp(math.log(radius / at) ** 2)}
            for (teacher, seed), at in planted.items()
            for radius in RADII
        ]
    )
    for shown in (rows, rows.sample(frac=1, random_state=0)):
        found = minima(shown, ["teacher", "seed"], "radius", "loss").set_index(["teacher", "seed"])
        assert found["at"].to_dict() == pytest.approx(planted, rel=1e-12) and not found["is_edge"].any()


def test_the_slope_of_a_power_is_its_exponent_and_that_of_scattered_points_is_polyfits():
    assert log_slope(RADII, 3 * RADII**-0.7) == pytest.approx(-0.7, rel=1e-12)
    scattered = RADII * np.array([1.0, 1.3, 0.8, 1.1, 0.9])
    expected = np.polyfit(np.log(RADII), np.log(scattered), 1)[0]
    assert log_slope(RADII, scattered) == pytest.approx(expected, rel=1e-12)
    assert math.isnan(log_slope(RADII, np.array([1.0, math.nan, 1.0, 1.0, 1.0])))


def test_a_crossing_is_where_a_line_in_log_x_rises_through_zero():
    x = np.array([0.05, 0.1, 0.2, 0.75])
    assert log_crossing(x, np.log(x / 0.13)) == pytest.approx(0.13, rel=1e-12)


def test_of_several_crossings_the_last_counts_and_falling_is_none():
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert log_crossing(x, np.array([-1.0, 1.0, -1.0, 1.0, 0.5])) == pytest.approx(4 * math.sqrt(2))
    assert math.isnan(log_crossing(x, -x))
    assert math.isnan(log_crossing(x, x))
