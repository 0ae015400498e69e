"""What does a learning coefficient tell of the time to grok that noise robustness and training loss do not?

From one landmark, 100 steps after a run has memorised, the remaining time to grok is predicted across seeds within
arms, from a local λ̂ and beside it from what costs less: the loss, the norm, the rise of the loss under noise, the
circuit by the key frequencies of that checkpoint. Runs that never grok (no decay, few pairs, random labels) set the
level at which an indicator gives an alarm, such that at most one in twenty of those of other seeds does; the lead is
the time from alarm to grokking. Memorisers and generalisers are compared at equal loss.

Artefacts to think of: a window wider than a tenth of a weight is not local; a λ̂ that equals its prior-only value is
noise robustness under another name; all indicators fall with the loss, so that what is asked is what is left of them
at equal loss; levels that the judged seed has helped to set; key frequencies known from the end.

    python analyses/llc_along_training.py --claims   # what is claimed, to be committed before the runs
    python analyses/llc_along_training.py            # 100 runs: half an hour on one core
    python analyses/llc_along_training.py --quick    # tiny ones: seconds
"""

import math
from functools import partial
from statistics import median

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.measures.learning.crossings import events
from circuitgrok.store.run import Run
from circuitgrok.study.alarms import Indicator, alarms
from circuitgrok.study.along_runs import Row, at_loss, estimates_at, kept, size_of_weights
from circuitgrok.study.claims import Selection, Share
from circuitgrok.study.early_warning import leads, resolved_rate
from circuitgrok.study.effects import Factor
from circuitgrok.study.ranks import PartialSpearman
from circuitgrok.study.rows import listed, slug
from circuitgrok.study.selections import derived
from circuitgrok.study.study import Leaves, Study, evenly
from circuitgrok.table.warning_columns import warning_columns
from circuitgrok.training.progress import ticks

GRID, AFTER, SINCE = 50, 100, (0, 200, 400)  # of checkpoints; landmark after memorising; checkpoints after it
BUDGET, SHORT = 1300, 800  # steps of runs that may grok, and of controls, which are judged up to SINCE[-1]
GAMMA, STEP, DRAWS, FRICTION = 1e4, 2e-5, 48, 0.7
LONGER, CHECKED = 10, 4  # chains so many times as long, at the landmark of so many seeds
MATCHED_LOSS, MATCHED_WINDOW = 0.01, 0.05  # nats; width of the window over the size of a weight
WINDOWS = {"γ ×3": (3e4, 1.0), "γ ×10": (1e5, 1.0), "nβ ÷10": (1e4, 0.1), "nβ ×10": (1e4, 10.0)}  # γ, nβ / (n / ln n)
GROKS, CONTROLS = ("groks", "dropout"), ("no decay", "few pairs", "random labels")
ENDS = ("end, same σ", "end, same σ over weights")
INDICATORS = {
    "λ̂": Indicator("llc"),
    "prior-only λ̂": Indicator("llc_prior"),
    "training loss": Indicator("train_loss"),
    "curvature": Indicator("llc_curvature"),
    "norm": Indicator("norm"),
    "restricted loss": Indicator("restricted_loss"),
    "excluded loss": Indicator("excluded_loss", rises=True),
    "Gini of W_E": Indicator("gini[W_E]", rises=True),
    "Gini of W_L": Indicator("gini[W_L]", rises=True),
    "test loss": Indicator("test_loss"),
}
CONVENTIONS = ("level", "held", "since the landmark", "half-way")


