"""Is the weight norm a bizarre metric? Networks that compute the same at another norm, and what becomes of them.

Scaling what enters a ReLU neuron by beta and what leaves it by 1/beta, or turning a head's inner coordinates by any
invertible matrix, changes the norm and nothing else. So copies of networks are inflated in that way: when they have
memorised, half-way, when they generalise, and again and again along a run. Others are stretched to the same norm along
their ray, which does change the function. All are trained on, with weight decay or held at the norm that they have. If
the norm itself delays grokking, inflated copies grok as late as stretched ones; if what it does to the function delays
it, as early as the originals.

    python analyses/rescaling_symmetry.py            # ten seeds: seven minutes of one core
    python analyses/rescaling_symmetry.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.foreign.edited import write_edited
from circuitgrok.polar.inflation import imbalance, inflated_to
from circuitgrok.polar.orbits import orbit_minimal_norm, part_norms
from circuitgrok.store.run import Run
from circuitgrok.study.asked import Asked
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.legs import Course, course
from circuitgrok.study.question import train_missing
from circuitgrok.study.rows import listed, slug
from circuitgrok.study.selections import derived
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.tree import Params, norm

ORIGINAL, INFLATED, STRETCHED = "as it is", "inflated", "stretched"
DECAY, HELD, AT_RATE = "decay", "held", "held, rate ∝ r"
COLOURS = {ORIGINAL: figures.BLUE, INFLATED: figures.RED, STRETCHED: figures.ORANGE}
TIMES, AGAIN = 1.6, 1.25  # the norm of a copy over the original's; of one that is inflated again over what it is then
QUESTION = "Is the weight norm a bizarre metric: does it matter at which norm the same function is written?"


class Plan(NamedTuple):
    """Steps: of the plain runs at which copies are made, of the copies' own training, between rewritings."""

    begin: Mapping[str, int]
    under_decay: int
    held: int
    every: int
    legs: int


AT = ("memorised", "half-way", "generalised", "repeatedly")
FULL = Plan(dict(zip(AT, (250, 500, 2000, 250), strict=True)), 2000, 1000, 250, 5)
SMALL = Plan(dict(zip(AT, (20, 40, 60, 20), strict=True)), 60, 40, 20, 3)
ARMS = {
    "memorised": [(form, motion) for form in COLOURS for motion in (DECAY, HELD)],
    "half-way": [(form, motion) for form in (ORIGINAL, INFLATED) for motion in (DECAY, HELD)] + [(INFLATED, AT_RATE)],
    "generalised": [(ORIGINAL, HELD), (INFLATED, HELD)],
    "repeatedly": [(ORIGINAL, DECAY), (INFLATED, DECAY)],
}
BASE = cg.TrainConfig.preset("quickstart").with_(frac_train=0.6)
RATE = 2 * BASE.optimizer.lr * BASE.optimizer.weight_decay  # at which decay balances under gradient flow
SEEDS = range(10, 20)  # 0 to 4 had been seen when the claims were made


Copies = Mapping[tuple[str, str, int], str]  # where they lie to start from, by moment, form and seed


def copy_of(run: Run, step: int, form: str, times: float, folder: Path) -> str:
    """One form of a network, written down; but for the original, its norm is so many times the original's."""
    params, seed = run.at(step), 1000 * step + run.config.init.seed
    forms: dict[str, Callable[[], Params]] = {
        ORIGINAL: lambda: params,
        INFLATED: lambda: inflated_to(params, run.config.transformer, times * norm(params).item(), seed),
        STRETCHED: lambda: {name: value * times for name, value in params.items()},
    }
    return write_edited(
        run, step, forms[form](), folder / f"{slug(form)}-{step}-{run.name}", f"{form}, from {run.name}"
    )


def begun(copies: Copies, moment: str, form: str, motion: str, plan: Plan, cell: cg.TrainConfig) -> dict[str, Any]:
    """What differs between runs: where they start, how they move, and for how long."""
    start = copies.get((moment, form, cell.init.seed))
    leaves: dict[str, Any] = {"start": start} if start else {}
    if motion == DECAY:
        return leaves | {"steps": plan.under_decay}
    rate = {"lr": TIMES * cell.optimizer.lr} if motion == AT_RATE else {}
    return leaves | rate | {"fixed_norm": True, "weight_decay": 0.0, "steps": plan.held}


