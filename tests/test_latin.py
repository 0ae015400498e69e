"""Random Latin squares: how often the walk comes to each, where all are known."""

from collections import Counter
from itertools import islice, product

import pytest
import torch

from circuitgrok.tasks.latin import is_latin, latin_square, latin_walk


def cyclic(n: int) -> torch.Tensor:
    return torch.arange(n)[:, None].add(torch.arange(n)) % n


def intercalates(square: torch.Tensor) -> int:
    """Pairs of rows and of columns whose four cells have two answers: 12 in Klein's group, 4 in the cyclic one."""
    n = len(square)
    corners = product(range(n), range(n), range(n), range(n))
    return sum(
        bool(square[a, c] == square[b, d] and square[a, d] == square[b, c]) for a, b, c, d in corners if a < b and c < d
    )


def test_all_twelve_squares_of_order_three_come_as_often():
    """Four standard errors of a share whose visits are a walk's: each is counted at every tenth square alone."""
    walk = latin_walk(cyclic(3), torch.Generator().manual_seed(0))
    n = 3000
    found = Counter(tuple(square.flatten().tolist()) for square in islice(walk, 0, 10 * n, 10))
    assert len(found) == 12
    error = (n / 12 * (1 - 1 / 12)) ** 0.5
    assert max(abs(count - n / 12) for count in found.values()) < 4 * error


def test_a_quarter_of_the_squares_of_order_four_are_those_of_kleins_group():
    """Of 576 squares 144 are isotopic to Klein's group and 432 to the cyclic one."""
    walk, n = latin_walk(cyclic(4), torch.Generator().manual_seed(1)), 800
    found = Counter(intercalates(square) for square in islice(walk, 0, 20 * n, 20))
    assert set(found) == {4, 12}
    assert abs(found[12] / n - 0.25) < 4 * (0.25 * 0.75 / n) ** 0.5


def test_squares_of_a_larger_order_stay_latin_and_forget_where_they_began():
    start = cyclic(11)
    found = latin_square(start, torch.Generator().manual_seed(2))
    assert is_latin(found)
    assert abs((found == start).sum().item() - 11) < 4 * 11**0.5  # of 121 cells one in eleven agrees by chance
    assert all(is_latin(square) for square in islice(latin_walk(start, torch.Generator().manual_seed(3)), 50))


def test_what_is_no_latin_square_is_refused():
    for square in (torch.tensor([[0, 1], [0, 1]]), torch.tensor([[1, 2], [2, 1]])):
        with pytest.raises(ValueError, match="once in each row"):
            next(latin_walk(square, torch.Generator()))
