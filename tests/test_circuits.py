"""Circuits: on planted answers, and against dense projections and explicit loops."""

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
    slow_cosine_fit,
    slow_cross_entropy,
    slow_excluded_logits,
    slow_frac_explained,
    slow_margins,
    slow_restricted_logits,
    slow_sum_table,
    sum_projector,
)

from circuitgrok.interventions import losses
from circuitgrok.measures.circuits.restricted import (
    cosine_coefficients,
    excluded_logits,
    excluded_loss,
    excluded_loss_by_freq,
    frac_explained,
    frac_explained_within_classes,
    restricted_logits,
    restricted_loss,
)
from circuitgrok.measures.scores import accuracy, cross_entropy, logit_scale, margin, margin_summary
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
LOSSES = [restricted_loss, excluded_loss, excluded_loss_by_freq]


def some_pairs(p, seed=0):
    return torch.rand(p * p, generator=generator(seed)) < 0.3


def other_labels(p, seed=0):
    """Labels that are not (a + b) mod p: nothing may take them for granted."""
    return torch.randint(p, (p * p,), generator=generator(seed))


# Planted circuits


@pytest.mark.parametrize("freqs", [[k] for k in range(1, 7)] + [[2, 5], [1, 2, 3, 4, 5, 6]])
def test_restricted_loss_of_a_planted_circuit_is_its_full_loss(freqs):
    logits, labels = planted_circuit(13, freqs)
    where = some_pairs(13)
    full = cross_entropy(logits, labels, where)
    # The logits are sums of cosines with errors of about 8 eps each, and a loss moves as much as they do.
    torch.testing.assert_close(restricted_loss(logits, labels, torch.tensor(freqs), where), full, rtol=0, atol=1e-13)


@pytest.mark.parametrize("k", range(1, 7))
def test_excluding_the_only_frequency_leaves_chance(k):
    logits, labels = planted_circuit(13, [k])
    loss = excluded_loss(logits, labels, torch.tensor([k]), everywhere(13))
    assert loss.item() == pytest.approx(math.log(13), abs=1e-13)


@pytest.mark.parametrize("k", range(1, 7))
def test_other_frequencies_leave_chance_when_kept_and_nothing_changed_when_excluded(k):
    logits, labels = planted_circuit(13, [k])
    others, where = torch.tensor([j for j in range(1, 7) if j != k]), everywhere(13)
    restricted, excluded = (loss(logits, labels, others, where) for loss in (restricted_loss, excluded_loss))
    assert restricted.item() == pytest.approx(math.log(13), abs=1e-13)
    torch.testing.assert_close(excluded, cross_entropy(logits, labels, where), rtol=0, atol=1e-13)


def test_a_network_that_subtracts_keeps_nothing_when_restricted_and_all_when_excluded():
    p, freqs = 13, torch.tensor([3, 6])
    a, b = grid(p, 2)
    labels = ((a - b) % p).flatten()
    logits = 8.0 * torch.nn.functional.one_hot(labels)  # its mean over equal sums is the same everywhere
    chance = restricted_loss(logits, labels, freqs, everywhere(p)).item()
    assert chance == pytest.approx(math.log(p), abs=p * EPS)
    full = cross_entropy(logits, labels, everywhere(p))
    torch.testing.assert_close(excluded_loss(logits, labels, freqs, everywhere(p)), full, rtol=0, atol=1e-13)


