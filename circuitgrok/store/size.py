"""What a run takes on the disk, from its config alone: its files of weights to the byte, the rest closely.

A file of weights is a header that names its tensors and their bytes, so its length follows from shapes, format of the
numbers and step. Resume points hold the optimizer's state too, twice; moments, where they are kept, at every
checkpoint. Lines of records differ in length with the digits of their numbers.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.canonical import canonical_json

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig

HISTORY_LINE = 300  # bytes of a line: seven columns and a seal
UPDATES_LINE = 5000  # of a one-layer transformer: each part of a step, by role and tensor
INDEX_LINE = 180
OTHER_FILES = 8000  # config.json, complete.json, events, digests: for each run
REMEMBERED = {"adam": 2, "sgd": 1, "rmsprop": 2, "lion": 1, "muon": 2}  # by a rule at most, in sizes of the weights
RESUME_POINTS = 2
ALIGNED = 8  # a header is filled up with spaces to a multiple of this
FORMATS = {"float32": ("F32", 4), "float64": ("F64", 8)}


class RunBytes(NamedTuple):
    """Bytes of a run's files when it has finished.

    Attributes:
        checkpoints: Of its scheduled checkpoints, to the byte. Those that a moving test loss adds come on top.
        resume: Of its last resume points, and of the moments beside every checkpoint, if they are kept: at most.
        records: Of all else: about.
    """

    checkpoints: int
    resume: int
    records: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def packed_bytes(shapes: Mapping[str, tuple[int, ...]], precision: str, note: Mapping[str, Any]) -> int:
    """Bytes of a file of weights as `circuitgrok.store.weights.pack` writes it, without writing it.

    Args:
        shapes: Of its tensors, by name.
        precision: float32 or float64, of all of them.
        note: What the file says of itself.

    Example:
        >>> import torch
        >>> from circuitgrok.store.weights import pack
        >>> packed_bytes({"W": (3, 2)}, "float32", {"step": 7}) == len(pack({"W": torch.ones(3, 2)}, {"step": 7}))
        True
    """
    kind, item = FORMATS[precision]
    header: dict[str, Any] = {"__metadata__": {"circuitgrok": canonical_json(dict(note))}}
    end = 0
    for name in sorted(shapes):
        start, end = end, end + item * math.prod(shapes[name])
        header[name] = {"dtype": kind, "shape": shapes[name], "data_offsets": [start, end]}
    length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-length // ALIGNED) * ALIGNED + end


def checkpoint_bytes(config: "TrainConfig", step: int = 0) -> int:
    """Bytes of the file of a run's weights at a step; only the step's number of digits counts.

    Example:
        >>> from circuitgrok.config.train_config import TrainConfig
        >>> checkpoint_bytes(TrainConfig())
        911168
    """
    return packed_bytes(config.model.shapes(), config.numerics.precision, {"step": step, "config": config.hash})


def checkpoints_bytes(config: "TrainConfig", steps: Iterable[int] | None = None) -> int:
    """Bytes of the files of weights of a run at some steps: by default at all that its schedule names."""
    chosen = config.schedule.checkpoint_steps() if steps is None else steps
    by_digits = Counter(len(str(step)) for step in chosen)
    return sum(count * checkpoint_bytes(config, 10 ** (digits - 1)) for digits, count in by_digits.items())


def resume_point_bytes(config: "TrainConfig") -> int:
    """Bytes of a resume point at most: the weights that train, what the optimizer and the interventions remember."""
    copies = 1 + REMEMBERED[config.optimizer.rule] + sum(one.copies for one in config.interventions)
    return copies * checkpoint_bytes(config)


def run_bytes(
    config: "TrainConfig", history_line: float = HISTORY_LINE, updates_line: float = UPDATES_LINE
) -> RunBytes:
    """Bytes of a run's files when it has finished, from its config.

    Args:
        config: Of the run.
        history_line: Bytes of a line of history.jsonl, if it is known.
        updates_line: Bytes of a line of updates.jsonl, if it is known.

    Example:
        >>> from circuitgrok.config.train_config import TrainConfig
        >>> size = run_bytes(TrainConfig())
        >>> size.checkpoints, size.total > size.checkpoints
        (215948024, True)
    """
    schedule = config.schedule
    scheduled = schedule.checkpoint_steps()
    between = sum(step % schedule.eval_every != 0 for step in scheduled)
    evaluations = schedule.steps // schedule.eval_every + 1 + between
    moments = len(scheduled) if schedule.keep_moments else 0
    lines = evaluations * history_line + len(scheduled) * INDEX_LINE + (len(scheduled) - 1) * updates_line
    return RunBytes(
        checkpoints=checkpoints_bytes(config, scheduled),
        resume=(RESUME_POINTS + moments) * resume_point_bytes(config),
        records=round(lines) + OTHER_FILES,
    )
