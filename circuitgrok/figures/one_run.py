"""What draws one run: its losses, accuracies, polar path, roles and spectrum, all on one sheet; its calibration."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from circuitgrok.figures.style import (
    BLUE,
    GREEN,
    GREY,
    LINES,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    in_style,
    sheet,
    step_axis,
)
from circuitgrok.text import in_figure
from circuitgrok.tree import ROLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from circuitgrok.store.checkpoints import Checkpoints

MOST_NAMED = 8  # key frequencies that a panel has room to name
LOSS_UNITS = {
    "cross_entropy": "cross-entropy (nats)",
    "stablemax": "stablemax loss (nats)",
    "mse": "mean squared error",
}


def draw_losses(ax: "Axes", history: "pd.DataFrame", table: "pd.DataFrame", unit: str = "cross-entropy (nats)") -> None:
    """Train and test loss against the step, and those of the circuit alone and without it where there is one.

    Where the split is not known they are those of all pairs.
    """
    known = _draw_sides(ax, history, table, "loss")
    if "restricted_loss[all]" in table:
        side, said = ("train", "train") if known else ("all", "all pairs")
        ax.plot(table.index, table["restricted_loss[all]"], color=GREEN, ls="--", label="restricted (all pairs)")
        ax.plot(table.index, table[f"excluded_loss[{side}]"], color=PURPLE, ls="-.", label=f"excluded ({said})")
    ax.set_yscale("log")
    ax.set_ylabel(unit)
    ax.legend(loc="lower left", frameon=False)


def draw_accuracies(ax: "Axes", history: "pd.DataFrame", table: "pd.DataFrame") -> None:
    """Train and test accuracy, and test accuracy on pairs whose mirror was not trained on where there are pairs."""
    if _draw_sides(ax, history, table, "acc") and "accuracy[test_mirror_unseen]" in table:
        unseen = table["accuracy[test_mirror_unseen]"]
        ax.plot(table.index, unseen, color=ORANGE, ls=":", label="test, (b, a) not in train")
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel("accuracy")
    ax.legend(loc="center left", frameon=False)


def _draw_sides(ax: "Axes", history: "pd.DataFrame", table: "pd.DataFrame", score: str) -> bool:
    """A score on both sides of the split, or on all pairs where the split is not known; whether it is."""
    known = bool(history[f"train_{score}"].notna().any())
    if known:
        ax.plot(history.index, history[f"train_{score}"], color=BLUE, label="train")
        ax.plot(history.index, history[f"test_{score}"], color=RED, label="test")
    elif (column := {"loss": "loss[all]", "acc": "accuracy[all]"}[score]) in table:
        ax.plot(table.index, table[column], color=BLUE, label="all pairs")
    return known


def draw_polar(ax: "Axes", history: "pd.DataFrame", table: "pd.DataFrame") -> None:
    """The norm, and on a second axis the angle to the start."""
    ax.plot(history.index, history["norm"], color=BLUE, label="norm r")
    ax.set_ylabel("weight norm r", color=BLUE)
    ax.set_ylim(0, None)
    other = ax.twinx()
    other.plot(table.index, table["angle_start"], color=ORANGE, ls="--", label="angle to the start")
    other.set_ylabel("angle to the start (rad)", color=ORANGE)
    other.set_ylim(0, None)
    other.grid(False)
    other.spines["top"].set_visible(False)
    lines = [*ax.get_lines(), *other.get_lines()]
    ax.legend(lines, [str(line.get_label()) for line in lines], loc="center left", frameon=False)


def draw_roles(ax: "Axes", table: "pd.DataFrame") -> None:
    """The norm of each role's weights."""
    roles = {role: f"norm[{role}]" for role in ROLES if f"norm[{role}]" in table}
    for (role, column), colour, style in zip(roles.items(), (BLUE, ORANGE, GREEN, PURPLE, SKY), LINES, strict=False):
        ax.plot(table.index, table[column], color=colour, ls=style, label=role)
    ax.set_ylim(0, None)
    ax.set_ylabel("weight norm of each role")
    ax.legend(loc="lower left", frameon=False)


