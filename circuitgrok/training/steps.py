"""How the steps of a stack are taken: one by one, or captured as a graph where a GPU is asked for them."""

from collections.abc import Callable
from typing import Protocol

from circuitgrok.device import is_elsewhere
from circuitgrok.training.captured import CapturedSteps
from circuitgrok.training.stack import Stack
from circuitgrok.training.step import evaluate, forward, update, watched_update


class Steps(Protocol):
    """How a stack's steps are taken: one by one, or captured (`training.captured`)."""

    stack: Stack

    def look(self, step: int, due: bool) -> tuple[list[bool], list[dict[str, float]] | None]:
        """Whether each run's objective is finite, and the lines of history if they are due or one is not."""
        ...

    def watched(self, step: int) -> list[dict[str, float]]:
        """Take a step apart; each run's line about it."""
        ...

    def advance(self, step: int, is_due: Callable[[int], bool]) -> int:
        """Go on, at most to the next step that is due; the step reached."""
        ...


class OneByOne:
    """Steps that are taken one by one."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def look(self, step: int, due: bool) -> tuple[list[bool], list[dict[str, float]] | None]:
        """Whether each run's objective is finite, and the lines of history if they are due or one is not."""
        self._ahead = forward(self.stack, step)
        finite = self._ahead.objective.isfinite().tolist()
        return finite, evaluate(self.stack, step, self._ahead) if due or not all(finite) else None

    def watched(self, step: int) -> list[dict[str, float]]:
        """Take the step apart that was looked at; each run's line about it."""
        return watched_update(self.stack, self._ahead, step)

    def advance(self, step: int, is_due: Callable[[int], bool]) -> int:
        """Take the step that was looked at."""
        update(self.stack, self._ahead, step)
        return step + 1


def uncapturable(stack: Stack) -> list[str]:
    """The kinds of interventions for which a stack's steps cannot be captured, as they declare."""
    return [kind for kind, one in stack.at_work.items() if not one.kind.capturable]


def steps_of(stack: Stack) -> Steps:
    """Captured elsewhere than on the CPU, if every intervention can be."""
    captured = is_elsewhere(stack.flat.device) and not uncapturable(stack)
    return CapturedSteps(stack) if captured else OneByOne(stack)
