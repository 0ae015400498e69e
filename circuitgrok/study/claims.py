"""Claims that are declared before anything is trained: quantities of a study's table, and what decides.

A quantity is a ratio of times, a share, a mean, a difference: rows of the table go in, an interval comes out, with
censoring and pairing by seed inside. `Ratio(where(arm="free"), where(arm="sphere")).exceeds(3, "...")` is a claim
without numbers; `decide` puts in the table's. A claim about a threshold holds if the whole interval lies on its side,
fails if it lies on the other, and is undecided otherwise; an end that censoring leaves open decides nothing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.study.verdicts import Claim, Decision, Interval, above, below, mean_interval, share_interval, within

if TYPE_CHECKING:
    import pandas as pd

Selection = Callable[["pd.DataFrame"], "pd.DataFrame"]


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


class Declared(NamedTuple):
    """A sentence that can fail, and how a table decides it: (what was measured, what follows)."""

    text: str
    judge: Callable[["pd.DataFrame"], tuple[str, Decision]]

    def telling(self, *quantities: "Quantity") -> "Declared":
        """The same claim, which tells what else was found beside what was measured; that decides nothing."""

        def judge(table: "pd.DataFrame") -> tuple[str, Decision]:
            said, decision = self.judge(table)
            return "; ".join([said, *(each.found(table).words for each in quantities)]), decision

        return Declared(self.text, judge)


def decide(claims: Sequence[Claim | Declared], table: "pd.DataFrame") -> list[Claim]:
    """The claims with what a table says of those that are declared; others are made already, and keep their place."""
    return [Claim(one.text, *one.judge(table)) if isinstance(one, Declared) else one for one in claims]


class Found(NamedTuple):
    """What some rows say of a quantity.

    Attributes:
        interval: Estimate and 95 % interval; None where the rows do not give one.
        words: The same for people, or why there is none.
        is_least: Censoring makes it a lower bound: the true value is larger.
        is_most: Censoring makes it an upper bound.
    """

    interval: Interval | None
    words: str
    is_least: bool = False
    is_most: bool = False


class Quantity(ABC):
    """A number of a study's table that is known to an interval."""

    @abstractmethod
    def found(self, table: "pd.DataFrame") -> Found:
        """What a table says of it."""

    def scaled(self, bound: float) -> float:
        """A bound in the units of the interval."""
        return bound

    def exceeds(self, bound: float, text: str) -> Declared:
        """The claim that it is larger than a bound."""
        return self._declared(text, lambda x: above(x, self.scaled(bound)), ("is_most",), ("is_least",))

    def falls_below(self, bound: float, text: str) -> Declared:
        """The claim that it is smaller than a bound."""
        return self._declared(text, lambda x: below(x, self.scaled(bound)), ("is_least",), ("is_most",))

    def is_within(self, bound: float, text: str) -> Declared:
        """The claim that its size is smaller than a bound."""
        ends = ("is_least", "is_most")
        return self._declared(text, lambda x: within(x, self.scaled(bound)), ends, ends)

    def _declared(
        self,
        text: str,
        rule: Callable[[Interval], Decision],
        unless_holds: Sequence[str],
        unless_fails: Sequence[str],
    ) -> Declared:
        """A claim by a rule, which an end that is open on the wrong side keeps from deciding."""
        bars: dict[Decision, Sequence[str]] = {"holds": unless_holds, "fails": unless_fails}

        def judge(table: "pd.DataFrame") -> tuple[str, Decision]:
            found = self.found(table)
            decision = "undecided" if found.interval is None else rule(found.interval)
            is_open = any(getattr(found, end) for end in bars.get(decision, ()))
            return found.words, "undecided" if is_open else decision

        return Declared(text, judge)


