"""Why do deep networks slingshot in float64, where one layer does not: depth, rate, Adam's ε or its β₂?

Transformers of one, two and four layers and MLPs of one and four hidden ones, each from the ‖θ₀‖ of one layer, at one
rate and for as many steps, with the arithmetic in float32 and in float64. Slingshots are said to need an ε that is
small beside the root of Adam's second moment, and this moment to forget as gradients vanish: ε and β₂ are varied where
there are slingshots and where there are none. `slingshots` asks what they do, and has kicks.

    python analyses/slingshots_by_depth.py --claims   # what is claimed, to be committed before the runs
    python analyses/slingshots_by_depth.py            # ten seeds; --dry-run says how long
    python analyses/slingshots_by_depth.py --quick    # two, for few steps: seconds
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.figures import BLUE, GREY, ORANGE, PURPLE, RED
from circuitgrok.measures.learning.cycles import cycles
from circuitgrok.measures.learning.slingshots import CALM, MEMORISED, MIN_DECADES, RISE_WITHIN, slingshots
from circuitgrok.store.run import Run
from circuitgrok.study.around_slingshots import either_side, first_time, keys_change
from circuitgrok.study.claims import Mean, Ratio, Selection, Share, where
from circuitgrok.study.equal_starts import matched
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed, has_grokked, picked_apart
from circuitgrok.study.study import Study, evenly
from circuitgrok.study.walked import step_sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = "Why do deep networks slingshot in float64, where one layer does not: depth, rate, Adam's ε or its β₂?"
RATE, N_KEYS = 1e-3, 4  # learning rate of transformers; frequencies that the measures of circuits take
LOW, FULL = {"loss_precision": "float32"}, {"precision": "float64"}
MLP = {"model": "embedding_mlp", "d_embed": 32, "d_hidden": 128, "act": "relu", "lr": 3e-3}
BASE = cg.TrainConfig.preset("quickstart").with_(
    d_model=32, d_head=8, d_mlp=128, alpha=0.65, equals=False, p=23, frac_train=0.8, split="mirror_free", lr=RATE,
    weight_decay=0.0, steps=1800, eval_every=10, **evenly(100),
)  # fmt: skip
Arm = Callable[[cg.TrainConfig], dict[str, Any]]


def layers(n: int, what: str) -> str:
    """An arm of transformers."""
    return f"{n} layer{'s' * (n > 1)}, {what}"


def hidden(n: int, what: str) -> str:
    """An arm of MLPs."""
    return f"MLP of {n}, {what}"


def as_long(n: int, **leaves: Any) -> Arm:
    """Transformers of so many layers from the ‖θ₀‖ of one."""
    return partial(matched, {"n_layers": n, **leaves}, leaves)


def as_long_mlp(n: int, **leaves: Any) -> Arm:
    """MLPs of so many hidden layers from the ‖θ₀‖ of one at α = 1."""
    shape = {**MLP, **leaves, "depth": n}
    return lambda cell: matched(shape, {**shape, "depth": 1}, cell.with_(alpha=1.0))


SINGLE, DEPTH = layers(1, "float32"), (1, 2, 4)
DEPTHS: dict[str, Arm] = {layers(n, "float32"): as_long(n, **LOW) for n in DEPTH}
DEPTHS |= {layers(n, "float64"): as_long(n, **FULL) for n in DEPTH}
EPSILONS: dict[str, Arm] = {layers(1, "float32, ε 1e-6"): as_long(1, eps=1e-6, **LOW)}
EPSILONS |= {layers(1, "float64, ε 1e-16"): as_long(1, eps=1e-16, **FULL)}
EPSILONS |= {layers(2, "float64, ε 1e-4"): as_long(2, eps=1e-4, **FULL)}
MEMORIES: dict[str, Arm] = {layers(2, "float64, β₂ 0.999"): as_long(2, beta2=0.999, **FULL)}
MEMORIES |= {layers(1, "float64, β₂ 0.9"): as_long(1, beta2=0.9, **FULL)}
OTHERS: dict[str, Any] = {
    layers(2, "float32, own ‖θ₀‖"): {"n_layers": 2, **LOW},
    layers(2, "SGD"): as_long(2, rule="sgd", momentum=0.9, lr=0.05),
}
MLPS: dict[str, Arm] = {
    hidden(n, name): as_long_mlp(n, **of) for name, of in {"float32": LOW, "float64": FULL}.items() for n in (1, 4)
}
ARMS = DEPTHS | EPSILONS | MEMORIES | OTHERS | MLPS


def does(rows: pd.DataFrame) -> pd.Series:
    """Which runs slingshot."""
    return rows["n_slingshots"] > 0


def slings(arm: str) -> Share:
    """The share with a slingshot, of an arm's runs."""
    return Share(where(arm=arm), does, f"share of runs with a slingshot, {arm},")


