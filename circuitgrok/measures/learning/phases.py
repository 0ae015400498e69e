"""The phases of grokking: memorisation, circuit formation, clean-up, bounded by named rules and known as intervals.

Nanda et al. tell three phases apart by eye. Training loss and excluded loss fall together (memorisation); excluded
loss rises and restricted loss falls while the test loss stays (circuit formation); test loss and weight norm drop
(clean-up). A rule in `RULES` says when one of these things happened, from one column of a run's table of measures:

    train_accuracy       accuracy[train] at 0.99 or more, sustained
    excluded_minimum     excluded_loss[train] at its minimum, before it doubles
    excluded_plateau     excluded_loss[train] within 10 % of the maximum that follows
    restricted_fell      restricted_loss[all] at a hundredth of its peak, sustained
    test_loss_fell       loss[test] at a tenth of its peak, sustained
    test_accuracy        accuracy[test] at 0.95 or more, sustained
    norm_settled         norm within 2 % of its fall from where it ends, sustained and for a tenth of the time since
                         its peak

Sustained is what `crossings` says (of the norm: to the end): at every checkpoint within the next 50 steps, and at least
at the next one. Each gives an `Event`: an interval between two checkpoints in which it happened, or censored, when the
record does not show it. Rules of one boundary need not agree; how far they are apart is part of the answer. The paper
puts the ends of its three phases at 1.4, 9.4 and 14 thousand steps; on its curves excluded loss has its minimum within
0.9 to 1.7 and its plateau from 9.6 on, the test loss has fallen by 9.4 and the norm settled by 14.7 thousand.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 5.2, for the phases; thresholds are ours.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from circuitgrok.measures.learning.crossings import Event, crossing

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 0.1  # relative: what counts as being at a minimum, or at a maximum
RISE = 2.0  # times its minimum: what excluded loss must reach for there to have been a minimum
RESTRICTED_LEFT = 0.01  # of its peak
TEST_LEFT = 0.1  # of its peak
NORM_LEFT = 0.02  # of its fall
NORM_FALL = 0.05  # of its peak: what the norm must lose for there to be a fall
NORM_REST = 0.1  # of the time since its peak: for how long it must have settled


def minimum(steps: Sequence[int], values: Sequence[float]) -> Event:
    """When a positive column had its minimum before it rose: the interval around all that is within 10 % of it.

    Relative errors below 4.7 % cannot move the minimum of a curve with one valley out of the interval: the value found
    there is at most 1.047 / 0.953 < 1.1 times the smallest one.

    Args:
        steps: Steps of the checkpoints, increasing.
        values: The column at those steps; nan is passed over.

    Returns:
        From the checkpoint before to the one after; censored if the column does not reach twice its minimum afterwards.

    Raises:
        ValueError: No values, or `steps` and `values` differ in length.

    Example:
        >>> print(minimum([0, 10, 20, 30, 40], [5.0, 0.9, 0.3, 0.5, 4.0]))
        step 10–30
        >>> print(minimum([0, 10, 20, 30], [5.0, 0.9, 0.3, 0.5]))
        not within 30 steps
    """
    steps, values = _record(steps, values)
    lowest = min(values)
    low = values.index(lowest)
    if max(values[low:]) < RISE * lowest:
        return Event(steps[-1], None, steps[-1])
    risen = next(i for i in range(low, len(values)) if values[i] >= RISE * lowest)
    near = [i for i in range(risen) if values[i] <= (1 + TOLERANCE) * lowest]
    return Event(steps[near[0] - 1] if near[0] else -1, steps[near[-1] + 1], None)


def plateau(steps: Sequence[int], values: Sequence[float]) -> Event:
    """When a positive column first came within 10 % of the maximum that follows its minimum.

    Args:
        steps: Steps of the checkpoints, increasing.
        values: The column at those steps; nan is passed over.

    Returns:
        The two checkpoints around it; censored where the minimum is, or if the column is largest at the last
        checkpoint, where it may well go on rising.

    Raises:
        ValueError: No values, or `steps` and `values` differ in length.

    Example:
        >>> print(plateau([0, 10, 20, 30, 40, 50], [9.0, 0.3, 2.0, 4.6, 5.0, 4.0]))
        step 20–30
    """
    steps, values = _record(steps, values)
    low = values.index(min(values))
    highest = max(values[low:])
    if highest < RISE * values[low] or values[-1] == highest:
        return Event(steps[-1], None, steps[-1])
    at = next(i for i in range(low, len(values)) if values[i] >= (1 - TOLERANCE) * highest)
    return Event(steps[at - 1] if at else -1, steps[at], None)


def fell(steps: Sequence[int], values: Sequence[float], left: float) -> Event:
    """When a positive column had fallen to a share of its peak, to stay there.

    A large init can put the peak of a loss at the first step: then the fall is not that of clean-up.

    Args:
        steps: Steps of the checkpoints, increasing.
        values: The column at those steps; nan is passed over.
        left: The share of the peak, in 0..1.

    Returns:
        A sustained crossing (`crossings.crossing`), looked for from the peak on.

    Raises:
        ValueError: No values, or `steps` and `values` differ in length.

    Example:
        >>> print(fell([0, 10, 20, 30], [5.0, 20.0, 3.0, 1.9], left=0.1))
        step 20–30
    """
    steps, values = _record(steps, values)
    peak = values.index(max(values))
    return crossing(steps[peak:], [-value for value in values[peak:]], -left * values[peak])


def settled(steps: Sequence[int], values: Sequence[float]) -> Event:
    """When a positive column that fell from its peak had made 98 % of its fall, to stay there to the end.

    Noise of more than 2 % of the fall leaves it unsettled.

    Args:
        steps: Steps of the checkpoints, increasing.
        values: The column at those steps; nan is passed over.

    Returns:
        The two checkpoints around it. Censored if the column lost less than 5 % of its peak, or if it was settled for
        less than a tenth of the time since the peak: a steady fall would look like that.

    Raises:
        ValueError: No values, or `steps` and `values` differ in length.

    Example:
        >>> print(settled([0, 10, 20, 30, 40], [30.0, 60.0, 40.0, 30.1, 30.0]))
        step 20–30
        >>> print(settled([0, 10, 20, 30, 40], [30.0, 60.0, 50.0, 40.0, 30.0]))
        not within 40 steps
    """
    steps, values = _record(steps, values)
    highest, end = max(values), values[-1]
    if highest - end < NORM_FALL * highest:
        return Event(steps[-1], None, steps[-1])
    last = max(i for i, value in enumerate(values) if value > end + NORM_LEFT * (highest - end))
    if steps[-1] - steps[last + 1] < NORM_REST * (steps[-1] - steps[values.index(highest)]):
        return Event(steps[-1], None, steps[-1])
    return Event(steps[last], steps[last + 1], None)


class Rule(NamedTuple):
    """A rule for one boundary.

    Attributes:
        column: The column of the table of measures that it looks at.
        event: From steps and that column, when it happened.
    """

    column: str
    event: Callable[[Sequence[int], Sequence[float]], Event]


RULES: dict[str, Rule] = {
    "train_accuracy": Rule("accuracy[train]", lambda steps, values: crossing(*_record(steps, values), 0.99)),
    "excluded_minimum": Rule("excluded_loss[train]", minimum),
    "excluded_plateau": Rule("excluded_loss[train]", plateau),
    "restricted_fell": Rule("restricted_loss[all]", lambda steps, values: fell(steps, values, RESTRICTED_LEFT)),
    "test_loss_fell": Rule("loss[test]", lambda steps, values: fell(steps, values, TEST_LEFT)),
    "test_accuracy": Rule("accuracy[test]", lambda steps, values: crossing(*_record(steps, values), 0.95)),
    "norm_settled": Rule("norm", settled),
}

# Of each phase the rule for its start (None: the start of the record) and the rule for its end.
PHASES: dict[str, tuple[str | None, str]] = {
    "memorisation": (None, "train_accuracy"),
    "circuit_formation": ("excluded_minimum", "excluded_plateau"),
    "cleanup": ("excluded_plateau", "norm_settled"),
}


def boundaries(table: "pd.DataFrame") -> dict[str, Event]:
    """When each rule's event happened, of all rules whose column the table has.

    Args:
        table: Measures along a run, steps as its index; groups `circuits` and `polar` have all columns.

    Raises:
        ValueError: A column without a value.
    """
    return {name: _event(name, table) for name, rule in RULES.items() if rule.column in table}


class Phase(NamedTuple):
    """A phase of a run, to the resolution of its checkpoints.

    Attributes:
        start: When it began.
        end: When it was over.
    """

    start: Event
    end: Event


def phases(table: "pd.DataFrame", rules: Mapping[str, tuple[str | None, str]] = PHASES) -> dict[str, Phase]:
    """The phases of a run, from its table of measures.

    Between the end of memorisation and the start of circuit formation there may be a gap: a training set can be known
    by heart before excluded loss is at its minimum.

    Args:
        table: Measures along a run, steps as its index, from the groups `circuits` and `polar`.
        rules: For each phase the names of the rules (`RULES`) that start and end it; None is the record's start.

    Raises:
        ValueError: An unknown rule, or a column that a rule needs and the table lacks.

    Example:
        >>> import circuitgrok as cg
        >>> found = phases(cg.measure(cg.load("checkpoints/reference"), ["circuits", "polar"]))
        >>> for name, phase in found.items():
        ...     print(f"{name}: from {phase.start} to {phase.end}")
        memorisation: from step 0–0 to step 100–178
        circuit_formation: from step 178–500 to step 1500–1778
        cleanup: from step 1500–1778 to step 3000–3500
    """
    first = Event(-1, int(table.index[0]), None)
    return {
        name: Phase(first if start is None else _event(start, table), _event(end, table))
        for name, (start, end) in rules.items()
    }


def _event(name: str, table: "pd.DataFrame") -> Event:
    if name not in RULES:
        raise ValueError(f"unknown rule {name!r} for a phase; there are {', '.join(RULES)}")
    column, event = RULES[name]
    if column not in table:
        raise ValueError(f"rule {name!r} needs the column {column}; measure the groups circuits and polar")
    return event([int(step) for step in table.index], table[column].tolist())


def _record(steps: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Steps and values without those that are nan."""
    if len(steps) != len(values) or all(math.isnan(value) for value in values):
        raise ValueError(f"steps and values must be as many, and some; got {len(steps)} steps and {list(values)[:9]}")
    kept = [(step, value) for step, value in zip(steps, values, strict=True) if not math.isnan(value)]
    return [step for step, _ in kept], [value for _, value in kept]
