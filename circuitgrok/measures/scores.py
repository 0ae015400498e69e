"""How clearly a network answers: its margins, and the size of its logits."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot


def margin(logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, " pair"]) -> Float[Tensor, "*stack pair"]:
    """How far the right logit of each pair is above the best of the others.

    Args:
        logits: One row per pair, any number of classes from two on.
        labels: The right class of each pair.

    Returns:
        In units of the logits; negative where the answer is wrong.

    Example:
        >>> margin(torch.tensor([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0]]), torch.tensor([1, 2]))
        tensor([ 3., -3.], dtype=torch.float64)
    """
    is_right = one_hot(labels.long(), logits.shape[-1]).bool()
    right = logits.double().masked_fill(~is_right, -torch.inf).amax(-1)
    return right - logits.double().masked_fill(is_right, -torch.inf).amax(-1)


class LogitScale(NamedTuple):
    """Size of the logits, each pair's mean over the classes taken out; in units of the logits.

    Attributes:
        mean_abs: Mean of |z|.
        std: Root mean square of z.
    """

    mean_abs: Float[Tensor, "*stack"]
    std: Float[Tensor, "*stack"]


def logit_scale(logits: Float[Tensor, "*stack pair c"]) -> LogitScale:
    """Mean |z| and standard deviation of the class-centred logits z, over all pairs and classes.

    Under cross-entropy the weight norm and this scale rise together; a claim about the one needs the other.

    Example:
        >>> mean_abs, std = logit_scale(torch.tensor([[11.0, 9.0], [-2.0, 2.0]]))
        >>> round(mean_abs.item(), 4), round(std.item(), 4)
        (1.5, 1.5811)
    """
    centred = logits.double() - logits.double().mean(-1, keepdim=True)
    return LogitScale(centred.abs().mean((-2, -1)), centred.square().mean((-2, -1)).sqrt())


def picked(where: Bool[Tensor, " pair"]) -> Int[Tensor, " picked"]:
    """The pairs of a mask, as indices; at least one."""
    pairs = where.nonzero().flatten()
    if not len(pairs):
        raise ValueError("where must pick at least one pair; it is False everywhere")
    return pairs
