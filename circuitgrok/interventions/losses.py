"""Losses: functions of logits in float64, and the objects among which a run's training loss is chosen.

A float32 log-softmax cannot tell losses below 1e-7 apart, and then says 0; so what is recorded is float64, and
so is what is differentiated, unless the loss of low precision is what is studied. A `Loss` acts on a stack of
runs, which share no arithmetic. A temperature is the caller's: the loss of logits / temperature.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from circuitgrok import apart
from circuitgrok.device import is_elsewhere

Labels = Int[Tensor, "*labelled pair"] | Float[Tensor, "*labelled pair c"]  # classes, or what the outputs are to be


@runtime_checkable
class Loss(Protocol):
    """What a run minimises, and what its history says of it."""

    def training(self, logits: Float[Tensor, "run pair c"], labels: Labels) -> Float[Tensor, " run"]:
        """The loss that is differentiated, in its own precision."""
        ...

    def exact(self, logits: Float[Tensor, "*stack pair c"], labels: Labels) -> Float[Tensor, "*stack"]:
        """The same in float64 and on the labels as they are: what the history records."""
        ...


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


def within_tolerance(
    outputs: Float[Tensor, "*stack pair c"], targets: Float[Tensor, "*labelled pair c"], tolerance: float
) -> Float[Tensor, "*stack"]:
    """Share of examples whose squared error, averaged over the outputs, is below a tolerance: accuracy of a regression.

    Args:
        outputs: One row per example, of one network or a stack.
        targets: What they are to be, shared by the stack or one table per network.
        tolerance: In the square of the targets' units.

    Example:
        >>> within_tolerance(torch.tensor([[0.0, 1.0], [0.0, 3.0]]), torch.zeros(2, 2), tolerance=1.0)
        tensor(0.5000, dtype=torch.float64)
    """
    near = (outputs.double() - targets.double()).square().mean(-1) < tolerance
    return near.double().mean(-1)


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
        slope = apart.exp(log_probs)
        torch.threshold_(slope, 1e12 * torch.finfo(ctx.dtype).tiny, 0.0)
        slope.scatter_add_(-1, index, slope.new_full((1, 1, 1), -1.0).expand(index.shape))
        share = (grad / index.shape[1])[:, None, None]
        if is_elsewhere(slope.device):  # at once in the format of the logits
            return torch.mul(slope, share, out=torch.empty_like(slope, dtype=ctx.dtype)), None
        slope.mul_(share)
        return slope if slope.dtype == ctx.dtype else apart.room(slope, *slope.shape, dtype=ctx.dtype).copy_(
            slope
        ), None


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross-entropy over the pairs, in nats, from a float64 log-softmax.

    Example:
        >>> CrossEntropy().exact(torch.zeros(3, 8), torch.tensor([0, 1, 2]))  # log 8
        tensor(2.0794, dtype=torch.float64)
    """

    def training(self, logits: Float[Tensor, "run pair c"], labels: Int[Tensor, "run pair"]) -> Float[Tensor, " run"]:
        """`training_loss`."""
        return training_loss(logits, labels)

    def exact(
        self, logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, "*labelled pair"]
    ) -> Float[Tensor, "*stack"]:
        """Mean of `cross_entropy`."""
        return cross_entropy(logits, labels).mean(-1)


@dataclass(frozen=True)
class SmoothedCrossEntropy:
    """Mean cross-entropy to smoothed labels: 1 - s on the label and s / C on each of the C classes, itself too.

    It is least where the label leads every rival by log(1 + C (1 - s) / s), so that logits stay bounded. Training with
    s = 0 has the bits of `CrossEntropy`. The history records the plain cross-entropy, which goes on past that
    margin towards 0.

    Attributes:
        smoothing: The share s, 0..1; one for all runs or `[run]`.

    Example:
        >>> logits = torch.tensor([[[2.0, 0.0]]])
        >>> loss = SmoothedCrossEntropy(torch.tensor([0.5]))  # 3/4 log(1 + e^-2) + 1/4 log(1 + e^2)
        >>> loss.training(logits, torch.tensor([[0]]))
        tensor([0.6269], dtype=torch.float64)

    Source: Szegedy et al. 2016 (arXiv:1512.00567), section 7, with a uniform prior.
    """

    smoothing: Float[Tensor, " run"] | float

    def training(self, logits: Float[Tensor, "run pair c"], labels: Int[Tensor, "run pair"]) -> Float[Tensor, " run"]:
        """`training_loss`, and s times the mean lead of the label over all classes, to which smoothing comes down."""
        # Cross-entropy to the uniform distribution, logsumexp(z) - mean(z), less that to the label, logsumexp(z) - z[y]
        of_label = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1).double()
        lead = of_label - logits.mean(-1, dtype=torch.float64)
        return training_loss(logits, labels) + self.smoothing * lead.mean(-1)

    def exact(
        self, logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, "*labelled pair"]
    ) -> Float[Tensor, "*stack"]:
        """Mean of `cross_entropy` to the labels as they are."""
        return cross_entropy(logits, labels).mean(-1)


