"""What a phase diagram and a sheet of times show is what is in the table: colours, words, shares, censored marks."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loops import for_each
from matplotlib.colors import to_hex

from circuitgrok import figures
from circuitgrok.figures.phases import CENSORED, CLASS_COLOURS
from circuitgrok.measures.learning.classes import CLASSES
from circuitgrok.study.cells import cells

NAN = math.nan
FIELDS = ["alpha", "decay"]
# (memorised by, grokked by, class) of each setting's runs; None: not there
RUNS = {
    (0.5, "off"): [(10, 100, "comprehension"), (10, 300, "grokking"), (10, 200, "grokking")],
    (0.5, "on"): [(10, 2000, "grokking"), (10, NAN, "memorisation"), (10, NAN, "memorisation")],
    (1.0, "off"): [(10, 40, "comprehension"), (NAN, NAN, "confusion"), (10, 80, "comprehension")],
    (1.0, "on"): [(NAN, NAN, "confusion"), (NAN, NAN, "confusion"), None],
    (2.0, "off"): [(10, 4000, "grokking")] * 3,
    (2.0, "on"): [None, None, None],
}
BUDGET = 5000.0


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rows = []
    for (alpha, decay), runs in RUNS.items():
        for seed, run in enumerate(runs):
            memorised, grokked, name = run or (NAN, NAN, None)
            state, steps = ("finished", BUDGET) if run else ("missing", NAN)
            rows.append(
                {
                    "alpha": alpha,
                    "decay": decay,
                    "seed": seed,
                    "state": state,
                    "steps": steps,
                    "class": name,
                    "memorised_by": memorised,
                    "grokked_by": grokked,
                    "gap": 0.1 * seed if run else NAN,
                }
            )
    return pd.DataFrame(rows)


def panel(table, colour="grokked_by"):
    found = cells(table, FIELDS, "grokked_by" if colour == "class" else colour)
    figure = figures.phase_figure({"": found}, FIELDS, {name: f"{name}: what it is" for name in FIELDS}, colour)
    ax: Any = figure.axes[0]
    return figure, ax, found


def words(ax) -> dict[tuple[float, str], str]:
    """What is said at each place, by the setting that stands there."""
    where = [figures.places(RUNS_OF) for RUNS_OF in ([0.5, 1.0, 2.0], ["off", "on"])]
    said: dict[tuple[float, str], str] = {}
    for text in ax.texts:
        x, y = text.get_position()
        at = tuple(
            next(v for v, i in zip(one.at, range(9), strict=False) if one.edges[i] < z < one.edges[i + 1])
            for one, z in zip(where, (x, y), strict=True)
        )
        said[at] = "|".join(filter(None, [said.get(at), text.get_text().replace("\n", "|")]))
    return said


def areas(ax: Any) -> dict[str, float]:
    """Share of the panel that each colour of a class covers."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    found = dict.fromkeys(CLASSES, 0.0)
    for patch in ax.patches:
        name = {to_hex(c): n for n, c in CLASS_COLOURS.items()}.get(to_hex(patch.get_facecolor()))
        xy = patch.get_xy()
        if name and len(xy):
            found[name] += float(np.ptp(xy[:, 0]) * np.ptp(xy[:, 1]) / ((x1 - x0) * (y1 - y0)))
    return found


def test_a_cells_colour_is_its_median_and_no_censored_median_has_one(table):
    _, ax, found = panel(table)
    drawn = np.ma.filled(ax.collections[0].get_array().astype(float), NAN).reshape(2, 3)
    expected = found.assign(value=found["value"].mask(found["is_censored"])).pivot(
        index="decay", columns="alpha", values="value"
    )
    np.testing.assert_array_equal(drawn, expected.to_numpy())
    np.testing.assert_array_equal(drawn, [[200, 80, 4000], [NAN, NAN, NAN]])
    assert ax.collections[0].get_clim() == (80, 4000) and type(ax.collections[0].norm).__name__ == "LogNorm"


def test_a_cell_says_its_median_and_how_many_grokked(table):
    _, ax, _ = panel(table)
    assert words(ax) == {
        (0.5, "off"): "200|3/3", (0.5, "on"): "> 5000|1/3", (1.0, "off"): "80|2/3",
        (1.0, "on"): "> 5000|0/2|1 not done",
        (2.0, "off"): "4000|3/3", (2.0, "on"): "no record|3 not done",
    }  # fmt: skip


def test_what_is_not_known_is_hatched(table):
    _, ax, _ = panel(table)
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert len(hatched) == 3 and {to_hex(patch.get_facecolor()) for patch in hatched} == {CENSORED}
    assert {patch.get_xy()[:, 1].min() for patch in hatched} == {0.5}  # the upper row: decay on


