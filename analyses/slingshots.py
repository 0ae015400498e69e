"""What makes slingshots, and are they needed to grok without weight decay?

Without weight decay a network that has memorised goes on growing, and its training loss falls until float32
cannot tell it from zero. Then it jumps by many decades, the last layer stops growing, and all begins again. Here
the same networks train with everything that is said to make such cycles, and without one of them at a time: the
loss in float64, one layer, a large epsilon, SGD. Each float64 run is the twin of a float32 one (same weights, same
pairs), which tells what a slingshot does to test accuracy from what time does. Deep dense networks are a second case.

    python analyses/slingshots.py            # four seeds: minutes
    python analyses/slingshots.py --quick    # two, for few steps: seconds
"""

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, events
from circuitgrok.measures.learning.slingshots import (
    CALM,
    MEMORISED,
    MIN_DECADES,
    RISE_WITHIN,
    Slingshot,
    slingshots,
    summary,
)
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, Interval, above, below, mean_interval, share_interval
from circuitgrok.training.progress import LiveProgress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTION = "What makes slingshots, and are they needed to grok without weight decay?"
TRANSFORMER = {"n_layers": 2, "d_model": 32, "d_head": 8, "d_mlp": 128, "alpha": 0.65}
DENSE = {"model": "dense", "depth": 6, "width": 64, "alpha": 1.0}
ARMS: dict[str, tuple[dict[str, Any], str]] = {
    "2 layers, float32": ({}, figures.RED),
    "2 layers, float64": ({"loss_precision": "float64"}, figures.BLUE),
    "1 layer, float32": ({"n_layers": 1}, figures.ORANGE),
    "2 layers, float32, eps 1e-5": ({"eps": 1e-5}, figures.GREEN),
    "2 layers, float32, SGD": ({"rule": "sgd", "momentum": 0.9, "lr": 0.02}, figures.PURPLE),
    "2 layers, float64, decay 2": ({"loss_precision": "float64", "weight_decay": 2.0}, figures.SKY),
    "6 dense layers, float32": (DENSE, figures.RED),
    "6 dense layers, float64": (DENSE | {"loss_precision": "float64"}, figures.BLUE),
}
TWINS = {"2 layers, float32": "2 layers, float64", "6 dense layers, float32": "6 dense layers, float64"}
CONTROL = "2 layers, float64, decay 2"
MONITORS = ("softmax_collapse", "zero_losses", "gradient_sum", "margin_max")  # of losses in less than float64


def configs(seeds: list[int], steps: int) -> dict[str, cg.TrainConfig]:
    """All arms for each seed, which sets the initial weights and the split; dense networks train twice as long."""
    base = cg.TrainConfig.preset("quickstart").with_(
        **TRANSFORMER, p=23, frac_train=0.8, weight_decay=0.0, loss_precision="float32",
        eval_every=10, checkpoint_every=2 * steps, checkpoints_per_decade=0, checkpoint_on_move=100.0,
    )  # fmt: skip
    grid = {}
    for arm, (leaves, _) in ARMS.items():
        own = base.with_(**leaves, steps=2 * steps if "dense" in arm else steps)
        for seed in seeds:
            grid[f"{re.sub('[^a-z0-9]+', '-', arm.lower())}-s{seed}"] = own.with_(seed=seed, data_seed=seed)
    return grid


def change(history: pd.DataFrame, onsets: list[int]) -> float:
    """Test accuracy over the `CALM` steps after a step less that over those before, mean over the given steps."""
    accuracy, step = history["test_acc"], history.index
    changes = [
        accuracy[(step > at) & (step <= at + CALM)].mean() - accuracy[(step > at - CALM) & (step <= at)].mean()
        for at in onsets
    ]
    return sum(changes) / len(changes) if changes else math.nan


def row(arm: str, run: Run, twin: Run | None) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    history = run.history
    found = slingshots(history)
    cycles, onsets = summary(found), [cycle.onset for cycle in found]
    times = {f"{name}_by": math.nan if event.by is None else event.by for name, event in events(history).items()}
    return {
        "arm": arm,
        "seed": run.config.init.seed,
        "state": run.state,
        "r0": run.manifest["start"]["norm"],
        "final_norm": history["norm"].iloc[-1],
        **times,
        "n_slingshots": cycles.n_cycles,
        "onsets": " ".join(map(str, onsets)),
        "median_period": cycles.median_period,
        "median_jump": pd.Series([cycle.jump for cycle in found], dtype=float).median(),
        "median_norm_change": cycles.median_norm_change,
        "least_train_loss": history["train_loss"].min(),
        "least_train_loss_at": history["train_loss"].idxmin(),
        "test_acc": history["test_acc"].iloc[-1],
        "end_test_acc": _end(history),
        "best_test_acc": history["test_acc"].max(),
        "change_at_slingshots": change(history, onsets),
        "change_of_twin": math.nan if twin is None else change(twin.history, onsets),
        "twin_end_test_acc": math.nan if twin is None else _end(twin.history),
        **collapse(history, found, times["memorised_by"]),
    }


