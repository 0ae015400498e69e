"""Noise: variances and norms within four standard errors, geometry to rounding, and each run's bits alone."""

import math

import pytest
import torch
from oracles import generator

from circuitgrok import tree
from circuitgrok.geometry import across
from circuitgrok.interventions.base import Applied
from circuitgrok.interventions.gradients import GradientNoise
from circuitgrok.interventions.noise import LabelNoise, WalkNoise, WeightNoise, gaussian, streams

STD = torch.tensor([0.1, 0.0, 0.3, 0.0, 0.1])
TANGENTIAL = torch.tensor([False, False, True, True, True])
SEEDS = [3, 4, 5, 6, 3]  # the last is the tangential twin of the first
ROUNDING = 2**-24  # of float32


def weights(dtype=torch.float32):
    """Five runs, as padded rows hold them: views with gaps, one of fewer than 16 numbers and one of odd length."""
    shapes = {"W": torch.zeros(37, 29), "b": torch.zeros(5)}
    flat = torch.randn(5, 37 * 29 + 5 + 14, generator=generator(0), dtype=torch.float64).to(dtype)
    return tree.unravel(flat, shapes)


def one(params, i):
    return {name: value[i : i + 1].clone() for name, value in params.items()}


def copied(params):
    return {name: value.clone() for name, value in params.items()}


def bits(params):
    return [value.contiguous().view(torch.int32) for value in params.values()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(bits(a), bits(b), strict=True))


def noise_of(kind, std, tangential):
    return Applied(kind, {kind.kind: std, "noise_tangential": tangential})


def of_labels(share):
    return Applied(LabelNoise, {"label_noise": share})


def forward(std, tangential, params, streams):
    return noise_of(WeightNoise, std, tangential)(params, streams)


def walk(std, tangential, params, streams):
    moved = copied(params)
    noise_of(WalkNoise, std, tangential)(moved, streams)
    return moved


def on_gradient(std, tangential, params, streams):
    gradients = {name: value.square() for name, value in params.items()}
    noise_of(GradientNoise, std, tangential)(gradients, params, {}, streams)
    return gradients


KINDS = {"weights": forward, "walk": walk, "gradient": on_gradient}


# Streams


def test_streams_differ_by_seed_purpose_and_step_and_repeat_themselves():
    def first(seed, purpose, step):
        return torch.rand(4, generator=streams([seed], purpose, step)[0]).tolist()

    assert first(0, "walk", 3) == first(0, "walk", 3)
    # generators of torch that are seeded with 0 and 2^32 draw the same
    assert torch.rand(1, generator=generator(0)) == torch.rand(1, generator=generator(2**32))
    cases = [(seed, purpose, t) for seed in (0, 1, 2**32) for purpose in ("walk", "labels") for t in (0, 1, 10)]
    draws = [first(*case) for case in cases]
    assert all(draws[i] != draws[j] for i in range(len(cases)) for j in range(i))


# The draws


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_has_mean_zero_and_the_variance_of_its_run(dtype):
    n, std = 20_000, torch.tensor([0.5, 3.0])
    drawn = gaussian({"w": torch.ones(2, n, dtype=dtype)}, std, streams([0, 1], "walk"))["w"]
    assert drawn.dtype == dtype
    for row, of_run in zip(drawn.double(), std.tolist(), strict=True):
        assert abs(row.mean()) < 4 * of_run / math.sqrt(n)
        assert abs(row.var() - of_run**2) < 4 * of_run**2 * math.sqrt(2 / (n - 1))
    correlation = (drawn[0] * drawn[1]).double().mean() / std.prod()
    assert abs(correlation) < 4 / math.sqrt(n)


@pytest.mark.parametrize("kind", [forward, on_gradient])
def test_tangential_noise_is_orthogonal_to_all_of_the_weights_and_the_rest_of_its_twins(kind):
    w = weights(torch.float64)
    noise = kind(STD.double(), TANGENTIAL, w, streams(SEEDS, "walk"))
    start = w if kind is forward else tree.combine(torch.square, w)
    noise = tree.combine(torch.sub, noise, start)
    cosine = tree.dot(noise, w, axes=1) / tree.norm(noise, axes=1) / tree.norm(w, axes=1)
    # weights up to 4 and squares up to 16, to which the noise was added, are rounded at 16 * 2^-53 = 2e-15
    assert (cosine[[2, 4]].abs() < 1e-14).all() and abs(cosine[0]) > 1e-4
    raw, twin = one(noise, 0), one(noise, 4)
    for name, value in across(raw, one(w, 4), axes=1).items():
        torch.testing.assert_close(twin[name], value, rtol=0, atol=1e-14)


def test_noise_of_a_run_that_has_none_is_zero_and_draws_nothing():
    drawing = streams(SEEDS, "walk")
    before = [each.get_state() for each in drawing]
    drawn = gaussian(weights(), STD, drawing)
    for i, std in enumerate(STD.tolist()):
        assert torch.equal(drawing[i].get_state(), before[i]) == (std == 0)
        assert all((value[i] == 0).all() == (std == 0) for value in drawn.values())


# Noise on weights and gradients


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.bits
def test_a_run_has_the_same_bits_in_a_stack_as_alone(kind):
    stacked = kind(STD, TANGENTIAL, weights(), streams(SEEDS, "walk"))
    for i in range(5):
        row = slice(i, i + 1)
        alone = kind(STD[row], TANGENTIAL[row], one(weights(), i), streams(SEEDS[row], "walk"))
        assert equal(alone, one(stacked, i))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_run_without_noise_keeps_its_bits_the_signs_of_zeros_too(kind):
    w = weights()
    for value in w.values():
        value[..., 0], value[..., 1] = 0.0, -0.0
    start = on_gradient(torch.zeros(5), TANGENTIAL, w, streams(SEEDS, "walk")) if kind is on_gradient else w
    after = kind(STD, TANGENTIAL, w, streams(SEEDS, "walk"))
    for i, std in enumerate(STD.tolist()):
        assert equal(one(after, i), one(start, i)) == (std == 0)


