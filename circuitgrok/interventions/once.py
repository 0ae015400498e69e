"""Changes of the weights that are made once, when a run's turn comes: they are multiplied, or kicked.

Both are constraints that hold nothing: what they remember is whether they are done.
"""

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from circuitgrok.device import perhaps_any
from circuitgrok.interventions.base import PER_RUN, State
from circuitgrok.interventions.constraints import Constraint, Moved, put
from circuitgrok.tree import Params, along, norm, rescale


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
