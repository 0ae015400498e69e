"""Constraints on the weights, applied after the optimizer's step to a whole stack of runs.

The rule of a constraint changes the weights in place and gives the next state, a small dict of tensors `[run ...]` that
is saved with the resume state; `start(weights)` is the state in which nothing is held. When a hold begins, at a step or
at an event, is for the object to say and for the caller to see: a run is held once its state is no longer NaN. Runs
that are not held keep their bits, and so a stack may have runs without a constraint beside runs with it.
"""

from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from circuitgrok.device import perhaps_any
from circuitgrok.geometry import direction, to_radius
from circuitgrok.interventions.base import PER_RUN, Intervention, State
from circuitgrok.interventions.spheres import Grain, Spheres
from circuitgrok.tree import Params, along, dot, rescale

Event = Annotated[float | None, PER_RUN]
GRAIN: Any = Field(default="global", description="one norm, one per tensor, or one per neuron's incoming weights")
EVENT: Any = Field(
    default=None,
    gt=0,
    le=1,
    description="hold norm or direction from the step after training accuracy has reached this",
)


class Moved(NamedTuple):
    """What happened in the step that a constraint corrects.

    Attributes:
        begins: The runs whose hold begins with these weights.
        before: The weights before the step, copies; None if there was none yet, or no constraint asks for them.
        moment: The optimizer's first moment under the weights' names, views `[run ...]`; None if it has none.
    """

    begins: Bool[Tensor, " run"]
    before: Params | None
    moment: Params | None


class Constraint(Intervention):
    """What holds weights of a stack of runs.

    `rule(moved, weights, state)` lets the runs begin that begin, corrects every held run's weights in place, and
    remembers; `start(weights)` is the state in which no run is held, NaN.

    Attributes:
        begins_at: The step whose weights are the first that are held; None for an event.
        begins_when: The training accuracy that is the event: the next step's weights are the first.
        looks_back: Whether the rule needs the weights before the step.
    """

    section: ClassVar[str] = "constraint"
    absent: ClassVar[bool] = True

    @property
    def begins_at(self) -> int | None:
        """The step whose weights are the first that are held."""
        return 0

    @property
    def begins_when(self) -> float | None:
        """The training accuracy that lets a hold begin."""
        return None

    @property
    def looks_back(self) -> bool:
        """Whether the rule needs the weights before the step."""
        return False

    def check(self, config: Any) -> None:
        """The hold begins before training ends."""
        steps = config.schedule.steps
        for name in type(self).model_fields:
            if name.endswith("_step") and getattr(self, name) >= steps:
                raise ValueError(f"{name} must lie before the last step; got {getattr(self, name)} of {steps} steps")


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


def begun_once(held: Any, from_step: int) -> Any:
    """A hold that does not begin by a step and by an event.

    Raises:
        ValueError: It would begin by both.
    """
    if held.hold_from_train_acc is not None and from_step:
        raise ValueError("hold_from_train_acc is the event that begins the hold: leave its step at 0")
    return held


def put(tensors: Params, wanted: Params, where: Tensor) -> None:
    """Write into tensors, in place, where a run is meant."""
    for name, value in tensors.items():
        value.copy_(torch.where(along(where, value), wanted[name].to(value.dtype), value))
