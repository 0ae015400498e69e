"""What a page holds of a run: measured columns, history, task and weights, and why a view is missing."""

import numpy as np
import pytest
import torch
from loops import for_each
from tiny import tiny
from tiny_kinds import LEAVES, NUMBERS, tiny_kind

from circuitgrok.errors import UserError
from circuitgrok.faces.inspector.payload import payload
from circuitgrok.store.run import load
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train


def trained(config, path):
    return load(train([config], path)[0].path)


def test_columns_are_those_of_the_table_and_weights_are_exact(tmp_path):
    run = trained(tiny(), tmp_path)
    content, arrays = payload([run])
    one = content["runs"][0]
    table = measure(run, ["polar", "circuits"])
    assert arrays["0/steps"].tolist() == run.steps
    for name in table:
        mine = arrays["0/table"][one["columns"].index(str(name))]
        assert np.array_equal(mine, table[name].to_numpy(np.float32), equal_nan=True), name
    assert one["key_freqs"] == table.attrs["key_freqs"] and one["missing"] == {}
    for step in one["kept"]:
        for name, value in run.at(step).items():
            assert np.array_equal(arrays[f"0/weights/{step}/{name}"], value.numpy())
    assert np.array_equal(arrays["0/task/labels"], run.task.labels) and one["m"] == 11
    assert np.array_equal(arrays["0/history/test_loss"], run.history["test_loss"].to_numpy(np.float32))


def test_two_runs_are_beside_each_other_under_their_numbers(tmp_path):
    runs = train([tiny(), tiny(alpha=2.0)], tmp_path)
    content, arrays = payload(runs, weights=1)
    assert [one["name"] for one in content["runs"]] == [run.name for run in runs]
    norms = [arrays[f"{i}/table"][content["runs"][i]["columns"].index("norm")][0] for i in (0, 1)]
    assert norms[1] == pytest.approx(2 * norms[0], rel=1e-6)  # alpha
    assert [one["kept"] for one in content["runs"]] == [[24], [24]]


@for_each("kind", LEAVES)
def test_every_kind_of_run_has_a_page_and_says_what_is_missing(kind, tmp_path):
    run = trained(tiny_kind(kind), tmp_path)
    content, arrays = payload([run])
    one = content["runs"][0]
    assert "attention" in one["missing"]
    assert ("pictures" in one["missing"]) == (kind not in NUMBERS)
    assert ("0/task/pairs" in arrays) == (kind in NUMBERS)
    assert bool(one["kept"]) == ("0/task/labels" in arrays) == ("hands" not in one["missing"]) == (kind != "teacher")
    assert one["columns"] and len(arrays["0/steps"]) == 3


def test_a_task_that_is_addition_in_disguise_says_where_its_pairs_stand(tmp_path):
    run = trained(tiny(operation="multiply"), tmp_path)
    content, arrays = payload([run], weights=0)
    assert content["runs"][0]["m"] == 10 and content["runs"][0]["kept"] == []
    pairs, classes = arrays["0/task/pairs"], arrays["0/task/classes"]
    i, j = np.divmod(np.arange(100), 10)
    assert np.array_equal(run.task.labels[torch.as_tensor(pairs).long()], classes[(i + j) % 10])


def test_no_run_is_refused():
    with pytest.raises(UserError, match="needs a run"):
        payload([])
