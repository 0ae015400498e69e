"""Fourier analysis on a finite group: irreducible representations, and how much of a table each of them carries.

A function on a group G is a sum of matrix elements rho_ij(g) of its irreducible representations rho, as a
function on Z_p is a sum of waves; an irrep is to a group what a frequency is to Z_p. All irreps here are
real and orthogonal, rho(a b) = rho(a) rho(b), so that with c = mean_g (tr rho(g))^2

    P_rho f (g) = d / (c |G|) sum_h tr rho(g h^-1) f(h)

projects on the functions that rho carries, d = dim rho. c is 1 for the irreps of a symmetric group and 2
for the rotations of a cyclic one, which split in two over the complex numbers. The permutations of n
letters are in lexicographic order, multiplied as maps: (a b)(x) = a(b(x)). Their irreps, one for each
partition of n, are in Young's orthogonal form.

Tables take leading stack axes and go through `torch.func.vmap`; answers are in float64. Pairs (a, b) are
all |G|^2 in the order a * |G| + b, and the right class is a b.

Source: James and Kerber 1981, The Representation Theory of the Symmetric Group, chapter 3, for Young's form;
Chughtai, Chan and Nanda 2023 (arXiv:2302.03025) for what networks make of it.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Group:
    """A finite group with its real orthogonal irreps. Element 0 is the neutral one.

    Attributes:
        elements: What each element is: the images of 0..n - 1, or a residue.
        table: Which element a b is.
        irreps: The matrices of each irrep in float64, by name.
    """

    elements: Int[Tensor, "element letter"]
    table: Int[Tensor, "element element"]
    irreps: dict[str, Float[Tensor, "element d d"]]

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.table)

    @cached_property
    def inverses(self) -> Int[Tensor, " element"]:
        """Which element undoes each."""
        return (self.table == 0).nonzero()[:, 1]

    @cached_property
    def characters(self) -> Float[Tensor, "irrep element"]:
        """Traces of the matrices. The mean of a row's squares is c: 1, or 2 for rotations."""
        return torch.stack([rho.diagonal(dim1=1, dim2=2).sum(-1) for rho in self.irreps.values()])

    @cached_property
    def fourier(self) -> Float[Tensor, "row element"]:
        """Matrix elements sqrt(d / (c |G|)) rho_ij, irrep by irrep: those of rho project on what rho carries."""
        c = self.characters.square().mean(1)
        rows = [
            rho.flatten(1).T * math.sqrt(rho.shape[1] / (c_rho * self.order))
            for rho, c_rho in zip(self.irreps.values(), c.tolist(), strict=True)
        ]
        return torch.cat(rows)

    @cached_property
    def irrep_of_row(self) -> Float[Tensor, "irrep row"]:
        """1 where a row of `fourier` belongs to an irrep, else 0."""
        sizes = torch.tensor([rho.shape[1] ** 2 for rho in self.irreps.values()])
        return torch.eye(len(sizes), dtype=torch.float64).repeat_interleave(sizes, dim=1)


@lru_cache(maxsize=8)
def symmetric_group(n: int) -> Group:
    """All permutations of n letters, and an irrep for each partition of n, named like 3+2.

    Args:
        n: 2..6. Tables are of size n!^2.

    Returns:
        Irreps from the trivial one, n, to the sign, 1+1+...+1.

    Raises:
        ValueError: n is out of range.

    Example:
        >>> {name: rho.shape[1] for name, rho in symmetric_group(4).irreps.items()}  # 1 + 9 + 4 + 9 + 1 = 4!
        {'4': 1, '3+1': 3, '2+2': 2, '2+1+1': 3, '1+1+1+1': 1}
    """
    if not 2 <= n <= 6:
        raise ValueError(f"n must be in 2..6, because tables have n!^2 entries; got {n}")
    elements = torch.tensor(list(itertools.permutations(range(n))))
    places = n ** torch.arange(n - 1, -1, -1)
    table = torch.searchsorted(elements @ places, elements[:, elements] @ places)
    shapes = partitions(n)
    return Group(elements, table, {"+".join(map(str, shape)): young_orthogonal(shape) for shape in shapes})


