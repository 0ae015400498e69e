"""Commands that bring runs about: train, sweep."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.errors import UserError
from circuitgrok.faces.commands.listing import print_runs, print_table
from circuitgrok.faces.flags import (
    ALIASES,
    TRAIN_FLAGS,
    config_values,
    field_flags,
    headings,
    in_name,
    parse,
)
from circuitgrok.faces.start import start_of_sweep, start_of_train
from circuitgrok.measures.learning.classes import DELAY
from circuitgrok.text import plain, show
from circuitgrok.training.progress import load_torch

if TYPE_CHECKING:
    from circuitgrok.study.swept import Sweep
    from circuitgrok.training.outlook import Outlook

SWEEP_FLAGS = {
    "delay": (int, DELAY, "steps from memorised to grokked, from which a run's class is grokking"),
    "workers": (int, 1, "processes that train stacks side by side, each with its own --threads; on cuda each on a GPU"),
    "dask": (str, "", "address of a dask scheduler whose workers train the stacks: tcp://HOST:PORT"),
    "slurm": (
        str,
        "",
        "train the stacks as jobs of Slurm with these options of sbatch: partition=gpu,gres=gpu:1,time=2:00:00; "
        "stacks=12 splits runs that are alike, at_once=4 is the most at work together",
    ),
}


def train(argv: list[str]) -> int:
    """Train one run; the same command again resumes it."""
    start = start_of_train(argv)
    options = parse(
        f"circuitgrok train {f'--config {start.file}' if start.file else start.name}",
        f"Train one run, starting from {start.file or f'the preset {start.name!r}'}. The same command again goes on.",
        {**field_flags(start.leaves, start.kinds, many=False), **TRAIN_FLAGS},
        start.rest,
        headings(start.kinds),
    )
    changed = start.changed(options)
    load_torch(options.quiet)
    config = start.config().with_(**start.others, **changed)
    varied = [*(f"-{kind}" for kind in start.others.values()), *(f"-{name}{in_name(v)}" for name, v in changed.items())]
    out = Path(os.path.expanduser(options.out) or f"checkpoints/{start.name}{''.join(varied)}")
    if options.dry_run:
        from circuitgrok.training.outlook import outlook

        _print_outlook(outlook([config], out.parent, names=[out.name], **_where(options)), options)
        return 0
    from circuitgrok.training.loop import train as train_runs

    [run] = train_runs([config], out.parent, names=[out.name], **_how(options))
    _summarise(run, options.quiet)
    return 1 if run.state == "diverged" else 0


def sweep(argv: list[str]) -> int:
    """Train every combination of the values given, and write their table and phase diagram."""
    start = start_of_sweep(argv)
    options = parse(
        "circuitgrok sweep",
        "Train every combination of the values given. Runs that are alike in shape train as one stack. Their table "
        "and, where a field takes several values, their phase diagram are written beside them.",
        {
            "preset": (str, "quickstart", "preset to start from"),
            **field_flags(start.leaves, start.kinds, many=True),
            **TRAIN_FLAGS,
            **SWEEP_FLAGS,
        },
        start.rest,
        headings(start.kinds),
    )
    _refuse_two_ways(options)
    load_torch(options.quiet)
    from circuitgrok.errors import Interrupted
    from circuitgrok.study.sweep import planned

    others = {section: [kind] for section, kind in start.others.items()}
    given = config_values(start.leaves, options)
    words = {word.split("=")[0].removeprefix("--").replace("-", "_") for word in argv if word.startswith("--")}
    if empty := [
        name for name, taken in given.items() if not taken and words & {name, ALIASES.get(name, name).strip("-")}
    ]:
        raise UserError(f"--{empty[0].replace('_', '-')} needs values, such as those of `circuitgrok sweep --help`")
    values = {name: list(taken) for name, taken in given.items() if taken}
    out = options.out or f"checkpoints/{start.name}-sweep"
    planned_sweep = planned(start.config(), others | values, out=out, delay=options.delay)
    if options.dry_run:
        with _hands(options) as hands:
            _print_outlook(planned_sweep.outlook(**_where(options), **hands), options)
        return 0
    try:
        with _hands(options) as hands:
            runs = planned_sweep.train(**_how(options), **hands, skip_held=True).runs
    except Interrupted:
        _write_sweep(planned_sweep)
        raise
    print_runs(runs)
    _write_sweep(planned_sweep)
    return 1 if any(one.state == "diverged" for one in runs) else 0


def _refuse_two_ways(options: Any) -> None:
    """A sweep is trained by processes of its own, by dask's or by Slurm's."""
    given = [f"--{name}" for name in ("dask", "slurm") if getattr(options, name)]
    given += ["--workers"] if options.workers != 1 else []
    if len(given) > 1:
        raise UserError(
            f"{given[0]} brings workers of its own, and how many there are is its business; got {' and '.join(given)}: "
            f"leave out one"
        )


@contextlib.contextmanager
def _hands(options: Any) -> Iterator[dict[str, Any]]:
    """Who trains the stacks, for `train`."""
    if options.dask:
        from circuitgrok.training.clusters import dask_workers

        with dask_workers(options.dask) as (executor, workers):
            yield {"executor": executor, "workers": workers}
    elif options.slurm:
        from circuitgrok.training.slurm import slurm

        yield {"executor": slurm(options.slurm)}
    else:
        yield {"workers": options.workers}


def _how(options: Any) -> dict[str, Any]:
    """How to train, from the flags that `train` and `sweep` share."""
    from circuitgrok.training.progress import LiveProgress, Progress, Silent, Together

    progress: Progress = Silent() if options.quiet else LiveProgress()
    if options.log == "tensorboard":
        from circuitgrok.training.tensorboard import TensorBoard

        if getattr(options, "workers", 1) > 1:
            raise UserError("--log tensorboard sees what trains in this process: leave out --workers")
        progress = Together(progress, TensorBoard())
    return {
        "progress": progress,
        **_where(options),
        "allow_inexact": options.allow_inexact,
        "until": options.until,
    }


def _where(options: Any) -> dict[str, Any]:
    """What to compute on."""
    return {"threads": options.threads, "device": options.device}


def _print_outlook(found: "Outlook", options: Any) -> None:
    """Say what training would do."""
    from rich.table import Table

    from circuitgrok.faces.ahead import AheadRow, outlook_lines, stack_rows

    if found.stacks:
        table = Table(box=None, header_style="bold")
        for column in AheadRow._fields:
            numbers = column not in ("stack", "what")
            table.add_column(column.replace("_", " "), justify="right" if numbers else "left", overflow="fold")
        for row in stack_rows(found):
            table.add_row(*map(plain, row))
        print_table(table)
    elsewhere = "dask" if getattr(options, "dask", "") else "Slurm" if getattr(options, "slurm", "") else ""
    show(*outlook_lines(found, getattr(options, "workers", 1), options.threads, elsewhere))


def _write_sweep(found: "Sweep") -> None:
    """Write a sweep's table and figure into its folder, and say so, what is missing, and which run came first."""
    from circuitgrok.faces.outputs import write_sweep

    written = write_sweep(found)
    show(repr(found), f"{written[0]}, {', '.join(path.name for path in written[1:])} written")
    if missing := found.missing:
        show(f"{len(missing)} of {len(found)} runs are missing there, such as {missing[0]}; the same command goes on")
    if found.table["grokked_by"].notna().any():
        show(f"first to grok: {found.best().name}")


