"""Which measure moves first when a network groks: learning coefficient, curvature, circuit or norm?

Runs that grok, and controls that memorise and do not (no weight decay; too few pairs), are measured at the same
checkpoints with one set of sampling numbers. A measure gives the alarm where it has done half of its way from its
value when the run memorised to its value at the end; the level is taken from the *other* grokking runs, so that no
run sets its own. An alarm before test accuracy rises is a lead; an alarm in a control is a false one.

    python analyses/llc_along_training.py            # 9 runs, 66 checkpoints each: 45 minutes on two cores
    python analyses/llc_along_training.py --quick    # tiny ones: seconds
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.landscape.hessian_along import spectrum_columns
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.measures.learning.crossings import events
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, above, below, mean_interval, share_interval
from circuitgrok.table.calibration import calibrate
from circuitgrok.training.progress import LiveProgress, ticks

QUESTION = "Along training, which moves first: learning coefficient, effective dimension, circuit, or norm?"
ARMS = {"groks": figures.BLUE, "no decay": figures.ORANGE, "few pairs": figures.GREY}
INDICATORS = {  # column of the table: (name, whether it lives on a logarithmic scale)
    "llc": ("λ̂", True),
    "effective_dimension[1]": ("N_eff(z = 1)", True),
    "restricted_loss[all]": ("restricted loss", True),
    "norm": ("norm r", False),
    "norm_min": ("N_min", False),
}
HELD = 2  # further checkpoints for which an indicator must stay below its level
GROUPS = ["polar", "circuits", "orbits", "llc"]
Z = 1.0  # where the effective dimension is taken; at smaller z the Hessian's spectrum takes several times as long


def configs(seeds: Mapping[str, Sequence[int]], leaves: Mapping[str, object]) -> dict[str, cg.TrainConfig]:
    """One config for each arm and seed; a seed sets the initial weights and the split."""
    base = cg.TrainConfig.preset("quickstart").with_(**leaves)
    changed = {"groks": {}, "no decay": {"weight_decay": 0.0}, "few pairs": {"frac_train": 0.2}}
    return {
        f"{arm.replace(' ', '-')}-s{seed}": base.with_(seed=seed, data_seed=seed, **changed[arm])
        for arm in ARMS
        for seed in seeds[arm]
    }


def arm_of(name: str) -> str:
    """The arm that a run belongs to, by its name."""
    return name.rsplit("-s", 1)[0].replace("-", " ")


def measured(path: Path, sampling: Sampling) -> pd.DataFrame:
    """All measures of one run; runs in a process of its own."""
    import torch

    torch.set_num_threads(1)
    run = cg.load(path)
    table = cg.measure(run, GROUPS, sampling=sampling).reset_index()
    curvature = [spectrum_columns(run.stack([step]), run.config.model, run.task, [Z]) for step in table["step"]]
    table = table.assign(**{name: [columns[name].item() for columns in curvature] for name in curvature[0]})
    times = {name: event.by for name, event in events(run.history).items()}
    return table.assign(run=run.name, arm=arm_of(run.name), seed=run.config.init.seed, **times)


def by_run(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each run, in order."""
    return {str(name): rows for name, rows in table.groupby("run", sort=False)}


def level(rows: pd.DataFrame, column: str, logarithmic: bool) -> float:
    """Half-way between the value at memorisation and the value at the end, for one run."""
    start = float(rows.loc[rows["step"] >= rows["memorised"].iloc[0], column].iloc[0])
    end = float(rows[column].iloc[-1])
    return math.sqrt(start * end) if logarithmic and min(start, end) > 0 else (start + end) / 2


def alarm(rows: pd.DataFrame, column: str, threshold: float) -> float:
    """First checkpoint after memorisation from which the indicator stays below its level; nan if there is none."""
    later = rows[rows["step"] >= rows["memorised"].iloc[0]]
    under = (later[column] < threshold).tolist()
    for i in range(len(under) - HELD):
        if all(under[i : i + HELD + 1]):
            return float(later["step"].iloc[i])
    return math.nan


