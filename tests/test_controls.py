"""Controls: sets drawn at random, their losses one by one the slow way, and rules at any threshold."""

import itertools
import math

import pytest
import torch
from oracles import (
    everywhere,
    generator,
    labels_of,
    noise,
    planted_circuit,
    planted_neurons,
    slow_cross_entropy,
    slow_excluded_logits,
    slow_restricted_logits,
    sum_projector,
)

from circuitgrok.measures.circuits.activation_circuits import logit_circuit, neuron_circuit
from circuitgrok.measures.circuits.controls import (
    agreement,
    control_losses,
    jaccard,
    random_sets,
    rule_strengths,
    spread,
    threshold_sensitivity,
)
from circuitgrok.measures.circuits.restricted import excluded_loss, restricted_loss
from circuitgrok.measures.spectra.key_freqs import embed_energy, logit_energy, neuron_argmax, wl_energy
from circuitgrok.measures.spectra.sum_waves import rivals


def every_freq(p):
    return torch.arange(1, p // 2 + 1)


def some_pairs(p, seed=0):
    return torch.rand(p * p, generator=generator(seed)) < 0.3


# Random sets


@pytest.mark.parametrize(("p", "key"), [(113, [14, 35, 41, 42, 52]), (13, [2, 5, 6]), (5, [1]), (8, [4, 2])])
def test_sets_have_the_size_of_the_key_set_and_none_of_its_frequencies(p, key):
    sets = random_sets(torch.tensor(key), p, n_draws=50, seed=1)
    assert sets.shape == (50, len(key))
    for drawn in sets.tolist():
        assert drawn == sorted(set(drawn))
        assert set(drawn) <= set(range(1, p // 2 + 1)) - set(key)


def test_sets_are_drawn_from_all_frequencies_where_too_few_others_remain():
    sets = random_sets(torch.tensor([1, 2, 3, 4]), 13, n_draws=200, seed=0)
    assert sets.unique().tolist() == [1, 2, 3, 4, 5, 6]
    whole = random_sets(torch.tensor([2, 1, 3]), 7, n_draws=3, seed=0)
    assert whole.tolist() == [[1, 2, 3]] * 3


def test_the_seed_decides_the_draws_and_nothing_else_does():
    key = torch.tensor([3, 9])
    one, again, other = (random_sets(key, 59, 20, seed) for seed in (7, 7, 8))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(random_sets(key, 59, 5, 7), one[:5])  # more draws leave the first ones as they are


def test_each_set_is_as_likely_as_any_other():
    key, draws = torch.tensor([2]), 3000
    sets = random_sets(torch.tensor([2, 5]), 13, draws, seed=3).tolist()
    combinations = list(itertools.combinations([1, 3, 4, 6], 2))
    sd = math.sqrt(draws * (1 / 6) * (5 / 6))
    assert all(abs(sets.count(list(pair)) - draws / 6) < 4 * sd for pair in combinations)
    alone = random_sets(key, 13, draws, seed=4).flatten().tolist()
    assert all(abs(alone.count(k) - draws / 5) < 4 * math.sqrt(draws * 0.16) for k in (1, 3, 4, 5, 6))


def test_an_empty_key_set_has_empty_controls_which_keep_the_mean_and_exclude_nothing():
    sets = random_sets(torch.tensor([], dtype=torch.long), 5, n_draws=2, seed=0)
    assert sets.shape == (2, 0)
    logits, labels = noise(25, 5), labels_of(5)
    circuit, where = logit_circuit(logits, every_freq(5)), everywhere(5)
    losses = control_losses(circuit, rivals(logits, labels), labels, sets, where)
    mean = slow_cross_entropy(logits.mean(0).expand(25, 5), labels, where)
    assert losses.restricted.tolist() == pytest.approx([mean] * 2, rel=1e-12)
    assert losses.excluded.tolist() == pytest.approx([slow_cross_entropy(logits, labels, where)] * 2, rel=1e-12)


# Their losses


@pytest.mark.parametrize(("p", "n"), [(5, 1), (8, 2), (13, 3)])
def test_losses_of_each_set_agree_with_dense_projections_at_logits_and_neurons(p, n):
    neurons, W_L = torch.relu(noise(p * p, 6)), noise(6, p, seed=1)
    logits = neurons @ W_L + noise(p * p, p, seed=2)
    labels, where = torch.randint(p, (p * p,), generator=generator(3)), some_pairs(p)
    sets = random_sets(every_freq(p)[:n], p, n_draws=4, seed=0)
    against, freqs = rivals(logits, labels), every_freq(p)
    at_logits = control_losses(logit_circuit(logits, freqs), against, labels, sets, where)
    at_neurons = control_losses(neuron_circuit(neurons, W_L, logits, freqs), against, labels, sets, where)
    for i, drawn in enumerate(sets.tolist()):
        written = sum_projector(p, drawn) @ neurons @ W_L
        for value, kept in (
            (at_logits.restricted[i], slow_restricted_logits(logits, drawn)),
            (at_logits.excluded[i], slow_excluded_logits(logits, drawn)),
            (at_neurons.restricted[i], written + logits.mean(0)),
            (at_neurons.excluded[i], logits - written),
        ):
            assert value.item() == pytest.approx(slow_cross_entropy(kept, labels, where), rel=1e-10)


def test_on_a_planted_clock_random_frequencies_are_at_chance_when_kept_and_harmless_when_excluded():
    p, key = 29, torch.tensor([3, 8, 13])
    logits, labels = planted_circuit(p, key.tolist())
    sets, where = random_sets(key, p, n_draws=10, seed=0), everywhere(p)
    losses = control_losses(logit_circuit(logits, every_freq(p)), rivals(logits, labels), labels, sets, where)
    full = slow_cross_entropy(logits, labels, where)
    assert losses.restricted.tolist() == pytest.approx([math.log(p)] * 10, abs=1e-12)
    assert losses.excluded.tolist() == pytest.approx([full] * 10, abs=1e-12)


def test_in_a_random_network_a_set_is_like_any_other_of_its_size():
    p, key = 29, torch.tensor([3, 8, 13])
    logits, labels, where = noise(p * p, p), labels_of(p), everywhere(p)
    sets = random_sets(key, p, n_draws=60, seed=0)
    losses = control_losses(logit_circuit(logits, every_freq(p)), rivals(logits, labels), labels, sets, where)
    for values, own in zip(losses, (restricted_loss, excluded_loss), strict=True):
        mean, std, _ = spread(values, torch.tensor([0.5]))
        assert abs(own(logits, labels, key, where) - mean) < 4 * std


def test_stacks_and_vmap_give_what_single_networks_give():
    p, labels, where = 8, labels_of(8), some_pairs(8)
    sets = random_sets(torch.tensor([4, 2]), p, 3, seed=0)
    stack = noise(3, p * p, p)

    def losses(logits):
        circuit = logit_circuit(logits, every_freq(p))
        return control_losses(circuit, rivals(logits, labels), labels, sets, where)

    together, mapped = losses(stack), torch.vmap(losses)(stack)
    for i, logits in enumerate(stack):
        for alone, whole, by_vmap in zip(losses(logits), together, mapped, strict=True):
            torch.testing.assert_close(whole[i], alone, rtol=1e-12, atol=0)
            torch.testing.assert_close(by_vmap[i], alone, rtol=1e-12, atol=0)


# Their spread


def test_spread_is_mean_standard_deviation_and_quantiles():
    values, levels = noise(2, 7), torch.tensor([0.0, 0.25, 0.5, 1.0])
    mean, std, quantiles = spread(values, levels)
    for i, row in enumerate(values):
        ordered = sorted(row.tolist())
        centre = math.fsum(ordered) / 7
        assert mean[i].item() == pytest.approx(centre, rel=1e-12)
        assert std[i].item() == pytest.approx(math.sqrt(math.fsum((x - centre) ** 2 for x in ordered) / 6), rel=1e-12)
        expected = [ordered[0], (ordered[1] + ordered[2]) / 2, ordered[3], ordered[6]]
        assert quantiles[i].tolist() == pytest.approx(expected, rel=1e-12)


def test_one_draw_has_no_deviation_and_none_has_no_spread():
    mean, std, _ = spread(torch.tensor([2.0]), torch.tensor([0.5]))
    assert mean == 2 and std.isnan()
    with pytest.raises(ValueError, match="no draws"):
        spread(torch.empty(0), torch.tensor([0.5]))


# Agreement and thresholds


def test_overlap_counts_common_members_over_all():
    sets = [torch.tensor(s, dtype=torch.long) for s in ([1, 2, 3], [3, 2, 1], [2, 3, 4, 5], [9], [])]
    assert jaccard(sets[0], sets[2]) == 2 / 5
    overlap = agreement(sets)
    assert torch.equal(overlap, overlap.T) and torch.equal(overlap.diagonal(), torch.ones(5).double())
    assert overlap[0].tolist() == [1, 1, 2 / 5, 0, 0]
    assert agreement([]).shape == (0, 0)


def network(p, seed=0):
    """W_E and W_L with an '=' behind the numbers, neurons and logits, all random, some frequencies planted."""
    residue = torch.arange(p).double()
    loud = torch.stack([torch.cos(2 * math.pi * k / p * residue) for k in (1, p // 2)])
    W_E = torch.cat([noise(p, 8, seed=seed) + 3 * loud.T @ noise(2, 8, seed=seed + 1), noise(1, 8, seed=seed + 2)])
    W_L = noise(8, p + 1, seed=seed + 3)
    W_L[:, :p] += noise(8, 2, seed=seed + 4) @ loud
    neurons = torch.cat([planted_neurons(p, [1, p // 2]), torch.relu(noise(p * p, 6, seed=seed + 5))], dim=1)
    return W_E, W_L, neurons, noise(p * p, p, seed=seed + 6) + planted_circuit(p, [2], scale=0.3)[0]


@pytest.mark.parametrize("p", [8, 9, 13])
@pytest.mark.parametrize("threshold", [0.05, 0.25, 0.6, 0.85])
def test_a_rule_finds_the_frequencies_whose_strength_is_above_its_threshold(p, threshold):
    W_E, W_L, neurons, logits = network(p, seed=p)
    strengths = rule_strengths(W_E, W_L, neurons, logits)
    rules = {
        "wl_energy": wl_energy(W_L, p, threshold=threshold),
        "embed_energy": embed_energy(W_E, p, threshold=threshold),
        "logit_energy": logit_energy(logits, threshold=threshold),
        "neuron_argmax": neuron_argmax(neurons, min_purity=threshold),
    }
    assert strengths.keys() == rules.keys()
    for rule, found in rules.items():
        swept = threshold_sensitivity(strengths[rule], torch.tensor([threshold]).double(), found)
        assert (swept.members[0].nonzero().flatten() + 1).tolist() == found.tolist()
        assert swept.size.item() == len(found) and swept.overlap.item() == 1


def test_sets_shrink_as_the_threshold_rises_and_overlap_counts_what_is_common():
    strength, key = torch.tensor([0.9, 0.02, 1.0, 0.3]), torch.tensor([3, 1])
    swept = threshold_sensitivity(strength, torch.tensor([0.0, 0.05, 0.5, 0.95, 1.0]), key)
    assert swept.size.tolist() == [4, 3, 2, 1, 0]
    assert swept.overlap.tolist() == pytest.approx([2 / 4, 2 / 3, 1, 1 / 2, 0])
    assert swept.members[1].tolist() == [True, False, True, True]
    nothing = threshold_sensitivity(strength, torch.tensor([1.0]), torch.tensor([], dtype=torch.long))
    assert nothing.overlap.tolist() == [1]


def test_frequencies_out_of_range_or_repeated_are_refused():
    for key in ([7], [0], [2, 2]):
        with pytest.raises(ValueError, match=r"distinct integers in 1\.\.6 for p = 13"):
            random_sets(torch.tensor(key), 13, 3, seed=0)
        with pytest.raises(ValueError, match=r"distinct integers in 1\.\.6 for p = 13"):
            threshold_sensitivity(torch.ones(6), torch.tensor([0.5]), torch.tensor(key))


def test_a_mask_that_picks_nothing_is_refused():
    logits, labels = planted_circuit(5, [1])
    circuit = logit_circuit(logits, every_freq(5))
    with pytest.raises(ValueError, match="at least one pair"):
        control_losses(circuit, rivals(logits, labels), labels, torch.tensor([[1]]), ~everywhere(5))
