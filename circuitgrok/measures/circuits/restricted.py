"""How much of a network's behaviour is the circuit: restricted and excluded loss, at the logits or at the neurons.

Logits are a function on the p x p grid of inputs (a, b), one column per class. The circuit for addition writes
cos(w_k (a + b - c)), w_k = 2 pi k / p, for a few key frequencies k; as a function of the inputs that is a mix of the
two sum waves cos(w_k (a + b)) and sin(w_k (a + b)). Write P_S for the projection of each column on the sum waves of the
key frequencies. Then

    restricted logits = P_S L + mean of L over the pairs, for each class
    excluded logits   = L - P_S L

and each loss is their cross-entropy. Find `key_freqs` once, by a rule of `spectra.key_freqs` at one checkpoint, and
keep them along the run. Two choices are left, and values of different choices are different numbers.

- *Where.* Logits are L = N W_L + (what reaches them past the last block's neurons), with the neurons N after the
  nonlinearity and W_L = W_out W_U. The waves are taken of L (`logit_circuit`), or of N and then sent on through W_L
  (`neuron_circuit`): the second leaves out those that the skip path writes. It needs a network without LayerNorm.
- *Which.* A circuit comes as one part for each frequency. `together` makes one part of all, `of_sets` one of each of
  many sets; `restricted_losses` and `excluded_losses` take each part by itself.

A projection needs all p^2 pairs, so that the split comes after it: losses come for each pair, to be averaged over any
split. Everything takes leading stack axes, goes through `torch.func.vmap`, and answers in float64, where losses below
1e-7 can still be told apart.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 5.1, and the authors' code (logits); the TransformerLens grokking
demo (neurons).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.measures.spectra.fourier import sum_table
from circuitgrok.measures.spectra.sum_waves import (
    Rivals,
    losses_of_sums,
    losses_without,
    pair_sums,
    sum_logits,
    wave_tables,
)


class Circuit(NamedTuple):
    """What the sum waves of some frequencies write to the logits, by the sum t = (a + b) mod p.

    Attributes:
        waves: In logits; a part is what one frequency writes, or several together.
        mean: The mean logit of each class over all pairs.
    """

    waves: Float[Tensor, "*stack part p c"]
    mean: Float[Tensor, "*stack c"]


def circuit_of_sums(sums: Float[Tensor, "*stack p c"], key_freqs: Int[Tensor, " freq"]) -> Circuit:
    """The sum waves of the key frequencies in logits that are known by the sum of a pair alone.

    Args:
        sums: Mean of the logits over the pairs of each sum t, such as `sum_waves.sum_logits`.
        key_freqs: Distinct integers in 1..p // 2, which is (p - 1) / 2 for odd p; p - k is the same wave as k.

    Returns:
        One part for each frequency, in their order.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> circuit = circuit_of_sums(torch.eye(3), torch.tensor([1]))
        >>> circuit.waves[0, 0].round(decimals=4), circuit.mean.round(decimals=4)  # of (1, 0, 0), less its mean
        (tensor([ 0.6667, -0.3333, -0.3333], dtype=torch.float64), tensor([0.3333, 0.3333, 0.3333]))
    """
    return Circuit(wave_tables(sums, key_freqs), sums.mean(-2))


def logit_circuit(logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]) -> Circuit:
    """The sum waves of the key frequencies, taken at the logits.

    Args:
        logits: Of all pairs, as in `measures`.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        One part for each frequency, in their order; their sum is P_S L.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi * 2 / 5 * (a + b - c)).reshape(25, 5)
        >>> circuit = logit_circuit(clock, torch.tensor([1, 2]))
        >>> circuit.waves.abs().amax((-2, -1)).round(decimals=4)  # one for each frequency
        tensor([0., 8.], dtype=torch.float64)

    Source: the paper counts 20 terms for five frequencies; like the authors' code we take the two sum waves of each, at
    the logits, and keep the constant.
    """
    return circuit_of_sums(sum_logits(logits), key_freqs)


def neuron_circuit(
    neurons: Float[Tensor, "*stack pair neuron"],
    W_L: Float[Tensor, "*stack neuron c"],
    logits: Float[Tensor, "*stack pair c"],
    key_freqs: Int[Tensor, " freq"],
) -> Circuit:
    """The sum waves of the key frequencies, taken at the neurons and sent on to the logits.

    Args:
        neurons: Activations of all pairs, as in `measures`.
        W_L: W_out @ W_U over the p numbers as classes.
        logits: The network's own; their mean is all that is asked of them.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        Parts of the neurons' logits, and the mean of the network's logits, skip path and biases included.

    Raises:
        ValueError: The number of pairs is not a square, or a frequency is out of range or repeated.

    Example:
        >>> a, b = torch.meshgrid(*[torch.arange(5)] * 2, indexing="ij")
        >>> neuron = torch.cos(2 * torch.pi * 2 / 5 * (a + b)).reshape(25, 1)
        >>> circuit = neuron_circuit(neuron, torch.ones(1, 5), torch.ones(25, 5), torch.tensor([2]))
        >>> circuit.waves[0, :, 0].round(decimals=4)  # and the same for every class
        tensor([ 1.0000, -0.8090,  0.3090,  0.3090, -0.8090], dtype=torch.float64)

    Source: the TransformerLens grokking demo, which puts the mean logits back as well.
    """
    written = sum_table(neurons) @ W_L.double()
    return Circuit(wave_tables(written, key_freqs), logits.mean(-2, dtype=torch.float64))


def together(circuit: Circuit) -> Circuit:
    """The circuit as a single part, the sum of all; of none it is zero.

    Example:
        >>> together(Circuit(torch.ones(3, 5, 5), torch.zeros(5))).waves.shape
        torch.Size([1, 5, 5])
    """
    return Circuit(circuit.waves.sum(-3, keepdim=True), circuit.mean)


def of_sets(circuit: Circuit, sets: Int[Tensor, "set freq"]) -> Circuit:
    """A circuit with one part for each of many sets of frequencies, such as `controls.random_sets`.

    Args:
        circuit: Of all frequencies 1..p // 2, in this order, one part for each.
        sets: Distinct frequencies in each row.

    Example:
        >>> of_sets(Circuit(torch.eye(3)[:, None], torch.zeros(3)), torch.tensor([[1, 2], [2, 3]])).waves[:, 0]
        tensor([[1., 1., 0.],
                [0., 1., 1.]])
    """
    waves = circuit.waves
    every = torch.arange(1, waves.shape[-3] + 1, device=sets.device)
    in_set = (sets[..., None] == every).any(1).to(waves)
    return Circuit(torch.einsum("df,...ftc->...dtc", in_set, waves), circuit.mean)


def restricted_losses(circuit: Circuit, labels: Int[Tensor, " pair"]) -> Float[Tensor, "*stack part pair"]:
    """Loss of each pair when the logits are a part of the circuit and the mean logit alone, for each part in turn.

    A finished circuit loses nothing by this. A small value is no proof of one: restricted logits average over the pairs
    of equal sum, and so carry the answers to training pairs over to all others, the further the more frequencies are
    key. A look-up table with logits of 100 at the right class of 30 % of all pairs and at a random one of the others
    has, at p = 97 with random key sets and on the pairs it does not know, 2 nats with 5 frequencies, .5 with 10, 9e-4
    with 24, 6e-9 with all 48, where chance is ln 97 = 4.6. So it keeps little only where few frequencies are key and
    logits are small. `unseen.restricted_loss_unseen` is not taken in; `unseen.restricted_loss_blank` is the control.

    Args:
        circuit: Taken at the logits or at the neurons.
        labels: The right class of each pair.

    Returns:
        Cross-entropy in nats; ln p if nothing is left. The published measure is the mean over pairs for `together`.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(13)] * 3, indexing="ij")
        >>> clock = sum(8 * torch.cos(2 * torch.pi * k / 13 * (a + b - c)) for k in (2, 5)).reshape(169, 13)
        >>> circuit, labels = logit_circuit(clock, torch.tensor([2, 5, 6])), ((a + b) % 13)[..., 0].flatten()
        >>> restricted_losses(together(circuit), labels).mean().item() < 0.01
        True
        >>> restricted_losses(circuit, labels).mean(-1).round(decimals=2)  # ln 13 = 2.56: frequency 6 is not there
        tensor([0.6200, 0.6200, 2.5600], dtype=torch.float64)
    """
    return losses_of_sums(circuit.waves + circuit.mean[..., None, None, :], labels)


def excluded_losses(circuit: Circuit, against: Rivals) -> Float[Tensor, "*stack part pair"]:
    """Loss of each pair when a part of the circuit is taken out of the logits, for each part in turn.

    Without all key frequencies at once (`together`), that of the training set first falls with memorisation and rises
    again as the circuit takes over. The mean logit is left where it is; nothing is added back.

    Args:
        circuit: Taken at the logits or at the neurons. At the neurons, the residual stream stays as it is.
        against: `sum_waves.rivals` of the whole logits and the labels.

    Returns:
        Cross-entropy in nats; nan where `sum_waves.losses_without` says so.

    Example:
        >>> from circuitgrok.measures.spectra.sum_waves import rivals
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi * 2 / 5 * (a + b - c)).reshape(25, 5)
        >>> against = rivals(clock, ((a + b) % 5)[..., 0].flatten())
        >>> losses = excluded_losses(logit_circuit(clock, torch.tensor([1, 2])), against)
        >>> losses.mean(-1).round(decimals=4)  # ln 5 = 1.6094
        tensor([0.0079, 1.6094], dtype=torch.float64)

    Source: Nanda et al. 2023, section 5.1, figure 7; their code excludes one frequency at a time.
    """
    return losses_without(against, circuit.waves)


class Parts(NamedTuple):
    """The logits and the two parts of them; last position, all p^2 pairs, p classes.

    Attributes:
        whole: The logits L.
        circuit: P_S L plus the mean over pairs: what depends on the sum waves of the key frequencies.
        rest: L - P_S L.
    """

    whole: Float[Tensor, "*stack pair c"]
    circuit: Float[Tensor, "*stack pair c"]
    rest: Float[Tensor, "*stack pair c"]


def parts_of(logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]) -> Parts:
    """The logits, the restricted logits and the excluded logits: what the circuit writes of them, and the rest.

    Args:
        logits: Of all pairs, as in `measures`.
        key_freqs: Distinct integers in 1..p // 2. Without any, the circuit is the mean, and the rest is all.

    Returns:
        In float64; circuit + rest = whole + its mean over the pairs.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> whole, circuit, rest = parts_of(torch.eye(9, 3), torch.tensor([1]))
        >>> torch.allclose(circuit + rest, whole + whole.mean(0))
        True
        >>> torch.allclose(circuit[0 * 3 + 2], circuit[1 * 3 + 1])  # 0 + 2 = 1 + 1
        True
    """
    waves, mean = together(logit_circuit(logits, key_freqs))
    by_sum, sums = waves.squeeze(-3), pair_sums(logits)
    restricted = by_sum + mean.unsqueeze(-2)
    return Parts(logits.double(), restricted[..., sums, :], logits.double() - by_sum[..., sums, :])
