"""Are there generalisers at a large norm, and does training leave them? Existence against selection.

That training from random weights of a large norm memorises has two readings: there is nothing that generalises at such
a norm, or there is and training does not come to it. So a generaliser is taken there: along its ray, which changes the
function, or along the symmetries of its layers, which change nothing but the norm. It is turned by an angle towards
noise, and trained on with the norm held, on the same pairs with their true labels. Memorisers and random weights
are trained on beside it, at the same norms.

    python analyses/existence_at_radius.py            # ten seeds: half an hour of one core
    python analyses/existence_at_radius.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.foreign.edited import write_edited
from circuitgrok.geometry import turned
from circuitgrok.polar.inflation import inflated_to
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, Share, where
from circuitgrok.study.rows import listed, slug
from circuitgrok.study.study import Studies, Study, evenly

UNIT = 21.15  # ‖θ₀‖, mean over seeds; a seed's own is within a percent of it
ALPHAS = [0.9, 1.25, 1.5, 2.0]  # held norms in this unit
RADII = [round(alpha * UNIT, 2) for alpha in ALPHAS]
SCALED = {"generaliser": 0, "generaliser, 30°": 30, "generaliser, 60°": 60, "memoriser": 0, "random": 0}
INFLATED = {"generaliser": 0, "generaliser, 30°": 30}  # degrees
LONGER = {  # form and arm; added when the other runs had been seen
    "generaliser, 2000 steps": ("scaled", "generaliser"),
    "generaliser, 30°, 2000 steps": ("scaled", "generaliser, 30°"),
    "inflated generaliser, 2000 steps": ("inflated", "generaliser"),
}
COLOURS = dict(zip(SCALED, (figures.BLUE, figures.SKY, figures.GREEN, figures.RED, figures.GREY), strict=True))
QUESTION = "Are there generalisers at a large norm, and does training leave them?"
BASE = cg.TrainConfig.preset("quickstart").with_(
    d_model=32, d_head=8, d_mlp=128, frac_train=0.7, lr=2e-3, weight_decay=0.0, fixed_norm=True,
    steps=500, eval_every=25, **evenly(4000),
)  # fmt: skip
RULES = {"generalised": ("test_mirror_unseen_acc", 0.95)}
FROM = {"generaliser": {"lr": 3e-3, "steps": 900}, "memoriser": {"norm_factor": 2.0, "steps": 400}}


def parts(starts: Mapping[tuple[str, str, float, int], str]) -> dict[str, Study]:
    """The runs, from the checkpoints that there are by form, arm, norm (if it matters) and seed."""

    def begun(form: str, arm: str, cell: cg.TrainConfig) -> dict[str, Any]:
        at = cell.leaves()["norm_radius"] if form == "inflated" else 0.0
        found = starts.get((form, arm, at, cell.init.seed))
        return {"start": found} if found else {}

    def study(base: cg.TrainConfig, arms: Mapping[str, tuple[str, str]], radii: list[float]) -> Study:
        made = {name: partial(begun, form, arm) for name, (form, arm) in arms.items()}
        return Study(QUESTION, base, made, {"norm_radius": radii}, rules=RULES)

    return {
        "scaled": study(BASE, {arm: ("scaled", arm) for arm in SCALED}, RADII),
        "inflated": study(BASE, {arm: ("inflated", arm) for arm in INFLATED}, RADII[1:]),
        "longer": study(BASE.with_(steps=2000, eval_every=100), LONGER, RADII[-1:]),
    }


def written(by_source: Mapping[str, list[Run]], folder: Path) -> dict[tuple[str, str, float, int], str]:
    """Where each start lies: a source's last checkpoint, turned or inflated and turned; the hold scales it."""
    found = {}
    for arm, degrees in SCALED.items():
        for run in by_source.get(arm.split(",")[0], []):
            last, seed, model = run.steps[-1], run.config.init.seed, run.config.transformer
            forms = {("scaled", 0.0): run.at(last)}
            if arm in INFLATED:
                forms |= {("inflated", r): inflated_to(run.at(last), model, r, 1000 + seed) for r in RADII[1:]}
            for (form, at), params in forms.items():
                ahead = torch.Generator().manual_seed(2000 + seed)
                there = turned(params, math.radians(degrees), ahead, model.is_trainable)
                name = folder / slug(f"{form}-{at:g}-{arm}-s{seed}")
                network = {key: value.to(params[key].dtype) for key, value in there.items()}
                how = f"{form} to {at:g}, turned by {degrees}°" if at else f"turned by {degrees}°"
                found[form, arm, at, seed] = write_edited(run, last, network, name, how)
    return found


