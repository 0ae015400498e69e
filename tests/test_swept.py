"""A sweep that is held: its table against the crossings, its best run, what it trains, what it says and draws."""

import math

import pandas as pd
import pytest
from loops import for_each
from tiny import bits_of, json_lines, rewritten, tiny

import circuitgrok as cg
from circuitgrok.errors import Interrupted, RunError, UserError
from circuitgrok.faces.outputs import write_sweep
from circuitgrok.measures.learning.classes import CLASSES, class_of
from circuitgrok.measures.learning.crossings import events
from circuitgrok.study.cells import cells
from circuitgrok.study.sweep import planned
from circuitgrok.study.swept import Sweep
from circuitgrok.training.progress import Silent

STEPS = 24
VALUES = {"alpha": [0.5, 2.0], "frac_train": [0.4, 0.6]}
NEVER = STEPS + 1
# (memorised, grokked) of each setting's three seeds; class_of with a delay of 10.
PLANTED = {
    (0.5, 0.4): [(4, 6), (4, 16), (5, NEVER)],
    (0.5, 0.6): [(4, 14), (3, 13), (0, 0)],
    (2.0, 0.4): [(NEVER, NEVER), (NEVER, NEVER), (9, NEVER)],
    (2.0, 0.6): [(2, 9), (9, 2), (NEVER, 12)],
}


def small(**leaves):
    return tiny(eval_every=1, steps=STEPS, checkpoint_every=STEPS, checkpoints_per_decade=0, **leaves)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    """Trained, and its accuracies planted."""
    out = tmp_path_factory.mktemp("sweep")
    found = cg.sweep(small(), VALUES, seeds=range(3), out=out, delay=10)
    for run, (memorised, grokked) in zip(found.runs, [at for row in PLANTED.values() for at in row], strict=True):
        lines = [
            line | {"train_acc": float(line["step"] >= memorised), "test_acc": 0.25 + 0.75 * (line["step"] >= grokked)}
            for line in json_lines(run.path / "history.jsonl")
        ]
        rewritten(run, "history.jsonl", lines)
    return planned(small(), VALUES, seeds=range(3), out=out, delay=10)


def test_the_table_has_a_row_for_each_run_with_its_setting(sweep):
    table = sweep.table
    assert list(table["name"]) == list(sweep.configs) and len(table) == 12
    for row, config in zip(table.to_dict("records"), sweep.configs.values(), strict=True):
        assert (row["alpha"], row["frac_train"]) == (config.init.alpha, config.leaves()["frac_train"])
        assert row["seed"] == row["data_seed"] == row["noise_seed"] == config.init.seed
        assert row["name"] == f"alpha{row['alpha']:g}-frac_train{row['frac_train']:g}-seed{row['seed']}"


def test_the_tables_times_and_ends_are_those_of_the_histories(sweep):
    for row, run in zip(sweep.table.to_dict("records"), sweep.runs, strict=True):
        history, found = run.history, events(run.history)
        for name, event in found.items():
            assert row[f"{name}_after"] == event.after
            assert row[f"{name}_censored"] == (event.by is None)
            assert math.isnan(row[f"{name}_by"]) if event.by is None else row[f"{name}_by"] == event.by
        assert row["class"] == class_of(found, 10) and row["state"] == "finished" and row["steps"] == STEPS
        for column in ("train_loss", "test_loss", "train_acc", "test_acc"):
            assert row[column] == history[column].iloc[-1]
        assert row["gap"] == row["train_acc"] - row["test_acc"]
        assert row["r0"] == run.manifest["start"]["norm"] and row["final_norm"] == history["norm"].iloc[-1]


def test_classes_and_times_are_those_that_were_planted(sweep):
    planted = [at for row in PLANTED.values() for at in row]
    found = [
        tuple(NEVER if math.isnan(x) else x for x in row)
        for row in sweep.table[["memorised_by", "grokked_by"]].itertuples(index=False)
    ]
    assert found == planted
    c, g, m, n = CLASSES
    assert list(sweep.table["class"]) == [c, g, m, g, g, c, n, n, m, c, c, c]