@for_each("colour", ["grokked_by", "class"])
def test_the_area_of_a_class_is_its_share_of_the_runs(table, colour):
    _, ax, found = panel(table, colour)
    known = found[found[list(CLASSES)].sum(axis=1) > 0]
    shares = known[list(CLASSES)].div(known[list(CLASSES)].sum(axis=1), axis=0).sum() / 6  # of six cells
    height = {"grokked_by": figures.phases.STRIP, "class": 1}[colour]
    assert areas(ax) == pytest.approx({name: shares[name] * height for name in CLASSES})


def test_classes_are_told_in_numbers_of_runs(table):
    _, ax, _ = panel(table, "class")
    assert words(ax) == {
        (0.5, "off"): "1|2", (0.5, "on"): "1|2", (1.0, "off"): "2|1", (1.0, "on"): "confusion|2/2|1 not done",
        (2.0, "off"): "grokking|3/3", (2.0, "on"): "not known|3 not done",
    }  # fmt: skip


def test_axes_say_the_fields_and_their_values_and_the_bar_its_unit(table):
    figure, ax, _ = panel(table)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.5", "1", "2"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["off", "on"]
    assert ax.get_xlabel() == "alpha: what it is (log scale)" and ax.get_ylabel() == "decay: what it is"
    assert figure.axes[1].get_ylabel() == "median time to grok (optimizer steps)"
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(CLASSES)


def test_other_numbers_have_their_own_scale_and_unit(table):
    figure, ax, found = panel(table, "gap")
    drawn = np.ma.filled(ax.collections[0].get_array().astype(float), NAN).reshape(2, 3)
    np.testing.assert_allclose(drawn, found.pivot(index="decay", columns="alpha", values="value"))
    assert ax.collections[0].get_clim() == (0, 1) and "accuracy" in figure.axes[1].get_ylabel()


def test_a_sweep_of_which_nothing_is_known_is_drawn_without_a_bar(table):
    figure, ax, _ = panel(table[table["class"] == "confusion"])
    assert len(figure.axes) == 1 and len([patch for patch in ax.patches if patch.get_hatch()]) == 2


PLACES = {
    "ratios": ([4, 0.5, 1, 2], (-1, 0, 1, 2), True),
    "nearly ratios": ([0.1, 0.3, 1.0, 3.0], None, True),
    "distances": ([0.3, 0.5, 0.7], (0.3, 0.5, 0.7), False),
    "two are even either way": ([0.3, 0.9], (0.3, 0.9), False),
    "with zero": ([0, 1, 10, 100], (0, 1, 10, 100), False),
    "one": ([3], (3,), False),
    "words keep their order": (["b", "a"], (0, 1), False),
    "words beside numbers": (["none", 1.0], (0, 1), False),
}


@for_each(("values", "at", "is_log"), PLACES.values(), ids=PLACES)
def test_values_stand_where_their_spacing_says(values, at, is_log):
    found = figures.places([*values, *values])
    assert found.is_log == is_log and len(found.edges) == len(values) + 1
    assert at is None or tuple(found.at.values()) == at
    assert all(a < x < b for a, x, b in zip(found.edges, found.at.values(), found.edges[1:], strict=False))


# --- times against one field --------------------------------------------------------------------------


def test_every_runs_times_are_marks_and_medians_bars_and_censored_ones_open(table):
    rows = table[table["decay"] == "on"]
    medians = {event: cells(rows, ["alpha"], f"{event}_by") for event in ("memorised", "grokked")}
    figure = figures.times_figure({"": (rows, medians)}, "alpha", "alpha: what it is")
    ax: Any = figure.axes[0]
    marks: dict[str, list[float]] = {"s": [], "o": [], "^": []}
    bars = []
    for line in ax.get_lines():
        if line.get_marker() in marks:
            marks[line.get_marker()] += list(line.get_ydata())
        elif len(line.get_ydata()) == 2 and line.get_color() != figures.GREY:
            bars.append((line.get_color(), float(line.get_ydata()[0]), line.get_linestyle()))
    assert sorted(marks["s"]) == [10] * 3 and marks["o"] == [2000] and marks["^"] == [BUDGET] * 6
    assert bars == [
        (figures.BLUE, 10, "-"), (figures.BLUE, BUDGET, "--"), (figures.RED, BUDGET, "--"), (figures.RED, BUDGET, "--")
    ]  # fmt: skip
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["1/3", "0/2", "no record"]
    assert ax.get_yscale() == "log" and ax.get_ylabel() == "optimizer step"


def test_panels_share_the_axis_of_times(table):
    panels = {}
    for decay, rows in table.groupby("decay"):
        of_rows = {event: cells(rows, ["alpha"], f"{event}_by") for event in ("memorised", "grokked")}
        panels[f"decay = {decay}"] = (rows, of_rows)
    one, other = figures.times_figure(panels, "alpha", "alpha").axes
    assert one.get_ylim() == other.get_ylim() and other.get_title() == "decay = on"
