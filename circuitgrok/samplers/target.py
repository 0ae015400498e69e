"""What a sampler is, and what it sees: a localized posterior over a stack of chains, never a model.

All chains lie in one tensor `[chain dim]`; they share no arithmetic and no random numbers. The density is

    exp(-U(w)),   U(w) = nbeta L(w) + (localization / 2) |w - centre|^2

with a centre for each chain, so that chains of many checkpoints sample side by side. A sampler keeps what
its next step needs in a dict of tensors with a chain axis in front, which the loop can freeze (a diverged
chain), save and restore without knowing the sampler.

Source of the localized posterior: Lau et al. 2023 (arXiv:2308.12108), section 4.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Generators = Sequence[torch.Generator]
State = dict[str, Tensor]  # "position" [chain dim], and whatever else the sampler keeps, [chain ...]


class LossGrad(NamedTuple):
    """A loss and its gradient at the position of every chain."""

    value: Float[Tensor, " chain"]  # float64
    gradient: Float[Tensor, "chain dim"]


class Info(NamedTuple):
    """What a reader needs of one step: at the positions that it led to."""

    loss: Float[Tensor, " chain"]  # L there (of a minibatch, if the sampler was given minibatches); float64
    acceptance: Float[Tensor, " chain"]  # probability of accepting the step, acted on or not; nan if it has none
    energy_error: Float[Tensor, " chain"]  # H after the step less H before; nan if it has none


class Sampler(NamedTuple):
    """A sampler on its target: `init(position, generators)`, and `step(state, generators)`, which is pure."""

    init: Callable[[Float[Tensor, "chain dim"], Generators], State]
    step: Callable[[State, Generators], tuple[State, Info]]
    spread: Callable[[State], Float[Tensor, " chain"]] | None = None  # of a state: `circuitgrok.samplers.spread`


@dataclass(frozen=True)
class Target:
    """The localized posterior of a stack of chains.

    Attributes:
        loss: L and its gradient on the full data, for every chain.
        centre: The point w* of each chain, `[chain dim]`.
        nbeta: Inverse temperature, above 0; n / ln n by custom, n the number of training examples. Or each chain's
            own, of which any may be 0.
        localization: Strength gamma of the pull to the centre, 0 or more; or each chain's own.
        batch_loss: The same on minibatches drawn by each chain's own generator; without it, full batch.
    """

    loss: Callable[[Float[Tensor, "chain dim"]], LossGrad]
    centre: Float[Tensor, "chain dim"]
    nbeta: float | Float[Tensor, " chain"]
    localization: float | Float[Tensor, " chain"]
    batch_loss: Callable[[Float[Tensor, "chain dim"], Generators], LossGrad] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.nbeta, Tensor):
            if not bool(((self.nbeta >= 0) & self.nbeta.isfinite()).all()):
                raise ValueError(f"every chain's nbeta must be 0 or more and finite; got {self.nbeta.tolist()}")
        elif not 0 < self.nbeta < math.inf:
            raise ValueError(f"nbeta must be positive and finite; got {self.nbeta}; n / ln n is customary")
        pulls = self.localization.tolist() if isinstance(self.localization, Tensor) else [self.localization]
        if not all(0 <= pull < math.inf for pull in pulls):
            raise ValueError(f"localization must be 0 or more and finite; got {self.localization}")

    def energy(self, position: Float[Tensor, "chain dim"], loss: LossGrad) -> Float[Tensor, " chain"]:
        """U at the positions, in float64, from the loss there."""
        return self.nbeta * loss.value + self.localization / 2 * squared_norm(position - self.centre)

    def force(self, position: Float[Tensor, "chain dim"], loss: LossGrad) -> Float[Tensor, "chain dim"]:
        """The gradient of U at the positions, from that of the loss there."""
        nbeta, pull = (x[:, None].to(position) if isinstance(x, Tensor) else x for x in (self.nbeta, self.localization))
        return nbeta * loss.gradient + pull * (position - self.centre)

    def estimate(self, position: Float[Tensor, "chain dim"], generators: Generators) -> LossGrad:
        """L and its gradient, on a minibatch of each chain's own if there are minibatches."""
        return self.batch_loss(position, generators) if self.batch_loss else self.loss(position)


def squared_norm(vectors: Float[Tensor, "chain dim"]) -> Float[Tensor, " chain"]:
    """|v|^2 of each row, summed in float64 without a copy in float64."""
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64).square()


def standard_normal(like: Float[Tensor, "chain dim"], generators: Generators) -> Float[Tensor, "chain dim"]:
    """Independent standard normal numbers, each chain's from its own generator."""
    noise = torch.empty_like(like)
    for row, generator in zip(noise, generators, strict=True):
        row.normal_(generator=generator)
    return noise