@lru_cache(maxsize=8)
def cyclic_group(p: int) -> Group:
    """Residues modulo p under addition; irrep k turns by w_k x, w_k = 2 pi k / p, for k = 0..p // 2.

    Example:
        >>> {name: rho.shape[1] for name, rho in cyclic_group(6).irreps.items()}
        {'0': 1, '1': 2, '2': 2, '3': 1}
    """
    residue = torch.arange(p)
    irreps = {}
    for k in range(p // 2 + 1):
        angle = 2 * math.pi / p * (k * residue % p).double()
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(p, 2, 2)
        irreps[str(k)] = turn[:, :1, :1] if 2 * k % p == 0 else turn
    return Group(residue[:, None], (residue[:, None] + residue) % p, irreps)


def partitions(n: int, largest: int | None = None) -> list[tuple[int, ...]]:
    """All ways to write n as a sum of positive integers in decreasing order, the largest first.

    Args:
        n: The sum, 0 or more.
        largest: No part is above it; n by default.

    Example:
        >>> partitions(4)
        [(4,), (3, 1), (2, 2), (2, 1, 1), (1, 1, 1, 1)]
    """
    if n == 0:
        return [()]
    first = range(min(n, n if largest is None else largest), 0, -1)
    return [(part, *rest) for part in first for rest in partitions(n - part, part)]


Cell = tuple[int, int]


def standard_tableaux(shape: tuple[int, ...]) -> list[tuple[Cell, ...]]:
    """All fillings of a shape by 0, 1, ... that grow along rows and columns, as the (row, column) of each number.

    Args:
        shape: Lengths of the rows, decreasing.

    Example:
        >>> standard_tableaux((2, 1))
        [((0, 0), (1, 0), (0, 1)), ((0, 0), (0, 1), (1, 0))]
    """
    if not sum(shape):
        return [()]
    found = []
    for row, (length, below) in enumerate(zip(shape, (*shape[1:], 0), strict=True)):
        if length > below:  # a corner: the last number may stand there
            smaller = (*shape[:row], length - 1, *shape[row + 1 :])
            found += [(*cells, (row, length - 1)) for cells in standard_tableaux(smaller)]
    return found


def young_orthogonal(shape: tuple[int, ...]) -> Float[Tensor, "element d d"]:
    """The irrep of a partition in Young's orthogonal form, one matrix for each permutation in lexicographic order.

    Its basis are the standard tableaux. The swap of i and i + 1 sends a tableau t to t / r plus sqrt(1 - 1 / r^2)
    times t with the two exchanged, where r is the content (column - row) of i + 1 less that of i. Any permutation
    with a descent at i is an earlier one times that swap.

    Example:
        >>> young_orthogonal((2, 1))[1]  # the swap of the last two of three letters
        tensor([[ 0.5000,  0.8660],
                [ 0.8660, -0.5000]], dtype=torch.float64)

    Source: James and Kerber 1981, chapter 3.
    """
    n, tableaux = sum(shape), standard_tableaux(shape)
    swaps = [_swap(tableaux, i) for i in range(n - 1)]
    found: dict[tuple[int, ...], Tensor] = {}
    for g in itertools.permutations(range(n)):
        descent = next((i for i in range(n - 1) if g[i] > g[i + 1]), None)
        if descent is None:
            found[g] = torch.eye(len(tableaux), dtype=torch.float64)
        else:
            found[g] = found[_exchanged(g, descent)] @ swaps[descent]
    return torch.stack(list(found.values()))


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
        >>> irrep_energy(torch.eye(6), symmetric_group(3)).round(decimals=4)  # white: d^2 each
        tensor([1., 4., 1.], dtype=torch.float64)

    Source: Chughtai et al. 2023, there as shares of embedding, unembedding and neurons.
    """
    _check(table.shape[-2], group.order, "rows", group)
    rows = group.fourier.to(table.device) @ table.double()
    return rows.square().sum(-1) @ group.irrep_of_row.T.to(table.device)


def pair_energy(grid: Float[Tensor, "*stack pair feature"], group: Group) -> Float[Tensor, "*stack irrep irrep"]:
    """Energy of a function of pairs in each irrep of a times each irrep of b, summed over the columns.

    A product of embeddings of one irrep lies on the diagonal; what depends on a alone, in the first column.

    Args:
        grid: All pairs, such as activations of neurons. Each column takes 8 |G|^2 bytes, a few times over.
        group: The group.

    Returns:
        Squared units of the grid; all of them add up to its sum of squares.

    Raises:
        ValueError: There is not one row for each pair.

    Example:
        >>> sign = symmetric_group(3).irreps["1+1+1"].flatten()
        >>> pair_energy((sign[:, None] * torch.ones(6)).reshape(36, 1), symmetric_group(3)).round(decimals=4).abs()
        tensor([[ 0.,  0.,  0.],
                [ 0.,  0.,  0.],
                [36.,  0.,  0.]], dtype=torch.float64)
    """
    _check(grid.shape[-2], group.order**2, "pairs", group)
    fourier, irrep_of_row = group.fourier.to(grid.device), group.irrep_of_row.to(grid.device)
    by_b = torch.einsum("rb,...abf->...arf", fourier, grid.unflatten(-2, (group.order, -1)).double())
    power = torch.einsum("qa,...arf->...qrf", fourier, by_b).square().sum(-1)
    return irrep_of_row @ power @ irrep_of_row.T


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


def _swap(tableaux: list[tuple[Cell, ...]], i: int) -> Float[Tensor, "d d"]:
    index = {cells: at for at, cells in enumerate(tableaux)}
    matrix = torch.zeros(len(tableaux), len(tableaux), dtype=torch.float64)
    for cells, at in index.items():
        (row, column), (next_row, next_column) = cells[i], cells[i + 1]
        distance = (next_column - next_row) - (column - row)
        matrix[at, at] = 1 / distance
        if abs(distance) > 1:  # else the two are neighbours, and exchanged they no longer grow
            matrix[index[_exchanged(cells, i)], at] = math.sqrt(1 - 1 / distance**2)
    return matrix


def _exchanged(entries: tuple, i: int) -> tuple:
    return (*entries[:i], entries[i + 1], entries[i], *entries[i + 2 :])


def _check(got: int, wanted: int, kind: str, group: Group) -> None:
    if got != wanted:
        raise ValueError(f"a table on a group of {group.order} elements needs {wanted} {kind}; got {got}")
