"""Intervals and decisions: closed forms, coverage, and what is written and registered."""

import math
import subprocess

import pandas as pd
import pytest
import torch
from loops import for_each
from scipy.stats import binom, t

from circuitgrok import figures
from circuitgrok.study import registered, verdicts
from circuitgrok.study.evidence import Claim
from circuitgrok.study.intervals import Interval, above, below, mean_interval, share_interval, within
from circuitgrok.study.verdicts import AGAIN, Decided


def test_the_interval_of_two_values_is_students_with_one_degree_of_freedom():
    # mean 0, standard error 1, t(.975, 1) = tan(.475 pi) = 12.7062
    interval = mean_interval([-1.0, 1.0])
    assert interval.estimate == 0
    assert interval.high == pytest.approx(math.tan(0.475 * math.pi), rel=1e-9)
    assert interval.low == -interval.high


@for_each("level", [0.5, 0.95, 1 - 1e-9])
def test_the_interval_is_students_at_any_level(level):
    values = [0.3, 1.1, 0.7, 2.0]
    error = pd.Series(values).sem()
    assert mean_interval(values, level)[1:] == pytest.approx(t.interval(level, 3, pd.Series(values).mean(), error))


def test_the_mean_interval_covers_the_true_mean_as_often_as_it_says():
    draws = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hits = sum(interval.low < 0 < interval.high for interval in (mean_interval(row.tolist()) for row in draws))
    assert abs(hits - 1900) < 4 * math.sqrt(2000 * 0.95 * 0.05)  # four binomial standard errors


@for_each(("hits", "n", "level"), [(0, 5, 0.95), (5, 5, 0.95), (3, 9, 0.95), (3, 9, 0.999), (10, 10, 0.9)])
def test_the_exact_interval_ends_where_a_tail_has_half_of_what_is_left(hits, n, level):
    interval = share_interval(hits, n, level)
    if hits:
        assert binom.sf(hits - 1, n, interval.low) == pytest.approx((1 - level) / 2, rel=1e-9)
    if hits < n:
        assert binom.cdf(hits, n, interval.high) == pytest.approx((1 - level) / 2, rel=1e-9)
    assert (interval.low == 0) == (hits == 0) and (interval.high == 1) == (hits == n)
    assert interval.low <= interval.estimate <= interval.high


@for_each("n", [2, 5, 10])
def test_equal_accuracies_have_the_interval_that_chance_leaves(n):
    # a coin that gives 1 with probability μ and 0 otherwise gives n ones with probability μ^n
    interval = mean_interval([1.0] * n, bounds=(0, 1))
    assert interval.low**n == pytest.approx(0.025) and interval.high == 1
    middle = mean_interval([0.5] * n, bounds=(0, 1))  # of {0.5, 0} with a mean of μ: 0.5 has the chance 2 μ
    assert (2 * middle.low) ** n == pytest.approx(0.025) and middle.high == pytest.approx(1 - middle.low)
    assert mean_interval([0.5] * n) == (0.5, -math.inf, math.inf)


def test_values_out_of_bounds_are_refused():
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        mean_interval([0.5, 1.1], bounds=(0, 1))


@for_each("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_an_interval_needs_two_finite_values(values):
    with pytest.raises(ValueError, match="two finite values"):
        mean_interval(values)


def test_a_claim_is_not_shown_exactly_while_its_interval_contains_the_threshold():
    interval = Interval(2, 1, 3)
    assert [above(interval, t) for t in (0.9, 1, 2, 3, 3.1)] == ["holds", *["not shown"] * 3, "opposite"]


@for_each("threshold", [0.5, 1, 2, 3, 3.5])
def test_below_is_above_of_the_mirror_image(threshold):
    assert below(Interval(2, 1, 3), threshold) == above(Interval(-2, -3, -1), -threshold)


def test_within_asks_the_whole_interval():
    decisions = [within(Interval(m, m - 1, m + 1), 2) for m in (-4, -2, 0, 0.9, 1.1, 2.9, 3.1)]
    assert decisions == ["opposite", "not shown", "holds", "holds", "not shown", "not shown", "opposite"]


def test_the_commit_is_marked_for_changed_code_and_not_for_changed_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert registered.commit() == "unknown"
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
    assert registered.commit() == at
    code.write_text("2")
    assert registered.commit() == f"{at} with uncommitted changes"


def written(folder, decided):
    figure, ax = figures.sheet(1, 1, (2, 2))
    ax.plot([0, 1], [0, 1])
    verdicts.write(folder, "Is it?", decided, ["A note."], pd.DataFrame({"x": [1.5, 2.5]}), figure)
    return (folder / "verdict.md").read_text()


def test_what_is_written_names_claim_measure_decision_level_command_and_commit(tmp_path):
    claim = Claim("It is.", "3 [1, 5]", "not shown", 0.21, 0.025, 33)
    text = written(tmp_path, Decided({"": [claim, claim._replace(text="Was it?")]}, frozenset(["Was it?"])))
    assert "# Is it?" in text and "A note." in text and "python " in text and registered.commit().split()[0] in text
    said = "* **not shown** (p = 0.21, judged at 0.025; about 33 seeds would decide): It is. Measured: 3 [1, 5]."
    assert said in text and "*post hoc* Was it?" in text and "over the 2 claims" in text
    assert pd.read_csv(tmp_path / "table.csv").equals(pd.DataFrame({"x": [1.5, 2.5]}))
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_replication_puts_words_side_by_side_and_counts_those_that_came_again(tmp_path):
    def claim(text, word):
        return Claim(text, word, word, 0.001, 0.01, math.nan)

    words = [["holds", "not shown", "opposite"], ["holds", "not shown", "not shown"], ["holds", "holds", "opposite"]]
    several = [[claim(f"{i}.", word) for i, word in enumerate(of)] for of in words]
    text = written(tmp_path, Decided(dict(zip(AGAIN, several, strict=True))))
    assert "* of the first seeds **opposite**, of others **not shown**, of all **opposite** (" in text
    assert "2 of 3 claims got the same word, of the 2 that the first seeds decided 1." in text
