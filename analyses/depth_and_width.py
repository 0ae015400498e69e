"""Do deep and skinny networks grok sooner than shallow and wide ones, or without weight decay?

Networks of one, two and four layers with the same number of trained weights, to 5 %: embedding MLPs, and
transformers. Each trains on the same pairs with weight decay, where the question is when it groks, and without,
where it is whether it generalises at all. Every depth gets the same grid of learning rates and is judged by the
best of it.

    python analyses/depth_and_width.py            # ten seeds; --dry-run says how long
    python analyses/depth_and_width.py --quick    # two, for few steps: seconds
"""

import math
from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.store.run import Run
from circuitgrok.study.claims import Mean, Ratio, Selection, where
from circuitgrok.study.evidence import Declared
from circuitgrok.study.rows import listed
from circuitgrok.study.selections import by_seed
from circuitgrok.study.study import Studies, Study, evenly

SOLVED = 0.95  # test accuracy that counts as generalising
BASE = cg.TrainConfig.preset("quickstart").with_(frac_train=0.6, steps=2000, eval_every=20, **evenly(2000))
DEPTHS = {"one layer": 1, "two layers": 2, "four layers": 4}
QUESTION = "Do deep and skinny networks grok sooner than shallow and wide ones, or without weight decay?"
FAMILIES = {
    "embedding MLP": Study(
        "Do deep and skinny MLPs?",
        BASE.with_(model="embedding_mlp", d_embed=64, act="relu"),
        {
            "one layer": {"depth": 1, "d_hidden": 256},
            "two layers": {"depth": 2, "d_hidden": 136},
            "four layers": {"depth": 4, "d_hidden": 92},
        },
        {"lr": [1e-3, 3e-3], "weight_decay": [0.0, 2.0]},
    ),
    "transformer": Study(
        "Do deep and skinny transformers?",
        BASE,
        {
            "one layer": {"n_layers": 1, "d_model": 64, "d_head": 16, "d_mlp": 256},
            "two layers": {"n_layers": 2, "d_model": 44, "d_head": 11, "d_mlp": 197},
            "four layers": {"n_layers": 4, "d_model": 32, "d_head": 8, "d_mlp": 134},
        },
        {"lr": [1e-3], "weight_decay": [0.0, 2.0]},
    ),
}
COLOURS = {0.0: figures.RED, 2.0: figures.BLUE}  # by decay


def best(family: str, arm: str, weight_decay: float) -> Selection:
    """Of a network the soonest T_grok and the largest final test accuracy over the learning rates, by seed."""
    rows = where(family=family, arm=arm, weight_decay=weight_decay)
    return by_seed(rows, grokked_after="min", grokked_by="min", test_acc="max")


def claims(family: str) -> list[Declared]:
    """Who groks sooner with decay, who generalises without, and whether depth helps there."""
    decayed, free = ({arm: best(family, arm, decay) for arm in DEPTHS} for decay in (2.0, 0.0))
    sooner = [
        Ratio(decayed["one layer"], decayed[arm], name="T_grok(one layer) / T_grok(deep)")
        .exceeds(1, f"{family}, decay 2: {arm} grok sooner than one of as many weights.")
        for arm in ("two layers", "four layers")
    ]  # fmt: skip
    solved = [
        Mean(rows, "test_acc", "final test accuracy", bounds=(0, 1))
        .exceeds(SOLVED, f"{family}, no decay: networks of {arm} generalise in time (test accuracy above {SOLVED:g}).")
        for arm, rows in free.items()
    ]  # fmt: skip
    gain = Mean(free["four layers"], "test_acc", "paired difference", less=free["one layer"], bounds=(-1, 1))
    more = gain.exceeds(0, f"{family}, no decay: four layers end with a higher test accuracy than one.")
    return [*sooner, *solved, more]


CLAIMS = [*claims("embedding MLP"), *claims("transformer")]
STUDY = Studies(QUESTION, FAMILIES, "family", CLAIMS)
QUICK = STUDY.with_(steps=10, seeds=[0, 1])


def size(run: Run) -> dict[str, Any]:
    """How many weights train."""
    model = run.config.model
    return {"n_trained": sum(math.prod(of) for name, of in model.shapes().items() if model.is_trainable(name))}


def draw(table: pd.DataFrame, study: Studies) -> "figures.Figure":
    """Times with decay, test accuracies without, and norms, against depth; a line for each learning rate."""
    figure, axes = figures.sheet(2, 3, (13, 7.6))
    for (time, accuracy, radius), (family, part) in zip(axes, study.parts.items(), strict=True):
        rows, budget = where(family=family)(table), part.base.schedule.steps
        rows = rows.assign(until=rows["grokked_by"].fillna(budget))
        for rate, style in zip(part.grid["lr"], ("-", "--"), strict=False):
            own, label = where(lr=rate)(rows), f"decay {{:g}}, rate {rate:g}"
            figures.draw_groups(time, own, "weight_decay", "depth", "until", {2.0: COLOURS[2.0]}, style, label)
            figures.draw_groups(accuracy, own, "weight_decay", "depth", "test_acc", COLOURS, style, label)
            figures.draw_groups(radius, own, "weight_decay", "depth", "final_norm", COLOURS, style, label)
        start = where(weight_decay=0, lr=1e-3)(rows)
        figures.draw_seeds(radius, start, "depth", "r0", figures.GREY, ":", "at step 0")
        figures.times_axis(time, budget)
        time.set_ylabel("step to test accuracy 0.95")
        accuracy.set(ylabel="final test accuracy", ylim=(-0.02, 1.04))
        radius.set(ylabel="weight norm r", ylim=(0, None))
        for ax in (time, accuracy, radius):
            figures.values_axis(ax, list(DEPTHS.values()), "layers, at equal numbers of weights")
            ax.set_title(family, fontsize=9)
    figures.legends(axes.flat)
    return figure


def main() -> None:
    given, study = STUDY.asked(__file__, QUICK, "two seeds for few steps")
    table = study.table(study.train(given), size)
    table["depth"] = table["arm"].map(DEPTHS)
    networks = table.groupby(["family", "arm"], sort=False)[["n_trained", "r0"]].mean()
    norms = table.pivot_table(index=["family", "arm"], columns="weight_decay", values="final_norm", aggfunc="median")
    notes = [
        "Networks: trained weights, ‖θ₀‖, and the norm at the end, median, without decay and with: "
        f"{listed(networks.join(norms), '{}, {}: {:.0f}, {:.2f}, {:.1f} and {:.1f}', '; ')}.",
        "Of several rates the claims take for each network and seed the smallest T_grok, and the largest final test "
        "accuracy. With one rate only, as for the transformer, a depth that needs another is not seen at its best.",
    ]
    study.write(given, table, draw(table, study), notes)


if __name__ == "__main__":
    main()
