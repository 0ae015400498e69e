"""What a config may ask for: ceilings that are the same on every machine, counted before anything is drawn.

A config may come from a stranger's file, and a slip of the finger may ask for a petabyte. So the numbers that a run
would hold are counted from the declared sizes, and refused above a ceiling, with what they would come to in bytes:

    PAIRS          2^22    pairs of the full batch (p = 2048)
    WEIGHTS        2^28    weights of one network
    STATE          2^31    weights times the copies that training keeps of them (Grokfast-MA keeps a window)
    ACTIVATIONS    2^32    pairs times what the network computes for each: 17 GB in float32
    STEPS          10^9-1  steps: file names hold nine digits
    CHECKPOINTS    10^6    files of weights, and EVALUATIONS 10^8 lines of history
    NUMBER         10^30   of any real number, where float32 ends at 3.4e38

Whether a run that is let through fits the machine at hand is another question, which training asks before it makes
a folder: `least_bytes` against `memory`.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.errors import UserError

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig

PAIRS = 2**22
WEIGHTS = 2**28
STATE = 2**31
ACTIVATIONS = 2**32
STEPS = 10**9 - 1
CHECKPOINTS = 10**6
EVALUATIONS = 10**8
NUMBER = 1e30
COPIES = 4  # of the weights while training: themselves, their gradient, two moments
_CGROUP = Path("/sys/fs/cgroup/memory.max")


class Size(NamedTuple):
    """What a run would hold, counted from its config."""

    pairs: int
    weights: int
    state: int
    activations: int  # of the whole network
    neurons: int  # those of its hidden layers, which every step holds
    item: int  # bytes of a number
    checkpoints: int
    evaluations: int

    @property
    def least_bytes(self) -> int:
        """What a step holds at least: optimizer state and neurons. Measured peaks are 0.84 to 2.7 times this."""
        return (self.state + self.neurons) * self.item


def size_of(config: "TrainConfig") -> Size:
    """The counts of a config, from its declared sizes alone.

    Example:
        >>> from circuitgrok.config.train_config import TrainConfig
        >>> size = size_of(TrainConfig())
        >>> size.pairs, size.weights, size.checkpoints
        (12769, 227442, 237)
    """
    shapes, schedule = config.model.shapes(), config.schedule
    weights = sum(math.prod(shape) for shape in shapes.values())
    widths = sum(shape[-1] for shape in shapes.values() if len(shape) == 2)  # [in out]
    widths += sum(shape[0] * min(shape[1:]) for shape in shapes.values() if len(shape) == 3)  # [head in out], narrow
    task: Any = config.task
    features = getattr(task, "n_features", 0) or 0
    teacher = getattr(task, "teacher_width", 0)
    return Size(
        pairs=task.n_pairs,
        weights=weights + teacher**2 * getattr(task, "teacher_depth", 0),
        state=weights * (COPIES + sum(one.copies for one in config.interventions)),
        activations=task.n_pairs * (widths + features + teacher),
        neurons=task.n_pairs * config.model.activations_per_input,
        item=8 if "float64" in (config.numerics.precision, config.numerics.forward_precision) else 4,
        checkpoints=len(schedule.checkpoint_steps())
        if schedule.steps <= STEPS
        else schedule.steps // schedule.checkpoint_every,
        evaluations=schedule.steps // schedule.eval_every + 1,
    )


def refuse_bombs(config: "TrainConfig") -> None:
    """Refuse what no machine should be asked for.

    Raises:
        UserError: A count is above its ceiling, or a number is not finite or beyond `NUMBER`; the message names the
            fields, what they come to, and the ceiling.
    """
    for name, value in config.leaves().items():
        _refuse_number(name, value)
    schedule = config.schedule
    size, largest = size_of(config), _given_sizes(config)
    kept = f"{size.checkpoints:,} checkpoints, {in_bytes(size.checkpoints * size.weights * size.item)}"
    if schedule.steps > STEPS:
        raise UserError(
            f"steps must be at most {STEPS:,}, because file names hold nine digits; got {schedule.steps}, which at "
            f"checkpoint_every = {schedule.checkpoint_every} would be {kept}"
        )
    if size.checkpoints > CHECKPOINTS:
        raise UserError(
            f"steps = {schedule.steps} and checkpoint_every = {schedule.checkpoint_every} would be {kept}; at most "
            f"{CHECKPOINTS:,} checkpoints: take fewer steps or a larger checkpoint_every"
        )
    if size.evaluations > EVALUATIONS:
        raise UserError(
            f"steps = {schedule.steps} and eval_every = {schedule.eval_every} would be {size.evaluations:,} "
            f"evaluations; at most {EVALUATIONS:,}: take fewer steps or a larger eval_every"
        )
    counts = {
        "pairs in the full batch": (size.pairs, PAIRS),
        "weights": (size.weights, WEIGHTS),
        "numbers of weights and optimizer state": (size.state, STATE),
        "activations of the full batch": (size.activations, ACTIVATIONS),
    }
    for what, (count, ceiling) in counts.items():
        if count > ceiling:
            raise UserError(
                f"{largest} would be {count:,} {what}; at most {ceiling:,}. Full batch: {size.pairs:,} pairs, "
                f"{in_bytes(size.activations * size.item)} of activations; {size.weights:,} weights, "
                f"{in_bytes(size.weights * size.item)}: take smaller sizes"
            )


def _refuse_number(name: str, value: Any) -> None:
    if isinstance(value, float) and not abs(value) <= NUMBER:
        raise UserError(f"{name} must be a finite number, at most {NUMBER:g}; got {value}")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise UserError(f"{name} must be below 2^63; got a number of {len(hex(value)) * 4 - 8} bits")
    if isinstance(value, str) and ("\0" in value or value != value.encode("utf-8", "replace").decode()):
        raise UserError(f"{name} must be text in UTF-8 without NUL; got {value!r}")


def _given_sizes(config: "TrainConfig") -> str:
    """The whole numbers of task and model that are above their defaults; all of them if none is."""
    sizes: dict[str, tuple[int, Any]] = {}
    for part in (config.task, config.model, *config.interventions):
        fields: Mapping[str, Any] = type(part).model_fields
        sizes |= {
            name: (value, field.default)
            for name, field in fields.items()
            if type(value := getattr(part, name)) is int and not name.endswith("seed")
        }
    above = {name: value for name, (value, usual) in sizes.items() if type(usual) is not int or value > usual}
    chosen = above or {name: value for name, (value, _) in sizes.items()}
    return ", ".join(f"{name} = {value}" for name, value in chosen.items())


def refuse_what_does_not_fit(config: "TrainConfig") -> None:
    """Refuse a run whose least need is above this machine's memory.

    Raises:
        UserError: It is; the message gives both.
    """
    need, there = size_of(config).least_bytes, memory()
    if there is not None and need > there:
        raise UserError(
            f"{_given_sizes(config)}: one step holds at least {in_bytes(need)}, and this machine has "
            f"{in_bytes(there)}: take smaller sizes, or a machine with more memory"
        )


def memory() -> int | None:
    """Bytes of memory that this process may use: the machine's, or its control group's; None where nobody says."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):  # not POSIX
        return None
    try:
        found += [int(_CGROUP.read_text())]
    except (OSError, ValueError):  # no control group, or "max"
        pass
    return min(found)


def open_files() -> int:
    """Number of files that this process may have open at once; what C libraries grant where nobody says."""
    try:
        import resource
    except ModuleNotFoundError:  # not POSIX
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft


def in_bytes(count: int) -> str:
    """A number of bytes for people.

    >>> in_bytes(999), in_bytes(2**31), in_bytes(10**16)
    ('999 bytes', '2.1 GB', '10.0 PB')
    """
    for power, unit in ((15, "PB"), (12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} bytes"
