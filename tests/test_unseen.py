"""Restricted loss from unseen pairs: on planted look-up tables and circuits, and against dense fits over the pairs."""

import math

import pytest
import torch
from loops import for_each
from oracles import (
    everywhere,
    generator,
    grid,
    labels_of,
    lookup_table,
    noise,
    planted_circuit,
    same_on_stacks,
    slow_cross_entropy,
    slow_restricted_logits,
    wave,
)

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.circuits.restricted import logit_circuit, restricted_losses, together
from circuitgrok.measures.circuits.unseen import (
    few_sums,
    is_sparse,
    restricted_accuracy_unseen,
    restricted_loss_blank,
    restricted_loss_unseen,
    why_undefined,
)
from circuitgrok.measures.spectra.sum_waves import sum_logits, sum_logits_where

CASES = [(5, [1]), (5, [1, 2]), (7, [1, 3]), (8, [1, 4]), (9, [3, 4]), (9, [1, 2, 3, 4]), (13, [2, 6])]
P, SIZES, SEEDS = 97, (1, 2, 5, 10, 24, 40, 48), 5  # the look-up table's: of 48 frequencies


def some_unseen(p, seed=0):
    """About half of the pairs, and their mirrors; each sum occurs, since a pair (a, a) of each is among them."""
    drawn = torch.rand(p, p, generator=generator(seed)) < 0.3
    diagonal = torch.eye(p, dtype=torch.bool)
    return (drawn | drawn.T | diagonal).flatten()


