"""One step of a stack of runs: forward, the parts of the update in their order, and what is recorded.

    labels, weights and activations with noise -> loss + penalties -> gradient -> noise, transforms
    -> decay -> optimizer -> noise that stays -> constraints

Each part is an intervention at work (`interventions.base`), asked when its turn comes; what a stack holds is in
`training.stack`.
"""

import math
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from circuitgrok import tree
from circuitgrok.device import perhaps_any
from circuitgrok.interventions.base import Applied
from circuitgrok.interventions.batches import Batches
from circuitgrok.interventions.collapse import collapse_columns
from circuitgrok.interventions.constraints import Constraint
from circuitgrok.interventions.dropout_parts import DropoutParts
from circuitgrok.interventions.gradients import GradientTransform
from circuitgrok.interventions.losses import accuracy, within_tolerance
from circuitgrok.interventions.noise import AfterStep, DropoutRate, OnForward, OnLabels
from circuitgrok.interventions.penalties import Penalty
from circuitgrok.models.dropout import Dropout
from circuitgrok.polar.updates import update_columns
from circuitgrok.tasks.shares import PARTIAL
from circuitgrok.training.moment import Moment, moment
from circuitgrok.training.pairs import (
    Batch,
    Shares,
    as_computed,
    as_seen,
    batch_noise,
    clean_logits,
    loss_gradient,
    seen_pairs,
)
from circuitgrok.training.stack import Stack, begun, constrain
from circuitgrok.tree import Params, role


class ForwardPass(NamedTuple):
    """A forward pass over the training pairs, or the batch of a step."""

    logits: Tensor  # [run pair c] of the pairs that the step sees, as the loss sees them
    objective: Tensor  # [run], what is differentiated: loss and penalties
    penalty: Tensor | None  # [run], its part that is penalties


def forward(stack: Stack, step: int | Moment) -> ForwardPass:
    """Logits of the pairs that this step sees, and each run's objective, with the noise of this step."""
    now = moment(stack, step) if isinstance(step, int) else step
    first, trained, pairs = stack.configs[0], stack.leaves, seen_pairs(stack, now)
    labels = pairs.labels
    for one in stack.of(OnLabels):
        labels = one(labels, first.task.n_classes, **_drawn(one, now))
    for one in stack.of(OnForward):
        trained = one(trained, **_drawn(one, now))
    weights, inputs = as_computed(stack, stack.completed(trained)), pairs.inputs
    if stack.of(DropoutRate):
        logits, objective = _dropped(stack, weights, Batch(inputs, labels), now)
    else:
        logits = as_seen(stack, first.model.training_logits(weights, inputs, stack.workspace))
        objective = stack.loss.training(logits, labels)
    penalties = stack.of(Penalty)
    if not penalties:
        return ForwardPass(logits, objective, None)
    terms = [one.fields[one.kind.kind] * _penalty(stack, one) for one in penalties]
    penalty = reduce(torch.add, terms)
    return ForwardPass(logits, objective + penalty, penalty)


def _dropped(stack: Stack, weights: Params, pairs: Batch, now: Moment) -> tuple[Tensor, Tensor]:
    """Logits with the step's first mask, and what is descended: the loss of these, or what is made of several masks."""
    model, dropped = stack.configs[0].model, stack.of(DropoutRate)
    rates = {one.kind.kind: float(one.fields[one.kind.kind]) for one in dropped}
    embed, attention, mlp = (rates.get(f"dropout_{site}", 0.0) for site in ("embed", "attention", "mlp"))
    dropout, drawn = Dropout(embed, attention, mlp, **_drawn(dropped[0], now)), []

    def loss(of: Dropout) -> Tensor:
        drawn.append(as_seen(stack, model.noisy_logits(weights, pairs.inputs, of)))
        return stack.loss.training(drawn[-1], pairs.labels)

    parts = stack.of(DropoutParts)
    none = Dropout(0.0, 0.0, 0.0, dropout.generators)
    objective = parts[0](lambda: loss(dropout), lambda: loss(none)) if parts else loss(dropout)
    return drawn[0], objective


def _penalty(stack: Stack, one: Applied) -> Tensor:
    start = stack.starts.get(one.kind.kind)
    return one(stack.leaves) if start is None else one(stack.leaves, start=start)


def _drawn(one: Applied, now: Moment) -> dict[str, Any]:
    """A generator for each run, from its noise seed, the step and what is drawn, if anything is."""
    return {} if one.kind.stream is None else {"generators": now.generators(one.kind.stream)}


def update(stack: Stack, ahead: ForwardPass, step: int | Moment) -> None:
    """From the weights at `step` to those at `step + 1`."""
    now = moment(stack, step) if isinstance(step, int) else step
    _differentiate(stack, ahead, now)
    reached, before = _reached(stack, ahead), _before(stack)
    for stage in (_decay, _optimize, _walk):
        stage(stack, now)
    constrain(stack, now.number + 1, before, reached)


def watched_update(stack: Stack, ahead: ForwardPass, step: int) -> list[dict[str, float]]:
    """`update`, bit for bit, and each run's line about it: its parts in polar coordinates (`polar.updates`)."""
    now = moment(stack, step)
    noise = batch_noise(stack, now)
    _differentiate(stack, ahead, now)
    reached, before = _reached(stack, ahead), _before(stack)
    flats = [stack.flat.to(torch.float64, copy=True)]
    for stage in (_decay, _optimize, _walk):
        stage(stack, now)
        flats.append(stack.flat.to(torch.float64, copy=True))
    constrain(stack, step + 1, before, reached)
    flats.append(stack.flat.to(torch.float64, copy=True))
    moved = [after - at for at, after in pairwise(flats)]
    by_gradient = stack.optimizer.gradient_part(stack.configs[0].optimizer.rate(step), stack.clock + step + 1)
    whole = (
        {"gradient": moved[1]} if by_gradient is None else {"gradient": by_gradient, "momentum": moved[1] - by_gradient}
    )
    walked = {"noise": moved[2]} if stack.of(AfterStep) else {}
    parts = whole | {"decay": moved[0]} | walked | {"constraint": moved[3]}
    one = {name: view[0] for name, view in stack.views.items()}
    at, *split = (tree.unravel(flat, one) for flat in (flats[0], *parts.values()))
    columns = update_columns(at, stack.gradients, dict(zip(parts, split, strict=True)))
    return records(step, columns | noise)


