"""Every variant of restricted and excluded loss: at the logits or at the neurons, by sum waves or by blocks.

A part of the logits is said to be the circuit's; restricted logits are that part alone, excluded logits the rest.
The variants differ in three choices.

- *Where.* Logits are L = N W_L + (what reaches them past the last block's neurons), with the neurons N after the
  nonlinearity and W_L = W_out W_U. The part is taken of L, or of N and then sent on through W_L: of two projections
  on the pairs the second leaves out the waves that the skip path writes. This needs a network without LayerNorm.
- *Which waves* of the key frequencies, w_k = 2 pi k / p. Sum waves: cos(w_k (a + b)) and sin(w_k (a + b)), all that
  addition needs. Blocks: every product of {1, cos w_k, sin w_k} of a with the same of b, eight besides the constant,
  which lets differences and waves of one number pass. Broad mask: every product of {1, all key waves} of a with the
  same of b, (1 + 2 K)^2 - 1 of them, which lets products of two frequencies pass as well.
- *The mean logit* of each class is kept in what is restricted, or not. It is never taken out of what is excluded.

Values of different variants are different numbers: name the variant. Losses come for each pair, so that any split
can be averaged; everything takes leading stack axes, goes through `torch.func.vmap`, and answers in float64.

Source: Nanda et al. 2023 (arXiv:2301.05217), sections 4.4 and 5.1, and the authors' code (logits, blocks, broad mask);
the TransformerLens grokking demo (neurons).
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.spectra.fourier import fourier_basis, grid_side, sum_table
from circuitgrok.measures.spectra.sum_waves import (
    Rivals,
    losses_of_sums,
    losses_without,
    sum_logits,
    wave_rows,
    wave_tables,
)


class Circuit(NamedTuple):
    """What the sum waves of some frequencies write to the logits, by the sum t = (a + b) mod p.

    Attributes:
        waves: The part of each frequency, in logits.
        mean: The mean logit of each class over all pairs.
    """

    waves: Float[Tensor, "*stack freq p c"]
    mean: Float[Tensor, "*stack c"]


def logit_circuit(logits: Float[Tensor, "*stack pair c"], key_freqs: Int[Tensor, " freq"]) -> Circuit:
    """The sum waves of the key frequencies, taken at the logits.

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b, p classes without '='.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        Parts whose sum over the frequencies is P_S L of `circuits.restricted`.

    Raises:
        ValueError: `logits` is not [p^2, p], or a frequency is out of range or repeated.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi * 2 / 5 * (a + b - c)).reshape(25, 5)
        >>> circuit = logit_circuit(clock, torch.tensor([1, 2]))
        >>> circuit.waves.abs().amax((-2, -1)).round(decimals=4)  # one for each frequency
        tensor([0., 8.], dtype=torch.float64)
    """
    sums = sum_logits(logits)
    return Circuit(wave_tables(sums, key_freqs), sums.mean(-2))


def neuron_circuit(
    neurons: Float[Tensor, "*stack pair neuron"],
    W_L: Float[Tensor, "*stack neuron c"],
    logits: Float[Tensor, "*stack pair c"],
    key_freqs: Int[Tensor, " freq"],
) -> Circuit:
    """The sum waves of the key frequencies, taken at the neurons and sent on to the logits.

    Args:
        neurons: Of the last block, after the nonlinearity, last position, all p^2 pairs in the order a * p + b.
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


class RestrictedLosses(NamedTuple):
    """Cross-entropy of each pair, in nats, from a circuit's waves alone.

    Attributes:
        together: From all frequencies and the mean logit.
        without_mean: From all frequencies.
        one_by_one: From a single frequency and the mean logit, for each in turn.
    """

    together: Float[Tensor, "*stack pair"]
    without_mean: Float[Tensor, "*stack pair"]
    one_by_one: Float[Tensor, "*stack freq pair"]


def restricted_losses(circuit: Circuit, labels: Int[Tensor, " pair"]) -> RestrictedLosses:
    """Losses when the logits keep nothing but the circuit: all of it, without the mean, each frequency alone.

    Args:
        circuit: Taken at the logits or at the neurons.
        labels: The right class of each pair, in the order a * p + b.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(13)] * 3, indexing="ij")
        >>> clock = sum(8 * torch.cos(2 * torch.pi * k / 13 * (a + b - c)) for k in (2, 5)).reshape(169, 13)
        >>> labels = ((a + b) % 13)[..., 0].flatten()
        >>> losses = restricted_losses(logit_circuit(clock, torch.tensor([2, 5, 6])), labels)
        >>> losses.together.mean().item() < 0.01
        True
        >>> losses.one_by_one.mean(-1).round(decimals=2)  # ln 13 = 2.56: frequency 6 is not there
        tensor([0.6200, 0.6200, 2.5600], dtype=torch.float64)
    """
    waves, mean = circuit
    whole = waves.sum(-3)
    return RestrictedLosses(
        losses_of_sums(whole + mean.unsqueeze(-2), labels),
        losses_of_sums(whole, labels),
        losses_of_sums(waves + mean[..., None, None, :], labels),
    )


