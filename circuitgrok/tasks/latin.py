"""Latin squares: tables in which every answer stands once in each row and in each column, at random.

The table of a group is one. Others come from the walk of Jacobson and Matthews, whose stationary law is uniform over
all squares of an order: a square is a cube of zeros and ones with one 1 in each line, and a step adds 1 to a cell of
the cube that has 0 and restores all lines at seven more cells. One of these may then have -1; the next step starts
there.

Source: Jacobson and Matthews 1996, Journal of Combinatorial Designs 4, 405.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor


def latin_walk(square: Int[Tensor, "n n"], generator: torch.Generator) -> Iterator[Int[Tensor, "n n"]]:
    """Latin squares that a random walk comes to from one, without end; neighbours differ in few cells.

    Args:
        square: With answers 0 to n - 1; n is 2 or more.
        generator: Of the walk.

    Raises:
        ValueError: It is no Latin square.

    Example:
        >>> cyclic = torch.arange(5)[:, None].add(torch.arange(5)) % 5
        >>> walk = latin_walk(cyclic, torch.Generator().manual_seed(0))
        >>> found = [next(walk) for _ in range(100)][-1]
        >>> is_latin(found), bool((found == cyclic).all())
        (True, False)
    """
    if not is_latin(square):
        raise ValueError(f"answers must stand once in each row and column; got {square.tolist()}")
    n = len(square)
    cube = torch.nn.functional.one_hot(square, n)

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    def one_of(line: Int[Tensor, " n"]) -> int:
        ones = (line == 1).nonzero().flatten().tolist()
        return ones[draw(len(ones)) if len(ones) > 1 else 0]

    hole = None
    while True:
        cell = hole
        while cell is None:
            drawn = draw(n), draw(n), draw(n)
            cell = drawn if cube[drawn] == 0 else None
        row, column, answer = cell
        other = one_of(cube[:, column, answer]), one_of(cube[row, :, answer]), one_of(cube[row, column])
        for turned in range(8):
            place = tuple(other[axis] if turned >> axis & 1 else cell[axis] for axis in range(3))
            cube[place] += 1 - 2 * (turned.bit_count() % 2)
        hole = other if cube[other] < 0 else None
        if hole is None:
            yield cube.argmax(-1)


def latin_square(square: Int[Tensor, "n n"], generator: torch.Generator) -> Int[Tensor, "n n"]:
    """One drawn uniformly, to what n^3 steps of the walk from a square forget of it.

    Example:
        >>> cyclic = torch.arange(4)[:, None].add(torch.arange(4)) % 4
        >>> latin_square(cyclic, torch.Generator().manual_seed(1)).sum(0).tolist()
        [6, 6, 6, 6]
    """
    walk, found = latin_walk(square, generator), square
    for _ in range(len(square) ** 3):
        found = next(walk)
    return found


def is_latin(square: Int[Tensor, "n n"]) -> bool:
    """Whether every row and every column has the answers 0 to n - 1.

    >>> is_latin(torch.tensor([[0, 1], [1, 0]])), is_latin(torch.tensor([[0, 1], [0, 1]]))
    (True, False)
    """
    if square.ndim != 2 or square.shape[0] != square.shape[1]:
        return False
    answers = torch.arange(len(square), device=square.device)
    return all(bool((square.sort(axis).values == answers.unsqueeze(1 - axis)).all()) for axis in (0, 1))
