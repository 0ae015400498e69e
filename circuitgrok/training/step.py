"""One step of a stack of runs: forward, the parts of the update in their order, and what is recorded.

    labels, weights and activations with noise -> loss + penalties -> gradient -> noise, transforms
    -> decay -> optimizer -> noise that stays -> constraints

Each part is a small object of the stack (`training.assembly`); what a stack holds is in `training.stack`.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from circuitgrok import tree
from circuitgrok.interventions.collapse import collapse_columns
from circuitgrok.interventions.constraints import Geodesic
from circuitgrok.interventions.losses import accuracy, within_tolerance
from circuitgrok.interventions.penalties import PENALTIES
from circuitgrok.polar.updates import update_columns
from circuitgrok.training import assembly
from circuitgrok.training.stack import Batch, Stack, begun, constrain
from circuitgrok.tree import Params, role


class Pass(NamedTuple):
    """A forward pass over the training pairs."""

    logits: Tensor  # [run pair c], divided by the temperature
    objective: Tensor  # [run], what is differentiated: loss and penalties
    penalty: Tensor | None  # [run], its part that is penalties


def forward(stack: Stack, step: int) -> Pass:
    """Logits of the training pairs, and each run's objective, with the noise of this step."""
    configs, noises, model = stack.configs, stack.noises, stack.configs[0].model
    labels, trained = stack.train_pairs.labels, stack.leaves
    if noises.labels:
        streams = assembly.generators(configs, step, "labels")
        labels = noises.labels(labels, configs[0].task.n_classes, streams)
    if noises.weights:
        trained = noises.weights(trained, assembly.generators(configs, step, "weights"))
    weights = stack.completed(trained)
    if noises.rates:
        dropout = assembly.dropout(configs, noises.rates, step)
        logits = model.noisy_logits(weights, stack.train_pairs.inputs, dropout)
    else:
        logits = model.training_logits(weights, stack.train_pairs.inputs, stack.workspace)
    logits = _cooled(stack, logits)
    objective = stack.loss.training(logits, labels)
    if not stack.penalties:
        return Pass(logits, objective, None)
    terms = [coef * PENALTIES[name].function(stack.leaves, stack.anchor) for name, coef in stack.penalties.items()]
    penalty = sum(terms[1:], start=terms[0])
    return Pass(logits, objective + penalty, penalty)


def _cooled(stack: Stack, logits: Tensor) -> Tensor:
    return logits if stack.temperature is None else logits / stack.temperature


def update(stack: Stack, ahead: Pass, step: int) -> None:
    """From the weights at `step` to those at `step + 1`."""
    _differentiate(stack, ahead, step)
    reached, before = _reached(stack, ahead), _before(stack)
    for stage in (_decay, _optimize, _walk):
        stage(stack, step)
    constrain(stack, step + 1, before, reached)


def watched_update(stack: Stack, ahead: Pass, step: int) -> list[dict[str, float]]:
    """`update`, bit for bit, and each run's line about it: its parts in polar coordinates (`polar.updates`)."""
    _differentiate(stack, ahead, step)
    reached, before = _reached(stack, ahead), _before(stack)
    flats = [stack.flat.to(torch.float64, copy=True)]
    for stage in (_decay, _optimize, _walk):
        stage(stack, step)
        flats.append(stack.flat.to(torch.float64, copy=True))
    constrain(stack, step + 1, before, reached)
    flats.append(stack.flat.to(torch.float64, copy=True))
    moved = [after - at for at, after in pairwise(flats)]
    by_gradient = stack.stepper.gradient_part(stack.configs[0].optimizer.rate(step), stack.clock + step + 1)
    whole = (
        {"gradient": moved[1]} if by_gradient is None else {"gradient": by_gradient, "momentum": moved[1] - by_gradient}
    )
    parts = whole | {"decay": moved[0]} | ({"noise": moved[2]} if stack.noises.walk else {}) | {"constraint": moved[3]}
    one = {name: view[0] for name, view in stack.views.items()}
    at, *split = (tree.unravel(flat, one) for flat in (flats[0], *parts.values()))
    columns = update_columns(at, stack.gradients, dict(zip(parts, split, strict=True)))
    return _records(step, columns)


