"""Which regularizers make a network grok, and when?

The same networks are trained on the same pairs without any regularizer, with forms of weight decay, with penalties on
the loss, with noise, with other losses, and with gradients that are transformed, one at a time. Where a coefficient
has to be chosen, two values are tried: both are in the table, and the claims are about the better one. Grokfast is
compared at equal decay. And whatever groks: does its norm have to fall for it?

    python analyses/regularizers.py            # three seeds: minutes
    python analyses/regularizers.py --quick    # two, for few steps: seconds
"""

import math
from typing import Any

import pandas as pd

import circuitgrok as cg
from circuitgrok import figures
from circuitgrok.measures.learning.crossings import HOLD, events
from circuitgrok.store.run import Run
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, delay_ratio, mean_interval, share_interval
from circuitgrok.training.progress import LiveProgress
from circuitgrok.tree import ROLES

QUESTION = "Which regularizers make a network grok, and when?"
FRAC_TRAIN = 0.6  # of quickstart's pairs, with which the reference groks well before the end
NONE, REFERENCE, MATCHED = "no regularizer", "weight decay 2", "Grokfast with weight decay 2"
FASTER = 3.0  # by which Grokfast has to be
DECAY = {"weight_decay": 2.0}
HIDDEN = tuple(role for role in ROLES if role in ("attention", "mlp"))
ENDS = tuple(role for role in ROLES if role in ("embed", "unembed"))
AVERAGES: dict[str, dict[str, Any]] = {
    "average 0.98": {"grokfast_ema": 2.0, "grokfast_decay": 0.98},
    "average 0.9": {"grokfast_ema": 2.0, "grokfast_decay": 0.9},
}
# What is added to a run without decay: for each regularizer its settings, the best of which is judged.
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    NONE: {"": {}},
    REFERENCE: {"": DECAY},
    "decay 2 to the initial weights": {"": DECAY | {"decay_to_init": True}},
    "decay 2 of embed and unembed": {"": DECAY | {"decay_roles": ENDS}},
    "decay 2 of attention and MLP": {"": DECAY | {"decay_roles": HIDDEN}},
    "L2 penalty": {"1e-4": {"l2": 1e-4}, "1e-3": {"l2": 1e-3}},
    "L1 penalty": {"1e-5": {"l1": 1e-5}, "1e-4": {"l1": 1e-4}},
    "nuclear norm": {"1e-4": {"nuclear": 1e-4}, "1e-3": {"nuclear": 1e-3}},
    "weight noise": {"0.02": {"weight_noise": 0.02}, "0.05": {"weight_noise": 0.05}},
    "gradient noise": {"1e-3": {"gradient_noise": 1e-3}, "1e-2": {"gradient_noise": 1e-2}},
    "dropout": {
        "MLP 0.2": {"dropout_mlp": 0.2},
        "everywhere 0.2": {"dropout_embed": 0.2, "dropout_attention": 0.2, "dropout_mlp": 0.2},
    },
    "label smoothing 0.1": {"": {"label_smoothing": 0.1}},
    "StableMax": {"": {"loss": "stablemax"}},
    "OrthoGrad": {"": {"orthograd": "tensor"}},
    "Grokfast": AVERAGES,
    MATCHED: {setting: DECAY | leaves for setting, leaves in AVERAGES.items()},
}
COLOURS = (
    (("no regularizer",), figures.GREY, "none"),
    (("weight decay", "decay"), figures.BLUE, "decoupled decay"),
    (("L2", "L1", "nuclear"), figures.ORANGE, "penalty"),
    (("weight noise", "gradient noise", "dropout"), figures.GREEN, "noise"),
    (("label", "StableMax"), figures.PURPLE, "loss"),
    (("OrthoGrad", "Grokfast"), figures.RED, "gradient transform"),
)


def configs(seeds: list[int], steps: int) -> dict[tuple[str, str, int], cg.TrainConfig]:
    """Every setting for every seed, which sets initial weights, split and noise."""
    base = cg.TrainConfig.preset("quickstart").with_(frac_train=FRAC_TRAIN, steps=steps, weight_decay=0.0)
    base = base.with_(checkpoint_every=steps, checkpoints_per_decade=0, checkpoint_on_move=100.0)
    return {
        (arm, setting, seed): base.with_(seed=seed, data_seed=seed, noise_seed=seed, **leaves)
        for arm, settings in ARMS.items()
        for setting, leaves in settings.items()
        for seed in seeds
    }


