"""The runs in checkpoints/ are what start.md says of them, made by its commands, whole, and small."""

import re
from pathlib import Path

import pytest

import circuitgrok as cg
from circuitgrok.faces.cli import run as call

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
COMMANDS = {
    line.split("/")[-1]: line for line in re.findall(r"^circuitgrok (train .* --out checkpoints/\S+)$", PAGE, re.M)
}


def zoo(name: str) -> Path:
    return ROOT / "checkpoints" / name


def test_the_page_has_a_row_for_each_of_them_and_together_they_are_small():
    rows = re.findall(r"^\| `([\w-]+)` \|", PAGE.split("## Runs that are there already")[1], re.M)
    kept = re.findall(r"^!/checkpoints/([\w-]+)/$", (ROOT / ".gitignore").read_text(), re.M)
    assert sorted(rows) == sorted(kept) == sorted(COMMANDS)
    files = [file for name in kept for file in zoo(name).rglob("*") if file.is_file() and "resume" not in file.parts]
    assert sum(file.stat().st_size for file in files) < 20e6


@pytest.mark.parametrize("name", COMMANDS)
def test_they_are_whole_and_the_command_on_the_page_finds_its_run_finished(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert call([*COMMANDS[name].split(), "--dry-run"]) == 0
    assert "1 finished; 0 stacks to train" in capsys.readouterr().out
    assert call(["doctor", f"checkpoints/{name}"]) == 0


def test_each_shows_what_it_is_there_for():
    of = {name: cg.load(zoo(name)) for name in COMMANDS}
    table = cg.runs(ROOT / "checkpoints").set_index("name")
    table.index = [Path(name).name for name in table.index]
    assert (table["train_acc"] == 1).all()
    delay = table["grokked_by"] - table["memorised_by"]
    assert delay["reference"] > 1000 and delay["two-layers"] > 1000 and delay["sphere"] < 100
    memoriser = cg.measure(of["memoriser"], ["fourier"]).attrs["key_freqs"]
    assert len(memoriser) == 14 and table["test_acc"]["memoriser"] < 0.1  # every frequency; chance is 1/29
    norms = cg.measure(of["sphere"], ["polar"])["norm"]
    assert norms.max() / norms.min() - 1 < 1e-6 and of["sphere"].config.modular.p == 113
    last = {name: cg.measure(of[name], ["forms"], steps=of[name].steps[-1:]) for name in ("pizza", "reference")}
    assert last["pizza"]["gradient_symmetricity"].item() > 0.95 > last["reference"]["gradient_symmetricity"].item()
    assert of["two-layers"].config.transformer.n_layers == 2
