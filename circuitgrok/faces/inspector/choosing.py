"""Which checkpoints a page shows, and of which it holds the weights: those nearest to what happened in the run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from circuitgrok.measures.learning.crossings import Event
from circuitgrok.measures.learning.crossings import events as accuracy_events
from circuitgrok.measures.learning.phases import boundaries

if TYPE_CHECKING:
    import pandas as pd

MOST = 200  # checkpoints on a page
KEPT = 24  # checkpoints of a run with their weights on a page, if they are small
ROOM = 5_500_000  # bytes of weights on a page, as they lie in memory
SAID = {  # those first without whose weights a page would say least
    "grokked": "grokked",
    "memorised": "memorised",
    "excluded_minimum": "circuit begins",
    "excluded_plateau": "circuit formed",
    "restricted_fell": "restricted loss fell",
    "norm_settled": "norm settled",
}


def happened(history: "pd.DataFrame | None", table: "pd.DataFrame") -> dict[str, Event]:
    """What happened in a run and when, by what it is called on a page; without what did not happen.

    Args:
        history: One row per evaluation; None where none was written.
        table: Of measures; the groups `circuits` and `polar` where they make sense.

    Example:
        >>> import circuitgrok as cg
        >>> run = cg.load("checkpoints/reference")
        >>> for name, event in happened(run.history, cg.measure(run, ["circuits", "polar"])).items():
        ...     print(name, event)
        memorised step 140–150
        circuit begins step 178–500
        restricted loss fell step 1000–1500
        circuit formed step 1500–1778
        grokked step 2150–2160
        norm settled step 3000–3500
    """
    found = {} if history is None else accuracy_events(history)
    if "excluded_loss[train]" in table and "norm" in table:
        found |= {"memorised": boundaries(table)["train_accuracy"]} if history is None else {}
        found |= boundaries(table)
    named = [(SAID[name], event) for name, event in found.items() if name in SAID and event.by is not None]
    return dict(sorted(named, key=lambda one: one[1].by or 0))


def spread(steps: Sequence[int], most: int, wanted: Iterable[int] = ()) -> list[int]:
    """At most so many of some steps: first, last, those nearest to what is wanted, and the rest evenly by rank.

    Example:
        >>> spread(range(0, 100, 10), 4, wanted=[42])
        [0, 30, 40, 90]
    """
    steps = list(steps)
    if len(steps) <= most:
        return steps
    first = [steps[0], steps[-1], *(min(steps, key=lambda s, at=at: abs(s - at)) for at in wanted)]
    chosen = list(dict.fromkeys(first))[:most]
    even = [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]
    for step in even:
        if len(chosen) == most:
            break
        if step not in chosen:
            chosen.append(step)
    return sorted(chosen)


def kept(steps: Sequence[int], found: Mapping[str, Event], bytes_each: int, runs: int, most: int = KEPT) -> list[int]:
    """The steps whose weights a page holds: the ends, the checkpoints after what happened, others where there is room.

    Args:
        steps: Checkpoints on the page.
        found: What `happened`.
        bytes_each: Of the weights of a checkpoint.
        runs: Runs that share the room.
        most: Never more than these.

    Example:
        >>> kept(range(0, 1000, 10), {"grokked": Event(412, 418, None)}, bytes_each=1_000_000, runs=1, most=3)
        [0, 420, 990]
    """
    room = max(1, min(most, math.floor(ROOM / (bytes_each * runs))))
    if room == 1:
        return [steps[-1]]
    times = [found[name].by for name in SAID.values() if name in found]
    wanted = [next((step for step in steps if step >= by), steps[-1]) for by in times if by is not None]
    return spread(steps, room, wanted)
