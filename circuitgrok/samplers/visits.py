"""How long walkers stay in a set, how long they are away, and when they return.

At rest, a share pi of the time is spent inside. By Kac's lemma the mean time from one moment inside to the next is
1 / pi whatever the dynamics, so that occupancy alone cannot tell a place that is visited often from one that holds.
Residence can: pi over the rate of leaving,

    mean stay = P(inside) / P(inside now, outside next),

which is estimated by the time inside over the number of exits. Unlike the mean of complete visits it is not biased to
short ones by the ends of a record.

Source: M. Kac, "On the notion of recurrence in discrete stochastic processes" (1947), Bull. Amer. Math. Soc. 53, 1002.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor


class Visits(NamedTuple):
    """What walkers do with a set, over all of them and all times.

    Attributes:
        share: Of the time, inside; 0..1.
        residence: Mean length of a stay, in steps; nan without a visit, inf without an exit.
        absence: Mean time away between two stays; nan if none is ever outside, inf without an entry.
        return_time: Mean time from a moment inside to the next one, of those that come back; 1 / share at rest.
        exits: How many stays were seen to end.
    """

    share: float
    residence: float
    absence: float
    return_time: float
    exits: int


def visits(inside: Bool[Tensor, "step ..."]) -> Visits:
    """Stays and returns of walkers that are seen at every step.

    Args:
        inside: Whether each walker is in the set, step by step, with its burn-in left out.

    Raises:
        ValueError: Fewer than two times.

    Example:
        >>> visits(torch.tensor([1, 1, 0, 1, 0, 0, 0, 1]).bool())  # 4 moments inside, 2 exits; gaps of 1, 2 and 4 steps
        Visits(share=0.5, residence=2.0, absence=2.0, return_time=2.3333333333333335, exits=2)
    """
    if len(inside) < 2:
        raise ValueError(f"stays and returns need two times or more; got {len(inside)}")
    n, n_inside = inside.numel(), int(inside.sum())
    exits, entries = int((inside[:-1] & ~inside[1:]).sum()), int((~inside[:-1] & inside[1:]).sum())
    time = torch.arange(len(inside), device=inside.device).reshape(-1, *[1] * (inside.ndim - 1)).expand_as(inside)
    first = torch.where(inside, time, len(inside)).amin(0)
    last = torch.where(inside, time, -1).amax(0)
    seen = last >= 0
    gaps = n_inside - int(seen.sum())
    spanned = int((last - first)[seen].sum())
    return Visits(
        share=n_inside / n,
        residence=_over(n_inside, exits),
        absence=_over(n - n_inside, entries),
        return_time=_over(spanned, gaps),
        exits=exits,
    )


def _over(time: int, times: int) -> float:
    return time / times if times else float("inf") if time else float("nan")
