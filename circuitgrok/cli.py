"""The command line: `circuitgrok` and one of the commands of `HELP`.

Exit codes: 0 done; 1 a run diverged, or the doctor found damage; 2 bad input (one line says the rule,
what was got, what to type); 74 the disk is full or refuses; 75 stopped by a signal with everything
saved: the same command goes on. Heavy libraries are imported by the command that needs them.
"""

import errno
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

from circuitgrok.flags import (
    REQUIRED,
    TRAIN_FLAGS,
    config_fields,
    field_flags,
    of_kinds,
    parse,
    plain,
    positional,
    preset_and_rest,
    preset_option,
    sampling_flags,
    sampling_of,
)

if TYPE_CHECKING:
    from circuitgrok.landscape.sampling import Sampling
    from circuitgrok.runs import Run

HELP = """usage: circuitgrok COMMAND ...

Train grokking networks, checkpoint them densely, take every checkpoint apart.

  train PRESET [--FIELD VALUE ...]             train one run; the same command again resumes it
  sweep --preset PRESET [--FIELD VALUES ...]   train a grid of runs; alike ones as one stack
  presets                                      list the presets: whose they are, how long they take
  import FILE --as LAYOUT                      bring in a published network as a run; layouts: nanda,
                                               pizza, hooked-transformer
  runs [FOLDER]                                list the runs below a folder
  measure RUN                                  measure every checkpoint, write measures.parquet
  measure RUN --measures llc hessian           learning coefficients and curvature (minutes)
  explore RUN@STEP --sampler hmc ...           walk the loss basin from a checkpoint (hmc, sgld, ...)
  doctor RUN                                   verify every file of a run

fields: any field of the config by its own name, such as --alpha 0.8 --p 59 --fixed-norm on;
        `circuitgrok train nanda --help` lists them all, with `--model dense --task digits` those of other kinds
"""
UNSAID = {"frac_train", "data_seed", "split", "operation", "act"}  # fields that a published file may leave out
PATHS = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; exits with the code of the command."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Run one command; its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("circuitgrok"))
        return 0
    if argv[0] not in COMMANDS:
        return _refuse(f"unknown command {argv[0]!r}{_nearest(argv[0], COMMANDS)}; there are {', '.join(COMMANDS)}")
    try:
        return COMMANDS[argv[0]](argv[1:])
    except KeyboardInterrupt as stopped:
        print(f"circuitgrok: {stopped or 'stopped'}", file=sys.stderr)
        return 75
    except ValueError as error:
        return _refuse(str(error))
    except OSError as error:
        if error.errno in PATHS or error.errno is None:
            return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        if error.errno not in DISK:
            raise
        place = f" at {error.filename}" if error.filename else ""
        print(
            f"circuitgrok: cannot write{place}: {error.strerror}; what was saved before is whole: "
            f"make room, then the same command goes on",
            file=sys.stderr,
        )
        return 74


def _refuse(message: str) -> int:
    print(f"circuitgrok: {message}", file=sys.stderr)
    return 2


def _nearest(name: str, known: Any) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _train(argv: list[str]) -> int:
    from circuitgrok.config import KINDS, TrainConfig

    preset, rest = preset_and_rest(argv, "circuitgrok train")
    named = TrainConfig.preset(preset)
    base = of_kinds(named, rest)
    options = parse(
        f"circuitgrok train {preset}",
        f"Train one run, starting from the preset {preset!r}. The same command again resumes it.",
        {**field_flags(base, many=False), **TRAIN_FLAGS},
        rest,
    )
    changed = {name: value for name, value in config_fields(base, options).items() if value != base.leaves()[name]}
    config = base.with_(**changed)
    kinds = [getattr(base, s).kind for s in KINDS if getattr(base, s).kind != getattr(named, s).kind]
    varied = "".join([*(f"-{kind}" for kind in kinds), *(f"-{name}{plain(value)}" for name, value in changed.items())])
    out = Path(options.out or f"checkpoints/{preset}{varied}")
    return _train_all({out.name: config}, out.parent, options, summaries=True)


