"""Learning coefficients: theorems against each other, against ranks of orbits, and as listed."""

import itertools
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from loops import for_each

from circuitgrok.exact.learning_coefficients import (
    deep_linear_network_llc,
    normal_crossing_llc,
    reduced_rank_regression_llc,
)
from circuitgrok.exact.potentials import POTENTIALS


def truths(largest, layers):
    """All networks with widths up to `largest`, and all ranks they can have."""
    for widths in itertools.product(range(1, largest + 1), repeat=layers):
        for rank in range(min(widths) + 1):
            yield widths, rank


@st.composite
def networks(draw):
    widths = draw(st.lists(st.integers(1, 12), min_size=2, max_size=6))
    return widths, draw(st.integers(0, min(widths)))


# Second implementations


def slow_deep_linear_network_llc(widths, rank):
    """Aoyagi's theorem as she states it: the smallest l whose l + 1 narrowest layers satisfy both conditions."""
    excess = sorted(width - rank for width in widths)
    for ell in range(1, len(excess)):
        inside, outside = excess[: ell + 1], excess[ell + 1 :]
        if sum(inside) >= ell * max(inside) and (not outside or sum(inside) < ell * min(outside)):
            break
    else:
        raise AssertionError(f"no layers satisfy the conditions for {widths}, {rank}")
    big_m = -(-sum(inside) // ell)
    a = sum(inside) - (big_m - 1) * ell
    pairs = sum(x * y for x, y in itertools.combinations(inside, 2))
    llc = Fraction(rank * (widths[0] + widths[-1]) - rank**2, 2) + Fraction(a * (ell - a), 4 * ell)
    llc += Fraction(pairs, 2) - Fraction(ell * (ell - 1), 4) * Fraction(sum(inside), ell) ** 2
    return llc, a * (ell - a) + 1


def normal_forms(widths):
    """Of chains of matrices up to a change of basis in each layer: how many units live from layer i to layer j.

    Each comes as (how many live from the first layer to the last, the list of matrices).
    """
    lives = [(i, j) for i in range(len(widths)) for j in range(i, len(widths))]

    def counts(which, room):
        if which == len(lives):
            if not any(room):
                yield []
            return
        i, j = lives[which]
        for count in range(min(room[i : j + 1]) + 1):
            left = [free - count if i <= s <= j else free for s, free in enumerate(room)]
            yield from ([count, *rest] for rest in counts(which + 1, left))

    for form in counts(0, list(widths)):
        matrices, used = [np.zeros((after, before)) for before, after in itertools.pairwise(widths)], [0] * len(widths)
        for (i, j), count in zip(lives, form, strict=True):
            for _ in range(count):
                for s in range(i, j):
                    matrices[s][used[s + 1], used[s]] = 1
                for s in range(i, j + 1):
                    used[s] += 1
        yield form[lives.index((0, len(widths) - 1))], matrices


def orbit_dimension(matrices, widths):
    """Rank of (g_0, .., g_L) -> (g_s W_s - W_s g_(s-1)): the directions in which changes of basis move the chain."""
    columns = []
    for layer, width in enumerate(widths):
        for unit in np.eye(width * width):
            g = unit.reshape(width, width)
            moved = [np.zeros_like(matrix) for matrix in matrices]
            if layer > 0:
                moved[layer - 1] = g @ matrices[layer - 1]
            if layer < len(matrices):
                moved[layer] = -matrices[layer] @ g
            columns.append(np.concatenate([block.ravel() for block in moved]))
    return np.linalg.matrix_rank(np.array(columns))


def smallest_codimension(widths):
    """For each rank r, of the set of chains whose product is one given matrix of rank r.

    Chains of rank r are finitely many orbits, and each lies evenly over the matrices of rank r, of which there are
    r (H_0 + H_L - r) dimensions: the largest orbit, less these, is the dimension of what lies over one of them.
    """
    parameters = sum(before * after for before, after in itertools.pairwise(widths))
    largest = {}
    for rank, matrices in normal_forms(widths):
        fibre = orbit_dimension(matrices, widths) - rank * (widths[0] + widths[-1] - rank)
        largest[rank] = max(fibre, largest.get(rank, 0))
    return {rank: parameters - dimension for rank, dimension in largest.items()}


def test_two_theorems_agree_on_all_two_layer_networks_up_to_width_eight():
    cases = list(truths(8, layers=3))
    assert len(cases) == 1808
    for (n_in, n_hidden, n_out), rank in cases:
        expected = deep_linear_network_llc([n_in, n_hidden, n_out], rank)
        assert reduced_rank_regression_llc(n_in, n_hidden, n_out, rank) == expected


@for_each(("largest", "layers"), [(6, 2), (5, 4), (3, 5)])
def test_the_rearranged_theorem_is_the_stated_one(largest, layers):
    for widths, rank in truths(largest, layers):
        assert deep_linear_network_llc(widths, rank) == slow_deep_linear_network_llc(widths, rank)


@for_each(("largest", "layers"), [(4, 2), (3, 3), (3, 4), (2, 5)])
def test_lambda_is_half_the_codimension_of_the_solutions(largest, layers):
    for widths in itertools.product(range(1, largest + 1), repeat=layers):
        if widths > widths[::-1]:
            continue  # transposed; that nothing changes is tested below
        codimension = smallest_codimension(widths)
        assert sorted(codimension) == list(range(min(widths) + 1))
        for rank, half in codimension.items():
            assert deep_linear_network_llc(widths, rank).llc == Fraction(int(half), 2), (widths, rank)


# Listed values


@for_each(
    ("widths", "rank", "llc", "multiplicity"),
    [
        ([5, 3, 5], 0, Fraction(13, 2), 2),
        ([4, 3, 8], 0, 6, 1),
        ([10, 10, 10], 1, 40, 2),
        ([10, 10, 10, 10], 3, 42, 3),
        ([8, 8, 8, 8, 8], 2, Fraction(51, 2), 5),
    ],
)
def test_listed_values(widths, rank, llc, multiplicity):
    assert deep_linear_network_llc(widths, rank) == (llc, multiplicity)


@for_each(
    ("widths", "rank", "llc"),
    [
        ((2, 2, 2), 2, 2),  # all of the hidden layer in use: regular, 4 of 8
        ((2, 2, 7), 0, 2),  # M + H < N + r: the first layer's HM / 2
        ((7, 2, 2), 0, 2),  # N + H < M + r
        ((2, 9, 3), 1, 3),  # M + N < H + r: as if there were no hidden layer
        ((3, 1, 1), 1, Fraction(3, 2)),  # A (3) is found up to B (1)
    ],
)
def test_each_case_of_reduced_rank_regression_by_hand(widths, rank, llc):
    n_in, n_hidden, n_out = widths
    assert reduced_rank_regression_llc(n_in, n_hidden, n_out, rank) == (llc, 1)


def test_a_regular_model_has_half_its_parameters():
    for n_in, n_out in itertools.product(range(1, 6), repeat=2):
        for rank in range(min(n_in, n_out) + 1):
            assert deep_linear_network_llc([n_in, n_out], rank) == (Fraction(n_in * n_out, 2), 1)


@for_each("layers", [2, 3, 4, 7])
def test_a_chain_of_single_weights_is_a_normal_crossing(layers):
    single = [1] * (layers + 1)
    assert deep_linear_network_llc(single, 0) == normal_crossing_llc([1] * layers) == (Fraction(1, 2), layers)
    assert deep_linear_network_llc(single, 1) == (Fraction(1, 2), 1)  # off the crossing: one condition
    cross = POTENTIALS["x^2 y^2"]
    assert deep_linear_network_llc([1, 1, 1], 0) == (cross.llc, cross.multiplicity)


# Invariances and bounds


@given(networks(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_hidden_layers_and_the_direction_do_not_matter(network, random):
    widths, rank = network
    expected = deep_linear_network_llc(widths, rank)
    hidden = widths[1:-1]
    random.shuffle(hidden)
    assert deep_linear_network_llc([widths[0], *hidden, widths[-1]], rank) == expected
    assert deep_linear_network_llc(widths[::-1], rank) == expected


@given(networks(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_all_layers_matters_through_the_two_ends_alone(network, random):
    widths, rank = network
    shuffled = random.sample(widths, len(widths))
    before, after = deep_linear_network_llc(widths, rank), deep_linear_network_llc(shuffled, rank)
    ends = Fraction(rank * (shuffled[0] + shuffled[-1] - widths[0] - widths[-1]), 2)
    assert after == (before.llc + ends, before.multiplicity)


@given(networks())
@settings(max_examples=60, deadline=None)
def test_rank_comes_off_every_layer(network):
    widths, rank = network
    if rank < min(widths):
        bare = deep_linear_network_llc([width - rank for width in widths], 0)
        regular = Fraction(rank * (widths[0] + widths[-1] - rank), 2)
        assert deep_linear_network_llc(widths, rank) == (bare.llc + regular, bare.multiplicity)


@given(networks(), st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_another_layer_as_wide_as_all_others_together_is_free(network, more):
    widths, rank = network
    wider = [widths[0], sum(widths) + more, *widths[1:]]
    assert deep_linear_network_llc(wider, rank) == deep_linear_network_llc(widths, rank)


@given(networks())
@settings(max_examples=60, deadline=None)
def test_lambda_is_at_most_half_the_parameters_and_half_the_entries_of_the_product(network):
    widths, rank = network
    llc, multiplicity = deep_linear_network_llc(widths, rank)
    parameters = sum(before * after for before, after in itertools.pairwise(widths))
    assert 0 < llc <= Fraction(min(parameters, widths[0] * widths[-1]), 2)
    assert 1 <= multiplicity <= parameters


@given(networks())
@settings(max_examples=60, deadline=None)
def test_lambda_grows_with_the_rank_of_the_truth(network):
    widths, rank = network
    if rank < min(widths):
        assert deep_linear_network_llc(widths, rank).llc <= deep_linear_network_llc(widths, rank + 1).llc


# Normal crossings


@for_each(
    ("exponents", "prior", "expected"),
    [
        ([1], None, (Fraction(1, 2), 1)),
        ([1, 1, 1], None, (Fraction(1, 2), 3)),
        ([1, 2, 2], None, (Fraction(1, 4), 2)),
        ([1, 3, 0], None, (Fraction(1, 6), 1)),  # a coordinate that is not in K does not count
        ([1, 1], [0, 1], (Fraction(1, 2), 1)),
        ([1, 2], [0, 1], (Fraction(1, 2), 2)),
        ([1], [1], (1, 1)),  # x^2 + y^2 = r^2 with area r dr
    ],
)
def test_normal_crossings_by_hand(exponents, prior, expected):
    assert normal_crossing_llc(exponents, prior) == expected


# Refusals


@for_each(("exponents", "prior"), [([], None), ([0, 0], None), ([1, -1], None), ([1], [-1])])
def test_exponents_that_are_negative_or_all_zero_are_refused(exponents, prior):
    with pytest.raises(ValueError, match="exponents must be 0 or more and not all 0; got"):
        normal_crossing_llc(exponents, prior)


def test_prior_exponents_of_another_number_are_refused():
    with pytest.raises(ValueError, match="as many prior exponents as exponents; got 1 and 2"):
        normal_crossing_llc([1, 2], [0])


@for_each("rank", [-1, 4])
def test_a_rank_that_the_network_cannot_have_is_refused(rank):
    with pytest.raises(ValueError, match=rf"rank must be in 0\.\.3 for widths \[5, 3, 5\]; got {rank}"):
        reduced_rank_regression_llc(5, 3, 5, rank)
    with pytest.raises(ValueError, match=rf"rank must be in 0\.\.3 for widths \[5, 3, 5\]; got {rank}"):
        deep_linear_network_llc([5, 3, 5], rank)


@for_each("widths", [[], [3], [3, 0, 3], [3, -1]])
def test_widths_that_are_no_network_are_refused(widths):
    with pytest.raises(ValueError, match="two or more widths, all positive"):
        deep_linear_network_llc(widths, 0)
