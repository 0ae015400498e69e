"""How far a run turns step by step, and what it answers by then: gains at equal arcs, and what is sustained of them."""

import math
from typing import TYPE_CHECKING

from circuitgrok.store.run import Run

if TYPE_CHECKING:
    import pandas as pd


def walked(angles: "pd.Series", last: int) -> "pd.Series":
    """Radians turned by every step so far, summed: at the steps whose own angles are known, and at the last.

    It is the length of the path on the sphere of directions, not of the chords between checkpoints, which miss what a
    noisy path walks to and fro. Between steps of known angle it is the trapezoid; to the last, the last known. Of the
    lengths of steps (`step_lengths`) it is that of the path of the weights.

    Args:
        angles: Angle that a step turns, by step: `update_angle` of a run's updates.
        last: The last step.

    Example:
        >>> import pandas as pd
        >>> walked(pd.Series([0.5, 0.5, 0.25], index=[0, 10, 20]), 30).to_dict()
        {0: 0.0, 10: 5.0, 20: 8.75, 30: 11.25}
    """
    import pandas as pd

    steps, known = [*angles.index, last], [*angles, angles.iloc[-1]]
    total, found = 0.0, [0.0]
    for i in range(1, len(steps)):
        total += (steps[i] - steps[i - 1]) * (known[i] + known[i - 1]) / 2
        found.append(total)
    return pd.Series(found, index=steps)[lambda arcs: ~arcs.index.duplicated()]


def arcs(run: Run) -> "pd.Series":
    """Radians that a run has turned step by step, by the steps of its history.

    Example:
        >>> import circuitgrok as cg
        >>> found = arcs(cg.reference())
        >>> float(found.iloc[0]), bool(found.is_monotonic_increasing)
        (0.0, True)
    """
    import numpy as np
    import pandas as pd

    steps = run.history.index
    known = run.updates["update_angle"].dropna()
    path = walked(known[known.index < max(steps[-1], 1)], int(steps[-1]))
    return pd.Series(np.interp(steps, path.index, path), index=steps)


def step_sizes(run: Run) -> "pd.Series":
    """Length of each step whose parts are recorded, over that of one by the learning rate in every weight.

    Of Adam it is the root mean square over weights of m / (sqrt(v) + ε), which is 1 while gradients stay as they are.

    Example:
        >>> import circuitgrok as cg
        >>> sizes = step_sizes(cg.reference())
        >>> bool(sizes[100] > 0.9), bool(sizes[3500] < 0.03)
        (True, True)
    """
    config = run.config
    n = sum(math.prod(shape) for name, shape in config.model.shapes().items() if config.model.is_trainable(name))
    return step_lengths(run) / (config.optimizer.lr * n**0.5)


def step_lengths(run: Run) -> "pd.Series":
    """Euclidean length of each step whose parts are recorded; `walked` sums them up to the path of the weights.

    Example:
        >>> import circuitgrok as cg
        >>> lengths = step_lengths(cg.reference())
        >>> bool(lengths[100] > 30 * lengths[3500])
        True
    """
    parts = run.updates[["update_radial[applied]", "update_tangential[applied]"]]
    return (parts**2).sum(axis=1, skipna=False) ** 0.5


def sustained(values: "pd.Series", step: float = math.inf) -> float:
    """The mean of a column over the last fifth of the way to a step, or to the end if that comes first.

    Example:
        >>> import pandas as pd
        >>> accuracies = pd.Series([0.0, 0.25, 0.75, 1.0, 0.5], index=[0, 20, 40, 60, 80])
        >>> sustained(accuracies), sustained(accuracies, 50)
        (0.5, 0.75)
    """
    until = values[values.index <= step]
    return float(until[until.index > 0.8 * until.index[-1]].mean()) if until.index[-1] else float(until.iloc[-1])


def at_arc(values: "pd.Series", path: "pd.Series", radians: float) -> float:
    """A column where a path has first this length; nan of one that is shorter.

    Example:
        >>> import pandas as pd
        >>> accuracies, path = pd.Series([0.0, 0.25, 0.75]), pd.Series([0.0, 1.5, 4.0])
        >>> at_arc(accuracies, path, 2.0), at_arc(accuracies, path, 5.0)
        (0.75, nan)
    """
    reached = values[path >= radians]
    return float(reached.iloc[0]) if len(reached) else math.nan
