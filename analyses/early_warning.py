"""Which measure rises before a network generalises, by how many steps, at 5 % false alarms?

Indicators that see the training pairs alone are watched from memorising on, at the same steps after it in all runs: the
commutator defect, λ̂, the local volume, the rank of susceptibilities, phases and tickets of frequencies, how the path
turns; beside them what costs nothing, training loss, norm, time. Levels are those that at most one in twenty of the
runs of other seeds reaches that never generalise: without decay, on few pairs, with random labels. The runs on 60 % of
the pairs are those of `llc_along_training`, trained on, with its settings of λ̂; a second arm has 70 %, because on 60 %
many a run does not generalise within the budget. Of each seed the run with fewer pairs that generalised is judged: all
of what unseen mirrors ask. Runs with decay and pairs that did not are the controls that are most alike; they set no
level, and say what an alarm is worth.

Artefacts to think of: an indicator that tells the time or the training loss; one that tells an arm (decay, pairs) from
its start on, for which the value over that at memorising is asked too; key frequencies known from the end; one side.

A measure is a function of a run and a step: one more in `COLUMNS`, and a line in `INDICATORS`, is one row more of the
table; only what is not measured yet is.

    python analyses/early_warning.py            # 100 runs: half an hour on one core
    python analyses/early_warning.py --quick    # tiny ones: seconds
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.store.run import Run
from circuitgrok.study.alarms import Indicator
from circuitgrok.study.along_runs import Row, estimates_at, kept
from circuitgrok.study.claims import Mean, Selection, Share
from circuitgrok.study.early_warning import leads, resolved_rate
from circuitgrok.study.effects import Factor
from circuitgrok.study.evidence import Declared
from circuitgrok.study.lead_table import EVENT, Column, relative, summed_up, times, watched, watched_steps
from circuitgrok.study.ranks import PartialSpearman
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Leaves, Study, evenly
from circuitgrok.table import warning_columns as columns
from circuitgrok.training.progress import ticks

GRID, SINCE = 50, (0, 50, 100, 200, 300, 400, 600, 900, 1200)  # of checkpoints; watched steps after memorising
BUDGET, BIN = 1600, 100  # of steps; of the picture
NBETA = 504 / math.log(504)  # of 60 % of the pairs, in all arms
SAMPLING = Sampling(step_size=2e-5, friction=0.7, localization=1e4, nbeta=NBETA, n_draws=48)
GROKS, CONTROLS = ("60 % of the pairs", "70 % of the pairs"), ("no decay", "few pairs", "random labels")
LEVEL, OWN = "value", "value over that at memorising"


def history_columns(run: Run, step: int) -> dict[str, float]:
    """What the answers would tell: for comparison."""
    return {"unseen_acc": float(run.history["test_mirror_unseen_acc"][step])}


def llc_columns(run: Run, steps: Sequence[int]) -> list[Row]:
    """λ̂ at some checkpoints side by side, by the settings of `llc_along_training`."""
    found = estimates_at(run, steps, SAMPLING) if steps else []
    names = ("llc", "llc_prior", "llc_window", "llc_r_hat", "llc_ess_bulk", "llc_mcse", "llc_status")
    return [{"step": step, **{n: row.get(n) for n in names}} for step, row in zip(steps, found, strict=True)]


COLUMNS: dict[str, Column] = {
    "losses": columns.warning_columns, "answers": history_columns, "tickets": columns.ticket_columns,
    "winners": columns.foretold_columns, "turning": columns.turning_columns,
    "commutator": columns.commutator_columns, "susceptibility": columns.susceptibility_columns,
    "volume": columns.volume_columns,
}  # fmt: skip
INDICATORS = {
    "commutator defect rises": Indicator("commutator", is_logarithmic=True, rises=True),
    "commutator defect falls": Indicator("commutator", is_logarithmic=True),
    "λ̂ falls": Indicator("llc", is_logarithmic=True),
    "local volume grows": Indicator("ln_volume", rises=True),
    "susceptibilities' rank rises": Indicator("susceptibility_rank", is_logarithmic=True, rises=True),
    "susceptibilities' rank falls": Indicator("susceptibility_rank", is_logarithmic=True),
    "phases align": Indicator("alignment", rises=True),
    "first frequency leads": Indicator("top_over_second", is_logarithmic=True, rises=True),
    "path turns more": Indicator("turning", rises=True),
    "path straightens": Indicator("turning"),
    "Gini of W_E rises": Indicator("gini[W_E]", rises=True),
    "Gini of W_L rises": Indicator("gini[W_L]", rises=True),
    "restricted loss falls": Indicator("restricted_loss", is_logarithmic=True),
    "excluded loss rises": Indicator("excluded_loss", rises=True),
    "training loss falls": Indicator("train_loss", is_logarithmic=True),
    "norm falls": Indicator("norm"),
    "time since memorising": Indicator("nth", rises=True),
    "test loss falls": Indicator("test_loss"),
    "unseen mirrors answered": Indicator("unseen_acc", rises=True),
}


def along(table: pd.DataFrame) -> pd.DataFrame:
    """The checkpoints that are watched, and how many of the run's are before each."""
    found = table[table["at"] == "along"].reset_index(drop=True)
    return found.assign(nth=found.groupby("run").cumcount())


