"""Analytic networks: exact accuracies, exact margins, and what they owe to their phases and frequencies."""

import math

import pytest
import torch
from loops import for_each
from oracles import generator, grid, labels_of, noise, slow_margins, wave
from torch import Tensor

from circuitgrok.exact.analytic import gromov_network, l23_norm, max_margin, max_margin_network, normalized_margin
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.tree import Params, combine, stack

U = 2.0**-53  # half the distance from 1 to the next number


def logits_of(params: Params) -> Tensor:
    """All pairs, from the definition: W (u_a + v_b)^2."""
    W_in, W_U = params["blocks.0.mlp.W_in"], params["unembed.W_U"]
    p = W_U.shape[1]
    return (W_in[:p, None] + W_in[None, p:]).square().flatten(0, 1) @ W_U


def accuracy(params: Params) -> float:
    logits = logits_of(params)
    return (logits.argmax(-1) == labels_of(logits.shape[-1])).double().mean().item()


def regular_phases(p: int, n: int, freqs: list[int]) -> Params:
    """Neurons with each pair of n evenly spaced phases, for each frequency."""
    x, neurons = torch.arange(p), []
    for k in freqs:
        for i in range(n):
            for j in range(n):
                u, v = 2 * math.pi * i / n, 2 * math.pi * j / n
                neurons.append((wave(k, x, p, u), wave(k, x, p, v), wave(k, x, p, u + v)))
    of_a, of_b, out = (torch.stack(waves) for waves in zip(*neurons, strict=True))
    return {"blocks.0.mlp.W_in": torch.cat([of_a.T, of_b.T]), "unembed.W_U": out}


def tolerance(p: int) -> float:
    """Relative, of a margin 9 p / 4 of the network of n = 9 (p - 1) / 2 neurons.

    Angles are below 6 pi and take three roundings, so that cosines err by less than 60 u, a squared sum of two (up
    to 4) by less than 4 * 120 u, its product with the third by 720 u. A sum of n terms up to 4 adds 4 n u for each.
    A margin has two of them, n (720 + 4 n) 2 u in all, and n < 9 p / 2; the norm adds less than as much again.
    """
    n = 9 * (p - 1) / 2
    return 2 * 4 * (720 + 4 * n) * U


# --- Gromov's ---------------------------------------------------------------------------------------


@for_each(("p", "seeds"), [(23, 5), (47, 3), (97, 1)])
def test_gromov_network_adds_every_pair_from_5_6_p_neurons_on(p, seeds):
    for seed in range(seeds):
        assert accuracy(gromov_network(p, math.ceil(5.6 * p), generator(seed))) == 1.0


def test_gromov_network_of_few_neurons_errs_on_some():
    assert 0.5 < accuracy(gromov_network(23, 33, generator(0))) < 1.0


@pytest.mark.parametrize(("p", "n_neurons"), [(11, 7), (11, 40), (23, 129)])
def test_answers_logit_of_gromov_network_is_one_in_the_mean_over_pairs(p, n_neurons):
    logits = logits_of(gromov_network(p, n_neurons, generator(3)))
    # n terms of up to 4 amplitude^3 = 8 / n, each with cosines that err by less than 60 u as above
    assert logits.gather(1, labels_of(p)[:, None]).mean().item() == pytest.approx(1, abs=2 * (720 + 4 * n_neurons) * U)


def test_gromov_networks_average_to_the_cosines_of_their_frequencies():
    p, n_neurons, draws = 7, 6, 2000
    tables = torch.stack([logits_of(gromov_network(p, n_neurons, generator(seed))) for seed in range(draws)])
    a, b, c = grid(p, 3)
    expected = torch.stack([wave(k, a + b - c, p) for k in (1, 2, 3)]).mean(0).reshape(p * p, p)
    z = (tables.mean(0) - expected) / (tables.std(0) / math.sqrt(draws))
    assert z.abs().max() < 5  # with 343 entries 4 standard errors come up in one table of fifty, 5 in 2 of 10^4


def test_gromov_network_spreads_its_frequencies_evenly():
    params = gromov_network(11, 25, generator(0))
    for weights in (params["blocks.0.mlp.W_in"][:11], params["blocks.0.mlp.W_in"][11:], params["unembed.W_U"].T):
        energy = torch.fft.rfft(weights, dim=0).abs().square()
        assert torch.equal(energy.argmax(0), torch.arange(25) % 5 + 1)
        assert (energy.amax(0) / energy.sum(0) - 1).abs().max() < 1e-12


