"""Constraints: norms along random walks, the slow way of every motion, bits of free runs, alone and resumed."""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import pytest
import torch
from oracles import noise
from tiny import tiny
from torch import Tensor

from circuitgrok import tree
from circuitgrok.geometry import angle
from circuitgrok.interventions.base import Applied
from circuitgrok.interventions.constraints import Moved, RescaleOnce
from circuitgrok.interventions.fixed_norm import FixedNorm
from circuitgrok.interventions.limits import FixedDirection, NormCap
from circuitgrok.interventions.spheres import Grain, Spheres
from circuitgrok.select import Vectors
from circuitgrok.training.loop import train
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import forward, update
from circuitgrok.tree import Params

EPS = torch.finfo(torch.float64).eps
GRAINS = get_args(Grain)
SHAPES = {
    "embed.W_E": (5, 4),
    "blocks.0.attn.W_Q": (2, 4, 3),
    "blocks.0.mlp.W_in": (4, 9),
    "blocks.0.mlp.b_in": (9,),
}
BEGINS = [0, 0, 4, 9, -1]  # of runs 0 to 4; the last one is free
RADIUS = [math.nan, 3.0, math.nan, 2.0, 1.0]
FACTOR = [1.0, 1.0, 0.5, 1.0, 1.0]
STEPS = 14
KINDS = {
    "rescaled": {"norm_motion": "rescale", "norm_transport": False},
    "geodesic": {"norm_motion": "geodesic", "norm_transport": False},
    "transported": {"norm_motion": "geodesic", "norm_transport": True},
    "capped": {},
}
EVERY = [f"{kind} {grain}" for kind in KINDS for grain in GRAINS] + ["direction", "once"]


def cap(grain: Grain, factor: Tensor) -> Applied:
    return Applied(NormCap, {"norm_grain": grain, "norm_cap": factor})


def once(factor: Tensor) -> Applied:
    return Applied(RescaleOnce, {"rescale_factor": factor})


def constraint(name: str, runs: list[int]) -> Applied:
    if name == "direction":
        return Applied(FixedDirection, {})
    factor = torch.tensor([FACTOR[run] for run in runs], dtype=torch.float64)
    if name == "once":
        return once(2.5 * factor)
    radius = torch.tensor([RADIUS[run] for run in runs], dtype=torch.float64)
    [(kind, grain)] = [(kind, grain) for kind in KINDS for grain in GRAINS if name == f"{kind} {grain}"]
    if kind == "capped":
        return cap(grain, factor)
    return Applied(FixedNorm, {"norm_grain": grain, "norm_radius": radius, "norm_factor": factor, **KINDS[kind]})


def vectors(tensors: Params, grain: Grain) -> dict[str, Vectors]:
    return Spheres(grain, torch.ones(1), torch.ones(1)).vectors(tensors)


class Moment(NamedTuple):
    """One moment of a walk: the weights before its step, without and with the constraint's correction."""

    step: int
    begins: Tensor
    before: Params | None
    free: Params
    weights: Params
    carried: Params  # the first moment before the correction
    moment: Params
    state: dict[str, Tensor]


@functools.cache
def numbers(run: int, seed: int) -> Params:
    drawn = noise(sum(map(math.prod, SHAPES.values())), seed=1000 * run + seed)
    return tree.unravel(drawn, {name: torch.empty(shape) for name, shape in SHAPES.items()})


def drawn(runs: list[int], seed: int, dtype: torch.dtype) -> Params:
    """Of each run by itself, so that it is the same in every stack."""
    return {name: torch.stack([numbers(run, seed)[name] for run in runs]).to(dtype) for name in SHAPES}


def copied(tensors: Params) -> Params:
    return {name: value.clone() for name, value in tensors.items()}


def at_start(name: str, runs: list[int], dtype: torch.dtype) -> tuple[Params, Params, dict[str, Tensor]]:
    weights = drawn(runs, 0, dtype)
    weights["blocks.0.mlp.b_in"].zero_()  # a fresh bias
    moment = {tensor: torch.zeros_like(value) for tensor, value in weights.items()}
    return weights, moment, constraint(name, runs).start(weights)


