"""Columns that may warn of grokking are those of `measure` where it has the same key frequencies, and see no others."""

import math

import pytest

from circuitgrok.store.reference import reference
from circuitgrok.table.local_volume import local_volume
from circuitgrok.table.measure import measure
from circuitgrok.table.warning_columns import (
    commutator_columns,
    foretold_columns,
    susceptibility_columns,
    ticket_columns,
    turning_columns,
    volume_columns,
    warning_columns,
)


def test_at_the_end_they_are_the_columns_of_measure():
    run = reference()
    last = run.steps[-1]
    row, found = measure(run, ["circuits", "fourier", "polar"], [last]).loc[last], warning_columns(run, last)
    same = {
        "train_loss": "loss[train]", "test_loss": "loss[test]", "norm": "norm", "gini[W_E]": "gini[W_E]",
        "restricted_loss": "restricted_loss[train]", "excluded_loss": "excluded_loss[train]", "gini[W_L]": "gini[W_L]",
    }  # fmt: skip
    for name, column in same.items():
        assert found[name] == pytest.approx(row[column], rel=1e-9), name


def test_before_the_end_key_frequencies_are_those_of_the_checkpoint():
    run = reference()
    early = run.steps[len(run.steps) // 3]
    assert warning_columns(run, early)["n_keys"] > warning_columns(run, run.steps[-1])["n_keys"]


def test_phases_align_from_start_to_end_and_the_winners_are_known_at_the_end():
    run = reference()
    first, last = (ticket_columns(run, step)["alignment"] for step in (0, run.steps[-1]))
    assert abs(first) < 0.3 and last > 0.95
    assert foretold_columns(run, run.steps[-1]) == {"foretold": 1.0}


def test_turning_needs_both_checkpoints_before():
    run = reference()
    assert math.isnan(turning_columns(run, 0)["turning"]) and math.isnan(turning_columns(run, 1000, gap=700)["turning"])
    assert 0 < turning_columns(run, 2000, gap=1000)["turning"] < math.pi


def test_draws_do_not_depend_on_the_checkpoint_and_medians_are_of_all():
    run = reference()
    assert commutator_columns(run, 1000, n_draws=3) == commutator_columns(run, 1000, n_draws=3)
    each = [commutator_columns(run, 1000, n_draws=1, seed=seed)["commutator"] for seed in range(3)]
    assert max(each) < 3 * min(each)


def test_directions_of_susceptibilities_are_those_that_many_draws_show():
    run = reference()
    found = susceptibility_columns(run, 4000, n_blocks=8, n_draws=64)
    assert 1 < found["susceptibility_rank"] < 8 and found["susceptibility_signal"] > 1
    assert susceptibility_columns(run, 4000, n_blocks=8, n_draws=64, seed=1) != found


def test_the_local_volume_is_that_of_its_own_table():
    run = reference()
    found = volume_columns(run, 4000, n_rays=4)
    assert found["ln_volume"] == local_volume(run, [4000], n_rays=4)["ln_volume"][4000]