def alarms(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each run that memorised and indicator: when it gave the alarm, and when the run grokked."""
    memorised = {name: rows for name, rows in by_run(table).items() if rows["memorised"].notna().all()}
    grokked = {
        name: rows for name, rows in memorised.items() if arm_of(name) == "groks" and rows["grokked"].notna().all()
    }
    found = []
    for column, (label, logarithmic) in INDICATORS.items():
        levels = {name: level(rows, column, logarithmic) for name, rows in grokked.items()}
        for name, rows in memorised.items():
            others = [value for other, value in levels.items() if other != name]
            threshold = sum(others) / len(others) if others else math.nan
            found.append(
                {
                    "run": name,
                    "arm": arm_of(name),
                    "indicator": label,
                    "level": threshold,
                    "alarm": alarm(rows, column, threshold),
                    "memorised": rows["memorised"].iloc[0],
                    "grokked": rows["grokked"].iloc[0],
                }
            )
    return pd.DataFrame(found, columns=["run", "arm", "indicator", "level", "alarm", "memorised", "grokked"])


def claims(found: pd.DataFrame, table: pd.DataFrame, sampling: Sampling, nbeta: float) -> list[Claim]:
    """Leads over test accuracy, leads over each other, false alarms, and what λ̂ has to do with curvature."""
    runs, made = found[(found["arm"] == "groks") & found["grokked"].notna()], []
    leads = {
        label: (rows.set_index("run")["grokked"] / rows.set_index("run")["alarm"]).map(math.log)
        for label, rows in runs.groupby("indicator", sort=False)
    }
    for label, values in leads.items():
        silent = int(values.isna().sum())
        if silent or len(values) < 2:
            made.append(Claim(f"{label} leads test accuracy.", f"no alarm in {silent} of {len(values)} runs", "fails"))
            continue
        lead = mean_interval(values.tolist())
        factor = ", ".join(f"{math.exp(x):.3g}" for x in lead)
        text = f"T_grok / T_alarm over {len(values)} seeds, geometric mean and 95 % interval {factor}"
        made.append(Claim(f"{label} leads test accuracy.", text, above(lead, 0.0)))
    first, second = (leads.get(label, pd.Series(dtype=float)) for label in ("λ̂", "restricted loss"))
    if len(first) > 1 and not (first.isna() | second.isna()).any():
        gap = mean_interval((first - second).tolist())
        text = f"T_restricted / T_λ̂, geometric mean and 95 % interval {', '.join(f'{math.exp(x):.3g}' for x in gap)}"
        made.append(Claim("λ̂ gives the alarm before restricted loss does.", text, above(gap, 0.0)))
    controls = found[(found["arm"] != "groks") & found["grokked"].isna()]
    for label, rows in controls.groupby("indicator", sort=False):
        fired = int(rows["alarm"].notna().sum())
        share = share_interval(fired, len(rows))
        text = f"share of controls with an alarm {share} ({fired} of {len(rows)})"
        made.append(Claim(f"{label} gives no alarm in most runs that do not grok.", text, below(share, 0.5)))
    ends = table[(table["arm"] == "groks") & (table["llc_status"] == "diagnostics_passed")].groupby("run").last()
    ratios = (ends["llc"] / (ends["effective_dimension[1]"] / 2)).map(math.log)
    if len(ratios) > 1:
        ratio = mean_interval(ratios.tolist())
        text = (
            "λ̂ / (N_eff(1) / 2) at the end, geometric mean and 95 % interval "
            f"{', '.join(f'{math.exp(x):.3g}' for x in ratio)}; z = γ/nβ = {sampling.localization / nbeta:.3g}"
        )
        made.append(
            Claim(
                "λ̂ is what the curvature at the point says, within a factor of two.",
                text,
                verdicts.within(ratio, math.log(2)),
            )
        )
    return made


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Every measure against the step, by arm; lines are medians over seeds, bands their range."""
    panels = [("accuracy[test]", "test accuracy", "linear"), ("llc", "learning coefficient λ̂", "log")]
    panels += [("effective_dimension[1]", "effective dimension, z = 1", "log")]
    panels += [("restricted_loss[all]", "restricted loss (nats)", "log")]
    panels += [("norm", "norm r", "linear"), ("norm_min", "orbit-minimal norm", "linear")]
    figure, axes = figures.sheet(2, 3, (12, 6.4), sharex=True)
    last = int(table["step"].max())
    for ax, (column, label, scale) in zip(axes.flat, panels, strict=True):
        for arm, colour in ARMS.items():
            rows = table[
                (table["arm"] == arm)
                & ((column != "llc") | table["llc_status"].isin(["diagnostics_passed", "not_converged"]))
            ]
            if scale == "log":
                rows = rows[rows[column] > 0]
            if len(rows):
                figures.draw_seeds(ax, rows, "step", column, colour, "-", arm)
        for event, style in (("memorised", ":"), ("grokked", "--")):
            times = table[table["arm"] == "groks"].groupby("run")[event].first().dropna()
            for time in times:
                ax.axvline(time, color=figures.BLUE, ls=style, lw=0.6, alpha=0.6)
        figures.step_axis(ax, last)
        ax.set_yscale(scale)
        ax.set_ylabel(label)
    axes.flat[0].legend(fontsize=7, frameon=False, loc="center left")
    return figure


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "tiny runs")
    leaves: dict[str, object] = {"checkpoint_every": 100, "checkpoints_per_decade": 10, "checkpoint_on_move": 100.0}
    if given.quick:
        leaves |= {"p": 7, "d_model": 8, "d_head": 4, "n_heads": 2, "d_mlp": 16, "lr": 0.02}
        leaves |= {"checkpoint_every": 75, "checkpoints_per_decade": 1, "eval_every": 5, "steps": 300, "warmup": 0}
    seeds = {arm: [0] if given.quick else [0, 1, 2] for arm in ARMS}
    grid = configs(seeds, leaves)
    runs = cg.train(
        list(grid.values()), given.out / "runs", names=list(grid), progress=LiveProgress(), threads=given.threads
    )
    nbeta = runs[0].task.n_train / math.log(runs[0].task.n_train)
    if given.quick:
        sampling, why = Sampling(step_size=2e-4, localization=1000.0, n_draws=16), ["--quick: not calibrated"]
    else:
        sampling, why, _ = calibrate(runs[0])
    sampling = sampling.model_copy(update={"nbeta": nbeta})  # the same for the arm with fewer pairs
    tables = []
    with (
        ticks("measuring", "runs") as tick,
        ProcessPoolExecutor(given.threads, mp_context=get_context("spawn")) as pool,
    ):
        waiting = [pool.submit(measured, run.path, sampling) for run in runs]
        for i, future in enumerate(waiting):
            tables.append(future.result())
            tick(i + 1, len(waiting))
    table = pd.concat(tables, ignore_index=True)
    found = alarms(table)
    statuses = table.groupby(["arm", "llc_status"]).size()
    shown = [
        "run",
        "arm",
        "seed",
        "step",
        "memorised",
        "grokked",
        *INDICATORS,
        *[f"effective_dimension_{what}[1]" for what in ("se", "low", "high", "converged")],
        "loss[test]",
    ]
    shown += ["accuracy[test]", "sharpness", *[name for name in table if str(name).startswith("llc_")]]
    config = runs[0].config
    notes = [
        f"a + b mod {config.task.p}, {config.task.frac_train:.0%} of the pairs for training (20 % in the arm `few "
        f"pairs`); weight decay {config.optimizer.weight_decay:g} (0 in `no decay`); base init {config.init.scheme}, "
        f"|θ₀| = {runs[0].manifest['start']['norm']:.2f} at α = {config.init.alpha:g}; {config.schedule.steps} steps; "
        f"{table.groupby('run').size().min()} checkpoints or more of each run; seeds {seeds}.",
        "Sampling, the same at every checkpoint of every run: "
        f"{sampling.sampler}, step size {sampling.step_size:.3g}, localization {sampling.localization:g}, "
        f"nβ {nbeta:.4g}, {sampling.n_chains} chains of {sampling.n_draws} draws. "
        f"Calibrated on the first run: {'; '.join(why)}.",
        "Status of the estimates: "
        + ", ".join(f"{arm} {status}: {count}" for (arm, status), count in statuses.items())
        + ". Alarms use all that did not diverge, claims on λ̂ against curvature only those that passed their "
        "diagnostics.",
        f"Effective dimension at z = {Z:g}: the quadrature's part of the error is at most 5 % of the value at "
        f"{table['effective_dimension_converged[1]'].mean():.1%} of the checkpoints.",
        "Alarms: " + "; ".join(f"{row.run} {row.indicator} {row.alarm:g}" for row in found.itertuples()) + ".",
        "Grokked in the control arms: "
        + ", ".join(sorted(found.loc[(found["arm"] != "groks") & found["grokked"].notna(), "run"].unique()) or ["none"])
        + "; not memorised, and so without alarms: "
        + ", ".join(sorted(set(table["run"]) - set(found["run"])) or ["none"])
        + ".",
    ]
    verdicts.write(given.out, QUESTION, claims(found, table, sampling, nbeta), notes, table[shown], draw(table))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
