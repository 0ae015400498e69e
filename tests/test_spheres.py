"""Arcs: Rodrigues' rotation and matrix exponentials. Vectors of each grain: slow loops. Radii: numbers by hand."""

import math

import pytest
import torch
from oracles import noise, slow_angle
from torch import Tensor

from circuitgrok.interventions.spheres import Spheres, arc, end, transported, vectors
from circuitgrok.tree import norm

EPS = torch.finfo(torch.float64).eps


def tangential(vector: Tensor, u: Tensor) -> Tensor:
    return vector - torch.dot(vector, u) * u


def case(size: int, seed: int, length: float = 0.7) -> tuple[Tensor, Tensor, float]:
    """A point, a step from it of some length that is neither radial nor tangential, and the radius."""
    point = noise(size, seed=seed)
    step = noise(size, seed=seed + 100)
    return point, length * step / step.norm(), point.norm().item()


def arc_of(point: Tensor, step: Tensor, r: float):
    return arc({"w": point[None]}, {"w": (point + step)[None]}, torch.tensor([r], dtype=torch.float64))


def end_of(point: Tensor, step: Tensor, r: float) -> Tensor:
    return end(arc_of(point, step, r), torch.tensor([r], dtype=torch.float64))["w"][0]


def carried(point: Tensor, step: Tensor, r: float, vector: Tensor) -> Tensor:
    return transported(arc_of(point, step, r), {"w": vector[None]})["w"][0]


def rodrigues(vector: Tensor, axis: Tensor, angle: float) -> Tensor:
    axis = axis / axis.norm()
    across = torch.linalg.cross(axis, vector)
    return math.cos(angle) * vector + math.sin(angle) * across + (1 - math.cos(angle)) * axis.dot(vector) * axis


# Arcs. A point carries about ten roundings of numbers of its own size, hence 16 EPS of that size.


@pytest.mark.parametrize("length", [1e-6, 0.7, 30.0])  # the last goes round the sphere more than once
@pytest.mark.parametrize("seed", range(3))
def test_on_the_sphere_in_three_dimensions_the_exponential_map_is_a_rotation(seed, length):
    point, step, r = case(3, seed, length)
    across = tangential(step, point / r)
    axis, angle = torch.linalg.cross(point, across), across.norm().item() / r
    turned = rodrigues(point, axis, angle)
    near = (16 + 4 * angle) * EPS  # the angle itself is known to a few EPS of its size
    torch.testing.assert_close(end_of(point, step, r), turned, rtol=0, atol=near * r)
    vector = noise(3, seed=seed + 50)
    flat = tangential(vector, point / r)
    found = carried(point, step, r, vector)
    # The axis and e are directions of a difference: a step of 1e-6 against weights of size 1 keeps 1e-16 / 1e-6 of it.
    torch.testing.assert_close(found, rodrigues(flat, axis, angle), rtol=0, atol=near * (1 + r / length))


@pytest.mark.parametrize("seed", range(3))
def test_the_angle_turned_is_the_tangential_length_over_the_radius(seed):
    point, step, r = case(40, seed)
    expected = tangential(step, point / r).norm().item() / r
    assert arc_of(point, step, r).angle.item() == pytest.approx(expected, rel=32 * EPS)
    assert slow_angle(point, end_of(point, step, r)) == pytest.approx(expected, rel=1e-13)  # 16 EPS of r / |v_t|
    assert end_of(point, step, r).norm().item() == pytest.approx(r, rel=4 * EPS)


def test_a_long_radial_step_leaves_the_norm_exact():
    point, step, r = case(40, seed=1)
    step = step + 1e4 * point  # v_t is known to 1e4 EPS of r, and as much of it points outwards
    assert end_of(point, step, r).norm().item() == pytest.approx(r, rel=4 * EPS)


def test_transport_is_the_rotation_of_the_plane_of_motion():
    point, step, r = case(9, seed=7)
    u = point / r
    across = tangential(step, u)
    e = across / across.norm()
    turn = torch.linalg.matrix_exp(across.norm() / r * (torch.outer(e, u) - torch.outer(u, e)))
    vector = noise(9, seed=8)
    torch.testing.assert_close(end_of(point, step, r), turn @ point, rtol=0, atol=16 * EPS * r)
    expected = turn @ tangential(vector, u)
    torch.testing.assert_close(carried(point, step, r, vector), expected, rtol=0, atol=16 * EPS * vector.norm().item())


