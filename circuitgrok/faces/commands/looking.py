"""Commands that look into a run or after it: measure, explore, doctor, thin."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from circuitgrok.errors import UserError
from circuitgrok.faces.fields import description, sampling_leaves
from circuitgrok.faces.flags import DEVICE, REQUIRED, parse, positional, sampling_flags, sampling_given, sampling_of
from circuitgrok.faces.outputs import check_folder, table_path, write_table
from circuitgrok.faces.start import checkpoint_of
from circuitgrok.store.run import load
from circuitgrok.text import show
from circuitgrok.training.progress import load_torch, ticks

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.landscape.sampling import Sampling
    from circuitgrok.store.run import Run

RULES = ("checkpoint_every", "checkpoints_per_decade", "around_events")  # of thinning, as `cg.thinning` has them


def measure(argv: list[str]) -> int:
    """Measure every checkpoint of a run."""
    names, rules = tuple(description()["groups"]), tuple(description()["rules"])
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
            "rule": (Literal[rules], "wl_energy", "rule for the key frequencies"),  # pyright: ignore
            "n_keys": (int | None, None, "how many of them, the strongest by the rule; by default what it finds"),
            "out": (str, "", "where to write the table, .parquet or .csv; RUN/measures.parquet by default"),
            "threads": (int, 1, "threads of torch"),
            "device": DEVICE,
            "quiet": (bool, False, "no progress"),
            **sampling_flags(),
        },
        argv,
    )
    given, one = sampling_given(options), load(options.run)
    load_torch(options.quiet)
    import torch

    from circuitgrok.device import resolved
    from circuitgrok.faces.summary import SUMMARISED, spectrum_lines, summary_lines
    from circuitgrok.table.measure import check_groups, measure, quick_groups
    from circuitgrok.table.needs import fitting

    torch.set_num_threads(max(1, options.threads))
    sampling = sampling_of(given) if given else None
    where = resolved(options.device)
    chosen = options.measures or quick_groups(one.config)
    check_groups(chosen, one.config)
    out = table_path(options.out, one.path / "measures.parquet")
    if "llc" in chosen:
        check_folder(one.path)  # estimates are kept in the run
    if "llc" in chosen and sampling is None:
        sampling = _calibrated(one, options.quiet)
    with ticks("measuring", "checkpoints", options.quiet) as tick:
        keys = {"rule": options.rule, "n_keys": options.n_keys}
        table = measure(one, chosen, options.steps or None, **keys, sampling=sampling, device=where, tick=tick)
    write_table(table, out)
    if set(fitting(SUMMARISED, one.config)) <= set(chosen):
        show(*summary_lines(one, table))
    else:
        thinned = [f"  thinned      {table.attrs['thinned']}"] if "thinned" in table.attrs else []
        show(*thinned, *spectrum_lines(table))
    for reason, names in _undefined(table).items():
        show(f"  undefined    {names}: {reason}")
    show(f"{len(table)} checkpoints × {table.shape[1]} columns → {out}")
    show(f"next: `circuitgrok report {one.path} -o {one.name}.html` looks inside; cg.columns() tells of columns")
    return 0


def _undefined(table: "pd.DataFrame") -> dict[str, str]:
    """The columns that have no value here, by the reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in table.attrs.get("undefined", {}).items():
        by_reason.setdefault(reason, []).append(name)
    return {reason: f"{len(n)} columns, such as {n[0]}" if n[1:] else n[0] for reason, n in by_reason.items()}


def _calibrated(one: "Run", quiet: bool) -> "Sampling":
    """The run's own settings, found now if they never were; says why, and draws it."""
    from circuitgrok import figures
    from circuitgrok.table.calibration import calibration_of

    def tick(localization: float) -> None:
        if not quiet:
            show(f"calibrating: localization {localization:g} tried", file=sys.stderr)

    found = calibration_of(one, tick)
    figure = figures.calibration_figure(found.table, found.sampling.localization)
    paths = figures.save(figure, one.path / "llc" / "calibration")
    show(f"llc is sampled as calibrated ({paths[0]}):", *(f"  {line}" for line in found.explanation))
    return found.sampling


