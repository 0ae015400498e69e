"""Figures: matplotlib's only door. Functions draw finished numbers on the Axes they are given.

Colours are Okabe and Ito's (told apart by colour-blind readers), lines differ in style too, axes carry
units. `save` writes PNG and SVG, the same bytes for the same figure. Nothing is ever shown on a screen.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.store.files import write_atomically
from circuitgrok.text import in_figure
from circuitgrok.tree import ROLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from circuitgrok.store.run import Run

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#777777",
)  # fmt: skip
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "svg.hashsalt": "circuitgrok",
    "svg.fonttype": "none",
}
LINES = ("-", "--", "-.", ":", (0, (1, 3)))
LOSS_UNITS = {
    "cross_entropy": "cross-entropy (nats)",
    "stablemax": "stablemax loss (nats)",
    "mse": "mean squared error",
}
MIXED_STEPS = 10  # steps below this are drawn on a linear scale


def sheet(rows: int, columns: int, size: tuple[float, float], **subplots: Any) -> "tuple[Figure, Any]":
    """An empty figure in the house style and its Axes, without touching pyplot's global state."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, **subplots)
    return figure, axes


def save(figure: "Figure", stem: str | Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg, each whole or not at all; their paths."""
    import matplotlib

    paths = [Path(f"{stem}.png"), Path(f"{stem}.svg")]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path, unsaid in zip(paths, ("Software", "Date"), strict=True):
        drawn = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(drawn, format=path.suffix[1:], metadata={unsaid: None})
        write_atomically(path, drawn.getvalue())
    return paths


def step_axis(ax: "Axes", last: int) -> None:
    """Steps from 0 on: linear below `MIXED_STEPS`, logarithmic above."""
    ax.set_xscale("symlog", linthresh=MIXED_STEPS, linscale=0.5)
    ax.set_xlim(0, last)
    ax.set_xlabel("optimizer step")


def values_axis(ax: "Axes", values: Sequence[float], label: str) -> None:
    """A logarithmic axis to the base 2 with these values as its ticks."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(set(values)), [f"{value:g}" for value in sorted(set(values))])
    ax.minorticks_off()
    ax.set_xlabel(label)


def times_axis(ax: "Axes", budget: int, which: str = "y") -> None:
    """A logarithmic axis (x or y) of steps that are drawn, with the budget at which times are censored as a line."""
    ax.set(**{f"{which}scale": "log"})
    axis, (low, _), line = (
        (ax.xaxis, ax.get_xlim(), ax.axvline) if which == "x" else (ax.yaxis, ax.get_ylim(), ax.axhline)
    )
    steps = [step for step in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if low / 2 < step < budget]
    axis.set_ticks(steps, [str(step) for step in steps])
    axis.minorticks_off()
    axis.set_label_text("optimizer step")
    line(budget, color=GREY, lw=0.8)
    if which == "y":
        where = ax.get_yaxis_transform()
        ax.text(0.99, budget, "budget (censored)", ha="right", va="bottom", fontsize=7, transform=where)


def legend_above(ax: "Axes", columns: int) -> None:
    """A legend of some columns above the panel, where it covers no line."""
    ax.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)


def legends(axes: "Iterable[Axes]") -> None:
    """A small legend in each of some panels."""
    for ax in axes:
        ax.legend(fontsize=7, frameon=False)


def draw_losses(ax: "Axes", history: "pd.DataFrame", table: "pd.DataFrame", unit: str = "cross-entropy (nats)") -> None:
    """Train and test loss against the step, and those of the circuit alone and without it where there is one."""
    ax.plot(history.index, history["train_loss"], color=BLUE, label="train")
    ax.plot(history.index, history["test_loss"], color=RED, label="test")
    if "restricted_loss[all]" in table:
        ax.plot(table.index, table["restricted_loss[all]"], color=GREEN, ls="--", label="restricted (all pairs)")
        ax.plot(table.index, table["excluded_loss[train]"], color=PURPLE, ls="-.", label="excluded (train)")
    ax.set_yscale("log")
    ax.set_ylabel(unit)
    ax.legend(loc="lower left")


