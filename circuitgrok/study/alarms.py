"""Alarms: when an indicator had fallen half of its way, by a level that other runs set.

A run whose own end set the level could not but cross it. So the level of a run is the mean over the *other* runs of a
reference group, and an alarm in a run outside that group is a false one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

HELD = 200  # steps for which an indicator must stay below its level, at every checkpoint within them


class Indicator(NamedTuple):
    """A column that may tell of something before it shows.

    Attributes:
        column: Of a table of measures.
        is_logarithmic: Whether half of its way is meant on a logarithmic scale.
        rises: Whether it warns by rising (`early_warning`).
    """

    column: str
    is_logarithmic: bool = False
    rises: bool = False


def alarms(
    table: "pd.DataFrame", indicators: Mapping[str, Indicator], reference: "pd.Series", held: float = HELD
) -> "pd.DataFrame":
    """When each indicator gave the alarm in each run: the first checkpoint from which it stays below its level.

    Args:
        table: One row per checkpoint, in order, from the one on at which a way begins; a column `run` names the run,
            `step` the checkpoint.
        indicators: By the names that the answer has.
        reference: Of each row, whether its run sets levels for others: half-way from its first to its last value.
        held: Steps for which an indicator must stay below its level, whatever the number of checkpoints.

    Returns:
        One row per indicator and run: `run`, `indicator`, `level` (nan without another run of the reference), `alarm`
        (a step; nan if it never stays below for as long) and `steps`, the run's last.

    Example:
        >>> import pandas as pd
        >>> fall = {"a": [8.0, 8.0, 2.0, 2.0, 2.0], "b": [8.0, 4.0, 4.0, 4.0, 4.0]}
        >>> rows = [{"run": run, "step": 100 * i, "x": x} for run, of in fall.items() for i, x in enumerate(of)]
        >>> table = pd.DataFrame(rows)
        >>> found = alarms(table, {"falls": Indicator("x")}, table["run"] == "b", held=200)
        >>> found[["run", "level", "alarm"]].values.tolist()
        [['a', 6.0, 200.0], ['b', nan, nan]]
    """
    import pandas as pd

    runs = {str(run): rows for run, rows in table.groupby("run", sort=False)}
    found = []
    for name, indicator in indicators.items():
        levels = {run: _half_way(rows, indicator) for run, rows in runs.items() if reference[rows.index].all()}
        for run, rows in runs.items():
            others = [level for other, level in levels.items() if other != run]
            level = sum(others) / len(others) if others else math.nan
            steps, below = rows["step"].tolist(), (rows[indicator.column] < level).tolist()
            alarm = first_held(steps, below, held)
            found.append({"run": run, "indicator": name, "level": level, "alarm": alarm, "steps": steps[-1]})
    return pd.DataFrame(found, columns=["run", "indicator", "level", "alarm", "steps"])


def first_held(steps: Sequence[float], is_so: Sequence[bool], held: float) -> float:
    """The first step from which something is so at every checkpoint of the next `held` steps, all within the record.

    >>> first_held([0, 100, 200, 300], [False, True, False, True], 0), first_held([0, 90, 200], [False, True, True], 99)
    (100.0, 90.0)
    """
    for i, start in enumerate(steps):
        if steps[-1] >= start + held and all(
            so for at, so in zip(steps[i:], is_so[i:], strict=True) if at <= start + held
        ):
            return float(start)
    return math.nan


def _half_way(rows: "pd.DataFrame", indicator: Indicator) -> float:
    start, end = rows[indicator.column].iloc[0], rows[indicator.column].iloc[-1]
    return math.sqrt(start * end) if indicator.is_logarithmic and min(start, end) > 0 else (start + end) / 2
