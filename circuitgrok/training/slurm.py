"""Stacks of runs as jobs of Slurm: what is asked of sbatch, one array of it through submitit, and what a job does.

A job that a signal stops (a time limit, a pre-emption) saves and is put back on the queue. What a job says at its end
is a small file; what submitit pickles of it is not read here.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitgrok.canonical import canonical_json
from circuitgrok.errors import DamagedFile, UserError
from circuitgrok.store.files import read_json, write_atomically
from circuitgrok.store.resume import resume_steps
from circuitgrok.store.run import Run
from circuitgrok.training.work import TRIES, Task, work

LONG_MIN = 10**6  # minutes that submitit takes a job to last, so that it leaves time limits to us
DEAF = """sh -c 'trap "" USR1 USR2; exec "$0" "$@"'"""  # a signal while Python loads would end it, unsaid
EXAMPLE = "partition=gpu,gres=gpu:1,time=2:00:00"
OURS = {"array", "output", "error", "signal", "open_mode", "nodes", "ntasks", "ntasks_per_node", "wrap"}
_OUTSIDE_BRACKETS = re.compile(r",(?![^\[]*\])")


@dataclass(frozen=True)
class Slurm:
    """Where jobs run, for `train(executor=...)`.

    Attributes:
        options: Of sbatch, by name, such as `partition`, `gres`, `time`.
        stacks: Least number of stacks, each a task of the array, if there are as many runs.
        at_once: Most tasks at work at the same time.
    """

    options: Mapping[str, str]
    stacks: int = 1
    at_once: int = 1000


def slurm(text: str) -> Slurm:
    """What `--slurm` says: options of sbatch as NAME=VALUE divided by commas, and two of our own.

    Args:
        text: `time` must be among them. `stacks=12` splits runs that are alike into so many stacks at least;
            `at_once=4` is the most that are at work together.

    Raises:
        UserError: It is not of that form; the message says what was got, and an example.

    Example:
        >>> slurm("partition=gpu,gres=gpu:1,time=2:00:00,stacks=4").options["gres"]
        'gpu:1'
    """
    options: dict[str, str] = {}
    for part in _OUTSIDE_BRACKETS.split(text):
        name, _, value = (word.strip() for word in part.partition("="))
        name = name.replace("-", "_")
        if not re.fullmatch(r"[a-z][a-z_]*", name) or not value:
            raise UserError(
                f"--slurm takes options of sbatch as NAME=VALUE, divided by commas, such as {EXAMPLE}; got "
                f"{part!r}{f' in {text!r}' if part != text else ''}"
            )
        if name in OURS or name in options:
            why = "is given twice" if name in options else "is set by circuitgrok: a job is one process on one node"
            raise UserError(f"--slurm: {name} {why}; got {text!r}; an example: {EXAMPLE}")
        options[name] = value
    if "time" not in options:
        raise UserError(
            f"--slurm needs time=, after which a job saves and goes back on the queue, such as {EXAMPLE}; got {text!r}"
        )
    numbers = {}
    for name in ("stacks", "at_once"):
        said = options.pop(name, None)
        if said is not None and not (said.isdecimal() and int(said) >= 1):
            raise UserError(f"--slurm: {name} is a whole number, 1 or more; got {said!r} in {text!r}")
        numbers |= {} if said is None else {name: int(said)}
    return Slurm(options, **numbers)


def refuse_without_slurm() -> None:
    """Refuse where nothing can be submitted.

    Raises:
        UserError: submitit is not installed, or this is no machine of a cluster.
    """
    try:
        import submitit  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("submitit is not installed: `pip install 'circuitgrok[slurm]'`") from None
    if missing := [name for name in ("sbatch", "srun", "squeue", "scontrol") if shutil.which(name) is None]:
        raise UserError(
            f"there is no {missing[0]} here: jobs are submitted on a machine of the cluster, such as its login node"
        )


def submit(tasks: Sequence[Task], folder: Path, where: Slurm, tell: Callable[[str], None]) -> dict[str, Task]:
    """The stacks as jobs of one array, by their numbers in Slurm; noted in the folder, so that others find them.

    Raises:
        UserError: sbatch refuses.
    """
    import submitit  # pyright: ignore[reportMissingImports]
    from submitit.core.utils import FailedJobError, FailedSubmissionError  # pyright: ignore[reportMissingImports]

    if not tasks:
        return {}
    executor = submitit.SlurmExecutor(folder, python=f"{DEAF} {shlex.quote(sys.executable)}")
    executor.update_parameters(
        array_parallelism=where.at_once,
        time=LONG_MIN,
        srun_args=[f"--cpus-per-task={where.options['cpus_per_task']}"] if "cpus_per_task" in where.options else None,
        additional_parameters={"job_name": "circuitgrok", **where.options},
    )
    try:
        handed = executor.map_array(work_as_job, tasks, [str(folder)] * len(tasks))
    except (FailedJobError, FailedSubmissionError) as error:
        said = [line for line in str(error).splitlines() if line.startswith("sbatch: ")] or str(error).splitlines()
        given = ",".join(f"{name}={value}" for name, value in where.options.items())
        raise UserError(f"sbatch refused {given}: {' '.join(said)[:400]}") from None
    jobs = {job.job_id: task for job, task in zip(handed, tasks, strict=True)}
    array = next(iter(jobs)).partition("_")[0]
    names = {job: list(task.configs) for job, task in jobs.items()}
    write_atomically(folder / f"submitted-{array}.json", canonical_json(names).encode())
    runs = sum(map(len, names.values()))
    tell(f"job {array} of Slurm: {runs} runs as {len(jobs)} stacks; what they print is in {folder}")
    return jobs


def states_of_jobs() -> dict[str, str] | None:
    """What Slurm says of our jobs, by number, also of those that have just ended; None if it does not answer."""
    try:
        said = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i %T"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return None
    if said.returncode:
        return None
    return dict(line.split(maxsplit=1) for line in said.stdout.splitlines() if " " in line)


def said_by(job: str, folder: Path) -> dict[str, Any]:
    """What a job has said at its end; nothing, if it never began.

    Returns:
        `notes`, when it was through; or `refused`; or, where a signal stopped it, whether it had `moved`, and how often
        it was `stuck` since it last had.
    """
    try:
        return dict(read_json(folder / f"said-{job}.json"))
    except (OSError, DamagedFile, TypeError, ValueError):
        return {}


def work_as_job(task: Task, folder: str) -> None:
    """`work` in a job of Slurm, which is put back on the queue where a signal stopped it before its end."""
    array, index = (os.environ.get(f"SLURM_ARRAY_{name}_ID", "") for name in ("JOB", "TASK"))
    job = f"{array}_{index}" if array else os.environ["SLURM_JOB_ID"]
    stuck, before = said_by(job, Path(folder)).get("stuck", 0), _reached(task)
    _say(job, folder, {"stuck": stuck})  # this time it has said nothing yet
    try:
        worked = work(task)
    except UserError as error:
        _say(job, folder, {"refused": str(error)})
        return
    if not worked.stopped:
        _say(job, folder, {"notes": worked.notes})
        return
    moved = _reached(task) > before
    stuck = 0 if moved else stuck + 1
    if stuck >= TRIES:
        why = f"job {job} was stopped {stuck} times before it had trained a step: it needs a longer time="
        _say(job, folder, {"refused": why})
        return
    _say(job, folder, {"stuck": stuck, "moved": moved})
    _back_on_the_queue(job)


def _say(job: str, folder: str, what: Mapping[str, Any]) -> None:
    write_atomically(Path(folder) / f"said-{job}.json", canonical_json(dict(what)).encode())


def _reached(task: Task) -> int:
    """Steps that are saved, over all runs of a stack."""
    return sum(max(resume_steps(Run(path)), default=0) for path in task.paths())


def _back_on_the_queue(job: str) -> None:
    """Ask Slurm to run this job again, unless it is being ended by somebody."""
    asked = subprocess.run(["squeue", "--noheader", f"--jobs={job}", "--format=%T"], capture_output=True, text=True)
    if asked.stdout.strip() == "RUNNING":
        subprocess.run(["scontrol", "requeue", job], check=False)
