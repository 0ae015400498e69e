"""Learning coefficients in closed form: normal crossings, reduced-rank regression, deep linear networks.

The learning coefficient lambda (the real log canonical threshold) and its multiplicity m rule the free energy,
F_n = n L_n(w0) + lambda ln n - (m - 1) ln ln n + O(1). For a regular model with d parameters lambda = d / 2, m = 1.
A linear network learns a product of matrices, and the same product comes from whole families of factors. What
is left of d / 2 then depends on the widths less the rank r of the truth, D_s = H_s - r: with the l + 1 narrowest
layers, S the sum and Q the sum of squares of their D, and a = S mod l,

    lambda = r (H_0 + H_L - r) / 2 + (S^2 + a (l - a)) / (4 l) - Q / 4,   m = a (l - a) + 1.

All numbers are exact. They are what nbeta E[K] tends to as nbeta grows: m > 1 makes that slow.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple


class LearningCoefficient(NamedTuple):
    """Lambda and the order m of its pole, the pair that fixes the leading terms of the free energy."""

    llc: Fraction
    multiplicity: int


def normal_crossing_llc(exponents: Sequence[int], prior_exponents: Sequence[int] | None = None) -> LearningCoefficient:
    """Learning coefficient at the origin of K = prod_i w_i^(2 k_i) under a prior ~ prod_i |w_i|^(h_i).

    Every analytic K looks like this after blowing up; the h_i then belong to the Jacobian.

    Args:
        exponents: The k_i, half the powers in K. A coordinate with k_i = 0 does not count.
        prior_exponents: The h_i; all 0 if not given, a prior that is positive at the origin.

    Returns:
        The smallest (h_i + 1) / (2 k_i), and how many coordinates share it.

    Raises:
        ValueError: No k_i is positive, one of k_i or h_i is negative, or there are not as many h_i as k_i.

    Example:
        >>> normal_crossing_llc([1, 1])  # x^2 y^2
        LearningCoefficient(llc=Fraction(1, 2), multiplicity=2)
        >>> normal_crossing_llc([4], [1])  # (x^2 + y^2)^4 is r^8, and the area r dr
        LearningCoefficient(llc=Fraction(1, 4), multiplicity=1)

    Source: Watanabe 2009, Algebraic Geometry and Statistical Learning Theory.
    """
    prior = [0] * len(exponents) if prior_exponents is None else prior_exponents
    if len(prior) != len(exponents):
        raise ValueError(f"there must be as many prior exponents as exponents; got {len(prior)} and {len(exponents)}")
    if min([*exponents, *prior], default=0) < 0 or not any(exponents):
        raise ValueError(f"exponents must be 0 or more and not all 0; got {list(exponents)} and {list(prior)}")
    poles = [Fraction(h + 1, 2 * k) for k, h in zip(exponents, prior, strict=True) if k]
    return LearningCoefficient(min(poles), poles.count(min(poles)))


def reduced_rank_regression_llc(n_in: int, n_hidden: int, n_out: int, rank: int) -> LearningCoefficient:
    """Learning coefficient of y = B A x + noise with A [n_hidden n_in], B [n_out n_hidden], a truth of this rank.

    Args:
        n_in: Width M of the input.
        n_hidden: Width H of the hidden layer.
        n_out: Width N of the output.
        rank: Rank r of the true n_out x n_in matrix; at most the smallest of the three widths.

    Returns:
        Lambda, at most half of n_hidden (n_in + n_out), and the multiplicity, 1 or 2.

    Raises:
        ValueError: A width is not positive, or the model cannot realise the rank.

    Example:
        >>> reduced_rank_regression_llc(5, 3, 5, rank=0)
        LearningCoefficient(llc=Fraction(13, 2), multiplicity=2)

    Source: Aoyagi and Watanabe 2005, Neural Networks 18 (7), with the four cases as they stand there.
    """
    _check([n_in, n_hidden, n_out], rank)
    m, h, n, r = n_in, n_hidden, n_out, rank
    if m + h < n + r:
        return LearningCoefficient(Fraction(h * (m - r) + n * r, 2), 1)
    if n + h < m + r:
        return LearningCoefficient(Fraction(h * (n - r) + m * r, 2), 1)
    if m + n < h + r:
        return LearningCoefficient(Fraction(m * n, 2), 1)
    odd = (m + h + n + r) % 2
    return LearningCoefficient(Fraction(2 * (h + r) * (m + n) + odd - (h + r) ** 2 - (m - n) ** 2, 8), 1 + odd)


def deep_linear_network_llc(widths: Sequence[int], rank: int) -> LearningCoefficient:
    """Learning coefficient of y = W_L ... W_1 x + noise with W_s [H_s H_(s-1)], a truth of this rank.

    Permuting hidden layers changes nothing, nor does turning the network round. Permuting all layers keeps m
    and lambda - r (H_0 + H_L) / 2. Of the layers only the narrowest count, besides the two ends: widening a layer
    that is left out, or adding one that would be, is free.

    Args:
        widths: H_0 (input), the hidden layers, H_L (output): two or more.
        rank: Rank r of the true H_L x H_0 matrix; at most the smallest width.

    Returns:
        Lambda, at most half the number of parameters and at most H_0 H_L / 2, and the multiplicity.

    Raises:
        ValueError: There are fewer than two widths, one is not positive, or the model cannot realise the rank.

    Example:
        >>> deep_linear_network_llc([10, 10, 10, 10], rank=3)
        LearningCoefficient(llc=Fraction(42, 1), multiplicity=3)

    Source: Aoyagi 2024, Neural Networks 172 (106132), rearranged; `l` is her smallest l that satisfies both conditions.
    """
    _check(widths, rank)
    excess = sorted(width - rank for width in widths)
    sums = list(accumulate(excess))
    # Both conditions, S >= l D_l and S < l D_(l+1), say that S_l >= l D_l holds at l and fails at l + 1. It holds at
    # l = 1, and S_l - l D_l never grows with l: the layers that count are all those at which it holds.
    ell = max(s for s in range(1, len(excess)) if sums[s] >= s * excess[s])
    total, squares = sums[ell], sum(d * d for d in excess[: ell + 1])
    spread = total % ell * (ell - total % ell)
    regular = Fraction(rank * (widths[0] + widths[-1] - rank), 2)
    return LearningCoefficient(regular + Fraction(total**2 + spread, 4 * ell) - Fraction(squares, 4), spread + 1)


def _check(widths: Sequence[int], rank: int) -> None:
    """Refuses what is not a linear network, or cannot be this rank."""
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"a linear network has two or more widths, all positive; got {list(widths)}")
    if not 0 <= rank <= min(widths):
        raise ValueError(f"rank must be in 0..{min(widths)} for widths {list(widths)}; got {rank}")
