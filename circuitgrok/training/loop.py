"""The one training loop: stacks of runs, full batch, dense checkpoints, resumed bit for bit.

`train` groups configs that can share a stack and trains each group in one loop. At each step:

    logits and objective at the current weights → if due: evaluate, checkpoint → update

so that whatever is recorded at step s belongs to the weights after exactly s updates. What a stack
is, and what an update does, is in `circuitgrok.training.stack`; what is written, in `circuitgrok.store.run`.
"""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from circuitgrok import select, tree
from circuitgrok.config.bounds import memory, open_files, refuse_what_does_not_fit, size_of
from circuitgrok.config.sections import Schedule
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import is_elsewhere, memory_of, resolved, same_bits_again
from circuitgrok.errors import Interrupted, UserError
from circuitgrok.store import resume
from circuitgrok.store.behind import Behind
from circuitgrok.store.environment import differences, environment
from circuitgrok.store.locking import LockedRun, locked
from circuitgrok.store.run import Run, RunError
from circuitgrok.store.writer import Writer, add_event, create
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.training.origin import initial_weights, source_digest
from circuitgrok.training.progress import Progress, Silent
from circuitgrok.training.stack import Stack, new_stack, put_state, state_of, subset
from circuitgrok.training.steps import Steps, steps_of, uncapturable
from circuitgrok.training.stopping import Stop, stop_signals

if TYPE_CHECKING:
    from circuitgrok.training.slurm import Slurm

STACK_NUMBERS = 2**27  # most neuron activations of a stack on a CPU: about 1 GB in float64; more are no faster there
BYTES_PER_NUMBER = 64  # of a stack at work, for each activation or number of its state; 18 to 31 were measured on CPUs
FILES_PER_RUN = 2  # at most open at once for a run at work: its lock, and one that is read or written
FILES_KEPT_FREE = 100  # for the interpreter, its libraries, and whoever called
K = TypeVar("K")


def train(
    configs: Sequence[TrainConfig],
    out: str | Path = "checkpoints",
    *,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    threads: int = 1,
    workers: int = 1,
    executor: "Executor | Slurm | None" = None,
    device: str | torch.device = "cpu",
    allow_inexact: bool = False,
    skip_held: bool = False,
    save_every_s: float = 10.0,
) -> list[Run]:
    """Train each config as a run in a folder of its own; finished runs are left, begun ones go on.

    Configs of equal shapes, optimizer settings and schedule train as one stack.

    Args:
        configs: One config, one run.
        out: Folder that gets one subfolder per run.
        names: Names of the subfolders; by default from the configs.
        progress: Who is told; by default nobody.
        threads: Threads of torch, in each process. With one, a run's bits do not depend on the stack it is in.
        workers: Processes that train stacks side by side; on "cuda" each on a GPU of its own. A script that asks for
            several has its work under `if __name__ == "__main__":`, as Python's own pools ask for.
        executor: Who runs the stacks instead, such as dask's `client.get_executor()`: anything with `submit`, whose
            processes see the same folder; `workers` says for how many of them there must be work. Or jobs of Slurm:
            `circuitgrok.slurm("partition=gpu,gres=gpu:1,time=2:00:00")`.
        device: Where to compute: "cpu", "cuda", "cuda:1", or "auto", a GPU if there is one. Only on the CPU do a run's
            bits not depend on the stack it is in.
        allow_inexact: Resume even where torch, instruction set, threads or device differ from the run's own.
        skip_held: Leave runs to whoever trains them now; otherwise one that is held is refused before any work.
        save_every_s: Seconds between resume points.

    Returns:
        The runs, in the order of the configs. A run that diverged has `state == "diverged"`.

    Raises:
        UserError: The device is not there, or cannot do float64.
        RunError: A folder holds another run, is being written, or was begun in another environment; or a worker died
            again and again.
        Interrupted: SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 arrived; everything is saved.

    Example:
        >>> import tempfile
        >>> config = TrainConfig().with_(p=5, d_model=8, n_heads=1, d_head=8, d_mlp=16, steps=3)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     [run] = train([config], out)
        ...     run.state, run.steps
        ('finished', [0, 1, 2, 3])
    """
    if isinstance(configs, TrainConfig):
        raise UserError("train takes a list of configs, one for each run; got a single config: train([config])")
    labels = list(names) if names is not None else [config.name for config in configs]
    if len(set(labels)) != len(labels) or len(labels) != len(configs):
        raise UserError(f"every run needs a name of its own; got {len(configs)} configs named {labels}")
    for what, number in (("threads", threads), ("workers", workers)):
        if number < 1:
            raise UserError(f"{what} must be at least 1; got {number}")
    named = dict(zip(labels, configs, strict=True))
    how = How(str(out), threads, str(device), allow_inexact, skip_held, save_every_s)
    watching = progress or Silent()
    if workers == 1 and executor is None:
        return train_here(named, how, watching)
    from circuitgrok.training.sharing import train_shared

    return train_shared(named, how, watching, workers, executor)


class How(NamedTuple):
    """How runs are trained, beside their configs: the arguments of `train` that a worker needs."""

    out: str
    threads: int
    device: str
    allow_inexact: bool
    skip_held: bool
    save_every_s: float

    def path(self, name: str) -> Path:
        """The folder of a run."""
        return Path(os.path.expanduser(self.out)) / name


