"""Rows of a study's table chosen by what stands in it, and made of it: ends of a grid, the best of a seed's runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from circuitgrok.study.claims import Selection

if TYPE_CHECKING:
    import pandas as pd


def at_ends(rows: Selection, **ends: "Callable[[pd.Series], float]") -> Selection:
    """Those of some rows in which columns have their least or largest value, one column after the other.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> table = pd.DataFrame({"alpha": [1.0, 1.0, 2.0], "decay": [0.0, 2.0, 3.0], "seed": [0, 0, 0]})
        >>> at_ends(where(seed=0), alpha=min, decay=max)(table)["decay"].tolist()
        [2.0]
    """

    def chosen(table: "pd.DataFrame") -> "pd.DataFrame":
        found = rows(table)
        for column, end in ends.items():
            found = found[found[column] == end(found[column])]
        return found

    return chosen


def by_seed(rows: Selection, **how: str) -> Selection:
    """One row for each seed of some rows, with what pandas makes of columns; unknown values are skipped.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> table = pd.DataFrame({"seed": [0, 0, 1], "grokked_by": [200.0, 100.0, None], "test_acc": [0.9, 1.0, 0.5]})
        >>> by_seed(where(), grokked_by="min", test_acc="max")(table).to_dict("list")
        {'seed': [0, 1], 'grokked_by': [100.0, nan], 'test_acc': [1.0, 0.5]}
    """
    return lambda table: rows(table).groupby("seed", as_index=False).agg(how)


def derived(rows: Selection, **columns: "Callable[[pd.DataFrame], pd.Series]") -> Selection:
    """Some rows with further columns, or others in their place, that are made from the rows.

    Example:
        >>> import pandas as pd
        >>> from circuitgrok.study.claims import where
        >>> table = pd.DataFrame({"arm": ["a", "b"], "r0": [10.0, 10.0], "final_norm": [20.0, 5.0]})
        >>> derived(where(arm="b"), ratio=lambda rows: rows["final_norm"] / rows["r0"])(table)["ratio"].tolist()
        [0.5]
    """
    return lambda table: rows(table).assign(**columns)


def has_grokked(rows: "pd.DataFrame") -> "pd.Series":
    """Which of some rows are of runs that grokked within the budget."""
    return rows["grokked_by"].notna()
