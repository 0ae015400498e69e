"""Is a small norm what generalises, or is that a property of the task?

Teachers and students: the answers of a tanh network whose weights are multiplied by teacher_alpha, learned by
students held at a grid of radii, and by free ones under decays. If the task decides, the best radius goes with the
teacher. Sparse parity: what does the norm do between memorising and generalising, without decay and with it? The
control is a table of random labels, which no radius can make generalise.

    python analyses/large_norm_generalisers.py            # ten seeds; --dry-run says how long
    python analyses/large_norm_generalisers.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.minima import log_slope, minima
from circuitgrok.study.rows import at_events, listed
from circuitgrok.study.selections import at_ends, by_seed
from circuitgrok.study.study import Studies, Study, evenly
from circuitgrok.tasks.teacher_student import TeacherStudent

TOLERANCE = 0.01  # of the labels' mean square: an answer of a student counts as right
PREDICTED, SPREAD = 1.0, 0.2  # of the slope of log best radius on log teacher_alpha
WORSE = 2.0  # factor of the test loss from which a radius is a wrong one
CLASSES = 29  # of the control
COLOURS = (figures.SKY, figures.BLUE, figures.GREEN, figures.ORANGE, figures.RED)
DECAYS = (figures.BLUE, figures.ORANGE, figures.RED)
STUDENT = cg.TrainConfig.preset("omnigrok-teacher").with_(
    alpha=1.0, lr=1e-3, weight_decay=0.0, steps=2500, eval_every=41, n_test=500, **evenly(3000)
)
PARITY = cg.TrainConfig.preset("parity").with_(
    n_bits=16, n_train=400, n_test=500, width=128, scheme="torch", lr=0.01, steps=3000, eval_every=5, **evenly(3000)
)
RANDOM = cg.TrainConfig.preset("quickstart").with_(
    operation="random", fixed_norm=True, weight_decay=0.0, steps=1000, **evenly(3000)
)


def drawn_apart(cell: cg.TrainConfig) -> dict[str, Any]:
    """Seeds of teacher and inputs: with one for all a student's weights would be drawn as its teacher's were."""
    seed, scale = cell.init.seed, TeacherStudent(teacher_alpha=cell.leaves()["teacher_alpha"]).label_scale
    return {"teacher_seed": 1000 + seed, "data_seed": 2000 + seed, "tolerance": TOLERANCE * scale**2}


TEACHERS, RADII = [0.5, 1.0, 2.0, 3.0, 4.0], [round(0.25 * 1.5**i, 3) for i in range(8)]
QUESTION = "Is a small norm what generalises, or is that a property of the task?"
FAMILIES = {
    "held": Study(
        "Which radius is best for which teacher?", STUDENT.with_(fixed_norm=True), {"student": drawn_apart},
        {"teacher_alpha": TEACHERS, "alpha": RADII}, seeded=["seed"],
    ),
    "free": Study(
        "Which decay is good for which teacher?", STUDENT, {"student": drawn_apart},
        {"teacher_alpha": TEACHERS, "weight_decay": [0.0, 0.05, 0.5]}, seeded=["seed"],
    ),
    "parity": Study(
        "What does the norm do before parity is generalised?", PARITY, {"free": {}},
        {"weight_decay": [0.0, 0.3, 1.0]},
    ),
    "random": Study(
        "Does any radius generalise what cannot be?", RANDOM, {"held": {}}, {"alpha": [0.5, 0.9, 2.0]},
        seeded=["seed", "data_seed", "label_seed"],
    ),
}  # fmt: skip
FEW = {
    "held": {"grid": {"teacher_alpha": [0.5, 2.0], "alpha": [0.375, 0.844, 1.898]}, "eval_every": 1},
    "free": {"grid": {"teacher_alpha": [0.5, 2.0], "weight_decay": [0.0, 0.5]}, "eval_every": 1},
    "parity": {"grid": {"weight_decay": [0.0, 1.0]}},
    "random": {"grid": {"alpha": [0.5, 2.0]}, "steps": 20},
}
held, free, parity = (where(family=family) for family in ("held", "free", "parity"))


def best_radii(table: pd.DataFrame, column: str = "test_share") -> pd.DataFrame:
    """The best held radius for each teacher and seed (`at`)."""
    return minima(held(table), ["teacher_alpha", "seed"], "final_norm", column)


def slopes(column: str = "test_share") -> Selection:
    """Slope of log best radius on log teacher_alpha by seed; nan where one of the radii is at an edge of the grid."""

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        best = best_radii(table, column)
        best["at"] = best["at"].where(~best["is_edge"])
        found = {seed: log_slope(*of[["teacher_alpha", "at"]].to_numpy().T) for seed, of in best.groupby("seed")}
        lines = [{"seed": seed, "slope": slope, "excess": slope - PREDICTED} for seed, slope in found.items()]
        return pd.DataFrame(lines)

    return chosen


def elsewhere(own: Callable[..., float], other: Callable[..., float]) -> Selection:
    """By seed a teacher's losses at the radius that is best for another, and its own least, on the grid."""

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        mine, others = (at_ends(held, teacher_alpha=end)(table) for end in (own, other))
        there = others.loc[others.fillna({"test_share": math.inf}).groupby("seed")["test_share"].idxmin()]
        moved = mine.merge(there[["seed", "alpha"]])
        return moved.assign(least=moved["seed"].map(mine.groupby("seed")["test_share"].min()))

    return chosen


