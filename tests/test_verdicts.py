"""Intervals and decisions: closed forms, coverage, and what is written."""

import math
import subprocess

import pandas as pd
import pytest
import torch
from loops import for_each

from circuitgrok import figures
from circuitgrok.study import verdicts
from circuitgrok.study.verdicts import Claim, Interval, above, below, mean_interval, share_interval, within


def test_the_interval_of_two_values_is_students_with_one_degree_of_freedom():
    # mean 0, standard error 1, t(.975, 1) = tan(.475 pi) = 12.7062
    interval = mean_interval([-1.0, 1.0])
    assert interval.estimate == 0
    assert interval.high == pytest.approx(math.tan(0.475 * math.pi), rel=1e-9)
    assert interval.low == -interval.high


def test_the_mean_interval_covers_the_true_mean_as_often_as_it_says():
    draws = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hits = sum(interval.low < 0 < interval.high for interval in (mean_interval(row.tolist()) for row in draws))
    assert abs(hits - 1900) < 4 * math.sqrt(2000 * 0.95 * 0.05)  # four binomial standard errors


@for_each(("hits", "n"), [(0, 5), (5, 5), (3, 9)])
def test_wilsons_interval_solves_its_equation(hits, n):
    interval = share_interval(hits, n)
    z = 1.959963984540054
    for bound in (interval.low, interval.high):
        if 0 < bound < 1:
            gap = abs(interval.estimate - bound)
            assert gap == pytest.approx(z * math.sqrt(bound * (1 - bound) / n), rel=1e-9)
    assert interval.low <= interval.estimate <= interval.high


@for_each("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_an_interval_needs_two_finite_values(values):
    with pytest.raises(ValueError, match="two finite values"):
        mean_interval(values)


def test_a_claim_is_undecided_exactly_while_its_interval_contains_the_threshold():
    interval = Interval(2, 1, 3)
    assert [above(interval, t) for t in (0.9, 1, 2, 3, 3.1)] == ["holds", *["undecided"] * 3, "fails"]


@for_each("threshold", [0.5, 1, 2, 3, 3.5])
def test_below_is_above_of_the_mirror_image(threshold):
    assert below(Interval(2, 1, 3), threshold) == above(Interval(-2, -3, -1), -threshold)


def test_within_asks_the_whole_interval():
    decisions = [within(Interval(m, m - 1, m + 1), 2) for m in (-4, -2, 0, 0.9, 1.1, 2.9, 3.1)]
    assert decisions == ["fails", "undecided", "holds", "holds", "undecided", "undecided", "fails"]


def test_the_commit_is_marked_for_changed_code_and_not_for_changed_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verdicts.commit() == "unknown"
    code, result = tmp_path / "code.py", tmp_path / "analyses" / "out" / "x" / "table.csv"
    result.parent.mkdir(parents=True)
    for file in (code, result):
        file.write_text("1")
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for words in (["init", "-q"], ["add", "."], [*me, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], check=True)
    at = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    result.write_text("2")
    monkeypatch.chdir(result.parent)
    assert verdicts.commit() == at
    code.write_text("2")
    assert verdicts.commit() == f"{at} with uncommitted changes"


def test_what_is_written_names_claim_measure_decision_command_and_commit(tmp_path):
    figure, ax = figures.sheet(1, 1, (2, 2))
    ax.plot([0, 1], [0, 1])
    table = pd.DataFrame({"x": [1.5, 2.5]})
    verdicts.write(tmp_path, "Is it?", [Claim("It is.", "3 [1, 5]", "undecided")], ["A note."], table, figure)
    text = (tmp_path / "verdict.md").read_text()
    assert "# Is it?" in text and "**undecided**: It is. Measured: 3 [1, 5]." in text and "A note." in text
    assert "python " in text and verdicts.commit().split()[0] in text
    assert pd.read_csv(tmp_path / "table.csv").equals(table)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
