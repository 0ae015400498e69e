"""Memorization: on networks that are half clock and half list, where every share is known."""

import math

import pytest
import torch
from loops import for_each
from oracles import (
    everywhere,
    generator,
    grid,
    labels_of,
    noise,
    planted_circuit,
    same_on_stacks,
    slow_excluded_logits,
    slow_margins,
    slow_restricted_logits,
)
from torch.nn.functional import one_hot

from circuitgrok.measures.circuits.restricted import parts_of
from circuitgrok.measures.learning.memorization import (
    Margins,
    Right,
    answered_right,
    credit,
    efficiency,
    label_fit,
    low_ipr_share,
    margin_shares,
    mean_margins,
)

EPS = torch.finfo(torch.float64).eps


def some_pairs(p, seed=0, share=0.4):
    return torch.rand(p * p, generator=generator(seed)) < share


def list_of(p, is_train, height=6.0):
    """Logits of a network that knows its training pairs by heart and nothing else."""
    return height * one_hot(labels_of(p), p).double() * is_train[:, None]


# Margins and shares


@for_each(("p", "freqs"), [(7, [2]), (8, [1, 4]), (13, [2, 5])])
def test_margins_of_the_parts_agree_with_dense_projections_and_loops(p, freqs):
    logits, labels, where = noise(p * p, p, seed=p), labels_of(p), some_pairs(p)
    slow = (logits, slow_restricted_logits(logits, freqs), slow_excluded_logits(logits, freqs))
    expected = [math.fsum(m for m, is_in in zip(slow_margins(part, labels), where.tolist(), strict=True) if is_in)
                for part in slow]  # fmt: skip
    found = mean_margins(parts_of(logits, torch.tensor(freqs)), labels, where)
    # Sums of p^2 logits of size 1 in either order differ by at most p^2 eps.
    assert [x.item() for x in found] == pytest.approx([x / int(where.sum()) for x in expected], abs=1e-12)


@for_each("freqs", [[3], [1, 6]])
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


@for_each(("p", "freqs"), [(7, [2]), (8, [1, 4]), (13, [2, 5])])
def test_who_answers_a_pair_right_is_who_has_a_margin(p, freqs):
    logits, labels = noise(p * p, p, seed=p), labels_of(p)
    slow = (logits, slow_restricted_logits(logits, freqs), slow_excluded_logits(logits, freqs))
    for right, part in zip(answered_right(parts_of(logits, torch.tensor(freqs)), labels), slow, strict=True):
        assert right.tolist() == [m > 0 for m in slow_margins(part, labels)]


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


def test_neurons_without_a_ratio_are_not_counted():
    ipr = torch.tensor([torch.nan, 0.2, 0.7, torch.nan, 0.4])
    assert low_ipr_share(ipr, below=0.5).item() == pytest.approx(2 / 3, rel=EPS)
    assert math.isnan(low_ipr_share(torch.tensor([torch.nan])).item())


def test_a_mask_that_picks_nothing_is_refused():
    parts, labels = parts_of(noise(25, 5), torch.tensor([1])), labels_of(5)
    for measure in (mean_margins, lambda parts, labels, where: credit(answered_right(parts, labels), where)):
        with pytest.raises(ValueError, match="at least one pair"):
            measure(parts, labels, ~everywhere(5))


# Stacks


def measures(p):
    labels, where, freqs = labels_of(p), some_pairs(p), torch.tensor([1, 3])
    drawn = (labels + some_pairs(p, seed=5)) % p

    def by_norm(logits):
        return efficiency(mean_margins(parts_of(logits, freqs), labels, where), logits.square().sum((-2, -1)).sqrt())

    return [
        by_norm,
        lambda logits: margin_shares(mean_margins(parts_of(logits, freqs), labels, where)),
        lambda logits: answered_right(parts_of(logits, freqs), labels),
        lambda logits: credit(answered_right(parts_of(logits, freqs), labels), where),
        lambda logits: label_fit(logits, drawn, labels, where, drawn != labels),
        lambda logits: (low_ipr_share(logits.abs()[..., 0, :]),),
    ]


def test_stacks_and_vmap_give_what_single_networks_give():
    for measure in measures(7):
        same_on_stacks(measure, noise(2, 2, 49, 7))
