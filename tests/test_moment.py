"""What the host gives to a step: its number and rate, generators of each run, and the places of its batch."""

import torch
from tiny import tiny

from circuitgrok.interventions.batches import Batches, MiniBatch
from circuitgrok.interventions.noise import streams
from circuitgrok.training.moment import moment, seeds_of
from circuitgrok.training.stack import new_stack


def test_a_moment_is_that_of_its_step_and_of_each_runs_own_seed():
    configs = [tiny(batch_size=16, noise_seed=seed, warmup=4, lr=0.1) for seed in (3, 8)]
    stack = new_stack(configs)
    now, [batches] = moment(stack, 2), stack.of(Batches)
    assert seeds_of(stack) == [3, 8] and (now.number, now.rate) == (2, 0.05)
    here, there = now.generators("walk"), streams([3, 8], "walk", 2)
    assert [torch.rand(1, generator=one) for one in here] == [torch.rand(1, generator=one) for one in there]
    places = now.places(batches, 60)
    assert places.shape == (2, 16) and not torch.equal(*places)
    assert torch.equal(places, batches([3, 8], 60, 2))
    assert [MiniBatch(batch_size=16).seen(60, step) for step in range(8)] == [16, 16, 16, 12] * 2
    assert [Batches.seen(MiniBatch(batch_size=16), 60, step) for step in range(4)] == [16, 16, 16, 12]
