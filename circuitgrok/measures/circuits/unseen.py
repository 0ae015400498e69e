"""Restricted loss that memories cannot lower, and the part of the published one that they could have made.

Restricted logits average over the pairs of equal sum. Those of a network that only memorised are right on the training
pairs, and the average carries that over to all others, so that on pairs it never saw a look-up table has a restricted
loss of next to nothing where most frequencies are key (`restricted_losses` has figures). Call a pair unseen if
neither it nor its mirror (b, a) was trained on (`test_mirror_unseen`): one that a symmetric network cannot know by
heart either. Then

    restricted_loss_unseen   the same waves, fitted to the unseen pairs and scored on them;
    restricted_loss_blank    the published loss of the same logits with the unseen pairs' blanked: what the rest alone
                             would give, whatever the network makes of pairs that it has not seen.

Two bounds make them comparable, both by the convexity of cross-entropy, and both for key sets of any size. If what a
network answers to unseen pairs says nothing of their labels, all permutations of its classes being as likely, then

    E restricted_loss_unseen >= ln p,  since a mean of -log q_c over the classes c is at least -log (1/p), and
    E restricted_loss >= restricted_loss_blank,  since blanked logits are the mean of all permuted ones.

So a circuit that reaches unseen pairs shows in the first being below ln p, and in the published loss being below its
blank. Both always exist where there are unseen pairs, while random sets of other frequencies (`controls.random_sets`)
need as many others as there are key ones: past half of all frequencies there is no sparse spectrum to speak of.

Everything takes leading stack axes on the logits, goes through `torch.func.vmap` over them, and answers in float64.

Source: ours.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.measures.circuits.restricted import circuit_of_sums, restricted_losses, together
from circuitgrok.measures.scores import picked
from circuitgrok.measures.spectra.fourier import fourier_basis
from circuitgrok.measures.spectra.sum_waves import (
    check_classes,
    losses_of_sums,
    pair_sums,
    sum_logits_where,
    wave_rows,
)

NO_SPARSE_SPECTRUM = "no sparse spectrum"  # status of a run that more than half of all frequencies are key of


def restricted_loss_unseen(
    logits: Float[Tensor, "*stack pair c"],
    labels: Int[Tensor, " pair"],
    key_freqs: Int[Tensor, " freq"],
    unseen: Bool[Tensor, " pair"],
) -> Float[Tensor, "*stack"]:
    """Restricted loss that is taken from unseen pairs alone: training pairs are neither averaged over nor scored.

    The logits of the unseen pairs are fitted, class by class and by least squares over these pairs, by a constant and
    the sum waves cos(w_k (a + b)) and sin(w_k (a + b)) of the key frequencies; the fit's cross-entropy is averaged over
    the same pairs. With all p^2 pairs as unseen ones this is the published loss, where the waves are orthogonal and the
    fit is their projection. Logits that are functions of a + b made of these waves are fitted exactly: their
    loss is the full one. Functions of a or b alone cancel over all pairs and only nearly so over some.

    Args:
        logits: Of all pairs, as in `measures`.
        labels: (a + b) mod p, in the same order.
        key_freqs: Distinct integers in 1..p // 2.
        unseen: Pairs that were not trained on, nor their mirrors: the split `test_mirror_unseen`.

    Returns:
        In nats. nan if there are no unseen pairs, or their sums are too few to tell the waves apart: at least as many
        different sums as waves and the constant, 1 + 2 K, must occur (`few_sums`). For answers that say nothing of
        the labels at least ln p in the mean, whatever the key set.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(13)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi * 5 / 13 * (a + b - c)).reshape(169, 13).double()
        >>> labels, unseen = ((a + b) % 13)[..., 0].flatten(), torch.arange(169) < 50
        >>> table = torch.where(unseen[:, None], 0, 9 * torch.eye(13).double()[labels])  # learnt by heart, 0 elsewhere
        >>> every = torch.arange(1, 7)
        >>> [round(restricted_loss_unseen(x, labels, every, unseen).exp().item(), 3) for x in (clock, table)]
        [1.865, 13.0]
    """
    fit = _fit_unseen(logits, key_freqs, unseen)
    return losses_of_sums(fit, labels)[..., picked(unseen)].mean(-1) if fit is not None else _unknown(logits)


def restricted_accuracy_unseen(
    logits: Float[Tensor, "*stack pair c"],
    labels: Int[Tensor, " pair"],
    key_freqs: Int[Tensor, " freq"],
    unseen: Bool[Tensor, " pair"],
) -> Float[Tensor, "*stack"]:
    """The share of unseen pairs that the fit of `restricted_loss_unseen` answers right; arguments are the same.

    Where the network itself answers them wrong, the circuit is there and something else is louder. Answers that say
    nothing of the labels, all permutations of the classes being as likely, give 1 / p in the mean.

    Returns:
        0..1; nan where the loss is.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(13)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi * 5 / 13 * (a + b - c)).reshape(169, 13).double()
        >>> labels, unseen = ((a + b) % 13)[..., 0].flatten(), torch.arange(169) < 50
        >>> [restricted_accuracy_unseen(x, labels, torch.tensor([5]), unseen).item() for x in (clock, -clock)]
        [1.0, 0.0]
    """
    fit = _fit_unseen(logits, key_freqs, unseen)
    if fit is None:
        return _unknown(logits)
    pairs = picked(unseen)
    answers = fit.argmax(-1)[..., pair_sums(logits)[pairs]]
    return (answers == labels[pairs]).double().mean(-1)


def _fit_unseen(
    logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"], unseen: Bool[Tensor, " pair"]
) -> Float[Tensor, "*stack p c"] | None:
    """Constant and sum waves fitted to the logits of unseen pairs, by the sum; None if the pairs do not tell them."""
    p = check_classes(logits)
    counts = torch.bincount(pair_sums(logits)[unseen], minlength=p).double()
    weight = counts.sqrt()[:, None]
    waves = _constant_and_waves(key_freqs, p).mT.to(logits.device)
    if not bool(unseen.any()) or few_sums(key_freqs, unseen):
        return None
    means = sum_logits_where(logits, unseen) / counts.clamp(min=1)[:, None]
    return waves @ (torch.linalg.pinv(weight * waves) @ (weight * means))


def _unknown(logits: Float[Tensor, "*stack pair c"]) -> Float[Tensor, "*stack"]:
    return logits.new_full(logits.shape[:-2], torch.nan, dtype=torch.float64)


def few_sums(key_freqs: Int[Tensor, " freq"], unseen: Bool[Tensor, " pair"]) -> bool:
    """Whether too few sums occur among the unseen pairs to tell the sum waves of the key frequencies apart.

    For prime p that is so if there are fewer of them than waves and the constant (every minor of a Fourier matrix of
    prime order is nonzero, Chebotarev); for other moduli the rank of the waves on these sums decides.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> few_sums(torch.tensor([1]), torch.arange(25) < 2), few_sums(torch.tensor([1]), torch.arange(25) < 3)
        (True, False)
    """
    p = math.isqrt(len(unseen))
    waves = _constant_and_waves(key_freqs, p)
    there = torch.bincount(pair_sums(torch.empty(p))[unseen.cpu()], minlength=p) > 0
    return int(torch.linalg.matrix_rank(waves[:, there])) < len(waves) if bool(there.any()) else True


def restricted_loss_blank(
    logits: Float[Tensor, "*stack pair c"],
    labels: Int[Tensor, " pair"],
    key_freqs: Int[Tensor, " freq"],
    unseen: Bool[Tensor, " pair"],
    where: Bool[Tensor, " pair"],
) -> Float[Tensor, "*stack"]:
    """Control of the same size for restricted loss: the published one once unseen pairs' logits are blanked.

    What the network says to training pairs and their mirrors is left, and averaged over all pairs of equal sum as in
    the published measure; every unseen pair says the same of all classes. A network that only memorised has a
    restricted loss of about this, and not less than this in the mean. A circuit that works on unseen pairs too has
    less: its logits are blanked to the share of pairs that were seen, and so its margins shrink to that share.

    Args:
        logits: Of all pairs, as in `measures`.
        labels: (a + b) mod p, in the same order.
        key_freqs: Distinct integers in 1..p // 2.
        unseen: Pairs that were not trained on, nor their mirrors.
        where: The pairs to average over.

    Returns:
        In nats; without unseen pairs the published loss itself.

    Raises:
        ValueError: `logits` is not [p^2, p], a frequency is out of range or repeated, or no pair is picked.

    Example:
        >>> labels = (torch.arange(5)[:, None] + torch.arange(5)).flatten() % 5
        >>> everywhere, every = torch.ones(25, dtype=torch.bool), torch.tensor([1, 2])
        >>> blank = restricted_loss_blank(9 * torch.eye(5)[labels], labels, every, everywhere, everywhere)
        >>> blank.exp().round(decimals=3)
        tensor(5., dtype=torch.float64)
    """
    sums = sum_logits_where(logits, ~unseen) / check_classes(logits)
    sums = sums - sums.mean(-1, keepdim=True)  # a pair's mean over the classes says nothing: what blanked pairs have
    losses = restricted_losses(together(circuit_of_sums(sums, key_freqs)), labels)
    return losses[..., 0, picked(where)].mean(-1)


def is_sparse(key_freqs: Int[Tensor, " freq"], p: int) -> bool:
    """Whether the key frequencies are at most half of all, so that restricting to them can say something.

    What averages over equal sums carry over from memories is a peak at the right class, which holds equal parts of all
    frequencies: restricting to K of the p // 2 keeps the share K / (p // 2) of its height over the mean class. Past
    half, restricted loss keeps most of it, and there are not as many other frequencies to compare with. Below half it
    is no proof either: compare it with `restricted_loss_blank`.

    Example:
        >>> is_sparse(torch.tensor([1, 4]), p=11), is_sparse(torch.tensor([1, 3, 4]), p=11)
        (True, False)
    """
    return 2 * len(key_freqs) <= p // 2


def why_undefined(key_freqs: Int[Tensor, " freq"], unseen: Bool[Tensor, " pair"]) -> dict[str, str]:
    """Columns of the group `circuits` that are nan all along a run, and why.

    Args:
        key_freqs: Of the run.
        unseen: Its unseen pairs, of all p^2.

    Example:
        >>> list(why_undefined(torch.tensor([1, 2]), torch.arange(25) < 25))
        ['restricted_loss_random', 'restricted_loss_random_sd', 'excluded_loss_random', 'excluded_loss_random_sd']
    """
    m = math.isqrt(len(unseen))
    reasons = {}
    if not bool(unseen.any()):
        reasons["restricted_loss_unseen"] = (
            "no pair is unseen: each test pair's mirror was trained on, or there is none"
        )
    elif few_sums(key_freqs, unseen):
        there = f"the {int(unseen.sum())} unseen pairs have too few different sums"
        reasons["restricted_loss_unseen"] = f"{there} for the waves of {len(key_freqs)} frequencies"
    if not is_sparse(key_freqs, m):
        others = f"{len(key_freqs)} of {m // 2} frequencies are key, so that there are not as many others to draw from"
        reasons |= {f"{kind}_loss_random{of}": others for kind in ("restricted", "excluded") for of in ("", "_sd")}
    return reasons


def _constant_and_waves(key_freqs: Int[Tensor, " freq"], p: int) -> Float[Tensor, "wave p"]:
    return fourier_basis(p)[[0, *wave_rows(key_freqs, p).tolist()]]
