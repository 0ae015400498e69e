"""Constraints on the weights, applied after the optimizer's step to a whole stack of runs.

A constraint is a frozen object with `__call__(step, weights, state) -> state`: it changes `weights`
in place and keeps what it must remember (radii) in a small dict of tensors that is saved with the
resume state. Runs of one stack that are not constrained are multiplied by exactly 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from circuitgrok.tree import Params, dot

ConstraintState = dict[str, Tensor]


@dataclass(frozen=True)
class FixedNorm:
    """Hold each run at constant weight norm, by rescaling after the optimizer's step.

    All trained tensors count, biases and embeddings included. The radius is the norm found at
    `from_step`, or the one given. The radial part of the optimizer's step is thereby discarded;
    moments are left alone. Source: Liu et al. 2022 (arXiv:2210.01117), constrained optimisation.

    Attributes:
        on: Which runs are held, `[run]`.
        from_step: First step after which a run is held, `[run]`; at 0 the initial norm is the radius.
        radius: The radius to hold, `[run]`, NaN for the norm found at `from_step`.
    """

    on: Tensor
    from_step: Tensor
    radius: Tensor

    def start(self, weights: Params) -> ConstraintState:
        """State before the first step: one radius per run, unset (NaN)."""
        return {"radius": torch.full_like(self.radius, torch.nan)}

    def __call__(self, step: int, weights: Params, state: ConstraintState) -> ConstraintState:
        """Fix the radius of runs that begin at `step`, and bring every held run back to its radius."""
        norms = dot(weights, weights, axes=1).sqrt()
        begins = self.on & (self.from_step == step)
        radius = torch.where(begins, torch.where(self.radius.isnan(), norms, self.radius), state["radius"])
        _rescale(weights, torch.where(self.on & ~radius.isnan(), radius / norms, 1.0))
        return {"radius": radius}


@dataclass(frozen=True)
class FixedNormPerTensor:
    """Hold the norm of every tensor of each run, by rescaling after the optimizer's step.

    A tensor that is zero when the constraint begins (a fresh bias) has no direction and is left free.
    A given radius is shared among the tensors in the proportions found at `from_step`.

    Attributes:
        on: Which runs are held, `[run]`.
        from_step: First step after which a run is held, `[run]`.
        radius: Global radius to hold, `[run]`, NaN for the one found at `from_step`.
    """

    on: Tensor
    from_step: Tensor
    radius: Tensor

    def start(self, weights: Params) -> ConstraintState:
        """State before the first step: one radius per run and tensor, unset (NaN)."""
        return {name: torch.full_like(self.radius, torch.nan) for name in weights}

    def __call__(self, step: int, weights: Params, state: ConstraintState) -> ConstraintState:
        """Fix the radii of runs that begin at `step`, and bring every held tensor back to its own."""
        total = dot(weights, weights, axes=1).sqrt()
        share = torch.where(self.radius.isnan(), 1.0, self.radius / total)
        begins, radii = self.on & (self.from_step == step), {}
        for name, value in weights.items():
            tensor = {name: value}
            found = dot(tensor, tensor, axes=1).sqrt()
            radii[name] = torch.where(begins, share * found, state[name])
            held = self.on & (radii[name] > 0) & (found > 0)
            _rescale(tensor, torch.where(held, radii[name] / found, 1.0))
        return radii


@dataclass(frozen=True)
class FixedDirection:
    """Hold each run's direction, so that only its norm may change: motion along a ray, radial training.

    After the optimizer's step the weights are replaced by their projection on the direction found at
    `from_step`. The tangential part of the step is thereby discarded; moments are left alone.

    Attributes:
        on: Which runs are held, `[run]`.
        from_step: First step after which a run is held, `[run]`; at 0 the initial direction is held.
    """

    on: Tensor
    from_step: Tensor

    def start(self, weights: Params) -> ConstraintState:
        """State before the first step: the direction under each tensor's name, unset (NaN)."""
        return {name: torch.full_like(value, torch.nan, dtype=torch.float64) for name, value in weights.items()}

    def __call__(self, step: int, weights: Params, state: ConstraintState) -> ConstraintState:
        """Fix the direction of runs that begin at `step`, and bring every held run back to its ray."""
        begins = self.on & (self.from_step == step)
        if bool(begins.any()):
            norms = dot(weights, weights, axes=1).sqrt()
            state = {
                name: torch.where(_along(begins, value), value.double() / _along(norms, value), state[name])
                for name, value in weights.items()
            }
        held = self.on & (self.from_step <= step)
        radius = dot(weights, state, axes=1)
        for name, value in weights.items():
            on_ray = (_along(radius, value) * state[name]).to(value.dtype)
            value.copy_(torch.where(_along(held, value), on_ray, value))
        return state


Constraint = FixedNorm | FixedNormPerTensor | FixedDirection


def _along(per_run: Tensor, like: Tensor) -> Tensor:
    """One number per run, ready to meet a tensor of the stack."""
    return per_run.view(-1, *[1] * (like.ndim - 1))


def _rescale(weights: Params, factor: Tensor) -> None:
    for value in weights.values():
        value.mul_(_along(factor.to(value.dtype), value))
