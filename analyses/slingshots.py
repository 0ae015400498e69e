"""What makes slingshots, and are they needed to grok without weight decay?

Without weight decay a network that has memorised goes on growing, and its training loss falls until float32
cannot tell it from zero. Then it jumps by many decades, the last layer stops growing, and all begins again. Here
the same networks train with everything that is said to make such cycles, and without one of them at a time: the
loss in float64, one layer, a large epsilon, SGD. Each float64 run is the twin of a float32 one (same weights, same
pairs), which tells what a slingshot does to test accuracy from what time does. Deep dense networks are a second case.

    python analyses/slingshots.py            # ten seeds; --dry-run says how long
    python analyses/slingshots.py --quick    # two, for few steps: seconds
"""

import math
from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.figures import BLUE, GREEN, ORANGE, PURPLE, RED, SKY
from circuitgrok.measures.learning.cycles import cycles
from circuitgrok.measures.learning.slingshots import CALM, MEMORISED, MIN_DECADES, RISE_WITHIN, slingshots
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Selection, Share, where
from circuitgrok.study.evidence import Declared
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed, derived, has_grokked
from circuitgrok.study.study import Study, evenly

DENSE = {"model": "dense", "depth": 6, "width": 64, "alpha": 1.0, "steps": 7000}
FLOAT64 = {"loss_precision": "float64"}
ARMS: dict[str, dict[str, Any]] = {
    "2 layers, float32": {},
    "2 layers, float64": FLOAT64,
    "1 layer, float32": {"n_layers": 1},
    "2 layers, float32, eps 1e-5": {"eps": 1e-5},
    "2 layers, float32, SGD": {"rule": "sgd", "momentum": 0.9, "lr": 0.02},
    "2 layers, float64, decay 2": FLOAT64 | {"weight_decay": 2.0},
    "6 dense layers, float32": DENSE,
    "6 dense layers, float64": DENSE | FLOAT64,
}
TWINS = {"2 layers, float32": "2 layers, float64", "6 dense layers, float32": "6 dense layers, float64"}
CONTROL = "2 layers, float64, decay 2"
COLOURS = dict(zip(ARMS, (RED, BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLUE), strict=True))


def able(arm: str) -> Selection:
    """Runs of an arm that memorise, and come to ten times the median least loss of the arms that should slingshot."""

    def chosen(table: pd.DataFrame) -> pd.DataFrame:
        low = 10 * table["least_train_loss"][table["arm"].isin(TWINS)].median()
        return where(arm=arm, memorised_by=pd.Series.notna, least_train_loss=lambda loss: loss <= low)(table)

    return chosen


runs_that_do = derived(  # of those with twins; and over how many decades the gradient's sum has grown
    where(arm=lambda arm: arm.isin(TWINS), n_slingshots=lambda n: n > 0),
    growth=lambda rows: (rows["gradient_sum_late"] / rows["gradient_sum_early"]).map(math.log10),
    grokked=has_grokked,
)
MEANS = ("collapsed_at_onset", "growth", "change_at_slingshots", "change_of_twin", "end_test_acc", "twin_end_test_acc")
shot = by_seed(runs_that_do, grokked="min", **dict.fromkeys(MEANS, "mean"))  # a seed's transformer and dense network


def does(rows: pd.DataFrame) -> pd.Series:
    """Which runs slingshot."""
    return rows["n_slingshots"] > 0


def slings(arm: str) -> Share:
    """The share with a slingshot, of an arm's runs that could."""
    return Share(able(arm), does, "share with one slingshot or more, of the runs whose loss comes that low")


def more(arm: str, twin: str) -> Declared:
    """The claim that an arm slingshots more often than its twin."""
    count = Mean(where(arm=arm), "n_slingshots", "slingshots more than the twin's", less=where(arm=twin))
    return count.exceeds(0, f"{arm}: a run slingshots more often than its float64 twin.")


WITH_DECAY = "Control: with weight decay, in float64, the same networks"
CLAIMS = [
    *(slings(arm).exceeds(0.5, f"{arm}: runs slingshot.") for arm in TWINS),
    *(slings(arm).falls_below(0.5, f"{arm}: runs do not slingshot.") for arm in ARMS if arm not in (*TWINS, CONTROL)),
    *(more(arm, twin) for arm, twin in TWINS.items()),
    Mean(shot, "collapsed_at_onset", "share of pairs", bounds=(0, 1)).exceeds(
        0.1, "Collapse comes first: at the onset of a run's first slingshot, all wrong classes have rounded to nothing "
        "for more than a tenth of the training pairs.",
    ),
    Mean(shot, "growth", "growth in decades").exceeds(
        0, "The gradient's sum over classes, 0 in exact arithmetic, has grown by then: it is larger over the last "
        f"{CALM} steps before than over the first {CALM} after memorising.",
    ),
    Mean(shot, "change_at_slingshots", "gain less that of the twin", by="change_of_twin", bounds=(-2, 2)).exceeds(
        0, f"Test accuracy jumps at slingshots: it gains more from the {CALM} steps before to the {CALM} after "
        "than in the float64 twin at the same steps.",
    ),
    Mean(shot, "end_test_acc", "difference", by="twin_end_test_acc", bounds=(-1, 1))
    .exceeds(0, "Runs that slingshot end with a higher test accuracy than their float64 twins."),
    Share(shot, lambda rows: rows["twin_end_test_acc"] >= rows["end_test_acc"], "share of twins that do").falls_below(
        0.5, "Slingshots are needed for what test accuracy there is without decay: float64 twins do not reach that of "
        "the runs that slingshot.",
    ),
    Share(shot, lambda rows: rows["grokked"].astype(bool), "share of seeds all of whose do")
    .exceeds(0.5, "Slingshots suffice: runs that slingshot grok."),
    Share(where(arm=CONTROL), has_grokked, "share that do").exceeds(0.5, f"{WITH_DECAY} grok."),
    Share(where(arm=CONTROL), does, "share that do").falls_below(0.5, f"{WITH_DECAY} do not slingshot."),
]  # fmt: skip
STUDY = Study(
    "What makes slingshots, and are they needed to grok without weight decay?",
    cg.TrainConfig.preset("quickstart").with_(
        n_layers=2, d_model=32, d_head=8, d_mlp=128, alpha=0.65, p=23, frac_train=0.8, weight_decay=0.0,
        loss_precision="float32", steps=3500, eval_every=10, **evenly(7000),
    ),
    ARMS,
    claims=CLAIMS,
)  # fmt: skip
SHORT = {arm: leaves | ({"steps": 40} if "steps" in leaves else {}) for arm, leaves in ARMS.items()}
QUICK = STUDY.with_(arms=SHORT, steps=20, checkpoint_every=40, seeds=[0, 1])


