"""What a path through weight space would look like if it only diffused: the same moves without their order or sense.

A run is said to seek a place if it is there more often than a walk that is as mobile. Two such walks begin where the
path does. The *signed* one makes the path's own moves, each forwards or backwards by chance: every move has the same
covariance, m m^T, and what a drift adds up is gone. The *isotropic* one moves every tensor as far in a random
direction. The first keeps which directions are mobile, the second only how mobile each tensor is.

Source: surrogate data by random signs, as in J. Theiler et al., "Testing for nonlinearity in time series" (1992),
Physica D 58, 77; here for increments.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.tree import Params


def signed_walk(stack: Params, generator: torch.Generator) -> Params:
    """The path's start, and from there its own moves, each with a random sign, the same for all tensors.

    Args:
        stack: The path, `[ckpt ...]`.
        generator: Source of the signs.

    Returns:
        A path of as many places; the length of each move is that of the given path's.

    Example:
        >>> walk = signed_walk({"w": torch.tensor([[0.0], [1.0], [3.0], [7.0]])}, torch.Generator().manual_seed(0))
        >>> walk["w"].diff(dim=0).abs().flatten(), walk["w"][0].item()
        (tensor([1., 2., 4.]), 0.0)
    """
    n = len(next(iter(stack.values()))) - 1
    signs = 2.0 * torch.randint(2, (n,), generator=generator) - 1
    return {name: _from_start(path, path.diff(dim=0) * _beside(signs, path)) for name, path in stack.items()}


def isotropic_walk(stack: Params, generator: torch.Generator) -> Params:
    """The path's start, and from there moves of each tensor in random directions, each as long as the path's.

    Args:
        stack: The path, `[ckpt ...]`.
        generator: Source of the directions.

    Example:
        >>> walk = isotropic_walk({"w": torch.tensor([[0.0, 0.0], [3.0, 4.0]])}, torch.Generator().manual_seed(0))
        >>> walk["w"].norm(dim=-1)
        tensor([0., 5.])
    """
    made = {}
    for name, path in stack.items():
        moves = path.diff(dim=0)
        drawn = torch.randn(moves.shape, generator=generator, dtype=moves.dtype)
        length = (moves.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1)).nan_to_num()
        made[name] = _from_start(path, drawn * _beside(length, path))
    return made


def _from_start(path: Float[Tensor, "ckpt ..."], moves: Float[Tensor, "move ..."]) -> Float[Tensor, "ckpt ..."]:
    return torch.cat([path[:1], path[:1] + moves.cumsum(0)])


def _beside(factors: Float[Tensor, " move"], path: Tensor) -> Tensor:
    """One factor for each move, in the path's format."""
    return factors.to(path.dtype).reshape(-1, *[1] * (path.ndim - 1))
