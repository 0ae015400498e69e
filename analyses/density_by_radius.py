"""Is it the density of generalising solutions at a radius that decides, or that training selects them?

Networks of a small task are trained from many random starts with their norm held, and how many come to answer every
pair is told by radius. Beside it stands how much of the sphere of that radius generalises: R_gen, ln of the share of
the mass that fits the training pairs which fits the others too, against wrong labels on these (R_mem) and against
chance. If density decides, R_gen rises and falls with the optimizer's luck. The pairs that are held out have no mirrors
among those that are trained on.

    python analyses/density_by_radius.py            # ten splits, 1000 runs, 180 data sets: about two hours; goes on
    python analyses/density_by_radius.py --quick    # two, for few steps: seconds
"""

import circuitgrok as cg
from circuitgrok.landscape.density import Effort
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.spheres import PLAIN, Counting, beside_luck, draw_beside_luck, many_starts, said_of
from circuitgrok.study.study import evenly

RADII = [14.0, 18.0, 20.0, 23.0, 27.0]
FEW, BEST, LARGE = RADII[0], RADII[2], RADII[-1]
COUNTED = [FEW, BEST, LARGE]  # where the density is told as well: luck rises from the first to the second, and falls
BETWEEN = 3  # splits, the first, whose density is told at the radii between these too
STARTS = 20  # for each split and radius
HIT = 0.95  # test accuracy of a start that has come to generalise: 23 of 24 pairs
COLDEST = 4.0
N_WRONG = 2  # draws of wrong labels for each split: twenty in all
HOW = Counting(Effort(n_ladders=2, n_rounds=120, n_burnin=80), COLDEST, N_WRONG)
QUESTION = "Is it the density of generalising solutions at a radius that decides, or that training selects them?"
NATS = "R_gen less chance (nats)"


def at(radius: float) -> Selection:
    """Rows of a radius, one for each split."""
    return where(radius=radius)


CLAIMS = [
    Mean(at(BEST), "hits", "share of starts that generalise", bounds=(0, 1))
    .exceeds(0.5, f"At r = {BEST:g} training generalises from over half of its starts."),
    Mean(at(BEST), "hits", "share of starts, less that at the smallest radius", less=at(FEW), bounds=(-1, 1))
    .exceeds(0.3, f"That is over 30 points more than at r = {FEW:g}."),
    Mean(at(BEST), "hits", "share of starts, less that at the largest radius", less=at(LARGE), bounds=(-1, 1))
    .exceeds(0.3, f"And over 30 points more than at r = {LARGE:g}."),
    Mean(at(BEST), "above_chance", NATS).falls_below(
        0, f"It is selection: at r = {BEST:g} what fits the training pairs fits the others less often than answers at "
        "random would (β = 1).",
    ),
    Mean(at(BEST), "excess", "R_gen less R_mem (nats)")
    .falls_below(0, "And less often than wrong labels are fitted on them (β = 1)."),
    Mean(at(BEST), "above_chance_cold", NATS)
    .falls_below(0, f"Colder it is so too (β = {COLDEST:g})."),
    Mean(at(BEST), "R_gen", "R_gen, less that at the smallest radius (nats)", less=at(FEW))
    .falls_below(0, f"The density falls where luck rises: R_gen at r = {BEST:g} is below that at {FEW:g} (β = 1)."),
    Mean(at(BEST), "R_gen_cold", "R_gen, less that at the largest radius (nats)", less=at(LARGE))
    .exceeds(0, f"From r = {BEST:g} to {LARGE:g} both fall (β = {COLDEST:g})."),
    Mean(at(BEST), "disagreement", "R_gen from planted less from hot starts, β = 1 (nats)")
    .is_within(5.0, "Chains that start hot and chains that start at a generaliser agree, to 5 nats."),
]  # fmt: skip
BASE = cg.TrainConfig.preset("gromov").with_(
    p=11, n_neurons=100, frac_train=0.8, split="mirror_free", loss="cross_entropy", weight_decay=0.0, fixed_norm=True,
    steps=1500, eval_every=100, **evenly(1500),
)  # fmt: skip
STUDY = many_starts(QUESTION, BASE, RADII, STARTS, range(10, 20), CLAIMS)
QUICK = STUDY.with_(
    arms=dict(list(STUDY.arms.items())[:2]), grid={"norm_radius": [FEW, BEST]}, seeds=[0, 1], steps=20, p=5,
    n_neurons=6,
)  # fmt: skip


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two splits, tiny networks, short ladders")
    how = Counting(Effort(2, 6, 4, 2, 8), PLAIN, N_WRONG) if given.quick else HOW
    runs = study.train(given)
    trained = study.table(runs)
    first = list(study.seeds)[:BETWEEN]
    counted = [(radius, seed) for radius in RADII for seed in (study.seeds if radius in COUNTED else first)]
    rows = beside_luck(given, trained, runs, HIT, how, counted)
    notes = [
        *said_of(rows, len(study.arms), HIT, how),
        f"At {' and '.join(f'{radius:g}' for radius in RADII if radius not in COUNTED)} the density is that of the "
        f"first {BETWEEN} splits, counted when that of the other radii was known; no claim is about them.",
        "Size, radii and budget were chosen on eight starts of splits 0 to 3, and the claims of density on first looks "
        "at split 0, of hot starts; none of these splits is among those that are told of.",
    ]
    study.write(given, rows, draw_beside_luck(rows, how.coldest), notes, runs=trained)


if __name__ == "__main__":
    main()
