"""What each factor of a factorial design does to a number, alone and together: shares of its variance over cells.

Two cautions. A share is one of the levels that were tried: a factor that is varied over a wider range has a larger one,
so that a curve over the range says more than a number. And a factor with a small share may still act through its
interactions: their squares belong to it as much as to the others (the total index of I. Sobol', "Sensitivity estimates
for nonlinear mathematical models", 1993).
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Share(NamedTuple):
    """A share of variance, 0..1.

    Attributes:
        estimate: Of all runs together.
        stderr: Its standard error, by leaving out one run at a time; nan for one run.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    estimate: float
    stderr: float
    low: float
    high: float


def squares(values: Float[Tensor, "run ..."], factors: Sequence[str]) -> dict[tuple[str, ...], Float[Tensor, " run"]]:
    """Each run's sum of squares about its mean, split into those of every factor and every interaction.

    The part of a set of factors is what is left of the means over all others when the parts of its subsets are taken
    off; the parts are orthogonal, so that their squares add up to the whole.

    Args:
        values: One number for each run and cell.
        factors: Names of the axes behind `run`.

    Returns:
        By the factors of each part, single ones first.

    Raises:
        ValueError: A factor has one level, a number is not finite, or there are not as many names as axes.

    Example:
        >>> parts = squares(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), ["radius", "direction"])
        >>> {" × ".join(name): part.item() for name, part in parts.items()}
        {'radius': 4.0, 'direction': 1.0, 'radius × direction': 0.0}
    """
    n_runs, *sizes = values.shape
    if len(sizes) != len(factors):
        raise ValueError(f"there must be a name for each axis behind the runs; got {len(factors)} for {len(sizes)}")
    if min(sizes) < 2:
        said = ", ".join(f"{n} of {name}" for name, n in zip(factors, sizes, strict=True))
        raise ValueError(f"there must be two levels of each factor at least; got {said}")
    if not bool(values.isfinite().all()):
        raise ValueError("every number must be finite; leave out the runs, or the levels, that are not")
    found = {}
    for size in range(1, len(factors) + 1):
        for of in combinations(factors, size):
            part = values.double()
            for axis, name in enumerate(factors, start=1):
                mean = part.mean(axis, keepdim=True)
                part = part - mean if name in of else mean.expand_as(part)
            found[of] = part.square().reshape(n_runs, -1).sum(1)
    return found


def shares(values: Float[Tensor, "run ..."], factors: Sequence[str]) -> dict[tuple[str, ...], Share]:
    """The shares of every factor and interaction in the sum of squares about the mean of each run; they sum to 1.

    Squares are summed over all runs before the shares are taken, so that a run in which nothing happens has no say.
    Runs are what is drawn at random: the interval comes from leaving out one run at a time, with all its sums together,
    and Student's t with a degree of freedom less than there are runs.

    Args:
        values: One number for each run and cell. Of a loss rather its logarithm: a sum of squares of losses is about
            the largest of them.
        factors: Names of the axes behind `run`.

    Returns:
        By the factors of each part; nan throughout if nothing varies.

    Raises:
        ValueError: As for `squares`.

    Example:
        >>> direction_decides = torch.tensor([[0.3, 1.0], [0.3, 1.0]])
        >>> found = shares(torch.stack([direction_decides, 0.9 * direction_decides]), ["radius", "direction"])
        >>> [round(x.estimate, 6) + 0.0 for x in found.values()]
        [0.0, 1.0, 0.0]

    Source: the analysis of variance without replication; B. Efron, C. Stein, "The jackknife estimate of variance"
    (1981).
    """
    from scipy import stats

    parts = squares(values, factors)
    by_run = torch.stack(list(parts.values()), dim=1)
    n_runs, total = len(by_run), by_run.sum(0)
    left = (total - by_run) / (total - by_run).sum(-1, keepdim=True)
    stderr = ((n_runs - 1) * left.var(0, correction=0)).sqrt() if n_runs > 1 else torch.full_like(total, math.nan)
    half_width = stderr * float(stats.t.ppf(0.975, n_runs - 1))
    estimate = total / total.sum()
    ends = ((estimate - half_width).clamp(min=0), (estimate + half_width).clamp(max=1))
    rows = torch.stack([estimate, stderr, *ends], dim=1).tolist()
    return {of: Share(*row) for of, row in zip(parts, rows, strict=True)}
