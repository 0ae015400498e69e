"""What a run looked like when it memorised and when it grokked, for the table of a study."""

import math

from circuitgrok.measures.learning.crossings import events
from circuitgrok.store.run import Run


def at_events(run: Run, column: str) -> dict[str, float]:
    """A column of a run's history at each of its events, nan where an event is censored.

    Args:
        run: The run.
        column: A column of its history, such as `norm`.

    Returns:
        `<column>_memorised` and `<column>_grokked`, in the column's unit.

    Raises:
        KeyError: The history has no such column.

    Example:
        >>> import tempfile
        >>> from circuitgrok.config.train_config import TrainConfig
        >>> from circuitgrok.training.loop import train
        >>> config = TrainConfig.preset("quickstart").with_(p=5, d_model=8, d_head=2, d_mlp=8, steps=2)
        >>> [run] = train([config], tempfile.mkdtemp())
        >>> at_events(run, "norm")
        {'norm_memorised': nan, 'norm_grokked': nan}
    """
    values = run.history[column]
    return {
        f"{column}_{name}": math.nan if event.by is None else float(values.loc[event.by])
        for name, event in events(run.history).items()
    }
