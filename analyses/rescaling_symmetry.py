"""Is the weight norm a bizarre metric? Networks that compute the same at another norm, and what becomes of them.

Scaling what enters a ReLU neuron by beta and what leaves it by 1/beta, or turning a head's inner coordinates by any
invertible matrix, changes the norm and nothing else. So copies of memorised networks are inflated in that way, or
stretched to the same norm along their ray, which does change the function. All three are trained on, with weight
decay or held at the norm that they have. If the norm itself delays grokking, the inflated copies grok as late as the
stretched ones; if what it does to the function delays it, as early as the originals.

    python analyses/rescaling_symmetry.py            # ten seeds; --dry-run says how long
    python analyses/rescaling_symmetry.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.foreign.edited import write_edited
from circuitgrok.polar.inflation import imbalance, inflated
from circuitgrok.polar.orbits import orbit_minimal_norm, part_norms
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, where
from circuitgrok.study.evidence import Declared, Judged, settled
from circuitgrok.study.intervals import above, factor, mean_interval
from circuitgrok.study.rows import slug
from circuitgrok.study.selections import derived
from circuitgrok.study.study import Study, evenly
from circuitgrok.tree import norm

STARTS = {"as it is": figures.BLUE, "inflated": figures.RED, "stretched": figures.ORANGE}
MOTIONS = {"decay": {}, "held": {"fixed_norm": True, "weight_decay": 0.0}}
SPREAD = 4.0  # beta and the singular values of G are log-uniform between 1/SPREAD and SPREAD
UNDER = 300  # steps over which the rate of deflation is taken
BASE = cg.TrainConfig.preset("quickstart").with_(frac_train=0.6, steps=3000, **evenly(50))
RATE = 2 * BASE.optimizer.lr * BASE.optimizer.weight_decay  # at which decay balances under gradient flow


def copies(run: Run, step: int, folder: Path) -> dict[str, str]:
    """Where the three forms of a memorised network lie, to start from."""
    params, seed = run.at(step), run.config.init.seed
    larger = inflated(params, run.config.transformer, SPREAD, torch.Generator().manual_seed(1000 + seed))
    ratio = (norm(larger) / norm(params)).item()
    networks = {"as it is": params, "inflated": larger, "stretched": {k: v * ratio for k, v in params.items()}}
    return {
        form: write_edited(run, step, network, folder / f"{slug(form)}-s{seed}", f"{form}, from {run.name}")
        for form, network in networks.items()
    }


def trained_on(starts: Mapping[int, Mapping[str, str]], form: str, motion: str, cell: cg.TrainConfig) -> dict[str, Any]:
    """What differs between runs: where they start, and how they move."""
    return {"start": starts[cell.init.seed][form], **MOTIONS[motion]}


def measured(run: Run, original: Run, step: int) -> dict[str, float]:
    """What a run starts from, beside the memorised network of the plain run; what becomes of its norm."""
    model, inputs, before, after = run.config.transformer, run.task.inputs, original.at(step), run.at(0)
    over = max(saved for saved in run.steps if saved <= UNDER)
    logits = [model.logits({k: v.double() for k, v in x.items()}, inputs) for x in (before, after)]
    least = [orbit_minimal_norm(x, model).total for x in (before, after, run.at(run.steps[-1]))]
    shrunk = imbalance(after, model).sum() / imbalance(run.at(over), model).sum()
    return {
        "norm_min": least[1].item(),
        "excess": (part_norms(after, model).total / least[1]).item(),
        "final_excess": (part_norms(run.at(run.steps[-1]), model).total / least[2]).item(),
        "deflation": math.log(shrunk) / over,
        "norm_factor": (norm(after) / norm(before)).item(),
        "logits_moved": ((logits[1] - logits[0]).abs().max() / logits[0].std()).item(),
        "least_moved": (least[1] / least[0] - 1).abs().item(),
        "plain_excess": cg.measure(original, ["orbits"])["norm_excess"].max() - 1,
    }


def arm(form: str, motion: str) -> Selection:
    """The runs from one form of the networks that move in one way."""
    return where(arm=f"{form}, {motion}")


def is_rewritten(table: pd.DataFrame) -> Judged:
    """Whether inflated copies are larger and compute the same."""
    rows = arm("inflated", "decay")(table)
    larger, moved = rows["norm_factor"].map(math.log).tolist(), rows["logits_moved"].max()
    said = f"norm factor, {factor(mean_interval(larger))}; largest change of a logit {moved:.1e} standard deviations, "
    said += f"of the least norm {rows['least_moved'].max():.1e} (float32 weights)"
    if moved >= 1e-5:
        return settled(said, "counterexample")
    return Judged(said, lambda level: above(mean_interval(larger, level), math.log(1.5)))


def compared(motion: str, how: str) -> list[Declared]:
    """Who groks when, among runs that move in one way."""
    one, inflated, stretched = (arm(form, motion) for form in STARTS)
    later, same = "T_grok(stretched)", "T_grok(inflated)"
    return [
        Ratio(inflated, one, name=f"{same} / T_grok(as it is)")
        .is_within(1.25, f"{how}, inflated copies grok when the originals do, to a factor 1.25."),
        Ratio(stretched, one, name=f"{later} / T_grok(as it is)")
        .exceeds(1, f"{how}, copies stretched to the same norm grok later than the originals."),
        Ratio(stretched, inflated, name=f"{later} / {same}").exceeds(
            1, f"{how}, the norm is not what delays: at equal norm, stretched copies grok later than inflated ones."
        ),
    ]  # fmt: skip


def lower(form: str) -> Declared:
    """The claim that held copies of a form end with a lower test accuracy."""
    held, other = arm("as it is", "held"), arm(form, "held")
    less = Mean(held, "test_acc", "difference in test accuracy", less=other, bounds=(-1, 1))
    return less.exceeds(0, f"{HELD}, {form} copies end with a lower test accuracy than the originals.")


deflating = derived(arm("inflated", "decay"), off=lambda rows: rows["deflation"] / RATE - 1)  # gradient flow's rate
HELD = "Held at the norm they start with"
CLAIMS = [
    Declared(
        "The same function can be written at 1.5 times the norm: logits change by less than 1e-5 of their spread.",
        is_rewritten,
    ),
    Mean(deflating, "off", f"rate over the first {UNDER} steps in units of 2 lr λ, less 1,")
    .is_within(0.25, "Decay balances inflated neurons at the rate 2 lr λ of gradient flow, to a quarter."),
    *compared("decay", "With weight decay"),
    *compared("held", HELD),
    lower("inflated"),
    lower("stretched"),
    Mean(arm("as it is", "decay"), "plain_excess", "largest excess along a run").falls_below(
        0.05, "Along plain runs the norm is hardly bizarre: it never exceeds the least norm by more than 5 %."
    ),
]  # fmt: skip
STUDY = Study(
    "Is the weight norm a bizarre metric: does it matter at which norm the same function is written?",
    BASE,
    arms={"plain": {}},  # of which copies are made, which are then the arms
    claims=CLAIMS,
)
QUICK = STUDY.with_(steps=100, seeds=[0, 1])


def draw(table: pd.DataFrame, plain: list[Run], runs: dict[str, list[Run]], budget: int) -> "figures.Figure":
    """Norm and least norm along plain runs; the same for copies under decay; test accuracy; times."""
    figure, ((left, right), (accuracy, times)) = figures.sheet(2, 2, (10.5, 7.4))
    panels = [(left, "plain", figures.BLUE, plain)]
    panels += [(right, form, colour, runs[f"{form}, decay"]) for form, colour in STARTS.items()]
    for ax, form, colour, of_form in panels:
        found = [cg.measure(run, ["orbits"]) for run in of_form]
        norms = [one["norm_min"] * one["norm_excess"] for one in found]
        figures.draw_band(ax, norms, colour, "-", f"{form}: norm r")
        figures.draw_band(ax, [one["norm_min"] for one in found], colour, ":", f"{form}: least norm of the orbit")
    left.set_ylabel("plain runs: weight norm")
    right.set_ylabel("trained on with decay: weight norm")
    for motion, style in {"decay": "-", "held": "--"}.items():
        colours = {f"{form}, {motion}": colour for form, colour in STARTS.items()}
        figures.draw_runs(accuracy, runs, "test_acc", colours, style)
    accuracy.set_ylabel("test accuracy (median and range)")
    for ax in (left, right, accuracy):
        figures.step_axis(ax, budget)
    figures.legends([left, right, accuracy])
    figures.draw_dots(times, table, "grokked_by", {name: STARTS[name.split(", ")[0]] for name in runs}, budget)
    times.axvline(budget, color=figures.GREY, lw=0.8)
    times.set_xlabel(f"steps to test accuracy 0.95 (censored at {budget})")
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    steps, step = (60, 50) if given.quick else (3000, 250)
    plain = dict(zip(study.seeds, study.train(given).values(), strict=True))
    starts = {seed: copies(run, step, given.out / "starts") for seed, run in plain.items()}
    arms = {f"{form}, {motion}": partial(trained_on, starts, form, motion) for form, motion in product(STARTS, MOTIONS)}
    study = study.with_(arms=arms, steps=steps)
    runs = study.train(given)
    table = study.table(runs, lambda run: measured(run, plain[run.config.init.seed], step))
    table[["start", "motion"]] = table["arm"].str.split(", ", expand=True)
    fits = min(run.history["train_acc"].loc[step] for run in plain.values())
    notes = [
        f"The memorised networks are those of plain runs at step {step} (train accuracy {fits:.3f} or more); they are "
        "trained on with a fresh optimizer. There is no weight decay where the norm is held.",
        f"Inflated: β of each neuron and the singular values of each head's two G log-uniform in 1/{SPREAD:g} to "
        f"{SPREAD:g}. Stretched: all weights times one number, to that same norm.",
        "The claims about where held runs end were added when times of seeds 0 to 4 had turned out to be censored.",
    ]
    study.write(given, table, draw(table, list(plain.values()), study.grouped(runs), steps), notes)


if __name__ == "__main__":
    main()
