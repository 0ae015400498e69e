"""Noise on the weights, gradients and labels of a stack, each run's from a generator of its own.

A run draws the same numbers in a stack as alone, in the format of what the noise is added to: on the CPU, whatever
device they are moved to. Noise of standard
deviation e in each of d coordinates takes a norm r to sqrt(r^2 + d e^2) in the mean, so that noise is also motion
outwards. Its tangential twin draws the same numbers and keeps the part across all of a run's weights, taken as
one vector. A run whose noise is 0 draws nothing and keeps its bits.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from circuitgrok.device import numbers, perhaps_any
from circuitgrok.geometry import across
from circuitgrok.interventions.base import PER_RUN, Intervention
from circuitgrok.tree import Params, along, combine, norm, rescale

Size = Annotated[float, PER_RUN, Field(ge=0)]
IsTangential = Annotated[bool, PER_RUN]
TANGENTIAL: Any = Field(default=False, description="of that noise, only the part across the weights")


def streams(seeds: Sequence[int], purpose: str, step: int = 0) -> list[torch.Generator]:
    """A generator for each run of a stack: what it draws depends on its seed, the purpose and the step alone.

    So noise needs no state to resume. Torch's generator starts from the lowest 32 bits of its seed; they are taken
    from a digest of all three.

    Example:
        >>> first, other, again = (torch.rand(1, generator=streams([0], "walk", t)[0]).item() for t in (7, 8, 7))
        >>> first == other, first == again
        (False, True)
    """
    digests = [hashlib.sha256(f"{seed} {step} {purpose}".encode()).digest() for seed in seeds]
    return [torch.Generator().manual_seed(int.from_bytes(digest[:4], "little")) for digest in digests]


def gaussian(like: Params, std: Float[Tensor, " run"], generators: Sequence[torch.Generator]) -> Params:
    """Independent normal numbers of mean 0, one for each of a stack's.

    Args:
        like: Tensors `[run ...]` whose names, shapes and formats the noise has.
        std: Standard deviation of each run's. At 0 nothing is drawn, and the noise is -0.0, which added to any
            number leaves its bits.
        generators: One per run.

    Example:
        >>> noise = gaussian({"w": torch.zeros(2, 1000)}, torch.tensor([0.0, 3.0]), streams([0, 1], "walk"))
        >>> noise["w"].std(-1).round()
        tensor([0., 3.])
    """
    return {
        name: numbers(partial(_normal, value.shape, value.dtype), generators, value.device, std)
        for name, value in like.items()
    }


def _normal(
    shape: torch.Size, dtype: torch.dtype, generators: Sequence[torch.Generator], std: Sequence[float]
) -> Tensor:
    """Of each run's standard deviation, on the CPU."""
    noise = torch.full(shape, -0.0, dtype=dtype)
    for of_run, size, generator in zip(noise, std, generators, strict=True):
        if size > 0:
            of_run.normal_(0.0, size, generator=generator)
    return noise


def drawn(
    std: Float[Tensor, " run"],
    tangential: Bool[Tensor, " run"],
    like: Params,
    weights: Params,
    generators: Sequence[torch.Generator],
) -> Params:
    """Noise like some tensors, and across the weights in tangential runs."""
    noise = gaussian(like, std, generators)
    projected = tangential & (std > 0)
    if not perhaps_any(projected):
        return noise
    parts = across(noise, weights, axes=1)
    return combine(lambda n, part: torch.where(along(projected, n), part.to(n.dtype), n), noise, parts)


class Noise(Intervention):
    """Random numbers of each step, drawn from `noise_seed`, what they are for and the step's number alone.

    Its rule gets `generators`, one per run.
    """

    section: ClassVar[str] = "noise"


class OnLabels(Noise):
    """What is done to the labels that a step is taught: `rule(labels, n_classes)` gives them in a new tensor."""


class OnForward(Noise):
    """What is done to the weights that a step looks at: `rule(weights)` gives them, in new tensors."""


class AfterStep(Noise):
    """What moves the weights after the optimizer: `rule(weights)` changes them in place."""


class LabelNoise(OnLabels):
    """Labels replaced at random, anew at each step: what one step is taught wrong the next is not.

    Classes are drawn from 0..n_classes - 1 with
    equal probability, and one that is drawn may be the right one: a share of (1 - 1 / n_classes) of those replaced is
    wrong.
    """

    kind = "label_noise"
    capturable = True
    said = "label noise {:g}"
    stream = "labels"
    label_noise: Annotated[float, PER_RUN] = Field(
        ge=0, le=1, description="share of training labels redrawn at each step"
    )

    def check(self, config: Any) -> None:
        """There must be classes."""
        if config.task.kind == "teacher_student":
            raise ValueError(f"label_noise redraws classes, and {config.task.formula} has none")

    @staticmethod
    def rule(
        labels: Int[Tensor, "run pair"],
        n_classes: int,
        generators: Sequence[torch.Generator],
        label_noise: Float[Tensor, " run"],
    ) -> Int[Tensor, "run pair"]:
        """Labels of one step."""
        other = numbers(partial(_replacing, labels.shape, n_classes), generators, labels.device, label_noise)
        return torch.where(other >= 0, other, labels)