@dataclass(frozen=True)
class Ratio(Quantity):
    """How many times as long some runs take as others, paired by seed: the geometric mean; bounds are ratios.

    A censored time counts as the run's last step, and the ratio is then a bound; seeds in which both are censored are
    left out, counted, and forbid a decision.

    Attributes:
        over: The runs above the line.
        under: Those below it.
        column: Their times, nan where they are censored.
        by: The column below the line, if it is another.
        limit: Column of what is known of a censored time: that it is larger.
        name: What is divided by what, for people.
    """

    over: Selection
    under: Selection
    column: str = "grokked_by"
    by: str | None = None
    limit: str = "steps"
    name: str = "ratio of T_grok"

    def scaled(self, bound: float) -> float:
        """Its logarithm."""
        return math.log(bound)

    def found(self, table: "pd.DataFrame") -> Found:
        """The mean logarithm of the ratio."""
        over, under = (rows(table).set_index("seed") for rows in (self.over, self.under))
        seeds = over.index.intersection(under.index)
        slow, fast = over.loc[seeds, self.column], under.loc[seeds, self.by or self.column]
        known = slow.notna() | fast.notna()
        times = slow.fillna(over.loc[seeds, self.limit]) / fast.fillna(under.loc[seeds, self.limit])
        logs = times[known].map(math.log).tolist()
        if len(logs) < 2:
            return Found(None, f"{self.name}: both censored in all seeds or all but one")
        interval, unknown = mean_interval(logs), int((~known).sum())
        is_least, is_most = bool(slow[known].isna().any()), bool(fast[known].isna().any())
        opens = {(True, False): " or more", (False, True): " or less", (True, True): ", open both ways"}
        words = f"{self.name}, geometric mean and 95 % interval over seeds "
        words += ", ".join(f"{math.exp(x):.3g}" for x in interval) + opens.get((is_least, is_most), "")
        if unknown:
            return Found(interval, f"{words} ({unknown} left out, both censored)", True, True)
        return Found(interval, words, is_least, is_most)


@dataclass(frozen=True)
class Share(Quantity):
    """The share of some rows in which something is so, with Wilson's interval.

    Attributes:
        of: The rows.
        hits: Of these rows, in which it is.
        name: What they are, for people.
    """

    of: Selection
    hits: Callable[["pd.DataFrame"], "pd.Series"]
    name: str = "share of runs"

    def found(self, table: "pd.DataFrame") -> Found:
        """The share."""
        rows = self.of(table)
        if rows.empty:
            return Found(None, f"{self.name}: there is no such run")
        n = int(self.hits(rows).sum())
        share = share_interval(n, len(rows))
        return Found(share, f"{self.name} {share} ({n} of {len(rows)})")

    def is_all(self, text: str, naming: str = "") -> Declared:
        """The claim that it is so in every one of these rows, and that there are some.

        Args:
            text: The claim.
            naming: How rows in which it is not are told, with columns in braces; they are only counted without it.
        """

        def judge(table: "pd.DataFrame") -> tuple[str, Decision]:
            rows = self.of(table)
            hits = self.hits(rows).astype(bool)
            misses = [naming.format_map(row) for row in rows[~hits].to_dict("records") if naming]
            said = f"{self.name}: {hits.sum()} of {len(rows)}" + (f", not {', '.join(misses)}" if misses else "")
            return said, "undecided" if rows.empty else "holds" if hits.all() else "fails"

        return Declared(text, judge)


@dataclass(frozen=True)
class Mean(Quantity):
    """The mean of a column over some rows, with Student's interval; `less` is taken off, paired by seed.

    Attributes:
        of: The rows, one for each seed.
        column: The column.
        name: What it is, for people.
        less: Rows whose values are subtracted, if any.
        by: The column that is subtracted: another of the same rows, if there are no other rows.
    """

    of: Selection
    column: str
    name: str
    less: Selection | None = None
    by: str | None = None

    def found(self, table: "pd.DataFrame") -> Found:
        """The mean, or the mean difference."""
        rows = self.of(table).set_index("seed")
        values = rows[self.column]
        if self.less is not None:
            values = (values - self.less(table).set_index("seed")[self.by or self.column]).dropna()
        elif self.by is not None:
            values = values - rows[self.by]
        if len(values) < 2 or values.isna().any():
            return Found(None, f"{self.name} not known in {int(values.isna().sum())} of {len(values)} runs")
        interval = mean_interval(values.tolist())
        return Found(interval, f"{self.name} {interval}")
