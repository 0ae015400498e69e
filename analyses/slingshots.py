"""What makes slingshots, and are they needed to grok without weight decay?

Without weight decay a network that has memorised goes on growing, and its training loss falls until float32
cannot tell it from zero. Then it jumps by many decades, the last layer stops growing, and all begins again. The same
networks train with more and more of the arithmetic in float64: the loss, logits and their slopes, everything; with
more layers, without attention, by SGD, with decay. The float64 run of the same weights and pairs
is a run's twin: it tells what a slingshot does to answers and circuits from what time does. And cause from
co-occurrence: a float64 run that has memorised is kicked once, by 1 to 100 times the learning rate in every weight,
along its last step or across it. The split is free of mirrors, so that every test pair is unseen.

    python analyses/slingshots.py            # ten seeds; --dry-run says how long
    python analyses/slingshots.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from circuitgrok.measures.learning.cycles import cycles
from circuitgrok.measures.learning.slingshots import CALM, MEMORISED, MIN_DECADES, RISE_WITHIN, slingshots
from circuitgrok.store.run import Run
from circuitgrok.study.around_slingshots import either_side, keys_change
from circuitgrok.study.claims import Mean, Share, where
from circuitgrok.study.effects import Gains, draw_gains
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed, derived, has_grokked
from circuitgrok.study.study import Study, evenly
from circuitgrok.study.walked import step_sizes

EARLY = 1290  # onsets up to this step can be counted in records of 1500
KICKED, LATER, RATE = 1000, 1400, 1e-3  # the step of a kick, the end of its run; the learning rate, its unit
N_KEYS = 4  # frequencies that the measures of circuits take, in a run and its twin alike
LOW = {"loss_precision": "float32"}
FULL = {"precision": "float64"}
DECAY = {"weight_decay": 2.0}
TWO = {"n_layers": 2, "steps": 1500}
MLP = {"model": "embedding_mlp", "alpha": 1.0}
DENSE = {"model": "dense", "depth": 6, "width": 64, "alpha": 1.0}
NONE = "1 layer, float64 loss"
ARMS: dict[str, dict[str, Any]] = {
    "1 layer, float32": LOW,
    NONE: {},
    "1 layer, float64 logits": {"forward_precision": "float64"},
    "1 layer, float64": FULL,
    "1 layer, float32, SGD": LOW | {"rule": "sgd", "momentum": 0.9, "lr": 0.02},
    "1 layer, decay 2": DECAY,
    "2 layers, float32": LOW | TWO,
    "2 layers, float64": FULL | TWO,
    "2 layers, decay 2": DECAY | TWO | {"steps": 1200},
    "MLP, float32": LOW | MLP,
    "6 dense layers, float32": LOW | DENSE,
}
ALONG = {f"kick {k}": {"kick": k * RATE} for k in (1, 3, 10, 30, 100)}
ACROSS = {f"kick {k} across": {"kick": k * RATE, "kick_scrambled": True} for k in (100,)}
KICKS = {arm: {"steps": LATER, "kick_at_step": KICKED, **leaves} for arm, leaves in (ALONG | ACROSS).items()}
TWINS = {"1 layer, float32": NONE, "2 layers, float32": "2 layers, float64"}
PLAIN = ("1 layer, decay 2", "2 layers, decay 2", "1 layer, float32, SGD")
COLOURS = dict(zip(ARMS, (RED, BLUE, SKY, PURPLE, GREY, GREEN, RED, BLUE, GREEN, ORANGE, RED), strict=True))

ran = derived(where(arm=lambda arm: arm.isin(TWINS), n_slingshots=lambda n: n > 0), grokked=has_grokked)
MEANS = ("change_at_slingshots", "change_of_twin", "keys_change", "keys_change_of_twin", "collapsed_at_onset")
shot = by_seed(ran, grokked="max", **dict.fromkeys(MEANS, "mean"))  # a seed's one-layer and two-layer run
AFTER = Gains(where(), "acc_after", NONE, f"points of test accuracy over the {CALM} steps after a kick")
LASTS = Gains(where(), "acc_later", NONE, f"points of test accuracy over steps {LATER - 200} to {LATER}")


def does(rows: pd.DataFrame) -> pd.Series:
    """Which runs slingshot."""
    return rows["n_slingshots"] > 0


def slings(arm: str) -> Share:
    """The share with a slingshot, of an arm's runs."""
    return Share(where(arm=arm), does, f"share of runs with a slingshot, {arm},")


