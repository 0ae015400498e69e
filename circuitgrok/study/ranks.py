"""Rank correlations across seeds, of what two columns say of each other beyond what further columns say of both."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from circuitgrok.study.claims import Found, Quantity, Selection
from circuitgrok.study.evidence import Plan
from circuitgrok.study.intervals import Decision, Interval

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

RESAMPLES = 10_000
SEED = 0  # of the resamples


def partial_spearman(columns: "np.ndarray") -> "np.ndarray":
    """Spearman's correlation of two columns within groups, with what is linear in the ranks of the others taken off.

    Args:
        columns: x, y and those that are held constant, `[*stack column group row]`. Ranks are taken within a group,
            such as an arm, ties shared and infinities allowed, and every group has a level of its own. A row with nan
            in any column is not there.

    Returns:
        From -1 to 1, `[*stack]`; nan where a column says nothing that the others do not.

    Example:
        y follows x because both follow z:

        >>> import numpy as np
        >>> x, y, z = [[2, 1, 4, 3, 6, 5]], [[1, 3, 2, 4, 6, 5]], [[1, 2, 3, 4, 5, 6]]
        >>> [round(float(partial_spearman(np.array(columns))), 2) for columns in ([x, y], [x, y, z])]
        [0.71, -0.08]
    """
    import numpy as np
    from scipy.stats import rankdata

    is_there = ~np.isnan(columns).any(-3, keepdims=True)
    counts = is_there.sum(-1, keepdims=True)
    largest = np.finfo(float).max
    ranks = rankdata(np.where(is_there, np.clip(columns, -largest, largest), np.inf), axis=-1)  # absent ones come last
    ranks = np.where(is_there, ranks - (counts + 1) / 2, 0.0) / np.maximum(counts - 1, 1)
    flat = ranks.reshape(*ranks.shape[:-2], -1)
    products = flat @ flat.swapaxes(-1, -2)
    size = np.sqrt(np.einsum("...ii->...i", products))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlations = products / (size[..., :, None] * size[..., None, :])
    is_known = np.isfinite(correlations).all((-1, -2))
    is_known &= np.linalg.det(np.where(is_known[..., None, None], correlations, 0.0)) > 1e-12
    safe = np.where(is_known[..., None, None], correlations, np.eye(columns.shape[-3]))
    inverse = np.linalg.inv(safe)
    found = -inverse[..., 0, 1] / np.sqrt(inverse[..., 0, 0] * inverse[..., 1, 1])
    return np.where(is_known, found, np.nan)


def across_arms(rows: Selection, x: str, y: str) -> Selection:
    """By seed, the rank correlation of two columns over its rows, one for each arm, as the column `rank`.

    It is nan of a seed in which a column does not vary.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> table = pd.DataFrame({"seed": [7, 7, 7], "arc": [1.0, 2.0, 3.0], "end": [0.25, 0.75, 0.5]})
        >>> across_arms(where(), "arc", "end")(table).to_dict("list")
        {'seed': [7], 'rank': [0.5]}
    """

    def chosen(table: "pd.DataFrame") -> "pd.DataFrame":
        import pandas as pd

        of_seed = rows(table).groupby("seed")[[x, y]]
        found = {seed: of.corr(method="spearman").loc[x, y] for seed, of in of_seed}
        return pd.DataFrame({"seed": list(found), "rank": list(found.values())})

    return chosen


@dataclass(frozen=True)
class PartialSpearman(Quantity):
    """The rank correlation of two columns within arms, further columns held constant; its interval resamples seeds.

    A seed brings its rows of all arms, so that n counts seeds. The interval is the bootstrap's, by percentiles; of a
    level that so many resamples cannot tell it is [-1, 1].

    Attributes:
        of: The rows, one for each arm and seed; those with an unknown value are left out, and counted.
        x: A column.
        y: Another; infinite where a time is beyond the budget.
        given: Those that are held constant.
        name: What it is, for people.
    """

    of: Selection
    x: str
    y: str
    given: Sequence[str] = ()
    name: str = "partial Spearman correlation"

    def plan(self, n: int, alpha: float, decides: Callable[[Interval], Decision]) -> Plan:
        """How strong a correlation so many seeds of one arm can tell from the bound, by Fisher's transform."""
        from scipy.stats import norm

        free = n - len(self.given) - 3
        if free < 1:
            return Plan(False, f"{n} seeds leave no degree of freedom")
        reach = (norm.isf(alpha / 2) + norm.isf(0.2)) * math.sqrt(1.06 / free)
        return Plan(True, f"power .8 at {math.tanh(reach):.2g} from a bound at 0, with one arm")

    def found(self, table: "pd.DataFrame") -> Found:
        """The correlation."""
        import numpy as np

        names = [self.x, self.y, *self.given]
        rows = self.of(table)
        known = rows.dropna(subset=names)
        wide, left_out = known.pivot(index="seed", columns="arm", values=names), len(rows) - len(known)
        n, said = len(wide), f"; {left_out} rows left out" if left_out else ""
        if n < len(self.given) + 4:
            return Found(None, f"{self.name} not known of {n} seeds{said}", n)
        columns = np.stack([wide[name].to_numpy().T for name in names])
        estimate, resampled = float(partial_spearman(columns)), _resampled(columns)

        @cache
        def at(level: float) -> Interval:
            if (1 - level) / 2 < 1 / RESAMPLES:
                return Interval(estimate, -1.0, 1.0)
            low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
            return Interval(estimate, float(low), float(high))

        return Found(at, f"{self.name} {at(0.95)}{said}", n)


def _resampled(columns: "np.ndarray") -> "np.ndarray":
    """The correlation in resamples of the rows, the same rows in every group."""
    import numpy as np
    import torch

    n = columns.shape[-1]
    drawn = torch.randint(n, (RESAMPLES, n), generator=torch.Generator().manual_seed(SEED)).numpy()
    return partial_spearman(np.moveaxis(columns[..., drawn], -2, 0))
