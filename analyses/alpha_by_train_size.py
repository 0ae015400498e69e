"""Of an addition, is the gap between train and test accuracy at large radii there only for small training sets?

On the sphere of radius α ‖θ₀‖ (no weight decay, held from step 0) transformers learn addition modulo 29 from several
shares of the pairs. The more pairs are trained on, the more test pairs (a, b) have their mirror (b, a) among them, and
a network that only knows that a + b = b + a answers these. So a gap is also taken on the test pairs whose mirror was
not trained on. On a share at which nothing generalises at the smallest radius either, there is no rise to ask for: that
share is shown, and the claim about it says so. Images are asked in `induced_grokking.py`.

    python analyses/alpha_by_train_size.py --claims   # what is claimed, to be committed first
    python analyses/alpha_by_train_size.py            # 90 runs; --dry-run says how long
    python analyses/alpha_by_train_size.py --quick    # 8 tiny ones: seconds
"""

from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, Share, where
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import at_ends, derived, differences
from circuitgrok.study.study import Study, evenly

FITTED = 0.99  # final train accuracy from which a gap counts
RISE, FLAT = 0.20, 0.05  # of the gap, from the smallest radius to the largest: what is a rise, and what is none
NEAR, FAR = 0.9, 2.2  # the radii that are compared, in units of ‖θ₀‖
FEWEST, FEW, MOST = 0.35, 0.5, 0.8  # shares of the pairs
COLOURS = (figures.RED, figures.ORANGE, figures.GREEN, figures.BLUE)
GAPS = {"gap": "all test pairs", "unseen_gap": "unseen mirrors"}


def fitted(rows: Selection) -> Selection:
    """Those of some rows that fit their training set at the end, with the gap on all test pairs and on unseen mirrors.

    Beside them the gap of the best values of each run, as if training were stopped when it pays.
    """
    columns: dict[str, Any] = {
        "gap": lambda rows: rows["train_acc"] - rows["test_acc"],
        "unseen_gap": lambda rows: rows["train_acc"] - rows["unseen_acc"],
        "best_gap": lambda rows: rows["best_train_acc"] - rows["best_test_acc"],
    }
    kept = derived(rows, **columns)
    return lambda table: where(train_acc=lambda acc: acc >= FITTED)(kept(table))


def rise(share: float, of: str = "gap") -> Mean:
    """How much a gap grows from the near radius to the far one, on a share of the pairs, paired by seed."""
    rows = differences(fitted(where(frac_train=share)), of, alpha=(FAR, NEAR))
    return Mean(rows, "difference", f"rise of the {of.replace('_', ' ')}", bounds=(-2, 2))


def less(of: str = "gap") -> Mean:
    """How much more a gap rises on the fewer pairs than on the most, at the same radii."""
    rows = differences(fitted(where()), of, frac_train=(FEW, MOST), alpha=(FAR, NEAR))
    return Mean(rows, "difference", f"difference of the rises of the {of.replace('_', ' ')}", bounds=(-4, 4))


CLAIMS = [
    Mean(fitted(where(frac_train=FEWEST, alpha=NEAR)), "gap", "gap", bounds=(-1, 1)).exceeds(
        0.5, "On 35 % of the pairs there is a gap of over 50 points at α = 0.9 already: no rise can be asked for."
    ),
    rise(FEW).exceeds(RISE, "On half of the pairs the gap rises from α = 0.9 to 2.2 by over 20 points."),
    rise(MOST).falls_below(FLAT, "On 80 % of the pairs it does not rise by more than 5 points."),
    less().exceeds(0, "It rises more on half of the pairs than on 80 %."),
    rise(MOST, "unseen_gap").falls_below(
        FLAT, "On pairs whose mirror was not trained on, the gap at 80 % does not rise by more than 5 points either."
    ),
    less("unseen_gap").is_within(
        0.15, "On these pairs the rise is the same for half of the pairs and for 80 %, within 15 points."
    ),
    Share(where(alpha=FAR), lambda rows: rows["train_acc"] >= FITTED, "runs that fit").is_all(
        "At the largest radius every run fits its training set within the budget, whatever the share."
    ),
]  # fmt: skip
STUDY = Study(
    "Of an addition, is the gap at large radii there only for small training sets?",
    cg.TrainConfig.preset("quickstart").with_(
        fixed_norm=True, weight_decay=0.0, steps=1500, eval_every=10, **evenly(1500)
    ),
    {"sphere": {}},
    {"frac_train": [FEWEST, FEW, MOST], "alpha": [NEAR, 1.5, FAR]},
    seeds=range(10, 20),  # the thresholds are of runs with seeds 0 to 2
    claims=CLAIMS,
)
QUICK = STUDY.with_(
    grid={"frac_train": [FEW, MOST], "alpha": [NEAR, FAR]}, steps=60, seeds=[0, 1], p=13, d_model=32, d_head=8, d_mlp=64
)


def measured(run: Run) -> dict[str, Any]:
    """What a run adds to its row: unseen mirrors at the end, and the size of the training set."""
    return {"n_train": run.config.task.n_train, "unseen_acc": float(run.history["test_mirror_unseen_acc"].iloc[-1])}


def draw(table: pd.DataFrame) -> "figures.Figure":
    """The gap against the radius for every share, on all test pairs and on those whose mirror is unseen."""
    figure, axes = figures.sheet(1, 2, (9.4, 3.7), sharey=True)
    for ax, (column, said) in zip(axes, GAPS.items(), strict=True):
        rows = fitted(where())(table)
        figures.draw_groups(ax, rows, "frac_train", "alpha", column, COLOURS, label="{:.0%} of the pairs")
        figures.values_axis(ax, sorted(set(table["alpha"])), "held norm, in units of α = ‖θ‖/‖θ₀‖")
        ax.set(ylim=(-0.05, 1.05), ylabel=f"train less test accuracy at the end, {said}")
    figures.legends(axes[:1])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "tiny networks and few steps")
    table = study.rows(given, measured)
    missed = table[table["train_acc"] < FITTED].groupby(["frac_train", "alpha"]).size()
    best = [f"{share:.0%}: {rise(share, 'best_gap').found(table).words}" for share in sorted(set(table["frac_train"]))]
    far = at_ends(where(), alpha=max)(table).groupby("frac_train")[["test_acc", "unseen_acc"]].mean()
    notes = [
        "Held from step 0, no decay. A gap counts only where the training set is fitted (train accuracy "
        f"{FITTED:g} or more at the end); not fitted: {listed(missed, 'share {:g}, α {:g}: {} runs', '; ')}. Rises are "
        "paired by seed.",
        f"With the best accuracies of each run in place of the last, from α = {NEAR:g} to {FAR:g}: {'; '.join(best)}.",
        "At the largest radius, mean test accuracy on all pairs and on unseen mirrors: "
        f"{listed(far, 'share {:g}: {:.3f} and {:.3f}', '; ')}.",
        "p = 29, one network, one learning rate, 1500 steps: a gap at a large radius is one within this budget. Radii "
        "and thresholds were chosen after runs of seeds 0 to 2, which did not look at unseen mirrors and are not among "
        "these.",
    ]
    study.write(given, table, draw(table), notes)


if __name__ == "__main__":
    main()
