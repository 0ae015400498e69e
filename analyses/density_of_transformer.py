"""Where a norm is more than a temperature of the softmax, is it density then that decides what training finds?

In a homogeneous network without biases the held norm is the softmax's temperature and nothing else. A transformer has
paths of several degrees, and is not homogeneous: pairs change their answers when its weights are all made larger. Here
one-layer transformers with uniform attention (`pizza`) are trained from many starts on 110 of 121 pairs, their norm
held. In pilots, without the biases of the neurons that the preset trains, none of the starts generalised at r = 8 and
14, and some did between. Beside it stands how much of the sphere does. Norm and logit scale are taken apart: networks
at one norm are trained, and spheres counted, with logits divided by a temperature at which the uniform law on that
sphere has logits as large as on another.

    python analyses/density_of_transformer.py            # ten splits, 780 runs, 135 data sets: half an hour; goes on
    python analyses/density_of_transformer.py --quick    # two, for few steps: seconds
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.geometry import ray
from circuitgrok.landscape.density import Effort
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, where
from circuitgrok.study.rows import listed
from circuitgrok.study.spheres import PLAIN, Counting, beside_luck, from_start, said_of
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.tree import Params, norm, scaled

QUESTION = "Where a norm is more than a temperature of the softmax, is it density that decides what training finds?"
RADII = [8.0, 10.0, 12.0, 14.0]
FEW, BEST, LARGE = RADII[0], RADII[1], RADII[-1]
# rms of centred logits on the sphere, by `logits_at`, without biases; with them it is no match but 0.9
SCALES = {8.0: 0.118, 10.0: 0.225, 12.0: 0.427, 14.0: 0.812}
PLAINLY, AS_BEST, AS_LARGE, FASTER = "plain", f"scale of {BEST:g}", f"scale of {LARGE:g}", "twice the rate"
BARE, BARE_AS_BEST = "without biases", f"without biases, scale of {BEST:g}"  # as the pilots were
STARTS = 6  # for each split and radius
HIT = 0.95  # test accuracy of a start that has come to generalise: all of 11 pairs
HOW = Counting(Effort(n_ladders=2, n_rounds=30, n_burnin=20), coldest=4.0, n_wrong=1)
COUNTED = {
    PLAINLY: [FEW, BEST, LARGE],
    AS_BEST: [LARGE],
    AS_LARGE: [],
    FASTER: [],
    BARE: [BEST, LARGE],
    BARE_AS_BEST: [LARGE],
}
TO_PLAIN = (BARE, BARE_AS_BEST)  # whose ladders end at β = 1
SPLITS, OF_SPHERES = range(10, 20), 5  # the first of the splits, for counting takes minutes a sphere
NATS = "R_gen less chance (nats)"
COLOURS = {
    PLAINLY: figures.BLUE, AS_BEST: figures.GREEN, AS_LARGE: figures.RED, FASTER: figures.GREY,
    BARE: figures.PURPLE, BARE_AS_BEST: figures.SKY,
}  # fmt: skip


def at(radius: float, part: str = PLAINLY) -> Selection:
    """Rows of a radius, one for each split."""
    return where(part=part, radius=radius)


def counted(radius: float, part: str = PLAINLY) -> Selection:
    """Those of them whose density is told."""
    return where(part=part, radius=radius, R_gen=lambda nats: nats.notna())


def luck(of: Selection, less: Selection, named: str) -> Mean:
    """By how much the one share of starts exceeds the other, split by split."""
    return Mean(of, "hits", f"share of starts that generalise, {named}", less=less, bounds=(-1, 1))


CLAIMS = [
    luck(at(BEST), at(FEW), f"r = {BEST:g} less {FEW:g}")
    .exceeds(0.2, f"From r = {FEW:g} to {BEST:g} luck rises by over 20 points."),
    luck(at(BEST), at(LARGE), f"r = {BEST:g} less {LARGE:g}")
    .exceeds(0.2, f"From r = {BEST:g} to {LARGE:g} it falls by over 20 points."),
    luck(at(BEST, FASTER), at(LARGE, FASTER), f"r = {BEST:g} less {LARGE:g}, twice the rate")
    .exceeds(0.2, "So it does at twice the rate."),
    Mean(at(LARGE), "changed", "share of answers that change", bounds=(0, 1)).exceeds(
        0.05, f"The norm is no mere temperature: networks trained at r = {BEST:g} change over 5 % of their answers "
        f"when their weights are made as long as {LARGE:g}.",
    ),
    luck(at(BEST), at(LARGE, AS_BEST), f"r = {BEST:g} less {LARGE:g} at its logit scale")
    .exceeds(0.2, f"Logit scale is not why: at r = {LARGE:g}, logits as large as at {BEST:g}, luck is over 20 points "
             f"less than at {BEST:g}."),
    Mean(counted(BEST), "above_chance", NATS).falls_below(
        0, f"It is selection: at r = {BEST:g} what fits the training pairs fits the others less often than answers at "
        "random would (β = 1).",
    ),
    Mean(counted(BEST), "excess", "R_gen less R_mem (nats)")
    .falls_below(0, "And less often than wrong labels are fitted on them (β = 1)."),
    Mean(counted(BEST), "R_gen", "R_gen, less that at the smallest radius (nats)", less=counted(FEW))
    .falls_below(0, f"Density falls where luck rises: R_gen at r = {BEST:g} is below that at {FEW:g} (β = 1)."),
    Mean(counted(LARGE), "R_gen", "R_gen, less that at the best radius (nats)", less=counted(BEST))
    .falls_below(0, f"And where luck falls: R_gen at r = {LARGE:g} is below that at {BEST:g} (β = 1)."),
    Mean(counted(LARGE, AS_BEST), "R_gen", "R_gen at matched logit scale (nats)", less=counted(BEST)).is_within(
        1.0, f"That is the logits' scale: with logits as large as at r = {BEST:g}, R_gen at {LARGE:g} is the same, to "
        "one nat (β = 1).",
    ),
    Mean(counted(LARGE), "acc_unseen", "unseen pairs answered", bounds=(0, 1)).exceeds(
        0.2, f"Unlike quadratic networks: what fits the training pairs at r = {LARGE:g} by its mass answers over 20 % "
        f"of the others (β = {HOW.coldest:g}), where training does not.",
    ),
    Mean(counted(LARGE), "acc_all", "unseen pairs answered where all are fitted", bounds=(0, 1))
    .exceeds(0.8, f"Asked to fit all pairs, chains do: over 80 % of these at r = {LARGE:g} (β = {HOW.coldest:g})."),
    Mean(counted(BEST), "disagreement", "R_gen from planted less from hot starts, β = 1 (nats)")
    .is_within(5.0, "Chains that start hot and chains that start at a generaliser agree, to 5 nats (β = 1)."),
    luck(at(LARGE, AS_BEST), at(LARGE), f"r = {LARGE:g} at the scale of {BEST:g} less at its own")
    .exceeds(0.1, f"Softer logits help: at r = {LARGE:g}, at the scale of {BEST:g}, luck is over 10 points more."),
    luck(at(BEST, BARE), at(FEW, BARE), f"r = {BEST:g} less {FEW:g}, without biases")
    .exceeds(0.2, f"Without biases luck rises by over 20 points from r = {FEW:g} to {BEST:g}."),
    luck(at(BEST, BARE), at(LARGE, BARE), f"r = {BEST:g} less {LARGE:g}, without biases")
    .exceeds(0.2, f"And falls by over 20 points from there to {LARGE:g}."),
    luck(at(LARGE, BARE_AS_BEST), at(LARGE, BARE), f"r = {LARGE:g} at the scale of {BEST:g} less at its own, no biases")
    .exceeds(0.1, "There too softer logits help, by over 10 points."),
    Mean(counted(BEST, BARE), "above_chance", NATS).falls_below(
        0, f"And it is selection: without biases what fits the training pairs at r = {BEST:g} fits the others less "
        "often than answers at random would (β = 1).",
    ),
    Mean(counted(LARGE, BARE_AS_BEST), "R_gen", "R_gen at matched logit scale, no biases (nats)",
         less=counted(BEST, BARE))
    .is_within(1.0, f"At matched logit scale R_gen at r = {LARGE:g} is that at {BEST:g}, to one nat (β = 1)."),
]  # fmt: skip
BASE = cg.TrainConfig.preset("pizza").with_(
    p=11, frac_train=0.91, split="mirror_free", d_model=16, d_head=8, n_heads=2, d_mlp=64, lr=0.005, weight_decay=0.0,
    fixed_norm=True, steps=1500, eval_every=100, **evenly(1500),
)  # fmt: skip


def scaled_start(i: int, scale_of: float, cell: cg.TrainConfig) -> dict[str, Any]:
    """The i-th start of a split, with logits on its sphere as large as on that of another radius."""
    return from_start(i, cell) | {"temperature": SCALES[cell.leaves()["norm_radius"]] / SCALES[scale_of]}


def part_of(radii: list[float], scale_of: float | None = None, **leaves: Any) -> Study:
    """The study of some radii, all at the logit scale of one of them, or each at its own."""
    arms = {
        f"start {i}": partial(from_start, i) if scale_of is None else partial(scaled_start, i, scale_of)
        for i in range(STARTS)
    }
    base = BASE.with_(**leaves)
    return Study(QUESTION, base, arms, {"norm_radius": radii}, seeds=SPLITS, seeded=("data_seed",))


PARTS = {
    PLAINLY: part_of(RADII),
    AS_BEST: part_of([LARGE], BEST),
    AS_LARGE: part_of([BEST], LARGE),
    FASTER: part_of([BEST, LARGE], lr=0.01),
    BARE: part_of(RADII, train_biases=()),
    BARE_AS_BEST: part_of([LARGE], BEST, train_biases=()),
}
STUDY = Studies(QUESTION, PARTS, claims=CLAIMS)
QUICK = STUDY.with_(
    {name: {"arms": dict(list(part.arms.items())[:2])} for name, part in PARTS.items()},
    seeds=[0, 1], steps=20, p=5, frac_train=0.8,
)  # fmt: skip


def logits_at(model: AnyModel, params: Params, inputs: Tensor, radius: float) -> Tensor:
    """Logits of a stack of networks, each brought to a norm along its ray."""
    return model.logits(scaled(radius / norm(params, axes=1), params), inputs)


def on_the_sphere(model: AnyModel, n: int) -> Params:
    """Networks drawn uniformly from a sphere, of any norm; what does not train is zero."""
    draws = torch.Generator().manual_seed(0)
    shapes = {name: (n, *shape) for name, shape in model.shapes().items()}
    return {
        name: torch.randn(shape, generator=draws, dtype=torch.float64) * model.is_trainable(name)
        for name, shape in shapes.items()
    }


def changed(runs: Iterable[Run], radius: float) -> float:
    """The share of all pairs whose answers change when trained networks are brought to a norm along their rays."""
    shares = []
    for run in runs:
        inputs, own = run.config.task.draw().inputs, ray(torch.ones(1), run.at(run.steps[-1]))
        answers = run.config.model.logits(own, inputs).argmax(-1)
        found = logits_at(run.config.model, own, inputs, radius).argmax(-1)
        shares.append((found != answers).double().mean().item())
    return sum(shares) / len(shares)


def draw(table: pd.DataFrame) -> "figures.Figure":
    """R_gen less chance and answers of the coldest rung against the norm, and below them the optimizer's success."""
    figure, axes = figures.sheet(1, 3, (11.4, 3.6))
    densities = table.dropna(subset="R_gen")
    shown = (table, "hits", "share of starts that generalise"), (densities, "above_chance", f"{NATS}, β = {PLAIN:g}")
    shown = (
        *shown,
        (
            densities[~densities["part"].isin(TO_PLAIN)],
            "acc_unseen",
            f"others answered by what fits the\ntraining pairs, β = {HOW.coldest:g}",
        ),
    )
    for ax, (rows, column, said) in zip(axes, shown, strict=True):
        figures.draw_groups(ax, rows, "part", "radius", column, COLOURS)
        ax.set_ylabel(said)
        figures.values_axis(ax, RADII, "held norm r")
    axes[1].axhline(0, color=figures.GREY, ls=":")
    figures.legends([axes[0]])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two splits, a small task, short ladders")
    how = Counting(Effort(2, 6, 4, 2, 8), PLAIN, 1) if given.quick else HOW
    runs = study.train(given)
    trained = study.table(runs).assign(name=list(runs))
    found = []
    for part, radii in COUNTED.items():
        of = trained[trained["part"] == part]
        own = {name: runs[name] for name in of["name"]}
        cells = [(radius, seed) for radius in radii for seed in study.all_seeds[:OF_SPHERES]]
        of_part = how._replace(coldest=PLAIN) if part in TO_PLAIN else how
        found.append(beside_luck(given, of, own, HIT, of_part, cells, part).assign(part=part))
    rows = pd.concat(found, ignore_index=True)
    at_best = trained[(trained["part"] == PLAINLY) & (trained["norm_radius"] == BEST)]
    moved = {
        (radius, seed): changed([runs[name] for name in of["name"]], radius)
        for seed, of in at_best.groupby("seed")
        for radius in RADII
    }
    is_plain = rows["part"] == PLAINLY
    rows["changed"] = [
        moved[cell] if plain else float("nan")
        for plain, cell in zip(is_plain, zip(rows["radius"], rows["seed"], strict=True), strict=True)
    ]
    rows["disagreement_cold"] = rows["R_planted_cold"] - rows["R_gen_cold"]
    model, inputs = study.parts[PLAINLY].base.model, study.parts[PLAINLY].base.task.draw().inputs
    drawn = on_the_sphere(model, 20 if given.quick else 400)
    logits = {radius: logits_at(model, drawn, inputs, radius) for radius in RADII}
    scales = [(r, (z - z.mean(-1, keepdim=True)).square().mean().sqrt().item()) for r, z in logits.items()]
    turned = (logits[LARGE].argmax(-1) != logits[BEST].argmax(-1)).double().mean().item()
    columns = ["hits", "above_chance", "excess", "disagreement_cold", "acc_unseen"]
    means = rows.groupby(["part", "radius"])[columns].mean().round(3)
    means.loc[list(TO_PLAIN), columns[3:]] = float("nan")
    lengths = rows[is_plain].groupby("radius")[["changed"]].mean()
    notes = [
        *said_of(rows[is_plain], STARTS, HIT, how),
        f"The density is told of the first {OF_SPHERES} splits. Logits on the sphere (rms over classes, centred, of "
        f"the uniform law): {', '.join(f'{value:.3f} at {radius:g}' for radius, value in scales)}. Parts named by a "
        f"scale have logits divided by a temperature: at r = {LARGE:g} by {SCALES[LARGE] / SCALES[BEST]:.2f}, and at "
        f"{BEST:g} by {SCALES[BEST] / SCALES[LARGE]:.3f}. From r = {BEST:g} to {LARGE:g} "
        f"{turned:.2f} of the answers of random networks change; of a homogeneous network none do. Of networks trained "
        f"at {BEST:g} that are brought to other norms: {listed(lengths, 'r = {:g}: {:.3f}', '; ')}.",
        "Means of the share of starts, of R_gen less chance and less R_mem at β = 1, of R_gen from planted less from "
        f"hot starts at β = {how.coldest:g}, and of the others answered by what fits the training pairs there: "
        f"{listed(means, '{}, r = {:g}: {:.2f}, {:.2f}, {:.2f}, {:.1f}, {:.2f}', '; ')}.",
        f"Parts without biases are the networks of the pilots; that the others train those of their neurons, as the "
        f"preset does, was found with the first verdict, in whose light these parts and their claims were added; their "
        f"ladders end at β = {PLAIN:g}.",
        "Network, share of pairs, radii and rates were chosen without biases on splits 90 to 93, eight starts or fewer "
        f"of each (at the base's rate 0, 0.62, 0.25 and 0 at the four radii; at r = {LARGE:g} with the scale of "
        f"{BEST:g} 0.25, at {BEST:g} with that of {LARGE:g} 0.12). Of density ln Z of split 90 was looked at, at r = "
        f"{BEST:g} and {LARGE:g} from hot starts; on it the claims of R_gen at two radii and of unseen pairs rest.",
    ]
    study.write(given, rows, draw(rows), notes, runs=trained)


if __name__ == "__main__":
    main()
