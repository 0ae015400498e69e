"""The reference run is found in a checkout, and in an installed wheel from another folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import circuitgrok as cg
from circuitgrok.errors import RunError

ROOT = Path(__file__).parents[1]


def test_the_reference_run_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = cg.reference()
    assert run.state == "finished" and run.at(run.steps[-1])["embed.W_E"].shape == (30, 64)


def test_where_it_is_not_the_message_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("circuitgrok.store.reference.PLACES", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(RunError, match=r"is not there: looked for .*a and .*b"):
        cg.reference()


@pytest.mark.slow
def test_the_wheel_carries_it_with_all_that_is_no_python(tmp_path):
    """Built from the checkout, unpacked into an empty folder, and opened there."""
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "there")
    inside = tmp_path / "there" / "circuitgrok"
    carried = {path.relative_to(inside) for path in inside.rglob("*.*")}
    source = {path.relative_to(ROOT / "circuitgrok") for path in (ROOT / "circuitgrok").rglob("*.*")}
    assert {path for path in source if path.suffix != ".pyc" and "node_modules" not in path.parts} <= carried
    code = "import circuitgrok as cg; print(cg.__file__, cg.reference().steps[-1], cg.reference().path)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": "there"}, capture_output=True, text=True
    )
    file, step, place = done.stdout.split()
    assert (step, Path(place).parts[-3:]) == ("4000", ("there", "circuitgrok", "reference")), done.stderr
    assert Path(file).is_relative_to(tmp_path / "there")
