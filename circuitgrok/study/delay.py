"""The law of the delay: how the time to grok grows with the norm at which the weights are held."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from circuitgrok.study.accelerated import Likely, time_effect
from circuitgrok.study.intervals import Interval
from circuitgrok.study.paired_signs import Signs
from circuitgrok.study.within_groups import levels


class DelayLaw(NamedTuple):
    """ln T grows with the held norm r, here in units of the norm W_c at which free runs grok: ρ = r / W_c.

    Attributes:
        slope: Of ln T per unit of ρ; None where it is not known. Near ρ = 1 the same as the exponent.
        exponent: Of ln T on ln r, a power law's.
        at_critical: Steps to grok at ρ = 1 on the line, geometric mean over seeds, with the interval of other seeds.
        bend: By how much ln T in the middle of the norms is above the line through their ends, if it is a parabola.
        bend_p: Of no bend, two-sided; nan where it is not known.
        critical_norm: W_c, the median, with an interval of order statistics, which is open for fewer than six runs.
        n: Times.
        n_censored: Of them, those that are only known to be longer.
    """

    slope: Interval | None
    exponent: Interval | None
    at_critical: Interval | None
    bend: Interval | None
    bend_p: float
    critical_norm: Interval
    n: int
    n_censored: int

    def __str__(self) -> str:
        said = {"slope of ln T per ρ": self.slope, "exponent": self.exponent, "T at ρ = 1": self.at_critical}
        words = [f"{name} {value or 'not known'}" for name, value in said.items()]
        bend = f"bend {self.bend or 'not known'} (p = {self.bend_p:.2g})"
        return "; ".join([*words, bend, f"W_c {self.critical_norm}", f"{self.n_censored} of {self.n} times censored"])


def fit_delay(
    norms: Sequence[float],
    after: Sequence[float],
    by: Sequence[float],
    seeds: Sequence[int],
    norms_at_grok: Sequence[float],
    level: float = 0.95,
) -> DelayLaw:
    """The law of the delay from runs whose norm was held: maximum likelihood, with a level for every seed.

    Args:
        norms: At which each run was held, positive.
        after: Steps at which it had not grokked yet; of a censored run its last.
        by: Steps at which it had, nan where it is censored.
        seeds: Of the runs; every seed has a level of its own.
        norms_at_grok: Of free runs, the norm at which each grokked; their median is W_c. It is taken as known, and
            that of `at_critical` adds slope times its relative error.
        level: Of the intervals.

    Raises:
        ValueError: A norm is not positive, or there is none of a free run.

    Example:
        >>> import math
        >>> import circuitgrok as cg
        >>> noise = [0.05, -0.02, 0.0, 0.03, -0.06, 0.01, 0.02, -0.04, 0.01]
        >>> norms, seeds = [45.0, 50.0, 55.0] * 3, [0] * 3 + [1] * 3 + [2] * 3
        >>> times = [1500 * math.exp(7.6 * (r / 50 - 1) + z) for r, z in zip(norms, noise)]
        >>> by = [t if t < 3220 else math.nan for t in times]  # the budget
        >>> law = cg.fit_delay(norms, [min(t, 3220) for t in times], by, seeds, norms_at_grok=[49.5, 50, 50.5])
        >>> print(law.slope, law.at_critical, law.n_censored, sep=", ")
        7.59 [6.94, 8.77], 1.51e+03 [1.49e+03, 1.54e+03], 2

    Source: arXiv:2606.13753.
    """
    import numpy as np

    known = tuple(float(norm) for norm in norms_at_grok if not math.isnan(norm))
    if not known or min(*known, *norms, math.inf) <= 0:
        raise ValueError("norms must be positive, and there must be one at which a free run grokked")
    critical = Signs(known, known).interval(level)
    rho = np.array(norms, dtype=float) / critical.estimate
    middle, half = (rho.max() + rho.min()) / 2, (rho.max() - rho.min()) / 2 or 1.0

    def effect(*regressors):
        return time_effect(after, by, [x.tolist() for x in regressors], seeds)

    slope, power, bend = effect(rho - 1), effect(np.log(rho)), effect(1 - ((rho - middle) / half) ** 2, rho - 1)
    found = [None if one is None else one.interval(level) for one in (slope, power, bend)]
    return DelayLaw(
        slope=found[0],
        exponent=found[1],
        at_critical=_at_critical(slope, level) if isinstance(slope, Likely) else None,
        bend=found[2],
        bend_p=math.nan if bend is None else 1 - bend.level(0.0),
        critical_norm=critical,
        n=len(rho),
        n_censored=sum(not end < math.inf for end in by),
    )


def _at_critical(slope: Likely, level: float) -> Interval:
    """The geometric mean of the seeds' times where the regressor is 0; its error has that of the slope in it."""
    import numpy as np
    from scipy.stats import t

    point = np.append(slope.estimate, slope.point)
    seeds = levels(slope.rows, point)
    moved = levels(slope.rows, point + np.append(1e-3 * slope.error, np.zeros_like(slope.point)))
    by_slope = (moved - seeds).mean() * 1e3  # of one error of the slope
    error = math.hypot(float(seeds.std(ddof=1)) / math.sqrt(len(seeds)), by_slope)
    half = float(t.ppf((1 + level) / 2, len(seeds) - 1)) * error
    return Interval(*(math.exp(seeds.mean() + side * half) for side in (0, -1, 1)))
