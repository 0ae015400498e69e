"""Splits: sizes by counting, nesting, and every pair in the training set as often as every other."""

import math

import pytest
import torch
from loops import for_each

from circuitgrok.tasks.splits import SPLITS, mirror_free_split, train_size


@for_each("rule", SPLITS)
@for_each(("side", "frac"), [(5, 0.4), (7, 0.5), (10, 0.29), (12, 0.97), (113, 0.3)])
def test_size_is_the_same_for_all_seeds_and_known_beforehand(rule, side, frac):
    sizes = {int(SPLITS[rule](side**2, frac, seed).sum()) for seed in range(5)}
    assert sizes == {train_size(rule, side**2, frac)}


def test_mirror_free_size_at_ten_by_hand():
    is_train = mirror_free_split(100, 0.29, seed=4).view(10, 10)
    assert is_train.diagonal().sum() == 2  # of 10: 2.9
    assert is_train.triu(1).sum() == is_train.tril(-1).sum() == 13  # of 45: 13.05
    assert train_size("mirror_free", 100, 0.29) == 28


@for_each("side", [3, 8, 13])
def test_mirror_free_mask_is_symmetric(side):
    for seed in range(10):
        is_train = mirror_free_split(side**2, 0.5, seed).view(side, side)
        assert torch.equal(is_train, is_train.T)
    assert len({tuple(mirror_free_split(side**2, 0.5, seed).tolist()) for seed in range(10)}) > 1


@for_each("rule", SPLITS)
def test_smaller_share_is_part_of_every_larger(rule):
    masks = [SPLITS[rule](144, frac, 7) for frac in (0.0, 0.2, 0.21, 0.5, 0.9, 1.0)]
    assert not masks[0].any() and masks[-1].all()
    assert all(not (less & ~more).any() for less, more in zip(masks, masks[1:], strict=False))


@pytest.mark.parametrize("rule", SPLITS)
def test_every_pair_is_trained_on_as_often_as_every_other(rule):
    """In s seeds a pair with chance f is there s f times, with a variance of s f (1 - f)."""
    seeds, side, frac = 1000, 6, 0.5
    count = torch.stack([SPLITS[rule](side**2, frac, seed) for seed in range(seeds)]).double().sum(0)
    share = torch.full((side, side), frac, dtype=torch.float64)
    if rule == "mirror_free":
        share = torch.full((side, side), 7 / 15, dtype=torch.float64).fill_diagonal_(3 / 6)
    apart = (count.view(side, side) - seeds * share).abs() / (seeds * share * (1 - share)).sqrt()
    assert apart.max() < 4 and math.isclose(float(share.sum()), train_size(rule, side**2, frac))
