"""From the uniform law of a sphere to a cold one and back: annealed importance sampling, and ladders of temperatures.

A position drawn at b_0 is moved at b_1, b_2, ... in turn, and carries the weight

    ln w = - sum_k (b_{k+1} - b_k) L(w_k),      E[w] = Z(b_last) / Z(b_0).

From 0 upwards ln of the mean weight is below ln Z in expectation (Jensen). From an exact draw at b downwards it is
below -ln Z, so that its negative is above: what lies between the two is known, whatever the moves. Exact draws of a
posterior are those of simulated data: weights are drawn first, and the labels by them (bidirectional Monte Carlo).

`ladder` looks for the temperatures themselves: the next is where the weights of a population are worth a given share of
its members, which are then drawn again by weight and moved.

Source: Neal 2001 (Statistics and Computing 11, 125); Grosse, Ancha, Roy 2016 (arXiv:1606.02275); for the ladder Del
Moral, Doucet, Jasra 2006.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.geometry import unit
from circuitgrok.samplers.exchange import ACCEPTED, GAIN, JITTER, SummedLoss
from circuitgrok.samplers.geometry import Sphere
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.target import Generators, Target, standard_normal

SHARE = 0.5  # of a population that weights are worth from one rung to the next
PATIENCE = 20  # times as many trajectories at a rung as are asked for, while their step is found
_HALVINGS = 60
_RUNGS_MOST = 2000


class Ladder(NamedTuple):
    """Temperatures from 0 upwards that lie close enough, and a population at each."""

    betas: Float[Tensor, " rung"]  # float64
    positions: Float[Tensor, "rung particle dim"]
    step_sizes: Float[Tensor, " rung"]  # squares of leapfrogs' lengths, at which most trajectories are accepted
    ln_Z: Float[Tensor, " rung"]  # of the population's weights; of one population, without an error


def annealed(
    loss: SummedLoss,
    start: Float[Tensor, "chain dim"],
    betas: Float[Tensor, " rung"],
    step_sizes: Float[Tensor, " rung"],
    generators: Generators,
    *,
    n_moves: int = 1,
    n_leapfrog: int = 8,
) -> Float[Tensor, " chain"]:
    """ln of each chain's weight on the way through the temperatures, up or down; its mean weight is a ratio of Z.

    Args:
        loss: L and its gradient for rows of positions.
        start: Exact draws at the first temperature, of the norm that is kept.
        betas: Inverse temperatures on the way, rising or falling.
        step_sizes: At each of them, squares of the leapfrogs' lengths.
        generators: One for each chain.
        n_moves: Trajectories at each temperature.
        n_leapfrog: Leapfrogs of a trajectory.

    Example:
        >>> from circuitgrok.geometry import uniform
        >>> from circuitgrok.samplers.target import LossGrad
        >>> def towards_a_pole(w):
        ...     return LossGrad(-w[:, 0].double(), -torch.eye(3).double()[0].expand_as(w))
        >>> draws = [torch.Generator().manual_seed(i) for i in range(400)]
        >>> start, up = uniform(400, 3, torch.Generator().manual_seed(0)), torch.linspace(0, 2, 5)
        >>> weights = annealed(towards_a_pole, start, up, torch.full((5,), 0.3), draws)
        >>> round(weights.exp().mean().item(), 1), round(math.sinh(2) / 2, 1)
        (1.8, 1.8)
    """
    position, value = start, loss(start).value
    weights = torch.zeros_like(value)
    for k in range(1, len(betas)):
        weights = weights - (betas[k] - betas[k - 1]).double() * value
        beta, size = betas[k].item(), step_sizes[k].item()
        position, value, _ = _moved(loss, position, beta, size, generators, n_moves, n_leapfrog)
    return weights


def ladder(
    loss: SummedLoss,
    radius: float,
    like: Float[Tensor, "particle dim"],
    beta: float,
    generators: Generators,
    *,
    share: float = SHARE,
    n_moves: int = 3,
    n_leapfrog: int = 8,
) -> Ladder:
    """The rungs from 0 to an inverse temperature, of populations from the uniform law of the sphere downwards.

    Args:
        loss: L and its gradient for rows of positions.
        radius: Of the sphere.
        like: Of the shape, dtype and device of a population; 32 particles or more give rungs that are much alike.
        beta: The last inverse temperature.
        generators: One for each particle.
        share: Which share of a population its weights are worth from a rung to the next; more rungs nearer to 1.
        n_moves: Trajectories of each particle at a rung, of which half as many are accepted as should be, or more.
        n_leapfrog: Leapfrogs of a trajectory.

    Raises:
        UserError: A loss is not finite, no step is found at which the population moves, or there would be more than
            2000 rungs.
    """
    if not 0 < share < 1 or not 0 < beta < math.inf or not 0 < radius < math.inf:
        raise UserError(f"share must lie in 0..1, beta and radius be positive; got {share}, {beta} and {radius}")
    position = radius * unit(standard_normal(like, generators))
    betas, sizes, ln_Z = [0.0], [(radius / 10) ** 2], [0.0]
    populations, value = [position], loss(position).value
    while betas[-1] < beta:
        if not bool(value.isfinite().all()) or len(betas) > _RUNGS_MOST:
            raise UserError(f"no ladder to beta {beta:g}: at {betas[-1]:g} losses are {value.tolist()[:3]}…")
        step = _step(value, beta - betas[-1], share)
        ln_Z.append(ln_Z[-1] + (torch.logsumexp(-step * value, 0) - math.log(len(value))).item())
        betas.append(min(betas[-1] + step, beta))
        chosen = _drawn_again(-step * value, generators[0])
        position, size = position[chosen], sizes[-1]
        moved = 0
        for _ in range(PATIENCE * n_moves):  # members that were drawn twice and never move would be worth all of it
            position, value, accepted = _moved(loss, position, betas[-1], size, generators, 1, n_leapfrog)
            size *= math.exp(3 * GAIN * (accepted - ACCEPTED))
            moved += accepted >= ACCEPTED / 2
            if moved == n_moves:
                break
        else:
            raise UserError(f"no ladder to beta {beta:g}: at {betas[-1]:g} the population does not move")
        sizes.append(size)
        populations.append(position)
    rungs, steps, ln = torch.tensor([betas, sizes, ln_Z], dtype=torch.float64)
    return Ladder(rungs, torch.stack(populations), steps, ln)


def _moved(
    loss: SummedLoss,
    position: Tensor,
    beta: float,
    size: float,
    generators: Generators,
    n_moves: int,
    n_leapfrog: int,
) -> tuple[Tensor, Tensor, float]:
    """Positions after trajectories at a temperature, L there, and how many were accepted."""
    of_all = torch.full((len(position),), beta, dtype=torch.float64, device=position.device)
    target = Target(loss, torch.zeros_like(position), of_all, 0.0)
    sampler = hmc(target, step_size=size, n_leapfrog=n_leapfrog, jitter=JITTER, geometry=Sphere())
    state = sampler.init(position, generators)
    accepted = []
    for _ in range(n_moves):
        state, info = sampler.step(state, generators)
        accepted.append(info.acceptance.mean().item())
    return state["position"], state["loss"], sum(accepted) / n_moves


def _step(value: Float[Tensor, " particle"], most: float, share: float) -> float:
    """By how much the inverse temperature may rise for weights to be worth a share of the population; `most` at most.

    >>> _step(torch.tensor([0.0, 1.0, 2.0]).double(), 0.1, 0.5)
    0.1
    """

    def worth(step: float) -> float:
        return (2 * torch.logsumexp(-step * value, 0) - torch.logsumexp(-2 * step * value, 0)).exp().item()

    least, top = 0.0, most
    if worth(top) >= share * len(value):
        return top
    for _ in range(_HALVINGS):
        middle = (least + top) / 2
        least, top = (middle, top) if worth(middle) >= share * len(value) else (least, middle)
    return top


def _drawn_again(ln_weights: Float[Tensor, " particle"], generator: torch.Generator) -> Tensor:
    """Which particles go on, each as often as its weight says, up or down to a whole number (systematic resampling)."""
    n = len(ln_weights)
    offset = torch.rand((), generator=generator, dtype=torch.float64, device=ln_weights.device)
    marks = (torch.arange(n, device=ln_weights.device) + offset) / n
    return torch.searchsorted(ln_weights.softmax(0).cumsum(0), marks).clamp(max=n - 1)
