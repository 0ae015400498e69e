"""Fills the parts of the pages in this folder that are made from code and from verdicts: `python docs/generate.py`.

Such a part stands between `<!-- generated: WHAT -->` and `<!-- end -->`; a test makes each of them anew and compares.
"""

import re
from collections.abc import Callable
from pathlib import Path

from circuitgrok.config.presets import MACHINE, PRESETS
from circuitgrok.table.columns import FAMILIES
from circuitgrok.table.family import PLACES, Family, in_words
from circuitgrok.table.measure import names_of_groups

DOCS = Path(__file__).parent
VERDICTS = DOCS.parent / "analyses" / "out"
# words of one set of seeds, or of several with their names; p-value and level; claim; what was measured
CLAIM = re.compile(
    r"^\* ((?:[\w ]+ )?\*\*[\w ]+\*\*(?:, [\w ]+ \*\*[\w ]+\*\*)*)(?: \((p [^()]*)\))?: (.*?) Measured: (.*)$",
    flags=re.M,
)
EARLIER = "Judged by the earlier rules: few seeds, no correction for many claims; to be made again."
PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", flags=re.S)


def filled(page: str) -> str:
    """The page with each of its generated parts made anew."""
    return PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", page)


def presets() -> str:
    """A row for each preset."""
    rows = [
        f"| `{name}` | {linked(preset.line)} | {'–' if preset.minutes is None else f'{preset.minutes:g}'} |"
        for name, preset in PRESETS.items()
    ]
    return "\n".join(["| preset | what it is | minutes |", "|---|---|---|", *rows, "", f"Minutes are on {MACHINE}."])


def columns() -> str:
    """A table for each group, of the families that it makes first or alone."""
    parts = []
    for group in names_of_groups():
        mine = [family for family in FAMILIES if family.groups[0] == group]
        others = [f"`{family.name}`" for family in FAMILIES if group in family.groups[1:]]
        table = ["| column | what it is | unit | range | source | file |", "|---|---|---|---|---|---|", *map(row, mine)]
        also = [f"{'Also' if mine else 'It makes'} {', '.join(others)}."] if others else []
        parts.append("\n\n".join([f"## {group}", *(["\n".join(table)] if mine else []), *also]))
    return "\n\n".join(parts)


def row(family: Family) -> str:
    """A family of columns as a row."""
    of = (family.meaning, family.unit, in_words(family.range), linked(family.source), f"`{family.file}`")
    return f"| `{family.name}` | " + " | ".join(map(escaped, of)) + " |"


def places() -> str:
    """What stands for the words in brackets."""
    rows = [f"| {name} | {place.meaning} |" for name, place in PLACES.items()]
    return "\n".join(["| in brackets | stands for |", "|---|---|", *rows])


def verdict(name: str) -> str:
    """The claims of an analysis, as its verdict has them, and what made it."""
    text = (VERDICTS / name / "verdict.md").read_text(encoding="utf-8")
    page = f"[Settings, censored runs and figure](../analyses/out/{name}/verdict.md)."
    return "\n".join([*table_of_claims(text), "", f"{re.findall(r'^Made by `.*$', text, flags=re.M)[-1]} {page}"])


def table_of_claims(text: str) -> list[str]:
    """The lines of a table of a verdict's claims; one by the earlier rules has no p-values, and that is said below."""
    found = [[escaped(part) for part in claim] for claim in CLAIM.findall(text)]
    if not any(p for _, p, _, _ in found):
        rows = [f"| {claim} | {words} | {measured} |" for words, _, claim, measured in found]
        return ["| claim | verdict | measured |", "|---|---|---|", *rows, "", EARLIER]
    rows = [f"| {claim} | {words} | {p} | {measured} |" for words, p, claim, measured in found]
    return ["| claim | verdict | p and level | measured |", "|---|---|---|---|", *rows]


def acceptance() -> str:
    """The acceptance sheet below its title."""
    text = (VERDICTS / "acceptance" / "sheet.md").read_text(encoding="utf-8")
    return linked(text.split("\n\n", 1)[1].strip())


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


def linked(text: str) -> str:
    """Numbers of papers as links."""
    return re.sub(r"arXiv:([0-9.]+[0-9])", r"[\1](https://arxiv.org/abs/\1)", text)


PAGES = {"presets": presets, "columns": columns, "places": places, "acceptance": acceptance}
PARTS: dict[str, Callable[[], str]] = PAGES | {
    f"verdict {file.parent.name}": lambda name=file.parent.name: verdict(name)
    for file in sorted(VERDICTS.glob("*/verdict.md"))
}


if __name__ == "__main__":
    for page in DOCS.glob("*.md"):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
