"""Other machines: no SIGUSR1, few letters, closed pipes, `~`, a clone without installation."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import copied, tiny, tiny_flags

import circuitgrok
from circuitgrok.faces.cli import run as call
from circuitgrok.store.run import load, runs_below
from circuitgrok.training.loop import train
from circuitgrok.training.progress import LOADING

PACKAGE = Path(circuitgrok.__file__).parent
CODE = "from circuitgrok.faces.cli import main; main()"


def command(*argv: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """A command in a process of its own, with other environment variables."""
    return subprocess.run([sys.executable, "-c", CODE, *argv], capture_output=True, env={**os.environ, **settings})


def test_training_needs_no_signal_that_windows_has_not(tmp_path, monkeypatch):
    monkeypatch.delattr(signal, "SIGUSR1")
    before = signal.getsignal(signal.SIGINT)
    [run] = train([tiny(steps=2)], tmp_path)
    assert run.state == "finished" and signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    "encoding", ["cp1252", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ascii", "utf-8"))]
)
def test_output_that_cannot_be_encoded_is_printed_with_question_marks_after_the_files(encoding, tmp_path):
    done = command("train", "nanda", *tiny_flags(), "--out", str(tmp_path / "run"), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr.decode()
    said, saved = done.stdout.decode(encoding), (tmp_path / "run" / "summary.txt").read_text(encoding="utf-8")
    kept = saved.encode(encoding, errors="replace").decode(encoding)
    assert "θ₀" in saved and said.splitlines() == kept.splitlines() and ("?" in said or encoding == "utf-8")
    assert {"figure.png", "figure.svg"} <= {file.name for file in (tmp_path / "run").iterdir()}


@pytest.mark.slow
def test_first_sign_of_life_comes_before_torch_and_not_where_quiet_is_asked(tmp_path):
    flags = ["train", "nanda", *tiny_flags(steps=1), "--out", str(tmp_path / "run")]
    said = command(*flags).stderr.decode().splitlines()
    assert said[0] == LOADING and said[1].startswith("run: step")
    assert command(*flags, "--quiet").stderr == b""


@pytest.mark.skipif(os.name == "nt", reason="pipes there end otherwise")
@pytest.mark.parametrize("argv", [["presets"], ["runs"], ["train", "nanda", "--help"]])
def test_a_reader_that_has_gone_ends_the_command_quietly(argv, finished):
    argv = [*argv, str(finished.path.parent)] if argv == ["runs"] else argv
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", CODE, *argv], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_closed_output_is_no_fault(finished):
    line = f'exec "{sys.executable}" -c "{CODE}" runs "{finished.path.parent}" >&-'
    done = subprocess.run(["sh", "-c", line], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_tilde_is_the_home_folder_everywhere(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    copied(finished, tmp_path)
    assert load("~/finished").path == tmp_path / "finished"
    assert [run.path for run in runs_below("~")] == [tmp_path / "finished"]
    assert call(["measure", "~/finished", "--measures", "scale", "--out", "~/table.parquet", "--quiet"]) == 0
    assert call(["doctor", "~/finished"]) == 0 and call(["runs", "~"]) == 0
    assert call(["train", "nanda", *tiny_flags(steps=1), "--out", "~/mine", "--quiet"]) == 0
    [run] = train([tiny(steps=1)], "~/below", names=["one"])
    assert run.path == tmp_path / "below" / "one"
    assert (tmp_path / "table.parquet").exists() and (tmp_path / "mine" / "config.json").exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.slow
def test_a_clone_on_the_path_needs_no_installation(tmp_path):
    """The package alone in a folder, with no metadata of an installed one to be found."""
    shutil.copytree(PACKAGE, tmp_path / "circuitgrok", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys, importlib.metadata as m\n"
        "found = m.distribution\n"
        "def others(name):\n    assert name != 'circuitgrok'\n    return found(name)\n"
        "m.distribution = others\n"
        "import circuitgrok\nprint(circuitgrok.__file__)\n" + CODE
    )
    for argv in (["--version"], ["train", "nanda", *tiny_flags(steps=1), "--out", "run", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *argv],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == str(tmp_path / "circuitgrok" / "__init__.py")
    assert load(tmp_path / "run").manifest["environment"]["circuitgrok"] == circuitgrok.__version__


def test_version_of_the_metadata_is_that_of_the_package():
    pyproject = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert 'path = "circuitgrok/version.py"' in pyproject and 'dynamic = ["version"]' in pyproject
