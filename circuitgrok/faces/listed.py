"""The runs below a folder as one table, in numbers (`cg.runs`) and in words (`circuitgrok runs`).

Configs and histories are read, no seal of theirs is verified (`circuitgrok doctor` does), and torch is not needed.
"""

import ast
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.config.upgrade import upgrade
from circuitgrok.errors import UserError, nearest
from circuitgrok.faces.fields import every_leaf
from circuitgrok.faces.glance import Glance, turning_points
from circuitgrok.faces.summary import USUAL, interventions, origin
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, Event, afterwards, crossing
from circuitgrok.store.run import Run, runs_below

if TYPE_CHECKING:
    import pandas as pd

TIMES = tuple(f"{name}_{end}" for name in ACCURACY_RULES for end in ("after", "by", "lost_by"))
NUMBERS = ("alpha", "r0", "step", "steps", *TIMES, "train_acc", "test_acc")
# What a condition may be made of.
PLAIN = (
    *(ast.Expression, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.Name, ast.Constant, ast.List, ast.Tuple),
    *(ast.boolop, ast.unaryop, ast.operator, ast.cmpop, ast.expr_context),
)
COLUMNS = ("name", "task", "model", "base", *NUMBERS[:2], "state", *NUMBERS[2:], "interventions", "note")


def runs(folder: str | os.PathLike[str] = "checkpoints", where: str = "", sort: str = "") -> "pd.DataFrame":
    """One row for each run below a folder, ordered by path: its setting, its state, when it memorised and grokked.

    Columns:
        `name`: the folder. `task`, `model`, `base` (init scheme, or the run that it starts from), `alpha`, `r0` (weight
        norm at the start), `interventions` in words.
        `state`: new, running, interrupted, finished, diverged, stopped@..., imported; or unreadable, and why in `note`.
        `step`: last one evaluated, of `steps`. `train_acc`, `test_acc` there.
        `memorised_after`, `memorised_by`: the evaluations between which it happened
        (`circuitgrok.measures.learning.crossings`); of a run that did not yet, `by` is nan. `memorised_lost_by`: where
        the level was lost again for as long as it takes to count. The same of `grokked`.
        Last, every field of the configs in which the runs differ, under its own name; nan where a run has no such
        field.

    Args:
        folder: Where to look; subfolders too.
        where: Which runs to keep, as a condition on columns, such as "alpha > 1 and state == 'finished'".
        sort: Column to sort by; those without a value come last.

    Raises:
        RunError: No such folder.
        UserError: The condition cannot be read, or there is no such column.

    Example:
        >>> table = runs("checkpoints/reference")
        >>> print(table[["state", "grokked_after", "grokked_by"]])
              state  grokked_after  grokked_by
        0  finished         2150.0      2160.0
    """
    return table_of([entry(run) for run in runs_below(folder)], where, sort)


class RunRow(NamedTuple):
    """One line of the printed table of runs."""

    name: str
    task: str
    alpha: str
    state: str
    steps: str
    memorised: str
    grokked: str
    train_acc: str
    test_acc: str
    interventions: str


class Entry(NamedTuple):
    """A run, as its two tables show it.

    Attributes:
        values: By column, without the fields of the config.
        fields: Every field of the config by its name.
        cells: The columns of the printed table.
    """

    values: dict[str, Any]
    fields: dict[str, Any]
    cells: RunRow


def table_of(entries: Sequence[Entry], where: str = "", sort: str = "") -> "pd.DataFrame":
    """The table of some runs; its index says which of them stand there."""
    import pandas as pd

    names = {name for one in entries for name in one.fields}
    seen = {name: {repr(one.fields.get(name)) for one in entries if one.fields} for name in names}
    differing = [name for name in sorted(names) if len(seen[name]) > 1 and name not in COLUMNS]
    rows = [one.values | {name: _cell(one.fields.get(name)) for name in differing} for one in entries]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *differing]).astype(dict.fromkeys(NUMBERS, float))
    if where:
        table = _chosen(table, where)
    if sort:
        if sort not in table:
            raise UserError(f"sort goes by a column of the table; got {sort!r}{nearest(sort, table.columns)}")
        table = table.sort_values(sort, kind="stable", na_position="last")
    return table


