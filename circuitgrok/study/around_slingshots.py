"""What a run's checkpoints say on either side of its slingshots, and when the first one came."""

import math
from collections.abc import Sequence

from circuitgrok.measures.learning.slingshots import CALM, RISE_WITHIN, Slingshot
from circuitgrok.store.run import Run
from circuitgrok.table.measure import measure

Pair = tuple[int, int]
CHANGES = ("keys_change", "restricted_change", "excluded_change")


def either_side(found: Sequence[Slingshot], steps: Sequence[int]) -> list[Pair]:
    """The last checkpoint before each onset and the first that is `CALM` steps behind its peak, where there is one.

    Example:
        >>> either_side([Slingshot(610, 620, 3.0, 610, 1.0), Slingshot(950, 960, 3.0, 950, 1.0)], range(0, 1001, 100))
        [(600, 900)]
    """
    return [
        (max(step for step in steps if step <= cycle.onset), min(step for step in steps if step >= cycle.peak + CALM))
        for cycle in found
        if cycle.peak + CALM <= steps[-1]
    ]


def keys_change(run: Run, at: Sequence[Pair], n_keys: int) -> dict[str, float]:
    """Changes of what circuits say between checkpoints, means over the given pairs of steps; nan for none.

    Args:
        run: A run of a task whose circuits can be told.
        at: Pairs of steps with checkpoints.
        n_keys: Key frequencies that are taken.

    Returns:
        `keys_change` of the share of the logits' variance in key frequencies, `restricted_change` of the restricted
        loss of all pairs and `excluded_change` of the excluded loss of the training pairs (nats).

    Example:
        >>> import circuitgrok as cg
        >>> changes = keys_change(cg.reference(), [(500, 4000)], 4)
        >>> changes["keys_change"] > 0.3, changes["restricted_change"] < 0
        (True, True)
    """
    if not at:
        return dict.fromkeys(CHANGES, math.nan)
    table = measure(run, "circuits", sorted({step for pair in at for step in pair}), n_keys=n_keys)
    table = table[["frac_explained", "restricted_loss[all]", "excluded_loss[train]"]]
    before, after = (table.loc[[pair[i] for pair in at]].to_numpy() for i in (0, 1))
    return dict(zip(CHANGES, (after - before).mean(0).tolist(), strict=True))


def first_time(found: Sequence[Slingshot], last: int) -> dict[str, float]:
    """When the first slingshot came, as `Ratio` asks for it: `slung_after`, its onset, and `slung_by`, its peak.

    Of a run without `slung_by` is nan; one is sure to be seen up to `CALM` and `RISE_WITHIN` steps before the last.

    Example:
        >>> first_time([], 1800), first_time([Slingshot(610, 620, 3.0, 610, 1.0)], 1800)
        ({'slung_after': 1550, 'slung_by': nan}, {'slung_after': 610, 'slung_by': 620})
    """
    if found:
        return {"slung_after": found[0].onset, "slung_by": found[0].peak}
    return {"slung_after": last - CALM - RISE_WITHIN, "slung_by": math.nan}
