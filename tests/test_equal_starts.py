"""Shapes that start from one norm do, whatever else their arm changes; where nothing differs nothing is scaled."""

import pytest
from tiny import tiny

from circuitgrok.study.equal_starts import initial_norm, matched


def test_deeper_wider_and_other_networks_start_at_the_norm_of_one():
    cell = tiny(alpha=0.7, seed=3)
    for shape in ({"n_layers": 3}, {"d_mlp": 64, "lr": 0.1}, {"n_layers": 2, "precision": "float64"}):
        found = matched(shape, {}, cell)
        assert {**found, "alpha": None} == {**shape, "alpha": None}
        assert initial_norm(cell.with_(**found)) == pytest.approx(initial_norm(cell), rel=1e-6)  # float32 weights


def test_a_shape_that_is_the_other_keeps_the_alpha_of_its_cell_and_a_cell_scales_all():
    cell = tiny(alpha=0.7)
    assert matched({}, {}, cell) == {"alpha": pytest.approx(0.7)}
    one, twice = (matched({"n_layers": 2}, {}, cell.with_(alpha=alpha))["alpha"] for alpha in (0.5, 1.0))
    assert twice == pytest.approx(2 * one, rel=1e-6)


def test_initial_norm_is_the_root_of_the_sum_of_squares(tmp_path):
    from circuitgrok.training.loop import train

    config = tiny(steps=1)
    [run] = train([config], tmp_path, names=["run"])
    squares = sum(float((value.double() ** 2).sum()) for value in run.at(0).values())
    assert initial_norm(config) == pytest.approx(squares**0.5, rel=1e-6)
