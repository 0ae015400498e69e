"""Cosine coefficients and the variance they explain: planted answers, and dense least squares."""

import pytest
import torch
from loops import for_each
from oracles import noise, planted_circuit, same_on_stacks, slow_cosine_fit, slow_frac_explained

from circuitgrok.measures.circuits.explained import (
    cosine_coefficients,
    frac_explained,
    frac_explained_within_classes,
)

CASES = [(5, [1]), (5, [2]), (7, [1, 3]), (8, [1, 4]), (9, [3, 4]), (9, [1, 2, 3, 4]), (13, [2, 6])]


@for_each("p", [5, 8, 9, 12, 13])
def test_planted_coefficients_are_recovered_each_of_them(p):
    alpha = torch.linspace(-2.0, 3.0, p // 2, dtype=torch.float64)
    waves = [planted_circuit(p, [k], scale)[0] for k, scale in enumerate(alpha.tolist(), 1)]
    logits = torch.stack(waves).sum(0) + 7.0
    torch.testing.assert_close(cosine_coefficients(logits), alpha, rtol=0, atol=1e-12)


@for_each("p", [5, 8, 9])
def test_coefficients_are_the_least_squares_fit(p):
    logits = noise(p * p, p, seed=p)
    torch.testing.assert_close(cosine_coefficients(logits), slow_cosine_fit(logits), rtol=0, atol=1e-12)


@for_each(("p", "freqs"), CASES)
def test_frac_explained_is_one_minus_the_residual_of_the_fit(p, freqs):
    logits = noise(p * p, p) + planted_circuit(p, freqs, scale=1.0)[0]
    explained = frac_explained(logits, torch.tensor(freqs)).item()
    assert explained == pytest.approx(slow_frac_explained(logits, freqs), rel=1e-10)


@for_each("freqs", [[k] for k in range(1, 7)] + [[2, 5]])
def test_all_of_a_planted_circuit_is_explained_and_nothing_by_other_frequencies(freqs):
    logits, _ = planted_circuit(13, freqs)
    others = torch.tensor([k for k in range(1, 7) if k not in freqs])
    for moved in (logits, -0.01 * logits + 5.0):
        assert frac_explained(moved, torch.tensor(freqs)).item() == pytest.approx(1, abs=1e-12)
        assert frac_explained(moved, others).item() == pytest.approx(0, abs=1e-12)


@for_each(("p", "k"), [(7, 1), (8, 4), (9, 3), (13, 6)])
def test_class_offsets_are_variance_about_the_overall_mean_and_none_about_the_mean_of_each_class(p, k):
    """A wave of height 3 has 9 / 2 (9 for k = p / 2) of mean square, offsets have their own variance."""
    offsets, keys = 2 * noise(p, seed=p) + 5, torch.tensor([k])
    logits = planted_circuit(p, [k], scale=3.0)[0] + offsets
    of_wave, of_offsets = 9.0 if 2 * k == p else 4.5, offsets.var(correction=0).item()
    assert frac_explained(logits, keys).item() == pytest.approx(of_wave / (of_wave + of_offsets), rel=1e-12)
    assert frac_explained_within_classes(logits, keys).item() == pytest.approx(1, abs=1e-12)


@for_each(("p", "freqs"), CASES)
def test_variance_within_classes_is_one_minus_the_residual_of_a_fit_with_a_constant_for_each_class(p, freqs):
    logits = noise(p * p, p) + planted_circuit(p, freqs, scale=1.0)[0] + 3 * noise(p, seed=1)
    explained = frac_explained_within_classes(logits, torch.tensor(freqs)).item()
    assert explained == pytest.approx(slow_frac_explained(logits - logits.mean(0), freqs), rel=1e-10)


def test_logits_that_do_not_vary_have_no_variance_to_explain():
    assert frac_explained(torch.zeros(25, 5), torch.tensor([1])).isnan()
    assert frac_explained_within_classes(noise(5).expand(25, 5), torch.tensor([1])).isnan()
    assert frac_explained(noise(25, 5), torch.tensor([], dtype=torch.long)).item() == 0


# Stacks and refusals


def measures(p):
    freqs = torch.tensor([1, p // 2])
    of_freqs = (frac_explained, frac_explained_within_classes)
    return [*(lambda logits, f=f: f(logits, freqs) for f in of_freqs), cosine_coefficients]


@for_each("p", [8, 9])
def test_stacks_and_vmap_give_what_single_networks_give(p):
    for measure in measures(p):
        same_on_stacks(measure, noise(2, 2, p * p, p))


@for_each("freqs", [[7], [0], [-1], [2, 2], [1, 2, 12]])
@for_each("measure", [frac_explained, frac_explained_within_classes])
def test_frequencies_out_of_range_or_repeated_are_refused(measure, freqs):
    with pytest.raises(ValueError, match=r"distinct integers in 1\.\.6 for p = 13; got \["):
        measure(planted_circuit(13, [3])[0], torch.tensor(freqs))


def test_the_class_of_equals_is_refused():
    for measure in (cosine_coefficients, lambda logits: frac_explained(logits, torch.tensor([1]))):
        with pytest.raises(ValueError, match=r"\[p\^2, p\], without the class of '='; got \[25, 6\]"):
            measure(noise(25, 6))
