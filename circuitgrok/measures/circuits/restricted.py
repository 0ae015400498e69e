"""How much of a network's behaviour is the circuit: restricted and excluded loss, variance explained.

Logits are a function on the p x p grid of inputs (a, b), one column per class. The circuit for addition
writes cos(w_k (a + b - c)), w_k = 2 pi k / p, for a few key frequencies k; as a function of the inputs
that is a mix of the two sum waves cos(w_k (a + b)) and sin(w_k (a + b)). Write P_S for the projection
of each column on the sum waves of the key frequencies. Then

    restricted logits = P_S L + mean of L over the pairs, for each class
    excluded logits   = L - P_S L

and each loss is the mean cross-entropy of those over the pairs that `where` picks. The projection needs
all p^2 pairs, so that the split comes after it. Sum waves are functions of t = (a + b) mod p, and all
that is restricted lives in a table [p c]. Find `key_freqs` once, by a rule of `spectra.key_freqs` at one
checkpoint, and keep them along the run.

Where many losses of the same logits are wanted, `spectra.sum_waves` takes that table once.

Everything takes leading stack axes on the logits, goes through `torch.func.vmap` over them, and answers
in float64, where losses below 1e-7 can still be told apart.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 5.1, and the authors' code.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.scores import picked
from circuitgrok.measures.spectra.fourier import fourier_basis
from circuitgrok.measures.spectra.sum_waves import (
    check_freqs,
    losses_of_sums,
    losses_without,
    pair_sums,
    rivals,
    squares_about_mean,
    sum_logits,
    wave_tables,
)


def restricted_logits(
    logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack pair c"]:
    """Logits that may depend on the inputs through the sum waves of the key frequencies only.

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.
        key_freqs: Distinct integers in 1..p // 2, which is (p - 1) / 2 for odd p. If empty, the mean is left.

    Returns:
        P_S L, plus the mean of L over all pairs for each class.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> logits = torch.randn(25, 5, generator=torch.Generator().manual_seed(0))
        >>> kept = restricted_logits(logits, torch.tensor([2]))
        >>> torch.allclose(kept[1 * 5 + 3], kept[2 * 5 + 2])  # 1 + 3 = 2 + 2
        True
    """
    return _restricted_table(logits, key_freqs)[..., pair_sums(logits), :]


def excluded_logits(
    logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack pair c"]:
    """Logits without the sum waves of the key frequencies, all of them taken out at once.

    Args:
        logits: As for `restricted_logits`.
        key_freqs: As for `restricted_logits`. An empty set leaves the logits as they are.

    Returns:
        L - P_S L. With the restricted logits they sum to L plus its mean over the pairs.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = torch.cos(2 * torch.pi * 2 / 5 * (a + b - c)).reshape(25, 5)
        >>> excluded_logits(clock, torch.tensor([2])).abs().max().item() < 1e-6
        True
    """
    return logits.double() - wave_tables(sum_logits(logits), key_freqs).sum(-3)[..., pair_sums(logits), :]


def restricted_loss(
    logits: Float[Tensor, "*stack pair c"],
    labels: Int[Tensor, " pair"],
    key_freqs: Int[Tensor, " freq"],
    where: Bool[Tensor, " pair"],
) -> Float[Tensor, "*stack"]:
    """Loss when the logits may depend on the inputs through the key frequencies only, mean kept.

    A finished circuit loses nothing by this. A small value is no proof of one: restricted logits average over the pairs
    of equal sum, and so carry the answers to training pairs over to all others, the further the more frequencies are
    key. A look-up table with logits of 100 at the right class of 30 % of all pairs and at a random one of the others
    has, at p = 97 with random key sets and on the pairs it does not know, 2 nats with 5 frequencies, .5 with 10, 9e-4
    with 24, 6e-9 with all 48, where chance is ln 97 = 4.6. So it keeps little only where few frequencies are key and
    logits are small. `unseen.restricted_loss_unseen` is not taken in; `unseen.restricted_loss_blank` is the control.

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.
        labels: (a + b) mod p, in the same order.
        key_freqs: Distinct integers in 1..p // 2; p - k is the same wave as k.
        where: The pairs to average over: the training set, the test set, all.

    Returns:
        Mean cross-entropy of `restricted_logits`, in nats; ln p if nothing is left.

    Raises:
        ValueError: `logits` is not [p^2, p], a frequency is out of range or repeated, or no pair is picked.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(13)] * 3, indexing="ij")
        >>> clock = sum(8 * torch.cos(2 * torch.pi * k / 13 * (a + b - c)) for k in (2, 5)).reshape(169, 13)
        >>> labels, everywhere = ((a + b) % 13)[..., 0].flatten(), torch.ones(169, dtype=torch.bool)
        >>> full = cross_entropy(clock, labels).mean()
        >>> torch.isclose(restricted_loss(clock, labels, torch.tensor([2, 5]), everywhere), full)
        tensor(True)

    Source: Nanda et al. 2023, section 5.1. The paper counts 20 terms for five frequencies; like the
    authors' code we take the two sum waves of each, at the logits, and keep the constant.
    """
    pairs = picked(where)
    return losses_of_sums(_restricted_table(logits, key_freqs), labels)[..., pairs].mean(-1)


def excluded_loss(
    logits: Float[Tensor, "*stack pair c"],
    labels: Int[Tensor, " pair"],
    key_freqs: Int[Tensor, " freq"],
    where: Bool[Tensor, " pair"],
) -> Float[Tensor, "*stack"]:
    """Loss without the sum waves of the key frequencies, all of them taken out at once.

    On the training set it first falls with memorisation and rises again as the circuit takes over.

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.
        labels: (a + b) mod p, in the same order.
        key_freqs: Distinct integers in 1..p // 2.
        where: The pairs to average over; the training set in the paper.

    Returns:
        Mean cross-entropy of `excluded_logits`, in nats. Nothing is added back.

    Raises:
        ValueError: `logits` is not [p^2, p], a frequency is out of range or repeated, or no pair is picked.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(13)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi * 6 / 13 * (a + b - c)).reshape(169, 13)
        >>> labels, everywhere = ((a + b) % 13)[..., 0].flatten(), torch.ones(169, dtype=torch.bool)
        >>> excluded_loss(clock, labels, torch.tensor([6]), everywhere).exp().round(decimals=4)  # chance
        tensor(13., dtype=torch.float64)

    Source: Nanda et al. 2023, section 5.1, figure 7.
    """
    pairs = picked(where)
    waves = wave_tables(sum_logits(logits), key_freqs).sum(-3)[..., pair_sums(logits)[pairs], :]
    return cross_entropy(logits[..., pairs, :].double() - waves, labels[pairs]).mean(-1)


def excluded_loss_by_freq(
    logits: Float[Tensor, "*stack pair c"],
    labels: Int[Tensor, " pair"],
    key_freqs: Int[Tensor, " freq"],
    where: Bool[Tensor, " pair"],
) -> Float[Tensor, "*stack freq"]:
    """Loss without the sum waves of one key frequency, for each of them in turn.

    Args:
        logits: As for `excluded_loss`.
        labels: As for `excluded_loss`.
        key_freqs: Distinct integers in 1..p // 2.
        where: The pairs to average over.

    Returns:
        In nats, in the order of `key_freqs`; nan where `losses_without` says so.

    Raises:
        ValueError: `logits` is not [p^2, p], a frequency is out of range or repeated, or no pair is picked.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi * 2 / 5 * (a + b - c)).reshape(25, 5)
        >>> labels, everywhere = ((a + b) % 5)[..., 0].flatten(), torch.ones(25, dtype=torch.bool)
        >>> excluded_loss_by_freq(clock, labels, torch.tensor([1, 2]), everywhere).round(decimals=4)
        tensor([0.0079, 1.6094], dtype=torch.float64)

    Source: the authors' code of Nanda et al. 2023, which excludes one frequency at a time.
    """
    pairs = picked(where)
    waves = wave_tables(sum_logits(logits), key_freqs)
    return losses_without(rivals(logits, labels), waves)[..., pairs].mean(-1)


def cosine_coefficients(logits: Float[Tensor, "*stack pair c"]) -> Float[Tensor, "*stack freq"]:
    """Least-squares coefficient alpha_k of cos(w_k (a + b - c)) in the logits, for each k = 1..p // 2.

    The cubes cos(w_k (a + b - c)) are orthogonal and depend on t = (a + b - c) mod p only, so that sums
    of the logits along t are all that is needed: alpha_k = (2 / p^3) sum_t D[t] cos(w_k t).

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.

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
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.
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
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.
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


def _restricted_table(logits: Tensor, key_freqs: Tensor) -> Float[Tensor, "*stack p c"]:
    sums = sum_logits(logits)
    return wave_tables(sums, key_freqs).sum(-3) + sums.mean(-2, keepdim=True)
