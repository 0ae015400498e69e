"""A grid of configs: every combination, each by a name that says what varies; with seeds, the sweep of them."""

from itertools import product

import pytest
from loops import for_each
from tiny import tiny

from circuitgrok.errors import UserError
from circuitgrok.study.sweep import grid, planned
from circuitgrok.study.swept import SEEDS


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


# --- seeds ------------------------------------------------------------------------------------------


def seeds_of(sweep):
    return {name: tuple(config.leaves()[s] for s in SEEDS) for name, config in sweep.configs.items()}


def test_a_seed_sets_weights_split_and_noise_together():
    sweep = planned(tiny(), {"alpha": [0.5, 2.0]}, seeds=range(2))
    assert seeds_of(sweep) == {f"alpha{alpha}-seed{s}": (s, s, s) for alpha in (0.5, 2) for s in range(2)}
    assert [config.init.alpha for config in sweep.configs.values()] == [0.5, 0.5, 2.0, 2.0]
    assert sweep.swept == ["alpha"] and sweep.settings["alpha2-seed1"] == {"alpha": 2.0}


def test_a_seed_leaves_those_that_the_values_have():
    sweep = planned(tiny(noise_seed=7), {"data_seed": [5]}, seeds=[3])
    assert seeds_of(sweep) == {"seed3": (3, 5, 3)} and sweep.swept == []
    sweep = planned(tiny(), {"data_seed": [5, 6], "alpha": [0.5, 1.0]}, seeds=[3])
    assert sweep.swept == ["alpha"] and seeds_of(sweep)["data_seed6-alpha0.5-seed3"] == (3, 6, 3)
    assert list(seeds_of(planned(tiny(), {"seed": [1, 2]}, seeds=[3]))) == ["seed1-data_seed3", "seed2-data_seed3"]


def test_seeds_by_field_are_set_alone_and_in_every_combination():
    sweep = planned(tiny(), {"alpha": [0.5, 2.0]}, seeds={"seed": range(2), "label_seed": [4, 5]})
    assert len(sweep) == 8 and sweep.swept == ["alpha"]
    assert seeds_of(sweep)["alpha2-seed1-label_seed5"] == (1, 0, 0)
    assert sweep.configs["alpha2-seed1-label_seed5"].leaves()["label_seed"] == 5


def test_without_seeds_it_is_the_grid():
    values = {"alpha": [0.5, 2.0], "seed": [0, 1]}
    sweep = planned(tiny(), values)
    assert sweep.configs == grid(tiny(), values) and sweep.swept == ["alpha"]


REFUSED = {
    "field among both": ({"seed": [1]}, {"seed": [2]}, "seed is given twice, among the values and among the seeds"),
    "no values": ({"alpha": []}, None, "alpha needs values"),
    "no seeds of a field": ({}, {"seed": []}, "seed needs values"),
    "no seeds": ({}, [], "seeds must be one number or more"),
    "seed twice": ({}, [1, 1], "each once; got \\[1, 1\\]"),
    "nothing to set": (dict.fromkeys(SEEDS, [0, 1]), [1], "seeds has nothing to set"),
    "no number": ({}, ["a"], "seed: "),
}


@for_each(("values", "seeds", "said"), REFUSED.values(), ids=REFUSED)
def test_seeds_that_mean_nothing_are_refused(values, seeds, said):
    with pytest.raises(UserError, match=said):
        planned(tiny(), values, seeds=seeds)
