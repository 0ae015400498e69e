"""When a run memorised and when it grokked: sustained crossings, as intervals, with censoring.

A crossing is known only between two evaluations, and a first crossing may be a flicker. So an event is
the first evaluation from which a column stays at or above a threshold for `hold` further evaluations (or
to the end of the record, if that is nearer), reported as the interval from the evaluation before it. A
run that never gets there is censored at its last evaluation: that is not evidence that it never would.

That an event happened does not say that it lasted: `afterwards` tells of the same record when the level was first
lost for as long, at how many of the later evaluations it was, and how the record ends.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

ACCURACY_RULES: dict[str, tuple[str, float]] = {
    "memorised": ("train_acc", 0.99),
    "grokked": ("test_acc", 0.95),
}
HOLD = 5


class Event(NamedTuple):
    """When something happened, to the resolution of the history.

    Attributes:
        after: Last step at which it had not happened yet (-1: it held from the first evaluation on).
        by: First step at which it had; None if it did not happen within the record.
        censored_at: Last step of the record if it did not happen, else None.
    """

    after: int
    by: int | None
    censored_at: int | None

    def __str__(self) -> str:
        if self.by is None:
            return f"not within {self.censored_at} steps"
        return f"step {max(self.after, 0)}–{self.by}"


def crossing(steps: Sequence[int], values: Sequence[float], threshold: float, hold: int = HOLD) -> Event:
    """The sustained crossing of a threshold from below.

    Args:
        steps: Steps of the evaluations, increasing.
        values: The column at those steps; nan counts as below.
        threshold: Level to reach.
        hold: Further evaluations for which the level must be kept.

    Raises:
        ValueError: No evaluations, or `steps` and `values` differ in length.

    Example:
        >>> print(crossing([0, 10, 20, 30, 40], [0.1, 0.99, 0.5, 0.97, 1.0], 0.95, hold=1))
        step 20–30
        >>> print(crossing([0, 10], [0.1, 0.2], 0.95))
        not within 10 steps
    """
    if not steps or len(steps) != len(values):
        raise ValueError(f"steps and values must be as many, and some; got {len(steps)} and {len(values)}")
    above = [value >= threshold for value in values]
    for i in range(len(above)):
        if all(above[i : i + hold + 1]):
            return Event(steps[i - 1] if i else -1, steps[i], None)
    return Event(steps[-1], None, steps[-1])


class Afterwards(NamedTuple):
    """What became of a level once a crossing of it had been sustained.

    Attributes:
        lost: When the column was first below for `hold` + 1 evaluations in a row, or to the end of the record;
            censored at its last evaluation if it never was.
        n_below: Evaluations below the level, of those after the crossing.
        n_later: Evaluations after the crossing.
        is_below_at_end: Whether the last evaluation is below.
    """

    lost: Event
    n_below: int
    n_later: int
    is_below_at_end: bool

    def __str__(self) -> str:
        if self.n_below == 0:
            return f"kept at all {self.n_later} later evaluations"
        share = f"below at {self.n_below} of {self.n_later} later evaluations"
        lost = "" if self.lost.by is None else f"lost again at {self.lost}, "
        return f"{lost}{share}, {'and' if self.is_below_at_end else 'not'} at the end"


def afterwards(steps: Sequence[int], values: Sequence[float], threshold: float, hold: int = HOLD) -> Afterwards | None:
    """Whether a level was lost again after its sustained crossing; None if there was none.

    Args:
        steps: Steps of the evaluations, increasing.
        values: The column at those steps; nan counts as below.
        threshold: Level that `crossing` asked for.
        hold: As for `crossing`; a loss is sustained by the same rule as the crossing.

    Raises:
        ValueError: No evaluations, or `steps` and `values` differ in length.

    Example:
        >>> accuracy = [0.1, 1.0, 1.0, 0.9, 1.0, 0.9, 0.9, 0.96, 0.9]
        >>> print(afterwards(list(range(0, 90, 10)), accuracy, 0.95, hold=1))
        lost again at step 40–50, below at 4 of 7 later evaluations, and at the end
        >>> print(afterwards(list(range(0, 50, 10)), accuracy[:5], 0.95, hold=1))
        below at 1 of 3 later evaluations, not at the end
    """
    event = crossing(steps, values, threshold, hold)
    if event.by is None:
        return None
    first = list(steps).index(event.by)
    below = [0.0 if value >= threshold else 1.0 for value in values[first:]]
    return Afterwards(crossing(steps[first:], below, 1.0, hold), int(sum(below)), len(below) - 1, below[-1] == 1)


def events_afterwards(history: "pd.DataFrame") -> dict[str, Afterwards | None]:
    """What became of each of `events`, by the same rules; None for those that did not happen."""
    steps = [int(step) for step in history.index.to_numpy()]
    return {
        name: afterwards(steps, history[column].to_numpy().tolist(), level)
        for name, (column, level) in ACCURACY_RULES.items()
    }


def events(history: "pd.DataFrame", rules: Mapping[str, tuple[str, float]] = ACCURACY_RULES) -> dict[str, Event]:
    """When a run memorised and when it grokked, out of its history; `rules` gives for each event column and level."""
    steps = [int(step) for step in history.index.to_numpy()]
    return {
        name: crossing(steps, history[column].to_numpy().tolist(), level) for name, (column, level) in rules.items()
    }
