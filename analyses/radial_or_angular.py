"""Does the radius of weight space carry memorisation, and do its directions carry generalisation?

Transplants r_A u_B only move networks, and what they answer is the range of radii that is tried: the wider it is, the
less is left to direction, and of a homogeneous network all is direction, by algebra. So networks are trained. A random
direction, that of a memoriser and that of a generaliser are put at every radius and trained on there, the norm held, on
pairs of which one in ten has a wrong label. Two things are read from the same run: the accuracy on pairs whose mirror
was not trained on, and the share of the wrong labels that is fitted. Radius and direction are two factors only if they
come apart both ways: the radius moves the one and not the other, direction the other and not the one.

    python analyses/radial_or_angular.py            # ten seeds: half an hour of one core
    python analyses/radial_or_angular.py --quick    # two, for few steps: seconds
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures, tree
from circuitgrok.exact import homogeneous
from circuitgrok.geometry import ray
from circuitgrok.polar.factorial import squares
from circuitgrok.polar.profiles import Measure
from circuitgrok.polar.transplants import globally, swap_matrix
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, where
from circuitgrok.study.designs import Design
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.tree import Params

UNIT = 21.15  # ‖θ₀‖, mean over seeds; a seed's own is within a percent of it
ALPHAS = [0.8, 1.0, 1.25, 2.0]  # held norms in this unit
RADII = [round(alpha * UNIT, 2) for alpha in ALPHAS]
SHARP, PLAIN, SOFT = TEMPERATURES = [0.25, 1.0, 4.0]
COLOURS = {"memoriser": figures.RED, "random": figures.GREY, "generaliser": figures.BLUE}
ENDS = ["memoriser", "generaliser"]
OTHER, RATE = "larger memoriser", "rate ∝ r"
MIDDLE = 1.118 * UNIT  # of the ranges of radii: between the norms at which memoriser and generaliser were trained
WIDTHS = [1.25, 1.5, 2.0, 2.5, 3.0, 4.0]  # a range goes from the middle over this to the middle times this
QUESTION = "Does the radius carry memorisation, and do directions carry generalisation?"
BASE = cg.TrainConfig.preset("quickstart").with_(
    d_model=32, d_head=8, d_mlp=128, frac_train=0.7, corrupted=0.1, lr=2e-3, weight_decay=0.0, fixed_norm=True,
    steps=400, eval_every=50, **evenly(4000),
)  # fmt: skip
SEEDED = ("seed", "data_seed", "label_seed")
FROM = {  # how the directions are trained; the generaliser with the true labels of the same pairs
    "memoriser": {"norm_factor": 1.25, "steps": 300},
    OTHER: {"norm_factor": 2.0, "steps": 400},
    "generaliser": {"corrupted": 0.0, "lr": 3e-3, "steps": 900},
}


def in_proportion(cell: cg.TrainConfig) -> dict[str, Any]:
    """The rate at which a step turns weights of the held norm by as much as the base's those of norm ‖θ₀‖."""
    return {"lr": BASE.optimizer.lr * cell.leaves()["norm_radius"] / UNIT}


def parts(starts: Mapping[str, Mapping[int, str]]) -> dict[str, Study]:
    """The runs, from the checkpoints that there are by start and seed."""

    def begun(start: str, cell: cg.TrainConfig, at_rate: bool = False) -> dict[str, Any]:
        found = {"start": starts[start][cell.init.seed]} if start in starts else {}
        return found | (in_proportion(cell) if at_rate else {})

    arms = {start: partial(begun, start) for start in COLOURS}
    rates = {start: partial(begun, start, at_rate=True) for start in ENDS}
    grid = {"norm_radius": RADII, "temperature": TEMPERATURES}
    ends = {"norm_radius": [RADII[0], RADII[-1]], "temperature": [PLAIN]}
    once = {"norm_radius": RADII, "temperature": [PLAIN]}
    return {
        "factorial": Study(QUESTION, BASE, arms, grid, seeded=SEEDED, rules=RULES),
        RATE: Study(QUESTION, BASE, rates, ends, seeded=SEEDED, rules=RULES),
        OTHER: Study(QUESTION, BASE, {OTHER: partial(begun, OTHER)}, once, seeded=SEEDED, rules=RULES),
    }