def row(run: Run, arm: str, setting: str) -> dict[str, object]:
    """One run as a line of the table; a time is nan where it is censored at the last step."""
    history = run.history
    found = {name: math.nan if event.by is None else event.by for name, event in events(history).items()}
    last, r0 = history.iloc[-1], run.manifest["start"]["norm"]
    at = {name: math.nan if math.isnan(by) else history["norm"].loc[int(by)] for name, by in found.items()}
    return {
        "arm": arm,
        "setting": setting,
        "seed": run.config.init.seed,
        "state": run.state,
        "r0": r0,
        "norm_memorised": at["memorised"],
        "norm_grokked": at["grokked"],
        "final_norm": last["norm"],
        "r_over_r0": last["norm"] / r0,
        "train_acc": last["train_acc"],
        "test_acc": last["test_acc"],
        "best_test_acc": history["test_acc"].max(),
        **{f"{name}_by": by for name, by in found.items()},
    }


def best_settings(table: pd.DataFrame, steps: int) -> dict[str, str]:
    """Of each regularizer the setting with most runs that grokked, then the least mean time, then test accuracy."""

    def rank(rows: pd.DataFrame) -> tuple[float, float, float]:
        times = rows["grokked_by"]
        return times.isna().sum(), times.fillna(steps).mean(), -rows["best_test_acc"].mean()

    chosen = {}
    for arm, settings in ARMS.items():
        of_arm = table[table["arm"] == arm]
        chosen[arm] = min(settings, key=lambda setting, of=of_arm: rank(of[of["setting"] == setting]))
    return chosen


def claims(table: pd.DataFrame, chosen: dict[str, str], steps: int) -> list[Claim]:
    """Who groks at its best setting, and how late; Grokfast at equal decay; what the norm does."""
    best = {arm: _rows(table, arm, setting).set_index("seed") for arm, setting in chosen.items()}
    times = {arm: rows["grokked_by"] for arm, rows in best.items()}
    made = [
        Claim(
            f"Without any regularizer no run groks within {steps} steps.",
            f"{_share(times[NONE])}; best test accuracy {best[NONE]['best_test_acc'].max():.3f}; {_ends(best[NONE])}",
            "holds" if times[NONE].isna().all() else "fails",
        )
    ]
    for arm, rows in best.items():
        if arm == NONE:
            continue
        picked = f" ({chosen[arm]}, the best of {len(ARMS[arm])})" if chosen[arm] else ""
        ratio = delay_ratio(times[arm], times[REFERENCE], steps)
        later = "" if arm == REFERENCE else f"; over that with {REFERENCE}, {ratio}"
        made.append(
            Claim(
                f"With {arm}{picked} every run groks within {steps} steps.",
                f"{_share(times[arm])}; T_grok {_times(times[arm])}{later}; {_ends(rows)}",
                "holds" if times[arm].notna().all() else "fails",
            )
        )
    matched = delay_ratio(times[REFERENCE], times[MATCHED], steps)
    alone = delay_ratio(times[REFERENCE], times["Grokfast"], steps)
    made.append(
        Claim(
            f"At equal decay Grokfast makes runs grok at least {FASTER:g} times sooner.",
            f"T_grok without Grokfast over with it, {matched}; against Grokfast without decay, {alone}",
            matched.exceeds(FASTER),
        )
    )
    return made + norm_claims(table)


