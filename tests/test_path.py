"""Polar: planted rotations and scalings, Pythagoras, and angles against 60-digit arithmetic."""

import math
from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import noise, slow_angle

from circuitgrok.polar.path import angle, joint_path, polar_path
from circuitgrok.tree import norm, ravel, unravel

EPS = torch.finfo(torch.float64).eps
SHAPES = {
    "embed.W_E": (4, 6),
    "blocks.0.attn.W_Q": (2, 6, 3),
    "blocks.0.mlp.W_in": (6, 5),
    "blocks.0.mlp.b_in": (5,),
    "unembed.W_U": (6, 4),
}


def weights(seed):
    return {name: noise(*shape, seed=100 * seed + i) for i, (name, shape) in enumerate(SHAPES.items())}


def rotation(angles, radii=None):
    """The path r (cos phi e1 + sin phi e2) in a plane that cuts through every tensor."""
    basis = torch.linalg.qr(torch.stack([ravel(weights(1)), ravel(weights(2))], dim=1)).Q
    phi = torch.as_tensor(angles, dtype=torch.float64)
    r = torch.ones_like(phi) if radii is None else torch.as_tensor(radii, dtype=torch.float64)
    path = r[:, None] * (phi.cos()[:, None] * basis[:, 0] + phi.sin()[:, None] * basis[:, 1])
    return unravel(path, weights(1))


def path_of(stack):
    return polar_path(stack, torch.arange(len(next(iter(stack.values())))))


# Angles


@pytest.mark.parametrize("phi", [1e-300, 1e-15, 1e-9, 1e-4, 1.0, math.pi / 2, 3.0])
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
    stack = rotation([0.3, 0.3 + 1e-9])
    u, v = ({name: value[i] for name, value in stack.items()} for i in range(2))
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
    assert angle(torch.zeros(3), torch.ones(3)).isnan()


# Paths


def test_a_rotation_in_a_plane_travels_its_angle_and_keeps_its_norm():
    angles = torch.linspace(0, 5.0, 101, dtype=torch.float64)  # beyond pi: the path is longer than the angle
    path = path_of(rotation(angles, radii=2 * torch.ones(101)))["global"]
    torch.testing.assert_close(path.norm, torch.full_like(angles, 2.0), rtol=1e-14, atol=0)
    torch.testing.assert_close(path.angular_distance, angles, rtol=0, atol=1e-13)
    torch.testing.assert_close(path.arc_length, 2 * angles, rtol=0, atol=1e-13)
    nearer = torch.minimum(angles, 2 * math.pi - angles)
    torch.testing.assert_close(path.angle_start, nearer, rtol=0, atol=1e-14)
    torch.testing.assert_close(path.angle_end, nearer.flip(0), rtol=0, atol=1e-14)
    torch.testing.assert_close(path.cos_start, angles.cos(), rtol=0, atol=1e-14)
    torch.testing.assert_close(path.cos_end, (5.0 - angles).cos(), rtol=0, atol=1e-14)
    assert path.radial_distance[-1] <= 1e-13


def test_scaling_the_weights_changes_the_norm_only():
    factors = torch.tensor([1.0, 0.5, 3.0, 0.1], dtype=torch.float64)
    stack = {name: torch.stack([f * value for f in factors]) for name, value in weights(1).items()}
    r = norm(weights(1)).item()
    for name, path in path_of(stack).items():
        own = r if name == "global" else path.norm[0].item()
        torch.testing.assert_close(path.norm, own * factors, rtol=1e-14, atol=0)
        travelled = own * torch.tensor([0.0, 0.5, 3.0, 5.9], dtype=torch.float64)
        torch.testing.assert_close(path.radial_distance, travelled, rtol=1e-13, atol=0)
        assert path.angular_distance[-1] <= 16 * EPS and path.arc_length[-1] <= 16 * EPS * 3 * r


def test_angles_of_a_billionth_are_measured_to_a_millionth_in_every_group():
    steps = 1e-9 * torch.arange(5, dtype=torch.float64)
    stack = rotation(0.3 + steps)
    paths = path_of(stack)
    # 0.3 + k 1e-9 is itself rounded by 3e-17, and the stored weights by 1e-16: 1e-7 of the angle.
    torch.testing.assert_close(paths["global"].angular_distance, steps, rtol=1e-6, atol=0)
    torch.testing.assert_close(paths["global"].angle_start, steps, rtol=1e-6, atol=0)
    for name, value in stack.items():
        exact = [slow_angle(value[0], value[i]) for i in range(5)]
        assert paths[name].angle_start.tolist() == pytest.approx(exact, rel=1e-6, abs=0)


