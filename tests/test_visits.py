"""Stays and returns: chains whose times are known, by Kac's lemma and by their rates."""

import math

import pytest
import torch
from oracles import generator

from circuitgrok.samplers.visits import visits


def test_a_walk_around_a_circle_stays_and_returns_as_kac_says():
    """Of n places an arc of k: share k / n, return time n / k, and a mean stay of k steps for steps of one place."""
    n, k, steps = 12, 4, 4000
    at = torch.randint(n, (400,), generator=generator(4))
    moves = 2 * torch.randint(2, (steps, 400), generator=generator(5)) - 1
    found = visits((at + moves.cumsum(0)) % n < k)
    assert found.share == pytest.approx(k / n, rel=0.02)
    assert found.return_time == pytest.approx(n / k, rel=0.02)
    assert found.residence == pytest.approx(k, rel=0.02) and found.absence == pytest.approx(n - k, rel=0.02)


def test_stays_of_two_states_are_those_of_their_rates():
    leave, enter, steps = 0.2, 0.05, 20_000
    draws = torch.rand(steps, 50, generator=generator(6))
    state, kept = torch.zeros(50, dtype=torch.bool), []
    for draw in draws:
        state = torch.where(state, draw > leave, draw < enter)
        kept.append(state)
    found = visits(torch.stack(kept))
    assert found.residence == pytest.approx(1 / leave, rel=0.03) and found.absence == pytest.approx(1 / enter, rel=0.03)
    assert found.return_time == pytest.approx((leave + enter) / enter, rel=0.03)


def test_stays_of_what_never_leaves_or_comes_are_not_known():
    assert visits(torch.ones(3, dtype=torch.bool)).residence == math.inf
    never = visits(torch.zeros(3, 2, dtype=torch.bool))
    assert math.isnan(never.residence) and never.absence == math.inf and never.exits == 0
    with pytest.raises(ValueError, match="two times or more"):
        visits(torch.ones(1, dtype=torch.bool))
