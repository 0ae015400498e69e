"""Landscapes with known learning coefficients, and what an exact sampler would report on them.

A potential K >= 0 with K(0) = 0 stands in for the population loss, less its smallest value. Its learning
coefficient lambda and multiplicity m say how the volume of what is nearly optimal shrinks,

    vol{w : K(w) < t} ~ c t^lambda (-ln t)^(m - 1)   as t -> 0.

A sampler works at a finite inverse temperature nbeta and can only see nbeta E[K], which comes near lambda
as lambda - (m - 1) / ln(nbeta): at nbeta = 1000 x^2 y^2 gives 0.387, not 1/2. So hold a sampler against
`thermodynamic_llc` (uniform on a box) or `localized_llc` (with a Gaussian pull to the origin) at its own
nbeta, and against lambda never.

Both are integrals of a function that changes on a scale of 1 / sqrt(nbeta) next to the zeros of K. The
panels of the quadrature halve towards them, so that within a panel every power of a coordinate changes by
a bounded factor at any nbeta, and Gauss-Legendre nodes converge geometrically.

Source: Watanabe 2009, Algebraic Geometry and Statistical Learning Theory; Lau et al. 2023 (arXiv:2308.12108).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Energy = Callable[[Float[Tensor, "*batch dim"]], Float[Tensor, "*batch"]]


@dataclass(frozen=True)
class Potential:
    """A landscape K with its exact learning coefficient.

    Attributes:
        name: K in the coordinates x, y.
        dim: Number of coordinates.
        energy: K itself, in the dtype of its argument; differentiable but for kinks.
        llc: Learning coefficient lambda at the origin, which here is that of the box [-1, 1]^dim as well.
        multiplicity: The power m of the logarithm, plus one.
        zeros: Where the quadrature looks closely: |x| or |y| of the pieces of K = 0 (and of kinks) that are
            parallel to an axis. The diagonals |x| = |y| are always edges of panels.
    """

    name: str
    dim: int
    energy: Energy
    llc: Fraction
    multiplicity: int
    zeros: tuple[float, ...] = (0.0,)


def _monomial(*powers: int) -> Energy:
    return lambda w: math.prod((w[..., i] ** power for i, power in enumerate(powers)), start=w.new_ones(()))


def _line_and_point(w: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    return (w[..., 0] - 1) ** 2 * w.square().sum(-1) ** 4


POTENTIALS: dict[str, Potential] = {
    potential.name: potential
    for potential in (
        Potential("x^2", 1, _monomial(2), Fraction(1, 2), 1),
        Potential("x^4", 1, _monomial(4), Fraction(1, 4), 1),
        Potential("x^2 + y^2", 2, lambda w: w.square().sum(-1), Fraction(1), 1),
        Potential("x^2 + y^4", 2, lambda w: w[..., 0] ** 2 + w[..., 1] ** 4, Fraction(3, 4), 1),
        Potential("x^2 y^2", 2, _monomial(2, 2), Fraction(1, 2), 2),
        Potential("x^2 y^4", 2, _monomial(2, 4), Fraction(1, 4), 1),
        Potential("x^2 y^6", 2, _monomial(2, 6), Fraction(1, 6), 1),
        Potential("x^4 y^4", 2, _monomial(4, 4), Fraction(1, 4), 2),
        Potential("min(x^2, y^2)", 2, lambda w: w.square().amin(-1), Fraction(1, 2), 1),
        # The square of (x - 1) (x^2 + y^2)^2, which is negative around the origin. On the line x = 1, lambda = 1/2.
        Potential("(x - 1)^2 (x^2 + y^2)^4", 2, _line_and_point, Fraction(1, 4), 1, zeros=(0.0, 1.0)),
    )
}


def thermodynamic_llc(potential: Potential, nbeta: float) -> float:
    """nbeta E[K], what an exact sampler reports as learning coefficient with a uniform prior on a box.

    The expectation is over the density proportional to exp(-nbeta K) on [-1, 1]^dim.

    Args:
        potential: In one or two dimensions, with its smallest value 0 at the origin.
        nbeta: Inverse temperature, n / ln n by custom; positive.

    Returns:
        Lambda in the limit, and before it the slower the larger m; relative error under 1e-9.

    Raises:
        ValueError: `nbeta` is not positive and finite, the potential has more than two dimensions, or the
            quadrature does not settle, because K has zeros or kinks away from `potential.zeros`.

    Example:
        >>> square, cross = POTENTIALS["x^2"], POTENTIALS["x^2 y^2"]
        >>> round(thermodynamic_llc(square, 1e3), 4), round(thermodynamic_llc(cross, 1e3), 4)
        (0.5, 0.3873)

    Source: the estimator of Lau et al. 2023, with its expectation taken exactly.
    """
    return _mean_energy(potential, nbeta, half_width=1.0, localization=0.0)


def localized_llc(potential: Potential, nbeta: float, *, localization: float) -> float:
    """nbeta E[K], what an exact sampler reports with a Gaussian pull to the origin, on the whole space.

    The expectation is over the density proportional to exp(-nbeta K - (localization / 2) |w|^2). For a quadratic
    K = sum_i h_i w_i^2 / 2 it is (1/2) sum_i nbeta h_i / (nbeta h_i + localization).

    Args:
        potential: In one or two dimensions, with its smallest value 0 at the origin.
        nbeta: Inverse temperature; positive.
        localization: Strength gamma of the pull; positive. The density ends ten of its widths from the origin.

    Returns:
        Lambda of the origin in the limit of large nbeta; relative error under 1e-9.

    Raises:
        ValueError: As for `thermodynamic_llc`, or `localization` is not positive and finite.

    Example:
        >>> round(localized_llc(POTENTIALS["x^2"], 1000.0, localization=2000.0), 9)  # 1000 / (2000 + 2000)
        0.25

    Source: the sampler of Lau et al. 2023 (arXiv:2308.12108), section 4, in the limit of small steps.
    """
    if not 0 < localization < math.inf:
        raise ValueError(f"localization must be positive and finite; got {localization}")
    return _mean_energy(potential, nbeta, half_width=10 / math.sqrt(localization), localization=localization)


def _mean_energy(potential: Potential, nbeta: float, half_width: float, localization: float) -> float:
    """The expectation by two quadratures, which must agree."""
    if not 0 < nbeta < math.inf:
        raise ValueError(f"nbeta must be positive and finite; got {nbeta}")
    if potential.dim not in (1, 2):
        raise ValueError(f"quadrature is for one or two dimensions; {potential.name} has {potential.dim}")
    edges = _edges(half_width, potential.zeros, finest=1 / (8 * math.sqrt(1 + nbeta)))
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * potential.dim)
    coarse, fine = (_ratio(potential, nbeta, localization, signs, *_nodes(edges, potential.dim, n)) for n in (20, 28))
    if not abs(coarse - fine) <= 1e-9 * abs(fine):
        raise ValueError(
            f"the quadrature of {potential.name} at nbeta = {nbeta} does not settle: {coarse} with 20 nodes a panel, "
            f"{fine} with 28; are there zeros or kinks away from {potential.zeros}?"
        )
    return fine


def _ratio(
    potential: Potential,
    nbeta: float,
    localization: float,
    signs: Float[Tensor, "..."],
    points: Float[Tensor, "node dim"],
    weights: Float[Tensor, " node"],
) -> float:
    """E[nbeta K] over all reflections of the nodes, which have no coordinate below zero."""
    energy = nbeta * potential.energy(signs.reshape(-1, 1, potential.dim) * points)
    density = weights * torch.exp(-energy - localization / 2 * points.square().sum(-1))
    return ((energy * density).sum() / density.sum()).item()


def _edges(half_width: float, zeros: Sequence[float], finest: float) -> Float[Tensor, " edge"]:
    """Edges of panels on [0, half_width] that halve towards each zero until they are no longer than `finest`."""
    looked_at = {abs(zero) for zero in zeros}
    stops = sorted({0.0, half_width} | {zero for zero in looked_at if zero < half_width})
    edges = set(stops)
    for low, high in pairwise(stops):
        halvings = range(1, 2 + max(0, math.ceil(math.log2((high - low) / finest))))
        steps = [(high - low) / 2**i for i in halvings]
        edges |= {low + step for step in steps if low in looked_at}
        edges |= {high - step for step in steps if high in looked_at}
    return torch.tensor(sorted(edges), dtype=torch.float64)


def _nodes(
    edges: Float[Tensor, " edge"], dim: int, order: int
) -> tuple[Float[Tensor, "node dim"], Float[Tensor, " node"]]:
    """Gauss-Legendre points and weights on the positive quadrant, the square cut along its diagonal."""
    unit, weight = (torch.from_numpy(array) / 2 for array in np.polynomial.legendre.leggauss(order))
    unit, low, width = unit + 0.5, edges[:-1], edges.diff()
    x, of_x = (low[:, None] + width[:, None] * unit).flatten(), (width[:, None] * weight).flatten()
    if dim == 1:
        return x[:, None], of_x
    height = (x[:, None] - low).clamp(min=0).minimum(width)  # what of each panel of y lies under the diagonal
    y = low[:, None] + height[..., None] * unit
    of_both = of_x[:, None, None] * height[..., None] * weight
    under = of_both > 0
    below = torch.stack([x[:, None, None].expand_as(y)[under], y[under]], dim=-1)
    return torch.cat([below, below.flip(-1)]), of_both[under].repeat(2)
