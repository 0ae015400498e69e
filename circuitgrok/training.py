"""The one training loop: stacks of runs, full batch, dense checkpoints, resumed bit for bit.

`train` groups configs that can share a stack and trains each group in one loop. At each step:

    logits and objective at the current weights → if due: evaluate, checkpoint → update

so that whatever is recorded at step s belongs to the weights after exactly s updates. What a stack
is, and what an update does, is in `circuitgrok.stack`; what is written, in `circuitgrok.runs`.
"""

import contextlib
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from circuitgrok import resume, tree
from circuitgrok import runs as disk
from circuitgrok.config import Schedule, TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.files import JsonLines
from circuitgrok.runs import Run, RunError
from circuitgrok.stack import Stack, initial_weights, new_stack, put_state, source_digest, state_of, subset
from circuitgrok.steps import evaluate, forward, update, watched_update
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.version import __version__

STACK_NUMBERS = 2**27  # most neuron activations of a stack in one forward: about 1 GB in float64


STOPPING = ("SIGINT", "SIGTERM", "SIGUSR1")


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop; the state is saved and the same command goes on."""


class Progress(Protocol):
    """Whoever watches the training; `circuitgrok.progress` draws it."""

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """A stack starts at `start` of `steps`."""

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
        """A step was reached; `records` are the runs' new lines of history, if any."""

    def end(self) -> None:
        """The stack is finished or stopped."""


class Silent:
    """A `Progress` that shows nothing."""

    def begin(self, runs: Sequence[Run], start: int, steps: int) -> None:
        """Show nothing."""

    def at(self, step: int, records: Sequence[dict[str, Any]] | None) -> None:
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
        allow_inexact: Resume even where torch, instruction set or threads differ from the run's own.
        save_every_s: Seconds between resume points.

    Returns:
        The runs, in the order of the configs. A run that diverged has `state == "diverged"`.

    Raises:
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
    here = environment(threads)
    with contextlib.ExitStack() as held, _threads(threads), _stop_signals() as stop:
        opened = []
        for config, label in zip(configs, labels, strict=True):
            path = Path(os.path.expanduser(out)) / label
            held.enter_context(disk.locked(path))
            opened.append(disk.create(path, config, here, _start_facts(config)))
        pending = [run for run in opened if run.state not in ("finished", "diverged") or _cut_short(run)]
        for run in pending:
            if not allow_inexact:
                _same_environment(run, here)
        for group, start in _groups(pending):
            _train_stack(group, start, progress or Silent(), stop, save_every_s)
    return opened


def environment(threads: int) -> dict[str, Any]:
    """What the bits of a run depend on beside its config."""
    return {
        "torch": torch.__version__,
        "isa": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "device": "cpu",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "circuitgrok": __version__,
    }


def _start_facts(config: TrainConfig) -> dict[str, Any]:
    """The absolute norms behind alpha, and the split."""
    weights = initial_weights(config)
    by_role: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in weights.items():
        by_role.setdefault(tree.role(name), {})[name] = value
    source = config.init.start
    return ({"digest": source_digest(source)} if source else {}) | {
        "norm": tree.norm(weights).item(),
        "norm_by_role": {role: tree.norm(part).item() for role, part in by_role.items()},
        "split_hash": config.task.task().split_hash,
        "n_train": config.task.task().n_train,
    }


def _cut_short(run: Run) -> bool:
    """Whether the run was killed between the last line of its history and its last resume point."""
    points = resume.resume_steps(run)
    return run.state == "finished" and bool(points) and points[-1] < run.config.schedule.steps


def _same_environment(run: Run, here: dict[str, Any]) -> None:
    there = run.manifest["environment"]
    differing = [k for k in ("torch", "isa", "threads", "device", "machine") if there.get(k) != here[k]]
    if differing and resume.resume_steps(run):
        what = ", ".join(f"{key} {there.get(key)!r} then, {here[key]!r} now" for key in differing)
        raise RunError(
            f"{run.path} was begun with {what}: going on would not give the bits of an unbroken run; "
            f"use the same, or --allow-inexact"
        )


