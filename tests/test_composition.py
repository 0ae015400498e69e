"""Composition: laws of the groups, permutations multiplied by hand, dihedral groups as moves of a polygon."""

import itertools
import math

import pytest
import torch
from loops import for_each

from circuitgrok.tasks.composition import Composition, named_group
from circuitgrok.tasks.finite_groups import cyclic_group, dihedral_group, symmetric_group
from circuitgrok.tasks.modular import ModularAddition

EPS = torch.finfo(torch.float64).eps
NAMES = ["S3", "S4", "S5", "C3", "C10", "D3", "D4", "D7", "D12"]
each_name = for_each("name", NAMES)
each_polygon = for_each("n", [3, 4, 5, 8, 9])


def table_of(name: str) -> torch.Tensor:
    config = Composition(group=name)
    return config.draw().labels.view(config.p, config.p)


# The task


@each_name
def test_labels_are_the_table_of_the_group_which_commutes_if_and_only_if_it_is_cyclic(name):
    table = table_of(name)
    assert torch.equal(table, named_group(name).table) and torch.equal(table, table.T) == name.startswith("C")


def test_most_pairs_of_s5_do_not_commute():
    """By Burnside, commuting pairs are as many as classes of conjugates times elements: 7 * 120 of 14400."""
    table = table_of("S5")
    assert (table == table.T).sum() == 7 * 120


def test_product_in_s5_is_the_second_permutation_followed_by_the_first():
    elements, task = list(itertools.permutations(range(5))), Composition(group="S5").draw()
    assert task.inputs.shape == (14400, 3) and (task.inputs[:, 2] == 120).all()
    for a, b, label in zip(*task.inputs[::37, :2].T.tolist(), task.labels[::37].tolist(), strict=True):
        assert elements[label] == tuple(elements[a][elements[b][x]] for x in range(5))


def test_composition_in_a_cyclic_group_is_modular_addition():
    task = Composition(group="C11", frac_train=0.3, data_seed=2).draw()
    other = ModularAddition(p=11, frac_train=0.3, data_seed=2).draw()
    assert torch.equal(task.inputs, other.inputs) and torch.equal(task.labels, other.labels)
    assert torch.equal(task.is_train, other.is_train) and task.split_hash == other.split_hash


def test_config_says_what_the_trainer_needs():
    config = Composition(group="D7", frac_train=0.3)
    task = config.draw()
    assert (config.p, config.n_classes, config.n_features, config.n_pairs) == (14, 14, None, 196)
    assert config.n_train == task.n_train == int(task.where("train").sum()) == 58
    assert torch.equal(task.where("test"), ~task.is_train) and torch.equal(task.true_labels, task.labels)
    assert config.formula == "a b in D7" and Composition(group="D7", frac_train=0.3).draw() is task
    assert Composition.model_validate_json(config.model_dump_json()) == config
    assert all(field.description for name, field in Composition.model_fields.items() if name != "kind")


@each_name
def test_order_is_known_without_the_group(name):
    assert Composition(group=name).p == named_group(name).order


@for_each("rule", ["nanda", "randperm", "mirror_free"])
def test_smaller_share_at_the_same_seed_is_part_of_the_larger(rule):
    less, more = (Composition(group="C9", frac_train=f, data_seed=1, split=rule).draw() for f in (0.3, 0.6))
    assert not (less.is_train & ~more.is_train).any() and less.n_train < more.n_train


@for_each(
    ("fields", "message"),
    [
        ({"group": "S7"}, r"group must be one of S3\.\.S6, C3\.\.C1000, D3\.\.D500: .* got 'S7'"),
        ({"group": "C2"}, "got 'C2'"),
        ({"group": "D501"}, "got 'D501'"),
        ({"group": "A5"}, "got 'A5'"),
        ({"group": "s5"}, "got 's5'"),
        ({"group": "C011"}, "got 'C011'"),
        (
            {"group": "S3", "split": "mirror_free"},
            "mirror_free is for groups that commute, .* got S3: use nanda or rand",
        ),
        ({"group": "S3", "frac_train": 0.02}, "at least one pair on each side of the split: 0.02 of 36 pairs is 0"),
        ({"frac_train": 1.0}, "frac_train\n.*less than 1"),
        ({"corrupted": 0.1}, "corrupted\n.*Extra inputs"),
    ],
)
def test_value_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Composition.model_validate(fields)


# Dihedral groups


@each_polygon
def test_dihedral_product_moves_the_corners_like_the_second_followed_by_the_first(n):
    group = dihedral_group(n)
    assert len({tuple(images) for images in group.elements.tolist()}) == group.order == 2 * n
    for a, b in itertools.product(range(2 * n), repeat=2):
        assert torch.equal(group.elements[group.table[a, b]], group.elements[a][group.elements[b]])


@each_polygon
def test_dihedral_moves_keep_neighbours_together(n):
    apart = (dihedral_group(n).elements.roll(1, dims=1) - dihedral_group(n).elements) % n
    assert (((apart == 1) | (apart == n - 1)).all(1)).all()  # and there are no others: 2 n images of one side


def test_symmetries_of_a_triangle_are_all_permutations_of_its_corners():
    triangle, letters = dihedral_group(3), symmetric_group(3)
    place = {tuple(images): i for i, images in enumerate(letters.elements.tolist())}
    as_letters = torch.tensor([place[tuple(images)] for images in triangle.elements.tolist()])
    assert torch.equal(letters.table[as_letters][:, as_letters], as_letters[triangle.table])
    characters = {tuple(row) for row in triangle.characters.round().long().tolist()}
    assert characters == {tuple(row) for row in letters.characters[:, as_letters].round().long().tolist()}


@each_polygon
def test_dihedral_irreps_are_all_there_and_do_not_split(n):
    """A character of mean square 1 does not split."""
    group = dihedral_group(n)
    assert len(group.irreps) == (n + 6 if n % 2 == 0 else n + 3) // 2  # the number of classes of conjugates
    assert sum(rho.shape[1] ** 2 for rho in group.irreps.values()) == 2 * n
    ones = torch.ones(len(group.irreps), dtype=torch.float64)
    torch.testing.assert_close(group.characters.square().mean(1), ones, rtol=0, atol=40 * EPS)


@for_each("n", [0, 2])
def test_polygons_have_three_corners(n):
    with pytest.raises(ValueError, match=f"n must be 3 or more, .* got {n}"):
        dihedral_group(n)


def test_names_lead_to_their_groups():
    assert named_group("S4") is symmetric_group(4) and named_group("C8") is cyclic_group(8)
    assert named_group("D5") is dihedral_group(5) and named_group("S4").order == math.factorial(4)
