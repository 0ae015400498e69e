"""Transforms of the gradient, between the backward pass and the optimizer, for a whole stack of runs.

A transform is a frozen object with `__call__(gradients, weights, state) -> state`: it changes `gradients` in
place and keeps what it must remember in a small dict of tensors, run axis first, that is saved with the resume
state. Transforms are called in order, and the optimizer sees what the last one left:

    GrokfastEMA          g + amplitude m,  m <- decay m + (1 - decay) g
    GrokfastMA           g + amplitude (mean of the last `window` gradients)
    OrthoGrad            g - <w, g> / <w, w> w,  all tensors of a run as one vector
    OrthoGradPerTensor   the same, each tensor for itself

Elements are only added, multiplied and divided, each of which is rounded once wherever the element lies in memory
(a fused multiply-add is not): so a run has the same bits in a stack as alone, though its numbers lie elsewhere.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.geometry import across
from circuitgrok.tree import Params, along, norm, ravel, unravel

GradientState = dict[str, Tensor]


@runtime_checkable
class GradientTransform(Protocol):
    """What is done to the gradients of a stack before the optimizer sees them."""

    def start(self, gradients: Params) -> GradientState:
        """State before the first step, from the shapes of the gradients `[run ...]`."""
        ...

    def __call__(self, gradients: Params, weights: Params, state: GradientState) -> GradientState:
        """Change the gradients in place; the state for the next step."""
        ...


@dataclass(frozen=True)
class GrokfastEMA:
    """Add a multiple of the gradient's moving average, which lets the slow part of the gradient count for more.

    The average begins as the first gradient, and not as zero, so that a constant gradient is multiplied by
    1 + amplitude from the first step on. A run of amplitude 0 keeps its gradient bit for bit.

    Attributes:
        amplitude: Multiplier of the average (lambda in the paper; 2 there).
        decay: What the average keeps of itself at a step (alpha in the paper; 0.98 there), in 0..1.

    Example:
        >>> transform = GrokfastEMA(amplitude=torch.tensor([2.0]), decay=torch.tensor([0.5]))
        >>> gradients = {"w": torch.tensor([[1.0, -4.0]])}
        >>> state = transform(gradients, {}, transform.start(gradients))
        >>> gradients["w"]
        tensor([[  3., -12.]])

    Source: J. Lee et al., "Grokfast" (arXiv:2405.20233); the first average is that of the released code.
    """

    amplitude: Float[Tensor, " run"]
    decay: Float[Tensor, " run"]

    def start(self, gradients: Params) -> GradientState:
        """No gradient seen yet, and so no average: the zeros are never read."""
        flat = ravel(gradients, axes=1)
        return {"mean": torch.zeros_like(flat), "seen": torch.zeros(len(flat), dtype=torch.int64, device=flat.device)}

    def __call__(self, gradients: Params, weights: Params, state: GradientState) -> GradientState:
        """Average the present gradient in, and add the average."""
        present = ravel(gradients, axes=1)
        past = torch.where(state["seen"][:, None] == 0, present, state["mean"])
        kept, new = (along(share.to(present.dtype), present) for share in (self.decay, 1 - self.decay))
        mean = kept * past + new * present
        _put(gradients, _amplified(present, mean, self.amplitude))
        return {"mean": mean, "seen": state["seen"] + 1}


@dataclass(frozen=True)
class GrokfastMA:
    """Add a multiple of the mean of the last gradients, the present one included.

    Until it has seen `window` gradients a run's gradient is left as it is: the mean over fewer is no slow part
    yet, and the released code waits too. A run of amplitude 0 keeps its gradient bit for bit. The state holds
    `window` times as many numbers as the weights, and its tensors are written in place.

    Attributes:
        amplitude: Multiplier of the mean (lambda in the paper; 5 there).
        window: Number of gradients that the mean is over, at least 1 (100 in the paper).

    Raises:
        ValueError: The window holds no gradient.

    Example:
        >>> transform = GrokfastMA(amplitude=torch.tensor([5.0]), window=2)
        >>> state = transform.start({"w": torch.zeros(1, 1)})
        >>> for value in (1.0, 3.0):
        ...     gradients = {"w": torch.tensor([[value]])}
        ...     state = transform(gradients, {}, state)
        ...     print(gradients["w"].item())
        1.0
        13.0

    Source: J. Lee et al., "Grokfast" (arXiv:2405.20233); the wait is that of the released code.
    """

    amplitude: Float[Tensor, " run"]
    window: int

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"the window of Grokfast-MA must hold at least one gradient; got {self.window}")

    def start(self, gradients: Params) -> GradientState:
        """A ring of `window` places, `[run window number]`, and how many gradients each run has seen."""
        flat = ravel(gradients, axes=1)
        ring = flat.new_zeros(len(flat), self.window, flat.shape[1])
        return {"ring": ring, "seen": torch.zeros(len(flat), dtype=torch.int64, device=flat.device)}

    def __call__(self, gradients: Params, weights: Params, state: GradientState) -> GradientState:
        """Put the present gradient in the place of the oldest, and add the mean."""
        present, ring, seen = ravel(gradients, axes=1), state["ring"], state["seen"]
        ring[torch.arange(len(seen), device=seen.device), seen % self.window] = present
        seen = seen + 1
        amplitude = torch.where(seen < self.window, 0.0, self.amplitude)
        _put(gradients, _amplified(present, ring.mean(1), amplitude))
        return {"ring": ring, "seen": seen}


@dataclass(frozen=True)
class OrthoGrad:
    """Drop the gradient's part along the weights, all trained tensors of a run taken as one vector.

    What is left cannot stretch the weights to first order, and still descends before any preconditioning; a
    preconditioned step along it is not across the weights again. The projection is done in float64. A run whose
    weights are all zero has no direction, and its gradient is left as it is.

    Attributes:
        rescale: Which runs give what is left the length that the gradient had, as the released code does. What
            is left of a gradient along the weights is rounding; its direction means nothing, and it becomes zero.

    Example:
        >>> gradients, weights = {"w": torch.tensor([[3.0, 4.0]])}, {"w": torch.tensor([[2.0, 0.0]])}
        >>> OrthoGrad(rescale=torch.tensor([True]))(gradients, weights, {})
        {}
        >>> gradients["w"]
        tensor([[0., 5.]])

    Source: L. Prieto et al., "Grokking at the Edge of Numerical Stability" (arXiv:2501.04697); the
    released code projects each tensor by itself (`OrthoGradPerTensor`).
    """

    rescale: Bool[Tensor, " run"]

    def start(self, gradients: Params) -> GradientState:
        """Nothing is remembered."""
        return {}

    def __call__(self, gradients: Params, weights: Params, state: GradientState) -> GradientState:
        """Project each run's gradient across its weights."""
        _project(gradients, weights, self.rescale)
        return {}


