"""Representations: the laws of a group and of its irreps, character tables by hand, cubes of traces the slow way."""

import itertools
import math

import pytest
import torch
from loops import for_each
from oracles import generator, noise, planted_circuit, same_on_stacks

from circuitgrok.measures.circuits.explained import cosine_coefficients
from circuitgrok.measures.parts.representations import (
    irrep_energy,
    logit_irrep_share,
    logit_trace_similarity,
    product_table,
)
from circuitgrok.measures.spectra.fourier import frequency_power, logit_spectrum
from circuitgrok.tasks.finite_groups import (
    Group,
    cyclic_group,
    dihedral_group,
    partitions,
    standard_tableaux,
    symmetric_group,
    young_orthogonal,
)

EPS = torch.finfo(torch.float64).eps
# A matrix of S_5 is a product of up to 10 swaps, of S_6 up to 15, each an orthogonal matrix of order up to 16: its
# entries are off by less than 15 * 16 eps. Traces and products of two are off by a few times as much.
EXACT = 1000 * EPS
GROUPS = {
    **{f"S_{n}": symmetric_group(n) for n in (2, 3, 4, 5)},
    **{f"Z_{p}": cyclic_group(p) for p in (3, 4, 7, 10)},
    **{f"D_{n}": dihedral_group(n) for n in (3, 4, 5, 8, 9)},
}
SMALL = {name: group for name, group in GROUPS.items() if group.order <= 24}
each_group = for_each("group", GROUPS.values(), ids=GROUPS.keys())
each_small_group = for_each("group", SMALL.values(), ids=SMALL.keys())


def trace_cube(group: Group, name: str) -> torch.Tensor:
    """tr rho(a b c^-1) for all a, b, c, by products of the matrices themselves: [pair c]."""
    rho = group.irreps[name]
    cube = torch.einsum("aij,bjk,cik->abc", rho, rho, rho)  # rho(c^-1) is the transpose of rho(c)
    return cube.reshape(-1, group.order)


def random_logits(group: Group, seed: int = 0) -> torch.Tensor:
    return noise(group.order**2, group.order, seed=seed)


# Partitions, tableaux, permutations


def test_partitions_are_counted_right_and_come_largest_first():
    assert [len(partitions(n)) for n in range(11)] == [1, 1, 2, 3, 5, 7, 11, 15, 22, 30, 42]
    for n in range(1, 9):
        found = partitions(n)
        assert all(sum(parts) == n and list(parts) == sorted(parts, reverse=True) for parts in found)
        assert found == sorted(set(found), reverse=True)


@for_each("shape", [shape for n in range(1, 8) for shape in partitions(n)])
def test_standard_tableaux_are_as_many_as_the_hook_lengths_say_and_grow(shape):
    columns = [sum(length > column for length in shape) for column in range(shape[0])]
    hooks = [shape[row] - column + columns[column] - row - 1 for row, at in enumerate(shape) for column in range(at)]
    found = standard_tableaux(shape)
    assert len(set(found)) == len(found) == math.factorial(sum(shape)) // math.prod(hooks)
    for cells in found:
        number = {cell: i for i, cell in enumerate(cells)}
        assert sorted(number) == [(row, column) for row, length in enumerate(shape) for column in range(length)]
        for (row, column), i in number.items():
            assert number.get((row - 1, column), -1) < i and number.get((row, column - 1), -1) < i


@for_each("n", [2, 3, 4])
def test_product_of_permutations_is_the_second_followed_by_the_first(n):
    group = symmetric_group(n)
    elements = [tuple(g) for g in group.elements.tolist()]
    assert elements == list(itertools.permutations(range(n)))
    for a, b in itertools.product(range(group.order), repeat=2):
        assert elements[group.table[a, b]] == tuple(elements[a][elements[b][x]] for x in range(n))


@each_group
def test_table_is_that_of_a_group(group):
    everything = torch.arange(group.order)
    assert torch.equal(group.table[0], everything) and torch.equal(group.table[:, 0], everything)
    assert torch.equal(group.table[everything, group.inverses], torch.zeros_like(everything))
    for a in everything:
        assert torch.equal(group.table[group.table[a]], group.table[a][group.table])  # (a b) c = a (b c)


