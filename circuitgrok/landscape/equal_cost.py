"""Samplers side by side: steps in proportion to what is stable, and as many gradients for each draw."""

import math
from typing import Any, get_args

from circuitgrok.landscape.sampling import SamplerName, Sampling

SAMPLER_NAMES: tuple[SamplerName, ...] = get_args(SamplerName)
# Step size times the largest curvature of U; a quadratic's energy is 2 % too large then by sgld and by sghmc.
STEP_SHARES: dict[SamplerName, float] = {
    "sgld": 0.08, "preconditioned_sgld": 0.08, "sghmc": 0.14, "mala": 1.0, "hmc": 1.0,
}  # fmt: skip


def at_equal_cost(sampler: SamplerName, stiffest: float, n_draws: int, n_gradients: int, **given: Any) -> Sampling:
    """How a sampler samples with steps of its share of 1 / the stiffest curvature, and so many gradients in a draw.

    Preconditioned SGLD takes that step in the stiffest direction, twice it at most, and learns in its first fifth.

    Args:
        sampler: Which.
        stiffest: Largest curvature of U = nbeta L + (localization / 2) |w - w*|^2.
        n_draws: Draws of each chain.
        n_gradients: For one draw.
        given: Further fields of `Sampling`.

    Example:
        >>> each = [at_equal_cost(name, 100.0, 50, 5, localization=1.0) for name in SAMPLER_NAMES]
        >>> [how.n_thin * how.n_leapfrog if how.sampler == "hmc" else how.n_thin for how in each]
        [5, 5, 5, 5, 5]
        >>> [round(how.step_size, 6) for how in each if how.sampler != "preconditioned_sgld"]
        [0.0008, 0.0014, 0.01, 0.01]
    """
    step, root = STEP_SHARES[sampler] / stiffest, math.sqrt(stiffest)
    given |= {"n_leapfrog" if sampler == "hmc" else "n_thin": n_gradients}
    if sampler == "preconditioned_sgld":
        given |= {"stability": root, "n_burnin": n_draws // 5}
        step *= 2 * root
    return Sampling(sampler=sampler, step_size=step, n_draws=n_draws, **given)
