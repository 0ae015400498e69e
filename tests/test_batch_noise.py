"""The noise of a batch sized and without its structure: full batch at 0, the batch at 1, equal length, no direction."""

import math

import pytest
import torch
from tiny import tiny

from circuitgrok import tree
from circuitgrok.errors import UserError
from circuitgrok.interventions.base import applied
from circuitgrok.interventions.batch_noise import BatchNoise
from circuitgrok.interventions.noise import streams
from circuitgrok.training.moment import moment
from circuitgrok.training.pairs import loss_gradient, seen_pairs
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import forward, update

EPS = torch.finfo(torch.float32).eps
STEPS = 6


def drawn(seed: int, runs: int = 2) -> tree.Params:
    rows = torch.Generator().manual_seed(seed)
    return {name: torch.randn(runs, n, generator=rows) for name, n in (("embed.W_E", 40), ("unembed.W_U", 10))}


def noisy(one: BatchNoise, batch: tree.Params, whole: tree.Params, step: int = 0) -> tree.Params:
    found = {name: value.clone() for name, value in batch.items()}
    runs = len(next(iter(batch.values())))
    applied([one] * runs)(found, {}, {}, whole=whole, generators=streams(range(runs), "batch noise", step))
    return found


def off(one: tree.Params, other: tree.Params) -> torch.Tensor:
    return tree.norm(tree.combine(lambda a, b: a.double() - b.double(), one, other), axes=1)


@pytest.mark.parametrize("times", [0.0, 1.0, 3.0])
def test_sized_noise_is_the_batchs_own_times_a_number(times):
    batch, whole = drawn(0), drawn(1)
    found = noisy(BatchNoise(batch_noise="sized", batch_noise_times=times), batch, whole)
    for name, value in found.items():
        exact = whole[name].double() + times * (batch[name].double() - whole[name].double())
        assert value.dtype == torch.float32 and torch.equal(value, exact.float())
    assert times or all(torch.equal(found[name], whole[name]) for name in found)


@pytest.mark.parametrize("times", [0.5, 2.0])
def test_isotropic_noise_is_as_long_and_of_no_direction(times):
    batch, whole = drawn(0), drawn(1)
    one, n = BatchNoise(batch_noise="isotropic", batch_noise_times=times), 400
    draws = [noisy(one, batch, whole, step) for step in range(n)]
    length = off(batch, whole)
    size = tree.norm(whole, axes=1) + length * times  # to which each sum is rounded
    for found in draws:
        assert ((off(found, whole) - times * length).abs() <= 2 * EPS * size).all()
    # A uniform direction in 50 dimensions has squared parts of mean 1/50 and of variance below 2/50^2, and no mean.
    stacked = torch.stack([tree.ravel(tree.combine(torch.sub, found, whole), axes=1) for found in draws]).double()
    unit = stacked / (times * length)[:, None]
    assert (unit.mean(0).abs() < 6 * math.sqrt(1 / 50 / n)).all()
    assert ((unit.square().mean(0) - 1 / 50).abs() < 6 * math.sqrt(2 / 50**2 / n)).all()


def test_without_noise_a_run_on_batches_is_the_run_on_all_pairs():
    leaves = {"steps": STEPS, "rule": "sgd", "lr": 0.1, "warmup": 0, "precision": "float64"}
    none = {"batch_size": 5, "batch_noise": "sized", "batch_noise_times": 0.0}
    full, quiet = (new_stack([tiny(**leaves, **more)]) for more in ({}, none))
    for step in range(STEPS):
        for stack in (full, quiet):
            update(stack, forward(stack, step), step)
    assert torch.equal(full.flat, quiet.flat)


def test_isotropic_noise_of_a_run_has_the_length_of_its_batchs_own():
    leaves = {"steps": STEPS, "warmup": 0, "precision": "float64", "batch_size": 5, "batch_noise": "isotropic"}
    stack = new_stack([tiny(**leaves)])
    for step in range(STEPS):
        whole = loss_gradient(stack, stack.train_pairs)
        batch = loss_gradient(stack, seen_pairs(stack, moment(stack, step)))
        update(stack, forward(stack, step), step)
        torch.testing.assert_close(off(stack.gradients, whole), off(batch, whole), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("leaves", "rule"),
    [
        ({}, "give batch_size"),
        ({"batch_size": 5, "l1": 0.1}, "l1 changes"),
        ({"batch_size": 5, "weight_noise": 0.1}, "weight_noise changes"),
        ({"batch_size": 5, "label_noise": 0.1}, "label_noise changes"),
        ({"batch_size": 5, "orthograd": "global"}, "orthograd changes"),
        ({"batch_size": 5, "dropout_mlp": 0.1}, "dropout_mlp changes"),
    ],
)
def test_noise_that_cannot_be_taken_apart_is_refused(leaves, rule):
    with pytest.raises(UserError, match=rule):
        tiny(batch_noise="isotropic", **leaves)
