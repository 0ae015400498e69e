"""Splits: sizes by counting, nesting, and every pair in the training set as often as every other."""

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from loops import for_each
from tiny import tiny

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import DamagedFile, UserError
from circuitgrok.faces.doctor import examine
from circuitgrok.store.run import load
from circuitgrok.tasks.splits import SPLITS, listed_split, mirror_free_split, share_of, train_size
from circuitgrok.training.loop import train


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


# --- listed pair by pair ----------------------------------------------------------------------------


def listed_config(hole: int, **leaves: Any) -> TrainConfig:
    """A tiny config whose training pairs no rule draws: a checkerboard but for one hole."""
    mask = torch.arange(121) % 2 == 0
    mask[2 * hole] = False
    return tiny(split=listed_split(mask), frac_train=share_of(60, 121), **leaves)


def test_listed_split_trains_and_lies_in_the_run_that_a_fresh_process_opens(tmp_path):
    config = listed_config(0)
    [run] = train([config], tmp_path, names=["mine"])
    assert config.task.draw().is_train.nonzero().flatten().tolist() == list(range(2, 121, 2))
    assert (run.path / "split.bits").stat().st_size == 8 + 16 and run.config.hash == config.hash
    assert config.hash != listed_config(1).hash  # the digest is in the name, and the name in the hash
    code = (
        f"import circuitgrok as cg; run = cg.load({str(run.path)!r}); print(run.task.is_train.sum(), run.task.n_train)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "tensor(60) 60\n"), done.stderr


def test_listed_split_reaches_workers_in_other_processes(tmp_path):
    configs = [listed_config(2, seed=seed) for seed in (0, 1)]
    names = ["one", "two"]
    shared = train([*configs, tiny(seed=3, d_mlp=8)], tmp_path / "shared", names=[*names, "three"], workers=2)
    alone = train(configs, tmp_path / "alone", names=names)
    for one, other in zip(shared, alone, strict=False):
        assert all(torch.equal(value, other.at(24)[name]) for name, value in one.at(24).items())


def test_listed_split_that_is_not_known_missing_or_changed_is_refused_by_name(tmp_path):
    unknown = "listed:0123456789abcdef"
    with pytest.raises(UserError, match=f"pairs of split {unknown} are not in the config: open the run that has them"):
        tiny(split=unknown).task.draw()
    with pytest.raises(UserError, match=unknown):
        train([tiny(split=unknown)], tmp_path, names=["none"])
    assert not (tmp_path / "none").exists()
    with pytest.raises(UserError, match="a pair on each side; got 9 of 9"):
        listed_split(torch.ones(9, dtype=torch.bool))
    name = listed_split(torch.arange(121) < 60)
    with pytest.raises(UserError, match=r"has 60 of 121 pairs to train on; the task has 121 pairs, and frac_train 0.1"):
        tiny(split=name, frac_train=0.1).task.draw()
    [run] = train([listed_config(3)], tmp_path, names=["mine"])
    content = (run.path / "split.bits").read_bytes()
    for wrong in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b"", bytes(24)):
        (run.path / "split.bits").write_bytes(wrong)
        with pytest.raises(DamagedFile, match=r"split.bits is damaged"):
            _ = load(run.path).config
        assert not examine(load(run.path))[0].good
    (run.path / "split.bits").unlink()
    with pytest.raises(DamagedFile, match=r"split.bits is missing, though the config's split is listed:"):
        _ = load(run.path).config
