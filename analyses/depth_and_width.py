"""Do deep and skinny networks grok sooner than shallow and wide ones, or without weight decay?

Networks of one, two and four layers with the same number of trained weights, to 5 %: embedding MLPs, and
transformers. Each trains on the same pairs with weight decay, where the question is when it groks, and without,
where it is whether it generalises at all. Every depth gets the same grid of learning rates and is judged by the
best of it.

    python analyses/depth_and_width.py            # three seeds: minutes
    python analyses/depth_and_width.py --quick    # two, for few steps: seconds
"""

import math
from itertools import product

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, above, delay_ratio, mean_interval
from circuitgrok.training.progress import LiveProgress

QUESTION = "Do deep and skinny networks grok sooner than shallow and wide ones, or without weight decay?"
FRAC_TRAIN = 0.6
DECAYS = (0.0, 2.0)
SOLVED = 0.95  # test accuracy that counts as generalising
EQUAL = 0.05  # how much the numbers of trained weights may differ
MLP = {"model": "embedding_mlp", "d_embed": 64, "act": "relu"}
FAMILIES = {
    "embedding MLP": {
        1: MLP | {"depth": 1, "d_hidden": 256},
        2: MLP | {"depth": 2, "d_hidden": 136},
        4: MLP | {"depth": 4, "d_hidden": 92},
    },
    "transformer": {
        1: {"n_layers": 1, "d_model": 64, "d_head": 16, "d_mlp": 256},
        2: {"n_layers": 2, "d_model": 44, "d_head": 11, "d_mlp": 197},
        4: {"n_layers": 4, "d_model": 32, "d_head": 8, "d_mlp": 134},
    },
}
RATES = {"embedding MLP": (1e-3, 3e-3), "transformer": (1e-3,)}
COLOURS = {0.0: figures.RED, 2.0: figures.BLUE}  # by decay


def configs(seeds: list[int], steps: int) -> dict[tuple[str, int, float, float, int], cg.TrainConfig]:
    """Every family, depth, rate, decay and seed; a seed sets initial weights and split."""
    base = cg.TrainConfig.preset("quickstart").with_(
        frac_train=FRAC_TRAIN, steps=steps, eval_every=20, checkpoint_every=steps, checkpoints_per_decade=0,
        checkpoint_on_move=100.0,
    )  # fmt: skip
    return {
        (family, depth, rate, decay, seed): base.with_(**leaves, lr=rate, weight_decay=decay, seed=seed, data_seed=seed)
        for family, depths in FAMILIES.items()
        for depth, leaves in depths.items()
        for rate in RATES[family]
        for decay in DECAYS
        for seed in seeds
    }


def n_trained(config: cg.TrainConfig) -> int:
    """How many weights train."""
    shapes = config.model.shapes()
    return sum(math.prod(shape) for name, shape in shapes.items() if config.model.is_trainable(name))


def row(arm: tuple[str, int, float, float, int], run: Run) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    history = run.history
    times = {f"{name}_by": math.nan if event.by is None else event.by for name, event in events(history).items()}
    return {
        **dict(zip(("family", "depth", "lr", "weight_decay", "seed"), arm, strict=True)),
        "n_trained": n_trained(run.config),
        "state": run.state,
        "r0": run.manifest["start"]["norm"],
        "final_norm": history["norm"].iloc[-1],
        "train_acc": history["train_acc"].iloc[-1],
        "test_acc": history["test_acc"].iloc[-1],
        "best_test_acc": history["test_acc"].max(),
        **times,
    }


def claims(table: pd.DataFrame, steps: int) -> list[Claim]:
    """For each family: who groks sooner with decay, who generalises without, and whether depth helps there."""
    made = []
    for family, rows in table.groupby("family", sort=False):
        decayed, free = (rows[rows["weight_decay"] == decay] for decay in (2.0, 0.0))
        times = decayed.groupby(["depth", "seed"])["grokked_by"].min().unstack("depth")  # min skips what is censored
        ends = free.groupby(["depth", "seed"])["test_acc"].max().unstack("depth")
        grokked = free.groupby(["depth", "seed"])["grokked_by"].min().unstack("depth").notna()
        made += [
            _sooner(
                f"{family}, decay 2: {depth} layers grok sooner than one of as many weights.",
                times[depth], times[1], steps,
            )
            for depth in FAMILIES[str(family)] if depth > 1
        ]  # fmt: skip
        for depth in FAMILIES[str(family)]:
            end = mean_interval(ends[depth].tolist())
            made.append(
                Claim(
                    f"{family}, no decay: {_layers(depth)} generalise within {steps} steps (test accuracy above "
                    f"{SOLVED:g}).",
                    f"final test accuracy {end}; grokked {int(grokked[depth].sum())} of {len(grokked)}",
                    above(end, SOLVED),
                )
            )
        gain = mean_interval((ends[4] - ends[1]).tolist())
        made.append(
            Claim(
                f"{family}, no decay: four layers end with a higher test accuracy than one.",
                f"paired difference {gain}",
                above(gain, 0.0),
            )
        )
    return made


def _layers(depth: int) -> str:
    return {1: "networks of one layer", 2: "networks of two layers", 4: "networks of four layers"}[depth]


def _sooner(text: str, deep: pd.Series, shallow: pd.Series, steps: int) -> Claim:
    """A claim that the deep network's T_grok is the smaller one, seed by seed."""
    ratio = delay_ratio(shallow, deep, steps)
    censored = f"censored of {len(deep)}: {int(deep.isna().sum())} deep, {int(shallow.isna().sum())} of one layer"
    return Claim(text, f"T_grok(one layer) / T_grok(deep), {ratio}; {censored}", ratio.exceeds(1))


