"""Early warning: how long before an event an indicator tells of it, at a rate of false alarms that controls set.

One harness for every indicator: a column along runs, and a side on which it is alarming. An alarm is the first
checkpoint from which the indicator stays beyond a level for a number of *steps*. The level is not chosen by hand, nor
by the runs that are judged: it is the farthest at which at most a share of the *controls*, runs in which the event
never comes, gives an alarm anywhere along its record; and of these only controls of *other* seeds are asked, so that no
run is judged by a level that its own split or start has set. The lead of a run is the time from its alarm to the event.

With n controls a rate is known to a resolution only: see `resolved_rate`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from circuitgrok.study.alarms import Indicator, first_held
from circuitgrok.study.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd


def leads(
    table: "pd.DataFrame",
    indicators: Mapping[str, Indicator],
    is_control: "pd.Series",
    *,
    share: float = 0.05,
    held: float = 0.0,
    by: str = "grokked",
) -> "pd.DataFrame":
    """The alarm and the lead of every run by every indicator.

    Args:
        table: One row per checkpoint; columns `run`, `seed`, `step`, the time of the event under `by` (nan if it did
            not come), and those of the indicators, which are unknown where they are nan and give no alarm there.
        indicators: By the names that the answer has.
        is_control: Of each row, whether its run sets levels.
        share: Of the controls of other seeds that may give an alarm.
        held: Steps for which an indicator must stay beyond its level, at every checkpoint within them.
        by: The column with the time of the event.

    Returns:
        One row per indicator and run: `indicator`, `run`, `seed`, `is_control`, `level` (nan without controls of other
        seeds), `alarm` (a step, nan without one) and `lead`, steps from the alarm to the event: 0 where there was no
        alarm before it, nan where there was no event.

    Example:
        >>> import pandas as pd
        >>> fall = {("a", 0): [9, 5, 2], ("quiet", 0): [9, 8, 7], ("b", 1): [9, 8, 3], ("noisy", 1): [9, 6, 6]}
        >>> rows = [
        ...     {"run": run, "seed": seed, "step": 10 * i, "x": x, "grokked": 40 if run in "ab" else None}
        ...     for (run, seed), values in fall.items() for i, x in enumerate(values)
        ... ]
        >>> table = pd.DataFrame(rows)
        >>> found = leads(table, {"falls": Indicator("x")}, table["run"].isin(["quiet", "noisy"]))
        >>> found[["run", "level", "alarm", "lead"]].values.tolist()[:2]  # "a" is judged by "noisy", of the other seed
        [['a', 6.0, 10.0, 30.0], ['quiet', 6.0, nan, nan]]
    """
    import pandas as pd

    runs = {str(run): rows for run, rows in table.groupby("run", sort=False)}
    facts = {run: (int(rows["seed"].iloc[0]), bool(is_control[rows.index].all())) for run, rows in runs.items()}
    found = []
    for name, indicator in indicators.items():
        values = {run: _falling(rows, indicator) for run, rows in runs.items()}
        farthest = {run: _farthest(rows["step"].tolist(), values[run], held) for run, rows in runs.items()}
        for run, rows in runs.items():
            seed, control = facts[run]
            of_others = [farthest[other] for other, (of, is_one) in facts.items() if is_one and of != seed]
            level = level_of(of_others, share)
            steps, time = rows["step"].tolist(), float(rows[by].iloc[0])
            alarm = first_held(steps, [value < level for value in values[run]], held)
            early = time - alarm if alarm < time else 0.0
            found.append(
                {
                    "indicator": name,
                    "run": run,
                    "seed": seed,
                    "is_control": control,
                    "level": -level if indicator.rises else level,
                    "alarm": alarm,
                    "lead": math.nan if math.isnan(time) else early,
                }
            )
    return pd.DataFrame(found)


def level_of(farthest: Sequence[float], share: float) -> float:
    """The highest level below which at most a share of these lowest values lie; nan of none.

    >>> level_of([5.0, 1.0, 3.0, 4.0], 0.25), level_of([5.0, 1.0, 3.0, 4.0], 0.2)  # one alarm of four, and none
    (3.0, 1.0)
    """
    allowed = math.floor(share * len(farthest) + 1e-9)
    return sorted(farthest)[min(allowed, len(farthest) - 1)] if farthest else math.nan


def resolved_rate(n_controls: int, share: float = 0.05, level: float = 0.95) -> Interval:
    """The true rate of false alarms at the level that n controls set for a share: its mean, and what holds most of it.

    If a new run is a draw of the same kind, its rate at a level that k + 1 of n controls bound has the law
    Beta(k + 1, n - k), whatever the indicator's distribution, as long as it has no ties.

    >>> print(resolved_rate(57))  # two of 57 may give an alarm
    0.0517 [0.011, 0.121]
    """
    from scipy.stats import beta

    allowed = math.floor(share * n_controls + 1e-9)
    law = beta(allowed + 1, n_controls - allowed)
    return Interval(float(law.mean()), *(float(end) for end in law.interval(level)))


def _falling(rows: "pd.DataFrame", indicator: Indicator) -> list[float]:
    """An indicator as one that falls; infinite, which is no alarm, where it is not known."""
    values = rows[indicator.column].astype(float)
    return (-values if indicator.rises else values).fillna(math.inf).tolist()


def _farthest(steps: Sequence[float], values: Sequence[float], held: float) -> float:
    """The lowest value that is kept for `held` steps: any level above it gives an alarm."""
    kept = [
        max(value for step, value in zip(steps[i:], values[i:], strict=True) if step <= start + held)
        for i, start in enumerate(steps)
        if steps[-1] >= start + held
    ]
    return min(kept, default=math.inf)
