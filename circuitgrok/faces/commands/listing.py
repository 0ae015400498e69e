"""Commands that list what there is: presets, runs."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from circuitgrok.errors import UserError
from circuitgrok.faces.flags import parse, positional
from circuitgrok.text import plain, show

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from circuitgrok.faces.listed import RunRow
    from circuitgrok.store.run import Run

# Columns of the table of runs that a narrow terminal does without, first to last.
FIRST_TO_GO = ("interventions", "train_acc", "task", "steps", "alpha", "memorised", "test_acc")
NARROWEST_NAME = 20


def presets(argv: list[str]) -> int:
    """List the presets."""
    from rich.table import Table

    from circuitgrok.config.presets import MACHINE, PRESETS

    parse("circuitgrok presets", "List the presets.", {}, argv)
    table = Table(box=None, header_style="bold")
    table.add_column("preset", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, preset in PRESETS.items():
        table.add_row(name, _duration(preset.minutes), preset.line)
    print_table(table)
    show(f"times on {MACHINE}; `circuitgrok train PRESET --dry-run` measures here, without --dry-run it trains")
    return 0


def _duration(minutes: float | None) -> str:
    if minutes is None:
        return "–"
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def runs(argv: list[str]) -> int:
    """List the runs below a folder."""
    options = parse(
        "circuitgrok runs",
        "List the runs below a folder. The columns of --where and --sort are those of --csv.",
        {
            "folder": (Annotated[str, positional()], "checkpoints", "folder to look in"),
            "where": (str, "", "which runs, such as \"alpha > 1 and state == 'finished'\""),
            "sort": (str, "", "column to sort by, such as grokked_by"),
            "csv": (bool, False, "all columns as CSV, with every field of the configs in which the runs differ"),
            "json": (bool, False, "the same as JSON, one object for each run"),
        },
        argv,
    )
    if options.csv and options.json:
        raise UserError("--csv and --json are two forms of one table: give one of them")
    from circuitgrok.faces.listed import entry, table_of
    from circuitgrok.store.run import runs_below

    untouched = options.folder == "checkpoints" and not os.path.lexists("checkpoints")
    entries = [entry(one) for one in ([] if untouched else runs_below(options.folder))]
    if not entries and not (options.csv or options.json):
        show(f"no runs below {options.folder}; `circuitgrok train quickstart` makes one")
        return 0
    if not (options.csv or options.json or options.where or options.sort):  # needs no pandas
        print_rows([one.cells for one in entries])
        return 0
    table = table_of(entries, options.where, options.sort)
    if options.csv:
        sys.stdout.write(table.to_csv(index=False, lineterminator="\n"))
    elif options.json:
        sys.stdout.write(table.to_json(orient="records", indent=1, force_ascii=False) + "\n")
    elif len(table):
        print_rows([entries[at].cells for at in table.index])
    else:
        show(f"none of {len(entries)} runs below {options.folder} is {options.where}")
    return 0


def print_runs(runs: Iterable["Run"]) -> None:
    """Print the table of some runs."""
    from circuitgrok.faces.listed import entry

    print_rows([entry(one).cells for one in runs])


def print_rows(rows: Sequence["RunRow"]) -> None:
    """Print lines of the table of runs; where they do not fit, columns go, names never, and that is said."""
    from rich.table import Table
    from rich.text import Text

    shown, left_out = columns_for(rows, _console().width)
    table = Table(box=None, header_style="bold")
    for column in shown:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column not in ("name", "interventions"))
    for row in rows:
        table.add_row(*(Text(plain(getattr(row, column))) for column in shown))
    print_table(table)
    if left_out:
        said = ", ".join(column.replace("_", " ") for column in left_out)
        show(f"left out here: {said}; a wider terminal shows them, --csv all")


def columns_for(rows: Sequence["RunRow"], width: int) -> tuple[list[str], list[str]]:
    """The columns that fit into a line of so many characters, and those that have to go.

    Names and interventions may be folded, into no less than `NARROWEST_NAME` characters; no other column is.
    """
    from rich.cells import cell_len

    needs = {
        column: 2 + max(cell_len(column), *(cell_len(plain(getattr(row, column))) for row in rows))
        for column in rows[0]._fields
    }
    for column in ("name", "interventions"):
        needs[column] = min(needs[column], NARROWEST_NAME + 2)
    shown = list(needs)
    for column in FIRST_TO_GO:
        if sum(needs[one] for one in shown) <= width:
            break
        shown.remove(column)
    return shown, [column for column in needs if column not in shown]


def _console() -> "Console":
    """Where a table is printed; in a file no line is ever folded."""
    from rich.console import Console

    return Console(width=None if Console().is_terminal else 10_000)


def print_table(table: "Table") -> None:
    """Print a table; in a file no line is ever folded."""
    console = _console()
    with console.capture() as drawn:  # rich would end the process by itself, where the reader of a pipe has gone
        console.print(table)
    print(drawn.get(), end="")