smallest, largest = (
    [at_ends(free, teacher_alpha=teacher, decay=decay) for decay in (max, min)] for teacher in (min, max)
)
UNDER = "test loss under it over that without"
none, most = at_ends(parity, decay=min), at_ends(parity, decay=max)
control = by_seed(where(family="random"), train_acc="max", test_acc="max")
CLAIMS = [
    Mean(slopes(), "slope", "slope of the logarithms")
    .exceeds(0, "The norm at which students generalise best goes with the teacher's: it grows with teacher_alpha.")
    .telling(*[Mean(slopes(f"test_share_{of}"), "slope", f"after a {of} of the steps") for of in ("quarter", "half")]),
    Mean(slopes(), "excess", f"slope minus {PREDICTED:g}").is_within(
        SPREAD, f"It is proportional to teacher_alpha: slope of the logarithms {PREDICTED:g} ± {SPREAD:g}."
    ),
    Factor(elsewhere(max, min), "test_share", "ratio", by="least").exceeds(
        WORSE, "A small norm that is right for one task is wrong for another: at the best radius of the smallest "
        f"teacher students of the largest have over {WORSE:g} times their least test loss.",
    ).telling(Factor(elsewhere(max, min), "train_share", "their training loss there over that", by="least")),
    Factor(elsewhere(min, max), "test_share", "ratio", by="least").exceeds(
        WORSE, "And the other way round: at the best radius of the largest teacher students of the smallest have over "
        f"{WORSE:g} times their least test loss.",
    ),
    Factor(smallest[0], "test_share", UNDER, over=smallest[1])
    .falls_below(1, "The largest decay helps free students of the smallest teacher, from α = 1."),
    Factor(largest[0], "test_share", UNDER, over=largest[1])
    .exceeds(1, "The largest decay hurts free students of the largest teacher, from α = 1."),
    Factor(largest[1], "final_norm", "final over initial norm", by="r0")
    .exceeds(1.1, "Left alone, students of the largest teacher grow: their norm rises by more than a tenth."),
    *[
        Factor(rows, "norm_grokked", "norm then over norm before", by="norm_memorised")
        .exceeds(1, f"Parity {how}: the norm is larger at generalisation than at memorisation.")
        for rows, how in ((none, "without decay"), (most, "under the largest decay"))
    ],
    Factor(none, "norm_grokked", "ratio of the norms at generalisation", over=most)
    .exceeds(1.5, "Parity is generalised at no one norm: without decay at over 1.5 times that under the largest."),
    Ratio(most, none, name="T_grok under decay over that without")
    .falls_below(1, "The largest decay hastens parity all the same."),
    Mean(control, "test_acc", "largest final test accuracy over the radii", bounds=(0, 1)).falls_below(
        2 / CLASSES, "Control: random labels generalise at no radius; test accuracy stays below twice chance, "
        f"{2 / CLASSES:.3f}.",
    ).telling(Mean(control, "train_acc", "train accuracy", bounds=(0, 1))),
]  # fmt: skip


STUDY = Studies(QUESTION, FAMILIES, "family", CLAIMS)
QUICK = STUDY.with_(FEW, seeds=[0, 1], steps=60)


def measures(run: Run) -> dict[str, Any]:
    """Radius, decay, final losses, the norm at the events; of students the losses over the labels' variance."""
    last, task, losses = run.history.iloc[-1], run.config.task, run.history["test_loss"]
    line = {"alpha": run.config.init.alpha, "decay": run.config.optimizer.weight_decay}
    line |= {of: last[of] for of in ("train_loss", "test_loss")} | at_events(run, "norm")
    if isinstance(task, TeacherStudent):
        variance = run.task.labels[run.task.where("test")].var(0, correction=0).mean().item()
        line |= {"label_variance": variance, "train_share": last["train_loss"] / variance}
        line |= {"test_share": last["test_loss"] / variance}
        for name, share in {"quarter": 0.25, "half": 0.5}.items():
            line[f"test_share_{name}"] = losses.asof(share * run.config.schedule.steps) / variance
    return line


