"""Numerical collapse of the softmax: how far a format has stopped seeing a stack's training batch."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from circuitgrok import apart
from circuitgrok.interventions.losses import LowPrecisionCrossEntropy


def collapse_columns(
    logits: Float[Tensor, "run pair c"], labels: Int[Tensor, "run pair"], dtype: torch.dtype
) -> dict[str, Float[Tensor, " run"]]:
    """Monitors of softmax collapse, for each run, in the format that its cross-entropy is taken in.

    Collapse begins where what the rivals add to the label's 1 in sum of exp(z - max) is lost: below 2^-24 in
    float32, 2^-11 in float16 and 2^-53 in float64, for one rival a margin of 16.6, 7.6 and 36.7. Many small rivals
    may each be lost although their sum would not be: that depends on the order in which torch adds them. From there
    on the label's logit has no gradient while those of the rivals still have one. Their sum, in exact arithmetic 0,
    then pushes all logits down together, and the norms of the features and of the unembedding up.

    Args:
        logits: As the loss sees them, after any temperature.
        labels: The right class of each pair.
        dtype: The format of the loss: `torch.float64`, `torch.float32` or `torch.float16`.

    Returns:
        In float64, all of the logits as they are in the format:
        `softmax_collapse`, share of pairs whose sum of exp(z - max) is exactly 1;
        `zero_losses`, share of pairs whose loss is exactly 0;
        `zero_gradients`, share of pairs that give the network no gradient at all: that of every logit is exactly 0,
        which takes rivals that have underflown too (of a single pair, margins of 104 in float32, 17.3 in float16);
        `margin_max` and `margin_min`, the largest and smallest margin of the right class over the best wrong one;
        `logit_scale`, the mean size of a logit;
        `gradient_sum`, the size of the sum over classes of the mean loss's gradient, as the network receives it:
        0 up to rounding and underflow for pairs that have not collapsed; one that has adds its rivals' probability
        over the number of pairs.

    Example:
        >>> logits, labels = torch.tensor([[[20.0, 0.0], [0.0, 0.0]]]), torch.tensor([[0, 0]])
        >>> found = collapse_columns(logits, labels, torch.float32)
        >>> found["softmax_collapse"].item(), found["margin_max"].item(), f"{found['gradient_sum'].item():.2e}"
        (0.5, 20.0, '1.03e-09')

    The sum of the gradient is e^-20 / 2 there: the pair of margin 20 pushes its rival down, and its label not up.

    Source: Prieto et al. 2025 (arXiv:2501.04697), for softmax collapse and zero losses.
    """
    z, index = logits.detach().to(dtype), labels.unsqueeze(-1)
    collapsed = apart.exp(z - z.amax(-1, keepdim=True)).sum(-1) == 1
    losses = functional.cross_entropy(z.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    margins = (z.gather(-1, index) - z.scatter(-1, index, -torch.inf).amax(-1, keepdim=True)).squeeze(-1).double()
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        loss = LowPrecisionCrossEntropy(dtype).training(leaf, labels).sum()
    [gradient] = torch.autograd.grad(loss, leaf)
    return {
        "softmax_collapse": collapsed.double().mean(-1),
        "zero_losses": (losses == 0).double().mean(-1),
        "zero_gradients": (gradient == 0).all(-1).double().mean(-1),
        "margin_max": margins.amax(-1),
        "margin_min": margins.amin(-1),
        "logit_scale": z.double().abs().flatten(1).mean(-1),
        "gradient_sum": gradient.double().flatten(1).sum(-1).abs(),
    }