RULES = {"fitted all labels": ("train_acc", 0.99)}
factorial = where(part="factorial")
DESIGN = Design(factorial, {"arm": list(COLOURS), "norm_radius": RADII, "temperature": TEMPERATURES[::-1]})
SMALLEST = Design(where(part="factorial", norm_radius=RADII[0]), {"arm": list(COLOURS), "temperature": [SOFT, SHARP]})
AT_RATE = Design(where(part=RATE), {"arm": ENDS, "norm_radius": [RADII[0], RADII[-1]]})
middle = where(part="factorial", arm="memoriser", norm_radius=RADII[1], temperature=PLAIN)
alike = where(part="factorial", arm="memoriser", temperature=PLAIN)
transplants = where(part="transplants")
SHARE = "share of variance"
CLAIMS = [
    Mean(DESIGN.effect("wrong", "norm_radius"), "rise", "wrong labels fitted, largest less smallest radius")
    .exceeds(0.25, "Radius memorises: from the smallest to the largest over 25 points more wrong labels are fitted."),
    Mean(DESIGN.effect("unseen", "norm_radius"), "spread", "unseen mirrors, spread over radii", bounds=(0, 1))
    .falls_below(0.1, "Radius does not generalise: it moves the accuracy on unseen mirrors by less than 10 points."),
    Mean(DESIGN.effect("unseen", "arm"), "rise", "unseen mirrors, generaliser less memoriser").exceeds(
        0.25, "Direction generalises: from a generaliser's over 25 points more unseen mirrors than from a memoriser's."
    ),
    Mean(DESIGN.effect("wrong", "arm"), "spread", "wrong labels fitted, spread over starts", bounds=(0, 1))
    .falls_below(0.1, "Direction does not memorise: it moves the wrong labels fitted by less than 10 points."),
    Mean(DESIGN.effect("unseen", "norm_radius"), "touched", SHARE, bounds=(0, 1)).exceeds(
        0.25, "What generalises is both: over a quarter of the variance of unseen mirrors is of the radius or of its "
        "interactions.",
    ),
    Mean(middle, "unseen", "unseen mirrors", bounds=(0, 1)).exceeds(
        0.25, "A memoriser's direction is no fate: put at ‖θ₀‖ and trained on it answers over 25 % of unseen mirrors."
    ),
    Mean(middle, "wrong", "wrong labels fitted", bounds=(0, 1))
    .exceeds(0.5, "Neither excludes the other: there these runs hold over half of the wrong labels."),
    Mean(SMALLEST.effect("wrong", "temperature"), "rise", "wrong labels fitted, temperature 1/4 less 4").exceeds(
        0.25, "Radius is logit scale too: at the smallest, sharper logits fit over 25 points more wrong labels than "
        "softer ones.",
    ),
    Mean(AT_RATE.effect("wrong", "norm_radius"), "rise", "wrong labels fitted, largest less smallest radius").exceeds(
        0.25, "It is not the angle of a step: at rates in proportion to r it moves wrong labels by over 25 points."
    ),
    Mean(
        by_seed(where(part=OTHER), unseen="mean"), "unseen", "difference in unseen mirrors",
        less=by_seed(alike, unseen="mean"),
    ).is_within(
        0.1, "Nor is it the memoriser's own norm: from one of 1.6 times that unseen mirrors differ by under 10 points."
    ),
    Mean(transplants, "narrowed", f"{SHARE}, narrowest less widest range").exceeds(
        0.25, "What transplants say is their range: direction's share of variance falls by over 25 points from radii "
        "within a factor 1.25 of the middle to radii within a factor 4.",
    ),
]  # fmt: skip
LATER = Mean(  # as a claim made when both sets of seeds had been seen; its prediction (7c03fd4) before the second
    by_seed(where(part="factorial", norm_radius=RADII[0], temperature=SHARP), wrong="mean"), "wrong",
    "wrong labels fitted, (0.8 ‖θ₀‖, 1/4) less (1.25 ‖θ₀‖, 4)",
    less=by_seed(where(part="factorial", norm_radius=RADII[2], temperature=SOFT), wrong="mean"),
).is_within(
    0.1, "Wrong labels go with the scale of the logits: where temperature grows with the norm to the power 6.2 they "
    "differ by less than 10 points between 0.8 and 1.25 ‖θ₀‖.",
)  # fmt: skip
STUDY = Studies(QUESTION, parts({}), claims=CLAIMS)
QUICK = STUDY.with_(steps=4, eval_every=2, p=11, seeds=[0, 1])
SOURCES = Study(QUESTION, BASE, FROM, seeded=SEEDED, rules=RULES, claims=CLAIMS)


