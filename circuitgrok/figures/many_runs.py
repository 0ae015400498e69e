"""What draws many runs: seeds, groups of rows, arms."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


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
    ax: "Axes", table: "pd.DataFrame", column: str, colours: Mapping[str, str], censored_at: float | str = math.nan
) -> None:
    """Every run's value as a dot (▷ at the limit if censored), their median as a bar, an arm below the other.

    The limit is one for all, or the column of the table that has each run's own.
    """
    for i, (arm, colour) in enumerate(colours.items()):
        rows = table[table["arm"] == arm].reset_index(drop=True)
        values, limit = rows[column], rows[censored_at] if isinstance(censored_at, str) else censored_at
        apart = min(0.12, 0.7 / max(1, len(values)))  # so that an arm's dots stay in its line
        heights, known = i + apart * (values.index - (len(values) - 1) / 2), values.fillna(limit)
        ax.plot([known.median()] * 2, [i - 0.35, i + 0.35], color=colour)
        for marker, shown, fill in (("o", values.notna(), colour), (">", values.isna(), "white")):
            ax.plot(known[shown], heights[shown], marker, color=colour, ms=5, mfc=fill)
    ax.set_yticks(range(len(colours)), list(colours), fontsize=7)
    ax.set_ylim(len(colours) - 0.4, -0.6)


def draw_leads(ax: "Axes", leads: "pd.DataFrame", first: "pd.Series", names: Sequence[str], colour: str) -> None:
    """The lead of every run by each indicator, a row for each, with the median; hollow where the alarm came at once.

    Args:
        ax: Where.
        leads: Rows of `study.early_warning.leads`, of runs with an event.
        first: The first checkpoint that was looked at, by run.
        names: Of the indicators, from top to bottom.
        colour: Of the dots.
    """
    at_once = leads["alarm"] == leads["run"].map(first).astype(float)
    for i, name in enumerate(reversed(names)):
        rows = leads[leads["indicator"] == name]
        for so, fill in ((at_once[rows.index], "white"), (~at_once[rows.index], colour)):
            ax.plot(rows["lead"][so], [i] * int(so.sum()), "o", color=colour, ms=5, mfc=fill, alpha=0.7)
        if len(rows):
            ax.plot(rows["lead"].median(), i, "|", color="black", ms=14, mew=2)
    ax.set_yticks(range(len(names)), list(reversed(names)))


def draw_shares(ax: "Axes", shares: "pd.DataFrame") -> None:
    """A table of shares with its numbers, darker where they are smaller; grey where there is none."""
    ax.set_facecolor("#d9d9d9")
    ax.imshow(shares.astype(float), vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for i, row in enumerate(shares.to_numpy(dtype=float)):
        for j, x in enumerate(row):
            said, colour = "–" if math.isnan(x) else f"{x:.2f}", "white" if x < 0.5 else "black"
            ax.text(j, i, said, ha="center", va="center", fontsize=7, color=colour)
    ax.set_xticks(range(shares.shape[1]), [str(name).replace(" ", "\n", 1) for name in shares.columns])
    ax.set_yticks(range(len(shares)), list(shares.index))
    ax.tick_params(axis="x", labelsize=7)
    ax.grid(False)
