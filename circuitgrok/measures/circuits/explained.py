"""How much of the logits the formula for addition explains: its coefficients, and its share of their variance.

The formula is sum_k alpha_k cos(w_k (a + b - c)), w_k = 2 pi k / p, over the key frequencies k, with coefficients from
least squares over all p^3 triples of two numbers and a class. Unlike the sum waves of `circuits.restricted`, which each
class may weigh as it likes, it leaves one number for each frequency. Everything takes leading stack axes on the logits,
goes through `torch.func.vmap` over them, and answers in float64.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.1.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.measures.spectra.fourier import fourier_basis
from circuitgrok.measures.spectra.sum_waves import check_freqs, squares_about_mean, sum_logits


def cosine_coefficients(logits: Float[Tensor, "*stack pair c"]) -> Float[Tensor, "*stack freq"]:
    """Least-squares coefficient alpha_k of cos(w_k (a + b - c)) in the logits, for each k = 1..p // 2.

    The cubes cos(w_k (a + b - c)) are orthogonal and depend on t = (a + b - c) mod p only, so that sums
    of the logits along t are all that is needed: alpha_k = (2 / p^3) sum_t D[t] cos(w_k t).

    Args:
        logits: Of all pairs, as in `measures`.

    Returns:
        In units of the logits; negative if the wave is upside down. Entry i belongs to frequency i + 1.

    Raises:
        ValueError: `logits` is not [p^2, p].

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(7)] * 3, indexing="ij")
        >>> clock = 5 * torch.cos(2 * torch.pi * 3 / 7 * (a + b - c)).reshape(49, 7)
        >>> cosine_coefficients(clock).round(decimals=4).abs()
        tensor([0., 0., 5.], dtype=torch.float64)

    Source: Nanda et al. 2023, section 4.1.
    """
    sums = sum_logits(logits)
    p = sums.shape[-1]
    residue = torch.arange(p, device=logits.device)
    diagonal = p * sums[..., (residue[:, None] + residue) % p, residue].sum(-1)
    cosines = fourier_basis(p)[1::2].to(logits.device)
    return diagonal @ cosines.T * cosines[:, 0] / p**2  # cosines[:, 0] is 1 / norm of cos(w_k t)


def frac_explained(logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]) -> Float[Tensor, "*stack"]:
    """Share of the logits' variance that sum_k alpha_k cos(w_k (a + b - c)) explains, k in `key_freqs`.

    Args:
        logits: Of all pairs, as in `measures`.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        0..1; the variance is about the overall mean, one number, so that class offsets count as unexplained. nan if
        the logits do not vary at all.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(7)] * 3, indexing="ij")
        >>> wave = [torch.cos(2 * torch.pi * k / 7 * (a + b - c)).reshape(49, 7) for k in (1, 2, 3)]
        >>> frac_explained(3 * wave[0] + 1 * wave[2] + 7, torch.tensor([1])).round(decimals=4)  # 9 of 10
        tensor(0.9000, dtype=torch.float64)

    Source: Nanda et al. 2023, section 4.1.
    """
    return _explained(logits, key_freqs) / squares_about_mean(logits)


def frac_explained_within_classes(
    logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack"]:
    """Share of the logits' variance about the mean of each class that sum_k alpha_k cos(w_k (a + b - c)) explains.

    Offsets of classes, the same for every pair, are variance about the overall mean that no wave can explain: over the
    pairs each wave has the mean 0 for every class. So this is `frac_explained` of logits with their class means taken
    out, and no less than that of the logits as they are.

    Args:
        logits: Of all pairs, as in `measures`.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        0..1; nan if no class's logit varies over the pairs.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(7)] * 3, indexing="ij")
        >>> wave = 8**0.5 * torch.cos(2 * torch.pi * 3 / 7 * (a + b - c)).reshape(49, 7)  # of variance 4
        >>> logits = wave + torch.arange(7)  # and offsets of variance 4
        >>> [f(logits, torch.tensor([3])).round(decimals=4) for f in (frac_explained, frac_explained_within_classes)]
        [tensor(0.5000, dtype=torch.float64), tensor(1., dtype=torch.float64)]

    Source: ours; the paper does not say which mean it takes.
    """
    return _explained(logits, key_freqs) / squares_about_mean(logits, within_classes=True)


def _explained(logits: Tensor, key_freqs: Tensor) -> Float[Tensor, "*stack"]:
    """Sum of squares of sum_k alpha_k cos(w_k (a + b - c)) over all triples."""
    alpha = cosine_coefficients(logits)
    p = logits.shape[-1]
    check_freqs(key_freqs, p)
    norms = p / fourier_basis(p)[1::2, 0].to(logits.device)  # of the cubes: p times that of cos(w_k t)
    return (alpha * norms).square()[..., key_freqs.long() - 1].sum(-1)
