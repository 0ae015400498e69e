"""Does a held norm prevent memorising, or is memorising outrun; and where does generalising stop?

On the sphere of radius α‖θ₀‖ (held from step 0, no decay) the same first networks are trained on the same pairs with
their true labels, with random labels, which can only be memorised, and with a dose of lies: some of the training labels
are wrong. T_gen is when the true task is generalised, T_random when as many random labels are fitted.

What is predicted before any run at another share f of the pairs than f₀: memorising takes in proportion to the number
of pairs, generalising does not depend on it, and generalising stops at the radius above which memorising is sooner. So
T_gen(α) = T_random(α) f / f₀ gives α*(f), with both times from f₀ alone (`predicted`).

It would be an artefact if random labels were harder for a reason of their own: they are as many, on the same pairs, in
the same network, at the same rate. A budget that ends first makes a bound of T_random, no time; and what these rates
and budgets do not fit is not shown to be unfittable.

    python analyses/prevent_or_outrun.py            # the full grid
    python analyses/prevent_or_outrun.py --quick    # a smaller one: seconds
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.capacity import PUBLISHED, bits_by_accuracy, bits_by_loss
from circuitgrok.measures.learning.crossings import events
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.rows import listed, slug
from circuitgrok.study.selections import Band, has_grokked
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.study.survival import censored_median

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRUE, RANDOM, LIES = "true labels", "random labels", "10 % lies"
HELD = {"fixed_norm": True, "weight_decay": 0.0, "lr": 3e-3, "eval_every": 10}
SEEDED = ("seed", "data_seed", "label_seed")
EXCLUDED = {"p = 113": 0.9, "p = 29": 0.8}  # radii at which excluded loss is measured
SEEN = ["train_acc", "train_loss", "test_mirror_unseen_acc", "train_corrupted_acc"]
F0, OTHERS = 0.5, [0.4, 0.65, 0.8]  # the share of the pairs that predicts, and those that are predicted
RADII = [0.6, 0.7, 0.8, 0.9, 1.0, 1.25]
PUBLISHED_SIZE = cg.TrainConfig.preset("sphere").with_(**HELD, norm_factor=1.0, steps=300, **evenly(300))
SMALL = cg.TrainConfig.preset("quickstart").with_(**HELD, steps=600, **evenly(600))


def budget(cell: cg.TrainConfig) -> dict[str, Any]:
    """Fewer steps where random labels and lies are fitted soon: above 1 at p = 113, above 0.8 at p = 29 (pilots)."""
    is_large, alpha = cell.schedule.steps == 300, cell.init.alpha
    return {"steps": 150 if alpha > 1 else 300} if is_large else {"steps": 200 if alpha > 0.8 else 600}


ARMS = {
    TRUE: lambda cell: {"checkpoint_every": 25} | ({"steps": 250} if cell.schedule.steps == 300 else {}),
    RANDOM: lambda cell: {"operation": "random"} | budget(cell),
    LIES: lambda cell: {"corrupted": 0.1} | budget(cell),
}
SOME_ARMS = {TRUE: {}, LIES: {"corrupted": 0.1, "steps": 200}}
LARGE, SMALL_PART, DOSES, RATES = "p = 113", "p = 29", "doses", "rates"
FEWER, MORE = "fewer pairs", "more pairs"
PARTS = {
    LARGE: Study("At the published size?", PUBLISHED_SIZE, ARMS, {"alpha": [0.9]}, seeded=SEEDED),
    SMALL_PART: Study("At a small one?", SMALL, ARMS, {"alpha": RADII}, seeded=SEEDED),
    DOSES: Study("Which dose?", SMALL, {"lies": {}}, {"corrupted": [0.02, 0.05, 0.2], "alpha": [0.8]}, seeded=SEEDED),
    FEWER: Study("With fewer pairs?", SMALL, SOME_ARMS, {"frac_train": [0.4], "alpha": RADII[:4]}, seeded=SEEDED),
    MORE: Study("With more?", SMALL, SOME_ARMS, {"frac_train": [0.65, 0.8], "alpha": RADII[2:]}, seeded=SEEDED),
    RATES: Study(
        "At which rate?", SMALL, {RANDOM: {"operation": "random"}}, {"lr": [1e-3, 1e-2], "alpha": [0.6, 0.7]},
        seeded=SEEDED,
    ),
}  # fmt: skip


def part(name: str, arm: str, **more: Any) -> Selection:
    """The runs of an arm of a part."""
    return where(part=name, arm=arm, **more)


def in_most(rows: pd.DataFrame) -> pd.Series:
    """Whether more than half of the runs at a row's radius generalise."""
    return has_grokked(rows).groupby(rows["alpha"]).transform("mean") > 0.5