@for_each("n", [1, 7])
def test_other_symmetric_groups_are_refused(n):
    with pytest.raises(ValueError, match=f"n must be in 2..6, .* got {n}"):
        symmetric_group(n)


# Irreps


@each_group
def test_irreps_are_homomorphisms_to_orthogonal_matrices(group):
    if group.order <= 24:
        a, b = (x.flatten() for x in torch.meshgrid(*[torch.arange(group.order)] * 2, indexing="ij"))
    else:
        a, b = torch.randint(group.order, (2, 1000), generator=generator(0))
    for rho in group.irreps.values():
        torch.testing.assert_close(rho[a] @ rho[b], rho[group.table[a, b]], rtol=0, atol=EXACT)
        torch.testing.assert_close(rho[a].mT, rho[group.inverses[a]], rtol=0, atol=EXACT)


def test_young_form_of_the_two_dimensional_irrep_of_three_letters_by_hand():
    h, s = 0.5, math.sqrt(3) / 2
    wanted = [  # 012, 021, 102, 120, 201, 210 in the basis of the tableaux 02/1 and 01/2
        [[1, 0], [0, 1]],
        [[h, s], [s, -h]],
        [[-1, 0], [0, 1]],
        [[-h, -s], [s, -h]],
        [[-h, s], [-s, -h]],
        [[h, -s], [-s, -h]],
    ]
    torch.testing.assert_close(
        young_orthogonal((2, 1)), torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=4 * EPS
    )


# One permutation of each class, and the traces of each irrep there.
CHARACTERS = {
    3: ([(0, 1, 2), (1, 0, 2), (1, 2, 0)], {"3": [1, 1, 1], "2+1": [2, 0, -1], "1+1+1": [1, -1, 1]}),
    4: (
        [(0, 1, 2, 3), (1, 0, 2, 3), (1, 0, 3, 2), (1, 2, 0, 3), (1, 2, 3, 0)],
        {
            "4": [1, 1, 1, 1, 1],
            "3+1": [3, 1, -1, 0, -1],
            "2+2": [2, 0, 2, -1, 0],
            "2+1+1": [3, -1, -1, 0, 1],
            "1+1+1+1": [1, -1, 1, 1, -1],
        },
    ),
    5: (
        [(0, 1, 2, 3, 4), (1, 0, 2, 3, 4), (1, 0, 3, 2, 4), (1, 2, 0, 3, 4), (1, 2, 0, 4, 3), (1, 2, 3, 0, 4)]
        + [(1, 2, 3, 4, 0)],
        {
            "5": [1, 1, 1, 1, 1, 1, 1],
            "4+1": [4, 2, 0, 1, -1, 0, -1],
            "3+2": [5, 1, 1, -1, 1, -1, 0],
            "3+1+1": [6, 0, -2, 0, 0, 0, 1],
            "2+2+1": [5, -1, 1, -1, -1, 1, 0],
            "2+1+1+1": [4, -2, 0, 1, 1, 0, -1],
            "1+1+1+1+1": [1, -1, 1, 1, -1, -1, 1],
        },
    ),
}


@for_each(("n", "wanted"), CHARACTERS.items())
def test_characters_are_those_of_the_tables(n, wanted):
    representatives, table = wanted
    group = symmetric_group(n)
    elements = [tuple(g) for g in group.elements.tolist()]
    rows = group.characters[:, [elements.index(g) for g in representatives]]
    assert list(group.irreps) == list(table)
    torch.testing.assert_close(rows, torch.tensor(list(table.values())).double(), rtol=0, atol=EXACT)


@for_each("n", [2, 3, 4, 5, 6])
def test_characters_and_matrix_elements_of_a_symmetric_group_are_orthonormal(n):
    group = symmetric_group(n)
    gram = group.characters @ group.characters.T / group.order
    torch.testing.assert_close(gram, torch.eye(len(gram)).double(), rtol=0, atol=EXACT)
    schur = group.fourier @ group.fourier.T
    torch.testing.assert_close(schur, torch.eye(group.order).double(), rtol=0, atol=EXACT)


