"""The one training loop: stacks of runs, full batch, dense checkpoints, resumed bit for bit.

`train` groups configs that can share a stack and trains each group in one loop. At each step:

    logits and objective at the current weights → if due: evaluate, checkpoint → update

so that whatever is recorded at step s belongs to the weights after exactly s updates. What a stack
is, and what an update does, is in `circuitgrok.training.stack`; what is written, in `circuitgrok.store.run`.
"""

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from circuitgrok import select, tree
from circuitgrok.config.bounds import open_files, refuse_what_does_not_fit, size_of
from circuitgrok.config.sections import Schedule
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import resolved, same_bits_again
from circuitgrok.errors import Interrupted, UserError
from circuitgrok.store import resume
from circuitgrok.store.environment import differences, environment
from circuitgrok.store.locking import locked
from circuitgrok.store.run import Run, RunError
from circuitgrok.store.weights import file_name
from circuitgrok.store.writer import Writer, add_event, create
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.training.origin import initial_weights, source_digest
from circuitgrok.training.stack import Stack, new_stack, put_state, state_of, subset
from circuitgrok.training.step import evaluate, forward, update, watched_update

STACK_NUMBERS = 2**27  # most neuron activations of a stack in one forward: about 1 GB in float64
FILES_PER_RUN = 2  # at most open at once for a run at work: its lock, and one that is read or written
FILES_KEPT_FREE = 100  # for the interpreter, its libraries, and whoever called


STOPPING = ("SIGINT", "SIGTERM", "SIGUSR1")


class Progress(Protocol):
    """Whoever watches the training; `circuitgrok.training.progress` draws it."""

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """A stack starts at `start` of `steps`."""

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
        """A step was reached; `records` are the runs' new lines of history, if any."""

    def note(self, text: str) -> None:
        """Something happened that a person should know, before the stack starts."""

    def end(self) -> None:
        """The stack is finished or stopped."""


class Silent:
    """A `Progress` that shows nothing."""

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """Show nothing."""

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


@in_plain_surroundings
def train(
    configs: Sequence[TrainConfig],
    out: str | Path = "checkpoints",
    *,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    threads: int = 1,
    device: str | torch.device = "cpu",
    allow_inexact: bool = False,
    save_every_s: float = 10.0,
) -> list[Run]:
    """Train each config as a run in a folder of its own; finished runs are left, begun ones go on.

    Configs of equal shapes, optimizer settings and schedule train as one stack.

    Args:
        configs: One config, one run.
        out: Folder that gets one subfolder per run.
        names: Names of the subfolders; by default from the configs.
        progress: Who is told; by default nobody.
        threads: Threads of torch. With one, a run's bits do not depend on the stack it is in.
        device: Where to compute: "cpu", "cuda", "cuda:1", or "auto", a GPU if there is one. Only on the CPU do a run's
            bits not depend on the stack it is in.
        allow_inexact: Resume even where torch, instruction set, threads or device differ from the run's own.
        save_every_s: Seconds between resume points.

    Returns:
        The runs, in the order of the configs. A run that diverged has `state == "diverged"`.

    Raises:
        UserError: The device is not there, or cannot do float64.
        RunError: A folder holds another run, is being written, or was begun in another environment.
        Interrupted: SIGINT, SIGTERM or SIGUSR1 arrived; everything is saved.

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
    if threads < 1:
        raise UserError(f"threads must be at least 1; got {threads}")
    where = resolved(device)
    here = environment(threads, where)
    for config in configs:
        refuse_what_does_not_fit(config)
    with _threads(threads), same_bits_again(where), _stop_signals() as stop:
        facts = [start_facts(config) for config in configs]  # what is refused here leaves no folder
        opened = []
        for config, label, start in zip(configs, labels, facts, strict=True):
            path = Path(os.path.expanduser(out)) / label
            with locked(path):  # refuses at once what another process trains; held again when its turn comes
                opened.append(create(path, config, here, start))
        begun = [run for run in opened if _unfinished(run)]
        differing = {run.path: differences(run.manifest["environment"], here) for run in begun}
        for run in begun:
            if not allow_inexact:
                _same_environment(run, differing[run.path])
        watching = progress or Silent()
        for alike in _stacks(begun):
            with contextlib.ExitStack() as held:
                for run in alike:
                    held.enter_context(locked(run.path))
                points = {run.path: resume.resume_points(run) for run in alike if _unfinished(run)}
                for group, step in _starting_points([run for run in alike if run.path in points], points):
                    for run in group:
                        _say_how_it_begins(run, step, points[run.path], differing[run.path], watching)
                    _train_stack(group, step, where, watching, stop, save_every_s)
    return opened


def _unfinished(run: Run) -> bool:
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


def _stacks(pending: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs that may train as one stack, as many as memory and open files allow."""
    by_key: dict[str, list[Run]] = {}
    for run in pending:
        by_key.setdefault(run.config.stack_key, []).append(run)
    for alike in by_key.values():
        size = size_of(alike[0].config)
        fitting = min(STACK_NUMBERS // max(size.neurons, size.state), (open_files() - FILES_KEPT_FREE) // FILES_PER_RUN)
        for i in range(0, len(alike), max(1, fitting)):
            yield alike[i : i + max(1, fitting)]


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
    group: Sequence[Run], start: int, device: torch.device, progress: Progress, stop: "_Stop", save_every_s: float
) -> None:
    stack = new_stack([run.config for run in group], device)
    notes: list[dict[str, Any]] = [{} for _ in group]
    if start:
        points = [resume.read_resume(run, start) for run in group]
        put_state(stack, [tensors for tensors, _ in points], start)
        notes = [note for _, note in points]
    for run in group:  # the files are cut back below: later points would speak of lines that are gone
        resume.drop_resume(run, [step for step in resume.resume_steps(run) if step > start])
    writers: list[Writer] = []
    try:
        for run, note in zip(group, notes, strict=True):
            writers.append(Writer.open(run, note))
        progress.begin(group, start, stack.configs[0].schedule.steps)
        _loop(stack, writers, start, progress, stop, save_every_s)
    finally:
        progress.end()


