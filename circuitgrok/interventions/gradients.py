"""Transforms of the gradient, between the backward pass and the optimizer, for a whole stack of runs.

The rule of a transform changes `gradients` in place and gives what it must remember, a small dict of tensors, run axis
first, that is saved with the resume state; what it remembers before the first step is its `start`. Transforms act in
the order in which they stand here, and the optimizer sees what the last one left:

    GradientNoise  g + gradient_noise (normal numbers)
    GrokfastEMA    g + grokfast_ema m,  m <- decay m + (1 - decay) g
    GrokfastMA     g + grokfast_ma (mean of the last `grokfast_window` gradients)
    OrthoGrad      g - <w, g> / <w, w> w,  all tensors of a run as one vector, or each for itself

Elements are only added, multiplied and divided, each of which is rounded once wherever the element lies in memory
(a fused multiply-add is not): so a run has the same bits in a stack as alone, though its numbers lie elsewhere.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from circuitgrok.geometry import across
from circuitgrok.interventions.base import PER_RUN, Intervention, State
from circuitgrok.interventions.noise import TANGENTIAL, IsTangential, Size, drawn
from circuitgrok.tree import Params, along, norm, ravel, unravel


def _nothing(gradients: Params) -> State:
    return {}


class GradientTransform(Intervention):
    """What is done to the gradients of a stack before the optimizer sees them.

    `rule(gradients, weights, state)` changes the gradients `[run ...]` in place and gives the next state;
    `start(gradients)` is what is remembered before the first step, from their shapes: nothing, if a kind says no more.

    Attributes:
        sees_all: Whether the rule also gets `whole`, the gradient of the mean loss of all training pairs.
    """

    section: ClassVar[str] = "transforms"
    sees_all: ClassVar[bool] = False
    start: ClassVar[Callable[..., State]] = staticmethod(_nothing)


class GradientNoise(GradientTransform):
    """Noise added to the gradient, before the optimizer makes a step of it (and Adam divides by its size).

    Of tangential noise only the part across the weights is taken; the gradient itself is not projected. It comes before
    the other transforms.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> from circuitgrok.interventions.noise import streams
        >>> gradients, weights = {"w": torch.zeros(1, 2)}, {"w": torch.tensor([[2.0, 0.0]])}
        >>> add = applied([GradientNoise(gradient_noise=1.0, noise_tangential=True)])
        >>> add(gradients, weights, {}, generators=streams([0], "gradient"))
        {}
        >>> gradients["w"] != 0
        tensor([[False,  True]])
    """

    kind = "gradient_noise"
    capturable = True
    section = "noise"
    said = "gradient noise {:g}"
    stream = "gradient"
    gradient_noise: Size = Field(description="noise that is added to the gradient")
    noise_tangential: IsTangential = TANGENTIAL

    @staticmethod
    @torch.no_grad()
    def rule(
        gradients: Params,
        weights: Params,
        state: State,
        generators: Sequence[torch.Generator],
        gradient_noise: Float[Tensor, " run"],
        noise_tangential: Bool[Tensor, " run"],
    ) -> State:
        """Add to the gradients in place."""
        noise = drawn(gradient_noise, noise_tangential, gradients, weights, generators)
        for name, value in gradients.items():
            value.add_(noise[name])
        return {}


class GrokfastEMA(GradientTransform):
    """Add a multiple of the gradient's moving average, which lets the slow part of the gradient count for more.

    The average begins as the first gradient, and not as zero, so that a constant gradient is multiplied by
    1 + grokfast_ema from the first step on. A run of multiplier 0 keeps its gradient bit for bit. The multiplier is
    lambda in the paper, 2 there; the decay is alpha there, 0.98.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> transform = applied([GrokfastEMA(grokfast_ema=2.0, grokfast_decay=0.5)])
        >>> gradients = {"w": torch.tensor([[1.0, -4.0]])}
        >>> state = transform(gradients, {}, transform.start(gradients))
        >>> gradients["w"]
        tensor([[  3., -12.]])

    Source: J. Lee et al., "Grokfast" (arXiv:2405.20233); the first average is that of the released code.
    """

    kind = "grokfast_ema"
    capturable = True
    said = "grokfast {:g}"
    grokfast_ema: Annotated[float, PER_RUN] = Field(
        ge=0, description="Grokfast: add this times the gradient's moving average"
    )
    grokfast_decay: Annotated[float, PER_RUN] = Field(default=0.98, ge=0, lt=1, description="decay of that average")

    @property
    def copies(self) -> int:
        """The average."""
        return 1

    @staticmethod
    def start(gradients: Params) -> State:
        """No gradient seen yet, and so no average: the zeros are never read."""
        flat = ravel(gradients, axes=1)
        return {"mean": torch.zeros_like(flat), "seen": torch.zeros(len(flat), dtype=torch.int64, device=flat.device)}

    @staticmethod
    def rule(
        gradients: Params,
        weights: Params,
        state: State,
        grokfast_ema: Float[Tensor, " run"],
        grokfast_decay: Float[Tensor, " run"],
    ) -> State:
        """Average the present gradient in, and add the average."""
        present = ravel(gradients, axes=1)
        past = torch.where(state["seen"][:, None] == 0, present, state["mean"])
        kept, new = (along(share.to(present.dtype), present) for share in (grokfast_decay, 1 - grokfast_decay))
        mean = kept * past + new * present
        _put(gradients, _amplified(present, mean, grokfast_ema))
        return {"mean": mean, "seen": state["seen"] + 1}


class GrokfastMA(GradientTransform):
    """Add a multiple of the mean of the last gradients, the present one included.

    Until it has seen `grokfast_window` gradients a run's gradient is left as it is: the mean over fewer is no slow
    part yet, and the released code waits too. A run of multiplier 0 keeps its gradient bit for bit. The state holds
    `grokfast_window` times as many numbers as the weights, and its tensors are written in place. In the paper the
    multiplier, lambda, is 5 and the window 100.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> transform = applied([GrokfastMA(grokfast_ma=5.0, grokfast_window=2)])
        >>> state = transform.start({"w": torch.zeros(1, 1)})
        >>> for value in (1.0, 3.0):
        ...     gradients = {"w": torch.tensor([[value]])}
        ...     state = transform(gradients, {}, state)
        ...     print(gradients["w"].item())
        1.0
        13.0

    Source: J. Lee et al., "Grokfast" (arXiv:2405.20233); the wait is that of the released code.
    """

    kind = "grokfast_ma"
    capturable = True
    said = "grokfast-ma {:g}"
    grokfast_ma: Annotated[float, PER_RUN] = Field(ge=0, description="Grokfast-MA: add this times the mean gradient")
    grokfast_window: int = Field(default=100, ge=1, description="steps that Grokfast-MA takes the mean of")

    @property
    def copies(self) -> int:
        """The window."""
        return self.grokfast_window

    @staticmethod
    def start(gradients: Params, grokfast_window: int) -> State:
        """A ring of `grokfast_window` places, `[run window number]`, and how many gradients each run has seen."""
        flat = ravel(gradients, axes=1)
        ring = flat.new_zeros(len(flat), grokfast_window, flat.shape[1])
        return {"ring": ring, "seen": torch.zeros(len(flat), dtype=torch.int64, device=flat.device)}

    @staticmethod
    def rule(
        gradients: Params, weights: Params, state: State, grokfast_ma: Float[Tensor, " run"], grokfast_window: int
    ) -> State:
        """Put the present gradient in the place of the oldest, and add the mean."""
        present, ring, seen = ravel(gradients, axes=1), state["ring"], state["seen"]
        ring[torch.arange(len(seen), device=seen.device), seen % grokfast_window] = present
        seen = seen + 1
        amplitude = torch.where(seen < grokfast_window, 0.0, grokfast_ma)
        _put(gradients, _amplified(present, ring.mean(1), amplitude))
        return {"ring": ring, "seen": seen}


class OrthoGrad(GradientTransform):
    """Drop the gradient's part along the weights, of all trained tensors as one vector or of each for itself.

    What is left cannot stretch the weights to first order, and still descends before any preconditioning; a
    preconditioned step along it is not across the weights again. The projection is done in float64. What has no
    direction, being zero (a fresh bias), keeps its gradient as it is. `orthograd_rescale` gives what is left the
    length that the gradient had, as the released code does. What is left of a gradient along the weights is rounding;
    its direction means nothing, and it becomes zero.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> gradients, weights = {"w": torch.tensor([[3.0, 4.0]])}, {"w": torch.tensor([[2.0, 0.0]])}
        >>> applied([OrthoGrad(orthograd="global")])(gradients, weights, {})
        {}
        >>> gradients["w"]
        tensor([[0., 5.]])

    Source: L. Prieto et al., "Grokking at the Edge of Numerical Stability" (arXiv:2501.04697); the
    released code projects each tensor by itself.
    """

    kind = "orthograd"
    capturable = True
    off = "off"
    said = "orthograd {}"
    orthograd: Literal["tensor", "global"] = Field(
        description="drop the gradient's part along the weights, tensor by tensor or of all as one"
    )
    orthograd_rescale: Annotated[bool, PER_RUN] = Field(
        default=True, description="OrthoGrad gives what is left the length it had"
    )

    @staticmethod
    def rule(
        gradients: Params, weights: Params, state: State, orthograd: str, orthograd_rescale: Bool[Tensor, " run"]
    ) -> State:
        """Project each run's gradient across its weights."""
        one_by_one = [{name: gradient} for name, gradient in gradients.items()]
        for together in [gradients] if orthograd == "global" else one_by_one:
            _project(together, weights, orthograd_rescale)
        return {}


