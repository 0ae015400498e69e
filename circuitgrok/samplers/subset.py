"""Subset simulation: how much of a sphere scores low, as a product of shares that are not rare.

A population is uniform where the score is at most some level. The next level is a quantile of its scores; the members
below it are copied and moved within, along great circles in random tangential directions,

    w <- cos(phi) w + r sin(phi) nu,

which keeps the uniform law, and is refused where the score would be above the level. ln V = sum of ln of the shares
that passed. The angle is tuned from level to level and stands still within one. Populations are independent: their
spread is the error, as what is drawn of one level stays in the next.

Source: Au and Beck 2001 (Probabilistic Engineering Mechanics 16, 263).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.geometry import move, tangent, unit

SHARE = 0.5  # of a population that passes to the next level
ACCEPTED = 0.4  # of the moves, by the angle that is looked for
GAIN = 1.5  # by how much ln of the angle moves for each unit of acceptance that is off
_STALLED_MOST = 20  # levels in a row that are no lower than the one before

Score = Callable[[Float[Tensor, "particle dim"]], Float[Tensor, " particle"]]


class Subsets(NamedTuple):
    """ln of the share of a sphere that scores low, by independent populations."""

    ln_volume: Float[Tensor, " population"]  # float64; -inf of one that came to a stop
    positions: Float[Tensor, "population particle dim"]  # uniform in what scores low
    levels: list[list[float]]  # of each population, the last one the threshold

    @property
    def mean(self) -> float:
        """ln V: the mean over populations."""
        return self.ln_volume.mean().item()

    @property
    def se(self) -> float:
        """Its standard error, from the spread of the populations."""
        return (self.ln_volume.std() / math.sqrt(len(self.ln_volume))).item()


def subsets(
    score: Score,
    radius: float,
    like: Float[Tensor, "particle dim"],
    threshold: float,
    seeds: list[int],
    *,
    n_moves: int = 20,
    share: float = SHARE,
) -> Subsets:
    """ln of the share of a sphere on which the score is at most a threshold.

    Args:
        score: Low where it is rare: a loss, or the number of wrong answers.
        radius: Of the sphere.
        like: Of the shape, dtype and device of a population.
        threshold: What counts as low.
        seeds: One for each population; two or more give an error.
        n_moves: Moves of each member at a level.
        share: Of a population that passes; scores that are equal pass together.

    Raises:
        UserError: A population came to a stop: all its scores are equal, above the threshold, and moves find no other.

    Example:
        >>> found = subsets(lambda w: w[:, 0], 1.0, torch.zeros(400, 3).double(), -0.98, [0, 1])  # a cap: (1 - .98) / 2
        >>> abs(found.mean - math.log(0.01)) < 0.5
        True
    """
    if not 0 < share < 1 or len(set(seeds)) < len(seeds) or not seeds:
        raise UserError(f"share must lie in 0..1, and each population have a seed of its own; got {share} and {seeds}")
    found = [_population(score, radius, like, threshold, seed, n_moves, share) for seed in seeds]
    volumes = torch.tensor([ln for ln, _, _ in found], dtype=torch.float64)
    return Subsets(volumes, torch.stack([at for _, at, _ in found]), [levels for _, _, levels in found])


def _population(
    score: Score, radius: float, like: Tensor, threshold: float, seed: int, n_moves: int, share: float
) -> tuple[float, Tensor, list[float]]:
    draws = torch.Generator(device=like.device).manual_seed(seed)
    position = radius * unit(_normal(like, draws))
    scores, ln_volume, angle, stalled = score(position).double(), 0.0, 1.0, 0
    levels: list[float] = []
    while True:
        level = max(_level(scores, share, levels[-1] if levels else math.inf), threshold)
        passed = scores <= level
        ln_volume += math.log(passed.double().mean().item()) if bool(passed.any()) else -math.inf
        stalled = stalled + 1 if levels and level >= levels[-1] else 0
        if not bool(passed.any()) or stalled > _STALLED_MOST:
            raise UserError(f"no way below a score of {level:g} was found; try more particles or moves")
        levels.append(level)
        if level <= threshold and bool(passed.all()):
            return ln_volume, position, levels
        which = passed.nonzero().flatten()
        chosen = which[torch.randint(len(which), (len(position),), generator=draws, device=like.device)]
        position, scores = position[chosen], scores[chosen]
        total = 0.0
        for _ in range(n_moves):
            position, scores, taken = _moved(score, position, scores, level, angle, draws)
            total += taken
        angle = min(angle * math.exp(GAIN * (total / n_moves - ACCEPTED)), math.pi / 2)
        if level <= threshold:
            return ln_volume, position, levels


def _level(scores: Float[Tensor, " particle"], share: float, last: float) -> float:
    """The next level: the quantile, or where all up to there are at the last level still, the largest score below it.

    >>> _level(torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.5, 4.0), _level(torch.tensor([1.0, 2.0, 2.0, 2.0]), 0.5, 2.0)
    (2.0, 1.0)
    """
    quantile = scores.sort().values[max(math.ceil(share * len(scores)) - 1, 0)].item()
    lower = scores[scores < last]
    return quantile if quantile < last or not len(lower) else lower.max().item()


def _moved(
    score: Score, position: Tensor, scores: Tensor, level: float, angle: float, draws: torch.Generator
) -> tuple[Tensor, Tensor, float]:
    """Each member moved by an angle in a direction of its own, where that does not lead above the level."""
    ahead = unit(tangent(_normal(position, draws), unit(position)))
    proposal, _ = move(position, angle * position.norm(dim=-1, keepdim=True) * ahead)
    there = score(proposal).double()
    taken = there <= level
    share = taken.double().mean().item()
    return torch.where(taken[:, None], proposal, position), torch.where(taken, there, scores), share


def _normal(like: Tensor, draws: torch.Generator) -> Tensor:
    return torch.empty_like(like).normal_(generator=draws)
