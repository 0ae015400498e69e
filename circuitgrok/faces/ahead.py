"""What training would do, in words: a row for each stack, then runs, time and disk."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from circuitgrok.config.bounds import in_bytes

if TYPE_CHECKING:
    from circuitgrok.training.outlook import Outlook

MOST_NAMED = 2


class AheadRow(NamedTuple):
    """A stack in the table of what would be trained."""

    stack: str
    runs: str
    what: str
    steps: str
    time: str
    disk: str


def stack_rows(ahead: "Outlook") -> list[AheadRow]:
    """A row for each stack."""
    return [
        AheadRow(
            stack=_named(stack.names),
            runs=str(len(stack.names)),
            what=stack.what,
            steps=f"{stack.start}–{stack.steps}" if stack.start else str(stack.steps),
            time=duration(stack.seconds),
            disk=in_bytes(stack.bytes),
        )
        for stack in ahead.stacks
    ]


def outlook_lines(ahead: "Outlook", workers: int = 1, threads: int = 1, elsewhere: str = "") -> list[str]:
    """The runs by what they are, then time and disk, each with how it is known.

    Args:
        ahead: What training would do.
        workers: Processes of this machine.
        threads: Of each.
        elsewhere: Who else trains: dask or Slurm; nobody: "".
    """
    groups = {"finished": ahead.finished, "trained by somebody else": ahead.held, "begun": ahead.begun}
    groups["missing"] = ahead.missing
    lines = [", ".join(f"{len(names)} {what}" for what, names in groups.items() if names) or "no runs"]
    lines[0] = f"runs   {lines[0]}; {len(ahead.stacks)} {'stack' if len(ahead.stacks) == 1 else 'stacks'} to train"
    if not ahead.stacks:
        return [*lines, "nothing was written"]
    return [
        *lines,
        f"time   about {duration(ahead.seconds)}{_by(workers, threads, elsewhere)}: measured on a few steps, an "
        f"evaluation and a checkpoint of each stack, in memory, on this machine as busy as it is now",
        f"disk   {in_bytes(ahead.bytes)} more, counted from the configs: checkpoints to the byte, lines about; "
        f"checkpoints that a moving test loss adds come on top. {in_bytes(ahead.free)} are free"
        f"{'' if ahead.free > ahead.bytes else ', which is TOO LITTLE'}",
        "nothing was written",
    ]


def _named(names: Sequence[str]) -> str:
    more = f", … {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _by(workers: int, threads: int, elsewhere: str) -> str:
    """Whose time it is."""
    if elsewhere:
        return f" by workers of {elsewhere}, if they are free, and as fast as this machine"
    cores = os.cpu_count() or 1
    short = f", longer on the {cores} cores that are here" if workers * threads > cores else ""
    return f" by {workers} workers{short}" if workers > 1 else ""


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(4), duration(150), duration(7200), duration(400_000)
    ('4 s', '2.5 min', '2.0 h', '4.6 days')
    """
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (unit != "days" and seconds >= 1.5 * size):
            return f"{seconds / size:.1f} {unit}"
    return f"{max(1, round(seconds))} s"