def _sweep(argv: list[str]) -> int:
    from circuitgrok.config import TrainConfig
    from circuitgrok.sweep import grid

    base = of_kinds(TrainConfig.preset(preset_option(argv)), argv)
    options = parse(
        "circuitgrok sweep",
        "Train every combination of the values given. Runs that are alike in shape train as one stack.",
        {
            "preset": (str, "quickstart", "preset to start from"),
            **field_flags(base, many=True),
            **TRAIN_FLAGS,
        },
        argv,
    )
    configs = grid(base, {name: list(values) for name, values in config_fields(base, options).items() if values})
    return _train_all(configs, Path(options.out or f"checkpoints/{options.preset}-sweep"), options, summaries=False)


def _train_all(configs: dict[str, Any], out: Path, options: Any, summaries: bool) -> int:
    from circuitgrok.progress import LiveProgress
    from circuitgrok.training import Silent, train

    runs = train(
        list(configs.values()),
        out,
        names=list(configs),
        progress=Silent() if options.quiet else LiveProgress(),
        threads=options.threads,
        allow_inexact=options.allow_inexact,
    )
    if summaries:
        for one in runs:
            _summarise(one, options.quiet)
    else:
        _print_runs(runs)
    return 1 if any(one.state == "diverged" for one in runs) else 0


def _summarise(run: Any, quiet: bool) -> None:
    """Print what happened, and save it with a figure beside the run; a run that has both is left alone."""
    from circuitgrok.figures import run_figure, save
    from circuitgrok.files import write_atomically
    from circuitgrok.measures.kinds import fitting
    from circuitgrok.measures.table import measure_run
    from circuitgrok.progress import ticks
    from circuitgrok.summary import SUMMARISED, summary_lines

    saved = run.path / "summary.txt"
    if saved.exists():
        print(saved.read_text(encoding="utf-8"), end="")
        print(f"{run.path} was {run.state} already; `circuitgrok measure {run.path}` measures it")
        return
    if not run.steps:
        print(f"{run.path}: {run.state}, no checkpoint to measure")
        return
    with ticks("measuring", quiet) as tick:
        table = measure_run(run, fitting(SUMMARISED, run.config), tick=tick)
    paths = save(run_figure(run, table), run.path / "figure")
    lines = [*summary_lines(run, table), f"  figure       {paths[0]} and {paths[1].name}"]
    print("\n".join(lines))
    write_atomically(saved, ("\n".join(lines) + "\n").encode())


def _import(argv: list[str]) -> int:
    import tyro

    from circuitgrok.config import leaf_fields

    layouts = Literal["nanda", "hooked-transformer", "pizza"]
    unsaid: dict[str, Any] = {name: field for _, name, field in leaf_fields() if name in UNSAID}
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
            **{name: (Optional[field.annotation], None, field.description) for name, field in unsaid.items()},  # noqa: UP045
        },
        argv,
    )
    from circuitgrok.published import read_published, report, write_run

    given = {name: getattr(options, name) for name in unsaid if getattr(options, name) is not None}
    published = read_published(options.file, options.layout, options.config or None, step=options.step, **given)
    one = write_run(published, Path(options.out) / (options.name or Path(options.file).stem))
    print("\n".join(report(published)))
    print(f"{one.path} is {one.state}; `circuitgrok measure {one.path}` measures it")
    return 0