def band(name: str) -> Band:
    """The radii at which most runs with true labels generalise."""
    return Band(part(name, TRUE), "alpha", in_most, "α")


def at_soonest(name: str, arm: str) -> Selection:
    """Those at the radius at which the other half of the seeds generalises soonest, of those where most do."""
    return band(name).at_soonest(part(name, arm))


def outrun(name: str) -> Ratio:
    """How many times as long random labels take as generalising, at the radius where that is soonest."""
    return Ratio(at_soonest(name, RANDOM), at_soonest(name, TRUE), "memorised", by="grokked", name="T_random / T_gen")


def delay(name: str) -> Ratio:
    """How many times as long generalising takes as memorising, there."""
    return Ratio(at_soonest(name, TRUE), at_soonest(name, TRUE), "grokked", by="memorised", name="T_gen / T_mem")


def fitted(rows: Selection, column: str, when: str) -> Mean:
    """The share of the lies that are fitted."""
    return Mean(rows, column, f"share of the lies fitted {when}", bounds=(0, 1))


def edges(table: pd.DataFrame) -> pd.DataFrame:
    """For each seed and share: the largest radius at which it generalises (0 without any), and the next of the grid."""
    lines = []
    small = table["part"].isin([SMALL_PART, FEWER, MORE])
    for (f, seed), rows in where(arm=TRUE)(table[small]).groupby(["f", "seed"]):
        radii = rows["alpha"].sort_values().tolist()
        last = max(rows["alpha"][has_grokked(rows)], default=0.0)
        lines.append(
            {"f": f, "seed": seed, "last": last, "next": min((a for a in radii if a > last), default=math.inf)}
        )
    return pd.DataFrame(lines)


def medians(table: pd.DataFrame, arm: str, event: str) -> pd.Series:
    """ln T by radius at f₀, the median over seeds, where censored the budget, which is a bound."""
    rows = part(SMALL_PART, arm)(table)
    times = rows[f"{event}_by"].fillna(rows["steps"])
    return times.map(math.log).groupby(rows["alpha"]).median()


def predicted(table: pd.DataFrame, f: float) -> float:
    """The largest radius at which ln T_gen = ln T_random + ln(f / f₀), between radii of the grid on a straight line.

    From the runs at f₀ alone; nan if the two do not cross within the grid.
    """
    late = medians(table, TRUE, "grokked") - medians(table, RANDOM, "memorised") - math.log(f / F0)
    pairs = list(zip(late.index[:-1], late.index[1:], late.iloc[:-1], late.iloc[1:], strict=True))
    crossed = [a + (b - a) * -low / (high - low) for a, b, low, high in pairs if low <= 0 < high]
    return max(crossed, default=math.nan)


def missed(table: pd.DataFrame) -> pd.DataFrame:
    """By how much the prediction misses the edge of each seed, in steps of ln α of 0.1, on average over other shares.

    It misses by nothing if it lies between the last radius at which the seed generalises and the next of the grid.
    """
    found = edges(table)
    found = found[found["f"] != F0]
    for name, rule in {"miss": lambda f: predicted(table, f), "stays": lambda f: predicted(table, F0)}.items():
        at = found["f"].map({f: rule(f) for f in OTHERS})
        below, above = (found["last"] / at).map(_log), (at / found["next"]).map(_log)
        found[name] = pd.concat([below, above], axis=1).max(axis=1).clip(lower=0) / 0.1
    return found.groupby("seed", as_index=False)[["miss", "stays"]].mean()


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