def draw_accuracies(ax: "Axes", history: "pd.DataFrame", table: "pd.DataFrame") -> None:
    """Train and test accuracy, and test accuracy on pairs whose mirror was not trained on where there are pairs."""
    ax.plot(history.index, history["train_acc"], color=BLUE, label="train")
    ax.plot(history.index, history["test_acc"], color=RED, label="test")
    if "accuracy[test_mirror_unseen]" in table:
        unseen = table["accuracy[test_mirror_unseen]"]
        ax.plot(table.index, unseen, color=ORANGE, ls=":", label="test, (b, a) not in train")
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel("accuracy")
    ax.legend(loc="center left")


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
    lines = [*ax.get_lines(), *other.get_lines()]
    ax.legend(lines, [str(line.get_label()) for line in lines], loc="center left")


def draw_roles(ax: "Axes", table: "pd.DataFrame") -> None:
    """The norm of each role's weights."""
    roles = {role: f"norm[{role}]" for role in ROLES if f"norm[{role}]" in table}
    for (role, column), colour, style in zip(roles.items(), (BLUE, ORANGE, GREEN, PURPLE, SKY), LINES, strict=False):
        ax.plot(table.index, table[column], color=colour, ls=style, label=role)
    ax.set_ylim(0, None)
    ax.set_ylabel("weight norm of each role")
    ax.legend(loc="lower left")


