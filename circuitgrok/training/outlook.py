"""What training would do, before it does it: which stacks, how long each takes, and how much disk.

Nothing is written. Disk is counted from the configs (`store.size`). Time is measured: of each stack a few steps, an
evaluation and a checkpoint are taken in memory, on this machine as busy as it is now.
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import torch

from circuitgrok.canonical import canonical_json, sha256
from circuitgrok.config.bounds import refuse_what_does_not_fit, size_of
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import in_turn, resolved, same_bits_again
from circuitgrok.store.locking import holder
from circuitgrok.store.resume import resume_steps
from circuitgrok.store.run import Run
from circuitgrok.store.sealed import seal_line
from circuitgrok.store.size import run_bytes
from circuitgrok.store.weights import pack
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.training.loop import How, room, stacks, threads_of_torch
from circuitgrok.training.slurm import Slurm
from circuitgrok.training.stack import Stack, new_stack
from circuitgrok.training.step import evaluate, forward, update, watched_update
from circuitgrok.training.work import refuse_before_work

Found = TypeVar("Found")
WARM_UP = 2  # steps that are not counted: buffers are made in them
STEPS, SECONDS = 20, 2.0  # measured of each stack, whichever ends first


class StackAhead(NamedTuple):
    """A stack that would be trained.

    Attributes:
        names: Of its runs.
        what: Its network and task in a few words.
        start: The step that it would go on from: of the run that is behind.
        steps: The last step.
        seconds: That it would take, alone on a core for each of its threads.
        bytes: That its runs would take on the disk when they have finished.
    """

    names: list[str]
    what: str
    start: int
    steps: int
    seconds: float
    bytes: int


class Outlook(NamedTuple):
    """What training would do.

    Attributes:
        stacks: What would be trained, in order.
        finished: Names of runs that are done.
        held: Names of runs that somebody else trains now.
        begun: Names of runs that would go on.
        missing: Names of runs that are not there yet.
        seconds: Until the last stack has finished, by as many workers as were asked for.
        there: Bytes that the runs to train take already.
        free: Bytes that are free where they go.
    """

    stacks: list[StackAhead]
    finished: list[str]
    held: list[str]
    begun: list[str]
    missing: list[str]
    seconds: float
    there: int
    free: int

    @property
    def bytes(self) -> int:
        """That would be written on top of what is there."""
        return max(0, sum(stack.bytes for stack in self.stacks) - self.there)


@in_plain_surroundings
def outlook(
    configs: Sequence[TrainConfig],
    out: str | Path = "checkpoints",
    *,
    names: Sequence[str] | None = None,
    threads: int = 1,
    workers: int = 1,
    executor: Executor | Slurm | None = None,
    device: str | torch.device = "cpu",
) -> Outlook:
    """What `train` would do with these configs; writes nothing.

    Args:
        configs: One config, one run.
        out: Folder of the runs.
        names: Of their folders; by default from the configs.
        threads: Threads of torch, in each process.
        workers: Processes that train stacks side by side, or workers of an executor.
        executor: Who would run the stacks; nothing is handed to it.
        device: Where to compute.

    Returns:
        Times are those of this machine; they leave out loading, drawing the first weights, and waiting for the disk.

    Raises:
        UserError: What `train` refuses.

    Example:
        >>> import tempfile
        >>> base = TrainConfig().with_(p=5, d_model=8, n_heads=1, d_head=8, d_mlp=16, steps=3)
        >>> ahead = outlook([base, base.with_(seed=1)], tempfile.mkdtemp())
        >>> [(len(stack.names), stack.steps) for stack in ahead.stacks], ahead.seconds > 0, ahead.bytes > 20_000
        ([(2, 3)], True, True)
    """
    labels = list(names) if names is not None else [config.name for config in configs]
    named = dict(zip(labels, configs, strict=True))
    how = How(str(out), threads, str(device), False, True, math.inf)
    where = resolved(device)
    each = room(in_turn(device, workers)[0], sharers=workers) if executor is None else None
    parts = executor.stacks if isinstance(executor, Slurm) else workers
    for config in named.values() if executor is None else ():
        refuse_what_does_not_fit(config)
    pending = refuse_before_work(named, how)
    held = [name for name in pending if holder(how.path(name))]
    ahead = {name: config for name, config in pending.items() if name not in held}
    begun = {name: max(resume_steps(Run(how.path(name))), default=0) for name in ahead if how.path(name).exists()}
    measured: dict[tuple[str, int], _Costs] = {}
    found: list[StackAhead] = []
    with threads_of_torch(threads), same_bits_again(where):
        for alike in stacks(ahead, parts, each):
            of = [ahead[name] for name in alike]
            key = (of[0].stack_key, len(of))
            costs = measured[key] if key in measured else measured.setdefault(key, _measure(of, where))
            found.append(_ahead(alike, of, min(begun.get(name, 0) for name in alike), costs))
    at_once = executor.at_once if isinstance(executor, Slurm) else workers
    return Outlook(
        stacks=found,
        finished=[name for name in named if name not in pending],
        held=held,
        begun=list(begun),
        missing=[name for name in ahead if name not in begun],
        seconds=_until_the_last([stack.seconds for stack in found], at_once),
        there=sum(_size_of_files(how.path(name)) for name in begun),
        free=shutil.disk_usage(_nearest(how.path(""))).free,
    )


class _Costs(NamedTuple):
    """Of a stack: seconds of its parts, and the lengths of its lines."""

    step: float
    evaluation: float
    checkpoint: float
    history_line: int
    updates_line: int


def _measure(configs: Sequence[TrainConfig], device: torch.device) -> _Costs:
    """Take a few steps of a stack in memory, an evaluation and a checkpoint among them."""
    stack = new_stack(configs, device)
    for step in range(WARM_UP):
        _step(stack, step)
    ahead = forward(stack, WARM_UP)
    evaluate(stack, WARM_UP, ahead)
    record, evaluation = _timed(lambda: evaluate(stack, WARM_UP, ahead)[0], device)
    _, packed = _timed(lambda: [sha256(pack(_of_run(stack.weights, i), {})) for i in range(len(configs))], device)
    line, watched = _timed(lambda: watched_update(stack, ahead, WARM_UP)[0], device)
    times: list[float] = []
    while not times or (len(times) < STEPS and sum(times) < SECONDS):
        times.append(_timed(partial(_step, stack, WARM_UP + 1 + len(times)), device)[1])
    return _Costs(median(times), evaluation, packed + max(0.0, watched - median(times)), _length(record), _length(line))


def _step(stack: Stack, step: int) -> None:
    update(stack, forward(stack, step), step)


def _of_run(weights: Mapping[str, torch.Tensor], i: int) -> dict[str, torch.Tensor]:
    return {name: value[i] for name, value in weights.items()}


def _timed(what: Callable[[], Found], device: torch.device) -> tuple[Found, float]:
    """What a function returns, and the seconds that it takes until the device is done."""
    began = time.perf_counter()
    found = what()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return found, time.perf_counter() - began


def _length(record: Mapping[str, float]) -> int:
    """Bytes of a record as a line, with its seal and its end."""
    text = canonical_json({name: value if math.isfinite(value) else 0.0 for name, value in record.items()})
    return len(seal_line(text, "")[0]) + 1


def _ahead(names: list[str], configs: Sequence[TrainConfig], start: int, costs: _Costs) -> StackAhead:
    schedule, size = configs[0].schedule, size_of(configs[0])
    checkpoints = [step for step in schedule.checkpoint_steps() if step >= start]
    evaluations = (schedule.steps - start) // schedule.eval_every + 1
    evaluations += sum(step % schedule.eval_every != 0 for step in checkpoints)
    seconds = (
        (schedule.steps - start) * costs.step + evaluations * costs.evaluation + len(checkpoints) * costs.checkpoint
    )
    what = f"{configs[0].model.called}, {size.weights:,} weights, {size.pairs:,} examples"
    of_files = sum(run_bytes(config, costs.history_line, costs.updates_line).total for config in configs)
    return StackAhead(names, what, start, schedule.steps, seconds, of_files)


def _until_the_last(seconds: Sequence[float], workers: int) -> float:
    """When the last of some tasks ends that so many workers take up in order.

    >>> _until_the_last([3.0, 1.0, 1.0, 1.0], 2)
    3.0
    """
    ends = [0.0] * workers
    for one in seconds:
        ends[ends.index(min(ends))] += one
    return max(ends)


def _size_of_files(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _nearest(folder: Path) -> Path:
    """The folder, or the one above it that is there."""
    folder = Path(os.path.abspath(folder))
    return folder if folder.exists() else _nearest(folder.parent)
