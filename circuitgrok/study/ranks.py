"""Rank correlations across seeds, of what two columns say of each other beyond what further columns say of both."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def partial_spearman(
    x: Sequence[float], y: Sequence[float], given: Sequence[Sequence[float]] = (), groups: Sequence[object] = ()
) -> float:
    """Spearman's correlation of x and y within groups, with what is linear in the ranks of further columns taken off.

    Args:
        x: Values.
        y: Values, as many.
        given: Columns that are held constant.
        groups: A label for each value, such as its arm: ranks are taken within a group, from -1 to 1, and every group
            has a level of its own; all are one group by default.

    Returns:
        From -1 to 1; nan where x or y has no variance left.

    Example:
        y follows x only because both follow z:

        >>> z = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        >>> x, y = [2.0, 1.0, 4.0, 3.0, 6.0, 5.0], [1.0, 3.0, 2.0, 4.0, 6.0, 5.0]
        >>> round(partial_spearman(x, y), 2), round(partial_spearman(x, y, [z]), 2)
        (0.71, -0.08)
    """
    import numpy as np

    label = np.asarray(groups if len(groups) else [0] * len(x), dtype=object)
    columns = [_ranks(np.asarray(one, dtype=float), label) for one in (x, y, *given)]
    levels = np.stack([label == group for group in dict.fromkeys(label)], axis=1).astype(float)
    design = np.column_stack([levels, *columns[2:]])
    left = [one - design @ np.linalg.lstsq(design, one, rcond=None)[0] for one in columns[:2]]
    size = math.sqrt((left[0] @ left[0]) * (left[1] @ left[1]))
    return float(left[0] @ left[1]) / size if size > 1e-12 * len(x) else math.nan


def _ranks(values: "np.ndarray", label: "np.ndarray") -> "np.ndarray":
    """Ranks within each group, ties shared, from -1 to 1."""
    import numpy as np
    from scipy.stats import rankdata

    found = np.empty(len(values))
    for group in dict.fromkeys(label):
        here = label == group
        found[here] = (2 * rankdata(values[here]) - here.sum() - 1) / max(here.sum() - 1, 1)
    return found
