"""Losses in float64: a float32 log-softmax cannot tell losses below 1e-7 apart."""

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


def training_loss(logits: Float[Tensor, "run pair c"], labels: Int[Tensor, "run pair"]) -> Float[Tensor, " run"]:
    """Mean of `cross_entropy` over the pairs of each run, with a hand-written first derivative.

    A network that fits its training set has probabilities such as e^-90, and their float32 gradients are
    subnormal numbers, with which a processor multiplies many times slower: a step of a converged `nanda` run
    took six times as long. Probabilities below 10^12 times the smallest normal number of the logits' type
    (1e-26 in float32) therefore give gradients of exactly zero. Beside gradients of 1e-20 and more that is
    below the rounding of any sum they are in.

    Example:
        >>> logits = torch.tensor([[[90.0, 0.0, 0.0]]], requires_grad=True)
        >>> torch.autograd.grad(training_loss(logits, torch.tensor([[1]])).sum(), logits)[0]
        tensor([[[ 1., -1.,  0.]]])
    """
    return _TrainingLoss.apply(logits, labels.unsqueeze(-1))  # pyright: ignore


class _TrainingLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, index):
        log_probs = torch.log_softmax(logits, dim=-1, dtype=torch.float64)
        ctx.save_for_backward(log_probs, index)
        ctx.dtype = logits.dtype
        return -log_probs.gather(-1, index).squeeze(-1).mean(-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        log_probs, index = ctx.saved_tensors
        slope = log_probs.exp()
        torch.threshold_(slope, 1e12 * torch.finfo(ctx.dtype).tiny, 0.0)
        slope.scatter_add_(-1, index, slope.new_full((1, 1, 1), -1.0).expand(index.shape))
        return slope.mul_((grad / index.shape[1])[:, None, None]).to(ctx.dtype), None
