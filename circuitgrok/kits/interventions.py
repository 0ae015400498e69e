"""What a penalty and a gradient transform must do: act on a stack of runs as on each run alone, to the bit."""

from collections.abc import Callable

import torch
from torch import Tensor

from circuitgrok.interventions.gradients import GradientTransform
from circuitgrok.interventions.penalties import Anchor, PenaltyFunction
from circuitgrok.tree import Params, combine, dot, norm

# 23 numbers and 6 more, of three tensors: no multiple of a vector register, so that places in memory differ.
_SHAPES = {"embed.W_E": (3, 5), "blocks.0.mlp.W_in": (5, 2), "unembed.W_U": (2, 2)}
_RUNS = 3


def check_penalty(function: PenaltyFunction, *, step: float = 1e-4) -> None:
    """Raise AssertionError, with the rule that is broken, unless a function can be a penalty of a stack.

    It gives one finite float64 number for each run; its slope is that of finite differences; a run has the same
    number and slope, to the bit, in a stack as alone; and the weights stay as they are.

    Args:
        function: Trained tensors `[run ...]` and an anchor to one number per run.
        step: Of the finite differences, whose error is of its square.

    Example:
        >>> from circuitgrok.interventions.penalties import l2
        >>> check_penalty(l2)
    """
    weights, anchor = _drawn(0), _anchor()
    before = combine(torch.clone, weights)
    value, slope = _value_and_slope(function, weights, anchor)
    assert value.shape == (_RUNS,) and value.dtype == torch.float64, (
        f"a penalty must give one float64 number for each of {_RUNS} runs; got {value.dtype} of shape "
        f"{tuple(value.shape)}"
    )
    assert bool(value.isfinite().all()), f"a penalty must be finite; got {value.tolist()}"
    assert _same(weights, before), "a penalty must leave the weights as they are"
    for i in range(_RUNS):
        alone = _value_and_slope(function, _one(weights, i), Anchor(_one(anchor.start, i), *_ends(anchor, i)))
        assert torch.equal(alone[0], value[i : i + 1]), f"run {i} has another penalty alone than in a stack"
        assert _same(alone[1], _one(slope, i)), f"run {i} has another slope alone than in a stack"
    along = _drawn(1)

    def at(h: float) -> Tensor:
        return function(combine(lambda w, d: w + h * d, weights, along), anchor)

    def difference(h: float) -> Tensor:
        return (at(h) - at(-h)) / (2 * h)

    # A central difference errs as the square of its step: of two steps, a third of how far apart they are is the error
    # of the finer one. So the rule is the same for a penalty times any number. And each value is rounded.
    coarse, numeric, exact = difference(step), difference(step / 2), dot(slope, along, axes=1)
    error = (coarse - numeric).abs() + 32 * torch.finfo(torch.float64).eps * value.abs() / step
    assert bool(((numeric - exact).abs() <= error).all()), (
        f"a penalty's slope must be that of finite differences; got {exact.tolist()} against {numeric.tolist()}"
    )


def check_transform(make: Callable[[int], GradientTransform], *, steps: int = 4) -> None:
    """Raise AssertionError, with the rule that is broken, unless an object is a gradient transform of a stack.

    Its state has the runs' axis in front; a run has the same gradients and state, to the bit, in a stack as alone, and
    after its state was saved and read again; the weights stay as they are; shapes and dtypes do not change.

    Args:
        make: The transform for so many runs, which are alike.
        steps: Gradients in a row that are transformed.

    Example:
        >>> from circuitgrok.interventions.gradients import GrokfastEMA
        >>> check_transform(lambda runs: GrokfastEMA(torch.full((runs,), 2.0), torch.full((runs,), 0.9)))
    """
    weights = combine(lambda w: w.float(), _drawn(0))
    gradients = [combine(lambda g: g.float(), _drawn(1 + step)) for step in range(steps)]
    before = combine(torch.clone, weights)
    together = _transformed(make(_RUNS), gradients, weights)
    assert _same(weights, before), "a gradient transform must leave the weights as they are"
    for name, part in together[1].items():
        assert len(part) == _RUNS, f"state {name} must have the axis of the {_RUNS} runs in front"
    for name, value in together[0].items():
        like = gradients[0][name]
        assert (value.shape, value.dtype) == (like.shape, like.dtype), (
            f"the gradient of {name} has another shape or dtype"
        )
    for i in range(_RUNS):
        alone = _transformed(make(1), [_one(each, i) for each in gradients], _one(weights, i))
        assert _same(alone[0], _one(together[0], i)), f"run {i} has another gradient alone than in a stack"
        assert _same(alone[1], _one(together[1], i)), f"run {i} has another state alone than in a stack"
    broken = _transformed(make(_RUNS), gradients, weights, resumed_after=steps // 2)
    assert _same(broken[0], together[0]), "a run that goes on from its saved state has another gradient"


def _transformed(
    transform: GradientTransform, gradients: list[Params], weights: Params, resumed_after: int = -1
) -> tuple[Params, Params]:
    """The last gradient and the state, of which a copy goes on if it is saved on the way."""
    state, present = transform.start(gradients[0]), gradients[0]
    for step, given in enumerate(gradients):
        if step == resumed_after:
            state = combine(torch.clone, state)
        present = combine(torch.clone, given)
        state = transform(present, weights, state)
    return present, state


def _drawn(seed: int) -> Params:
    """Weights of some runs, float64; a run draws the same in every stack."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: torch.stack([torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(_RUNS)])
        for name, shape in _SHAPES.items()
    }


def _anchor() -> Anchor:
    """Starts near the weights, radii and bounds of their size: no penalty is at a flat place."""
    start = combine(lambda w, d: w + 0.1 * d, _drawn(0), _drawn(9))
    norms = norm(_drawn(0), axes=1)
    return Anchor(start, radius=1.5 * norms, bound=0.1 * norms)


def _ends(anchor: Anchor, run: int) -> tuple[Tensor, Tensor]:
    return anchor.radius[run : run + 1], anchor.bound[run : run + 1]


def _value_and_slope(function: PenaltyFunction, weights: Params, anchor: Anchor) -> tuple[Tensor, Params]:
    leaves = {name: value.detach().clone().requires_grad_() for name, value in weights.items()}
    value = function(leaves, anchor)
    slopes = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(leaves, slopes, strict=True))


def _one(params: Params, run: int) -> Params:
    return {name: value[run : run + 1].clone() for name, value in params.items()}


def _same(one: Params, other: Params) -> bool:
    """Bit for bit."""
    return all(torch.equal(one[name], other[name]) for name in other)
