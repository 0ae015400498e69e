"""Quantities that are never censored: factors of positive numbers, gains over a control, intervals known already."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from circuitgrok import figures
from circuitgrok.study.claims import Found, Level, Quantity, Selection, of_seeds
from circuitgrok.study.evidence import Declared, Judged
from circuitgrok.study.intervals import Decision, Interval, above, factor, mean_interval, within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


GAIN = (-1.0, 1.0)  # between which a difference of shares lies


@dataclass(frozen=True)
class Factor(Quantity):
    """The geometric mean of a positive column, or of how many times another's it is, paired by seed; bounds are ratios.

    Unlike `Ratio`, which bounds censored times, it is not known where a seed has no value.

    Attributes:
        of: The rows, one for each seed.
        column: Their column.
        name: What is divided by what, for people, with its unit if it has one.
        over: Rows to divide by, if they are others.
        by: The column to divide by, if it is another.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> rows = {"arm": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1], "loss": [2.0, 4.0, 1.0, 1.0]}
        >>> ratio = Factor(where(arm="a"), "loss", "loss of a over that of b", over=where(arm="b"))
        >>> ratio.found(pd.DataFrame(rows)).words
        'loss of a over that of b, geometric mean and 95 % interval over seeds 2.83, 0.0346, 231'
    """

    of: Selection
    column: str
    name: str
    over: Selection | None = None
    by: str | None = None

    def scaled(self, bound: float) -> float:
        """Its logarithm."""
        return math.log(bound)

    def found(self, table: "pd.DataFrame") -> Found:
        """The mean logarithm."""
        values = of_seeds(self.of(table), self.name)[self.column]
        if self.over is not None or self.by is not None:
            values = values / of_seeds((self.over or self.of)(table), self.name)[self.by or self.column]
        logs = [math.log(value) for value in values if 0 < value < math.inf]
        if len(logs) < max(2, len(values)):
            return Found(None, f"{self.name} not known in {len(values) - len(logs)} of {len(values)} seeds")
        words = f"{self.name}, {factor(mean_interval(logs))}"
        return Found(lambda level: mean_interval(logs, level), words, len(logs))


@dataclass(frozen=True)
class Known(Quantity):
    """A number that is known to an interval already: of a fit, or of what is too large for a table.

    Attributes:
        at: The interval of a level of confidence.
        words: What it is, with its numbers.
        name: What it is.
        n: Seeds that it rests on.

    Example:
        >>> from circuitgrok.study.evidence import decide
        >>> share = Known(student(0.96, 0.005, 9), "share 0.96 [0.949, 0.971]", "share", 10)
        >>> [claim] = decide([share.exceeds(0.9, "It is most of it.")], None)
        >>> claim.decision, claim.measured
        ('holds', 'share 0.96 [0.949, 0.971]')
    """

    at: Level
    words: str
    name: str = "it"
    n: int = 0

    def found(self, table: "pd.DataFrame") -> Found:
        """The interval, whatever the table."""
        return Found(self.at, self.words, self.n)


def any_exceeds(changes: "Sequence[Quantity]", bound: float, text: str) -> Declared:
    """The claim that one of some quantities is above a bound, at a level shared among them; else that none is.

    Example:
        >>> from circuitgrok.study.evidence import decide
        >>> known = [Known(student(mean, 0.1, 9), f"about {mean:g}") for mean in (0.0, 2.0)]
        >>> [claim] = decide([any_exceeds(known, 1.0, "One of them is over 1.")], None)
        >>> claim.decision, claim.measured
        ('holds', 'about 0; about 2')
    """
    claims = [one.exceeds(bound, text) for one in changes]

    def judge(table: "pd.DataFrame") -> Judged:
        judged = [claim.judge(table) for claim in claims]

        def decided(level: float) -> Decision:
            return _of_any({one.at(1 - (1 - level) / len(judged)) for one in judged})

        return Judged("; ".join(one.words for one in judged), decided)

    return Declared(text, judge, f"largest of {len(changes)} > {bound:g}")


def _of_any(words: set[Decision]) -> Decision:
    """The word for one of some, by the words for each: one that holds is enough, and the opposite takes all."""
    return "holds" if "holds" in words else "opposite" if words == {"opposite"} else "not shown"


def student(estimate: float, stderr: float, df: float) -> Level:
    """Student's interval of an estimate with a standard error, at any level.

    >>> print(student(2.0, 0.5, 9)(0.95))
    2 [0.869, 3.13]
    """
    from scipy.stats import t

    def at(level: float) -> Interval:
        half = float(t.isf((1 - level) / 2, df)) * stderr
        return Interval(estimate, estimate - half, estimate + half)

    return at


def joint_intervals(
    values: Mapping[str, Iterable[float]], level: float = 0.95, bounds: tuple[float, float] | None = None
) -> dict[str, Interval | None]:
    """Means over seeds with intervals that hold for all of them together (Bonferroni).

    Args:
        values: One number per seed, by name; those that are not finite are left out.
        level: At which all intervals together are right.
        bounds: Between which numbers must lie, if there are such (`intervals.mean_interval`).

    Returns:
        None where fewer than two numbers are known.

    Example:
        >>> print(*joint_intervals({"a": [1.0, 2.0, 3.0], "b": [1.0, math.nan]}).values())
        2 [-1.58, 5.58] None
    """
    known = {name: [value for value in given if math.isfinite(value)] for name, given in values.items()}
    return {
        name: mean_interval(given, 1 - (1 - level) / len(known), bounds) if len(given) > 1 else None
        for name, given in known.items()
    }


@dataclass(frozen=True)
class Gains:
    """Gains of arms over a control in a share, paired by seed; words are in points, hundredths of it.

    Attributes:
        of: The rows that are compared, one for each arm and seed.
        column: The share.
        against: The control's name in the column `arm`.
        name: Of what the points are, for people.
    """

    of: Selection
    column: str
    against: str
    name: str

    def found(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """The gains, seeds by arms; of the rows' arms, without the control's rows none."""
        values = self.of(table).pivot(index="seed", columns="arm", values=self.column)
        return values.sub(values[self.against], axis=0) if self.against in values else values[[]]

    def gainers(self, table: "pd.DataFrame", arms: Iterable[str]) -> list[str]:
        """Those of some arms whose gain is above 0, as far as an interval of 95 % for each can tell."""
        gains = self.found(table)
        known = {
            arm: joint_intervals({arm: gains[arm]}, bounds=GAIN)[arm]
            for arm in arms
            if arm in gains and arm != self.against
        }
        return [arm for arm, interval in known.items() if interval and interval.low > 0]

    def any_exceeds(self, arms: Iterable[str], bound: float, text: str) -> Declared:
        """The claim that some of these arms gains more than a bound; the opposite is that none of them does.

        What was measured names the arms whose gain is a decided null: within the bound on both sides.
        """
        asked = list(arms)

        def judge(table: "pd.DataFrame") -> Judged:
            gains = self.found(table)
            values = {arm: gains[arm].tolist() if arm in gains else [] for arm in asked}
            known = joint_intervals(values, bounds=GAIN)
            null = [arm for arm, i in known.items() if i and within(i, bound) == "holds"]
            said = f"{self.name}: {in_points(known)}" + (f" (decided null: {', '.join(null)})" if null else "")

            def decided(level: float) -> Decision:
                found = joint_intervals(values, level, GAIN).values()
                return _of_any({above(i, bound) if i else "not shown" for i in found})

            return Judged(said, decided)

        return Declared(text, judge, f"largest gain > {bound:g} ({self.name})")


def in_points(intervals: Mapping[str, Interval | None]) -> str:
    """Intervals of shares in words, in points.

    >>> in_points({"a": Interval(0.1, 0.05, 0.15), "b": None})
    'a 10 [5, 15]; b unknown: fewer than two seeds'
    """
    shown = {
        arm: Interval(*(100 * x for x in i)) if i else "unknown: fewer than two seeds" for arm, i in intervals.items()
    }
    return "; ".join(f"{arm} {interval}" for arm, interval in shown.items())


def draw_gains(ax: "Axes", gains: "pd.DataFrame", colours: Mapping[str, str], null: float) -> None:
    """Gains in points, an arm a line: seeds as dots, the mean and its interval, and what is a null in grey.

    Args:
        ax: Where.
        gains: `Gains.found`.
        colours: By arm, from top to bottom; those without gains are left out.
        null: The bound of a null.
    """
    drawn = [arm for arm in reversed([*colours]) if arm in gains]
    for i, arm in enumerate(drawn):
        colour, interval = colours[arm], joint_intervals({arm: gains[arm]}, bounds=GAIN)[arm]
        ax.plot(100 * gains[arm], [i] * len(gains), "o", color=colour, ms=3, alpha=0.5)
        if interval:
            ax.plot([100 * interval.low, 100 * interval.high], [i, i], color=colour)
            ax.plot(100 * interval.estimate, i, "|", color=colour, ms=10)
    ax.axvspan(-100 * null, 100 * null, color=figures.GREY, alpha=0.15, lw=0)
    ax.set_yticks(range(len(drawn)), drawn, fontsize=7)