def spares(name: str, *arms: str) -> Share:
    """The runs of some arms without a slingshot, of which a seed has several."""
    return Share(where(arm=lambda arm: arm.isin(arms)), lambda rows: ~does(rows), f"runs without a slingshot, {name}")


def latest(rows: pd.DataFrame) -> tuple[float, float]:
    """Of a rate's runs: how many have none, then the mean time."""
    times = rows["slung_by"]
    return times.isna().sum(), times.fillna(rows["steps"]).mean()


def soonest(n: int) -> Selection:
    """Float32 runs of a depth at the rate at which the other half of the seeds is soonest."""
    arms = [arm for arm in DEPTHS if arm.startswith(layers(n, "float32"))]
    return picked_apart(where(arm=lambda arm: arm.isin(arms)), "lr", latest)


def times(over: Selection, under: Selection, said: str) -> Ratio:
    """How many times as long some runs take to their first slingshot as others."""
    return Ratio(over, under, "slung", name=f"T_slingshot: {said}")


def at(arm: str) -> Selection:
    """An arm's rows."""
    return where(arm=arm)


OF_DEEP = where(arm=lambda arm: arm.isin([arm for arm in DEPTHS if not arm.startswith("1 layer")]))
PRECISIONS = {n: (layers(n, "float32"), layers(n, "float64")) for n in (2, 4)}
counted = [by_seed(where(arm=lambda arm, i=i: arm.isin([of[i] for of in PRECISIONS.values()])), n_slingshots="mean")
           for i in (0, 1)]  # fmt: skip