def test_a_transported_vector_is_tangential_at_the_end_and_keeps_lengths_and_angles():
    point, step, r = case(30, seed=3)
    u, there = point / r, end_of(point, step, r) / r
    one, other = noise(30, seed=4), noise(30, seed=5)
    moved, moved_too = (carried(point, step, r, vector) for vector in (one, other))
    size = 16 * EPS * one.norm().item() * other.norm().item()
    assert abs(moved.dot(there).item()) <= 16 * EPS * one.norm().item()
    assert moved.norm().item() == pytest.approx(tangential(one, u).norm().item(), rel=16 * EPS)
    assert moved.dot(moved_too).item() == pytest.approx(tangential(one, u).dot(tangential(other, u)).item(), abs=size)
    path = arc_of(point, step, r)
    ahead, angle = path.ahead["w"][0], path.angle.item()
    arrived = math.cos(angle) * ahead - math.sin(angle) * u  # the velocity of the great circle at its end
    torch.testing.assert_close(carried(point, step, r, ahead), arrived, rtol=0, atol=8 * EPS)
    assert moved.dot(arrived).item() == pytest.approx(one.dot(ahead).item(), abs=size)


def test_a_step_that_is_radial_or_zero_turns_nothing_and_drops_the_radial_part_of_a_vector():
    point, r = noise(3, 4), noise(3, 4).norm(dim=1)
    after = torch.stack([point[0], 0.5 * point[1], 2 * point[2]])  # by powers of two: no rounding
    path = arc({"w": point}, {"w": after}, r)
    assert path.angle[0] == 0 and (path.angle <= 4 * EPS).all()
    torch.testing.assert_close(end(path, r)["w"], point, rtol=0, atol=4 * EPS * r.max().item())
    vector = noise(4, seed=9)
    moved = transported(path, {"w": vector.expand(3, 4)})["w"]
    for i in range(3):
        expected = tangential(vector, point[i] / r[i])
        torch.testing.assert_close(moved[i], expected, rtol=0, atol=16 * EPS * vector.norm().item())


@pytest.mark.parametrize("lr", [1e-3, 0.1, 2.0])
def test_descent_of_a_linear_function_follows_the_closed_form_with_the_riemannian_slope(lr):
    """f(theta) = <a, theta> after the step -lr a is r (cos(phi) <a, u> - sin(phi) |a_t|), phi = lr |a_t| / r."""
    point, a = noise(20, seed=11), noise(20, seed=12)
    r = point.norm().item()
    radial, slope = a.dot(point).item() / r, tangential(a, point / r).norm().item()
    phi = lr * slope / r
    found = end_of(point, -lr * a, r).dot(a).item()
    assert found == pytest.approx(r * (math.cos(phi) * radial - math.sin(phi) * slope), abs=32 * EPS * r * slope)
    fallen = (r * radial - found) / lr
    curved = slope**2 / (2 * r) * (abs(radial) + slope)  # at most this much for each unit of lr: the second derivative
    assert abs(fallen - slope**2) <= lr * curved + 64 * EPS * r * slope / lr


def test_a_step_that_is_not_finite_stays_so():
    point = noise(2, 3)
    after = point + 0.1
    after[1, 0] = torch.nan
    radius = norm({"w": point}, 1)
    path = arc({"w": point}, {"w": after}, radius)
    assert end(path, radius)["w"].isfinite().tolist() == [[True] * 3, [False] * 3]
    assert transported(path, {"w": point})["w"].isfinite().tolist() == [[True] * 3, [False] * 3]


# Vectors