def norm_claims(table: pd.DataFrame) -> list[Claim]:
    """What the norm of runs that grok does, over all settings."""
    grokked, others = (table[table["grokked_by"].notna() == which] for which in (True, False))
    phased = grokked[grokked["memorised_by"] < grokked["grokked_by"]]
    shown = [
        ("when it has grokked than when it had memorised", phased, phased["norm_grokked"] / phased["norm_memorised"]),
        ("at its end than at its start", grokked, grokked["r_over_r0"]),
    ]
    made = []
    for when, rows, ratio in shown:
        rises = rows[ratio >= 1]
        counts = ", ".join(_counted(of) for _, of in rises.groupby(["arm", "setting"], sort=False))
        extent = f"; ratio {ratio.min():.3g} to {ratio.max():.3g}" if len(rows) else ""
        made.append(
            Claim(
                f"Whatever groks has a falling norm: every run that groks has a smaller norm {when}.",
                f"{len(rises)} of {len(rows)} have not{extent}{f' ({counts})' if counts else ''}",
                "undecided" if rows.empty else "fails" if len(rises) else "holds",
            )
        )
    text = "The norm at the end tells who grokked: every run that did has a smaller r / r₀ than every run that did not."
    if grokked.empty or others.empty:
        return [*made, Claim(text, f"{len(grokked)} runs grokked and {len(others)} did not", "undecided")]
    below = sum((others["r_over_r0"] > ratio).mean() for ratio in grokked["r_over_r0"]) / len(grokked)
    measured = (
        f"r / r₀ at most {grokked['r_over_r0'].max():.3g} where grokked, at least {others['r_over_r0'].min():.3g} "
        f"elsewhere; of pairs of one and the other {below:.3f} are in this order"
    )
    separate = grokked["r_over_r0"].max() < others["r_over_r0"].min()
    return [*made, Claim(text, measured, "holds" if separate else "fails")]


def _sorted_arms(table: pd.DataFrame, chosen: dict[str, str]) -> str:
    """Which regularizers make all runs grok, some, or none."""
    groups: dict[str, list[str]] = {"every run": [], "some runs": [], "no run": []}
    for arm, setting in chosen.items():
        solved = _rows(table, arm, setting)["grokked_by"].notna()
        groups["every run" if solved.all() else "some runs" if solved.any() else "no run"].append(arm)
    return "; ".join(f"{which} grokked with: {', '.join(arms) or 'none'}" for which, arms in groups.items()) + "."


def _rows(table: pd.DataFrame, arm: str, setting: str) -> pd.DataFrame:
    return table[(table["arm"] == arm) & (table["setting"] == setting)]


def _share(times: pd.Series) -> str:
    hits = int(times.notna().sum())
    return f"{hits} of {len(times)}, share {share_interval(hits, len(times))}"


def _times(times: pd.Series) -> str:
    return ", ".join("censored" if math.isnan(time) else f"{time:.0f}" for time in times)


def _ends(rows: pd.DataFrame) -> str:
    return f"r / r₀ at the end {mean_interval(rows['r_over_r0'].tolist())}"


