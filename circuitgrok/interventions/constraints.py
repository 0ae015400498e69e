"""Constraints on the weights, applied after the optimizer's step to a whole stack of runs.

The rule of a constraint changes the weights in place and gives the next state, a small dict of tensors `[run ...]` that
is saved with the resume state; `start(weights)` is the state in which nothing is held. When a hold begins, at a step or
at an event, is for the object to say and for the caller to see: a run is held once its state is no longer NaN. Runs
that are not held keep their bits, and so a stack may have runs without a constraint beside runs with it.
"""

from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from circuitgrok.device import perhaps_any
from circuitgrok.interventions.base import PER_RUN, Intervention, State
from circuitgrok.tree import Params, along, norm, rescale

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


class RescaleOnce(Constraint):
    """Multiply all weights of a run by a factor when its turn comes, biases included, and hold nothing afterwards."""

    kind = "rescale_factor"
    capturable = True
    off = 1.0
    said = "rescaled by {:g}"
    rescale_factor: Annotated[float, PER_RUN] = Field(gt=0, description="multiply the weights by this, once")
    rescale_at_step: Annotated[int, PER_RUN] = Field(default=0, ge=0, description="step of that single rescaling")

    @property
    def begins_at(self) -> int | None:
        """The step of the rescaling."""
        return self.rescale_at_step

    @staticmethod
    def start(weights: Params) -> State:
        """Whether it is done, for each run: NaN for no, 1 for yes."""
        first = next(iter(weights.values()))
        return {"done": first.new_full((len(first),), torch.nan, dtype=torch.float64)}

    @staticmethod
    def rule(moved: Moved, weights: Params, state: State, rescale_factor: Float[Tensor, " run"]) -> State:
        """Multiply the weights of runs that begin and are not done."""
        now = moved.begins & state["done"].isnan()
        rescale(weights, torch.where(now, rescale_factor, 1.0))
        return {"done": torch.where(now, 1.0, state["done"])}


class Kick(Constraint):
    """Go on, once, in the direction of the step that has just been taken, or in one that has nothing to do with it.

    The size is the root mean square over the weights: a step of Adam is of the learning rate's size at most. Scrambled,
    each number of the step has a sign from a fixed sequence in place of its own. Moments are left alone; a run whose
    last step was none is not moved.

    Example:
        >>> from circuitgrok.interventions.base import applied
        >>> kick, weights = applied([Kick(kick=5.0)]), {"w": torch.tensor([[3.0, 4.0]])}
        >>> moved = Moved(torch.tensor([True]), {"w": torch.tensor([[3.0, 3.5]])}, None)
        >>> state = kick(moved, weights, kick.start(weights))  # 5 sqrt(2) along the second weight
        >>> weights["w"]
        tensor([[ 3.0000, 11.0711]])
    """

    kind = "kick"
    capturable = True
    said = "kicked by {:g}"
    kick: Annotated[float, PER_RUN] = Field(
        ge=-1000, description="move the weights by this once, root mean square, along the last step; below 0: back"
    )
    kick_at_step: Annotated[int, PER_RUN] = Field(default=1, ge=1, description="step of that single kick")
    kick_scrambled: Annotated[bool, PER_RUN] = Field(
        default=False, description="give the numbers of that step signs that have nothing to do with it"
    )

    @property
    def begins_at(self) -> int | None:
        """The step of the kick."""
        return self.kick_at_step

    @property
    def looks_back(self) -> bool:
        """The last step is from the weights before it."""
        return True

    @staticmethod
    def start(weights: Params) -> State:
        """Whether it is done, for each run: NaN for no, 1 for yes."""
        return RescaleOnce.start(weights)

    @staticmethod
    def rule(
        moved: Moved, weights: Params, state: State, kick: Float[Tensor, " run"], kick_scrambled: Bool[Tensor, " run"]
    ) -> State:
        """Move the weights of runs that begin and are not done."""
        now = moved.begins & state["done"].isnan()
        if moved.before is not None and perhaps_any(now):
            steps = {name: w.double() - moved.before[name].double() for name, w in weights.items()}
            steps = {n: torch.where(along(kick_scrambled, s), _signs(s[0]) * s.abs(), s) for n, s in steps.items()}
            length, n = norm(steps, axes=1), sum(w[0].numel() for w in weights.values())
            times = torch.where(length > 0, kick * n**0.5 / length, 0.0)
            put(weights, {name: w + along(times, w) * steps[name] for name, w in weights.items()}, now)
        return {"done": torch.where(now, 1.0, state["done"])}


def _signs(like: Tensor) -> Tensor:
    """Of a fixed sequence that looks random, i^2 sqrt(2) modulo 1 (H. Weyl 1916): as many of either sign."""
    i = torch.arange(like.numel(), dtype=torch.float64, device=like.device)
    return torch.where((i * i * 2**0.5) % 1 < 0.5, 1.0, -1.0).view_as(like)


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
