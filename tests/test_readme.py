"""The README is short, its commands are those that are run, and its map shows every file. (Its code is a doctest.)"""

import re
import subprocess
from pathlib import Path

from loops import for_each

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "circuitgrok"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETUP = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e"


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def room_of(row: str) -> str:
    return row.split("|")[2].strip(" `")


def test_it_can_be_read_in_one_go():
    assert len(README.splitlines()) <= 200


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


MAP = [row for row in section("Map of the house").splitlines() if row.startswith("| ")][1:]


@for_each("row", MAP, ids=map(room_of, MAP))
def test_the_map_has_every_file_of_a_room_and_no_other(row):
    room = room_of(row)
    named = set(re.findall(r"`(\w+)`", row.split("|", 3)[3]))
    if room == "top":
        assert named == {file.stem for file in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    elif room != "analyses/":
        files = {file.stem for file in (PACKAGE / room).glob("*.py")} - {"__init__"}
        inner = {file.stem for file in (PACKAGE / room).glob("*/*.py")} - {"__init__"}
        assert files <= named <= files | inner


def test_the_map_has_every_room():
    rooms = {str(file.parent.relative_to(PACKAGE).as_posix()) + "/" for file in PACKAGE.glob("**/__init__.py")} - {"./"}
    named = {room_of(row) for row in MAP} | set(re.findall(r"`(\w+)/`", "".join(MAP)))
    inside = {"faces/commands/": "commands", "table/families/": "families"}
    assert [room for room in rooms if inside.get(room, room) not in named] == []
    assert [path for path in re.findall(r"`(\w+/\w+\.py)`", "".join(MAP)) if not (PACKAGE / path).exists()] == []
