"""Tables by the sum of a pair, against dense projections and explicit loops; losses of them, and without them."""

import math

import pytest
import torch
from loops import for_each
from oracles import generator, labels_of, noise, other_labels, same_on_stacks, slow_sum_table, sum_projector

from circuitgrok.interventions import losses
from circuitgrok.measures.spectra.sum_waves import (
    WIDEST,
    losses_of_sums,
    losses_without,
    rivals,
    sum_logits,
    wave_tables,
)

EPS = torch.finfo(torch.float64).eps
CASES = [(5, [1]), (5, [2]), (7, [1, 3]), (8, [1, 4]), (9, [3, 4]), (9, [1, 2, 3, 4]), (13, [2, 6])]


@for_each(("p", "freqs"), CASES)
def test_the_part_of_each_frequency_is_its_dense_projection(p, freqs):
    logits, labels = noise(p * p, p, seed=p), labels_of(p)
    sums = sum_logits(logits)
    torch.testing.assert_close(sums, slow_sum_table(logits), rtol=0, atol=p * EPS)
    tables = wave_tables(sums, torch.tensor(freqs))
    for table, k in zip(tables, freqs, strict=True):
        torch.testing.assert_close(table[labels], sum_projector(p, [k]) @ logits, rtol=0, atol=1e-12)


@for_each("p", [5, 8, 13])
def test_losses_of_a_table_are_those_of_its_rows_spread_over_the_pairs(p):
    table, labels = 5 * noise(2, p, p), other_labels(p)
    spread_out = losses.cross_entropy(table[:, labels_of(p)], labels)
    torch.testing.assert_close(losses_of_sums(table, labels), spread_out, rtol=1e-13, atol=0)


@for_each("scale", [1e-3, 1.0, 30.0])
@for_each("p", [5, 8, 13])
def test_losses_without_tables_are_those_of_the_difference(p, scale):
    logits, tables, labels = scale * noise(2, p * p, p), scale * noise(2, 3, p, p, seed=1), other_labels(p)
    plain = losses.cross_entropy(logits[:, None] - tables[..., labels_of(p), :], labels)
    factored = losses_without(rivals(logits, labels), tables)
    # Each exponent is a sum of terms up to 690, and so off by 690 eps times the few of them.
    torch.testing.assert_close(factored, plain, rtol=1e-12, atol=1e-12)


@for_each("lead", [0.0, 1.0, 30.0, 200.0, 600.0])
def test_small_losses_keep_their_digits_where_a_log_softmax_says_zero(lead):
    p, labels = 5, labels_of(5)
    logits = lead * torch.nn.functional.one_hot(labels).double()
    taken = 7 * torch.eye(p, dtype=torch.float64)[None]  # from the right logit alone
    factored = losses_without(rivals(logits, labels), taken)
    expected = math.log1p(4 * math.exp(7 - lead))  # for a lead of 600 it is 1e-257
    assert factored.flatten().tolist() == pytest.approx([expected] * p * p, rel=1e-12, abs=0)


@for_each("width", [100.0, 500.0, WIDEST])
def test_wide_tables_and_wide_logits_neither_overflow_nor_vanish(width):
    p, labels = 7, other_labels(7)
    tables = width * torch.rand(4, p, p, generator=generator(1), dtype=torch.float64)
    logits = 1e4 * noise(p * p, p)
    plain = losses.cross_entropy(logits - tables[:, labels_of(p)], labels)
    # A loss is a difference of logits of up to 5e4, which are off by eps each.
    torch.testing.assert_close(losses_without(rivals(logits, labels), tables), plain, rtol=0, atol=5e4 * 10 * EPS)


def test_a_table_wider_than_float64_can_multiply_gives_nan_for_its_pairs_and_for_no_others():
    p, labels = 5, labels_of(5)
    tables = torch.zeros(2, p, p, dtype=torch.float64)
    tables[1, 3, 2] = WIDEST + 1
    losses_by_set = losses_without(rivals(noise(25, 5), labels), tables)
    assert losses_by_set[0].isfinite().all()
    assert torch.equal(losses_by_set[1].isnan(), labels_of(p) == 3)


# Stacks and refusals


def measures(p):
    labels, freqs = other_labels(p), torch.tensor([1, p // 2])
    return [
        lambda logits: losses_of_sums(sum_logits(logits), labels),
        lambda logits: losses_without(rivals(logits, labels), wave_tables(sum_logits(logits), freqs)),
    ]


@for_each("p", [8, 9])
def test_stacks_and_vmap_give_what_single_networks_give(p):
    for measure in measures(p):
        same_on_stacks(measure, noise(2, 2, p * p, p))


def test_the_class_of_equals_is_refused():
    for measure in (sum_logits, lambda logits: rivals(logits, labels_of(5))):
        with pytest.raises(ValueError, match=r"\[p\^2, p\], without the class of '='; got \[25, 6\]"):
            measure(noise(25, 6))
