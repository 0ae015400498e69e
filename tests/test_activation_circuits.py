"""Variants of restricted and excluded loss: planted waves that each keeps or lets pass, and dense slow twins."""

import itertools
import math

import pytest
import torch
from oracles import (
    block_projector,
    everywhere,
    generator,
    grid,
    labels_of,
    noise,
    planted_circuit,
    slow_cross_entropy,
    slow_excluded_logits,
    slow_restricted_logits,
    sum_projector,
    wave,
)

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.circuits.activation_circuits import (
    Circuit,
    block_part,
    broad_part,
    excluded_losses,
    logit_circuit,
    neuron_circuit,
    neuron_product_waves,
    part_losses,
    product_waves,
    restricted_losses,
)
from circuitgrok.measures.spectra.sum_waves import rivals

CASES = [(5, [1]), (7, [1, 3]), (8, [1, 4]), (8, [4]), (9, [1, 2, 3, 4]), (13, [2, 6])]
SINE = -math.pi / 2


def other_labels(p, seed=0):
    """Labels that are not (a + b) mod p: nothing may take them for granted."""
    return torch.randint(p, (p * p,), generator=generator(seed))


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


def dense_part(grid_values, p, freqs, one_of_each):
    """Projection on products of {1, key waves} of a with the same of b, of one frequency or of any two."""
    a, b = grid(p, 2)
    functions = [(0, 0.0), *((k, phase) for k in freqs for phase in (0.0, SINE))]
    pairs = [
        (wave(f[0], a, p, f[1]), wave(g[0], b, p, g[1]))
        for f, g in itertools.product(functions, repeat=2)
        if not one_of_each or 0 in (f[0], g[0]) or f[0] == g[0]
    ]
    products = torch.stack([(f * g).flatten() for f, g in pairs], dim=1)
    left, size, _ = torch.linalg.svd(products, full_matrices=False)
    left = left[:, size > 1e-6]  # the sine of k = p / 2 is zero everywhere
    return left @ (left.T @ grid_values) - grid_values.mean(0)


def by_pair(logits, labels):
    """Cross-entropy of each pair, with Python's own arithmetic."""
    return [slow_cross_entropy(logits[i : i + 1], labels[i : i + 1], torch.ones(1)) for i in range(len(labels))]


def close(losses, logits, labels):
    assert losses.tolist() == pytest.approx(by_pair(logits, labels), rel=1e-10, abs=1e-10)


# Sum waves, at the logits and at the neurons


@pytest.mark.parametrize("k", range(1, 7))
def test_a_planted_clock_loses_nothing_when_restricted_and_all_when_excluded_in_both_spaces(k):
    p, labels = 13, labels_of(13)
    neurons, W_L = planted_network(p, [k])
    logits, _ = planted_circuit(p, [k])
    full, others = cross_entropy(logits, labels), torch.tensor([j for j in range(1, 7) if j != k])
    for circuit in (logit_circuit, lambda logits, freqs: neuron_circuit(neurons, W_L, logits, freqs)):
        mine, not_mine = circuit(logits, torch.tensor([k])), circuit(logits, others)
        against = rivals(logits, labels)
        for same in (*restricted_losses(mine, labels)[:2], excluded_losses(not_mine, against).together):
            torch.testing.assert_close(same, full, rtol=0, atol=1e-12)
        for chance in (restricted_losses(not_mine, labels).together, excluded_losses(mine, against).together):
            assert chance.tolist() == pytest.approx([math.log(p)] * p * p, abs=1e-12)


