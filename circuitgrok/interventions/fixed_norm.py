"""The held norm: motion on spheres, by rescaling after a step or along great circles."""

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from circuitgrok.device import perhaps_any
from circuitgrok.geometry import arc, end, to_radius, transported
from circuitgrok.interventions.base import PER_RUN, State
from circuitgrok.interventions.constraints import (
    EVENT,
    GRAIN,
    Constraint,
    Event,
    Moved,
    RescaleOnce,
    begun_once,
    put,
)
from circuitgrok.interventions.limits import FixedDirection
from circuitgrok.interventions.spheres import Grain, Spheres
from circuitgrok.tree import Params, along, norm, rescale


class FixedNorm(Constraint):
    """Hold the weight norm constant: of all weights, of each tensor, or of each neuron's incoming weights.

    By `rescale` the vectors are brought back to their norms after the optimizer's step. The radial part of the step is
    thereby discarded; moments are left alone.

    By `geodesic` the tangential part of the applied step is taken as a velocity, and the vectors move along great
    circles: they turn by |v_t| / r, where rescaling would turn them by atan(|v_t| / (r + v_r)). When a hold begins the
    weights are only rescaled. With `norm_transport` the optimizer's first moment is carried along, so that it stays
    tangential and keeps the length of its tangential part; its radial part is dropped.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> hold, weights = applied([FixedNorm(norm_factor=2.0)]), {"w": torch.tensor([[3.0, 4.0]])}
        >>> state = hold(Moved(torch.tensor([True]), None, None), weights, hold.start(weights))
        >>> weights["w"].add_(torch.tensor([[0.0, 1.0]])).tolist()
        [[6.0, 9.0]]
        >>> state = hold(Moved(torch.tensor([False]), None, None), weights, state)
        >>> weights["w"].norm().round(decimals=5)
        tensor(10.)

    Source: Liu et al. 2022 (arXiv:2210.01117), constrained optimisation: all weights, from the initial norm on; for
    great circles Absil, Mahony, Sepulchre 2008, sections 5.4 (exponential map) and 8.1 (transport), see `geometry`.
    """

    kind = "fixed_norm"
    capturable = True
    off = False
    said = "norm held"
    mark = "-sphere"
    norm_grain: Grain = GRAIN
    norm_radius: Annotated[float | None, PER_RUN] = Field(
        default=None, gt=0, description="radius to hold; none: the one found"
    )
    norm_from_step: Annotated[int, PER_RUN] = Field(default=0, ge=0, description="step from which the norm is held")
    norm_factor: Annotated[float, PER_RUN] = Field(default=1.0, gt=0, description="hold this times the norm found")
    norm_motion: Literal["rescale", "geodesic"] = Field(
        default="rescale",
        description="rescale after the step, or move along the great circle of the step's tangential part",
    )
    norm_transport: bool = Field(default=False, description="geodesic: carry the optimizer's first moment along")
    hold_from_train_acc: Event = EVENT

    @property
    def begins_at(self) -> int | None:
        """Its step, unless an event is awaited."""
        return self.norm_from_step if self.hold_from_train_acc is None else None

    @property
    def begins_when(self) -> float | None:
        """Its event."""
        return self.hold_from_train_acc

    @property
    def looks_back(self) -> bool:
        """An arc begins where the step began."""
        return self.norm_motion == "geodesic"

    @model_validator(mode="after")
    def _is_one_motion(self) -> "FixedNorm":
        if self.norm_radius is not None and self.norm_factor != 1:
            raise ValueError("norm_radius is the radius itself: norm_factor multiplies one that is found")
        if self.norm_transport and self.norm_motion != "geodesic":
            raise ValueError("norm_transport needs norm_motion = geodesic: it carries the moment along a great circle")
        return begun_once(self, self.norm_from_step)

    def check(self, config: Any) -> None:
        """Nothing else may hold or pull what is held, and what is carried must be there."""
        super().check(config)
        if config.intervention(FixedDirection):
            raise ValueError("fixed_norm and fixed_direction together leave no motion: choose one")
        once = config.intervention(RescaleOnce)
        if once and once.rescale_at_step >= self.norm_from_step:
            raise ValueError(
                f"a norm that is held from step {self.norm_from_step} undoes a rescaling at step "
                f"{once.rescale_at_step}: rescale before, or hold norm_factor times the norm found"
            )
        if "target_norm" in config.kinds:
            raise ValueError("fixed_norm and target_norm contradict each other: a norm that is held cannot be pulled")
        if self.norm_transport and not config.optimizer.has_moment:
            raise ValueError(
                f"norm_transport needs a rule with one first moment (adam, lion, sgd with momentum): "
                f"{config.optimizer.rule} with momentum {config.optimizer.momentum:g} has none to carry"
            )

    @staticmethod
    def start(weights: Params, norm_grain: Grain) -> State:
        """The radii, unset (NaN)."""
        return Spheres.found(norm_grain, weights).start(weights)

    @staticmethod
    def rule(
        moved: Moved,
        weights: Params,
        state: State,
        norm_grain: Grain,
        norm_radius: Float[Tensor, " run"],
        norm_factor: Float[Tensor, " run"],
        norm_motion: str,
        norm_transport: bool,
    ) -> State:
        """Fix the radii of runs that begin, and bring every held vector to where it belongs on its sphere.

        Raises:
            ValueError: A moment is to be transported, and there is none.
        """
        spheres = Spheres(norm_grain, norm_radius, norm_factor)
        radii = spheres.begin(moved.begins, weights, state)
        if norm_motion == "geodesic":
            _along_arcs(spheres, radii, moved, weights, norm_transport)
        else:
            for name, every in spheres.vectors(weights).items():
                rescale(every.tensors, to_radius(radii[name], *every))
        return radii


def _along_arcs(spheres: Spheres, radii: Params, moved: Moved, weights: Params, transport: bool) -> None:
    """Bring runs that begin to their spheres, and take those on them to the end of their arcs, in place."""
    if perhaps_any(moved.begins):
        for name, every in spheres.vectors(weights).items():
            begins = along(moved.begins, radii[name])
            rescale(every.tensors, torch.where(begins, to_radius(radii[name], *every), 1.0))
    if moved.before is None:
        return
    if transport and moved.moment is None:
        raise ValueError("transport needs an optimizer with a first moment, and this one has none: turn it off")
    before = spheres.vectors(moved.before)
    moment = spheres.vectors(moved.moment or {})
    for name, every in spheres.vectors(weights).items():
        at, radius = before[name].tensors, radii[name]
        moves = (radius > 0) & ~along(moved.begins, radius) & (norm(at, every.axes) != 0)
        path = arc(at, every.tensors, radius)
        put(every.tensors, end(path, radius), moves)
        if transport:
            put(moment[name].tensors, transported(path, moment[name].tensors), moves)
