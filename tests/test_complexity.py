"""Complexity: closed forms, planted waves, and least squares by a dense solver."""

import math

import pytest
import torch
from loops import for_each
from oracles import block_projector, grid, noise, same_on_stacks, sum_projector, wave

from circuitgrok.measures.spectra.complexity import (
    direction_tuning,
    effective_rank,
    participation_ratio,
    spectral_entropy,
    stable_rank,
    wave_directions,
)
from circuitgrok.measures.spectra.fourier import neuron_logit_spectrum
from circuitgrok.measures.spectra.tuning import neuron_spectrum, shares_of

SINE = -math.pi / 2


def orthogonal(n, seed):
    return torch.linalg.qr(noise(n, n, seed=seed)).Q


def clock_network(p: int, freqs: list[int], gains: dict[int, float]):
    """Neurons cos and sin w_k (a + b), mixed by a rotation; W_L turns them into gain * cos(w_k (a + b - c))."""
    a, b = grid(p, 2)
    waves = [(k, phase) for k in freqs for phase in (0.0, SINE)]
    neurons = torch.stack([wave(k, a + b, p, phase).flatten() for k, phase in waves], dim=1)
    W_L = torch.stack([gains[k] * wave(k, torch.arange(p), p, phase) for k, phase in waves])
    turn = orthogonal(len(waves), seed=5)
    return neurons @ turn, turn.T @ W_L


# Entropies and ranks


@for_each("n", [1, 2, 56])
def test_entropy_of_equal_energies_is_the_logarithm_of_their_number_in_any_unit(n):
    power = torch.zeros(60).double()
    power[:n] = 1e-7
    assert spectral_entropy(power).item() == pytest.approx(math.log(n), abs=1e-14)


def test_entropy_agrees_with_a_loop_and_is_that_of_a_geometric_series():
    power = noise(3, 8).square()
    for value, row in zip(spectral_entropy(power).tolist(), power.tolist(), strict=True):
        shares = [x / math.fsum(row) for x in row]
        assert value == pytest.approx(-math.fsum(x * math.log(x) for x in shares), rel=1e-12)
    halves = 0.5 ** torch.arange(1, 60).double()  # sum of k 2^-k is 2
    assert spectral_entropy(halves).item() == pytest.approx(2 * math.log(2), abs=1e-14)


def test_ranks_of_a_projection_are_its_rank_and_of_two_strengths_the_closed_form():
    left, right = orthogonal(9, 0), orthogonal(9, 1)
    projection = left[:, :4] @ left[:, :4].T
    assert effective_rank(projection).item() == pytest.approx(4, rel=1e-12)
    assert stable_rank(projection).item() == pytest.approx(4, rel=1e-12)
    two = left[:, :2] @ torch.diag(torch.tensor([3.0, 1.0]).double()) @ right[:2]
    shares = (0.9, 0.1)
    assert effective_rank(two).item() == pytest.approx(math.prod(x**-x for x in shares), rel=1e-12)
    assert stable_rank(two).item() == pytest.approx(10 / 9, rel=1e-12)


def test_nothing_has_no_entropy_and_no_rank():
    assert spectral_entropy(torch.zeros(4)).isnan()
    assert effective_rank(torch.zeros(3, 4)).isnan() and stable_rank(torch.zeros(3, 4)).isnan()


# Directions of W_L


@for_each("k", range(1, 7))
def test_along_the_directions_of_a_clock_the_neurons_are_sum_waves_of_its_frequency(k):
    neurons, W_L = clock_network(13, [k], {k: 2.0})
    freq, explained = direction_tuning(neurons, wave_directions(W_L, torch.tensor([k])))
    assert freq.tolist() == [k, k]
    assert explained.tolist() == pytest.approx([1, 1], abs=1e-12)


def test_wave_directions_come_in_the_order_asked():
    neurons, W_L = clock_network(13, [2, 5, 6], {2: 1.0, 5: 3.0, 6: 2.0})
    assert direction_tuning(neurons, wave_directions(W_L, torch.tensor([6, 2]))).freq.tolist() == [6, 6, 2, 2]


