"""Is the gap between train and test accuracy at large radii there only for small training sets?

On the sphere of radius alpha * |theta_0| (no weight decay, held from step 0) networks fit training sets of
several sizes. Two tasks: addition modulo 29 by a transformer, where the size is the share of the pairs, and
Omnigrok's dense network with mean squares on scikit-learn's digits, where the test images are the same for
every size. A gap counts only where the training set is fitted; radii at which it is not are shown as such.

    python analyses/alpha_by_train_size.py            # the full grid: minutes
    python analyses/alpha_by_train_size.py --quick    # a smaller one: seconds
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.study.claims import Found, Quantity, Share, where
from circuitgrok.study.evidence import Declared
from circuitgrok.study.intervals import Interval, mean_interval
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import at_ends
from circuitgrok.study.study import Studies, Study, evenly

FITTED = 0.99  # final train accuracy from which a gap counts
RISE, FLAT = 0.20, 0.05  # of the gap, from the reference radius to the largest: what is a rise, and what is none
REFERENCE = {"addition": 0.9, "digits": 1.0}  # the radius that larger ones are compared with
HELD = {"fixed_norm": True, "weight_decay": 0.0}
ADDITION = cg.TrainConfig.preset("quickstart").with_(**HELD, steps=1500, eval_every=10, **evenly(1500))
DIGITS = cg.TrainConfig.preset("omnigrok-digits").with_(
    **HELD, steps=1800, eval_every=50, **evenly(1800), precision="float32", n_test=700
)
ON = {
    "addition": Study(
        "Is it so where the size is a share of the pairs of an addition?", ADDITION, {"sphere": {}},
        {"frac_train": [0.35, 0.5, 0.65, 0.8], "alpha": [0.6, 0.9, 1.2, 1.6, 2.2]},
    ),
    "digits": Study(
        "Is it so for images of digits?", DIGITS, {"sphere": {}},
        {"n_train": [50, 100, 300, 1000], "alpha": [0.5, 1.0, 2.0, 4.0, 8.0]},
    ),
}  # fmt: skip
FEW = {
    "addition": {"steps": 40, "grid": {"frac_train": [0.35, 0.65], "alpha": [0.9, 2.2]}},
    "digits": {"steps": 80, "grid": {"n_train": [50, 100], "alpha": [1.0, 2.0]}},
}
COLOURS = (figures.BLUE, figures.GREEN, figures.ORANGE, figures.RED, figures.PURPLE)


@dataclass(frozen=True)
class Rise(Quantity):
    """By how much the gap grows from the reference radius to the largest that every seed fits, paired by seed.

    Attributes:
        task: Of this task.
        sizes: Which size of the training set, 0 the smallest, -1 the largest; of two, the difference of the rises.
    """

    task: str
    sizes: Sequence[int]

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]: others have it as a field
        """What it is, for people."""
        return "difference of the rises" if len(self.sizes) > 1 else "rise"

    def found(self, table: pd.DataFrame) -> Found:
        """The mean rise, or the mean difference of two."""
        rows, start = where(task=self.task)(table), REFERENCE[self.task]
        sizes = [sorted(set(rows["n_train"]))[i] for i in self.sizes]
        fits = rows[rows["n_train"].isin(sizes)].groupby("alpha")["fitted"].all()
        end = max(fits[fits].index, default=start)
        if end <= start or not fits[start]:
            on = " and on ".join(map(str, sizes))
            return Found(None, f"no radius above the reference is fitted in time by every seed on {on}", 0, True)
        gaps = [where(n_train=n)(rows).pivot(index="seed", columns="alpha") for n in sizes]
        risen = {of: [gap[of, end] - gap[of, start] for gap in gaps] for of in ("gap", "best_gap")}
        last, best = ((of[0] - sum(of[1:])).tolist() for of in risen.values())
        most = 2.0 * len(sizes)  # a gap lies between -1 and 1

        def at(level: float, values: list[float] = last) -> Interval:
            return mean_interval(values, level, (-most, most))

        means = [f"{gap['gap', start].mean():.3f} to {gap['gap', end].mean():.3f}" for gap in gaps]
        told = ", ".join(f"{mean} on {n}" for mean, n in zip(means, sizes, strict=True))
        said = f"{self.name} from α = {start:g} to {end:g}, the largest that all fit, {at(0.95)} (mean gap {told}); "
        return Found(at, f"{said}with the best values of each run {at(0.95, best)}", len(last))


def claims(task: str) -> list[Declared]:
    """The rise at the smallest size, none at the largest, their difference, and whether the largest radius fits."""
    on, widest = task.capitalize(), at_ends(where(task=task), alpha=max)
    return [
        Rise(task, [0])
        .exceeds(RISE, f"{on}: on the smallest training set the gap rises with the radius, by 20 points or more."),
        Rise(task, [-1])
        .falls_below(FLAT, f"{on}: on the largest the gap does not rise with the radius by more than 5 points."),
        Rise(task, [0, -1])
        .exceeds(0, f"{on}: the gap rises more on the smallest than on the largest, at the same radii."),
        Share(widest, lambda rows: rows["fitted"], "runs that fit")
        .is_all(f"{on}: at the largest radius every run fits its training set within the budget."),
    ]  # fmt: skip


CLAIMS = [*claims("addition"), *claims("digits")]
STUDY = Studies("Is the train/test gap at large radii there only for small training sets?", ON, "task", CLAIMS)
QUICK = STUDY.with_(FEW, seeds=[0, 1])


def draw(table: pd.DataFrame, study: Studies) -> "figures.Figure":
    """The gap over radius and size, grey where not all seeds fitted; test accuracy against radius for every size."""
    figure, axes = figures.sheet(2, 2, (10.5, 7.6))
    radius = "held norm, in units of α = ‖θ‖/‖θ₀‖"
    for (left, right), (task, part) in zip(axes, study.parts.items(), strict=True):
        rows = where(task=task)(table)
        values = ("gap", "fitted", "train_acc")  # means over seeds
        gap, fitted, train = (rows.pivot_table(index="n_train", columns="alpha", values=of) for of in values)
        grey = "fitted " + fitted.map("{:.0%}".format) + "\ntrain " + train.map("{:.2f}".format)
        image = figures.draw_cells(left, gap.where(fitted == 1), grey.where(fitted < 1, gap.map("{:.2f}".format)))
        left.set(xlabel=radius, ylabel="training examples")
        left.set_title(f"{part.base.task.formula}: train minus test accuracy", fontsize=9)
        figure.colorbar(image, ax=left, label="gap at the end (mean over seeds)")
        figures.draw_groups(right, rows, "n_train", "alpha", "test_acc", COLOURS, label="test, {} to train on")
        figures.draw_groups(right, rows, "n_train", "alpha", "train_acc", COLOURS, "--", "_")
        right.plot([], [], color=figures.GREY, ls="--", label="train")
        figures.values_axis(right, rows["alpha"].tolist(), radius)
        right.set(ylim=(-0.02, 1.04), ylabel="final accuracy (median and range over seeds)")
        figures.legend_above(right, 3)
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "a small grid")
    table = study.table(study.train(given), lambda run: {"n_train": run.config.task.n_train})
    table["gap"] = table["train_acc"] - table["test_acc"]
    table["best_gap"] = table["best_train_acc"] - table["best_test_acc"]
    table["fitted"] = table["train_acc"] >= FITTED
    missed = table[~table["fitted"]].groupby(["task", "n_train", "alpha"])["best_train_acc"].agg(["size", "min", "max"])
    notes = [
        f"Not fitted (train accuracy below {FITTED:g} at the end), how many and with which best train accuracies: "
        f"{listed(missed, '{} {}, α {:g}: {}, {:.2g} to {:.2g}', '; ')}. A radius is compared only where every seed "
        "fits.",
        "The test images of the digits are the same for every size; the more pairs of an addition are trained on, the "
        "more test pairs (a, b) have their mirror (b, a) among them. Omnigrok plots the best values of each run.",
    ]
    study.write(given, table, draw(table, study), notes)


if __name__ == "__main__":
    main()
