"""Rows of a study's table chosen by what stands in it, and made of it: ends of a grid, the best of a seed's runs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from circuitgrok.study.claims import Selection, Share
from circuitgrok.study.evidence import Declared, Judged
from circuitgrok.study.intervals import above, share_interval

if TYPE_CHECKING:
    import pandas as pd


def at_ends(rows: Selection, **ends: "Callable[[pd.Series], float]") -> Selection:
    """Those of some rows in which columns have their least or largest value, one column after the other.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> table = pd.DataFrame({"alpha": [1.0, 1.0, 2.0], "decay": [0.0, 2.0, 3.0], "seed": [0, 0, 0]})
        >>> at_ends(where(seed=0), alpha=min, decay=max)(table)["decay"].tolist()
        [2.0]
    """

    def chosen(table: "pd.DataFrame") -> "pd.DataFrame":
        found = rows(table)
        for column, end in ends.items():
            found = found[found[column] == end(found[column])]
        return found

    return chosen


def by_seed(rows: Selection, **how: str) -> Selection:
    """One row for each seed of some rows, with what pandas makes of columns; unknown values are skipped.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> table = pd.DataFrame({"seed": [0, 0, 1], "grokked_by": [200.0, 100.0, None], "test_acc": [0.9, 1.0, 0.5]})
        >>> by_seed(where(), grokked_by="min", test_acc="max")(table).to_dict("list")
        {'seed': [0, 1], 'grokked_by': [100.0, nan], 'test_acc': [1.0, 0.5]}
    """
    return lambda table: rows(table).groupby("seed", as_index=False).agg(how)


def derived(rows: Selection, **columns: "Callable[[pd.DataFrame], pd.Series]") -> Selection:
    """Some rows with further columns, or others in their place, that are made from the rows.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> table = pd.DataFrame({"arm": ["a", "b"], "r0": [10.0, 10.0], "final_norm": [20.0, 5.0]})
        >>> derived(where(arm="b"), ratio=lambda rows: rows["final_norm"] / rows["r0"])(table)["ratio"].tolist()
        [0.5]
    """
    return lambda table: rows(table).assign(**columns)


def differences(rows: Selection, column: str, **factors: tuple[Any, Any]) -> Selection:
    """By seed, how much larger a column is at the one value of a factor than at the other, as the column `difference`.

    Of two factors it is the difference of the differences, and so on. A seed of which one of these values is not known
    is left out; without any such seed there are no rows.

    Args:
        rows: Some rows, one for each seed and combination of the factors' two values at most.
        column: The column.
        factors: By column, the value at which the difference is taken, and the value that it is taken from.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> cells = {"n": [50, 50, 900, 900], "alpha": [1.0, 4.0, 1.0, 4.0], "gap": [0.25, 1.0, 0.0, 0.125]}
        >>> table = pd.DataFrame(cells).assign(seed=7)
        >>> differences(where(n=50), "gap", alpha=(4.0, 1.0))(table).to_dict("list")
        {'seed': [7], 'difference': [0.75]}
        >>> differences(where(), "gap", n=(50, 900), alpha=(4.0, 1.0))(table)["difference"].tolist()
        [0.625]
    """

    def chosen(table: "pd.DataFrame") -> "pd.DataFrame":
        import pandas as pd

        left = rows(table)
        for factor, (one, other) in factors.items():
            keys = ["seed", *(name for name in factors if name != factor and name in left)]
            sides = (left[left[factor] == value].set_index(keys)[column] for value in (one, other))
            left = pd.concat(sides, axis=1, join="inner", keys=["one", "other"]).reset_index()
            left = left.assign(**{column: left["one"] - left["other"]})[[*keys, column]]
        return left.rename(columns={column: "difference"}).dropna()

    return chosen


def picked_apart(rows: Selection, column: str, rank: "Callable[[pd.DataFrame], Any]") -> Selection:
    """Those of some rows that are at the value of a column which the half of the seeds that theirs is not in picks.

    So no seed is judged at a value that it picked, and all are judged.

    Args:
        rows: Some rows.
        column: The column.
        rank: Of the rows of a value; that of the least rank is picked, and of equal ones the first.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> table = pd.DataFrame({"lr": [1, 1, 2, 2], "seed": [0, 1, 0, 1], "loss": [0.5, 0.2, 0.1, 0.4]})
        >>> picked_apart(where(), "lr", lambda of: of["loss"].mean())(table)["loss"].tolist()
        [0.5, 0.4]
    """

    def chosen(table: "pd.DataFrame") -> "pd.DataFrame":
        import pandas as pd

        found, parts = rows(table), []
        for is_picking in _halves(found):
            ranks = {value: rank(of) for value, of in found[is_picking].groupby(column, sort=False)}
            parts.append(
                found[~is_picking & (found[column] == min(ranks, key=ranks.__getitem__))] if ranks else found[:0]
            )
        return pd.concat(parts).sort_index()

    return chosen


def has_grokked(rows: "pd.DataFrame") -> "pd.Series":
    """Which of some rows are of runs that grokked within the budget."""
    return rows["grokked_by"].notna()


@dataclass(frozen=True)
class Band:
    """The values along a grid at which something is so in every run, such as radii at which all seeds generalise.

    Attributes:
        of: The runs.
        along: The column of the grid.
        is_so: Of these runs, in which it is.
        name: Of the column, for people.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> of = {"alpha": [1.0, 1.0, 2.0, 2.0, 3.0, 3.0], "grokked_by": [90.0, 70.0, None, 50.0, 60.0, 80.0]}
        >>> band, table = Band(where(), "alpha", has_grokked, "α"), pd.DataFrame(of).assign(seed=[0, 1] * 3)
        >>> band.values(table), band.picks(table), band.at_soonest(where())(table)["grokked_by"].tolist()
        ([1.0, 3.0], [3.0, 2.0], [nan, 80.0])
        >>> band.is_found("There are radii at which most runs grok.").judge(table).words
        'α in {1, 3} of all 2 seeds; each half picks for the other: 3, 2; so there 1 of 2'
    """

    of: Selection
    along: str
    is_so: "Callable[[pd.DataFrame], pd.Series]"
    name: str

    def values(self, table: "pd.DataFrame") -> list[float]:
        """The values at which it is so."""
        rows = self.of(table)
        is_all = self.is_so(rows).groupby(rows[self.along]).all()
        return is_all[is_all].index.tolist()

    def picks(self, table: "pd.DataFrame") -> list[float]:
        """For two halves of the seeds, the value that each picks; nan where none is in its band.

        That is where the median T_grok is least, of the values at which it is so in all seeds of the half.
        """
        return [self._soonest(table[is_picking]) for is_picking in _halves(table)]

    def at_soonest(self, rows: Selection) -> Selection:
        """Those of some rows that are at the value picked by the half of the seeds that theirs is not in.

        So no seed is judged at a value that it picked, and all are judged; none of a half for which there is no band.
        """

        def chosen(table: "pd.DataFrame") -> "pd.DataFrame":
            found = rows(table)
            is_there = [
                ~is_picking[found.index] & (found[self.along] == pick)
                for is_picking, pick in zip(_halves(table), self.picks(table), strict=True)
            ]
            return found[is_there[0] | is_there[1]]

        return chosen

    def is_found(self, text: str, least: float = 0.5) -> Declared:
        """The claim that there is a band: where half of the seeds pick, it is so in more than a share of the others.

        A seed for which nothing is picked is one in which it is not so.
        """

        def judge(table: "pd.DataFrame") -> Judged:
            n = self.of(table)["seed"].nunique()
            k = int(self.is_so(self.at_soonest(self.of)(table)).sum())
            values = ", ".join(f"{value:g}" for value in self.values(table))
            picked = ", ".join(f"{pick:g}" for pick in self.picks(table))
            said = f"{self.name} in {{{values}}} of all {n} seeds; each half picks for the other: {picked}; so there "
            return Judged(f"{said}{k} of {n}", lambda level: above(share_interval(k, n, level), least))

        rule = f"{self.name} picked by half of the seeds: share of the others > {least:g}"
        share = Share(self.of, self.is_so)
        return Declared(text, judge, rule, lambda n, alpha: share.plan(n, alpha, lambda i: above(i, least)))

    def _soonest(self, table: "pd.DataFrame") -> float:
        rows = self.of(table)
        times = rows[rows[self.along].isin(self.values(table))].groupby(self.along)["grokked_by"].median().dropna()
        return float(times.index[int(times.argmin())]) if len(times) else math.nan


def _halves(table: "pd.DataFrame") -> "list[pd.Series]":
    """Which rows are of every other seed, and which are of the rest."""
    is_first = table["seed"].isin(sorted(table["seed"].unique())[::2])
    return [is_first, ~is_first]
