"""Gradient transforms: the released recursions by hand, closed forms, and runs that share no bit of their state."""

from collections import deque

import pytest
import torch
from oracles import noise
from torch import Tensor

from circuitgrok import tree
from circuitgrok.interventions.base import Applied, State
from circuitgrok.interventions.gradients import GrokfastEMA, GrokfastMA, OrthoGrad

EPS = torch.finfo(torch.float64).eps
SHAPES = {"a": (3, 5), "b": (7,), "c": (1,)}  # 23 numbers: no multiple of a vector register


def ema(amplitude: Tensor, decay: Tensor) -> Applied:
    return Applied(GrokfastEMA, {"grokfast_ema": amplitude, "grokfast_decay": decay})


def mean(amplitude: Tensor, window: int) -> Applied:
    return Applied(GrokfastMA, {"grokfast_ma": amplitude, "grokfast_window": window})


def across_all(rescale: Tensor) -> Applied:
    return Applied(OrthoGrad, {"orthograd": "global", "orthograd_rescale": rescale})


def per_tensor(rescale: Tensor) -> Applied:
    return Applied(OrthoGrad, {"orthograd": "tensor", "orthograd_rescale": rescale})


def drawn(seed: int, runs: int = 3) -> tree.Params:
    """Gradients or weights of a stack, float32; run i draws the same in every stack."""
    alone = [{k: noise(*s, seed=100 * seed + 10 * i + j).float() for j, (k, s) in enumerate(SHAPES.items())}
             for i in range(runs)]  # fmt: skip
    return tree.stack(alone)


def runs_of(params: tree.Params, kept: list[int]) -> tree.Params:
    return {name: value[kept].clone() for name, value in params.items()}


def same(a: tree.Params, b: tree.Params) -> bool:
    """Bit for bit, the signs of zeros included."""
    return all(torch.equal(a[name], b[name]) and torch.equal(a[name].signbit(), b[name].signbit()) for name in b)


def several(
    transform: Applied, steps: range, state: State | None = None, kept: tuple[int, ...] = (0, 1, 2)
) -> tuple[tree.Params, State]:
    """The last gradients of some runs, and their state, after transforming a gradient per step."""
    gradients = runs_of(drawn(0), list(kept))
    now = state or transform.start(gradients)
    for step in steps:
        gradients = runs_of(drawn(step), list(kept))
        now = transform(gradients, runs_of(drawn(99), list(kept)), now)
    return gradients, now


def transforms(kept: tuple[int, ...] = (0, 1, 2)) -> list[Applied]:
    """One of each kind, for some of three runs that differ in all their numbers; the last amplitude is zero."""
    amplitude, decay = torch.tensor([2.0, 0.5, 0.0])[list(kept)], torch.tensor([0.98, 0.7, 0.9])[list(kept)]
    rescale = torch.tensor([True, False, True])[list(kept)]
    return [
        ema(amplitude, decay),
        mean(amplitude, window=3),
        across_all(rescale),
        per_tensor(rescale),
    ]


# --- Grokfast ---------------------------------------------------------------------------------------


def test_grokfast_ema_is_the_published_recursion():
    """Each run's tensors by themselves, with Python numbers, the average begun as the first gradient."""
    rounding = torch.finfo(torch.float32).eps
    amplitude, decay = [2.0, 0.5], [0.98, 0.7]
    transform = ema(torch.tensor(amplitude, dtype=torch.float64), torch.tensor(decay, dtype=torch.float64))
    state, averages = transform.start(drawn(0, runs=2)), {}
    for step in range(6):
        gradients = drawn(step, runs=2)
        for run in range(2):
            for name, value in gradients.items():
                given = value[run].clone()
                past = averages.get((run, name), given)
                averages[run, name] = past * decay[run] + given * (1 - decay[run])
        expected = [{n: v[i] + amplitude[i] * averages[i, n] for n, v in gradients.items()} for i in range(2)]
        state = transform(gradients, {}, state)
        for name, value in tree.stack(expected).items():
            # Four roundings a step, of numbers that are under 4 each and up to thrice that when they are added.
            torch.testing.assert_close(gradients[name], value, rtol=0, atol=4 * (step + 1) * 12 * rounding)


