"""The cells of a phase diagram: of all seeds at a setting, the median of a column and how many ended in each class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from circuitgrok.measures.learning.classes import CLASSES
from circuitgrok.study.survival import Median, censored_median

if TYPE_CHECKING:
    import pandas as pd

DONE = ("finished", "diverged")  # for good


def is_done(state: str) -> bool:
    """Whether a run has come to its end, or as far as it was asked to (`until`)."""
    return state in DONE or state.startswith("stopped@")


def cells(table: "pd.DataFrame", fields: Sequence[str], column: str) -> "pd.DataFrame":
    """One row per setting: its runs, the median of a column over them, and how many are of each class.

    Args:
        table: Of a sweep, one row per run.
        fields: Columns that make up a setting.
        column: What the median is taken of; of times (`memorised_by`, `grokked_by`) the censored one.

    Returns:
        The fields; `n` runs that have a record, and `n_missing` that are not done; `value`, in the column's unit, and
        `is_censored` (then `value` is a lower bound); `n_grokked`, and the number of runs of each class by its name.

    Example:
        >>> import pandas as pd
        >>> rows = {"alpha": [1, 1, 1], "grokked_by": [300.0, None, 500.0], "steps": [900.0] * 3,
        ...         "class": ["comprehension", "memorisation", "grokking"], "state": ["finished"] * 3}
        >>> cells(pd.DataFrame(rows), ["alpha"], "grokked_by").T[0].to_dict()
        {'alpha': 1, 'n': 3, 'n_missing': 0, 'value': 500.0, 'is_censored': False, 'n_grokked': 2, \
'comprehension': 1, 'grokking': 1, 'memorisation': 1, 'confusion': 0}
    """
    import pandas as pd

    found = []
    for setting, rows in table.groupby([*fields], sort=False, dropna=False):
        recorded = rows[rows["steps"].notna()]
        of_class = {name: int((rows["class"] == name).sum()) for name in CLASSES}
        middle = _median(recorded, column)
        found.append(
            dict(zip(fields, setting, strict=True))
            | {
                "n": len(recorded),
                "n_missing": int((~rows["state"].fillna("").map(is_done).astype(bool)).sum()),
                "value": middle.value,
                "is_censored": middle.is_censored,
                "n_grokked": int(recorded["grokked_by"].notna().sum()),
            }
            | of_class
        )
    return pd.DataFrame(found)


def _median(rows: "pd.DataFrame", column: str) -> Median:
    if column.endswith("_by"):
        return censored_median(rows[column].tolist(), rows["steps"].tolist())
    return Median(float(rows[column].median()), False)
