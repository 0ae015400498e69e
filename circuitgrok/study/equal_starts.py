"""Networks of other shapes that start from one norm, so that what is found of a shape is not that of a larger start."""

from collections.abc import Mapping
from typing import Any

from circuitgrok import tree
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.training.origin import initial_weights

Leaves = Mapping[str, Any]


def initial_norm(config: TrainConfig) -> float:
    """‖θ₀‖.

    Example:
        >>> config = TrainConfig.preset("quickstart")
        >>> initial_norm(config.with_(alpha=2.0)) / initial_norm(config.with_(alpha=1.0))
        2.0
    """
    return tree.norm(initial_weights(config)).item()


def matched(shape: Leaves, one: Leaves, cell: TrainConfig) -> dict[str, Any]:
    """A shape that starts at the norm of another, times the cell's own alpha.

    Args:
        shape: Fields of the network, and others of its arm.
        one: Those of the network whose norm it is to have.
        cell: What both have beside them: `functools.partial(matched, shape, one)` is an arm of a `Study`.

    Example:
        >>> cell = TrainConfig.preset("quickstart")
        >>> round(matched({"n_layers": 2}, {}, cell)["alpha"], 3)
        0.728
    """
    alpha = cell.init.alpha * initial_norm(cell.with_(**one)) / initial_norm(cell.with_(**shape))
    return {**shape, "alpha": alpha}