def more(arm: str, twin: str, column: str = "n_slingshots") -> Mean:
    """How many more slingshots a run of an arm has than one of another."""
    return Mean(where(arm=arm), column, f"slingshots per run, {arm} less {twin},", less=where(arm=twin))


def spares(*arms: str) -> Share:
    """The runs of some arms without a slingshot, of which a seed has several."""
    return Share(where(arm=lambda arm: arm.isin(arms)), lambda rows: ~does(rows), "runs without a slingshot")


JUMP = Mean(where(arm="kick 100"), "decades_at_kick", "rise of the training loss at a kick of 100, decades")
CLAIMS = [
    slings("1 layer, float32").exceeds(0.5, "With a float32 loss one layer slingshots: most runs do."),
    slings(NONE).falls_below(
        0.5, "A float64 loss alone ends that, weights and logits in float32: most of its twins do not."
    ).telling(slings("1 layer, float64 logits"), slings("1 layer, float64")),
    spares("1 layer, float64", "2 layers, float64").is_all(
        "Precision is all: in float64 throughout no run of one or two layers slingshots.", "{arm}, seed {seed}"
    ),
    more("2 layers, float32", "2 layers, float64").exceeds(0, "Two layers in float32 slingshot more often than in "
                                                           "float64."),
    more("2 layers, float32", "1 layer, float32", "n_early").exceeds(
        0, f"Deeper is sooner: by step {EARLY} two layers have begun more slingshots than one."
    ),
    slings("MLP, float32").falls_below(0.5, "Without attention an MLP of one hidden layer does not: most runs do not.")
    .telling(Mean(where(arm="MLP, float32"), "softmax_collapse_max", "its largest share of collapsed pairs"),
             slings("6 dense layers, float32")),
    spares(*PLAIN).is_all(
        "The detector has no false alarm: with decay, or by SGD, it reports no slingshot.", "{arm}, seed {seed}"
    ),
    Mean(shot, "change_at_slingshots", "gain less that of the twin", by="change_of_twin", bounds=(-2, 2)).exceeds(
        0.02, f"Answers jump at slingshots: from the {CALM} steps before to the {CALM} after, unseen pairs gain over "
        "2 points more than in the twin at the same steps.",
    ),
    Mean(shot, "keys_change", "change less that of the twin", by="keys_change_of_twin", bounds=(-2, 2)).exceeds(
        0.01, "Circuits grow at slingshots: the share of the logits' variance in key frequencies rises by over 1 point "
        "more than in the twin.",
    ),
    AFTER.any_exceeds(KICKS, 0.05, "A kick does it too: one of 1 to 100 learning rates gains over 5 points at once.")
    .telling(JUMP),
    LASTS.any_exceeds(KICKS, 0.05, "And it stays: at the end one of them is over 5 points above the run that was not "
                                   "kicked."),
    Share(shot, lambda rows: rows["grokked"].astype(bool), "share of seeds with a run that does").exceeds(
        0.5, "Slingshots suffice: runs that slingshot grok."
    ).telling(Mean(where(arm="1 layer, decay 2"), "end_test_acc", "test accuracy at the end with decay, one layer")),
]  # fmt: skip
LATER_CLAIMS = [  # seen afterwards: one seed's slingshot had no checkpoint behind it; equal values have no interval
    Mean(lambda table: shot(table).dropna(subset=["keys_change"]), "keys_change", "change less that of the twin",
         by="keys_change_of_twin", bounds=(-2, 2)).exceeds(
        0.01, "Circuits grow at slingshots, of seeds with checkpoints on either side of one: by over 1 point more than "
        "in the twin.",
    ),
    LASTS.any_exceeds(["kick 30", "kick 100", "kick 100 across"], 0.05, "Of the kicks that make the loss rise one is "
                      "over 5 points above the run that was not kicked, at the end."),
]  # fmt: skip
STUDY = Study(
    "What makes slingshots, and are they needed to grok without weight decay?",
    cg.TrainConfig.preset("quickstart").with_(
        d_model=32, d_head=8, d_mlp=128, alpha=0.65, p=23, frac_train=0.8, split="mirror_free", weight_decay=0.0,
        steps=1800, eval_every=10, **evenly(100),
    ),
    ARMS | KICKS,
    claims=CLAIMS,
)  # fmt: skip
SHORT = {arm: leaves | ({"steps": 40} if "steps" in leaves else {}) for arm, leaves in ARMS.items()}
SHORT |= {arm: leaves | {"steps": 40, "kick_at_step": 20} for arm, leaves in KICKS.items()}
QUICK = STUDY.with_(arms=SHORT, steps=40, checkpoint_every=10, seeds=[0, 1])


