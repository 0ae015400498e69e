"""Ratios of partition functions from losses at neighbouring temperatures: Bennett's acceptance ratio.

With w = (b' - b) L, drawn at b and at b', as many times each, the logarithm of Z(b') / Z(b) is the c at which

    sum over draws at b of 1 / (1 + exp(w + c))  =  sum over draws at b' of 1 / (1 + exp(-w - c)),

the estimate of least variance from both. ln Z along a ladder from Z(0) = 1 is the sum of these, and
-d ln Z / d b is the mean of L, whatever the rungs between.

Source: Bennett 1976 (J. Comput. Phys. 22, 245); Shirts and Chodera 2008 (arXiv:0801.1426).
"""

import torch
from jaxtyping import Float
from torch import Tensor

_HALVINGS = 100  # of a bracket: to the last bit


def ln_ratio(
    low: Float[Tensor, "*stack draw"], high: Float[Tensor, "*stack draw"], step: Float[Tensor, "*#stack"] | float
) -> Float[Tensor, "*stack"]:
    """ln of Z(b + step) / Z(b) for Z(b) the mean of exp(-b L), in float64.

    Args:
        low: L where it was drawn at b.
        high: L where it was drawn at b + step, as many.
        step: The difference of the inverse temperatures, positive.

    Example:
        >>> x = torch.linspace(0.0005, 0.9995, 1000).double()  # quantiles of an exponential L: Z(b) = 1 / (1 + b)
        >>> low, high = -(1 - x).log(), -(1 - x).log() / 2
        >>> ln_ratio(low, high, 1.0).exp().round(decimals=2)
        tensor(0.5000, dtype=torch.float64)
    """
    by = torch.as_tensor(step, dtype=torch.float64, device=low.device)
    forth, back = by[..., None] * low.double(), by[..., None] * high.double()
    both = torch.cat([forth, back], dim=-1)
    least, most = -both.amax(-1), -both.amin(-1)
    for _ in range(_HALVINGS):
        c = (least + most) / 2
        more = torch.sigmoid(-forth - c[..., None]).sum(-1) > torch.sigmoid(back + c[..., None]).sum(-1)
        least, most = torch.where(more, c, least), torch.where(more, most, c)
    return (least + most) / 2


def ln_evidence(
    losses: Float[Tensor, "round *stack rung"], betas: Float[Tensor, " rung"]
) -> Float[Tensor, "*stack rung"]:
    """ln Z(b) at every rung, of each ladder by itself; 0 at the lowest, where b is 0.

    Args:
        losses: L at each round, as `exchange` gives it.
        betas: Inverse temperatures, from 0.
    """
    by_rung = losses.movedim(0, -1)
    steps = ln_ratio(by_rung[..., :-1, :], by_rung[..., 1:, :], betas.double().diff())
    return torch.nn.functional.pad(steps.cumsum(-1), (1, 0))
