"""`train`: configs become runs on disk, those that can share a stack side by side.

`train` groups configs that can share a stack (`training.beginning`) and trains each group in one loop
(`training.course`). At each step:

    logits and objective at the current weights → if due: evaluate, checkpoint → update

so that whatever is recorded at step s belongs to the weights after exactly s updates. What a stack
is, and what an update does, is in `circuitgrok.training.stack`; what is written, in `circuitgrok.store.run`.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, overload

import torch

from circuitgrok.config.bounds import refuse_what_does_not_fit
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import resolved, same_bits_again
from circuitgrok.errors import UserError
from circuitgrok.store import resume
from circuitgrok.store.environment import differences, environment
from circuitgrok.store.locking import LockedRun, locked
from circuitgrok.store.run import Run
from circuitgrok.store.writer import create
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.training.beginning import (
    room,
    same_environment,
    say_how_it_begins,
    stacks,
    start_facts,
    starting_points,
    unfinished,
)
from circuitgrok.training.course import train_stack
from circuitgrok.training.progress import Progress, usual_progress
from circuitgrok.training.stopping import stop_signals
from circuitgrok.training.until import until_of

if TYPE_CHECKING:
    from circuitgrok.training.slurm import Slurm


@overload
def train(
    configs: TrainConfig,
    out: str | Path = "checkpoints",
    *,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    threads: int = 1,
    workers: int = 1,
    executor: "Executor | Slurm | None" = None,
    device: str | torch.device = "cpu",
    until: str = "",
    allow_inexact: bool = False,
    skip_held: bool = False,
    save_every_s: float = 10.0,
) -> Run: ...
@overload
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
    until: str = "",
    allow_inexact: bool = False,
    skip_held: bool = False,
    save_every_s: float = 10.0,
) -> list[Run]: ...
def train(
    configs: TrainConfig | Sequence[TrainConfig],
    out: str | Path = "checkpoints",
    *,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    threads: int = 1,
    workers: int = 1,
    executor: "Executor | Slurm | None" = None,
    device: str | torch.device = "cpu",
    until: str = "",
    allow_inexact: bool = False,
    skip_held: bool = False,
    save_every_s: float = 10.0,
) -> Run | list[Run]:
    """Train each config as a run in a folder of its own; finished runs are left, begun ones go on.

    Configs of equal shapes, optimizer settings and schedule train as one stack.

    Args:
        configs: One config, one run; a single one gives a single run.
        out: Folder that gets one subfolder per run.
        names: Names of the subfolders; by default from the configs.
        progress: Who is told; by default nobody, and in a notebook a bar.
        threads: Threads of torch, in each process. With one, a run's bits do not depend on the stack it is in.
        workers: Processes that train stacks side by side; on "cuda" each on a GPU of its own. A script that asks for
            several has its work under `if __name__ == "__main__":`, as Python's own pools ask for.
        executor: Who runs the stacks instead, such as dask's `client.get_executor()`: anything with `submit`, whose
            processes see the same folder; `workers` says for how many of them there must be work. Or jobs of Slurm:
            `circuitgrok.slurm("partition=gpu,gres=gpu:1,time=2:00:00")`.
        device: Where to compute: "cpu", "cuda", "cuda:1", or "auto", a GPU if there is one. Only on the CPU do a run's
            bits not depend on the stack it is in.
        until: Stop a run when it has "grokked" or "memorised", or steps after that, "grokked+500": its state is then
            "stopped@grokked+500", and the same call without it goes on. It is not in the config.
        allow_inexact: Resume even where torch, instruction set, threads or device differ from the run's own.
        skip_held: Leave runs to whoever trains them now; otherwise one that is held is refused before any work.
        save_every_s: Seconds between resume points, or nine times as long as the last took to write if that is longer.

    Returns:
        The runs, in the order of the configs. A run that diverged has `state == "diverged"`.

    Raises:
        UserError: The device is not there, or cannot do float64; `until` names no event.
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
    every = [configs] if isinstance(configs, TrainConfig) else list(configs)
    if until:
        until_of(until)
    labels = list(names) if names is not None else [config.name for config in every]
    if len(set(labels)) != len(labels) or len(labels) != len(every):
        raise UserError(f"every run needs a name of its own; got {len(every)} configs named {labels}")
    for what, number in (("threads", threads), ("workers", workers)):
        if number < 1:
            raise UserError(f"{what} must be at least 1; got {number}")
    named = dict(zip(labels, every, strict=True))
    how = How(str(out), threads, str(device), allow_inexact, skip_held, save_every_s, until)
    watching = progress or usual_progress()
    if workers == 1 and executor is None:
        runs = train_here(named, how, watching)
    else:
        from circuitgrok.training.sharing import train_shared

        runs = train_shared(named, how, watching, workers, executor)
    return runs[0] if isinstance(configs, TrainConfig) else runs


class How(NamedTuple):
    """How runs are trained, beside their configs: the arguments of `train` that a worker needs."""

    out: str
    threads: int
    device: str
    allow_inexact: bool
    skip_held: bool
    save_every_s: float
    until: str = ""

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
        begun = [run for run in free if unfinished(run, how.until)]
        differing = {run.path: differences(run.manifest["environment"], here) for run in begun}
        for run in begun:
            if not how.allow_inexact:
                same_environment(run, differing[run.path])
        for alike in stacks({run: run.config for run in begun}, room=room(where)):
            with contextlib.ExitStack() as held:
                ours = [run for run in alike if _holds(run, held, how.skip_held)]
                points = {run.path: resume.resume_points(run) for run in ours if unfinished(run, how.until)}
                for group, step in starting_points([run for run in ours if run.path in points], points):
                    for run in group:
                        say_how_it_begins(run, step, points[run.path], differing[run.path], watching)
                    train_stack(group, step, where, watching, stop, how.save_every_s, how.until)
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


@contextlib.contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """So many for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
