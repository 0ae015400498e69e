"""The acceptance sheet: bands and words at their edges, what is kept, what is printed; rows on planted things."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import for_each
from test_published import as_nanda, random_pizza, save_pizza, without_unsaved_biases

from circuitgrok.study.sheet import (
    Band,
    Kept,
    NotTried,
    Row,
    about,
    as_markdown,
    at_least,
    at_most,
    by_factor,
    counted,
    got,
    over_seeds,
    tried,
    untried,
)

ROOT = Path(__file__).parents[1]


BAND = about(1, 0.1, "a judgement")


def row(value: float = 1.0, band: Band = BAND, name: str = "R1 one", **changed: Any) -> Row[Any]:
    facts = {"what": "one", "source": "nobody", "expected": "1"} | changed
    return Row(name, **facts, band=band, how=lambda given: got(value))


@for_each(
    ("band", "inside", "outside"),
    [
        (about(2, 0.5, ""), [1.5, 2, 2.5], [1.49, 2.51]),
        (by_factor(100, 2, ""), [50, 200], [49, 201]),
        (at_least(1, ""), [1, math.inf], [0.99, -math.inf]),
        (at_most(1, ""), [1, -math.inf], [1.01, math.inf]),
        (about(3, 0, ""), [3], [3 + 1e-12]),
    ],
)
def test_ends_belong_to_a_band_and_nan_to_none(band, inside, outside):
    assert all(band.has(value) for value in inside)
    assert not any(band.has(value) for value in [*outside, math.nan])


def test_a_median_of_times_that_were_not_reached_is_outside_a_band_about_a_time():
    found = over_seeds([100.0, math.inf, math.inf])
    assert found.value == math.inf and (found.low, found.high, found.n) == (100.0, math.inf, 3)
    assert not about(100, 50, "").has(found.value)
    assert over_seeds([1.0, 2.0, math.inf]).value == 2


def test_three_words_and_only_those():
    def missing(given):
        raise NotTried("needs a file")

    lines = [tried(row(value), None, "abc") for value in (1.0, 2.0, math.nan)]
    lines.append(tried(Row("R2 two", "two", "nobody", "2", about(2, 0, "exact"), missing), None, "abc"))
    assert [line.word for line in lines] == ["within", "outside", "outside", "not tried"]
    assert lines[3].got == lines[3].commit == "" and lines[3].said == "needs a file"
    assert counted(lines) == "1 within, 2 outside, 1 not tried"


def test_lines_come_back_from_the_file_and_those_of_changed_rows_do_not(tmp_path):
    kept, one = Kept(tmp_path / "out" / "table.csv"), row(expected='a "comma", or\ttwo | three')
    line = tried(one, None, "abc")
    kept.add(line)
    again = Kept(tmp_path / "out" / "table.csv")
    assert again.line_of(one) == line
    changed = [
        row(band=about(1, 0.2, "a judgement")), row(band=about(1, 0.1, "exact")), row(source="somebody"),
        row(what="two"), row(expected="2"), row(name="R2"),
    ]  # fmt: skip
    assert [again.line_of(other) for other in changed] == [None] * 6
    again.write([])
    assert Kept(tmp_path / "out" / "table.csv").lines == {}


def test_the_page_lists_what_was_not_tried_by_its_reason():
    lines = [tried(row(), None, "abc"), *(untried(row(name=name), "needs a file") for name in ("R2", "R3"))]
    page = as_markdown({"First": lines, "Second": [untried(row(name="R4"), "needs hours")]})
    assert page.count("* not tried") == 2 and "R2 (one: 1); R3 (one: 1)." in page
    assert page.count("| R1 one |") == 1 and page.index("## First") < page.index("## Second")
    assert "| row |" not in page[page.index("## Second") :]


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
    import circuitgrok as cg

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
    import pandas as pd

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
