"""Shares of variance in factorial designs: planted effects in closed form, a twin by loops, what no level can hide."""

from itertools import product

import pytest
import torch
from oracles import noise

from circuitgrok.polar.factorial import shares, squares

NAMES = ("radius", "direction", "temperature")


def contrast(*numbers: float) -> torch.Tensor:
    x = torch.tensor(numbers, dtype=torch.float64)
    return x - x.mean()


def test_planted_effects_of_three_factors_and_their_interactions_have_their_closed_form():
    a, b, c = contrast(0, 1, 5), contrast(2, -1, 0, 4), contrast(1, 0)
    main = a[:, None, None] + b[:, None] + c
    pairs = 0.3 * a[:, None, None] * b[:, None] + 0.2 * b[:, None] * c
    found = squares((7 + main + pairs + 0.5 * a[:, None, None] * b[:, None] * c)[None], NAMES)
    A, B, C = (x.square().sum().item() for x in (a, b, c))
    expected = {
        NAMES[:1]: 8 * A, NAMES[1:2]: 6 * B, NAMES[2:]: 12 * C, NAMES[:2]: 2 * 0.09 * A * B,
        ("radius", "temperature"): 0.0, NAMES[1:]: 3 * 0.04 * B * C, NAMES: 0.25 * A * B * C,
    }  # fmt: skip
    assert list(found) == [(n,) for n in NAMES] + [NAMES[:2], ("radius", "temperature"), NAMES[1:], NAMES]
    for of, value in expected.items():
        assert found[of].item() == pytest.approx(value, rel=1e-12, abs=1e-10)


def test_parts_agree_with_means_over_cells_by_loops_and_add_up():
    x = noise(3, 2, 3, 4)
    found = squares(x, NAMES)
    for run, values in enumerate(x):
        sums = dict.fromkeys(found, 0.0)
        for cell in product(range(2), range(3), range(4)):
            parts: dict[tuple[str, ...], float] = {(): values.mean().item()}
            for of in found:
                fixed = tuple(i if name in of else slice(None) for i, name in zip(cell, NAMES, strict=True))
                inner = sum(part for other, part in parts.items() if set(other) < set(of))
                parts[of] = values[fixed].mean().item() - inner
                sums[of] += parts[of] ** 2
        for of, value in sums.items():
            assert found[of][run].item() == pytest.approx(value, rel=1e-9)
        whole = (values - values.mean()).square().sum().item()
        assert sum(part[run].item() for part in found.values()) == pytest.approx(whole, rel=1e-12)
    assert sum(share.estimate for share in shares(x, NAMES).values()) == pytest.approx(1, rel=1e-12)


def test_what_acts_only_together_is_neither_factors_own():
    values = torch.stack([torch.outer(contrast(0, 1), contrast(0, 1)), torch.outer(contrast(0, 2), contrast(0, 1))])
    found = shares(values, NAMES[:2])
    assert found["radius",].estimate == pytest.approx(0, abs=1e-15)
    assert found[NAMES[:2]].estimate == pytest.approx(1)


def test_a_wider_range_of_one_factor_takes_the_share_of_the_others():
    by_range = [shares((width * contrast(0, 1)[:, None] + contrast(0, 1))[None], NAMES[:2]) for width in (0.5, 1, 3)]
    direction = [found["direction",].estimate for found in by_range]
    assert direction == pytest.approx([1 / (1 + width**2) for width in (0.5, 1, 3)], rel=1e-12)


def test_designs_that_cannot_be_split_are_refused():
    with pytest.raises(ValueError, match="a name for each axis"):
        squares(torch.ones(1, 2, 2), NAMES)
    with pytest.raises(ValueError, match="two levels of each factor at least; got 2 of radius, 1 of direction"):
        squares(torch.ones(1, 2, 1), NAMES[:2])
    with pytest.raises(ValueError, match="must be finite"):
        squares(torch.full((1, 2, 2), torch.nan), NAMES[:2])