def test_one_frequency_at_a_time_is_what_it_writes_alone_and_what_is_left_without_it():
    p, labels, freqs = 13, labels_of(13), [2, 5, 6]
    logits, _ = planted_circuit(p, freqs, scale=3.0)
    circuit = logit_circuit(logits, torch.tensor(freqs))
    alone, left = restricted_losses(circuit, labels).one_by_one, excluded_losses(circuit, rivals(logits, labels))
    for i, k in enumerate(freqs):
        one, two = planted_circuit(p, [k], 3.0)[0], planted_circuit(p, [j for j in freqs if j != k], 3.0)[0]
        torch.testing.assert_close(alone[i], cross_entropy(one, labels), rtol=0, atol=1e-12)
        torch.testing.assert_close(left.one_by_one[i], cross_entropy(two, labels), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_losses_agree_with_dense_projections_pair_by_pair(p, freqs):
    neurons, W_L, logits = network(p)
    labels, key_freqs, projector = other_labels(p), torch.tensor(freqs), sum_projector(p, freqs)
    of_neurons = projector @ neurons @ W_L
    at_logits, at_neurons = logit_circuit(logits, key_freqs), neuron_circuit(neurons, W_L, logits, key_freqs)
    kept = [restricted_losses(circuit, labels) for circuit in (at_logits, at_neurons)]
    left = [excluded_losses(circuit, rivals(logits, labels)) for circuit in (at_logits, at_neurons)]
    close(kept[0].together, slow_restricted_logits(logits, freqs), labels)
    close(kept[0].without_mean, projector @ logits, labels)
    close(kept[1].together, of_neurons + logits.mean(0), labels)
    close(kept[1].without_mean, of_neurons, labels)
    close(left[0].together, slow_excluded_logits(logits, freqs), labels)
    close(left[1].together, logits - of_neurons, labels)
    for i, k in enumerate(freqs):
        of_k = sum_projector(p, [k])
        close(kept[0].one_by_one[i], of_k @ logits + logits.mean(0), labels)
        close(kept[1].one_by_one[i], of_k @ neurons @ W_L + logits.mean(0), labels)
        close(left[0].one_by_one[i], logits - of_k @ logits, labels)
        close(left[1].one_by_one[i], logits - of_k @ neurons @ W_L, labels)


def test_the_mean_logit_counts_where_it_is_kept_and_nowhere_else():
    p, labels = 13, labels_of(13)
    logits, _ = planted_circuit(p, [3])
    biased = logits + 5 * noise(p)
    losses = restricted_losses(logit_circuit(biased, torch.tensor([3])), labels)
    torch.testing.assert_close(losses.without_mean, cross_entropy(logits, labels), rtol=0, atol=1e-12)
    torch.testing.assert_close(losses.together, cross_entropy(biased, labels), rtol=0, atol=1e-12)
    left = excluded_losses(logit_circuit(biased, torch.tensor([3])), rivals(biased, labels)).together
    torch.testing.assert_close(left, cross_entropy((biased - logits), labels), rtol=0, atol=1e-12)


def test_waves_on_the_skip_path_are_of_the_logits_and_not_of_the_neurons():
    p, labels, key = 13, labels_of(13), torch.tensor([2])
    neurons, W_L = planted_network(p, [2], scale=3.0)
    written, skip = planted_circuit(p, [2], scale=3.0)[0], planted_circuit(p, [2], scale=1.0)[0]
    logits = written + skip
    at_neurons = neuron_circuit(neurons, W_L, logits, key)
    torch.testing.assert_close(at_neurons.waves[0][labels], written, rtol=0, atol=1e-12)
    left = excluded_losses(at_neurons, rivals(logits, labels)).together
    torch.testing.assert_close(left, cross_entropy(skip, labels), rtol=0, atol=1e-12)
    left = excluded_losses(logit_circuit(logits, key), rivals(logits, labels)).together
    assert left.tolist() == pytest.approx([math.log(p)] * p * p, abs=1e-12)


# Blocks and the broad mask

WAVES = {  # what is planted on the pairs, for keys 2 and 5, and the share of it that each mask keeps
    "sum of 2": (lambda a, b, p: wave(2, a + b, p, 0.3), (1.0, 1.0, 1.0)),
    "difference of 5": (lambda a, b, p: wave(5, a - b, p, 0.3), (0.0, 1.0, 1.0)),
    "product of 2 and 2": (lambda a, b, p: wave(2, a, p) * wave(2, b, p, 0.3), (0.5, 1.0, 1.0)),
    "product of 2 and 5": (lambda a, b, p: wave(2, a, p) * wave(5, b, p, 0.3), (0.0, 0.0, 1.0)),
    "2 of a alone": (lambda a, b, p: wave(2, a, p, 0.3), (0.0, 1.0, 1.0)),
    "5 of b alone": (lambda a, b, p: wave(5, b, p, 0.3), (0.0, 1.0, 1.0)),
    "product of 2 and 3": (lambda a, b, p: wave(2, a, p) * wave(3, b, p), (0.0, 0.0, 0.0)),
    "sum of 4": (lambda a, b, p: wave(4, a + b, p), (0.0, 0.0, 0.0)),
    "constant": (lambda a, b, p: wave(0, a, p), (0.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", WAVES)
def test_each_mask_keeps_the_waves_that_it_is_said_to_keep(name):
    p, key = 13, torch.tensor([2, 5])
    planted, shares = WAVES[name]
    a, b = grid(p, 2)
    column = planted(a, b, p).reshape(-1, 1)
    products = product_waves(column, key)
    sums = sum_projector(p, [2, 5]) @ column
    for part, share in zip((sums, block_part(products, key, p), broad_part(products, key, p)), shares, strict=True):
        assert (part.square().sum() / column.square().sum()).item() == pytest.approx(share, abs=1e-12)
        if share == 1:
            torch.testing.assert_close(part, column, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_parts_are_dense_projections_and_count_the_components_of_the_definition(p, freqs):
    values, key = noise(p * p, 3, seed=p), torch.tensor(freqs)
    products = product_waves(values, key)
    for part, one_of_each in ((block_part, True), (broad_part, False)):
        expected = dense_part(values, p, freqs, one_of_each)
        torch.testing.assert_close(part(products, key, p), expected, rtol=0, atol=1e-12)
    one_by_one = torch.stack([block_projector(p, k) @ values for k in freqs])
    for k, expected in zip(freqs, one_by_one, strict=True):
        alone = torch.tensor([k])
        torch.testing.assert_close(block_part(product_waves(values, alone), alone, p), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_freqs", [1, 2, 5, 6])
def test_a_block_has_eight_components_for_each_frequency_and_the_broad_mask_all_squares(n_freqs):
    p, key = 13, torch.arange(1, n_freqs + 1)
    units = product_waves(torch.eye(p * p, dtype=torch.float64), key)  # the trace of a projection is its rank
    assert block_part(units, key, p).trace().item() == pytest.approx(8 * n_freqs, abs=1e-10)
    assert broad_part(units, key, p).trace().item() == pytest.approx((1 + 2 * n_freqs) ** 2 - 1, abs=1e-10)


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_losses_of_parts_agree_with_dense_projections_at_the_logits_and_at_the_neurons(p, freqs):
    neurons, W_L, logits = network(p)
    labels, key = other_labels(p), torch.tensor(freqs)
    at_neurons = neuron_product_waves(neurons, W_L, key)
    for part, one_of_each in ((block_part, True), (broad_part, False)):
        for products, dense in (
            (product_waves(logits, key), dense_part(logits, p, freqs, one_of_each)),
            (at_neurons, dense_part(neurons, p, freqs, one_of_each) @ W_L),
        ):
            losses = part_losses(logits, part(products, key, p), labels)
            close(losses.restricted, dense + logits.mean(0), labels)
            close(losses.excluded, logits - dense, labels)


def test_losses_of_the_sum_waves_as_a_part_are_those_of_the_circuit():
    p, labels, key = 9, other_labels(9), torch.tensor([1, 4])
    logits = 5 * noise(p * p, p)
    circuit = logit_circuit(logits, key)
    losses = part_losses(logits, circuit.waves.sum(0)[labels_of(p)], labels)
    left = excluded_losses(circuit, rivals(logits, labels)).together
    # Of logits up to 20, and exponents up to 690 in the second.
    torch.testing.assert_close(restricted_losses(circuit, labels).together, losses.restricted, rtol=0, atol=1e-13)
    torch.testing.assert_close(left, losses.excluded, rtol=0, atol=1e-12)


def test_without_frequencies_only_the_mean_is_left_and_nothing_excluded():
    none, labels = torch.tensor([], dtype=torch.long), labels_of(5)
    neurons, W_L, logits = network(5)
    products = product_waves(logits, none)
    mean, full = cross_entropy(logits.mean(0).expand(25, 5), labels), cross_entropy(logits, labels)
    for part in (block_part(products, none, 5), broad_part(products, none, 5)):
        assert not part.any()
    for circuit in (logit_circuit(logits, none), neuron_circuit(neurons, W_L, logits, none)):
        kept, left = restricted_losses(circuit, labels), excluded_losses(circuit, rivals(logits, labels))
        torch.testing.assert_close(kept.together, mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(left.together, full, rtol=1e-12, atol=0)
        assert kept.one_by_one.shape == left.one_by_one.shape == (0, 25)


def test_a_random_network_keeps_the_share_of_its_variance_that_its_components_have():
    p, key = 13, torch.tensor([2, 5, 6])
    logits = noise(p * p, 200)
    products = product_waves(logits, key)
    for part, components in ((block_part, 24), (broad_part, 48)):
        energy = part(products, key, p).square().sum(0)  # of a column: chi-square
        assert abs(energy.mean().item() - components) < 4 * math.sqrt(2 * components / 200)


# Stacks and refusals


def variants(p, key, labels):
    def losses(neurons, W_L, logits):
        circuits = (logit_circuit(logits, key), neuron_circuit(neurons, W_L, logits, key))
        against = rivals(logits, labels)
        products = (product_waves(logits, key), neuron_product_waves(neurons, W_L, key))
        parts = [part(of, key, p) for part in (block_part, broad_part) for of in products]
        return [
            *(loss for circuit in circuits for loss in restricted_losses(circuit, labels)),
            *(loss for circuit in circuits for loss in excluded_losses(circuit, against)),
            *(loss for part in parts for loss in part_losses(logits, part, labels)),
        ]

    return losses


@pytest.mark.parametrize(("p", "freqs"), [(7, [1, 3]), (8, [1, 4])])
def test_stacks_and_vmap_give_what_single_networks_give(p, freqs):
    losses = variants(p, torch.tensor(freqs), other_labels(p))
    nets = [network(p, seed=10 * i) for i in range(3)]
    stack = [torch.stack(tensors) for tensors in zip(*nets, strict=True)]
    together, mapped = losses(*stack), torch.vmap(losses)(*stack)
    for i, net in enumerate(nets):
        for alone, whole, by_vmap in zip(losses(*net), together, mapped, strict=True):
            torch.testing.assert_close(whole[i], alone, rtol=1e-11, atol=1e-12)
            torch.testing.assert_close(by_vmap[i], alone, rtol=1e-11, atol=1e-12)


def test_float32_networks_are_answered_in_float64():
    losses = variants(7, torch.tensor([2]), labels_of(7))
    for loss in losses(*(x.float() for x in network(7))):
        assert loss.dtype == torch.float64 and loss.isfinite().all()


@pytest.mark.parametrize("freqs", [[7], [0], [2, 2]])
def test_frequencies_out_of_range_or_repeated_are_refused(freqs):
    logits, key = noise(169, 13), torch.tensor(freqs)
    neurons = noise(169, 2)
    for refused in (
        lambda: logit_circuit(logits, key),
        lambda: neuron_circuit(neurons, noise(2, 13), logits, key),
        lambda: product_waves(logits, key),
    ):
        with pytest.raises(ValueError, match=r"distinct integers in 1\.\.6 for p = 13"):
            refused()


def test_what_does_not_cover_the_grid_and_the_class_of_equals_are_refused():
    key = torch.tensor([1])
    with pytest.raises(ValueError, match=r"without the class of '='; got \[25, 6\]"):
        logit_circuit(noise(25, 6), key)
    with pytest.raises(ValueError, match="which is no square"):
        product_waves(noise(24, 2), key)


def test_split_losses_are_means_of_the_losses_by_pair():
    p, labels, where = 13, other_labels(13), everywhere(13)
    where[::3] = False
    logits = 3 * noise(p * p, p)
    circuit = Circuit(*logit_circuit(logits, torch.tensor([2, 5])))
    kept = restricted_losses(circuit, labels).together[where].mean().item()
    assert kept == pytest.approx(slow_cross_entropy(slow_restricted_logits(logits, [2, 5]), labels, where), rel=1e-10)
