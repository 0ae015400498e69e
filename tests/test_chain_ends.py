"""What chains come to: counted by hand from planted courses, and R-hat over starts that meet and that do not."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, rankdata

from circuitgrok.study.chain_courses import GENERALISER, MEMORISER, RANDOM, Effort
from circuitgrok.study.chain_ends import (
    beside,
    change,
    counted,
    met,
    r_hats,
    said_of_chains,
    said_of_ends,
    said_of_starts,
    settling,
)
from circuitgrok.study.evidence import decide

AT = 50 * np.arange(101)


def courses_of(cell: str, means: dict[str, float]) -> pd.DataFrame:
    """A chain from each start, of one seed, that comes to generalise at 1000 gradients and is away once."""
    noise, unseen = np.random.default_rng(0), np.where(AT >= 1000, 0.95, 0.1)
    unseen[60] = 0.4
    course = {"gradients": AT, "unseen_acc": unseen, "train_acc": 1.0, "acceptance": 0.8, "delta_H": 0.1, "share": 0.2}
    course |= {"train_loss": np.where(AT > 3750, 0.02, 0.01), "rounding": 1e-3, "diverged": 0.0, "norm": 20 + AT / 5000}
    chains = [
        pd.DataFrame({**course, "unseen_loss": mean + noise.standard_normal(101), "cell": cell, "start": start})
        for start, mean in means.items()
    ]
    return pd.concat(chains).assign(seed=3)


def test_chains_are_counted_from_their_courses():
    table = counted(courses_of("HMC, nβ 1e5", {MEMORISER: 0.0, GENERALISER: 0.0, RANDOM: 9.0})).set_index("start")
    line: Any = table.loc[MEMORISER]
    assert line["came"] == 1000 and line["back"] == 0.4 and line["gain"] == pytest.approx(0.85)
    assert line["settling"] == pytest.approx(math.log(2)) and line["seed"] == 3
    assert line["r_hat_pair"] < 1.05 and line["r_hat_unseen"] > 1.5


def slow_r_hat(traces: np.ndarray) -> float:
    """The larger of the split R-hats of ranks and of ranks of distances from the median (Vehtari et al. 2021)."""
    found = []
    for values in (traces, np.abs(traces - np.median(traces))):
        halves = np.concatenate(np.split(values[:, : 2 * (values.shape[1] // 2)], 2, axis=1))
        z = norm.ppf((rankdata(halves).reshape(halves.shape) - 3 / 8) / (halves.size + 1 / 4))
        within, between, n = z.var(axis=1, ddof=1).mean(), z.mean(axis=1).var(ddof=1), len(z[0])
        found.append(float(np.sqrt((n - 1) / n + between / within)))
    return max(found)


def test_r_hat_is_that_of_its_formula_and_a_cell_without_generalisers_has_none():
    courses = courses_of("SGLD, nβ 1e5", {MEMORISER: 0.0, GENERALISER: 2.0})
    late = courses[courses["gradients"] > 2500]
    slow = slow_r_hat(np.stack([of["unseen_loss"].to_numpy() for _, of in late.groupby("start")]))
    assert r_hats(late)[0] == pytest.approx(slow, rel=1e-9) and slow > 1.1
    assert "r_hat_unseen" not in counted(courses[courses["start"] == MEMORISER])


def test_quantities_are_of_their_cell_and_start_and_paired_by_seed():
    rows = []
    for seed in range(4):
        for cell, gain in (("a", 0.3), ("b", 0.1)):
            line = {"cell": cell, "start": MEMORISER, "seed": seed, "gain": gain + 0.01 * seed, "settling": 0.01 * seed}
            rows.append(line | {"outcome": 0.5 + gain, "r_hat_unseen": 1.01 if seed else math.nan})
    table = pd.DataFrame(rows)
    found = [one.found(table) for one in (change("a", MEMORISER), beside("a", MEMORISER, "b", MEMORISER))]
    assert [of.interval.estimate for of in found if of.interval] == [pytest.approx(0.315), pytest.approx(0.2)]
    assert met("a").found(table).n == 3 and settling("b", MEMORISER).found(table).n == 4
    [claim] = decide([change("a", MEMORISER).exceeds(0.2, "It gains.")], table)
    assert claim.decision == "holds" and "a, from memoriser: last fifth less start" in claim.measured


def test_notes_name_what_was_left_out_and_every_cell():
    there = {3: {MEMORISER: {}, GENERALISER: {}, RANDOM: {}}, 4: {MEMORISER: {}, RANDOM: {}}}
    effort = Effort(1e-2, 1.0, 0.9, 5000, 50)
    assert "left out of claims about these: 4; there are 2." in said_of_starts(there, effort)
    table = counted(courses_of("HMC, nβ 1e5", {MEMORISER: 0.0, GENERALISER: 0.0}))
    means, came, hats = said_of_ends(table)
    assert "HMC, nβ 1e5 from generaliser: 0.95, 0.95, 1.000, 2.0e-02, 21.0, 0.80, 0.1, 0.2" in means
    assert "HMC, nβ 1e5 from memoriser: 1, 1000" in came and "HMC, nβ 1e5 1.0" in hats
    assert "5000 gradients, 50 for a draw" in said_of_chains(table, effort)
