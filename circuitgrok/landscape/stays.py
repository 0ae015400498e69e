"""How long a sampler's chains stay in a set of weights, in draws: what holds them is what they forget last."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.landscape.curvature import StackLoss
from circuitgrok.landscape.sampling import SAMPLERS, Sampling
from circuitgrok.samplers.geometry import FLAT
from circuitgrok.samplers.sample import sample, start
from circuitgrok.samplers.target import Target
from circuitgrok.samplers.visits import Visits, visits


def sampled_visits(
    loss: StackLoss,
    begun: Sequence[Float[Tensor, "chain dim"]],
    how: Sampling,
    seeds: Sequence[int],
    inside: Callable[[Float[Tensor, "chain dim"]], Bool[Tensor, " chain"]],
) -> list[Visits]:
    """Stays of groups of chains, seen at every draw after a fifth as many draws of burn-in; in draws.

    Args:
        loss: L and its gradient for a stack of chains; the pull is to the origin.
        begun: Where the chains of each group start, from the law at rest if stays are to be those at rest.
        how: How to sample, with nbeta.
        seeds: Of each group; its chains have seeds of their own, 1000 apart from group to group.
        inside: Which positions are in the set.

    Raises:
        ValueError: nbeta is not given.
    """
    if how.nbeta is None:
        raise ValueError("stays are those at a temperature: give nbeta")
    at = torch.cat(list(begun))
    sampler = SAMPLERS[how.sampler](Target(loss, torch.zeros_like(at), how.nbeta, how.localization), how, FLAT)
    sizes = [len(group) for group in begun]
    chains = start(sampler, at, [1000 * seed + i for seed, n in zip(seeds, sizes, strict=True) for i in range(n)])
    burnin = how.n_draws // 5 * how.n_thin
    _, draws = sample(
        sampler, chains, how.n_draws, n_burnin=burnin, n_thin=how.n_thin, observe=lambda w: inside(w)[:, None]
    )
    seen = torch.as_tensor(draws.observed)[..., 0] > 0
    return [visits(of) for of in seen.split(sizes, dim=1)]
