"""The acceptance sheet as a command, its rows on planted things; restricted loss at as many frequencies for both."""

import importlib
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from test_published import as_nanda, random_pizza, save_pizza, without_unsaved_biases

import circuitgrok as cg
from circuitgrok.study.sheet import NotTried, tried

ROOT = Path(__file__).parents[1]
KINDS = [("groks", "own"), ("no decay", "matched"), ("no decay", "own")]


def test_acceptance_writes_a_table_and_a_sheet_and_keeps_lines_of_rows_that_are_left_out(tmp_path, capsys):
    command = ["acceptance.py", "--quick", "--out", str(tmp_path), "--only"]
    for only in ("A1,A12,N9", "A4 margin 5,P1,A20 clean"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [*command, only])
            patch.syspath_prepend(str(ROOT / "analyses"))
            runpy.run_path(str(ROOT / "analyses" / "acceptance.py"), run_name="__main__")
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False).set_index("name")
    assert len(table) > 100 and set(table["word"]) == {"within", "not tried"}
    tried = table[table["word"] == "within"]
    assert {name.split()[0] for name in tried.index} == {"A1", "A4", "A12", "N9"} and len(tried) == 11
    assert tried["commit"].ne("").all() and tried["seconds"].astype(float).ge(0).all()
    said = dict(zip(table.index, table["said"].tolist(), strict=True))
    assert "--retrain" in said["A20 clean"] and "github.com" in said["P1 accuracy"]
    assert said["A5 norm"] == "left out by --only"
    sheet = (tmp_path / "sheet.md").read_text("utf-8")
    assert sheet.count("**within**") == 11 and "## Left out, and why" in sheet
    assert "11 within, 0 outside" in sheet and "11 within, 0 outside" in capsys.readouterr().out


