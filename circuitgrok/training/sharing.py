"""Stacks of runs shared out among processes: a pool of our own, or any executor whose workers see the folder."""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from concurrent.futures.process import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from circuitgrok.config.bounds import refuse_what_does_not_fit
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import in_turn
from circuitgrok.errors import Interrupted
from circuitgrok.store.locking import holder
from circuitgrok.store.run import Run, RunError
from circuitgrok.training.beginning import room, stacks
from circuitgrok.training.clusters import is_gone, is_lost_worker
from circuitgrok.training.loop import How
from circuitgrok.training.progress import Progress
from circuitgrok.training.queue import train_in_slurm
from circuitgrok.training.slurm import Slurm
from circuitgrok.training.stopping import Stop, end_with_parent, stop_signals
from circuitgrok.training.work import (
    UNSEEN,
    Courses,
    Task,
    Worked,
    refuse_a_third_loss,
    refuse_before_work,
    task_of,
    work,
)

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

LOOK_EVERY_S = 0.5  # at the files of the runs
UNDER_MAIN = 'a script that asks for several workers has its work under `if __name__ == "__main__":`'
TOLD_TO_STOP = 75  # the exit status of "temporary failure", as schedulers read it
_own: dict[str, str] = {}  # of a process in our pool: the device that it computes on


def train_shared(
    configs: Mapping[str, TrainConfig], how: How, watching: Progress, workers: int, executor: "Executor | Slurm | None"
) -> list[Run]:
    """Train runs by their names, stacks side by side; see `train`."""
    asked, devices, each = how, list[str](), None
    how = how._replace(out=os.path.abspath(how.path("")))  # a worker may stand elsewhere
    if executor is None:
        devices = in_turn(how.device, workers)
        each = room(devices[0], sharers=workers)
        for config in configs.values():
            refuse_what_does_not_fit(config)
    pending = refuse_before_work(configs, how)
    try:
        if isinstance(executor, Slurm):
            train_in_slurm(pending, how, watching, executor)
        else:
            going = Path(how.path("")) / f".going-{uuid.uuid4().hex[:12]}"
            parts = list(stacks(pending, workers, each))
            tasks = {number: task_of(pending, names, how, str(going)) for number, names in enumerate(parts)}
            with _there(going), stop_signals() as stop:
                _through(tasks, watching, stop, going, devices, executor)
    finally:
        watching.end()
    return [Run(asked.path(name)) for name in configs]


@contextlib.contextmanager
def _there(file: Path) -> Iterator[None]:
    """The file is there as long as there is work."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _through(
    tasks: dict[int, Task], watching: Progress, stop: Stop, going: Path, devices: list[str], executor: Executor | None
) -> None:
    """Hand out the tasks until all are through; hand out again what was lost with a worker."""
    left, begun = dict(tasks), Courses(tasks)
    working = work_in_pool if executor is None else work
    while left:
        with _pool(devices[: len(left)]) if executor is None else contextlib.nullcontext(executor) as pool:
            handed: dict[Future[Worked], int] = {}
            try:
                for number, task in left.items():
                    handed[pool.submit(working, task)] = number
            except RuntimeError as error:  # a pool that has lost a process, an executor that was shut down
                raise RunError(
                    f"the executor is broken ({error}): give train a new one; the same call goes on"
                ) from None
            while handed:
                done, _ = wait(handed, LOOK_EVERY_S, FIRST_COMPLETED)
                if executor is not None and is_gone(executor):
                    raise RunError("dask's scheduler is gone; its workers stop and save, and the same call goes on")
                if stop and going.exists():
                    going.unlink()
                    handed = {future: number for future, number in handed.items() if not future.cancel()}
                for future in done & handed.keys():
                    number = handed.pop(future)
                    if _is_through(future, watching, going):
                        del left[number]
                    else:
                        left[number] = left[number]._replace(tried=left[number].tried + 1)
                watching.stacks(begun.now(handed.values()), len(tasks) - len(left), len(tasks))
        if stop:
            while executor is not None and any(holder(path) for task in left.values() for path in task.paths()):
                time.sleep(LOOK_EVERY_S / 5)  # an executor may call cancelled what is still at work
            raise Interrupted(f"stopped by {stop.by}; everything is saved: the same command goes on")
        refuse_a_third_loss(left.values(), UNDER_MAIN)


def _is_through(future: "Future[Worked]", watching: Progress, going: Path) -> bool:
    """Whether a task is done; not, if its worker died or was told to stop.

    Raises:
        UserError: What the worker refused.
    """
    try:
        worked = future.result()
    except (BrokenExecutor, CancelledError):
        return False
    except Exception as error:
        if not is_lost_worker(error):
            raise
        return False
    for note in worked.notes:
        watching.note(note)
    if worked.stopped == UNSEEN and going.exists():
        raise RunError(f"a worker does not see {going.parent}: put the runs on a disk that all workers share")
    return not worked.stopped


def work_in_pool(task: Task) -> Worked:
    """`work` in a process of our own pool, which ends with the task if a signal told it to stop.

    A pool that has lost one process terminates the others, and waits for them.
    """
    worked = work(task._replace(how=task.how._replace(**_own)))
    if worked.stopped and Path(task.going).exists():
        os._exit(TOLD_TO_STOP)
    return worked


@contextlib.contextmanager
def _pool(devices: list[str]) -> Iterator[Executor]:
    """Processes of our own, one for each of these devices."""
    context = get_context("spawn")
    free: SimpleQueue[str] = context.SimpleQueue()
    for device in devices:
        free.put(device)
    with ProcessPoolExecutor(len(devices), context, _begin_worker, (free,)) as pool:
        yield pool


def _begin_worker(free: "SimpleQueue[str]") -> None:
    """Take a device. A signal from the terminal is for the process that handed out the work; if that dies, end too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    _own["device"] = free.get()