def _groups(pending: Sequence[Run]) -> Iterator[tuple[list[Run], int]]:
    """Runs that train together and the step they start from: the latest resume point they share."""
    by_key: dict[str, list[Run]] = {}
    for run in pending:
        by_key.setdefault(run.config.stack_key, []).append(run)
    for alike in by_key.values():
        first = alike[0].config
        size = max(1, STACK_NUMBERS // (first.task.n_pairs * first.model.activations_per_input))
        for i in range(0, len(alike), size):
            together = alike[i : i + size]
            points = {run.path: {0, *resume.usable_resume_steps(run)} for run in together}
            shared = max(set.intersection(*points.values()))
            if shared or all(len(own) == 1 for own in points.values()):
                yield together, shared
            else:
                for run in together:
                    yield [run], max(points[run.path])


@dataclass
class _Writer:
    """One run's open files, and what its next record depends on."""

    run: Run
    history: JsonLines
    index: JsonLines
    updates: JsonLines
    recorded: int = -1  # last step in the history
    saved: int = -1  # last step with a checkpoint
    saved_loss: float = 0.0  # logarithm of the test loss at the last checkpoint
    diverged: bool = field(default=False)

    @classmethod
    def open(cls, run: Run, note: dict[str, Any]) -> "_Writer":
        """The files, cut back to what they held at the resume point that left `note`."""
        with contextlib.ExitStack() as opened:
            history = JsonLines(run.path / "history.jsonl", note.get("history_bytes", 0))
            opened.callback(history.close)
            index = JsonLines(run.path / "index.jsonl", note.get("index_bytes", 0))
            opened.callback(index.close)
            updates = JsonLines(run.path / "updates.jsonl", note.get("updates_bytes", 0))
            opened.pop_all()
        facts = {name: note[name] for name in ("recorded", "saved", "saved_loss") if name in note}
        return cls(run, history, index, updates, **facts)

    def note(self) -> dict[str, Any]:
        """What `open` needs to go on from here; everything written so far is on the disk."""
        files = {"history": self.history, "index": self.index, "updates": self.updates}
        lengths = {f"{name}_bytes": file.sync() for name, file in files.items()}
        return {"recorded": self.recorded, "saved": self.saved, "saved_loss": self.saved_loss, **lengths}

    def record(self, record: dict[str, Any], weights: tree.Params, scheduled: bool, on_move: float) -> None:
        """One line of history, and a checkpoint if scheduled or if the test loss moved since the last."""
        bad = [f"{name} is {value}" for name, value in record.items() if not math.isfinite(value)]
        if bad:
            self.diverged = True
            self.history.append({"step": record["step"], "diverged": ", ".join(bad)})
            self.history.sync()
        elif record["step"] > self.recorded:
            loss = math.log(max(record["test_loss"], 1e-300))
            if scheduled or abs(loss - self.saved_loss) > on_move:
                self.index.append(disk.write_checkpoint(self.run, record["step"], weights))
                self.saved, self.saved_loss = record["step"], loss
            self.history.append(record)
            self.recorded = record["step"]

    def record_update(self, record: dict[str, Any]) -> None:
        """One line about the step that leaves a checkpoint; what has no value is left out."""
        self.updates.append({name: value for name, value in record.items() if math.isfinite(value)})

    def close(self) -> None:
        """Close the files."""
        for file in (self.history, self.index, self.updates):
            file.close()


def _train_stack(group: Sequence[Run], start: int, progress: Progress, stop: "_Stop", save_every_s: float) -> None:
    stack = new_stack([run.config for run in group])
    notes: list[dict[str, Any]] = [{} for _ in group]
    if start:
        points = [resume.read_resume(run, start) for run in group]
        put_state(stack, [tensors for tensors, _ in points], start)
        notes = [note for _, note in points]
    for run in group:  # the files are cut back below: later points would speak of lines that are gone
        resume.drop_resume(run, [step for step in resume.resume_steps(run) if step > start])
    writers: list[_Writer] = []
    try:
        for run, note in zip(group, notes, strict=True):
            writers.append(_Writer.open(run, note))
        progress.begin(group, start, stack.configs[0].schedule.steps)
        _loop(stack, writers, start, progress, stop, save_every_s)
    finally:
        progress.end()
        for writer in writers:
            writer.close()


def _loop(
    stack: Stack, writers: list[_Writer], start: int, progress: Progress, stop: "_Stop", save_every_s: float
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
                resume.write_resume(writer.run, step, state_of(stack, i), writer.note())
            saved = time.monotonic()
        if step == schedule.steps:
            return
        if stop:
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
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked

    def __call__(self, *_: Any) -> None:
        if self.asked:
            sys.exit("stopped at once, at the second signal; the last resume point holds")
        self.asked = True


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