def walk(name: str, runs: list[int], dtype: torch.dtype, start=None, steps=range(STEPS)) -> Iterator[Moment]:
    """Random steps of a stack under a constraint; step 0 stands still, as before the first step of training."""
    hold = constraint(name, runs)
    weights, moment, state = start or at_start(name, runs, dtype)
    for step in steps:
        before = copied(weights) if step else None
        if step:
            for tensor, value in drawn(runs, step, dtype).items():
                moment[tensor].mul_(0.9).add_(0.1 * value)
                weights[tensor].add_(0.1 * value + moment[tensor])
        begins = torch.tensor([BEGINS[run] == step for run in runs])
        free, carried = copied(weights), copied(moment)
        state = hold(Moved(begins, before, moment), weights, state)
        yield Moment(step, begins, before, free, copied(weights), carried, copied(moment), state)


def equal(one: Params, other: Params) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def of_run(tensors: Params, i: int) -> Params:
    return {name: value[i] for name, value in tensors.items()}


# Every constraint


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.bits
def test_runs_keep_their_bits_until_their_hold_begins(name):
    for at in walk(name, [0, 1, 2, 3, 4], torch.float32):
        for run in range(5):
            if at.step < BEGINS[run] or BEGINS[run] < 0:
                assert equal(of_run(at.weights, run), of_run(at.free, run))
                assert equal(of_run(at.moment, run), of_run(at.carried, run))
                assert all(value[run].isnan().all() for value in at.state.values())
            elif at.step == BEGINS[run]:  # held: the state tells
                assert all(value[run].isfinite().all() for value in at.state.values())
                assert equal(of_run(at.moment, run), of_run(at.carried, run))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.bits
