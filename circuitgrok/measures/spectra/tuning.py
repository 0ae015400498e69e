"""Neurons as sums of waves: which frequency each one is tuned to, and how their variance divides among waves.

A neuron over all pairs (a, b) is a sum of products of {1, cos w_k a, sin w_k a} with {1, cos w_l b, sin w_l b}. Of one
frequency, k = l, there are eight that vary: waves of a alone, of b alone, and four products, which are as well the
waves of a + b and of a - b. Their energies are the neuron's spectrum, taken once for all that is asked of it.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.measures.spectra.fourier import by_frequency, fourier_basis, grid_side

ROWS = 16  # pairs of as many a's that are transformed together: with their transforms they fit into a cache


class NeuronSpectrum(NamedTuple):
    """Energy of each neuron in the waves of each frequency; entry i belongs to frequency i + 1.

    Attributes:
        single: Waves of a alone and of b alone.
        sums: cos(w_k (a + b)) and sin(w_k (a + b)), which addition uses.
        differences: cos(w_k (a - b)) and sin(w_k (a - b)); 0 for p / 2, where they are the sum waves.
        variance: Of all that varies, summed over the pairs.
        varies: Whether that is more than rounding.
    """

    single: Float[Tensor, "*stack neuron freq"]
    sums: Float[Tensor, "*stack neuron freq"]
    differences: Float[Tensor, "*stack neuron freq"]
    variance: Float[Tensor, "*stack neuron"]
    varies: Bool[Tensor, "*stack neuron"]


def neuron_spectrum(neurons: Float[Tensor, "*stack pair neuron"]) -> NeuronSpectrum:
    """The energy of each neuron by frequency and kind of wave, in squared activations, float64.

    Args:
        neurons: Activations of all pairs, as in `measures`.

    Returns:
        A neuron does not vary if its standard deviation is below p times its dtype's epsilon, relative to its root
        mean square: that much is rounding.

    Raises:
        ValueError: The number of pairs is not a square.

    Example:
        >>> a, b = torch.meshgrid(*[torch.arange(7)] * 2, indexing="ij")
        >>> spectrum = neuron_spectrum(torch.cos(2 * torch.pi * 3 / 7 * (a + b)).reshape(49, 1))
        >>> [part[0, 2].round(decimals=4).abs().item() for part in spectrum[:3]]
        [0.0, 24.5, 0.0]
    """
    p = grid_side(neurons)
    basis = fourier_basis(p).to(neurons.device)
    pairs = (p - 1) // 2  # frequencies with a cosine and a sine; p / 2 has a cosine alone
    waves = basis[1 : 2 * pairs + 1].unflatten(0, (pairs, 2))  # [freq wave p]
    grid, mean = neurons.unflatten(-2, (p, p)), neurons.mean(-2, keepdim=True, dtype=torch.float64)
    squares = of_b = both = alone = neurons.new_zeros((), dtype=torch.float64)
    means = []
    for at in torch.arange(p).split(ROWS):  # some rows at a time: a float64 copy of the grid is never made
        rows = grid[..., at[0] : at[-1] + 1, :, :].double() - mean.unsqueeze(-3)
        squares = squares + rows.square().sum((-3, -2))
        along_b = basis @ rows  # [*stack a row neuron]
        of_b = of_b + along_b.sum(-3)
        means.append(along_b[..., 0, :])
        blocks = along_b[..., 1 : 2 * pairs + 1, :].unflatten(-2, (pairs, 2)).movedim(-4, -3).flatten(-2)
        both = both + waves[..., at] @ blocks  # [*stack freq wave (wave neuron)]
        alone = alone + basis[-1, at] @ along_b[..., -1, :]
    of_a = basis @ torch.cat(means, dim=-2)
    single = by_frequency(of_a[..., 1:, :].square().mT) + by_frequency((of_b / p**0.5)[..., 1:, :].square().mT)
    (cc, cs), (sc, ss) = (x.unflatten(-1, (2, -1)).unbind(-2) for x in both.unbind(-2))  # a's wave first
    sums = ((cc - ss).square() + (sc + cs).square()).mT / 2
    differences = ((cc + ss).square() + (sc - cs).square()).mT / 2
    if p % 2 == 0:
        last = alone.square().unsqueeze(-1)
        sums, differences = torch.cat([sums, last], -1), torch.cat([differences, torch.zeros_like(last)], -1)
    rounding = p * torch.finfo(neurons.dtype).eps
    level = squares + p**2 * mean.squeeze(-2).square()  # the sum of squares, mean and all
    return NeuronSpectrum(single, sums, differences, squares, squares > rounding**2 * level)


class NeuronFrequencies(NamedTuple):
    """What each neuron is tuned to.

    Attributes:
        freq: The frequency whose block holds most of its energy; 0 for a neuron that does not vary.
        purity: The share of its energy in that block, 0..1; 0 for a neuron that does not vary.
    """

    freq: Int[Tensor, "*stack neuron"]
    purity: Float[Tensor, "*stack neuron"]


def neuron_frequencies(neurons: Float[Tensor, "*stack pair neuron"]) -> NeuronFrequencies:
    """Frequency that explains most of each neuron's variance over the inputs, and the share it explains.

    A neuron, less its mean, is a function on the grid of pairs. Of its energy in the 2-D Fourier basis,
    take the share of the eight products of {1, cos w_k, sin w_k} of a with the same of b.

    Args:
        neurons: Activations of all pairs, as in `measures`.

    Returns:
        One frequency and one purity per neuron. A neuron does not vary if its standard deviation is
        below p times its dtype's epsilon, relative to its root mean square: that much is rounding.

    Raises:
        ValueError: The number of pairs is not a square.

    Example:
        >>> a, b = torch.meshgrid(*[torch.arange(7)] * 2, indexing="ij")
        >>> neuron = torch.relu(torch.cos(2 * torch.pi * 3 / 7 * a) + torch.cos(2 * torch.pi * 3 / 7 * b))
        >>> freq, purity = neuron_frequencies(neuron.reshape(49, 1))
        >>> freq.item(), round(purity.item(), 3)
        (3, 0.97)

    Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.2; a cluster there is a purity of .85 or more.
    """
    return frequencies_of(neuron_spectrum(neurons))


def frequencies_of(spectrum: NeuronSpectrum) -> NeuronFrequencies:
    """`neuron_frequencies`, from a spectrum that has been taken already."""
    power, best = (spectrum.single + spectrum.sums + spectrum.differences).max(dim=-1)
    purity = power / torch.where(spectrum.varies, spectrum.variance, 1.0)
    return NeuronFrequencies(torch.where(spectrum.varies, best + 1, 0), torch.where(spectrum.varies, purity, 0.0))


class WaveShares(NamedTuple):
    """Shares of the neurons' variance by frequency, 0..1; entry i belongs to frequency i + 1.

    Attributes:
        single: Waves of a alone, and of b alone.
        sums: cos(w_k (a + b)) and sin(w_k (a + b)), which addition uses.
        differences: cos(w_k (a - b)) and sin(w_k (a - b)); 0 for p / 2, where they are the sum waves.
    """

    single: Float[Tensor, "*stack freq"]
    sums: Float[Tensor, "*stack freq"]
    differences: Float[Tensor, "*stack freq"]


def shares_of(spectrum: NeuronSpectrum) -> WaveShares:
    """How the variance of all neurons together divides among the waves of each frequency.

    The three shares of a frequency sum to that of its 3 x 3 block; what is left over all frequencies are products of
    waves of two of them.

    Args:
        spectrum: `neuron_spectrum` of the neurons.

    Returns:
        Of the sum over neurons of their variances over the pairs; nan if no neuron varies.

    Example:
        >>> a, b = torch.meshgrid(*[2 * torch.pi / 7 * torch.arange(7.0)] * 2, indexing="ij")
        >>> shares = shares_of(neuron_spectrum((torch.cos(3 * a) * torch.cos(3 * b)).reshape(49, 1)))
        >>> [share[2].round(decimals=4).abs().item() for share in shares]
        [0.0, 0.5, 0.5]
    """
    variance = spectrum.variance.sum(-1, keepdim=True)
    return WaveShares(*(part.sum(-2) / variance for part in spectrum[:3]))
