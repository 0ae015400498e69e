"""Losses per pair, in float64: a float32 log-softmax cannot tell losses below 1e-7 apart."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, "*labelled pair"]
) -> Float[Tensor, "*stack pair"]:
    """Cross-entropy of each pair, in nats, from a float64 log-softmax over the classes.

    Args:
        logits: One row per pair, of one network or a stack.
        labels: The right class of each pair, shared by the stack or one row per network.

    Example:
        A margin m over C - 1 equal rivals costs log(1 + (C - 1) exp(-m)):

        >>> logits = torch.tensor([[25.0, 0.0, 0.0]])
        >>> f"{cross_entropy(logits, torch.tensor([0])).item():.3e}"
        '2.778e-11'
    """
    log_probs = torch.log_softmax(logits, dim=-1, dtype=torch.float64)
    index = labels.expand(log_probs.shape[:-1]).unsqueeze(-1)
    return -log_probs.gather(-1, index).squeeze(-1)


def accuracy(logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, "*labelled pair"]) -> Float[Tensor, "*stack"]:
    """Share of pairs whose largest logit is the right class: an integer count over the number of pairs."""
    right = (logits.argmax(-1) == labels).sum(-1)
    return right.double() / logits.shape[-2]
