"""Controls: random sets of frequencies of the same size, and how far a key set depends on the rule that found it.

A loss restricted to five frequencies says something about these five only beside the loss restricted to five others.
Whether it says anything of pairs that were not trained on is another question, with a control of its own for key sets
of every size (`unseen.restricted_loss_blank`); past half of all frequencies there are not as many others.
Random sets are drawn once, from a stored seed, and kept along the run like the key set; `restricted.of_sets` has what
each of them writes, and the losses are those of the key set.

The named rules of `spectra.key_freqs` compare a strength of each frequency with a threshold. `rule_strengths` has
the strengths, as shares, so that the sets at any threshold are `strength > threshold`.

Source: the controls are ours. The rules are those of `spectra.key_freqs`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.measures.spectra.fourier import logit_spectrum, neuron_logit_spectrum
from circuitgrok.measures.spectra.key_freqs import embed_norms
from circuitgrok.measures.spectra.sum_waves import check_freqs
from circuitgrok.measures.spectra.tuning import neuron_frequencies


def random_sets(key_freqs: Int[Tensor, " freq"], p: int, n_draws: int, seed: int) -> Int[Tensor, "draw freq"]:
    """Random sets of as many frequencies as the key set, without its own where enough others remain.

    Args:
        key_freqs: Distinct integers in 1..p // 2.
        p: The modulus.
        n_draws: Number of sets, each drawn by itself: with few frequencies to choose from some come twice.
        seed: Of the draws.

    Returns:
        Distinct frequencies in increasing order, drawn uniformly from those outside `key_freqs`; from all of
        1..p // 2 if fewer than the key set has are outside.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> sets = random_sets(torch.tensor([2, 5]), p=13, n_draws=4, seed=0)
        >>> sets.shape, sorted(set(sets.flatten().tolist()) | {2, 5})
        (torch.Size([4, 2]), [1, 2, 3, 4, 5, 6])
    """
    check_freqs(key_freqs, p)
    everything = torch.arange(1, p // 2 + 1)
    others = everything[~torch.isin(everything, key_freqs.cpu())]
    pool = others if len(others) >= len(key_freqs) else everything
    draws = torch.rand(n_draws, len(pool), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return pool[draws.argsort(dim=1)[:, : len(key_freqs)]].sort(dim=1).values


def jaccard(one: Int[Tensor, " one"], other: Int[Tensor, " other"]) -> float:
    """Jaccard overlap of two sets: the number of common members over the number of all.

    Args:
        one: Members, each once.
        other: Members of the other set.

    Returns:
        0..1; 1 for two empty sets, which are the same.

    Example:
        >>> jaccard(torch.tensor([1, 2, 3]), torch.tensor([3, 4]))
        0.25
    """
    mine, theirs = set(one.tolist()), set(other.tolist())
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0


def agreement(sets: list[Int[Tensor, " ..."]]) -> Float[Tensor, "set set"]:
    """Jaccard overlap of every two of some sets, such as the key frequencies by each named rule.

    Args:
        sets: Of any sizes.

    Returns:
        Symmetric, with ones on the diagonal.

    Example:
        >>> agreement([torch.tensor([1, 2]), torch.tensor([2]), torch.tensor([3])])
        tensor([[1.0000, 0.5000, 0.0000],
                [0.5000, 1.0000, 0.0000],
                [0.0000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    overlap = [[jaccard(one, other) for other in sets] for one in sets]
    return torch.tensor(overlap, dtype=torch.float64).reshape(len(sets), len(sets))


def rule_strengths(
    W_E: Float[Tensor, "d_vocab d_model"],
    W_L: Float[Tensor, "neuron c_and_equals"],
    neurons: Float[Tensor, "pair neuron"],
    logits: Float[Tensor, "pair c"],
) -> dict[str, Float[Tensor, " freq"]]:
    """What each named rule compares with its threshold, for each frequency k = 1..p // 2.

    `wl_energy` and `logit_energy`: the frequency's energy over the largest. `embed_energy`: its norm over the
    largest, the constant's included. `neuron_argmax`: the purity of the purest neuron tuned to it, 0 if none is.

    Args:
        W_E: One row per token, the numbers 0..p - 1 first.
        W_L: W_out @ W_U, one column per class, 0..p - 1 first.
        neurons: Activations of all pairs, as in `measures`.
        logits: Of all pairs, as in `measures`.

    Returns:
        By the rule's name, 0..1; entry i belongs to frequency i + 1.

    Raises:
        ValueError: The number of pairs is not a square, or there are fewer than p tokens or classes.

    Example:
        >>> a, b, c = torch.meshgrid(*[2 * torch.pi / 5 * torch.arange(5.0)] * 3, indexing="ij")
        >>> clock, wave = torch.cos(2 * (a + b - c)).reshape(25, 5), torch.cos(2 * a[:, 0, :1])
        >>> strengths = rule_strengths(wave, wave.T, clock[:, :1], clock)
        >>> {rule: strength.round(decimals=2).abs().tolist() for rule, strength in strengths.items()}
        {'wl_energy': [0.0, 1.0], 'embed_energy': [0.0, 1.0], 'logit_energy': [0.0, 1.0], 'neuron_argmax': [0.0, 1.0]}
    """
    p = logits.shape[-1]
    norms, of_W_L, of_logits = embed_norms(W_E, p), neuron_logit_spectrum(W_L, p), logit_spectrum(logits)
    tuned = neuron_frequencies(neurons)
    purest = norms.new_zeros(p // 2 + 1).scatter_reduce(0, tuned.freq, tuned.purity, "amax")
    return {
        "wl_energy": of_W_L / of_W_L.max(),
        "embed_energy": norms[1:] / norms.max(),
        "logit_energy": of_logits / of_logits.max(),
        "neuron_argmax": purest[1:],
    }


class Sensitivity(NamedTuple):
    """The sets that a rule finds, by its threshold.

    Attributes:
        members: Whether a frequency is in the set; entry i belongs to frequency i + 1.
        size: The number of members.
        overlap: Jaccard overlap with the set that was held against it.
    """

    members: Bool[Tensor, "threshold freq"]
    size: Int[Tensor, " threshold"]
    overlap: Float[Tensor, " threshold"]


def threshold_sensitivity(
    strength: Float[Tensor, " freq"], thresholds: Float[Tensor, " threshold"], key_freqs: Int[Tensor, " key"]
) -> Sensitivity:
    """The set of a rule at each of many thresholds, and how much it has in common with the set in use.

    Args:
        strength: Of the rule, from `rule_strengths`.
        thresholds: Shares; a frequency is in the set if its strength is above.
        key_freqs: The set in use.

    Returns:
        Overlaps are 0..1, as of `jaccard`.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> strength = torch.tensor([0.1, 1.0, 0.3])
        >>> found = threshold_sensitivity(strength, torch.tensor([0.05, 0.2, 0.5]), torch.tensor([2, 3]))
        >>> found.size.tolist(), found.overlap.round(decimals=2).tolist()
        ([3, 2, 1], [0.67, 1.0, 0.5])
    """
    check_freqs(key_freqs, 2 * len(strength) + 1)
    members = strength > thresholds[:, None]
    in_use = torch.isin(torch.arange(1, len(strength) + 1, device=strength.device), key_freqs)
    common, either = (members & in_use).sum(-1), (members | in_use).sum(-1)
    return Sensitivity(members, members.sum(-1), torch.where(either > 0, common.double() / either, 1.0))
