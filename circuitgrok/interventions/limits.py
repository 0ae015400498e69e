"""What limits weights and holds no norm: a cap on norms, a direction that is kept.

In a run's order they come after what is done once (`constraints`), so that a rescaling or a kick is capped, and before
the held norm.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from circuitgrok.device import perhaps_any
from circuitgrok.geometry import direction, to_radius
from circuitgrok.interventions.base import PER_RUN, State
from circuitgrok.interventions.constraints import EVENT, GRAIN, Constraint, Event, Moved, begun_once, put
from circuitgrok.interventions.spheres import Grain, Spheres
from circuitgrok.tree import Params, along, dot, rescale


class NormCap(Constraint):
    """Hold vectors of weights below a multiple of the norms of step 0, by shortening those that are longer.

    Nothing is ever lengthened, and moments are left alone.

    Source: the hidden-norm cap of PeterPonyu/muon-norm-cap-grokking, a ceiling for each weight matrix.
    """

    kind = "norm_cap"
    capturable = True
    off = None
    said = "norm capped at {:g}×"
    norm_cap: Annotated[float, PER_RUN] = Field(
        gt=0, description="keep norms (by norm_grain) below this times those of step 0"
    )
    norm_grain: Grain = GRAIN

    @staticmethod
    def start(weights: Params, norm_grain: Grain) -> State:
        """The ceilings, unset (NaN)."""
        return Spheres.found(norm_grain, weights).start(weights)

    @staticmethod
    def rule(moved: Moved, weights: Params, state: State, norm_grain: Grain, norm_cap: Float[Tensor, " run"]) -> State:
        """Fix the ceilings of runs that begin, and bring every vector down that is above its own."""
        spheres = Spheres(norm_grain, torch.full_like(norm_cap, torch.nan), norm_cap)
        ceilings = spheres.begin(moved.begins, weights, state)
        for name, every in spheres.vectors(weights).items():
            rescale(every.tensors, to_radius(ceilings[name], *every).clamp(max=1.0))
        return ceilings


class FixedDirection(Constraint):
    """Hold the direction, so that only the norm may change: motion along a ray, radial training.

    After the optimizer's step the weights are replaced by their projection on the direction they had when the
    hold began. The tangential part of the step is thereby discarded; moments are left alone.
    """

    kind = "fixed_direction"
    capturable = True
    off = False
    said = "direction held"
    mark = "-ray"
    direction_from_step: Annotated[int, PER_RUN] = Field(
        default=0, ge=0, description="step from which the direction is held"
    )
    hold_from_train_acc: Event = EVENT

    @property
    def begins_at(self) -> int | None:
        """Its step, unless an event is awaited."""
        return self.direction_from_step if self.hold_from_train_acc is None else None

    @property
    def begins_when(self) -> float | None:
        """Its event."""
        return self.hold_from_train_acc

    @model_validator(mode="after")
    def _one_beginning(self) -> "FixedDirection":
        return begun_once(self, self.direction_from_step)

    @staticmethod
    def start(weights: Params) -> State:
        """The direction under each tensor's name, unset (NaN)."""
        return {name: torch.full_like(value, torch.nan, dtype=torch.float64) for name, value in weights.items()}

    @staticmethod
    def rule(moved: Moved, weights: Params, state: State) -> State:
        """Fix the direction of runs that begin, and bring every held run back to its ray."""
        if perhaps_any(moved.begins):
            u = direction(weights, axes=1)
            state = {name: torch.where(along(moved.begins, u[name]), u[name], old) for name, old in state.items()}
        radius = dot(weights, state, axes=1)  # NaN without a direction
        put(weights, {name: along(radius, u) * u for name, u in state.items()}, ~radius.isnan())
        return state
