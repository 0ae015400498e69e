"""Constraints on the weights, applied after the optimizer's step to a whole stack of runs.

A constraint is a frozen object: `start(weights)` gives the state in which nothing is held, and
`__call__(motion, weights, state)` changes the weights in place and gives the next state, a small dict of
tensors `[run ...]` that is saved with the resume state. When a hold begins, at a step or at an event, is for
the caller to say: a run is held once its state is no longer NaN. Runs that are not held keep their bits.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.geometry import arc, direction, end, to_radius, transported
from circuitgrok.interventions.spheres import Spheres
from circuitgrok.tree import Params, along, dot, norm, rescale

ConstraintState = dict[str, Tensor]


class Motion(NamedTuple):
    """What happened in the step that a constraint corrects.

    Attributes:
        begins: The runs whose hold begins with these weights.
        before: The weights before the step, copies; None if there was none yet.
        moment: The optimizer's first moment under the weights' names, views `[run ...]`; None if it has none.
    """

    begins: Bool[Tensor, " run"]
    before: Params | None
    moment: Params | None


class Constraint(Protocol):
    """What holds weights of a stack of runs."""

    def start(self, weights: Params) -> ConstraintState:
        """The state in which no run is held: NaN."""
        ...

    def __call__(self, motion: Motion, weights: Params, state: ConstraintState) -> ConstraintState:
        """Let the runs begin that begin, correct every held run's weights in place, and remember."""
        ...


@dataclass(frozen=True)
class OnSpheres:
    """What holds the norms of vectors: `spheres` says which vectors, and at or below which norms."""

    spheres: Spheres

    def start(self, weights: Params) -> ConstraintState:
        """The radii, unset (NaN)."""
        return self.spheres.start(weights)


@dataclass(frozen=True)
class FixedNorm(OnSpheres):
    """Hold vectors of weights at constant norm, by rescaling after the optimizer's step.

    The radial part of the optimizer's step is thereby discarded; moments are left alone.

    Example:
        >>> spheres = Spheres("global", radius=torch.tensor([torch.nan]), factor=torch.tensor([2.0]))
        >>> hold, weights = FixedNorm(spheres), {"w": torch.tensor([[3.0, 4.0]])}
        >>> state = hold(Motion(torch.tensor([True]), None, None), weights, hold.start(weights))
        >>> weights["w"].add_(torch.tensor([[0.0, 1.0]])).tolist()
        [[6.0, 9.0]]
        >>> state = hold(Motion(torch.tensor([False]), None, None), weights, state)
        >>> weights["w"].norm().round(decimals=5)
        tensor(10.)

    Source: Liu et al. 2022 (arXiv:2210.01117), constrained optimisation: all weights, from the initial norm on.
    """

    def __call__(self, motion: Motion, weights: Params, state: ConstraintState) -> ConstraintState:
        """Fix the radii of runs that begin, and bring every held vector back to its own."""
        radii = self.spheres.begin(motion.begins, weights, state)
        for name, every in self.spheres.vectors(weights).items():
            rescale(every.tensors, to_radius(radii[name], *every))
        return radii


@dataclass(frozen=True)
class NormCap(OnSpheres):
    """Hold vectors of weights below a norm, by shortening those that are longer after the optimizer's step.

    Nothing is ever lengthened, and moments are left alone.

    Source: the hidden-norm cap of PeterPonyu/muon-norm-cap-grokking, a ceiling for each weight matrix.
    """

    def __call__(self, motion: Motion, weights: Params, state: ConstraintState) -> ConstraintState:
        """Fix the ceilings of runs that begin, and bring every vector down that is above its own."""
        ceilings = self.spheres.begin(motion.begins, weights, state)
        for name, every in self.spheres.vectors(weights).items():
            rescale(every.tensors, to_radius(ceilings[name], *every).clamp(max=1.0))
        return ceilings


