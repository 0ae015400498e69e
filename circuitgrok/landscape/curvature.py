"""Curvature of a stack of losses by differences of gradients: for step sizes, at many points at once.

Every chain has a loss and a point of its own. A product costs two gradients of the fused backward, in the dtype of
the weights. For Hessians that are exact there is `circuitgrok.landscape.hessian`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.landscape.lanczos import lanczos
from circuitgrok.samplers.target import LossGrad

RELATIVE_STEP = 1e-3
StackLoss = Callable[[Float[Tensor, "chain dim"]], LossGrad]


def hessian_product(
    loss: StackLoss, at: Float[Tensor, "chain dim"], vectors: Float[Tensor, "chain dim"]
) -> Float[Tensor, "chain dim"]:
    """Hessian of each chain's loss times a vector of its own, by a central difference of gradients.

    The vectors should have length 1. The step is a thousandth of the weights' norm (at least of 1). Of a ReLU network
    the difference also sees the kinks that it crosses, as a chain does: it is the curvature of a small region.

    Example:
        >>> a = torch.tensor([3.0, 1.0])
        >>> bowl = lambda w: LossGrad((a * w * w).double().sum(-1) / 2, a * w)
        >>> hessian_product(bowl, torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).round(decimals=3)
        tensor([[3., 0.]])
    """
    step = RELATIVE_STEP * at.norm(dim=-1, keepdim=True).clamp(min=1)
    return (loss(at + step * vectors).gradient - loss(at - step * vectors).gradient) / (2 * step)


def sharpness(
    loss: StackLoss, at: Float[Tensor, "chain dim"], starts: Float[Tensor, "start dim"], n_steps: int = 8
) -> Float[Tensor, " chain"]:
    """Largest eigenvalue of each chain's Hessian, from below: the top Ritz value of a few Lanczos steps.

    Args:
        loss: Losses of a stack of chains.
        at: Where.
        starts: Vectors to start from, in turn: chain i takes row i modulo their number.
        n_steps: Lanczos steps, at most the dimension; each costs two gradients.

    Returns:
        In units of the loss over squared weights, float64. Eight steps find an eigenvalue that stands out; inside
        a dense edge of the spectrum they stay a few per cent below it.

    Example:
        >>> a = torch.tensor([3.0, 1.0])
        >>> bowl = lambda w: LossGrad((a * w * w).double().sum(-1) / 2, a * w)
        >>> sharpness(bowl, torch.zeros(1, 2), torch.ones(1, 2)).round(decimals=3)
        tensor([3.], dtype=torch.float64)
    """
    start = starts.to(at.dtype)[torch.arange(len(at)) % len(starts)]
    found = lanczos(lambda rows: hessian_product(loss, at, rows), start, min(n_steps, at.shape[1]))
    return torch.linalg.eigvalsh(found.matrix.double())[:, -1]


def random_starts(n: int, dim: int) -> Float[Tensor, "start dim"]:
    """Normal vectors to start Lanczos from, always the same."""
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(0))
