"""Losses: closed forms, torch's own losses, and gradients against finite differences and against autograd's."""

import math

import pytest
import torch
from loops import for_each
from oracles import noise
from torch.nn import functional

from circuitgrok.interventions.losses import (
    CrossEntropy,
    Loss,
    LowPrecisionCrossEntropy,
    MeanSquares,
    SmoothedCrossEntropy,
    StableMax,
    accuracy,
    cross_entropy,
    training_loss,
    within_tolerance,
)

LOSSES = {
    "cross_entropy": CrossEntropy(),
    "smoothed": SmoothedCrossEntropy(0.2),
    "float32": LowPrecisionCrossEntropy(torch.float32),
    "float16": LowPrecisionCrossEntropy(torch.float16),
    "stablemax": StableMax(),
    "mean_squares": MeanSquares(),
}


def draws(dtype, scale, pairs=40):
    generator = torch.Generator().manual_seed(3)
    logits = scale * torch.randn(2, pairs, 7, generator=generator, dtype=torch.float64)
    return logits.to(dtype), torch.randint(7, (2, pairs), generator=generator)


@for_each("margin", [1.0, 25.0])  # at 25 a float32 log-softmax says 0
def test_a_margin_over_equal_rivals_has_its_closed_form(margin):
    logits = torch.zeros(1, 5)
    logits[0, 2] = margin
    expected = math.log1p(4 * math.exp(-margin))
    assert cross_entropy(logits, torch.tensor([2])).item() == pytest.approx(expected, rel=1e-3, abs=2e-16)
    assert training_loss(logits[None], torch.tensor([[2]])).item() == pytest.approx(expected, rel=1e-3, abs=2e-16)


@for_each(("dtype", "rounding"), [(torch.float64, 1e-15), (torch.float32, 1e-7)])
@for_each("scale", [1.0, 30.0])
def test_the_training_loss_and_its_gradient_are_those_of_the_mean_cross_entropy(dtype, rounding, scale):
    logits, labels = draws(dtype, scale)
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)

    def gradient(loss):
        leaf = logits.clone().requires_grad_()
        values = loss(leaf)
        return values.detach(), torch.autograd.grad((values * weights).sum(), leaf)[0]

    fast, fast_gradient = gradient(lambda leaf: training_loss(leaf, labels))
    plain, plain_gradient = gradient(lambda leaf: cross_entropy(leaf, labels).mean(-1))
    # a mean of 40 logarithms of sums of 7: fewer than 64 roundings, in float64
    torch.testing.assert_close(fast.double(), plain.double(), rtol=64 * 2**-52, atol=0)
    # entries are at most 3 / 40; both are rounded once more to the logits' type
    torch.testing.assert_close(fast_gradient, plain_gradient, rtol=4 * rounding, atol=rounding)


def test_a_network_that_is_sure_has_no_subnormal_gradients_and_none_that_matter_are_dropped():
    logits, labels = draws(torch.float32, 60.0)
    leaf = logits.clone().requires_grad_()
    gradient = torch.autograd.grad(training_loss(leaf, labels).sum(), leaf)[0]
    plain = torch.autograd.grad(cross_entropy(leaf, labels).mean(-1).sum(), leaf)[0]
    tiny = torch.finfo(torch.float32).tiny
    assert ((plain != 0) & (plain.abs() < tiny)).any()  # else this test is empty
    assert not ((gradient != 0) & (gradient.abs() < tiny)).any()
    dropped = (gradient == 0) & (plain != 0)
    assert dropped.any() and plain[dropped].abs().max() < 1e12 * tiny / 40


def trained(loss, logits, labels):
    """Value and gradient of each run."""
    leaf = logits.clone().requires_grad_()
    values = loss.training(leaf, labels)
    return values.detach(), torch.autograd.grad(values.sum(), leaf)[0]


def same_bits(one, other):
    ours, theirs = ([part.reshape(-1).view(torch.uint8) for part in parts] for parts in (one, other))
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


# Every loss


@pytest.mark.parametrize("pairs", [40, 41, 173])  # numbers in all that fill vector registers, and that do not
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.bits
def test_a_run_has_the_same_bits_in_a_stack_as_alone(loss, pairs):
    logits, labels = draws(torch.float32, 3.0, pairs)
    stacked, exact = trained(loss, logits, labels), loss.exact(logits, labels)
    for i in range(2):
        row = slice(i, i + 1)
        assert same_bits(trained(loss, logits[row], labels[row]), [part[row] for part in stacked])
        assert same_bits([loss.exact(logits[i], labels[i])[None]], [exact[row]])