def random_set(p, n, seed=0):
    return torch.randperm(p // 2, generator=generator(seed))[:n] + 1


def published_loss(logits, labels, keys, where):
    """Restricted loss, where dense projections would be too slow."""
    return restricted_losses(together(logit_circuit(logits, keys)), labels)[0, where].mean()


def slow_fit(logits, freqs, unseen):
    """A least-squares fit over the unseen pairs, one row for each of them."""
    p = logits.shape[-1]
    a, b = (x.flatten() for x in grid(p, 2))
    columns = [torch.ones(p * p).double(), *(wave(k, a + b, p, f) for k in freqs for f in (0.0, -math.pi / 2))]
    columns = torch.stack([column for column in columns if column.norm() > 1e-6], dim=1)
    return columns @ torch.linalg.lstsq(columns[unseen], logits[unseen]).solution


def slow_unseen(logits, freqs, unseen):
    """The loss of that fit."""
    return slow_cross_entropy(slow_fit(logits, freqs, unseen), labels_of(logits.shape[-1]), unseen)


# The look-up table: what the docstring of `restricted_losses` says of it


@pytest.fixture(scope="module")
def tables():
    return [lookup_table(P, seed=seed) for seed in range(SEEDS)]


@pytest.mark.parametrize("n", SIZES)
def test_a_look_up_table_has_no_less_than_chance_from_unseen_pairs_whatever_the_key_set(tables, n):
    losses = torch.stack(
        [restricted_loss_unseen(table, labels_of(P), random_set(P, n), unseen) for table, unseen in tables]
    )
    assert losses.min() > math.log(P)  # the bound is on the mean; here each keeps it


@for_each(("n", "said"), [(5, "2"), (10, "0.5"), (24, "0.0009"), (48, "6e-09")])
def test_the_published_loss_of_a_look_up_table_on_pairs_it_does_not_know_is_what_the_docstring_says(tables, n, said):
    table, unseen = tables[0]
    loss = published_loss(table, labels_of(P), random_set(P, n), unseen).item()
    assert f"{loss:.1g}" == said


@pytest.mark.parametrize("n", SIZES)
def test_the_published_loss_of_a_look_up_table_is_no_less_than_its_blank_and_most_of_chance_is_in_neither(tables, n):
    keys, labels = random_set(P, n), labels_of(P)
    published = torch.stack([published_loss(table, labels, keys, everywhere(P)) for table, _ in tables])
    blank = torch.stack([restricted_loss_blank(x, labels, keys, unseen, everywhere(P)) for x, unseen in tables])
    assert bool((published >= blank).all())
    if n >= 24:  # half of the frequencies: a hundredth of chance is left
        assert published.max() < 0.01 * math.log(P)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_answers_without_information_cost_at_least_chance_in_the_mean(n):
    """4 standard errors over 400 draws; at scale .1 the excess over ln p is of the second order."""
    p, labels, keys, unseen = 13, labels_of(13), random_set(13, n), some_unseen(13)
    for scale in (0.1, 3.0):
        losses = restricted_loss_unseen(scale * noise(400, p * p, p), labels, keys, unseen)
        assert losses.mean() > math.log(p) - 4 * losses.std() / 20


# Closed forms


@for_each(("p", "freqs"), CASES)
def test_a_planted_circuit_loses_nothing_from_unseen_pairs(p, freqs):
    logits, labels = planted_circuit(p, freqs)
    unseen, keys = some_unseen(p), torch.tensor(freqs)
    loss = restricted_loss_unseen(logits, labels, keys, unseen)
    # Fits are off by eps times the logits (16) and the condition of the weights, a square root of at most p.
    torch.testing.assert_close(loss, cross_entropy(logits, labels)[unseen].mean(), rtol=0, atol=1e-12)
    torch.testing.assert_close(loss, published_loss(logits, labels, keys, unseen), rtol=0, atol=1e-12)


@for_each("n", range(7))
def test_memories_of_training_pairs_are_not_seen_at_all(n):
    p, labels, unseen, keys = 13, labels_of(13), some_unseen(13), random_set(13, n)
    known = 30 * torch.nn.functional.one_hot(labels, p).double()
    for on_unseen in (torch.zeros(p * p, p).double(), planted_circuit(p, [2, 5])[0], noise(p * p, p)):
        table = torch.where(unseen[:, None], on_unseen, known)
        losses = [restricted_loss_unseen(x, labels, keys, unseen).item() for x in (table, on_unseen)]
        assert losses[0] == losses[1]
    silent = torch.where(unseen[:, None], 0.0, known)
    assert restricted_loss_unseen(silent, labels, keys, unseen).item() == pytest.approx(math.log(p), rel=1e-14)


def test_unseen_pairs_that_are_all_off_by_one_cost_what_the_formula_says():
    p, s, labels, unseen = 13, 3.0, labels_of(13), some_unseen(13)
    wrong = s * torch.nn.functional.one_hot((labels + 1) % p, p).double()
    loss = restricted_loss_unseen(wrong, labels, torch.arange(1, 7), unseen).item()
    assert loss == pytest.approx(math.log(math.exp(s) + p - 1), abs=1e-12)


@for_each("far", [1, 2, 5])
def test_blanking_a_circuit_shrinks_its_margins_to_the_share_of_seen_pairs(far):
    """Of each sum one pair has each distance a - b: leaving out 2 far + 1 distances leaves p - 2 far - 1 pairs."""
    p, freqs = 13, torch.tensor([2, 5])
    a, b = grid(p, 2)
    distance = ((a - b) % p).flatten()
    unseen = (distance <= far) | (distance >= p - far)
    logits, labels = planted_circuit(p, [2, 5])
    share = (p - 2 * far - 1) / p
    blank = restricted_loss_blank(logits, labels, freqs, unseen, everywhere(p))
    expected = cross_entropy(share * logits, labels)[everywhere(p)].mean()
    torch.testing.assert_close(blank, expected, rtol=0, atol=1e-13)


# Second implementations


@for_each(("p", "freqs"), CASES)
def test_the_fit_is_dense_least_squares_over_the_unseen_pairs(p, freqs):
    logits, unseen = 3 * noise(p * p, p, seed=p), some_unseen(p)
    loss = restricted_loss_unseen(logits, labels_of(p), torch.tensor(freqs), unseen).item()
    assert loss == pytest.approx(slow_unseen(logits, freqs, unseen), rel=1e-10)


@for_each(("p", "freqs"), CASES)
def test_accuracy_counts_the_unseen_pairs_whose_largest_fitted_logit_is_right(p, freqs):
    labels, unseen = labels_of(p), some_unseen(p)
    logits = 2 * noise(p * p, p, seed=p) + 0.5 * torch.eye(p)[labels]
    right = (slow_fit(logits, freqs, unseen).argmax(-1) == labels)[unseen].double().mean().item()
    found = restricted_accuracy_unseen(logits, labels, torch.tensor(freqs), unseen)
    assert found.item() == pytest.approx(right, abs=1e-12)
    assert 0 < right < 1 or p < 9  # neither all nor none, so that a wrong count would show


@for_each(("p", "freqs"), CASES)
def test_with_every_pair_unseen_it_is_the_published_loss_and_nothing_is_left_of_the_blank(p, freqs):
    logits, labels, keys, every = 3 * noise(p * p, p), labels_of(p), torch.tensor(freqs), everywhere(p)
    loss = restricted_loss_unseen(logits, labels, keys, every)
    torch.testing.assert_close(loss, published_loss(logits, labels, keys, every), rtol=1e-12, atol=0)
    blank = restricted_loss_blank(logits, labels, keys, every, every).item()
    assert blank == pytest.approx(math.log(p), rel=1e-14)


@for_each(("p", "freqs"), CASES)
def test_blank_is_the_dense_projection_of_blanked_logits(p, freqs):
    logits, labels, unseen = 3 * noise(p * p, p, seed=p), labels_of(p), some_unseen(p)
    where = torch.rand(p * p, generator=generator(1)) < 0.5
    blanked = torch.where(unseen[:, None], logits.mean(-1, keepdim=True), logits)
    expected = slow_cross_entropy(slow_restricted_logits(blanked, freqs), labels, where)
    blank = restricted_loss_blank(logits, labels, torch.tensor(freqs), unseen, where).item()
    assert blank == pytest.approx(expected, rel=1e-10)


def test_sums_over_picked_pairs_agree_with_blanked_logits_and_pass_nan_over_where_it_is_not_picked():
    p, unseen = 7, some_unseen(7)
    logits = noise(49, 7)
    expected = p * sum_logits(torch.where(unseen[:, None], logits, 0.0))
    spoiled = torch.where(unseen[:, None], logits, torch.nan)
    torch.testing.assert_close(sum_logits_where(spoiled, unseen), expected, rtol=0, atol=1e-14)


def test_stacks_and_vmap_give_what_single_networks_give():
    labels, keys, unseen = labels_of(7), torch.tensor([3, 1]), some_unseen(7)
    for loss in (
        lambda x: restricted_loss_unseen(x, labels, keys, unseen),
        lambda x: restricted_accuracy_unseen(x, labels, keys, unseen),
        lambda x: restricted_loss_blank(x, labels, keys, unseen, everywhere(7)),
    ):
        logits = noise(2, 2, 49, 7).float()
        assert loss(logits).dtype == torch.float64
        same_on_stacks(loss, logits)


# Where it is not defined


def of_sums(p, n):
    """The pairs of the first n sums."""
    return labels_of(p) < n


@for_each("n", range(1, 6))
def test_for_prime_p_as_many_sums_as_waves_and_the_constant_are_enough(n):
    p, logits, labels = 11, planted_circuit(11, [1])[0], labels_of(11)
    keys = random_set(p, n, seed=n)
    for sums, is_few in ((2 * n, True), (2 * n + 1, False)):
        unseen = of_sums(p, sums)
        assert few_sums(keys, unseen) == is_few
        assert bool(restricted_loss_unseen(logits, labels, keys, unseen).isnan()) == is_few
        reason = why_undefined(keys, unseen).get("restricted_loss_unseen")
        if is_few:
            assert reason is not None and f"the {p * sums} unseen pairs have too few" in reason
        else:
            assert reason is None


def test_for_other_moduli_the_rank_of_the_waves_decides():
    keys = torch.tensor([4])  # of 8: cos(pi t) is one wave, and constant on the even sums
    even = labels_of(8) % 2 == 0
    assert few_sums(keys, even) and not few_sums(keys, of_sums(8, 2))


def test_without_unseen_pairs_there_is_no_number_and_the_reason_says_so():
    logits, labels, none = noise(2, 25, 5), labels_of(5), ~everywhere(5)
    assert restricted_loss_unseen(logits, labels, torch.tensor([1]), none).isnan().tolist() == [True, True]
    assert why_undefined(torch.tensor([1]), none)["restricted_loss_unseen"].startswith("no pair is unseen")


@for_each("p", [5, 8, 11, 13, 97])
def test_a_spectrum_is_sparse_as_long_as_there_are_as_many_other_frequencies(p):
    m = p // 2
    for n in range(m + 1):
        keys = random_set(p, n)
        assert is_sparse(keys, p) == (m - n >= n)
        controls = {"restricted_loss_random", "restricted_loss_random_sd", "excluded_loss_random"}
        assert (controls <= set(why_undefined(keys, everywhere(p)))) != is_sparse(keys, p)


def test_what_is_no_frequency_and_the_class_of_equals_are_refused():
    logits, every = noise(25, 5), everywhere(5)
    with pytest.raises(ValueError, match=r"distinct integers in 1..2 for p = 5; got \[3\]"):
        restricted_loss_unseen(logits, labels_of(5), torch.tensor([3]), every)
    with pytest.raises(ValueError, match=r"without the class of '='; got \[25, 6\]"):
        restricted_loss_blank(noise(25, 6), labels_of(5), torch.tensor([1]), every, every)
    with pytest.raises(ValueError, match="at least one pair"):
        restricted_loss_blank(logits, labels_of(5), torch.tensor([1]), every, ~every)
