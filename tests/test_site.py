"""The site is built without a warning and without a network, and each of its links leads to a place that is there."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from loops import for_each

import circuitgrok

ROOT = Path(__file__).parents[1]
BROUGHT = runpy.run_path(str(ROOT / "docs" / "site" / "brought.py"))
NOT_COPIED = (".git", ".venv", "checkpoints", "_build", "_pages", "tests", "*.egg-info", "__pycache__")


class Page(HTMLParser):
    """The links, pictures and anchors of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {given[key] or "" for key in ("id", "name") if given.get(key)}
        self.links |= {given[key] or "" for key in ("href", "src") if given.get(key)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; Sphinx reads a copy of the checkout, in which nothing is written."""
    pytest.importorskip("sphinx", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site") / "a copy"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "2", "docs", "docs/_build/html"]
    no_network = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=folder, env=os.environ | no_network, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "docs" / "_build" / "html"


@pytest.mark.docs
@pytest.mark.timeout(600)
def test_every_link_of_the_site_leads_to_a_place_that_is_there(site):
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html")}
    assert len(pages) > 50
    checked, broken = 0, []
    for file, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link) or link == "#":
                continue
            path, _, anchor = unquote(link).partition("#")
            there = (file.parent / path.partition("?")[0]).resolve() if path else file
            checked += 1
            if not there.is_file() or (anchor and there in pages and anchor not in pages[there].anchors):
                broken.append(f"{file.relative_to(site.resolve())}: {link}")
    assert checked > 5000 and broken == []


@pytest.mark.docs
@pytest.mark.timeout(600)
def test_the_reference_has_every_public_name_and_every_public_function_of_every_file(site):
    ids = {anchor for page in (site / "_pages" / "api").glob("*.html") for anchor in Page(page).anchors}
    public = {f"circuitgrok.{name}" for name in circuitgrok._HOMES if not name.startswith("_")}
    assert public <= ids
    homes = {f"circuitgrok.{home}.{name}" for name, home in circuitgrok._HOMES.items()}
    for file in (ROOT / "circuitgrok").rglob("*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        nodes = ast.parse(file.read_text("utf-8")).body
        named = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        if file.stem not in ("__init__", "__main__"):
            assert {f"{module}.{name}" for name in named if not name.startswith("_")} - homes <= ids, file


@pytest.mark.docs
@pytest.mark.timeout(600)
def test_names_of_other_packages_are_links_and_the_gallery_has_every_figure(site):
    of_cg = Page(site / "_pages" / "api" / "cg.html").links
    assert any(link.startswith("https://docs.pytorch.org/docs/stable/tensors.html") for link in of_cg)
    pictures = {file.parent.name for file in (ROOT / "analyses" / "out").glob("*/figure.png")}
    assert (
        pictures <= Page(site / "_pages" / "gallery.html").anchors | {name.replace("_", "-") for name in pictures}
        and len(pictures) >= 17
    )
    shown = [link for link in Page(site / "_pages" / "gallery.html").links if link.endswith(".png")]
    assert len(shown) == len(pictures)


@for_each(
    ("link", "stands", "shown", "expected"),
    [
        ("start.md#sweeps", "docs/runs.md", "runs.md", "start.md#sweeps"),
        ("../CHANGELOG.md", "docs/runs.md", "runs.md", "_pages/changelog.md"),
        ("docs/start.md", "README.md", "_pages/readme.md", "../start.md"),
        ("../analyses/out/nanda/figure.png", "docs/runs.md", "runs.md", "../analyses/out/nanda/figure.png"),
        ("analyses/out/nanda/figure.png", "README.md", "_pages/readme.md", "../../analyses/out/nanda/figure.png"),
        ("../analyses/out/speed/verdict.md", "docs/a.md", "a.md", "../analyses/out/speed/verdict.md"),  # there is none
        ("../analyses/out/slingshots/verdict.md", "docs/a.md", "a.md", "_pages/verdicts/slingshots.md"),
        ("https://arxiv.org/abs/2301.05217", "docs/a.md", "a.md", "https://arxiv.org/abs/2301.05217"),
        ("#sweeps", "docs/start.md", "start.md", "#sweeps"),
    ],
)
def test_links_lead_on_the_site_where_they_lead_in_the_repository(link, stands, shown, expected):
    assert BROUGHT["linked"](f"a [b]({link}) c", stands, shown) == f"a [b]({expected}) c"


def test_nothing_of_the_site_is_in_the_repository():
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {"/docs/_build/", "/docs/_pages/"} <= set(ignored)
