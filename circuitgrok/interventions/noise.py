"""Noise on the weights, gradients and labels of a stack, each run's from a generator of its own.

A run draws the same numbers in a stack as alone, in the format of what the noise is added to. Noise of standard
deviation e in each of d coordinates takes a norm r to sqrt(r^2 + d e^2) in the mean, so that noise is also motion
outwards. Its tangential twin draws the same numbers and keeps the part across all of a run's weights, taken as
one vector. A run whose noise is 0 draws nothing and keeps its bits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.geometry import across
from circuitgrok.tree import Params, along, combine, norm, rescale


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
    noise = {name: torch.full(value.shape, -0.0, dtype=value.dtype) for name, value in like.items()}
    for i, (of_run, generator) in enumerate(zip(std.tolist(), generators, strict=True)):
        if of_run > 0:
            for value in noise.values():
                value[i].normal_(0.0, of_run, generator=generator)
    return noise


def _drawn(
    std: Float[Tensor, " run"],
    tangential: Bool[Tensor, " run"],
    like: Params,
    weights: Params,
    generators: Sequence[torch.Generator],
) -> Params:
    """Noise like some tensors, and across the weights in tangential runs."""
    noise = gaussian(like, std, generators)
    projected = tangential & (std > 0)
    if not projected.any():
        return noise
    parts = across(noise, weights, axes=1)
    return combine(lambda n, part: torch.where(along(projected, n), part.to(n.dtype), n), noise, parts)


@dataclass(frozen=True)
class WeightNoise:
    """Noise at which the network is evaluated and its gradient taken; the weights themselves stay where they are.

    Attributes:
        std: Standard deviation in each coordinate, `[run]`.
        tangential: Whether only the part across the weights is taken, `[run]`. The norm there is still a little larger.

    Example:
        >>> weights = {"w": torch.ones(1, 3, requires_grad=True)}
        >>> noisy = WeightNoise(torch.tensor([0.1]), torch.tensor([False]))(weights, streams([0], "weights"))
        >>> torch.autograd.grad(noisy["w"].square().sum() / 2, weights["w"])[0].equal(noisy["w"])
        True
    """

    std: Float[Tensor, " run"]
    tangential: Bool[Tensor, " run"]

    def __call__(self, weights: Params, generators: Sequence[torch.Generator]) -> Params:
        """Weights plus noise, in new tensors; differentiated as if the noise were constant."""
        fixed = combine(torch.Tensor.detach, weights)
        return combine(torch.add, weights, _drawn(self.std, self.tangential, fixed, fixed, generators))


@dataclass(frozen=True)
class WalkNoise:
    """Noise that moves the weights and stays: with a step of the optimizer before it, a random walk with drift.

    A tangential run is brought back to the norm that it had: it walks on a sphere, by an angle of atan(|noise| / r).

    Attributes:
        std: Standard deviation in each coordinate, `[run]`; after n steps sqrt(n) times as much.
        tangential: Whether a run walks on the sphere of its norm, `[run]`.

    Example:
        >>> weights = {"w": torch.tensor([[3.0, 4.0]])}
        >>> WalkNoise(torch.tensor([9.0]), torch.tensor([True]))(weights, streams([0], "walk"))
        >>> weights["w"].norm().round(decimals=5)
        tensor(5.)
    """

    std: Float[Tensor, " run"]
    tangential: Bool[Tensor, " run"]

    @torch.no_grad()
    def __call__(self, weights: Params, generators: Sequence[torch.Generator]) -> None:
        """Move the weights in place."""
        before = norm(weights, axes=1)
        noise = _drawn(self.std, self.tangential, weights, weights, generators)
        for name, value in weights.items():
            value.add_(noise[name])
        rescale(weights, torch.where(self.tangential, before / norm(weights, axes=1), 1.0))


@dataclass(frozen=True)
class GradientNoise:
    """Noise added to the gradient, before the optimizer makes a step of it (and Adam divides by its size).

    Attributes:
        std: Standard deviation in each coordinate, `[run]`.
        tangential: Whether only the part across the weights is taken, `[run]`; the gradient itself is not projected.

    Example:
        >>> gradients, weights = {"w": torch.zeros(1, 2)}, {"w": torch.tensor([[2.0, 0.0]])}
        >>> add = GradientNoise(torch.tensor([1.0]), torch.tensor([True]))
        >>> add(gradients, weights, streams([0], "gradient"))
        >>> gradients["w"] != 0
        tensor([[False,  True]])
    """

    std: Float[Tensor, " run"]
    tangential: Bool[Tensor, " run"]

    @torch.no_grad()
    def __call__(self, gradients: Params, weights: Params, generators: Sequence[torch.Generator]) -> None:
        """Add to the gradients in place."""
        noise = _drawn(self.std, self.tangential, gradients, weights, generators)
        for name, value in gradients.items():
            value.add_(noise[name])


@dataclass(frozen=True)
class LabelNoise:
    """Labels replaced at random, anew at each step: what one step is taught wrong the next is not.

    A class drawn may be the right one: a share of (1 - 1 / n_classes) of those replaced is wrong.

    Attributes:
        share: Probability with which a label is replaced, `[run]`.

    Example:
        >>> LabelNoise(torch.tensor([0.0]))(torch.tensor([[3, 1]]), 5, streams([0], "labels"))
        tensor([[3, 1]])
    """

    share: Float[Tensor, " run"]

    def __call__(
        self, labels: Int[Tensor, "run pair"], n_classes: int, generators: Sequence[torch.Generator]
    ) -> Int[Tensor, "run pair"]:
        """Labels of one step, in a new tensor.

        Args:
            labels: The right ones.
            n_classes: Classes are drawn from 0..n_classes - 1 with equal probability.
            generators: One per run.
        """
        noisy = labels.clone()
        for row, share, generator in zip(noisy, self.share.tolist(), generators, strict=True):
            if share > 0:
                drawn = torch.randint(n_classes, row.shape, generator=generator)
                replaced = torch.rand(row.shape, generator=generator, dtype=torch.float64) < share
                row.copy_(torch.where(replaced, drawn, row))
        return noisy
