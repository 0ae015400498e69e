"""Finite groups with their irreducible representations, as matrices.

All irreps here are real and orthogonal, rho(a b) = rho(a) rho(b). The permutations of n letters are in lexicographic
order, multiplied as maps: (a b)(x) = a(b(x)). Their irreps, one for each partition of n, are in Young's orthogonal
form; those of a cyclic group are rotations, which split in two over the complex numbers; those of a dihedral
group are rotations and reflections of the plane, which do not.

Source: James and Kerber 1981, The Representation Theory of the Symmetric Group, chapter 3, for Young's form; Serre
1977, Linear Representations of Finite Groups, section 5.3, for the dihedral groups.
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


@lru_cache(maxsize=8)
def dihedral_group(n: int) -> Group:
    """The 2 n symmetries of a polygon of n corners: rotations x -> k + x, then reflections x -> k - x, modulo n.

    Element k is the rotation by k, n + k the reflection that follows it; each is given as the images of the corners.

    Args:
        n: From 3: with fewer corners different symmetries move them alike.

    Returns:
        Irreps with their names in chemistry: A1 and A2 are 1 and -1 on reflections, and for even n B1 and B2 the same
        times (-1)^k; E1, E2, ... turn the plane by w_h k, w_h = 2 pi h / n, for h below n / 2.

    Raises:
        ValueError: n is below 3.

    Example:
        >>> {name: rho.shape[1] for name, rho in dihedral_group(6).irreps.items()}  # 4 + 2 * 2^2 = 12
        {'A1': 1, 'A2': 1, 'B1': 1, 'B2': 1, 'E1': 2, 'E2': 2}
    """
    if n < 3:
        raise ValueError(f"n must be 3 or more, the corners of a polygon; got {n}")
    turn, sign = torch.arange(n).repeat(2), torch.tensor([1, -1]).repeat_interleave(n)
    turns = (turn[:, None] + sign[:, None] * turn) % n
    table = turns + n * (sign[:, None] != sign)
    flip, alternating = sign.double().view(-1, 1, 1), (1 - 2 * (turn % 2)).double().view(-1, 1, 1)
    irreps = {"A1": torch.ones_like(flip), "A2": flip}
    if n % 2 == 0:
        irreps |= {"B1": alternating, "B2": alternating * flip}
    for h in range(1, (n + 1) // 2):
        angle = 2 * math.pi / n * (h * turn % n).double()
        rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(2 * n, 2, 2)
        irreps[f"E{h}"] = torch.cat([rotation[:, :, :1], rotation[:, :, 1:] * flip], dim=2)
    return Group((turn[:, None] + sign[:, None] * torch.arange(n)) % n, table, irreps)


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