@pytest.mark.slow
def test_size_matched_controls_measures_memorisers_with_as_many_frequencies_as_their_partners(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        script = str(ROOT / "analyses" / "size_matched_controls.py")
        patch.setattr(sys, "argv", [script, "--quick", "--threads", "1", "--out", str(tmp_path / "out")])
        runpy.run_path(script, run_name="__main__")
    rows = pd.read_csv(tmp_path / "out" / "table.csv").sort_values("seed")
    assert sorted(set(zip(rows["arm"], rows["kind"], strict=True))) == KINDS
    matched, partners = rows[rows["kind"] == "matched"], rows[rows["arm"] == "groks"]
    assert matched["n_keys"].tolist() == partners["n_keys"].tolist()


@pytest.fixture
def rooms(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    return {
        name: importlib.import_module(f"published.{name}")
        for name in ("exact", "sampled", "starts", "files", "retrained", "training", "given", "left_out")
    }


def given(rooms, **changed: Any) -> Any:
    plain = {"checkpoints": None, "mnist": None, "retrain": False, "minutes": 1.0, "out": Path("nowhere")}
    return rooms["given"].Given(**plain | {"threads": 1, "quick": True} | changed)


def test_every_row_has_a_name_of_its_own_and_says_where_its_number_is_from(rooms):
    rows = [one for name in ("exact", "sampled", "starts", "files", "retrained") for one in rooms[name].rows()]
    assert len(rows) > 100 and len({one.name for one in rows}) == len(rows)
    assert all(one.source and one.expected and one.band.why and one.band.low <= one.band.high for one in rows)
    assert all(
        "one seed" in one.expected for one in rows if one.band.why == rooms["given"].SINGLE and "A5 ex" not in one.name
    )
    assert all(len(one) == 3 and all(one) for one in rooms["left_out"].LEFT_OUT)


def test_without_files_and_training_rows_say_what_they_need(rooms):
    lines = [tried(one, given(rooms), "abc") for name in ("files", "retrained") for one in rooms[name].rows()]
    assert {line.word for line in lines} == {"not tried"}
    said = {line.said for line in lines}
    assert any("github.com/fjzzq2002/pizza" in one for one in said) and any("--retrain" in one for one in said)
    assert any("--mnist" in one for one in said) and all(one.startswith("needs ") for one in said)


def test_a_published_pizza_is_found_by_its_settings_and_measured(rooms, tmp_path):
    weights, settings = random_pizza(d_model=8)
    save_pizza(tmp_path, weights, settings | {"attn_coeff": 0.0})
    with pytest.raises(NotTried, match="attn_coeff below 0.1 and C 59"):
        rooms["files"].pizza(tmp_path, True)  # modulo 7


def test_a_network_in_the_main_runs_layout_gives_every_number_that_its_rows_ask_for(rooms, tmp_path):
    run = cg.reference()
    content = {"model": as_nanda(without_unsaved_biases(run.at(4000)), run.config.transformer), "epoch": 40_000}
    content["config"] = {"p": 29, "fn_name": "add", "frac_train": 0.5, "seed": 0}
    torch.save(content, tmp_path / "main.pth")
    with pytest.raises(NotTried, match="main run's checkpoint"):
        rooms["files"].main_run(tmp_path)  # modulo 29
    mine = rooms["files"].measured(cg.open_checkpoints(tmp_path / "main.pth", layout="nanda"))
    table = cg.measure(run, ["circuits", "sparsity", "ablations"], 4000, rule="neuron_argmax_pure")
    share = run.task.is_train.double().mean().item()
    both = [table[f"loss[skip, zero, {side}]"].item() for side in ("train", "test")]
    assert mine["loss[skip, zero, all]"] == pytest.approx(share * both[0] + (1 - share) * both[1], rel=1e-9)
    assert mine["loss[all]"] == pytest.approx(table["loss[all]"].item(), rel=1e-9)
    assert mine["overlap"] == 0 and 0 < mine["pure"] <= 256
    asked = {"loss[clusters, polynomial, all]", "direction_fve_min", "head_fve[head 3]", "low_rank_residual[W_L]"}
    assert asked <= mine.keys()


def test_rows_that_train_resume_and_give_medians_over_seeds(rooms, tmp_path):
    asked = [one for one in rooms["retrained"].rows() if one.name in ("A20 clean", "A9 .5 to .65")]
    training = given(rooms, retrain=True, out=tmp_path)
    first = [tried(one, training, "abc") for one in asked]
    assert [line.word for line in first] != ["not tried"] * 2 and all("2 seeds" in line.got for line in first)
    made = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("history.jsonl")}
    assert len(made) == 8  # two of the quadratic network, two for each of three shares
    rooms["training"].trained.cache_clear()
    again = [tried(one, training, "abc") for one in asked]
    assert [line.got for line in again] == [line.got for line in first]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("history.jsonl")} == made


def test_a_row_that_would_take_too_long_is_not_begun(rooms, tmp_path):
    [asked] = [one for one in rooms["retrained"].rows() if one.name == "A20 clean"]
    line = tried(asked, given(rooms, retrain=True, out=tmp_path, minutes=1e-9), "abc")
    assert line.word == "not tried" and "by a dry run" in line.said and not list(tmp_path.rglob("history.jsonl"))


def test_events_of_planted_histories_are_what_the_rows_count(rooms):
    class Planted:
        steps = range(0, 400, 10)
        history = pd.DataFrame(
            {
                "train_acc": [float(s >= 100) for s in steps],
                "test_acc": [float(s >= 250) for s in steps],
                "norm": [10 + s / 100 for s in steps],
                "test_loss": 1.0,
            },
            index=[*steps],
        )

    retrained, training = rooms["retrained"], rooms["training"]
    assert retrained.delay(Planted) == 150 and training.time_to("test_acc", 0.95)(Planted) == 250
    assert training.time_to("test_loss", 2.0)(Planted) == math.inf
    assert retrained.norm_moves(Planted) == pytest.approx(0.39) and retrained.rise(Planted) == pytest.approx(1.39)
    assert training.at("norm", 205)(Planted) == 12 and retrained.gap(Planted) == 0
