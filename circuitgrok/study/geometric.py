"""The geometric mean of a column, for claims about ratios that each run has of its own."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from circuitgrok.study.claims import Found, Quantity, Selection
from circuitgrok.study.verdicts import factor, mean_interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class GeometricMean(Quantity):
    """The geometric mean of a positive column over some rows; bounds are in its units.

    Attributes:
        of: The rows, one for each seed.
        column: The column.
        name: What it is, for people.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"seed": [0, 1, 2], "ratio": [2.0, 4.0, 8.0]})
        >>> GeometricMean(lambda rows: rows, "ratio", "this over that").found(table).words
        'this over that, geometric mean and 95 % interval over seeds 4, 0.715, 22.4'
    """

    of: Selection
    column: str
    name: str

    def scaled(self, bound: float) -> float:
        """Its logarithm."""
        return math.log(bound)

    def found(self, table: "pd.DataFrame") -> Found:
        """The mean logarithm."""
        values = self.of(table)[self.column]
        if len(values) < 2 or values.isna().any():
            return Found(None, f"{self.name} not known in {int(values.isna().sum())} of {len(values)} runs")
        interval = mean_interval(values.map(math.log).tolist())
        return Found(interval, f"{self.name}, {factor(interval)}")
