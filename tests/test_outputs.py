"""What commands write: checked before the work, in the format of its name, whole or not there; and how they end."""

import errno
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from loops import for_each
from tiny import tiny_flags

from circuitgrok import figures
from circuitgrok.faces import outputs
from circuitgrok.faces.cli import run as call
from circuitgrok.faces.outputs import table_path, write_table
from circuitgrok.store import files
from circuitgrok.study import verdicts
from circuitgrok.table import measure as measuring


@pytest.fixture
def no_work(monkeypatch):
    """Measuring fails the test: what is refused must be refused before."""
    monkeypatch.setattr(measuring, "measure", lambda *_, **__: pytest.fail("measured before it was refused"))


@for_each(
    ("out", "said"),
    [
        ("missing/x.parquet", "missing is not a folder"),
        ("x.txt", "must end on .parquet or .csv"),
        ("x", "must end on .parquet or .csv"),
        ("folder.csv", "is a folder"),
    ],
)
@for_each("command", ["measure", "explore"])
def test_a_place_or_name_that_cannot_be_written_is_refused_before_the_work(
    command, out, said, finished, tmp_path, no_work, capsys
):
    (tmp_path / "folder.csv").mkdir()
    at = ["measure", str(finished.path)]
    if command == "explore":
        at = ["explore", f"{finished.path}@24", "--step-size", "1e-4", "--n-draws", "1000000"]
    assert call([*at, "--quiet", "--out", str(tmp_path / out)]) == 2
    assert said in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["folder.csv"]


def refuse(number: int):
    """`tempfile.TemporaryFile` on a disk that refuses."""

    def refused(dir):
        raise OSError(number, os.strerror(number), "tmp_name")

    return refused


def test_a_disk_that_is_read_only_says_so_and_never_to_make_room(finished, tmp_path, monkeypatch, no_work, capsys):
    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", refuse(errno.EROFS))
    for words in (["--out", str(tmp_path / "x.csv")], ["--measures", "llc"], []):
        assert call(["measure", str(finished.path), "--quiet", *words]) == 74
        err = capsys.readouterr().err
        assert "read-only" in err and "choose another --out" in err and "make room" not in err and "tmp_name" not in err
    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", refuse(errno.ENOSPC))
    assert call(["measure", str(finished.path), "--quiet"]) == 74
    assert "make room" in capsys.readouterr().err


def test_llc_of_a_run_that_cannot_be_written_is_refused_before_the_work_whatever_out_is(
    finished, tmp_path, monkeypatch, no_work, capsys
):
    monkeypatch.setattr(
        outputs.tempfile,
        "TemporaryFile",
        lambda dir: open(os.devnull) if dir == tmp_path else refuse(errno.EACCES)(dir),
    )
    words = ["--measures", "llc", "--quiet", "--out", str(tmp_path / "x.parquet")]
    assert call(["measure", str(finished.path), *words]) == 2
    assert str(finished.path) in capsys.readouterr().err


def test_a_table_is_written_in_the_format_of_its_name_with_the_same_numbers(finished, tmp_path, capsys):
    for name in ("x.csv", "x.parquet", "X.CSV"):
        assert (
            call(["measure", str(finished.path), "--measures", "polar", "--quiet", "--out", str(tmp_path / name)]) == 0
        )
    assert (tmp_path / "x.csv").read_text().startswith("step,")
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "X.CSV").read_bytes()
    typed, read = pd.read_parquet(tmp_path / "x.parquet"), pd.read_csv(tmp_path / "x.csv")
    pd.testing.assert_frame_equal(read.set_index("step"), typed, rtol=1e-15, atol=0)


def test_text_with_commas_quotes_and_breaks_comes_back_from_csv(tmp_path):
    names = ["a,b", 'b,"c\n', "$=1+1", "é"]
    write_table(pd.DataFrame({"name": names}), tmp_path / "x.csv")
    assert pd.read_csv(tmp_path / "x.csv")["name"].tolist() == names


def test_the_default_place_is_checked_too(tmp_path):
    assert table_path("", tmp_path / "measures.parquet") == tmp_path / "measures.parquet"


NOTHING = verdicts.Decided({"": []})
WRITES = {
    "figure": lambda folder, table: figures.save(figures.sheet(1, 1, (2, 2))[0], folder / "figure"),
    "csv": lambda folder, table: write_table(table, folder / "x.csv"),
    "parquet": lambda folder, table: write_table(table, folder / "x.parquet"),
    "verdict": lambda folder, table: verdicts.write(folder, "?", NOTHING, [], table, figures.sheet(1, 1, (2, 2))[0]),
}


@for_each("fails_at", range(8))
@for_each("what", WRITES)
def test_nothing_half_written_is_ever_under_a_final_name(what, fails_at, tmp_path, monkeypatch):
    """The disk is full at the n-th flush; what has a name then is byte for byte what it is without the fault."""
    table = pd.DataFrame({"a": [1.0, 2.0]})
    (tmp_path / "whole").mkdir()
    (tmp_path / "full").mkdir()
    WRITES[what](tmp_path / "whole", table)
    calls, flush = iter(range(10**6)), os.fsync

    def full(descriptor):
        if next(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    try:
        WRITES[what](tmp_path / "full", table)
    except OSError as error:
        assert error.errno == errno.ENOSPC
    monkeypatch.undo()
    for file in (tmp_path / "full").iterdir():
        assert file.read_bytes() == (tmp_path / "whole" / file.name).read_bytes()


STOPPED_TWICE = """
import os, signal, sys
import circuitgrok.training.steps
from circuitgrok.faces.cli import run
before = circuitgrok.training.steps.forward
def signalled(stack, step):
    if step == 5:
        for _ in range(int(sys.argv[1])):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigpending()  # a system call, so that the handler runs
    return before(stack, step)
circuitgrok.training.steps.forward = signalled
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize(("signals", "code", "said"), [(1, 75, "everything is saved"), (2, 130, "stopped at once")])
def test_one_signal_ends_with_75_and_a_second_with_130(signals, code, said, tmp_path):
    words = ["train", "nanda", *tiny_flags(), "--quiet", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-c", STOPPED_TWICE, str(signals), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr


def test_a_signal_outside_training_saves_nothing_and_does_not_say_so(finished, monkeypatch, capsys, request):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    monkeypatch.setattr(measuring, "measure", interrupted)
    assert call(["measure", str(finished.path), "--quiet"]) == 130
    assert "saved" not in capsys.readouterr().err
