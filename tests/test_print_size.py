"""A figure for print has its width to the point, text that can be read, legends off the curves, the caller's fonts."""

import hashlib
import os
import re
import subprocess
import sys

import matplotlib
import pytest
from loops import for_each
from matplotlib.text import Text

from circuitgrok import figures

LONG = ["train", "test", "restricted (all pairs)", "excluded (train)"]


def two_panels(size=(10, 4), labels=LONG, rows=1):
    figure, axes = figures.sheet(rows, 2 // rows, size)
    for ax in axes:
        for label in labels:
            ax.plot([0, 1], [0, 1], label=label)
        ax.set_title("a panel", fontsize=4)
        ax.set_xlabel("step", fontsize=20)
        ax.tick_params(labelsize=3)
        ax.legend(title="what", fontsize=3)
    return figure, axes


def points(text) -> float:
    return float(text.get_fontsize())


def box(artist):
    return artist.get_window_extent()


@for_each("width", [figures.COLUMN, figures.PAGE])
def test_every_text_has_7_to_8_and_a_half_points_and_the_page_its_width(width, tmp_path):
    figure, _ = two_panels(rows=1 if width > 5 else 2)
    figures.paper(figure, width)
    figure.draw_without_rendering()
    sizes = [points(text) for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    assert len(sizes) > 20 and min(sizes) >= 7 and max(sizes) <= 8.5
    [path] = figures.save(figure, tmp_path / "figure.pdf")
    [page] = re.findall(rb"/MediaBox \[ 0 0 ([0-9.]+) ([0-9.]+) \]", path.read_bytes())
    height = 2.7 if width > 5 else 4.4
    assert [float(side) for side in page] == pytest.approx([72 * width, 72 * height], abs=0.01)


@for_each("width", [figures.COLUMN, figures.PAGE])
def test_legends_and_titles_stand_above_their_panels_and_over_nothing(width):
    figure, axes = two_panels(rows=1 if width > 5 else 2)
    assert box(axes[0].get_legend()).y0 < box(axes[0]).y1  # before
    figures.paper(figure, width)
    figure.draw_without_rendering()
    for ax in axes:
        legend = ax.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == LONG and legend.get_title().get_text() == "what"
        assert box(legend).y0 >= box(ax).y1
        assert box(ax.title).y0 >= box(legend).y1 - 0.5  # half a pixel
        assert [line.get_label() for line in ax.get_lines()] == LONG


def test_panels_have_letters_colour_bars_twins_and_single_panels_none():
    figure, axes = two_panels()
    axes[1].twinx().plot([0, 1], [1, 0])
    figure.colorbar(axes[0].imshow([[0, 1]]), ax=axes[0])
    figures.paper(figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a", "b", "", ""]
    assert [ax._left_title.get_fontweight() for ax in axes] == ["bold", "bold"]  # pyright: ignore
    alone, ax = figures.sheet(1, 1, (5, 3))
    assert figures.paper(alone, figures.COLUMN).axes[0].get_title(loc="left") == ""
    plain, axes = two_panels()
    figures.paper(plain, letters=False)
    assert [ax.get_title(loc="left") for ax in axes] == ["", ""]


def test_a_legend_takes_as_many_columns_as_its_panel_has_room_for():
    wide, narrow = two_panels(labels=["a", "b", "c"])[0], two_panels(labels=["long " * 8] * 3)[0]
    columns = [[ax.get_legend()._ncols for ax in figures.paper(figure).axes] for figure in (wide, narrow)]  # pyright: ignore
    assert columns == [[3, 3], [1, 1]]


def test_the_callers_fonts_are_kept_and_embedded(tmp_path):
    with matplotlib.rc_context({"font.family": "serif"}):
        figure, _ = two_panels()
    [path] = figures.save(figures.paper(figure), tmp_path / "figure.pdf")
    names = set(re.findall(rb"/FontName /\w+\+([\w-]+)", path.read_bytes()))
    assert names == {b"DejaVuSerif", b"DejaVuSerif-Bold"}
    assert b"/FontFile2" in path.read_bytes()  # TrueType, which journals take; none by name alone


def test_a_given_height_is_taken():
    figure, _ = two_panels(rows=2)
    assert figures.paper(figure, figures.COLUMN, height=5).get_size_inches().tolist() == [3.3, 5.0]


@pytest.mark.slow
def test_a_pdf_has_the_same_bytes_in_another_process(tmp_path):
    code = (
        "from circuitgrok import figures; figure, ax = figures.sheet(1, 1, (3, 2)); ax.set_title('abc');"
        "figures.save(figure, 'figure.pdf')"
    )
    seen = set()
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONHASHSEED": seed}, check=True
        )
        seen.add(hashlib.sha256((tmp_path / "figure.pdf").read_bytes()).hexdigest())
    assert len(seen) == 1