def _summarise(run: Any, quiet: bool) -> None:
    """Print what happened, and save it with a figure beside the run; a run that has both is left alone."""
    from circuitgrok.faces.summary import SUMMARISED, summary_lines
    from circuitgrok.figures import run_figure, save
    from circuitgrok.store.kept import kept_text, write_vouched
    from circuitgrok.table.measure import measure
    from circuitgrok.table.needs import fitting
    from circuitgrok.training.progress import ticks

    saved = run.path / "summary.txt"
    text = kept_text(saved, run.sealed)
    if text:
        show(*text.splitlines())
        show(f"{run.path} was {run.state} already; `circuitgrok measure {run.path}` measures it")
        return
    if not run.steps:
        show(f"{run.path}: {run.state}, no checkpoint to measure")
        return
    with ticks("measuring", "checkpoints", quiet) as tick:
        table = measure(run, fitting(SUMMARISED, run.config), tick=tick)
    paths = save(run_figure(run, table), run.path / "figure")
    lines = [*summary_lines(run, table), f"  figure       {paths[0]} and {paths[1].name}"]
    if run.state in ("finished", "diverged"):  # of others it would be no longer true when they have gone on
        write_vouched(saved, "".join(f"{plain(line)}\n" for line in lines).encode())
    show(*lines)
