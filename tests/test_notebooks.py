"""Notebooks run from top to bottom, and are committed with what they show and nothing that differs by the run."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from loops import for_each

FOLDER = Path(__file__).parents[1] / "analyses" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURES = {  # the least number that each shows
    "tour": 4,
    "inspect_a_circuit": 2,
    "radial_against_angular": 4,
    "phase_diagram_of_a_sweep": 4,
    "grokking_demo_on_transformerlens_4": 13,
    "your_own_checkpoints": 2,
}
PIP = '# On Colab, first: %pip install -q "circuitgrok[tested]"'


def cells(content: Any, kind: str = "code") -> list[Any]:
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def pictures(content: Any) -> int:
    """How many outputs are pictures."""
    return sum("image/png" in out.get("data", {}) for cell in cells(content) for out in cell["outputs"])


def test_every_notebook_has_its_number_of_pictures():
    assert {file.stem for file in NOTEBOOKS} == set(PICTURES)


@pytest.mark.parametrize(
    "name", [name if name == "tour" else pytest.param(name, marks=pytest.mark.slow) for name in PICTURES]
)
def test_notebook_runs_from_top_to_bottom_and_shows_what_is_committed(name):
    import nbformat

    file = FOLDER / f"{name}.ipynb"
    shown = runpy.run_path(str(FOLDER / "run.py"))["shown"]
    now = shown(nbformat.read(file, as_version=4))
    committed = json.loads(file.read_text("utf-8"))
    assert pictures(now) == pictures(committed) >= PICTURES[name]
    for new, old in zip(cells(now), cells(committed), strict=True):
        assert [sorted(out.get("data", {})) for out in new["outputs"]] == [
            sorted(out.get("data", {})) for out in old["outputs"]
        ], "run: python analyses/notebooks/run.py"


@for_each("file", NOTEBOOKS, ids=[file.stem for file in NOTEBOOKS])
def test_a_committed_notebook_shows_its_figures_and_has_nothing_volatile(file):
    text = file.read_text("utf-8")
    content = json.loads(text)
    assert file.stat().st_size <= 1.5e6
    assert set(content["metadata"]) <= {"kernelspec", "language_info"}
    assert content["metadata"]["language_info"] == {"name": "python"}
    assert "".join(cells(content)[0]["source"]).startswith(PIP) and "%matplotlib" not in text
    for cell in cells(content):
        source = "".join(cell["source"]).rstrip()
        assert cell["execution_count"] is None and cell["metadata"] == {}
        if re.search(r"(^|\n)(figure|[\w.]+\.plot\(.*\)|figures\.\w+\(.*\))$", source):
            assert any("image/png" in out.get("data", {}) for out in cell["outputs"]), source
        assert [out for out in cell["outputs"] if out.get("name") == "stderr" or out["output_type"] == "error"] == []
    assert not re.search(r"/tmp/|/home/|/root/|0x[0-9a-f]{8}", json.dumps([c["outputs"] for c in cells(content)]))
