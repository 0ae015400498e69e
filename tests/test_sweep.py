"""A grid of configs: every combination, each by a name that says what varies."""

from itertools import product

import pytest
from tiny import tiny

from circuitgrok.study.sweep import grid


def test_grid_is_every_combination_under_a_name_that_says_it():
    values = {"alpha": [0.5, 1.0, 2.0], "seed": [0, 1], "fixed_norm": [False, True]}
    configs = grid(tiny(), values)
    expected = {
        f"alpha{alpha:g}-seed{seed}-fixed_norm_{'on' if held else 'off'}": tiny(alpha=alpha, seed=seed, fixed_norm=held)
        for alpha, seed, held in product(*values.values())
    }
    assert configs == expected and list(configs) == list(expected)


def test_field_with_one_value_is_set_everywhere_and_not_in_the_names():
    configs = grid(tiny(), {"alpha": [2.0], "seed": [3, 4]})
    assert configs == {"seed3": tiny(alpha=2.0, seed=3), "seed4": tiny(alpha=2.0, seed=4)}


def test_grid_without_anything_that_varies_is_one_run():
    assert grid(tiny(), {}) == {"run": tiny()}
    assert grid(tiny(), {"alpha": [2.0]}) == {"run": tiny(alpha=2.0)}


def test_p_varies_in_task_and_model():
    configs = grid(tiny(), {"p": [11, 13]})
    assert [(c.modular.p, c.transformer.p, c.transformer.n_classes) for c in configs.values()] == [
        (11, 11, 12),
        (13, 13, 14),
    ]


def test_refused_combination_is_named_before_any_work():
    with pytest.raises(ValueError, match=r"^alpha0-seed1: alpha: must be greater than 0; got 0$"):
        grid(tiny(), {"alpha": [0, 1], "seed": [1, 2]})
    with pytest.raises(ValueError, match=r"^norm_from_step24: norm_from_step must lie before the last step"):
        grid(tiny(fixed_norm=True), {"norm_from_step": [0, 24]})


def test_unknown_field_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown field 'alpa'; did you mean 'alpha'"):
        grid(tiny(), {"alpa": [1, 2]})


def test_value_given_twice_is_refused():
    with pytest.raises(ValueError, match="a value is given twice"):
        grid(tiny(), {"alpha": [0.5, 1.0, 0.5]})