@dataclass(frozen=True)
class OrthoGradPerTensor:
    """Drop the part along the weights from the gradient of every tensor of each run, as the released code does.

    A tensor that is zero (a fresh bias) has no direction, and its gradient is left as it is.

    Attributes:
        rescale: Which runs give what is left of each tensor's gradient the length that it had.

    Source: as `OrthoGrad`.
    """

    rescale: Bool[Tensor, " run"]

    def start(self, gradients: Params) -> GradientState:
        """Nothing is remembered."""
        return {}

    def __call__(self, gradients: Params, weights: Params, state: GradientState) -> GradientState:
        """Project the gradient of each tensor across it."""
        for name, gradient in gradients.items():
            _project({name: gradient}, weights, self.rescale)
        return {}


def _amplified(present: Tensor, slow: Tensor, amplitude: Tensor) -> Tensor:
    """The sum, or the gradient itself where nothing is added: a sum with 0 would lose the sign of a zero."""
    of_run = along(amplitude.to(present.dtype), present)
    return torch.where(of_run == 0, present, present + of_run * slow)


def _put(gradients: Params, flat: Tensor) -> None:
    for name, value in unravel(flat, {name: gradient[0] for name, gradient in gradients.items()}).items():
        gradients[name].copy_(value)


def _project(gradients: Params, weights: Params, rescale: Tensor) -> None:
    g, w = ({"": ravel({name: tree[name] for name in gradients}, axes=1)} for tree in (gradients, weights))
    left, given = across(g, w, axes=1), g[""]
    length, rest = norm(g, axes=1), norm(left, axes=1)
    # Each sum of n products errs by at most n epsilons, quotient, product and difference by one each.
    is_rounding = rest <= (2 * given.shape[1] + 3) * torch.finfo(torch.float64).eps * length
    factor = torch.where(is_rounding, 0.0, torch.where(rescale, length / rest, 1.0))
    turned = along(factor, given) * left[""]
    _put(gradients, torch.where(along(norm(w, axes=1) > 0, given), turned.to(given.dtype), given))
