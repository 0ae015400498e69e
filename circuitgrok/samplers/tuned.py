"""Chains whose step sizes follow their acceptance in the first half, and stay in the second.

After each of the first n/2 draws every chain's step size is multiplied by exp(gain (acceptance - wanted)), acceptance
the mean over the steps of that draw. A chain that chooses its step by where it has been has no known law; frozen it has
that of its sampler. So the first half is burn-in, and the second is the sample.

Source: stochastic approximation of a wanted acceptance: Andrieu and Thoms 2008 (Statistics and Computing 18, 343).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from circuitgrok.samplers.sample import Chains, Draws, sample, start
from circuitgrok.samplers.target import Sampler

WANTED = 0.8  # acceptance
GAIN = 0.6  # ln of a step size for each unit of acceptance that is missing


class Reached(NamedTuple):
    """Chains after a draw.

    Attributes:
        draw: Its number, from 0: the start.
        chains: Where they are.
        kept: Of the steps that led there; None at the start.
        step_size: With which they came there, `[chain]`.
    """

    draw: int
    chains: Chains
    kept: Draws | None
    step_size: Float[Tensor, " chain"]


def tuned(
    sampler: Callable[[Float[Tensor, " chain"]], Sampler],
    position: Float[Tensor, "chain dim"],
    seeds: Sequence[int],
    step_size: Float[Tensor, " chain"],
    n_draws: int,
    *,
    n_thin: int = 1,
    gain: float = GAIN,
) -> Iterator[Reached]:
    """The chains at the start and after each draw.

    Args:
        sampler: Makes one of step sizes, one for each chain.
        position: Where chains start.
        seeds: One for each chain.
        step_size: The first ones.
        n_draws: Draws; at the ends of the first half of them step sizes change.
        n_thin: Steps of the sampler for each draw.
        gain: ln of a step size for each unit of acceptance that is missing; at 0 step sizes stay what they are.

    Example:
        >>> from circuitgrok.samplers.hmc import hmc
        >>> from circuitgrok.samplers.target import LossGrad, Target
        >>> bowl = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(4, 50), 1.0, 0.0)
        >>> made = lambda size: hmc(bowl, step_size=size, n_leapfrog=5, jitter=0.2)
        >>> *_, last = tuned(made, bowl.centre, range(4), torch.full((4,), 1e-2).double(), 200)
        >>> last.draw, bool((last.step_size > 0.1).all())
        (200, True)
    """
    chains = start(sampler(step_size), position, seeds)
    yield Reached(0, chains, None, step_size)
    for draw in range(1, n_draws + 1):
        chains, kept = sample(sampler(step_size), chains, 1, n_thin=n_thin)
        yield Reached(draw, chains, kept, step_size)
        if draw <= n_draws / 2:
            step_size = step_size * (gain * (kept.acceptance[0].nan_to_num(0.0) - WANTED)).exp()
