"""Numbers that sum up a spectrum: effective dimension, participation ratio, counts of negative and of zero.

    N_eff(z) = sum_i lambda_i / (lambda_i + z)          participation = (sum_i lambda_i)^2 / sum_i lambda_i^2

N_eff counts the directions that are stiffer than z, softly: it falls from the rank at z -> 0 to 0 at z -> infinity,
and scaling H and z together changes nothing. In a quadratic well, a sampler at inverse temperature nbeta with pull
gamma to its centre has a learning coefficient of exactly N_eff(gamma / nbeta) / 2.

Each number comes twice: exactly from given eigenvalues, and as an estimate with its error from what
`circuitgrok.landscape.lanczos` tells. A negative eigenvalue has no place in N_eff (at -z the term is infinite): only
the positive part of the spectrum enters, and the number and mass of the negative ones stand beside it.

No spectrum settles the learning coefficient: at a minimum rank / 2 <= lambda <= dim / 2, and x^4 has rank 0 but
lambda 1/4.

Source: MacKay 1992; Maddox, Benton and Wilson 2020 (arXiv:2003.02139).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.landscape.lanczos import (
    Bounded,
    Density,
    Estimate,
    Tridiagonal,
    count_below,
    density,
    over_probes,
    spectral_sum,
)
from circuitgrok.landscape.positive_part import PositiveSum, positive, positive_sum, shares


class EffectiveDimension(NamedTuple):
    """N_eff of the positive eigenvalues, and what the others amount to.

    Attributes:
        curve: N_eff for each z; 0..the number of positive eigenvalues.
        n_negative: Number of eigenvalues below 0; rounding makes some of zeros, see `inertia`.
        negative_mass: Sum of their absolute values.
    """

    curve: Float[Tensor, " z"]
    n_negative: Int[Tensor, ""]
    negative_mass: Float[Tensor, ""]


class EffectiveDimensionEstimate(NamedTuple):
    """The same from quadrature.

    Attributes:
        curve: N_eff for each z, with an error that holds the probes' part and the quadrature's, and its bounds.
        n_negative: Number of eigenvalues below 0, with the error of the probes beside the bounds of the quadrature.
        negative_mass: Sum of their absolute values, as the curve.
    """

    curve: PositiveSum
    n_negative: Bounded
    negative_mass: PositiveSum


def effective_dimension(eigenvalues: Float[Tensor, " eig"], z: Float[Tensor, " z"]) -> EffectiveDimension:
    """Effective dimension of a spectrum, as a curve over the stiffness z.

    Args:
        eigenvalues: All of them, in any order; zeros may be left out.
        z: Positive, in units of the eigenvalues. gamma / nbeta for a sampler; prior precision / n for Maddox.

    Raises:
        ValueError: A z is not positive. (The limit z -> 0 is the rank; count it by `inertia`.)

    Example:
        >>> spectrum = torch.tensor([2.0, 0.5, 0.01, -1.0], dtype=torch.float64)
        >>> curve, n_negative, mass = effective_dimension(spectrum, torch.tensor([0.1]))
        >>> round(curve.item() / 2, 4), n_negative.item(), mass.item()
        (0.9383, 1, 1.0)

    Source: Maddox et al. 2020 (arXiv:2003.02139), section 3.
    """
    negative = eigenvalues.clamp(max=0.0)
    curve = shares(z)(eigenvalues).sum(-1)
    return EffectiveDimension(curve, (negative < 0).sum(), -negative.sum())


def effective_dimension_slq(found: Tridiagonal, z: Float[Tensor, " z"]) -> EffectiveDimensionEstimate:
    """Effective dimension by quadrature, with an error that holds what the probes and what the quadrature leave open.

    Args:
        found: From `lanczos` at random probes.
        z: Positive, in units of the eigenvalues.

    Raises:
        ValueError: A z is not positive, or there are fewer than 2 steps.

    Example:
        >>> from circuitgrok.landscape.lanczos import lanczos, random_probes
        >>> probes = random_probes(2, 5, torch.Generator().manual_seed(0))
        >>> found = lanczos(lambda rows: 3 * rows, probes, 2)  # one eigenvalue, five times
        >>> effective_dimension_slq(found, torch.tensor([1.0, 3.0])).curve.value
        tensor([3.7500, 2.5000], dtype=torch.float64)
    """
    curve = positive_sum(found, shares(z))
    mirrored = found._replace(diagonal=-found.diagonal)  # the same probes in -H
    mass = PositiveSum(*(part[0] for part in positive_sum(mirrored, positive)))
    return EffectiveDimensionEstimate(curve, count_below(density(found), 0.0), mass)


class Inertia(NamedTuple):
    """How many eigenvalues lie below, within and above a band around zero, and their masses.

    Attributes:
        n_negative: Number below -threshold.
        n_near_zero: Number from -threshold to threshold.
        n_positive: Number above threshold.
        negative_mass: Sum of |lambda| of those below -threshold.
        positive_mass: Sum of lambda of those above threshold.
    """

    n_negative: int
    n_near_zero: int
    n_positive: int
    negative_mass: float
    positive_mass: float


class InertiaEstimate(NamedTuple):
    """The same from quadrature; the masses with the error of the probes alone."""

    n_negative: Bounded
    n_near_zero: Bounded
    n_positive: Bounded
    negative_mass: Estimate
    positive_mass: Estimate


def inertia(eigenvalues: Float[Tensor, " eig"], threshold: float) -> Inertia:
    """Numbers of negative, near-zero and positive eigenvalues.

    Args:
        eigenvalues: All of them.
        threshold: Half the width of the band, 0 or more; `rounding_threshold` is the least that makes sense.

    Raises:
        ValueError: The threshold is negative.

    Example:
        >>> inertia(torch.tensor([3.0, 1.0, 1e-9, -1e-9, -0.5]), threshold=1e-6)
        Inertia(n_negative=1, n_near_zero=2, n_positive=2, negative_mass=0.5, positive_mass=4.0)
    """
    _check_threshold(threshold)
    negative, positive = eigenvalues[eigenvalues < -threshold], eigenvalues[eigenvalues > threshold]
    n_zero = len(eigenvalues) - len(negative) - len(positive)
    return Inertia(len(negative), n_zero, len(positive), -negative.sum().item(), positive.sum().item())


def inertia_slq(density: Density, threshold: float) -> InertiaEstimate:
    """Numbers of negative, near-zero and positive eigenvalues by quadrature.

    Args:
        density: From `spectral_density`.
        threshold: Half the width of the band; positive. Nodes do not resolve a band narrower than about
            largest / n_steps^2, which shows in the bounds of the counts.

    Raises:
        ValueError: The threshold is negative.

    Example:
        >>> density = Density(torch.tensor([[-1.0, 0.0, 2.0]] * 2), torch.tensor([[1.0, 6.0, 3.0]] * 2))
        >>> [count.value.item() for count in inertia_slq(density, threshold=0.5)[:3]]
        [1.0, 6.0, 3.0]
    """
    _check_threshold(threshold)
    total = density.weights.sum(-1).mean()
    negative, not_positive = count_below(density, -threshold), count_below(density, threshold)
    value, stderr, lower, upper = not_positive
    positive = Bounded(total - value, stderr, total - upper, total - lower)
    inside = (density.weights * ((density.nodes >= -threshold) & (density.nodes < threshold))).sum(-1)
    near_zero = Bounded(
        *over_probes(inside),
        (lower - negative.upper).clamp(min=0.0),
        (upper - negative.lower).clamp(max=total),
    )
    masses = (
        spectral_sum(density, lambda nodes: -nodes * (nodes < -threshold)),
        spectral_sum(density, lambda nodes: nodes * (nodes >= threshold)),
    )
    return InertiaEstimate(negative, near_zero, positive, *masses)


def rounding_threshold(largest: float, dim: int, dtype: torch.dtype = torch.float64) -> float:
    """Size of the eigenvalues that rounding makes of zeros: dim * eps * |largest|.

    It presumes that the matrix itself is exact to eps of its norm, as products with the margin form of the loss are.

    Args:
        largest: The eigenvalue of largest absolute value.
        dim: Number of eigenvalues.
        dtype: That the products were computed in.

    Example:
        >>> rounding_threshold(2.0, 500)
        2.220446049250313e-13
    """
    return dim * torch.finfo(dtype).eps * abs(largest)


def participation_ratio(eigenvalues: Float[Tensor, " eig"]) -> Float[Tensor, ""]:
    """Number of eigenvalues that share the trace, (sum lambda)^2 / sum lambda^2.

    Args:
        eigenvalues: All of them. Negative ones enter with their sign, which brings the number down.

    Returns:
        k for k equal eigenvalues among zeros; nan if all are zero.

    Example:
        >>> participation_ratio(torch.tensor([2.0, 2.0, 2.0, 0.0]))
        tensor(3.)
    """
    return eigenvalues.sum().square() / eigenvalues.square().sum()


def participation_ratio_slq(density: Density) -> Estimate:
    """Participation ratio by quadrature: trace^2 over squared Frobenius norm, with a jackknife error over probes.

    Both moments are exact for each probe from two Lanczos steps on.

    Args:
        density: From `spectral_density`, n_steps at least 2.

    Example:
        >>> density = Density(torch.tensor([[0.0, 2.0]] * 2), torch.tensor([[1.0, 3.0]] * 2))
        >>> participation_ratio_slq(density)
        Estimate(value=tensor(3.), stderr=tensor(0.))
    """
    first, second = ((density.weights * density.nodes**power).sum(-1) for power in (1, 2))
    n = len(first)
    left_out = ((first.sum() - first) / (n - 1)).square() / ((second.sum() - second) / (n - 1))
    stderr = ((n - 1) * (left_out - left_out.mean()).square().mean()).sqrt()
    return Estimate(first.mean().square() / second.mean(), stderr)


def _check_threshold(threshold: float) -> None:
    if not threshold >= 0:
        raise ValueError(f"threshold must be 0 or more, half the width of a band around 0; got {threshold}")
