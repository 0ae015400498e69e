"""What is done to logits before a loss sees them, in training and in the history alike."""

from typing import Annotated, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from circuitgrok.interventions.base import PER_RUN, Intervention


class OnLogits(Intervention):
    """What is done to the logits before a loss sees them: `rule(logits)` gives them in a new tensor."""

    section: ClassVar[str] = "objective"


class Temperature(OnLogits):
    """The loss sees logits divided by this; above 1 it is that of softer probabilities.

    Example:
        >>> import torch
        >>> from circuitgrok.interventions.base import applied
        >>> applied([Temperature(temperature=2.0)])(torch.tensor([[[4.0, 0.0]]]))
        tensor([[[2., 0.]]])
    """

    kind = "temperature"
    capturable = True
    off = 1.0
    said = "temperature {:g}"
    temperature: Annotated[float, PER_RUN] = Field(gt=0, description="the loss sees logits divided by this")

    @staticmethod
    def rule(logits: Float[Tensor, "run pair c"], temperature: Float[Tensor, " run"]) -> Float[Tensor, "run pair c"]:
        """Logits at this temperature."""
        return logits / temperature.to(logits.dtype)[:, None, None]
