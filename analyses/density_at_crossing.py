"""Where training generalises from nearly all starts at one radius and from none at a larger one: does density fall?

The networks of `density_by_radius` with more pairs to train on: 105 of 121, so that from one radius to the next but
one the share of starts that generalise falls from all to none. How much of the sphere generalises is told at five
radii, of which the least is too small to fit well, three lie about the largest luck, and the last is beyond it. If
density decides, it falls there too.

    python analyses/density_at_crossing.py            # five splits, 1000 runs, 175 data sets: an hour; goes on
    python analyses/density_at_crossing.py --quick    # two, for few steps: seconds
"""

import circuitgrok as cg
from circuitgrok.landscape.density import Effort
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.ranks import across_arms
from circuitgrok.study.spheres import PLAIN, Counting, beside_luck, draw_beside_luck, many_starts, said_of
from circuitgrok.study.study import evenly

RADII = [14.0, 16.0, 20.0, 24.0, 27.0]
FEW, BEST, BEYOND = RADII[0], RADII[2], RADII[-1]
STARTS = 40  # for each split and radius
HIT = 0.95  # test accuracy of a start that has come to generalise: all of 16 pairs
HOW = Counting(Effort(n_ladders=2, n_rounds=50, n_burnin=30), coldest=4.0, n_wrong=3)
QUESTION = "Where training generalises at one radius and never at a larger one, does the density of generalisers fall?"
NATS = "R_gen less chance (nats)"


def at(radius: float) -> Selection:
    """Rows of a radius, one for each split."""
    return where(radius=radius)


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
    Mean(across_arms(where(), "R_gen", "hits"), "rank", "rank correlation over radii", bounds=(-1, 1))
    .falls_below(0.5, "What is denser is not what is found: over radii R_gen does not go with luck (β = 1)."),
    Mean(at(BEST), "disagreement", "R_gen from planted less from hot starts, β = 1 (nats)")
    .is_within(5.0, "Chains that start hot and chains that start at a generaliser agree, to 5 nats."),
]  # fmt: skip
BASE = cg.TrainConfig.preset("gromov").with_(
    p=11, n_neurons=100, frac_train=0.88, split="mirror_free", loss="cross_entropy", weight_decay=0.0, fixed_norm=True,
    steps=1500, eval_every=100, **evenly(1500),
)  # fmt: skip
STUDY = many_starts(QUESTION, BASE, RADII, STARTS, range(10, 15), CLAIMS)
QUICK = STUDY.with_(
    arms=dict(list(STUDY.arms.items())[:2]), grid={"norm_radius": [FEW, BEST, BEYOND]}, seeds=[0, 1], steps=20, p=5,
    n_neurons=6, frac_train=0.8,
)  # fmt: skip


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two splits, tiny networks, short ladders")
    how = Counting(Effort(2, 6, 4, 2, 8), PLAIN, 2) if given.quick else HOW
    runs = study.train(given)
    trained = study.table(runs)
    counted = [(radius, seed) for radius in study.grid["norm_radius"] for seed in study.seeds]
    rows = beside_luck(given, trained, runs, HIT, how, counted)
    notes = [
        *said_of(rows, len(study.arms), HIT, how),
        "Five splits, for counting takes minutes a sphere. Size, share and radii were chosen on eight starts of splits "
        "0 to 3 (0.22, 0.97, 0.81 and 0 of 32 at 16, 20, 24 and 27); nothing of their density was looked at, and the "
        "claims are what 96 pairs told.",
    ]
    study.write(given, rows, draw_beside_luck(rows, how.coldest), notes, runs=trained)


if __name__ == "__main__":
    main()
