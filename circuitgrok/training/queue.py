"""The jobs of Slurm that train stacks, watched: found again by a later call, submitted again where one was lost.

Whoever submits may go away: the jobs go on, and the same call finds them again, by what `slurm/` beside the runs says
was submitted and by Slurm's own list. Progress and results are the files of the runs.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import DamagedFile, Interrupted
from circuitgrok.store.files import read_json
from circuitgrok.store.locking import LockedRun, holder, locked
from circuitgrok.store.run import Run, RunError
from circuitgrok.training.loop import How, stacks
from circuitgrok.training.progress import Progress
from circuitgrok.training.slurm import Slurm, refuse_without_slurm, said_by, states_of_jobs, submit
from circuitgrok.training.stopping import Stop, stop_signals
from circuitgrok.training.work import Courses, Task, is_pending, refuse_a_third_loss, task_of

LOOK_EVERY_S = 2.0  # at the files of the runs
ASK_EVERY_S = 10.0  # Slurm's controller, which answers everybody
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
ENDED |= {"REVOKED", "TIMEOUT"}
GONE = "a job that Slurm has forgotten"
NO_FAULT = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED"}  # of the stack: it is submitted again, however often


def train_in_slurm(pending: Mapping[str, TrainConfig], how: How, watching: Progress, where: Slurm) -> None:
    """Train runs as jobs: watch those that are on the queue, submit the others, until all are through; see `train`.

    Raises:
        UserError: Nothing can be submitted here, or sbatch refuses.
        Interrupted: A signal asks us to go; the jobs go on.
        RunError: Jobs were cancelled, refused their runs or died again and again.
    """
    refuse_without_slurm()
    folder = Path(how.path("")) / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    with stop_signals() as stop:
        jobs = _on_the_queue(pending, how, folder)
        if jobs:
            watching.note(f"{len(jobs)} stacks of an earlier call are on the queue, and are watched")
        taken = {name for task in jobs.values() for name in task.configs}
        free = {name: pending[name] for name in pending if name not in taken}
        free = {name: config for name, config in free.items() if _is_free(how.path(name), how.skip_held, watching)}
        new = [task_of(free, names, how) for names in stacks(free, where.stacks)]
        jobs |= submit(new, folder, where, watching.note)
        _watch(jobs, folder, where, watching, stop)


def _on_the_queue(pending: Mapping[str, TrainConfig], how: How, folder: Path) -> dict[str, Task]:
    """Stacks of an earlier call that are still on the queue, by their jobs; notes about jobs that are gone go too."""
    found: dict[str, Task] = {}
    notes = sorted(folder.glob("submitted-*.json"))
    states = states_of_jobs() if notes else {}
    if states is None:
        raise RunError(f"Slurm does not answer, and what {notes[0]} names may be at work; the same command tries again")
    for note in notes:
        try:
            names = {str(job): list(map(str, runs)) for job, runs in read_json(note).items()}
        except (DamagedFile, AttributeError, TypeError):
            raise RunError(f"{note} is not what was written; remove it once `squeue --me` shows no such job") from None
        alive = {job: runs for job, runs in names.items() if states.get(job, GONE) not in {*ENDED, GONE}}
        if not alive:
            note.unlink()
        for job, runs in alive.items():
            if ours := [name for name in runs if name in pending]:
                found[job] = task_of(pending, ours, how)
    return found


def _is_free(path: Path, skip_held: bool, watching: Progress) -> bool:
    """Whether nobody trains a run now."""
    if not holder(path):
        return True
    try:
        with locked(path):
            return True
    except LockedRun as held:
        if not skip_held:
            raise
        watching.note(f"left out: {held}")
        return False


class _End(NamedTuple):
    """What became of a job that is no more on the queue."""

    notes: list[str]  # that a person should know
    wrong: str = ""  # why its runs are unfinished, and will be
    lost: str = ""  # why its runs are unfinished, and are submitted again
    tried: int = 0  # how often they were, then


def _watch(jobs: dict[str, Task], folder: Path, where: Slurm, watching: Progress, stop: Stop) -> None:
    """Show how far the stacks are until all are through; submit again what was lost."""
    of, wrong, asked, begun = len(jobs), list[str](), -ASK_EVERY_S, Courses(jobs)
    while jobs:
        if stop:
            raise Interrupted(_how_to_look(jobs))
        if time.monotonic() - asked > ASK_EVERY_S:
            asked = time.monotonic()
            ends = {job: _end(job, task, state, folder) for job, task, state in _ended(jobs)}
            for end in ends.values():
                for note in end.notes:
                    watching.note(note)
            wrong += [end.wrong for end in ends.values() if end.wrong]
            again = [jobs[job]._replace(tried=end.tried) for job, end in ends.items() if end.lost]
            for job in ends:
                del jobs[job]
            if again:
                why = "; ".join(end.lost for end in ends.values() if end.lost)
                refuse_a_third_loss(again, f"what the jobs printed is in {folder}")
                watching.note(f"{why}, with runs unfinished: submitted again")
                jobs |= submit(again, folder, where, watching.note)
        watching.stacks(begun.now(list(jobs)), of - len(jobs), of)
        if jobs:
            time.sleep(LOOK_EVERY_S)
    if wrong:
        raise RunError("; ".join(wrong))


def _how_to_look(jobs: Mapping[str, Task]) -> str:
    arrays = sorted({job.partition("_")[0] for job in jobs}, key=int)
    return (
        f"{len(jobs)} stacks go on in Slurm: `squeue --jobs={','.join(arrays)}` shows them, `scancel "
        f"{' '.join(arrays)}` stops them with everything saved, the same command watches again"
    )


def _ended(jobs: Mapping[str, Task]) -> list[tuple[str, Task, str]]:
    """Those of the jobs that are no more on the queue, with Slurm's word for it; none, if Slurm does not answer."""
    states = states_of_jobs()
    if states is None:
        return []
    now = {job: states.get(job, GONE) for job in jobs}
    return [(job, jobs[job], state) for job, state in now.items() if state in {*ENDED, GONE}]


def _end(job: str, task: Task, state: str, folder: Path) -> _End:
    said: Mapping[str, Any] = said_by(job, folder)
    notes = [str(note) for note in said.get("notes", [])]
    if said.get("refused"):
        return _End(notes, wrong=str(said["refused"]))
    left = any(is_pending(Run(path)) for path in task.paths())
    if notes or not left:  # a run that was left to somebody else is in the notes
        return _End(notes)
    if state == "CANCELLED":
        return _End(notes, wrong=f"job {job} was cancelled; the same command submits its runs again")
    at_fault = state not in NO_FAULT and not said.get("moved")
    return _End(notes, lost=f"job {job} ended as {state}", tried=task.tried + at_fault)