def parts(copies: Copies, plan: Plan = FULL) -> dict[str, Study]:
    """The plain runs, and what starts from the copies that there are."""
    base = BASE.with_(steps=plan.begin["generalised"], **evenly(plan.every))
    found = {"plain": Study(QUESTION, base, {"plain": {}}, seeds=SEEDS)}
    for moment, of in ARMS.items():
        arms = {f"{form}, {motion}": partial(begun, copies, moment, form, motion, plan) for form, motion in of}
        found[moment] = Study(QUESTION, base, arms, seeds=SEEDS)
    return found


def again_and_again(name: str, config: cg.TrainConfig, form: str, plan: Plan, given: Asked) -> Course:
    """A course that is interrupted at equal distances, and each time begun anew from that form of where it is."""
    legs: list[Run] = []
    for leg in range(plan.legs):
        rest = plan.under_decay - (plan.legs - 1) * plan.every
        steps = rest if leg == plan.legs - 1 else plan.every
        if legs:
            copy = copy_of(legs[-1], legs[-1].steps[-1], form, AGAIN, given.out / "runs" / "copies")
            config = config.with_(start=copy)
        legs += train_missing({f"{name}-leg{leg}": config.with_(steps=steps)}, given).values()
    return course(*legs)


def started(run: Run, original: Run, step: int, over: int) -> dict[str, float]:
    """What a run starts from, beside the network that it is a copy of; what becomes of its norm."""
    model, inputs, last = run.config.transformer, run.task.inputs, run.steps[-1]
    before, after = original.at(step), run.at(0)
    logits = [model.logits({k: v.double() for k, v in x.items()}, inputs) for x in (before, after)]
    least = [orbit_minimal_norm(x, model).total for x in (before, after, run.at(last))]
    shrunk = imbalance(after, model).sum() / imbalance(run.at(over), model).sum()
    return {
        "norm_min": least[1].item(),
        "excess": (part_norms(after, model).total / least[1]).item(),
        "final_excess": (part_norms(run.at(last), model).total / least[2]).item(),
        "deflation": math.log(shrunk) / over,
        "norm_factor": (norm(after) / norm(before)).item(),
        "logits_moved": ((logits[1] - logits[0]).abs().max() / logits[0].std()).item(),
        "least_moved": (least[1] / least[0] - 1).abs().item(),
    }


def measured(run: Run | Course, plain: Mapping[int, Run], moments: Mapping[str, str], plan: Plan) -> dict[str, Any]:
    """Unseen mirrors at both ends; what a copy starts from; along a plain run, how far its norm is above the least."""
    seed, ends = run.config.init.seed, run.history["test_mirror_unseen_acc"].iloc[[0, -1]].tolist()
    line: dict[str, Any] = dict(zip(("unseen_before", "unseen"), ends, strict=True))
    if isinstance(run, Course):
        norms = run.history["norm"].loc[: plan.legs * plan.every]
        return line | {"norm_factor": norms.max() / norms.iloc[0]}
    if run.name not in moments:
        return line | {"plain_excess": cg.measure(run, ["orbits"])["norm_excess"].max() - 1}
    return line | started(run, plain[seed], plan.begin[moments[run.name]], plan.every)


def arm(moment: str, form: str, motion: str) -> Selection:
    """The runs from one form of the networks at one moment that move in one way."""
    return where(part=moment, arm=f"{form}, {motion}")


def times(moment: str, over: str, under: str, motion: str = DECAY) -> Ratio:
    """How many times as long one form takes as the other."""
    name = f"T_grok({over}) / T_grok({under})"
    return Ratio(arm(moment, over, motion), arm(moment, under, motion), name=name)


def lost(moment: str, form: str, motion: str = HELD, less: str = HELD) -> Mean:
    """By how much fewer unseen mirrors a form answers at the end than the originals."""
    held, other = arm(moment, ORIGINAL, less), arm(moment, form, motion)
    return Mean(held, "unseen", f"unseen mirrors, originals less {form}", less=other, bounds=(-1, 1))