def explore(argv: list[str]) -> int:
    """Walk the loss basin from a checkpoint."""
    settings = {
        name: (leaf.annotation, REQUIRED if leaf.required else leaf.default, leaf.help)
        for name, leaf in sampling_leaves().items()
    }
    jitter = description()["jitter"]
    settings["localization"] = (float, 0.0, "strength of a pull to the start, gamma")
    options = parse(
        "circuitgrok explore",
        "Walk through the posterior of a run's training loss from one of its checkpoints, and write what each draw "
        "scores: losses, accuracies, norm, angle to the start, energies, acceptance.",
        {
            "start": (Annotated[str, positional()], REQUIRED, "RUN_FOLDER@STEP"),
            **settings,
            "prior": (float, 0.0, "precision of a Gaussian prior about 0; 0 is none"),
            "jitter": (float, jitter, "of hmc: share by which a trajectory may be shorter, drawn for each"),
            "out": (str, "", "where to write the table, .parquet or .csv; RUN/explored_STEP.parquet by default"),
            "threads": (int, 1, "threads of torch"),
            "quiet": (bool, False, "no progress"),
        },
        argv,
    )
    one, step = checkpoint_of("start", options.start)
    load_torch(options.quiet)
    import torch

    from circuitgrok.table.explore import explore_run

    torch.set_num_threads(max(1, options.threads))
    sampling = sampling_of({name: getattr(options, name) for name in settings})
    out = table_path(options.out, one.path / f"explored_{step}.parquet")
    with ticks("exploring", "draws", options.quiet) as tick:
        found = explore_run(one, step, sampling, prior=options.prior, jitter=options.jitter, tick=tick)
    write_table(found.table, out)
    ends = found.table.groupby("draw")[["train_loss", "test_loss", "train_acc", "test_acc", "norm", "angle"]].median()
    for name, column in ends.items():
        show(f"  {name:12s} {column.iloc[0]:.4g} → {column.iloc[-1]:.4g}   (medians of {sampling.n_chains} chains)")
    if found.table["acceptance"].notna().any():
        accepted, error = found.table["acceptance"].mean(), found.table["delta_H"].abs().median()
        show(f"  acceptance   {accepted:.3f}, median |delta_H| {error:.3g}")
    show(f"{sampling.n_draws} draws of {sampling.sampler} → {out}")
    return 0


def doctor(argv: list[str]) -> int:
    """Verify every file of a run."""
    options = parse(
        "circuitgrok doctor",
        "Verify every file of a run, and say what can still be used.",
        {
            "run": (Annotated[str, positional()], "", "the run's folder"),
            "repair": (bool, False, "rebuild what the other files prove, remove what does not verify"),
            "machine": (bool, False, "instead of a run: do runs have the same bits in a stack as alone, here?"),
        },
        argv,
    )
    if options.machine:
        return _examine_machine()
    if not options.run:
        raise UserError("name the run's folder, or give --machine to examine this machine")
    from contextlib import suppress

    from circuitgrok.errors import DamagedFile
    from circuitgrok.faces.doctor import advice, examine
    from circuitgrok.faces.repair import repair
    from circuitgrok.store.run import Run

    with suppress(DamagedFile):  # among the findings
        load(options.run)
    one = Run(Path(os.path.expanduser(options.run)))
    for line in repair(one) if options.repair else ():
        show(f"repair  {line}")
    findings = examine(one)
    for finding in findings:
        if not finding.good or not finding.file.startswith("step_"):
            show(f"{'ok     ' if finding.good else 'DAMAGED'} {finding.file}: {finding.note}")
    good = sum(f.good and f.file.startswith("step_") for f in findings)
    show(f"{'ok     '} {good} checkpoints verified by their SHA-256")
    show(advice(one, findings))
    return 0 if all(f.good for f in findings) else 1


def thin(argv: list[str]) -> int:
    """Remove checkpoints of a run that is over, by a rule."""
    options = parse(
        "circuitgrok thin",
        "Remove checkpoints of a run that is over, but for those that the rules given keep. Says first what goes and "
        "what that frees, and asks. History, updates and measured tables stay; weights that go are gone.",
        {
            "run": (Annotated[str, positional()], REQUIRED, "the run's folder"),
            "checkpoint_every": (int | None, None, "keep a checkpoint every so many steps"),
            "checkpoints_per_decade": (int | None, None, "keep so many, log-spaced, per factor 10"),
            "around_events": (int | None, None, "keep all within so many steps of memorised and grokked"),
            "drop_resume_point": (
                bool,
                False,
                "remove the optimizer's state at the end: no training goes on from there",
            ),
            "yes": (bool, False, "remove without asking"),
        },
        argv,
    )
    from circuitgrok.store.thinning import thin as carry_out
    from circuitgrok.store.thinning import thinning

    rules = {name: getattr(options, name) for name in RULES}
    plan = thinning(load(options.run), **rules, drop_resume_point=options.drop_resume_point)
    show(*str(plan).splitlines())
    if not plan.removed and not plan.left and not plan.resume:
        show("nothing to remove")
        return 0
    if not options.yes:
        if not sys.stdin.isatty():
            raise UserError("nothing was removed: there is nobody to ask; --yes removes without asking")
        show("remove them? [y/N] ")
        if input().strip().lower() not in ("y", "yes"):
            show("nothing was removed")
            return 0
    carry_out(plan)
    gone = f"{len(plan.removed)} checkpoints" + (" and the resume point" if plan.resume else "")
    show(f"{gone} removed; `circuitgrok doctor {plan.run.path}` verifies the rest")
    return 0


def _examine_machine() -> int:
    load_torch(quiet=False)
    from circuitgrok.faces.machine import report

    lines, good = report()
    show(*lines)
    return 0 if good else 1
