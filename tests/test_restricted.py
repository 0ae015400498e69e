"""Restricted and excluded loss: planted waves that each keeps or lets pass, and dense slow twins."""

import math

import pytest
import torch
from loops import for_each
from oracles import (
    grid,
    labels_of,
    noise,
    other_labels,
    planted_circuit,
    same_on_stacks,
    slow_cross_entropy,
    slow_excluded_logits,
    slow_restricted_logits,
    sum_projector,
    wave,
)

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.circuits.restricted import (
    circuit_of_sums,
    excluded_losses,
    logit_circuit,
    neuron_circuit,
    of_sets,
    parts_of,
    restricted_losses,
    together,
)
from circuitgrok.measures.spectra.sum_waves import losses_of_sums, rivals, sum_logits

EPS = torch.finfo(torch.float64).eps
CASES = [(5, [1]), (5, [2]), (7, [1, 3]), (8, [1, 4]), (8, [4]), (9, [3, 4]), (9, [1, 2, 3, 4]), (13, [6, 2])]
SINE = -math.pi / 2


def network(p, n=6, seed=0):
    """Neurons, W_L, and logits with a skip path and a bias: of nothing in particular."""
    neurons, W_L = torch.relu(noise(p * p, n, seed=seed)), noise(n, p, seed=seed + 1)
    return neurons, W_L, neurons @ W_L + noise(p * p, p, seed=seed + 2) + noise(p, seed=seed + 3)


def planted_network(p: int, freqs: list[int], scale=8.0):
    """Neurons cos(w_k (a + b)) and sin(w_k (a + b)), which W_L turns into scale * cos(w_k (a + b - c))."""
    a, b = grid(p, 2)
    waves = [(k, phase) for k in freqs for phase in (0.0, SINE)]
    neurons = torch.stack([wave(k, a + b, p, phase).flatten() for k, phase in waves], dim=1)
    W_L = torch.stack([scale * wave(k, torch.arange(p), p, phase) for k, phase in waves])
    return neurons, W_L


def close(losses, logits, labels):
    """The losses are those of the logits pair by pair, with Python's own arithmetic."""
    one = torch.ones(1)
    slow = [slow_cross_entropy(logits[i : i + 1], labels[i : i + 1], one) for i in range(len(labels))]
    assert losses.tolist() == pytest.approx(slow, rel=1e-10, abs=1e-10)


def restricted(circuit, labels):
    return restricted_losses(together(circuit), labels)[..., 0, :]


def excluded(circuit, logits, labels):
    return excluded_losses(together(circuit), rivals(logits, labels))[..., 0, :]


# Planted answers, at the logits and at the neurons


@for_each("freqs", [[k] for k in range(1, 7)] + [[2, 5]])
def test_a_planted_clock_loses_nothing_when_restricted_and_all_when_excluded_in_both_spaces(freqs):
    p, labels = 13, labels_of(13)
    neurons, W_L = planted_network(p, freqs)
    logits, _ = planted_circuit(p, freqs)
    full, others = cross_entropy(logits, labels), torch.tensor([j for j in range(1, 7) if j not in freqs])
    for circuit in (logit_circuit, lambda logits, freqs: neuron_circuit(neurons, W_L, logits, freqs)):
        mine, not_mine = circuit(logits, torch.tensor(freqs)), circuit(logits, others)
        for same in (restricted(mine, labels), excluded(not_mine, logits, labels)):
            torch.testing.assert_close(same, full, rtol=0, atol=1e-12)
        for chance in (restricted(not_mine, labels), excluded(mine, logits, labels)):
            assert chance.tolist() == pytest.approx([math.log(p)] * p * p, abs=1e-12)


def test_a_network_that_subtracts_keeps_nothing_when_restricted_and_all_when_excluded():
    p, freqs = 13, torch.tensor([3, 6])
    a, b = grid(p, 2)
    labels = ((a - b) % p).flatten()
    logits = 8.0 * torch.nn.functional.one_hot(labels).double()  # its mean over equal sums is the same everywhere
    circuit = logit_circuit(logits, freqs)
    assert restricted(circuit, labels).tolist() == pytest.approx([math.log(p)] * p * p, abs=p * EPS)
    torch.testing.assert_close(excluded(circuit, logits, labels), cross_entropy(logits, labels), rtol=0, atol=1e-12)


