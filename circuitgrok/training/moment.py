"""A moment of training: a step's number, and what the host gives to it: its learning rate, what is drawn, the batch.

A moment may be of one step, or be the same for every step that a captured graph takes (`training.captured`): then its
numbers are tensors on the device, which the host has filled before.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from circuitgrok.interventions.base import Applied
from circuitgrok.interventions.noise import streams

if TYPE_CHECKING:
    from circuitgrok.training.stack import Stack


class Moment(NamedTuple):
    """What a step gets from the host.

    Attributes:
        number: Updates behind the weights.
        rate: Learning rate of the update that comes next.
        generators: One for each run, for what is drawn.
        places: Of the pairs that the step sees, `[run pair]`, from the kind of batches and the number of pairs.
    """

    number: int | Tensor
    rate: float | Tensor
    generators: Callable[[str], Sequence[torch.Generator]]
    places: Callable[[Applied, int], Tensor]


def seeds_of(stack: "Stack") -> list[int]:
    """What the noise of each run is drawn from."""
    return [config.noise.noise_seed for config in stack.configs]


def moment(stack: "Stack", step: int) -> Moment:
    """That of one step."""
    seeds = seeds_of(stack)
    return Moment(
        step,
        stack.configs[0].optimizer.rate(step),
        lambda purpose: streams(seeds, purpose, step),
        lambda batches, n_pairs: batches(seeds, n_pairs, step),
    )
