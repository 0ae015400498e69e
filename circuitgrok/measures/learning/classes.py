"""The four phases of learning that a run can end in: comprehension, grokking, memorisation, confusion."""

from collections.abc import Mapping

from circuitgrok.measures.learning.crossings import Event

COMPREHENSION, GROKKING, MEMORISATION, CONFUSION = "comprehension", "grokking", "memorisation", "confusion"
CLASSES: tuple[str, ...] = (COMPREHENSION, GROKKING, MEMORISATION, CONFUSION)
DELAY = 1000  # steps: from memorised to grokked, from which it is grokking


def class_of(found: Mapping[str, Event], delay: int = DELAY) -> str:
    """One of `CLASSES`: whether a run fitted its training set, the rest, and how long after.

    With the events of `crossings`, by its levels and kept for as many steps as it asks for (`ACCURACY_RULES`, `HOLD`):

        comprehension    grokked, and fewer than `delay` steps after it memorised (or before it did)
        grokking         grokked, `delay` steps or more after it memorised
        memorisation     memorised, and did not grok within the record
        confusion        neither

    Both times are the first evaluations at which the event had happened (`Event.by`), so that their difference has an
    error below the distance of two evaluations. A record that ends may hide what came later: the class is that of a
    run at its budget.

    Args:
        found: `crossings.events` of a history: `memorised` and `grokked`.
        delay: Steps.

    Example:
        >>> at = {"memorised": Event(90, 100, None), "grokked": Event(1990, 2000, None)}
        >>> class_of(at), class_of(at, delay=1901)
        ('grokking', 'comprehension')
        >>> never = Event(5000, None, 5000)
        >>> class_of(at | {"grokked": never}), class_of({"memorised": never, "grokked": never})
        ('memorisation', 'confusion')

    Source: Liu et al. 2022 (arXiv:2205.10343), who ask for 0.9 of both accuracies within 10^5 steps, and for 10^3 steps
    between the two.
    """
    memorised, grokked = found["memorised"].by, found["grokked"].by
    if grokked is None:
        return CONFUSION if memorised is None else MEMORISATION
    return GROKKING if memorised is not None and grokked - memorised >= delay else COMPREHENSION
