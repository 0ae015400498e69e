"""How the state dicts of a file are read: what each layout finds out, and what settings say in anybody's words."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.models.kinds import AnyModel
from circuitgrok.tree import Params

Knowledge = Literal["listed", "in the file", "given", "assumed"]


class Network(NamedTuple):
    """How the state dicts of a file are read.

    Attributes:
        model: Their shape.
        convert: A state dict as our `Params`.
        said: Fields of our config that the settings say.
        preset: The preset whose fields stand in for what nothing says.
        split: Where the split comes from, if anything tells; listed: pair by pair.
        test_shift: Updates between the epoch of a test loss and the weights that it was taken of.
        untrained_at: Step of weights whose biases have never moved, where that is a sign of it.
        keys: What each tensor of the file is in ours, where that was a mapping.
    """

    model: AnyModel
    convert: Callable[[Mapping[str, Tensor]], Params]
    said: dict[str, Any]
    preset: str
    split: Knowledge
    test_shift: int = 0
    untrained_at: int | None = None
    keys: dict[str, str] | None = None


def said_split(needed: set[str], said: Mapping[str, Any], given: Mapping[str, Any]) -> Knowledge:
    """Whether the fields that make a split were given, or stand in the file's settings."""
    if not needed <= {*said, *given}:
        return "assumed"
    return "given" if needed & set(given) else "in the file"


def activation(name: Any) -> str:
    """The activation function by its name in settings.

    Raises:
        UserError: It is none that networks have here.
    """
    known = {"relu": "relu", "gelu": "gelu"}
    if str(name).lower() not in known:
        raise UserError(f"the activation function must be one of {', '.join(known)}; the settings say {name!r}")
    return known[str(name).lower()]


def operation(name: Any, known: Mapping[str, str]) -> str:
    """The operation by its name in settings.

    Raises:
        UserError: The task is another.
    """
    if name not in known:
        raise UserError(f"the task must be one of {', '.join(known)} to be rebuilt; the settings say {name!r}")
    return known[name]


def whole(settings: Mapping[str, Any], name: str) -> int:
    """A whole number in settings, 0 if it is not there.

    Raises:
        UserError: It is something else.
    """
    value = settings.get(name, 0)
    if not isinstance(value, int) or value < 0:
        raise UserError(f"{name} must be a whole number; the settings say {value!r}")
    return int(value)