def draw(table: pd.DataFrame, by_decay: Mapping[float, list[Run]]) -> "figures.Figure":
    """Loss against held radius, best radius against teacher, decay, parity's norm and accuracy, the control."""
    figure, axes = figures.sheet(2, 3, (13, 7.6))
    students, loose, random = (where(family=family)(table) for family in ("held", "free", "random"))
    figures.draw_groups(axes[0, 0], students, "teacher_alpha", "alpha", "test_share", COLOURS, "-", "teacher {:g}")
    figures.draw_groups(axes[0, 0], students, "teacher_alpha", "alpha", "train_share", COLOURS, ":", "_")
    best = best_radii(table)
    figures.draw_seeds(axes[0, 1], best, "teacher_alpha", "at", figures.BLUE, "-", "best radius")
    middle = best.groupby("teacher_alpha")["at"].median()
    line = middle.iloc[0] * middle.index / middle.index[0]
    axes[0, 1].plot(middle.index, line, color=figures.GREY, ls="--", label="proportional")
    axes[0, 1].axhline(loose["r0"].mean(), color=figures.GREY, ls=":", lw=0.8, label="‖θ₀‖ at α = 1")
    figures.draw_groups(axes[0, 2], loose, "decay", "teacher_alpha", "test_share", DECAYS, label="free, decay {:g}")
    for (decay, runs), colour in zip(by_decay.items(), DECAYS, strict=False):
        for ax, column in ((axes[1, 0], "norm"), (axes[1, 1], "test_acc")):
            figures.draw_band(ax, [run.history[column] for run in runs], colour, "-", f"decay {decay:g}")
            figures.step_axis(ax, runs[0].config.schedule.steps)
        for event, marker in {"memorised": "s", "grokked": "o"}.items():
            rows = parity(table)[lambda rows, decay=decay: rows["decay"] == decay]
            axes[1, 0].plot(rows[f"{event}_by"], rows[f"norm_{event}"], marker, color=colour, ms=5, mfc="white")
    for column, colour, style in (("train_acc", figures.GREY, "--"), ("test_acc", figures.RED, "-")):
        figures.draw_seeds(axes[1, 2], random, "alpha", column, colour, style, f"random labels, {column[:-4]}")
    axes[1, 2].axhline(1 / CLASSES, color=figures.GREY, ls=":", lw=0.8, label="chance")
    share = "mean squared error / variance of the labels"
    held_norm, teachers = "held norm, in units of α = ‖θ‖/‖θ₀‖", students["teacher_alpha"].tolist()
    for ax, ticks, x, y in (
        (axes[0, 0], students["alpha"].tolist(), held_norm, f"{share}\n(dotted: train)"),
        (axes[0, 1], teachers, "teacher_alpha", "held norm of least test loss"),
        (axes[0, 2], teachers, "teacher_alpha", f"test {share}"),
        (axes[1, 2], random["alpha"].tolist(), held_norm, "final accuracy"),
    ):
        figures.values_axis(ax, ticks, x)
        ax.tick_params(axis="x", labelsize=7)
        ax.set_ylabel(y)
    for ax in axes[0]:
        ax.set_yscale("log")
    axes[1, 0].set_ylabel("parity: weight norm r (□ memorised, ○ generalised)")
    axes[1, 1].set_ylabel("parity: test accuracy")
    figures.legends(axes.flat)
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two teachers, few radii, few steps")
    runs = study.train(given)
    table = study.table(runs, measures)
    scales = held(table).groupby("teacher_alpha")["label_variance"].mean()
    radii = best_radii(table).groupby("teacher_alpha")["at"].median()
    notes = [
        "Students are tanh networks 5-100-100-5 like their teachers, whose weights are the default init of torch "
        "times teacher_alpha; their norm is held globally after every step. Losses are those of the last step over "
        f"the variance of the test labels ({listed(scales, '{:g}: {:.3g}')}).",
        f"Best radius, median by teacher: {listed(radii, '{:g}: {:.3g}')}. It is the minimum of a parabola in "
        "logarithms through the least test loss on the grid and its neighbours; a minimum at an edge of the grid is "
        "not known, and then nothing is decided.",
        "Seeds of student, teacher and inputs are drawn apart. r is the plain norm of all trained weights; the least "
        "norm over the rescalings of ReLU neurons is not taken.",
    ]
    by_decay = study.grouped(runs, "weight_decay", family="parity")
    study.write(given, table, draw(table, by_decay), notes)


if __name__ == "__main__":
    main()
