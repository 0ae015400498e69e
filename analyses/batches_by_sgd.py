"""By SGD too: does noise of batches count, free and with the norm held, and which of rate, noise and motion foretells?

`batches_for_longer` found that without decay small batches generalise where the full batch does not, and that by Adam
the batch does not count on the sphere. Here SGD (momentum 0.9) has batches of 32, 128, 512 and all 671 pairs, free and
with the norm held, each at a ladder of rates up to where runs diverge or do not fit; each half of the seeds is judged
at the rate that is best for the other half. A slow start lets the full batch have a rate at which it would diverge at
once. Adam has what was left out there: 512 at four times the rate and held, and all pairs at four and six times it. As
671 = 512 + 159, every other "batch of 512" has 159 pairs; drawn with replacement all have 512, which is the control.

    python analyses/batches_by_sgd.py --claims   # what is claimed, to be committed before the runs
    python analyses/batches_by_sgd.py            # ten other seeds; --dry-run says how long
    python analyses/batches_by_sgd.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
from batches_for_longer import (
    BASE,
    COLOURS,
    EARLY,
    FREE,
    HELD,
    HELD_FOR,
    RULES,
    SIZES,
    SOON,
    draw_unseen,
    measured,
    named,
)

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.interventions.batches import MiniBatch
from circuitgrok.interventions.fixed_norm import FixedNorm
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, where
from circuitgrok.study.effects import GAIN
from circuitgrok.study.ranks import across_arms
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed, picked_apart
from circuitgrok.study.study import Study

QUESTION = "By SGD too, does the noise of batches count without decay, free and on the sphere, and what foretells it?"
RATES = {
    FREE: {"32": (0.01, 0.02, 0.04), "128": (0.02, 0.04, 0.08), "512": (0.04, 0.08), "all": (0.08, 0.12, 0.16)},
    HELD: {"32": (0.02, 0.04), "128": (0.04, 0.08), "512": (0.04, 0.08), "all": (0.04, 0.08, 0.12)},
}
COMMON = 0.04  # a rate at which all sizes are held
WARMUP, SLOWLY = 500, 0.2  # steps to the rate, and the rate
ADAM_FOR = 0.4  # of the steps
SLOW_START, REPLACED = "slow start", "with replacement"
ADAM = RULES["Adam"]["lr"]
NO_HEAT = 5e-5  # where 0 is drawn


def lasting(leaves: Mapping[str, Any], share: float, cell: cg.TrainConfig) -> dict[str, Any]:
    """The same for a share of the steps."""
    return {**leaves, "steps": int(share * cell.schedule.steps)}


def arms() -> dict[str, Any]:
    """SGD on every size at its rates, free and held; the full batch with a slow start; what Adam was not given."""
    made: dict[str, Any] = {}
    sizes = {size: {"batch_size": n} if n else {} for size, n in SIZES.items()}
    for hold, of_size in RATES.items():
        for size, rates in of_size.items():
            one = RULES["SGD"] | sizes[size] | ({"fixed_norm": True} if hold == HELD else {})
            share = HELD_FOR if hold == HELD else 1.0
            made |= {sgd(size, lr, hold): partial(lasting, one | {"lr": lr}, share) for lr in rates}
    made[named("SGD", "all", SLOW_START)] = RULES["SGD"] | {"lr": SLOWLY, "warmup": WARMUP}
    fast = RULES["Adam"] | {"lr": 4 * ADAM}
    of_adam = {
        named("Adam", "512", "4 x"): fast | sizes["512"],
        named("Adam", "512", f"4 x, {REPLACED}"): fast | sizes["512"] | {"batch_replacement": True},
        named("Adam", "all", "4 x"): fast,
        named("Adam", "all", "6 x"): fast | {"lr": 6 * ADAM},
        named("Adam", "512", HELD): RULES["Adam"] | sizes["512"] | {"fixed_norm": True},
    }
    return made | {arm: partial(lasting, leaves, ADAM_FOR) for arm, leaves in of_adam.items()}


def sgd(size: str, lr: float, hold: str) -> str:
    """An arm of the ladders."""
    return named("SGD", size, f"{lr:g}" + (f", {HELD}" if hold == HELD else ""))


def ladder(hold: str, size: str) -> Selection:
    """The runs of a size at all its rates."""
    return where(arm=lambda arm: arm.isin([sgd(size, lr, hold) for lr in RATES[hold][size]]))


def best(hold: str, size: str) -> Selection:
    """Those at the rate at which the other half of the seeds answers most in the end."""
    return picked_apart(ladder(hold, size), "lr", lambda rows: -rows["end"].mean())


def luckiest(hold: str) -> Selection:
    """Of the full batch, of each seed the rate at which it answers most: more than can be known beforehand."""
    return by_seed(ladder(hold, "all"), end="max")


def lead(hold: str, size: str, less: Selection | None = None, name: str = "all") -> Mean:
    """By how much a size of batches is ahead of all pairs, each at its best rate, paired by seed."""
    said = f"unseen pairs, {hold}, {size} less {name}"
    return Mean(best(hold, size), "end", said, less or best(hold, "all"), bounds=GAIN)


def answers(rows: Selection, name: str) -> Mean:
    """What some runs answer in the end."""
    return Mean(rows, "end", f"unseen pairs at the end, {name}", bounds=(0, 1))


def of_arm(arm: str) -> Mean:
    """What an arm answers in the end."""
    return answers(where(arm=arm), arm)


def between(arm: str, less: str) -> Mean:
    """By how much an arm is ahead of another, paired by seed."""
    return Mean(where(arm=arm), "end", f"unseen pairs, {arm} less {less}", where(arm=less), bounds=GAIN)


def ranks(hold: str, column: str) -> Selection:
    """By seed, the rank correlation over all sizes and rates of a column with what is answered in the end."""
    names = [sgd(size, lr, hold) for size, rates in RATES[hold].items() for lr in rates]
    return across_arms(where(arm=lambda arm: arm.isin(names)), column, "end")


def foretold(hold: str, column: str, name: str) -> Mean:
    """Its mean over seeds."""
    n = sum(map(len, RATES[hold].values()))
    return Mean(ranks(hold, column), "rank", f"rank correlation over {n} arms, {hold}, {name}", bounds=(-1, 1))


def times(over: Selection, under: Selection, name: str) -> Ratio:
    """How many times as long all pairs take to half of the unseen ones as batches of 32, held."""
    return Ratio(over, under, "half", name=f"T_half(all) / T_half(32), held, {name}")


def claims() -> list[Any]:
    """What is gained free, whether the full batch comes to it, the sphere, and what foretells."""
    held_all = where(arm=sgd("all", COMMON, HELD))
    held_32 = where(arm=sgd("32", COMMON, HELD))
    adam_512, adam_all = named("Adam", "512", "4 x"), named("Adam", "all", "4 x")
    replaced, faster = named("Adam", "512", f"4 x, {REPLACED}"), named("Adam", "all", "6 x")
    fastest = by_seed(where(arm=lambda arm: arm.isin([adam_all, faster])), end="max")
    better = Mean(ranks(FREE, "arc"), "rank", "rank correlation, free, of radians less that of noise",
                  ranks(FREE, "noise"), bounds=(-2, 2))  # fmt: skip
    return [
        answers(best(HELD, "128"), "held, 128").exceeds(
            0.75, "Positive control: with the norm held SGD on batches of 128 ends above 75 %."
        ).telling(*(answers(best(HELD, size), f"held, {size}") for size in SIZES)),
        of_arm(sgd("all", 0.08, FREE)).falls_below(
            0.15, "Negative control, as with the first seeds: free, at a rate of 0.08, the full batch ends below 15 %."
        ),
        between(sgd("32", 0.02, FREE), sgd("all", 0.08, FREE)).exceeds(
            0.1, "As with the first seeds: free, batches of 32 at 0.02 end over 10 points above the full batch at 0.08."
        ).telling(of_arm(sgd("32", 0.02, FREE))),
        lead(FREE, "32").exceeds(
            0.1, "Free, by SGD, the full batch does not catch up at its best rate either: batches of 32 end over 10 "
            "points above it.",
        ).telling(*(answers(best(FREE, size), f"free, {size}") for size in SIZES), lead(FREE, "512")),
        lead(FREE, "128").exceeds(0.1, "So do batches of 128."),
        answers(luckiest(FREE), "free, all, each seed's best rate").falls_below(
            0.5, "Not even at the rate that is best for each seed does the full batch answer half."
        ),
        of_arm(named("SGD", "all", SLOW_START)).falls_below(
            0.25, f"Nor is it divergence at the start that keeps it back: with a warm-up of {WARMUP} steps to "
            f"{SLOWLY:g} it ends below 25 %.",
        ),
        Mean(best(FREE, "all"), "end", f"free, all: end less by step {SOON}", by="soon", bounds=GAIN).is_within(
            0.05, f"Nor is it on its way: from step {SOON} to the end it gains less than 5 points."
        ),
        between(adam_512, adam_all).exceeds(
            0.25, "Batches of 512 of 671 pairs are noise enough: by Adam, at four times the rate, they end over 25 "
            "points above the full batch.",
        ).telling(of_arm(adam_512), of_arm(adam_all), of_arm(faster)),
        between(replaced, adam_all).exceeds(
            0.1, "It is not the 159 pairs that 512 leave over: drawn with replacement batches of 512 end over 10 "
            "points above the full batch.",
        ).telling(of_arm(replaced)),
        answers(fastest, "Adam, all, 4 x or 6 x, the better").falls_below(
            0.25, "At no rate between those of before does the full batch do it: by Adam, at four or six times the "
            "rate, whichever is better for a seed, it ends below 25 %.",
        ),
        lead(HELD, "32").exceeds(
            0.05, "By SGD the batch does count with the norm held: batches of 32 end over 5 points above the full "
            "batch, each at its best rate.",
        ).telling(lead(HELD, "128"), lead(HELD, "512")),
        lead(HELD, "32", luckiest(HELD), "all at each seed's best rate").exceeds(
            0, "It is not a bad rate of the full batch: they are above it at the rate that is best for each seed."
        ),
        Mean(held_32, "end", f"unseen pairs, held, 32 less all at {COMMON:g}", held_all, bounds=GAIN).exceeds(
            0.05, f"Nor one of the rate at all: at {COMMON:g} for both they end over 5 points above it."
        ),
        answers(best(HELD, "all"), "held, all").falls_below(
            0.9, "By SGD the full batch on the sphere stops short: it ends below 90 %."
        ).telling(Mean(best(HELD, "all"), "end", f"held, all: end less by step {SOON}", by="soon", bounds=GAIN)),
        of_arm(named("Adam", "512", HELD)).exceeds(
            0.85, "By Adam batches of 512 on the sphere end above 85 %, as 32, 128 and all pairs did."
        ),
        times(best(HELD, "all"), best(HELD, "32"), "best rates").falls_below(
            1.5, "For when, noise is not needed there: each at its best rate, the full batch takes less than 1.5 times "
            "as long to half of the unseen pairs as batches of 32.",
        ).telling(times(held_all, held_32, f"at {COMMON:g}")),
        foretold(FREE, "arc", "radians turned").exceeds(
            0.5, "What keeps turning generalises, by SGD as by Adam: over sizes and rates, free, what is answered goes "
            "with the radians turned.",
        ),
        foretold(FREE, "noise", "noise over gradient").exceeds(
            0.5, f"So it does with the noise over the gradient in the first {EARLY} steps."
        ).telling(foretold(FREE, "heat", "rate times noise of a pair")),
        better.exceeds(0, "Radians tell more than that noise."),
        foretold(HELD, "arc", "radians turned").exceeds(0, "On the sphere too what is answered goes with the radians."),
        foretold(HELD, "noise", "noise over gradient").exceeds(0, "And with the noise over the gradient.").telling(
            foretold(HELD, "heat", "rate times noise of a pair")
        ),
    ]  # fmt: skip


LATER = [  # seen in these seeds
    Mean(ranks(FREE, "heat"), "rank", "rank correlation, free, of rate times noise of a pair less that of noise over "
         "gradient", ranks(FREE, "noise"), bounds=(-2, 2)).exceeds(
        0, "What is known before the first step, the rate times the noise of a pair, tells more than the noise over "
        "the gradient."
    ).telling(Mean(ranks(FREE, "arc"), "rank", "the same, of radians less rate times noise", ranks(FREE, "heat"),
                   bounds=(-2, 2)))
]  # fmt: skip
STUDY = Study(
    QUESTION, BASE.with_(checkpoint_every=250, checkpoints_per_decade=8), arms(), seeds=range(20, 30),
    seeded=("seed", "data_seed", "noise_seed"), claims=claims(),
    rules={"memorised": ("train_acc", 0.99), "half": ("test_acc", 0.5), "grokked": ("test_acc", 0.95)},
)  # fmt: skip
QUICK = STUDY.with_(steps=20, checkpoint_every=5, eval_every=4, seeds=[20, 21])


def of_a_pair(n: int, batch: MiniBatch | None) -> float:
    """Variance of a step's gradient over that of one pair's: the mean over the steps of an epoch, of all pairs 0."""
    if batch is None:
        return 0.0
    if batch.batch_replacement:
        return 1 / batch.batch_size
    sizes = [batch.seen(n, step) for step in range(math.ceil(n / batch.batch_size))]
    return sum((n - size) / (size * (n - 1)) for size in sizes) / len(sizes)


def told(run: Run) -> dict[str, Any]:
    """What `measured` tells, whether the norm is held, and the noise of a step as that of all batches of an epoch.

    `noise` is tr Σ/|g|² in the first steps times the share of a pair's variance that a step has, the squared length of
    its noise over that of the gradient; `heat` is the rate times that share, which is known before any step.

    Source: for the latter S. L. Smith, Q. V. Le 2018 (arXiv:1710.06451), who have it times n - 1: rate (n / B - 1).
    """
    config, line = run.config, measured(run)
    share = of_a_pair(run.task.n_train, config.intervention(MiniBatch))
    is_held = config.intervention(FixedNorm) is not None
    noise = share * line["noise_early"] if share else 0.0
    return {**line, "hold": HELD if is_held else FREE, "noise": noise, "heat": share * line["lr"]}


def draw(table: pd.DataFrame, runs: Mapping[str, list[Run]]) -> "figures.Figure":
    """Ends by rate, unseen pairs along runs at each size's best rate, ends by radians, free and held; heat; Adam."""
    figure, axes = figures.sheet(2, 4, (18, 8.4))
    for row, hold, shape in zip(axes, (FREE, HELD), ("o", "^"), strict=True):
        for size, colour in COLOURS.items():
            rows = ladder(hold, size)(table)
            means = rows.groupby("lr")["end"].mean()
            row[0].plot(means.index, means, color=colour, lw=1.2, label=size)
            beside = 1 + 0.03 * (list(SIZES).index(size) - 1.5)
            row[0].plot(beside * rows["lr"], rows["end"], "o", color=colour, ms=3, alpha=0.5)
            lr = float(means.index[int(means.argmax())])
            draw_unseen(row[1], runs[sgd(size, lr, hold)], colour, "-", f"{size}, rate {lr:g}")
            row[2].plot(rows["arc"].clip(lower=0.1), rows["end"], "o", color=colour, ms=3, alpha=0.7, label=size)
            axes[0][3].plot(rows["heat"].clip(lower=NO_HEAT), rows["end"], shape, color=colour, ms=3, alpha=0.7)
        figures.values_axis(row[0], [0.01, 0.02, 0.04, 0.08, 0.16], "rate")
        figures.values_axis(row[2], [0.1, 1, 10, 100], "radians turned")
        row[0].set(title=f"SGD, {hold}", ylabel="accuracy on unseen pairs at the end (seeds)")
        row[1].set(title=f"SGD, {hold}, each size at its best rate", xlabel="step")
        row[2].set(title=f"SGD, {hold}")
    axes[0][3].set(title="SGD, free (●) and held (▲)", xlabel="rate times noise of a pair (all: 0)", xscale="log")
    draw_adam(axes[1][3], runs)
    for ax in (ax for row in axes for ax in row):
        ax.set_ylim(-0.03, 1.03)
    figures.legends([ax for row in axes for ax in row])
    return figure