def draw(table: pd.DataFrame, steps: int) -> "figures.Figure":
    """Times with decay, test accuracies without, and norms, against depth; a line for each learning rate."""
    figure, axes = figures.sheet(len(FAMILIES), 3, (13, 7.6))
    for panels, (family, rows) in zip(axes, table.groupby("family", sort=False), strict=True):
        for (decay, colour), rate in product(COLOURS.items(), RATES[str(family)]):
            own = rows[(rows["weight_decay"] == decay) & (rows["lr"] == rate)]
            style = "-" if rate == 1e-3 else "--"
            label = f"decay {decay:g}, rate {rate:g}"
            shown = own.assign(grokked_by=own["grokked_by"].fillna(steps))
            if decay:
                figures.draw_seeds(panels[0], shown, "depth", "grokked_by", colour, style, label)
            figures.draw_seeds(panels[1], own, "depth", "test_acc", colour, style, label)
            figures.draw_seeds(panels[2], own, "depth", "final_norm", colour, style, label)
        start = rows[(rows["weight_decay"] == 0) & (rows["lr"] == 1e-3)]
        figures.draw_seeds(panels[2], start, "depth", "r0", figures.GREY, ":", "at step 0")
        panels[0].axhline(steps, color=figures.GREY, lw=0.8)
        panels[0].text(4, steps, "budget (censored)", ha="right", va="bottom", fontsize=7)
        panels[0].set_ylabel("steps to test accuracy 0.95")
        panels[0].set_ylim(0, 1.1 * steps)
        panels[1].set_ylabel("final test accuracy")
        panels[1].set_ylim(-0.02, 1.04)
        panels[2].set_ylabel("weight norm r")
        panels[2].set_ylim(0, None)
        for ax in panels:
            ax.set_title(family, fontsize=9)
            ax.set_xscale("log", base=2)
            ax.set_xticks([1, 2, 4], ["1", "2", "4"])
            ax.minorticks_off()
            ax.set_xlabel("layers, at equal numbers of weights")
            ax.legend(fontsize=7, frameon=False)
    return figure


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "two seeds for few steps")
    seeds, steps = ([0, 1], 10) if given.quick else ([0, 1, 2], 2000)
    grid = configs(seeds, steps)
    names = [
        f"{family.replace(' ', '-').lower()}-{depth}-lr{rate:g}-wd{decay:g}-s{seed}"
        for family, depth, rate, decay, seed in grid
    ]
    trained = cg.train(
        list(grid.values()), given.out / "runs", names=names, progress=LiveProgress(), threads=given.threads
    )
    table = pd.DataFrame([row(arm, run) for arm, run in zip(grid, trained, strict=True)])
    base = trained[0].config
    sizes = table.groupby(["family", "depth"], sort=False)[["n_trained", "r0"]].mean()
    norms = table.groupby(["family", "depth", "weight_decay"], sort=False)["final_norm"].median().unstack()
    spread = max(sizes["n_trained"][family].max() / sizes["n_trained"][family].min() - 1 for family in FAMILIES)
    if spread > EQUAL:
        raise ValueError(f"networks of a family must have as many trained weights, to {EQUAL:.0%}; got {spread:.1%}")
    censored = table[table["grokked_by"].isna()].groupby(["family", "depth", "lr", "weight_decay"], sort=False)
    shapes = {
        (family, depth): f"{leaves['d_hidden']} neurons" if "d_hidden" in leaves else f"d_model {leaves['d_model']}"
        for family, depths in FAMILIES.items()
        for depth, leaves in depths.items()
    }
    notes = [
        f"{base.task.formula}, {base.task.n_train} training pairs; AdamW, weight decay 0 and 2; seeds {seeds}; {steps} "
        f"steps; evaluated every {base.schedule.eval_every}; an event counts once it holds at {HOLD + 1} evaluations "
        "in a row. Base inits fan_in (embedding MLP, embeddings of 64) and nanda (transformer, 4 heads) at α = 1. "
        "Layers, width per layer, trained weights, ‖θ₀‖: "
        + "; ".join(
            f"{family} {depth}, {shape}, {sizes['n_trained'][family, depth]:.0f}, {sizes['r0'][family, depth]:.2f}"
            for (family, depth), shape in shapes.items()
        )
        + f" (equal to {spread:.1%} within a family).",
        "Learning rates, the same for every depth: "
        + ", ".join(f"{family} {' and '.join(f'{rate:g}' for rate in rates)}" for family, rates in RATES.items())
        + ". Of several rates the claims take for each network and seed the smallest T_grok, and the largest final "
        "test accuracy. With one rate only, a depth that needs another one is not seen at its best.",
        "Norm at the end, median, without decay and with: "
        + "; ".join(
            f"{family} {depth}, {norms[0.0][family, depth]:.1f} and {norms[2.0][family, depth]:.1f}"
            for family, depth in shapes
        )
        + ".",
        "Censored means that test accuracy never held 0.95 within the budget. Censored runs: "
        + (
            ", ".join(
                f"{family} {depth}, rate {rate:g}, decay {decay:g}: {len(rows)}"
                for (family, depth, rate, decay), rows in censored
            )
            or "none"
        )
        + f" (of {len(seeds)} each; {len(table)} runs).",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]
    verdicts.write(given.out, QUESTION, claims(table, steps), notes, table, draw(table, steps))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