@each_group
def test_rows_of_an_irrep_project_and_different_irreps_project_on_different_functions(group):
    sizes = [rho.shape[1] ** 2 for rho in group.irreps.values()]
    projectors = [rows.T @ rows for rows in group.fourier.split(sizes)]
    for one, other in itertools.product(projectors, repeat=2):
        wanted = one if one is other else torch.zeros_like(one)
        torch.testing.assert_close(one @ other, wanted, rtol=0, atol=EXACT)
    torch.testing.assert_close(sum(projectors), torch.eye(group.order).double(), rtol=0, atol=EXACT)


# Energies


@each_group
def test_energies_of_a_table_add_up_to_its_sum_of_squares(group):
    table = noise(group.order, 5, seed=1)
    energy = irrep_energy(table, group)
    assert energy.shape == (len(group.irreps),) and (energy >= 0).all()
    torch.testing.assert_close(energy.sum(), table.square().sum(), rtol=EXACT, atol=0)


@each_small_group
def test_energy_is_that_of_the_convolution_with_the_character(group):
    table = noise(group.order, 3, seed=2)
    quotient = group.table[:, group.inverses]  # [g h]: g h^-1
    for energy, rho, character in zip(irrep_energy(table, group), group.irreps.values(), group.characters, strict=True):
        part = rho.shape[1] / character.square().sum() * character[quotient] @ table
        torch.testing.assert_close(energy, part.square().sum(), rtol=1e-12, atol=1e-13)


@each_group
def test_matrix_elements_carry_no_irrep_but_their_own(group):
    for i, rho in enumerate(group.irreps.values()):
        planted = rho.flatten(1) @ noise(rho.shape[1] ** 2, 4, seed=i)
        energy = irrep_energy(planted, group)
        wanted = torch.zeros_like(energy)
        wanted[i] = planted.square().sum()
        torch.testing.assert_close(energy, wanted, rtol=0, atol=EXACT * wanted[i].item())


@for_each("p", [3, 4, 7, 10, 13])
def test_irreps_of_a_cyclic_group_are_its_frequencies(p):
    table = noise(2, p, 6)
    energy = irrep_energy(table, cyclic_group(p))
    constant = p * table.mean(1).square().sum(-1)
    wanted = torch.cat([constant[:, None], frequency_power(table)], dim=1)
    torch.testing.assert_close(energy, wanted, rtol=1e-12, atol=1e-13)


@each_small_group
def test_product_table_is_the_mean_over_pairs_of_equal_product(group):
    grid = noise(2, group.order**2, 3, seed=6)
    product = group.table.flatten()
    slow = torch.stack([grid[:, product == g].mean(1) for g in range(group.order)], dim=1)
    torch.testing.assert_close(product_table(grid, group), slow, rtol=0, atol=100 * EPS)


# Logits


@each_group
def test_planted_traces_are_similar_to_their_own_irrep_and_to_no_other(group):
    names = list(group.irreps)
    for i, name in enumerate(names[1:], start=1):
        logits = 3 * trace_cube(group, name) + 5
        wanted = torch.zeros(len(names), dtype=torch.float64)
        wanted[i] = 1
        torch.testing.assert_close(logit_trace_similarity(logits, group), wanted, rtol=0, atol=1e-12)
        torch.testing.assert_close(logit_trace_similarity(-logits, group), -wanted, rtol=0, atol=1e-12)
        torch.testing.assert_close(logit_irrep_share(logits, group), wanted, rtol=0, atol=1e-12)


@each_small_group
def test_trace_similarity_is_the_cosine_with_the_cube_of_traces(group):
    logits = random_logits(group) + 0.5 * trace_cube(group, list(group.irreps)[-1]) + noise(group.order**2, 1, seed=9)
    centred = (logits - logits.mean(-1, keepdim=True)).flatten()
    cosines = []
    for name in group.irreps:
        cube = trace_cube(group, name).flatten()
        cosines.append(torch.dot(centred, cube) / (centred.norm() * cube.norm()))
    torch.testing.assert_close(logit_trace_similarity(logits, group), torch.stack(cosines), rtol=0, atol=1e-13)