@for_each("loss", LOSSES.values(), ids=LOSSES)
def test_the_exact_loss_is_float64_and_takes_labels_that_the_stack_shares(loss):
    logits, labels = draws(torch.float32, 3.0)
    assert isinstance(loss, Loss)
    shared = loss.exact(logits, labels[0])
    assert shared.dtype == torch.float64 and torch.equal(shared, loss.exact(logits, labels[0].expand(2, -1)))


@for_each("name", ["cross_entropy", "smoothed", "stablemax", "mean_squares"])
def test_gradients_agree_with_finite_differences(name):
    # gradcheck: central differences with steps of 1e-6 err by 1e-16 / 1e-6 at most, far below its atol of 1e-5
    logits, labels = 2 * noise(2, 5, 4, seed=1), torch.randint(4, (2, 5), generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda z: LOSSES[name].training(z, labels), logits.requires_grad_())


# Cross-entropy


def test_cross_entropy_is_the_training_loss_bit_for_bit():
    logits, labels = draws(torch.float32, 3.0)
    leaf = logits.clone().requires_grad_()
    values = training_loss(leaf, labels)
    assert same_bits(trained(CrossEntropy(), logits, labels), [values, torch.autograd.grad(values.sum(), leaf)[0]])
    assert torch.equal(CrossEntropy().exact(logits, labels), values)


def test_accuracy_is_the_share_of_right_argmaxes():
    logits = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]], [[2.0, 1.0], [0.0, 3.0], [0.0, 1.0]]])
    assert accuracy(logits, torch.tensor([1, 0, 0])).tolist() == [2 / 3, 0.0]


# Label smoothing


@for_each("share", [0.1, 0.7])
def test_smoothing_is_that_of_torch(share):
    logits, labels = draws(torch.float64, 3.0)
    values, gradient = trained(SmoothedCrossEntropy(share), logits, labels)
    leaf = logits.clone().requires_grad_()
    expected = torch.stack(
        [functional.cross_entropy(z, y, label_smoothing=share) for z, y in zip(leaf, labels, strict=True)]
    )
    # losses of 10 are sums and differences of numbers of that size; entries of the gradient are at most 1 / 40
    torch.testing.assert_close(values, expected.detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), leaf)[0], rtol=0, atol=1e-16)


@pytest.mark.bits
def test_runs_smooth_by_their_own_share_and_none_is_todays_loss_bit_for_bit():
    logits, labels = draws(torch.float32, 30.0)
    plain = trained(CrossEntropy(), logits, labels)
    both = trained(SmoothedCrossEntropy(torch.tensor([0.0, 0.25])), logits, labels)
    smoothed = trained(SmoothedCrossEntropy(0.25), logits, labels)
    assert same_bits([part[0] for part in both], [part[0] for part in plain])
    assert same_bits([part[1] for part in both], [part[1] for part in smoothed])
    assert same_bits(trained(SmoothedCrossEntropy(0.0), logits, labels), plain)


def test_a_smoothed_loss_is_least_at_its_margin_and_its_exact_loss_is_not_smoothed():
    share, classes = 0.3, 5
    logits, labels = torch.zeros(1, 1, classes, dtype=torch.float64), torch.tensor([[2]])
    logits[0, 0, 2] = math.log(1 + classes * (1 - share) / share)
    loss = SmoothedCrossEntropy(share)
    value, gradient = trained(loss, logits, labels)
    targets = [share / classes] * 4 + [1 - share + share / classes]
    assert value.item() == pytest.approx(-sum(q * math.log(q) for q in targets), rel=1e-14)  # their entropy
    assert gradient.abs().max() < 4e-16  # differences of probabilities
    assert loss.exact(logits, labels).item() == pytest.approx(-math.log(targets[-1]), rel=1e-14)


# Low precision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.bits
def test_low_precision_is_the_cross_entropy_of_torch_bit_for_bit(dtype):
    logits, labels = draws(torch.float32, 3.0)
    values, gradient = trained(LowPrecisionCrossEntropy(dtype), logits, labels)
    assert values.dtype == dtype and gradient.dtype == torch.float32
    for i in range(2):
        leaf = logits[i].clone().requires_grad_()
        value = functional.cross_entropy(leaf.to(dtype), labels[i])
        assert same_bits([values[i : i + 1], gradient[i]], [value[None], torch.autograd.grad(value, leaf)[0]])