def _presets(argv: list[str]) -> int:
    from rich.console import Console
    from rich.table import Table

    from circuitgrok.presets import MACHINE, PRESETS

    parse("circuitgrok presets", "List the presets.", {}, argv)
    table = Table(box=None, header_style="bold")
    table.add_column("preset", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, preset in PRESETS.items():
        table.add_row(name, _duration(preset.minutes), preset.line)
    console = Console()
    Console(width=None if console.is_terminal else 10_000).print(table)
    print(f"times on {MACHINE}; `circuitgrok train PRESET` trains one")
    return 0


def _duration(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _runs(argv: list[str]) -> int:
    from circuitgrok.runs import runs_below

    options = parse(
        "circuitgrok runs",
        "List the runs below a folder.",
        {"folder": (Annotated[str, positional()], "checkpoints", "folder to look in")},
        argv,
    )
    found = runs_below(options.folder)
    if not found:
        print(f"no runs below {options.folder}; `circuitgrok train quickstart` makes one")
        return 0
    _print_runs(found)
    return 0


def _print_runs(runs: Sequence[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from circuitgrok.files import DamagedFile
    from circuitgrok.runs import RunError
    from circuitgrok.summary import RunRow, run_row

    table = Table(box=None, header_style="bold")
    for column in RunRow._fields:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column not in ("name", "interventions"))
    unreadable = []
    for one in runs:
        try:
            table.add_row(*run_row(one))
        except (DamagedFile, RunError, KeyError) as error:
            unreadable.append(f"{one.path} is unreadable: {error}; `circuitgrok doctor {one.path}` says more")
    if table.row_count:
        console = Console()
        Console(width=None if console.is_terminal else 10_000).print(table)  # in a file no line is ever folded
    for line in unreadable:
        print(line)


def _measure(argv: list[str]) -> int:
    from circuitgrok.measures.checkpoints import KEY_FREQUENCY_RULES
    from circuitgrok.measures.kinds import fitting
    from circuitgrok.measures.table import check_groups, measure_run, names_of_groups, quick_groups
    from circuitgrok.progress import ticks
    from circuitgrok.runs import load
    from circuitgrok.summary import SUMMARISED, summary_lines

    names = names_of_groups()
    options = parse(
        "circuitgrok measure",
        "Measure every checkpoint of a run; writes RUN/measures.parquet and prints a summary.",
        {
            "run": (Annotated[str, positional()], REQUIRED, "the run's folder"),
            "measures": (
                tuple[Literal[names], ...],
                (),
                "groups of measures; by default all quick ones that make sense for the run",
            ),  # pyright: ignore
            "steps": (tuple[int, ...], (), "checkpoints to measure; all by default"),
            "rule": (Literal[tuple(KEY_FREQUENCY_RULES)], "wl_energy", "rule for the key frequencies"),  # pyright: ignore
            "out": (str, "", "where to write the table; RUN/measures.parquet by default"),
            "threads": (int, 1, "threads of torch"),
            "quiet": (bool, False, "no progress"),
            **sampling_flags(),
        },
        argv,
    )
    import torch

    torch.set_num_threads(max(1, options.threads))
    one, sampling = load(options.run), sampling_of(options)
    chosen = options.measures or quick_groups(one.config)
    check_groups(chosen, one.config)
    if "llc" in chosen and sampling is None:
        sampling = _calibrated(one, options.quiet)
    with ticks("measuring", options.quiet) as tick:
        table = measure_run(one, chosen, options.steps or None, rule=options.rule, sampling=sampling, tick=tick)
    out = Path(options.out or one.path / "measures.parquet")
    table.to_parquet(out)
    if set(fitting(SUMMARISED, one.config)) <= set(chosen):
        print("\n".join(summary_lines(one, table)))
    print(f"{len(table)} checkpoints × {table.shape[1]} columns → {out}")
    return 0


def _calibrated(one: "Run", quiet: bool) -> "Sampling":
    """The run's own settings, found now if they never were; says why, and draws it."""
    from circuitgrok import figures
    from circuitgrok.landscape.calibration import calibration_of

    def tick(localization: float) -> None:
        if not quiet:
            print(f"calibrating: localization {localization:g} tried", file=sys.stderr)

    found = calibration_of(one, tick)
    figure = figures.calibration_figure(found.table, found.sampling.localization)
    paths = figures.save(figure, one.path / "llc" / "calibration")
    print("\n".join([f"llc is sampled as calibrated ({paths[0]}):", *(f"  {line}" for line in found.explanation)]))
    return found.sampling


def _explore(argv: list[str]) -> int:
    from pydantic import ValidationError

    from circuitgrok.config import explain
    from circuitgrok.landscape.exploration import JITTER, explore_run
    from circuitgrok.landscape.sampling import Sampling
    from circuitgrok.progress import ticks
    from circuitgrok.runs import load

    settings = {
        name: (field.annotation, REQUIRED if field.is_required() else field.default, field.description or name)
        for name, field in Sampling.model_fields.items()
    }
    settings["localization"] = (float, 0.0, "strength of a pull to the start, gamma")
    options = parse(
        "circuitgrok explore",
        "Walk through the posterior of a run's training loss from one of its checkpoints, and write what each draw "
        "scores: losses, accuracies, norm, angle to the start, energies, acceptance.",
        {
            "start": (Annotated[str, positional()], REQUIRED, "RUN_FOLDER@STEP"),
            **settings,
            "prior": (float, 0.0, "precision of a Gaussian prior about 0; 0 is none"),
            "jitter": (float, JITTER, "of hmc: share by which a trajectory may be shorter, drawn for each"),
            "out": (str, "", "where to write the table; RUN/explored_STEP.parquet by default"),
            "threads": (int, 1, "threads of torch"),
            "quiet": (bool, False, "no progress"),
        },
        argv,
    )
    import torch

    torch.set_num_threads(max(1, options.threads))
    folder, mark, number = options.start.rpartition("@")
    if not mark or not number.isdigit():
        raise ValueError(f"start must be RUN_FOLDER@STEP, such as checkpoints/reference@4000; got {options.start!r}")
    one = load(folder)
    try:
        sampling = Sampling(**{name: getattr(options, name) for name in Sampling.model_fields})
    except ValidationError as error:
        raise ValueError("; ".join(explain(error))) from None
    with ticks("exploring", options.quiet) as tick:
        found = explore_run(one, int(number), sampling, prior=options.prior, jitter=options.jitter, tick=tick)
    out = Path(options.out or one.path / f"explored_{number}.parquet")
    found.table.to_parquet(out)
    ends = found.table.groupby("draw")[["train_loss", "test_loss", "train_acc", "test_acc", "norm", "angle"]].median()
    for name, column in ends.items():
        print(f"  {name:12s} {column.iloc[0]:.4g} → {column.iloc[-1]:.4g}   (medians of {sampling.n_chains} chains)")
    if found.table["acceptance"].notna().any():
        print(
            f"  acceptance   {found.table['acceptance'].mean():.3f}, mean delta_H {found.table['delta_H'].mean():.3g}"
        )
    print(f"{sampling.n_draws} draws of {sampling.sampler} → {out}")
    return 0


def _doctor(argv: list[str]) -> int:
    from contextlib import suppress

    from circuitgrok.files import DamagedFile
    from circuitgrok.runs import Run, load
    from circuitgrok.summary import advice, examine

    options = parse(
        "circuitgrok doctor",
        "Verify every file of a run, and say what can still be used.",
        {"run": (Annotated[str, positional()], REQUIRED, "the run's folder")},
        argv,
    )
    with suppress(DamagedFile):  # among the findings
        load(options.run)
    one = Run(Path(options.run))
    findings = examine(one)
    for finding in findings:
        if not finding.good or not finding.file.startswith("step_"):
            print(f"{'ok     ' if finding.good else 'DAMAGED'} {finding.file}: {finding.note}")
    good = sum(f.good and f.file.startswith("step_") for f in findings)
    print(f"{'ok     '} {good} checkpoints verified by their SHA-256")
    print(advice(one, findings))
    return 0 if all(f.good for f in findings) else 1


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "sweep": _sweep,
    "presets": _presets,
    "import": _import,
    "runs": _runs,
    "measure": _measure,
    "explore": _explore,
    "doctor": _doctor,
}
