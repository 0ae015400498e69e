"""What an intervention must do: act on a stack of runs as on each run alone, to the bit, also when it was interrupted.

A penalty's slope is, beside, that of finite differences.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from circuitgrok.interventions.base import KINDS, Intervention, State, applied
from circuitgrok.interventions.batches import Batches
from circuitgrok.interventions.constraints import Constraint, Moved
from circuitgrok.interventions.gradients import GradientTransform
from circuitgrok.interventions.logits import OnLogits
from circuitgrok.interventions.noise import AfterStep, OnForward, OnLabels, streams
from circuitgrok.interventions.penalties import Penalty
from circuitgrok.tree import Params, combine, dot

# 23 numbers and 6 more, of three tensors: no multiple of a vector register, so that places in memory differ.
_SHAPES = {"embed.W_E": (3, 5), "blocks.0.mlp.W_in": (5, 2), "unembed.W_U": (2, 2)}
_RUNS, _STEPS, _CLASSES = 3, 4, 5


def check_intervention(one: Intervention, *, step: float = 1e-4) -> None:
    """Raise AssertionError, with the rule that is broken, unless an object can be an intervention of a stack of runs.

    It is what its plain values say; a run has the same bits in a stack as alone, and after what is remembered was saved
    and read again; what it is only shown stays as it is; shapes and dtypes do not change. A penalty gives one finite
    float64 number for each run, whose slope is that of finite differences. What draws nothing and says that it can be
    captured does the same operations twice, with the same numbers of Python, and looks at no number.

    Args:
        one: The intervention of a run. The runs of the stack have it alike, and differ in their weights and seeds.
        step: Of the finite differences, whose error is of its square.

    Example:
        >>> from circuitgrok.interventions.gradients import GrokfastEMA
        >>> check_intervention(GrokfastEMA(grokfast_ema=2.0))
    """
    values = one.model_dump(mode="json")
    again = KINDS[values.pop("kind")].model_validate(values)
    assert again == one, f"an intervention must be what its plain values say; got {again!r} for {one!r}"
    if one.capturable and one.stream is None and not isinstance(one, Batches):
        _check_capturable(one)
    if isinstance(one, Penalty):
        _check_penalty(one, step)
        return
    together = _after(one, list(range(_RUNS)))
    for name, state in together[1].items():
        assert len(state) == _RUNS, f"state {name} must have the axis of the {_RUNS} runs in front"
    for run in range(_RUNS):
        alone = _after(one, [run])
        assert _same(alone[0], _one(together[0], run)), f"run {run} has another {_what(one)} alone than in a stack"
        assert _same(alone[1], _one(together[1], run)), f"run {run} has another state alone than in a stack"
    broken = _after(one, list(range(_RUNS)), resumed_after=_STEPS // 2)
    assert _same(broken[0], together[0]), f"a run that goes on from its saved state has another {_what(one)}"


def _what(one: Intervention) -> str:
    """What is compared."""
    said = {GradientTransform: "gradient", OnLabels: "labels", OnLogits: "logits"}
    return next((word for family, word in said.items() if isinstance(one, family)), "weights")


def _after(one: Intervention, runs: list[int], resumed_after: int = -1) -> tuple[Params, State]:
    """What some runs have after a few steps, and what is remembered; a copy of that goes on if it is saved between."""
    at_work, turn = applied([one] * len(runs)), _turn_of(one)
    weights = combine(lambda w: w.float(), _drawn(0, runs))
    state: State = at_work.start(weights) if isinstance(one, (GradientTransform, Constraint)) else {}
    found: Params = {}
    for step in range(_STEPS):
        if step == resumed_after:
            state = combine(torch.clone, state)
        more = {"generators": streams(runs, one.stream, step)} if one.stream else {}
        found, state = turn(at_work, step, runs, weights, state, more)
    return found, state


def _turn_of(one: Intervention) -> Callable[..., tuple[Params, State]]:
    turns = {GradientTransform: _on_gradient, Constraint: _held, OnForward: _seen, AfterStep: _moved}
    turns |= {OnLabels: _taught, OnLogits: _told}
    found = [turn for family, turn in turns.items() if isinstance(one, family)]
    assert found, f"{type(one).__name__} is of no family that acts in a step (see interventions.base)"
    return found[0]


def _on_gradient(at_work, step, runs, weights, state, more) -> tuple[Params, State]:
    gradients, before = combine(lambda g: g.float(), _drawn(1 + step, runs)), combine(torch.clone, weights)
    like = combine(torch.empty_like, gradients)
    if at_work.kind.sees_all:
        more |= {"whole": combine(lambda g: g.float(), _drawn(40 + step, runs))}
    state = at_work(gradients, weights, state, **more)
    assert _same(weights, before), "a gradient transform must leave the weights as they are"
    for name, value in gradients.items():
        assert (value.shape, value.dtype) == (like[name].shape, like[name].dtype), (
            f"the gradient of {name} has another shape or dtype"
        )
    return gradients, state


def _held(at_work, step, runs, weights, state, more) -> tuple[Params, State]:
    before, moment = combine(torch.clone, weights), combine(lambda g: g.float(), _drawn(20 + step, runs))
    if step:
        for name, value in _drawn(1 + step, runs).items():
            weights[name].add_(0.1 * value.float())
    free, begins = combine(torch.clone, weights), torch.tensor([run < 2 and step == run for run in runs])
    state = at_work(Moved(begins, before if step else None, moment), weights, state, **more)
    waiting = [i for i, run in enumerate(runs) if run == 2 or step < run]
    rest = ({name: value[waiting] for name, value in params.items()} for params in (weights, free))
    assert _same(*rest), "a run that is not held must keep its weights"
    return weights, state


def _seen(at_work, step, runs, weights, state, more) -> tuple[Params, State]:
    before = combine(torch.clone, weights)
    found = at_work(weights, **more)
    assert _same(weights, before), "what is looked at must be new tensors: the weights stay as they are"
    return found, state


def _moved(at_work, step, runs, weights, state, more) -> tuple[Params, State]:
    at_work(weights, **more)
    return weights, state


def _taught(at_work, step, runs, weights, state, more) -> tuple[Params, State]:
    labels = torch.arange(7).remainder(_CLASSES).expand(len(runs), 7)
    found = at_work(labels, _CLASSES, **more)
    assert bool(((found >= 0) & (found < _CLASSES)).all()), f"labels must be classes, 0 to {_CLASSES - 1}"
    return {"labels": found}, state


def _told(at_work, step, runs, weights, state, more) -> tuple[Params, State]:
    return {"logits": at_work(weights["embed.W_E"], **more)}, state


def _check_penalty(one: Penalty, step: float) -> None:
    runs = list(range(_RUNS))
    weights = _drawn(0, runs)
    before = combine(torch.clone, weights)
    value, slope = _value_and_slope(one, runs, weights)
    assert value.shape == (_RUNS,) and value.dtype == torch.float64, (
        f"a penalty must give one float64 number for each of {_RUNS} runs; got {value.dtype} of shape "
        f"{tuple(value.shape)}"
    )
    assert bool(value.isfinite().all()), f"a penalty must be finite; got {value.tolist()}"
    assert _same(weights, before), "a penalty must leave the weights as they are"
    for run in runs:
        alone = _value_and_slope(one, [run], _drawn(0, [run]))
        assert torch.equal(alone[0], value[run : run + 1]), f"run {run} has another penalty alone than in a stack"
        assert _same(alone[1], _one(slope, run)), f"run {run} has another slope alone than in a stack"
    along = _drawn(1, runs)

    def at(h: float) -> Tensor:
        return _value(one, runs, combine(lambda w, d: w + h * d, weights, along))

    def difference(h: float) -> Tensor:
        return (at(h) - at(-h)) / (2 * h)

    # A central difference errs as the square of its step: of two steps, a third of how far apart they are is the error
    # of the finer one. So the rule is the same for a penalty times any number. And each value is rounded.
    coarse, numeric, exact = difference(step), difference(step / 2), dot(slope, along, axes=1)
    error = (coarse - numeric).abs() + 32 * torch.finfo(torch.float64).eps * value.abs() / step
    assert bool(((numeric - exact).abs() <= error).all()), (
        f"a penalty's slope must be that of finite differences; got {exact.tolist()} against {numeric.tolist()}"
    )


class _Noted(TorchDispatchMode):
    """Operations, with their numbers of Python."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = tree_flatten((args, kwargs))[0]
        self.operations.append(f"{func} {[x for x in given if not isinstance(x, Tensor)]}")
        return func(*args, **(kwargs or {}))


