"""Partial rank correlations against scipy and regressions of ranks; what may be absent; coverage of the interval."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from circuitgrok.study import ranks
from circuitgrok.study.claims import where
from circuitgrok.study.ranks import RESAMPLES, PartialSpearman, across_arms, partial_spearman

DRAWS = np.random.default_rng(0)


def test_without_others_it_is_spearmans_with_ties_and_infinities():
    x, y = DRAWS.integers(0, 6, 30).astype(float), DRAWS.normal(size=30)
    y[:3] = math.inf
    assert partial_spearman(np.array([[x], [y]])) == pytest.approx(spearmanr(x, y)[0])


def test_what_is_held_constant_is_taken_off_the_ranks_within_groups():
    columns = DRAWS.normal(size=(4, 2, 15))
    columns[1] += columns[2]
    ranks = np.stack([[rankdata(group) for group in column] for column in columns])
    flat = (ranks - ranks.mean(-1, keepdims=True)).reshape(4, -1)
    left = [v - flat[2:].T @ np.linalg.lstsq(flat[2:].T, v, rcond=None)[0] for v in flat[:2]]
    assert partial_spearman(columns) == pytest.approx(np.corrcoef(left)[0, 1])
    assert partial_spearman(np.stack([columns, columns[[1, 0, 2, 3]]])) == pytest.approx(
        np.full(2, partial_spearman(columns))
    )


def test_a_row_that_is_not_known_is_not_there():
    columns = DRAWS.normal(size=(3, 2, 12))
    columns[1, 1, 4] = math.nan
    columns[0, 0, 2] = math.inf
    one, other = np.delete(columns[:, 1], 4, axis=1), columns[:, 0]
    ranks = [np.stack([(rankdata(v) - (len(v) + 1) / 2) / (len(v) - 1) for v in group]) for group in (other, one)]
    inverse = np.linalg.inv(np.hstack(ranks) @ np.hstack(ranks).T)
    assert partial_spearman(columns) == pytest.approx(-inverse[0, 1] / math.sqrt(inverse[0, 0] * inverse[1, 1]))


def test_a_column_that_says_nothing_of_its_own_has_no_correlation():
    x, y = DRAWS.normal(size=(2, 1, 10))
    assert math.isnan(partial_spearman(np.stack([x, y, x])))
    assert math.isnan(partial_spearman(np.stack([x, 0 * y])))


def table(n=20, arms=("a", "b"), strength=0.0):
    rows = []
    for arm in arms:
        z, u = DRAWS.normal(size=(2, n))
        x, y = z + DRAWS.normal(size=n), z + strength * u + DRAWS.normal(size=n)
        x = x + strength * u
        rows.append(pd.DataFrame({"arm": arm, "seed": range(n), "x": x, "y": y, "z": z}))
    return pd.concat(rows)


def test_a_claim_counts_seeds_leaves_out_what_is_unknown_and_knows_its_resolution():
    quantity = PartialSpearman(where(), "x", "y", ["z"], "rho")
    rows = table(strength=3.0)
    rows.loc[(rows["seed"] == 3) & (rows["arm"] == "a"), "x"] = math.nan
    found = quantity.found(rows)
    assert found.n == 20 and "1 rows left out" in found.words and found.at and found.at(0.95).low > 0.3
    assert found.at(1 - 1 / RESAMPLES)[1:] == (-1.0, 1.0)  # not told by so many resamples
    assert quantity.found(rows[rows["seed"] < 4]).at is None
    assert not quantity.plan(4, 0.05, lambda i: "holds").can_hold
    plan = quantity.plan(20, 0.05, lambda i: "holds")
    assert "0.62" in plan.words  # tanh((1.960 + 0.842) sqrt(1.06 / 16))


@pytest.mark.slow
def test_the_bootstrap_covers_the_truth_of_no_partial_correlation(monkeypatch):
    monkeypatch.setattr(ranks, "RESAMPLES", 1000)
    quantity = PartialSpearman(where(), "x", "y", ["z"])
    intervals = [found.interval for found in (quantity.found(table()) for _ in range(200)) if found.interval]
    missed = np.mean([not i.low <= 0 <= i.high for i in intervals])
    assert len(intervals) == 200
    assert missed < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 200) + 0.02  # percentiles are a little narrow at 20 seeds


def test_across_arms_it_is_scipys_for_each_seed_and_certain_where_the_order_is_one():
    rows = [(seed, arm, DRAWS.normal(), DRAWS.integers(0, 3)) for seed in (4, 9) for arm in range(7)]
    table = pd.DataFrame(
        [*rows, *((5, arm, arm, arm**3) for arm in range(7)), (6, 0, 1, 0), (6, 1, 1, 1)],
        columns=["seed", "arm", "x", "y"],
    )
    found = across_arms(where(), "x", "y")(table).set_index("seed")["rank"]
    assert found[5] == pytest.approx(1.0, abs=1e-12) and math.isnan(found[6])
    for seed in (4, 9):
        of = table[table["seed"] == seed]
        assert found[seed] == pytest.approx(spearmanr(of["x"], of["y"])[0])
        assert found[seed] == pytest.approx(float(partial_spearman(of[["x", "y"]].to_numpy().T[:, None, :])))