# The projections


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_restricted_and_excluded_logits_agree_with_dense_projections(p, freqs):
    logits = noise(p * p, p, seed=p)
    key_freqs = torch.tensor(freqs)
    restricted, excluded = restricted_logits(logits, key_freqs), excluded_logits(logits, key_freqs)
    torch.testing.assert_close(restricted, slow_restricted_logits(logits, freqs), rtol=0, atol=1e-12)
    torch.testing.assert_close(excluded, slow_excluded_logits(logits, freqs), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_losses_agree_with_their_slow_twins_on_any_labels_and_pairs(p, freqs):
    logits, labels, where = 3 * noise(p * p, p, seed=p), other_labels(p), some_pairs(p)
    key_freqs = torch.tensor(freqs)
    restricted = slow_cross_entropy(slow_restricted_logits(logits, freqs), labels, where)
    excluded = slow_cross_entropy(slow_excluded_logits(logits, freqs), labels, where)
    one_by_one = [slow_cross_entropy(slow_excluded_logits(logits, [k]), labels, where) for k in freqs]
    assert restricted_loss(logits, labels, key_freqs, where).item() == pytest.approx(restricted, rel=1e-10)
    assert excluded_loss(logits, labels, key_freqs, where).item() == pytest.approx(excluded, rel=1e-10)
    by_freq = excluded_loss_by_freq(logits, labels, key_freqs, where)
    assert by_freq.tolist() == pytest.approx(one_by_one, rel=1e-10)


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_restricted_plus_excluded_is_the_logits_plus_their_mean(p, freqs):
    logits, key_freqs = noise(p * p, p), torch.tensor(freqs)
    total = restricted_logits(logits, key_freqs) + excluded_logits(logits, key_freqs)
    torch.testing.assert_close(total, logits + logits.mean(0), rtol=0, atol=p * p * EPS)


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_restricting_and_excluding_are_projections(p, freqs):
    logits, key_freqs = noise(p * p, p), torch.tensor(freqs)
    for project in (restricted_logits, excluded_logits):
        once = project(logits, key_freqs)
        torch.testing.assert_close(project(once, key_freqs), once, rtol=0, atol=1e-12)


def test_without_frequencies_only_the_mean_is_kept_and_nothing_excluded():
    logits, labels, none = noise(25, 5), labels_of(5), torch.tensor([], dtype=torch.long)
    mean = logits.mean(0).expand(25, 5)
    torch.testing.assert_close(restricted_logits(logits, none), mean, rtol=0, atol=25 * EPS)
    torch.testing.assert_close(excluded_logits(logits, none), logits, rtol=0, atol=0)
    assert excluded_loss_by_freq(logits, labels, none, everywhere(5)).shape == (0,)
    assert frac_explained(logits, none).item() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_do_not_see_a_shift_of_a_pairs_logits_nor_the_order_of_the_frequencies(loss):
    logits, labels, where = noise(169, 13), labels_of(13), some_pairs(13)
    shifted = logits + 10 * noise(169, 1, seed=1)
    plain = loss(logits, labels, torch.tensor([2, 5]), where)
    torch.testing.assert_close(loss(shifted, labels, torch.tensor([2, 5]), where), plain, rtol=1e-12, atol=0)
    turned = loss(logits, labels, torch.tensor([5, 2]), where)
    torch.testing.assert_close(turned.flip(0) if turned.ndim else turned, plain, rtol=1e-12, atol=0)


# Tables by the sum, and losses by pair


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_the_part_of_each_frequency_is_its_dense_projection_and_they_sum_to_the_circuit(p, freqs):
    logits, labels = noise(p * p, p, seed=p), labels_of(p)
    sums = sum_logits(logits)
    torch.testing.assert_close(sums, slow_sum_table(logits), rtol=0, atol=p * EPS)
    tables = wave_tables(sums, torch.tensor(freqs))
    for table, k in zip(tables, freqs, strict=True):
        torch.testing.assert_close(table[labels], sum_projector(p, [k]) @ logits, rtol=0, atol=1e-12)
    whole = excluded_logits(logits, torch.tensor(freqs)) + tables.sum(0)[labels]
    torch.testing.assert_close(whole, logits, rtol=0, atol=1e-14)


@pytest.mark.parametrize("p", [5, 8, 13])
def test_losses_of_a_table_are_those_of_its_rows_spread_over_the_pairs(p):
    table, labels = 5 * noise(2, p, p), other_labels(p)
    spread_out = losses.cross_entropy(table[:, labels_of(p)], labels)
    torch.testing.assert_close(losses_of_sums(table, labels), spread_out, rtol=1e-13, atol=0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("p", [5, 8, 13])
def test_losses_without_tables_are_those_of_the_difference(p, scale):
    logits, tables, labels = scale * noise(2, p * p, p), scale * noise(2, 3, p, p, seed=1), other_labels(p)
    plain = losses.cross_entropy(logits[:, None] - tables[..., labels_of(p), :], labels)
    factored = losses_without(rivals(logits, labels), tables)
    # Each exponent is a sum of terms up to 690, and so off by 690 eps times the few of them.
    torch.testing.assert_close(factored, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lead", [0.0, 1.0, 30.0, 200.0, 600.0])
def test_small_losses_keep_their_digits_where_a_log_softmax_says_zero(lead):
    p, labels = 5, labels_of(5)
    logits = lead * torch.nn.functional.one_hot(labels).double()
    taken = 7 * torch.eye(p, dtype=torch.float64)[None]  # from the right logit alone
    factored = losses_without(rivals(logits, labels), taken)
    expected = math.log1p(4 * math.exp(7 - lead))  # for a lead of 600 it is 1e-257
    assert factored.flatten().tolist() == pytest.approx([expected] * p * p, rel=1e-12, abs=0)


@pytest.mark.parametrize("width", [100.0, 500.0, WIDEST])
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


# Cosine coefficients and the variance they explain


@pytest.mark.parametrize("p", [5, 8, 9, 12, 13])
def test_planted_coefficients_are_recovered_each_of_them(p):
    alpha = torch.linspace(-2.0, 3.0, p // 2, dtype=torch.float64)
    waves = [planted_circuit(p, [k], scale)[0] for k, scale in enumerate(alpha.tolist(), 1)]
    logits = torch.stack(waves).sum(0) + 7.0
    torch.testing.assert_close(cosine_coefficients(logits), alpha, rtol=0, atol=1e-12)


@pytest.mark.parametrize("p", [5, 8, 9])
def test_coefficients_are_the_least_squares_fit(p):
    logits = noise(p * p, p, seed=p)
    torch.testing.assert_close(cosine_coefficients(logits), slow_cosine_fit(logits), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_frac_explained_is_one_minus_the_residual_of_the_fit(p, freqs):
    logits = noise(p * p, p) + planted_circuit(p, freqs, scale=1.0)[0]
    explained = frac_explained(logits, torch.tensor(freqs)).item()
    assert explained == pytest.approx(slow_frac_explained(logits, freqs), rel=1e-10)


@pytest.mark.parametrize("freqs", [[k] for k in range(1, 7)] + [[2, 5]])
def test_all_of_a_planted_circuit_is_explained_and_nothing_by_other_frequencies(freqs):
    logits, _ = planted_circuit(13, freqs)
    others = torch.tensor([k for k in range(1, 7) if k not in freqs])
    for moved in (logits, -0.01 * logits + 5.0):
        assert frac_explained(moved, torch.tensor(freqs)).item() == pytest.approx(1, abs=1e-12)
        assert frac_explained(moved, others).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("p", "k"), [(7, 1), (8, 4), (9, 3), (13, 6)])
def test_class_offsets_are_variance_about_the_overall_mean_and_none_about_the_mean_of_each_class(p, k):
    """A wave of height 3 has 9 / 2 (9 for k = p / 2) of mean square, offsets have their own variance."""
    offsets, keys = 2 * noise(p, seed=p) + 5, torch.tensor([k])
    logits = planted_circuit(p, [k], scale=3.0)[0] + offsets
    of_wave, of_offsets = 9.0 if 2 * k == p else 4.5, offsets.var(correction=0).item()
    assert frac_explained(logits, keys).item() == pytest.approx(of_wave / (of_wave + of_offsets), rel=1e-12)
    assert frac_explained_within_classes(logits, keys).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("p", "freqs"), CASES)
def test_variance_within_classes_is_one_minus_the_residual_of_a_fit_with_a_constant_for_each_class(p, freqs):
    logits = noise(p * p, p) + planted_circuit(p, freqs, scale=1.0)[0] + 3 * noise(p, seed=1)
    explained = frac_explained_within_classes(logits, torch.tensor(freqs)).item()
    assert explained == pytest.approx(slow_frac_explained(logits - logits.mean(0), freqs), rel=1e-10)


def test_logits_that_do_not_vary_have_no_variance_to_explain():
    assert frac_explained(torch.zeros(25, 5), torch.tensor([1])).isnan()
    assert frac_explained_within_classes(noise(5).expand(25, 5), torch.tensor([1])).isnan()


# Losses, counts, margins


def test_cross_entropy_agrees_with_loops_and_answers_in_float64():
    logits, labels, where = noise(49, 7).float(), other_labels(7), some_pairs(7)
    loss = cross_entropy(logits, labels, where)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(slow_cross_entropy(logits, labels, where), rel=1e-14)


@pytest.mark.parametrize("lead", [0.0, 1.0, 16.0, 25.0])
def test_a_lead_over_equal_rivals_costs_what_the_formula_says_also_where_float32_says_zero(lead):
    logits = torch.zeros(25, 5, dtype=torch.float32)
    labels = labels_of(5)
    logits[torch.arange(25), labels] = lead
    expected = math.log1p(4 * math.exp(-lead))
    assert cross_entropy(logits, labels, everywhere(5)).item() == pytest.approx(expected, abs=2 * EPS)


def test_accuracy_is_a_count_over_a_count():
    p, labels = 97, labels_of(97)
    logits = torch.nn.functional.one_hot(labels).float()
    assert accuracy(logits, labels, everywhere(p)).item() == 1.0  # a float32 mean would not say so
    wrong = logits.clone()
    wrong[:3] = wrong[:3].roll(1, dims=1)
    assert accuracy(wrong, labels, everywhere(p)).item() == (p * p - 3) / (p * p)
    assert accuracy(wrong, labels, torch.arange(p * p) < 6).item() == 0.5
    assert accuracy(torch.zeros_like(logits), labels, everywhere(p)).item() == p / (p * p)  # ties: the first


def test_only_the_picked_pairs_count():
    logits, labels, where = noise(49, 7), labels_of(7), some_pairs(7)
    spoiled = torch.where(where[:, None], logits, 1e3 * noise(49, 7, seed=1))
    for score in (cross_entropy, accuracy, margin_summary):
        assert score(logits, labels, where) == score(spoiled, labels, where)


def test_margin_agrees_with_loops_and_its_summary_takes_the_picked_pairs():
    logits, labels, where = noise(49, 7), other_labels(7), some_pairs(7)
    margins = margin(logits, labels)
    assert margins.tolist() == slow_margins(logits, labels)
    mean, smallest = margin_summary(logits, labels, where)
    assert mean.item() == pytest.approx(margins[where].mean().item(), rel=1e-14)
    assert smallest.item() == min(margins[where].tolist())


def test_a_margin_is_positive_exactly_where_the_answer_is_right():
    logits, labels = noise(169, 13), labels_of(13)
    assert torch.equal(margin(logits, labels) > 0, logits.argmax(1) == labels)


def test_logit_scale_of_a_planted_circuit_is_the_mean_and_root_mean_square_of_its_cosine():
    logits, _ = planted_circuit(13, [6], scale=3.0)
    mean_abs, std = logit_scale(logits + 10 * noise(169, 1))  # what the softmax ignores is ignored
    cosines = [abs(math.cos(2 * math.pi * t / 13)) for t in range(13)]
    assert mean_abs.item() == pytest.approx(3 * sum(cosines) / 13, rel=1e-12)
    assert std.item() == pytest.approx(3 / math.sqrt(2), rel=1e-12)


# Stacks


def measures(p):
    labels, where, freqs = other_labels(p), some_pairs(p), torch.tensor([1, p // 2])
    of_freqs = (restricted_logits, excluded_logits, frac_explained, frac_explained_within_classes)
    of_pairs = (cross_entropy, accuracy, margin_summary)
    return [
        *(lambda logits, f=f: f(logits, labels, freqs, where) for f in LOSSES),
        *(lambda logits, f=f: f(logits, freqs) for f in of_freqs),
        *(lambda logits, f=f: f(logits, labels, where) for f in of_pairs),
        lambda logits: margin(logits, labels),
        lambda logits: losses_of_sums(sum_logits(logits), labels),
        lambda logits: losses_without(rivals(logits, labels), wave_tables(sum_logits(logits), freqs)),
        cosine_coefficients,
        logit_scale,
    ]


@pytest.mark.parametrize("p", [8, 9])
def test_stacks_and_vmap_give_what_single_networks_give(p):
    stack = noise(2, 2, p * p, p)
    for measure in measures(p):
        together, mapped = measure(stack), torch.vmap(torch.vmap(measure))(stack)
        for i in range(2):
            for j in range(2):
                alone = measure(stack[i, j])
                for field, whole, by_vmap in zip(parts(alone), parts(together), parts(mapped), strict=True):
                    torch.testing.assert_close(whole[i, j], field, rtol=1e-12, atol=1e-12)
                    torch.testing.assert_close(by_vmap[i, j], field, rtol=1e-12, atol=1e-12)


def parts(result):
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


# Refusals


@pytest.mark.parametrize("freqs", [[7], [0], [-1], [2, 2], [1, 2, 12]])
@pytest.mark.parametrize("loss", LOSSES)
def test_frequencies_out_of_range_or_repeated_are_refused(loss, freqs):
    logits, labels = planted_circuit(13, [3])
    with pytest.raises(ValueError, match=r"distinct integers in 1\.\.6 for p = 13; got \["):
        loss(logits, labels, torch.tensor(freqs), everywhere(13))


@pytest.mark.parametrize("freqs", [torch.tensor([2.0]), torch.tensor([True])])
def test_frequencies_that_are_not_integers_are_refused(freqs):
    for measure in (restricted_logits, excluded_logits, frac_explained):
        with pytest.raises((ValueError, TypeError)):  # the second where jaxtyping checks the arguments first
            measure(noise(25, 5), freqs)


def test_the_class_of_equals_is_refused():
    for measure in (restricted_logits, excluded_logits, frac_explained, lambda x, _: rivals(x, labels_of(5))):
        with pytest.raises(ValueError, match=r"\[p\^2, p\], without the class of '='; got \[25, 6\]"):
            measure(noise(25, 6), torch.tensor([1]))


def test_a_mask_that_picks_nothing_is_refused():
    logits, labels = planted_circuit(5, [1])
    nowhere = ~everywhere(5)
    for score in (cross_entropy, accuracy, margin_summary):
        with pytest.raises(ValueError, match="at least one pair"):
            score(logits, labels, nowhere)
    for loss in LOSSES:
        with pytest.raises(ValueError, match="at least one pair"):
            loss(logits, labels, torch.tensor([1]), nowhere)
