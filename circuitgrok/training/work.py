"""A stack as work for another process: what that process is told, what it says afterwards, and how far it has come.

A worker does what `train` does for its runs in one process: it makes or opens their folders, holds their locks, goes
on, and writes their records with its own environment. The files are the only thing that processes share: progress is
read from them, and a worker that died has lost nothing that the next one cannot go on from.
"""

import contextlib
import time
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from circuitgrok.canonical import from_json
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import DamagedFile, Interrupted
from circuitgrok.store.lines import last_record
from circuitgrok.store.run import Run, RunError
from circuitgrok.store.writer import refuse_another
from circuitgrok.tasks.splits import LISTED, packed, unpacked
from circuitgrok.training.loop import How, start_facts, train_here, unfinished
from circuitgrok.training.progress import Silent, StackNow, describe

UNSEEN = "there is no folder of the runs here, or nothing more to do"
K = TypeVar("K", bound=Hashable)
TRIES = 3  # that a stack has, if its worker dies or is told to stop by somebody else


class Task(NamedTuple):
    """A stack to train: plain values, so that any worker understands it.

    Attributes:
        configs: The runs' configs as JSON, by name.
        how: As `train` was asked.
        going: A file that whoever handed out the work removes to stop it; none: only signals do.
        tried: How often it was handed out before.
        splits: The training pairs of splits that no rule draws, by name.
    """

    configs: dict[str, str]
    how: How
    going: str = ""
    tried: int = 0
    splits: dict[str, bytes] = {}

    def paths(self) -> list[Path]:
        """The folders of its runs."""
        return [self.how.path(name) for name in self.configs]


class Worked(NamedTuple):
    """What a worker says afterwards.

    Attributes:
        notes: What a person should know.
        stopped: What stopped it before the end, with everything saved; empty if nothing did.
    """

    notes: list[str]
    stopped: str = ""


class _Noted(Silent):
    """Keeps what a person should know, to be told by the process that handed out the work."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def task_of(configs: Mapping[str, TrainConfig], names: Iterable[str], how: How, going: str = "") -> Task:
    """Some of these runs as one task."""
    mine = {name: configs[name] for name in names}
    named = {str(getattr(config.task, "split", "")) for config in mine.values()}
    splits = {split: packed(split) for split in sorted(named) if split.startswith(LISTED)}
    return Task({name: config.model_dump_json() for name, config in mine.items()}, how, going, splits=splits)


def work(task: Task) -> Worked:
    """Train a stack in this process.

    Raises:
        UserError: What `train` refuses.
    """
    if task.going and not Path(task.going).exists():
        return Worked([], UNSEEN)
    for split, content in task.splits.items():
        unpacked(content, split)
    configs = {name: TrainConfig.model_validate_json(text) for name, text in task.configs.items()}
    noted = _Noted()
    try:
        train_here(configs, task.how, noted, Path(task.going) if task.going else None)
    except Interrupted as stopped:
        return Worked(noted.notes, str(stopped))
    return Worked(noted.notes)


def refuse_before_work(configs: Mapping[str, TrainConfig], how: How) -> dict[str, TrainConfig]:
    """Those of the runs that something is left to train of, when all were looked at.

    Raises:
        UserError: Weights at step 0 are not finite.
        RunError: A folder holds another run.
    """
    there = {name: Run(how.path(name)) for name in configs}  # each is opened once
    for name, config in configs.items():
        facts = start_facts(config)
        if (there[name].path / "config.json").exists():
            refuse_another(there[name], config, facts)
    return {name: config for name, config in configs.items() if is_pending(there[name])}


def is_pending(run: Run) -> bool:
    """Whether there is something left to train of a run; what cannot be told is the worker's to say."""
    try:
        return not (run.path / "config.json").exists() or unfinished(run)
    except DamagedFile:
        return True


def refuse_a_third_loss(tasks: Iterable[Task], look: str) -> None:
    """Give up a stack whose worker died again and again.

    Args:
        tasks: Stacks that a worker was lost with.
        look: What else there is to say.

    Raises:
        RunError: One did; the message names its runs.
    """
    if lost := [task for task in tasks if task.tried >= TRIES]:
        raise RunError(
            f"a worker died {TRIES} times while it trained {', '.join(list(lost[0].configs)[:4])}: out of "
            f"memory? take fewer workers, or smaller sizes; the same command goes on ({look})"
        )


class Courses(Generic[K]):
    """How far stacks are, from what their runs have written.

    Args:
        tasks: The stacks, by number; it may change.
    """

    def __init__(self, tasks: Mapping[K, Task]) -> None:
        self._tasks = tasks
        self._first: dict[K, tuple[float, int]] = {}
        self._last: dict[K, tuple[float, int]] = {}

    def now(self, numbers: Iterable[K]) -> list[StackNow]:
        """A line for each stack that has begun."""
        found = []
        for number in numbers:
            task = self._tasks[number]
            with contextlib.suppress(DamagedFile, OSError):
                records = [record for path in task.paths() if (record := last_record(path / "history.jsonl"))]
                if records:
                    found.append(self._line(number, task, records))
        return found

    def _line(self, number: K, task: Task, records: list[dict[str, Any]]) -> StackNow:
        step = min(record["step"] for record in records)
        steps = from_json(next(iter(task.configs.values())).encode())["schedule"]["steps"]
        left = self._left(number, step, steps)
        label = next(iter(task.configs)) if len(task.configs) == 1 else f"{len(task.configs)} runs"
        numbers = [{k: v for k, v in record.items() if k not in ("seal", "diverged")} for record in records]
        text = describe(numbers) if all("train_loss" in record for record in numbers) else ""
        return StackNow(label, step, steps, text, left)

    def _left(self, number: K, step: int, steps: int) -> float | None:
        """Seconds left at the pace from the first step that was seen to the last that was new; unknown before that."""
        now = (time.monotonic(), step)
        since, at = self._first.setdefault(number, now)
        until, reached = self._last.setdefault(number, now)
        if step < reached:  # cut back to a resume point
            self._first[number] = self._last[number] = now
            return None
        if step > reached:
            until, reached = self._last[number] = now
        return (until - since) / (reached - at) * (steps - step) if reached > at else None
