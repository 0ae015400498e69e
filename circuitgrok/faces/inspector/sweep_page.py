"""The page of a sweep: its phase diagram, and the curves of the runs of a cell.

Medians, censored times and classes are those of `study.cells`; what stands in a cell here stands in `Sweep.plot`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.figures.phases import UNITS
from circuitgrok.measures.learning.classes import CLASSES
from circuitgrok.store.run import Run, runs_below
from circuitgrok.study.cells import cells
from circuitgrok.study.swept import AT_END, SEEDS, TIMES, Sweep
from circuitgrok.text import plain
from circuitgrok.version import __version__

if TYPE_CHECKING:
    import pandas as pd

Arrays = dict[str, np.ndarray]
POINTS = 600_000  # of all curves on a page
ROWS = (60, 400)  # of one run's, at least and at most
CURVES = ("train_loss", "test_loss", "train_acc", "test_acc", "norm")


def sweep_of(folder: str | os.PathLike[str]) -> Sweep:
    """The runs below a folder as a sweep over the fields in which they differ.

    Args:
        folder: Of the runs; seeds are no fields of their own, and neither is one that only some of the runs have.

    Raises:
        UserError: There is no run.

    Example:
        >>> import tempfile
        >>> import circuitgrok as cg
        >>> base = cg.TrainConfig.preset("quickstart").with_(p=5, d_model=8, d_head=2, d_mlp=8, steps=2)
        >>> out = tempfile.mkdtemp()
        >>> sweep_of(cg.sweep(base, {"alpha": [0.5, 1]}, seeds=range(2), out=out).out).swept
        ['alpha']
    """
    root = Path(os.path.expanduser(folder))
    runs = {run.path.relative_to(root).as_posix(): run for run in runs_below(root)}
    if not runs:
        raise UserError(f"no runs below {root}; `circuitgrok sweep --preset quickstart --alpha 0.5 1` makes some")
    configs = {name: run.config for name, run in runs.items()}
    fields = _differing(configs)
    return Sweep(root, configs, {name: {f: config.leaves()[f] for f in fields} for name, config in configs.items()})


def _differing(configs: Mapping[str, TrainConfig]) -> list[str]:
    leaves = [config.leaves() for config in configs.values()]
    shared = [name for name in leaves[0] if all(name in one for one in leaves)]
    return [name for name in shared if name not in SEEDS and len({repr(one[name]) for one in leaves}) > 1]


def sweep_payload(sweep: Sweep) -> tuple[dict[str, Any], Arrays]:
    """What the page of a sweep shows: a cell for each setting, a row and curves for each run."""
    table = sweep.table
    fields = sweep.swept
    columns = [name for name in (*TIMES, *AT_END) if name in UNITS]
    rows = table.to_dict("records")
    arrays: Arrays = {}
    at_most = int(np.clip(POINTS // max(1, len(rows) * (1 + len(CURVES))), *ROWS))
    for i, row in enumerate(rows):
        if row["state"] != "missing" and not np.isnan(row["steps"]):
            arrays |= {f"{i}/{name}": array for name, array in _curves(sweep[row["name"]], at_most).items()}
    return {
        "version": __version__,
        "sweep": {
            "name": plain(sweep.out.name),
            "said": plain(repr(sweep)),
            "fields": [{"name": name, "label": plain(sweep.label(name))} for name in fields],
            "columns": [{"name": name, "label": UNITS[name]} for name in columns],
            "classes": list(CLASSES),
            "cells": _cells(table, fields, columns),
            "runs": [_row(row, fields) for row in rows],
        },
    }, arrays


def _cells(table: "pd.DataFrame", fields: list[str], columns: list[str]) -> list[dict[str, Any]]:
    """One for each setting of all fields, with the median of each column over its runs."""
    keys = [*fields] if fields else ["state"]
    shown = table.assign(**{name: table[name].map(_shown) for name in keys}) if fields else table.assign(state="all")
    by_column = {name: cells(shown, keys, name).to_dict("records") for name in columns}
    found = []
    for i, first in enumerate(next(iter(by_column.values()))):
        setting = {name: first[name] for name in keys}
        mine = [j for j, row in enumerate(shown.to_dict("records")) if all(row[n] == v for n, v in setting.items())]
        counts = {name: int(first[name]) for name in ("n", "n_missing", "n_grokked", *CLASSES)}
        values = {name: [float(rows[i]["value"]), bool(rows[i]["is_censored"])] for name, rows in by_column.items()}
        found.append({"setting": setting if fields else {}, "runs": mine, "values": values, **counts})
    return found


def _row(row: Mapping[Any, Any], fields: list[str]) -> dict[str, Any]:
    """A run of the table, as plain values."""
    names = [*fields, *(name for name in SEEDS if name in row), "name", "state", "steps", "class"]
    kept = {name: _plain(row[name]) for name in names}
    return kept | {name: _plain(row[name]) for name in (*TIMES, *AT_END) if not name.endswith("_after")}


def _plain(value: Any) -> Any:
    """A cell of the table as JSON has it."""
    if value is None or value != value or type(value).__name__ == "NAType":
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return value if isinstance(value, int | float) else plain(value)


def _shown(value: Any) -> Any:
    """A value of a field as it stands on an axis: a number, or text."""
    kept = _plain(value)
    return "none" if kept is None else {True: "on", False: "off"}[kept] if isinstance(kept, bool) else kept


def _curves(run: Run, at_most: int) -> Arrays:
    history = run.history
    rows = np.unique(np.linspace(0, len(history) - 1, min(at_most, len(history))).round().astype(int))
    shown = history.iloc[rows]
    found = {"step": shown.index.to_numpy().astype(np.int32)}
    return found | {name: shown[name].to_numpy(np.float32) for name in CURVES if name in shown}