def test_the_delay_moves_runs_between_grokking_and_comprehension(sweep):
    later = planned(small(), VALUES, seeds=range(3), out=sweep.out, delay=11)
    assert list(sweep.table["class"].iloc[3:5]) == ["grokking", "grokking"]
    assert list(later.table["class"].iloc[3:5]) == ["comprehension", "comprehension"]


def test_the_table_is_one_for_files(sweep, tmp_path):
    table = sweep.table
    table.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table)


def test_the_cells_are_medians_and_counts_over_the_seeds(sweep):
    found = cells(sweep.table, ["alpha", "frac_train"], "grokked_by").set_index(["alpha", "frac_train"])
    assert found["n"].tolist() == [3] * 4 and found["n_missing"].tolist() == [0] * 4
    assert found["value"].tolist() == [16, 13, STEPS, 9] and [*found["is_censored"]] == [0, 0, 1, 0]
    assert found["n_grokked"].tolist() == [2, 3, 0, 3]
    assert found[list(CLASSES)].to_numpy().tolist() == [[1, 1, 1, 0], [1, 2, 0, 0], [0, 0, 1, 2], [3, 0, 0, 0]]
    gap = cells(sweep.table, ["alpha"], "gap")
    assert gap["value"].tolist() == [0, -0.125] and gap["n"].tolist() == [6, 6] and not gap["is_censored"].any()
    assert cells(sweep.table, ["alpha"], "memorised_by")["value"].tolist() == [4, 16.5]


def test_the_best_run_grokked_first_or_has_the_best_of_a_column(sweep):
    table = sweep.table.set_index("name")
    assert sweep.best().name == "alpha0.5-frac_train0.6-seed2"  # at step 0
    assert sweep.best("test_loss").name == table["test_loss"].idxmin()
    assert sweep.best("test_acc").name == "alpha0.5-frac_train0.4-seed0"  # the first of those at 1
    assert sweep.best("memorised_by", largest=True).name == "alpha2-frac_train0.4-seed2"
    with pytest.raises(UserError, match="got 'grokd_by'; did you mean 'grokked_by'"):
        sweep.best("grokd_by")
    configs, settings = ({name: of[name] for name in list(of)[6:8]} for of in (sweep.configs, sweep.settings))
    none = Sweep(sweep.out, configs, settings)
    with pytest.raises(UserError, match="no run of .* has grokked_by"):
        none.best()


def test_runs_are_had_by_name_and_by_row(sweep):
    name = list(sweep.configs)[4]
    assert sweep[name].path == sweep[4].path == sweep.out / name and sweep[-1].name == list(sweep.configs)[-1]
    assert [run.name for run in sweep.runs] == list(sweep.configs) and len(sweep) == 12
    with pytest.raises(KeyError, match="did you mean 'alpha2-frac_train0.6-seed2'"):
        sweep["alpha2-frac_train0.6-seed9"]


def test_it_says_its_shape_states_and_classes(sweep):
    said = repr(sweep)
    assert said.startswith(f"Sweep of 12 runs in {sweep.out}: alpha (2) × frac_train (2) × 3 seeds; 12 finished; ")
    assert said.endswith("5 comprehension, 3 grokking, 2 memorisation, 2 confusion") and "\n" not in said
    html = sweep._repr_html_()
    assert html.count("<tr") == 13 and "alpha (2) × frac_train (2)" in html


def test_a_name_in_its_html_is_text(tmp_path):
    assert "<b>" not in planned(small(), {}, out=tmp_path / "<b>")._repr_html_()


# --- training what is missing -----------------------------------------------------------------------


