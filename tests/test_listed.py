"""The runs below a folder as a table: every number is the run's own, conditions call nothing, no width hides a name."""

import io
import json

import pandas as pd
import pytest

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.faces.commands.listing import FIRST_TO_GO, NARROWEST_NAME, columns_for
from circuitgrok.faces.listed import COLUMNS, RunRow, entry
from circuitgrok.store.run import runs_below
from tests.tiny import tiny


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Runs that differ in alpha, in an intervention, and in nothing but a seed."""
    folder = tmp_path_factory.mktemp("three")
    configs = [tiny(steps=2), tiny(steps=2, alpha=2.0, fixed_norm=True), tiny(steps=2, seed=5)]
    cg.train(configs, folder, names=["c", "b", "a"])
    return folder


def test_every_number_is_the_runs_own_and_fields_stand_there_where_they_differ(three):
    table = cg.runs(three)
    assert [name.rsplit("/", 1)[1] for name in table["name"]] == ["a", "b", "c"]
    assert set(table.columns) - set(COLUMNS) == {"seed", "fixed_norm"}
    assert table["fixed_norm"].tolist() == [False, True, False] and table["seed"].tolist() == [5, 0, 0]
    for row, run in zip(table.itertuples(), runs_below(three), strict=True):
        last = run.history.iloc[-1]
        assert (row.train_acc, row.test_acc, row.step, row.steps) == (last["train_acc"], last["test_acc"], 2, 2)
        assert (row.alpha, row.r0) == (run.config.init.alpha, run.manifest["start"]["norm"])


def test_conditions_choose_and_columns_sort(three):
    assert cg.runs(three, where="alpha > 1")["fixed_norm"].tolist() == [True]
    assert len(cg.runs(three, where="alpha <= 1 and state == 'finished' and seed in [5, 6]")) == 1
    assert cg.runs(three, sort="alpha")["alpha"].tolist() == [1, 1, 2]
    assert len(cg.runs(three, where="alpha > 7")) == 0


REFUSED = {
    "alpa > 1": "no column is called 'alpa'; did you mean 'alpha'",
    "alpha": "not true or false for each run",
    "alpha >": "invalid syntax",
    "__import__('os').system('true')": "is not allowed",
    "name.str.len() > 1": "is not allowed",
    "@pd": "invalid syntax",
    "alpha > 'x'": "alpha > 'x'",
}


def test_conditions_that_are_none_are_refused_and_nothing_is_called(three):
    for where, said in REFUSED.items():
        with pytest.raises(UserError, match="where is a condition on columns") as refusal:
            cg.runs(three, where=where)
        assert said in str(refusal.value), where
    with pytest.raises(UserError, match="got 'grokt_by'; did you mean 'grokked_by'"):
        cg.runs(three, sort="grokt_by")


def test_csv_and_json_are_the_table(three, capsys):
    assert call(["runs", str(three), "--csv"]) == 0
    read = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert read["name"].tolist() == cg.runs(three)["name"].tolist() and list(read) == list(cg.runs(three))
    assert call(["runs", str(three), "--json", "--where", "alpha > 1"]) == 0
    [one] = json.loads(capsys.readouterr().out)
    assert one["alpha"] == 2 and one["grokked_by"] is None
    assert call(["runs", str(three), "--json", "--csv"]) == 2
    assert call(["runs", str(three), "--where", "alpha > 7"]) == 0
    assert f"none of 3 runs below {three} is alpha > 7" in capsys.readouterr().out


def test_before_the_first_run_the_table_is_empty_and_that_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(["runs"]) == 0
    assert "`circuitgrok train quickstart` makes one" in capsys.readouterr().out
    assert call(["runs", "elsewhere"]) == 2


def test_no_width_hides_a_name_and_what_goes_is_told(three, monkeypatch, capsys):
    rows = [entry(run).cells for run in runs_below(three)]
    everything, _ = columns_for(rows, 10_000)
    assert everything == list(RunRow._fields)
    before = set(everything)
    for width in (200, 120, 100, 80, 60, 40):
        shown, gone = columns_for(rows, width)
        assert {"name", "state", "grokked"} <= set(shown) <= before and set(shown) | set(gone) == set(everything)
        assert set(gone) == set(FIRST_TO_GO[: len(gone)])  # in that order
        before = set(shown)
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("circuitgrok.faces.commands.listing._console", lambda w=width: _terminal(w))
        assert call(["runs", str(three)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(len(line) <= width for line in lines[:-1]) and lines[-1].startswith("left out here: ")
        ends = lines[0].index(columns_for(rows, width)[0][1])  # where the second column begins
        names = "".join(line[:ends].strip() for line in lines[1:-1])
        assert ends >= NARROWEST_NAME and names == "".join(str(run.path) for run in runs_below(three))


def _terminal(width):
    from rich.console import Console

    return Console(width=width, force_terminal=False)