@for_each("p", [7, 8])
def test_the_share_explained_is_that_of_the_best_dense_projection(p):
    neurons, directions = torch.relu(noise(p * p, 5)), noise(5, 4, seed=1)
    freq, explained = direction_tuning(neurons, directions)
    output = neurons @ directions
    variance = (output - output.mean(0)).square().sum(0)
    shares = torch.stack([(sum_projector(p, [k]) @ output).square().sum(0) / variance for k in range(1, p // 2 + 1)])
    torch.testing.assert_close(explained, shares.amax(0), rtol=0, atol=1e-12)
    assert freq.tolist() == (shares.argmax(0) + 1).tolist()


def test_differences_and_products_are_not_explained_but_for_the_sum_in_them():
    p = 13
    a, b = grid(p, 2)
    neurons = torch.stack([wave(3, a - b, p), wave(3, a, p) * wave(3, b, p), wave(3, a, p)]).reshape(3, -1).T
    freq, explained = direction_tuning(neurons, torch.eye(3).double())
    assert explained.tolist() == pytest.approx([0, 0.5, 0], abs=1e-12)
    assert freq[1] == 3


def test_along_a_random_direction_two_of_all_components_are_explained_for_each_frequency():
    p, n = 13, 300
    _, explained = direction_tuning(noise(p * p, n), torch.eye(n).double())
    # The largest of 6 shares of about 2 / 168 of chi-square with 2 degrees: mean (1 + 1/2 + ... + 1/6) / 84.
    mean, sd = sum(1 / i for i in range(1, 7)) / 84, math.sqrt(sum(1 / i**2 for i in range(1, 7))) / 84
    assert abs(explained.mean().item() - mean) < 4 * sd / math.sqrt(n)


def test_an_output_that_does_not_vary_has_no_frequency():
    neurons = torch.ones(49, 2, dtype=torch.float32) * torch.tensor([0.1, 3.0])
    freq, explained = direction_tuning(neurons, torch.eye(2))
    assert freq.tolist() == [0, 0] and explained.tolist() == [0, 0]


@for_each("p", [8, 13])
def test_wave_directions_carry_the_energy_of_their_frequencies(p):
    W_L, every = noise(6, p), torch.arange(1, p // 2 + 1)
    directions = wave_directions(W_L, every)
    assert directions.shape == (6, p - 1)
    energy = [wave_directions(W_L, k[None]).square().sum().item() for k in every]
    assert energy == pytest.approx(neuron_logit_spectrum(W_L, p).tolist(), rel=1e-12)


def test_frequencies_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"distinct integers in 1\.\.6 for p = 13"):
        wave_directions(noise(4, 13), torch.tensor([7]))


# Shares of the neurons' variance


def wave_shares(neurons):
    return shares_of(neuron_spectrum(neurons))


PLANTED = {
    "sum": (lambda a, b, p: wave(2, a + b, p, 0.3), (0, 1, 0)),
    "difference": (lambda a, b, p: wave(2, a - b, p, 0.3), (0, 0, 1)),
    "single": (lambda a, b, p: wave(2, a, p, 0.3), (1, 0, 0)),
    "product": (lambda a, b, p: wave(2, a, p, 0.3) * wave(2, b, p), (0, 0.5, 0.5)),
    "polynomial": (lambda a, b, p: (1 + wave(2, a, p)) * (1 + wave(2, b, p)), (0.8, 0.1, 0.1)),
    "two frequencies": (lambda a, b, p: wave(2, a, p) * wave(1, b, p), (0, 0, 0)),
}


@for_each("p", [7, 8, 13])
@for_each("name", PLANTED)
def test_planted_waves_have_their_shares(name, p):
    planted, expected = PLANTED[name]
    a, b = grid(p, 2)
    neurons = 3 + planted(a, b, p).reshape(-1, 1)
    shares = wave_shares(neurons)
    assert [share[1].item() for share in shares] == pytest.approx(expected, abs=1e-12)
    assert sum(share.sum().item() for share in shares) == pytest.approx(sum(expected), abs=1e-12)


@for_each("p", [7, 8])
def test_shares_of_a_frequency_sum_to_its_block_and_sums_are_their_projection(p):
    neurons = torch.relu(noise(p * p, 5))
    shares, variance = wave_shares(neurons), (neurons - neurons.mean(0)).square().sum()
    for k in range(1, p // 2 + 1):
        block = (block_projector(p, k) @ neurons).square().sum() / variance
        assert sum(share[k - 1].item() for share in shares) == pytest.approx(block.item(), rel=1e-11)
        sums = (sum_projector(p, [k]) @ neurons).square().sum() / variance
        assert shares.sums[k - 1].item() == pytest.approx(sums.item(), rel=1e-11)


def test_random_neurons_have_as_much_of_each_wave_as_it_has_components():
    p, n = 13, 300
    shares = wave_shares(noise(p * p, n))
    for share, components in zip(shares, (4, 2, 2), strict=True):
        expected = components / (p * p - 1)
        sd = expected * math.sqrt(2 / (components * n))
        assert ((share - expected).abs() < 4 * sd).all()


def test_neurons_that_do_not_vary_have_no_shares():
    assert all(share.isnan().all() for share in wave_shares(torch.zeros(49, 3)))


# Stacks


@for_each("p", [7, 8])
def test_stacks_and_vmap_give_what_single_networks_give(p):
    freqs = torch.tensor([1, p // 2])

    def measure(neurons, W_L):
        directions = wave_directions(W_L, freqs)
        whole = [effective_rank(W_L), stable_rank(W_L), spectral_entropy(neurons.square())]
        return [*direction_tuning(neurons, directions), *whole, *wave_shares(neurons), directions]

    same_on_stacks(measure, noise(2, 2, p * p, 6), noise(2, 2, 6, p, seed=1))


def test_participation_counts_equal_directions_and_two_looks_do_not_count_their_noise():
    rows = torch.linalg.qr(noise(40, 40)).Q[:4].repeat(8, 1)  # 32 rows in four directions, eight in each
    assert participation_ratio(rows, rows).item() == pytest.approx(4, rel=1e-9)
    assert participation_ratio(3 * rows, 3 * rows).item() == pytest.approx(4, rel=1e-9)
    noises = [0.15 * noise(32, 40, seed=seed) for seed in range(80)]
    looks = [rows + each for each in noises]
    blind = [participation_ratio(look, look).item() for look in looks]
    seen = [participation_ratio(one, other).item() for one, other in zip(looks[::2], looks[1::2], strict=True)]
    spread = torch.tensor(seen).std().item() / len(seen) ** 0.5
    assert min(blind) > 5 and abs(sum(seen) / len(seen) - 4) < 4 * spread + 0.2
