"""Ratios of positive numbers that are never censored, such as losses and norms, as a quantity of a study's table."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from circuitgrok.study.claims import Found, Quantity, Selection
from circuitgrok.study.verdicts import factor, mean_interval

if TYPE_CHECKING:
    import pandas as pd


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
        values = self.of(table).set_index("seed")[self.column]
        if self.over is not None or self.by is not None:
            values = values / (self.over or self.of)(table).set_index("seed")[self.by or self.column]
        logs = [math.log(value) for value in values if 0 < value < math.inf]
        if len(logs) < max(2, len(values)):
            return Found(None, f"{self.name} not known in {len(values) - len(logs)} of {len(values)} seeds")
        interval = mean_interval(logs)
        return Found(interval, f"{self.name}, {factor(interval)}")