def judged(table: pd.DataFrame) -> list[str]:
    """Of each seed, the run with the fewest pairs that generalised after it was watched once."""
    rows = along(table)
    first = rows[rows["arm"].isin(GROKS)].groupby("run", sort=False)[["arm", "seed", "step", EVENT]].first()
    told = first[first["step"] < first[EVENT]].reset_index().sort_values("arm")
    return told.drop_duplicates("seed")["run"].tolist()


def told(table: pd.DataFrame, indicators: dict[str, Indicator], convention: str = LEVEL) -> pd.DataFrame:
    """Alarms and leads of the judged runs, of those with decay and pairs that did not generalise, and of controls."""
    rows = along(table)
    rows = rows[rows["run"].isin(judged(table)) | rows[EVENT].isna()].reset_index(drop=True)
    rows = relative(rows, indicators) if convention == OWN else rows
    return leads(rows, indicators, rows["arm"].isin(CONTROLS), by=EVENT)


def leads_of(indicator: str, convention: str = LEVEL) -> Selection:
    """The leads of an indicator, a row for each seed of which a run generalised."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        found = told(table, {indicator: INDICATORS[indicator]}, convention)
        return found[~found["is_control"] & found["lead"].notna()]

    return rows


def share(indicator: str, convention: str = LEVEL) -> Share:
    """The share of them that had an alarm before they generalised."""
    name = f"share of runs with a warning: {indicator} ({convention})"
    return Share(leads_of(indicator, convention), lambda rows: rows["lead"] > 0, name)


def few(indicator: str, said: str) -> Declared:
    """The claim that an indicator warns of fewer than half."""
    text = f"At 5 % false alarms {said} warns of fewer than half of the runs that generalise."
    return share(indicator).falls_below(0.5, text)


def last_before(is_control: bool) -> Selection:
    """The rise of the commutator defect from memorising to the last watched checkpoint before generalising.

    Of the judged run of each seed, or of its run with random labels at the same time after memorising.
    """

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        found = along(table)
        found["rise"] = found["commutator"] / found.groupby("run")["commutator"].transform("first")
        own = found[found["run"].isin(judged(table)) & (found["step"] < found[EVENT])].groupby("run").last()
        own = own[own["nth"] > 0]
        if not is_control:
            return own.reset_index()
        return found[found["arm"] == CONTROLS[-1]].merge(own[["seed", "nth"]], on=["seed", "nth"])

    return rows


def at_memorising(table: pd.DataFrame) -> pd.DataFrame:
    """The first watched checkpoint of runs with decay and pairs that had not generalised, with the time left."""
    rows = along(table)
    rows = rows[rows["arm"].isin(GROKS)].groupby("run", sort=False).first().reset_index()
    left = rows[EVENT].fillna(math.inf) - rows["step"]
    return rows.assign(remaining=left)[left > 0]


def winners(at: str) -> Selection:
    """The judged runs at their start, or when they have memorised."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        found = table[table["run"].isin(judged(table))]
        return found[found["at"] == "start"] if at == "start" else along(found).groupby("run").first().reset_index()

    return rows