class ExcludedLosses(NamedTuple):
    """Cross-entropy of each pair, in nats, without a circuit's waves; the mean logit is left where it is.

    Attributes:
        together: Without all frequencies at once.
        one_by_one: Without a single frequency, for each in turn.
    """

    together: Float[Tensor, "*stack pair"]
    one_by_one: Float[Tensor, "*stack freq pair"]


def excluded_losses(circuit: Circuit, against: Rivals) -> ExcludedLosses:
    """Losses when the circuit's waves are taken out of the logits: all of them at once, and one frequency at a time.

    Args:
        circuit: Taken at the logits or at the neurons. At the neurons, the residual stream stays as it is.
        against: `sum_waves.rivals` of the whole logits and the labels.

    Returns:
        nan where `sum_waves.losses_without` says so.

    Example:
        >>> from circuitgrok.measures.spectra.sum_waves import rivals
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = 8 * torch.cos(2 * torch.pi * 2 / 5 * (a + b - c)).reshape(25, 5)
        >>> against = rivals(clock, ((a + b) % 5)[..., 0].flatten())
        >>> losses = excluded_losses(logit_circuit(clock, torch.tensor([1, 2])), against)
        >>> losses.together.mean().round(decimals=4), losses.one_by_one.mean(-1).round(decimals=4)  # ln 5 = 1.6094
        (tensor(1.6094, dtype=torch.float64), tensor([0.0079, 1.6094], dtype=torch.float64))
    """
    waves = circuit.waves
    losses = losses_without(against, torch.cat([waves.sum(-3, keepdim=True), waves], dim=-3))
    return ExcludedLosses(losses[..., 0, :], losses[..., 1:, :])


