"""Commands that bring runs about or list them: train, sweep, presets, runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from circuitgrok.errors import UserError
from circuitgrok.faces.fields import config_leaves, kinds_of
from circuitgrok.faces.flags import (
    ALIASES,
    TRAIN_FLAGS,
    config_values,
    field_flags,
    in_name,
    kinds_of_flags,
    parse,
    positional,
    preset_and_rest,
    preset_option,
)
from circuitgrok.measures.learning.classes import DELAY
from circuitgrok.text import plain, show
from circuitgrok.training.progress import load_torch

if TYPE_CHECKING:
    from rich.table import Table

    from circuitgrok.study.swept import Sweep

SWEEP_FLAGS = {
    "delay": (int, DELAY, "steps from memorised to grokked, from which a run's class is grokking"),
    "workers": (int, 1, "processes that train stacks side by side, each with its own --threads"),
}


def train(argv: list[str]) -> int:
    """Train one run; the same command again resumes it."""
    preset, rest = preset_and_rest(argv, "circuitgrok train")
    kinds = kinds_of_flags(preset, rest)
    leaves = config_leaves(preset, kinds)
    options = parse(
        f"circuitgrok train {preset}",
        f"Train one run, starting from the preset {preset!r}. The same command again resumes it.",
        {**field_flags(leaves, kinds, many=False), **TRAIN_FLAGS},
        rest,
    )
    changed = {name: value for name, value in config_values(leaves, options).items() if value != leaves[name].default}
    others = {section: kind for section, kind in kinds.items() if kind != kinds_of(preset)[section]}
    load_torch(options.quiet)
    from circuitgrok.config.train_config import TrainConfig

    config = TrainConfig.preset(preset).with_(**others, **changed)
    varied = [*(f"-{kind}" for kind in others.values()), *(f"-{name}{in_name(v)}" for name, v in changed.items())]
    out = Path(os.path.expanduser(options.out) or f"checkpoints/{preset}{''.join(varied)}")
    from circuitgrok.training.loop import train as train_runs

    [run] = train_runs([config], out.parent, names=[out.name], **_how(options))
    _summarise(run, options.quiet)
    return 1 if run.state == "diverged" else 0


def sweep(argv: list[str]) -> int:
    """Train every combination of the values given, and write their table and phase diagram."""
    preset = preset_option(argv)
    kinds = kinds_of_flags(preset, argv)
    leaves = config_leaves(preset, kinds)
    options = parse(
        "circuitgrok sweep",
        "Train every combination of the values given. Runs that are alike in shape train as one stack. Their table "
        "and, where a field takes several values, their phase diagram are written beside them.",
        {
            "preset": (str, "quickstart", "preset to start from"),
            **field_flags(leaves, kinds, many=True),
            **TRAIN_FLAGS,
            **SWEEP_FLAGS,
        },
        argv,
    )
    load_torch(options.quiet)
    from circuitgrok.config.train_config import TrainConfig
    from circuitgrok.errors import Interrupted
    from circuitgrok.study.sweep import planned

    others = {section: [kind] for section, kind in kinds.items() if kind != kinds_of(preset)[section]}
    given = config_values(leaves, options)
    words = {word.split("=")[0].removeprefix("--").replace("-", "_") for word in argv if word.startswith("--")}
    if empty := [
        name for name, taken in given.items() if not taken and words & {name, ALIASES.get(name, name).strip("-")}
    ]:
        raise UserError(f"--{empty[0].replace('_', '-')} needs values, such as those of `circuitgrok sweep --help`")
    values = {name: list(taken) for name, taken in given.items() if taken}
    out = options.out or f"checkpoints/{options.preset}-sweep"
    planned_sweep = planned(TrainConfig.preset(preset), others | values, out=out, delay=options.delay)
    try:
        runs = planned_sweep.train(**_how(options), workers=options.workers, skip_held=True).runs
    except Interrupted:
        _write_sweep(planned_sweep)
        raise
    _print_runs(runs)
    _write_sweep(planned_sweep)
    return 1 if any(one.state == "diverged" for one in runs) else 0


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
        "threads": options.threads,
        "device": options.device,
        "allow_inexact": options.allow_inexact,
    }


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
    write_vouched(saved, "".join(f"{plain(line)}\n" for line in lines).encode())
    show(*lines)


def presets(argv: list[str]) -> int:
    """List the presets."""
    from rich.table import Table

    from circuitgrok.config.presets import MACHINE, PRESETS

    parse("circuitgrok presets", "List the presets.", {}, argv)
    table = Table(box=None, header_style="bold")
    table.add_column("preset", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, preset in PRESETS.items():
        table.add_row(name, _duration(preset.minutes), preset.line)
    _show(table)
    show(f"times on {MACHINE}; `circuitgrok train PRESET` trains one")
    return 0


def _duration(minutes: float | None) -> str:
    if minutes is None:
        return "–"
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def runs(argv: list[str]) -> int:
    """List the runs below a folder."""
    from circuitgrok.store.run import runs_below

    options = parse(
        "circuitgrok runs",
        "List the runs below a folder.",
        {"folder": (Annotated[str, positional()], "checkpoints", "folder to look in")},
        argv,
    )
    found = runs_below(options.folder)
    if not found:
        show(f"no runs below {options.folder}; `circuitgrok train quickstart` makes one")
        return 0
    _print_runs(found)
    return 0


def _print_runs(runs: Sequence[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from circuitgrok.faces.summary import RunRow

    table = Table(box=None, header_style="bold")
    for column in RunRow._fields:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column not in ("name", "interventions"))
    for one in runs:
        table.add_row(*(Text(plain(cell)) for cell in _row(one)))
    _show(table)


def _row(one: Any) -> tuple[str, ...]:
    """A run's line of the table; one that cannot be read, for whatever reason, says so in its own line."""
    from circuitgrok.errors import UserError
    from circuitgrok.faces.summary import RunRow, run_row

    try:
        return run_row(one)
    except Exception as error:  # a stranger's folder may hold anything: no single run ends the table
        said = str(error) if isinstance(error, UserError | OSError) else repr(error)
        said = said.replace(f"{one.path}{os.sep}", "")
        note = f"{said[:300]}; `circuitgrok doctor {one.path}` says more"
        cells = dict.fromkeys(RunRow._fields, "–")
        return RunRow(**cells | {"name": str(one.path), "state": "unreadable", "interventions": note})


def _show(table: "Table") -> None:
    """Print a table; in a file no line is ever folded."""
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else 10_000)
    with console.capture() as drawn:  # rich would end the process by itself, where the reader of a pipe has gone
        console.print(table)
    print(drawn.get(), end="")