PHASES, GINI = "phases align", "Gini of W_L rises"
CLAIMS = [
    few("commutator defect rises", "a commutator defect that rises"),
    Factor(last_before(False), "rise", "rise of the defect over that with random labels", over=last_before(True))
    .falls_below(1, "From memorising to generalising the commutator defect rises less than in a network that only "
                    "memorises (random labels, as many steps)."),
    few("local volume grows", "the local volume"),
    few("susceptibilities' rank falls", "a rank of susceptibilities that falls"),
    share(PHASES).exceeds(0.5, "At 5 % false alarms neurons whose phases align warn of more than half of them."),
    share(PHASES, OWN)
    .falls_below(0.5, "What phases gain from memorising on warns of fewer than half: their level tells an arm."),
    share(GINI, OWN).exceeds(0.5, "What the sparsity of W_L gains from memorising on does warn of more than half."),
    PartialSpearman(at_memorising, "alignment", "remaining", ("train_loss",), "correlation of phases and time left")
    .falls_below(0, "At memorising, better aligned phases mean an earlier generalising, at equal training loss."),
    PartialSpearman(at_memorising, "commutator", "remaining", ("train_loss",), "correlation of defect and time left")
    .exceeds(0, "At memorising, a smaller commutator defect means an earlier generalising, at equal training loss."),
    PartialSpearman(at_memorising, "turning", "remaining", ("train_loss",), "correlation of turning and time left")
    .falls_below(0, "At memorising, a path that turns more means an earlier generalising, at equal training loss."),
    Mean(winners("start"), "foretold", "chance that a winner is worth more at the start", bounds=(0, 1))
    .exceeds(0.5, "What frequencies are worth in the initial weights foretells which the network will end with."),
    Mean(winners("memorised"), "foretold", "chance that a winner is worth more at memorising", bounds=(0, 1))
    .exceeds(0.75, "When the network has memorised the race is run: in three of four pairs the winner is ahead."),
]  # fmt: skip
ARMS: dict[str, Leaves] = {
    GROKS[0]: {}, GROKS[1]: {"frac_train": 0.7}, "no decay": {"weight_decay": 0.0}, "few pairs": {"frac_train": 0.2},
    "random labels": {"operation": "random"},
}  # fmt: skip
STUDY = Study(
    "Which measure rises before a network generalises, by how many steps, at 5 % false alarms?",
    cg.TrainConfig.preset("quickstart").with_(
        d_model=32, d_head=8, d_mlp=128, frac_train=0.6, lr=2e-3, eval_every=10, steps=BUDGET, **evenly(GRID)
    ),
    arms=ARMS,
    seeds=range(20),
    seeded=("seed", "data_seed", "label_seed"),
    claims=CLAIMS,
)  # fmt: skip
TINY = {"p": 7, "d_model": 8, "d_head": 2, "n_heads": 4, "d_mlp": 16, "lr": 0.02, "warmup": 0, "eval_every": 10}
QUICK = STUDY.with_(seeds=[0, 1], steps=400, checkpoint_every=GRID, **TINY)
COLOURS = {
    "generalises": figures.BLUE, "decay and pairs, not yet": figures.PURPLE, "no decay": figures.ORANGE,
    "few pairs": figures.GREY, "random labels": figures.RED,
}  # fmt: skip
CURVES = {
    "commutator": "commutator defect (1 / weight)", "llc": "λ̂", "ln_volume": "ln of the local volume (nats)",
    "susceptibility_rank": "rank of susceptibilities", "alignment": "alignment of phases",
    "turning": "turning of the path (radians)",
}  # fmt: skip


def measured(run: Run, name: str, steps: Sequence[int]) -> list[Row]:
    """The rows of one function at some checkpoints."""
    return llc_columns(run, steps) if name == "llc" else watched(run, [COLUMNS[name]], steps, times(run)["memorised"])


