"""Memorization: on networks that are half clock and half list, where every share is known."""

import math

import pytest
import torch
from oracles import (
    everywhere,
    generator,
    grid,
    labels_of,
    noise,
    planted_circuit,
    slow_cross_entropy,
    slow_excluded_logits,
    slow_margins,
    slow_restricted_logits,
)
from torch.nn.functional import one_hot

from circuitgrok.measures.circuits.restricted import excluded_loss, restricted_loss
from circuitgrok.measures.learning.memorization import (
    Margins,
    Parts,
    Right,
    answered_right,
    by_pair,
    credit,
    efficiency,
    label_fit,
    low_ipr_share,
    lowest_ipr,
    margin_shares,
    mean_margins,
    parts_of,
    without_neurons,
)

EPS = torch.finfo(torch.float64).eps


def some_pairs(p, seed=0, share=0.4):
    return torch.rand(p * p, generator=generator(seed)) < share


def list_of(p, is_train, height=6.0):
    """Logits of a network that knows its training pairs by heart and nothing else."""
    return height * one_hot(labels_of(p), p).double() * is_train[:, None]


# Margins and shares


@pytest.mark.parametrize(("p", "freqs"), [(7, [2]), (8, [1, 4]), (13, [2, 5])])
def test_margins_of_the_parts_agree_with_dense_projections_and_loops(p, freqs):
    logits, labels, where = noise(p * p, p, seed=p), labels_of(p), some_pairs(p)
    slow = (logits, slow_restricted_logits(logits, freqs), slow_excluded_logits(logits, freqs))
    expected = [math.fsum(m for m, is_in in zip(slow_margins(part, labels), where.tolist(), strict=True) if is_in)
                for part in slow]  # fmt: skip
    found = mean_margins(parts_of(logits, torch.tensor(freqs)), labels, where)
    # Sums of p^2 logits of size 1 in either order differ by at most p^2 eps.
    assert [x.item() for x in found] == pytest.approx([x / int(where.sum()) for x in expected], abs=1e-12)


@pytest.mark.parametrize("freqs", [[3], [1, 6]])
def test_a_pure_clock_has_circuit_share_one_on_either_side_of_the_split(freqs):
    logits, labels = planted_circuit(13, freqs)
    parts, is_train = parts_of(logits, torch.tensor(freqs)), some_pairs(13)
    for where in (is_train, ~is_train):
        circuit, memorised = margin_shares(mean_margins(parts, labels, where))
        assert circuit.item() == pytest.approx(1, abs=1e-13) and memorised.item() == pytest.approx(0, abs=1e-13)


def test_a_network_that_subtracts_has_memorised_share_one():
    p = 11
    a, b = grid(p, 2)
    labels = ((a - b) % p).flatten()
    logits = 5 * one_hot(labels, p).double()  # no wave of a + b, and a mean that is the same for every class
    margins = mean_margins(parts_of(logits, torch.tensor([1, 4])), labels, everywhere(p))
    assert margins.whole.item() == 5 and margins.rest.item() == pytest.approx(5, abs=1e-13)
    assert margin_shares(margins).memorised.item() == pytest.approx(1, abs=1e-13)


def test_circuit_share_of_a_mixture_is_the_share_of_its_clock_where_the_rivals_are_the_same():
    p, k = 13, 1
    clock, labels = planted_circuit(p, [k], scale=4.0)
    right = one_hot(labels, p).double()
    rest = right - slow_restricted_logits(right, [k])  # all other waves of the sum: no mean, no key frequency
    whole = clock + 3 * rest
    margins = mean_margins(parts_of(whole, torch.tensor([k])), labels, everywhere(p))
    circuit_margin = 4 * (1 - math.cos(2 * math.pi / p))  # the best rival of a clock is next to the answer
    assert margins.circuit.item() == pytest.approx(circuit_margin, abs=1e-12)
    # The wave taken out of a one-hot row is 2 / p cos(w_k (t - c)): it lowers the answer more than its neighbour.
    rest_margin = 3 * (1 - 2 / p * (1 - math.cos(2 * math.pi / p)))
    expected = circuit_margin / (circuit_margin + rest_margin)
    assert margin_shares(margins).circuit.item() == pytest.approx(expected, abs=1e-12)


