"""The one training loop: a stack from where it starts to where it ends."""

from collections.abc import Sequence
from typing import Any

import torch

from circuitgrok.config.sections import Schedule
from circuitgrok.device import is_elsewhere
from circuitgrok.errors import Interrupted
from circuitgrok.store import resume
from circuitgrok.store.behind import Behind
from circuitgrok.store.run import Run
from circuitgrok.store.writer import Writer, add_event
from circuitgrok.training.pace import Pace
from circuitgrok.training.progress import Progress
from circuitgrok.training.stack import Stack, new_stack, put_state, state_of, subset
from circuitgrok.training.steps import Steps, steps_of, uncapturable
from circuitgrok.training.stopping import Stop
from circuitgrok.training.until import Watch, watch_of


def train_stack(
    group: Sequence[Run],
    start: int,
    device: torch.device,
    progress: Progress,
    stop: Stop,
    save_every_s: float,
    until: str,
) -> None:
    """Train runs of one stack from a step that all of them can go on from; their files are held by the caller."""
    stack = new_stack([run.config for run in group], device)
    _say_what_is_not_captured(stack, group, start, progress)
    notes: list[dict[str, Any]] = [{} for _ in group]
    if start:
        points = [resume.read_resume(run, start) for run in group]
        put_state(stack, [tensors for tensors, _ in points], start)
        notes = [note for _, note in points]
    if start:
        progress.note(f"{group[0].name if len(group) == 1 else f'{len(group)} runs'}: resuming at step {start}")
    for run in group:  # the files are cut back below: later points would speak of lines that are gone
        resume.drop_resume(run, [step for step in resume.resume_steps(run) if step > start])
    try:
        with Behind() as behind:
            writers = [Writer.open(run, note, behind) for run, note in zip(group, notes, strict=True)]
            progress.begin(group, start, stack.configs[0].schedule.steps)
            watches = [watch_of(run, until, start) for run in group] if until else None
            _loop(steps_of(stack), writers, start, progress, stop, save_every_s, watches)
    finally:
        progress.end()


def _say_what_is_not_captured(stack: Stack, group: Sequence[Run], start: int, progress: Progress) -> None:
    """Note in the runs, and tell who watches, why a GPU is asked for each operation."""
    kinds = uncapturable(stack) if is_elsewhere(stack.flat.device) else []
    if kinds:
        for run in group:
            add_event(run, "uncaptured", start, kinds=kinds)
        progress.note(f"{group[0].name}: steps are taken one by one, for {', '.join(kinds)} cannot be captured")


def _loop(
    steps: Steps,
    writers: list[Writer],
    start: int,
    progress: Progress,
    stop: Stop,
    save_every_s: float,
    watches: list[Watch] | None,
) -> None:
    schedule: Schedule = steps.stack.configs[0].schedule
    scheduled = schedule.checkpoint_steps()
    pace, step = Pace(save_every_s), start

    def is_due(step: int) -> bool:
        return step % schedule.eval_every == 0 or step in scheduled

    def save() -> None:
        for i, writer in enumerate(writers):
            writer.save(step, state_of(steps.stack, i), last=step == schedule.steps)

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
                steps, writers, watches = _only(good, step, steps, writers, watches)
                continue
            if schedule.keep_moments:
                for i, writer in enumerate(writers):
                    if writer.saved == step:
                        writer.keep_moments(step, state_of(steps.stack, i))
        progress.at(step, records)
        if watches and records is not None and step < schedule.steps:
            left = [i for i, (watch, record) in enumerate(zip(watches, records, strict=True)) if not watch.see(record)]
            for i in sorted({*range(len(writers))} - {*left}):
                writers[i].save(step, state_of(steps.stack, i), last=False)
                writers[i].behind.flush()
                add_event(writers[i].run, "stopped", step, until=str(watches[i].until))
                progress.note(f"{writers[i].run.name}: stopped at step {step}, {watches[i]}")
            if not left:
                return
            if len(left) < len(writers):
                steps, writers, watches = _only(left, step, steps, writers, watches)
                continue
        if step == schedule.steps or stop or pace.is_due():
            pace.around(writers[0].behind, save)
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


def _only(
    kept: Sequence[int], step: int, steps: Steps, writers: list[Writer], watches: list[Watch] | None
) -> tuple[Steps, list[Writer], list[Watch] | None]:
    """The stack without the runs that have left it, and what goes with those that stay."""
    watching = [watches[i] for i in kept] if watches else None
    return steps_of(subset(steps.stack, list(kept), step)), [writers[i] for i in kept], watching