AT = "Where it generalises soonest"
tenth, there = where(part=LARGE, arm=LIES, alpha=0.9), part(SMALL_PART, LIES, alpha=0.6)
RATE_COLOURS = {
    (LARGE, 3e-3): figures.BLUE,
    (SMALL_PART, 3e-3): figures.RED,
    (RATES, 1e-3): figures.SKY,
    (RATES, 1e-2): figures.ORANGE,
}
NOTES = [
    "Norm held after every step from step 0, at α times its start. Budgets differ by arm and radius: 250 "
    "or 300 steps at p = 113; at p = 29 600 where that may matter and 200 where pilots had fitted all by then. Thinned "
    "for two shared cores: p = 113 at one radius, 0.9, which the preset `sphere` had found with other seeds; the rate "
    "3e-3 in place of its 1e-3, for a third of the steps; other shares f at four radii each around the end. Pilots "
    "(seeds 100 and 101) were seen before the claims were made, and are not among what decides. A radius is in the "
    "band where more than half of the seeds generalise; it was three quarters until the true labels at p = 29 were "
    "there (8 of 10 at 0.8, 3 of 5 in one half), which would have left one half without a radius.",
    "α*(f) was computed from the runs at f = 0.5 and committed (613ab51, prediction.json) before any at another share.",
    "Bits of random labels are lower bounds, the best along a run, of what these rates and steps found: no capacity. "
    "2.16 bits for each parameter are Song and Ye's (2026, arXiv:2605.09724), of their networks with a free norm.",
]
CLAIMS = [
    outrun(LARGE).exceeds(1, f"p = 113: {AT}, memorising is outrun: random labels take longer to fit."),
    outrun(SMALL_PART).exceeds(1, f"p = 29: {AT}, memorising is outrun: random labels take longer to fit."),
    delay(LARGE)
    .falls_below(1.5, f"p = 113: {AT}, there is no delay: T_gen is less than 1.5 T_mem.")
    .telling(delay(SMALL_PART)),
    Share(at_soonest(SMALL_PART, RANDOM), lambda rows: rows["memorised_by"].notna(), "random labels fitted to .99")
    .is_all(f"p = 29: {AT}, memorising is not prevented: in every run the random labels are fitted in the end."),
    fitted(tenth, "fitted_then", "by T_gen of the true labels")
    .falls_below(0.5, "p = 113, α = 0.9: of 10 % lies less than half are fitted by T_gen of the true labels."),
    fitted(tenth, "fitted_end", "at the end")
    .exceeds(0.5, "p = 113, α = 0.9: and yet lies are not prevented: more than half are fitted in the end."),
    fitted(there, "fitted_end", "at the end")
    .falls_below(0.5, "p = 29, α = 0.6: a small enough sphere prevents: less than half of the lies are fitted."),
    Mean(missed, "miss", "miss of α*(f), in steps of 0.1 of ln α")
    .falls_below(1, "p = 29: the race at f = 0.5 predicts where generalising stops at 0.4, 0.65 and 0.8, to a step.")
    .telling(Mean(missed, "stays", "miss if it stayed where it is at f = 0.5")),
]  # fmt: skip
QUESTION = "Does holding the norm prevent memorising, or is it outrun; and where does generalising stop?"
STUDY = Studies(QUESTION, PARTS, claims=CLAIMS)
_TINY = {"d_model": 16, "d_head": 4, "d_mlp": 32}
_ARMS = {TRUE: {}, RANDOM: {"operation": "random"}, LIES: {"corrupted": 0.1}}
QUICK = STUDY.with_(
    {
        LARGE: {"p": 13, "arms": _ARMS, "grid": {"alpha": [0.7, 0.9]}},
        SMALL_PART: {"p": 7, "arms": _ARMS, "grid": {"alpha": [0.6, 0.8]}},
        DOSES: {"p": 7, "grid": {"corrupted": [0.1, 0.2], "alpha": [0.8]}},
        FEWER: {"p": 7, "arms": {TRUE: {}, LIES: _ARMS[LIES]}, "grid": {"frac_train": [0.4], "alpha": [0.6, 0.8]}},
        MORE: {"p": 7, "arms": {TRUE: {}, LIES: _ARMS[LIES]}, "grid": {"frac_train": [0.65, 0.8], "alpha": [0.6, 0.8]}},
        RATES: {"p": 7, "grid": {"lr": [1e-3], "alpha": [0.6]}},
    },
    seeds=[0, 1], steps=20, checkpoint_every=10, **_TINY,
)  # fmt: skip


