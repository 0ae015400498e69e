"""Alarms: when an indicator had fallen half of its way, by a level that other runs set.

A run whose own end set the level could not but cross it. So the level of a run is the mean over the *other* runs of a
reference group, and an alarm in a run outside that group is a false one. Its own half-way steps tell of an order.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from circuitgrok.measures.learning.crossings import crossing

if TYPE_CHECKING:
    import pandas as pd

HELD = 200  # steps for which an indicator must stay below its level


class Indicator(NamedTuple):
    """A column that may tell of something before it shows.

    Attributes:
        column: Of a table of measures.
        is_logarithmic: Whether half of its way is meant on a logarithmic scale.
    """

    column: str
    is_logarithmic: bool = False


def alarms(table: "pd.DataFrame", indicators: Mapping[str, Indicator], reference: "pd.Series") -> "pd.DataFrame":
    """When each indicator gave the alarm in each run: the first checkpoint from which it stays below its level.

    Args:
        table: One row per checkpoint, in order, from the one on at which a way begins; a column `run` names the run,
            `step` the checkpoint.
        indicators: By the names that the answer has.
        reference: Of each row, whether its run sets levels for others: half-way from its first to its last value.

    Returns:
        One row per indicator and run: `run`, `indicator`, `level` (nan without another run of the reference), `alarm`
        (a step; nan if it never stays below for `HELD` steps of the record, by the rule of `crossing`) and `steps`, the
        run's last.

    Example:
        >>> import pandas as pd
        >>> fall = {"a": [8.0, 8.0, 2.0, 2.0, 2.0], "b": [8.0, 4.0, 4.0, 4.0, 4.0]}
        >>> rows = [{"run": run, "step": 100 * i, "x": x} for run, of in fall.items() for i, x in enumerate(of)]
        >>> table = pd.DataFrame(rows)
        >>> found = alarms(table, {"falls": Indicator("x")}, table["run"] == "b")
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
            alarm, last = _stays_below(rows, indicator.column, level), rows["step"].iloc[-1]
            found.append({"run": run, "indicator": name, "level": level, "alarm": alarm, "steps": last})
    return pd.DataFrame(found, columns=["run", "indicator", "level", "alarm", "steps"])


def half_ways(table: "pd.DataFrame", indicators: Mapping[str, Indicator]) -> dict[str, float]:
    """The first checkpoint from which each indicator has done half of its own way, up or down, as `crossing` has it.

    Args:
        table: One row per checkpoint of one run, its index the step, from the one on at which a way begins.
        indicators: By the names that the answer has.

    Returns:
        Steps; nan for an indicator that does not move, or does not stay.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"x": [4.0, 4.0, 1.0, 0.0], "still": 1.0}, index=[10, 20, 30, 40])
        >>> half_ways(table, {"x": Indicator("x"), "still": Indicator("still")})
        {'x': 30.0, 'still': nan}
    """
    found = {}
    for name, indicator in indicators.items():
        values = table[indicator.column].dropna()
        values = values.map(math.log) if indicator.is_logarithmic else values
        way = values.iloc[-1] - values.iloc[0]
        share = (values - values.iloc[0]) / way if way else values * math.nan
        step = crossing([int(s) for s in share.index], share.tolist(), 0.5).by
        found[name] = math.nan if step is None else float(step)
    return found


def _half_way(rows: "pd.DataFrame", indicator: Indicator) -> float:
    start, end = rows[indicator.column].iloc[0], rows[indicator.column].iloc[-1]
    return math.sqrt(start * end) if indicator.is_logarithmic and min(start, end) > 0 else (start + end) / 2


def _stays_below(rows: "pd.DataFrame", column: str, level: float) -> float:
    steps = [int(step) for step in rows["step"]]
    step = crossing(steps, (rows[column] < level).astype(float).tolist(), 1.0, HELD).by
    return math.nan if step is None or step + HELD > steps[-1] else float(step)