def measured(run: Run) -> dict[str, Any]:
    """Both answers, at the end and before."""
    history, steps = run.history, run.config.schedule.steps
    of = {"wrong": "train_corrupted_acc", "unseen": "test_mirror_unseen_acc"}
    line = {"alpha": round(run.config.leaves()["norm_radius"] / UNIT, 3), "lr": run.config.optimizer.lr}
    line |= {name: history[column].iloc[-1] for name, column in of.items()}
    for said, share in {"quarter": 0.25, "half": 0.5}.items():
        line |= {f"{name}_{said}": history[column].asof(share * steps) for name, column in of.items()}
    return line


def share_of_direction(networks: Params, middle: float, measure: Measure, column: str) -> list[float]:
    """Of each range of radii, direction's share of the variance of a score over transplants of some networks."""
    found = []
    for width in WIDTHS:
        radii = middle * width ** torch.linspace(-1, 1, 5, dtype=torch.float64)
        one = {name: value[0] for name, value in networks.items()}
        at_radii = ray(radii / tree.norm(one), one)
        of = squares(swap_matrix(at_radii, networks, globally, measure)[column][None], ("radius", "direction"))
        found.append((of["direction",] / torch.stack(list(of.values())).sum(0)).item())
    return found


def unseen_of(run: Run) -> Measure:
    """What networks answer of the test pairs whose mirror was not trained on."""
    task, model = run.task, run.config.model
    asked = task.where("test_mirror_unseen")
    inputs, labels = task.inputs[asked], task.labels[asked]
    return lambda networks: {"unseen": (model.logits(networks, inputs).argmax(-1) == labels).double().mean(-1)}


def ranges(by_start: Mapping[str, list[Run]]) -> pd.DataFrame:
    """For each seed direction's share in each range of radii, of these networks and of homogeneous ones."""
    lines, tasks = [], [run.task for run in by_start["memoriser"]]
    control = homogeneous.trained(tasks, 200, 5)
    for i, (memoriser, generaliser) in enumerate(zip(by_start["memoriser"], by_start["generaliser"], strict=True)):
        ends = [generaliser.at(0), memoriser.at(memoriser.steps[-1]), generaliser.at(generaliser.steps[-1])]
        own = share_of_direction(tree.stack(ends), MIDDLE, unseen_of(generaliser), "unseen")
        nets = {name: value[i] for name, value in control.items()}
        length = tree.norm({name: value[0] for name, value in nets.items()}).item()
        theirs = share_of_direction(nets, length, partial(homogeneous.scores, task=tasks[i]), "accuracy[train]")
        at = {f"direction, {width:g}": share for width, share in zip(WIDTHS, own, strict=True)}
        at |= {f"homogeneous, {width:g}": share for width, share in zip(WIDTHS, theirs, strict=True)}
        lines.append({"part": "transplants", "seed": memoriser.config.init.seed, "narrowed": own[0] - own[-1], **at})
    return pd.DataFrame(lines)


LEGS = {  # the double dissociation: column and factor, the effect, its bound, on which side
    "radius moves wrong labels": ("wrong", "norm_radius", "rise", 0.25, "above"),
    "radius leaves unseen mirrors": ("unseen", "norm_radius", "spread", 0.1, "below"),
    "direction moves unseen mirrors": ("unseen", "arm", "rise", 0.25, "above"),
    "direction leaves wrong labels": ("wrong", "arm", "spread", 0.1, "below"),
}