def _loop(
    stack: Stack, writers: list[Writer], start: int, progress: Progress, stop: "_Stop", save_every_s: float
) -> None:
    schedule: Schedule = stack.configs[0].schedule
    scheduled = schedule.checkpoint_steps()
    saved, step = time.monotonic(), start
    while True:
        ahead = forward(stack, step)
        records = None
        due, finite = step % schedule.eval_every == 0 or step in scheduled, ahead.objective.isfinite().tolist()
        if due or not all(finite):
            records = evaluate(stack, step, ahead)
            for i, (writer, record) in enumerate(zip(writers, records, strict=True)):
                if due or not finite[i]:  # a neighbour's divergence leaves no line in this run's history
                    weights = {name: value[i] for name, value in stack.weights.items()}
                    writer.record(record, weights, step in scheduled, schedule.checkpoint_on_move)
            good = [i for i, writer in enumerate(writers) if not writer.diverged]
            if not good:
                return
            if len(good) < len(writers):
                stack, writers = subset(stack, good, step), [writers[i] for i in good]
                continue
            if schedule.keep_moments:
                for i, writer in enumerate(writers):
                    if writer.saved == step:
                        resume.write_moments(writer.run, step, state_of(stack, i))
        progress.at(step, records)
        if step == schedule.steps or stop or time.monotonic() - saved > save_every_s:
            for i, writer in enumerate(writers):
                digest = resume.write_resume(writer.run, step, state_of(stack, i), writer.note())
                if step == schedule.steps:
                    writer.finish("finished", step, {file_name(step): digest})
            saved = time.monotonic()
        if step == schedule.steps:
            return
        if stop:
            for writer in writers:
                add_event(writer.run, "stopped", step, signal=stop.signal)
            raise Interrupted(f"stopped at step {step}; everything is saved: the same command goes on")
        watching = [writer.saved == step for writer in writers]
        if any(watching):
            for writer, watched, record in zip(writers, watching, watched_update(stack, ahead, step), strict=True):
                if watched:
                    writer.record_update(record)
        else:
            update(stack, ahead, step)
        step += 1


class _Stop:
    """Whether a signal asked us to stop."""

    def __init__(self) -> None:
        self.asked, self.signal = False, ""

    def __bool__(self) -> bool:
        return self.asked

    def __call__(self, number: int, _: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt("stopped at once, at the second signal; the last resume point holds")
        self.asked, self.signal = True, signal.Signals(number).name


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Turn SIGINT, SIGTERM and SIGUSR1 into a request, where they can be handled (the main thread)."""
    stop, previous = _Stop(), {}
    with contextlib.suppress(ValueError):
        for number in (getattr(signal, name) for name in STOPPING if hasattr(signal, name)):
            previous[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
