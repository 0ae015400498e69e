"""Thinning: fewer checkpoints of a run that is over, by a rule, after saying what is lost.

A plan says what would be removed and what that frees; `thin` carries it out. First the run's events say which
checkpoints are gone, in one line; then the files are removed. Killed in between, the same command removes the rest. The
index keeps every line with its digest, so that seals and resume points stand, and a checkpoint that is trained again
can be compared with the one that was removed.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from circuitgrok.config.sections import Schedule
from circuitgrok.errors import RunError, UserError
from circuitgrok.measures.learning.crossings import events
from circuitgrok.store.kept import digest_file
from circuitgrok.store.locking import locked
from circuitgrok.store.records import LAST_STEP
from circuitgrok.store.resume import drop_resume, resume_steps
from circuitgrok.store.run import Run
from circuitgrok.store.weights import file_name
from circuitgrok.store.writer import add_event

OVER = ("finished", "diverged", "imported")
RANGES = {
    "checkpoint_every": (1, LAST_STEP),
    "checkpoints_per_decade": (1, 1000),
    "around_events": (0, LAST_STEP),
}
_GAPS_OF_A_LINE = 20_000  # a line of events has at most a megabyte


class Thinning(NamedTuple):
    """What a thinning of a run removes: a plan, which changes nothing.

    Attributes:
        run: The run.
        kept: Steps whose checkpoints stay; the first and the last are always among them.
        removed: Steps whose checkpoints go.
        left: Steps whose checkpoints are gone already, but for files that a killed thinning left.
        resume: Steps of the resume points that go.
        freed: Bytes of all the files that go.
        rule: What is kept, in words.
    """

    run: Run
    kept: list[int]
    removed: list[int]
    left: list[int]
    resume: list[int]
    freed: int
    rule: str

    def __str__(self) -> str:
        total, widest = len(self.kept) + len(self.removed), self._widest()
        lines = [
            f"{self.run.path}: {len(self.removed)} of {total} checkpoints go, {self.freed / 1e6:.1f} MB with them",
            f"  kept         {len(self.kept)}: {self.rule}",
            f"  lost         weights between them; the widest gap is from step {widest[0]} to {widest[1]}",
            "  stays        history, updates, times of events, tables that were measured before",
        ]
        lines += ["  lost as well the resume point: training cannot go on from the end"] if self.resume else []
        lines += [f"  left over    {len(self.left)} files of a thinning that was cut short"] if self.left else []
        return "\n".join(lines)

    def _widest(self) -> tuple[int, int]:
        one = (self.kept[0], self.kept[-1])
        return max(itertools.pairwise(self.kept), key=lambda two: two[1] - two[0], default=one)


def thinning(
    run: Run,
    *,
    checkpoint_every: int | None = None,
    checkpoints_per_decade: int | None = None,
    around_events: int | None = None,
    drop_resume_point: bool = False,
) -> Thinning:
    """The plan of a thinning: what each of the rules that are given asks for is kept.

    Args:
        run: That has finished or diverged.
        checkpoint_every: Keep a checkpoint every so many steps, as a schedule's field of that name.
        checkpoints_per_decade: Keep so many, log-spaced, per factor 10; up to the step from which `checkpoint_every`
            is the denser, where that is given, too.
        around_events: Keep all within so many steps of the evaluations between which the run memorised, or grokked.
        drop_resume_point: Remove the optimizer's state at the end, of three times the size of a checkpoint: the run
            can be measured as ever, and not be trained on. Without another rule all checkpoints stay.

    Where a rule asks for a step that has no checkpoint, the nearest is kept. The first and the last are kept always.

    Raises:
        UserError: No rule is given, or a number is out of its range.
        RunError: The run is not over, or has no checkpoint; or its resume point shall go and its format is an old one.

    Example:
        >>> plan = thinning(Run(Path("checkpoints/reference")), checkpoint_every=1000)
        >>> plan.kept
        [0, 1000, 2000, 3000, 4000]
    """
    rules = _rules(
        checkpoint_every=checkpoint_every, checkpoints_per_decade=checkpoints_per_decade, around_events=around_events
    )
    if not rules and not drop_resume_point:
        raise UserError(f"say what to keep by {', '.join(RANGES)}, or several of them, or drop_resume_point")
    if run.state not in OVER:
        raise RunError(f"{run.path} is {run.state}: a run is thinned when it is over; train it to its end first")
    saved = run.saved_steps()
    kept = {saved[0], saved[-1]}
    if checkpoint_every or checkpoints_per_decade:
        kept |= _nearest(saved, _scheduled(saved[-1], checkpoint_every, checkpoints_per_decade))
    if around_events is not None:
        spans = [(event.after, event.by) for event in events(run.history).values() if event.by is not None]
        kept |= {s for s in saved for a, b in spans if max(a, 0) - around_events <= s <= b + around_events}
    kept = kept if rules else {*saved}
    removed = [step for step in saved if step not in kept]
    left, resume = _left(run), resume_steps(run) if drop_resume_point else []
    if resume and not run.sealed:
        raise RunError(f"{run.path} is of an old format, whose resume points stay")
    files = [file for step in (*removed, *left) for file in _files(run, step)]
    files += [run.path / "resume" / file_name(step) for step in resume]
    size = sum(file.stat().st_size for file in files if file.exists())
    return Thinning(run, sorted(kept), removed, left, resume, size, _words(rules))


def thin(plan: Thinning) -> Thinning:
    """Carry out a plan: remove its checkpoints, moments and resume points, after every kept checkpoint was verified.

    What was measured stays: history, updates, tables, estimates. A summary that was kept is removed.

    Raises:
        RunError: The run is being written, or is no longer the one that the plan was made for.
        DamagedFile: A checkpoint that is to be kept is not what was written; nothing is removed.

    Example:
        >>> import shutil, tempfile
        >>> folder = shutil.copytree("checkpoints/reference", f"{tempfile.mkdtemp()}/run")
        >>> done = thin(thinning(Run(Path(folder)), checkpoint_every=2000))
        >>> done.run.steps, len(done.run.thinned)
        ([0, 2000, 4000], 2)
    """
    run = plan.run
    with locked(run.path):
        if run.state not in OVER or run.steps != sorted([*plan.kept, *plan.removed]):
            raise RunError(f"{run.path} has changed since the thinning was planned: plan it again")
        for step in plan.kept:
            run.at(step)
        for some in _batches(_ranges(plan)):
            add_event(run, "thinned", plan.kept[-1], removed=some, rule=plan.rule, checkpoints=len(plan.removed))
        for step in _left(run):
            drop_resume(run, [step], "moments")
            (run.path / file_name(step)).unlink(missing_ok=True)
        if plan.resume and run.completion:
            run.completion._replace(resume={}).write(run.path)  # first, so that a kill leaves none that is missed
            drop_resume(run, plan.resume)
        summary = run.path / "summary.txt"  # it tells of checkpoints that are gone; it is written anew when asked for
        digest_file(summary).unlink(missing_ok=True)
        summary.unlink(missing_ok=True)
    return plan


def _rules(**numbers: int | None) -> dict[str, int]:
    """Those that are given, in their ranges."""
    given = {name: number for name, number in numbers.items() if number is not None}
    for name, number in given.items():
        least, most = RANGES[name]
        if not least <= number <= most:
            raise UserError(f"{name} must be at least {least} and at most {most}; got {number}")
    return given


def _scheduled(last: int, every: int | None, per_decade: int | None) -> list[int]:
    schedule = Schedule(
        steps=max(last, 1), checkpoint_every=every or max(last, 1), checkpoints_per_decade=per_decade or 0
    )
    return sorted(schedule.checkpoint_steps())


def _nearest(saved: Sequence[int], wanted: Sequence[int]) -> set[int]:
    """Of steps in order, those nearest to some others in order; of two equally near the earlier."""
    found, i = set(), 0
    for step in wanted:
        while i + 1 < len(saved) and abs(saved[i + 1] - step) < abs(saved[i] - step):
            i += 1
        found.add(saved[i])
    return found


def _ranges(plan: Thinning) -> list[list[int]]:
    """What is removed, as pairs of the first and the last step between two that are kept."""
    kept, found = {*plan.kept}, []
    for stays, steps in itertools.groupby(sorted([*plan.kept, *plan.removed]), key=kept.__contains__):
        if not stays:
            several = list(steps)
            found.append([several[0], several[-1]])
    return found


def _batches(ranges: list[list[int]]) -> list[list[list[int]]]:
    return [ranges[i : i + _GAPS_OF_A_LINE] for i in range(0, len(ranges), _GAPS_OF_A_LINE)]


def _left(run: Run) -> list[int]:
    """Steps whose checkpoints are gone by the events, but whose files are there."""
    kept = {*run.steps}
    listed = [record["step"] for record in run.records("index.jsonl")] if run.thinned else []
    return [step for step in listed if step not in kept and _files(run, step)]


def _files(run: Run, step: int) -> list[Path]:
    """The checkpoint of a step, and the moments beside it."""
    names = (run.path / file_name(step), run.path / "moments" / file_name(step))
    return [file for file in names if file.exists()]


def _words(rules: dict[str, Any]) -> str:
    said = {
        "checkpoint_every": "every {} steps",
        "checkpoints_per_decade": "{} log-spaced per factor 10",
        "around_events": "all within {} steps of memorised and grokked",
    }
    return (
        ", ".join(["first and last", *(said[name].format(number) for name, number in rules.items())])
        if rules
        else "all"
    )
