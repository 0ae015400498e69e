"""Stacks of runs shared out among processes: a pool of our own, or any executor whose workers see the folder.

A task is a stack. A worker does what `train` does for its runs in one process: it makes or opens their folders, holds
their locks, resumes, and writes their records with its own environment. The files are the only thing that the processes
share: progress is read from them, and a worker that died has lost nothing that the next one cannot go on from.
"""

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

from circuitgrok.canonical import from_json
from circuitgrok.config.bounds import refuse_what_does_not_fit
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import resolved
from circuitgrok.errors import DamagedFile, Interrupted
from circuitgrok.store.lines import last_record
from circuitgrok.store.run import Run, RunError
from circuitgrok.store.writer import refuse_another
from circuitgrok.training.loop import How, stacks, start_facts, train_here, unfinished
from circuitgrok.training.progress import Progress, Silent, StackNow, describe
from circuitgrok.training.stopping import Stop, stop_signals

LOOK_EVERY_S = 0.5  # at the files of the runs
TOLD_TO_STOP = 75  # the exit status of "temporary failure", as schedulers read it
TRIES = 3  # that a stack has, if its worker dies or is told to stop by somebody else


class Task(NamedTuple):
    """A stack to train: plain values, so that any worker understands it.

    Attributes:
        configs: The runs' configs as JSON, by name.
        how: As `train` was asked.
        stop_file: What asks the worker to stop by being there.
    """

    configs: dict[str, str]
    how: How
    stop_file: str


class _Noted(Silent):
    """Keeps what a person should know, to be told by the process that handed out the work."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def work(task: Task) -> list[str]:
    """Train a stack in this process; what a person should know of it.

    Raises:
        Interrupted: This process was told to stop, or the sweep was; everything is saved.
    """
    configs = {name: TrainConfig.model_validate_json(text) for name, text in task.configs.items()}
    noted = _Noted()
    train_here(configs, task.how, noted, Path(task.stop_file))
    return noted.notes


def work_in_pool(task: Task) -> list[str]:
    """`work` in a process of our own pool, which ends with the task if a signal told it to stop.

    A pool that has lost one process terminates the others, and waits for them.
    """
    try:
        return work(task)
    except Interrupted:
        if Path(task.stop_file).exists():
            raise
        os._exit(TOLD_TO_STOP)


def train_shared(
    configs: Mapping[str, TrainConfig], how: How, watching: Progress, workers: int, executor: Executor | None
) -> list[Run]:
    """Train runs by their names, stacks side by side; see `train`."""
    if executor is None:
        resolved(how.device)
    for config in configs.values():
        refuse_what_does_not_fit(config)
    there = {name: Run(how.path(name)) for name in configs}
    for name, config in configs.items():
        facts = start_facts(config)
        if (there[name].path / "config.json").exists():
            refuse_another(there[name], config, facts)
    pending = {name: config for name, config in configs.items() if _is_pending(there[name])}
    stop_file = Path(how.path("")) / f".stop-{uuid.uuid4().hex[:12]}"
    tasks = [
        Task({name: pending[name].model_dump_json() for name in alike}, how, str(stop_file))
        for alike in stacks(pending, parts=workers)
    ]
    stop_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with stop_signals() as stop:
            _through(tasks, watching, stop, stop_file, workers, executor)
    finally:
        stop_file.unlink(missing_ok=True)
        watching.end()
    return [Run(run.path) for run in there.values()]


def _is_pending(run: Run) -> bool:
    """Whether there is something left to train; what cannot be told is the worker's to say."""
    try:
        return not (run.path / "config.json").exists() or unfinished(run)
    except DamagedFile:
        return True


def _through(
    tasks: list[Task], watching: Progress, stop: Stop, stop_file: Path, workers: int, executor: Executor | None
) -> None:
    """Hand out the tasks until all are through; hand out again what was lost with a worker."""
    left, tries, begun = dict(enumerate(tasks)), dict.fromkeys(range(len(tasks)), 0), _Courses(tasks)
    working = work_in_pool if executor is None else work
    while left:
        with _pool(min(workers, len(left))) if executor is None else contextlib.nullcontext(executor) as pool:
            try:
                handed = {pool.submit(working, task): number for number, task in left.items()}
            except BrokenProcessPool:
                raise RunError("the executor is broken: give train a new one; the same call goes on") from None
            while handed:
                done, _ = wait(handed, LOOK_EVERY_S, FIRST_COMPLETED)
                if stop and not stop_file.exists():
                    stop_file.touch()
                    handed = {future: number for future, number in handed.items() if not future.cancel()}
                for future in done & handed.keys():
                    number = handed.pop(future)
                    if _is_through(future, watching):
                        del left[number]
                    else:
                        tries[number] += 1
                watching.stacks(begun.now(handed.values()), len(tasks) - len(left), len(tasks))
        if stop:
            raise Interrupted(f"stopped by {stop.by}; everything is saved: the same command goes on")
        if lost := [number for number in left if tries[number] >= TRIES]:
            raise RunError(
                f"a worker died {TRIES} times while it trained {', '.join(list(tasks[lost[0]].configs)[:4])}: out of "
                f"memory? take fewer workers, or smaller sizes; the same command goes on. (A script that asks for "
                f'several workers has its work under `if __name__ == "__main__":`)'
            )


def _is_through(future: "Future[list[str]]", watching: Progress) -> bool:
    """Whether a task is done; not, if its worker died or was told to stop.

    Raises:
        UserError: What the worker refused.
    """
    try:
        for note in future.result():
            watching.note(note)
    except (BrokenProcessPool, Interrupted):
        return False
    return True


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """Processes of our own."""
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker) as pool:
        yield pool


def _begin_worker() -> None:
    """A signal from the terminal is for the process that handed out the work; if that dies, this one stops and ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def end_with_it() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_it, daemon=True).start()


class _Courses:
    """How far the stacks are, from what their runs have written."""

    def __init__(self, tasks: list[Task]) -> None:
        self._tasks = tasks
        self._steps = [from_json(next(iter(task.configs.values())).encode())["schedule"]["steps"] for task in tasks]
        self._first: dict[int, tuple[float, int]] = {}

    def now(self, numbers: Any) -> list[StackNow]:
        """A line for each stack that has begun."""
        found = []
        for number in numbers:
            task = self._tasks[number]
            paths = {name: task.how.path(name) for name in task.configs}
            with contextlib.suppress(DamagedFile, OSError):
                records = [record for path in paths.values() if (record := last_record(path / "history.jsonl"))]
                if records:
                    found.append(self._line(number, task, records))
        return found

    def _line(self, number: int, task: Task, records: list[dict[str, Any]]) -> StackNow:
        step = min(record["step"] for record in records)
        steps = self._steps[number]
        since, at = self._first.setdefault(number, (time.monotonic(), step))
        left = (time.monotonic() - since) / (step - at) * (steps - step) if step > at else None
        label = next(iter(task.configs)) if len(task.configs) == 1 else f"{len(task.configs)} runs"
        numbers = [{k: v for k, v in record.items() if k not in ("seal", "diverged")} for record in records]
        text = describe(numbers) if all("train_loss" in record for record in numbers) else ""
        return StackNow(label, step, steps, text, left)