def rows_of(run: Run, kept_in: Callable[[str], Path]) -> list[Row]:
    """A row for each watched checkpoint, and one of the start with tickets and winners."""
    steps = watched_steps(run, SINCE)
    by_step: dict[int, Row] = {step: {"at": "along"} for step in steps}
    for name in (*COLUMNS, "llc"):
        for row in kept(kept_in(name), partial(measured, run, name, steps)):
            by_step[row["step"]] |= row
    start = {"at": "start", "step": 0, **columns.ticket_columns(run, 0), **columns.foretold_columns(run, 0)}
    return [start, *by_step.values()]


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Watched checkpoints by what became of their run, against the time of generalising of their seed's judged run."""
    rows, own = along(table), judged(table)
    when = rows[rows["run"].isin(own)].groupby("seed")[EVENT].first()
    kinds = rows["arm"].where(rows["arm"].isin(CONTROLS), "decay and pairs, not yet")
    kinds = kinds.where(~rows["run"].isin(own), "generalises")
    rows = rows.assign(kind=kinds, before=rows["step"] - rows["seed"].map(when).astype(float))
    rows = rows.assign(bin=BIN * (rows["before"] / BIN).round())
    return rows[rows["run"].isin(own) | rows[EVENT].isna()]


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Medians and quartiles against the time to generalising; leads by both conventions; alarms founded and not."""
    figure, axes = figures.sheet(3, 3, (11.5, 10.5), height_ratios=(1, 1, 1.9))
    rows = drawn(table)
    for ax, (column, label) in zip(axes[:2].flat, CURVES.items(), strict=True):
        for kind, colour in reversed(COLOURS.items()):
            of = rows[rows["kind"] == kind]
            low, middle, high = (of.groupby("bin")[column].quantile(q) for q in (0.25, 0.5, 0.75))
            ax.plot(middle.index, middle, color=colour, lw=1.4, label=kind)
            ax.fill_between(low.index.to_numpy(), low.to_numpy(), high.to_numpy(), color=colour, alpha=0.15, lw=0)
        ax.axvline(0, color="black", lw=0.8)
        ax.set(xlabel="step less T_gen (of the seed)", ylabel=label, xlim=(-900, 700))
        if column in ("commutator", "llc", "susceptibility_rank") and rows[column][rows["before"].notna()].gt(0).any():
            ax.set_yscale("log")
    figures.legend_above(axes[0, 0], 2)
    first, shares = rows.groupby("run")["step"].first(), {}
    for ax, convention in zip(axes[2, :2], (LEVEL, OWN), strict=True):
        found = told(table, INDICATORS, convention)
        of = found[~found["is_control"] & found["lead"].notna()]
        figures.draw_leads(ax, of, first, [*INDICATORS], figures.BLUE)
        ax.set_xlabel("steps from alarm to generalising at 5 % false alarms\n0: none; hollow: at memorising itself")
        ax.set_title(f"level of the {convention}", fontsize=9)
        summed = summed_up(found, along(table))
        shares |= {f"{convention}: warned": summed["warned"], f"{convention}: not yet": summed["unfounded"]}
    figures.draw_shares(axes[2, 2], pd.DataFrame(shares).rename(columns=lambda name: name.replace(OWN, "gain")))
    axes[2, 2].set_title("alarms in runs that generalise,\nand in those that did not yet", fontsize=9)
    return figure


def notes(table: pd.DataFrame) -> list[str]:
    """What was watched and how, the whole table of leads by both conventions, what an alarm is worth, correlations."""
    rows, said = along(table), []
    for convention in (LEVEL, OWN):
        found = told(table, INDICATORS, convention)
        form = (
            "{}: {:.2f} of {:g}, {:g} steps, {:.2f} of T_gen, at once {:.2f}, controls {:.3f}, not yet {:.2f} of {:g}"
        )
        by_arm = found[found["is_control"]].assign(arm=lambda of: of["run"].map(rows.groupby("run")["arm"].first()))
        fired = by_arm["alarm"].notna().groupby(by_arm["arm"]).mean()
        said.append(
            f"By the {convention}. Warned of, median lead and its share of T_gen (0 where there is none), alarms at "
            "the first watched checkpoint among the warnings, alarms in controls that had no part in their level, and "
            f"in runs with decay and pairs that did not generalise: {listed(summed_up(found, rows), form, '; ')}. "
            f"False alarms by arm: {listed(fired, '{} {:.3f}')}."
        )
    n = rows[rows["arm"].isin(CONTROLS)]["run"].nunique()
    of_given = {(): "", ("train_loss",): ", loss held", ("train_loss", "since", "memorised"): ", and times"}
    correlations = [
        PartialSpearman(at_memorising, one.column, "remaining", given, name + held).found(table)
        for name, one in INDICATORS.items()
        for given, held in of_given.items()
        if one.column not in given and one.column != "nth"
    ]
    own = rows[rows["run"].isin(judged(table))].groupby("run").first()
    hindsight = {at: winners(at)(table)["foretold"].mean() for at in ("start", "memorised")}
    known, late = rows[rows["llc"].notna()], rows[rows["arm"].isin(GROKS) & rows[EVENT].isna()].groupby("run").last()
    return [
        f"Watched: the first checkpoint (every {GRID} steps) {SINCE} steps or more after memorising, up to the first "
        f"that has seen the event, in {len(rows)} checkpoints. The event: 0.95 of the unseen mirrors. Judged: "
        f"{listed(own.groupby('arm').size(), '{}: {}')}; first watched at step {own['step'].median():g} and "
        f"generalised at {own[EVENT].median():g} in the median. Not within the budget: {len(late)}, which answer "
        f"{listed(late['unseen_acc'].sort_values(), '{1:.2f}')} of the unseen mirrors when they are watched last.",
        f"Levels are set by the controls of other seeds, at most 5 % of which give an alarm at any watched checkpoint. "
        f"With {n} controls that resolves a rate of {resolved_rate(max(1, n - len(CONTROLS)))}.",
        *said,
        f"Rank correlation with the time left, at memorising, within {' and '.join(GROKS)}, those that did not "
        f"generalise last: {'; '.join(found.words for found in correlations)}.",
        f"What frequencies are worth against the key frequencies of the end, hindsight: "
        f"{', '.join(f'{at} {value:.2f}' for at, value in hindsight.items())} (0.5 by chance).",
        f"λ̂: settings of llc_along_training (sghmc, step {SAMPLING.step_size:g}, γ {SAMPLING.localization:g}, nβ "
        f"{NBETA:.4g}, 4 chains of {SAMPLING.n_draws}); {listed(rows.groupby('llc_status').size(), '{}: {}')}; median "
        f"R̂ {known['llc_r_hat'].median():.3f}, Monte Carlo error over the value "
        f"{(known['llc_mcse'] / known['llc']).abs().median():.3f}. Commutator defect: median of 5 draws of two halves "
        "of the training pairs. Susceptibilities: 16 neurons, two looks of 16 draws, median length over error "
        f"{rows['susceptibility_signal'].median():.2f}. Local volume: 8 rays, of which one has most of the weight: a "
        "bound that tells how far the widest ray gets. Turning: between moves of 50 steps.",
        "Seconds a checkpoint on one core: commutator 0.1, λ̂ 0.33, local volume 0.45, susceptibilities 0.5, all others "
        "0.02; checkpoints were thinned for it, seeds were not. Piloted on seeds 90 to 97, without the costly columns.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "tiny runs")
    runs = study.train(given)
    of = study.table(runs, lambda run: {"run": run.name})
    found = []
    with ticks("measuring", "runs") as tick:
        for i, (name, run) in enumerate(runs.items()):
            rows = rows_of(run, lambda what, name=name: given.out / "runs" / f"{name}.{what}.json")
            found += [{"run": name, **row} for row in rows]
            tick(i + 1, len(runs))
    labels = of.rename(columns={"memorised_by": "memorised", f"{EVENT}_by": EVENT})
    table = labels[["run", "arm", "seed", "memorised", EVENT]].merge(pd.DataFrame(found), on="run")
    table = table.map(lambda x: float(f"{x:.6g}") if isinstance(x, float) else x)
    study.write(given, table, draw(table), notes(table), runs=of)


if __name__ == "__main__":
    main()