def draw(table: pd.DataFrame) -> "figures.Figure":
    """Both answers against the held norm; the four legs; direction's share against the range of radii."""
    figure, ((wrong, unseen), (legs, curve)) = figures.sheet(2, 2, (10.5, 8))
    rows = factorial(table)
    for ax, column, said in ((wrong, "wrong", "wrong labels fitted"), (unseen, "unseen", "accuracy, unseen mirrors")):
        plain = rows[rows["temperature"] == PLAIN]
        figures.draw_groups(ax, plain, "arm", "alpha", column, COLOURS)
        for temperature, style in ((SHARP, ":"), (SOFT, "--")):
            for start, colour in COLOURS.items():
                of = rows[(rows["temperature"] == temperature) & (rows["arm"] == start)]
                middle = of.groupby("alpha")[column].median()
                ax.plot(middle.index, middle, color=colour, ls=style, lw=1)
        for temperature, style in {SHARP: ":", PLAIN: "-", SOFT: "--"}.items():
            ax.plot([], [], color=figures.GREY, ls=style, label=f"temperature {temperature:g}")
        figures.values_axis(ax, rows["alpha"].tolist(), "held norm, in units of ‖θ₀‖")
        ax.set_ylabel(f"{said} (median, range over seeds)")
        ax.set_ylim(-0.03, 1.03)
    for i, (said, (column, factor, effect, bound, side)) in enumerate(LEGS.items()):
        found = Mean(DESIGN.effect(column, factor), effect, said)
        interval, of = found.found(table).interval, DESIGN.effect(column, factor)(table)[effect]
        fits = "> " if side == "above" else "< "
        legs.plot(of, [i] * len(of), "o", color=figures.GREY, ms=3, alpha=0.6)
        if interval:
            legs.errorbar(
                interval.estimate, i, xerr=[[interval.estimate - interval.low], [interval.high - interval.estimate]],
                fmt="o", color=figures.BLUE, capsize=3,
            )  # fmt: skip
        legs.plot([bound] * 2, [i - 0.3, i + 0.3], color=figures.RED)
        legs.text(bound, i - 0.34, f"{fits}{bound:g}", color=figures.RED, ha="center", fontsize=8)
    legs.set_yticks(range(len(LEGS)), list(LEGS))
    legs.invert_yaxis()
    legs.set_xlabel("change of a share (seeds, mean and 95 % interval)")
    lines = transplants(table)
    for name, colour, said in (
        ("direction", figures.BLUE, "transformer"),
        ("homogeneous", figures.GREY, "homogeneous: 1 by algebra"),
    ):
        long = lines.melt("seed", [f"{name}, {width:g}" for width in WIDTHS], "width", "share")
        long["width"] = long["width"].str.split(", ").str[1].astype(float)
        figures.draw_seeds(curve, long, "width", "share", colour, "-", said)
    figures.values_axis(curve, WIDTHS, "range of radii: middle ÷ and × this factor")
    curve.set_ylabel("direction's share of variance, transplants")
    figures.legends([wrong, curve])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds, two radii and temperatures, few steps")
    seeds = study.all_seeds
    sources = SOURCES.with_seeds(seeds)
    if given.quick:
        sources = sources.with_(p=11, arms={name: leaves | {"steps": 4} for name, leaves in FROM.items()})
    by_start = sources.grouped(sources.train(given))
    starts = {
        name: {run.config.init.seed: f"{run.path}@{run.steps[-1]}" for run in runs} for name, runs in by_start.items()
    }
    arms = parts(starts)
    study = study.with_({name: {"arms": arms[name].arms} for name in study.parts})
    runs = study.train(given)
    table = study.table(runs, measured)
    whole = pd.concat([table, ranges(by_start)], ignore_index=True)
    at_start = {
        name: [run.history.iloc[-1][["norm", "train_acc", "test_mirror_unseen_acc"]].tolist() for run in of]
        for name, of in by_start.items()
    }
    means = pd.DataFrame({name: pd.DataFrame(of).mean() for name, of in at_start.items()}).T
    columns = [f"{name}{when}" for name in ("wrong", "unseen") for when in ("_quarter", "_half", "")]
    early = factorial(table).groupby("arm")[columns]
    notes = [
        "Radial memorises and angular generalises, as two factors, only if the first four claims hold together. "
        "Effects are means over the levels of the other factors; a spread (largest less least mean) is above 0 by "
        "chance alone.",
        f"Held norms {', '.join(f'{r:g} ({alpha:g} ‖θ₀‖)' for r, alpha in zip(RADII, ALPHAS, strict=True))}, from the "
        "first step on; moments begin afresh. Starts, means over seeds of norm, training accuracy (the generaliser's "
        f"with true labels), accuracy on unseen mirrors: {listed(means, '{}: {:.1f}, {:.3f}, {:.3f}', '; ')}.",
        "The budget matters: wrong labels fitted after a quarter, a half and all of it, and unseen mirrors likewise, "
        f"means over radii and temperatures: {listed(early.mean(), '{}: ' + ', '.join(['{:.2f}'] * 6), '; ')}.",
        "Transplants: the directions of initial weights, memoriser and generaliser at five radii evenly spread in the "
        f"logarithm about {MIDDLE:.2f}; accuracy on unseen mirrors. Control: relu(U_a + V_b) W, 256 neurons, no "
        "biases, five checkpoints of 200 steps, training accuracy.",
    ]
    study.write(given, whole, draw(whole), notes, runs=table, made=[LATER])


if __name__ == "__main__":
    main()