def measures(run: Run, twin: Run | None) -> dict[str, Any]:
    """What a run adds to its row: the lies that are fitted, also by T_gen of its twin, and bits of random labels."""
    task, history = run.config.modular, run.history
    line = {"p": task.p, "f": task.frac_train, "dose": task.corrupted, "rate": run.config.optimizer.lr}
    line["unseen_acc"] = history["test_mirror_unseen_acc"].iloc[-1]
    if task.corrupted:
        shares = history["train_corrupted_acc"]
        line |= {"fitted_end": shares.iloc[-1], "fitted_grokked": at_grok(run, shares)}
        line["fitted_then"] = at_grok(twin, shares, shares.iloc[-1]) if twin else math.nan
    if task.operation == "random":
        loss, right = (torch.tensor(history[f"train_{of}"].to_numpy()) for of in ("loss", "acc"))
        bits = torch.cat([bits_by_loss(loss, task.n_train, task.p), bits_by_accuracy(right, task.n_train, task.p)])
        line["bits"] = bits.max().item() / sum(w.numel() for w in run.at(0).values())
    return line


def at_grok(run: Run, values: pd.Series, else_: float = math.nan) -> float:
    """A column at the step at which a run generalised, or something else if it did not."""
    when = events(run.history)["grokked"].by
    return else_ if when is None else float(values.loc[:when].iloc[-1])


def twin_of(name: str, runs: Mapping[str, Run]) -> Run | None:
    """The run with true labels of the same start, pairs and radius."""
    for arm in (slug(LIES), slug(RANDOM)):
        name = name.replace(arm, slug(TRUE))
    return runs.get(name)