def test_gromov_network_is_that_of_its_generator():
    one, same, other = (gromov_network(11, 20, generator(seed))["unembed.W_U"] for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


# --- the largest margin -----------------------------------------------------------------------------


@for_each("p", [5, 7, 11, 13, 23])
def test_max_margin_network_reaches_the_bound_at_every_pair_and_wrong_class(p):
    params = max_margin_network(p)
    assert normalized_margin(params).item() == pytest.approx(max_margin(p), rel=tolerance(p), abs=0)
    logits, labels = logits_of(params), labels_of(p)
    assert slow_margins(logits, labels) == pytest.approx([9 * p / 4] * p**2, rel=tolerance(p), abs=0)
    a, b, c = grid(p, 3)
    clock = 4.5 * torch.stack([wave(k, a + b - c, p) for k in range(1, (p + 1) // 2)]).sum(0)
    torch.testing.assert_close(logits, clock.reshape(p * p, p), rtol=0, atol=9 * p / 4 * tolerance(p))


@for_each("p", [5, 11])
def test_three_phases_are_enough_and_two_are_not(p):
    freqs = list(range(1, (p + 1) // 2))
    torch.testing.assert_close(max_margin_network(p), regular_phases(p, 3, freqs), rtol=0, atol=1e-13)
    ratios = {n: normalized_margin(regular_phases(p, n, freqs)).item() / max_margin(p) for n in (2, 3, 4)}
    assert ratios[3] == pytest.approx(1, rel=1e-12) and ratios[4] == pytest.approx(1, rel=1e-12)
    assert ratios[2] < 0


def test_leaving_out_a_frequency_costs_margin():
    ratio = normalized_margin(regular_phases(11, 3, [1, 2, 3, 4])).item() / max_margin(11)
    assert 0 < ratio < 1 - 1e-3


def test_nothing_near_the_network_has_a_larger_margin():
    params = max_margin_network(5)
    for seed in range(20):
        step = {name: 0.01 * noise(*value.shape, seed=seed) for name, value in params.items()}
        assert normalized_margin(combine(torch.add, params, step)).item() < max_margin(5)


def test_max_margin_is_its_formula():
    assert max_margin(71) == pytest.approx(math.sqrt(2 / 27) / (math.sqrt(71) * 70), rel=1e-15)


# --- norm and margin --------------------------------------------------------------------------------


def slow_l23(params: Params) -> float:
    columns = torch.cat([params["blocks.0.mlp.W_in"].T, params["unembed.W_U"]], dim=1).tolist()
    return math.fsum(math.hypot(*neuron) ** 3 for neuron in columns) ** (1 / 3)


def random_networks(n: int) -> list[Params]:
    return [QuadraticMLP(p=5, n_neurons=8).init(generator(seed)) for seed in range(n)]


def test_norm_and_margin_agree_with_loops_over_neurons_and_pairs_alone_stacked_and_under_vmap():
    networks = random_networks(3)
    norms = [slow_l23(one) for one in networks]
    margins = [min(slow_margins(logits_of(one), labels_of(5))) / r**3 for one, r in zip(networks, norms, strict=True)]
    stacked = stack(networks)
    for f, expected in ((l23_norm, norms), (normalized_margin, margins)):
        for found in (torch.stack([f(one) for one in networks]), f(stacked), torch.func.vmap(f)(stacked)):
            assert found.tolist() == pytest.approx(expected, rel=1e-11)


def test_margin_does_not_depend_on_the_scale_and_is_taken_in_float64():
    one = combine(Tensor.float, random_networks(1)[0])
    margin = normalized_margin(one)
    assert margin.dtype == l23_norm(one).dtype == torch.float64
    assert normalized_margin(combine(lambda value: 3 * value.double(), one)).item() == pytest.approx(
        margin.item(), rel=1e-11
    )


@for_each("p", [1, 2, 4, 24])
def test_even_or_tiny_p_is_refused(p):
    for make in (lambda: gromov_network(p, 8, generator(0)), lambda: max_margin_network(p), lambda: max_margin(p)):
        with pytest.raises(ValueError, match=rf"p must be odd and at least 3.*got {p}"):
            make()


def test_network_without_neurons_is_refused():
    with pytest.raises(ValueError, match="n_neurons must be at least 1; got 0"):
        gromov_network(5, 0, generator(0))
