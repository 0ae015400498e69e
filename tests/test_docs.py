"""The pages name what there is: presets, measures, fields, files; links lead somewhere. (Their code is doctests.)"""

import math
import re
import runpy
from pathlib import Path

from loops import for_each

from circuitgrok.config.leaves import LEAVES, leaf_fields
from circuitgrok.config.presets import PRESETS
from circuitgrok.store.run import load
from circuitgrok.study.evidence import Claim
from circuitgrok.study.verdicts import AGAIN, Decided
from circuitgrok.table.measure import measure
from circuitgrok.version import __version__

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
GENERATE = runpy.run_path(str(DOCS / "generate.py"))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Names of its headings, as links call them."""
    titles = re.findall(r"^#+ (.*)$", text_of(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@for_each("page", PAGES, ids=[page.name for page in PAGES])
def test_generated_parts_are_what_code_and_verdicts_say(page):
    assert GENERATE["filled"](text_of(page)) == text_of(page), "run: python docs/generate.py"


def test_every_part_that_can_be_generated_is_on_a_page_once():
    parts = [what for page in PAGES for what in re.findall(r"<!-- generated: (.+?) -->", text_of(page))]
    assert sorted(parts) == sorted(GENERATE["PARTS"])
    assert "columns" in parts and len([what for what in parts if what.startswith("verdict")]) >= 16


def test_every_claim_of_a_verdict_is_a_row_of_the_findings():
    """A claim that stands otherwise in the file than the others would be left out."""
    for file in sorted((ROOT / "analyses" / "out").glob("*/verdict.md")):
        claims = text_of(file).count("\n* ")
        assert claims >= 3
        assert len(re.findall(r"^\| .*\*\*.* \|$", GENERATE["verdict"](file.parent.name), flags=re.M)) == claims, file


def test_claims_of_a_verdict_are_read_by_the_earlier_rules_and_by_these():
    table_of_claims = GENERATE["table_of_claims"]
    *_, row, _, below = table_of_claims("* **fails**: It is (so). Measured: 1 | 2.\n")
    assert row == "| It is (so). | **fails** | 1 \\| 2. |" and below == GENERATE["EARLIER"]
    one = Claim("It is so.", "1 [0, 2]", "not shown", 0.3, 0.0125, 21)
    sure = one._replace(text="It is not.", decision="counterexample", p=1e-9, needed=math.nan)
    head, _, *rows = table_of_claims("\n".join(Decided({"": [one, sure]}, frozenset([sure.text])).lines()))
    assert head == "| claim | verdict | p and level | measured |"
    assert rows == [
        "| It is so. | **not shown** | p = 0.3, judged at 0.013; about 21 seeds would decide | 1 [0, 2]. |",
        "| *post hoc* It is not. | **counterexample** | p < 1e-09, judged at 0.013 | 1 [0, 2]. |",
    ]
    again: dict[str, list[Claim]] = dict(
        zip(AGAIN, ([one], [one._replace(decision="holds")], [one._replace(decision="holds")]), strict=True)
    )
    *_, row = table_of_claims("\n".join(Decided(again).lines()))
    assert "| of the first seeds **not shown**, of others **holds**, of all **holds** | p = 0.3," in row


@for_each("page", PAGES, ids=[page.name for page in PAGES])
def test_every_link_leads_somewhere(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)) if not link.startswith("http")]
    for link in links:
        file, _, anchor = link.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


def test_the_readme_leads_to_every_page():
    assert [page.name for page in PAGES if f"({page.relative_to(ROOT)})" not in text_of(ROOT / "README.md")] == [
        "README.md"
    ]


@for_each("preset", PRESETS)
def test_every_preset_is_described(preset):
    line = re.sub(r"arXiv:([0-9.]+)", r"[\1](https://arxiv.org/abs/\1)", PRESETS[preset].line)
    assert f"| `{preset}` | {line} |" in text_of(DOCS / "presets.md")


def test_every_measured_column_is_in_the_table_of_measures():
    page = text_of(DOCS / "measures.md")
    run = load(ROOT / "checkpoints" / "reference")
    names = {column.split("[")[0] for column in measure(run, steps=run.steps[-2:]).columns}
    assert [name for name in sorted(names) if f"`{name}" not in page] == []


def test_every_field_that_the_table_of_interventions_names_is_a_field():
    table = text_of(DOCS / "interventions.md")
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][1:]
    named = [name.split()[0] for cell in rows for name in re.findall(r"`([^`]+)`", cell)]
    assert len(named) >= 10
    assert [name for name in named if name not in LEAVES] == []
    varied = {name for part, name, _ in leaf_fields() if part not in ("task", "model", "schedule", "numerics")}
    assert varied - {*named, "seed"} == set()


@for_each("page", PAGES, ids=[page.name for page in PAGES])
def test_no_placeholder_is_left(page):
    assert re.findall(r"^[A-Z_]{6,}$", text_of(page), flags=re.M) == []


def test_every_file_that_a_page_names_is_there():
    rooms = "|".join(sorted({file.parent.name for file in (ROOT / "circuitgrok").glob("**/*.py")} - {"circuitgrok"}))
    files = {file for page in PAGES for file in re.findall(rf"`((?:(?:{rooms})/)+\w+\.py)`", text_of(page))}
    whole = {
        file
        for page in PAGES
        for file in re.findall(r"`((?:tests|analyses|docs|circuitgrok)/[\w/]+\.\w+)", text_of(page))
    }
    assert len(files) >= 45 and len(whole) >= 20
    assert [file for file in sorted(files) if not (ROOT / "circuitgrok" / file).exists()] == []
    assert [file for file in sorted(whole) if not (ROOT / file).exists()] == []


def test_the_citation_has_the_packages_version_and_licence():
    said = dict(re.findall(r"^([\w-]+): (.*)$", text_of(ROOT / "CITATION.cff"), flags=re.M))
    assert said["version"].strip('"') == __version__ and said["title"] == "circuitgrok" and said["license"] == "MIT"
    assert said["cff-version"] == "1.2.0"
    assert f"version = {{{__version__}}}" in text_of(ROOT / "README.md")