def kicked(run: Run) -> dict[str, float]:
    """Test accuracy after the step of a kick and at the end of runs with one; by how many decades the loss rose.

    `step_size` is the length of a step before, over that of one by the learning rate in every weight.
    """
    history = run.history
    accuracy, loss, step = history["test_acc"], history["train_loss"], history.index
    jump = step_size = math.nan
    if step[-1] > KICKED:
        near = loss[(step >= KICKED) & (step <= KICKED + RISE_WITHIN)].max()
        jump = math.log10(near / loss.loc[[KICKED - 10]].mean())
        step_size = float(step_sizes(run)[KICKED - 100])
    return {
        "acc_after": accuracy[(step > KICKED) & (step <= KICKED + CALM)].mean(),
        "acc_later": accuracy[(step > LATER - 200) & (step <= LATER)].mean(),
        "decades_at_kick": jump,
        "step_size": step_size,
    }


def measured(run: Run, twins: Mapping[str, Run]) -> dict[str, Any]:
    """Slingshots, answers and circuits around them, those of the twin at the same steps; what a kick does."""
    history, twin = run.history, twins.get(run.name)
    found = slingshots(history)
    told: dict[str, Any] = cycles(history, twin.history if twin else None)
    told |= {"n_early": sum(cycle.onset <= EARLY for cycle in found), **kicked(run)}
    around = either_side(found, run.steps)
    told |= keys_change(run, around if twin else [], N_KEYS)
    of_twin = (
        keys_change(twin, around if twin.steps[-1] >= run.steps[-1] else [], N_KEYS)
        if twin
        else keys_change(run, [], N_KEYS)
    )
    return told | {f"{name}_of_twin": value for name, value in of_twin.items()}