def _chosen(table: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """The rows for which a condition holds: comparisons of columns and values, no calls."""
    rule = "where is a condition on columns, such as \"alpha > 1 and state == 'finished'\""
    try:
        strange = [node for node in ast.walk(ast.parse(where, mode="eval")) if not isinstance(node, PLAIN)]
        if strange:
            raise TypeError(f"{type(strange[0]).__name__} is not allowed")
        unknown = [n.id for n in ast.walk(ast.parse(where)) if isinstance(n, ast.Name) and n.id not in table]
        if unknown:
            raise TypeError(f"no column is called {unknown[0]!r}{nearest(unknown[0], table.columns)}")
        held: Any = table.eval(where, engine="python")
        if str(getattr(held, "dtype", "")) != "bool":
            raise TypeError("it is not true or false for each run")
    except Exception as error:  # whatever Python and pandas make of the text
        raise UserError(f"{rule}; got {where!r}: {error}; the columns are {', '.join(map(str, table))}") from None
    return table.loc[held]


def entry(run: Run) -> Entry:
    """A run's line of the table; one that cannot be read, for whatever reason, says so in its own line."""
    try:
        return read(run)
    except Exception as error:  # a stranger's folder may hold anything: no single run ends the table
        said = str(error) if isinstance(error, UserError | OSError) else repr(error)
        said = said.replace(f"{run.path}{os.sep}", "")
        note = f"{said[:300]}; `circuitgrok doctor {run.path}` says more"
        shown = {"name": str(run.path), "state": "unreadable"}
        dashes = dict.fromkeys(RunRow._fields, "–")
        return Entry(shown | {"note": note}, {}, RunRow(**dashes | shown | {"interventions": note}))


def read(run: Run) -> Entry:
    """A run's line of the table, of a run that can be read."""
    manifest = run.manifest
    config, start = upgrade(manifest["config"]), manifest["start"]
    lines = turning_points(run.path / "history.jsonl")
    last, known = lines[-1] if lines else None, run.split_is_known
    network, total, init = config["model"].get("kind", USUAL[1]), config["schedule"]["steps"], config["init"]
    times, said = _times(lines if known else [])  # by a split that stands in they would say nothing
    accs = {name: getattr(last, name) if last and known else math.nan for name in ("train_acc", "test_acc")}
    task, beside = _task(config["task"]), interventions(config)
    values = {
        "name": str(run.path), "task": task, "model": network, "base": init.get("start") or init["scheme"],
        "alpha": init["alpha"], "r0": start["norm"], "state": run.state, "step": last.step if last else 0,
        "steps": total, **times, **accs, "interventions": beside, "note": "",
    }  # fmt: skip
    cells = RunRow(
        name=str(run.path),
        task=task + ("" if network == USUAL[1] else f", {network}"),
        alpha=f"{origin(manifest)} r₀={start['norm']:.1f}",
        state=values["state"],
        steps=f"{values['step']}/{total}",
        **said,
        **{name: "–" if math.isnan(value) else f"{value:.4f}" for name, value in accs.items()},
        interventions=beside or "–",
    )
    return Entry(values, _fields(config), cells)


def _times(lines: Sequence[Glance]) -> tuple[dict[str, float], dict[str, str]]:
    """When each event happened, in numbers and in words."""
    values, said = dict.fromkeys(TIMES, math.nan), dict.fromkeys(ACCURACY_RULES, "–")
    steps = [line.step for line in lines]
    for name, (column, level) in ACCURACY_RULES.items() if lines else ():
        scores = [getattr(line, column) for line in lines]
        event = crossing(steps, scores, level)
        later = afterwards(steps, scores, level)
        lost = later.lost if later and later.lost.by is not None else None
        values |= {f"{name}_after": event.after, f"{name}_by": _or_nan(event.by)}
        values |= {f"{name}_lost_by": _or_nan(lost.by if lost else None)}
        mark = f", lost {_span(lost)}{'' if later and later.is_below_at_end else ' and back'}" if lost else ""
        said[name] = _span(event) + mark
    return values, said


def _span(event: Event) -> str:
    return str(event).removeprefix("step ")


def _or_nan(value: int | None) -> float:
    return math.nan if value is None else value


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a config by its name, those of interventions that are off at their defaults."""
    of = {section: config[section].get("kind") or kind for section, kind in zip(("task", "model"), USUAL, strict=True)}
    values = {one.name: one.default for one in every_leaf(of)}
    for part in config.values():
        values |= part if isinstance(part, Mapping) else {}
    for one in config.get("interventions", ()):
        values |= {one["kind"]: True, **{name: value for name, value in one.items() if name != "kind"}}
    return {name: value for name, value in values.items() if name != "kind"}


def _cell(value: Any) -> Any:
    """A value as it can stand in a table; a list, such as roles, as its words."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _task(task: Mapping[str, Any]) -> str:
    """A task in a few words, with how much of it is trained on."""
    match task["kind"]:
        case "modular_addition":
            operation = task.get("operation", "add")
            name = "addition" if operation == "add" else operation
            return f"modular {name} p={task['p']} f={task['frac_train']:g}"
        case "composition":
            return f"composition {task['group']} f={task['frac_train']:g}"
        case "sparse_parity":
            return f"parity {task['k']} of {task['n_bits']} bits n={task['n_train']}"
        case "teacher_student":
            return f"teacher α={task['teacher_alpha']:g} n={task['n_train']}"
        case kind:
            return f"{kind} n={task['n_train']}"