def _differentiate(stack: Stack, ahead: ForwardPass, now: Moment) -> None:
    gradients = torch.autograd.grad(ahead.objective.sum(), list(stack.leaves.values()))
    for target, gradient in zip(stack.gradients.values(), gradients, strict=True):
        target.copy_(gradient)
    for one in stack.of(GradientTransform):
        state, kind = stack.states[one.kind.kind], one.kind.kind
        whole = {"whole": loss_gradient(stack, stack.train_pairs)} if one.kind.sees_all else {}  # pyright: ignore[reportAttributeAccessIssue]
        stack.remember(kind, one(stack.gradients, stack.views, state, **whole, **_drawn(one, now)))


@torch.no_grad()
def _decay(stack: Stack, now: Moment) -> None:
    stack.flat.mul_(1 - now.rate * stack.decay)
    if stack.decay_target is not None:
        stack.flat.add_(now.rate * stack.decay * stack.decay_target)


@torch.no_grad()
def _optimize(stack: Stack, now: Moment) -> None:
    if stack.moving is not None:
        stack.moving.zero_()
        stack.optimizer.step(1.0)
        stack.flat.add_(stack.moving.mul_(now.rate))
    else:
        assert isinstance(now.rate, float)
        stack.optimizer.step(now.rate)


@torch.no_grad()
def _walk(stack: Stack, now: Moment) -> None:
    for one in stack.of(AfterStep):
        one(stack.views, **_drawn(one, now))


def _before(stack: Stack) -> Params | None:
    """The weights before the step, where a constraint asks for them."""
    held = (one for config in stack.configs for one in config.interventions if isinstance(one, Constraint))
    return {name: view.clone() for name, view in stack.views.items()} if any(one.looks_back for one in held) else None


@torch.no_grad()
def _reached(stack: Stack, ahead: ForwardPass) -> Tensor:
    """Runs whose training accuracy has reached what their holds wait for, `[run]`."""
    none = torch.zeros(len(stack.configs), dtype=torch.bool, device=stack.flat.device)
    for kind, (_, train_acc, is_awaited) in stack.beginnings.items():
        waits = ~train_acc.isnan() & ~begun(stack.states[kind], train_acc)
        if is_awaited and perhaps_any(waits):
            logits = clean_logits(stack, stack.train_pairs) if stack.of(Batches) else ahead.logits.detach()
            none = none | (waits & (_right(stack, logits, stack.train_pairs) >= train_acc))
    return none


def _right(stack: Stack, logits: Tensor, pairs: Batch) -> Tensor:
    """Share of right answers, `[run]`."""
    if pairs.labels.is_floating_point():
        return within_tolerance(logits, pairs.labels, stack.configs[0].task.tolerance)  # pyright: ignore[reportAttributeAccessIssue]
    return accuracy(logits, pairs.labels)


@torch.no_grad()
def evaluate(stack: Stack, step: int, ahead: ForwardPass) -> list[dict[str, float]]:
    """Each run's line of history."""
    return records(step, evaluated(stack, ahead))


@torch.no_grad()
def evaluated(stack: Stack, ahead: ForwardPass) -> dict[str, Tensor]:
    """What the history holds of a step, `[run]` by column.

    Of the step's own logits, unless they are noisy or of a batch, and those of the test pairs.
    """
    seen, unseen = stack.train_pairs, stack.test_pairs
    test_logits = clean_logits(stack, unseen)
    logits = clean_logits(stack, seen) if stack.is_noisy_forward else ahead.logits
    columns = {
        "train_loss": torch.where(ahead.objective.isfinite(), stack.loss.exact(logits, seen.labels), torch.nan),
        "test_loss": stack.loss.exact(test_logits, unseen.labels),
        **_accuracies(stack, "train_acc", logits, seen, stack.train_shares),
        **_accuracies(stack, "test_acc", test_logits, unseen, stack.test_shares),
        "norm": tree.norm(stack.views, axes=1),
        "norm_unembed": tree.norm({n: v for n, v in stack.views.items() if role(n) == "unembed"}, axes=1),
    }
    if ahead.penalty is not None:
        columns["penalty"] = ahead.penalty
    if stack.configs[0].objective.loss_precision != "float64":
        columns |= collapse_columns(logits, seen.labels, getattr(torch, stack.configs[0].objective.loss_precision))
    return columns


def _accuracies(stack: Stack, column: str, logits: Tensor, pairs: Batch, shares: Shares | None) -> dict[str, Tensor]:
    """Shares of right answers on a side and on its parts, `[run]` by column."""
    return {column: _right(stack, logits, pairs)} if shares is None else shares.accuracies(logits.argmax(-1))


def records(step: int, columns: dict[str, Tensor]) -> list[dict[str, float]]:
    """Columns `[run]` as one record for each run; the accuracy of a part that a run has not is not in its own."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    named = (zip(columns, row, strict=True) for row in rows)
    return [{"step": step, **{n: v for n, v in row if not (n in PARTIAL and math.isnan(v))}} for row in named]
