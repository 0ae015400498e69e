"""Does holding the norm prevent memorising circuits, or do generalising ones outrun them?

On the sphere of radius alpha * |theta_0| (no weight decay) the same initial networks are trained on the same
pairs three times: with the true labels, with random labels, which can only be memorised, and with the true
labels on a sphere that they are put on after they have memorised freely. Where the true task generalises at
once: would there have been room to memorise, and how long would it have taken?

    python analyses/does_the_sphere_prevent_memorising.py            # the full grid: minutes
    python analyses/does_the_sphere_prevent_memorising.py --quick    # a smaller one: seconds
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, events
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.effects import Factor
from circuitgrok.study.selections import Band
from circuitgrok.study.study import Studies, Study
from circuitgrok.training.origin import initial_weights
from circuitgrok.tree import norm

SOLVED = 0.95  # accuracy that counts as generalised, and as fitted by the capacity question
TASK, RANDOM, LATER = "task", "random labels", "held after memorising"
COLOURS = {TASK: figures.BLUE, RANDOM: figures.RED, LATER: figures.GREEN}
SEEDED, RULES = ("seed", "data_seed", "label_seed"), ACCURACY_RULES | {"fitted": ("train_acc", SOLVED)}
BASE = cg.TrainConfig.preset("quickstart").with_(
    steps=3000, checkpoint_every=3000, checkpoints_per_decade=6, checkpoint_on_move=100.0, eval_every=10,
    weight_decay=0.0, fixed_norm=True,
)  # fmt: skip


def in_units_of_the_start(cell: cg.TrainConfig) -> dict[str, Any]:
    """The radius that a cell of the grid gives, times the initial norm."""
    return {"norm_radius": (cell.leaves()["norm_radius"] or 1.0) * norm(initial_weights(cell)).item()}


AT_ONCE = Study(
    "Does a sphere from the start?", BASE, {TASK: {}, RANDOM: {"operation": "random"}},
    {"alpha": [0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0]}, seeded=SEEDED, rules=RULES,
)  # fmt: skip
AFTER = Study(
    "Does a sphere after 200 free steps?", BASE.with_(norm_from_step=200), {LATER: in_units_of_the_start},
    {"norm_radius": [0.8, 0.9, 1.0, 1.5]}, seeded=SEEDED, rules=RULES,
)  # fmt: skip
QUESTION = "Does holding the norm prevent memorising circuits, or do generalising circuits outrun them?"
FEW = {
    "from the start": {"grid": {"alpha": [0.7, 0.9, 2.0]}},
    "after memorising": {"norm_from_step": 13, "grid": {"norm_radius": [0.9]}},
}


band = Band(where(arm=TASK), "alpha", lambda rows: rows["test_acc"] >= SOLVED, "α")


def at_large(arm: str) -> Selection:
    """For each seed the geometric mean of an arm's T_fit over α from twice the band's on; censored is the budget."""

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        rows = where(arm=arm)(table)[lambda of: of["alpha"] >= 2 * max(band.values(table), default=1.0)]
        logs = rows["fitted_by"].fillna(rows["steps"]).map(math.log)
        return logs.groupby(rows["seed"]).mean().map(math.exp).rename("fitted_by").reset_index()

    return chosen


task, random = (band.at_soonest(where(arm=arm)) for arm in (TASK, RANDOM))
AT = "Where the task is solved soonest on the sphere"
CLAIMS = [
    band.is_found("There are radii at which every run generalises from the start."),
    Mean(random, "best_train_acc", "best accuracy on as many random labels")
    .falls_below(SOLVED, f"{AT} there is no room to memorise: random labels are never fitted to {SOLVED:g}."),
    Mean(task, "random_fit", "share of random labels fitted by then").falls_below(
        0.5, f"{AT} generalising comes before memorising could: by then less than half of random labels are fitted."
    ),
    Ratio(random, task, "fitted", by="grokked", name="T_random / T_grok").exceeds(
        1, f"{AT} generalising outruns memorising: random labels take longer to fit than the task to generalise."
    ),
    Factor(random, "best_train_loss", "best loss on random over best loss on true labels", over=task)
    .exceeds(1000, f"{AT} memorising has a price: random labels leave over 1000 times the loss of the true ones.")
    .telling(Factor(random, "best_train_loss", "random (nats)"), Factor(task, "best_train_loss", "true (nats)")),
    Factor(task, "excluded_min", "least excluded loss on train (nats)")
    .exceeds(1, f"{AT} no memorising circuit shows: the loss without the key frequencies never falls below 1 nat."),
    Factor(at_large(RANDOM), "fitted_by", "T_fit(random) / T_fit(task)", over=at_large(TASK))
    .is_within(1.5, "At twice the radius and above the true labels are fitted like random ones: within a factor 1.5."),
    *[
        Share(where(arm=LATER, alpha=alpha), lambda rows: rows["test_acc"] >= SOLVED).exceeds(
            0.5,
            f"A network that has memorised freely and is then put on the sphere of α = {alpha:g} still generalises.",
        )
        for alpha in AFTER.grid["norm_radius"]
    ],
]  # fmt: skip


STUDY = Studies(QUESTION, {"from the start": AT_ONCE, "after memorising": AFTER}, "held", CLAIMS)
QUICK = STUDY.with_(FEW, steps=40, seeds=[0, 1])


def measures(run: Run, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Best losses of a run; of a task its reduced losses, and how much its twin had fitted at T_grok."""
    history = run.history
    line: dict[str, Any] = {f"best_{of}": history[of].min() for of in ("train_loss", "test_loss")}
    if run.config.modular.operation == "random":
        return line
    circuits, solved = cg.measure(run, ["circuits"]), events(history)["grokked"].by
    line |= {"excluded_min": circuits["excluded_loss[train]"].min()}
    line |= {"excluded_end": circuits["excluded_loss[train]"].iloc[-1]}
    line |= {"restricted_end": circuits["restricted_loss[all]"].iloc[-1]}
    twin = runs.get(run.name.replace("-task-", "-random-labels-"))
    line["random_fit"] = twin.history["train_acc"].loc[solved] if solved and twin and twin is not run else math.nan
    return line


