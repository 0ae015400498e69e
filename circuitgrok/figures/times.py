"""When runs came to an event: the share that has not yet, and times against one field; censored ones as such."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from circuitgrok.figures.fields import field_axis, places
from circuitgrok.figures.style import BLUE, GREY, LINES, RED, in_style, sheet, times_axis
from circuitgrok.measures.learning.turnbull import turnbull
from circuitgrok.text import in_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVENTS = {"memorised": (BLUE, "s", -0.17), "grokked": (RED, "o", 0.17)}  # colour, mark, place within its column


def draw_survival(
    ax: "Axes",
    arms: Mapping[str, tuple[Sequence[int | float], Sequence[int | float]]],
    colours: Mapping[str, str],
    event: str = "grokked",
) -> None:
    """The share of each arm's runs that have not come to an event yet, against steps.

    A line goes down from one evaluation to the next, and does not say when between them. A tick is a run that was
    censored, at its last step. The legend says how many of how many runs came to it.

    Args:
        ax: Where; its horizontal axis becomes logarithmic.
        arms: By name, of each run the last step at which it had not happened and the first at which it had (nan where
            it had not by the end), as columns `<event>_after` and `<event>_by`; what is before step 1 is drawn there.
        colours: By name of an arm.
        event: What it is, for people.

    Example:
        >>> from circuitgrok import figures
        >>> figure, ax = figures.sheet(1, 1, (3.3, 2.5))
        >>> figures.draw_survival(ax, {"free": ([90, 190, 400], [100, 200, float("nan")])}, {"free": figures.BLUE})
        >>> ax.get_legend_handles_labels()[1]
        ['free, 2 of 3']
    """
    start = min(min(after) for after, _ in arms.values())
    for i, (arm, (after, by)) in enumerate(arms.items()):
        found = turnbull(after, by)
        censored = [step for step, end in zip(after, by, strict=True) if not end < float("inf")]
        last = max([*found.by, *censored])
        steps, shares = [start], [1.0]
        for low, high, share in zip(found.after, found.by, found.share, strict=True):
            steps += [low, high]
            shares += [shares[-1], share]
        x, style = [max(step, 1) for step in [*steps, last]], LINES[i % len(LINES)]
        label = f"{arm}, {found.n - found.n_censored} of {found.n}"
        ax.plot(x, [*shares, shares[-1]], color=colours[arm], ls=style, label=label)
        left = [([1.0, *found.share])[sum(end <= step for end in found.by)] for step in censored]
        ax.plot([max(step, 1) for step in censored], left, "|", color=colours[arm], ms=8, mew=1.5)
    ax.set(xscale="log", ylim=(-0.03, 1.03), xlabel="optimizer step", ylabel=f"share of runs that have not {event} yet")


def draw_times(ax: "Axes", rows: "pd.DataFrame", medians: Mapping[str, "pd.DataFrame"], field: str) -> None:
    """When each run memorised and grokked, against a field: a mark for a run, a bar for the median over runs.

    A censored time is an open triangle at the run's last step, and a censored median a dotted bar at what it is known
    to be larger than. Above each value stands how many runs grokked.

    Args:
        ax: Where.
        rows: Of a sweep's table.
        medians: By event, `circuitgrok.study.cells.cells` of its times along the field.
        field: Of the horizontal axis.
    """
    where = places(rows[field])
    recorded = rows[rows["steps"].notna()]
    for event, (colour, mark, aside) in EVENTS.items():
        of_value = medians[event].set_index(field)
        for i, (value, at) in enumerate(where.at.items()):
            group = recorded[recorded[field] == value].reset_index(drop=True)
            if not len(group):
                continue
            width = where.edges[i + 1] - where.edges[i]
            times, limits = group[f"{event}_by"], group["steps"]
            middle = of_value.loc[value]
            x = at + width * (aside + 0.1 * ((group.index + 0.5) / len(group) - 0.5) * 2)
            y = times.fillna(limits).clip(lower=1)
            for marker, shown, fill, alpha in ((mark, times.notna(), colour, 0.6), ("^", times.isna(), "white", 1)):
                ax.plot(x[shown], y[shown], marker, color=colour, ms=4, mfc=fill, alpha=alpha)
            ends = [at + width * (aside - 0.15), at + width * (aside + 0.15)]
            style = (0, (1, 1)) if middle["is_censored"] else "-"
            ax.plot(ends, [max(middle["value"], 1)] * 2, color=colour, ls=style, lw=2.2, zorder=3)
    for value, at in where.at.items():
        cell = medians["grokked"].set_index(field).loc[value]
        said = f"{cell['n_grokked']}/{cell['n']}" if cell["n"] else "no record"
        ax.text(at, 1.01, said, ha="center", va="bottom", fontsize=7, transform=ax.get_xaxis_transform())


def times_figure(
    panels: Mapping[str, tuple["pd.DataFrame", Mapping[str, "pd.DataFrame"]]], field: str, label: str
) -> "Figure":
    """The times of a sweep's runs against one field: a panel for each setting of the fields that are not its axis.

    Args:
        panels: Rows of a sweep's table and their medians, as for `draw_times`, by a panel's title.
        field: Of the horizontal axis.
        label: What it is.
    """
    across = max(len(set(rows[field])) for rows, _ in panels.values())
    columns = min(3, len(panels))
    rows_of = -(-len(panels) // columns)
    with in_style():
        size = (columns * (1.0 + max(0.6 * across, 2.6)), 3.2 * rows_of + 0.4)
        figure, grid = sheet(rows_of, columns, size, squeeze=False, sharey=True)
        axes = [*grid.flat]
        for ax, (title, (rows, medians)) in zip(axes, panels.items(), strict=False):
            draw_times(ax, rows, medians, field)
            field_axis(ax, "x", places(rows[field]), label)
            ax.set_title(in_figure(title or "runs that grokked / runs"), fontsize=8, pad=14)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        if budgets := [int(rows["steps"].max()) for rows, _ in panels.values() if rows["steps"].notna().any()]:
            for ax in axes[: len(panels)]:
                times_axis(ax, max(budgets), said="")
        marks = [(f"{event}: runs, median", colour, f"{mark}-", colour) for event, (colour, mark, _) in EVENTS.items()]
        marks.append(("censored, at the last step", GREY, "^:", "white"))
        handles = [axes[0].plot([], [], form, color=c, mfc=m, ms=4.5, label=said)[0] for said, c, form, m in marks]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7)
    return figure
