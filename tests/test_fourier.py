"""Fourier: against numpy's FFT, dense projections and planted waves, the last frequency among them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import for_each
from oracles import (
    block_projector,
    grid,
    noise,
    planted_circuit,
    planted_neurons,
    same_on_stacks,
    slow_gini,
    slow_power,
    slow_sum_table,
    sum_projector,
    wave,
)

from circuitgrok.measures.spectra.fourier import (
    fourier_basis,
    fourier_gini,
    frequency_power,
    gini,
    logit_spectrum,
    neuron_logit_spectrum,
    sum_table,
)
from circuitgrok.measures.spectra.key_freqs import embed_energy, logit_energy, neuron_argmax, wl_energy
from circuitgrok.measures.spectra.tuning import neuron_frequencies

EPS = torch.finfo(torch.float64).eps
MODULI = [3, 4, 5, 8, 9, 12, 13, 15, 16, 113]  # prime, odd composite, even, power of two


def every_frequency(moduli):
    return [(p, k) for p in moduli for k in range(1, p // 2 + 1)]


# The basis


@for_each("p", MODULI)
def test_the_basis_is_orthonormal(p):
    gram = fourier_basis(p) @ fourier_basis(p).T
    # An entry is a sum of p products of size 2/p, each with a few roundings.
    torch.testing.assert_close(gram, torch.eye(p, dtype=torch.float64), rtol=0, atol=16 * EPS)


@for_each("p", MODULI)
def test_the_rows_are_the_constant_then_cosine_and_sine_of_each_frequency(p):
    basis = fourier_basis(p)
    assert basis.shape == (p, p) and basis.dtype == torch.float64
    for k in range(1, p // 2 + 1):
        for row, function in ((2 * k - 1, math.cos), (2 * k, math.sin)):
            if row < p:
                size = 1 / math.sqrt(p) if 2 * k == p else math.sqrt(2 / p)
                expected = [size * function(2 * math.pi * k * x / p) for x in range(p)]
                # math.cos is given an argument up to 2 pi k x / p < pi p, rounded to eps of itself.
                np.testing.assert_allclose(basis[row], expected, rtol=0, atol=4 * p * EPS)


def test_an_even_modulus_has_a_last_cosine_without_a_sine():
    alternating = torch.tensor([1.0, -1.0] * 6, dtype=torch.float64) / math.sqrt(12)
    torch.testing.assert_close(fourier_basis(12)[-1], alternating, rtol=0, atol=4 * EPS)


def test_a_modulus_without_a_wave_is_refused():
    with pytest.raises(ValueError, match="at least 3.*got 2"):
        fourier_basis(2)


# Spectra


@for_each("p", MODULI)
def test_frequency_power_equals_numpys_fft(p):
    table = noise(p, 6, seed=p)
    np.testing.assert_allclose(frequency_power(table), slow_power(table), rtol=1e-10)


@for_each("p", MODULI)
def test_parseval_power_and_constant_sum_to_the_tables_energy(p):
    table = noise(p, 6, seed=p) + 0.7
    total = frequency_power(table).sum() + p * table.mean(0).square().sum()
    torch.testing.assert_close(total, table.square().sum(), rtol=1e-13, atol=0)


def test_spectra_are_float64_and_float32_tables_are_converted_first():
    table = noise(13, 6).float()
    assert frequency_power(table).dtype == torch.float64
    # 13 products and 13 roundings; in float32 it would be 1e-7.
    torch.testing.assert_close(frequency_power(table), frequency_power(table.double()), rtol=1e-12, atol=0)


@settings(max_examples=30, deadline=None)
@given(unit=st.integers(1, 12), shift=st.integers(0, 12), seed=st.integers(0, 99))
def test_multiplying_the_residues_permutes_the_spectrum_and_shifting_them_leaves_it(unit, shift, seed):
    p = 13
    table = noise(p, 3, seed=seed)
    moved = table[(unit * torch.arange(p) + shift) % p]  # f(u x + s) has at u k what f has at k
    expected = torch.zeros(p // 2, dtype=torch.float64)
    for k, power in enumerate(frequency_power(table), start=1):
        image = unit * k % p
        expected[min(image, p - image) - 1] = power
    torch.testing.assert_close(frequency_power(moved), expected, rtol=1e-11, atol=1e-12)


def test_the_equals_row_of_the_embedding_and_the_equals_class_of_w_l_do_not_count():
    W_E, W_L = noise(14, 8), noise(20, 14)
    garbage_row, garbage_column = W_E.clone(), W_L.clone()
    garbage_row[13], garbage_column[:, 13] = 1e6, -1e6
    for found, expected in (
        (embed_energy(garbage_row, 13), embed_energy(W_E, 13)),
        (neuron_logit_spectrum(garbage_column, 13), neuron_logit_spectrum(W_L, 13)),
        (frequency_power(W_L[:, :13].T), neuron_logit_spectrum(W_L, 13)),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)  # a millionth of the garbage would be 1


@for_each("p", [5, 8, 9, 13])
def test_the_sum_table_is_the_mean_over_equal_sums(p):
    logits = noise(p * p, p + 2)
    torch.testing.assert_close(sum_table(logits), slow_sum_table(logits), rtol=0, atol=p * EPS * 4)


@for_each("p", [5, 8, 9])
def test_the_logit_spectrum_is_the_energy_of_the_dense_projections(p):
    logits = noise(p * p, p)
    centred = logits - logits.mean(1, keepdim=True)
    slow = torch.stack([(sum_projector(p, [k]) @ centred).square().sum() for k in range(1, p // 2 + 1)])
    torch.testing.assert_close(logit_spectrum(logits), slow, rtol=1e-10, atol=0)


MAPPED = [frequency_power, fourier_gini, sum_table, logit_spectrum, neuron_frequencies]


@for_each("measure", MAPPED)
def test_stacks_and_vmap_give_what_single_tables_give(measure):
    same_on_stacks(measure, noise(2, 2, 25, 5))


# Neurons


@for_each("p", [5, 8, 9])
def test_neuron_purity_is_the_largest_share_of_the_dense_block_projections(p):
    neurons = noise(p * p, 10)
    centred = neurons - neurons.mean(0)
    blocks = torch.stack([(block_projector(p, k) @ centred).square().sum(0) for k in range(1, p // 2 + 1)])
    share, best = (blocks / centred.square().sum(0)).max(0)
    freq, purity = neuron_frequencies(neurons)
    assert torch.equal(freq, best + 1)
    torch.testing.assert_close(purity, share, rtol=1e-10, atol=0)


@for_each("dtype", [torch.float32, torch.float64])
def test_neurons_that_do_not_vary_have_frequency_zero_and_no_vote(dtype):
    silent = torch.tensor([0.0, 0.1, -7.3], dtype=dtype).expand(169, 3)
    freq, purity = neuron_frequencies(silent)
    assert freq.tolist() == [0, 0, 0] and purity.tolist() == [0.0, 0.0, 0.0]
    assert neuron_argmax(silent).tolist() == []


def test_min_purity_keeps_only_neurons_at_least_that_pure():
    a, b = grid(13, 2)
    mixed = wave(2, a, 13) + wave(2, b, 13) + wave(5, a, 13)  # two thirds of its energy at 2
    neurons = torch.cat([planted_neurons(13, [6]), mixed.reshape(-1, 1)], dim=1)
    assert neuron_argmax(neurons).tolist() == [2, 6]
    assert neuron_argmax(neurons, min_purity=0.66).tolist() == [2, 6]
    assert neuron_argmax(neurons, min_purity=0.67).tolist() == [6]


# The rules


@for_each(("p", "k"), every_frequency([5, 12, 13, 15]))
def test_every_rule_finds_every_frequency_the_last_one_too(p, k):
    token = torch.arange(p + 1)
    logits, _ = planted_circuit(p, [k])
    assert embed_energy(wave(k, token, p)[:, None], p).tolist() == [k]
    assert wl_energy(wave(k, token, p)[None], p).tolist() == [k]
    assert neuron_argmax(planted_neurons(p, [k])).tolist() == [k]
    assert logit_energy(logits).tolist() == [k]


@for_each("phase", [0.0, 0.3, math.pi / 4, 1.0, math.pi / 2])
def test_embed_energy_compares_norms_with_a_quarter_of_the_largest_however_they_fall_on_cosine_and_sine(phase):
    """An eighth of a turn puts .71 of a norm in either row: by rows .24 in one would be above a quarter of that."""
    token = torch.arange(13)
    for share, keys in ((0.26, [2, 6]), (0.24, [2])):
        for loud, soft in ((phase, 0.0), (0.0, phase), (phase, phase)):
            W_E = torch.stack([wave(2, token, 13, loud), share * wave(6, token, 13, soft)], dim=1)
            assert embed_energy(W_E, 13).tolist() == keys


def test_embed_energy_is_the_energy_of_a_frequency_by_numpys_transform():
    W_E = noise(13, 6, seed=3) + 2 * wave(5, torch.arange(13), 13)[:, None]
    power = slow_power(W_E)
    for threshold in (0.25, 0.4, 0.6, 0.9):
        is_key = np.sqrt(power) > threshold * math.sqrt(max(power.max(), (W_E.mean(0).square().sum() * 13).item()))
        assert embed_energy(W_E, 13, threshold=threshold).tolist() == (np.nonzero(is_key)[0] + 1).tolist()


def test_embed_energy_counts_the_constant_row_toward_the_largest():
    W_E = wave(2, torch.arange(13), 13)[:, None] + 10.0
    assert embed_energy(W_E, 13).tolist() == []


@for_each("rule", [wl_energy, logit_energy])
def test_energy_rules_compare_energies_with_a_twentieth_of_the_largest(rule):
    for energy, keys in ((0.051, [2, 6]), (0.049, [2])):
        parts_of = [planted_circuit(13, [k], scale)[0] for k, scale in ((2, 1.0), (6, math.sqrt(energy)))]
        logits = parts_of[0] + parts_of[1]
        found = rule(logits) if rule is logit_energy else rule(logits, 13)
        assert found.tolist() == keys


def test_rules_of_different_places_disagree_on_a_network_that_knows_only_differences():
    a, b = grid(13, 2)
    difference = wave(4, a - b, 13).flatten()
    assert neuron_argmax(difference[:, None]).tolist() == [4]
    logits = difference[:, None] * noise(1, 13) + 1e-3 * planted_circuit(13, [5])[0]
    assert logit_energy(logits).tolist() == [5]


def test_a_network_of_zeros_has_no_key_frequencies():
    zeros = torch.zeros(169, 13)
    assert embed_energy(zeros, 13).tolist() == wl_energy(zeros, 13).tolist() == []
    assert neuron_argmax(zeros).tolist() == logit_energy(zeros).tolist() == []


def test_networks_that_are_not_finite_are_refused():
    diverged = torch.full((169, 13), torch.nan)
    for rule in (neuron_argmax, logit_energy, lambda x: embed_energy(x, 13), lambda x: wl_energy(x, 13)):
        with pytest.raises(ValueError, match="not finite"):
            rule(diverged)


def test_wrong_shapes_are_refused_with_what_was_got():
    with pytest.raises(ValueError, match="one token for each of the 13 numbers is needed; got 12"):
        embed_energy(noise(12, 4), 13)
    with pytest.raises(ValueError, match="one class for each of the 13 numbers is needed; got 12"):
        neuron_logit_spectrum(noise(4, 12), 13)
    for measure in (sum_table, logit_spectrum, neuron_frequencies):
        with pytest.raises(ValueError, match="got 24, which is no square"):
            measure(noise(24, 5))


# Gini


@for_each("n", [1, 2, 7, 112])
def test_gini_has_its_closed_forms(n):
    equal, one = torch.full((n,), 3.0), torch.eye(n)[0]
    ladder = torch.arange(1.0, n + 1).flip(0)
    expected = torch.tensor([0.0, 1 - 1 / n, (n - 1) / (3 * n)], dtype=torch.float64)
    torch.testing.assert_close(gini(torch.stack([equal, one, ladder])), expected, rtol=0, atol=n * EPS)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=12).filter(lambda x: sum(x) > 1e-3))
def test_gini_is_the_double_sum_and_has_no_unit(values):
    tensor = torch.tensor(values, dtype=torch.float64)
    assert gini(tensor).item() == pytest.approx(slow_gini(values), abs=1e-13)
    assert gini(1e3 * tensor).item() == pytest.approx(gini(tensor).item(), abs=1e-13)


def test_gini_of_nothing_is_refused_and_of_zeros_is_nan():
    assert gini(torch.zeros(4)).isnan()
    with pytest.raises(ValueError, match="no values"):
        gini(torch.zeros(0))


def test_fourier_gini_of_one_wave_is_the_largest_there_is():
    W_E = wave(6, torch.arange(13), 13)[:, None] + 2.0  # the constant row is left out
    assert fourier_gini(W_E).item() == pytest.approx(1 - 1 / 12, abs=1e-13)


def test_fourier_gini_of_a_gaussian_table_is_that_of_its_norms_spread():
    # Norms of 128 Gaussians spread by 1/sqrt(2 * 128) of their mean, and G = spread / sqrt(pi). The mean
    # absolute difference of n = 112 numbers has a relative standard error of 1/sqrt(2 n * 0.98).
    null = 1 / math.sqrt(2 * math.pi * 128)
    assert fourier_gini(noise(113, 128)).item() == pytest.approx(null, rel=4 / math.sqrt(2 * 112 * 0.98))