def test_shares_are_nan_where_the_network_has_no_margin_and_sum_to_one_elsewhere():
    margins = Margins(*torch.tensor([[-1.0, 0.0, 2.0, 4.0], [-2.0, 1.0, -0.5, 5.0], [0.0, 0.0, 3.0, -1.0]]))
    circuit, memorised = margin_shares(margins)
    assert circuit[:2].isnan().all() and memorised[:2].isnan().all()
    assert circuit[2:].tolist() == [-0.25, 1.25] and memorised[2:].tolist() == [1.25, -0.25]


def test_efficiency_does_not_change_when_weights_and_logits_of_a_linear_network_double():
    margins = mean_margins(parts_of(noise(49, 7), torch.tensor([2])), labels_of(7), some_pairs(7))
    doubled = mean_margins(parts_of(2 * noise(49, 7), torch.tensor([2])), labels_of(7), some_pairs(7))
    norm = torch.tensor(3.0, dtype=torch.float64)
    for one, other, part in zip(efficiency(margins, norm), efficiency(doubled, 2 * norm), margins, strict=True):
        assert one.item() == other.item() == pytest.approx(part.item() / 3, rel=2 * EPS)


# Pair by pair


@pytest.mark.parametrize(("p", "freqs"), [(7, [2]), (8, [1, 4]), (13, [2, 5])])
def test_losses_by_pair_are_those_of_each_row_alone_and_average_to_restricted_and_excluded_loss(p, freqs):
    logits, labels, where = 3 * noise(p * p, p, seed=p), labels_of(p), some_pairs(p)
    key_freqs = torch.tensor(freqs)
    table = by_pair(parts_of(logits, key_freqs), labels)
    slow = (logits, slow_restricted_logits(logits, freqs), slow_excluded_logits(logits, freqs))
    for column, part in zip(table[:3], slow, strict=True):
        rows = [slow_cross_entropy(part[i : i + 1], labels[i : i + 1], torch.tensor([True])) for i in range(p * p)]
        assert column.tolist() == pytest.approx(rows, rel=1e-10)
    for column, part in zip(table[3:], slow, strict=True):
        assert column.tolist() == [m > 0 for m in slow_margins(part, labels)]
    for column, loss in ((table.circuit_loss, restricted_loss), (table.rest_loss, excluded_loss)):
        torch.testing.assert_close(column[where].mean(), loss(logits, labels, key_freqs, where), rtol=1e-12, atol=0)


def test_pairs_learnt_by_heart_are_told_from_those_the_clock_answers():
    p = 11
    labels, is_train = labels_of(p), some_pairs(p)
    wrong_clock = planted_circuit(p, [2])[0].roll(1, dims=-1)  # says a + b + 1, everywhere
    entries = list_of(p, is_train, height=60.0)
    entries = entries - slow_restricted_logits(entries, [2])  # the list keeps out of the circuit
    right = answered_right(parts_of(wrong_clock + entries, torch.tensor([2])), labels)
    on_train, on_test = credit(right, is_train), credit(right, ~is_train)
    assert not bool(right.circuit.any())
    assert on_train.rest_only.item() == 1 and on_train.circuit_only.item() == on_train.both.item() == 0
    assert on_test.circuit_only.item() == on_test.both.item() == 0
    clock = answered_right(parts_of(planted_circuit(p, [2])[0] + entries, torch.tensor([2])), labels)
    assert credit(clock, is_train).both.item() == 1  # a right clock and a list


