"""Motion along a ray: the projection by hand, from the step that was asked for, and what a stack may mix."""

import pytest
import torch
from oracles import noise
from tiny import tiny

from circuitgrok import tree
from circuitgrok.interventions.constraints import FixedDirection
from circuitgrok.polar.path import angle
from circuitgrok.stack import forward, new_stack, update
from circuitgrok.training import train

EPS = torch.finfo(torch.float64).eps


def weights(seed: int) -> tree.Params:
    return {"a": noise(2, 3, seed=seed).double(), "b": noise(2, 2, 2, seed=seed + 1).double()}


def test_weights_are_projected_on_the_direction_found_at_the_first_step():
    hold = FixedDirection(torch.tensor([True, False]), torch.tensor([0, 0]))
    start, moved = weights(0), weights(5)
    state = hold(0, start, hold.start(start))
    free = moved["a"][1].clone()
    u = torch.cat([start["a"][0], start["b"][0].flatten()])
    u = u / u.norm()
    flat = torch.cat([moved["a"][0], moved["b"][0].flatten()])
    projected = torch.dot(flat, u) * u
    hold(1, moved, state)
    torch.testing.assert_close(
        torch.cat([moved["a"][0], moved["b"][0].flatten()]), projected, rtol=0, atol=16 * EPS * flat.norm().item()
    )
    assert torch.equal(moved["a"][1], free)  # a run that is not held keeps its bits


def test_a_direction_that_is_held_already_is_left_where_it_is():
    hold = FixedDirection(torch.tensor([True, True]), torch.tensor([0, 0]))
    at = weights(0)
    before = {name: value.clone() for name, value in at.items()}
    hold(0, at, hold.start(at))
    for name, value in at.items():
        torch.testing.assert_close(value, before[name], rtol=8 * EPS, atol=0)


@pytest.mark.parametrize(("precision", "turned"), [("float64", 1e-14), ("float32", 1e-6)])
def test_a_run_turns_freely_up_to_the_step_and_only_changes_its_norm_afterwards(tmp_path, precision, turned):
    leaves = {"precision": precision, "checkpoint_every": 1, "steps": 12, "warmup": 0, "weight_decay": 0.5}
    [run] = train([tiny(**leaves, fixed_direction=True, direction_from_step=5)], tmp_path, names=["run"])
    angles = {step: angle(run.at(step), run.at(5)).item() for step in run.steps}
    assert all(angles[step] > 1e-3 for step in range(4))
    assert all(angles[step] <= turned for step in range(5, 13))  # float32: rounding of each weight, 6e-8
    norms = run.history["norm"].tolist()
    assert abs(norms[-1] / norms[-2] - 1) > 1e-4
    [free] = train([tiny(**leaves)], tmp_path / "free", names=["run"])
    assert all(torch.equal(free.at(3)[name], value) for name, value in run.at(3).items())


def test_along_the_ray_the_radius_moves_by_the_radial_part_of_the_step():
    free, held = (new_stack([tiny(precision="float64", warmup=0, fixed_direction=on)]) for on in (False, True))
    u = held.flat[0] / held.flat[0].norm()
    for stack in (free, held):
        update(stack, forward(stack)[1], step=0)
    assert held.flat[0].norm().item() == pytest.approx(torch.dot(free.flat[0], u).item(), rel=64 * EPS)
    torch.testing.assert_close(held.flat[0] / held.flat[0].norm(), u, rtol=0, atol=4 * EPS)


def test_resuming_along_the_ray_gives_the_bits_of_an_unbroken_run(tmp_path):
    config = tiny(fixed_direction=True, direction_from_step=3, steps=16, checkpoint_every=4)
    [whole] = train([config], tmp_path / "whole", names=["run"])
    with pytest.raises(KeyboardInterrupt):
        train([config], tmp_path / "broken", names=["run"], progress=StopsAt(9), save_every_s=0)
    [broken] = train([config], tmp_path / "broken", names=["run"])
    assert all(torch.equal(whole.at(16)[name], value) for name, value in broken.at(16).items())
    assert (whole.path / "updates.jsonl").read_bytes() == (broken.path / "updates.jsonl").read_bytes()


class StopsAt:
    """Progress that interrupts the process at a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def begin(self, runs, start, steps) -> None:
        """Nothing to show."""

    def at(self, step, records) -> None:
        if step == self.step:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)

    def end(self) -> None:
        """Nothing to show."""
