"""What a direction in weight space touches: parts of the network, frequencies of its tables, the clock in its logits.

A stiff direction of the loss (an eigenvector of its Hessian) is a vector with one number per weight. Three exact
decompositions say what it is made of and what it does.

* By role: the share of its squared norm in the embedding, attention, neurons, unembedding.
* By frequency of its tables: the share of its squared norm along each wave k of W_E over tokens, of W_U over classes.
* By what it does: the Jacobian takes it to a change of the logits, a function D[a, b, c]. Less its mean over the p
  numbers as classes, split its energy by the 3-D Fourier basis:

      clock   cos, sin w_k (a + b)  times  cos, sin w_k c       4 functions for each k: a circuit of k made stronger,
                                                                weaker, or turned
      single  the other products of {1, cos, sin} w_k a, {1, cos, sin} w_k b and {cos, sin} w_k c,
              without those of the next line                    12 for each k
      bias    functions of c alone, of all frequencies          p - 1
      rest    products of different frequencies

Weights of attention and neurons have no frequency of their own; the third decomposition is how they get one.

A direction drawn at random shows what to expect of chance. Of the squared norm, each role gets its share of the
weights, each frequency of a table 2 of its p + 1 rows. For logits of independent entries, `chance_shares`. For a real
network draw random vectors and take their map: its Jacobian has preferences of its own.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.landscape.flat import Flat
from circuitgrok.landscape.jacobian import linearized
from circuitgrok.measures.spectra.fourier import (
    by_frequency,
    fourier_basis,
    frequency_power,
    grid_side,
    numbers,
    sum_table,
)
from circuitgrok.select import vectors
from circuitgrok.tree import ROLES, Params, dot, norm, unravel


class LogitShares(NamedTuple):
    """Shares of a change of logits; over all frequencies, clock + single + bias + rest = 1. nan if nothing changes.

    Attributes:
        clock: Along the sum waves of k and the class waves of the same k, for k = 1..p // 2.
        single: Along the other functions of the frequency k alone that do depend on the inputs.
        bias: Along functions of the class alone: the same change for all pairs.
        rest: Along products of different frequencies.
        size: Root mean square over pairs and classes of the change itself, in logits.
    """

    clock: Float[Tensor, "*stack freq"]
    single: Float[Tensor, "*stack freq"]
    bias: Float[Tensor, "*stack"]
    rest: Float[Tensor, "*stack"]
    size: Float[Tensor, "*stack"]


class StiffnessMap(NamedTuple):
    """What each direction is made of, and what it does.

    Attributes:
        roles: Share of its squared norm in each role, in the order of `ROLES`; they add up to 1.
        embed: Share of its squared norm in W_E along the waves of each frequency over the numbers.
        unembed: The same in W_U over the p numbers as classes. Both are 0 if the tensor is not declared.
        logits: What it does to the logits, per unit of length.
    """

    roles: Float[Tensor, "eig role"]
    embed: Float[Tensor, "eig freq"]
    unembed: Float[Tensor, "eig freq"]
    logits: LogitShares


def stiffness_map(logits: Flat, vectors: Float[Tensor, "eig dim"]) -> StiffnessMap:
    """Roles, frequencies and clock energy of directions in weight space.

    Args:
        logits: The network's logits on all p^2 pairs in the order a * p + b; from `logits_on(model, params,
            task.inputs, names)` with the names that the loss was declared on.
        vectors: One direction per row, such as eigenvectors of the loss; any length but zero.

    Raises:
        ValueError: The number of pairs is not a square, or there are fewer than p classes.

    Example:
        Making a row of W_U larger is a move in the unembedding:

        >>> from circuitgrok.landscape.flat import logits_on
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, d_model=4, d_head=4, n_heads=1, d_mlp=8), modular_addition(p=5)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> logits = logits_on(model, params, task.inputs)
        >>> scaled = torch.cat([v.flatten() * (n == "unembed.W_U") for n, v in logits.like.items()])
        >>> stiffness_map(logits, scaled[None]).roles  # embed, attention, mlp, unembed, normalization
        tensor([[0., 0., 0., 1., 0.]], dtype=torch.float64)
    """
    units = vectors / vectors.norm(dim=-1, keepdim=True)
    directions = unravel(units, logits.like)
    outputs, push, _ = linearized(logits.function, logits.at)
    p = grid_side(outputs)
    changes = [logit_shares(push(unit[None])[0]) for unit in units]
    stacked = LogitShares(*(torch.stack(parts) for parts in zip(*changes, strict=True)))
    none = units.new_zeros(len(units), p // 2)
    W_E, W_U = directions.get("embed.W_E"), directions.get("unembed.W_U")
    embed = none if W_E is None else frequency_power(numbers(W_E, p, "token"))
    unembed = none if W_U is None else frequency_power(numbers(W_U.mT, p, "class"))
    return StiffnessMap(role_shares(directions), embed, unembed, stacked)


def role_shares(directions: Params) -> Float[Tensor, "eig role"]:
    """Share of each direction's squared norm in each role, in the order of `ROLES`.

    Args:
        directions: Stacked, `[eig ...]`.

    Returns:
        0..1, with sum 1. Of a random direction, each role's share of the weights is expected.

    Example:
        >>> role_shares({"embed.W_E": torch.tensor([[3.0]]), "unembed.W_U": torch.tensor([[4.0]])})
        tensor([[0.3600, 0.0000, 0.0000, 0.6400, 0.0000]], dtype=torch.float64)
    """
    total = dot(directions, directions, axes=1)
    energies = {part: norm(*every).square() for part, every in vectors(directions, "role").items()}
    return torch.stack([energies.get(part, torch.zeros_like(total)) for part in ROLES], dim=-1) / total[:, None]


def logit_shares(change: Float[Tensor, "pair c"]) -> LogitShares:
    """Shares of a change of logits in the clock of each frequency, in other functions of it alone, and in the rest.

    Args:
        change: All p^2 pairs in the order a * p + b, the classes 0..p - 1 first; a class of '=' behind them is left
            out. The mean over the p classes, which the softmax does not see, is taken out.

    Raises:
        ValueError: The number of pairs is not a square, or there are fewer than p classes.

    Example:
        >>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
        >>> clock = torch.cos(2 * torch.pi * 2 / 5 * (a + b - c)).reshape(25, 5)
        >>> logit_shares(clock).clock.round(decimals=6).abs()
        tensor([0., 1.], dtype=torch.float64)
    """
    p = grid_side(change)
    table = numbers(change.mT, p, "class").mT.double()
    table = table - table.mean(-1, keepdim=True)
    total = table.square().sum()
    basis = fourier_basis(p).to(table.device)
    of_class = table @ basis[1:].T  # [pair wave]
    sums = by_frequency((basis[1:] @ sum_table(of_class)).square()) * p  # [wave of the sum, freq of the class]
    clock = by_frequency(sums.mT).diagonal()
    energy = (basis @ of_class.T.unflatten(-1, (p, p)) @ basis.T).square()  # [wave of the class, row of a, row of b]
    bias = energy[:, 0, 0].sum()
    energy[:, 0, 0] = 0.0
    single = (_alone(energy, len(clock)) - clock).clamp(min=0.0)
    rest = (total - (clock + single).sum() - bias).clamp(min=0.0)
    return LogitShares(clock / total, single / total, bias / total, rest / total, (total / table.numel()).sqrt())


def _alone(energy: Float[Tensor, "wave row row"], n_freqs: int) -> Float[Tensor, " freq"]:
    """Energy in products of the constant and the waves of one frequency in a and b with class waves of the same."""
    found = []
    for freq in range(1, n_freqs + 1):
        rows = [row for row in (0, 2 * freq - 1, 2 * freq) if row < energy.shape[-1]]
        waves = [row - 1 for row in rows[1:]]
        found.append(energy[waves][:, rows][:, :, rows].sum())
    return torch.stack(found)


def chance_shares(p: int) -> LogitShares:
    """Shares to expect of a change of logits whose entries are independent and alike: dimensions over dimensions.

    Without class means there are p^2 (p - 1) dimensions; a frequency has 4 for its clock and 12 others. At k = p / 2
    of an even p there are no sines: 1 and 2. Functions of the class alone have p - 1.

    Args:
        p: The modulus.

    Returns:
        Shares, and size 1 for entries of variance p / (p - 1) before the class mean is taken out.

    Example:
        >>> chance_shares(5).clock  # 4 / 100
        tensor([0.0400, 0.0400], dtype=torch.float64)
    """
    sines = torch.tensor([2 * k < p for k in range(1, p // 2 + 1)])
    dimensions = p**2 * (p - 1)
    clock, single = torch.where(sines, 4.0, 1.0).double(), torch.where(sines, 12.0, 2.0).double()
    bias = torch.tensor(p - 1.0, dtype=torch.float64)
    rest = dimensions - (clock + single).sum() - bias
    one = torch.ones_like(bias)
    return LogitShares(clock / dimensions, single / dimensions, bias / dimensions, rest / dimensions, one)
