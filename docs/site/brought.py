"""Pages from elsewhere in the repository, brought into the site: changelog, verdicts, notebooks, a gallery."""

import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
NEW = "_pages"  # the folder of docs/ that holds what is made; not in the repository
OUT = ROOT / "analyses" / "out"
NOTEBOOKS = ROOT / "analyses" / "notebooks"
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")


def pages() -> dict[str, str]:
    """The page of the site, from docs/, for each file or folder of the repository that has one."""
    found = {"CHANGELOG.md": f"{NEW}/changelog.md", "CONTRIBUTING.md": f"{NEW}/contributing.md"}
    found |= {"README.md": f"{NEW}/readme.md", "analyses/out": f"{NEW}/gallery.md"}
    found |= {f"analyses/out/{name}/verdict.md": f"{NEW}/verdicts/{name}.md" for name in verdicts()}
    return found | {f"analyses/notebooks/{file.name}": f"{NEW}/notebooks/{file.name}" for file in notebooks()}


def verdicts() -> list[str]:
    """Names of the analyses that have one."""
    return sorted(file.parent.name for file in OUT.glob("*/verdict.md"))


def notebooks() -> list[Path]:
    """The tour first."""
    return sorted(NOTEBOOKS.glob("*.ipynb"), key=lambda file: (file.stem != "tour", file.stem))


def linked(text: str, stands: str, shown: str) -> str:
    """A page whose links lead where they lead in the repository, or to the page of the site for that file.

    Args:
        text: Of the page.
        stands: Its file in the repository, such as docs/start.md.
        shown: Its page of the site, from docs/, such as start.md.
    """

    def of_the_site(match: re.Match[str]) -> str:
        before, link, anchor = match[1], match[2], match[3] or ""
        if re.match(r"\w+:", link):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(stands), link))
        page = f"docs/{pages()[file]}" if file in pages() else file
        return before + posixpath.relpath(page, posixpath.dirname(f"docs/{shown}") or ".") + anchor

    return LINK.sub(of_the_site, text)


def links_of_the_site(app: "Sphinx", docname: str, source: list[str]) -> None:
    """The links of a page in docs/ itself; and on the first one, a place for each page that it does not name."""
    if docname == "index":
        named = source[0].split()
        others = [name for name in sorted(app.env.found_docs) if "/" not in name and name not in ("index", *named)]
        listed = ["", "```{toctree}", ":hidden:", ":caption: More", "", *others, "```", ""]
        source[0] += "\n".join(listed) if others else ""
    if not docname.startswith(NEW):
        source[0] = linked(source[0], f"docs/{docname}.md", f"{docname}.md")


def notebook(text: str, stands: str, shown: str) -> str:
    """A notebook whose texts have the links of the site."""
    content = json.loads(text)
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = linked("".join(cell["source"]), stands, shown)
    return json.dumps(content)


def write(docs: Path) -> None:
    """Write them all into `docs/_pages`, those that changed."""
    for file, page in pages().items():
        if page.startswith(NEW) and file.endswith((".md", ".ipynb")):
            text = (ROOT / file).read_text(encoding="utf-8")
            put(docs / page, linked(text, file, page) if file.endswith(".md") else notebook(text, file, page))
    put(docs / NEW / "gallery.md", gallery())
    names = [f"notebooks/{file.stem}" for file in notebooks()]
    put(docs / NEW / "notebooks.md", "\n".join([NOTEBOOKS_SAID, "```{toctree}", ":maxdepth: 1", "", *names, "```", ""]))


NOTEBOOKS_SAID = """# Notebooks

Each is in `analyses/notebooks/` with what it shows, runs from top to bottom in the tests, and begins with the line that
installs what it needs on Colab.
"""


def gallery() -> str:
    """Every figure of `analyses/out` with its question and what makes it."""
    parts = ["# Gallery", "Figures of the analyses, each with the command that makes it."]
    for name in sorted(file.parent.name for file in OUT.glob("*/figure.png")):
        verdict = OUT / name / "verdict.md"
        text = verdict.read_text(encoding="utf-8") if verdict.exists() else ""
        question = text.partition("\n")[0].removeprefix("# ") or f"A run of the `{name}` preset"
        made = re.findall(r"^Made by `(.*?)`", text, flags=re.M)
        command = made[-1] if made else f"circuitgrok train {name}"
        page = f"[All claims](verdicts/{name}.md)." if text else ""
        picture = f"![{name}](../../analyses/out/{name}/figure.png)"
        parts += [f"## {name}", f"{question} {page}", picture, f"```\n{command}\n```"]
    listed = "\n".join(f"verdicts/{name}" for name in verdicts())
    return "\n\n".join([*parts, f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n"])


def put(file: Path, text: str) -> None:
    """Write a file if it is not there already, so that Sphinx reads again what changed."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
