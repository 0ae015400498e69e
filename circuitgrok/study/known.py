"""An interval that does not come of the table's rows, as a quantity: of a fit, or of what is too large for a table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from circuitgrok.study.claims import Found, Quantity
from circuitgrok.study.verdicts import Interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Known(Quantity):
    """A number that is known to an interval already.

    Attributes:
        interval: Estimate and 95 % interval.
        words: What it is, with its numbers.

    Example:
        >>> from circuitgrok.study.claims import decide
        >>> share = Known(Interval(0.96, 0.94, 0.98), "share 0.96 [0.94, 0.98]")
        >>> [claim] = decide([share.exceeds(0.9, "It is most of it.")], None)
        >>> claim.decision, claim.measured
        ('holds', 'share 0.96 [0.94, 0.98]')
    """

    interval: Interval
    words: str

    def found(self, table: "pd.DataFrame") -> Found:
        """The interval, whatever the table."""
        return Found(self.interval, self.words)
