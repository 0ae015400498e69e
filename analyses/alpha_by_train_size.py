"""Is the gap between train and test accuracy at large radii there only for small training sets?

On the sphere of radius alpha * |theta_0| (no weight decay, held from step 0) networks fit training sets of
several sizes. Two tasks: addition modulo 29 by a transformer, where the size is the share of the pairs, and
Omnigrok's dense network with mean squares on scikit-learn's digits, where the test images are the same for
every size. A gap counts only where the training set is fitted; radii at which it is not are shown as such.

    python analyses/alpha_by_train_size.py            # the full grid: minutes
    python analyses/alpha_by_train_size.py --quick    # a smaller one: seconds
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, above, below, mean_interval
from circuitgrok.training.progress import LiveProgress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = "Is the train/test gap at large radii there only for small training sets?"
FITTED = 0.99  # final train accuracy from which a gap counts
RISE, FLAT = 0.20, 0.05  # of the gap, from the reference radius to the largest: what is a rise, and what is none
COLOURS = (figures.BLUE, figures.GREEN, figures.ORANGE, figures.RED, figures.PURPLE)


class Arm(NamedTuple):
    """A task with the grid that it is asked on.

    Attributes:
        base: What all runs share.
        size: The leaf that sets the size of the training set.
        sizes: Its values, from small to large.
        alphas: Radii, in units of the initial norm, from small to large.
        reference: The radius near 1 that larger ones are compared with.
    """

    base: cg.TrainConfig
    size: str
    sizes: list[float]
    alphas: list[float]
    reference: float


def arms(quick: bool) -> dict[str, Arm]:
    """Both tasks, on the sphere."""
    held = {"fixed_norm": True, "weight_decay": 0.0, "checkpoint_on_move": 100.0, "checkpoints_per_decade": 0}
    addition = cg.TrainConfig.preset("quickstart").with_(**held, **_schedule(40 if quick else 1500), eval_every=10)
    digits = cg.TrainConfig.preset("omnigrok-digits").with_(
        **held, **_schedule(80 if quick else 1800), eval_every=50, precision="float32", n_test=700
    )
    if quick:
        return {
            "addition": Arm(addition, "frac_train", [0.35, 0.65], [0.9, 2.2], 0.9),
            "digits": Arm(digits, "n_train", [50, 100], [1.0, 2.0], 1.0),
        }
    return {
        "addition": Arm(addition, "frac_train", [0.35, 0.5, 0.65, 0.8], [0.6, 0.9, 1.2, 1.6, 2.2], 0.9),
        "digits": Arm(digits, "n_train", [50, 100, 300, 1000], [0.5, 1.0, 2.0, 4.0, 8.0], 1.0),
    }


def _schedule(steps: int) -> dict[str, int]:
    return {"steps": steps, "checkpoint_every": steps}


def configs(arm: Arm, task: str, seeds: list[int]) -> dict[str, cg.TrainConfig]:
    """Every size, radius and seed; a seed sets the initial direction and the split."""
    return {
        f"{task}-n{size:g}-a{alpha:g}-s{seed}": arm.base.with_(
            alpha=alpha, seed=seed, data_seed=seed, **{arm.size: size}
        )
        for size in arm.sizes
        for alpha in arm.alphas
        for seed in seeds
    }


def row(task: str, run: Run) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    history, config = run.history, run.config
    times = {f"{name}_by": math.nan if event.by is None else event.by for name, event in events(history).items()}
    last, best = history.iloc[-1], history.max()
    return {
        "task": task,
        "n_train": config.task.n_train,
        "alpha": config.init.alpha,
        "seed": config.init.seed,
        "r0": run.manifest["start"]["norm"],
        "final_norm": last["norm"],
        "state": run.state,
        "train_acc": last["train_acc"],
        "test_acc": last["test_acc"],
        "best_train_acc": best["train_acc"],
        "best_test_acc": best["test_acc"],
        "gap": last["train_acc"] - last["test_acc"],
        "best_gap": best["train_acc"] - best["test_acc"],
        "fitted": bool(last["train_acc"] >= FITTED),
        **times,
    }


def fitted_by_all(rows: pd.DataFrame) -> set[tuple[int, float]]:
    """The cells (n_train, alpha) in which every seed fitted."""
    cells = rows.groupby(["n_train", "alpha"])["fitted"].all()
    return {(int(n), float(alpha)) for n, alpha in cells[cells].index}


def rise(rows: pd.DataFrame, n: int, alphas: tuple[float, float], column: str = "gap") -> pd.Series:
    """By how much the gap grows from the first radius to the second at one size, by seed."""
    gaps = rows[rows["n_train"] == n].pivot(index="seed", columns="alpha", values=column)
    return gaps[alphas[1]] - gaps[alphas[0]]


def claims(table: pd.DataFrame, grids: dict[str, Arm]) -> list[Claim]:
    """For each task: the rise at the smallest size, none at the largest, their difference, and what fits at all."""
    made = []
    for task, arm in grids.items():
        rows = table[table["task"] == task]
        fits, small, large = fitted_by_all(rows), int(rows["n_train"].min()), int(rows["n_train"].max())
        on = "Addition" if task == "addition" else "Digits"

        def top(sizes: list[int], arm: Arm = arm, fits: set[tuple[int, float]] = fits) -> tuple[float, float] | None:
            every = [a for a in arm.alphas if all({(n, a), (n, arm.reference)} <= fits for n in sizes)]
            return (arm.reference, every[-1]) if every and every[-1] > arm.reference else None

        for n, text, decide in (
            (small, f"the gap rises with the radius, by {100 * RISE:.0f} points or more", lambda x: above(x, RISE)),
            (
                large,
                f"the gap does not rise with the radius by more than {100 * FLAT:.0f} points",
                lambda x: below(x, FLAT),
            ),
        ):
            text = f"{on}: on {n} training examples {text}."
            made.append(_risen(text, rows, [n], top([n]), decide))
        text = f"{on}: the gap rises more on {small} than on {large} training examples, at the same radii."
        made.append(_risen(text, rows, [small, large], top([small, large]), lambda x: above(x, 0.0)))
        widest = rows[rows["alpha"] == arm.alphas[-1]]
        missed = widest[~widest["fitted"]].groupby("n_train").size()
        made.append(
            Claim(
                f"{on}: at the largest radius (α = {arm.alphas[-1]:g}) every run fits its training set within the "
                "budget.",
                f"{int(widest['fitted'].sum())} of {len(widest)} runs fit"
                + "".join(f"; not on {n}: {k}, best train accuracy {_best(widest, n)}" for n, k in missed.items()),
                "holds" if missed.empty else "fails",
            )
        )  # fmt: skip
    return made


def _best(rows: pd.DataFrame, n: object) -> str:
    found = rows[(rows["n_train"] == n) & ~rows["fitted"]]["best_train_acc"]
    return f"{found.min():.3g} to {found.max():.3g}"


def _risen(text: str, rows: pd.DataFrame, sizes: list[int], alphas: tuple[float, float] | None, decide) -> Claim:
    """A claim about a rise, or about the difference of two; undecided where no larger radius is fitted."""
    if alphas is None:
        where = " and on ".join(map(str, sizes))
        return Claim(text, f"no radius above the reference is fitted by every seed on {where}", "undecided")
    measured = {}
    for column in ("gap", "best_gap"):
        risen = [rise(rows, n, alphas, column) for n in sizes]
        measured[column] = mean_interval((risen[0] - risen[1] if len(risen) == 2 else risen[0]).tolist())
    means = ", ".join(
        f"{_mean_gap(rows, n, alphas[0]):.3f} to {_mean_gap(rows, n, alphas[1]):.3f} on {n}" for n in sizes
    )
    what = "difference of the rises" if len(sizes) == 2 else "rise"
    return Claim(
        text,
        f"{what} from α = {alphas[0]:g} to {alphas[1]:g}, the largest that all fit, {measured['gap']} (mean gap "
        f"{means}); with the best values of each run {measured['best_gap']}",
        decide(measured["gap"]),
    )


def _mean_gap(rows: pd.DataFrame, n: int, alpha: float) -> float:
    return rows[(rows["n_train"] == n) & (rows["alpha"] == alpha)]["gap"].mean()


def draw(table: pd.DataFrame, grids: dict[str, Arm]) -> "figures.Figure":
    """The gap over radius and size, and test accuracy against radius for every size."""
    figure, axes = figures.sheet(2, 2, (10.5, 7.6))
    for (left, right), (task, arm) in zip(axes, grids.items(), strict=True):
        rows = table[table["task"] == task]
        image = _heat_map(left, rows)
        left.set_title(f"{arm.base.task.formula}: train minus test accuracy", fontsize=9)
        figure.colorbar(image, ax=left, label="gap at the end (mean over seeds)")
        for (n, of_size), colour in zip(rows.groupby("n_train"), COLOURS, strict=False):
            figures.draw_seeds(right, of_size, "alpha", "test_acc", colour, "-", f"test, {n} to train on")
            middle = of_size.groupby("alpha")["train_acc"].median()
            right.plot(middle.index, middle, color=colour, ls="--", lw=1)
        right.plot([], [], color=figures.GREY, ls="--", lw=1, label="train")
        right.set_xscale("log", base=2)
        right.set_xticks(arm.alphas, [f"{alpha:g}" for alpha in arm.alphas])
        right.minorticks_off()
        right.set_ylim(-0.02, 1.04)
        right.set_xlabel("held norm, in units of α = ‖θ‖/‖θ₀‖")
        right.set_ylabel("final accuracy (median and range over seeds)")
        figures.legend_above(right, 3)
    return figure


def _heat_map(ax: "Axes", rows: pd.DataFrame):
    """Mean gap of every cell that all seeds fitted; the others are grey and say what was fitted."""
    fits, seeds = fitted_by_all(rows), rows["seed"].nunique()
    sizes, alphas = (sorted(set(rows[column])) for column in ("n_train", "alpha"))
    shown = [[math.nan] * len(alphas) for _ in sizes]
    for i, n in enumerate(sizes):
        for j, alpha in enumerate(alphas):
            of_cell = rows[(rows["n_train"] == n) & (rows["alpha"] == alpha)]
            if (n, alpha) in fits:
                gap = shown[i][j] = _mean_gap(rows, n, alpha)
                note, colour = f"{gap:.2f}", "white" if gap < 0.5 else "black"
            else:
                note = f"fitted {int(of_cell['fitted'].sum())} of {seeds}\ntrain {of_cell['train_acc'].mean():.2f}"
                colour = "black"
            ax.text(j, i, note, ha="center", va="center", fontsize=7, color=colour)
    ax.set_facecolor("#d9d9d9")
    image = ax.imshow(shown, origin="lower", vmin=0, vmax=1, cmap="cividis", aspect="auto")
    ax.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    ax.set_yticks(range(len(sizes)), [str(n) for n in sizes])
    ax.set_xlabel("held norm, in units of α = ‖θ‖/‖θ₀‖")
    ax.set_ylabel("training examples")
    ax.grid(False)
    return image


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "a small grid")
    seeds, grids = ([0, 1] if given.quick else [0, 1, 2]), arms(given.quick)
    lines = []
    for task, arm in grids.items():
        grid = configs(arm, task, seeds)
        runs = cg.train(
            list(grid.values()), given.out / "runs", names=list(grid), progress=LiveProgress(), threads=given.threads
        )
        lines += [row(task, run) for run in runs]
    table = pd.DataFrame(lines)
    addition, digits = (grids[task].base for task in ("addition", "digits"))
    scale = {task: (rows["r0"] / rows["alpha"]).mean() for task, rows in table.groupby("task")}
    of_addition, of_digits = addition.leaves(), digits.leaves()
    shape = "-".join(str(of_digits[name]) for name in ("n_in", "width", "width", "n_out"))
    missed = [
        f"{line['task']} on {line['n_train']}, α {line['alpha']:g}: {line['runs']}"
        for line in table[~table["fitted"]]
        .groupby(["task", "n_train", "alpha"])
        .size()
        .reset_index(name="runs")
        .to_dict("records")
    ]
    notes = [
        "Norm held globally after every step, from step 0, at the initial norm α‖θ₀‖; no weight decay. "
        f"Addition: {addition.task.formula}, {_listed(table, 'addition')} of {addition.task.n_pairs} pairs to train on "
        f"and the others to test; quickstart: one layer, d_model {of_addition['d_model']}, d_mlp "
        f"{of_addition['d_mlp']}, cross-entropy, AdamW {addition.optimizer.lr:g}; base init "
        f"{addition.init.scheme}, ‖θ₀‖ = {scale['addition']:.2f}; {addition.schedule.steps} steps.",
        f"Digits: scikit-learn's, {_listed(table, 'digits')} images to train on, the same {of_digits['n_test']} to "
        f"test on for every size; dense {shape} {of_digits['act']}, mean squares, full batch, AdamW "
        f"{digits.optimizer.lr:g} with beta2 {digits.optimizer.beta2:g}, {digits.numerics.precision}; base init "
        f"{digits.init.scheme}, ‖θ₀‖ = {scale['digits']:.2f}; {digits.schedule.steps} steps.",
        f"{len(table)} runs, seeds {seeds}; a seed sets direction and split. Fitted: train accuracy {FITTED:g} or more "
        f"at the end; a radius is compared only where every seed fits. Intervals are 95 % over seeds, rises paired by "
        f"seed. Times in the table: held at {HOLD + 1} evaluations in a row, every {addition.schedule.eval_every} "
        f"(digits {digits.schedule.eval_every}) steps. Omnigrok plots the best values of each run.",
        "The more pairs of an addition are trained on, the more test pairs (a, b) have their mirror (b, a) among them.",
        "Not fitted: " + (", ".join(missed) or "none") + f" (of {len(seeds)} each).",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]
    verdicts.write(given.out, QUESTION, claims(table, grids), notes, table, draw(table, grids))
    print((given.out / "verdict.md").read_text())


def _listed(table: pd.DataFrame, task: str) -> str:
    return ", ".join(str(n) for n in sorted(set(table[table["task"] == task]["n_train"])))


if __name__ == "__main__":
    main()