def test_credit_counts_each_kind_of_pair_and_its_shares_sum_to_one():
    bits = torch.rand(3, 4, 200, generator=generator(1)) < torch.tensor([0.8, 0.5, 0.3])[:, None, None]
    where = some_pairs(10, share=0.5).repeat(2)
    found = credit(Right(*bits), where)
    for i in range(4):
        rows = [tuple(bits[:, i, j].tolist()) for j in range(200) if where[j]]
        kinds = [
            sum(circuit and rest for _, circuit, rest in rows),
            sum(circuit and not rest for _, circuit, rest in rows),
            sum(rest and not circuit for _, circuit, rest in rows),
            sum(not circuit and not rest for _, circuit, rest in rows),
            sum(whole and not circuit and not rest for whole, circuit, rest in rows),
        ]
        assert [field[i].item() for field in found] == [kind / len(rows) for kind in kinds]
    torch.testing.assert_close(sum(found[:4]), torch.ones(4, dtype=torch.float64), rtol=0, atol=4 * EPS)


# Corrupted labels


def corrupted_task(p=11):
    true, is_train = labels_of(p), some_pairs(p, share=0.6)
    corrupted = some_pairs(p, seed=2, share=0.3)
    drawn = torch.where(corrupted, (true + 1 + torch.arange(p * p) % (p - 1)) % p, true)  # never the true one
    return drawn, true, is_train, corrupted


def test_a_list_fits_the_drawn_labels_and_a_rule_the_true_ones():
    drawn, true, is_train, corrupted = corrupted_task()
    by_heart, by_rule = one_hot(drawn).double(), one_hot(true).double()
    assert [x.item() for x in label_fit(by_heart, drawn, true, is_train, corrupted)] == [1, 1, 0]
    assert [x.item() for x in label_fit(by_rule, drawn, true, is_train, corrupted)] == [1, 0, 1]


def test_label_fit_counts_training_pairs_of_each_kind_only():
    drawn, true, is_train, corrupted = corrupted_task()
    answers = torch.randint(11, (121,), generator=generator(3))
    answers = torch.where(some_pairs(11, seed=4), drawn, answers)
    rows = list(
        zip(answers.tolist(), drawn.tolist(), true.tolist(), is_train.tolist(), corrupted.tolist(), strict=True)
    )
    clean = [a == d for a, d, _, seen, wrong in rows if seen and not wrong]
    by_heart = [a == d for a, d, _, seen, wrong in rows if seen and wrong]
    corrected = [a == t for a, _, t, seen, wrong in rows if seen and wrong]
    found = label_fit(one_hot(answers, 11).double(), drawn, true, is_train, corrupted)
    assert [x.item() for x in found] == [sum(kind) / len(kind) for kind in (clean, by_heart, corrected)]


def test_label_fit_without_a_corrupted_label_is_nan_there_and_accuracy_elsewhere():
    true, is_train = labels_of(5), some_pairs(5)
    fit = label_fit(one_hot(true).double(), true, true, is_train, torch.zeros(25, dtype=torch.bool))
    assert fit.clean.item() == 1 and math.isnan(fit.corrupted.item()) and math.isnan(fit.corrected.item())


# Neurons


def test_the_lowest_share_of_the_ratios_is_what_sorting_finds():
    ipr = torch.rand(3, 20, generator=generator(0), dtype=torch.float64)
    for share in (0.0, 0.25, 0.5, 1.0):
        chosen = lowest_ipr(ipr, share)
        for row, mask in zip(ipr, chosen, strict=True):
            n = round(20 * share)
            assert sorted(row[mask].tolist()) == sorted(row.tolist())[:n]


def test_neurons_without_a_ratio_are_pruned_last_and_not_counted():
    ipr = torch.tensor([torch.nan, 0.2, 0.7, torch.nan, 0.4])
    assert lowest_ipr(ipr, 0.6).tolist() == [False, True, True, False, True]
    assert low_ipr_share(ipr, below=0.5).item() == pytest.approx(2 / 3, rel=EPS)
    assert math.isnan(low_ipr_share(torch.tensor([torch.nan])).item())