shot = by_seed(lambda table: OF_DEEP(table)[does(OF_DEEP(table))], change_at_slingshots="mean", keys_change="mean")
STILL = [layers(1, what) for what in ("float64", "float64, ε 1e-16", "float64, β₂ 0.9")]
CLAIMS = [
    slings(SINGLE).exceeds(0.25, "Positive control: with a float32 loss one layer slingshots, more than a quarter of "
                                 "other seeds' runs."),
    spares("1 layer, float64", *STILL).is_all(
        "In float64 one layer does not, nor does it with an ε of 1e-16 or with a β₂ of 0.9: no run slingshots.",
        "{arm}, seed {seed}",
    ),
    slings(layers(4, "float64")).exceeds(
        0.25, "Four layers slingshot in float64: more than a quarter of their runs."
    ).telling(slings(layers(2, "float64"))),
    Mean(counted[0], "n_slingshots", "slingshots of 2 and 4 layers, float32 less float64,", counted[1]).is_within(
        0.5, "Of two and four layers precision is no cause: they have as many in float32 as in float64, to 0.5."
    ),
    times(soonest(4), soonest(1), "4 layers over 1, each at its soonest rate").falls_below(
        1, "Deeper is sooner, from one norm and each at its soonest rate: four layers slingshot before one does."
    ).telling(
        times(soonest(2), soonest(1), "2 layers over 1"),
        times(at(layers(4, "float32")), at(SINGLE), "4 over 1 at one rate"),
        times(at(layers(2, "float32")), at(SINGLE), "2 over 1 at one rate"),
    ),
    times(at(layers(2, "float32, own ‖θ₀‖")), at(layers(2, "float32")), "2 layers, own ‖θ₀‖ over matched").is_within(
        1.5, "It is not the norm: from their own, larger ‖θ₀‖ two layers take 2/3 to 1.5 times as long."
    ),
    slings(layers(1, "float32, ε 1e-6")).falls_below(0.5, "An ε of 1e-6 ends the slingshots of one layer in float32."),
    slings(layers(2, "float64, ε 1e-4")).exceeds(
        0.25, "An ε of 1e-4 does not end those of two layers in float64: more than a quarter of the runs slingshot."
    ),
    slings(layers(2, "float64, β₂ 0.999")).falls_below(
        0.5, "A β₂ of 0.999 does end them: most runs of two layers in float64 do not slingshot."
    ).telling(slings(layers(2, "float64"))),
    slings(hidden(4, "float32")).exceeds(
        0.25, "Attention is not needed: of MLPs of four hidden layers in float32 more than a quarter slingshot."
    ),
    slings(hidden(1, "float32")).falls_below(0.5, "One hidden layer is not enough: most such MLPs do not."),
    spares("MLPs in float64", *(hidden(n, "float64") for n in (1, 4))).is_all(
        "In MLPs precision is all: in float64 no run of any depth slingshots.", "{arm}, seed {seed}"
    ),
    spares("2 layers, SGD", layers(2, "SGD")).is_all(
        "Negative control: by SGD two layers, which slingshot by Adam, do not.", "{arm}, seed {seed}"
    ),
    Mean(shot, "change_at_slingshots", "change of unseen pairs, 2 to 6 layers,", bounds=(-1, 1)).is_within(
        0.02, "Deep ones make nothing generalise: at slingshots of two to six layers answers of unseen pairs change by "
        "less than 2 points.",
    ).telling(Mean(shot, "keys_change", "change of the variance in key frequencies", bounds=(-1, 1))),
    Share(where(), lambda rows: ~has_grokked(rows), "runs that do not grok").is_all(
        "No run groks, with slingshots or without.", "{arm}, seed {seed}"
    ),
]  # fmt: skip
STUDY = Study(QUESTION, BASE, ARMS, seeds=range(10, 20), claims=CLAIMS)
QUICK = STUDY.with_(steps=40, checkpoint_every=10, seeds=[0, 1])


def measured(run: Run) -> dict[str, Any]:
    """A run's slingshots, the loss and the size of steps at the first one, answers and circuits around them."""
    history, config = run.history, run.config
    found, last = slingshots(history), int(history.index[-1])
    told: dict[str, Any] = {"lr": config.optimizer.lr, **cycles(history), **first_time(found, last)}
    sizes = step_sizes(run)
    onset = found[0].onset if found else last
    told |= {
        "loss_at_onset": history["train_loss"][onset] if found else math.nan,
        "step_before": sizes[sizes.index <= onset].iloc[-1],
        "step_least": sizes[sizes.index <= onset].iloc[1:].min(),
    }
    return told | keys_change(run, either_side(found, run.steps), N_KEYS)


def draw(table: pd.DataFrame, runs: Mapping[str, list[Run]]) -> "figures.Figure":
    """Training losses by depth and of MLPs; slingshots per run of every arm; the first ones by depth."""
    figure, axes = figures.sheet(2, 3, (12.5, 8))
    shown = [layers(1, "float64"), layers(2, "float64"), layers(4, "float64"), hidden(4, "float64")]
    for ax, arm in zip((*axes[0][:2], *axes[1][:2]), shown, strict=True):
        low = arm.replace("float64", "float32")
        for name, colour in ((low, RED), (arm, BLUE)):
            draw_losses(ax, runs[name], colour, name)
        ax.set(xlabel="optimizer step", ylabel="training loss (nats), seeds", yscale="log", ylim=(1e-10, 30))
    colours = {arm: (ORANGE if arm in MLPS else PURPLE if arm in EPSILONS | MEMORIES else GREY if arm in OTHERS
                     else RED if "float32" in arm else BLUE) for arm in ARMS}  # fmt: skip
    counts, when = axes[0][2], axes[1][2]
    figures.draw_dots(counts, table, "n_slingshots", colours)
    counts.tick_params(axis="y", labelsize=6)
    counts.set(xlim=(-0.3, max(3, table["n_slingshots"].max()) + 0.3), xlabel="slingshots per run (a dot each)")
    for precision, colour in (("float32", RED), ("float64", BLUE)):
        rows = table[table["arm"].isin([layers(n, precision) for n in DEPTH])]
        rows = rows.assign(first=rows["slung_by"].fillna(rows["steps"]), n=rows["arm"].str[0].astype(int))
        figures.draw_seeds(when, rows, "n", "first", colour, "-", f"transformers, {precision}")
    figures.values_axis(when, DEPTH, "layers")
    figures.times_axis(when, int(table["steps"].max()))
    when.set_ylabel("peak of the first slingshot (step)")
    figures.legends([when, *axes[0][:2], *axes[1][:2]])
    return figure