def landmark(*arms: str) -> Selection:
    """The rows of some arms at the landmark, of runs that had not grokked by then, with the time that is left."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        found = table[(table["at"] == "along") & (table["since"] == 0) & table["arm"].isin(arms)]
        left = found["grokked"].fillna(math.inf) - found["step"]
        return found.assign(remaining=left)[left > 0]

    return rows


def told(table: pd.DataFrame, indicators: dict[str, Indicator], convention: str = "level") -> pd.DataFrame:
    """Alarms and leads of every run of the arm `groks` and of the controls, by one convention of what an alarm is."""
    rows = table[(table["at"] == "along") & table["arm"].isin([GROKS[0], *CONTROLS])].reset_index(drop=True)
    labels = rows[["run", "arm", "seed", "grokked"]].drop_duplicates()
    if convention == "half-way":
        has_grokked = (rows["arm"] == GROKS[0]) & rows["grokked"].notna()
        found = alarms(rows, {n: one for n, one in indicators.items() if not one.rises}, has_grokked, held=0)
        found = found.merge(labels, on="run")
        early = (found["grokked"] - found["alarm"]).clip(lower=0).fillna(0.0)
        return found.assign(lead=early.where(found["grokked"].notna()))
    if convention == "since the landmark":
        columns = [one.column for one in indicators.values()]
        rows = rows.assign(**{name: rows[name] / rows.groupby("run")[name].transform("first") for name in columns})
    held = SINCE[1] if convention == "held" else 0
    found = leads(rows, indicators, rows["arm"].isin(CONTROLS), held=held)
    return found.drop(columns="seed").merge(labels, on="run")


def leads_of(indicator: str) -> Selection:
    """The leads of an indicator in the arm that groks, a row for each seed in which it did."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        found = told(table, {indicator: INDICATORS[indicator]})
        return found[(found["arm"] == GROKS[0]) & found["lead"].notna()]

    return rows


def warned(rows: pd.DataFrame) -> pd.Series:
    """Which runs had an alarm before they grokked."""
    return rows["lead"] > 0


