"""Before a stack trains: what a run starts from, which runs go together, where they go on, and what is said of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from circuitgrok import select, tree
from circuitgrok.config.bounds import memory, open_files, size_of
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import memory_of, resolved
from circuitgrok.errors import UserError
from circuitgrok.store import resume
from circuitgrok.store.run import Run, RunError
from circuitgrok.store.writer import add_event
from circuitgrok.training.origin import initial_weights, source_digest
from circuitgrok.training.progress import Progress
from circuitgrok.training.until import is_over, until_of

STACK_NUMBERS = 2**27  # most neuron activations of a stack on a CPU: about 1 GB in float64; more are no faster there
BYTES_PER_NUMBER = 64  # of a stack at work, for each activation or number of its state; 18 to 31 were measured on CPUs
FILES_PER_RUN = 2  # at most open at once for a run at work: its lock, and one that is read or written
FILES_KEPT_FREE = 100  # for the interpreter, its libraries, and whoever called
K = TypeVar("K")


def unfinished(run: Run, until: str = "") -> bool:
    """Whether there is something left to train; nothing of a run that has come as far as it was asked to."""
    if run.state in ("finished", "diverged"):
        return _cut_short(run)
    # One that was killed at that point has the evaluation but not the stop: it goes on, and stops there.
    return not (until and run.state.startswith("stopped@") and is_over(run, until_of(until)))


def start_facts(config: TrainConfig) -> dict[str, Any]:
    """The absolute norms behind alpha, and the split.

    Raises:
        UserError: The weights at step 0, or their norm, are not finite in the run's precision.
    """
    weights = initial_weights(config)
    if not math.isfinite(tree.norm(weights).item()):
        alphas = {name: value for name, value in config.init.model_dump().items() if name.startswith("alpha")}
        said = ", ".join(f"{name} = {value:g}" for name, value in alphas.items() if value != 1)
        raise UserError(
            f"{said or f'start = {config.init.start}'}: the initial weights or their norm are beyond "
            f"{config.numerics.precision}: take smaller factors"
        )
    roles = select.vectors(weights, "role", axes=0)
    source = config.init.start
    return ({"digest": source_digest(source)} if source else {}) | {
        "norm": tree.norm(weights).item(),
        "norm_by_role": {role: tree.norm(*every).item() for role, every in roles.items()},
        "split_hash": config.task.draw().split_hash,
        "n_train": config.task.draw().n_train,
    }


def _cut_short(run: Run) -> bool:
    """Whether the run was killed between the last line of its history and its last resume point."""
    points = resume.resume_steps(run)
    return run.state == "finished" and bool(points) and points[-1] < run.config.schedule.steps


def same_environment(run: Run, differing: Sequence[str]) -> None:
    """Refuse to go on in another environment.

    Raises:
        RunError: A run has begun in one that differs.
    """
    if differing and resume.resume_steps(run):
        raise RunError(
            f"{run.path} was begun with {', '.join(differing)}: going on would not give the bits of an unbroken run; "
            f"use the same, or --allow-inexact"
        )


def say_how_it_begins(
    run: Run, start: int, points: Mapping[int, str], differing: Sequence[str], progress: Progress
) -> None:
    """Note in the run, and tell who watches, what it goes on from and what is not as it was."""
    bad = {step: wrong for step, wrong in points.items() if wrong and step > start}
    begun = not start and not run.events
    if differing:
        add_event(run, "environment", start, differences=list(differing))
    if bad:
        newest = max(bad)
        add_event(run, "fell_back", start, newest=newest, reason=bad[newest])
        progress.note(
            f"{run.name}: the resume point at step {newest} cannot be used, going on from step {start}: {bad[newest]}"
        )
    add_event(run, "begun" if begun else "resumed", start)


def stacks(pending: Mapping[K, TrainConfig], parts: int = 1, room: float | None = None) -> Iterator[list[K]]:
    """What may train as one stack, as many as memory and open files allow, and such that there is work for `parts`.

    Args:
        pending: The runs' configs.
        parts: Least number of stacks, if there are as many runs.
        room: Bytes for one of them; None where only the worker knows.
    """
    by_key: dict[str, list[K]] = {}
    for one, config in pending.items():
        by_key.setdefault(config.stack_key, []).append(one)
    for alike in by_key.values():
        size = size_of(pending[alike[0]])
        most = (open_files() - FILES_KEPT_FREE) // FILES_PER_RUN
        if room is not None:
            most = min(most, int(room / BYTES_PER_NUMBER) // max(size.neurons, size.state))
        most = max(1, min(most, -(-len(alike) // parts)))
        yield from (alike[i : i + most] for i in range(0, len(alike), most))


def room(device: str | torch.device, sharers: int = 1) -> float:
    """Bytes that a stack may take on a device: of a GPU all, of a CPU's memory a share."""
    there = memory_of(resolved(device))
    if there is not None:
        return there
    return min(STACK_NUMBERS * BYTES_PER_NUMBER, (memory() or math.inf) / sharers)


def starting_points(together: list[Run], found: Mapping[Path, Mapping[int, str]]) -> Iterator[tuple[list[Run], int]]:
    """Runs that train together and the step they start from: the latest resume point they share."""
    if not together:
        return
    points = {run.path: {0, *(s for s, wrong in found[run.path].items() if not wrong)} for run in together}
    shared = max(set.intersection(*points.values()))
    if shared or all(len(own) == 1 for own in points.values()):
        yield together, shared
    else:
        for run in together:
            yield [run], max(points[run.path])
