"""Fourier analysis on Z_p: the basis, spectra, how sparse they are.

A function of a residue is a sum of waves cos(w_k x) and sin(w_k x), w_k = 2 pi k / p. The waves k and
p - k are the same, so that a frequency is an integer 1..p // 2, which is (p - 1) / 2 for odd p. Rows
of the basis come in the order constant, cos 1, sin 1, cos 2, ...: a row's index is not its frequency.

Everything takes leading stack axes and goes through `torch.func.vmap`.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float
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
    return by_frequency(row_norms(table)[..., 1:].square())


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
    return frequency_power(numbers(W_L.mT, p, "class"))


def sum_table(grid: Float[Tensor, "*stack pair feature"]) -> Float[Tensor, "*stack p feature"]:
    """Mean of a function of the pairs (a, b) over the p pairs of equal sum, for each sum t = (a + b) mod p.

    The waves cos(w_k (a + b)) and sin(w_k (a + b)) are functions of t alone. So a projection on them
    only ever sees this table, and neither p^2 x p^2 matrices nor p^3 waves need to be built.

    Args:
        grid: Logits or neuron activations of all pairs, as in `measures`.

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
        logits: Of all pairs, as in `measures`.

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


def by_frequency(waves: Float[Tensor, "*stack wave"]) -> Float[Tensor, "*stack freq"]:
    """Sum of the entries of each frequency's cosine and sine; the constant's entry has been dropped."""
    cosines, sines = waves[..., ::2], waves[..., 1::2]
    return cosines + pad(sines, (0, cosines.shape[-1] - sines.shape[-1]))


def numbers(table: Float[Tensor, "*stack row feature"], p: int, kind: str) -> Tensor:
    """`[*stack p feature]`: the rows of the numbers 0..p - 1, without the '=' behind them."""
    if table.shape[-2] < p:
        raise ValueError(f"one {kind} for each of the {p} numbers is needed; got {table.shape[-2]}")
    return table[..., :p, :]
