"""How much of a sphere around a network keeps its loss low: the volume that great circles from it reach.

From a network at radius r a great circle leaves in a tangential direction nu, uniform, until at an angle phi*(nu) the
loss first rises above a level. The share of the sphere that is reached is

    V = E_nu[ share of the cap of angle phi*(nu) ],

a lower bound of the share that is low: what lies behind a rise is not counted. In many dimensions V hangs on rare
directions in which the loss is flat; most directions say next to nothing. So some are drawn where it is flat, by
diagonal preconditioners P, and others uniformly; of each kind as many, and all are weighted by how often they would
come from any of the kinds (the balance heuristic), 1 over the mean of ACG(nu; P) over kinds:

    nu along (1 - u u^T) P^(1/2) z,  z standard normal,   ACG(nu; P) = (nu . A nu)^(-(d - 1) / 2) det(A)^(1/2),
    A = P^-1 - (P^-1 u)(P^-1 u)^T / (u . P^-1 u)  on the tangent space.

The error is told by the share of all directions that the weighted ones are worth (`worth`): where it is 1 of n, one
direction holds everything, and ln V is still a bound in expectation (Jensen), not an estimate.

Source: Chiang et al. 2023 and arXiv:2501.18812 for rays and their preconditioning, here on a sphere; the angular
central Gaussian is Tyler 1987 (Biometrika 74, 579); the balance heuristic Veach and Guibas 1995.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.exact.volumes import ln_cap
from circuitgrok.geometry import tangent, unit

FIRST_ANGLE, STEPS = 1e-3, 40  # where a crossing is looked for: angles in geometric steps up to pi, each 1.23 times
_HALVINGS = 18  # of such a step in the logarithm: to 1e-6 of the angle

Level = Callable[[Float[Tensor, "row dim"]], Float[Tensor, " row"]]


class LocalVolume(NamedTuple):
    """ln of the share of a sphere that great circles from a network reach below a level."""

    ln_volume: float  # nats
    se: float  # of ln V, by the spread of the weighted rays; nan where one ray holds more than half
    worth: float  # effective number of rays
    angles: Float[Tensor, " ray"]  # at which the level is crossed, in radians, 0.0008 or more; pi where it never is


def local_volume_of(
    score: Level,
    point: Float[Tensor, " dim"],
    threshold: float,
    seed: int,
    *,
    n_rays: int = 512,
    spreads: Sequence[Float[Tensor, " dim"]] = (),
) -> LocalVolume:
    """ln of the share of the sphere through a point that rays from it reach before the score is above a threshold.

    Args:
        score: Of rows of positions, such as a training loss.
        point: Where rays begin; its norm is the radius.
        threshold: The level.
        seed: Of the directions.
        n_rays: How many directions, of all kinds together.
        spreads: Variances P of the directions' components, positive: large where the score is flat, such as 1 over the
            root of Adam's second moments plus a floor. Uniform directions are always among them.

    Raises:
        UserError: The point itself is above the threshold, or a variance is not positive.

    Example:
        >>> point = torch.tensor([0.0, 0.0, 2.0]).double()
        >>> found = local_volume_of(lambda w: -w[:, 2], point, -2 * math.cos(0.5), 0, n_rays=8)  # a cap
        >>> round(found.ln_volume, 4) == round(ln_cap(3, 0.5), 4)
        True
    """
    here = score(point[None]).item()
    if not here <= threshold:
        raise UserError(f"the point must be below the level: its score is {here:g}, the threshold {threshold:g}")
    if not all(bool((spread > 0).all()) for spread in spreads):
        raise UserError("every variance of the directions must be positive")
    if n_rays < 1 + len(spreads):
        raise UserError(f"n_rays must be {1 + len(spreads)} or more, one for each kind of direction; got {n_rays}")
    draws = torch.Generator(device=point.device).manual_seed(seed)
    normal = torch.randn(n_rays, len(point), generator=draws, dtype=torch.float64, device=point.device)
    u = unit(point.double())
    kinds = [torch.ones_like(u), *(spread.double() for spread in spreads)]
    roots = torch.stack(kinds).sqrt()[torch.arange(n_rays) % len(kinds)]
    ahead = unit(tangent(tangent(roots * normal, u), u))
    angles = _crossings(score, point.double(), ahead, threshold)
    ln_caps = torch.tensor([ln_cap(len(point), angle) for angle in angles.tolist()], dtype=torch.float64)
    ln_densities = torch.stack([_ln_density(ahead, u, spread) for spread in kinds])
    ln_terms = ln_caps - (torch.logsumexp(ln_densities, 0) - math.log(len(kinds))).cpu()
    ln_volume = (torch.logsumexp(ln_terms, 0) - math.log(n_rays)).item()
    shares = ln_terms.softmax(0)
    worth = (1 / shares.square().sum()).item()
    se = ((shares - 1 / n_rays).square().sum() * n_rays / (n_rays - 1)).sqrt().item()
    return LocalVolume(ln_volume, se if shares.max() < 0.5 else math.nan, worth, angles)


def _crossings(score: Level, point: Tensor, ahead: Tensor, threshold: float) -> Float[Tensor, " ray"]:
    """The first angle on each ray at which the score is above the threshold; pi where it never is."""
    radius, device = point.norm(), point.device

    def is_above(angle: Tensor, rays: Tensor) -> Tensor:
        there = angle.cos()[:, None] * point + radius * angle.sin()[:, None] * ahead[rays]
        return ~(score(there) <= threshold)

    grid = torch.logspace(math.log10(FIRST_ANGLE), math.log10(math.pi), STEPS, dtype=torch.float64, device=device)
    low, high = torch.full((2, len(ahead)), math.pi, dtype=torch.float64, device=device)
    left = torch.arange(len(ahead), device=device)  # rays on which nothing has been crossed yet
    for below, angle in zip([grid[0] / (grid[1] / grid[0]), *grid[:-1]], grid, strict=True):
        crossed = is_above(angle.expand(len(left)), left)
        low[left[crossed]], high[left[crossed]] = below, angle
        left = left[~crossed]
        if not len(left):
            break
    some = (high > low).nonzero().flatten()
    for _ in range(_HALVINGS if len(some) else 0):
        middle = (low[some] * high[some]).sqrt()
        above = is_above(middle, some)
        low[some], high[some] = torch.where(above, low[some], middle), torch.where(above, middle, high[some])
    return low.cpu()


def _ln_density(ahead: Float[Tensor, "ray dim"], u: Tensor, spread: Tensor) -> Float[Tensor, " ray"]:
    """ln of the density of directions against the uniform one on the tangent sphere; 0 where variances are equal."""
    dim, along = len(u), u / spread
    quadratic = (ahead.square() / spread).sum(1) - (ahead @ along).square() / (u @ along)
    ln_det = -spread.log().sum() - (u @ along).log()  # of the precision on the tangent space
    return ln_det / 2 - (dim - 1) / 2 * quadratic.log()
