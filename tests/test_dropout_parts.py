"""Dropout taken apart: weights of the masks in closed form, and gradients of a step against masks one by one."""

import math

import pytest
import torch
from tiny import tiny

from circuitgrok import tree
from circuitgrok.errors import UserError
from circuitgrok.interventions.base import applied
from circuitgrok.interventions.dropout_parts import DropoutParts
from circuitgrok.interventions.noise import streams
from circuitgrok.models.dropout import Dropout
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import evaluate, forward, update

MASKS = (2, 3, 8)
RATES = {"dropout_embed": 0.1, "dropout_attention": 0.2, "dropout_mlp": 0.3}


def weights_of(parts: str, masks: int) -> torch.Tensor:
    """What each mask's loss, and last that without, is multiplied by."""
    unit = iter(torch.eye(masks + 1, dtype=torch.float64)[:masks])
    rule = applied([DropoutParts.model_validate({"dropout_parts": parts, "dropout_masks": masks})])
    return rule(lambda: next(unit), lambda: torch.eye(masks + 1, dtype=torch.float64)[masks])


@pytest.mark.parametrize("masks", MASKS)
def test_averaged_masks_count_alike_and_the_loss_without_not(masks):
    assert weights_of("averaged", masks).tolist() == [1 / masks] * masks + [0.0]


@pytest.mark.parametrize("masks", MASKS)
def test_noise_has_no_mean_and_the_variance_of_one_mask_and_lies_on_the_loss_without(masks):
    *of_masks, clean = weights_of("noise", masks).tolist()
    assert clean == 1.0
    assert abs(sum(of_masks)) < 1e-15 * masks
    assert sum(weight**2 for weight in of_masks) == pytest.approx(1, abs=1e-15 * masks)


@pytest.mark.parametrize("parts", ["averaged", "noise"])
@pytest.mark.parametrize("masks", [2, 3])
def test_gradient_of_a_step_is_that_of_masks_taken_one_by_one(parts, masks):
    config = tiny(**RATES, dropout_parts=parts, dropout_masks=masks, precision="float64", noise_seed=3)
    stack, step, pairs = new_stack([config]), 5, config.task.draw()
    update(stack, forward(stack, step), step)

    twin = new_stack([config])
    drop = Dropout(0.1, 0.2, 0.3, streams([3], "dropout", step))
    none = Dropout(0.0, 0.0, 0.0, [torch.Generator()])

    def gradient(of: Dropout) -> tree.Params:
        logits = config.model.noisy_logits(twin.weights, pairs.inputs[pairs.is_train], of)[0]
        loss = torch.nn.functional.cross_entropy(logits, pairs.labels[pairs.is_train])
        return dict(zip(twin.leaves, torch.autograd.grad(loss, list(twin.leaves.values())), strict=True))

    drawn = [gradient(drop) for _ in range(masks)]
    for name, found in stack.gradients.items():
        first, *others = (of[name] for of in drawn)
        if parts == "averaged":
            expected = torch.stack([first, *others]).mean(0)
        else:
            away = first - torch.stack(others).mean(0)
            expected = gradient(none)[name] + away * math.sqrt((masks - 1) / masks)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.bits
def test_looking_at_a_step_does_not_change_it():
    config = tiny(**RATES, dropout_parts="noise")
    seen, unseen = new_stack([config]), new_stack([config])
    for step in range(4):
        ahead = forward(seen, step)
        evaluate(seen, step, ahead)
        update(seen, ahead, step)
        update(unseen, forward(unseen, step), step)
    assert torch.equal(seen.flat, unseen.flat)


def test_what_is_not_there_cannot_be_taken_apart():
    with pytest.raises(UserError, match="takes dropout apart: give a rate"):
        tiny(dropout_parts="noise")
    with pytest.raises(UserError, match="is of dropout_parts, which is off"):
        tiny(dropout_mlp=0.1, dropout_masks=3)
