"""Claims that are declared before anything is trained: quantities of a study's table, and what decides.

A quantity is a ratio of times, a share, a mean, a difference: rows of the table go in, an interval at any level comes
out, with censoring and pairing by seed inside. `Ratio(where(arm="free"), where(arm="sphere")).exceeds(3, "...")` is a
claim without numbers; `evidence.decide` puts in the table's. n counts seeds: rows that are given to a quantity are one
for each seed, and several of one seed, such as points along a run, are refused.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.study.accelerated import time_effect
from circuitgrok.study.evidence import DECIDED, Declared, Judged, Plan, detectable, seeds_needed, settled
from circuitgrok.study.intervals import Decision, Interval, above, below, factor, mean_interval, share_interval, within

if TYPE_CHECKING:
    import pandas as pd

Selection = Callable[["pd.DataFrame"], "pd.DataFrame"]
Level = Callable[[float], Interval]


def where(**values: Any) -> Selection:
    """The rows of a table in which columns have these values, or in which these functions of columns hold; else all.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"arm": ["free", "sphere"], "alpha": [1.0, 1.0], "test_acc": [0.5, 1.0]})
        >>> where(arm="sphere", alpha=1)(table)["test_acc"].tolist()
        [1.0]
        >>> where(alpha=1, test_acc=lambda acc: acc < 0.9)(table)["arm"].tolist()
        ['free']
    """

    def chosen(table: "pd.DataFrame") -> "pd.DataFrame":
        for name, value in values.items():
            is_so: Any = value(table[name]) if callable(value) else table[name] == value
            table = table.loc[is_so]
        return table

    return chosen


def of_seeds(rows: "pd.DataFrame", of: str) -> "pd.DataFrame":
    """Rows by seed, of which there is one for each.

    Raises:
        ValueError: A seed has several rows.

    Example:
        >>> import pandas as pd
        >>> of_seeds(pd.DataFrame({"seed": [0, 0], "x": [1.0, 2.0]}), "x")
        Traceback (most recent call last):
        ValueError: x: seed 0 has 2 rows, and n counts seeds; take one row of each, as selections.by_seed does
    """
    counts = rows["seed"].value_counts(sort=False)
    if len(several := counts[counts > 1]):
        seed, n = several.index[0], several.iloc[0]
        raise ValueError(
            f"{of}: seed {seed} has {n} rows, and n counts seeds; take one row of each, as selections.by_seed does"
        )
    return rows.set_index("seed")


class Found(NamedTuple):
    """What some rows say of a quantity.

    Attributes:
        at: The interval of a level of confidence; None where the rows do not give one.
        words: The estimate with its interval of 95 % for people, or why there is none.
        n: Seeds that it rests on.
        is_censored: Whether a budget ended before the event in some of them.
    """

    at: Level | None
    words: str
    n: int = 0
    is_censored: bool = False

    @property
    def interval(self) -> Interval | None:
        """That of 95 %."""
        return self.at(0.95) if self.at else None


class Quantity(ABC):
    """A number of a study's table that is known to an interval."""

    name: str

    @abstractmethod
    def found(self, table: "pd.DataFrame") -> Found:
        """What a table says of it."""

    def scaled(self, bound: float) -> float:
        """A bound in the units of the interval."""
        return bound

    def plan(self, n: int, alpha: float, decides: Callable[[Interval], Decision]) -> Plan:
        """What so many seeds can say of a claim, at α."""
        if n < 2:
            return Plan(False, "one seed has no spread")
        return Plan(True, f"power .8 at {detectable(n, alpha):.2g} seed standard deviations from the bound")

    def exceeds(self, bound: float, text: str) -> Declared:
        """The claim that it is larger than a bound."""
        return self._declared(text, f"{self.name} > {bound:g}", self.scaled(bound), above)

    def falls_below(self, bound: float, text: str) -> Declared:
        """The claim that it is smaller than a bound."""
        return self._declared(text, f"{self.name} < {bound:g}", self.scaled(bound), below)

    def is_within(self, bound: float, text: str) -> Declared:
        """The claim that its size is smaller than a bound; of a ratio, that it lies between one over it and it."""
        return self._declared(text, f"size of {self.name} < {bound:g}", self.scaled(bound), within)

    def _declared(
        self, text: str, rule: str, bound: float, decision: Callable[[Interval, float], Decision]
    ) -> Declared:
        def judge(table: "pd.DataFrame") -> Judged:
            found = self.found(table)
            if (at := found.at) is None:
                return settled(found.words, "censored" if found.is_censored else "not shown")

            def decided(level: float) -> Decision:
                interval = at(level)
                is_open = found.is_censored and not all(map(math.isfinite, interval[1:]))
                word = decision(interval, bound)
                return "censored" if is_open and word not in DECIDED else word

            return Judged(found.words, decided, lambda level: seeds_needed(at(level), found.n, bound, decision))

        return Declared(text, judge, rule, lambda n, alpha: self.plan(n, alpha, lambda i: decision(i, bound)))


