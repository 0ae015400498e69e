"""Neurons: clusters of one frequency, the polynomial they compute, their phases, the rank of what they write.

In a finished circuit a neuron reads cos(w_k a + u) and cos(w_k b + v) of one frequency k, w_k = 2 pi k / p, and
writes cos(w_k c + out). What the nonlinearity makes of its input is mostly a sum of products of
{1, cos w_k, sin w_k} of a with the same of b; what reaches the logits is right if out = u + v, so that the product
of the two waves becomes cos(w_k (a + b - c)). `tuning.neuron_frequencies` says what each neuron is tuned to.

Everything takes leading stack axes and goes through `torch.func.vmap`.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.2, for clusters and polynomials; A. Gromov, "Grokking modular
arithmetic" (arXiv:2301.02679), for phases.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from circuitgrok.measures.spectra.fourier import by_frequency, fourier_basis, grid_side, numbers
from circuitgrok.measures.spectra.tuning import NeuronFrequencies

MIN_PURITY = 0.85  # where the paper's clusters start


def in_cluster(tuned: NeuronFrequencies, *, min_purity: float = MIN_PURITY) -> Bool[Tensor, "*stack neuron"]:
    """Whether a neuron belongs to the cluster of its frequency: it varies, and is pure enough.

    Args:
        tuned: What each neuron is tuned to, from `tuning.neuron_frequencies`.
        min_purity: The least share of a neuron's energy in the block of its frequency.

    Example:
        >>> in_cluster(NeuronFrequencies(torch.tensor([3, 1, 0]), torch.tensor([0.9, 0.5, 0.0])))
        tensor([ True, False, False])
    """
    return (tuned.freq > 0) & (tuned.purity >= min_purity)


def cluster_sizes(tuned: NeuronFrequencies, p: int, *, min_purity: float = MIN_PURITY) -> Int[Tensor, "*stack freq"]:
    """Number of neurons in the cluster of each frequency k = 1..p // 2; entry i belongs to frequency i + 1.

    Args:
        tuned: What each neuron is tuned to.
        p: The modulus.
        min_purity: As for `in_cluster`.

    Example:
        >>> cluster_sizes(NeuronFrequencies(torch.tensor([3, 1, 3]), torch.tensor([0.9, 0.5, 1.0])), p=7)
        tensor([0, 0, 2])
    """
    mine = torch.where(in_cluster(tuned, min_purity=min_purity), tuned.freq, 0)
    return (mine[..., None] == torch.arange(1, p // 2 + 1, device=mine.device)).sum(-2)


def polynomial_neurons(
    neurons: Float[Tensor, "*stack pair neuron"], freq: Int[Tensor, "*stack neuron"]
) -> Float[Tensor, "*stack pair neuron"]:
    """Each neuron replaced by its best polynomial in the waves of one frequency: constant, linear, products.

    That is its least-squares fit by the nine products of {1, cos w_k, sin w_k} of a with the same of b. It explains
    the neuron's `purity` of its variance. Squares, which are waves of frequency 2 k, do not belong to it.

    Args:
        neurons: Activations of all pairs, as in `measures`.
        freq: The frequency of each neuron; one of frequency 0 is left as it is. To replace clusters only, set
            the others to 0: `tuned.freq * in_cluster(tuned)`.

    Returns:
        Activations in float64, to be sent on through W_out and W_U.

    Raises:
        ValueError: The number of pairs is not a square.

    Example:
        >>> a, b = torch.meshgrid(*[torch.arange(7)] * 2, indexing="ij")
        >>> product = torch.cos(2 * torch.pi * 3 / 7 * a) * torch.sin(2 * torch.pi * 3 / 7 * b)
        >>> neuron = product.reshape(49, 1).double()
        >>> torch.allclose(polynomial_neurons(neuron, torch.tensor([3])), neuron, atol=1e-6)
        True

    Source: Nanda et al. 2023, section 4.2 and appendix, where the loss falls by the replacement.
    """
    p = grid_side(neurons)
    basis = pad(fourier_basis(p), (0, 0, 0, 1 - p % 2)).to(neurons.device)  # p / 2 has no sine: a row of zeros
    rows = torch.stack([torch.zeros_like(freq), (2 * freq - 1).clamp(min=0), 2 * freq], dim=-1)
    waves = basis[rows]  # [*stack neuron 3 p]
    grid = rearrange(neurons.double(), "... (a b) neuron -> ... neuron a b", a=p)
    fit = waves.mT @ (waves @ grid @ waves.mT) @ waves
    replaced = torch.where(freq[..., None, None] > 0, fit, grid)
    return rearrange(replaced, "... neuron a b -> ... (a b) neuron")


class NeuronPhases(NamedTuple):
    """The phases of a neuron's three waves, in radians, -pi..pi; nan for a neuron of frequency 0.

    Attributes:
        u: Of cos(w_k a + u), the mean of what it reads over b.
        v: Of cos(w_k b + v), the mean of what it reads over a.
        out: Of cos(w_k c + out), what it writes.
    """

    u: Float[Tensor, "*stack neuron"]
    v: Float[Tensor, "*stack neuron"]
    out: Float[Tensor, "*stack neuron"]


def neuron_phases(
    reads: Float[Tensor, "*stack pair neuron"],
    W_L: Float[Tensor, "*stack neuron c"],
    freq: Int[Tensor, "*stack neuron"],
) -> NeuronPhases:
    """Phases of what each neuron reads from a and from b, and of what it writes, at its own frequency.

    Args:
        reads: Inputs of the nonlinearity of all pairs, as in `measures`.
        W_L: Neuron-to-logit map, one column per class, 0..p - 1 first.
        freq: The frequency of each neuron.

    Returns:
        One phase of each kind per neuron.

    Raises:
        ValueError: The number of pairs is not a square, or there are fewer than p classes.

    Example:
        >>> a, b = torch.meshgrid(*[2 * torch.pi * 3 / 7 * torch.arange(7)] * 2, indexing="ij")
        >>> reads, writes = torch.cos(a + 0.5) + torch.cos(b - 1.0), torch.cos(a[:, 0] - 0.5)
        >>> [round(x.item(), 4) for x in neuron_phases(reads.reshape(49, 1), writes[None], torch.tensor([3]))]
        [0.5, -1.0, -0.5]

    Source: Gromov, arXiv:2301.02679, where out = u + v solves the task.
    """
    p = grid_side(reads)
    rows = reads.unflatten(-2, (p, p)).unbind(-3)  # row by row: a float64 copy of the grid is never made
    of_a = torch.stack([row.double().mean(-2) for row in rows], dim=-2)
    of_b = sum((row.double() for row in rows[1:]), start=rows[0].double()) / p
    tables = (of_a, of_b, numbers(W_L.mT, p, "class").double())
    return NeuronPhases(*(_phase(table, freq) for table in tables))


def phase_alignment(phases: NeuronPhases, where: Bool[Tensor, "*stack neuron"]) -> Float[Tensor, "*stack"]:
    """Resultant |mean exp(i (out - u - v))| over neurons: do they agree on the phase of what they compute?

    Args:
        phases: Of all neurons.
        where: The neurons to average over, such as `in_cluster(tuned)`.

    Returns:
        1 if out - u - v is the same for all of them; about sqrt(pi / (4 n)) for n random phases; nan for none.

    Example:
        >>> u, v = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, 0.0, 1.0])
        >>> phase_alignment(NeuronPhases(u, v, u + v), torch.tensor([True, True, False]))
        tensor(1., dtype=torch.float64)
    """
    apart = torch.where(where, phases.out - phases.u - phases.v, 0.0).double()
    cosine, sine = ((wave * where).sum(-1) / where.sum(-1) for wave in (apart.cos(), apart.sin()))
    return torch.hypot(cosine, sine)


def inverse_participation(table: Float[Tensor, "*stack p feature"]) -> Float[Tensor, "*stack feature"]:
    """Inverse participation ratio of each column: sum over frequencies of its energy's shares, squared.

    A frequency's energy is that of its cosine and sine together, so that a pure wave scores 1 whatever its phase;
    the constant counts as a frequency of its own.

    Args:
        table: One row per residue: W_E[:p], W_L[:, :p].T, or what neurons read from a.

    Returns:
        1 for a wave, one over the number of frequencies for equal shares, (4 p - 1) / (p (p + 2)) in the mean
        over Gaussian columns (p odd); nan for a column of zeros.

    Example:
        >>> x = 2 * torch.pi / 7 * torch.arange(7.0)
        >>> inverse_participation(torch.stack([torch.cos(3 * x + 1), torch.cos(x) + torch.sin(2 * x)], dim=1))
        tensor([1.0000, 0.5000], dtype=torch.float64)

    Source: Gromov, arXiv:2301.02679, section 4.
    """
    basis = fourier_basis(table.shape[-2]).to(table.device)
    energy = (basis @ table.double()).square().mT
    power = torch.cat([energy[..., :1], by_frequency(energy[..., 1:])], dim=-1)
    return (power / power.sum(-1, keepdim=True)).square().sum(-1)


def low_rank_residual(W_L: Float[Tensor, "*stack neuron c"], rank: int) -> Float[Tensor, "*stack"]:
    """Share of the neuron-to-logit map's norm that its best approximation of a given rank leaves out.

    Args:
        W_L: Over the p numbers as classes.
        rank: Twice the number of key frequencies, for a circuit that writes nothing but their waves.

    Returns:
        |W_L - best of that rank| / |W_L|, Frobenius; 0..1.

    Raises:
        ValueError: The rank is negative.

    Example:
        >>> low_rank_residual(torch.diag(torch.tensor([4.0, 0.0, 3.0])), 1)
        tensor(0.6000, dtype=torch.float64)

    Source: Nanda et al. 2023, section 4.1: W_L is approximately of rank 10, two for each of five frequencies.
    """
    if rank < 0:
        raise ValueError(f"a rank is 0 or more; got {rank}")
    values = torch.linalg.svdvals(W_L.double())
    return torch.linalg.vector_norm(values[..., rank:], dim=-1) / torch.linalg.vector_norm(values, dim=-1)


def _phase(table: Float[Tensor, "*stack p neuron"], freq: Int[Tensor, "*stack neuron"]) -> Tensor:
    """phi of each column's wave cos(w_k x + phi) = cos phi cos w_k x - sin phi sin w_k x."""
    p = table.shape[-2]
    coefficients = (fourier_basis(p).to(table.device) @ table).mT
    coefficients = pad(coefficients, (0, 1 - p % 2))  # p / 2 has no sine
    cosine, sine = (coefficients.gather(-1, row.clamp(min=0)[..., None])[..., 0] for row in (2 * freq - 1, 2 * freq))
    return torch.where(freq > 0, torch.atan2(-sine, cosine), torch.nan)
