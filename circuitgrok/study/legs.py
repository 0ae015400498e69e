"""Runs of several legs: where a further one begins, and all of them taken as one course of training."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.store.run import Run

if TYPE_CHECKING:
    import pandas as pd


class Course(NamedTuple):
    """One course of training, in legs.

    Attributes:
        legs: The runs that make it up, in order.
        history: Their histories one after the other, steps counted from the beginning of the first.
    """

    legs: tuple[Run, ...]
    history: "pd.DataFrame"

    @property
    def config(self) -> TrainConfig:
        """That of the last leg."""
        return self.legs[-1].config

    @property
    def manifest(self) -> Mapping[str, Any]:
        """That of the first leg, which says where it all started."""
        return self.legs[0].manifest

    @property
    def state(self) -> str:
        """That of the last leg."""
        return self.legs[-1].state


def course(*legs: Run) -> Course:
    """The legs as one; of a step that two have, where one starts from the other's end, the earlier line counts."""
    import pandas as pd

    begin, parts = 0, []
    for leg in legs:
        history = leg.history  # once: somebody may be writing it
        parts.append(history.set_index(history.index + begin))
        begin += leg.config.schedule.steps
    whole = pd.concat(parts)
    return Course(legs, whole[~whole.index.duplicated()])


def first_checkpoints(
    runs: Iterable[Run], is_there: Callable[["pd.DataFrame"], "pd.Series"]
) -> dict[int, tuple[Run, int]]:
    """By seed a run and its first checkpoint after the start that is where it should be; runs without one are left out.

    Args:
        runs: One for each seed.
        is_there: Of lines of a history, whether each is; asked about those of checkpoints.

    Example:
        >>> import circuitgrok as cg
        >>> found = first_checkpoints([cg.reference()], lambda at: at["test_acc"] >= 0.95)
        >>> found[0][1], first_checkpoints([cg.reference()], lambda at: at["norm"] < 1)
        (2260, {})
    """
    found: dict[int, tuple[Run, int]] = {}
    for run in runs:
        at = run.history.loc[run.steps[1:]]
        steps = at.index[is_there(at)]
        found |= {run.config.init.seed: (run, int(steps[0]))} if len(steps) else {}
    return found