def test_each_part_is_what_it_writes_alone_and_what_is_left_without_it():
    p, labels, freqs = 13, labels_of(13), [2, 5, 6]
    logits, _ = planted_circuit(p, freqs, scale=3.0)
    circuit = logit_circuit(logits, torch.tensor(freqs))
    alone, left = restricted_losses(circuit, labels), excluded_losses(circuit, rivals(logits, labels))
    for i, k in enumerate(freqs):
        one, two = planted_circuit(p, [k], 3.0)[0], planted_circuit(p, [j for j in freqs if j != k], 3.0)[0]
        torch.testing.assert_close(alone[i], cross_entropy(one, labels), rtol=0, atol=1e-12)
        torch.testing.assert_close(left[i], cross_entropy(two, labels), rtol=0, atol=1e-12)


def test_the_mean_logit_is_kept_in_what_is_restricted_and_never_excluded():
    p, labels, key = 13, labels_of(13), torch.tensor([3])
    logits, _ = planted_circuit(p, [3])
    biased = logits + 5 * noise(p)
    circuit = logit_circuit(biased, key)
    torch.testing.assert_close(restricted(circuit, labels), cross_entropy(biased, labels), rtol=0, atol=1e-12)
    without_mean = losses_of_sums(together(circuit).waves, labels)[0]
    torch.testing.assert_close(without_mean, cross_entropy(logits, labels), rtol=0, atol=1e-12)
    left = excluded(circuit, biased, labels)
    torch.testing.assert_close(left, cross_entropy(biased - logits, labels), rtol=0, atol=1e-12)


def test_waves_on_the_skip_path_are_of_the_logits_and_not_of_the_neurons():
    p, labels, key = 13, labels_of(13), torch.tensor([2])
    neurons, W_L = planted_network(p, [2], scale=3.0)
    written, skip = planted_circuit(p, [2], scale=3.0)[0], planted_circuit(p, [2], scale=1.0)[0]
    logits = written + skip
    at_neurons = neuron_circuit(neurons, W_L, logits, key)
    torch.testing.assert_close(at_neurons.waves[0][labels], written, rtol=0, atol=1e-12)
    left = excluded(at_neurons, logits, labels)
    torch.testing.assert_close(left, cross_entropy(skip, labels), rtol=0, atol=1e-12)
    left = excluded(logit_circuit(logits, key), logits, labels)
    assert left.tolist() == pytest.approx([math.log(p)] * p * p, abs=1e-12)


# Against dense projections


@for_each(("p", "freqs"), CASES)
def test_parts_of_the_logits_are_dense_projections_and_add_up_to_the_logits_and_their_mean(p, freqs):
    logits = noise(p * p, p, seed=p)
    whole, circuit, rest = parts_of(logits, torch.tensor(freqs))
    assert torch.equal(whole, logits)
    torch.testing.assert_close(circuit, slow_restricted_logits(logits, freqs), rtol=0, atol=1e-12)
    torch.testing.assert_close(rest, slow_excluded_logits(logits, freqs), rtol=0, atol=1e-12)
    torch.testing.assert_close(circuit + rest, logits + logits.mean(0), rtol=0, atol=p * p * EPS)


@for_each(("p", "freqs"), CASES)
def test_losses_agree_with_dense_projections_pair_by_pair(p, freqs):
    neurons, W_L, logits = network(p)
    labels, key_freqs = other_labels(p), torch.tensor(freqs)
    for circuit, written in (
        (logit_circuit(logits, key_freqs), logits),
        (neuron_circuit(neurons, W_L, logits, key_freqs), neurons @ W_L),
    ):
        of_all = sum_projector(p, freqs) @ written
        close(restricted(circuit, labels), of_all + logits.mean(0), labels)
        close(losses_of_sums(together(circuit).waves[0], labels), of_all, labels)
        close(excluded(circuit, logits, labels), logits - of_all, labels)
        alone, left = restricted_losses(circuit, labels), excluded_losses(circuit, rivals(logits, labels))
        for i, k in enumerate(freqs):
            of_k = sum_projector(p, [k]) @ written
            close(alone[i], of_k + logits.mean(0), labels)
            close(left[i], logits - of_k, labels)


