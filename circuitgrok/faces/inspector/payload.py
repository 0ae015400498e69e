"""What a page shows of runs: their measured columns, spectra, neurons and events, and the weights of some checkpoints.

Every number comes from `cg.measure`, from the run's history or from a formula of `measures`. A view that makes no sense
for a run is named with its reason (`missing`), by the rules of `table.needs`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from circuitgrok.errors import UserError
from circuitgrok.faces.inspector.about import About, about, history_of
from circuitgrok.faces.inspector.choosing import KEPT, MOST, happened, kept, spread
from circuitgrok.faces.inspector.opened import opened
from circuitgrok.measures.learning.crossings import events
from circuitgrok.measures.learning.phases import phases
from circuitgrok.store.checkpoints import config_of
from circuitgrok.table.measure import measure, quick_groups
from circuitgrok.table.needs import Group, why_not
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tasks.modular import Task
from circuitgrok.tasks.operations import as_addition
from circuitgrok.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.store.run import Run
    from circuitgrok.tree import Params

Arrays = dict[str, np.ndarray]
Tick = Callable[[int, int], None]
ROWS = 1500  # of the history on a page
FEATURES = 500_000  # numbers that all examples of a task have together, on a page
# Which group of measures a view of the page is of, and so why it may be missing.
VIEWS = {"spectrum": "fourier", "neurons": "neurons", "attention": "attention", "pictures": "circuits"}
UNMEASURED = ("updates", "forms", "orbits")  # quick groups that no view needs and that take half of the time


def payload(runs: Sequence["Run"], weights: int = KEPT, tick: Tick | None = None) -> tuple[dict[str, Any], Arrays]:
    """What a page shows: plain values, and arrays by name; those of run i begin with `i/`.

    Args:
        runs: One or more, of any kind.
        weights: At most so many checkpoints of each run come with their weights; fewer where they are large.
        tick: Called with (checkpoints measured, all) of each run.

    Raises:
        UserError: No run, or a run without checkpoints.

    Example:
        >>> import circuitgrok as cg
        >>> content, arrays = payload([cg.load("checkpoints/reference")], weights=2)
        >>> content["runs"][0]["key_freqs"], content["runs"][0]["kept"], arrays["0/steps"][-1].item()
        ([5, 6, 9], [0, 4000], 4000)
    """
    if not runs:
        raise UserError("an inspector needs a run: cg.inspect(run) or cg.report([run], path)")
    contents, arrays = [], {}
    for i, run in enumerate(runs):
        content, own = of_run(run, len(runs), weights, tick)
        contents.append(content)
        arrays |= {f"{i}/{name}": array for name, array in own.items()}
    return {"version": __version__, "runs": contents}, arrays


def of_run(run: "Run", among: int, weights: int, tick: Tick | None) -> tuple[dict[str, Any], Arrays]:
    """One run on a page that shows `among` of them."""
    config, task, said = config_of(run), run.task, about(run)
    groups: list[Group] = [name for name in quick_groups(config) if name not in UNMEASURED]
    first = events(said.history).values() if said.split_is_known and said.history is not None else ()
    if not run.steps:
        raise UserError(f"{said.name} has no checkpoint yet; train it with the command that made it")
    steps = spread(run.steps, MOST, [event.by for event in first if event.by is not None])
    table = measure(run, groups, steps, tick=tick)
    found = happened(said.history, table) if said.split_is_known else {}
    missing = {view: reason for view, group in VIEWS.items() if (reason := why_not(group, config)) is not None}
    arrays: Arrays = {"steps": np.array(steps, np.int32), "table": table.to_numpy(np.float32).T}
    arrays |= _history(history_of(said, table))
    if "spectrum" not in missing:
        arrays |= opened(run, steps, table.attrs["key_freqs"])
    if (reason := no_hands(task)) is not None:
        missing["hands"] = reason
    else:
        arrays |= _examples(task)
    last = run.at(steps[-1])
    useful = weights and "hands" not in missing
    at = kept(steps, found, sum(value.nbytes for value in last.values()), among, weights) if useful else []
    for step in at:
        arrays |= {f"weights/{step}/{name}": array for name, array in weights_of(run.at(step)).items()}
    return _content(run, said, table) | {
        "columns": [str(name) for name in table.columns],
        "events": [{"name": name, "after": event.after, "by": event.by} for name, event in found.items()],
        "phases": _phases(table) if said.split_is_known else [],
        "missing": missing,
        "kept": at,
        "checkpoints": len(run.steps),
    }, arrays


def weights_of(params: "Params") -> Arrays:
    """The weights of a checkpoint as arrays, exact."""
    return {name: value.detach().cpu().numpy() for name, value in params.items()}


def _content(run: "Run", said: About, table: "pd.DataFrame") -> dict[str, Any]:
    """Who the run is, and what it was trained on."""
    config, task = config_of(run), run.task
    found: dict[str, Any] = {
        "name": said.name,
        "path": said.path,
        "facts": said.facts,
        "model": config.model.model_dump(mode="json"),
        "task": config.task.model_dump(mode="json"),
        "loss": config.objective.loss,
        "temperature": config.temperature,
        "split_is_known": said.split_is_known,
        "key_freqs": table.attrs.get("key_freqs", []),
        "key_freqs_rule": table.attrs.get("key_freqs_rule", ""),
        "sparsity": table.attrs.get("spectrum", ""),
        "undefined": table.attrs.get("undefined", {}),
    }
    if isinstance(task, Task):
        found |= {"m": as_addition(task).m, "p": task.p, "operation": task.operation}
    return found


def _history(history: "pd.DataFrame") -> Arrays:
    """The evaluations, thinned to as many as can be told apart."""
    rows = np.unique(np.linspace(0, len(history) - 1, min(ROWS, len(history))).round().astype(int))
    shown = history.iloc[rows]
    columns = [name for name in ("train_loss", "test_loss", "train_acc", "test_acc", "norm") if name in shown]
    steps = shown.index.to_numpy().astype(np.int32)
    return {"history/step": steps} | {
        f"history/{name}": shown[name].to_numpy(np.float32) for name in columns if shown[name].notna().any()
    }


def no_hands(task: Dataset) -> str | None:
    """Why the networks of a task are not computed in a page, as the end of a sentence; None if they are."""
    if task.labels.is_floating_point():
        return "needs classes: the answers of this task are real numbers"
    if task.inputs.is_floating_point() and task.inputs.numel() > FEATURES:
        return f"needs few examples: {task.inputs.numel()} numbers to read are more than a page holds, {FEATURES}"
    return None


def _examples(task: Dataset) -> Arrays:
    """Every example of a task: what is read, label, split; of pairs of numbers where it stands in the addition."""
    features = task.inputs.is_floating_point()
    found = {
        "task/labels": task.labels.numpy().astype(np.uint16),
        "task/is_train": task.is_train.numpy().astype(np.uint8),
        "task/features" if features else "task/inputs": task.inputs.numpy().astype(
            np.float32 if features else np.uint16
        ),
    }
    if not isinstance(task, Task):
        return found
    hidden = as_addition(task)
    return found | {
        "task/pairs": hidden.pairs.to(torch.int32).numpy(),
        "task/classes": hidden.classes.to(torch.int32).numpy(),
        "task/tokens": hidden.tokens.to(torch.int32).numpy(),
    }


def _phases(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """The phases that began, each from a step to a step; one that did not end has none."""
    if "excluded_loss[train]" not in table or "norm" not in table:
        return []
    found = {name: (phase.start.by, phase.end.by) for name, phase in phases(table).items()}
    return [
        {"name": name.replace("_", " ").replace("cleanup", "clean-up"), "from": start, "to": end}
        for name, (start, end) in found.items()
        if start is not None
    ]