def _end(history: pd.DataFrame) -> float:
    """Mean test accuracy over the last tenth of the record, so that no single spike decides."""
    return history["test_acc"].iloc[-max(1, len(history) // 10) :].mean()


def collapse(history: pd.DataFrame, found: list[Slingshot], memorised: float) -> dict[str, float]:
    """The monitors' largest values, and what they are on the way to the first slingshot; nan where there is none."""
    shown = history.reindex(columns=list(MONITORS))  # losses in float64 have no monitors
    measured = {f"{name}_max": shown[name].max() for name in MONITORS}
    onset, step = found[0].onset if found else math.nan, shown.index
    late, early = (step > onset - CALM) & (step <= onset), (step >= memorised) & (step < memorised + CALM)
    return measured | {
        "collapsed_at_onset": shown["softmax_collapse"][step == onset].mean(),
        "gradient_sum_late": shown["gradient_sum"][late].mean(),
        "gradient_sum_early": shown["gradient_sum"][early].mean(),
    }


def claims(table: pd.DataFrame) -> list[Claim]:
    """Who slingshots, what comes before, what it does to test accuracy, and whether it is needed."""
    low = 10 * table["least_train_loss"][table["arm"].isin(TWINS)].median()
    made = [_who(table[table["arm"] == arm], arm, arm in TWINS, low) for arm in ARMS if arm != CONTROL]
    counts = table.pivot(index="seed", columns="arm", values="n_slingshots")
    made += [
        _mean(
            f"{arm}: a run slingshots more often than its float64 twin.",
            counts[arm] - counts[twin],
            lambda x, arm=arm, twin=twin: f"difference {x}; {counts[arm].mean():.3g} against {counts[twin].mean():.3g}",
            0.0,
        )
        for arm, twin in TWINS.items()
    ]
    shot = table[table["arm"].isin(TWINS) & (table["n_slingshots"] > 0)]
    grown = (shot["gradient_sum_late"] / shot["gradient_sum_early"]).map(math.log)
    jump = shot["change_at_slingshots"] - shot["change_of_twin"]
    made += [
        _mean(
            "Collapse comes first: at the onset of a run's first slingshot, all wrong classes have rounded to nothing "
            "for more than a tenth of the training pairs.",
            shot["collapsed_at_onset"],
            lambda x: f"share of pairs {x}",
            0.1,
        ),
        _mean(
            "The gradient's sum over classes, 0 in exact arithmetic, has grown by then: it is larger over the last "
            f"{CALM} steps before than over the first {CALM} after memorising.",
            grown,
            lambda x: f"ratio, {verdicts.factor(x)}",
            0.0,
        ),
        _mean(
            f"Test accuracy jumps at slingshots: it gains more from the {CALM} steps before to the {CALM} after "
            "than in the float64 twin at the same steps.",
            jump,
            lambda x: (
                f"gain less that of the twin {x}; {shot['change_at_slingshots'].mean():.3g} against "
                f"{shot['change_of_twin'].mean():.3g}"
            ),
            0.0,
        ),
        _mean(
            "Runs that slingshot end with a higher test accuracy than their float64 twins.",
            shot["end_test_acc"] - shot["twin_end_test_acc"],
            lambda x: (
                f"difference {x}; {shot['end_test_acc'].mean():.3g} against {shot['twin_end_test_acc'].mean():.3g}"
            ),
            0.0,
        ),
    ]
    reached = shot["twin_end_test_acc"] >= shot["end_test_acc"]
    made += [
        _share(
            "Slingshots are needed for what test accuracy there is without decay: float64 twins do not reach that of "
            "the runs that slingshot.",
            reached,
            "twins that do",
            below,
        ),
        _share("Slingshots suffice: runs that slingshot grok.", shot["grokked_by"].notna(), "that grok", above),
    ]
    decayed = table[table["arm"] == CONTROL]
    with_decay = "Control: with weight decay, in float64, the same networks"
    made += [
        _share(f"{with_decay} grok.", decayed["grokked_by"].notna(), "that do", above),
        _share(f"{with_decay} do not slingshot.", decayed["n_slingshots"] > 0, "that do", below),
    ]
    return made


def _who(rows: pd.DataFrame, arm: str, expected: bool, low: float) -> Claim:
    """Whether the runs of an arm slingshot, as they should or should not: of those that memorise and get that low."""
    text = f"{arm}: runs {'slingshot' if expected else 'do not slingshot'}."
    able = rows[rows["memorised_by"].notna() & (rows["least_train_loss"] <= low)]
    lowest = (
        f"memorised {int(rows['memorised_by'].notna().sum())} of {len(rows)}, least training loss "
        f"{rows['least_train_loss'].median():.1e} (median)"
    )
    if able.empty:
        return Claim(text, f"{lowest}: no run comes to {low:.1e}, as those that slingshot do", "undecided")
    shot = able["n_slingshots"] > 0
    share = share_interval(int(shot.sum()), len(able))
    onsets = [str(told).split()[0] for told in able["onsets"][shot]]
    first = f"; first onsets {', '.join(onsets)}" if onsets else ""
    return Claim(
        text,
        f"share with one slingshot or more {share} ({int(shot.sum())} of {len(able)}; per run "
        f"{', '.join(map(str, able['n_slingshots']))}{first}); {lowest}",
        above(share, 0.5) if expected else below(share, 0.5),
    )


def _mean(text: str, values: pd.Series, told: Callable[[Interval], str], threshold: float) -> Claim:
    """A claim that a mean over the runs that slingshot is above a threshold."""
    known = values.dropna().tolist()
    if len(known) < 2:
        return Claim(text, f"runs to judge by: {len(known)}", "undecided")
    interval = mean_interval(known)
    return Claim(text, f"{told(interval)} ({len(known)} runs)", above(interval, threshold))


def _share(text: str, hits: pd.Series, what: str, decide: Callable[[Interval, float], verdicts.Decision]) -> Claim:
    """A claim about the share of some runs, more or less than half of which do something."""
    if not len(hits):
        return Claim(text, "runs to judge by: 0", "undecided")
    share = share_interval(int(hits.sum()), len(hits))
    return Claim(text, f"share {what} {share} ({int(hits.sum())} of {len(hits)})", decide(share, 0.5))


def draw(table: pd.DataFrame, runs: dict[str, list[Run]]) -> "figures.Figure":
    """Training losses of twins, the last layer's norm, counts, test accuracies, what slingshots do to them."""
    figure, axes = figures.sheet(2, 3, (14, 7.6))
    for ax, (arm, twin) in zip((axes[0, 0], axes[0, 1]), TWINS.items(), strict=True):
        for name, style in ((twin, "--"), (arm, "-")):
            history = runs[name][0].history
            ax.plot(history.index, history["train_loss"].where(history["train_loss"] > 0), color=ARMS[name][1],
                    ls=style, lw=1, label=name)  # fmt: skip
        for i, cycle in enumerate(slingshots(runs[arm][0].history)):
            ax.axvline(cycle.onset, color=figures.GREY, ls=":", lw=1, label="onsets" if i == 0 else None)
        ax.set_yscale("log")
        ax.set_ylabel(f"training loss of seed {runs[arm][0].config.init.seed} (nats)")
    for arm, (_, colour) in ARMS.items():
        if "dense" not in arm:
            _band(axes[0, 2], runs[arm], "norm_unembed", arm, colour)
            _band(axes[1, 1], runs[arm], "test_acc", arm, colour)
    axes[0, 2].set_ylabel("norm of the last layer (median and range)")
    axes[1, 1].set_ylabel("test accuracy (median and range)")
    for ax in (axes[0, 0], axes[0, 1], axes[0, 2], axes[1, 1]):
        ax.set_xlabel("optimizer step")
        figures.legend_above(ax, 3)
    for i, (arm, (_, colour)) in enumerate(ARMS.items()):
        rows = table[table["arm"] == arm]
        spread = [i + 0.12 * (j - (len(rows) - 1) / 2) for j in range(len(rows))]
        axes[1, 0].plot(rows["n_slingshots"], spread, "o", color=colour, ms=5, alpha=0.8)
    axes[1, 0].set_yticks(range(len(ARMS)), list(ARMS), fontsize=7)
    axes[1, 0].invert_yaxis()
    axes[1, 0].set_xlim(-0.3, max(3, table["n_slingshots"].max()) + 0.3)
    axes[1, 0].set_xlabel("slingshots per run (a dot each)")
    for arm, marker in zip(TWINS, "os", strict=True):
        rows = table[table["arm"] == arm]
        filled = ARMS[arm][1] if marker == "o" else "white"
        axes[1, 2].plot(rows["change_of_twin"], rows["change_at_slingshots"], marker, color=ARMS[arm][1], mfc=filled,
                        label=arm)  # fmt: skip
    gains = table[["change_of_twin", "change_at_slingshots"]].abs().max().max()
    reach = 0.02 if math.isnan(gains) else max(0.02, 1.1 * gains)
    axes[1, 2].plot([-reach, reach], [-reach, reach], color=figures.GREY, lw=0.8)
    axes[1, 2].set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes[1, 2].locator_params(nbins=5)
    axes[1, 2].set_xlabel("gain in test accuracy at the same steps, float64 twin")
    axes[1, 2].set_ylabel("gain in test accuracy at slingshots")
    axes[1, 2].legend(fontsize=7, frameon=False)
    return figure


def _band(ax: "Axes", runs: list[Run], column: str, label: str, colour: str) -> None:
    """Median over seeds at each step as a line, their range as a band."""
    curves = pd.concat([run.history[column] for run in runs], axis=1)
    ax.plot(curves.index, curves.median(axis=1), color=colour, lw=1.2, label=label)
    ax.fill_between(curves.index, curves.min(axis=1), curves.max(axis=1), color=colour, alpha=0.1, lw=0)


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "two seeds for few steps")
    seeds, steps = ([0, 1], 20) if given.quick else ([0, 1, 2, 3], 3500)
    grid = configs(seeds, steps)
    trained = cg.train(
        list(grid.values()), given.out / "runs", names=list(grid), progress=LiveProgress(), threads=given.threads
    )
    runs = {arm: trained[i * len(seeds) : (i + 1) * len(seeds)] for i, arm in enumerate(ARMS)}
    twins = {arm: runs[TWINS[arm]] if arm in TWINS else [None] * len(seeds) for arm in ARMS}
    table = pd.DataFrame([row(arm, run, twin) for arm in ARMS for run, twin in zip(runs[arm], twins[arm], strict=True)])
    base, dense = (runs[arm][0].config for arm in TWINS)
    r0 = table.groupby("arm")["r0"].mean()
    grokked = table.groupby("arm", sort=False)["grokked_by"].apply(lambda times: int(times.notna().sum()))
    best = table.groupby("arm", sort=False)["best_test_acc"].median()
    notes = [
        f"{base.task.formula}, {base.task.n_train} training pairs of {base.task.n_pairs}. Transformers: d_model "
        f"{TRANSFORMER['d_model']}, d_mlp {TRANSFORMER['d_mlp']}, {steps} steps, base init {base.init.scheme} at α = "
        f"{base.init.alpha:g} (‖θ₀‖ = {r0['2 layers, float32']:.2f}; one layer {r0['1 layer, float32']:.2f}). Dense: "
        f"width {DENSE['width']}, {dense.schedule.steps} steps, base init {dense.init.scheme} at α = "
        f"{dense.init.alpha:g} (‖θ₀‖ = {r0['6 dense layers, float32']:.2f}). AdamW {base.optimizer.lr:g}, betas "
        f"{base.optimizer.beta1:g} and {base.optimizer.beta2:g}, ε {base.optimizer.eps:g}; SGD 0.02 with momentum 0.9; "
        "no weight decay but in the control. Weights and logits are float32 everywhere; the precision named is that "
        f"in which the loss is taken. Seeds {seeds}; evaluated every {base.schedule.eval_every}.",
        f"A slingshot: the training loss rises {MIN_DECADES:g} decades or more within {RISE_WITHIN} steps after "
        f"{CALM} steps of training accuracy {MEMORISED:g}, and the last layer's norm goes from growth to a plateau "
        f"within {CALM} steps. Test accuracy drops for some steps at the spike itself, which counts in its gain; ends "
        "are means over the last tenth of the record.",
        f"Grokked (test accuracy 0.95 at {HOLD + 1} evaluations in a row; else censored at the last step), of "
        f"{len(seeds)} each: " + ", ".join(f"{arm} {n}" for arm, n in grokked.items())
        + f". Chance is {1 / base.task.n_classes:.3f}; best test accuracies "
        + ", ".join(f"{arm} {value:.2f}" for arm, value in best.items())
        + " (medians).",
        "An arm without slingshots tells something only if its training loss came down to where the others slingshot: "
        "claims are about runs that memorise and reach ten times the median of their least losses. The collapse "
        "monitors are taken only of losses in less than float64.",
        "Sizes, rates, α and the tenth in the claim about collapse were set on pilots with seed 0 of the float32 arms; "
        "SGD's rate on pilots with these seeds, as the largest of 0.02, 0.03 and 0.1 at which none of them diverged.",
        f"Diverged runs: {int((table['state'] == 'diverged').sum())}.",
    ]  # fmt: skip
    verdicts.write(given.out, QUESTION, claims(table), notes, table, draw(table, runs))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