@for_each(("p", "sets"), [(5, [[1], [2]]), (8, [[1, 4], [2, 3], [1, 2]]), (13, [[2, 6, 1], [3, 4, 5]])])
def test_each_of_many_sets_is_the_circuit_of_its_frequencies(p, sets):
    neurons, W_L, logits = network(p)
    labels, every = other_labels(p), torch.arange(1, p // 2 + 1)
    against = rivals(logits, labels)
    for circuit, written in (
        (logit_circuit(logits, every), logits),
        (neuron_circuit(neurons, W_L, logits, every), neurons @ W_L),
    ):
        of_each = of_sets(circuit, torch.tensor(sets))
        kept, left = restricted_losses(of_each, labels), excluded_losses(of_each, against)
        for i, freqs in enumerate(sets):
            part = sum_projector(p, freqs) @ written
            close(kept[i], part + logits.mean(0), labels)
            close(left[i], logits - part, labels)


def test_what_is_known_by_the_sum_alone_is_the_same_circuit():
    logits, key = noise(49, 7), torch.tensor([3, 1])
    for one, other in zip(circuit_of_sums(sum_logits(logits), key), logit_circuit(logits, key), strict=True):
        assert torch.equal(one, other)


# Edges


def test_without_frequencies_only_the_mean_is_left_and_nothing_excluded():
    none, labels = torch.tensor([], dtype=torch.long), labels_of(5)
    neurons, W_L, logits = network(5)
    mean, full = cross_entropy(logits.mean(0).expand(25, 5), labels), cross_entropy(logits, labels)
    for circuit in (logit_circuit(logits, none), neuron_circuit(neurons, W_L, logits, none)):
        torch.testing.assert_close(restricted(circuit, labels), mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(excluded(circuit, logits, labels), full, rtol=1e-12, atol=0)
        assert restricted_losses(circuit, labels).shape == (0, 25)
        assert excluded_losses(circuit, rivals(logits, labels)).shape == (0, 25)
    _, circuit, rest = parts_of(logits, none)
    torch.testing.assert_close(circuit, logits.mean(0).expand(25, 5), rtol=0, atol=25 * EPS)
    assert torch.equal(rest, logits)


# Stacks and refusals


@for_each(("p", "freqs"), [(7, [1, 3]), (8, [1, 4])])
def test_stacks_and_vmap_give_what_single_networks_give(p, freqs):
    nets = zip(*(network(p, seed=10 * i) for i in range(4)), strict=True)
    stacks = (torch.stack(tensors).unflatten(0, (2, 2)) for tensors in nets)
    same_on_stacks(variants(p, torch.tensor(freqs), other_labels(p)), *stacks)


def variants(p, key, labels):
    def losses(neurons, W_L, logits):
        every, against = torch.arange(1, p // 2 + 1), rivals(logits, labels)
        circuits = [logit_circuit(logits, key), neuron_circuit(neurons, W_L, logits, key)]
        circuits += [together(circuits[1]), of_sets(logit_circuit(logits, every), key[:, None])]
        return [
            *(restricted_losses(circuit, labels) for circuit in circuits),
            *(excluded_losses(circuit, against) for circuit in circuits),
            *parts_of(logits, key),
        ]

    return losses


def test_float32_networks_are_answered_in_float64():
    losses = variants(7, torch.tensor([2]), labels_of(7))
    for loss in losses(*(x.float() for x in network(7))):
        assert loss.dtype == torch.float64 and loss.isfinite().all()


@for_each("freqs", [[7], [0], [-1], [2, 2], [1, 2, 12]])
def test_frequencies_out_of_range_or_repeated_are_refused(freqs):
    logits, key = noise(169, 13), torch.tensor(freqs)
    for refused in (
        lambda: logit_circuit(logits, key),
        lambda: circuit_of_sums(sum_logits(logits), key),
        lambda: neuron_circuit(noise(169, 2), noise(2, 13), logits, key),
        lambda: parts_of(logits, key),
    ):
        with pytest.raises(ValueError, match=r"distinct integers in 1\.\.6 for p = 13; got \["):
            refused()


@for_each("freqs", [torch.tensor([2.0]), torch.tensor([True])])
def test_frequencies_that_are_not_integers_are_refused(freqs):
    with pytest.raises((ValueError, TypeError)):  # the second where jaxtyping checks the arguments first
        logit_circuit(noise(25, 5), freqs)


def test_what_does_not_cover_the_grid_and_the_class_of_equals_are_refused():
    key = torch.tensor([1])
    for measure in (logit_circuit, parts_of):
        with pytest.raises(ValueError, match=r"\[p\^2, p\], without the class of '='; got \[25, 6\]"):
            measure(noise(25, 6), key)
    with pytest.raises(ValueError, match="which is no square"):
        neuron_circuit(noise(24, 2), noise(2, 5), noise(24, 5), key)
