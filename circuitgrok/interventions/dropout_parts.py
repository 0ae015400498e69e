"""Dropout taken apart: its mean without the noise, or its noise without the mean.

Dropout changes the loss that is descended, which is now the mean over masks, and adds noise to its gradient. To tell
one from the other a step draws k masks. With the mean of their losses the same loss is descended with a k-th of the
noise's variance. With the loss of the network as it is, plus the deviation of one mask's loss from the mean of the
others', scaled to the variance of one mask, the noise is as large and of the same shape, and the loss that is descended
is that without dropout.

Source: C. Wei, S. Kakade and T. Ma 2020, "The implicit and explicit regularization effects of dropout"
(arXiv:2002.12915), section 3, for taking the two apart; the noise here has the covariance of one mask exactly.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from circuitgrok.interventions.noise import DropoutRate, Noise

Losses = Float[Tensor, " run"]


class DropoutParts(Noise):
    """The mean over masks with less of the noise (`averaged`), or the noise of one mask without the mean (`noise`).

    Each step takes `dropout_masks` forward passes with masks of their own, and for the noise one without.

    Example:
        >>> import torch
        >>> from circuitgrok.interventions.base import applied
        >>> losses = iter([torch.tensor([3.0]), torch.tensor([5.0])])  # of two masks; without a mask 1
        >>> noise = applied([DropoutParts(dropout_parts="noise")])
        >>> ((noise(lambda: next(losses), lambda: torch.tensor([1.0])) - 1) * 2**0.5).round(decimals=4)
        tensor([-2.])
    """

    kind = "dropout_parts"
    capturable = True
    off = "together"
    said = "dropout's {}"
    dropout_parts: Literal["averaged", "noise"] = Field(
        description="of dropout: the mean over masks with less noise, or the noise alone, on the loss without dropout"
    )
    dropout_masks: int = Field(default=2, ge=2, le=64, description="masks that are drawn in each step for it")

    def check(self, config: Any) -> None:
        """There must be dropout."""
        if not any(isinstance(one, DropoutRate) for one in config.interventions):
            raise ValueError("dropout_parts takes dropout apart: give a rate, such as dropout_mlp")

    @staticmethod
    def rule(draw: Callable[[], Losses], clean: Callable[[], Losses], dropout_parts: str, dropout_masks: int) -> Losses:
        """What a step descends, of what gives the losses with a new mask, and what gives those without."""
        first, *others = (draw() for _ in range(dropout_masks))
        rest = sum(others[1:], start=others[0])
        if dropout_parts == "averaged":
            return (first + rest) / dropout_masks
        # Var(first - mean of k - 1 others) = k/(k - 1) of one mask's
        return clean() + math.sqrt(1 - 1 / dropout_masks) * (first - rest / (dropout_masks - 1))
