"""The page of a sweep: its cells are those of the phase diagram, its fields those in which the runs differ."""

import numpy as np
import pytest
from tiny import tiny

from circuitgrok.errors import UserError
from circuitgrok.faces.inspector.sweep_page import sweep_of, sweep_payload
from circuitgrok.study.cells import cells
from circuitgrok.study.sweep import sweep


def test_the_sweep_of_a_folder_is_the_one_that_made_it(tmp_path):
    made = sweep(tiny(), {"alpha": [0.5, 1.0], "weight_decay": [0.0, 1.0]}, seeds=range(2), out=tmp_path)
    found = sweep_of(tmp_path)
    assert sorted(found.swept) == sorted(made.swept) and set(found.configs) == set(made.configs)
    assert {name: found[name].config for name in found.configs} == {name: made[name].config for name in made.configs}


def test_cells_and_rows_are_those_of_the_sweeps_table(tmp_path):
    made = sweep(tiny(), {"alpha": [0.5, 1.0]}, seeds=range(2), out=tmp_path)
    content, arrays = sweep_payload(made)
    table, about = made.table, content["sweep"]
    for column in ("grokked_by", "test_loss", "r0"):
        expected = cells(table, ["alpha"], column)
        for cell, row in zip(about["cells"], expected.to_dict("records"), strict=True):
            assert cell["setting"] == {"alpha": row["alpha"]} and cell["n"] == row["n"] == 2
            value, censored = cell["values"][column]
            assert value == row["value"] and censored == row["is_censored"]
            assert [about["runs"][i]["alpha"] for i in cell["runs"]] == [row["alpha"]] * 2
    for i, name in enumerate(table["name"]):
        history = made[name].history
        assert about["runs"][i]["name"] == name and about["runs"][i]["state"] == "finished"
        assert np.array_equal(arrays[f"{i}/step"], history.index)
        assert np.array_equal(arrays[f"{i}/test_acc"], history["test_acc"].to_numpy(np.float32))


def test_runs_that_are_not_there_yet_are_counted(tmp_path):
    from circuitgrok.study.sweep import planned

    sweep(tiny(), {"alpha": [0.5]}, out=tmp_path)
    later = planned(tiny(), {"alpha": [0.5, 1.0]}, seeds=range(2), out=tmp_path / "none")
    content, arrays = sweep_payload(later)
    assert [cell["n_missing"] for cell in content["sweep"]["cells"]] == [2, 2] and arrays == {}


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="no runs below"):
        sweep_of(tmp_path)