def draw_adam(ax: Any, runs: Mapping[str, list[Run]]) -> None:
    """Unseen pairs along Adam's arms."""
    styles = {"4 x": "-", f"4 x, {REPLACED}": ":", "6 x": ":", HELD: "--"}
    for arm in (arm for arm in runs if arm.startswith("Adam")):
        _, size, more = arm.split(", ", 2)
        draw_unseen(ax, runs[arm], COLOURS[size], styles[more], f"{size}, {more}")
    ax.set(title="Adam", xlabel="step")


def notes(table: pd.DataFrame) -> list[str]:
    """What is compared, where arms end, their noise."""
    by_arm = table.groupby("arm", sort=False)
    ends = by_arm[["soon", "end", "peak", "train_acc", "final_norm", "arc"]].mean()
    noise = by_arm[["noise_early", "noise"]].median().dropna()
    diverged = table[table["state"] == "diverged"].groupby("arm", sort=False).size()
    picks = {
        f"{size}, {hold}": "/".join(f"{lr:g}" for lr in sorted(set(best(hold, size)(table)["lr"])))
        for hold, of_size in RATES.items()
        for size in of_size
    }
    return [
        "Unseen pairs are all test pairs (the split has no mirrors across). The end is the last tenth of the steps, "
        f"by step {SOON} the last fifth of so many, the best tenth any such stretch. A diverged run counts as where it "
        f"was last. SGD has momentum 0.9. Held runs of SGD have {HELD_FOR:g} of the steps, runs of Adam "
        f"{ADAM_FOR:g}; its rate is {ADAM:g}, 4 x and 6 x are times that.",
        "In pilots (seeds 90 and 91; 300 to 2500 steps) free the full batch diverged in none of two runs at 0.1, one "
        "at 0.14, one at 0.16 and both at 0.25, 512 in one at 0.1; batches of 32 at 0.03 and 128 at 0.08 fitted 49 to "
        "79 % of the pairs. Held, 32 ended at 0.98 and 0.87 at 0.04 and 1.00 and 0.71 at 0.06, 128 at 0.92 and 0.95 at "
        "0.08, all at 0.75 and 0.77 at 0.04; Adam at four times the rate at 0.81 and 0.55 on 512, 0.03 and 0.04 on "
        "all, and with a slow start the full batch at 0.03 and 0.14. Best for the other half of the seeds: "
        f"{', '.join(f'{arm} {rates}' for arm, rates in picks.items())}.",
        f"Unseen pairs by step {SOON}, at the end, in the best tenth, training accuracy, norm and radians, means: "
        f"{listed(ends, '{}: {:.2f}, {:.2f}, {:.2f}, {:.2f}, {:.1f}, {:.1f}', '; ')}.",
        f"Noise scale tr Σ/|g|² (pairs) over the first {EARLY} steps, and the squared length of a step's noise over "
        "that of the gradient (of all batches of an epoch, whose pairs are not put back), medians: "
        f"{listed(noise, '{}: {:.0f}, {:.2g}', '; ')}.",
        f"Diverged: {listed(diverged, '{} {}') if len(diverged) else 'none'}.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds, few steps")
    runs = study.train(given)
    table = study.table(runs, told)
    study.write(given, table, draw(table, study.grouped(runs)), notes(table), made=LATER)


if __name__ == "__main__":
    main()