def draw(table: pd.DataFrame, runs: dict[str, list[Run]]) -> "figures.Figure":
    """Training losses of twins, the last layer's norm, counts, test accuracies, what slingshots do to them."""
    figure, axes = figures.sheet(2, 3, (14, 7.6))
    for ax, (arm, twin) in zip(axes[0], TWINS.items(), strict=False):
        for name, style in ((twin, "--"), (arm, "-")):
            loss = runs[name][0].history["train_loss"]
            ax.plot(loss.index, loss.where(loss > 0), color=COLOURS[name], ls=style, lw=1, label=name)
        for i, cycle in enumerate(slingshots(runs[arm][0].history)):
            ax.axvline(cycle.onset, color=figures.GREY, ls=":", lw=1, label="onsets" if i == 0 else None)
        ax.set_yscale("log")
        ax.set_ylabel(f"training loss of seed {table['seed'].iloc[0]} (nats)")
    shallow = {arm: colour for arm, colour in COLOURS.items() if "dense" not in arm}
    for ax, column, label in (
        (axes[0, 2], "norm_unembed", "norm of the last layer"),
        (axes[1, 1], "test_acc", "test accuracy"),
    ):
        figures.draw_runs(ax, runs, column, shallow)
        ax.set_ylabel(f"{label} (median and range)")
    for ax in (*axes[0], axes[1, 1]):
        ax.set_xlabel("optimizer step")
        figures.legend_above(ax, 3)
    figures.draw_dots(axes[1, 0], table, "n_slingshots", COLOURS)
    axes[1, 0].set(xlim=(-0.3, max(3, table["n_slingshots"].max()) + 0.3), xlabel="slingshots per run (a dot each)")
    for arm, marker, fill in zip(TWINS, "os", (RED, "white"), strict=True):
        rows = where(arm=arm)(table)
        axes[1, 2].plot(rows["change_of_twin"], rows["change_at_slingshots"], marker, color=RED, mfc=fill, label=arm)
    axes[1, 2].axline((0, 0), slope=1, color=figures.GREY, lw=0.8)
    gain = "gain in test accuracy at"
    axes[1, 2].set(xlabel=f"{gain} the same steps, float64 twin", ylabel=f"{gain} slingshots")
    figures.legends([axes[1, 2]])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    runs = study.train(given)
    pairs = {name: name.replace("float32", "float64") for name in runs if "float32" in name}
    twins = {name: runs[twin].history for name, twin in pairs.items() if twin in runs}
    table = study.table(runs, lambda run: cycles(run.history, twins.get(run.name)))
    told = {"n_slingshots": "mean", "least_train_loss": "median", "best_test_acc": "median"}
    seen = table.groupby("arm", sort=False).agg(told)
    notes = [
        "Weights and logits are float32 everywhere; the precision named is that of the loss. Dense networks train for "
        "twice the steps. Claims about runs that slingshot take for each seed the mean over its transformer and its "
        "dense network, of those that do.",
        f"A slingshot: the training loss rises {MIN_DECADES:g} decades or more within {RISE_WITHIN} steps after "
        f"{CALM} steps of training accuracy {MEMORISED:g}, and the last layer's norm goes from growth to a plateau "
        f"within {CALM} steps. Test accuracy drops for some steps at the spike itself, which counts in its gain; ends "
        "are means over the last tenth of the record.",
        f"Slingshots per run, median least training loss and best test accuracy (chance {1 / 23:.3f}): "
        f"{listed(seen, '{} {:.3g}, {:.1e}, {:.2f}', '; ')}.",
        "An arm without slingshots tells something only if its training loss came down to where the others slingshot: "
        "claims are about runs that memorise and reach ten times the median of their least losses. The collapse "
        "monitors are taken only of losses in less than float64.",
        "Sizes, rates, α and the tenth in the claim about collapse were set on pilots with seed 0 of the float32 arms; "
        "SGD's rate on pilots with these seeds, as the largest of 0.02, 0.03 and 0.1 at which none of them diverged.",
    ]
    study.write(given, table, draw(table, study.grouped(runs)), notes)


if __name__ == "__main__":
    main()
