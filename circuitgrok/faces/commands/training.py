"""Commands that bring runs about: train, sweep, import."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

from circuitgrok.errors import UserError
from circuitgrok.faces.commands.listing import print_runs
from circuitgrok.faces.fields import config_leaves, kinds_of
from circuitgrok.faces.flags import (
    ALIASES,
    REQUIRED,
    TRAIN_FLAGS,
    config_values,
    field_flags,
    headings,
    in_name,
    parse,
    positional,
)
from circuitgrok.faces.start import start_of_sweep, start_of_train
from circuitgrok.measures.learning.classes import DELAY
from circuitgrok.text import plain, show
from circuitgrok.training.progress import load_torch

if TYPE_CHECKING:
    from circuitgrok.study.swept import Sweep

UNSAID = {"frac_train", "data_seed", "split", "operation", "act"}  # fields that a published file may leave out
SWEEP_FLAGS = {
    "delay": (int, DELAY, "steps from memorised to grokked, from which a run's class is grokking"),
    "workers": (int, 1, "processes that train stacks side by side, each with its own --threads"),
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
    given = config_values(start.leaves, options)
    changed = {name: value for name, value in given.items() if value != start.leaves[name].default}
    load_torch(options.quiet)
    config = start.config().with_(**start.others, **changed)
    varied = [*(f"-{kind}" for kind in start.others.values()), *(f"-{name}{in_name(v)}" for name, v in changed.items())]
    out = Path(os.path.expanduser(options.out) or f"checkpoints/{start.name}{''.join(varied)}")
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
    try:
        runs = planned_sweep.train(**_how(options), workers=options.workers, skip_held=True).runs
    except Interrupted:
        _write_sweep(planned_sweep)
        raise
    print_runs(runs)
    _write_sweep(planned_sweep)
    return 1 if any(one.state == "diverged" for one in runs) else 0


def _how(options: Any) -> dict[str, Any]:
    """How to train, from the flags that `train` and `sweep` share."""
    from circuitgrok.training.loop import Silent
    from circuitgrok.training.progress import LiveProgress

    progress = Silent() if options.quiet else LiveProgress()
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


def import_published(argv: list[str]) -> int:
    """Bring in a file of published networks as a run."""
    import tyro

    layouts = Literal["nanda", "hooked-transformer", "pizza"]
    leaves = config_leaves("nanda", kinds_of("nanda"))
    unsaid = {name: leaf for name, leaf in leaves.items() if name in UNSAID}
    options = parse(
        "circuitgrok import",
        "Bring in a file of published networks as a run, with its task and split rebuilt. The networks are run here, "
        "and their losses printed beside those that the file claims. The last flags say what a file does not.",
        {
            "file": (
                Annotated[str, positional()],
                REQUIRED,
                "weights: .pth, .pt or .safetensors; none is unpickled",
            ),
            "layout": (Annotated[layouts, tyro.conf.arg(name="as")], REQUIRED, "whose layout the file has"),
            "config": (str, "", "JSON file of the published settings; pizza: config_ID.json beside model_ID.pt"),
            "out": (str, "checkpoints", "folder that gets the run's folder"),
            "name": (str, "", "name of the run's folder; the file's by default"),
            "step": (Optional[int], None, "updates behind the weights"),  # noqa: UP045
            **{name: (Optional[leaf.annotation], None, leaf.help) for name, leaf in unsaid.items()},  # noqa: UP045
        },
        argv,
    )
    load_torch(quiet=False)
    from circuitgrok.foreign.published import read_published, report, write_run

    given = {name: getattr(options, name) for name in unsaid if getattr(options, name) is not None}
    file, config, out = map(os.path.expanduser, (options.file, options.config, options.out))
    published = read_published(file, options.layout, config or None, step=options.step, **given)
    one = write_run(published, Path(out) / (options.name or Path(options.file).stem))
    show(*report(published))
    show(f"{one.path} is {one.state}; `circuitgrok measure {one.path}` measures it")
    return 0