def test_logits_without_neurons_are_those_of_the_network_built_without_them():
    neurons, W_L, other = noise(49, 10), noise(10, 7, seed=1), noise(49, 7, seed=2)
    removed = torch.rand(10, generator=generator(3)) < 0.5
    kept = neurons[:, ~removed] @ W_L[~removed] + other
    found = without_neurons(neurons @ W_L + other, neurons, W_L, removed)
    # Sums of ten products of size 1, in another order.
    torch.testing.assert_close(found, kept, rtol=0, atol=100 * EPS)


def test_pruning_a_planted_list_of_low_ratio_keeps_the_circuit_and_forgets_the_list():
    p = 7
    labels, is_train = labels_of(p), some_pairs(p)
    clock, _ = planted_circuit(p, [2])
    table = clock.reshape(p, p, p)[0]  # one neuron per sum, writing that row
    wrong = (labels + 1) % p
    by_heart = 20 * one_hot(wrong, p).double() * is_train[:, None]  # one neuron per training pair
    neurons = torch.cat([one_hot(labels, p).double(), torch.eye(p * p, dtype=torch.float64)[:, is_train]], dim=1)
    W_L = torch.cat([table, by_heart[is_train]])
    ipr = torch.cat([torch.ones(p), torch.full((int(is_train.sum()),), 1 / p)])
    whole = neurons @ W_L
    assert (whole.argmax(-1) == torch.where(is_train, wrong, labels)).all()
    pruned = without_neurons(whole, neurons, W_L, lowest_ipr(ipr, 1 - p / len(ipr)))
    assert (pruned.argmax(-1) == labels).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match=rf"in 0\.\.1; got {share}"):
        lowest_ipr(torch.rand(3, generator=generator(0)), share)


def test_a_mask_that_picks_nothing_is_refused():
    parts, labels = parts_of(noise(25, 5), torch.tensor([1])), labels_of(5)
    for measure in (mean_margins, lambda parts, labels, where: credit(answered_right(parts, labels), where)):
        with pytest.raises(ValueError, match="at least one pair"):
            measure(parts, labels, ~everywhere(5))


# Stacks


def measures(p):
    labels, where, freqs = labels_of(p), some_pairs(p), torch.tensor([1, 3])
    drawn = (labels + some_pairs(p, seed=5)) % p
    ipr = torch.rand(4, generator=generator(6))

    def by_norm(logits):
        return efficiency(mean_margins(parts_of(logits, freqs), labels, where), logits.square().sum((-2, -1)).sqrt())

    def pruned(logits):
        neurons, W_L = logits[..., :4], logits[..., :4, :]
        return without_neurons(logits, neurons, W_L, lowest_ipr(W_L.abs().sum(-1) + ipr, 0.5))

    return [
        lambda logits: parts_of(logits, freqs),
        by_norm,
        lambda logits: margin_shares(mean_margins(parts_of(logits, freqs), labels, where)),
        lambda logits: by_pair(parts_of(logits, freqs), labels),
        lambda logits: credit(answered_right(parts_of(logits, freqs), labels), where),
        lambda logits: label_fit(logits, drawn, labels, where, drawn != labels),
        lambda logits: (low_ipr_share(logits.abs()[..., 0, :]),),
        lambda logits: (pruned(logits),),
    ]


def test_stacks_and_vmap_give_what_single_networks_give():
    stack = noise(2, 2, 49, 7)
    for measure in measures(7):
        together, mapped = measure(stack), torch.vmap(torch.vmap(measure))(stack)
        for i in range(2):
            for j in range(2):
                for whole, by_vmap, alone in zip(together, mapped, measure(stack[i, j]), strict=True):
                    for found in (whole, by_vmap):
                        torch.testing.assert_close(found[i, j], alone, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_parts_add_up_to_the_logits_and_their_mean_in_float64_whatever_comes_in():
    parts = parts_of(noise(49, 7).float(), torch.tensor([1, 2]))
    assert isinstance(parts, Parts) and all(part.dtype == torch.float64 for part in parts)
    total = parts.whole + parts.whole.mean(0)
    torch.testing.assert_close(parts.circuit + parts.rest, total, rtol=0, atol=49 * EPS)