def rows(form: str, arm: str, alpha: float) -> Selection:
    """The runs from one start at one norm."""
    return where(part=form, arm=arm, alpha=alpha)


def kept(of: Selection, name: str, least: Callable[[pd.Series], pd.Series]) -> Share:
    """The share of runs that end at or above what is asked for, given what their source answers."""
    return Share(of, lambda table: table["unseen"] >= least(table["source_unseen"]), name)


UNSEEN = "difference in accuracy on unseen mirrors"
LARGE, SMALL = ALPHAS[-1], ALPHAS[0]
NAMED = "{part} {arm} at {alpha:g} ‖θ₀‖, seed {seed} ({unseen:.2f}; source {source_unseen:.2f})"
CLAIMS = [
    Mean(rows("inflated", "generaliser", LARGE), "start_unseen", "accuracy on unseen mirrors", bounds=(0, 1)).exceeds(
        0.75, "There are generalisers at 2 ‖θ₀‖: the inflated ones answer over 75 % of unseen mirrors, by construction."
    ),
    kept(where(part="inflated", arm="generaliser"), "runs that lose at most 5 points", lambda source: source - 0.05)
    .is_all("Training does not leave them: inflated generalisers end at most 5 points below their source.", NAMED),
    kept(where(arm="generaliser"), "runs that keep half", lambda source: source / 2)
    .is_all("Nor along the ray: no generaliser, inflated or scaled, ends below half of its source's answers.", NAMED),
    Share(rows("scaled", "random", LARGE), lambda table: table["unseen"] < 0.1, "runs that end below 0.1")
    .is_all("Training does not come to them: random weights of norm 2 ‖θ₀‖ stay below 10 % of unseen mirrors.", NAMED),
    Mean(rows("scaled", "generaliser, 60°", LARGE), "unseen", UNSEEN, less=rows("scaled", "random", LARGE)).exceeds(
        0.1, "They have a wide basin: turned by 60° into noise at 2 ‖θ₀‖ they come back to over 10 points more than "
        "random weights do.",
    ),
    Mean(rows("scaled", "generaliser, 60°", 1.25), "unseen", UNSEEN, less=rows("scaled", "generaliser, 60°", LARGE))
    .exceeds(0.25, "The basin narrows with the norm: turned by 60° they end over 25 points higher at 1.25 than at 2."),
    Mean(rows("inflated", "generaliser, 30°", LARGE), "unseen", UNSEEN, less=rows("scaled", "generaliser, 30°", LARGE))
    .exceeds(0.1, "It is not the norm alone: at 2 ‖θ₀‖, turned by 30°, inflated ones end over 10 points above scaled."),
    Mean(rows("scaled", "memoriser", SMALL), "unseen", "accuracy on unseen mirrors", bounds=(0, 1))
    .exceeds(0.25, "At 0.9 ‖θ₀‖ training leaves memorisers: they end above 25 % of unseen mirrors."),
    Share(rows("scaled", "memoriser", LARGE), lambda table: table["unseen"] < 0.1, "runs that end below 0.1")
    .is_all("At 2 ‖θ₀‖ it does not: memorisers end below 10 % of unseen mirrors.", NAMED),
]  # fmt: skip
LATER = kept(where(part="longer"), "runs that keep half", lambda source: source / 2).is_all(
    "Nor in 2,000 steps: held at 2 ‖θ₀‖, generalisers as they are, inflated, or turned by 30° end above half of their "
    "source's answers.", NAMED,
)  # fmt: skip
STUDY = Studies(QUESTION, parts({}), claims=CLAIMS)
SOURCES = Study(QUESTION, BASE, FROM, rules=RULES, claims=CLAIMS)
QUICK = STUDY.with_(steps=4, eval_every=2, p=11, seeds=[0, 1])


def measured(run: Run) -> dict[str, Any]:
    """Where a run is held, what it starts from, where it ends."""
    first, last = run.history.iloc[0], run.history.iloc[-1]
    return {
        "alpha": round(run.config.leaves()["norm_radius"] / UNIT, 3),
        "start_train_acc": first["train_acc"],
        "start_train_loss": first["train_loss"],
        "start_unseen": first["test_mirror_unseen_acc"],
        "unseen": last["test_mirror_unseen_acc"],
        "unseen_half": run.history["test_mirror_unseen_acc"].asof(run.config.schedule.steps / 2),
    }