@dataclass(frozen=True)
class Ratio(Quantity):
    """How many times as long some runs take as others, paired by seed: the geometric mean; bounds are ratios.

    Times lie between two evaluations or beyond the budget, and both are taken as such (`accelerated.time_effect`): a
    level for every seed, one factor, normal errors of the logarithm. Where no run of one side came to the event the
    factor is known from one side only.

    Attributes:
        over: The runs above the line.
        under: Those below it.
        column: Event whose times are compared: columns `<event>_after` and `<event>_by` (nan where it is censored).
        by: The event below the line, if it is another.
        name: What is divided by what, for people.
    """

    over: Selection
    under: Selection
    column: str = "grokked"
    by: str | None = None
    name: str = "ratio of T_grok"

    def scaled(self, bound: float) -> float:
        """Its logarithm."""
        return math.log(bound)

    def found(self, table: "pd.DataFrame") -> Found:
        """The logarithm of the ratio."""
        over, under = (of_seeds(rows(table), self.name) for rows in (self.over, self.under))
        event, other = self.column, self.by or self.column
        has = [
            rows.index[rows[f"{of}_after"].notna()] for rows, of in ((over, event), (under, other))
        ]  # or no such event
        seeds = has[0].intersection(has[1]).tolist()
        sides = [(over.loc[seeds], event), (under.loc[seeds], other)]
        after = [time for rows, event in sides for time in rows[f"{event}_after"]]
        by = [time for rows, event in sides for time in rows[f"{event}_by"]]
        missed = [int(rows[f"{event}_by"].isna().sum()) for rows, event in sides]
        fit = time_effect(after, by, [[1.0] * len(seeds) + [0.0] * len(seeds)], seeds * 2) if seeds else None
        said = f"censored of {len(seeds)}: above {missed[0]}, below {missed[1]}" if any(missed) else ""
        if fit is None:
            is_cut = 0 < len(seeds) <= sum(missed)  # where a budget ended first, and not too few seeds, is the reason
            return Found(None, "; ".join([f"{self.name} not known", *[said] * bool(said)]), len(seeds), is_cut)
        words = f"{self.name}, {factor(fit.interval(0.95))}" + (f"; {said}" if said else "")
        return Found(fit.interval, words, len(seeds), any(missed))


@dataclass(frozen=True)
class Share(Quantity):
    """The share of seeds in whose row something is so, with the exact interval of Clopper and Pearson.

    Attributes:
        of: The rows, one for each seed.
        hits: Of these rows, in which it is.
        name: What they are, for people.
    """

    of: Selection
    hits: Callable[["pd.DataFrame"], "pd.Series"]
    name: str = "share of runs"

    def plan(self, n: int, alpha: float, decides: Callable[[Interval], Decision]) -> Plan:
        """Of how many of the seeds it must be so."""
        hits = [k for k in range(n + 1) if decides(share_interval(k, n, 1 - alpha)) == "holds"]
        if not hits:
            return Plan(False, f"even {n} of {n} has the interval {share_interval(n, n, 1 - alpha)}")
        return Plan(True, f"holds with {hits[0]} to {hits[-1]} of {n}")

    def found(self, table: "pd.DataFrame") -> Found:
        """The share."""
        rows = of_seeds(self.of(table), self.name).reset_index()
        if rows.empty:
            return Found(None, f"{self.name}: there is no such run")
        n, k = len(rows), int(self.hits(rows).sum())
        return Found(lambda level: share_interval(k, n, level), f"{self.name} {share_interval(k, n)} ({k} of {n})", n)

    def is_all(self, text: str, naming: str = "", least: float = 0.5) -> Declared:
        """The claim that it is so in every one of these rows, of which a seed may have several.

        One in which it is not is a counterexample. Without any, so many seeds in which it is everywhere so show that
        this is the case of more than a share of them, `least`; that is what holds.

        Args:
            text: The claim.
            naming: How rows in which it is not are told, with columns in braces; they are only counted without it.
            least: The share.
        """

        def judge(table: "pd.DataFrame") -> Judged:
            rows = self.of(table)
            if rows.empty:
                return settled(f"{self.name}: there is no such run", "not shown")
            hits = self.hits(rows).astype(bool)
            misses = [naming.format_map(row) for row in rows[~hits].to_dict("records") if naming]
            said = f"{self.name}: {hits.sum()} of {len(rows)}" + (f", not {', '.join(misses)}" if misses else "")
            if not hits.all():
                return settled(said, "counterexample")
            n = rows["seed"].nunique()
            said += f"; share of such seeds {share_interval(n, n)}"

            def interval(level: float) -> Interval:
                return share_interval(n, n, level)

            return Judged(
                said, lambda level: above(interval(level), least), lambda level: _all_needed(least, 1 - level)
            )

        rule = f"{self.name}: all, and more than {least:g} of seeds"
        return Declared(text, judge, rule, lambda n, alpha: self.plan(n, alpha, lambda i: above(i, least)))


def _all_needed(least: float, alpha: float) -> float:
    """Seeds of which all must hit for the exact interval to lie above a share."""
    return float(math.floor(math.log(alpha / 2) / math.log(least)) + 1)


@dataclass(frozen=True)
class Mean(Quantity):
    """The mean of a column over some rows, with Student's interval; `less` is taken off, paired by seed.

    Attributes:
        of: The rows, one for each seed.
        column: The column.
        name: What it is, for people.
        less: Rows whose values are subtracted, if any.
        by: The column that is subtracted: another of the same rows, if there are no other rows.
        bounds: Between which values must lie, such as (0, 1) of an accuracy, if there are bounds: then equal values
            have an exact interval, and without bounds they have none (`intervals.mean_interval`).
    """

    of: Selection
    column: str
    name: str
    less: Selection | None = None
    by: str | None = None
    bounds: tuple[float, float] | None = None

    def found(self, table: "pd.DataFrame") -> Found:
        """The mean, or the mean difference."""
        rows = of_seeds(self.of(table), self.name)
        values = rows[self.column]
        if self.less is not None:
            values = (values - of_seeds(self.less(table), self.name)[self.by or self.column]).dropna()
        elif self.by is not None:
            values = values - rows[self.by]
        if len(values) < 2 or values.isna().any():
            return Found(None, f"{self.name} not known in {int(values.isna().sum())} of {len(values)} runs")
        known = values.tolist()

        def at(level: float) -> Interval:
            return mean_interval(known, level, self.bounds)

        return Found(at, f"{self.name} {at(0.95)}", len(known))
