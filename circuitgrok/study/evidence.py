"""How claims are decided: five words, a p-value for each, and Holm's level over all claims of an analysis.

A claim says where a quantity lies: above a bound, below it, within it. An interval decides.

    holds            the whole interval lies on the claim's side
    opposite         it lies on the other side
    not shown        it lies on both; so many seeds would decide, were the estimate right
    censored         it lies on both because a budget ended first
    counterexample   a claim about all that one run breaks, which is shown

The p-value of a claim is one minus the level of the widest interval that still decides it, on either side. Holm's
procedure takes the claims of an analysis in the order of their p-values: the k-th of m is decided if p ≤ α/(m − k + 1),
and no later one once one is not. The word is that of the interval at the level 1 − α/(m − k + 1): with probability
1 − α no claim of the analysis is decided wrongly, as far as the intervals are right.

Source: S. Holm, "A simple sequentially rejective multiple test procedure" (1979), Scand. J. Statist. 6, 65.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from circuitgrok.study.intervals import Decision, Interval

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05  # the chance that an analysis decides any of its claims wrongly
LEAST_P = 1e-9  # below which a p-value is not told apart from 0
DECIDED: tuple[Decision, ...] = ("holds", "opposite", "counterexample")


class Told(Protocol):
    """What some rows say of something."""

    @property
    def words(self) -> str:
        """For people."""
        ...


class Tells(Protocol):
    """Something that is told of a table."""

    def found(self, table: "pd.DataFrame") -> Told:
        """What a table says of it."""
        ...


class Judged(NamedTuple):
    """What a table says of a claim.

    Attributes:
        words: What was measured.
        at: What is decided by intervals of a level of confidence.
        needed: How many seeds would decide at a level, were the estimate right; nan if that is not known.
    """

    words: str
    at: Callable[[float], Decision]
    needed: Callable[[float], float] = lambda level: math.nan

    @property
    def p_value(self) -> float:
        """One minus the level of the widest interval that decides, to a hundredth of itself; at least `LEAST_P`."""
        if self.at(1 - LEAST_P) in DECIDED:
            return LEAST_P
        low, high = math.log(LEAST_P), 0.0
        while high - low > 0.01:
            middle = (low + high) / 2
            low, high = (low, middle) if self.at(1 - math.exp(middle)) in DECIDED else (middle, high)
        return math.exp(high)


def settled(words: str, decision: Decision) -> Judged:
    """What needs no interval: of a rule that all runs obey or not, or of what is exact.

    >>> settled("3 of 4", "counterexample").at(0.99)
    'counterexample'
    """
    return Judged(words, lambda level: decision)


class Plan(NamedTuple):
    """What a design can say of a claim before anything is trained.

    Attributes:
        can_hold: Whether there are outcomes with which the claim holds.
        words: Which, or what effect is found with a power of 80 %.
    """

    can_hold: bool
    words: str


@dataclass(frozen=True)
class Declared:
    """A sentence that can be wrong, and how a table decides it.

    Attributes:
        text: The sentence.
        judge: What a table says of it.
        rule: What is compared with which bound, in words.
        plan: What a number of seeds can say, at α of each claim; None where that does not depend on seeds.
    """

    text: str
    judge: Callable[["pd.DataFrame"], Judged]
    rule: str = ""
    plan: Callable[[int, float], Plan] | None = None

    def telling(self, *quantities: "Tells") -> "Declared":
        """The same claim, which tells what else was found beside what was measured; that decides nothing."""

        def judge(table: "pd.DataFrame") -> Judged:
            judged = self.judge(table)
            return judged._replace(words="; ".join([judged.words, *(each.found(table).words for each in quantities)]))

        return replace(self, judge=judge)


class Claim(NamedTuple):
    """A sentence that can be wrong, what was measured, and what follows.

    Attributes:
        text: The sentence.
        measured: What was measured, with intervals of 95 %.
        decision: One of the five words.
        p: The p-value, before Holm.
        alpha: One minus the level of the interval that gave the word.
        needed: How many seeds would decide at that level; nan if it is decided, or not known.
    """

    text: str
    measured: str
    decision: Decision
    p: float
    alpha: float
    needed: float

    @property
    def said(self) -> str:
        """p-value, level, and what is missing, in words."""
        p = f"p < {LEAST_P:g}" if self.p <= LEAST_P else f"p = {self.p:.2g}"
        more = f"; about {self.needed:.0f} seeds would decide" if self.needed <= 1000 else ""
        far = "; more than 1000 seeds would be needed" if self.needed > 1000 else ""
        return f"{p}, judged at {self.alpha:.2g}{more}{far}"


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> list[float]:
    """The level at which each of several p-values is judged: decided if p is at most that.

    Example:
        >>> holm([0.04, 0.001, 0.03])  # 0.001 ≤ 0.05 / 3; 0.03 > 0.05 / 2, at which the others stay
        [0.025, 0.016666666666666666, 0.025]
    """
    levels, level = [0.0] * len(p_values), alpha
    is_open = True
    for k, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        level = alpha / (len(p_values) - k) if is_open else level
        is_open = is_open and p_values[i] <= level
        levels[i] = level
    return levels


def decide(claims: Sequence[Declared], table: "pd.DataFrame", alpha: float = ALPHA) -> list[Claim]:
    """The claims of an analysis with what a table says of each, the words taken at Holm's level."""
    judged = [one.judge(table) for one in claims]
    p_values = [one.p_value for one in judged]
    made = []
    for claim, said, p, level in zip(claims, judged, p_values, holm(p_values, alpha), strict=True):
        word = said.at(1 - (level if p <= level else min(level, 0.98 * p)))  # p is known to a hundredth
        needed = said.needed(1 - level) if word == "not shown" else math.nan
        made.append(Claim(claim.text, said.words, word, p, level, needed))
    return made


