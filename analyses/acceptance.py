"""Which public numbers does the package get: published value, what it got, and the band that was set for it?

Rows that need nothing are tried at once, those on published networks where a folder of them is given, and those that
train where `--retrain` is: five seeds each, a dry run before, no row that would take longer than `--minutes`. What was
tried before stays in the sheet, as long as its row is the same. No row gates anything: it is a report.

    python analyses/acceptance.py                                 # two minutes
    python analyses/acceptance.py --checkpoints FOLDER            # and published networks
    python analyses/acceptance.py --retrain --minutes 10          # and rows of up to ten minutes each
    python analyses/acceptance.py --only A5,H1 --retrain --minutes 200
"""

import argparse
from pathlib import Path

import torch
from published import exact, files, retrained, sampled, starts
from published.given import Given
from published.left_out import LEFT_OUT

from circuitgrok.store.files import write_atomically
from circuitgrok.study.sheet import Kept, Line, Row, as_markdown, counted, tried, untried
from circuitgrok.study.verdicts import commit

QUESTION = "Which public numbers does the package get?"
GROUPS = {
    "Known exactly": exact.rows,
    "Samplers, spectra and paths": sampled.rows,
    "Before the first step": starts.rows,
    "Published networks": files.rows,
    "Trained again, medians of five seeds": retrained.rows,
}


def asked() -> tuple[Given, list[str]]:
    """What the command line asks for: how to try, and which rows."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--checkpoints", type=Path, help="folder of published networks")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST in idx files")
    parser.add_argument("--retrain", action="store_true", help="train the rows that train")
    parser.add_argument("--minutes", type=float, default=10.0, help="that a row may train, by a dry run (10)")
    parser.add_argument("--only", default="", help="rows whose names begin so: A3,A11")
    parser.add_argument("--quick", action="store_true", help="small sizes, for tests: other numbers than the sheet's")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "acceptance")
    parser.add_argument("--threads", type=int, default=1)
    found = parser.parse_args()
    given = Given(found.checkpoints, found.mnist, found.retrain, found.minutes, found.out, found.threads, found.quick)
    return given, [name for name in found.only.split(",") if name]


def is_asked(row: Row[Given], only: list[str]) -> bool:
    """Whether a row is one of those that were named, by its first word or the whole; without names all are."""
    return not only or any(name in (row.name, row.name.split()[0]) for name in only)


def sheet(lines: dict[str, list[Line]]) -> str:
    """The page: how many, the tables, what is left out."""
    out = [f"* {what} ({where}): {why}." for what, where, why in LEFT_OUT]
    head = f"# {QUESTION}\n\n{counted([line for group in lines.values() for line in group])}."
    return "\n\n".join([head, as_markdown(lines), "## Left out, and why", "\n".join(out)]) + "\n"


def main() -> None:
    given, only = asked()
    torch.set_num_threads(given.threads)
    at, kept, lines = commit(), Kept(given.out / "table.csv"), {}
    for heading, rows in GROUPS.items():
        lines[heading] = []
        for row in rows():
            before = kept.line_of(row)
            if is_asked(row, only):
                found = tried(row, given, at)
                line = before if before and before.got and not found.got else found
            else:
                line = before or untried(row, "left out by --only")
            print(f"{line.word:9}  {row.name}: {line.got or '–'}; expected {row.expected}; {row.band}. {line.said}")
            lines[heading].append(line)
            kept.add(line)
    kept.write([line for group in lines.values() for line in group])
    write_atomically(given.out / "sheet.md", sheet(lines).encode())
    print(counted([line for group in lines.values() for line in group]))


if __name__ == "__main__":
    main()