def ends(arm: str, at: str = ENDS[0]) -> Selection:
    """The end of each run of an arm at the matched loss, for the seeds in which `groks` did and both are known."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        found = table[(table["at"] == at) & (table["llc"] > 0)]
        grokked = set(found[(found["arm"] == GROKS[0]) & found["grokked"].notna()]["seed"])
        both = grokked & set(found[found["arm"] == CONTROLS[0]]["seed"])
        return found[(found["arm"] == arm) & found["seed"].isin(both)]

    return rows


over_prior = {"llc_share": lambda rows: rows["llc"] / rows["llc_prior"]}
GIVEN = ("train_loss", "llc_prior")
CLAIMS = [
    PartialSpearman(landmark(*GROKS), "llc", "remaining", GIVEN, "partial correlation of λ̂ and remaining time")
    .exceeds(0, "At equal training loss and noise robustness, a lower λ̂ at the landmark means an earlier grok."),
    Factor(landmark(GROKS[0]), "llc", "λ̂ over prior-only λ̂", by="llc_prior")
    .is_within(1.25, "At the landmark λ̂ is what noise alone gives, within a factor of 1.25."),
    Share(leads_of("λ̂"), warned, "share of runs with a warning by λ̂")
    .falls_below(0.5, "At 5 % false alarms λ̂ warns of fewer than half of the runs that grok."),
    Share(leads_of("Gini of W_L"), warned, "share of runs with a warning by the Gini coefficient of W_L")
    .exceeds(0.5, "At 5 % false alarms the sparsity of W_L, without any sampling, warns of more than half of them."),
    PartialSpearman(landmark(*GROKS), "gini[W_L]", "remaining", ("train_loss",), "partial correlation of Gini and time")
    .falls_below(0, "At equal training loss a sparser W_L at the landmark means an earlier grok."),
    Factor(ends(CONTROLS[0]), "llc", "λ̂ of memorisers over that of generalisers", over=ends(GROKS[0]))
    .exceeds(1, "At equal training loss and the same window memorisers end with a larger λ̂ than generalisers."),
    Factor(derived(ends(CONTROLS[0]), **over_prior), "llc_share", "that ratio over the ratio of prior-only λ̂",
           over=derived(ends(GROKS[0]), **over_prior))
    .is_within(1.25, "That difference is one of noise robustness: prior-only λ̂ has it within a factor of 1.25."),
]  # fmt: skip
ARMS: dict[str, Leaves] = {
    "groks": {}, "dropout": {"dropout_mlp": 0.1}, "no decay": {"weight_decay": 0.0, "steps": SHORT},
    "few pairs": {"frac_train": 0.2, "steps": SHORT}, "random labels": {"operation": "random", "steps": SHORT},
}  # fmt: skip
STUDY = Study(
    "What does λ̂ tell of the time to grok that noise robustness and training loss do not?",
    cg.TrainConfig.preset("quickstart").with_(
        d_model=32, d_head=8, d_mlp=128, frac_train=0.6, lr=2e-3, eval_every=10, steps=BUDGET, **evenly(GRID)
    ),
    arms=ARMS,
    seeds=range(20),
    seeded=("seed", "data_seed", "label_seed"),
    claims=CLAIMS,
)  # fmt: skip
TINY = {"p": 7, "d_model": 8, "d_head": 4, "n_heads": 2, "d_mlp": 16, "lr": 0.02, "warmup": 0, "eval_every": 5}
QUICK = STUDY.with_(
    seeds=[0, 1], steps=160, checkpoint_every=10, **TINY,
    arms={name: {leaf: x for leaf, x in arm.items() if leaf != "steps"} for name, arm in ARMS.items()},
)  # fmt: skip
COLOURS = {
    "groks": figures.BLUE, "dropout": figures.SKY, "no decay": figures.ORANGE, "few pairs": figures.GREY,
    "random labels": figures.RED,
}  # fmt: skip


def sampling_of(nbeta: float, window: tuple[float, float] = (GAMMA, 1.0)) -> Sampling:
    """The settings of a window: at γ = 10⁴ and n / ln n those of every checkpoint, else steps in proportion."""
    gamma, heat = window
    step = STEP * min(GAMMA / gamma, 1 / heat)
    how = {"n_draws": DRAWS, "friction": FRICTION if heat <= 1 else 0.2}
    return Sampling(step_size=step, localization=gamma, nbeta=nbeta * heat, **how)


def measured(run: Run, nbeta: float, quick: bool) -> list[Row]:
    """A row for each checkpoint after the landmark, the first with other windows; and the end, at the matched loss."""
    memorised = events(run.history)["memorised"].by
    arm = next(arm for arm in COLOURS if run.name.startswith(slug(arm)))
    first = (
        None if memorised is None else next((s for s in run.steps if s >= memorised + (0 if quick else AFTER)), None)
    )
    since = [d // 20 if quick else d for d in SINCE]
    at = [] if first is None else [first + d for d in since if first + d in run.steps]
    rows = []
    for step, d, row in zip(at, SINCE, estimates_at(run, at, sampling_of(nbeta)) if at else [], strict=False):
        rows.append({"at": "along", "step": step, "since": d, **row, **warning_columns(run, step)})
    if at and arm == GROKS[0]:
        for name, window in WINDOWS.items():
            [row] = estimates_at(run, at[:1], sampling_of(nbeta, window))
            rows.append({"at": name, "step": at[0], "since": 0, **row})
    if arm in (GROKS[0], CONTROLS[0]):
        step = run.steps[-1]
        temperature, spread = at_loss(run, step, MATCHED_LOSS)
        local = 1 / (MATCHED_WINDOW * size_of_weights(run, step)) ** 2
        for name, gamma in zip(ENDS, (GAMMA, local), strict=True):
            is_reached = math.isfinite(temperature.item())
            how, unknown = sampling_of(nbeta, (gamma, 1.0)), [{"llc_status": "loss not reached"}]
            [row] = estimates_at(run, [step], how, temperature) if is_reached else unknown
            rows.append({"at": name, "step": step, **row, "temperature": temperature.item(), "logit_std": spread})
    return rows


def draw(table: pd.DataFrame) -> "figures.Figure":
    """λ̂ against noise alone, over windows, along runs, against the remaining time; leads, and by which convention."""
    figure, axes = figures.sheet(2, 3, (13, 7.4))
    along, everywhere = table[table["at"] == "along"], told(table, INDICATORS)
    for arm, colour in COLOURS.items():
        rows = along[along["arm"] == arm]
        axes[0, 0].plot(rows["llc_prior"], rows["llc"], ".", color=colour, ms=4, alpha=0.7, label=arm)
        left = landmark(arm)(table)
        if arm in GROKS:
            known = left[left["remaining"] < math.inf]
            axes[1, 0].plot(known["llc"], known["remaining"], "o", color=colour, ms=4, label=arm)
            late = left[left["remaining"] == math.inf]
            axes[1, 0].plot(late["llc"], BUDGET - late["step"], "^", color=colour, mfc="white", label=f"{arm}, not yet")
    ends_of = [along["llc_prior"].min(), along["llc_prior"].max()]
    axes[0, 0].plot(ends_of, ends_of, color="black", lw=0.8)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="prior-only λ̂ (noise alone)", ylabel="λ̂")
    figures.draw_groups(axes[0, 2], along, "arm", "since", "llc", COLOURS)
    middle = along.groupby(["arm", "since"])["llc_prior"].median()
    for arm, colour in COLOURS.items():
        if arm in middle:
            axes[0, 2].plot(middle[arm].index, middle[arm], "--", color=colour, lw=1)
    axes[0, 2].set(yscale="log", xlabel="steps since the landmark", ylabel="λ̂; dashed: prior-only λ̂")
    axes[1, 0].set(xscale="log", yscale="log", xlabel="λ̂ at the landmark", ylabel="steps from there to grokking")
    first = table[(table["arm"] == GROKS[0]) & (table["since"] == 0)]
    for i, name in enumerate(names := ["nβ ÷10", "along", "nβ ×10", "γ ×3", "γ ×10"]):
        rows = first[first["at"] == name]
        axes[0, 1].plot([i] * len(rows), rows["llc"] / rows["llc_prior"], "o", color=figures.BLUE, ms=4, alpha=0.6)
    axes[0, 1].axhline(1, color="black", lw=0.8)
    widths = [first[first["at"] == name]["llc_window"].median() for name in names]
    said = [f"{n if n != 'along' else 'γ, nβ'}\nσ/w {width:.3f}" for n, width in zip(names, widths, strict=True)]
    axes[0, 1].set_xticks(range(5), said)
    axes[0, 1].set(yscale="log", ylabel="λ̂ over prior-only λ̂", xlabel="window at the landmark")
    of = everywhere[(everywhere["arm"] == GROKS[0]) & everywhere["lead"].notna()]
    first_of_run = along.groupby("run")["step"].first()
    figures.draw_leads(axes[1, 1], of, first_of_run, [*INDICATORS], figures.BLUE)
    axes[1, 1].set_xlabel(
        "lead (steps) at 5 % false alarms; 0: none\nhollow: at the landmark itself, which tells the arm"
    )
    figures.draw_shares(axes[1, 2], warned_by_convention(table))
    axes[1, 2].set_title("share of runs warned of, by what counts as an alarm", fontsize=9)
    figures.legends([axes[0, 0], axes[1, 0]])
    return figure


def warned_by_convention(table: pd.DataFrame) -> pd.DataFrame:
    """Share of the runs that grokked which each indicator warned of, by convention; nan where it has none."""
    found = {}
    for convention in CONVENTIONS:
        rows = told(table, INDICATORS, convention)
        rows = rows[(rows["arm"] == GROKS[0]) & rows["lead"].notna()]
        found[convention] = (rows["lead"] > 0).groupby(rows["indicator"]).mean()
    return pd.DataFrame(found).reindex([*INDICATORS])


def first_of(table: pd.DataFrame) -> pd.Series:
    """λ̂ at the landmark, by run."""
    return table[(table["at"] == "along") & (table["since"] == 0)].set_index("run")["llc"]


def notes(table: pd.DataFrame, nbeta: float) -> list[str]:
    """How the estimates were made and how far they go, false alarms, and rank correlations of every indicator."""
    along, found = table[table["at"] == "along"], told(table, INDICATORS)
    controls, groks = found[found["arm"].isin(CONTROLS)], found[found["arm"] == GROKS[0]]
    here = table[table["since"] == 0]
    shares = (here["llc"] / here["llc_prior"]).groupby(here["at"]).median()
    fired = controls["alarm"].notna().groupby(controls["indicator"], sort=False).mean()
    by_arm = controls["alarm"].notna().groupby(controls["arm"]).mean()
    n = found[found["arm"].isin(CONTROLS)]["run"].nunique()
    correlations = {}
    for name, one in INDICATORS.items():
        for given in ((), ("train_loss",)):
            if one.column not in given:
                of = PartialSpearman(
                    landmark(*GROKS), one.column, "remaining", given, name + ", loss held" * bool(given)
                )
                correlations[name, bool(given)] = of.found(table).words
    missed = groks[groks["grokked"].isna()]
    unfounded = missed["alarm"].notna().groupby(missed["indicator"], sort=False).mean()
    longer = table[table["at"] == "longer chains"].set_index("run")
    changed = longer["llc"] / first_of(table).reindex(longer.index)
    twins = PartialSpearman(landmark(*GROKS), "llc", "llc_prior", ("train_loss",), "λ̂ and prior-only λ̂, loss held")
    reliable = along.assign(noise=(along["llc_mcse"] / along["llc"]).abs())
    matched = table[table["at"].isin(ENDS)].groupby(["at", "arm"])[["llc", "llc_prior", "llc_window", "temperature",
                                                                   "logit_std"]].median()  # fmt: skip
    first = table[(table["arm"] == GROKS[0]) & (table["since"] == 0)].pivot(index="run", columns="at", values="llc")
    slopes = {
        f"{low} to {high}": [math.log10(x) for x in (first[high] / first[low]).tolist() if x > 0]
        for low, high in (("nβ ÷10", "along"), ("along", "nβ ×10"))
        if {low, high} <= {*first}
    }
    return [
        f"Landmark: the first checkpoint {AFTER} steps or more after memorising; measured there and {SINCE[1:]} steps "
        f"later. Sampling, the same everywhere: sghmc, step size {STEP:g}, friction {FRICTION:g}, γ = {GAMMA:g}, nβ = "
        f"{nbeta:.4g} (n / ln n of the arm that groks, in all arms), 4 chains of {DRAWS} draws. Finite-window λ̂: width "
        f"over the size of a weight {along['llc_window'].median():.3f} (largest {along['llc_window'].max():.3f}).",
        f"Diagnostics: {listed(along.groupby('llc_status').size(), '{}: {}')}; median R̂ "
        f"{along['llc_r_hat'].median():.3f}, median ESS {along['llc_ess_bulk'].median():.0f}, Monte Carlo error over "
        f"the value {reliable['noise'].median():.3f} (nine in ten below "
        f"{reliable['noise'].quantile(0.9):.3f}); sghmc has no test of steps, so no acceptance.",
        f"Chains {LONGER} times as long at the landmark of {len(longer)} seeds: λ̂ over that of the short ones "
        f"{listed(changed, '{} {:.3f}')}; over prior-only λ̂ "
        f"{listed(longer['llc'] / longer['llc_prior'], '{} {:.3f}')}; "
        f"{listed(longer[['llc_status', 'llc_r_hat', 'llc_ess_bulk']], '{} {}, R̂ {:.3f}, ESS {:.0f}', '; ')}.",
        f"Windows at the landmark, medians of λ̂ over prior-only λ̂: {listed(shares, '{} {:.2f}')}. "
        f"A plateau in nβ would be an exponent of 0, noise alone has 1: "
        f"{', '.join(f'{name} {median(slope):.2f}' for name, slope in slopes.items() if slope) or 'not known'}.",
        f"False alarms: levels are set by the controls of other seeds, at most 5 % of which give an alarm. With {n} "
        f"controls that resolves a rate of {resolved_rate(max(1, n - len(CONTROLS)))}. Measured on controls that had "
        f"no part in their level: {listed(fired, '{} {:.3f}')}; by arm {listed(by_arm, '{} {:.3f}')}.",
        f"Alarms in the {missed['run'].nunique()} runs of the arm {GROKS[0]} that did not grok within the budget: "
        f"{listed(unfounded, '{} {:.2f}')}. An indicator that warns of these too, at the first checkpoint, tells that "
        "an arm has many pairs and decay; it does not tell when.",
        f"Median leads in steps: {listed(groks.groupby('indicator', sort=False)['lead'].median(), '{} {:g}')}.",
        "Share of runs warned of, by convention: "
        f"{listed(warned_by_convention(table), '{} {:.2f}, {:.2f}, {:.2f}, {:.2f}', '; ')} "
        f"(a level; a level kept for {SINCE[1]} steps; of the value over that at the landmark; half-way of the other "
        "runs' ways, which no control sets).",
        f"Rank correlation with the remaining time at the landmark, within {' and '.join(GROKS)}: "
        f"{'; '.join(correlations.values())}; {twins.found(table).words}. Spread is over seeds (bootstrap, 10,000).",
        f"Ends at a training loss of {MATCHED_LOSS:g} (by temperature), medians of λ̂, prior-only λ̂, window, "
        f"temperature, spread of logits: {listed(matched, '{}, {}: {:.3g}, {:.3g}, {:.3f}, {:.3g}, {:.3g}', '; ')}.",
        "Restricted and excluded loss are those of the training pairs, by the key frequencies that the rule finds at "
        "the checkpoint; test loss is no early warning but for comparison: it sees the test pairs. N_eff takes seconds "
        "a checkpoint, and prior-only λ̂ is its limit in a local window; it is left out.",
    ]


def checked(run: Run, nbeta: float) -> list[Row]:
    """The landmark again with longer chains."""
    memorised = events(run.history)["memorised"].by
    first = next((s for s in run.steps if memorised is not None and s >= memorised + AFTER), None)
    how = sampling_of(nbeta).model_copy(update={"n_draws": LONGER * DRAWS})
    return [] if first is None else [{"at": "longer chains", "step": first, **estimates_at(run, [first], how)[0]}]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "tiny runs")
    runs = study.train(given)
    n = next(iter(runs.values())).task.n_train  # of the arm that groks; the same temperature in all arms
    nbeta = n / math.log(n)
    of = study.table(runs, lambda run: {"run": run.name})
    found = []
    with ticks("measuring", "runs") as tick:
        for i, (name, run) in enumerate(runs.items()):
            path = given.out / "runs" / f"{name}.measured.json"
            found += [{"run": name, **row} for row in kept(path, partial(measured, run, nbeta, given.quick))]
            tick(i + 1, len(runs))
        for run in study.grouped(runs)[GROKS[0]][: 0 if given.quick else CHECKED]:
            path = given.out / "runs" / f"{run.name}.longer.json"
            found += [{"run": run.name, **row} for row in kept(path, partial(checked, run, nbeta))]
    labels = of.rename(columns={"memorised_by": "memorised", "grokked_by": "grokked"})
    table = labels[["run", "arm", "seed", "memorised", "grokked"]].merge(pd.DataFrame(found), on="run")
    table = table.drop(columns=["llc_faults", "llc_drift", "llc_acceptance", "llc_ess_tail", "llc_mean_loss"])
    study.write(given, table, draw(table), notes(table, nbeta), runs=of)


if __name__ == "__main__":
    main()