@each_small_group
def test_irrep_share_is_that_of_the_projection_on_its_functions_of_the_product(group):
    logits = random_logits(group, seed=1) + 0.3 * trace_cube(group, list(group.irreps)[1])
    centred = logits - logits.mean(-1, keepdim=True)
    product, shares = group.table.flatten(), []
    for rho in group.irreps.values():
        left, size, _ = torch.linalg.svd(rho[product].flatten(1), full_matrices=False)
        left = left[:, size > 1e-6]
        shares.append((left.T @ centred).square().sum() / centred.square().sum())
    torch.testing.assert_close(logit_irrep_share(logits, group), torch.stack(shares), rtol=0, atol=1e-13)


def test_right_answers_hold_every_irrep_by_the_square_of_its_dimension():
    group = symmetric_group(5)
    onehot = torch.eye(120, dtype=torch.float64)[group.table.flatten()]
    squares = torch.tensor([rho.shape[1] ** 2 for rho in group.irreps.values()]).double() / 119
    squares[0] = 0  # softmax does not see the constant
    torch.testing.assert_close(logit_trace_similarity(onehot, group).square(), squares, rtol=0, atol=1e-13)
    torch.testing.assert_close(logit_irrep_share(onehot, group), squares, rtol=0, atol=1e-13)


@for_each("p", [5, 8, 13])
def test_trace_similarity_of_a_cyclic_group_is_the_fit_by_cosines(p):
    logits = planted_circuit(p, [1, 2], scale=0.3)[0] + noise(p * p, p)
    centred = logits - logits.mean(-1, keepdim=True)
    norms = torch.tensor([p**3 if 2 * k == p else p**3 / 2 for k in range(1, p // 2 + 1)]).double().sqrt()
    wanted = cosine_coefficients(logits) * norms / centred.norm()
    group = cyclic_group(p)
    torch.testing.assert_close(logit_trace_similarity(logits, group)[1:], wanted, rtol=0, atol=1e-13)
    share = logit_spectrum(logits) / centred.square().sum()
    torch.testing.assert_close(logit_irrep_share(logits, group)[1:], share, rtol=0, atol=1e-13)


def test_noise_is_similar_to_nothing():
    group = symmetric_group(4)
    similar = logit_trace_similarity(random_logits(group, seed=3), group)[1:]
    degrees = group.order**2 * (group.order - 1)  # a random unit vector has coordinates of variance 1 / degrees
    assert similar.square().sum() > 0 and (similar.abs() < 4 / math.sqrt(degrees)).all()


def test_logits_without_differences_have_no_share():
    group = symmetric_group(3)
    assert logit_trace_similarity(torch.ones(36, 6), group).isnan().all()
    assert logit_irrep_share(torch.ones(36, 6), group).isnan().all()


# Stacks


def test_stacks_are_measured_one_by_one_and_through_vmap():
    group = symmetric_group(3)
    tables, grids, logits = noise(2, 2, 6, 4), noise(2, 2, 36, 4), noise(2, 2, 36, 6)
    for measure, stack in (
        (irrep_energy, tables),
        (product_table, grids),
        (logit_irrep_share, logits),
        (logit_trace_similarity, logits),
    ):
        same_on_stacks(lambda x, f=measure: f(x, group), stack)
        assert measure(stack.float(), group).dtype == torch.float64


@for_each(
    ("measure", "shape", "message"),
    [
        (irrep_energy, (7, 2), "a group of 6 elements needs 6 rows; got 7"),
        (product_table, (25, 2), "needs 36 pairs; got 25"),
        (logit_irrep_share, (36, 7), "needs 6 classes, without '='; got 7"),
        (logit_trace_similarity, (25, 6), "needs 36 pairs; got 25"),
    ],
)
def test_table_of_another_size_is_refused(measure, shape, message):
    with pytest.raises(ValueError, match=message):
        measure(torch.zeros(shape), symmetric_group(3))