def test_a_constant_gradient_is_multiplied_by_one_plus_the_amplitude_from_the_first_step_on():
    transform = ema(torch.tensor([2.0]).double(), torch.tensor([0.9], dtype=torch.float64))
    constant = {"w": noise(1, 5)}
    state = transform.start(constant)
    for step in range(1, 20):
        gradients = {"w": constant["w"].clone()}
        state = transform(gradients, {}, state)
        torch.testing.assert_close(gradients["w"], 3 * constant["w"], rtol=4 * step * EPS, atol=0)  # 4 roundings a step


def test_an_impulse_fades_by_the_decay():
    transform = ema(torch.tensor([2.0]).double(), torch.tensor([0.9], dtype=torch.float64))
    state = transform.start({"w": torch.zeros(1, 1).double()})
    for step in range(8):
        gradients = {"w": torch.tensor([[0.0 if step else 1.0]]).double()}
        state = transform(gradients, {}, state)
        expected = 2 * 0.9**step + (step == 0)
        assert gradients["w"].item() == pytest.approx(expected, rel=4 * (step + 1) * EPS, abs=0)


def test_grokfast_ma_adds_the_mean_of_the_window_once_the_window_is_full():
    transform, amplitude = mean(torch.tensor([5.0, 0.5]).double(), window=4), torch.tensor([[5.0], [0.5]])
    queue: deque[Tensor] = deque(maxlen=4)
    state = transform.start({"w": torch.zeros(2, 9).double()})
    for step in range(11):
        given = noise(2, 9, seed=step)
        queue.append(given)
        gradients = {"w": given.clone()}
        state = transform(gradients, {}, state)
        if step < 3:
            assert torch.equal(gradients["w"], given)
        else:
            slow = torch.stack(list(queue)).mean(0)
            # a sum of four, in another order: four roundings of numbers that are under 4 each, and the amplitude
            torch.testing.assert_close(gradients["w"], given + amplitude * slow, rtol=0, atol=5 * 16 * EPS)


def test_the_mean_of_a_ramp_lags_by_half_the_window():
    transform = mean(torch.tensor([1.0]).double(), window=5)
    state = transform.start({"w": torch.zeros(1, 1).double()})
    for step in range(12):
        gradients = {"w": torch.full((1, 1), float(step)).double()}
        state = transform(gradients, {}, state)
        assert gradients["w"].item() == (step if step < 4 else 2 * step - 2)


def test_a_window_of_no_gradient_is_refused():
    with pytest.raises(ValueError, match="grokfast_window\n.*greater than or equal to 1"):
        GrokfastMA(grokfast_ma=1.0, grokfast_window=0)


@pytest.mark.parametrize("kind", [lambda a: ema(a, torch.full_like(a, 0.9)), lambda a: mean(a, 1)])
def test_amplitude_zero_keeps_every_bit_also_beside_a_run_that_diverges(kind):
    given = torch.tensor([[-0.0, 0.0, 1e-40, 3.0], [torch.inf, torch.nan, 1.0, -0.0]])
    transform = kind(torch.tensor([0.0, 2.0]))
    gradients = {"w": given.clone()}
    transform(gradients, {}, transform.start(gradients))
    assert same({"w": gradients["w"][0]}, {"w": given[0]})
    off = kind(torch.zeros(2))
    gradients = {"w": given.clone()}
    off(gradients, {}, off.start(gradients))
    assert torch.equal(gradients["w"].view(torch.int32), given.view(torch.int32))  # infinities and NaNs too


# --- OrthoGrad --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rescale", [True, False])
def test_what_is_left_is_across_the_weights_and_of_the_length_that_was_asked_for(rescale):
    weights, gradients = ({k: v.double() for k, v in drawn(seed).items()} for seed in (1, 2))
    given = {name: value.clone() for name, value in gradients.items()}
    across_all(torch.tensor([rescale] * 3))(gradients, weights, {})
    r, length = tree.norm(weights, axes=1), tree.norm(given, axes=1)
    n = 23
    assert (tree.dot(gradients, weights, axes=1).abs() <= 4 * n * EPS * r * length).all()  # a sum of n, taken twice
    along = tree.dot(given, weights, axes=1) / r
    expected = length if rescale else (length.square() - along.square()).sqrt()  # Pythagoras
    torch.testing.assert_close(tree.norm(gradients, axes=1), expected, rtol=8 * n * EPS, atol=0)


