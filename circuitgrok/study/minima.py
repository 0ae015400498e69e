"""Where a quantity is least, or rises through 0, along a positive axis, such as a loss along the radius."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Float


class Least(NamedTuple):
    """Where a quantity is least.

    Attributes:
        at: In the unit of the axis; nan where no value is known.
        is_edge: The least value is the first or the last: the minimum may lie beyond, and `at` is that of the grid.
    """

    at: float
    is_edge: bool


def log_minimum(x: "Float[np.ndarray, ' point']", y: "Float[np.ndarray, ' point']") -> Least:
    """Where y is least: the minimum of the parabola of log y in log x through the least value and its neighbours.

    Args:
        x: Positive, in rising order.
        y: Positive; points where it is not finite are left out.

    Returns:
        Between the neighbours of the least value, or that value's own x at an edge. Exact where log y is a parabola in
        log x.

    Example:
        >>> import numpy as np
        >>> x = np.array([1.0, 2.0, 4.0, 8.0])
        >>> at, is_edge = log_minimum(x, np.exp(np.log(x / 3) ** 2))
        >>> round(at, 6), is_edge, log_minimum(x, x)
        (3.0, False, Least(at=1.0, is_edge=True))
    """
    import numpy as np

    known = np.isfinite(y)
    u, v = np.log(x[known]), np.log(y[known])
    if len(u) == 0:
        return Least(math.nan, True)
    i = int(v.argmin())
    if i in (0, len(u) - 1):
        return Least(math.exp(u[i]), True)
    left, right = u[i] - u[i - 1], u[i + 1] - u[i]
    down, up = v[i - 1] - v[i], v[i + 1] - v[i]
    shift = (down * right**2 - up * left**2) / (2 * (down * right + up * left)) if down + up > 0 else 0.0
    return Least(math.exp(u[i] + shift), False)


def minima(rows: "pd.DataFrame", groups: Sequence[str], x: str, y: str) -> "pd.DataFrame":
    """Where y is least along x in each group of rows: the columns of the groups, `at` and `is_edge`.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"seed": [0, 0, 0], "radius": [4.0, 1.0, 2.0], "loss": [3.0, 3.0, 1.0]})
        >>> minima(rows, ["seed"], "radius", "loss").to_dict("records")
        [{'seed': 0, 'at': 2.0, 'is_edge': False}]
    """
    import pandas as pd

    found = []
    for key, of in rows.groupby(list(groups)):
        points = of.sort_values(x)
        least = log_minimum(points[x].to_numpy(), points[y].to_numpy())
        found.append(dict(zip(groups, key, strict=True)) | least._asdict())
    return pd.DataFrame(found)


def log_slope(x: "Float[np.ndarray, ' point']", y: "Float[np.ndarray, ' point']") -> float:
    """Slope of log y on log x by least squares; nan where a value is unknown.

    >>> import numpy as np
    >>> round(log_slope(np.array([1.0, 2.0, 4.0]), np.array([3.0, 12.0, 48.0])), 6)
    2.0
    """
    import numpy as np

    u, v = np.log(x), np.log(y)
    u = u - u.mean()
    return float((u * v).sum() / (u * u).sum())


def log_crossing(x: "Float[np.ndarray, ' point']", y: "Float[np.ndarray, ' point']") -> float:
    """Where y rises through 0 for the last time, between points linear in log x; nan where it does not.

    Args:
        x: Positive, in rising order.
        y: What rises, such as the logarithm of a ratio; a value of 0 has risen.

    Example:
        >>> import numpy as np
        >>> log_crossing(np.array([1.0, 4.0, 16.0]), np.array([-1.0, 1.0, 2.0]))
        2.0
        >>> log_crossing(np.array([1.0, 4.0]), np.array([1.0, -1.0]))
        nan
    """
    import numpy as np

    rises = np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0))
    if not len(rises):
        return math.nan
    i = rises[-1]
    share = y[i] / (y[i] - y[i + 1])
    return float(x[i] * (x[i + 1] / x[i]) ** share)
