"""Is it the density of generalising solutions at a radius that decides, or that training selects them?

Networks of a small task are trained from many random starts with their norm held, and how many come to answer every
pair is told by radius. Beside it stands how much of the sphere of that radius generalises: R_gen, ln of the share of
the mass that fits the training pairs which fits the others too, against wrong labels on these (R_mem) and against
chance. If density decides, R_gen rises and falls with the optimizer's luck. The pairs that are held out have no mirrors
among those that are trained on.

    python analyses/density_by_radius.py            # ten splits, 1000 runs, 180 data sets: about two hours; goes on
    python analyses/density_by_radius.py --quick    # two, for few steps: seconds
"""

from functools import partial

import circuitgrok as cg
from circuitgrok.landscape.density import Effort
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.rows import listed
from circuitgrok.study.spheres import PLAIN, Counting, beside_luck, draw_beside_luck, from_start
from circuitgrok.study.study import Study, evenly

RADII = [14.0, 18.0, 20.0, 23.0, 27.0]
FEW, BEST, LARGE = RADII[0], RADII[2], RADII[-1]
COUNTED = [FEW, BEST, LARGE]  # where the density is told as well: luck rises from the first to the second, and falls
STARTS = 20  # for each split and radius
HIT = 0.95  # test accuracy of a start that has come to generalise: 23 of 24 pairs
COLDEST = 4.0
N_WRONG = 2  # draws of wrong labels for each split: twenty in all
EFFORT = Effort(n_ladders=2, n_rounds=120, n_burnin=80)
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
STUDY = Study(
    QUESTION,
    cg.TrainConfig.preset("gromov").with_(
        p=11, n_neurons=100, frac_train=0.8, split="mirror_free", loss="cross_entropy", weight_decay=0.0,
        fixed_norm=True, steps=1500, eval_every=100, **evenly(1500),
    ),
    {f"start {i}": partial(from_start, i) for i in range(STARTS)},
    {"norm_radius": RADII},
    seeds=range(10, 20),
    seeded=("data_seed",),
    claims=CLAIMS,
)  # fmt: skip
QUICK = STUDY.with_(
    arms=dict(list(STUDY.arms.items())[:2]), grid={"norm_radius": [FEW, BEST]}, seeds=[0, 1], steps=20, p=5,
    n_neurons=6,
)  # fmt: skip


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two splits, tiny networks, short ladders")
    effort, coldest = (Effort(2, 6, 4, 2, 8), PLAIN) if given.quick else (EFFORT, COLDEST)
    runs = study.train(given)
    trained = study.table(runs)
    counted = [(radius, seed) for radius in COUNTED for seed in study.seeds]
    rows = beside_luck(given, trained, runs, HIT, Counting(effort, coldest, N_WRONG), counted)
    densities = rows.dropna(subset="R_gen")
    by_radius = rows.groupby("radius")
    means = by_radius[["hits", "R_gen", "R_mem", "R_gen_cold", "R_mem_cold", "R_planted_cold"]].mean()
    lucky, told = means[["hits"]], means[means["R_gen"].notna()]
    right = densities.groupby("radius")[["acc_train", "acc_unseen", "acc_all", "traded"]].mean()
    statuses = densities.groupby("status").size()
    words = "r = {:g}: {:.2f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}"
    notes = [
        f"n counts splits. {len(study.arms)} starts for each split and radius; one has come to generalise with a test "
        f"accuracy of {HIT:g} at the end. Chance is {densities['chance'].iloc[0]:.1f} nats, of answers that are "
        f"certain; who gives every answer alike has {coldest:g} times as much at β = {coldest:g}, so that there wrong "
        "labels are what the truth is to be held against. "
        f"Shares of starts at all radii: {listed(lucky, 'r = {:g}: {:.2f}', '; ')}.",
        f"Means over splits of the share of starts, R_gen and R_mem at β = {PLAIN:g}, the same at β = {coldest:g}, and "
        f"R_gen there from planted starts: {listed(told, words, '; ')}.",
        f"{effort.n_ladders} ladders for each data set, {effort.n_rounds} rounds after {effort.n_burnin}. Accuracies "
        "of the coldest rung where the training pairs are fitted, on these and on the others (at random 0.09), on the "
        "others where all are fitted, and the least rate of trades: "
        f"{listed(right, 'r = {:g}: {:.2f}, {:.3f}, {:.2f}, {:.2f}', '; ')}. Hot and planted starts by the "
        f"intervals of each sphere: {listed(statuses, '{}: {:g}')}.",
        "Planted: the network of the split and radius that answers most test pairs, which is not always all of them. "
        "Size, radii and budget were chosen on eight starts of splits 0 to 3, and the claims of density on first looks "
        "at split 0, of hot starts; none of these splits is among those that are told of.",
    ]
    study.write(given, rows, draw_beside_luck(rows, coldest), notes, runs=trained)


if __name__ == "__main__":
    main()
