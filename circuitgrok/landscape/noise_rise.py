"""How much the loss rises under Gaussian noise on the weights, in the units of the learning coefficient.

    rise(sigma) = nbeta (E[L(w* + sigma xi)] - L(w*)),   xi ~ N(0, I)

No chain is run and no loss is minimised: it is robustness to noise and nothing else. On a quadratic with Hessian H it
is nbeta sigma^2 tr(H) / 2. Two widths make it what a learning coefficient has to be compared with.

* sigma = 1 / sqrt(localization): the law of chains that do not see the loss, U = (localization / 2) |w - w*|^2 alone.
  Seeing the loss can only lower its mean, d E[L] / d nbeta = -Var[L], so that this `prior` is never below the
  learning coefficient of the same window. Where the two are equal, chains have told nothing that noise does not.
* sigma = the chains' own displacement, root mean square per weight: noise as wide as they are, without a direction.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.landscape.curvature import StackLoss
from circuitgrok.samplers.geometry import FLAT, Geometry
from circuitgrok.samplers.target import standard_normal


class Rise(NamedTuple):
    """A rise for each point, with its Monte Carlo standard error."""

    rise: Float[Tensor, " point"]
    se: Float[Tensor, " point"]


def noise_rise(
    loss: StackLoss,
    centre: Float[Tensor, "chain dim"],
    sigma: Float[Tensor, " point"],
    nbeta: float,
    *,
    seeds: Sequence[int],
    n_pairs: int = 8,
    geometry: Geometry = FLAT,
) -> Rise:
    """How much the loss of several points rises under noise of a width of their own.

    Every noise is taken with both signs, so that a slope at the point adds nothing.

    Args:
        loss: L and its gradient for a stack `[chain, dim]`.
        centre: The points, each as many times as its noise is drawn side by side, one after the other.
        sigma: Width at each point, in the unit of the weights; where it is not finite the rise is nan.
        nbeta: Inverse temperature, the unit of the rise.
        seeds: One for each row of `centre`.
        n_pairs: Noises with both signs for each row.
        geometry: Where noise may move, as for chains.

    Raises:
        ValueError: Not one seed for each row, or rows that are no multiple of the points.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = lambda w: LossGrad(3 * w.double().square().sum(-1) / 2, 3 * w)  # trace 3 * 100
        >>> found = noise_rise(bowl, torch.zeros(4, 100), torch.tensor([0.1]), 2.0, seeds=range(4))
        >>> bool((found.rise - 2 * 0.1**2 * 300 / 2).abs() < 4 * found.se)
        True
    """
    if len(seeds) != len(centre) or len(centre) % len(sigma):
        raise ValueError(f"{len(centre)} rows of {len(sigma)} points need a seed each; got {len(seeds)}")
    n_rows = len(centre) // len(sigma)
    generators = [torch.Generator(device=centre.device).manual_seed(seed) for seed in seeds]
    width = sigma.to(centre).nan_to_num(0.0, 0.0, 0.0).repeat_interleave(n_rows)[:, None]
    first = loss(centre).value
    rises = []
    for _ in range(n_pairs):
        noise = geometry.tangent(centre, width * standard_normal(centre, generators))
        sides = [loss(geometry.move(centre, side * noise)[0]).value for side in (1, -1)]
        rises.append(nbeta * (sum(sides) / 2 - first))
    each = torch.stack(rises, dim=1).unflatten(0, (-1, n_rows)).flatten(1)
    known = sigma.isfinite()
    mean, se = each.mean(1), each.std(1) / each.shape[1] ** 0.5
    return Rise(torch.where(known, mean, torch.nan), torch.where(known, se, torch.nan))