def draw_losses(ax: "Axes", runs: list[Run], colour: str, label: str) -> None:
    """The training loss of each run."""
    for i, run in enumerate(runs):
        loss = run.history["train_loss"]
        ax.plot(loss.index, loss.where(loss > 0), color=colour, lw=0.6, alpha=0.7, label=None if i else label)


def notes(table: pd.DataFrame) -> list[str]:
    """What a slingshot is; where arms end; what is so when they begin."""
    by_arm = table.groupby("arm", sort=False)
    ends = by_arm.agg({"memorised_by": "median", "n_slingshots": "mean", "least_train_loss": "median",
                       "end_test_acc": "mean"})  # fmt: skip
    begun = table[does(table)].groupby("arm", sort=False)
    onsets = begun[["loss_at_onset", "collapsed_at_onset", "step_before", "step_least"]].median()
    return [
        f"A slingshot is what it is in `slingshots`: the training loss rises {MIN_DECADES:g} decades or more within "
        f"{RISE_WITHIN} steps after {CALM} steps of training accuracy {MEMORISED:g}, and the last layer's norm goes "
        f"from growth to a plateau within {CALM} steps. Ends are means over the last tenth of the record.",
        "Float32 is that of loss, logits and weights, float64 too. "
        f"Transformers have the ‖θ₀‖ of one layer at α = {BASE.init.alpha:g} but where it is their own, and a rate of "
        f"{RATE:g}; SGD has 0.05 and momentum 0.9; MLPs have that of one hidden layer at α = 1, a rate of "
        f"{MLP['lr']:g}, ReLU, {MLP['d_embed']} and {MLP['d_hidden']} wide. ε is 1e-8 and β₂ 0.98 where nothing is "
        "said. Seeds are others than those of `slingshots`, and the network reads no '='.",
        "Median step of memorising, slingshots per run, median least training loss, unseen pairs at the end (chance "
        f"{1 / 23:.3f}): {listed(ends, '{} {:.0f}, {:.3g}, {:.1e}, {:.2f}', '; ')}.",
        "At the first onset, medians: training loss, share of pairs whose softmax has collapsed (float32), and the "
        "size of the last recorded step before it and of the least, in units of the learning rate in every weight: "
        f"{listed(onsets, '{} {:.1e}, {:.2f}, {:.2g}, {:.2g}', '; ')}.",
        "Sizes, rates, ε and β₂ were chosen in pilots with seeds 90 and 91, in one or two of which two layers "
        "slingshot with an ε of 1e-4 and not with a β₂ of 0.999. Thinned for time while runs of other arms were there, "
        "and in part had been looked at: no networks of six layers, no MLPs of two; no other rates, so that the "
        "soonest rate of a depth is the one that it has; ε is 1e-6 and 1e-16 in one layer, 1e-4 in two, and β₂ is "
        "varied in float64 alone. Of what is left out nothing had been looked at.",
    ]


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    runs = study.train(given)
    table = study.table(runs, measured)
    study.write(given, table, draw(table, study.grouped(runs)), notes(table))


if __name__ == "__main__":
    main()