def product_waves(
    grid: Float[Tensor, "*stack pair feature"], key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack row row feature"]:
    """Coefficients of each column on the products of {1, key waves} of a with the same of b, as orthonormal functions.

    Args:
        grid: Logits, all p^2 pairs in the order a * p + b.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        Rows are the constant, then cosine and sine of each frequency in the given order (p / 2 has no sine).

    Raises:
        ValueError: The number of pairs is not a square, or a frequency is out of range or repeated.

    Example:
        >>> a, b = torch.meshgrid(*[torch.arange(5)] * 2, indexing="ij")
        >>> product = torch.cos(2 * torch.pi * 2 / 5 * a) * torch.sin(2 * torch.pi * 2 / 5 * b)
        >>> product_waves(product.reshape(25, 1), torch.tensor([2]))[..., 0].round(decimals=4).abs()
        tensor([[0.0000, 0.0000, 0.0000],
                [0.0000, 0.0000, 2.5000],
                [0.0000, 0.0000, 0.0000]], dtype=torch.float64)
    """
    p = grid_side(grid)
    rows = fourier_basis(p)[_rows(key_freqs, p)].to(grid.device)
    of_a = torch.einsum("ra,...abf->...rbf", rows, grid.unflatten(-2, (p, p)).double())
    return torch.einsum("sb,...rbf->...rsf", rows, of_a)


def neuron_product_waves(
    neurons: Float[Tensor, "*stack pair neuron"],
    W_L: Float[Tensor, "*stack neuron c"],
    key_freqs: Int[Tensor, " freq"],
) -> Float[Tensor, "*stack row row c"]:
    """`product_waves` of what the neurons write to the logits, without making those.

    Args:
        neurons: As for `neuron_circuit`.
        W_L: As for `neuron_circuit`.
        key_freqs: As for `product_waves`.

    Raises:
        ValueError: As for `neuron_circuit`.

    Example:
        >>> neurons, W_L, freqs = torch.eye(25)[:, :4], torch.eye(5)[:4], torch.tensor([2])
        >>> of_logits = product_waves(neurons @ W_L, freqs)
        >>> torch.allclose(neuron_product_waves(neurons, W_L, freqs), of_logits)
        True
    """
    return product_waves(neurons, key_freqs) @ W_L.double().unsqueeze(-3)


def block_part(
    products: Float[Tensor, "*stack row row feature"], key_freqs: Int[Tensor, " freq"], p: int
) -> Float[Tensor, "*stack pair feature"]:
    """The 3 x 3 blocks of the key frequencies, without the constant: products of {1, cos w_k, sin w_k} of one k.

    Args:
        products: `product_waves` or `neuron_product_waves` of the same frequencies.
        key_freqs: Distinct integers in 1..p // 2. One alone gives the block of that frequency.
        p: The modulus.

    Returns:
        A function of the pairs, in the order a * p + b.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> a, b = torch.meshgrid(*[2 * torch.pi / 7 * torch.arange(7.0)] * 2, indexing="ij")
        >>> one, two = (torch.cos(a) * torch.cos(k * b) for k in (1, 3))  # of one frequency, and of two
        >>> freqs = torch.tensor([1, 3])
        >>> kept = block_part(product_waves((one + two).reshape(49, 1), freqs), freqs, 7)
        >>> torch.allclose(kept, one.reshape(49, 1).double(), atol=1e-6)
        True

    Source: Nanda et al. 2023, section 4.4, the ablation that keeps 8 components for each frequency.
    """
    freq = (_rows(key_freqs, p) + 1) // 2
    alike = (freq[:, None] == freq) | (freq[:, None] == 0) | (freq == 0)
    return _part(products, alike, key_freqs, p)


def broad_part(
    products: Float[Tensor, "*stack row row feature"], key_freqs: Int[Tensor, " freq"], p: int
) -> Float[Tensor, "*stack pair feature"]:
    """All products of {1, waves of the key frequencies} of a with the same of b, without the constant.

    Args:
        products: `product_waves` or `neuron_product_waves` of the same frequencies.
        key_freqs: Distinct integers in 1..p // 2.
        p: The modulus.

    Returns:
        A function of the pairs, in the order a * p + b.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> a, b = torch.meshgrid(*[2 * torch.pi / 7 * torch.arange(7.0)] * 2, indexing="ij")
        >>> two = (torch.cos(a) * torch.cos(3 * b)).reshape(49, 1)
        >>> freqs = torch.tensor([1, 3])
        >>> torch.allclose(broad_part(product_waves(two, freqs), freqs, 7), two.double(), atol=1e-6)
        True

    Source: the authors' code of Nanda et al. 2023, in an early form.
    """
    return _part(products, torch.ones(products.shape[-3:-1], dtype=torch.bool), key_freqs, p)


class PartLosses(NamedTuple):
    """Cross-entropy of each pair, in nats.

    Attributes:
        restricted: From a part of the logits and their mean alone.
        excluded: From the logits without the part.
    """

    restricted: Float[Tensor, "*stack pair"]
    excluded: Float[Tensor, "*stack pair"]


def part_losses(
    logits: Float[Tensor, "*stack pair c"], part: Float[Tensor, "*stack pair c"], labels: Int[Tensor, " pair"]
) -> PartLosses:
    """Losses from any part of the logits with their mean, and from the rest of the logits.

    Args:
        logits: All p^2 pairs.
        part: Of mean zero over the pairs, such as `block_part` or `broad_part`, of the logits or of what the neurons
            write.
        labels: The right class of each pair.

    Example:
        >>> logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
        >>> losses = part_losses(logits, logits - logits.mean(0), torch.tensor([0, 1]))
        >>> losses.restricted.round(decimals=4), losses.excluded.round(decimals=4)
        (tensor([0.0001, 0.0001], dtype=torch.float64), tensor([0.6931, 0.6931], dtype=torch.float64))
    """
    mean = logits.mean(-2, keepdim=True, dtype=torch.float64)
    return PartLosses(cross_entropy(part + mean, labels), cross_entropy(logits - part, labels))


def _rows(key_freqs: Int[Tensor, " freq"], p: int) -> Int[Tensor, " row"]:
    """The rows of the Fourier basis: constant, then cosine and sine of each frequency."""
    return torch.cat([torch.zeros(1, dtype=torch.long), wave_rows(key_freqs, p)])


def _part(products: Tensor, keep: Tensor, key_freqs: Tensor, p: int) -> Float[Tensor, "*stack pair feature"]:
    """The function of the pairs whose coefficients are those that `keep` names, the constant's left out."""
    keep = keep.clone()
    keep[0, 0] = False
    rows = fourier_basis(p)[_rows(key_freqs, p)].to(products.device)
    kept = products.double() * keep[..., None].to(products.device)
    of_a = torch.einsum("ra,...rsf->...asf", rows, kept)
    return rearrange(torch.einsum("sb,...asf->...abf", rows, of_a), "... a b f -> ... (a b) f")
