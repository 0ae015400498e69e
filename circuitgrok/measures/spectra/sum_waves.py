"""Tables by the sum of a pair: what is restricted to sum waves, and what it costs to take it out of the logits.

The waves cos(w_k (a + b)) and sin(w_k (a + b)) are functions of t = (a + b) mod p. Whatever is made of them is a table
[p c], one row for each t. Where many losses of the same logits are wanted, take the table once (`sum_logits`), the part
of each frequency in it (`wave_tables`), and then losses by pair (`losses_of_sums`, `losses_without`), to be averaged
over any split. Everything takes leading stack axes and answers in float64.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot, pad

from circuitgrok.measures.spectra.fourier import fourier_basis, sum_table


def squares_about_mean(
    logits: Float[Tensor, "*stack pair c"], *, within_classes: bool = False
) -> Float[Tensor, "*stack"]:
    """Sum of squared deviations from the overall mean, or from each class's; nan if they are rounding errors alone.

    By norms, which for p = 113 take a tenth of the time of `Tensor.var`.
    """
    exact = logits.double()
    mean = exact.mean(-2 if within_classes else (-2, -1), keepdim=True)
    about_mean = torch.linalg.vector_norm(exact - mean, dim=(-2, -1)).square()
    squares = torch.linalg.vector_norm(exact, dim=(-2, -1)).square()
    return about_mean.where(about_mean > 1e-28 * squares, torch.nan)  # eps^2 is 5e-32


def sum_logits(logits: Float[Tensor, "*stack pair c"]) -> Float[Tensor, "*stack p c"]:
    """Mean of the logits over the pairs of equal sum, once it is sure that there is one class for each number.

    Args:
        logits: Of all pairs, as in `measures`.

    Returns:
        `fourier.sum_table` of the logits; row t belongs to the pairs with (a + b) mod p = t.

    Raises:
        ValueError: `logits` is not [p^2, p].

    Example:
        >>> sum_logits(torch.arange(27.0).reshape(9, 3))[0]  # the pairs 00, 12, 21
        tensor([12., 13., 14.], dtype=torch.float64)
    """
    check_classes(logits)
    return sum_table(logits)


def sum_logits_where(
    logits: Float[Tensor, "*stack pair c"], where: Bool[Tensor, " pair"]
) -> Float[Tensor, "*stack p c"]:
    """Sum of the logits over those of the pairs of equal sum that are picked.

    Args:
        logits: Of all pairs, as in `measures`.
        where: The pairs to add up; all others count as 0.

    Returns:
        Row t is the sum over the picked pairs with (a + b) mod p = t, in float64; of all pairs, p `sum_logits`.

    Raises:
        ValueError: `logits` is not [p^2, p].

    Example:
        >>> sum_logits_where(torch.arange(27.0).reshape(9, 3), torch.arange(9) < 6)[0]  # the pairs 00 and 12
        tensor([15., 17., 19.], dtype=torch.float64)
    """
    p = check_classes(logits)
    total = logits.new_zeros((*logits.shape[:-2], p, p), dtype=torch.float64)
    rows = logits.unflatten(-2, (p, p)).unbind(-3)
    for a, (row, here) in enumerate(zip(rows, where.view(p, p), strict=True)):  # a float64 copy is never made
        total = total + row.double().where(here[:, None], 0.0).roll(a, dims=-2)
    return total


def wave_tables(
    sums: Float[Tensor, "*stack p feature"], key_freqs: Int[Tensor, " freq"]
) -> Float[Tensor, "*stack freq p feature"]:
    """The part of each key frequency in functions of the sum t: their projections on cos(w_k t) and sin(w_k t).

    Args:
        sums: A function of the sum in each column: `sum_logits`, or `fourier.sum_table` of anything on the pairs.
        key_freqs: Distinct integers in 1..p // 2.

    Returns:
        One table per frequency, in their order and in float64; summed over them it is P_S.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> t = 2 * torch.pi / 7 * torch.arange(7.0)[:, None]
        >>> tables = wave_tables(2 + torch.cos(t) + torch.cos(3 * t), torch.tensor([3, 2]))
        >>> torch.allclose(tables, torch.stack([torch.cos(3 * t), 0 * t]).double(), atol=1e-6)
        True
    """
    p = sums.shape[-2]
    check_freqs(key_freqs, p)
    basis = pad(fourier_basis(p), (0, 0, 0, 1 - p % 2)).to(sums.device)  # p / 2 has no sine: a row of zeros
    waves = basis[1:].unflatten(0, (-1, 2))[key_freqs.long() - 1]  # [freq wave p]
    return waves.mT @ (waves @ sums.double().unsqueeze(-3))


def losses_of_sums(table: Float[Tensor, "*stack p c"], labels: Int[Tensor, " pair"]) -> Float[Tensor, "*stack pair"]:
    """Cross-entropy of each pair where the logits are a function of its sum, as all restricted logits are.

    Args:
        table: Row t has the logits of the pairs with (a + b) mod p = t.
        labels: The right class of each pair.

    Returns:
        In nats, in the order of the labels.

    Example:
        >>> losses_of_sums(10 * torch.eye(3), torch.tensor([0, 1, 2, 1, 2, 0, 2, 0, 1])).mean().round(decimals=6)
        tensor(9.1000e-05, dtype=torch.float64)
    """
    loss = -table.double().log_softmax(-1)
    return loss[..., pair_sums(table), labels]


class Rivals(NamedTuple):
    """What the wrong classes of each pair weigh; pairs by their sum t and their first number a.

    Attributes:
        weight: exp(L_c - the best wrong L) for each class c; 0 for the right one. In units of exp(-BOOST).
        lead: The right logit over the best wrong one, in logits.
        label: The right class.
    """

    weight: Float[Tensor, "*stack t a c"]
    lead: Float[Tensor, "*stack t a"]
    label: Int[Tensor, "t a"]


BOOST = 345.0  # half of the exponents that float64 has above 1: exp(2 BOOST) times a million classes is finite
WIDEST = 1000.0  # with the boost, products that underflow are below exp(-1090) of the largest weight


def rivals(logits: Float[Tensor, "*stack pair c"], labels: Int[Tensor, " pair"]) -> Rivals:
    """What the wrong classes weigh against the right one: all that `losses_without` asks of the logits.

    Args:
        logits: Of all pairs, as in `measures`.
        labels: The right class of each pair.

    Raises:
        ValueError: `logits` is not [p^2, p].

    Example:
        >>> logits = torch.zeros(9, 3)
        >>> logits[:, 1] = 5.0
        >>> rivals(logits, torch.zeros(9, dtype=torch.long)).lead[0]
        tensor([-5., -5., -5.], dtype=torch.float64)
    """
    p = check_classes(logits)
    first = torch.arange(p, device=logits.device)
    pair = first * p + (first[:, None] - first) % p  # [t a]
    rows, label = logits[..., pair, :].double(), labels[pair].long()
    wrong = rows.masked_fill(one_hot(label, p).bool(), -torch.inf)
    best = wrong.amax(-1, keepdim=True)
    right = rows.gather(-1, label[..., None].expand(*rows.shape[:-1], 1))
    return Rivals((wrong - best + BOOST).exp(), (right - best)[..., 0], label)


def losses_without(rivals: Rivals, tables: Float[Tensor, "*stack set p c"]) -> Float[Tensor, "*stack set pair"]:
    """Cross-entropy of each pair once a function of its sum is taken out of the logits, for any number of them.

    With the right class y the loss is log(1 + sum over c != y of exp((L_c - T_c) - (L_y - T_y))). The sum is a
    product of exp(L_c), which is taken once, with exp(-T_c), which has p rows: a matrix product for each t.

    Args:
        rivals: Of the logits and the labels.
        tables: What to take out, by the sum t: parts of `wave_tables`, one table for each set.

    Returns:
        In nats, pairs in the order a * p + b. As exact for small losses as for large ones. nan for a pair where
        one table spreads over more than 1000 logits, beyond which the products leave float64;
        `restricted.parts_of` has no such bound.

    Example:
        >>> from circuitgrok.interventions.losses import cross_entropy
        >>> logits, labels = 10 * torch.eye(3).repeat(3, 1), torch.tensor([0, 1, 2]).repeat(3)
        >>> nothing = torch.zeros(1, 3, 3)
        >>> torch.allclose(losses_without(rivals(logits, labels), nothing), cross_entropy(logits, labels))
        True
    """
    weight, lead, label = rivals
    least = tables.double().amin(-1, keepdim=True)
    above = (tables.double() - least).movedim(-3, -2)  # [*stack t set c]
    total = ((BOOST - above).exp() @ weight.mT).log() - 2 * BOOST  # [*stack t set a]
    moved = above.gather(-1, label.unsqueeze(-2).expand(above.shape))
    loss = torch.logaddexp(total - lead.unsqueeze(-2) + moved, total.new_zeros(()))
    loss = loss.where(above.amax(-1, keepdim=True) <= WIDEST, torch.nan).movedim(-2, -3)  # [*stack set t a]
    first = torch.arange(loss.shape[-1], device=loss.device).repeat_interleave(loss.shape[-1])
    return loss[..., pair_sums(loss), first]


def wave_rows(key_freqs: Int[Tensor, " freq"], p: int) -> Int[Tensor, " row"]:
    """The rows of the Fourier basis that belong to some frequencies: cosine and sine of each (p / 2 has no sine).

    Raises:
        ValueError: They are not distinct integers in 1..p // 2.

    Example:
        >>> wave_rows(torch.tensor([3, 1]), 6)
        tensor([5, 1, 2])
    """
    check_freqs(key_freqs, p)
    rows = torch.stack([2 * key_freqs.long() - 1, 2 * key_freqs.long()], dim=1).flatten().cpu()
    return rows[rows < p]


def check_freqs(key_freqs: Int[Tensor, " freq"], p: int) -> None:
    """Refuses what is not a set of frequencies of Z_p.

    Raises:
        ValueError: They are not distinct integers in 1..p // 2.
    """
    given = key_freqs.tolist()
    integers = not key_freqs.is_floating_point() and key_freqs.dtype != torch.bool
    if not (integers and len(set(given)) == len(given) and set(given) <= set(range(1, p // 2 + 1))):
        raise ValueError(f"key_freqs must be distinct integers in 1..{p // 2} for p = {p}; got {given}")


def check_classes(logits: Float[Tensor, "*stack pair c"]) -> int:
    """The modulus p, if there are p classes for p^2 pairs."""
    pairs, classes = logits.shape[-2:]
    if pairs != classes**2:
        raise ValueError(f"logits must be [p^2, p], without the class of '='; got [{pairs}, {classes}]")
    return classes


def pair_sums(like: Float[Tensor, "*stack p"]) -> Int[Tensor, " pair"]:
    """(a + b) mod p of each pair; p is the length of the last axis."""
    residue = torch.arange(like.shape[-1], device=like.device)
    return ((residue[:, None] + residue) % len(residue)).flatten()
