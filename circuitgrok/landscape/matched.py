"""Temperatures at which networks have the same training loss, so that what differs is not how far training went.

A network that has trained for longer has larger logits, a smaller loss and smaller curvatures, whatever it has learned.
Divide the logits of each by a temperature of its own, such that all have one mean loss: then the surroundings of two
solutions are compared at the same loss, and (as far as their margins are alike) at the same scale of the logits.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.interventions.losses import cross_entropy

HALVINGS = 60  # of a bracket in ln(1 / temperature): to rounding
SCALES = (-20.0, 20.0, 0.05)  # of ln(1 / temperature) where the bracket is looked for: from, to, step


def temperature_of_loss(
    logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, " pair"], loss: float
) -> Float[Tensor, "*stack"]:
    """What logits are to be divided by for their mean cross-entropy to be the one that is asked for.

    The loss of pairs that are right falls with the temperature from ln c, so that there is one; where some are wrong it
    turns, and the answer is the larger of the temperatures, nan if the loss does not get so low.

    Args:
        logits: Of each network, for the pairs that the loss is a mean over.
        labels: The right class of each pair.
        loss: In nats, between 0 and ln c.

    Raises:
        ValueError: `loss` is out of range.

    Example:
        Margins of 10 against one other class; log(1 + exp(-10 / T)) = log(2) / 2:

        >>> logits = torch.tensor([[10.0, 0.0], [0.0, 10.0]])
        >>> T = temperature_of_loss(logits, torch.tensor([0, 1]), 0.34657359)
        >>> T.round(decimals=4), (10 / T).round(decimals=4)
        (tensor(11.3459, dtype=torch.float64), tensor(0.8814, dtype=torch.float64))
    """
    n_classes = logits.shape[-1]
    if not 0 < loss < torch.tensor(float(n_classes)).log():
        raise ValueError(f"a loss between 0 and ln {n_classes} has a temperature; got {loss}")
    wide = logits.double()

    def at(log_scale: Tensor) -> Tensor:
        return cross_entropy(wide * log_scale.exp()[..., None, None], labels).mean(-1)

    grid = torch.arange(*SCALES, dtype=torch.float64, device=wide.device)
    low = torch.full(wide.shape[:-2], 2 * SCALES[0], dtype=torch.float64, device=wide.device)
    high = torch.full_like(low, torch.nan)
    for scale in grid:  # the first scale at which the loss is low enough
        reached = high.isnan() & (at(scale.expand_as(low)) <= loss)
        high = torch.where(reached, scale, high)
        if not high.isnan().any():
            break
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_low = at(middle) <= loss
        low, high = torch.where(is_low, low, middle), torch.where(is_low, middle, high)
    return (-high).exp()