def _check_capturable(one: Intervention) -> None:
    """On a device that holds no numbers, so that none can be looked at."""
    nowhere = torch.device("meta")
    at_work = applied([one] * _RUNS, nowhere)
    weights = combine(lambda w: w.float().to(nowhere), _drawn(0, list(range(_RUNS))))
    other, begins = combine(torch.clone, weights), torch.ones(_RUNS, dtype=torch.bool, device=nowhere)
    state: State = at_work.start(weights) if isinstance(one, (GradientTransform, Constraint)) else {}
    noted = [_Noted(), _Noted()]
    for mode in noted:
        with mode:
            try:
                if isinstance(one, Penalty):
                    at_work(weights, **({"start": other} if one.from_start else {}))
                elif isinstance(one, GradientTransform):
                    state = at_work(other, weights, state)
                elif isinstance(one, Constraint):
                    state = at_work(Moved(begins, other, combine(torch.clone, weights)), weights, state)
                else:
                    at_work(weights["embed.W_E"])
            except (RuntimeError, NotImplementedError) as looked:
                raise AssertionError(
                    f"{one.kind} says that it can be captured, and looks at numbers: {looked}"
                ) from None
    assert noted[0].operations == noted[1].operations, (
        f"{one.kind} says that it can be captured, and does not do the same with the same numbers at every step"
    )


def _value(one: Penalty, runs: list[int], weights: Params) -> Tensor:
    """At coefficient 1; starts are near the weights, so that no penalty is at a flat place."""
    start = combine(lambda w, d: w + 0.1 * d, _drawn(0, runs), _drawn(9, runs))
    return applied([one] * len(runs))(weights, **({"start": start} if one.from_start else {}))


def _value_and_slope(one: Penalty, runs: list[int], weights: Params) -> tuple[Tensor, Params]:
    leaves = {name: value.detach().clone().requires_grad_() for name, value in weights.items()}
    value = _value(one, runs, leaves)
    if value.shape != (len(runs),):
        return value.detach(), {}
    slopes = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(leaves, slopes, strict=True))


def _drawn(seed: int, runs: list[int]) -> Params:
    """Weights of some runs, float64; a run draws the same in every stack."""
    found: dict[str, list[Tensor]] = {name: [] for name in _SHAPES}
    for run in runs:
        draw = torch.Generator().manual_seed(100 * seed + run)
        for name, shape in _SHAPES.items():
            found[name].append(torch.randn(shape, generator=draw, dtype=torch.float64))
    return {name: torch.stack(each) for name, each in found.items()}


def _one(params: Params, run: int) -> Params:
    return {name: value[run : run + 1].clone() for name, value in params.items()}


def _same(one: Params, other: Params) -> bool:
    """Bit for bit; what is not set yet is NaN on both sides."""
    return all(torch.equal(one[name].nan_to_num(), other[name].nan_to_num()) for name in other)
