"""The dictionary of the columns that `measure` makes: what each number is, its unit and range, and where it is from.

A table has hundreds of columns, of some hundred and fifty families: `loss[train]` and `loss[test]` are both
`loss[split]`. The families are records in `families/`, beside each other as their groups are; a test measures runs of
every kind and holds each column against them.
"""

from typing import TYPE_CHECKING

from circuitgrok.table.families import circuits, landscape, parts, weights
from circuitgrok.table.family import PLACES, Family, in_words

if TYPE_CHECKING:
    import pandas as pd

FAMILIES: tuple[Family, ...] = weights.FAMILIES + circuits.FAMILIES + parts.FAMILIES + landscape.FAMILIES


def columns() -> "pd.DataFrame":
    """What each column of `measure` is: one row per family of columns.

    Returns:
        Columns `name` (words in brackets stand for what `attrs["places"]` says of them, what is in parentheses may be
        left out), `meaning`, `unit`, `range` (of values that are not nan), `source` (paper and section, or "here"),
        `group` (of `measure`; several where more than one makes it) and `file` (of the formula, in the package).

    Example:
        >>> table = columns().set_index("name")
        >>> table.loc["excluded_loss[split]", ["unit", "range", "group", "file"]].tolist()
        ['nats', '0..', 'circuits', 'measures/circuits/restricted.py']
        >>> table.attrs["places"]["side"]
        'a side of the split'
    """
    import pandas as pd

    table = pd.DataFrame(FAMILIES, columns=list(Family._fields)).rename(columns={"groups": "group"})
    table["range"], table["group"] = table["range"].map(in_words), table["group"].map(", ".join)
    table.attrs["places"] = {name: place.meaning for name, place in PLACES.items()}
    return table


def family_of(column: str) -> Family:
    """The family that a column belongs to.

    Raises:
        KeyError: It belongs to none.

    Example:
        >>> family_of("norm[head 3]").name
        'norm[head h(, layer)]'
    """
    found = next((family for family in FAMILIES if family.holds(column)), None)
    if found is None:
        raise KeyError(f"{column!r} is no column of measure")
    return found
