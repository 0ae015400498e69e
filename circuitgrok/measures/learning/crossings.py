"""When a run memorised and when it grokked: sustained crossings, as intervals, with censoring.

A crossing is known only between two evaluations, and a first crossing may be a flicker. So an event is
the first evaluation from which a column stays at or above a threshold at every evaluation within the next
`hold` steps, and at least at the next one (or to the end of the record, if that is nearer), reported as the
interval from the evaluation before it. A run that never gets there is censored at its last evaluation: that
is not evidence that it never would.

The hold counts steps, because the question is about training and not about who looks at it: a number of evaluations
would ask for ten times the stretch on a grid that is ten times as coarse. Runs that are evaluated on different grids
can so be compared. `HOLD` is a choice: 50 steps are five evaluations at the usual `eval_every` of 10, and short beside
what is timed, hundreds of steps and more. What is kept for longer counts, and `afterwards` says whether it was lost
again. At least the next evaluation is asked, because on a grid that is coarser than the hold one evaluation alone
cannot be told from a flicker.

What remains of the grid:

    a column that stays once it is there    the event is known less closely on a coarser grid, and never otherwise: its
                                            interval contains that of every finer grid
    one that flickers                       what lies between two evaluations is not seen. The event comes no later than
                                            the first evaluation from which a finer grid keeps the level for the hold
                                            and up to the next evaluation; it may come earlier, if dips are missed

So times are intervals, and an analysis that reads them takes them as that.

That an event happened does not say that it lasted: `afterwards` tells of the same record when the level was first
lost by the same rule, at how many of the later evaluations it was, and how the record ends.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

ACCURACY_RULES: dict[str, tuple[str, float]] = {
    "memorised": ("train_acc", 0.99),
    "grokked": ("test_acc", 0.95),
}
UNSEEN_RULES: dict[str, tuple[str, float]] = {"grokked_unseen": ("test_mirror_unseen_acc", 0.95)}
HOLD = 50  # steps


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
        hold: Steps for which the level must be kept, at every evaluation within them and at least at the next; 0 for
            the first crossing, whether or not it is kept.

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
    start: int | None = None
    for i, value in enumerate(values):
        if value >= threshold:
            start = i if start is None else start
        elif start is not None and is_kept(steps[start], i - start, steps[i], hold):
            break
        else:
            start = None
    if start is None:
        return Event(steps[-1], None, steps[-1])
    return Event(steps[start - 1] if start else -1, steps[start], None)


def is_kept(since: int, n: int, end: int, hold: int = HOLD) -> bool:
    """Whether a level was kept for long enough: at `n` evaluations from step `since` on, the next of which is at `end`.

    >>> is_kept(100, 5, 150), is_kept(100, 5, 151), is_kept(100, 1, 900), is_kept(100, 2, 900)
    (False, True, False, True)
    """
    return end > since + hold and (n > 1 or not hold)


class Afterwards(NamedTuple):
    """What became of a level once a crossing of it had been sustained.

    Attributes:
        lost: When the column was first below for as long as a crossing must be kept; censored at the last evaluation
            if it never was.
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


def known_rules(history: "pd.DataFrame", rules: Mapping[str, tuple[str, float]]) -> dict[str, tuple[str, float]]:
    """Some rules and, where a history has their columns at every evaluation, those of parts of the test pairs.

    A run that an older version began has them from some step on, and its event may lie before.

    >>> import pandas as pd
    >>> list(known_rules(pd.DataFrame({"test_acc": [0.5], "test_mirror_unseen_acc": [0.25]}), ACCURACY_RULES))
    ['memorised', 'grokked', 'grokked_unseen']
    >>> list(known_rules(pd.DataFrame({"test_acc": [0.5]}), ACCURACY_RULES))
    ['memorised', 'grokked']
    """
    whole = {n: rule for n, rule in UNSEEN_RULES.items() if rule[0] in history and history[rule[0]].notna().all()}
    return {**rules, **whole}


def events(history: "pd.DataFrame", rules: Mapping[str, tuple[str, float]] = ACCURACY_RULES) -> dict[str, Event]:
    """When a run memorised and when it grokked, out of its history; `rules` gives for each event column and level."""
    steps = [int(step) for step in history.index.to_numpy()]
    return {
        name: crossing(steps, history[column].to_numpy().tolist(), level) for name, (column, level) in rules.items()
    }