@dataclass(frozen=True)
class LowPrecisionCrossEntropy:
    """Mean cross-entropy with softmax, logarithm, mean and gradient in a format in which the softmax can collapse.

    Each run's loss is what `torch.nn.functional.cross_entropy` makes of its logits cast to the format; it is neither
    rescaled nor shifted to save its gradient. Once the rivals' exponentials are lost beside the label's 1 (in
    float32 a margin of 24 ln 2 = 16.6 over one rival, in float16 11 ln 2 = 7.6), the loss is exactly 0 and so is the
    gradient of the label's logit. In float16 gradients underflow as well: what is below 2^-25 is lost, in a mean over
    1024 pairs that of a rival whose probability is below 2^-15, whether or not its pair has collapsed.

    Attributes:
        dtype: `torch.float32` or `torch.float16`.

    Example:
        >>> logits, labels = torch.tensor([[[8.0, 0.0]]]), torch.tensor([[0]])
        >>> LowPrecisionCrossEntropy(torch.float16).training(logits, labels)
        tensor([0.], dtype=torch.float16)
        >>> LowPrecisionCrossEntropy(torch.float16).exact(logits, labels)
        tensor([0.0003], dtype=torch.float64)

    Source: Prieto et al. 2025 (arXiv:2501.04697), where losses of several formats are compared.
    """

    dtype: torch.dtype

    def training(self, logits: Float[Tensor, "run pair c"], labels: Int[Tensor, "run pair"]) -> Float[Tensor, " run"]:
        """Torch's own cross-entropy of each run, in the format."""
        runs = zip(logits.to(self.dtype), labels, strict=True)
        return torch.stack([functional.cross_entropy(of_run, right) for of_run, right in runs])

    def exact(
        self, logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, "*labelled pair"]
    ) -> Float[Tensor, "*stack"]:
        """Mean of `cross_entropy`, which is float64."""
        return cross_entropy(logits, labels).mean(-1)


@dataclass(frozen=True)
class StableMax:
    """Mean cross-entropy, in nats, of probabilities s(z) / sum of s(z), with s(z) = 1 + z from 0 on, 1 / (1 - z) below.

    s grows like a power of the logit where softmax has an exponential: wrong classes keep a probability that no format
    rounds to 0, and the loss falls only as 1 / z. It is the softmax of log s(z) = sign(z) log(1 + |z|).

    Example:
        >>> StableMax().exact(torch.tensor([[1.0, -1.0]]), torch.tensor([0])).neg().exp()  # 2 / (2 + 1 / 2)
        tensor(0.8000, dtype=torch.float64)

    Source: Prieto et al. 2025 (arXiv:2501.04697).
    """

    def training(self, logits: Float[Tensor, "run pair c"], labels: Int[Tensor, "run pair"]) -> Float[Tensor, " run"]:
        """`training_loss` of log s(z), float64 throughout."""
        return training_loss(_LogS.apply(logits), labels)  # pyright: ignore

    def exact(
        self, logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, "*labelled pair"]
    ) -> Float[Tensor, "*stack"]:
        """Mean of `cross_entropy` of log s(z)."""
        return cross_entropy(_LogS.apply(logits), labels).mean(-1)  # pyright: ignore


class _LogS(torch.autograd.Function):
    """Sign(z) log(1 + |z|) in float64. Its slope is 1 / (1 + |z|), at 0 too, where autograd's for |z| would be 0."""

    @staticmethod
    def forward(ctx, logits):
        size = apart.room(logits, *logits.shape, dtype=torch.float64).copy_(logits).abs_()
        ctx.save_for_backward(size + 1)
        ctx.dtype = logits.dtype
        return size.log1p_().copysign_(logits)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad.div(*ctx.saved_tensors).to(ctx.dtype)


@dataclass(frozen=True)
class MeanSquares:
    """Mean squared error over pairs and outputs, in float64: the sum over C outputs is C times as much.

    Integer labels are classes, whose targets are 1 for the class and 0 elsewhere; real labels are the targets.

    Example:
        >>> MeanSquares().exact(torch.tensor([[0.5, 0.0, 0.0, 0.0]]), torch.tensor([0]))
        tensor(0.0625, dtype=torch.float64)

    Source: the mean is that of torch.nn.MSELoss.
    """

    def training(self, logits: Float[Tensor, "run pair c"], labels: Labels) -> Float[Tensor, " run"]:
        """The same as `exact`."""
        return self.exact(logits, labels)

    def exact(self, logits: Float[Tensor, "*stack pair c"], labels: Labels) -> Float[Tensor, "*stack"]:
        """The mean over pairs and outputs."""
        classes = torch.arange(logits.shape[-1], device=labels.device)
        targets = labels if labels.is_floating_point() else labels.unsqueeze(-1) == classes
        return (logits.double() - targets.double()).square().flatten(-2).mean(-1)


LOSSES: dict[str, Loss] = {"cross_entropy": CrossEntropy(), "stablemax": StableMax(), "mse": MeanSquares()}


def chosen(loss: str, precision: str, label_smoothing: float) -> Loss:
    """The loss that a config's objective names.

    >>> chosen("cross_entropy", "float64", 0.0)
    CrossEntropy()
    """
    if label_smoothing:
        return SmoothedCrossEntropy(label_smoothing)
    if precision != "float64":
        return LowPrecisionCrossEntropy(getattr(torch, precision))
    return LOSSES[loss]