def over_time(runs: Mapping[str, Run], labels: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Medians over seeds at each step, of runs with lies, of those at p = 113, and of excluded loss where measured."""
    parts = []
    for name, run in runs.items():
        arm, part_of, alpha = (labels[name][of] for of in ("arm", "part", "alpha"))
        lines = run.history.reindex(columns=SEEN).reset_index()
        if arm == TRUE and EXCLUDED.get(part_of) == alpha:
            circuits = cg.measure(run, ["circuits"], steps=[step for step in run.steps if step % 50 == 0])
            lines = lines.join(circuits["excluded_loss[train]"].rename("excluded"), on="step")
        elif arm != LIES and part_of != LARGE:
            continue
        parts.append(lines.assign(part=part_of, f=run.config.modular.frac_train, alpha=alpha, arm=arm))
    return pd.concat(parts).groupby(["part", "f", "alpha", "arm", "step"], as_index=False).median()


TIMES = (  # event, arm, colour, line, mark, what it is
    ("memorised", TRUE, figures.BLUE, "--", "s", "$T_{mem}$: true labels, train ≥ .99"),
    ("grokked", TRUE, figures.BLUE, "-", "o", "$T_{gen}$: true labels, test ≥ .95"),
    ("memorised", RANDOM, figures.RED, "-", "D", "$T_{random}$: random labels, train ≥ .99"),
)

CURVES = (  # at p = 113: arm, column, colour, line, what it is
    (TRUE, "train_acc", figures.BLUE, "--", "true labels: train"),
    (TRUE, "test_mirror_unseen_acc", figures.BLUE, "-", "true labels: unseen mirrors"),
    (RANDOM, "train_acc", figures.RED, "-", "random labels: train"),
    (LIES, "train_corrupted_acc", figures.ORANGE, "-", "10 % lies: lies fitted"),
    (LIES, "test_mirror_unseen_acc", figures.ORANGE, "--", "10 % lies: unseen mirrors"),
)


def draw_race(ax: "Axes", rows: pd.DataFrame, curves: pd.DataFrame) -> Any:
    """Times against the radius over the share of the lies that is fitted by then; open triangles: censored medians."""
    shown = where(arm=LIES, step=lambda step: step > 0)(curves)
    grid = shown.pivot(index="step", columns="alpha", values=SEEN[-1])
    radii, steps = grid.columns.to_numpy(), grid.index.to_numpy()
    image = ax.pcolormesh(_edges(radii), _edges(steps), grid, cmap="YlOrBr", vmin=0, vmax=1, rasterized=True)
    for shift, (event, arm, colour, style, mark, said) in zip((-0.012, 0, 0.012), TIMES, strict=True):
        of_arm = where(arm=arm)(rows)
        known: list[tuple[float, float]] = []
        for alpha in sorted(set(of_arm["alpha"])):
            group, at = where(alpha=alpha)(of_arm), alpha * math.exp(shift)
            times = group[f"{event}_by"]
            ax.plot([at] * int(times.notna().sum()), times.dropna(), mark, color=colour, ms=2.2, alpha=0.5)
            middle = censored_median(times.tolist(), group["steps"].tolist())
            if middle.is_censored:
                ax.plot(at, middle.value, "^", color=colour, mfc="white", ms=6, zorder=4)
            else:
                known.append((at, middle.value))
        if len(of_arm):
            ax.plot(*zip(*known, strict=True), style, marker=mark, ms=4.5, color=colour, label=said) if known else None
    ax.set(xscale="log", yscale="log", xlim=_edges(radii)[[0, -1]], ylim=(steps.min() / 1.1, rows["steps"].max() * 1.6))
    ax.set_xticks(radii, [f"{alpha:g}" for alpha in radii])
    ax.minorticks_off()
    ax.grid(False)
    return image


def _edges(centres: Any) -> Any:
    """Edges of cells around points of a logarithmic axis."""
    logs = torch.tensor(centres).double().log()
    middles = (logs[1:] + logs[:-1]) / 2
    ends = (2 * logs[:1] - middles[:1], 2 * logs[-1:] - middles[-1:])
    return torch.cat([ends[0], middles, ends[1]]).exp().numpy()


def draw(table: pd.DataFrame, curves: pd.DataFrame) -> "Figure":
    """p = 29: the race against the radius, a panel for each share of the pairs, with the predicted end."""
    figure, axes = figures.sheet(1, 4, (10.2, 3.5), sharey=True)
    small = table[table["part"].isin([SMALL_PART, FEWER, MORE])]
    found = edges(table)
    images = []
    for ax, f in zip(axes, sorted({F0, *OTHERS}), strict=True):
        images += [draw_race(ax, small[small["f"] == f], curves[(curves["f"] == f) & (curves["part"] != LARGE)])]
        ax.set_xlim(RADII[0] / 1.08, RADII[-1] * 1.08)
        ax.axvline(predicted(table, f), color="black", ls=":", lw=1.2, label="predicted $α^*(f)$, from f = 0.5")
        last, after = found[found["f"] == f][["last", "next"]].median()
        ends = [max(last, RADII[0] / 1.08), min(after, RADII[-1] * 1.08)]
        ax.plot(
            ends, [0.975] * 2, color=figures.GREEN, lw=4, transform=ax.get_xaxis_transform(), label="found: stops here"
        )
        ax.set_title(f"f = {f:g}" + (", which predicts" if f == F0 else ""), fontsize=9)
    axes[0].set_ylabel("optimizer step")
    figure.supxlabel("held norm, in units of α = ‖θ‖/‖θ₀‖", fontsize=9)
    figure.colorbar(images[0], ax=list(axes), label="share of the lies fitted", pad=0.01)
    handles = axes[sorted({F0, *OTHERS}).index(F0)].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5, fontsize=7)
    return figure


def draw_more(table: pd.DataFrame, curves: pd.DataFrame) -> "Figure":
    """p = 113: the race, excluded loss; doses of lies; bits of random labels for each parameter."""
    figure, ((race, excluded), (dose, bits)) = figures.sheet(2, 2, (7.2, 6))
    for arm, column, colour, style, said in CURVES:
        of = where(part=LARGE, arm=arm)(curves)
        race.plot(of["step"], of[column], style, color=colour, label=said)
    race.set(xlabel=f"optimizer step (p = 113, f = 0.3, α = {EXCLUDED[LARGE]:g})", ylabel="share (median over seeds)")
    figures.legend_above(race, 2)
    for name, colour in ((LARGE, figures.BLUE), (SMALL_PART, figures.ORANGE)):
        of = where(part=name, arm=TRUE)(curves).dropna(subset="excluded")
        excluded.plot(of["step"], of["excluded"], color=colour, label=f"{name}, α = {EXCLUDED[name]:g}: excluded")
        excluded.plot(of["step"], of["train_loss"], "--", color=colour, label=f"{name}: train")
    excluded.set(xlabel="optimizer step", ylabel="cross-entropy on train (nats)", yscale="log")
    doses = table[(table["p"] == table.loc[table["part"] == SMALL_PART, "p"].iloc[0]) & (table["alpha"] == 0.8)]
    doses = doses[(doses["dose"] > 0) & (doses["f"] == F0)].assign(percent=lambda rows: 100 * rows["dose"])
    figures.draw_seeds(dose, doses, "percent", "fitted_end", figures.RED, "-", "lies fitted")
    figures.draw_seeds(dose, doses, "percent", "unseen_acc", figures.BLUE, "-", "right on unseen mirrors")
    figures.values_axis(dose, doses["percent"].tolist(), "dose of lies (% of the training labels), p = 29, α = 0.8")
    dose.set(ylim=(-0.03, 1.03), ylabel="share at the end")
    for (name, rate), colour in RATE_COLOURS.items():
        of = where(arm=RANDOM, part=name, rate=rate)(table)
        figures.draw_seeds(bits, of, "alpha", "bits", colour, "-", f"p = {of['p'].max():g}, rate {rate:g}")
    bits.axhline(PUBLISHED, color="black", lw=0.8)
    bits.text(0.02, PUBLISHED, "2.16: Song and Ye 2026", va="top", fontsize=7, transform=bits.get_yaxis_transform())
    bits.set(yscale="log", ylabel="bits of random labels per parameter")
    figures.values_axis(bits, table["alpha"].tolist(), "held norm, α")
    figures.legends([excluded, dose, bits])
    return figure


def told(table: pd.DataFrame) -> list[str]:
    """What stands beside the claims: where generalising stops, lies by dose and radius, random labels by rate."""
    ends = edges(table).groupby("f")[["last", "next"]].median()
    ends.insert(0, "predicted", [predicted(table, float(f)) for f in ends.index])
    lies = table[table["dose"] > 0].groupby(["part", "f", "dose", "alpha"])[["fitted_end", "unseen_acc"]].median()
    rates = where(arm=RANDOM)(table).groupby(["part", "rate", "alpha"])[["best_train_acc", "bits"]].median()
    unseen = where(arm=TRUE)(table).groupby(["part", "f", "alpha"])["unseen_acc"].agg(["min", "median"])
    random, true = (part(SMALL_PART, arm, alpha=0.8) for arm in (RANDOM, TRUE))
    race = Ratio(random, true, "memorised", by="grokked", name="T_random / T_gen").found(table).words
    return [
        f"p = 29: halves of the seeds pick α = {' and '.join(map(str, band(SMALL_PART).picks(table)))} for "
        f"each other. Seen afterwards, at 0.8 in all seeds: {race}.",
        "Where generalising stops, by share f: predicted α*, then medians over seeds of the last radius at which one "
        f"generalises and of the next of the grid: {listed(ends, 'f {:g}: {:.3g}, {:g} to {:g}', '; ')}.",
        "Lies fitted at the end, and unseen mirrors answered right (medians): "
        f"{listed(lies, '{} f {:g}, {:g} wrong, α {:g}: {:.2f}, {:.2f}', '; ')}.",
        "Random labels, best found: train accuracy, bits for each parameter (medians): "
        f"{listed(rates, '{} rate {:g}, α {:g}: {:.3f}, {:.2g}', '; ')}.",
        "True labels, unseen mirrors answered right at the end, least and median: "
        f"{listed(unseen, '{} f {:g}, α {:g}: {:.2f}, {:.2f}', '; ')}.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "tiny networks and few steps")
    runs, labels = study.train(given), study.labels()
    names = {id(run): name for name, run in runs.items()}
    table = study.table(runs, lambda run: measures(run, twin_of(names[id(run)], runs)))
    curves = over_time(runs, labels)
    given.out.mkdir(parents=True, exist_ok=True)
    curves.to_csv(given.out / "curves.csv", index=False, float_format="%.5g")
    figures.save(draw_more(table, curves), given.out / "more")
    study.write(given, table, draw(table, curves), [*NOTES, *told(table)])


if __name__ == "__main__":
    main()