def _amplified(present: Tensor, slow: Tensor, amplitude: Tensor) -> Tensor:
    """The sum, or the gradient itself where nothing is added: a sum with 0 would lose the sign of a zero."""
    of_run = along(amplitude.to(present.dtype), present)
    return torch.where(of_run == 0, present, present + of_run * slow)


def _put(gradients: Params, flat: Tensor) -> None:
    for name, value in unravel(flat, {name: gradient[0] for name, gradient in gradients.items()}).items():
        gradients[name].copy_(value)


def _project(gradients: Params, weights: Params, rescale: Tensor) -> None:
    """Take each run's part along its weights out of its gradient, in place; all tensors given are one vector."""
    g, w = ({"": ravel({name: tree[name] for name in gradients}, axes=1)} for tree in (gradients, weights))
    left, given = across(g, w, axes=1), g[""]
    length, rest = norm(g, axes=1), norm(left, axes=1)
    # Each sum of n products errs by at most n epsilons, quotient, product and difference by one each.
    is_rounding = rest <= (2 * given.shape[1] + 3) * torch.finfo(torch.float64).eps * length
    factor = torch.where(is_rounding, 0.0, torch.where(rescale, length / rest, 1.0))
    turned = along(factor, given) * left[""]
    _put(gradients, torch.where(along(norm(w, axes=1) > 0, given), turned.to(given.dtype), given))
