"""Neurons: a planted clock, a network solved on paper, the Gaussian null, and slow twins."""

import itertools
import math

import pytest
import torch
from loops import for_each
from oracles import generator, grid, labels_of, noise, planted_circuit, planted_neurons, same_on_stacks, wave

from circuitgrok.measures.parts.neurons import (
    cluster_sizes,
    in_cluster,
    inverse_participation,
    low_rank_residual,
    neuron_phases,
    phase_alignment,
    polynomial_neurons,
)
from circuitgrok.measures.spectra.tuning import NeuronFrequencies, neuron_frequencies

EPS = torch.finfo(torch.float64).eps


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    """Phases in -pi..pi."""
    return math.pi * (2 * torch.rand(*shape, generator=generator(seed), dtype=torch.float64) - 1)


def solved(p: int, n: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Gromov's network: what neurons read `[pair n]`, what they write `[n p]`, frequencies, phases u and v.

    Neuron i adds cos(w a + u) and cos(w b + v), squares, which makes a wave cos(w (a + b) + u + v) among others, and
    writes cos(w c + u + v) for class c.
    """
    freq = 1 + torch.arange(n) % ((p - 1) // 2)
    u, v = uniform(n, seed=seed), uniform(n, seed=seed + 1)
    x = 2 * math.pi / p * torch.outer(torch.arange(p).double(), freq.double())
    of_a, of_b = torch.cos(x + u), torch.cos(x + v)
    reads = (of_a[:, None, :] + of_b).reshape(p * p, n)
    return reads, torch.cos(x + u + v).T, freq, u, v


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of two angles, around the circle."""
    return (torch.exp(1j * one) - torch.exp(1j * other)).abs().max().item()


def slow_polynomial(neuron: torch.Tensor, k: int, p: int) -> torch.Tensor:
    """Least squares on the nine products, by a dense solver."""
    a, b = grid(p, 2)
    functions = [[wave(0, x, p), wave(k, x, p), wave(k, x, p, -math.pi / 2)] for x in (a, b)]
    products = torch.stack([(f * g).flatten() for f, g in itertools.product(*functions)], dim=1)
    left, size, _ = torch.linalg.svd(products, full_matrices=False)
    left = left[:, size > 1e-6]  # for k = p / 2 some are zero
    return left @ (left.T @ neuron)


# Clusters and polynomials


def test_planted_neurons_fall_into_their_clusters_and_are_polynomials_already():
    freqs = [2, 5, 2, 6, 2]
    neurons = planted_neurons(13, freqs)
    tuned = neuron_frequencies(neurons)
    assert in_cluster(tuned).all()
    assert cluster_sizes(tuned, 13).tolist() == [0, 3, 0, 0, 1, 1]
    torch.testing.assert_close(polynomial_neurons(neurons, tuned.freq), neurons, rtol=0, atol=1e-13)


def test_only_neurons_that_vary_and_are_pure_enough_belong_to_a_cluster():
    tuned = NeuronFrequencies(torch.tensor([1, 1, 3, 0]), torch.tensor([0.86, 0.84, 1.0, 0.0]))
    assert in_cluster(tuned).tolist() == [True, False, True, False]
    assert in_cluster(tuned, min_purity=0.0).tolist() == [True, True, True, False]
    assert cluster_sizes(tuned, 7).tolist() == [1, 0, 1]
    assert cluster_sizes(tuned, 7, min_purity=0.0).tolist() == [2, 0, 1]


@for_each("p", [7, 8])
def test_polynomials_are_dense_least_squares_fits_and_explain_the_purity(p):
    neurons = torch.relu(noise(p * p, 3 * (p // 2)))
    freq = torch.arange(1, p // 2 + 1).repeat(3)
    fitted = polynomial_neurons(neurons, freq)
    for i, k in enumerate(freq.tolist()):
        expected = slow_polynomial(neurons[:, i], k, p)
        torch.testing.assert_close(fitted[:, i], expected, rtol=0, atol=1e-13)
    best, purity = neuron_frequencies(neurons)
    left = (neurons - polynomial_neurons(neurons, best)).square().sum(0) / (neurons - neurons.mean(0)).square().sum(0)
    torch.testing.assert_close(1 - left, purity, rtol=0, atol=1e-13)


def test_neurons_outside_every_cluster_are_left_as_they_are():
    neurons = noise(49, 4)
    kept = polynomial_neurons(neurons, torch.tensor([0, 2, 0, 3]))
    assert torch.equal(kept[:, [0, 2]], neurons[:, [0, 2]])
    assert (kept[:, [1, 3]] != neurons[:, [1, 3]]).all()


def test_replacing_the_neurons_of_a_solved_network_leaves_its_answers_and_drops_the_double_waves():
    p, n = 23, 253  # each of 11 frequencies 23 times
    reads, W_L, freq, _, _ = solved(p, n)
    neurons = reads.square()
    tuned = neuron_frequencies(neurons)
    # (cos + cos)^2: the product has mean square 1, each square's wave of 2 k has 1/8.
    torch.testing.assert_close(tuned.purity, torch.full((n,), 0.8, dtype=torch.float64), rtol=0, atol=1e-13)
    assert torch.equal(tuned.freq, freq)
    assert not in_cluster(tuned).any()
    for activations in (neurons, polynomial_neurons(neurons, freq)):
        assert torch.equal((activations @ W_L).argmax(-1), labels_of(p))
    doubled = neurons - polynomial_neurons(neurons, freq)
    assert doubled.square().mean(0).tolist() == pytest.approx([0.25] * n, rel=1e-12)


# Phases


@for_each("p", [7, 12, 13])
def test_planted_phases_are_recovered_for_every_frequency(p):
    n = (p - 1) // 2
    freq, (u, v, out) = torch.arange(1, n + 1), uniform(3, n, seed=p)
    a, b = (2 * math.pi / p * x.flatten()[:, None].double() for x in grid(p, 2))
    both = torch.sin(a - 2 * b)  # no wave of a or of b alone
    reads = torch.cos(freq * a + u) + torch.cos(freq * b + v) + 5.0 + both
    W_L = torch.cos(2 * math.pi / p * torch.outer(torch.arange(p).double(), freq.double()) + out).T
    with_equals = torch.cat([W_L, torch.full((n, 1), 9.0)], dim=1)
    phases = neuron_phases(reads, with_equals, freq)
    for measured, planted in zip(phases, (u, v, out), strict=True):
        assert apart(measured, planted) < 1e-12


def test_the_last_frequency_of_an_even_modulus_has_the_phase_zero_or_pi():
    a, b = (x.flatten() for x in grid(8, 2))
    reads = (wave(4, a, 8) - 3 * wave(4, b, 8))[:, None]
    phases = neuron_phases(reads, wave(4, torch.arange(8), 8)[None], torch.tensor([4]))
    assert apart(torch.stack(phases), torch.tensor([[0.0], [math.pi], [0.0]], dtype=torch.float64)) < 1e-12


def test_phases_of_a_solved_network_add_up_and_its_resultant_is_one():
    reads, W_L, freq, u, v = solved(23, 253)
    phases = neuron_phases(reads, W_L, freq)
    assert apart(phases.u, u) < 1e-12 and apart(phases.v, v) < 1e-12
    assert phase_alignment(phases, torch.ones(253, dtype=torch.bool)).item() == pytest.approx(1, abs=1e-12)
    half = torch.arange(253) < 100
    spoiled = phases._replace(out=torch.where(half, phases.out, uniform(253, seed=5)))
    assert phase_alignment(spoiled, half).item() == pytest.approx(1, abs=1e-12)
    assert phase_alignment(spoiled, ~half).item() < 4 / math.sqrt(153)
    turned = phases._replace(out=phases.out + 0.7)  # agreed upon, though wrong
    assert phase_alignment(turned, half).item() == pytest.approx(1, abs=1e-12)


def test_phases_of_random_neurons_do_not_agree():
    networks, n = 200, 50
    reads, W_L = noise(networks, 25, n), noise(networks, n, 5, seed=1)
    phases = neuron_phases(reads, W_L, torch.randint(1, 3, (networks, n), generator=generator(2)))
    squares = phase_alignment(phases, torch.ones(networks, n, dtype=torch.bool)).square()
    # A sum of n random unit vectors has mean square n; the squared mean is nearly exponential, of mean 1/n.
    assert abs(squares.mean().item() - 1 / n) < 4 / n / math.sqrt(networks)


def test_neurons_of_no_frequency_have_no_phase_and_none_picked_have_no_resultant():
    reads, W_L, freq, _, _ = solved(7, 6)
    freq[2] = 0
    phases = neuron_phases(reads, W_L, freq)
    assert all(phase.isnan().tolist() == [False, False, True, False, False, False] for phase in phases)
    assert phase_alignment(phases, freq > 0).item() == pytest.approx(1, abs=1e-12)
    assert phase_alignment(phases, torch.ones(6, dtype=torch.bool)).isnan()
    assert phase_alignment(phases, torch.zeros(6, dtype=torch.bool)).isnan()


# How few frequencies, how low a rank


@for_each("p", [7, 8, 13])
def test_a_pure_wave_participates_in_one_frequency_whatever_its_phase_and_size(p):
    x = torch.arange(p)
    waves = [wave(k, x, p, phase) for k in range((p + 1) // 2) for phase in (0.0, 0.3, 2.0)]
    scores = inverse_participation(1e-5 * torch.stack(waves, dim=1))
    torch.testing.assert_close(scores, torch.ones_like(scores), rtol=0, atol=1e-13)
    assert inverse_participation(torch.zeros(p, 1)).isnan()


@for_each("p", [7, 8])
def test_participation_agrees_with_a_fourier_transform_written_out(p):
    table = noise(p, 4)
    for column, measured in zip(table.T.tolist(), inverse_participation(table).tolist(), strict=True):
        amplitudes = [sum(f * complex(math.cos(t * k), math.sin(t * k)) for t, f in turns(column)) for k in range(p)]
        energy = [abs(z) ** 2 for z in amplitudes]
        power = [energy[k] + (energy[p - k] if 0 < k < p - k else 0) for k in range(p // 2 + 1)]
        assert measured == pytest.approx(sum((x / sum(energy)) ** 2 for x in power), rel=1e-12)


def turns(column: list[float]) -> list[tuple[float, float]]:
    return [(2 * math.pi * x / len(column), f) for x, f in enumerate(column)]


def test_participation_of_gaussian_columns_is_that_of_random_shares():
    p, columns = 23, 4000
    scores = inverse_participation(noise(p, columns))
    # Shares of energy are Dirichlet with weights w of 1/2 (the constant), 1, 1, ..., of sum W = p/2: their squares
    # add up to sum w (w + 1) / (W (W + 1)) in the mean.
    expected = (4 * p - 1) / (p * (p + 2))
    assert abs(scores.mean().item() - expected) < 4 * scores.std().item() / math.sqrt(columns)


def test_what_a_circuit_writes_has_twice_as_many_ranks_as_frequencies():
    logits, _ = planted_circuit(13, [1, 4, 6])
    W_L = logits[torch.randperm(169, generator=generator(0))[:40]]
    residuals = [low_rank_residual(W_L, rank).item() for rank in (4, 5, 6, 13)]
    assert residuals[0] > residuals[1] > 0.01 and residuals[3] == 0
    assert residuals[2] < 40 * EPS
    shaken = W_L + 0.1 * noise(40, 13)
    left, values, right = torch.linalg.svd(shaken, full_matrices=False)
    best = left[:, :6] * values[:6] @ right[:6]
    expected = ((shaken - best).norm() / shaken.norm()).item()
    assert low_rank_residual(shaken, 6).item() == pytest.approx(expected, rel=1e-12)
    assert low_rank_residual(shaken, 0).item() == pytest.approx(1, rel=40 * EPS)
    with pytest.raises(ValueError, match="a rank is 0 or more; got -1"):
        low_rank_residual(shaken, -1)


# Stacks and refusals


@for_each("p", [7, 8])
def test_stacks_and_vmap_give_what_single_networks_give(p):
    def measures(reads, W_L):
        neurons = torch.relu(reads)
        tuned = neuron_frequencies(neurons)
        phases = neuron_phases(reads, W_L, tuned.freq)
        return (
            cluster_sizes(tuned, p, min_purity=0.3).double(),
            polynomial_neurons(neurons, tuned.freq * in_cluster(tuned, min_purity=0.3)),
            *phases,
            phase_alignment(phases, tuned.freq > 0),
            inverse_participation(W_L.mT),
            low_rank_residual(W_L, 4),
        )

    same_on_stacks(measures, noise(2, 2, p * p, 6), noise(2, 2, 6, p + 1, seed=1))


def test_incomplete_grids_and_classes_are_refused():
    freq = torch.tensor([1, 2])
    with pytest.raises(ValueError, match="all p\\^2 pairs are needed"):
        polynomial_neurons(noise(24, 2), freq)
    with pytest.raises(ValueError, match="all p\\^2 pairs are needed"):
        neuron_phases(noise(24, 2), noise(2, 5), freq)
    with pytest.raises(ValueError, match="one class for each of the 5 numbers is needed; got 4"):
        neuron_phases(noise(25, 2), noise(2, 4), freq)
