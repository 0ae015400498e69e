"""Commands that look into a run: measure, explore, doctor."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from circuitgrok.flags import REQUIRED, parse, positional, sampling_flags, sampling_of

if TYPE_CHECKING:
    from circuitgrok.landscape.sampling import Sampling
    from circuitgrok.runs import Run


def measure(argv: list[str]) -> int:
    """Measure every checkpoint of a run."""
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
    with ticks("measuring", "checkpoints", options.quiet) as tick:
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


def explore(argv: list[str]) -> int:
    """Walk the loss basin from a checkpoint."""
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
    with ticks("exploring", "draws", options.quiet) as tick:
        found = explore_run(one, int(number), sampling, prior=options.prior, jitter=options.jitter, tick=tick)
    out = Path(options.out or one.path / f"explored_{number}.parquet")
    found.table.to_parquet(out)
    ends = found.table.groupby("draw")[["train_loss", "test_loss", "train_acc", "test_acc", "norm", "angle"]].median()
    for name, column in ends.items():
        print(f"  {name:12s} {column.iloc[0]:.4g} → {column.iloc[-1]:.4g}   (medians of {sampling.n_chains} chains)")
    if found.table["acceptance"].notna().any():
        accepted, error = found.table["acceptance"].mean(), found.table["delta_H"].abs().median()
        print(f"  acceptance   {accepted:.3f}, median |delta_H| {error:.3g}")
    print(f"{sampling.n_draws} draws of {sampling.sampler} → {out}")
    return 0


def doctor(argv: list[str]) -> int:
    """Verify every file of a run."""
    from contextlib import suppress

    from circuitgrok.errors import DamagedFile
    from circuitgrok.runs import Run, load
    from circuitgrok.summary import advice, examine

    options = parse(
        "circuitgrok doctor",
        "Verify every file of a run, and say what can still be used.",
        {
            "run": (Annotated[str, positional()], "", "the run's folder"),
            "machine": (
                bool,
                False,
                "instead of a run, tell whether runs have the same bits in a stack as alone, here",
            ),
        },
        argv,
    )
    if options.machine:
        from circuitgrok.machine import report

        lines, good = report()
        print("\n".join(lines))
        return 0 if good else 1
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