deflating = derived(arm("memorised", INFLATED, DECAY), share=lambda rows: rows["deflation"] / RATE)
rewritten = where(arm=lambda arm: arm.str.startswith(INFLATED), logits_moved=pd.Series.notna)
SAME = "grok when the originals do, to a factor 1.25."
CLAIMS = [
    Share(rewritten, lambda rows: rows["logits_moved"] < 1e-5, "copies whose logits are the same").is_all(
        f"The same function can be written at {TIMES:g} times the norm: no logit changes by 1e-5 of their spread.",
        "{part}, seed {seed}",
    ),
    times("memorised", INFLATED, ORIGINAL)
    .is_within(1.25, f"With weight decay, copies inflated when they have memorised {SAME}"),
    times("half-way", INFLATED, ORIGINAL).is_within(1.25, f"With weight decay, copies inflated half-way {SAME}"),
    times("repeatedly", INFLATED, ORIGINAL)
    .is_within(1.25, f"With weight decay, networks that are inflated again every {FULL.every} steps {SAME}"),
    times("memorised", STRETCHED, INFLATED).exceeds(
        1, "With weight decay the norm is not what delays: at equal norm, stretched copies grok later than inflated."
    ),
    lost("half-way", INFLATED).exceeds(
        0.1, "Held, the norm matters all the same: inflated half-way they end over 10 points of unseen mirrors below."
    ),
    lost("half-way", INFLATED, AT_RATE).falls_below(
        0.1, "That is the angle of a step: at a rate in proportion to the norm they end less than 10 points lower."
    ),
    Mean(arm("memorised", INFLATED, HELD), "unseen", "unseen mirrors, inflated less stretched",
         less=arm("memorised", STRETCHED, HELD), bounds=(-1, 1))
    .exceeds(0, "Held at equal norm, inflated copies of memorisers end with more unseen mirrors than stretched ones."),
    lost("generalised", INFLATED)
    .is_within(0.05, "What is generalised stays: inflated afterwards and held, copies keep it to 5 points."),
    Factor(deflating, "share", f"rate over the first {FULL.every} steps in units of 2 lr λ")
    .is_within(1.25, "Decay balances inflated neurons at the rate 2 lr λ of gradient flow, to a factor 1.25."),
    Mean(where(part="plain"), "plain_excess", "largest excess along a run").falls_below(
        0.05, "Along plain runs the norm is hardly bizarre: it never exceeds the least norm by more than 5 %."
    ),
]  # fmt: skip
STUDY = Studies(QUESTION, parts({}), claims=CLAIMS)
_TINY = {"p": 11, "d_model": 32, "d_head": 8, "d_mlp": 64, "seeds": [0, 1]}
QUICK = Studies(QUESTION, parts({}, SMALL), claims=CLAIMS).with_(**_TINY)