def test_per_tensor_is_the_published_projection_of_each_tensor():
    """In float64 with loops; the transform is float32 outside, and rounds its result once."""
    weights, gradients = drawn(1), drawn(2)
    expected = {name: torch.empty_like(value, dtype=torch.float64) for name, value in gradients.items()}
    for run in range(3):
        for name in ("a", "b"):  # "c" is a single number: along itself altogether
            w, g = weights[name][run].double().flatten(), gradients[name][run].double().flatten()
            across = g - torch.dot(w, g) / torch.dot(w, w) * w
            scaled = across * (g.norm() / across.norm())
            expected[name][run] = scaled.view_as(expected[name][run])
    per_tensor(torch.tensor([True] * 3))(gradients, weights, {})
    half_a_step = torch.finfo(torch.float32).eps / 2 + 64 * EPS
    for name in ("a", "b"):
        torch.testing.assert_close(gradients[name].double(), expected[name], rtol=half_a_step, atol=1e-30)


def test_global_is_the_projection_of_all_tensors_as_one():
    weights, gradients = drawn(1), drawn(2)
    one = {"all": tree.ravel(gradients, axes=1)}
    per_tensor(torch.tensor([True, False, True]))(one, {"all": tree.ravel(weights, axes=1)}, {})
    across_all(torch.tensor([True, False, True]))(gradients, weights, {})
    # A product of 23 numbers under 4 in another order, in float64, then one rounding to float32.
    rounding = torch.finfo(torch.float32).eps
    torch.testing.assert_close(tree.ravel(gradients, axes=1), one["all"], rtol=2 * rounding, atol=2 * rounding)


def test_weights_that_are_zero_have_no_direction_and_leave_the_gradient_as_it_is():
    weights, gradients = drawn(1), drawn(2)
    weights["b"][1] = 0
    given = {name: value.clone() for name, value in gradients.items()}
    per_tensor(torch.tensor([True] * 3))(gradients, weights, {})
    assert torch.equal(gradients["b"][1], given["b"][1]) and not torch.equal(gradients["b"][0], given["b"][0])
    whole = {name: value.clone() for name, value in given.items()}
    across_all(torch.tensor([True] * 3))(whole, {name: 0 * value for name, value in weights.items()}, {})
    assert same(whole, given)


def test_a_gradient_along_the_weights_becomes_zero_and_its_rounding_is_not_blown_up():
    weights = {"w": noise(4, 11), "one": noise(4, 1, seed=1)}
    gradients = {name: -0.3 * value for name, value in weights.items()}
    per_tensor(torch.tensor([True] * 4))(gradients, weights, {})
    assert all(torch.equal(value, torch.zeros_like(value)) for value in gradients.values())


# --- all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("run", [0, 1, 2])
@pytest.mark.bits
def test_a_run_in_a_stack_has_the_bits_of_the_run_alone(kind, run):
    whole, _ = several(transforms()[kind], range(6))
    alone, _ = several(transforms((run,))[kind], range(6), kept=(run,))
    assert same(runs_of(whole, [run]), alone)


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.bits
def test_a_run_goes_on_in_another_stack_from_its_saved_state_with_the_same_bits(kind):
    whole, _ = several(transforms()[kind], range(7))
    _, state = several(transforms()[kind], range(4))
    saved = [{name: value[run].clone() for name, value in state.items()} for run in (1, 2, 0)]
    moved = transforms((1, 2, 0))[kind]
    target = moved.start(runs_of(drawn(0), [1, 2, 0]))
    for place, run in enumerate(saved):
        for name, value in target.items():
            value[place] = run[name]
    gone_on, _ = several(moved, range(4, 7), target, kept=(1, 2, 0))
    assert same(runs_of(whole, [1, 2, 0]), gone_on)


@pytest.mark.parametrize("kind", range(4))
def test_gradients_are_changed_where_they_lie_and_the_padding_behind_them_is_not(kind):
    flat = torch.zeros(3, 64)
    views = tree.unravel(flat, {name: value[0] for name, value in drawn(0).items()})
    transform = transforms()[kind]
    state = transform.start(views)
    for step in range(4):
        for name, value in drawn(step).items():
            views[name].copy_(value)
        state = transform(views, drawn(99), state)
    expected, _ = several(transforms()[kind], range(4))
    assert same(views, expected) and torch.equal(flat[:, 23:], torch.zeros(3, 41))
