"""On one sphere, is there more room around transformers that generalise than around those that memorised?

How much of a sphere of transformers' weights generalises cannot be counted at p = 29 or 113: what fits is e^-10000s of
it. What can be had are lower bounds: the share that rays from a trained network reach before its mean training loss is
above a level (`cg.local_volume`). Networks of one start and one radius, with the norm held, are trained on the same
pairs with their sums, which they generalise at these radii, and with random labels, which can only be memorised.

It would be an artefact if rays went further for having begun deeper below the level: so networks of sums are looked at
where they end and where their training loss first was as low as that of random labels in the end, too. They are
memorisers then. And as a bound hangs on a ray or two, the median angle at which rays end stands beside it.

    python analyses/volumes_of_transformers.py            # ten and five seeds; --dry-run says how long
    python analyses/volumes_of_transformers.py --quick    # two tiny ones: seconds
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.rows import listed
from circuitgrok.study.study import Studies, Study

TRUE, RANDOM = "sums", "random labels"
EQUAL = "sums, at equal loss"
LARGE, SMALL = "p = 113", "p = 29"
LEVELS = {LARGE: 2.5, SMALL: 1.0}  # nats a pair, to where rays go: half and a third of those at random
RAYS = {LARGE: 4, SMALL: 32}
ONE = 2.0  # rays that count, below which one is nearly all
KINDS = {TRUE: figures.BLUE, EQUAL: figures.SKY, RANDOM: figures.RED}
BOUND = ("ln_volume", "uniform", "angle", "worth", "per_weight")  # columns of local volumes
QUESTION = "On one sphere, is there more room around transformers that generalise than around those that memorised?"


def part(preset: str, alpha: float, steps: int, seeds: range, to_fit: int) -> Study:
    """Both kinds of labels at a size and radius, and how many steps random ones have."""
    arms: dict[str, Any] = {TRUE: {}, RANDOM: {"operation": "random", "steps": to_fit}}
    held = {"fixed_norm": True, "weight_decay": 0.0, "lr": 3e-3, "alpha": alpha, "norm_factor": 1.0}
    dense = {"eval_every": 10, "checkpoint_every": 10, "checkpoints_per_decade": 0, "checkpoint_on_move": 100.0}
    return Study(QUESTION, cg.TrainConfig.preset(preset).with_(**held, **dense, steps=steps), arms, seeds=seeds)


PARTS = {
    LARGE: part("sphere", 0.9, 350, range(20, 25), 1000),
    SMALL: part("quickstart", 0.8, 1000, range(20, 30), 1000),
}


def of(size: str, kind: str) -> Selection:
    """Networks of a size and kind."""
    return where(part=size, kind=kind)


def room(size: str, kind: str, less: str) -> Mean:
    """By how many nats the bound of a kind is above that of another."""
    return Mean(of(size, kind), "ln_volume", f"{size}: ln V of {kind}, less that of {less} (nats)", of(size, less))


def wider(size: str, kind: str, less: str) -> Factor:
    """How many times as far the median ray of a kind goes."""
    return Factor(of(size, kind), "angle", f"{size}: median angle, {kind} over {less}", over=of(size, less))


def unseen(size: str, kind: str) -> Mean:
    """What networks of a kind answer of unseen mirrors."""
    return Mean(of(size, kind), "unseen", f"{size}, {kind}: unseen mirrors answered", bounds=(0, 1))


CLAIMS = [
    unseen(SMALL, TRUE).exceeds(0.9, "Positive control: those that fit sums generalise, at p = 29.")
    .telling(unseen(LARGE, TRUE), unseen(LARGE, EQUAL), unseen(SMALL, EQUAL)),
    room(LARGE, TRUE, RANDOM).exceeds(0, "At p = 113 generalisers have more room around them than memorisers."),
    room(LARGE, EQUAL, RANDOM).exceeds(0, "It is not their depth: at p = 113 they have where their loss is the same.")
    .telling(wider(LARGE, EQUAL, RANDOM), wider(LARGE, TRUE, RANDOM)),
    room(SMALL, TRUE, RANDOM).exceeds(0, "At p = 29 too generalisers have more room than memorisers.")
    .telling(wider(SMALL, TRUE, RANDOM)),
    wider(SMALL, EQUAL, RANDOM).is_within(1.25, "A memoriser is one whatever its labels: at p = 29 and equal loss rays "
                                                "from memorised sums go as far as from random labels, to a quarter."),
    room(SMALL, TRUE, EQUAL).exceeds(0, "At p = 29 a network's room grows from memorising to generalising.")
    .telling(wider(SMALL, TRUE, EQUAL)),
    Mean(of(SMALL, TRUE), "per_weight", f"{SMALL}, {TRUE}: ln V a weight (nats)").falls_below(
        -0.5, "A grain of the sphere all the same: at p = 29 the bound of generalisers is below e^(-1/2) a weight."
    ).telling(Mean(of(LARGE, TRUE), "per_weight", f"{LARGE}: ln V a weight (nats)")),
    Mean(of(SMALL, TRUE), "worth", f"{SMALL}, {TRUE}: rays that count", bounds=(1, RAYS[SMALL])).falls_below(
        ONE, "And these are bounds, no estimates: they hang on fewer than two rays in the mean."
    ),
]  # fmt: skip
STUDY = Studies(QUESTION, PARTS, claims=CLAIMS)
QUICK = STUDY.with_(
    {name: {"arms": {TRUE: {}, RANDOM: {"operation": "random"}}} for name in PARTS},
    seeds=[0, 1], steps=100, p=7, d_model=16, d_head=4, d_mlp=32, lr=0.01,
)  # fmt: skip


def room_of(run: Run, step: int, size: str) -> dict[str, Any]:
    """The bound of a checkpoint, and what it answers; nan where its loss is not below the level."""
    there = run.history.loc[step]
    found: dict[str, Any] = {"step": step, "loss": there["train_loss"], "unseen": there["test_mirror_unseen_acc"]}
    found |= {"norm": there["norm"]} | dict.fromkeys(BOUND, math.nan)
    if found["loss"] < LEVELS[size]:
        line = cg.local_volume(run, [step], rise=LEVELS[size] - found["loss"], n_rays=RAYS[size]).loc[step]
        found |= {name: line[name] for name in BOUND}
    return found


def rooms(runs: Mapping[str, Run], labels: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A line for each kind, size and seed."""
    by = {(labels[name]["part"], run.config.init.seed, labels[name]["arm"]): run for name, run in runs.items()}
    lines = []
    for size, seed in dict.fromkeys(key[:2] for key in by):
        true, random = (by[size, seed, arm] for arm in (TRUE, RANDOM))
        end = random.history.loc[random.steps[-1], "train_loss"]
        losses = true.history.loc[true.steps, "train_loss"]
        equal = losses.index[losses <= end]
        looked = {TRUE: (true, true.steps[-1]), RANDOM: (random, random.steps[-1])}
        looked |= {EQUAL: (true, int(equal[0]))} if len(equal) else {}
        for kind, (run, step) in looked.items():
            lines.append({"part": size, "kind": kind, "seed": seed, **room_of(run, step, size)})
    return pd.DataFrame(lines)


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Bounds of all kinds by seed, at each size; how far rays go."""
    figure, axes = figures.sheet(1, 2, (10, 3.6))
    rows = table.assign(arm=table["part"] + ", " + table["kind"])
    colours = {f"{size}, {kind}": colour for size in PARTS for kind, colour in KINDS.items()}
    said = {"per_weight": "ln V a weight (nats): a lower bound", "angle": "median angle of rays (radians)"}
    for ax, (column, label) in zip(axes, said.items(), strict=True):
        figures.draw_dots(ax, rows, column, colours)
        ax.set_xlabel(label)
    axes[1].set_yticklabels([])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two tiny ones")
    runs = study.train(given)
    table = rooms(runs, study.labels())
    kinds = table.groupby(["part", "kind"], sort=False)
    means = kinds[["step", "loss", "unseen", "norm", "ln_volume", "uniform", "angle"]].mean()
    above = table[table["ln_volume"].isna()].groupby(["part", "kind"], sort=False).size()
    notes = [
        f"ln V is the share of the sphere that rays reach below a mean training loss of {LEVELS[LARGE]:g} nats at "
        f"p = 113 and {LEVELS[SMALL]:g} at p = 29; {RAYS[LARGE]} rays at p = 113 (five seeds: each costs half a "
        f"minute) and {RAYS[SMALL]} at p = 29, of which a quarter is uniform and the others look along flat "
        "directions: a lower bound. Both kinds of labels are of the same pairs and the same start; checkpoints are ten "
        f"steps apart. Networks that are not below the level: {listed(above, '{}, {}: {}')}.",
        "Mean step, training loss, unseen mirrors answered, norm, ln V, ln V of uniform rays alone (nats), median "
        f"angle (radians): {listed(means, '{}, {}: {:.0f}, {:.3f}, {:.2f}, {:.1f}, {:.0f}, {:.0f}, {:.3f}', '; ')}.",
        "Radii, rate, steps and level were chosen on training curves of seed 90, one run of each kind; of its volumes "
        "one had been seen, of a network of p = 29 at a smaller radius. At p = 113 random labels had 350 steps at "
        "first, in which none came below 1 nat (1.87), which was the level there, too, so that nothing could be said; "
        "with 1000 steps they came to 1.7 by step 580, and the level was raised. Of volumes of theirs nothing had been "
        "seen, of those of sums at p = 113 and all at p = 29 the first verdict (at commit aa6749c). Claims are those "
        "that were made before it.",
    ]
    study.write(given, table, draw(table), notes, runs=study.table(runs))


if __name__ == "__main__":
    main()
