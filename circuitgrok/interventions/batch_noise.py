"""The noise of a batch's gradient, made longer or shorter, or replaced by noise of its length without its structure.

A batch's gradient is that of all training pairs plus a deviation, whose directions are those in which pairs differ. To
tell what such noise does by its size from what it does by its shape, a run takes the deviation times a number, or as
long a vector in a direction that is drawn uniformly: at every step of the length that the batch of this step would
give, so that it fades with the loss as the batch's own noise does.

Source: for noise of equal size and other shape Z. Zhu et al. 2019, "The anisotropic noise in stochastic gradient
descent" (arXiv:1803.00195), section 4.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from circuitgrok.interventions.base import PER_RUN, State
from circuitgrok.interventions.batches import MiniBatch
from circuitgrok.interventions.gradients import GradientTransform
from circuitgrok.interventions.noise import DropoutRate, OnForward, OnLabels, gaussian
from circuitgrok.interventions.penalties import Penalty
from circuitgrok.tree import Params, along, combine, norm


class BatchNoise(GradientTransform):
    """The gradient of all training pairs, plus the deviation of the step's batch from it, sized or without structure.

    With `sized` it is the batch's own deviation times `batch_noise_times`: 0 is the full batch, 1 the batch as it is.
    With `isotropic` it is as long, in a direction drawn uniformly from all. Each step takes two gradients.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> batch, whole = {"w": torch.tensor([[3.0, 1.0]])}, {"w": torch.tensor([[1.0, 1.0]])}
        >>> double = applied([BatchNoise(batch_noise="sized", batch_noise_times=2.0)])
        >>> double(batch, {}, {}, whole=whole, generators=[])
        {}
        >>> batch["w"]
        tensor([[5., 1.]])
    """

    kind = "batch_noise"
    capturable = True
    section = "batches"
    off = "off"
    said = "{} batch noise"
    stream = "batch noise"
    sees_all = True
    batch_noise: Literal["sized", "isotropic"] = Field(
        description="noise of a batch's gradient: its own times a number, or as long in a direction drawn uniformly"
    )
    batch_noise_times: Annotated[float, PER_RUN] = Field(
        default=1.0, ge=0, description="times the length of the batch's own noise"
    )

    def check(self, config: Any) -> None:
        """There is a batch, and nothing else makes its gradient another than that of the loss."""
        if config.intervention(MiniBatch) is None:
            raise ValueError("batch_noise is about the noise of batches: give batch_size, below the number of pairs")
        beside = (Penalty, GradientTransform, OnForward, OnLabels, DropoutRate)
        if others := [one.kind for one in config.interventions if isinstance(one, beside) and one.kind != self.kind]:
            raise ValueError(
                f"batch_noise takes a batch's gradient apart, which {others[0]} changes: choose one of the two"
            )

    @staticmethod
    @torch.no_grad()
    def rule(
        gradients: Params,
        weights: Params,
        state: State,
        whole: Params,
        generators: Sequence[torch.Generator],
        batch_noise: str,
        batch_noise_times: Float[Tensor, " run"],
    ) -> State:
        """Put the gradient with that noise in place of the batch's."""
        noise, times = combine(lambda b, g: b.double() - g.double(), gradients, whole), batch_noise_times
        if batch_noise == "isotropic":
            length = norm(noise, axes=1)
            noise = gaussian(noise, torch.ones_like(times), generators)
            times = times * length / norm(noise, axes=1)
        for name, value in gradients.items():
            value.copy_(whole[name].double() + along(times, noise[name]) * noise[name])
        return {}