class Begun(Silent):
    """The runs that were trained, and a stop at a step of the second stack."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def begin(self, runs, start, steps):
        self.names += [run.name for run in runs]


def test_a_half_done_sweep_trains_what_is_missing_alone(tmp_path):
    whole = cg.sweep(small(), {"alpha": [0.5, 1.0]}, seeds=range(2), out=tmp_path / "whole")
    half = planned(small(), {"alpha": [0.5, 1.0]}, seeds=range(2), out=tmp_path / "half")
    assert half.missing == list(half.configs) and half.runs == []
    assert set(half.table["state"]) == {"missing"} and half.table["steps"].isna().all()
    assert repr(half).endswith("4 missing")
    with pytest.raises(UserError, match="no run of"):
        half.best()
    first = list(half.configs)[:2]
    cg.train([half.configs[name] for name in first], half.out, names=first)
    before = {name: bits_of(half.out / name) for name in first}
    assert half.missing == list(half.configs)[2:] and [run.name for run in half.runs] == first
    assert cells(half.table, ["alpha"], "grokked_by")[["n", "n_missing"]].to_numpy().tolist() == [[2, 0], [0, 2]]
    begun = Begun()
    done = cg.sweep(small(), {"alpha": [0.5, 1.0]}, seeds=range(2), out=tmp_path / "half", progress=begun)
    assert begun.names == list(half.configs)[2:] and done.missing == half.missing == []
    assert {name: bits_of(half.out / name) for name in first} == before
    pd.testing.assert_frame_equal(done.table, whole.table)
    assert all(bits_of(one.path) == bits_of(other.path) for one, other in zip(done.runs, whole.runs, strict=True))


def test_an_interrupted_run_has_no_class_and_is_missing(tmp_path):
    sweep = planned(small(), {}, seeds=[0], out=tmp_path)

    class Stops(Silent):
        def at(self, step, records):
            if step == 5:
                raise Interrupted("here")

    with pytest.raises(Interrupted):
        sweep.train(progress=Stops())
    [row] = sweep.table.to_dict("records")
    assert (row["state"], row["class"]) == ("interrupted", None) and sweep.missing == ["seed0"]
    assert sweep.train().missing == [] and sweep.table["class"].notna().all()


def test_a_folder_with_another_run_is_refused(tmp_path):
    cg.sweep(small(lr=0.001), {}, seeds=[0], out=tmp_path)
    with pytest.raises(RunError, match="holds a run of another config"):
        _ = planned(small(lr=0.002), {}, seeds=[0], out=tmp_path).table


# --- what plot refuses -------------------------------------------------------------------------------

WRONG = {
    "no such field": (("alfa",), {}, "swept are alpha, frac_train; got 'alfa'; did you mean 'alpha'"),
    "a seed": (("seed",), {}, "swept are"),
    "twice the same": (("alpha", "alpha"), {}, "must be two fields"),
    "no such colour": ((), {"colour": "clas"}, "got 'clas'; did you mean 'class'"),
    "a flag": ((), {"colour": "grokked_censored"}, "colour must be one of memorised_by, grokked_by"),
}


@for_each(("fields", "how", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_drawn_is_refused(sweep, fields, how, said):
    with pytest.raises(UserError, match=said):
        sweep.plot(*fields, **how)


def test_what_fits_no_sheet_has_its_table_and_that_is_said(tmp_path, capsys):
    sweep = planned(
        small(), {"alpha": [0.5, 1.0], "lr": [0.001, 0.01], "l2": [i / 1e5 for i in range(13)]}, out=tmp_path
    )
    cg.train([sweep.configs[name] for name in list(sweep.configs)[:1]], tmp_path, names=list(sweep.configs)[:1])
    with pytest.raises(UserError, match="13 panels for l2 are more than 12"):
        sweep.plot()
    assert [path.name for path in write_sweep(sweep)] == ["sweep.parquet", "sweep.csv"]
    assert capsys.readouterr().out == "no figure: 13 panels for l2 are more than 12: sweep fewer\n"


def test_nothing_swept_is_nothing_to_draw(tmp_path):
    with pytest.raises(UserError, match="nothing to plot against"):
        planned(small(), {}, seeds=range(2), out=tmp_path).plot()