PANELS = (  # column, style and what it is, by arm
    [
        (TASK, "grokked_by", "-", "test ≥ 0.95"), (TASK, "fitted_by", "--", "train ≥ 0.95"),
        (RANDOM, "fitted_by", "--", "train ≥ 0.95"), (LATER, "grokked_by", "-", "test ≥ 0.95"),
    ],
    [
        (TASK, "best_train_acc", "--", "train"), (TASK, "best_test_acc", "-", "test"),
        (RANDOM, "best_train_acc", "--", "train"), (LATER, "best_test_acc", "-", "test"),
    ],
    [
        (TASK, "best_train_loss", "--", "train (L)"), (TASK, "best_test_loss", "-", "test (U)"),
        (TASK, "excluded_min", ":", "least excluded (train)"), (RANDOM, "best_train_loss", "--", "train"),
    ],
)  # fmt: skip


def draw(table: pd.DataFrame, budget: int) -> "figures.Figure":
    """Who fits and generalises when; how much is fitted; the reduced landscape."""
    figure, axes = figures.sheet(1, 3, (13, 4.4))
    shown = table.fillna({"grokked_by": budget, "fitted_by": budget})
    for ax, lines in zip(axes, PANELS, strict=True):
        for arm, column, style, said in lines:
            colour = figures.PURPLE if column == "excluded_min" else COLOURS[arm]
            figures.draw_seeds(ax, where(arm=arm)(shown), "alpha", column, colour, style, f"{arm}, {said}")
        figures.values_axis(ax, table["alpha"].tolist(), "held norm, in units of α = ‖θ‖/‖θ₀‖")
        ax.tick_params(axis="x", labelsize=7)
        figures.legend_above(ax, 2)
    figures.times_axis(axes[0], budget)
    axes[1].set_ylabel("best accuracy of the run")
    axes[2].set(yscale="log", ylabel="best cross-entropy of the run (nats)")
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "a small grid")
    runs = study.train(given)
    table = study.table(runs, lambda run: measures(run, runs))
    table["alpha"] = table["alpha"].fillna(table["norm_radius"])
    notes = [
        "Norm held globally after every step, from the start or from a step of a free run at α = 1; no weight decay. "
        "Random labels: one uniform class per pair, drawn once. Key frequencies (excluded loss) by wl_energy at each "
        "run's last checkpoint.",
        "The band, and the α in it, are picked from the runs that are then judged by it; the claim about the price of "
        "memorising was added when random labels had turned out to be fitted. At large radii a censored time counts "
        "as the budget.",
    ]
    budget = study.parts["from the start"].base.schedule.steps
    study.write(given, table, draw(table, budget), notes)


if __name__ == "__main__":
    main()