def _differentiate(stack: Stack, ahead: Pass, step: int) -> None:
    gradients = torch.autograd.grad(ahead.objective.sum(), list(stack.leaves.values()))
    for target, gradient in zip(stack.gradients.values(), gradients, strict=True):
        target.copy_(gradient)
    if stack.noises.gradient:
        streams = assembly.generators(stack.configs, step, "gradient")
        stack.noises.gradient(stack.gradients, stack.views, streams)
    for i, transform in enumerate(stack.transforms):
        stack.remembered[i] = transform(stack.gradients, stack.views, stack.remembered[i])


@torch.no_grad()
def _decay(stack: Stack, step: int) -> None:
    rate = stack.configs[0].optimizer.rate(step)
    stack.flat.mul_(1 - rate * stack.decay)
    if stack.decay_target is not None:
        stack.flat.add_(rate * stack.decay * stack.decay_target)


def _optimize(stack: Stack, step: int) -> None:
    stack.stepper.step(stack.configs[0].optimizer.rate(step))


@torch.no_grad()
def _walk(stack: Stack, step: int) -> None:
    if stack.noises.walk:
        stack.noises.walk(stack.views, assembly.generators(stack.configs, step, "walk"))


def _before(stack: Stack) -> Params | None:
    """The weights before the step, for motion along great circles."""
    arcs = any(isinstance(hold.constraint, Geodesic) for hold in stack.holds)
    return {name: view.clone() for name, view in stack.views.items()} if arcs else None


def _reached(stack: Stack, ahead: Pass) -> Tensor:
    """Runs whose training accuracy has reached what their holds wait for, `[run]`."""
    none = torch.zeros(len(stack.configs), dtype=torch.bool)
    for hold, state in zip(stack.holds, stack.held, strict=True):
        waits = ~hold.from_train_acc.isnan() & ~begun(state, len(stack.configs))
        if bool(waits.any()):
            none = none | (waits & (_right(stack, ahead.logits.detach(), stack.train_pairs) >= hold.from_train_acc))
    return none


def _right(stack: Stack, logits: Tensor, pairs: Batch) -> Tensor:
    """Share of right answers, `[run]`."""
    if pairs.labels.is_floating_point():
        return within_tolerance(logits, pairs.labels, stack.configs[0].task.tolerance)  # pyright: ignore[reportAttributeAccessIssue]
    return accuracy(logits, pairs.labels)


@torch.no_grad()
def evaluate(stack: Stack, step: int, ahead: Pass) -> list[dict[str, float]]:
    """Each run's line of history: the training batch's own logits, unless they are noisy, and a forward of the rest."""
    model, seen, unseen, weights = stack.configs[0].model, stack.train_pairs, stack.test_pairs, stack.weights
    test_logits = _cooled(stack, model.training_logits(weights, unseen.inputs, stack.test_workspace))
    logits = ahead.logits
    if stack.noises.in_forward:
        logits = _cooled(stack, model.training_logits(weights, seen.inputs, stack.test_workspace))
    columns = {
        "train_loss": torch.where(ahead.objective.isfinite(), stack.loss.exact(logits, seen.labels), torch.nan),
        "test_loss": stack.loss.exact(test_logits, unseen.labels),
        "train_acc": _right(stack, logits, seen),
        "test_acc": _right(stack, test_logits, unseen),
        "norm": tree.norm(stack.views, axes=1),
        "norm_unembed": tree.norm({n: v for n, v in stack.views.items() if role(n) == "unembed"}, axes=1),
    }
    if ahead.penalty is not None:
        columns["penalty"] = ahead.penalty
    if stack.configs[0].objective.loss_precision != "float64":
        columns |= collapse_columns(logits, seen.labels, getattr(torch, stack.configs[0].objective.loss_precision))
    return _records(step, columns)


def _records(step: int, columns: dict[str, Tensor]) -> list[dict[str, float]]:
    """Columns `[run]` as one record for each run."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [{"step": step, **dict(zip(columns, row, strict=True))} for row in rows]
