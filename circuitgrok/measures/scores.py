"""How well a network answers: loss, accuracy, margins and the size of its logits, on any set of pairs."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from circuitgrok.interventions import losses


def cross_entropy(
    logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, " pair"], where: Bool[Tensor, " pair"]
) -> Float[Tensor, "*stack"]:
    """Mean cross-entropy over the pairs that `where` picks, in nats, from a float64 log-softmax.

    Args:
        logits: One row per pair, any number of classes.
        labels: The right class of each pair.
        where: The pairs to average over.

    Returns:
        ln c for logits that are all equal.

    Raises:
        ValueError: No pair is picked.

    Example:
        >>> pairs = torch.ones(4, dtype=torch.bool)
        >>> cross_entropy(torch.zeros(4, 2), torch.tensor([0, 1, 1, 0]), pairs).round(decimals=4)
        tensor(0.6931, dtype=torch.float64)
    """
    pairs = picked(where)
    return losses.cross_entropy(logits[..., pairs, :], labels[pairs]).mean(-1)


def accuracy(
    logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, " pair"], where: Bool[Tensor, " pair"]
) -> Float[Tensor, "*stack"]:
    """Share of the pairs that `where` picks whose largest logit is the right one: a count over a count.

    Args:
        logits: One row per pair, any number of classes. Of equal logits the first one counts.
        labels: The right class of each pair.
        where: The pairs to count.

    Returns:
        0..1, exactly 1 if all are right.

    Raises:
        ValueError: No pair is picked.

    Example:
        >>> pairs = torch.tensor([True, True, True, False])
        >>> accuracy(torch.eye(4), torch.tensor([0, 1, 3, 3]), pairs).round(decimals=4)
        tensor(0.6667, dtype=torch.float64)
    """
    pairs = picked(where)
    return losses.accuracy(logits[..., pairs, :], labels[pairs])


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


class MarginSummary(NamedTuple):
    """Margins over a set of pairs, in units of the logits.

    Attributes:
        mean: Mean margin.
        min: Smallest margin: above 0 exactly if every pair is right.
    """

    mean: Float[Tensor, "*stack"]
    min: Float[Tensor, "*stack"]


def margin_summary(
    logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, " pair"], where: Bool[Tensor, " pair"]
) -> MarginSummary:
    """Mean and smallest margin over the pairs that `where` picks.

    Raises:
        ValueError: No pair is picked.

    Example:
        >>> logits = torch.tensor([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0]])
        >>> mean, smallest = margin_summary(logits, torch.tensor([1, 2]), torch.tensor([True, True]))
        >>> mean.item(), smallest.item()
        (0.0, -3.0)
    """
    pairs = picked(where)
    margins = margin(logits[..., pairs, :], labels[pairs])
    return MarginSummary(margins.mean(-1), margins.amin(-1))


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