def draw(table: pd.DataFrame, at_large: Mapping[str, Mapping[str, list[Run]]], budget: int) -> "figures.Figure":
    """Accuracy on unseen mirrors at the end against norm; against angle; along runs at the largest norm."""
    figure, (norms, angles, along) = figures.sheet(1, 3, (13.5, 4.4))
    for form, style in {"scaled": "-", "inflated": "--"}.items():
        label = "{}" if form == "scaled" else "{} (inflated)"
        for arm, runs in at_large[form].items():
            of = where(part=form, arm=arm)(table)
            _draw_medians(norms, of, "alpha", COLOURS[arm], style, label.format(arm))
            curves = pd.concat([run.history["test_mirror_unseen_acc"] for run in runs], axis=1)
            along.plot(curves.index, curves.median(axis=1), color=COLOURS[arm], ls=style)
    turns = where(part="scaled", arm=lambda arm: arm.str.startswith("generaliser"))(table)
    turns = turns.assign(degrees=turns["arm"].map(SCALED))
    shades = (figures.SKY, figures.BLUE, figures.PURPLE, figures.RED)
    for alpha, shade in zip(ALPHAS, shades, strict=True):
        _draw_medians(angles, turns[turns["alpha"] == alpha], "degrees", shade, "-", f"held at {alpha:g} ‖θ₀‖")
    figures.values_axis(norms, ALPHAS, "held norm, in units of ‖θ₀‖")
    norms.set_ylabel("accuracy on unseen mirrors, at the end (medians, seeds)")
    angles.set(xlabel="generaliser turned by (degrees) before", xticks=sorted(set(SCALED.values())))
    angles.set_ylabel("accuracy on unseen mirrors, at the end (medians, seeds)")
    along.set(xlabel=f"step, held at {LARGE:g} ‖θ₀‖", xlim=(0, budget), ylabel="accuracy on unseen mirrors (medians)")
    for ax in (norms, angles, along):
        ax.set_ylim(-0.03, 1.03)
    figures.legends([norms, angles])
    return figure


def _draw_medians(ax: Any, of: pd.DataFrame, x: str, colour: str, style: str, label: str) -> None:
    middle = of.groupby(x)["unseen"].median()
    ax.plot(middle.index, middle, color=colour, ls=style, label=label)
    ax.plot(of[x], of["unseen"], ".", color=colour, ms=3, alpha=0.5)


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds, few steps")
    sources = SOURCES.with_seeds(study.all_seeds)
    if given.quick:
        sources = sources.with_(p=11, arms={name: leaves | {"steps": 4} for name, leaves in FROM.items()})
    by_source = sources.grouped(sources.train(given))
    arms = parts(written(by_source, given.out / "runs" / "starts"))
    study = study.with_({name: {"arms": arms[name].arms} for name in study.parts})
    runs = study.train(given)
    answers = {run.config.init.seed: run.history["test_mirror_unseen_acc"].iloc[-1] for run in by_source["generaliser"]}
    table = study.table(runs, measured)
    table["source_unseen"] = table["seed"].map(answers)
    own = {
        name: [run.history.iloc[-1][["norm", "train_acc", "test_mirror_unseen_acc"]].tolist() for run in of]
        for name, of in by_source.items()
    }
    means = pd.DataFrame({name: pd.DataFrame(of).mean() for name, of in own.items()}).T
    began = table.groupby(["part", "arm", "alpha"])[["start_train_acc", "start_unseen", "unseen_half", "unseen"]].mean()
    notes = [
        "An inflated copy that is not turned computes what it did: that it generalises is no finding, that it stays is "
        "one as far as there is anything to learn (its training loss is small). Turned copies have lost the function.",
        f"Held norms {', '.join(f'{r:g} ({alpha:g} ‖θ₀‖)' for r, alpha in zip(RADII, ALPHAS, strict=True))}. Sources, "
        "means over seeds of norm, training accuracy, accuracy on unseen mirrors: "
        f"{listed(means, '{}: {:.1f}, {:.3f}, {:.3f}', '; ')}. No inflation goes below a network's own norm.",
        "Training accuracy and unseen mirrors at the start, unseen mirrors half-way and at the end, means over seeds: "
        f"{listed(began, '{} {} at {:g}: {:.2f}, {:.2f}, {:.2f}, {:.2f}', '; ')}.",
    ]
    at_large = {form: study.grouped(runs, part=form, norm_radius=RADII[-1]) for form in ("scaled", "inflated")}
    figure = draw(table, at_large, study.parts["scaled"].base.schedule.steps)
    study.write(given, table, figure, notes, made=[LATER])


if __name__ == "__main__":
    main()
