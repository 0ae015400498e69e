"""What is drawn is what was given, and nothing is shown."""

import base64
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from loops import for_each
from tiny_kinds import tiny_kind

from circuitgrok import figures
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train


@pytest.fixture(scope="module")
def table(finished):
    return measure(finished, ["polar", "fourier", "circuits"])


@pytest.fixture
def ax():
    return figures.sheet(1, 1, (4, 3))[1]


def drawn(ax) -> dict[str, tuple[list[float], list[float]]]:
    """The data of each labelled line."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.get_lines()}


def heights(ax) -> list[float]:
    return [bar.get_height() for bar in ax.patches]


def column(frame: pd.DataFrame, name: str) -> tuple[list[float], list[float]]:
    return list(frame.index), list(frame[name])


def test_losses_drawn_are_those_of_history_and_table(ax, finished, table):
    figures.draw_losses(ax, finished.history, table)
    assert drawn(ax) == {
        "train": column(finished.history, "train_loss"),
        "test": column(finished.history, "test_loss"),
        "restricted (all pairs)": column(table, "restricted_loss[all]"),
        "excluded (train)": column(table, "excluded_loss[train]"),
    }
    assert ax.get_yscale() == "log" and "nats" in ax.get_ylabel()


def test_accuracies_drawn_are_those_of_history_and_table(ax, finished, table):
    figures.draw_accuracies(ax, finished.history, table)
    assert drawn(ax) == {
        "train": column(finished.history, "train_acc"),
        "test": column(finished.history, "test_acc"),
        "test, (b, a) not in train": column(table, "accuracy[test_mirror_unseen]"),
    }


def test_polar_path_drawn_is_norm_and_angle_on_two_axes(ax, finished, table):
    figures.draw_polar(ax, finished.history, table)
    other = next(a for a in ax.figure.axes if a is not ax)
    assert drawn(ax) == {"norm r": column(finished.history, "norm")}
    assert drawn(other) == {"angle to the start": column(table, "angle_start")}
    assert "rad" in other.get_ylabel()


def test_spectrum_drawn_is_a_bar_per_frequency_as_a_share_of_the_largest(ax):
    power = {1: 2.0, 2: 8.0, 3: 0.0, 4: 1.0, 5: 4.0}
    figures.draw_spectrum(ax, power, [2, 5], "W_L")
    bars = {bar.get_x() + bar.get_width() / 2: bar for bar in ax.patches}
    assert {k: bar.get_height() for k, bar in bars.items()} == {k: value / 8 for k, value in power.items()}
    key = {k for k, bar in bars.items() if bar.get_facecolor() == bars[2.0].get_facecolor()}
    assert key == {2.0, 5.0}
    assert [text.get_text() for text in ax.texts] == ["key: 2, 5"]


def test_many_key_frequencies_are_counted_and_not_named(ax):
    figures.draw_spectrum(ax, dict.fromkeys(range(1, 16), 1.0), list(range(1, 10)), "W_E")
    assert [text.get_text() for text in ax.texts] == ["key: 9 of 15"]


def test_spectrum_of_a_dead_network_is_drawn_as_zeros(ax):
    figures.draw_spectrum(ax, {1: 0.0, 2: 0.0}, [], "W_E")
    assert heights(ax) == [0.0, 0.0]


@for_each("tensor", ["W_E", "W_L"])
def test_spectrum_is_read_from_the_table_by_frequency(table, tensor):
    found = figures.spectrum(table, 8, tensor)
    assert found == {k: table.loc[8, f"power_{tensor}[{k}]"] for k in range(1, 6)}


def test_seeds_drawn_are_median_range_and_every_dot(ax):
    rows = pd.DataFrame({"alpha": [1, 1, 1, 2, 2, 2], "time": [3.0, 1.0, 2.0, 6.0, 9.0, 7.0]})
    figures.draw_seeds(ax, rows, "alpha", "time", figures.BLUE, "-", "ours")
    middle, dots = ax.get_lines()
    assert (list(middle.get_xdata()), list(middle.get_ydata())) == ([1, 2], [2.0, 7.0])
    assert (list(dots.get_xdata()), list(dots.get_ydata())) == (list(rows["alpha"]), list(rows["time"]))
    [band] = ax.collections
    corners = band.get_paths()[0].vertices
    for x, low, high in ((1, 1.0, 3.0), (2, 6.0, 9.0)):
        assert {low, high} <= set(corners[corners[:, 0] == x][:, 1])


def test_an_axis_of_times_has_ticks_where_times_are_drawn_and_ends_with_the_budget(ax):
    ax.plot([1, 2, 3], [800, 900, 2000])
    figures.times_axis(ax, 2000)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["500", "1000"]
    assert ax.get_yscale() == "log" and 300 < ax.get_ylim()[0] <= 500 and ax.get_ylim()[1] > 2000
    assert list(ax.get_lines()[-1].get_ydata()) == [2000, 2000] and ax.texts[0].get_text() == "budget (censored)"


def test_a_band_is_median_and_range_at_each_step_of_the_curves_that_have_it(ax):
    figures.draw_band(
        ax, [pd.Series(y, index=[0, 10, 20][: len(y)]) for y in ([1.0, 2.0, 9.0], [3.0, 6.0])], "r", "-", "x"
    )
    [middle] = ax.get_lines()
    assert (list(middle.get_xdata()), list(middle.get_ydata())) == ([0, 10, 20], [2.0, 4.0, 9.0])
    corners = ax.collections[0].get_paths()[0].vertices
    assert {2.0, 6.0} <= set(corners[corners[:, 0] == 10][:, 1])


def test_dots_are_every_run_of_an_arm_around_the_bar_at_their_median_and_censored_ones_open_at_the_limit(ax):
    table = pd.DataFrame({"arm": ["b", "a", "b", "b"], "n": [1.0, float("nan"), 7.0, 2.0]})
    figures.draw_dots(ax, table, "n", {"a": figures.RED, "b": figures.BLUE}, censored_at=9)
    _, none, one, bar, three, _ = ax.get_lines()
    assert list(none.get_xdata()) == [] and (one.get_marker(), one.get_markerfacecolor()) == (">", "white")
    assert list(one.get_xdata()) == [9.0] and list(one.get_ydata()) == [0]
    assert list(bar.get_xdata()) == [2.0, 2.0] and list(three.get_xdata()) == [1.0, 7.0, 2.0]
    assert list(three.get_ydata()) == pytest.approx([0.88, 1, 1.12])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"] and ax.yaxis_inverted()


def test_times_may_lie_along_the_other_axis(ax):
    ax.plot([800, 900, 2000], [1, 2, 3])
    figures.times_axis(ax, 2000, "x")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["500", "1000"] and ax.get_yscale() == "linear"
    assert list(ax.get_lines()[-1].get_xdata()) == [2000, 2000]


def test_a_panel_in_which_nothing_has_a_name_has_no_legend(ax):
    ax.plot([0, 1], [0, 1])
    figures.legends([ax])
    assert ax.get_legend() is None


def test_each_group_of_rows_has_its_colour_by_value_or_in_rising_order_and_a_label_with_the_value(ax):
    rows = pd.DataFrame({"decay": [2.0, 0.5, 2.0, 7.0], "x": [1, 1, 2, 1], "y": [5.0, 6.0, 7.0, 8.0]})
    figures.draw_groups(ax, rows, "decay", "x", "y", {2.0: "red", 3.0: "black"}, ":", "decay {:g}")
    figures.draw_groups(ax, rows, "decay", "x", "y", ["green", "blue"])
    lines = [(line.get_label(), line.get_color(), list(line.get_ydata())) for line in ax.get_lines()[::2]]
    assert lines == [("decay 2", "red", [5, 7]), ("0.5", "green", [6]), ("2.0", "blue", [5, 7])]
    assert ax.get_lines()[0].get_linestyle() == ":"
    figures.legends([ax])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["decay 2", "0.5", "2.0"]


def test_runs_of_each_arm_that_has_a_colour_are_a_band(ax):
    runs = {
        arm: [SimpleNamespace(history=pd.DataFrame({"loss": [top, 1.0]})) for top in (2.0, 4.0)] for arm in ("a", "b")
    }
    figures.draw_runs(ax, runs, "loss", {"b": "red"})
    [middle] = ax.get_lines()
    assert (middle.get_label(), list(middle.get_ydata())) == ("b", [3.0, 1.0]) and len(ax.collections) == 1


def test_a_legend_above_covers_nothing_of_the_panel():
    figure, panel = figures.sheet(1, 1, (4, 3))
    panel.plot([0, 1], [0, 1], label="a line")
    figures.legend_above(panel, 2)
    figure.draw_without_rendering()
    legend = panel.get_legend()
    assert legend is not None and legend.get_window_extent().y0 >= panel.get_window_extent().y1


def test_step_axis_begins_at_zero_and_ends_with_the_run(ax):
    figures.step_axis(ax, 4000)
    assert ax.get_xlim() == (0, 4000) and "step" in ax.get_xlabel()


def test_sheet_of_a_run_shows_its_four_views(finished, table):
    figure = figures.run_figure(finished, table)
    losses, accuracies, norms, spectrum, angles = figure.axes
    assert drawn(losses)["test"] == column(finished.history, "test_loss")
    assert drawn(accuracies)["train"] == column(finished.history, "train_acc")
    assert drawn(norms)["norm r"] == column(finished.history, "norm")
    assert drawn(angles)["angle to the start"] == column(table, "angle_start")
    power = figures.spectrum(table, 24, "W_L")
    np.testing.assert_allclose(heights(spectrum), np.array(list(power.values())) / max(power.values()))
    title = figure.get_suptitle()
    assert "a + b mod 11, 50% train" in title and "alpha 1 × nanda (r₀ = 9.5)" in title


@for_each("name", ["parity", "teacher", "composition"])
def test_sheet_of_a_run_without_a_circuit_shows_losses_accuracies_and_norms(tmp_path, name):
    [run] = train([tiny_kind(name)], tmp_path, names=["run"])
    table = measure(run)
    losses, accuracies, norms, roles, angles = figures.run_figure(run, table).axes
    assert drawn(losses) == {side: column(run.history, f"{side}_loss") for side in ("train", "test")}
    assert drawn(accuracies) == {side: column(run.history, f"{side}_acc") for side in ("train", "test")}
    assert losses.get_ylabel() == {"teacher": "mean squared error"}.get(name, "cross-entropy (nats)")
    assert drawn(norms)["norm r"] == column(run.history, "norm") and "angle to the start" in drawn(angles)
    of_roles = ["mlp", "unembed"] if name != "composition" else ["embed", "attention", "mlp", "unembed"]
    assert drawn(roles) == {role: column(table, f"norm[{role}]") for role in of_roles}
    assert len({(line.get_color(), line.get_linestyle()) for line in roles.get_lines()}) == len(of_roles)


def test_sheet_of_an_mlp_shows_its_spectrum_and_no_cross_entropy_beside_squares(tmp_path):
    [run] = train([tiny_kind("quadratic")], tmp_path, names=["run"])
    table = measure(run)
    figure = figures.run_figure(run, table)
    losses, accuracies, _, spectrum, _ = figure.axes
    assert set(drawn(losses)) == {"train", "test"} and "restricted_loss[all]" in table
    assert drawn(accuracies)["test, (b, a) not in train"] == column(table, "accuracy[test_mirror_unseen]")
    assert len(heights(spectrum)) == 5
    assert "a + b mod 11 (quadratic_mlp), 50% train, alpha 1 × gromov" in figure.get_suptitle()


def test_every_loss_has_its_unit():
    from circuitgrok.config.train_config import TrainConfig

    kinds = TrainConfig.model_json_schema()["$defs"]["Objective"]["properties"]["loss"]["enum"]
    assert set(figures.LOSS_UNITS) == set(kinds)


def test_png_and_svg_are_written_with_the_same_bytes_twice(finished, table, tmp_path):
    written = []
    for folder in ("one", "two"):
        paths = figures.save(figures.run_figure(finished, table), tmp_path / folder / "figure")
        assert [path.name for path in paths] == ["figure.png", "figure.svg"]
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert written[0][0].startswith(b"\x89PNG") and b"<svg" in written[0][1]


def test_the_ending_of_a_name_says_what_alone_is_written_and_a_pdf_has_the_same_bytes_twice(tmp_path):
    figure, ax = figures.sheet(1, 1, (3, 2))
    ax.plot([0, 1], [0, 1], label="a line")
    for form, begins in (("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")):
        [path] = figures.save(figure, tmp_path / form / f"alpha0.5.{form}")
        first = path.read_bytes()
        figures.save(figure, path)
        assert path.read_bytes() == first and first.startswith(begins)
        assert [file.name for file in path.parent.iterdir()] == [f"alpha0.5.{form}"]
    paths = figures.save(figure, tmp_path / "alpha0.5", formats=("png", "svg", "pdf"))
    assert [path.name for path in paths] == ["alpha0.5.png", "alpha0.5.svg", "alpha0.5.pdf"]


def test_a_figure_shows_itself_in_a_notebook():
    """A real kernel, which has no `%matplotlib inline` and no pyplot."""
    import nbformat
    from nbclient import NotebookClient

    source = (
        "import sys\nfrom circuitgrok import figures\nfigure, ax = figures.sheet(1, 1, (3, 2))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\nfigure"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=120).execute()
    [shown] = notebook.cells[0].outputs
    assert base64.b64decode(shown["data"]["image/png"]) == figures.sheet(1, 1, (3, 2))[0]._repr_png_()  # pyright: ignore


def test_drawing_does_not_import_pyplot(finished, table, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("matplotlib.pyplot")]:
        monkeypatch.delitem(sys.modules, name)
    figures.save(figures.run_figure(finished, table), tmp_path / "figure")
    assert "matplotlib.pyplot" not in sys.modules


def test_shares_that_are_left_fall_between_evaluations_and_censored_runs_are_ticks(ax):
    nan = float("nan")
    arms = {"a": ([0, 100, 100, 400], [100, 200, 200, nan]), "b": ([300, 400], [nan, nan])}
    figures.draw_survival(ax, arms, {"a": figures.BLUE, "b": figures.RED}, event="memorised")
    a, b = drawn(ax)["a, 3 of 4"], drawn(ax)["b, 0 of 2"]
    assert a == ([1, 1, 100, 100, 200, 400], pytest.approx([1, 1, 0.75, 0.75, 0.25, 0.25]))
    assert b == ([1, 400], [1, 1])
    ticks = [line for line in ax.get_lines() if line.get_marker() == "|"]
    assert [list(line.get_xdata()) for line in ticks] == [[400], [300, 400]]
    assert [list(line.get_ydata()) for line in ticks] == [pytest.approx([0.25]), [1, 1]]
    assert ax.get_xscale() == "log" and "memorised" in ax.get_ylabel()


def test_leads_are_dots_in_the_row_of_their_indicator_hollow_where_the_alarm_came_at_once(ax):
    columns = {"indicator": ["x", "x", "y"], "run": list("aba"), "alarm": [0.0, 20.0, None], "lead": [50.0, 30.0, 0.0]}
    figures.draw_leads(ax, pd.DataFrame(columns), pd.Series({"a": 0, "b": 0}), ["x", "y"], "blue")
    dots = [line for line in ax.get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    found = [(list(dot.get_xdata()), list(dot.get_ydata()), dot.get_markerfacecolor()) for dot in dots]
    assert found == [([0], [0], "blue"), ([50], [1], "white"), ([30], [1], "blue")]
    assert [list(line.get_xdata()) for line in ax.get_lines() if line.get_marker() == "|"] == [[0], [40]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["y", "x"]


def test_shares_are_written_in_their_cells_and_a_dash_where_there_is_none(ax):
    figures.draw_shares(ax, pd.DataFrame({"all runs": [1.0, 0.25], "no": [float("nan"), 0.0]}, index=["x", "y"]))
    assert [text.get_text() for text in ax.texts] == ["1.00", "–", "0.25", "0.00"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["all\nruns", "no"]
