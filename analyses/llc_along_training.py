"""Which measure moves first when a network groks: learning coefficient, curvature, circuit or norm?

Runs that grok, and controls that memorise and do not (no weight decay; too few pairs), are measured at the same
checkpoints with one set of sampling numbers. A measure gives the alarm where it has done half of its way from its
value when the run memorised to its value at the end; the level is taken from the *other* grokking runs, so that no
run sets its own. An alarm before test accuracy rises is a lead; an alarm in a control is a false one.

    python analyses/llc_along_training.py            # 66 checkpoints of each run: hours
    python analyses/llc_along_training.py --quick    # tiny ones: seconds
"""

import math
from functools import partial

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.landscape.hessian_along import spectrum_columns
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.store.run import Run
from circuitgrok.study.alarms import Indicator, alarms
from circuitgrok.study.claims import Ratio, Selection, Share, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.evidence import Declared
from circuitgrok.study.processes import in_processes
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed, derived
from circuitgrok.study.study import Study, evenly
from circuitgrok.table.calibration import calibrate

COLOURS = {"groks": figures.BLUE, "no decay": figures.ORANGE, "few pairs": figures.GREY}
INDICATORS = {
    "λ̂": Indicator("llc", is_logarithmic=True),
    "N_eff(z = 1)": Indicator("effective_dimension[1]", is_logarithmic=True),
    "restricted loss": Indicator("restricted_loss[all]", is_logarithmic=True),
    "norm r": Indicator("norm"),
    "N_min": Indicator("norm_min"),
}
Z = 1.0  # where the effective dimension is taken; at smaller z the Hessian's spectrum takes several times as long
LABELS = ["run", "arm", "seed", "memorised", "grokked", "grokked_after"]
KEPT = ["step", "llc.*", "effective_dimension.*", "norm|norm_min|sharpness", r".*\[test\]", r"restricted_loss\[all\]"]
PASSED = "diagnostics_passed"


def measured(run: Run, sampling: Sampling) -> pd.DataFrame:
    """All measures of one run, a row for each checkpoint."""
    table = cg.measure(run, ["polar", "circuits", "orbits", "llc"], sampling=sampling).reset_index()
    curvature = [spectrum_columns(run.stack([step]), run.config.model, run.task, [Z]) for step in table["step"]]
    return table.assign(**{name: [columns[name].item() for columns in curvature] for name in curvature[0]})