def test_a_gradient_without_noise_keeps_the_sign_of_a_zero():
    gradients = {"w": torch.tensor([[-0.0, 0.0, 1.0]])}
    noise_of(GradientNoise, torch.zeros(1), torch.tensor([True]))(
        gradients, {"w": torch.ones(1, 3)}, {}, streams([0], "g")
    )
    assert equal(gradients, {"w": torch.tensor([[-0.0, 0.0, 1.0]])})


def test_forward_noise_leaves_the_weights_and_is_a_constant_to_the_gradient():
    leaves = {name: value.clone().requires_grad_() for name, value in weights().items()}
    for i, tangential in enumerate([TANGENTIAL, ~TANGENTIAL]):
        noisy = noise_of(WeightNoise, STD, tangential)(leaves, streams(SEEDS, f"{i}"))
        loss = tree.ravel(tree.combine(lambda value: value.pow(3) / 3, noisy)).sum()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for gradient, value in zip(gradients, noisy.values(), strict=True):
            torch.testing.assert_close(gradient, value.detach().square(), rtol=4 * ROUNDING, atol=0)
    assert equal({name: value.detach() for name, value in leaves.items()}, copied(weights()))


def test_raw_noise_raises_the_norm_by_its_variance():
    d, std, w = 20_000, 0.1, {"w": torch.full((1, 20_000), 0.05)}
    before = tree.norm(w, axes=1).square()
    noise_of(WalkNoise, torch.tensor([std]), torch.tensor([False]))(w, streams([0], "walk"))
    after = tree.norm(w, axes=1).square()
    # |w + noise|^2 - |w|^2 = |noise|^2 + 2 <w, noise>, of variance 2 d std^4 and 4 |w|^2 std^2
    error = math.sqrt(2 * d * std**4 + 4 * before.item() * std**2)
    assert abs((after - before).item() - d * std**2) < 4 * error < d * std**2 / 10


def test_a_walk_on_the_sphere_keeps_its_norm_and_goes_where_its_twins_noise_points():
    w = weights()
    moved = walk(STD, TANGENTIAL, w, streams(SEEDS, "walk"))
    before, after = tree.norm(w, axes=1), tree.norm(moved, axes=1)
    # the sum, the factor and the product are rounded once each
    assert ((after / before - 1).abs()[[2, 4]] < 3 * ROUNDING).all()
    assert after[0] / before[0] > 1.001  # 1078 * 0.01 beside 1078, halved, would be 1.005

    noise = gaussian(one(w, 4), STD[:1], streams(SEEDS[:1], "walk"))
    step = across(noise, one(w, 4), axes=1)
    cosine = tree.dot(one(moved, 4), one(w, 4), axes=1) / before[4].square()
    angle = torch.atan(tree.norm(step, axes=1) / before[4])
    torch.testing.assert_close(cosine, angle.cos(), rtol=4 * ROUNDING, atol=0)


def test_noise_of_the_gradient_is_added_to_it_in_place():
    w, gradients = weights(), {name: torch.ones_like(value) for name, value in weights().items()}
    noise_of(GradientNoise, STD, ~TANGENTIAL)(gradients, w, {}, streams(SEEDS, "gradient"))
    raw = gaussian(w, STD, streams(SEEDS, "gradient"))
    for name, value in gradients.items():
        # a product and a sum, which a processor may round once or twice
        torch.testing.assert_close(value[2], 1 + raw[name][2], rtol=4 * ROUNDING, atol=4 * ROUNDING)


# Noise on labels


def test_labels_are_replaced_at_their_rate_by_any_class_alike():
    n, classes, share = 20_000, 5, torch.tensor([0.3, 1.0])
    labels = torch.full((2, n), 2)
    noisy = of_labels(share)(labels, classes, streams([0, 1], "labels"))
    assert (labels == 2).all()
    for row, of_run in zip(noisy, share.tolist(), strict=True):
        for label in range(classes):
            expected = of_run / classes + (label == 2) * (1 - of_run)
            error = math.sqrt(expected * (1 - expected) / n)
            assert abs((row == label).double().mean() - expected) < 4 * error


@pytest.mark.bits
def test_labels_of_a_run_are_the_same_in_a_stack_as_alone_and_kept_without_noise():
    share, seeds = torch.tensor([0.5, 0.0, 0.2]), [0, 1, 2]
    labels = torch.randint(7, (3, 101), generator=generator(1))
    drawing = streams(seeds, "labels")
    before = drawing[1].get_state()
    noisy = of_labels(share)(labels, 7, drawing)
    for i in range(3):
        row = slice(i, i + 1)
        alone = of_labels(share[row])(labels[row], 7, streams(seeds[row], "labels"))
        assert torch.equal(alone, noisy[row])
    assert torch.equal(noisy[1], labels[1]) and torch.equal(drawing[1].get_state(), before)
    assert not torch.equal(noisy[0], labels[0])


def test_labels_change_from_step_to_step_and_are_drawn_again_at_the_same_step():
    noise, labels = of_labels(torch.tensor([0.5])), torch.zeros(1, 50, dtype=torch.int64)
    second, third, again = (noise(labels, 7, streams([0], "labels", step)) for step in (2, 3, 2))
    assert not torch.equal(second, third)
    assert torch.equal(again, second)
