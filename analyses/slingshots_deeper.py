"""Is deeper sooner with each depth at its soonest rate, and does a long second moment or a large ε end slingshots?

`slingshots_by_depth` left that open: it had one rate for every depth, no six layers, and its runs of a β₂ of 0.999 had
not come to so low a training loss as those of 0.98 slingshot from. Here transformers of one, two, four and six layers
have two or three rates, of which other seeds pick each depth's. A slingshot's time is told in three units: in steps, in
length of the path of weights, and in decades that the training loss had fallen. So a run that has not fallen so far is
censored there, and is no evidence that β₂ or ε ends slingshots. Seeds are others once more.

    python analyses/slingshots_deeper.py --claims   # what is claimed, to be committed before the runs
    python analyses/slingshots_deeper.py            # ten seeds; --dry-run says how long
    python analyses/slingshots_deeper.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from slingshots_by_depth import (
    BASE,
    FULL,
    LOW,
    MLP,
    RATE,
    Arm,
    as_long,
    as_long_mlp,
    at,
    does,
    draw_losses,
    hidden,
    latest,
    layers,
    slings,
    spares,
    times,
)
from slingshots_by_depth import measured as around_slingshots

from circuitgrok import figures
from circuitgrok.figures import BLUE, GREY, ORANGE, PURPLE, RED, SKY
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed, derived, has_grokked, picked_apart
from circuitgrok.study.study import Study
from circuitgrok.study.survival import Slope, draw_times
from circuitgrok.study.walked import step_lengths, walked

QUESTION = "Is deeper sooner with each depth at its soonest rate, and does a long second moment or a large ε end it?"
DEPTH, RATES = (1, 2, 4, 6), (1e-3, 4e-3, 8e-3)
LEAST = 1e-16  # nats, below which a loss is not told from 0


def rated(n: int, rate: float) -> str:
    """The arm of a depth in float32 at a rate."""
    return layers(n, f"float32, rate {rate:g}")


STEPS = {(6, 4e-3): 1300, (4, 4e-3): 1400}  # fewer than the others', for time
RATED: dict[str, Arm] = {
    rated(n, rate): as_long(n, lr=rate, steps=STEPS.get((n, rate), BASE.schedule.steps), **LOW)
    for n, rate in [(1, 1e-3), (1, 4e-3), (1, 8e-3), *((n, rate) for n in DEPTH[1:] for rate in RATES[:2])]
}
PRECISE: dict[str, Arm] = {layers(n, "float64"): as_long(n, **FULL) for n in DEPTH}
TWO, SINGLE = layers(2, "float64"), layers(1, "float64")

LONG, BETWEEN = (layers(2, f"float64, β₂ {what} steps") for what in ("0.999, rate 0.01, 7200", "0.995, 3600"))
LATER: dict[str, Arm] = {LONG: as_long(2, beta2=0.999, lr=1e-2, steps=7200, **FULL)}
EPSILONS = {layers(2, f"float64, ε {eps:g}"): as_long(2, eps=eps, **FULL) for eps in (1e-3, 1e-2)}
MLPS: dict[str, Arm] = {
    hidden(n, name): as_long_mlp(n, **of) for name, of in {"float32": LOW, "float64": FULL}.items() for n in DEPTH
}
ARMS = RATED | PRECISE | LATER | EPSILONS | MLPS


def any_of(arms: Sequence[str]) -> Selection:
    """The rows of some arms."""
    return where(arm=lambda arm: arm.isin(arms))


def soonest(n: int) -> Selection:
    """Float32 runs of a depth at the rate at which the other half of the seeds is soonest."""
    return picked_apart(any_of([rated(n, rate) for rate in RATES]), "lr", latest)


def with_logs(rows: Selection) -> Selection:
    """Some transformers with the logarithms of rate and depth."""
    ln_depth = {n: math.log(n) for n in DEPTH}
    return derived(
        rows,
        ln_rate=lambda of: of["lr"].map(math.log),
        ln_depth=lambda of: of["arm"].str[0].astype(int).map(ln_depth),
    )


def at_soonest(table: pd.DataFrame) -> pd.DataFrame:
    """Float32 runs of every depth, each at its soonest rate."""
    return pd.concat([soonest(n)(table) for n in DEPTH])


def deeper(n: int, than: int) -> Ratio:
    """How many times as long a depth takes as another, each at its soonest rate."""
    return times(soonest(n), soonest(than), f"{n} layers over {than}, each at its soonest rate")


def equal_steps(n: int, than: int, rate: float) -> Ratio:
    """The same of a depth at a rate and another at twice that."""
    return times(at(rated(n, rate)), at(rated(than, 2 * rate)), f"{n} layers at {rate:g} over {than} at {2 * rate:g}")


def fallen_as_far(arm: str) -> Selection:
    """An arm's runs that slingshot or whose loss comes as low as that from which the seed's own plain run does."""

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        rows, fallen = at(arm)(table), at(TWO)(table).set_index("seed")["fallen_by"]
        return rows[does(rows) | (rows["fallen_after"] >= rows["seed"].map(fallen))]

    return chosen


def stays(arm: str) -> Share:
    """The share of these without a slingshot."""
    return Share(fallen_as_far(arm), lambda rows: ~does(rows), f"no slingshot though the loss fell as far, {arm},")


def decades(arm: str) -> Ratio:
    """How many times as many decades the loss falls in an arm, before the first slingshot, as in plain runs."""
    return Ratio(at(arm), at(TWO), "fallen", name=f"decades fallen at the first slingshot: {arm} over {TWO}")


PRECISIONS = {n: (rated(n, RATE), layers(n, "float64")) for n in DEPTH[1:]}
counted = [by_seed(any_of([pair[i] for pair in PRECISIONS.values()]), n_slingshots="mean") for i in (0, 1)]
DEEP = any_of([arm for arm in RATED | PRECISE if not arm.startswith("1 layer")])
shot = by_seed(lambda table: DEEP(table)[does(DEEP(table))], change_at_slingshots="mean", keys_change="mean")
FASTER = Slope(with_logs(any_of([*RATED])), "ln_rate", "slung", ["ln_depth"], "slope of ln T_slingshot along ln rate")
DEEPER = Slope(with_logs(at_soonest), "ln_depth", "slung", name="slope of ln T_slingshot along ln depth")
CLAIMS = [
    slings(rated(1, RATE)).exceeds(0.25, "Positive control: with a float32 loss one layer slingshots, over a "
                                         "quarter of the runs."),
    spares(SINGLE, SINGLE).is_all("Negative control: in float64 one layer does not, no run.", "{arm}, seed {seed}"),
    slings(layers(6, "float64")).exceeds(0.25, "Six layers slingshot in float64: over a quarter of the runs.").telling(
        slings(layers(4, "float64")), slings(TWO)
    ),
    Mean(counted[0], "n_slingshots", "slingshots of 2, 4 and 6 layers, float32 less float64,", counted[1]).is_within(
        0.5, "Of two to six layers precision is no cause: they have as many in float32 as in float64, to 0.5."
    ),
    deeper(4, 1).falls_below(1, "Deeper is sooner, each at the soonest of three rates: four layers before one."),
    deeper(6, 1).falls_below(1, "And six layers before one."),
    DEEPER.falls_below(0, "So it is all along: over one to six layers, each at its soonest, time falls with depth."),
    deeper(2, 1).falls_below(1, "It falls at every step: two layers before one,"),
    deeper(4, 2).falls_below(1, "four before two,"),
    deeper(6, 4).falls_below(1, "and six before four."),
    equal_steps(4, 1, RATES[1]).falls_below(
        1, "It is not the length of a step, which grows as the root of the number of weights: four layers slingshot "
        "before one layer at twice their rate, whose steps are as long."
    ).telling(Ratio(soonest(4), soonest(1), "way", name="path to it over ‖θ₀‖: 4 layers over 1, each at its soonest")),
    FASTER.falls_below(0, "A higher rate is sooner, at a given depth."),
    slings(hidden(6, "float32")).exceeds(
        0.25, "MLPs of six hidden layers slingshot in float32: over a quarter of the runs."
    ).telling(slings(hidden(2, "float32"))),
    spares("MLPs in float64", *(hidden(n, "float64") for n in DEPTH)).is_all(
        "In MLPs precision is all: in float64 no run of one to six hidden layers slingshots.", "{arm}, seed {seed}"
    ),
    times(at(hidden(6, "float32")), at(hidden(2, "float32")), "MLPs of 6 over 2").falls_below(
        1, "Deeper is sooner in MLPs, too: six hidden layers before two."
    ).telling(times(at(hidden(4, "float32")), at(hidden(2, "float32")), "MLPs of 4 over 2")),
    stays(LONG).exceeds(
        0.5, "A β₂ of 0.999 ends slingshots of two layers, and not for want of a low loss: of runs that come as low as "
        "those of the same seed slingshot from at 0.98, in 4 times the steps at 10 times the rate, most have none.",
    ).telling(slings(LONG)),
    decades(LONG).exceeds(1, "There the loss falls by more decades before a slingshot than at 0.98."),
    slings(BETWEEN).exceeds(
        0.25, "A β₂ of 0.995 only delays them: in twice the steps over a quarter of the runs have one."
    ).telling(stays(BETWEEN), decades(BETWEEN)),
    slings(layers(2, "float32, β₂ 0.9")).exceeds(
        0.25, "A shorter memory does not end those of two layers: with a β₂ of 0.9, in float32, over a quarter do."
    ).telling(slings(layers(2, "float32, β₂ 0.999"))),
    slings(layers(2, "float64, ε 0.001")).falls_below(0.5, "An ε of 1e-3 ends those of two layers in float64: most "
                                                            "runs have none.").telling(
        stays(layers(2, "float64, ε 0.001")), decades(layers(2, "float64, ε 0.001"))
    ),
    slings(layers(2, "float64, ε 0.01")).falls_below(0.5, "And so does an ε of 1e-2.").telling(
        stays(layers(2, "float64, ε 0.01")), decades(layers(2, "float64, ε 0.01"))
    ),
    Mean(shot, "change_at_slingshots", "change of unseen pairs, 2 to 6 layers,", bounds=(-1, 1)).is_within(
        0.02, "Deep ones make nothing generalise: at slingshots of two to six layers answers of unseen pairs change by "
        "less than 2 points.",
    ),
    Mean(shot, "keys_change", "change of the variance in key frequencies", bounds=(-1, 1)).is_within(
        0.02, "Nor do circuits grow: the share of the logits' variance in key frequencies changes by under 2 points."
    ),
    Share(where(), lambda rows: ~has_grokked(rows), "runs that do not grok").is_all(
        "No run groks, with slingshots or without.", "{arm}, seed {seed}"
    ),
]  # fmt: skip
STUDY = Study(QUESTION, BASE, ARMS, seeds=range(20, 30), claims=CLAIMS)
SHORT: dict[str, Arm] = {arm: lambda cell, of=of: of(cell) | {"steps": 40} for arm, of in ARMS.items()}
QUICK = STUDY.with_(arms=SHORT, steps=40, checkpoint_every=10, seeds=[0, 1])


def measured(run: Run) -> dict[str, Any]:
    """Beside what `slingshots_by_depth` tells: decades that the loss fell, and the path, up to the first slingshot.

    Both are those of its onset, or of the last step from which a slingshot would have been seen.
    """
    told, loss = around_slingshots(run), run.history["train_loss"]
    until, last = max(told["slung_after"], 0), int(run.history.index[-1])
    path = walked(step_lengths(run).dropna(), last)
    fallen = -math.log10(max(loss[loss.index <= until].min(), LEAST))
    way = float(np.interp(until, path.index, path)) / run.manifest["start"]["norm"]
    seen = not math.isnan(told["slung_by"])
    for name, value in {"fallen": fallen, "way": way}.items():
        told |= {f"{name}_after": value, f"{name}_by": value if seen else math.nan}
    return told


def draw(table: pd.DataFrame, runs: Mapping[str, list[Run]]) -> "figures.Figure":
    """First slingshots by depth and rate; losses of six layers, by β₂ and by ε; counts; decades fallen before."""
    figure, ((when, six, counts), (memories, epsilons, fallen)) = figures.sheet(2, 3, (13.5, 9))
    rows = with_logs(any_of([*RATED]))(table).assign(n=lambda of: of["ln_depth"].map(math.exp).round())
    for rate, colour in zip(RATES, (GREY, SKY, RED), strict=True):
        draw_times(when, rows[rows["lr"] == rate], "n", "slung", colour, "-", f"float32, rate {rate:g}")
    figures.values_axis(when, DEPTH, "layers")
    figures.times_axis(when, int(rows["steps"].max()))
    when.set_ylabel("peak of the first slingshot (step)")
    for ax, shown in (
        (six, {rated(6, RATE): RED, layers(6, "float64"): BLUE}),
        (memories, {LONG: ORANGE, TWO: BLUE}),
        (epsilons, dict(zip(EPSILONS, (ORANGE, RED), strict=True)) | {TWO: BLUE}),
    ):
        for arm, colour in shown.items():
            draw_losses(ax, runs[arm], colour, arm)
        ax.set(xlabel="optimizer step", ylabel="training loss (nats), seeds", yscale="log", ylim=(1e-10, 30))
    colours = {arm: (ORANGE if arm in MLPS else PURPLE if arm in EPSILONS | LATER else RED if arm in RATED
                     else BLUE) for arm in ARMS}  # fmt: skip
    figures.draw_dots(counts, table, "n_slingshots", colours)
    counts.set(xlim=(-0.3, max(3, table["n_slingshots"].max()) + 0.3), xlabel="slingshots per run (a dot each)")
    figures.draw_dots(fallen, table, "fallen_by", dict.fromkeys((TWO, *LATER, *EPSILONS), BLUE), "fallen_after")
    fallen.set_xlabel("decades fallen at the first slingshot (open: without)")
    for ax in (counts, fallen):
        ax.tick_params(axis="y", labelsize=6)
    figures.legends([when, six, memories, epsilons])
    return figure


def picked(table: pd.DataFrame) -> "pd.Series":
    """The rates that the halves of the seeds pick, of each depth, in words."""
    rates = {n: sorted(soonest(n)(table)["lr"].unique()) for n in DEPTH}
    return pd.Series({n: " and ".join(f"{rate:g}" for rate in of) for n, of in rates.items()})


def notes(table: pd.DataFrame) -> list[str]:
    """What a slingshot is; which rates were picked; where arms end; what is so when slingshots begin."""
    by_arm = table.groupby("arm", sort=False)
    ends = by_arm.agg({"memorised_by": "median", "n_slingshots": "mean", "least_train_loss": "median",
                       "end_test_acc": "mean"})  # fmt: skip
    onsets = table[does(table)].groupby("arm", sort=False)[["slung_by", "fallen_by", "way_by", "step_before"]].median()
    return [
        "A slingshot is what it is in `slingshots`, norms, networks and rates are those of `slingshots_by_depth` "
        f"where nothing is said: transformers have a rate of {RATE:g}, MLPs of {MLP['lr']:g}, ε is 1e-8, β₂ 0.98. "
        "Seeds are others than those of both.",
        "The soonest rates, that each half of the seeds picks for the other, by depth: "
        f"{listed(picked(table), '{}: {}')}. Fewest runs without a slingshot come first, then the mean time.",
        "Decades are those of the least training loss below 1 nat, in float64, up to the onset of the first slingshot; "
        "a run without one is censored at what it fell. The path is the sum of the steps' lengths, from those that "
        "left checkpoints, over ‖θ₀‖.",
        "Rates, steps and β₂ were chosen in pilots with seeds 90 and 91: rates of 5e-4 to 8e-3 in float32, of which "
        "5e-4 was later in one and four layers; in two layers β₂ of 0.995 with one slingshot in two runs, and of 0.999 "
        "with none in three, whose losses had fallen to 8e-6 at a rate of 1e-3 and 1e-6 at 1e-2 by step 4500. So "
        "0.999 has the faster rate here, which no run of 0.98 in float64 has. Four and six layers have 1400 and 1300 "
        f"steps at {RATES[1]:g}. The runs were made in two parts for want of cores. At first four and six layers had "
        "one rate, MLPs of one and four and all in float64 were left out, and float64 was told of two layers and of "
        "six at 4e-3 (6 of 10 slingshot there; first verdict at commit 02a9863); these were made when that verdict was "
        "known, as they had been planned, and claims stand as they were. Left out still: 8e-3 in more than one layer; "
        "a β₂ of 0.995, and 0.9 and 0.999 in float32.",
        "Median step of memorising, slingshots per run, median least training loss, unseen pairs at the end (chance "
        f"{1 / 23:.3f}): {listed(ends, '{} {:.0f}, {:.3g}, {:.1e}, {:.2f}', '; ')}.",
        "At the first slingshot, medians: step, decades, path, and the size of the last recorded step before it, in "
        f"units of the learning rate in every weight: {listed(onsets, '{} {:.0f}, {:.1f}, {:.1f}, {:.2g}', '; ')}.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    runs = study.train(given)
    table = study.table(runs, measured)
    study.write(given, table, draw(table, study.grouped(runs)), notes(table))


if __name__ == "__main__":
    main()
