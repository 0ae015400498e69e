"""Figures at the width of print: text that can be read there, letters for panels, legends off the curves."""

from typing import TYPE_CHECKING, Any

from circuitgrok.figures.style import in_style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.3, 6.75  # inches: a column of two, and the text of a page
SMALLEST, LARGEST = 7.0, 8.5  # points, as printed


def paper(figure: "Figure", width: float = PAGE, height: float | None = None, letters: bool = True) -> "Figure":
    """The same figure, in place, as a paper prints it at its width without scaling.

    Every text has 7 to 8.5 points, legends stand above their panels, and several panels have letters. Fonts stay those
    that the figure was drawn with, the caller's `font.family` if there is one; `save(figure, "name.pdf")` embeds them.

    Args:
        figure: Any, drawn.
        width: In inches: `COLUMN` is 3.3, `PAGE` 6.75.
        height: In inches; by default in proportion, but at least 2.2 for a row of panels.
        letters: Whether panels have them where there is more than one.

    Example:
        >>> from circuitgrok import figures
        >>> figure, axes = figures.sheet(1, 2, (10, 4))
        >>> for ax in axes:
        ...     line = ax.plot([0, 1], [1, 0], label="a line")
        ...     legend = ax.legend()
        >>> figure = figures.paper(figure, figures.PAGE)
        >>> figure.get_size_inches().tolist(), [ax.get_title(loc="left") for ax in axes]
        ([6.75, 2.7], ['a', 'b'])
        >>> paths = figures.save(figure, "figure.pdf")
    """
    old_width, old_height = figure.get_size_inches()
    panels = list(_panels(figure))
    rows = len({panel.get_position(original=True).y0 for panel in panels})
    figure.set_size_inches(width, height or max(old_height * width / old_width, 2.2 * rows))
    with in_style():
        for text in _texts(figure):
            text.set_fontsize(min(max(float(text.get_fontsize()), SMALLEST), LARGEST))
        for number, ax in enumerate(panels if letters and len(panels) > 1 else ()):
            family = ax.xaxis.label.get_fontfamily()
            ax.set_title(chr(ord("a") + number), loc="left", weight="bold", size=LARGEST, family=family)
        for ax in panels:
            _legend_above(ax)
    return figure


def _panels(figure: "Figure") -> "Iterator[Axes]":
    """Axes that are panels: no colour bars, and of twins on one place the first."""
    places = []
    for ax in figure.axes:
        place = ax.get_position(original=True).bounds
        if ax.get_label() != "<colorbar>" and place not in places:
            places.append(place)
            yield ax


def _texts(figure: "Figure") -> "Iterable[Any]":
    """Every text of a figure, those of ticks that are not there yet as well."""
    figure.draw_without_rendering()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            sizes = [float(label.get_fontsize()) for label in axis.get_ticklabels()]
            axis.set_tick_params(labelsize=min(max([SMALLEST, *sizes]), LARGEST))
    return figure.findobj(lambda artist: hasattr(artist, "set_fontsize"))


def _legend_above(ax: "Axes") -> None:
    """Set the legend of a panel above it in as many columns as it has room for, and titles above the legend."""
    figure, old = ax.get_figure(root=True), ax.get_legend()
    if old is None or figure is None:
        return
    said, title = [text.get_text() for text in old.get_texts()], old.get_title().get_text() or None
    handles = [handle for handle in old.legend_handles if handle is not None]
    font = {"family": old.get_title().get_fontfamily(), "size": SMALLEST}
    over = 0.0
    for columns in range(len(said), 0, -1):
        new = ax.legend(
            handles, said, title=title, prop=font, title_fontproperties=font, ncols=columns, frameon=False,
            loc="lower center", bbox_to_anchor=(0.5, 1.0), handlelength=1.8, columnspacing=1.2, labelspacing=0.3,
            borderpad=0.2,
        )  # fmt: skip
        new.set_in_layout(False)  # while it is tried
        figure.draw_without_rendering()
        over = (new.get_window_extent().y1 - ax.get_window_extent().y1) / figure.dpi * 72 + 2
        if new.get_window_extent().width <= ax.get_window_extent().width or columns == 1:
            new.set_in_layout(True)
            break
    for text in (ax.title, ax._left_title, ax._right_title):  # pyright: ignore[reportAttributeAccessIssue]
        if text.get_text():
            font = text.get_fontproperties().copy()
            ax.set_title(text.get_text(), loc=text.get_horizontalalignment(), pad=over, fontproperties=font)
