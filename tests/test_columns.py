"""The dictionary of columns: every column of every kind of run is of one family, whose group, range and file fit."""

import inspect
from pathlib import Path

import pytest
from tiny import tiny
from tiny_kinds import LEAVES, tiny_kind

import circuitgrok as cg
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.table.columns import FAMILIES, columns, family_of
from circuitgrok.table.family import PLACES, pattern
from circuitgrok.table.measure import names_of_groups
from circuitgrok.table.needs import fitting
from circuitgrok.training.loop import train

PACKAGE = Path(inspect.getfile(cg)).parent
ROUNDING = 1e-6  # ten ulps of float32, in which attention patterns sum to 1; what is computed in float64 keeps more
SOME = Sampling(step_size=5e-5, localization=1e3, n_draws=30)
SLOWEST = ("hessian", "llc")  # seconds for a checkpoint: of the smallest network alone
CONFIGS = {
    "one layer": tiny(),
    "two layers": tiny(n_layers=2, corrupted=0.2, fixed_norm=True, own_tokens=True, equals=False, walk_noise=1e-3),
    "layer norm": tiny(normalization="LN", attention_rate=0.5, batch_size=20),
    **{name: tiny_kind(name) for name in LEAVES},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Every group of every run: its name, the run's, and the table."""
    runs = [train([config], tmp_path_factory.mktemp("runs"), names=["run"])[0] for config in CONFIGS.values()]
    smallest = tiny(d_model=4, d_head=2, d_mlp=4)
    runs += train([smallest], tmp_path_factory.mktemp("runs"), names=["run"])
    return [
        (group, cg.measure(run, group, run.steps[-3:], sampling=SOME))
        for run in runs
        for group in fitting(names_of_groups(), run.config)
        if group not in SLOWEST or run.config == smallest
    ]


def test_every_column_is_of_one_family_and_of_its_group(measured):
    for group, table in measured:
        for column in map(str, table):
            found = [family for family in FAMILIES if family.holds(column)]
            assert len(found) == 1, f"{column} of {group}: {[family.name for family in found]}"
            assert group in found[0].groups, f"{column} is of {group}"
            assert family_of(column) is found[0]


def test_every_family_is_made_by_each_of_its_groups(measured):
    made = {(family_of(str(column)).name, group) for group, table in measured for column in table}
    assert {(family.name, group) for family in FAMILIES for group in family.groups} == made


def test_every_value_is_in_its_familys_range(measured):
    for _, table in measured:
        for column in map(str, table):
            family, values = family_of(column), table[column].dropna()
            if family.unit == "text":
                assert all(isinstance(value, str) for value in values)
                continue
            low, high = family.range
            assert ((values >= low - ROUNDING) & (values <= high + ROUNDING)).all(), f"{column}: {values.tolist()}"


def test_the_reference_runs_columns_are_all_known():
    run = cg.load(PACKAGE.parent / "checkpoints" / "reference")
    assert len({family_of(str(column)).name for column in cg.measure(run, steps=run.steps[-2:])}) >= 90


def test_every_formulas_file_is_there_and_every_word_in_brackets_is_explained():
    assert [family.file for family in FAMILIES if not (PACKAGE / family.file).is_file()] == []
    assert {group for family in FAMILIES for group in family.groups} == {*names_of_groups()}
    used = {place for place in PLACES for family in FAMILIES if PLACES[place].pattern in pattern(family.name)}
    assert used == {*PLACES}


def test_the_table_says_of_each_family_what_it_is():
    table = columns()
    assert table.columns.tolist() == ["name", "meaning", "unit", "range", "source", "group", "file"]
    assert table["name"].is_unique and len(table) == len(FAMILIES)
    assert table.map(lambda text: isinstance(text, str) and bool(text)).to_numpy().all()
    assert table["meaning"].str.endswith(".").all()
    assert cg.columns is columns


def test_what_is_no_column_is_of_no_family():
    for column in ("loss", "loss[validation]", "excluded_loss[]", "norm[head 1, 2, 3]", "llc_"):
        with pytest.raises(KeyError, match="no column of measure"):
            family_of(column)