def seeds_needed(interval: Interval, n: int, bound: float, decision: Callable[[Interval, float], Decision]) -> float:
    """About how many seeds would decide, were the estimate right: the interval shrinks like one over their root.

    Args:
        interval: Of n seeds, at the level that is to decide.
        n: Seeds.
        bound: Of the claim.
        decision: How an interval decides.

    Example:
        >>> from circuitgrok.study.intervals import above
        >>> seeds_needed(Interval(2, 0, 4), 10, 1, above)  # half of the width would do, which takes four times as many
        41.0
    """
    finite = [end for end in interval[1:] if math.isfinite(end)]
    if n < 2 or not finite or not math.isfinite(interval.estimate):
        return math.nan

    def decides(times: float) -> bool:
        low, high = (interval.estimate + (end - interval.estimate) / math.sqrt(times) for end in interval[1:])
        return decision(Interval(interval.estimate, low, high), bound) in DECIDED

    low, high = 1.0, 1e6
    if not decides(high):
        return math.inf
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if decides(middle) else (middle, high)
    return float(math.floor(n * high) + 1)


def detectable(n: int, alpha: float = ALPHA, power: float = 0.8) -> float:
    """The distance from a bound, in standard deviations over seeds, that Student's interval decides with a power.

    Args:
        n: Seeds, two at least.
        alpha: One minus the level of the interval.
        power: The chance that the interval then lies on the right side.

    Example:
        >>> round(detectable(10), 2), round(detectable(10, 0.05 / 8), 2)
        (1.0, 1.43)

    Source: the noncentral t distribution.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    threshold = float(t.isf(alpha / 2, n - 1))

    def short(size: float) -> float:
        return float(nct.sf(threshold, n - 1, size * math.sqrt(n))) - power

    high = 1.0
    while short(high) < 0:
        high *= 2
    found: float = brentq(short, 0.0, high)  # pyright: ignore[reportAssignmentType]
    return found