def draw(table: pd.DataFrame, runs: Mapping[str, Mapping[str, list[Any]]], plan: Plan) -> "figures.Figure":
    """Norm and least norm under decay; unseen mirrors of held copies; norms that are inflated again; times."""
    figure, ((norms, held), (again, dots)) = figures.sheet(2, 2, (10.5, 8))
    for form, colour in COLOURS.items():
        found = [cg.measure(run, ["orbits"]) for run in runs["memorised"][f"{form}, {DECAY}"]]
        figures.draw_band(norms, [one["norm_min"] * one["norm_excess"] for one in found], colour, "-", f"{form}: norm")
        figures.draw_band(norms, [one["norm_min"] for one in found], colour, ":", f"{form}: least of the orbit")
    lines = ((HELD, ORIGINAL, figures.BLUE), (HELD, INFLATED, figures.RED), (AT_RATE, INFLATED, figures.PURPLE))
    for motion, form, colour in lines:
        style = "-" if motion == HELD else "--"
        curves = pd.concat(
            [run.history["test_mirror_unseen_acc"] for run in runs["half-way"][f"{form}, {motion}"]], axis=1
        )
        held.plot(curves.index, curves, color=colour, ls=style, lw=0.6, alpha=0.5)
        held.plot(curves.index, curves.median(axis=1), color=colour, ls=style, lw=2, label=f"{form}, {motion}")
    for form in (ORIGINAL, INFLATED):
        of = [run.history["norm"] for run in runs["repeatedly"][f"{form}, {DECAY}"]]
        figures.draw_band(again, of, COLOURS[form], "-", f"{form}, every {plan.every} steps")
    norms.set_ylabel("weight norm, decay (median, range over seeds)")
    held.set(ylabel="accuracy on unseen mirrors (median, seeds)", ylim=(-0.03, 1.03))
    again.set_ylabel("weight norm, decay (median, range over seeds)")
    for ax in (norms, again):
        ax.set(xlabel="optimizer step from when they had memorised", xlim=(0, plan.under_decay))
    held.set(xlabel="optimizer step from half-way, norm held", xlim=(0, plan.held))
    figures.legends([norms, held, again])
    shown = table[table["arm"].str.endswith(f", {DECAY}")]
    shown = shown.assign(arm=shown["part"] + ": " + shown["arm"].str.removesuffix(f", {DECAY}"))
    colours = {name: COLOURS[name.split(": ")[1]] for name in shown["arm"].unique()}
    figures.draw_dots(dots, shown, "grokked_by", colours, plan.under_decay)
    dots.axvline(plan.under_decay, color=figures.GREY, lw=0.8)
    dots.set_xlabel(f"steps to test accuracy 0.95, decay (censored at {plan.under_decay})")
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds of a tiny network, few steps")
    plan, labels = SMALL if given.quick else FULL, study.labels()
    moments = {name: line["part"] for name, line in labels.items()}
    first = study.train(given, except_for=[name for name, moment in moments.items() if moment != "plain"])
    plain = {run.config.init.seed: run for run in first.values()}
    folder = given.out / "runs" / "copies"
    copies = {
        (moment, form, seed): copy_of(run, plan.begin[moment], form, TIMES, folder)
        for moment, of in ARMS.items()
        for form in dict(of)
        for seed, run in plain.items()
    }
    made = parts(copies, plan)
    study = study.with_({name: {"arms": made[name].arms} for name in study.parts})
    courses = {
        name: again_and_again(name, config, labels[name]["arm"].split(", ")[0], plan, given)
        for name, config in study.configs().items()
        if moments[name] == "repeatedly"
    }
    runs: dict[str, Run | Course] = {**study.train(given, except_for=list(courses)), **courses}
    of_copies = {name: moment for name, moment in moments.items() if moment not in ("plain", "repeatedly")}
    table = study.table(runs, lambda run: measured(run, plain, of_copies, plan))
    ends = table.groupby(["part", "arm"], sort=False)[["norm_factor", "unseen_before", "unseen"]].mean()
    least = table.assign(norm_min_end=table["final_norm"] / table["final_excess"])[table["arm"].str.contains(HELD)]
    least = least.groupby(["part", "arm"], sort=False)[["norm_min", "norm_min_end"]].mean()
    done = table[(table["part"] == "half-way") & table["grokked_by"].eq(0)]["seed"].nunique()
    notes = [
        f"Copies are made at steps {', '.join(f'{step} ({moment})' for moment, step in plan.begin.items())} of plain "
        "runs and trained on with a fresh optimizer; there is no decay where the norm is held. Seeds 0 to 4 had been "
        "seen in an earlier run of this design.",
        "Inflated: the logarithms of each neuron's β and of the singular values of each head's two G are uniform about "
        f"0, as wide as makes the norm {TIMES:g} times the original's; again every {plan.every} steps, {plan.legs - 1} "
        f"times, {AGAIN:g} times what it is then (the originals are interrupted as often, with a fresh optimizer). "
        "Stretched: all weights times one number, to that same norm.",
        f"Seeds that had generalised by step {plan.begin['half-way']} already: {done}. What is held is the norm, not "
        "the least norm of the orbit; this at the start and at the end of held runs, means over seeds: "
        f"{listed(least, '{} {}: {:.1f}, {:.1f}', '; ')}.",
        "Means over seeds of the norm over the original's (of those inflated again, the largest over the first), and "
        f"of the accuracy on unseen mirrors at both ends: {listed(ends, '{} {}: {:.2f}, {:.2f}, {:.2f}', '; ')}.",
    ]
    by_part = {name: study.grouped(runs, part=name) for name in study.parts}
    study.write(given, table, draw(table, by_part, plan), notes)


if __name__ == "__main__":
    main()
