"""Controls: sets drawn at random, and rules at any threshold."""

import itertools
import math

import pytest
import torch
from loops import for_each
from oracles import (
    everywhere,
    generator,
    labels_of,
    noise,
    planted_circuit,
    planted_neurons,
    slow_cross_entropy,
    slow_excluded_loss,
    slow_restricted_loss,
)

from circuitgrok.measures.circuits.controls import (
    agreement,
    jaccard,
    random_sets,
    rule_strengths,
    threshold_sensitivity,
)
from circuitgrok.measures.circuits.restricted import excluded_losses, logit_circuit, of_sets, restricted_losses
from circuitgrok.measures.spectra.key_freqs import embed_energy, logit_energy, neuron_argmax, wl_energy
from circuitgrok.measures.spectra.sum_waves import rivals


def every_freq(p):
    return torch.arange(1, p // 2 + 1)


def some_pairs(p, seed=0):
    return torch.rand(p * p, generator=generator(seed)) < 0.3


def losses_of(logits, labels, sets, where):
    """Mean restricted and excluded loss of each set."""
    drawn = of_sets(logit_circuit(logits, every_freq(logits.shape[-1])), sets)
    by_pair = restricted_losses(drawn, labels), excluded_losses(drawn, rivals(logits, labels))
    return [losses[..., where].mean(-1) for losses in by_pair]


# Random sets


@for_each(("p", "key"), [(113, [14, 35, 41, 42, 52]), (13, [2, 5, 6]), (5, [1]), (8, [4, 2])])
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
    restricted, excluded = losses_of(logits, labels, sets, everywhere(5))
    mean = slow_cross_entropy(logits.mean(0).expand(25, 5), labels, everywhere(5))
    full = slow_cross_entropy(logits, labels, everywhere(5))
    assert restricted.tolist() == pytest.approx([mean] * 2, rel=1e-12)
    assert excluded.tolist() == pytest.approx([full] * 2, rel=1e-12)


# Their losses


def test_on_a_planted_clock_random_frequencies_are_at_chance_when_kept_and_harmless_when_excluded():
    p, key = 29, torch.tensor([3, 8, 13])
    logits, labels = planted_circuit(p, key.tolist())
    sets, where = random_sets(key, p, n_draws=10, seed=0), everywhere(p)
    restricted, excluded = losses_of(logits, labels, sets, where)
    full = slow_cross_entropy(logits, labels, where)
    assert restricted.tolist() == pytest.approx([math.log(p)] * 10, abs=1e-12)
    assert excluded.tolist() == pytest.approx([full] * 10, abs=1e-12)


def test_in_a_random_network_a_set_is_like_any_other_of_its_size():
    p, key = 29, torch.tensor([3, 8, 13])
    logits, labels, where = noise(p * p, p), labels_of(p), everywhere(p)
    sets = random_sets(key, p, n_draws=60, seed=0)
    own = (
        slow_restricted_loss(logits, labels, key.tolist(), where),
        slow_excluded_loss(logits, labels, key.tolist(), where),
    )
    for values, of_key in zip(losses_of(logits, labels, sets, where), own, strict=True):
        assert abs(of_key - values.mean()) < 4 * values.std()


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


@for_each("p", [8, 9, 13])
@for_each("threshold", [0.05, 0.25, 0.6, 0.85])
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