def _counted(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{_label(first['arm'], first['setting'])}: {len(rows)}"


def _label(arm: str, setting: str) -> str:
    return f"{arm} ({setting})" if setting else arm


def _colour(arm: str) -> str:
    return next(colour for starts, colour, _ in COLOURS if arm.startswith(starts))


def draw(table: pd.DataFrame, chosen: dict[str, str], steps: int) -> "figures.Figure":
    """A row for each setting: when it grokked, the best test accuracy, and the norm at its end."""
    settings = [(arm, setting) for arm, of_arm in ARMS.items() for setting in of_arm]
    figure, axes = figures.sheet(1, 3, (11, 7.5), sharey=True, width_ratios=[2, 1, 1])
    for i, (arm, setting) in enumerate(settings):
        rows, colour = _rows(table, arm, setting), _colour(arm)
        solved, open_ended = rows[rows["grokked_by"].notna()], rows[rows["grokked_by"].isna()]
        for marker, of, times in (("o", solved, solved["grokked_by"]), (">", open_ended, [steps] * len(open_ended))):
            look = {"color": colour, "ms": 6, "alpha": 0.8, "mfc": colour if marker == "o" else "white", "ls": ""}
            spread = [i + 0.16 * (seed - rows["seed"].mean()) for seed in of["seed"]]
            axes[0].plot(times, spread, marker, **look)
            axes[1].plot(of["best_test_acc"], spread, marker, **look)
            axes[2].plot(of["r_over_r0"], spread, marker, **look)
        axes[0].plot(rows["memorised_by"], [i] * len(rows), "|", color="black", ms=7)
    names = [
        _label(arm, setting) + (", best" if len(ARMS[arm]) > 1 and chosen[arm] == setting else "")
        for arm, setting in settings
    ]
    axes[0].set_yticks(range(len(settings)), names, fontsize=7)
    axes[0].set_ylim(len(settings) - 0.4, -0.6)
    axes[0].axvline(steps, color=figures.GREY, lw=0.8)
    axes[0].set_xscale("log")
    ticks = [tick for tick in (10, 20, 50, 100, 200, 500, 1000, 2000) if tick <= steps]
    axes[0].set_xticks(ticks, map(str, ticks))
    axes[0].minorticks_off()
    axes[0].set_xlabel("optimizer step: memorised |, grokked ●, censored at the budget ▷")
    axes[1].set_xlabel("best test accuracy")
    axes[1].axvline(0.95, color=figures.GREY, lw=0.8)
    axes[2].set_xlabel("norm at the end, r / r₀")
    axes[2].axvline(1, color=figures.GREY, lw=0.8)
    for _, colour, label in COLOURS:
        axes[0].plot([], [], "o", color=colour, label=label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize=8, frameon=False)
    return figure


def main() -> None:
    given = verdicts.asked(QUESTION, __file__, "two seeds for few steps")
    seeds, steps = ([0, 1], 6) if given.quick else ([0, 1, 2], 1400)
    grid = configs(seeds, steps)
    names = ["-".join(f"{arm} {setting} s{seed}".split()) for arm, setting, seed in grid]
    trained = cg.train(
        list(grid.values()), given.out / "runs", names=names, progress=LiveProgress(), threads=given.threads
    )
    table = pd.DataFrame([row(run, arm, setting) for (arm, setting, _), run in zip(grid, trained, strict=True)])
    chosen, base = best_settings(table, steps), trained[0].config
    scanned = [
        f"{arm} {', '.join(f'{each} ({_times(_rows(table, arm, each).grokked_by)})' for each in settings)}"
        for arm, settings in ARMS.items()
        if len(settings) > 1
    ]
    unfitted = table[table["memorised_by"].isna()].groupby(["arm", "setting"], sort=False)
    notes = [
        f"{base.task.formula}, {base.task.n_train} training pairs; one layer, d_model {base.transformer.d_model}, "
        f"d_mlp {base.transformer.d_mlp}; AdamW {base.optimizer.lr:g}, no decay but where it is named; base init "
        f"{base.init.scheme} at α = 1, ‖θ₀‖ = {table['r0'].mean():.2f}. Seeds {seeds}, {len(table)} runs of {steps} "
        f"steps, evaluated every {base.schedule.eval_every}; an event counts once it holds at {HOLD + 1} evaluations "
        f"in a row. A seed sets initial weights, split and noise, so that arms are compared seed by seed. "
        f"That these seeds grok with {REFERENCE} was known before: training share and budget were chosen for it.",
        "Claims with every or no are about these runs; the interval of the share says how little so few seeds tell of "
        f"others. A censored time counts as the budget of {steps} steps; it is not evidence that the run never groks.",
        "Settings that were tried, with T_grok of each seed (the best is picked by the runs that it is then judged by: "
        "most that grokked, then the least mean time, then test accuracy): " + "; ".join(scanned) + ". The ranges come "
        "from a pilot with seed 3, of up to 800 steps.",
        "At its best setting, " + _sorted_arms(table, chosen),
        "L1, L2 and nuclear norm are added to the loss, times the coefficient, and so go through Adam; decay is "
        "decoupled. Noise has the standard deviation given in each coordinate. Grokfast: amplitude 2, the moving "
        "average with the decay named (0.98 in the paper). OrthoGrad: by tensor, the gradient's length kept. Losses "
        "and accuracies in the history are without noise and dropout.",
        f"Not memorised (train accuracy 0.99) within {steps} steps: "
        + (", ".join(_counted(rows) for _, rows in unfitted) or "none") + f" (of {len(seeds)} each). Diverged runs: "
        f"{int((table['state'] == 'diverged').sum())}.",
    ]  # fmt: skip
    verdicts.write(given.out, QUESTION, claims(table, chosen, steps), notes, table, draw(table, chosen, steps))
    print((given.out / "verdict.md").read_text())


if __name__ == "__main__":
    main()