@for_each(("dtype", "digits"), [(torch.float32, 24), (torch.float16, 11)])
def test_a_low_precision_loses_the_last_rival_at_its_margin(dtype, digits):
    # 1 + e^-m rounds to 1 for e^-m below half the spacing above 1, which is 2^(1 - digits)
    margins = digits * math.log(2) + torch.tensor([-0.02, 0.02])
    logits, labels = torch.stack([margins, torch.zeros(2)], dim=-1)[:, None], torch.zeros(2, 1, dtype=torch.int64)
    values, gradient = trained(LowPrecisionCrossEntropy(dtype), logits, labels)
    assert values[0] > 0 and gradient[0, 0, 0] < 0
    assert values[1] == 0 and gradient[1, 0, 0] == 0 and gradient[1, 0, 1] > 0
    exact = LowPrecisionCrossEntropy(dtype).exact(logits, labels)
    torch.testing.assert_close(exact, (-margins.double()).exp().log1p(), rtol=1e-8, atol=0)  # 1e-16 beside 1e-7


def test_a_float16_gradient_underflows_where_a_pairs_share_of_it_is_below_2_to_the_minus_25():
    margins = 15 * math.log(2) + torch.tensor([-0.1, 0.1])
    logits = torch.stack([margins, torch.zeros(2)], dim=-1)[:, None].expand(2, 1024, 2)
    _, gradient = trained(LowPrecisionCrossEntropy(torch.float16), logits, torch.zeros(2, 1024, dtype=torch.int64))
    assert (gradient[0, :, 1] == 2**-24).all() and (gradient[1] == 0).all()


# StableMax


def test_stablemax_by_hand():
    logits = torch.tensor([[[0.0, 1.0, -1.0], [3.0, -3.0, 0.0]]])  # s: 1, 2, 1/2 and 4, 1/4, 1
    losses = -math.log(2 / 3.5), -math.log(0.25 / 5.25)
    value, gradient = trained(StableMax(), logits.double(), torch.tensor([[1, 1]]))
    assert value.item() == pytest.approx(sum(losses) / 2, rel=1e-15)
    # (p - y) / (1 + |z|), over two pairs; at z = 0 too
    first = [1 / 3.5 / 1, (2 / 3.5 - 1) / 2, 0.5 / 3.5 / 2]
    second = [4 / 5.25 / 4, (0.25 / 5.25 - 1) / 4, 1 / 5.25 / 1]
    expected = torch.tensor([[first, second]], dtype=torch.float64) / 2
    torch.testing.assert_close(gradient, expected, rtol=1e-14, atol=0)


def test_stablemax_does_not_collapse_where_a_softmax_is_sure():
    logits, labels = torch.tensor([[[1e6, 0.0]]]), torch.tensor([[0]])
    value, gradient = trained(StableMax(), logits, labels)
    assert CrossEntropy().exact(logits, labels) == 0
    assert value.item() == pytest.approx(math.log1p(1 / (1 + 1e6)), rel=1e-9)  # 1e-16 beside 1e-6
    assert gradient[0, 0, 0] < 0 < gradient[0, 0, 1]


# Mean squares


@for_each("kind", ["classes", "real"])
def test_mean_squares_are_those_of_torch(kind):
    logits, labels = draws(torch.float64, 3.0)
    table = functional.one_hot(labels, 7).double()
    targets = table if kind == "classes" else noise(2, 40, 7, seed=5)
    leaf = logits.clone().requires_grad_()
    expected = torch.stack([functional.mse_loss(z, t) for z, t in zip(leaf, targets, strict=True)])
    values, gradient = trained(MeanSquares(), logits, labels if kind == "classes" else targets)
    torch.testing.assert_close(values, expected.detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), leaf)[0], rtol=1e-14, atol=0)


def test_mean_squares_of_float32_are_summed_in_float64():
    outputs, targets = torch.zeros(1, 2, 1), torch.tensor([[[1.0], [2.0**-20]]])
    assert MeanSquares().training(outputs, targets).item() == (1 + 2.0**-40) / 2


def test_real_targets_can_be_shared_by_a_stack():
    outputs, targets = noise(3, 4, 2), noise(4, 2, seed=1)
    assert torch.equal(MeanSquares().exact(outputs, targets), MeanSquares().exact(outputs, targets.expand(3, 4, 2)))


def test_within_counts_examples_of_small_mean_squared_error():
    targets = torch.zeros(3, 2)
    outputs = torch.tensor([[[0.0, 0.4], [0.1, 0.1], [0.5, 0.5]], [[1.0, 0.0], [0.2, 0.0], [9.0, 9.0]]])
    assert within_tolerance(outputs, targets, tolerance=0.1).tolist() == [2 / 3, 1 / 3]  # .08, .01, .25 and .5, .02, 81
    assert within_tolerance(outputs, targets.expand(2, 3, 2), tolerance=0.3).tolist() == [1.0, 1 / 3]
