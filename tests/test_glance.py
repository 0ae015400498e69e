"""The table of runs reads a history in one pass, finds what all of it would give, and never stops at a bad run."""

import gc
import json
import os
import random
import time

import pytest
from loops import for_each
from tiny import copied

from circuitgrok.canonical import canonical_json
from circuitgrok.errors import DamagedFile
from circuitgrok.faces.cli import run as call
from circuitgrok.faces.glance import turning_points
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, afterwards, crossing
from circuitgrok.store.run import RunError, runs_below

LINE = {"norm": 42.2, "test_loss": 5.1, "train_loss": 1e-7}
PARTS = {"test_mirror_unseen_acc": 0.25, "train_clean_acc": 1.0, "train_corrupted_acc": 0.5}


def history(rows, more=PARTS):
    """Lines as a run writes them."""
    return "".join(canonical_json(LINE | more | {"step": s, "test_acc": a, "train_acc": b}) + "\n" for s, a, b in rows)


@for_each("seed", range(30))
def test_what_is_kept_of_a_history_decides_as_all_of_it(seed, tmp_path, monkeypatch):
    """The oracle: crossings and losses of the whole columns. Small blocks, so that stretches span several."""
    stream, rows, acc = random.Random(seed), [], [0.5, 0.5]
    for step in range(400):
        if stream.random() < (0.5 if seed % 3 == 0 else 0.05):
            acc = [stream.choice([0.0, 0.5, 0.9499, 0.95, 0.99, 1.0, 1e-05]) for _ in range(2)]
        rows.append((10 * step, *acc))
    (tmp_path / "history.jsonl").write_text(history(rows, PARTS if seed % 2 else {}))
    monkeypatch.setattr("circuitgrok.faces.glance._BLOCK", 700)
    kept = turning_points(tmp_path / "history.jsonl")
    assert kept[-1] == rows[-1] and len(kept) < len(rows)
    for column, level in ACCURACY_RULES.values():
        i = 1 if column == "test_acc" else 2
        whole = ([row[0] for row in rows], [row[i] for row in rows], level)
        few = ([one.step for one in kept], [getattr(one, column) for one in kept], level)
        assert crossing(*few) == crossing(*whole)
        lost, still = (afterwards(*given) for given in (few, whole))
        assert (lost and (lost.lost, lost.is_below_at_end)) == (still and (still.lost, still.is_below_at_end))


def test_lines_in_another_order_are_read_and_a_half_one_is_dropped(tmp_path):
    rows = [(0, 0.1, 0.2), (10, 0.3, 0.4)]
    loose = "".join(json.dumps({"train_acc": b, "step": s, "test_acc": a} | LINE) + "\n" for s, a, b in rows)
    (tmp_path / "history.jsonl").write_text(loose + history([(20, 0.5, 0.6)]) + '{"step":30,"te')
    assert [one.step for one in turning_points(tmp_path / "history.jsonl")] == [0, 10, 20]
    assert turning_points(tmp_path / "nothing.jsonl") == []


@for_each("line", ["x" * (1 << 21), "[]\n", '{"step":1}\n', '{"step":"1","test_acc":[]}\n', "[" * 9999 + "\n"])
def test_what_is_no_evaluation_is_refused(line, tmp_path):
    (tmp_path / "history.jsonl").write_text(history([(0, 0.1, 0.2)]) + line)
    with pytest.raises(DamagedFile, match=r"history\.jsonl is damaged"):
        turning_points(tmp_path / "history.jsonl")


def test_a_long_history_costs_less_than_half_of_parsing_it(tmp_path):
    """Ratio of processor times in one process, on 10^5 lines; 10^6 lines (225 MB) took 1.8 s under load."""
    text = history([(step, 0.5 + step * 1e-7, 1.0) for step in range(100_000)])
    (tmp_path / "history.jsonl").write_text(text)
    gc.collect()
    gc.disable()  # a collection costs what else lives in this process
    try:
        began = time.process_time()
        kept = turning_points(tmp_path / "history.jsonl")
        glanced, began = time.process_time() - began, time.process_time()
        parsed = [json.loads(line) for line in text.splitlines()]
        parsing = time.process_time() - began
    finally:
        gc.enable()
    assert len(kept) == 3 and len(parsed) == 100_000
    assert glanced < 0.5 * parsing


BAD = {
    "torn": lambda path: (path / "config.json").write_text('{"config":'),
    "list": lambda path: (path / "config.json").write_text("[]"),
    "deep": lambda path: (path / "config.json").write_text("[" * 100_000),
    "digits": lambda path: (path / "config.json").write_text("9" * 100_000),
    "empty": lambda path: (path / "config.json").write_text("{}"),
    "link": lambda path: (path / "config.json").symlink_to("/dev/zero"),
    "pipe": lambda path: os.mkfifo(path / "config.json"),
    "folder": lambda path: (path / "config.json").mkdir(),
}


def test_every_bad_run_is_a_row_that_says_what_is_wrong_and_none_ends_the_table_or_hangs(finished, tmp_path, capsys):
    good = copied(finished, tmp_path)
    for name, spoil in BAD.items():
        (tmp_path / name).mkdir()
        spoil(tmp_path / name)
    for name, spoil in (("history pipe", os.mkfifo), ("history link", lambda path: path.symlink_to("/dev/zero"))):
        spoilt = copied(finished, tmp_path / name).path / "history.jsonl"
        spoilt.unlink()
        spoil(spoilt)
    kinds = copied(finished, tmp_path / "kinds").path / "config.json"
    kinds.write_text(kinds.read_text().replace('"kind":"modular_addition"', '"kind":["x"]'))
    assert call(["runs", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    rows = out.splitlines()
    assert err == "" and len(rows) == 1 + 1 + len(BAD) + 3
    assert sum("unreadable" in row and "doctor" in row for row in rows) == len(BAD) + 3
    assert [row for row in rows if f"{good.path} " in row and "finished" in row]


def test_runs_are_found_without_looking_among_their_files_and_no_link_is_followed(finished, tmp_path):
    one = copied(finished, tmp_path / "deep" / "er")
    (one.path / "inner").mkdir()
    (one.path / "inner" / "config.json").write_text("{}")
    (tmp_path / "round").symlink_to(tmp_path)
    assert [run.path for run in runs_below(tmp_path)] == [one.path]
    with pytest.raises(RunError, match="is not a folder"):
        runs_below(tmp_path / "nothing")