def _replacing(
    shape: torch.Size, n_classes: int, generators: Sequence[torch.Generator], shares: Sequence[float]
) -> Tensor:
    """The classes that labels are replaced by, -1 where they stay, on the CPU."""
    found = torch.full(shape, -1)
    for row, share, generator in zip(found, shares, generators, strict=True):
        if share > 0:
            other = torch.randint(n_classes, row.shape, generator=generator)
            replaced = torch.rand(row.shape, generator=generator, dtype=torch.float64) < share
            row.copy_(torch.where(replaced, other, row))
    return found


class WeightNoise(OnForward):
    """Noise at which the network is evaluated and its gradient taken; the weights themselves stay where they are.

    What is evaluated is weights plus noise, differentiated as if the noise were constant. Of tangential noise only the
    part across the weights is taken; the norm there is still a little larger.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> weights = {"w": torch.ones(1, 3, requires_grad=True)}
        >>> noisy = applied([WeightNoise(weight_noise=0.1)])(weights, generators=streams([0], "weights"))
        >>> torch.autograd.grad(noisy["w"].square().sum() / 2, weights["w"])[0].equal(noisy["w"])
        True
    """

    kind = "weight_noise"
    capturable = True
    said = "weight noise {:g}"
    stream = "weights"
    weight_noise: Size = Field(description="loss and gradient are taken at weights plus noise")
    noise_tangential: IsTangential = TANGENTIAL

    @staticmethod
    def rule(
        weights: Params,
        generators: Sequence[torch.Generator],
        weight_noise: Float[Tensor, " run"],
        noise_tangential: Bool[Tensor, " run"],
    ) -> Params:
        """The weights of one forward pass."""
        fixed = combine(torch.Tensor.detach, weights)
        return combine(torch.add, weights, drawn(weight_noise, noise_tangential, fixed, fixed, generators))


class WalkNoise(AfterStep):
    """Noise that moves the weights and stays: with a step of the optimizer before it, a random walk with drift.

    Its standard deviation is that of one step in each coordinate; after n steps sqrt(n) times as much. A tangential run
    is brought back to the norm that it had: it walks on a sphere, by an angle of atan(|noise| / r).

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> weights, walk = {"w": torch.tensor([[3.0, 4.0]])}, WalkNoise(walk_noise=9.0, noise_tangential=True)
        >>> applied([walk])(weights, generators=streams([0], "walk"))
        >>> weights["w"].norm().round(decimals=5)
        tensor(5.)
    """

    kind = "walk_noise"
    capturable = True
    said = "walk noise {:g}"
    stream = "walk"
    walk_noise: Size = Field(description="noise that is added to the weights after the step")
    noise_tangential: IsTangential = TANGENTIAL

    @staticmethod
    @torch.no_grad()
    def rule(
        weights: Params,
        generators: Sequence[torch.Generator],
        walk_noise: Float[Tensor, " run"],
        noise_tangential: Bool[Tensor, " run"],
    ) -> None:
        """Move the weights in place."""
        before = norm(weights, axes=1)
        noise = drawn(walk_noise, noise_tangential, weights, weights, generators)
        for name, value in weights.items():
            value.add_(noise[name])
        rescale(weights, torch.where(noise_tangential, before / norm(weights, axes=1), 1.0))


class DropoutRate(Noise):
    """Activations that are set to 0 at random in each step, the others scaled up, at one place of the network.

    The field named as its kind is the rate; the network has the rule (`models.dropout`).
    """

    stream = "dropout"


class DropoutEmbed(DropoutRate):
    """Dropout of the embedded inputs."""

    kind = "dropout_embed"
    capturable = True
    said = "embed dropout {:g}"
    dropout_embed: float = Field(ge=0, lt=1, description="dropout rate of the embedded inputs")

    def check(self, config: Any) -> None:
        """There must be an embedding."""
        if not config.model.has_embedding:
            raise ValueError(f"dropout_embed needs an embedding, which a {config.model.kind} has not")


class DropoutAttention(DropoutRate):
    """Dropout of the attention patterns."""

    kind = "dropout_attention"
    capturable = True
    said = "attention dropout {:g}"
    dropout_attention: float = Field(ge=0, lt=1, description="dropout rate of attention patterns")

    def check(self, config: Any) -> None:
        """There must be attention."""
        if not config.model.has_heads:
            raise ValueError(f"dropout_attention needs attention, which a {config.model.kind} has not")


class DropoutMLP(DropoutRate):
    """Dropout of the neurons."""

    kind = "dropout_mlp"
    capturable = True
    said = "mlp dropout {:g}"
    dropout_mlp: float = Field(ge=0, lt=1, description="dropout rate of the neurons")
