"""Spheres: Rodrigues' rotation, matrix exponentials, 60 digits and flat float64 twins; geometries, and the way back."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import for_each
from oracles import generator, noise, slow_angle
from torch import Tensor

from circuitgrok.geometry import (
    across,
    angle,
    arc,
    decompose,
    direction,
    end,
    lengths,
    ray,
    tangent,
    to_radius,
    transported,
    turned,
    uniform,
    unit,
)
from circuitgrok.samplers.geometry import FLAT, Orthogonal, Sphere
from circuitgrok.tree import norm, ravel, rescale, scaled, unravel

EPS = torch.finfo(torch.float64).eps
SHAPES = {
    "embed.W_E": (4, 6),
    "blocks.0.attn.W_Q": (2, 6, 3),
    "blocks.0.mlp.W_in": (6, 5),
    "blocks.0.mlp.b_in": (5,),
    "unembed.W_U": (6, 4),
}


def weights(seed: int, *stack: int) -> dict[str, Tensor]:
    return {name: noise(*stack, *shape, seed=100 * seed + i) for i, (name, shape) in enumerate(SHAPES.items())}


# Rows, and dicts against the flat vector: a sum of 105 squares and a few products, hence 32 EPS.


def test_the_unit_vector_has_length_one_and_the_direction_of_its_row_and_zero_has_none():
    rows = noise(6, 50) * torch.logspace(-20, 20, 6, dtype=torch.float64)[:, None]
    rows[2] = 0
    found = unit(rows)
    assert not found[2].any() and unit(rows.float()).dtype == torch.float32
    for row, u in zip(rows[[0, 1, 3, 4, 5]], found[[0, 1, 3, 4, 5]], strict=True):
        assert u.norm().item() == pytest.approx(1.0, rel=4 * EPS)
        assert slow_angle(row, u) <= 4 * EPS
    assert unit(torch.tensor([[torch.nan, 1.0]])).isnan().all()


def test_what_is_tangential_is_orthogonal_and_with_the_radial_part_the_whole():
    rows, u = noise(5, 40), unit(noise(40, seed=1))
    found = tangent(rows, u)
    torch.testing.assert_close(found, rows - torch.outer(rows @ u, u), rtol=0, atol=16 * EPS)
    assert ((found @ u).abs() <= 32 * EPS).all()
    torch.testing.assert_close(found.square().sum(1) + (rows @ u).square(), rows.square().sum(1), rtol=32 * EPS, atol=0)


def test_dicts_are_split_as_their_flat_vectors_run_by_run():
    v, at = weights(1, 3), weights(2, 3)
    flat, u = ravel(v, 1), unit(ravel(at, 1))
    torch.testing.assert_close(ravel(direction(at, 1), 1), u, rtol=32 * EPS, atol=0)
    radial, tangential = decompose(v, direction(at, 1), 1)
    torch.testing.assert_close(radial, (flat * u).sum(1), rtol=0, atol=32 * EPS)
    for found in (tangential, across(v, at, 1)):
        torch.testing.assert_close(ravel(found, 1), tangent(flat, u), rtol=0, atol=32 * EPS)
    torch.testing.assert_close(lengths(v), flat.norm(dim=1), rtol=32 * EPS, atol=0)


@for_each("dtype", [torch.float32, torch.float64])
def test_a_vector_brought_to_its_radius_has_it_to_rounding_and_its_direction(dtype):
    x = {name: value.to(dtype) for name, value in weights(1, 4).items()}
    for value in x.values():
        value[3] = 0  # no direction
    radius = torch.tensor([2.0, 1e-5, torch.nan, 1.0], dtype=torch.float64)
    factor = to_radius(radius, x, 1)
    assert factor[2:].tolist() == [1.0, 1.0]
    moved = {name: value.clone() for name, value in x.items()}
    rescale(moved, factor)
    # A factor and a product in the dtype, half an eps each; norms in float64.
    tolerance = torch.finfo(dtype).eps + 32 * EPS
    torch.testing.assert_close(norm(moved, 1)[:2], radius[:2], rtol=tolerance, atol=0)
    for name, value in scaled(factor, x).items():
        torch.testing.assert_close(moved[name].double(), value, rtol=tolerance, atol=0)
        assert torch.equal(moved[name][2:], x[name][2:])


def test_a_ray_holds_every_multiple_of_one_network():
    x, factors = weights(1), torch.tensor([0.0, -1.5, 2.0])
    for name, value in ray(factors, x).items():
        assert torch.equal(value, torch.stack([c * x[name] for c in factors.double()]))


@pytest.mark.parametrize("dim", [2, 3, 100])
def test_uniform_draws_are_of_length_one_and_no_direction_is_preferred(dim):
    """Mean 0, covariance 1 / dim, fourth moment 3 / (dim (dim + 2)) along any direction: to 4 standard errors."""
    n = 20_000
    drawn = uniform(n, dim, torch.Generator().manual_seed(5))
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(n).double(), rtol=4 * EPS, atol=0)
    turn = torch.linalg.qr(noise(dim, dim, seed=9)).Q
    for rows in (drawn, drawn @ turn):  # invariant: the same moments about every axis of another basis
        x = rows[:, : min(dim, 5)]
        four = 3 / (dim * (dim + 2))
        eight = 105 / (dim * (dim + 2) * (dim + 4) * (dim + 6))
        for power, mean, square in ((1, 0.0, 1 / dim), (2, 1 / dim, four), (4, four, eight)):
            error = math.sqrt((square - mean**2) / n)
            assert ((x**power).mean(0) - mean).abs().max() < 4 * error
    assert torch.equal(drawn, uniform(n, dim, torch.Generator().manual_seed(5)))


# Angles


@for_each("phi", [1e-300, 1e-15, 1e-9, 1e-4, 1.0, math.pi / 2, 3.0])
def test_the_angle_of_a_planted_rotation_is_measured_to_rounding(phi):
    u = torch.tensor([1.0, 0.0], dtype=torch.float64)
    v = torch.tensor([math.cos(phi), math.sin(phi)], dtype=torch.float64)
    assert angle(u, 1e3 * v).item() == pytest.approx(phi, rel=4 * EPS)


@settings(max_examples=50, deadline=None)
@given(exponent=st.integers(-12, 2), seed=st.integers(0, 999))
def test_angles_agree_with_sixty_digits_from_tiny_to_nearly_opposite(exponent, seed):
    u, step = noise(20, seed=seed), noise(20, seed=seed + 1000)
    for v in (u + 10.0**exponent * step, -u + 10.0**exponent * step):
        # Each of 20 entries of a unit vector is rounded by eps/2 of itself, a few times.
        assert angle(u, v).item() == pytest.approx(slow_angle(u, v), rel=4 * EPS, abs=4 * EPS)


def test_an_angle_of_a_billionth_is_measured_to_a_millionth_of_itself_through_a_dict():
    basis = torch.linalg.qr(torch.stack([ravel(weights(1)), ravel(weights(2))], dim=1)).Q
    u, v = (unravel(math.cos(t) * basis[:, 0] + math.sin(t) * basis[:, 1], weights(1)) for t in (0.3, 0.3 + 1e-9))
    assert angle(u, v).item() == pytest.approx(1e-9, rel=1e-6)
    assert angle(u, v).item() == pytest.approx(angle(ravel(u), ravel(v)).item(), abs=2 * EPS)


def test_the_angle_is_symmetric_and_does_not_see_lengths_but_sees_signs():
    u, v = weights(1), weights(2)
    phi = angle(u, v).item()
    shorter = {name: 1e-7 * value for name, value in u.items()}
    assert angle(v, shorter).item() == pytest.approx(phi, rel=4 * EPS)
    opposite = {name: -value for name, value in v.items()}
    assert angle(u, opposite).item() == pytest.approx(math.pi - phi, rel=4 * EPS)


def test_float32_weights_are_compared_in_float64():
    u = noise(1000).float()
    v = u.clone()
    v[0] = torch.nextafter(v[0], torch.tensor(torch.inf))
    assert angle(u, v).dtype == torch.float64
    assert angle(u, v).item() == pytest.approx(slow_angle(u, v), rel=1e-6)  # about 1e-9: 1e-16 is 1e-7 of it


def test_a_zero_vector_has_no_angle():
    assert angle(torch.zeros(3), torch.ones(3)).isnan() and angle(torch.ones(3), torch.zeros(3)).isnan()


def test_vectors_with_other_names_are_refused():
    for f in (angle, decompose):
        with pytest.raises(ValueError, match=r"only one has \['b'\]"):
            f({"a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(2)})


# Radial and tangential


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_pythagoras_holds_and_the_parts_sum_to_the_vector(seed, scale):
    vector = {name: scale * value for name, value in weights(seed).items()}
    at = weights(seed + 1)
    radial, tangential = decompose(vector, direction(at))
    u = ravel(at) / ravel(at).norm()
    torch.testing.assert_close(radial**2 + norm(tangential) ** 2, norm(vector) ** 2, rtol=1e-14, atol=0)
    whole = radial * u + ravel(tangential)
    torch.testing.assert_close(whole, ravel(vector), rtol=0, atol=1e-14 * scale)
    assert abs(ravel(tangential) @ u) <= 1e-14 * scale


# Great circles


def slow_tangent(vector: Tensor, u: Tensor) -> Tensor:
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


@for_each("length", [1e-6, 0.7, 30.0])  # the last goes round the sphere more than once
@for_each("seed", range(3))
def test_on_the_sphere_in_three_dimensions_the_exponential_map_is_a_rotation(seed, length):
    point, step, r = case(3, seed, length)
    across = slow_tangent(step, point / r)
    axis, angle = torch.linalg.cross(point, across), across.norm().item() / r
    turned = rodrigues(point, axis, angle)
    near = (16 + 4 * angle) * EPS  # the angle itself is known to a few EPS of its size
    torch.testing.assert_close(end_of(point, step, r), turned, rtol=0, atol=near * r)
    vector = noise(3, seed=seed + 50)
    flat = slow_tangent(vector, point / r)
    found = carried(point, step, r, vector)
    # The axis and e are directions of a difference: a step of 1e-6 against weights of size 1 keeps 1e-16 / 1e-6 of it.
    torch.testing.assert_close(found, rodrigues(flat, axis, angle), rtol=0, atol=near * (1 + r / length))


@for_each("seed", range(3))
def test_the_angle_turned_is_the_tangential_length_over_the_radius(seed):
    point, step, r = case(40, seed)
    expected = slow_tangent(step, point / r).norm().item() / r
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
    across = slow_tangent(step, u)
    e = across / across.norm()
    turn = torch.linalg.matrix_exp(across.norm() / r * (torch.outer(e, u) - torch.outer(u, e)))
    vector = noise(9, seed=8)
    torch.testing.assert_close(end_of(point, step, r), turn @ point, rtol=0, atol=16 * EPS * r)
    expected = turn @ slow_tangent(vector, u)
    torch.testing.assert_close(carried(point, step, r, vector), expected, rtol=0, atol=16 * EPS * vector.norm().item())


def test_a_step_that_is_radial_or_zero_turns_nothing_and_drops_the_radial_part_of_a_vector():
    point, r = noise(3, 4), noise(3, 4).norm(dim=1)
    after = torch.stack([point[0], 0.5 * point[1], 2 * point[2]])  # by powers of two: no rounding
    path = arc({"w": point}, {"w": after}, r)
    assert path.angle[0] == 0 and (path.angle <= 4 * EPS).all()
    torch.testing.assert_close(end(path, r)["w"], point, rtol=0, atol=4 * EPS * r.max().item())
    vector = noise(4, seed=9)
    moved = transported(path, {"w": vector.expand(3, 4)})["w"]
    for i in range(3):
        expected = slow_tangent(vector, point[i] / r[i])
        torch.testing.assert_close(moved[i], expected, rtol=0, atol=16 * EPS * vector.norm().item())


def test_a_step_that_is_not_finite_stays_so():
    point = noise(2, 3)
    after = point + 0.1
    after[1, 0] = torch.nan
    radius = norm({"w": point}, 1)
    path = arc({"w": point}, {"w": after}, radius)
    assert end(path, radius)["w"].isfinite().tolist() == [[True] * 3, [False] * 3]
    assert transported(path, {"w": point})["w"].isfinite().tolist() == [[True] * 3, [False] * 3]


@pytest.mark.bits
def test_arcs_are_these_operations_in_this_order():
    """The same operations in the same order give the same bits, for ever: old runs must train again as they did."""
    w, after, m, r = (noise(1, 50, seed=i) for i in range(4))
    w, r = w.float(), r[:, 0].abs()

    def inner(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(-1, keepdim=True)

    u = 1 / inner(w.double(), w.double()).sqrt() * w.double()
    step = after - w.double()
    across = step - inner(u, step) * u
    length = inner(across, across).sqrt()
    e, phi = 1 / length * across, length / r[:, None]
    path = arc({"w": w}, {"w": after}, r)
    assert torch.equal(path.start["w"], u) and torch.equal(path.ahead["w"], e) and torch.equal(path.angle, phi[:, 0])
    point = phi.cos() * u + phi.sin() * e
    assert torch.equal(end(path, r)["w"], r[:, None] / inner(point, point).sqrt() * point)
    flat = m - inner(u, m) * u
    forward = inner(e, flat)
    moved = flat + forward * (phi.cos() - 1) * e - forward * phi.sin() * u
    assert torch.equal(transported(path, {"w": m})["w"], moved)


# Geometries of samplers

GEOMETRIES = {"flat": FLAT, "hyperplane": Orthogonal(noise(7, 5, seed=3)), "sphere": Sphere()}


@pytest.fixture(params=GEOMETRIES)
def geometry(request):
    return GEOMETRIES[request.param]


def start(geometry, speed=1.0):
    position = noise(7, 5)
    return position, geometry.tangent(position, speed * noise(7, 5, seed=1))


def test_moving_back_returns_to_the_start(geometry):
    position, velocity = start(geometry)
    there, carried = geometry.move(position, velocity)
    back, returned = geometry.move(there, -carried)
    # A handful of roundings of numbers of size 3, and on the sphere of an angle of size 3.
    torch.testing.assert_close(back, position, rtol=0, atol=100 * EPS)
    torch.testing.assert_close(-returned, velocity, rtol=0, atol=100 * EPS)


def test_two_halves_of_a_geodesic_are_the_whole(geometry):
    position, velocity = start(geometry)
    middle, carried = geometry.move(position, velocity / 2)
    halves, _ = geometry.move(middle, carried)
    torch.testing.assert_close(halves, geometry.move(position, velocity)[0], rtol=0, atol=100 * EPS)


def test_speed_is_kept_and_velocity_stays_tangential(geometry):
    there, carried = geometry.move(*start(geometry))
    torch.testing.assert_close(carried.norm(dim=-1), start(geometry)[1].norm(dim=-1), rtol=100 * EPS, atol=0)
    torch.testing.assert_close(geometry.tangent(there, carried), carried, rtol=0, atol=100 * EPS)


def test_the_tangential_part_is_an_orthogonal_projection(geometry):
    position, vector, other = noise(7, 5), noise(7, 5, seed=1), noise(7, 5, seed=2)
    once = geometry.tangent(position, vector)
    torch.testing.assert_close(geometry.tangent(position, once), once, rtol=0, atol=100 * EPS)
    one, turned = (once * other).sum(-1), (vector * geometry.tangent(position, other)).sum(-1)
    torch.testing.assert_close(one, turned, rtol=0, atol=100 * EPS)


def test_rest_is_rest(geometry):
    position = noise(7, 5)
    there, carried = geometry.move(position, torch.zeros_like(position))
    torch.testing.assert_close(there, position, rtol=4 * EPS, atol=0)
    assert not carried.any()


def test_no_motion_along_the_normal_is_left_whatever_its_length():
    normal = noise(6, 50) * torch.logspace(-20, 20, 6, dtype=torch.float64)[:, None]
    position = noise(6, 50, seed=1)
    unit = normal / normal.norm(dim=-1, keepdim=True)
    moved, geometry = position, Orthogonal(normal)
    for seed in range(20):
        moved, _ = geometry.move(moved, geometry.tangent(moved, 10 * noise(6, 50, seed=seed)))
    assert (moved - position).norm(dim=-1).min() > 100
    assert (unit * (moved - position)).sum(-1).abs().max() < 1e-12


def test_a_normal_of_zero_removes_nothing_and_others_in_the_stack_keep_theirs():
    normal = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert Orthogonal(normal).tangent(normal, torch.ones(2, 2)).tolist() == [[1.0, 1.0], [1.0, 0.0]]


@for_each("dtype", [torch.float32, torch.float64])
def test_the_norm_is_kept_to_rounding_for_a_thousand_long_moves(dtype):
    position = noise(7, 50).to(dtype)
    radius, sphere = position.norm(dim=-1), Sphere()
    for seed in range(1000):
        position, _ = sphere.move(position, sphere.tangent(position, noise(7, 50, seed=seed).to(dtype)))
    # Each move sets the norm afresh, to about three roundings, which add up as a walk: 3 sqrt(1000) < 100 of them.
    assert position.dtype == dtype
    torch.testing.assert_close(position.norm(dim=-1), radius, rtol=100 * torch.finfo(dtype).eps, atol=0)


def test_the_norm_is_kept_also_where_the_velocity_is_not_quite_tangential():
    position, velocity = start(Sphere())
    there, _ = Sphere().move(position, velocity + 1e-3 * position)
    torch.testing.assert_close(there.norm(dim=-1), position.norm(dim=-1), rtol=4 * EPS, atol=0)


def test_great_circles_go_once_around_and_through_the_pole():
    north, east = torch.tensor([[0.0, 0.0, 2.0]], dtype=torch.float64), torch.tensor([[1.0, 0.0, 0.0]]).double()
    quarter, carried = Sphere().move(north, math.pi * east)  # an angle of pi / 2 on radius 2
    torch.testing.assert_close(quarter, 2 * east, rtol=0, atol=8 * EPS)
    torch.testing.assert_close(carried, -math.pi / 2 * north, rtol=0, atol=8 * EPS)
    around, _ = Sphere().move(north, 4 * math.pi * east)
    torch.testing.assert_close(around, north, rtol=0, atol=16 * EPS)


def test_a_turned_network_has_its_norm_lies_at_the_angle_and_moves_in_what_may_move_only():
    params = {"w": noise(40, 50), "b": torch.zeros(7, dtype=torch.float64), "u": noise(30, seed=1).float()}
    for i, radians in enumerate((1e-6, 0.5, math.pi / 2, 3.0)):
        there = turned(params, radians, generator(i), lambda name: name != "b")
        assert angle(params, there).item() == pytest.approx(radians, rel=1e-9)
        assert norm(there).item() == pytest.approx(norm(params).item(), rel=1e-14)
        assert not there["b"].any() and there["u"].dtype == torch.float64
    assert all(
        bool((x == params[name]).all()) for name, x in turned(params, 0.0, generator(0), lambda n: n != "b").items()
    )
    with pytest.raises(ValueError, match="must be zero, and w is not"):
        turned(params, 1.0, generator(0), lambda name: name == "u")


def test_directions_of_turns_are_uniform():
    start = {"w": torch.tensor([1.0, 0.0, 0.0])}  # a quarter turn ends on the circle of the other two
    ends = torch.stack([turned(start, math.pi / 2, generator(s), lambda _: True)["w"] for s in range(400)])
    assert ends[:, 0].abs().max() < 1e-15
    assert ends[:, 1:].mean(0).norm() * math.sqrt(400) < 4  # each coordinate has variance 1/2
    assert abs(ends[:, 1].square().mean().item() - 0.5) < 4 * math.sqrt(1 / 8 / 400)