def draw(table: pd.DataFrame, runs: dict[str, list[Run]]) -> "figures.Figure":
    """Losses of a run and its twin in one and two layers; counts; answers and circuits at slingshots; kicks."""
    figure, ((one, two, counts), (answers, kicks, gains)) = figures.sheet(2, 3, (14, 8.4))
    for ax, (arm, twin) in zip((one, two), TWINS.items(), strict=True):
        several = sorted(runs[arm], key=lambda run: -len(slingshots(run.history)))
        shown = next(i for i, run in enumerate(runs[arm]) if run.name == several[0].name)
        for name, style in ((twin, "--"), (arm, "-")):
            loss = runs[name][shown].history["train_loss"]
            ax.plot(loss.index, loss.where(loss > 0), color=COLOURS[name], ls=style, lw=1, label=name)
        for i, cycle in enumerate(slingshots(several[0].history)):
            ax.axvline(cycle.onset, color=GREY, ls=":", lw=1, label="onsets" if i == 0 else None)
        ax.set_yscale("log")
        ax.set(xlabel="optimizer step", ylabel=f"training loss of seed {several[0].config.init.seed} (nats)")
        figures.legend_above(ax, 3)
    figures.draw_dots(counts, table[table["arm"].isin(ARMS)], "n_slingshots", COLOURS)
    counts.set(xlim=(-0.3, max(3, table["n_slingshots"].max()) + 0.3), xlabel="slingshots per run (a dot each)")
    for arm, marker, fill in zip(TWINS, "os", (RED, "white"), strict=True):
        rows = where(arm=arm)(table)
        answers.plot(100 * rows["change_of_twin"], 100 * rows["change_at_slingshots"], marker, color=RED, mfc=fill,
                     label=f"{arm}: answers")  # fmt: skip
        answers.plot(100 * rows["keys_change_of_twin"], 100 * rows["keys_change"], marker, color=PURPLE, ms=4,
                     mfc=PURPLE if fill == RED else "white", label=f"{arm}: key frequencies")  # fmt: skip
    answers.axline((0, 0), slope=1, color=GREY, lw=0.8)
    answers.set(xlabel="change at the same steps, twin (points)", ylabel="change at slingshots (points)")
    for arm, colour in zip(
        ("kick 10", "kick 30", "kick 100", "kick 100 across"), (SKY, BLUE, RED, ORANGE), strict=True
    ):
        loss = runs[arm][0].history["train_loss"]
        kicks.plot(loss.index, loss, color=colour, lw=1, label=arm)
    kicks.set_yscale("log")
    kicks.set(xlabel="optimizer step", ylabel=f"training loss of seed {table['seed'].iloc[0]} (nats)")
    draw_gains(gains, LASTS.found(table), {arm: BLUE if arm in ALONG else ORANGE for arm in KICKS}, 0.05)
    gains.set(xlabel="test accuracy at the end over that without a kick (points)", xlim=(-12, 12))
    figures.legends([answers, kicks])
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    runs = study.train(given)
    by_seed_of = {twin: {run.config.init.seed: run for run in study.grouped(runs)[twin]} for twin in TWINS.values()}
    twins = {
        run.name: by_seed_of[twin][run.config.init.seed]
        for arm, twin in TWINS.items()
        for run in study.grouped(runs)[arm]
    }
    table = study.table(runs, lambda run: measured(run, twins))
    told = {"n_slingshots": "mean", "least_train_loss": "median", "end_test_acc": "mean", "best_test_acc": "mean"}
    seen = table[table["arm"].isin(ARMS)].groupby("arm", sort=False).agg(told)
    kicks = table[table["arm"].isin([NONE, *KICKS])].groupby("arm", sort=False)
    at = kicks[["decades_at_kick", "acc_after", "acc_later"]].mean()
    changes = where(arm=lambda arm: arm.isin(TWINS), n_slingshots=lambda n: n > 0)(table).groupby("arm", sort=False)
    circuits = changes[["restricted_change", "restricted_change_of_twin", "excluded_change", "excluded_change_of_twin"]]
    reported = table[table["n_slingshots"] > 0].groupby("arm", sort=False)["onsets"].agg(", ".join)
    notes = [
        "Weights and logits are float32 where nothing is said; float64 logits are computed from float32 weights, with "
        "their slopes; float64 is all. Twins have the same first weights and pairs. Two layers have 1500 steps, with "
        "decay 1200.",
        f"A slingshot: the training loss rises {MIN_DECADES:g} decades or more within {RISE_WITHIN} steps after "
        f"{CALM} steps of training accuracy {MEMORISED:g}, and the last layer's norm goes from growth to a plateau "
        f"within {CALM} steps. Ends are means over the last tenth of the record; circuits are those of the checkpoints "
        f"(every 100 steps) before the onset and {CALM} steps after the peak, by {N_KEYS} key frequencies.",
        f"Slingshots per run, median least training loss, test accuracy at the end and at best (chance {1 / 23:.3f}): "
        f"{listed(seen, '{} {:.3g}, {:.1e}, {:.2f}, {:.2f}', '; ')}.",
        f"Their onsets, run by run: {listed(reported, '{}: {}', '; ')}.",
        f"Kicks at step {KICKED}, in units of the learning rate, root mean square over the weights, along the last "
        f"step or across it (its numbers with other signs); a step of Adam is 1 at most, and at step "
        f"{KICKED - 100} it is {where(arm=NONE)(table)['step_size'].mean():.2g}. Means over seeds, rise of the "
        f"training loss in decades, test accuracy over the {CALM} steps after and over steps {LATER - 200} to {LATER}: "
        f"{listed(at, '{} {:.1f}, {:.3f}, {:.3f}', '; ')}.",
        "Mean change around a slingshot and in the twin at the same steps, restricted loss of all pairs and excluded "
        f"loss of the training pairs, nats: {listed(circuits.mean(), '{} {:.2g}, {:.2g} and {:.2g}, {:.2g}', '; ')}.",
        "Sizes, rates, α, the sizes of kicks and their step were chosen in pilots with seeds 90 and 91. A first "
        "version, with four seeds, another split and other claims, is in the history of this file.",
        "Thinned for time: transformers of one and two layers, dense networks of one and six; no epsilon; kicks in one "
        "layer only, across the last step at the largest size only.",
    ]
    study.write(given, table, draw(table, study.grouped(runs)), notes, made=LATER_CLAIMS)


if __name__ == "__main__":
    main()
