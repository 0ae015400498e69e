"""Attention: planted heads of one frequency, a dense least-squares twin, and random scores."""

import math

import pytest
import torch
from loops import for_each
from oracles import generator, grid, noise, same_on_stacks, wave

from circuitgrok.measures.parts.attention import (
    attention_entropy,
    attention_mass,
    head_tuning,
)

SINE = -math.pi / 2


def planted_scores(p, freqs, size=1.0, equals=-2.0):
    """One head per frequency: the same wave of a and of b, and a score of '=' that is the same for all pairs."""
    a, b = grid(p, 2)
    waves = [[size * wave(k, x, p, 0.4 + k).flatten() for x in (a, b)] for k in freqs]
    return torch.stack([torch.stack([*of, torch.full((p * p,), equals).double()], dim=1) for of in waves], dim=1)


def slow_fit(values, k, p):
    """Least squares on 1, cos w a - cos w b and sin w a - sin w b, by a dense solver."""
    a, b = grid(p, 2)
    functions = [wave(0, a, p), *(wave(k, a, p, phase) - wave(k, b, p, phase) for phase in (0.0, SINE))]
    left, size, _ = torch.linalg.svd(torch.stack([f.flatten() for f in functions], dim=1), full_matrices=False)
    left = left[:, size > 1e-6]  # the sine of k = p / 2 is zero everywhere
    return left @ (left.T @ values)


# Where attention goes


def test_mass_is_the_mean_over_pairs_and_sums_to_one():
    pattern = noise(49, 3, 3).softmax(-1)
    mass = attention_mass(pattern.float())
    assert mass.dtype == torch.float64
    torch.testing.assert_close(mass.sum(-1), torch.ones(3).double(), rtol=0, atol=1e-6)
    for head, pos in ((0, 0), (2, 1), (1, 2)):
        expected = math.fsum(pattern[:, head, pos].tolist()) / 49
        assert attention_mass(pattern)[head, pos].item() == pytest.approx(expected, rel=1e-14)


@for_each("size", [0.0, 1.0, 30.0])
def test_by_the_mirror_a_head_of_waves_looks_at_a_as_much_as_at_b(size):
    mass = attention_mass(planted_scores(13, [2, 5], size, equals=-1.0).softmax(-1))
    torch.testing.assert_close(mass[:, 0], mass[:, 1], rtol=1e-12, atol=0)
    if size == 0:
        assert mass[0, 2].item() == pytest.approx(math.exp(-1) / (2 + math.exp(-1)), rel=1e-12)


def test_entropy_of_known_patterns():
    rows = [([1.0, 0.0, 0.0], 0.0), ([0.5, 0.5, 0.0], math.log(2)), ([1 / 3] * 3, math.log(3))]
    for row, expected in rows:
        pattern = torch.tensor(row).double().expand(4, 2, 3)
        assert attention_entropy(pattern).tolist() == pytest.approx([expected] * 2, abs=1e-15)
    assert attention_entropy(torch.ones(4, 2, 2)).tolist() == pytest.approx([math.log(2)] * 2)  # all ones: uniform
    mixed = torch.tensor([[[1.0, 0.0, 0.0]], [[0.5, 0.5, 0.0]]])
    assert attention_entropy(mixed).item() == pytest.approx(math.log(2) / 2)


def test_entropy_agrees_with_a_loop():
    pattern = noise(25, 2, 3).softmax(-1)
    for head in range(2):
        rows = pattern[:, head].tolist()
        expected = math.fsum(-x * math.log(x) for row in rows for x in row) / 25
        assert attention_entropy(pattern)[head].item() == pytest.approx(expected, rel=1e-12)


# The frequency of a head


def test_planted_heads_are_found_at_every_frequency_and_all_is_explained():
    freqs = list(range(1, 7))
    scores = planted_scores(13, freqs, size=2.0)
    freq, explained = head_tuning(scores[..., 0] - scores[..., 1])
    assert freq.tolist() == freqs
    assert explained.tolist() == pytest.approx([1] * 6, abs=1e-12)


@for_each("p", [7, 8])
def test_the_share_is_that_of_dense_least_squares(p):
    values = noise(p * p, 4)
    shares = []
    for k in range(1, p // 2 + 1):
        fit = slow_fit(values, k, p)
        shares.append(1 - (values - fit).square().sum(0) / (values - values.mean(0)).square().sum(0))
    freq, explained = head_tuning(values)
    torch.testing.assert_close(explained, torch.stack(shares).amax(0), rtol=0, atol=1e-12)
    assert freq.tolist() == (torch.stack(shares).argmax(0) + 1).tolist()


def test_a_wave_that_does_not_change_sign_with_a_and_b_is_not_explained():
    p = 13
    a, b = grid(p, 2)
    values = [wave(3, a, p) + wave(3, b, p), wave(3, a + b, p), wave(3, a, p), wave(3, a - b, p)]
    _, explained = head_tuning(torch.stack([value.flatten() for value in values], dim=1))
    assert explained.tolist() == pytest.approx([0, 0, 0.5, 0], abs=1e-12)


def test_two_frequencies_share_the_variance_by_their_energies():
    scores = planted_scores(13, [2, 6])
    values = 3 * (scores[:, 0, 0] - scores[:, 0, 1]) + (scores[:, 1, 0] - scores[:, 1, 1])
    freq, explained = head_tuning(values[:, None])
    assert (freq.item(), explained.item()) == (2, pytest.approx(0.9, abs=1e-12))


def test_the_linear_form_of_the_pattern_is_as_good_as_the_scores_are_small():
    lost = []
    for size in (0.1, 0.2):
        pattern = planted_scores(13, [4], size, equals=-torch.inf).softmax(-1)
        freq, explained = head_tuning(pattern[..., 0])
        assert freq.item() == 4
        lost.append(1 - explained.item())
    # sigmoid(x) = 1/2 + x/4 - x^3/48: what is left is of order x^3, its share of order x^4.
    assert lost[0] < 1e-5 and lost[1] / lost[0] == pytest.approx(16, rel=0.05)


def test_random_heads_have_the_share_of_the_best_of_so_many_planes():
    p, n = 13, 300
    a, b = torch.randn(2, p, n, generator=generator(0), dtype=torch.float64)
    values = (a[:, None] - b).reshape(p * p, n)  # a function of a, less one of b, as one layer makes them
    _, explained = head_tuning(values)
    # (a - b)'s power in each of six planes has 2 of its 12 degrees; half the variance is of a + b's kind. So the shares
    # are E_i / (E_1 + ... + E_12), exponentials, six of them a - b's, with a largest of H_6 / 12 in the mean.
    mean = sum(1 / i for i in range(1, 7)) / 12
    assert abs(explained.mean().item() - mean) < 4 * explained.std().item() / math.sqrt(n)


def test_a_head_that_does_not_vary_has_no_frequency():
    values = torch.full((49, 2), 0.1, dtype=torch.float32)
    freq, explained = head_tuning(values)
    assert freq.tolist() == [0, 0] and explained.tolist() == [0, 0]


def test_pairs_that_are_no_grid_are_refused():
    with pytest.raises(ValueError, match="which is no square"):
        head_tuning(noise(24, 2))


@for_each("p", [7, 8])
def test_stacks_and_vmap_give_what_single_networks_give(p):
    def measure(scores):
        pattern, difference = scores.softmax(-1), scores[..., 0] - scores[..., 1]
        return [attention_mass(pattern), attention_entropy(pattern), *head_tuning(difference)]

    same_on_stacks(measure, noise(2, 2, p * p, 2, 3))
