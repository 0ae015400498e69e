"""Fourier analysis on a finite group: irreducible representations, and how much of a table each of them carries.

A function on a group G is a sum of matrix elements rho_ij(g) of its irreducible representations rho, as a
function on Z_p is a sum of waves; an irrep is to a group what a frequency is to Z_p. All irreps here are
real and orthogonal, rho(a b) = rho(a) rho(b), so that with c = mean_g (tr rho(g))^2

    P_rho f (g) = d / (c |G|) sum_h tr rho(g h^-1) f(h)

projects on the functions that rho carries, d = dim rho. c is 1 for the irreps of a symmetric group and 2
for the rotations of a cyclic one. The groups are in `tasks.finite_groups`.

Tables take leading stack axes and go through `torch.func.vmap`; answers are in float64. Pairs (a, b) are
all |G|^2 in the order a * |G| + b, and the right class is a b.

Source: Chughtai, Chan and Nanda 2023 (arXiv:2302.03025).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.tasks.finite_groups import Group


def irrep_energy(table: Float[Tensor, "*stack element feature"], group: Group) -> Float[Tensor, "*stack irrep"]:
    """Energy of each irrep in a table of functions on the group, summed over the columns.

    Args:
        table: One row per element, such as an embedding without its '=' row.
        group: The group.

    Returns:
        Squared units of the table, in the order of `group.irreps`; they add up to its sum of squares (Parseval).

    Raises:
        ValueError: There is not one row for each element.

    Example:
        >>> from circuitgrok.tasks.finite_groups import symmetric_group
        >>> irrep_energy(torch.eye(6), symmetric_group(3)).round(decimals=4)  # white: d^2 each
        tensor([1., 4., 1.], dtype=torch.float64)

    Source: Chughtai et al. 2023, there as shares of embedding, unembedding and neurons.
    """
    _check(table.shape[-2], group.order, "rows", group)
    rows = group.fourier.to(table.device) @ table.double()
    return rows.square().sum(-1) @ group.irrep_of_row.T.to(table.device)


def product_table(grid: Float[Tensor, "*stack pair feature"], group: Group) -> Float[Tensor, "*stack element feature"]:
    """Mean of a function of the pairs (a, b) over the |G| pairs of equal product, for each product a b.

    It is the function of a b alone that comes nearest to the grid, and has |G| * `irrep_energy` of its energy.

    Args:
        grid: All pairs.
        group: The group.

    Returns:
        Row g is the mean over a of grid[a, a^-1 g].

    Raises:
        ValueError: There is not one row for each pair.

    Example:
        >>> from circuitgrok.tasks.finite_groups import symmetric_group
        >>> group = symmetric_group(3)
        >>> product_table(group.table.reshape(36, 1).double(), group).T
        tensor([[0., 1., 2., 3., 4., 5.]], dtype=torch.float64)
    """
    _check(grid.shape[-2], group.order**2, "pairs", group)
    rows = grid.unflatten(-2, (group.order, group.order)).unbind(-3)
    second = group.table[group.inverses].to(grid.device)  # [a g]: the b with a b = g
    total = torch.zeros_like(rows[0], dtype=torch.float64)
    for row, order in zip(rows, second, strict=True):  # row by row: a float64 copy of the grid is never made
        total = total + row[..., order, :].double()
    return total / group.order


def logit_irrep_share(logits: Float[Tensor, "*stack pair c"], group: Group) -> Float[Tensor, "*stack irrep"]:
    """Share of the logits' variance in functions rho_ij(a b) of the product, any weights to the classes, per irrep.

    Each pair's mean over the classes is subtracted first, because the softmax does not see it.

    Args:
        logits: All pairs, one class for each element.
        group: The group.

    Returns:
        0..1, with a sum up to 1: what is missing does not depend on a b alone. The trivial irrep holds what
        the classes are given whatever the pair. nan if no logits differ within a pair.

    Raises:
        ValueError: `logits` is not [|G|^2, |G|].

    Example:
        >>> from circuitgrok.tasks.finite_groups import symmetric_group
        >>> group = symmetric_group(3)
        >>> onehot = torch.eye(6)[group.table.flatten()]  # every irrep but the trivial one, d^2 of 5
        >>> logit_irrep_share(onehot, group).round(decimals=4).abs()
        tensor([0.0000, 0.8000, 0.2000], dtype=torch.float64)
    """
    _check(logits.shape[-1], group.order, "classes, without '='", group)
    products = product_table(logits, group)
    energy = irrep_energy(products - products.mean(-1, keepdim=True), group)
    return group.order * energy / _centred_energy(logits)[..., None]


def logit_trace_similarity(logits: Float[Tensor, "*stack pair c"], group: Group) -> Float[Tensor, "*stack irrep"]:
    """Cosine of the angle between the logits and tr rho(a b c^-1), for each irrep rho.

    The trace depends on t = a b c^-1 alone, so that sums of the logits over the pairs and classes of equal t are
    all that is needed, and no cube of traces is. Each pair's mean over the classes is subtracted first.

    Args:
        logits: All pairs, one class for each element.
        group: The group.

    Returns:
        -1..1. Traces of different irreps are orthogonal: a square is the share of the variance that one multiple
        of the trace explains, and the squares add up to at most 1. 0 for the trivial irrep, whose trace says
        nothing; nan if no logits differ within a pair.

    Raises:
        ValueError: `logits` is not [|G|^2, |G|].

    Example:
        >>> from circuitgrok.tasks.finite_groups import symmetric_group
        >>> group = symmetric_group(3)
        >>> onehot = torch.eye(6)[group.table.flatten()]  # a sum of d tr rho / |G|
        >>> logit_trace_similarity(onehot, group).square().round(decimals=4)
        tensor([0.0000, 0.8000, 0.2000], dtype=torch.float64)

    Source: Chughtai et al. 2023, where logits are told to be sums of such traces.
    """
    _check(logits.shape[-1], group.order, "classes, without '='", group)
    products = product_table(logits, group)
    products = products - products.mean(-1, keepdim=True)
    table, characters = group.table.to(logits.device), group.characters.to(logits.device)
    by_quotient = group.order * products[..., table, torch.arange(group.order, device=logits.device)].sum(-1)
    lengths = group.order * torch.linalg.vector_norm(characters, dim=1)  # of the cubes: |G|^2 elements for each t
    return by_quotient @ characters.T / (lengths * _centred_energy(logits).sqrt()[..., None])


def _centred_energy(logits: Float[Tensor, "*stack pair c"]) -> Float[Tensor, "*stack"]:
    rows = logits.unflatten(-2, (logits.shape[-1], -1)).unbind(-3)
    return torch.stack([row.double().var(-1, correction=0).sum(-1) for row in rows]).sum(0) * logits.shape[-1]


def _check(got: int, wanted: int, kind: str, group: Group) -> None:
    if got != wanted:
        raise ValueError(f"a table on a group of {group.order} elements needs {wanted} {kind}; got {got}")
