"""The README names what there is: commands, presets, measures, fields, files. (Its code runs as a doctest.)"""

import re
import subprocess
from pathlib import Path

import pytest

from circuitgrok.config.presets import PRESETS
from circuitgrok.config.train_config import LEAVES, leaf_fields
from circuitgrok.store.run import load
from circuitgrok.table.measure import measure

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETUP = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e"


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_first_two_commands_set_up_and_train_and_set_up_and_test():
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert commands == [
        f"{SETUP} '.[tested]' && .venv/bin/circuitgrok train quickstart",
        f"{SETUP} '.[dev,tested]' && .venv/bin/pytest",
    ]


def test_ci_runs_the_readmes_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    [pattern] = re.findall(r'grep -m1 "(.*)" README.md', script)
    found = subprocess.run(["grep", "-m1", pattern, "README.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{SETUP} '.[dev,tested]' && .venv/bin/pytest"


def test_every_picture_and_folder_that_is_linked_exists():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) >= 3
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_described(preset):
    line = re.sub(r"arXiv:([0-9.]+)", r"[\1](https://arxiv.org/abs/\1)", PRESETS[preset].line)
    assert f"| `{preset}` | {line} |" in section("On the command line")


def test_every_measured_column_is_in_the_table_of_measures():
    table = section("Measures")
    run = load(ROOT / "checkpoints" / "reference")
    names = {column.split("[")[0] for column in measure(run, steps=run.steps[-2:]).columns}
    assert [name for name in sorted(names) if f"`{name}" not in table] == []


def test_every_field_that_the_table_of_interventions_names_is_a_field():
    rows = [line.split("|")[2] for line in section("Interventions").splitlines() if line.startswith("| ")][1:]
    named = [name.split()[0] for cell in rows for name in re.findall(r"`([^`]+)`", cell)]
    assert len(named) >= 10
    assert [name for name in named if name not in LEAVES] == []
    varied = {name for part, name, _ in leaf_fields() if part not in ("task", "model", "schedule", "numerics")}
    assert varied - {*named, "seed"} == set()


def test_no_placeholder_is_left():
    assert re.findall(r"^[A-Z_]{6,}$", README, flags=re.M) == []


def test_every_file_that_the_table_of_measures_names_is_there():
    rooms = r"measures/\w+|measures|polar|landscape|models|tasks|interventions|training"
    files = set(re.findall(rf"`((?:{rooms})/\w+\.py)`", README))
    assert len(files) >= 25
    assert [file for file in sorted(files) if not (ROOT / "circuitgrok" / file).exists()] == []
