"""Columns that may warn of grokking are those of `measure` where it has the same key frequencies, and see no others."""

import pytest

from circuitgrok.store.reference import reference
from circuitgrok.table.measure import measure
from circuitgrok.table.warning_columns import warning_columns


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