def draw_spectrum(ax: "Axes", power: Mapping[int, float], key_freqs: Sequence[int], name: str) -> None:
    """Energy of each frequency as a share of the largest; key frequencies stand out."""
    top = max(power.values()) or 1.0
    colours = [RED if k in key_freqs else GREY for k in power]
    ax.bar(list(power), [value / top for value in power.values()], color=colours)
    few = len(key_freqs) <= MOST_NAMED
    ax.set_ylim(0, 1.15)  # room for what stands above the bars
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("frequency k")
    ax.set_ylabel(f"energy in {name} (share of largest)")
    ax.text(
        0.98,
        0.99,
        "key: " + (", ".join(map(str, key_freqs)) if few else f"{len(key_freqs)} of {len(power)}"),
        ha="right",
        va="top",
        transform=ax.transAxes,
        color=RED,
    )


def spectrum(table: "pd.DataFrame", step: int, tensor: str) -> dict[int, float]:
    """Energy by frequency out of a table of measures (group `fourier`); tensor is W_E or W_L."""
    prefix = f"power_{tensor}["
    names = [str(name) for name in table.columns if str(name).startswith(prefix)]
    values = table.loc[[step], names].to_numpy()[0].tolist()
    return {int(name[len(prefix) : -1]): value for name, value in zip(names, values, strict=True)}


def calibration_figure(table: "pd.DataFrame", localization: float) -> "Figure":
    """What a calibration saw: the estimate at each probe on each rung, with the step and half of it, and noise alone.

    Args:
        table: `Calibration.table`.
        localization: The rung that was taken, to be marked.
    """
    figure, ax = sheet(1, 1, (6, 4))
    for (step, rows), colour in zip(table.groupby("step"), (BLUE, RED, GREEN, ORANGE, PURPLE), strict=False):
        rows = rows[rows["llc"] > 0].sort_values("localization")
        gamma = rows["localization"]
        ax.errorbar(gamma, rows["llc"], 2 * rows["mcse"], color=colour, marker="o", ms=4, label=f"step {step}")
        ax.plot(gamma, rows["llc_half_step"], color=colour, ls=":", marker="s", ms=4, mfc="white")
        for column, style in (("prior", "--"), ("noise", "-.")):
            if column in rows:  # calibrations that were kept before have it not
                ax.plot(gamma, rows[column], color=colour, ls=style, lw=0.8)
        bad = rows[rows["fault"] != ""]
        ax.plot(bad["localization"], bad["llc"], "x", color="black", ms=9)
    ax.axvline(localization, color=GREY, lw=6, alpha=0.3, zorder=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("localization γ (band: taken; crosses: not to be believed)")
    ax.set_ylabel("λ̂ ± 2 MCSE (dotted: half the step)\ndashed: prior-only; dash-dotted: noise as wide")
    ax.legend(fontsize=7, frameon=False)
    return figure


def run_figure(run: "Checkpoints", table: "pd.DataFrame") -> "Figure":
    """One run on one sheet: losses, accuracies, polar path, and the final spectrum of W_L or the norms by role.

    Args:
        run: The run, or other checkpoints; those without a history are evaluated.
        table: Its measures, group `polar`, and groups `fourier` and `circuits` where they make sense.
    """
    from circuitgrok.store.checkpoints import (
        config_of,
        history_of,
        is_trained_here,
        name_of,
        split_is_known,
        start_norm,
    )

    with in_style():
        figure, axes = sheet(2, 2, (10, 6.4))
        history, config = history_of(run), config_of(run)
        last, loss = int(history.index[-1]), config.objective.loss
        same = table if loss == "cross_entropy" else table[[]]  # cross-entropies have no place beside another loss
        draw_losses(axes[0, 0], history, same, LOSS_UNITS[loss])
        draw_accuracies(axes[0, 1], history, table)
        draw_polar(axes[1, 0], history, table)
        for ax in axes.flat[:3]:
            step_axis(ax, last)
        if power := spectrum(table, run.steps[-1], "W_L"):
            draw_spectrum(axes[1, 1], power, table.attrs["key_freqs"], "W_L")
        else:
            draw_roles(axes[1, 1], table)
            step_axis(axes[1, 1], last)
        network = "" if config.model.kind == "transformer" else f" ({config.model.kind})"
        name = in_figure(name_of(run), longest=40)
        made = f"first norm {start_norm(run):.1f}"
        if is_trained_here(run):
            made = f"alpha {config.init.alpha:g} × {config.init.scheme} (r₀ = {start_norm(run):.1f})"
            made += f", weight decay {config.optimizer.weight_decay:g}"
        share = f"{config.task.n_train / config.task.n_pairs:.0%} train" if split_is_known(run) else "split not known"
        figure.suptitle(f"{name}: {config.task.formula}{network}, {share}, {made}", fontsize=10)
    return figure
