"""Where checkpoints were removed from a run: gaps in its index, as its events tell of them.

The index keeps the line of every checkpoint that was written, with its digest. What a thinning took away is an event:
`{"event": "thinned", "removed": [[first, last], ...], ...}`, each pair a range of steps whose checkpoints are gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Ranges = list[tuple[int, int]]


class Gap(NamedTuple):
    """Checkpoints that were removed between two that are there.

    Attributes:
        after: Step of the last checkpoint before the gap; -1 if there is none.
        before: Step of the first one behind it; None if there is none.
        removed: How many.
    """

    after: int
    before: int | None
    removed: int


def removed_ranges(events: Iterable[Mapping[str, Any]]) -> Ranges:
    """The ranges of steps whose checkpoints are gone, in order, after all that happened to a run.

    Training that goes on from a step writes the checkpoints behind it anew.

    >>> thinned = {"event": "thinned", "removed": [[1, 3], [5, 9]]}
    >>> removed_ranges([thinned]), removed_ranges([thinned, {"event": "resumed", "step": 6}])
    ([(1, 3), (5, 9)], [(1, 3), (5, 6)])
    """
    found: Ranges = []
    for event in events:
        if event["event"] == "thinned":
            found += [(first, last) for first, last in event["removed"]]
        elif event["event"] in ("begun", "resumed"):
            step = event["step"]
            found = [(first, min(last, step)) for first, last in found if first <= step and step > 0]
    return sorted(found)


def split(steps: Sequence[int], ranges: Ranges) -> tuple[list[int], list[Gap]]:
    """The steps that are in no range, and the gaps between them.

    Args:
        steps: Of all checkpoints that were written, in order.
        ranges: In order.

    Example:
        >>> split([0, 1, 2, 3, 4], [(1, 2)])
        ([0, 3, 4], [Gap(after=0, before=3, removed=2)])
    """
    kept: list[int] = []
    gaps: list[Gap] = []
    ahead, count = iter([*ranges, (1 << 62, 1 << 62)]), 0
    first, last = next(ahead)
    for step in steps:
        while step > last:
            first, last = next(ahead)
        if step >= first:
            count += 1
            continue
        if count:
            gaps.append(Gap(kept[-1] if kept else -1, step, count))
        kept.append(step)
        count = 0
    return kept, [*gaps, Gap(kept[-1] if kept else -1, None, count)] if count else gaps
