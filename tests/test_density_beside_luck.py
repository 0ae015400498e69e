"""Density beside luck: whose share of starts it is, that it is the density of the kit, and what is kept of it."""

import json

import pytest

import circuitgrok as cg
from circuitgrok.landscape.density import Effort
from circuitgrok.study.asked import Asked
from circuitgrok.study.claims import Mean, where
from circuitgrok.study.spheres import Counting, beside_luck, cell_row, draw_beside_luck, many_starts, said_of
from circuitgrok.study.study import evenly

HOW = Counting(Effort(2, 6, 4, 2, 8), 2.0, 1)
BASE = cg.TrainConfig.preset("gromov").with_(
    p=3, n_neurons=4, frac_train=0.5, split="mirror_free", loss="cross_entropy", weight_decay=0.0, fixed_norm=True,
    steps=20, eval_every=10, **evenly(20),
)  # fmt: skip
CLAIM = Mean(where(radius=2.0), "hits", "share", bounds=(0, 1)).exceeds(0.5, "Most do.")
STUDY = many_starts("How dense?", BASE, [1.0, 2.0], 3, [4, 5], [CLAIM])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    given = Asked(True, tmp_path_factory.mktemp("spheres"), 1)
    runs = STUDY.train(given)
    trained = STUDY.table(runs)
    hit = trained["test_acc"].median()
    return given, runs, trained, hit, beside_luck(given, trained, runs, hit, HOW, [(2.0, 4)])


def test_starts_are_those_of_their_split_alone():
    seeds = {name: config.leaves()["seed"] for name, config in STUDY.configs().items()}
    assert len(seeds) == 12 and set(seeds.values()) == {4000, 4001, 4002, 5000, 5001, 5002}
    splits = {(config.leaves()["seed"] // 1000, config.leaves()["data_seed"]) for config in STUDY.configs().values()}
    assert splits == {(4, 4), (5, 5)}


def test_luck_is_the_share_of_a_cells_starts_and_the_density_that_of_one_call(found):
    given, runs, trained, hit, rows = found
    assert rows[["radius", "seed"]].to_numpy().tolist() == [[1.0, 4], [1.0, 5], [2.0, 4], [2.0, 5]]
    for cell in rows.itertuples():
        of = trained[(trained["norm_radius"] == cell.radius) & (trained["seed"] == cell.seed)]
        assert len(of) == 3 and cell.hits == (of["test_acc"] >= hit).sum() / 3
    assert rows["R_gen"].notna().tolist() == [False, False, True, False]
    of = trained.assign(name=list(runs)).query("norm_radius == 2 and seed == 4")
    best = runs[of.loc[of["test_acc"] == of["test_acc"].max(), "name"].iloc[-1]]
    task = best.config.task.draw()
    density = cg.density(
        best.config.model, task, 2.0, beta=2.0, n_wrong=1, effort=HOW.effort, planted=best.at(20), seed=4
    )
    row = rows.iloc[2]
    assert row["R_gen_cold"] == density.R_gen.value and row["R_mem"] == density.memorising(1.0).value
    assert row["excess_cold"] == row["R_gen_cold"] - row["R_mem_cold"]
    assert row["above_chance"] == row["R_gen"] - density.chance


def test_rows_that_are_kept_are_not_counted_again_unless_what_they_hang_on_changes(found, tmp_path):
    given, runs, trained, hit, rows = found
    file = given.out / "rows.jsonl"
    [line] = map(json.loads, file.read_text("utf-8").splitlines())
    elsewhere = given._replace(out=tmp_path)  # without ladders: only rows
    (tmp_path / "rows.jsonl").write_text(json.dumps(line | {"R_gen": -77.0}), "utf-8")
    again = beside_luck(elsewhere, trained, runs, hit, HOW, [(2.0, 4)])
    assert again["R_gen"].dropna().tolist() == [-77.0]
    other = beside_luck(elsewhere, trained, runs, hit, HOW._replace(n_wrong=0), [(2.0, 4)])
    assert other["R_gen"].dropna().tolist() == rows["R_gen"].dropna().tolist() and other["R_mem"].isna().all()


def test_ladders_of_a_cell_are_kept_and_what_is_said_and_drawn_knows_cells_that_were_not_counted(found, tmp_path):
    given, runs, trained, hit, rows = found
    run = next(run for name, run in runs.items() if "radius2" in name.replace(".", "").replace("_", ""))
    one = cell_row(run.config, f"{run.path}@20", HOW, str(tmp_path / "cell"))
    assert list((tmp_path / "cell").glob("density_*.jsonl")) and one["radius"] == 2.0
    words = said_of(rows, 3, hit, HOW)
    assert "r = 1: " in words[0] and "r = 1: " not in words[1] and f"{rows['R_gen'].iloc[2]:.1f}" in words[1]
    assert len(draw_beside_luck(rows, 2.0).axes) == 4


def test_a_part_has_rows_of_its_own_counts_at_its_temperature_or_counts_nothing(found):
    given, runs, trained, hit, rows = found
    assert beside_luck(given, trained, runs, hit, HOW, []).columns.tolist() == ["seed", "radius", "hits"]
    part = STUDY.with_(arms={"start 0": {"temperature": 0.5}}, grid={"norm_radius": [2.0]}, seeds=[4])
    elsewhere = given._replace(out=given.out / "sharp")
    sharp = part.train(elsewhere)
    before = (given.out / "rows.jsonl").read_bytes()
    [row] = beside_luck(given, part.table(sharp), sharp, hit, HOW, [(2.0, 4)], "half as warm").to_dict("records")
    assert (given.out / "rows.jsonl").read_bytes() == before and (given.out / "rows_half_as_warm.jsonl").exists()
    [run] = sharp.values()
    density = cg.density(
        run.config.model, run.config.task.draw(), 2.0, beta=2.0, n_wrong=1, effort=HOW.effort, planted=run.at(20),
        seed=4, temperature=0.5,
    )  # fmt: skip
    assert row["R_gen_cold"] == density.R_gen.value != rows.iloc[2]["R_gen_cold"]