def test_a_run_in_a_stack_has_the_bits_of_the_run_alone(name):
    runs = [1, 2, 3]
    alone = [list(walk(name, [run], torch.float32)) for run in runs]
    for at in walk(name, runs, torch.float32):
        for i in range(3):
            own = alone[i][at.step]
            assert equal(of_run(at.weights, i), of_run(own.weights, 0))
            assert equal(of_run(at.moment, i), of_run(own.moment, 0))
            for key, value in of_run(at.state, i).items():
                torch.testing.assert_close(value, own.state[key][0], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.bits
def test_a_walk_goes_on_from_the_saved_state_of_its_runs_with_the_same_bits(name):
    runs = [0, 1, 2, 3, 4]
    whole = list(walk(name, runs, torch.float32))
    at = whole[6]  # runs 0, 1, 2 are held, run 3 is not yet
    order = [3, 2, 0]
    weights, moment = ({key: value[order] for key, value in tensors.items()} for tensors in (at.weights, at.moment))
    state = constraint(name, order).start(weights)
    for key, value in state.items():
        for i, run in enumerate(order):
            value[i] = at.state[key][run]
    *_, last = walk(name, order, torch.float32, (weights, moment, state), range(7, STEPS))
    for i, run in enumerate(order):
        assert equal(of_run(last.weights, i), of_run(whole[-1].weights, run))
        assert equal(of_run(last.moment, i), of_run(whole[-1].moment, run))


@pytest.mark.parametrize("kind", ["rescaled", "geodesic", "transported", "capped"])
def test_a_weight_that_is_not_a_number_is_never_healed_and_stays_in_its_run(kind):
    name = f"{kind} global"
    *_, at = walk(name, [0, 1], torch.float32, steps=range(6))
    weights, moment = copied(at.weights), copied(at.moment)
    weights["embed.W_E"][0, 3, 2] = math.nan
    constraint(name, [0, 1])(Moved(torch.tensor([False, False]), at.weights, moment), weights, at.state)
    for value in weights.values():
        assert value[0].isnan().all() and value[1].isfinite().all()


# Norms held


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("kind", ["rescaled", "geodesic", "transported"])
def test_norms_are_those_found_scaled_or_given_at_every_step_of_a_walk(kind, grain, dtype):
    # A factor and a product in the weights' type, half an eps each; norms in float64, a few EPS.
    tolerance = torch.finfo(dtype).eps + 16 * EPS
    expected, checked, free_bias = {}, 0, False
    for at in walk(f"{kind} {grain}", [0, 1, 2, 3, 4], dtype):
        whole, found, now = (
            tree.norm(at.free, axes=1),
            {name: tree.norm(*every) for name, every in vectors(at.free, grain).items()},
            {name: tree.norm(*every) for name, every in vectors(at.weights, grain).items()},
        )
        for run in range(4):
            if at.step == BEGINS[run]:
                share = FACTOR[run] if math.isnan(RADIUS[run]) else RADIUS[run] / whole[run].item()
                expected[run] = {name: share * value[run] for name, value in found.items()}
            for name, radius in expected.get(run, {}).items():
                if name == "blocks.0.mlp.b_in" and BEGINS[run] == 0:  # it was zero: no direction to keep
                    free_bias = True
                    assert torch.equal(at.weights[name][run], at.free[name][run])
                    continue
                torch.testing.assert_close(now[name][run], radius, rtol=tolerance, atol=0)
                checked += 1
    held = sum(STEPS - begin for begin in BEGINS[:4])
    assert checked == held * len(expected[3]) - (2 * STEPS if grain == "tensor" else 0)
    assert free_bias == (grain == "tensor")


def own_vectors(tensors: Params, grain: Grain) -> list[Tensor]:
    """The vectors of one run, each flat, in float64: by index, the slow way. What no vector has comes last."""
    if grain == "global":
        return [torch.cat([value.double().flatten() for value in tensors.values()])]
    if grain == "tensor":
        return [value.double().flatten() for value in tensors.values()]
    rows = [tensors["embed.W_E"][token].double() for token in range(5)]
    query, into = tensors["blocks.0.attn.W_Q"].double(), tensors["blocks.0.mlp.W_in"].double()
    return rows + [query[h, :, j] for h in range(2) for j in range(3)] + [into[:, j] for j in range(9)]


@pytest.mark.parametrize("grain", GRAINS)
def test_rescaling_keeps_the_direction_of_every_vector_and_moments(grain):
    for at in walk(f"rescaled {grain}", [0, 1, 2, 3], torch.float64):
        assert equal(at.moment, at.carried)
        for run in range(4):
            free, held = (own_vectors(of_run(tensors, run), grain) for tensors in (at.free, at.weights))
            for old, new in zip(free, held, strict=True):
                torch.testing.assert_close(new * old.norm(), old * new.norm(), rtol=16 * EPS, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grain", ["global", "tensor"])
def test_rescaling_is_one_quotient_in_float64_that_is_rounded_once(grain, dtype):
    """The same operations in the same order give the same bits, for ever: old runs must train again as they did."""
    radii, given = {}, torch.tensor(3.0, dtype=torch.float64)  # a tensor: number / tensor would be a reciprocal
    for at in walk(f"rescaled {grain}", [0, 1], dtype):
        whole = tree.norm(at.free, axes=1)
        groups = {"all": at.free} if grain == "global" else {name: {name: value} for name, value in at.free.items()}
        for key, tensors in groups.items():
            found = tree.norm(tensors, axes=1)
            if at.step == 0:
                radii[key] = [found[0], given if grain == "global" else given / whole[1] * found[1]]
            for run, radius in enumerate(radii[key]):
                factor = (radius / found[run]).to(dtype) if radius > 0 else torch.ones((), dtype=dtype)
                for name, value in tensors.items():
                    assert torch.equal(at.weights[name][run], value[run] * factor)


@pytest.mark.parametrize("kind", ["rescaled", "geodesic", "transported"])
def test_a_held_vector_that_has_become_zero_is_left_alone_until_it_has_a_direction(kind):
    hold, (weights, moment, state) = constraint(f"{kind} neuron", [0]), at_start(f"{kind} neuron", [0], torch.float64)
    none = torch.tensor([False])
    state = hold(Moved(torch.tensor([True]), None, moment), weights, state)
    radius = weights["embed.W_E"][0, 3].norm().item()
    weights["embed.W_E"][0, 3] = 0
    zero = copied(weights)
    if kind == "rescaled":
        state = hold(Moved(none, zero, moment), weights, state)
        assert not weights["embed.W_E"][0, 3].any()
    weights["embed.W_E"][0, 3, 1] = 2.0
    state = hold(Moved(none, zero, moment), weights, state)
    state = hold(Moved(none, copied(weights), moment), weights, state)
    torch.testing.assert_close(weights["embed.W_E"][0, 3], radius * torch.eye(4).double()[1], rtol=4 * EPS, atol=0)
    assert all(value.isfinite().all() for value in (*weights.values(), *moment.values()))


# Great circles


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("transport", [False, True])
def test_every_vector_goes_along_its_great_circle_and_its_moment_with_it(grain, transport):
    checked = 0
    for at in walk(f"{'transported' if transport else 'geodesic'} {grain}", [0, 1, 2, 3], torch.float64):
        for run in range(4):
            if at.before is None or at.step <= BEGINS[run]:
                continue
            trees = (at.before, at.free, at.weights, at.carried, at.moment)
            for old, flat, new, w, after in zip(*(own_vectors(of_run(x, run), grain) for x in trees), strict=True):
                if grain == "tensor" and len(old) == 9 and BEGINS[run] == 0:  # the bias that began at zero
                    assert torch.equal(new, flat) and torch.equal(after, w)
                    continue
                r = old.norm()
                u, v = old / r, flat - old
                v = v - v.dot(u) * u
                phi, e = v.norm() / r, v / v.norm()
                size = 32 * EPS * r.item()
                torch.testing.assert_close(new, phi.cos() * old + r * phi.sin() * e, rtol=0, atol=size)
                if transport:
                    w = w - w.dot(u) * u
                    w = w + e.dot(w) * ((phi.cos() - 1) * e - phi.sin() * u)
                    # e is known to EPS of the weights over the length of the step.
                    near = 32 * EPS * w.norm().item() * (1 + (r / v.norm()).item())
                    torch.testing.assert_close(after, w, rtol=0, atol=near)
                else:
                    assert torch.equal(after, w)
                checked += 1
    assert checked >= 39  # 13 steps, 13, 9 and 4, of one vector at least


@pytest.mark.parametrize("grain", GRAINS)
def test_a_moment_is_tangential_after_every_transport(grain):
    checked = 0
    for at in walk(f"transported {grain}", [0, 2], torch.float64):
        for name, (tensors, axes) in vectors(at.weights, grain).items():
            moment, carried = (vectors(moments, grain)[name].tensors for moments in (at.moment, at.carried))
            size = tree.norm(tensors, axes) * tree.norm(carried, axes)
            moved = (at.state[name] > 0) & ~at.begins.view(2, *[1] * (axes - 1))
            assert (tree.dot(tensors, moment, axes).abs() <= 32 * EPS * size)[moved].all()
            checked += int(moved.sum())
    assert checked >= 22  # 13 steps and 9, of one vector at least


def test_the_moment_of_a_rule_without_one_is_not_transported():
    weights, _, state = at_start("transported global", [0], torch.float64)
    with pytest.raises(ValueError, match="transport needs an optimizer with a first moment"):
        constraint("transported global", [0])(Moved(torch.tensor([True]), copied(weights), None), weights, state)


# A ceiling, once, and along a ray


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grain", GRAINS)
def test_a_cap_lowers_what_is_above_its_ceiling_and_leaves_the_rest_its_bits(grain, dtype):
    start = drawn([0, 1], 0, dtype)
    capped = cap(grain, torch.tensor([1.5, 0.8]).double())
    weights = copied(start)
    state = capped(Moved(torch.tensor([True, True]), None, None), weights, capped.start(weights))
    assert equal(of_run(weights, 0), of_run(start, 0))
    ceilings = {name: torch.tensor([1.5, 0.8]).double().view(2, *[1] * (every.axes - 1)) * tree.norm(*every)
                for name, every in vectors(start, grain).items()}  # fmt: skip
    tolerance = torch.finfo(dtype).eps + 16 * EPS
    lowered = kept = 0
    for factor in (0.7, 1.2, 1.6, 3.0, 0.9, 0.5):
        for i, value in enumerate(weights.values()):
            value.mul_(factor).add_(0.2 * noise(*value.shape, seed=int(10 * factor) + i))
        before = copied(weights)
        state = capped(Moved(torch.tensor([False, False]), before, None), weights, state)
        for name, every in vectors(weights, grain).items():
            old, new = tree.norm(*vectors(before, grain)[name]), tree.norm(*every)
            above = old > ceilings[name]
            assert (new <= ceilings[name] * (1 + tolerance)).all() and (new <= old).all()
            torch.testing.assert_close(new[above], ceilings[name][above], rtol=tolerance, atol=0)
            for tensor, value in every.tensors.items():
                assert torch.equal(value[~above], vectors(before, grain)[name].tensors[tensor][~above])
            lowered, kept = lowered + int(above.sum()), kept + int((~above).sum())
    assert lowered and kept


def test_weights_are_multiplied_once_and_free_afterwards():
    rescaling = once(torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64))
    weights = drawn([0, 1, 2], 0, torch.float32)
    start, state = copied(weights), rescaling.start(weights)
    for begins in ([False, True, False], [True, True, False], [False, False, False]):
        state = rescaling(Moved(torch.tensor(begins), None, None), weights, state)
    for name, value in weights.items():
        assert torch.equal(value, start[name] * torch.tensor([2.0, 3.0, 1.0]).view(3, *[1] * (value.ndim - 1)))
    assert state["done"].isnan().tolist() == [False, False, True]


def weights(seed: int) -> Params:
    return {"a": noise(2, 3, seed=seed).double(), "b": noise(2, 2, 2, seed=seed + 1).double()}


def test_weights_are_projected_on_the_direction_found_when_the_hold_begins():
    hold = Applied(FixedDirection, {})
    start, moved = weights(0), weights(5)
    state = hold(Moved(torch.tensor([True, False]), None, None), start, hold.start(start))
    free = moved["a"][1].clone()
    u = torch.cat([start["a"][0], start["b"][0].flatten()])
    u = u / u.norm()
    flat = torch.cat([moved["a"][0], moved["b"][0].flatten()])
    projected = torch.dot(flat, u) * u
    hold(Moved(torch.tensor([False, False]), None, None), moved, state)
    torch.testing.assert_close(
        torch.cat([moved["a"][0], moved["b"][0].flatten()]), projected, rtol=0, atol=16 * EPS * flat.norm().item()
    )
    assert torch.equal(moved["a"][1], free)  # a run that is not held keeps its bits


def test_a_direction_that_is_held_already_is_left_where_it_is():
    hold = Applied(FixedDirection, {})
    at = weights(0)
    before = {name: value.clone() for name, value in at.items()}
    hold(Moved(torch.tensor([True, True]), None, None), at, hold.start(at))
    for name, value in at.items():
        torch.testing.assert_close(value, before[name], rtol=8 * EPS, atol=0)


# In training


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
        update(stack, forward(stack, 0), step=0)
    assert held.flat[0].norm().item() == pytest.approx(torch.dot(free.flat[0], u).item(), rel=64 * EPS)
    torch.testing.assert_close(held.flat[0] / held.flat[0].norm(), u, rtol=0, atol=4 * EPS)


@pytest.mark.bits
def test_resuming_along_the_ray_gives_the_bits_of_an_unbroken_run(tmp_path):
    config = tiny(fixed_direction=True, direction_from_step=3, steps=16, checkpoint_every=4)
    [whole] = train([config], tmp_path / "whole", names=["run"])
    with pytest.raises(KeyboardInterrupt):
        train([config], tmp_path / "broken", names=["run"], progress=StopsAt(9), save_every_s=0)
    [broken] = train([config], tmp_path / "broken", names=["run"])
    assert all(torch.equal(whole.at(16)[name], value) for name, value in broken.at(16).items())
    assert (whole.path / "updates.jsonl").read_bytes() == (broken.path / "updates.jsonl").read_bytes()


def test_a_kick_goes_along_the_last_step_once_by_its_size_and_scrambled_across_it(tmp_path):
    leaves: dict[str, Any] = {"precision": "float64", "checkpoint_every": 1, "steps": 8}
    kick: dict[str, Any] = {"kick": 0.03, "kick_at_step": 5}
    kicks: dict[str, dict[str, Any]] = {"free": {}, "on": kick, "back": kick | {"kick": -0.03}}
    kicks["across"] = kick | {"kick_scrambled": True}
    made = [tiny(**leaves, **kick) for kick in kicks.values()]
    assert len({config.stack_key for config in made}) == 1
    free, *kicked = train(made, tmp_path, names=list(kicks))
    step = {n: after - free.at(4)[n] for n, after in free.at(5).items() if made[0].model.is_trainable(n)}
    n_weights = sum(value.numel() for value in step.values())
    moved = [{name: run.at(5)[name] - free.at(5)[name] for name in step} for run in kicked]
    sizes = [tree.norm(each).item() / math.sqrt(n_weights) for each in moved]
    assert sizes == pytest.approx([0.03] * 3, rel=1e-12)
    cosines = [(tree.dot(each, step) / tree.norm(each) / tree.norm(step)).item() for each in moved]
    assert cosines[:2] == pytest.approx([1, -1], rel=1e-12) and abs(cosines[2]) < 0.2
    ratio = {name: (moved[2][name].abs() / value.abs())[value != 0] for name, value in step.items()}
    assert all(torch.allclose(each, ratio["unembed.W_U"][0], rtol=1e-9) for each in ratio.values() if each.numel())
    assert all(torch.equal(run.at(4)[name], free.at(4)[name]) for run in kicked for name in step)
    later = [{name: run.at(6)[name] - run.at(5)[name] for name in step} for run in kicked]
    assert all(tree.norm(each) < 2 * tree.norm(step) for each in later)  # once


class StopsAt:
    """Progress that interrupts the process at a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def begin(self, runs, start, steps) -> None:
        """Nothing to show."""

    def note(self, text) -> None:
        """Nothing to show."""

    def at(self, step, records) -> None:
        if step == self.step:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)

    def stacks(self, now, done, of) -> None:
        """Nothing to show."""

    def end(self) -> None:
        """Nothing to show."""
