"""Shares of a sphere that are known in closed form: caps, quadratic forms, and version spaces of perceptrons.

A direction u is uniform on the unit sphere in d dimensions. Shares of interest are e^-100 and less, so all of them are
natural logarithms, computed as such.

    cap of angle phi <= pi / 2        1/2 I_{sin^2 phi}((d - 1) / 2, 1/2)
    |u_1..k|^2 <= s                   I_s(k / 2, (d - k) / 2)
    n orthogonal inputs, any labels   2^-n
    two inputs at an angle            (pi - angle) / 2 pi, with equal labels
    n = load d labels of a teacher    exp(d entropy(load)), as d grows

with I the regularised incomplete beta function.

Source: the first four are elementary; for the teacher Gardner and Derrida 1989 (J. Phys. A 22, 1983), in the form of
Engel and Van den Broeck 2001, Statistical Mechanics of Learning, chapter 2.
"""

import math
from functools import lru_cache

import numpy as np

_NODES = 400  # of the quadrature over a standard normal number, between -_REACH and _REACH
_REACH = 12.0


def ln_beta_share(x: float, a: float, b: float) -> float:
    """ln I_x(a, b), the logarithm of the regularised incomplete beta function, also where it underflows.

    Args:
        x: Between 0 and 1.
        a: Positive.
        b: Positive.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> round(ln_beta_share(0.5, 1.0, 1.0), 12) == round(math.log(0.5), 12)
        True
        >>> round(ln_beta_share(1e-3, 200.0, 2.0), 3)
        -1376.249
    """
    from scipy.special import betainc, betaln, hyp2f1

    if not 0 <= x <= 1 or a <= 0 or b <= 0:
        raise ValueError(f"x must be in 0..1, and a and b positive; got {x}, {a} and {b}")
    share = float(betainc(a, b, x))
    if share > 1e-200 or x == 0:
        return math.log(share) if share > 0 else -math.inf
    series = float(hyp2f1(a + b, 1.0, a + 1.0, x))  # all its terms are positive, and x is small here
    return a * math.log(x) + b * math.log1p(-x) - math.log(a) - float(betaln(a, b)) + math.log(series)


def ln_cap(dim: int, angle: float) -> float:
    """ln of the share of the sphere in `dim` dimensions that lies within an angle of a point, in radians.

    >>> round(math.exp(ln_cap(3, 1.0)), 6) == round((1 - math.cos(1.0)) / 2, 6)
    True
    """
    if not 0 <= angle <= math.pi or dim < 2:
        raise ValueError(f"angle must be in 0..pi, and dim 2 or more; got {angle} and {dim}")
    if angle > math.pi / 2:
        return math.log1p(-math.exp(ln_cap(dim, math.pi - angle)))
    return ln_beta_share(math.sin(angle) ** 2, (dim - 1) / 2, 0.5) - math.log(2)


def ln_quadratic(dim: int, rank: int, share: float) -> float:
    """ln of the share of the sphere on which `rank` of `dim` coordinates have at most this share of |u|^2.

    >>> round(math.exp(ln_quadratic(2, 1, 0.5)), 12)  # |x| <= |y|
    0.5
    """
    if not 0 < rank < dim:
        raise ValueError(f"rank must be between 0 and dim; got {rank} and {dim}")
    return ln_beta_share(share, rank / 2, (dim - rank) / 2)


def ln_two_inputs(angle: float) -> float:
    """ln of the share of perceptrons that answer two inputs at an angle with the same given label, in radians.

    >>> math.exp(ln_two_inputs(math.pi / 2))
    0.25
    """
    if not 0 <= angle < math.pi:
        raise ValueError(f"angle must be in 0..pi; got {angle}")
    return math.log((math.pi - angle) / (2 * math.pi))


@lru_cache
def teacher_entropy(load: float) -> float:
    """Entropy per weight, in nats, of the perceptrons that answer as a teacher does, in the limit of many weights.

    With n = load d random inputs the share of the sphere is exp(d entropy) to leading order in d, and

        entropy = extr_q  ln(1 - q) / 2 + q / 2 + 2 load E[H(g t) ln H(g t)],   g = sqrt(q / (1 - q)),

    t standard normal and H its upper tail; q is the overlap of two solutions, which is also theirs with the teacher.

    Args:
        load: Inputs per weight, 0 or more.

    Example:
        >>> round(teacher_entropy(0.01) / 0.01, 2) == round(-math.log(2), 2)  # first inputs are one bit each
        True
        >>> round(teacher_entropy(1.0), 3), round(teacher_entropy(2.0), 3)
        (-0.596, -1.031)
    """
    if load < 0:
        raise ValueError(f"load must be 0 or more; got {load}")
    if load == 0:
        return 0.0
    from scipy.optimize import brentq

    # in x = ln(q / (1 - q)) the extremum is where the free energy's derivative in q changes its sign
    x = float(brentq(lambda x: _slope(1 / (1 + math.exp(-x)), load), -20.0, 30.0, xtol=1e-12))  # pyright: ignore
    q = 1 / (1 + math.exp(-x))
    return math.log1p(-q) / 2 + q / 2 + 2 * load * _mean_of_tails(math.exp(x / 2))


def _slope(q: float, load: float) -> float:
    """q / sqrt(1 - q) less (load / pi) E[exp(-q t^2 / 2) / H(sqrt(q) t)]: zero at the extremum."""
    from scipy.special import log_ndtr

    t, weight = _normal()
    # H(sqrt(q) t) is the normal integral of -sqrt(q) t
    inner = np.exp(-q * t**2 / 2 - log_ndtr(-math.sqrt(q) * t))
    return q / math.sqrt(1 - q) - load / math.pi * float(weight @ inner)


def _mean_of_tails(g: float) -> float:
    """E[H(g t) ln H(g t)] over a standard normal t."""
    from scipy.special import log_ndtr

    t, weight = _normal()
    tail = log_ndtr(-g * t)
    return float(weight @ (np.exp(tail) * tail))


@lru_cache
def _normal() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes, and their weights with the standard normal density."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    t = _REACH * nodes
    return t, _REACH * weights * np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