def network(runs: int = 2) -> dict[str, Tensor]:
    shapes = {
        "embed.W_E": (5, 4),
        "pos_embed.W_pos": (3, 4),
        "blocks.0.attn.W_Q": (2, 4, 3),
        "blocks.0.attn.b_Q": (2, 3),
        "blocks.0.attn.W_O": (2, 3, 4),
        "blocks.0.ln1.w": (4,),
        "blocks.0.mlp.W_in": (4, 6),
        "blocks.0.mlp.b_in": (6,),
        "unembed.W_U": (4, 5),
    }
    return {name: noise(runs, *shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}


def lengths(grain) -> dict[str, Tensor]:
    return {name: norm(*every) for name, every in vectors(network(), grain).items()}


def test_a_neuron_is_what_comes_into_an_output_and_a_token_is_its_row():
    net, found = network(), lengths("neuron")
    assert found.keys() == {name for name in net if ".W_" in name}  # neither biases nor gains
    assert {name: tuple(of.shape[1:]) for name, of in found.items()} == {
        "embed.W_E": (5,),
        "pos_embed.W_pos": (3,),
        "blocks.0.attn.W_Q": (2, 3),
        "blocks.0.attn.W_O": (2, 4),
        "blocks.0.mlp.W_in": (6,),
        "unembed.W_U": (5,),
    }
    for run in range(2):
        for token in range(5):
            by_hand = math.sqrt(math.fsum(x * x for x in net["embed.W_E"][run, token].tolist()))
            assert found["embed.W_E"][run, token].item() == pytest.approx(by_hand, rel=4 * EPS)
        for head in range(2):
            for j in range(3):
                by_hand = math.sqrt(math.fsum(x * x for x in net["blocks.0.attn.W_Q"][run, head, :, j].tolist()))
                assert found["blocks.0.attn.W_Q"][run, head, j].item() == pytest.approx(by_hand, rel=4 * EPS)
        for j in range(6):
            by_hand = math.sqrt(math.fsum(x * x for x in net["blocks.0.mlp.W_in"][run, :, j].tolist()))
            assert found["blocks.0.mlp.W_in"][run, j].item() == pytest.approx(by_hand, rel=4 * EPS)


def test_squares_of_all_grains_add_up_to_those_of_the_whole():
    squares = {grain: lengths(grain) for grain in ("global", "tensor", "neuron")}
    whole = squares["global"]["radius"].square()
    of_tensors = torch.stack([length.square() for length in squares["tensor"].values()]).sum(0)
    torch.testing.assert_close(of_tensors, whole, rtol=16 * EPS, atol=0)
    for name, length in squares["neuron"].items():
        torch.testing.assert_close(
            length.square().flatten(1).sum(1), squares["tensor"][name].square(), rtol=16 * EPS, atol=0
        )


@pytest.mark.parametrize("grain", ["global", "tensor", "neuron"])
def test_vectors_are_views(grain):
    net = network()
    for every in vectors(net, grain).values():
        for value in every.tensors.values():
            value.zero_()
    left = {name for name, value in net.items() if value.any()}
    assert left == (set(net) - lengths("neuron").keys() if grain == "neuron" else set())


# Radii


@pytest.mark.parametrize("grain", ["global", "tensor", "neuron"])
def test_radii_are_found_scaled_or_shared_out_and_those_of_other_runs_stay(grain):
    weights = {name: value[:1].expand(4, *value.shape[1:]).clone() for name, value in network().items()}
    weights["unembed.W_U"][:, :, 2] = 0  # a class without a vector
    whole = norm(weights, axes=1)[0].item()
    nan = torch.nan
    spheres = Spheres(grain, radius=torch.tensor([nan, nan, 7.0, 7.0]).double(), factor=torch.ones(4).double() * 0.25)
    spheres.factor[0] = 1.0
    unset = spheres.start(weights)
    assert all(of.isnan().all() for of in unset.values())
    begun = spheres.begin(torch.tensor([True, True, True, False]), weights, unset)
    for name, every in vectors(weights, grain).items():
        found = norm(*every)[0]
        torch.testing.assert_close(begun[name][0], found, rtol=0, atol=0)
        torch.testing.assert_close(begun[name][1], 0.25 * found, rtol=0, atol=0)
        torch.testing.assert_close(begun[name][2], 7.0 / whole * found, rtol=4 * EPS, atol=0)
        assert begun[name][3].isnan().all()
    if grain == "global":
        assert begun["radius"][2].item() == 7.0  # without a rounding
    if grain == "neuron":
        assert begun["unembed.W_U"][:3, 2].tolist() == [0.0, 0.0, 0.0]
    later = {name: 2 * value for name, value in weights.items()}
    again = spheres.begin(torch.tensor([False, False, False, True]), later, begun)
    assert all(torch.equal(again[name][:3], begun[name][:3]) for name in begun)
    assert all(again[name].isfinite().all() for name in again)
