"""Tickets: of a quadratic network they are coefficients of its logits; planted circuits; random phases; winners."""

import math

import pytest
import torch
from oracles import generator, noise

from circuitgrok.exact.planted import planted_network
from circuitgrok.measures.circuits.explained import cosine_coefficients
from circuitgrok.measures.parts.tickets import Tickets, alignment, foretold, tickets, worth
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.tasks.modular import modular_addition

P = 13
INPUTS = modular_addition(P).inputs


def of(model, params):
    return tickets(model.last_hidden(params, INPUTS).pre, params["unembed.W_U"])


def test_of_a_quadratic_network_their_sum_is_the_coefficient_of_the_right_answer():
    model = QuadraticMLP(p=P, n_neurons=20)
    params = {name: value.double() for name, value in model.init(generator(0)).items()}
    exact = cosine_coefficients(model.logits(params, INPUTS))  # 2 A cos B cos C cos = A B C / 2 cos(a + b - c) + ...
    assert worth(of(model, params)) / 2 == pytest.approx(exact, rel=1e-9)


def test_planted_circuits_are_aligned_and_worth_most_and_turned_outputs_are_not():
    plain = planted_network(P, [2, 5])
    found = of(plain.model, plain.params)
    assert alignment(found).item() == pytest.approx(1, abs=1e-9)
    assert worth(found).topk(2).indices.sort().values.tolist() == [1, 4]
    moved = dict(plain.params)
    moved["unembed.W_U"] = plain.params["unembed.W_U"].roll(1, dims=1)  # every answer is one too large
    turned = of(plain.model, moved)
    strength = found.strength.sum(0)
    expected = sum(strength[k - 1] * math.cos(2 * math.pi * k / P) for k in (2, 5)) / strength.sum()
    assert alignment(turned).item() == pytest.approx(expected.item(), abs=1e-9)


def test_random_phases_are_not_aligned():
    found = tickets(noise(P * P, 4000), noise(4000, P, seed=1))
    n = found.strength.sum().square() / found.strength.square().sum()
    assert abs(alignment(found).item()) < 4 / (2 * n.item()) ** 0.5


def test_an_even_modulus_has_no_phase_at_half_of_it():
    assert tickets(noise(36, 2), noise(2, 6)).strength.shape == (2, 2)


def test_winners_that_are_worth_more_are_foretold_and_none_are_not_known():
    values, wins = torch.tensor([3.0, -1.0, 2.0]), torch.tensor([True, False, False])
    assert foretold(values, wins) == 1 and foretold(-values, wins) == 0
    assert foretold(torch.zeros(3), wins) == 0.5
    assert math.isnan(foretold(values, torch.zeros(3, dtype=torch.bool)))
    assert worth(Tickets(torch.ones(2, 2), torch.zeros(2, 2))).tolist() == [2, 2]
