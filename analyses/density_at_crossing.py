"""Where training generalises from nearly all starts at one radius and from none at a larger one: does density fall?

The networks of `density_by_radius` with more pairs to train on: 106 of 121, so that from one radius to the next but
one the share of starts that generalise falls from all to none. How much of the sphere generalises is told at five
radii, of which the least is too small to fit well, three lie about the largest luck, and the last is beyond it. If
density decides, it falls there too.

    python analyses/density_at_crossing.py            # five splits, 1000 runs, 175 data sets: an hour; goes on
    python analyses/density_at_crossing.py --quick    # two, for few steps: seconds
"""

from functools import partial

import pandas as pd

import circuitgrok as cg
from circuitgrok.landscape.density import Effort
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.ranks import partial_spearman
from circuitgrok.study.rows import listed
from circuitgrok.study.spheres import PLAIN, Counting, beside_luck, draw_beside_luck, from_start
from circuitgrok.study.study import Study, evenly

RADII = [14.0, 16.0, 20.0, 24.0, 27.0]
FEW, BEST, BEYOND = RADII[0], RADII[2], RADII[-1]
STARTS = 40  # for each split and radius
HIT = 0.95  # test accuracy of a start that has come to generalise: all of 15 pairs
HOW = Counting(Effort(n_ladders=2, n_rounds=50, n_burnin=30), coldest=4.0, n_wrong=3)
QUESTION = "Where training generalises at one radius and never at a larger one, does the density of generalisers fall?"
NATS = "R_gen less chance (nats)"


def at(radius: float) -> Selection:
    """Rows of a radius, one for each split."""
    return where(radius=radius)


def going_together(table: pd.DataFrame) -> pd.DataFrame:
    """For each split, the rank correlation over radii of R_gen and of the optimizer's luck."""
    found = {
        seed: float(partial_spearman(rows[["R_gen", "hits"]].to_numpy(float).T[:, None]))
        for seed, rows in table.groupby("seed")
    }
    return pd.DataFrame({"seed": list(found), "together": list(found.values())})


CLAIMS = [
    Mean(at(BEST), "hits", "share of starts that generalise", bounds=(0, 1))
    .exceeds(0.8, f"At r = {BEST:g} training generalises from over 0.8 of its starts."),
    Mean(at(BEYOND), "hits", "share of starts that generalise", bounds=(0, 1))
    .falls_below(0.2, f"At r = {BEYOND:g} from less than 0.2."),
    Mean(at(BEST), "hits", "share of starts, less that at the smallest radius", less=at(FEW), bounds=(-1, 1))
    .exceeds(0.3, f"And at r = {FEW:g} from over 30 points fewer than at {BEST:g}."),
    Mean(at(BEST), "above_chance", NATS).falls_below(
        0, f"It is selection: at r = {BEST:g} what fits the training pairs fits the others less often than answers at "
        "random would (β = 1).",
    ),
    Mean(at(BEST), "excess", "R_gen less R_mem (nats)")
    .falls_below(0, "And less often than wrong labels are fitted on them (β = 1)."),
    Mean(at(BEST), "excess_cold", "R_gen less R_mem (nats)")
    .falls_below(0, f"Colder it is so too (β = {HOW.coldest:g})."),
    Mean(at(BEST), "R_gen", "R_gen, less that at the smallest radius (nats)", less=at(FEW))
    .falls_below(0, f"The density falls where luck rises: R_gen at r = {BEST:g} is below that at {FEW:g} (β = 1)."),
    Mean(at(BEYOND), "R_gen_cold", "R_gen, less that at the best radius (nats)", less=at(BEST))
    .exceeds(0, f"And rises where luck ends: R_gen at r = {BEYOND:g} is above that at {BEST:g} (β = {HOW.coldest:g})."),
    Mean(going_together, "together", "rank correlation over radii", bounds=(-1, 1))
    .falls_below(0.5, "What is denser is not what is found: over radii R_gen does not go with luck (β = 1)."),
    Mean(at(BEST), "disagreement", "R_gen from planted less from hot starts, β = 1 (nats)")
    .is_within(5.0, "Chains that start hot and chains that start at a generaliser agree, to 5 nats."),
]  # fmt: skip
STUDY = Study(
    QUESTION,
    cg.TrainConfig.preset("gromov").with_(
        p=11, n_neurons=100, frac_train=0.88, split="mirror_free", loss="cross_entropy", weight_decay=0.0,
        fixed_norm=True, steps=1500, eval_every=100, **evenly(1500),
    ),
    {f"start {i}": partial(from_start, i) for i in range(STARTS)},
    {"norm_radius": RADII},
    seeds=range(10, 15),
    seeded=("data_seed",),
    claims=CLAIMS,
)  # fmt: skip
QUICK = STUDY.with_(
    arms=dict(list(STUDY.arms.items())[:2]), grid={"norm_radius": [FEW, BEST, BEYOND]}, seeds=[0, 1], steps=20, p=5,
    n_neurons=6, frac_train=0.8,
)  # fmt: skip


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two splits, tiny networks, short ladders")
    how = Counting(Effort(2, 6, 4, 2, 8), PLAIN, 2) if given.quick else HOW
    runs = study.train(given)
    trained = study.table(runs)
    rows = beside_luck(
        given, trained, runs, HIT, how, [(r, seed) for r in study.grid["norm_radius"] for seed in study.seeds]
    )
    by_radius = rows.groupby("radius")
    means = by_radius[["hits", "R_gen", "R_mem", "R_gen_cold", "R_mem_cold", "R_planted_cold"]].mean()
    right = by_radius[["acc_train", "acc_unseen", "acc_all", "traded"]].mean()
    statuses = rows.groupby("status").size()
    words = "r = {:g}: {:.2f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}"
    notes = [
        f"n counts splits; five, for counting takes minutes a sphere. {len(study.arms)} starts for each split and "
        f"radius; one has come to generalise with a test accuracy of {HIT:g} at the end. Chance is "
        f"{rows['chance'].iloc[0]:.1f} nats, of answers that are certain; who gives every answer alike has "
        f"{how.coldest:g} times as much at β = {how.coldest:g}, so that there wrong labels are what the truth is to be "
        "held against.",
        f"Means over splits of the share of starts, R_gen and R_mem at β = {PLAIN:g}, the same at β = {how.coldest:g}, "
        f"and R_gen there from planted starts: {listed(means, words, '; ')}.",
        f"{how.effort.n_ladders} ladders for each data set, {how.effort.n_rounds} rounds after {how.effort.n_burnin}, "
        f"{how.n_wrong} draws of wrong labels for each sphere. Accuracies of the coldest rung where the training pairs "
        "are fitted, on these and on the others (at random 0.09), on the others where all are fitted, and the least "
        f"rate of trades: {listed(right, 'r = {:g}: {:.2f}, {:.3f}, {:.2f}, {:.2f}', '; ')}. Hot and planted starts by "
        f"the intervals of each sphere: {listed(statuses, '{}: {:g}')}.",
        "Planted: the network of the split and radius that answers most test pairs, which is not always all of them. "
        "Size, share and radii were chosen on eight starts of splits 0 to 3 (0.22, 0.97, 0.81 and 0 of 32 at 16, 20, "
        "24 and 27); nothing of their density was looked at, and the claims are what 96 pairs told.",
    ]
    study.write(given, rows, draw_beside_luck(rows, how.coldest), notes, runs=trained)


if __name__ == "__main__":
    main()