def told(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each indicator and run that memorised: when it gave the alarm, and when the run grokked."""
    after = table[table["step"] >= table["memorised"]]
    found = alarms(after, INDICATORS, (after["arm"] == "groks") & after["grokked"].notna())
    return found.merge(after[LABELS].drop_duplicates(), on="run")


def by(indicator: str, grokked: bool = True) -> Selection:
    """The alarms of an indicator in the runs that grok, or in the controls that do not."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        found = told(table)
        is_asked = ((found["arm"] == "groks") == grokked) & (found["grokked"].notna() == grokked)
        found = found[is_asked & (found["indicator"] == indicator)]
        before = [
            table["step"][(table["run"] == run) & (table["step"] < alarm)].max()
            for run, alarm in zip(found["run"], found["alarm"].fillna(math.inf), strict=True)
        ]
        return found.assign(alarm_after=before, alarm_by=found["alarm"], grokked_by=found["grokked"])

    return rows


def leads(name: str) -> Declared:
    """The claim that an indicator gives the alarm before the test accuracy does."""
    ratio = Ratio(by(name), by(name), "grokked", "alarm", name="T_grok / T_alarm")
    return ratio.exceeds(1, f"{name} leads test accuracy.")


def is_quiet(name: str) -> Declared:
    """The claim that an indicator gives no false alarm in most controls."""
    controls = by_seed(by(name, grokked=False), alarm="max")
    fired = Share(controls, lambda rows: rows["alarm"].notna(), "share of seeds with an alarm in a control")
    return fired.falls_below(0.5, f"{name} gives no alarm in most runs that do not grok.")


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The last checkpoint of each grokking run at which the estimate passed its diagnostics."""
    return where(arm="groks", llc_status=PASSED)(table).groupby("run").last()


CLAIMS = [
    *map(leads, INDICATORS),
    Ratio(by("restricted loss"), by("λ̂"), "alarm", name="T_restricted / T_λ̂")
    .exceeds(1, "λ̂ gives the alarm before restricted loss does."),
    *map(is_quiet, INDICATORS),
    Factor(derived(ends, llc=lambda rows: 2 * rows["llc"]), "llc", "λ̂ / (N_eff(1) / 2)", by="effective_dimension[1]")
    .is_within(2, "λ̂ is what the curvature at the point says, within a factor of two."),
]  # fmt: skip
STUDY = Study(
    "Along training, which moves first: learning coefficient, effective dimension, circuit, or norm?",
    cg.TrainConfig.preset("quickstart").with_(**evenly(100)).with_(checkpoints_per_decade=10),
    arms={"groks": {}, "no decay": {"weight_decay": 0.0}, "few pairs": {"frac_train": 0.2}},
    claims=CLAIMS,
)
TINY = {"p": 7, "d_model": 8, "d_head": 4, "n_heads": 2, "d_mlp": 16, "lr": 0.02, "warmup": 0, "steps": 300}
QUICK = STUDY.with_(seeds=[0], checkpoint_every=75, checkpoints_per_decade=1, eval_every=5, **TINY)
PANELS = {  # column: (label, scale)
    "accuracy[test]": ("test accuracy", "linear"),
    "llc": ("learning coefficient λ̂", "log"),
    "effective_dimension[1]": ("effective dimension, z = 1", "log"),
    "restricted_loss[all]": ("restricted loss (nats)", "log"),
    "norm": ("norm r", "linear"),
    "norm_min": ("orbit-minimal norm", "linear"),
}


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Every measure against the step, by arm; lines are medians over seeds, bands their range."""
    figure, axes = figures.sheet(2, 3, (12, 6.4), sharex=True)
    for ax, (column, (label, scale)) in zip(axes.flat, PANELS.items(), strict=True):
        shown = table[table["llc_status"].isin([PASSED, "not_converged"])] if column == "llc" else table
        shown = shown[shown[column] > 0] if scale == "log" else shown
        figures.draw_groups(ax, shown, "arm", "step", column, COLOURS)
        for event, style in (("memorised", ":"), ("grokked", "--")):
            for time in where(arm="groks")(table)[event].dropna().unique():
                ax.axvline(time, color=figures.BLUE, ls=style, lw=0.6, alpha=0.6)
        figures.step_axis(ax, int(table["step"].max()))
        ax.set(yscale=scale, ylabel=label)
    figures.legends(axes.flat[:1])
    return figure


def notes(table: pd.DataFrame, sampling: Sampling, why: list[str]) -> list[str]:
    """How the estimates were made, how many can be trusted, and all alarms."""
    statuses, given = table.groupby(["arm", "llc_status"]).size(), told(table).set_index(["run", "indicator"])["alarm"]
    z = sampling.localization / (sampling.nbeta or math.nan)
    return [
        f"{table.groupby('run').size().min()} checkpoints or more of each run. Figure: when the runs that grok "
        "memorised (dotted) and grokked (dashed).",
        f"Sampling, the same at every checkpoint of every run: {sampling.sampler}, step size {sampling.step_size:.3g}, "
        f"localization {sampling.localization:g}, nβ {sampling.nbeta:.4g} (z = γ/nβ = {z:.3g}), {sampling.n_chains} "
        f"chains of {sampling.n_draws} draws. Calibrated on the first run: {'; '.join(why)}.",
        f"Status of the estimates: {listed(statuses, '{} {}: {}')}. Alarms use all that did not diverge, the claim on "
        "λ̂ against curvature only those that passed their diagnostics.",
        f"Effective dimension at z = {Z:g}: the quadrature's part of the error is at most 5 % of the value at "
        f"{table['effective_dimension_converged[1]'].mean():.1%} of the checkpoints.",
        f"Alarms (none in a run that did not memorise): {listed(given, '{} {} {:g}')}.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "tiny runs")
    runs = study.train(given)
    first = next(iter(runs.values()))
    uncalibrated = Sampling(step_size=2e-4, localization=1000.0, n_draws=16), ["--quick: not calibrated"]
    sampling, why = uncalibrated if given.quick else calibrate(first)[:2]
    n = first.task.n_train  # also for the arm with fewer pairs
    sampling = sampling.model_copy(update={"nbeta": n / math.log(n)})
    jobs = [partial(measured, run, sampling) for run in runs.values()]
    found = in_processes(jobs, given.threads, "measuring", "runs")
    of = study.table(runs, lambda run: {"run": run.name})
    labels = of.rename(columns={"memorised_by": "memorised", "grokked_by": "grokked"})[LABELS]
    table = pd.concat([rows.assign(run=name) for name, rows in zip(runs, found, strict=True)]).merge(labels, on="run")
    table = table.filter(regex=f"^({'|'.join([*LABELS, *KEPT])})$")
    study.write(given, table, draw(table), notes(table, sampling, list(why)), runs=of)


if __name__ == "__main__":
    main()
