"""How many frequencies, directions and waves a network uses: entropies, ranks, and shares of variance.

An entropy turned into a number, exp(H) of shares that sum to 1, counts how many of them matter: exactly n for n
equal shares. Such counts of frequencies and of singular directions go on falling after the test loss has, so say
at which checkpoint they were taken.

The part of the neurons that addition needs is their sum waves, cos(w_k (a + b)) and sin(w_k (a + b)), w_k = 2 pi k / p.
`direction_tuning` asks how much of the neurons' variance along one direction is a sum wave of a single frequency.

Everything takes leading stack axes, goes through `torch.func.vmap`, and answers in float64.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.2, for directions of W_L; O. Roy and M. Vetterli, "The effective
rank" (EUSIPCO 2007).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.measures.spectra.fourier import by_frequency, fourier_basis, grid_side, sum_table
from circuitgrok.measures.spectra.sum_waves import wave_rows


def spectral_entropy(power: Float[Tensor, "*stack n"]) -> Float[Tensor, "*stack"]:
    """Shannon entropy of the shares of a spectrum: how many frequencies it is spread over, as a logarithm.

    Args:
        power: Energies, not negative, such as `fourier.frequency_power`.

    Returns:
        In nats, 0 for one frequency to ln n for n equal ones; nan if all are zero.

    Example:
        >>> spectral_entropy(torch.tensor([[0.0, 5.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
        tensor([0.0000, 1.3863], dtype=torch.float64)
    """
    share = power.double() / power.double().sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1)


def effective_rank(matrix: Float[Tensor, "*stack row column"]) -> Float[Tensor, "*stack"]:
    """Number of singular directions that carry a matrix: exp(H) of the shares sigma_i^2 / sum sigma^2.

    Args:
        matrix: Of any shape.

    Returns:
        1 to the rank; nan for a matrix of zeros.

    Example:
        >>> effective_rank(torch.diag(torch.tensor([3.0, 3.0, 0.0]))).round(decimals=4)
        tensor(2., dtype=torch.float64)

    Source: Roy and Vetterli 2007, there with shares of sigma rather than of its square.
    """
    return spectral_entropy(torch.linalg.svdvals(matrix.double()).square()).exp()


def stable_rank(matrix: Float[Tensor, "*stack row column"]) -> Float[Tensor, "*stack"]:
    """Squared Frobenius norm over squared spectral norm: the energy in units of the strongest direction's.

    Args:
        matrix: Of any shape.

    Returns:
        1 to the rank, and at most `effective_rank`; nan for a matrix of zeros.

    Example:
        >>> stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0])))
        tensor(1.5000, dtype=torch.float64)
    """
    energy = torch.linalg.svdvals(matrix.double()).square()
    return energy.sum(-1) / energy[..., 0]


def participation_ratio(one: Float[Tensor, "row column"], other: Float[Tensor, "row column"]) -> Float[Tensor, ""]:
    """Number of directions that rows share their energy among, tr(G)^2 / tr(G^2), from two noisy looks at them.

    G = X X' of rows X without noise. With independent noise in each look and each row, the products X1 X2' have the
    mean G, and so have those of all pairs of rows in tr(G^2); a single look would count the noise's directions.

    Args:
        one: The rows as they were seen once.
        other: The same rows, seen again; the first look itself, where there is no noise.

    Returns:
        1 for rows along one line, n for n orthogonal ones of equal length. Not bounded where noise prevails; nan of
        zeros.

    Example:
        >>> rows = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
        >>> participation_ratio(rows, rows)
        tensor(1.8000, dtype=torch.float64)
    """
    products = one.double() @ other.double().T
    return products.trace().square() / (products * products.T).sum()


def wave_directions(
    W_L: Float[Tensor, "*stack neuron p"], key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack neuron direction"]:
    """The neuron directions that write cos(w_k c) and sin(w_k c) to the logits, for each key frequency.

    Args:
        W_L: W_out @ W_U over the p numbers as classes.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        W_L applied to the unit waves: cosine and sine of the first frequency, then of the next (p / 2 has no sine).
        Their squared norms are the frequencies' energies in W_L.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> c = 2 * torch.pi / 7 * torch.arange(7.0)
        >>> W_L = torch.stack([torch.cos(3 * c), torch.sin(3 * c), torch.cos(c)])
        >>> wave_directions(W_L, torch.tensor([3])).round(decimals=4).abs()
        tensor([[1.8708, 0.0000],
                [0.0000, 1.8708],
                [0.0000, 0.0000]], dtype=torch.float64)

    Source: Nanda et al. 2023, section 4.2, where they are u_k and v_k.
    """
    p = W_L.shape[-1]
    return W_L.double() @ fourier_basis(p)[wave_rows(key_freqs, p)].to(W_L.device).T


class DirectionTuning(NamedTuple):
    """Which sum wave the neurons' output is along some directions.

    Attributes:
        freq: The frequency k of a + b that explains most; 0 where the output does not vary.
        frac_explained: The share of the output's variance in cos(w_k (a + b)) and sin(w_k (a + b)), 0..1; 0 where
            it does not vary.
    """

    freq: Int[Tensor, "*stack direction"]
    frac_explained: Float[Tensor, "*stack direction"]


def direction_tuning(
    neurons: Float[Tensor, "*stack pair neuron"], directions: Float[Tensor, "*stack neuron direction"]
) -> DirectionTuning:
    """How much of the neurons' output along a direction is a sum wave of one frequency.

    Args:
        neurons: Activations of all pairs, as in `measures`.
        directions: One per column, of any length: `wave_directions`, or any others.

    Returns:
        One frequency and share per direction. An output does not vary if its standard deviation is below p times
        its dtype's epsilon, relative to its root mean square.

    Raises:
        ValueError: The number of pairs is not a square.

    Example:
        >>> a, b = torch.meshgrid(*[2 * torch.pi / 7 * torch.arange(7.0)] * 2, indexing="ij")
        >>> neurons = torch.stack([torch.cos(3 * (a + b)), torch.cos(a - b)], dim=-1).reshape(49, 2)
        >>> freq, explained = direction_tuning(neurons, torch.tensor([[2.0], [1.0]]))
        >>> freq.item(), round(explained.item(), 4)
        (3, 0.8)

    Source: Nanda et al. 2023, section 4.2: 93 to 98 % for the ten directions of their network.
    """
    p = grid_side(neurons)
    rows = neurons.unflatten(-2, (p, p)).unbind(-3)  # row by row: a float64 copy of the grid is never made
    output = torch.cat([row.double() @ directions.double() for row in rows], dim=-2)
    power = p * _column_power(sum_table(output))
    variance = (output - output.mean(-2, keepdim=True)).square().sum(-2)
    varies = variance > (p * torch.finfo(neurons.dtype).eps) ** 2 * output.square().sum(-2)
    most, best = power.max(-1)
    explained = torch.where(varies, most / torch.where(varies, variance, 1.0), 0.0)
    return DirectionTuning(torch.where(varies, best + 1, 0), explained)


def _column_power(table: Float[Tensor, "*stack p feature"]) -> Float[Tensor, "*stack feature freq"]:
    """Energy of each frequency in each column."""
    basis = fourier_basis(table.shape[-2]).to(table.device)
    return by_frequency((basis @ table).square().mT[..., 1:])
