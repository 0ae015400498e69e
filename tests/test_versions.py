"""What the suite ran on is what the project asks for, and the tests that hold everywhere are marked and found."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LINES = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
VERSIONS = {canonicalize_name(line.split("==")[0]): Version(line.split("==")[1]) for line in LINES}
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUNNER = Path(__file__).with_name("surroundings") / "run.py"


def asked_for() -> list[Requirement]:
    """All but the other libraries that some tests compare with, which go without when they are not there."""
    return [Requirement(line) for line in (*PROJECT["project"]["dependencies"], *EXTRAS["tested"], *EXTRAS["dev"])]


def test_constraints_are_versions_that_every_machine_can_get():
    assert len(VERSIONS) == len(LINES) > 60
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []  # no +cpu, no path
    assert "circuitgrok" not in VERSIONS


def test_what_the_project_asks_for_begins_at_what_the_suite_ran_on():
    for asked in asked_for():
        ran_on = VERSIONS[canonicalize_name(asked.name)]
        assert ran_on in asked.specifier, f"the suite ran on {ran_on}, which is not {asked}"
        lowest = [Version(of.version) for of in asked.specifier if of.operator in (">=", "==")]
        assert lowest == [ran_on], f"{asked} allows what the suite never ran on: write >= {ran_on}"


def test_another_order_holds_the_same_tests_and_comes_from_its_seed(request):
    hook = request.config.pluginmanager.get_plugin(str(ROOT / "conftest.py")).pytest_collection_modifyitems

    def order(seed: int | None) -> list[int]:
        items = list(range(100))
        hook(SimpleNamespace(getoption={"--shuffle": seed}.get), items)
        return items

    plain, shuffled = order(None), order(1)
    assert plain == sorted(plain) == sorted(shuffled) != shuffled
    assert order(1) == shuffled != order(2)


def test_bits_are_marked_where_runs_train_sample_and_resume():
    marked = {
        file.stem
        for file in ROOT.glob("tests/test_*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
        and "pytest.mark.bits" in {ast.unparse(decorator) for decorator in node.decorator_list}
    }
    assert {"test_training", "test_runs", "test_mlp", "test_optimizers", "test_sample", "test_apart"} <= marked


def test_surroundings_that_are_unknown_are_refused_with_those_there_are():
    done = subprocess.run([sys.executable, RUNNER, "--only", "mars"], capture_output=True, text=True)
    assert done.returncode == 2 and "mars" in done.stderr and "not-intel" in done.stderr