def draw_spectrum(ax: "Axes", power: Mapping[int, float], key_freqs: Sequence[int], name: str) -> None:
    """Energy of each frequency as a share of the largest; key frequencies stand out."""
    top = max(power.values()) or 1.0
    colours = [RED if k in key_freqs else GREY for k in power]
    ax.bar(list(power), [value / top for value in power.values()], color=colours)
    ax.set_xlabel("frequency k")
    ax.set_ylabel(f"energy in {name} (share of largest)")
    ax.text(
        0.98,
        0.96,
        "key: " + ", ".join(map(str, key_freqs)),
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


def draw_seeds(ax: "Axes", rows: "pd.DataFrame", x: str, y: str, colour: str, style: str, label: str) -> None:
    """The median of `y` at each `x` as a line, the range over seeds as a band, every seed as a dot."""
    grouped = rows.groupby(x)[y]
    middle, low, high = grouped.median(), grouped.min(), grouped.max()
    ax.plot(middle.index, middle, color=colour, ls=style, label=label)
    ax.fill_between(middle.index.to_numpy(), low.to_numpy(), high.to_numpy(), color=colour, alpha=0.12, lw=0)
    ax.plot(rows[x], rows[y], ".", color=colour, ms=3.5, alpha=0.7)


def draw_groups(
    ax: "Axes",
    rows: "pd.DataFrame",
    by: str,
    x: str,
    y: str,
    colours: Mapping[Any, str] | Sequence[str],
    style: str = "-",
    label: str = "{}",
) -> None:
    """`draw_seeds` of the rows of each value of a column, which the label has in place of its braces.

    Args:
        ax: Where.
        rows: One for each value, `x` and seed.
        by: The column.
        x: What it is drawn against.
        y: What is drawn.
        colours: By value, others are not drawn; or in rising order of the values.
        style: Of every line.
        label: Such as `"decay {:g}"`.
    """
    of = colours if isinstance(colours, Mapping) else dict(zip(sorted(set(rows[by])), colours, strict=False))
    for value, colour in of.items():
        if len(group := rows[rows[by] == value]):
            draw_seeds(ax, group, x, y, colour, style, label.format(value))


def draw_cells(ax: "Axes", values: "pd.DataFrame", notes: "pd.DataFrame") -> "AxesImage":
    """A value between 0 and 1 in each cell of a grid as a colour, grey where it is nan, with a note on each."""
    ax.set_facecolor("#d9d9d9")
    image = ax.imshow(values, origin="lower", vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for i, (shown, said) in enumerate(zip(values.to_numpy(), notes.to_numpy(), strict=True)):
        for j, (value, note) in enumerate(zip(shown, said, strict=True)):
            ax.text(j, i, note, ha="center", va="center", fontsize=7, color="white" if value < 0.5 else "black")
    for axis, ticks in ((ax.xaxis, values.columns), (ax.yaxis, values.index)):
        axis.set_ticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
    ax.grid(False)
    return image


def draw_band(ax: "Axes", curves: "Sequence[pd.Series]", colour: str, style: str, label: str) -> None:
    """The median of some runs' curves at each step as a line, their range as a band."""
    import pandas as pd

    table = pd.concat(curves, axis=1)
    ax.plot(table.index, table.median(axis=1), color=colour, ls=style, lw=1.2, label=label)
    low, high = table.min(axis=1).to_numpy(), table.max(axis=1).to_numpy()
    ax.fill_between(table.index.to_numpy(), low, high, color=colour, alpha=0.12, lw=0)


def draw_runs(
    ax: "Axes", runs: Mapping[str, Sequence[Any]], column: str, colours: Mapping[str, str], style: str = "-"
) -> None:
    """`draw_band` of a column of the histories of each arm that has a colour."""
    for arm, colour in colours.items():
        draw_band(ax, [run.history[column] for run in runs[arm]], colour, style, arm)


def draw_dots(
    ax: "Axes", table: "pd.DataFrame", column: str, colours: Mapping[str, str], censored_at: float = math.nan
) -> None:
    """Every run's value as a dot (▷ at the limit if censored), their median as a bar, an arm below the other."""
    for i, (arm, colour) in enumerate(colours.items()):
        values = table[table["arm"] == arm][column].reset_index(drop=True)
        heights, known = i + 0.12 * (values.index - (len(values) - 1) / 2), values.fillna(censored_at)
        ax.plot([known.median()] * 2, [i - 0.35, i + 0.35], color=colour)
        for marker, shown, fill in (("o", values.notna(), colour), (">", values.isna(), "white")):
            ax.plot(known[shown], heights[shown], marker, color=colour, ms=5, mfc=fill)
    ax.set_yticks(range(len(colours)), list(colours), fontsize=7)
    ax.set_ylim(len(colours) - 0.4, -0.6)


def calibration_figure(table: "pd.DataFrame", localization: float) -> "Figure":
    """What a calibration saw: the estimate at each probe on each rung, with the step and with half of it.

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
        bad = rows[rows["fault"] != ""]
        ax.plot(bad["localization"], bad["llc"], "x", color="black", ms=9)
    ax.axvline(localization, color=GREY, lw=6, alpha=0.3, zorder=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("localization γ (band: taken; crosses: not to be believed)")
    ax.set_ylabel("λ̂ ± 2 MCSE (dotted: half the step)")
    ax.legend(fontsize=7, frameon=False)
    return figure


def run_figure(run: "Run", table: "pd.DataFrame") -> "Figure":
    """One run on one sheet: losses, accuracies, polar path, and the final spectrum of W_L or the norms by role.

    Args:
        run: The run.
        table: Its measures, group `polar`, and groups `fourier` and `circuits` where they make sense.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, axes = sheet(2, 2, (10, 6.4))
        history, last = run.history, int(run.history.index[-1])
        config, loss = run.config, run.config.objective.loss
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
        name = in_figure(run.name, longest=40)
        figure.suptitle(
            f"{name}: {config.task.formula}{network}, {config.task.n_train / config.task.n_pairs:.0%} train, "
            f"alpha {config.init.alpha:g} × {config.init.scheme} (r₀ = {run.manifest['start']['norm']:.1f}), "
            f"weight decay {config.optimizer.weight_decay:g}",
            fontsize=10,
        )
    return figure
