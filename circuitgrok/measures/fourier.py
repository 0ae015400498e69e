"""Fourier analysis on Z_p, and the named rules that pick a network's key frequencies.

A function of a residue is a sum of waves cos(w_k x) and sin(w_k x), w_k = 2 pi k / p. The waves k and
p - k are the same, so that a frequency is an integer 1..p // 2, which is (p - 1) / 2 for odd p. Rows
of the basis come in the order constant, cos 1, sin 1, cos 2, ...: a row's index is not its frequency.

Spectra and Gini coefficients take leading stack axes and go through `torch.func.vmap`. The rules
(`embed_energy`, `wl_energy`, `neuron_argmax`, `logit_energy`) judge one network at a time, because
their answers differ in length. Each reads its answer off a different place, and so they can disagree.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.
"""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad


def fourier_basis(p: int) -> Float[Tensor, "row p"]:
    """Real orthonormal basis of the functions on Z_p, one wave per row, in float64.

    For even p the last frequency, p / 2, is a cosine alone: its sine vanishes at every residue.

    Args:
        p: Any modulus from 3 on; it need not be prime.

    Returns:
        p rows: the constant 1/sqrt(p), then cos(w_k x) and sin(w_k x) for k = 1, 2, ..., each over its norm.

    Raises:
        ValueError: p is below 3, where there is no wave.

    Example:
        >>> fourier_basis(3)
        tensor([[ 0.5774,  0.5774,  0.5774],
                [ 0.8165, -0.4082, -0.4082],
                [ 0.0000,  0.7071, -0.7071]], dtype=torch.float64)
    """
    if p < 3:
        raise ValueError(f"p must be at least 3, so that there is a frequency; got {p}")
    residue = torch.arange(p)
    turns = torch.outer(torch.arange(1, p // 2 + 1), residue) % p  # reduced as integers, so exactly
    angle = 2 * math.pi / p * turns.double()
    waves = rearrange([angle.cos(), angle.sin()], "wave freq x -> (freq wave) x")[: p - 1]
    rows = torch.cat([torch.ones(1, p, dtype=torch.float64), waves])
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def frequency_power(table: Float[Tensor, "*stack p feature"]) -> Float[Tensor, "*stack freq"]:
    """Energy of each frequency k = 1..p // 2 in a table of functions on Z_p, summed over the columns.

    With the energy of the constant, p * sum_feature mean_x(table)^2, the energies add up to the
    table's sum of squares (Parseval).

    Args:
        table: One row per residue; p is the number of rows, so drop the '=' token or class first.

    Returns:
        Squared units of the table, not negative; entry i belongs to frequency i + 1.

    Example:
        >>> x = torch.arange(7)
        >>> frequency_power(torch.cos(2 * torch.pi * 3 / 7 * x)[:, None]).round(decimals=4).abs()
        tensor([0.0000, 0.0000, 3.5000], dtype=torch.float64)
    """
    return _by_frequency(row_norms(table)[..., 1:].square())


def embed_spectrum(W_E: Float[Tensor, "*stack d_vocab d_model"], p: int) -> Float[Tensor, "*stack freq"]:
    """Energy of each frequency in the embedding of the p numbers; the '=' token's row is left out.

    Args:
        W_E: One row per token, the numbers 0..p - 1 first.
        p: The modulus.

    Returns:
        `frequency_power` of the first p rows.

    Raises:
        ValueError: There are fewer than p tokens.

    Example:
        >>> embed_spectrum(torch.eye(6), p=5).round(decimals=4)  # white: two rows for each frequency
        tensor([2., 2.], dtype=torch.float64)
    """
    return frequency_power(_numbers(W_E, p, "token"))


def neuron_logit_spectrum(W_L: Float[Tensor, "*stack d_mlp c"], p: int) -> Float[Tensor, "*stack freq"]:
    """Energy of each frequency in the neuron-to-logit map W_L = W_out @ W_U, along its class axis.

    Args:
        W_L: One column per class, 0..p - 1 first; an '=' class behind them is left out.
        p: The modulus.

    Returns:
        `frequency_power` over classes, summed over neurons.

    Raises:
        ValueError: There are fewer than p classes.

    Example:
        >>> classes = torch.arange(7)
        >>> W_L = torch.cos(2 * torch.pi * 2 / 7 * classes).expand(10, 7)
        >>> neuron_logit_spectrum(W_L, p=7).round(decimals=4).abs()
        tensor([ 0., 35.,  0.], dtype=torch.float64)
    """
    return frequency_power(_numbers(W_L.mT, p, "class"))


def sum_table(grid: Float[Tensor, "*stack pair feature"]) -> Float[Tensor, "*stack p feature"]:
    """Mean of a function of the pairs (a, b) over the p pairs of equal sum, for each sum t = (a + b) mod p.

    The waves cos(w_k (a + b)) and sin(w_k (a + b)) are functions of t alone. So a projection on them
    only ever sees this table, and neither p^2 x p^2 matrices nor p^3 waves need to be built.

    Args:
        grid: All p^2 pairs in the order a * p + b; logits, or neuron activations.

    Returns:
        Row t is the mean over a of grid[a, t - a], in float64.

    Raises:
        ValueError: The number of pairs is not a square.

    Example:
        >>> a, b = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
        >>> sum_table(((a + b) % 3).reshape(9, 1)).T
        tensor([[0., 1., 2.]], dtype=torch.float64)
    """
    p = grid_side(grid)
    rows = grid.unflatten(-2, (p, p)).unbind(-3)
    total = rows[0].double()
    for a, row in enumerate(rows[1:], start=1):  # row by row: a float64 copy of the grid is never made
        total = total + row.double().roll(a, dims=-2)
    return total / p


def logit_spectrum(logits: Float[Tensor, "*stack pair c"]) -> Float[Tensor, "*stack freq"]:
    """Energy of the logits along the two sum waves of each frequency, cos(w_k (a + b)) and sin(w_k (a + b)).

    Each pair's mean over the classes is subtracted first, because the softmax does not see it.

    Args:
        logits: All p^2 pairs in the order a * p + b.

    Returns:
        Squared logits, summed over pairs and classes.

    Raises:
        ValueError: The number of pairs is not a square.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = torch.cos(2 * torch.pi * 2 / 5 * (a + b - c)).reshape(25, 5)
        >>> logit_spectrum(clock).round(decimals=4).abs()  # p^3 / 2 for the one frequency there is
        tensor([ 0.0000, 62.5000], dtype=torch.float64)
    """
    sums = sum_table(logits)
    return sums.shape[-2] * frequency_power(sums - sums.mean(-1, keepdim=True))


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
        neurons: Activations after the nonlinearity, last position, all p^2 pairs in the order a * p + b.

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
    p = grid_side(neurons)
    basis = fourier_basis(p).to(neurons.device)
    grid = rearrange(neurons.double(), "... (a b) neuron -> ... neuron a b", a=p)
    energy = (basis @ (grid - grid.mean((-2, -1), keepdim=True)) @ basis.T).square()
    of_one = _by_frequency(energy[..., 0, 1:]) + _by_frequency(energy[..., 1:, 0])
    of_both = _by_frequency(_by_frequency(energy[..., 1:, 1:]).mT).diagonal(dim1=-2, dim2=-1)
    power, best = (of_one + of_both).max(dim=-1)
    variance = energy.flatten(-2).sum(-1)
    rounding = p * torch.finfo(neurons.dtype).eps
    varies = variance > rounding**2 * neurons.double().square().sum(-2)
    purity = power / torch.where(varies, variance, 1.0)
    return NeuronFrequencies(torch.where(varies, best + 1, 0), torch.where(varies, purity, 0.0))


def embed_energy(
    W_E: Float[Tensor, "d_vocab d_model"], p: int, *, threshold: float = 0.25
) -> Int[Tensor, " freq"]:
    """Key frequencies by the embedding: some wave of theirs has a norm above a share of the largest.

    Args:
        W_E: One row per token, the numbers 0..p - 1 first; the '=' row is left out.
        p: The modulus.
        threshold: Share of the largest norm among all p basis rows of W_E, the constant one included.

    Returns:
        Frequencies in increasing order.

    Raises:
        ValueError: There are fewer than p tokens, or W_E is not finite.

    Example:
        >>> token = torch.arange(14)[:, None]  # p = 13, and '='
        >>> W_E = torch.cat([torch.cos(2 * torch.pi * k / 13 * token) for k in (2, 6)], dim=1)
        >>> embed_energy(W_E, p=13)
        tensor([2, 6])

    Source: the TransformerLens grokking demo, a quarter of the largest norm.
    """
    norms = row_norms(_numbers(W_E, p, "token"))
    return _numbered(_by_frequency((norms > threshold * _largest(norms))[1:].double()) > 0)


def wl_energy(W_L: Float[Tensor, "d_mlp c"], p: int, *, threshold: float = 0.05) -> Int[Tensor, " freq"]:
    """Key frequencies by the neuron-to-logit map: their energy is above a share of the largest.

    Args:
        W_L: W_out @ W_U, one column per class, 0..p - 1 first.
        p: The modulus.
        threshold: Share of the largest energy in `neuron_logit_spectrum`.

    Returns:
        Frequencies in increasing order.

    Raises:
        ValueError: There are fewer than p classes, or W_L is not finite.

    Example:
        >>> classes = torch.arange(13)
        >>> wl_energy(torch.cos(2 * torch.pi * 6 / 13 * classes)[None], p=13)
        tensor([6])

    Source: Nanda et al. 2023, section 4.1 ("non-trivial norms", no number given); the .05 is ours.
    """
    power = neuron_logit_spectrum(W_L, p)
    return _numbered(power > threshold * _largest(power))


def neuron_argmax(neurons: Float[Tensor, "pair neuron"], *, min_purity: float = 0.0) -> Int[Tensor, " freq"]:
    """Key frequencies by the neurons: those that at least one neuron is tuned to.

    Args:
        neurons: Activations after the nonlinearity, last position, all p^2 pairs in the order a * p + b.
        min_purity: Ask only neurons of at least this purity. The paper's clusters start at .85; the
            authors' code asks every neuron, so that one stray neuron adds a frequency.

    Returns:
        Frequencies in increasing order. Neurons that do not vary have no vote.

    Raises:
        ValueError: The number of pairs is not a square, or an activation is not finite.

    Example:
        >>> a, b = torch.meshgrid(*[torch.arange(7)] * 2, indexing="ij")
        >>> waves = [torch.cos(2 * torch.pi * k / 7 * a).flatten() for k in (3, 1, 3)]
        >>> neuron_argmax(torch.stack(waves, dim=1))
        tensor([1, 3])

    Source: Nanda et al. 2023, section 4.2, and the authors' code.
    """
    _largest(neurons)
    freq, purity = neuron_frequencies(neurons)
    return freq[(freq > 0) & (purity >= min_purity)].unique()


def logit_energy(logits: Float[Tensor, "pair c"], *, threshold: float = 0.05) -> Int[Tensor, " freq"]:
    """Key frequencies by the logits: the energy of their sum waves is above a share of the largest.

    Args:
        logits: At the last position, all p^2 pairs in the order a * p + b.
        threshold: Share of the largest energy in `logit_spectrum`.

    Returns:
        Frequencies in increasing order.

    Raises:
        ValueError: The number of pairs is not a square, or a logit is not finite.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(13)] * 3, indexing="ij")
        >>> clock = sum(torch.cos(2 * torch.pi * k / 13 * (a + b - c)) for k in (2, 6))
        >>> logit_energy(clock.reshape(169, 13))
        tensor([2, 6])

    Source: ours, rule and threshold.
    """
    power = logit_spectrum(logits)
    return _numbered(power > threshold * _largest(power))


def gini(values: Float[Tensor, "*stack n"]) -> Float[Tensor, "*stack"]:
    """Gini coefficient of the last axis: mean_ij |x_i - x_j| / (2 mean x).

    Sorted, the double sum is a single one: sum_ij |x_i - x_j| = 2 sum_i (2 i - n - 1) x_(i), i = 1..n.

    Args:
        values: Not negative; of any unit, which drops out.

    Returns:
        0 if all values are equal, 1 - 1/n if all but one are zero, nan if all are zero.

    Raises:
        ValueError: The last axis is empty.

    Example:
        >>> gini(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]]))
        tensor([0.0000, 0.7500], dtype=torch.float64)
    """
    n = values.shape[-1]
    if n == 0:
        raise ValueError("the Gini coefficient of no values has no value")
    ordered = values.double().sort(dim=-1).values
    weight = torch.arange(1 - n, n, 2, dtype=torch.float64, device=values.device)
    return (ordered * weight).sum(-1) / (n * ordered.sum(-1))


def fourier_gini(table: Float[Tensor, "*stack p feature"]) -> Float[Tensor, "*stack"]:
    """Gini coefficient of the norms of the p - 1 non-constant Fourier rows: how few waves a table uses.

    Args:
        table: One row per residue: W_E[:p], or W_L[:, :p].T. With the '=' row left in, p is wrong.

    Returns:
        0..1 - 1/(p - 1). Gaussian rows give about 1 / sqrt(2 pi feature), .035 for 128 features; a
        table of few waves comes near 1.

    Example:
        >>> fourier_gini(torch.eye(7)).abs().round(decimals=4)  # white: every wave has norm 1
        tensor(0., dtype=torch.float64)

    Source: Nanda et al. 2023 (arXiv:2301.05217), section 5.1, there for W_E and W_L.
    """
    return gini(row_norms(table)[..., 1:])


def row_norms(table: Float[Tensor, "*stack p feature"]) -> Float[Tensor, "*stack row"]:
    """Norm of each Fourier row of a table whose rows are residues: constant, cos 1, sin 1, cos 2, ..."""
    basis = fourier_basis(table.shape[-2]).to(table.device)
    return torch.linalg.vector_norm(basis @ table.double(), dim=-1)


def grid_side(grid: Float[Tensor, "*stack pair feature"]) -> int:
    """The modulus p of a table of all p^2 pairs; a number of pairs that is not a square is refused."""
    pairs = grid.shape[-2]
    p = math.isqrt(pairs)
    if p * p != pairs:
        raise ValueError(f"all p^2 pairs are needed, in the order a * p + b; got {pairs}, which is no square")
    return p


def _by_frequency(waves: Float[Tensor, "*stack wave"]) -> Float[Tensor, "*stack freq"]:
    """Sum of the entries of each frequency's cosine and sine; the constant's entry has been dropped."""
    cosines, sines = waves[..., ::2], waves[..., 1::2]
    return cosines + pad(sines, (0, cosines.shape[-1] - sines.shape[-1]))


def _numbers(table: Float[Tensor, "*stack row feature"], p: int, kind: str) -> Tensor:
    """`[*stack p feature]`: the rows of the numbers 0..p - 1, without the '=' behind them."""
    if table.shape[-2] < p:
        raise ValueError(f"one {kind} for each of the {p} numbers is needed; got {table.shape[-2]}")
    return table[..., :p, :]


def _largest(values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The largest entry; infinity and nan are refused, because no share of them is a threshold."""
    if not bool(values.isfinite().all()):
        raise ValueError("key frequencies of a network that is not finite do not exist; got inf or nan")
    return values.max()


def _numbered(is_key: Bool[Tensor, " freq"]) -> Int[Tensor, " key"]:
    """The frequencies themselves, which start at 1."""
    return is_key.nonzero().flatten() + 1