@in_plain_surroundings
def train_here(
    configs: Mapping[str, TrainConfig], how: How, watching: Progress, going: Path | None = None
) -> list[Run]:
    """Train runs by their names in this process, one stack after the other, while `going` is there; see `train`."""
    where = resolved(how.device)
    here = environment(how.threads, where)
    for config in configs.values():
        refuse_what_does_not_fit(config)
    with threads_of_torch(how.threads), same_bits_again(where), stop_signals(going) as stop:
        facts = {name: start_facts(config) for name, config in configs.items()}  # what is refused leaves no folder
        opened, free = [], []
        for name, config in configs.items():
            try:
                with locked(how.path(name)):  # held again when its turn comes
                    opened.append(create(how.path(name), config, here, facts[name]))
                    free.append(opened[-1])
            except LockedRun as held:  # at once, before any work
                if not how.skip_held:
                    raise
                watching.note(f"left out: {held}")
                opened.append(Run(how.path(name)))
        begun = [run for run in free if unfinished(run)]
        differing = {run.path: differences(run.manifest["environment"], here) for run in begun}
        for run in begun:
            if not how.allow_inexact:
                _same_environment(run, differing[run.path])
        for alike in stacks({run: run.config for run in begun}, room=room(where)):
            with contextlib.ExitStack() as held:
                ours = [run for run in alike if _holds(run, held, how.skip_held)]
                points = {run.path: resume.resume_points(run) for run in ours if unfinished(run)}
                for group, step in _starting_points([run for run in ours if run.path in points], points):
                    for run in group:
                        _say_how_it_begins(run, step, points[run.path], differing[run.path], watching)
                    _train_stack(group, step, where, watching, stop, how.save_every_s)
    return opened


def _holds(run: Run, held: contextlib.ExitStack, skip_held: bool) -> bool:
    """Take a run's lock, if it is to be had."""
    try:
        held.enter_context(locked(run.path))
    except LockedRun:
        if not skip_held:
            raise
        return False
    return True


def unfinished(run: Run) -> bool:
    """Whether there is something left to train."""
    return run.state not in ("finished", "diverged") or _cut_short(run)


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


def _same_environment(run: Run, differing: Sequence[str]) -> None:
    if differing and resume.resume_steps(run):
        raise RunError(
            f"{run.path} was begun with {', '.join(differing)}: going on would not give the bits of an unbroken run; "
            f"use the same, or --allow-inexact"
        )


def _say_how_it_begins(
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


def _starting_points(together: list[Run], found: Mapping[Path, Mapping[int, str]]) -> Iterator[tuple[list[Run], int]]:
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


def _train_stack(
    group: Sequence[Run], start: int, device: torch.device, progress: Progress, stop: Stop, save_every_s: float
) -> None:
    stack = new_stack([run.config for run in group], device)
    _say_what_is_not_captured(stack, group, start, progress)
    notes: list[dict[str, Any]] = [{} for _ in group]
    if start:
        points = [resume.read_resume(run, start) for run in group]
        put_state(stack, [tensors for tensors, _ in points], start)
        notes = [note for _, note in points]
    for run in group:  # the files are cut back below: later points would speak of lines that are gone
        resume.drop_resume(run, [step for step in resume.resume_steps(run) if step > start])
    try:
        with Behind() as behind:
            writers = [Writer.open(run, note, behind) for run, note in zip(group, notes, strict=True)]
            progress.begin(group, start, stack.configs[0].schedule.steps)
            _loop(steps_of(stack), writers, start, progress, stop, save_every_s)
    finally:
        progress.end()


def _say_what_is_not_captured(stack: Stack, group: Sequence[Run], start: int, progress: Progress) -> None:
    """Note in the runs, and tell who watches, why a GPU is asked for each operation."""
    kinds = uncapturable(stack) if is_elsewhere(stack.flat.device) else []
    if kinds:
        for run in group:
            add_event(run, "uncaptured", start, kinds=kinds)
        progress.note(f"{group[0].name}: steps are taken one by one, for {', '.join(kinds)} cannot be captured")


def _loop(steps: Steps, writers: list[Writer], start: int, progress: Progress, stop: Stop, save_every_s: float) -> None:
    schedule: Schedule = steps.stack.configs[0].schedule
    scheduled = schedule.checkpoint_steps()
    saved, step = time.monotonic(), start

    def is_due(step: int) -> bool:
        return step % schedule.eval_every == 0 or step in scheduled

    while True:
        due = is_due(step)
        finite, records = steps.look(step, due)
        if records is not None:
            for i, (writer, record) in enumerate(zip(writers, records, strict=True)):
                if due or not finite[i]:  # a neighbour's divergence leaves no line in this run's history
                    weights = {name: value[i] for name, value in steps.stack.weights.items()}
                    writer.record(record, weights, step in scheduled, schedule.checkpoint_on_move)
            good = [i for i, writer in enumerate(writers) if not writer.diverged]
            if not good:
                return
            if len(good) < len(writers):
                steps, writers = steps_of(subset(steps.stack, good, step)), [writers[i] for i in good]
                continue
            if schedule.keep_moments:
                for i, writer in enumerate(writers):
                    if writer.saved == step:
                        writer.keep_moments(step, state_of(steps.stack, i))
        progress.at(step, records)
        if step == schedule.steps or stop or time.monotonic() - saved > save_every_s:
            for i, writer in enumerate(writers):
                writer.save(step, state_of(steps.stack, i), last=step == schedule.steps)
            saved = time.monotonic()
        if step == schedule.steps:
            return
        if stop:
            for writer in writers:
                writer.behind.flush()
                add_event(writer.run, "stopped", step, signal=stop.by)
            raise Interrupted(f"stopped at step {step}; everything is saved: the same command goes on")
        watching = [writer.saved == step for writer in writers]
        if any(watching):
            for writer, watched, record in zip(writers, watching, steps.watched(step), strict=True):
                if watched:
                    writer.record_update(record)
            step += 1
        else:
            step = steps.advance(step, is_due)


@contextlib.contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """So many for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