@dataclass(frozen=True)
class Geodesic(OnSpheres):
    """Hold vectors of weights at constant norm, by motion along great circles of their spheres.

    The tangential part of the applied step is taken as a velocity: the weights turn by |v_t| / r, where
    rescaling would turn them by atan(|v_t| / (r + v_r)). When a hold begins the weights are only rescaled.

    Attributes:
        transport: Whether the first moment is carried along, so that it stays tangential and keeps the length
            of its tangential part; its radial part is dropped. Otherwise it is left alone.

    Source: Absil, Mahony, Sepulchre 2008, sections 5.4 (exponential map) and 8.1 (transport); see `geometry`.
    """

    transport: bool

    def __call__(self, motion: Motion, weights: Params, state: ConstraintState) -> ConstraintState:
        """Bring runs that begin to their spheres, and take those on them to the end of their arcs.

        Raises:
            ValueError: A moment is to be transported, and there is none.
        """
        radii = self.spheres.begin(motion.begins, weights, state)
        if bool(motion.begins.any()):
            for name, every in self.spheres.vectors(weights).items():
                begins = along(motion.begins, radii[name])
                rescale(every.tensors, torch.where(begins, to_radius(radii[name], *every), 1.0))
        if motion.before is None:
            return radii
        if self.transport and motion.moment is None:
            raise ValueError("transport needs an optimizer with a first moment, and this one has none: turn it off")
        before = self.spheres.vectors(motion.before)
        moment = self.spheres.vectors(motion.moment or {})
        for name, every in self.spheres.vectors(weights).items():
            at, radius = before[name].tensors, radii[name]
            moves = (radius > 0) & ~along(motion.begins, radius) & (norm(at, every.axes) != 0)
            path = arc(at, every.tensors, radius)
            _put(every.tensors, end(path, radius), moves)
            if self.transport:
                _put(moment[name].tensors, transported(path, moment[name].tensors), moves)
        return radii


@dataclass(frozen=True)
class FixedDirection:
    """Hold each run's direction, so that only its norm may change: motion along a ray, radial training.

    After the optimizer's step the weights are replaced by their projection on the direction they had when the
    hold began. The tangential part of the step is thereby discarded; moments are left alone.
    """

    def start(self, weights: Params) -> ConstraintState:
        """The direction under each tensor's name, unset (NaN)."""
        return {name: torch.full_like(value, torch.nan, dtype=torch.float64) for name, value in weights.items()}

    def __call__(self, motion: Motion, weights: Params, state: ConstraintState) -> ConstraintState:
        """Fix the direction of runs that begin, and bring every held run back to its ray."""
        if bool(motion.begins.any()):
            u = direction(weights, axes=1)
            state = {name: torch.where(along(motion.begins, u[name]), u[name], old) for name, old in state.items()}
        radius = dot(weights, state, axes=1)  # NaN without a direction
        _put(weights, {name: along(radius, u) * u for name, u in state.items()}, ~radius.isnan())
        return state


@dataclass(frozen=True)
class RescaleOnce:
    """Multiply all weights of a run by a factor when its turn comes, and hold nothing afterwards.

    Attributes:
        factor: What multiplies the weights, biases included, `[run]`.
    """

    factor: Float[Tensor, " run"]

    def start(self, weights: Params) -> ConstraintState:
        """Whether it is done, for each run: NaN for no, 1 for yes."""
        return {"done": torch.full_like(self.factor, torch.nan)}

    def __call__(self, motion: Motion, weights: Params, state: ConstraintState) -> ConstraintState:
        """Multiply the weights of runs that begin and are not done."""
        now = motion.begins & state["done"].isnan()
        rescale(weights, torch.where(now, self.factor, 1.0))
        return {"done": torch.where(now, 1.0, state["done"])}


def _put(tensors: Params, wanted: Params, where: Tensor) -> None:
    for name, value in tensors.items():
        value.copy_(torch.where(along(where, value), wanted[name].to(value.dtype), value))