def test_every_group_is_the_path_of_its_tensors_taken_as_one_vector():
    stack = {name: torch.stack([weights(s)[name] for s in range(4)]).float() for name in SHAPES}
    groups = {
        "global": list(SHAPES),
        "mlp": ["blocks.0.mlp.W_in", "blocks.0.mlp.b_in"],
        "unembed.W_U": ["unembed.W_U"],
    }
    paths = path_of(stack)
    for group, names in groups.items():
        points = [torch.cat([stack[name][i].flatten() for name in names]).double() for i in range(4)]
        path = paths[group]
        r = torch.stack(points).norm(dim=1)
        gaps = [slow_angle(u, v) for u, v in pairwise(points)]
        arcs = [(r[i] + r[i + 1]).item() / 2 * gap for i, gap in enumerate(gaps)]
        torch.testing.assert_close(path.norm, r, rtol=1e-14, atol=0)
        assert path.angular_distance.tolist() == pytest.approx([0.0, *accumulate(gaps)], rel=1e-14)
        assert path.arc_length.tolist() == pytest.approx([0.0, *accumulate(arcs)], rel=1e-14)
        for i, point in enumerate(points):
            assert path.angle_start[i].item() == pytest.approx(slow_angle(points[0], point), abs=4e-16)
            assert path.angle_end[i].item() == pytest.approx(slow_angle(points[-1], point), abs=4e-16)


def test_vectors_side_by_side_travel_as_each_would_alone():
    steps, tensors = torch.tensor([0, 5, 20]), [noise(3, 7, 4, seed=1), noise(3, 7, 600, seed=2)]  # in seven blocks
    together = joint_path(tensors, steps)
    for i in range(7):
        alone = polar_path({"mlp.a": tensors[0][:, i], "mlp.b": tensors[1][:, i]}, steps)["global"]
        for found, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(found[:, i], expected, rtol=1e-13, atol=1e-15, equal_nan=True)


def test_tensors_longer_than_a_block_are_taken_whole():
    stack = {"embed.W_E": noise(3, 50, 100)}
    exact = angle(stack["embed.W_E"][0], stack["embed.W_E"][2]).item()
    assert path_of(stack)["global"].angle_start[2].item() == pytest.approx(exact, rel=1e-14)


def test_opposite_weights_are_half_a_turn_apart():
    stack = {name: torch.stack([value, -3 * value]) for name, value in weights(1).items()}
    for path in path_of(stack).values():
        assert path.angle_start[1].item() == pytest.approx(math.pi, rel=2 * EPS)


def test_speed_is_radians_per_step_of_the_interval_that_ends_there():
    path = polar_path(rotation([0.0, 0.1, 0.5]), torch.tensor([0, 10, 1000]))["global"]
    assert path.angular_speed[0].isnan()
    assert path.angular_speed[1:].tolist() == pytest.approx([0.1 / 10, 0.4 / 990], rel=1e-13)


def test_groups_are_global_then_roles_then_tensors_and_zero_tensors_are_left_out():
    stack = rotation([0.0, 0.1])
    stack["blocks.0.attn.W_Q"].zero_()
    stack["unembed.b_U"] = torch.zeros(2, 4)
    expected = ["global", "embed", "mlp", "unembed"]
    expected += ["embed.W_E", "blocks.0.mlp.W_in", "blocks.0.mlp.b_in", "unembed.W_U"]
    assert list(path_of(stack)) == expected


def test_a_bias_that_starts_at_zero_has_no_angle_there_and_spoils_no_other():
    stack = {name: torch.stack([weights(s)[name] for s in range(3)]) for name in SHAPES}
    stack["blocks.0.mlp.b_in"][0] = 0.0
    paths = path_of(stack)
    bias = paths["blocks.0.mlp.b_in"]
    assert bias.angle_start.isnan().all() and bias.angle_end.isnan().tolist() == [True, False, False]
    later = slow_angle(stack["blocks.0.mlp.b_in"][1], stack["blocks.0.mlp.b_in"][2])
    assert bias.angular_distance.tolist() == pytest.approx([0.0, 0.0, later])
    points = [ravel({name: value[i] for name, value in stack.items()}) for i in range(3)]
    assert paths["global"].angle_start[2].item() == pytest.approx(slow_angle(points[0], points[2]), rel=1e-14)


def test_weights_that_became_nan_are_reported_as_nan_not_as_rest():
    stack = rotation([0.0, 0.1, 0.2])
    stack["embed.W_E"][1] = torch.nan
    assert path_of(stack)["global"].angular_distance.isnan().tolist() == [False, True, True]


def test_a_path_of_one_checkpoint_has_gone_nowhere():
    path = path_of(rotation([0.3]))["global"]
    assert path.arc_length.tolist() == path.radial_distance.tolist() == path.angle_end.tolist() == [0.0]


# Refusals


def test_vectors_with_other_names_are_refused():
    with pytest.raises(ValueError, match=r"only one has \['b'\]"):
        angle({"a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(2)})


def test_steps_that_do_not_fit_are_refused():
    stack = rotation([0.0, 0.1, 0.2])
    with pytest.raises(ValueError, match=r"got 2 for \[3\] checkpoints"):
        polar_path(stack, torch.arange(2))
    with pytest.raises(ValueError, match=r"must increase; got \[0, 5, 5\]"):
        polar_path(stack, torch.tensor([0, 5, 5]))
    with pytest.raises(ValueError, match="no direction"):
        polar_path({"embed.W_E": torch.zeros(2, 3)}, torch.arange(2))
