"""The state of a stack of runs in training, and one step of it.

All trained weights of a stack lie in one flat tensor [run, number], so that the optimizer takes one
step for all of them; the network sees views of it under TransformerLens' names. Decoupled decay is a
factor per run, applied before Adam's own step, so that runs of one stack may differ in it. Runs share
no arithmetic: at one thread a run has the same bits in a stack as alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from circuitgrok import tree
from circuitgrok.config import TrainConfig
from circuitgrok.interventions.constraints import Constraint, FixedDirection, FixedNorm, FixedNormPerTensor
from circuitgrok.interventions.losses import accuracy, cross_entropy, training_loss
from circuitgrok.models.fused import Workspace
from circuitgrok.polar.updates import adam_gradient_part, update_columns
from circuitgrok.runs import Run, RunError
from circuitgrok.tree import Params, role

PADDING = 64  # rows of the flat weights end on a vector register, so that no element sees a scalar tail


class Batch(NamedTuple):
    """The pairs of one side of the split, for each run."""

    inputs: Tensor  # [run pair 3]
    labels: Tensor  # [run pair]


@dataclass
class Stack:
    """What changes while training, and what each step needs to change it.

    Attributes:
        configs: One per run, equal in `stack_key`.
        flat: All trained numbers, `[run, number]`: what the optimizer steps.
        views: The trained tensors as views of `flat`, to change them.
        leaves: The same memory as autograd's leaves, to differentiate.
        gradients: Views of the gradient of `flat`.
        fixed: The tensors that do not train.
        held: What the constraint remembers: radii, or directions.
        train_pairs: The full batch.
        test_pairs: The rest.
        workspace: Buffers of the training batch's forward and backward.
        test_workspace: Buffers of the test batch's forward.
    """

    configs: list[TrainConfig]
    flat: Tensor
    views: Params
    leaves: Params
    gradients: Params
    fixed: Params
    optimizer: torch.optim.Optimizer
    constraint: Constraint | None
    held: dict[str, Tensor]
    decay: Tensor
    train_pairs: Batch
    test_pairs: Batch
    workspace: Workspace
    test_workspace: Workspace

    @property
    def weights(self) -> Params:
        """All tensors, `[run ...]`, in the model's order."""
        shapes = self.configs[0].model.shapes()
        return {name: self.leaves[name] if name in self.leaves else self.fixed[name] for name in shapes}


def initial_weights(config: TrainConfig) -> Params:
    """The weights at step 0, in the run's precision: drawn, or those of a checkpoint times the alphas.

    Raises:
        RunError: The checkpoint to start from is not there, or of another shape.
        DamagedFile: It is not what was written.
    """
    if config.init.start is None:
        generator = torch.Generator().manual_seed(config.init.seed)
        weights = config.model.init(generator, config.init.scheme, config.init.alpha, config.init.alpha_by_role)
    else:
        weights = _started(config, config.init.start)
    dtype = getattr(torch, config.numerics.precision)
    return {name: value.to(dtype) for name, value in weights.items()}


def _started(config: TrainConfig, start: str) -> Params:
    source, step = _source(start)
    model = config.model
    if source.config.model.shapes() != model.shapes():
        raise RunError(f"start: {start} holds a network of another shape than the one to train: give both one model")
    factors = {name: config.init.alpha * config.init.alpha_by_role.get(role(name), 1.0) for name in model.shapes()}
    return {name: value.double() * factors[name] for name, value in source.at(step).items()}


def source_digest(start: str) -> str:
    """Digest of the checkpoint RUN_FOLDER@STEP that a run starts from."""
    source, step = _source(start)
    source.at(step)  # refuses a step that is not there, and a file that is not what was written
    return source.index[step]


def _source(start: str) -> tuple[Run, int]:
    folder, step = start.rsplit("@", 1)
    return Run(Path(folder)), int(step)


def new_stack(configs: Sequence[TrainConfig]) -> Stack:
    """The stack at step 0, constrained from the start where a config says so."""
    model = configs[0].model
    weights = tree.stack(initial_weights(config) for config in configs)
    trained = {name: value for name, value in weights.items() if model.is_trainable(name)}
    flat = tree.ravel(trained, axes=1)
    flat = torch.nn.functional.pad(flat, (0, -flat.shape[1] % PADDING)).contiguous()
    shapes = {name: value[0] for name, value in trained.items()}
    views = tree.unravel(flat, shapes)
    leaves = {name: view.detach().requires_grad_() for name, view in views.items()}
    flat.grad = torch.zeros_like(flat)
    constraint = _constraint(configs)
    return Stack(
        configs=list(configs),
        flat=flat,
        views=views,
        leaves=leaves,
        gradients=tree.unravel(flat.grad, shapes),
        fixed={name: value for name, value in weights.items() if name not in trained},
        optimizer=_adam(flat, configs[0]),
        constraint=constraint,
        held=constraint(0, views, constraint.start(views)) if constraint else {},
        decay=torch.tensor([[c.optimizer.weight_decay] for c in configs], dtype=flat.dtype),
        train_pairs=_batch(configs, train=True),
        test_pairs=_batch(configs, train=False),
        workspace=Workspace(),
        test_workspace=Workspace(),
    )


def _adam(flat: Tensor, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW without its decay, which differs from run to run and is applied by `update`."""
    settings = config.optimizer
    betas = (settings.beta1, settings.beta2)
    adam = torch.optim.AdamW([flat], settings.lr, betas, settings.eps, weight_decay=0, fused=True)
    zeros = {"exp_avg": torch.zeros_like(flat), "exp_avg_sq": torch.zeros_like(flat)}
    adam.state[flat] = {"step": torch.tensor(0.0), **zeros}
    return adam


def _constraint(configs: Sequence[TrainConfig]) -> Constraint | None:
    held = [config.constraint for config in configs]
    if held[0].fixed_direction:
        return FixedDirection(
            torch.ones(len(held), dtype=torch.bool), torch.tensor([c.direction_from_step for c in held])
        )
    if not any(c.fixed_norm for c in held):
        return None
    kind = FixedNorm if held[0].norm_grain == "global" else FixedNormPerTensor
    given = [math.nan if c.norm_radius is None else c.norm_radius for c in held]
    return kind(
        on=torch.tensor([c.fixed_norm for c in held]),
        from_step=torch.tensor([c.norm_from_step for c in held]),
        radius=torch.tensor(given, dtype=torch.float64),
    )


def _batch(configs: Sequence[TrainConfig], train: bool) -> Batch:
    tasks = [config.task.task() for config in configs]
    masks = [task.is_train if train else ~task.is_train for task in tasks]
    return Batch(
        torch.stack([task.inputs[mask] for task, mask in zip(tasks, masks, strict=True)]),
        torch.stack([task.labels[mask] for task, mask in zip(tasks, masks, strict=True)]),
    )


def forward(stack: Stack) -> tuple[Tensor, Tensor]:
    """Logits of the training pairs `[run pair c]`, and each run's training loss `[run]`."""
    logits = stack.configs[0].model.training_logits(stack.weights, stack.train_pairs.inputs, stack.workspace)
    return logits, training_loss(logits, stack.train_pairs.labels)


def update(stack: Stack, losses: Tensor, step: int) -> None:
    """From the weights at `step` to those at `step + 1`: gradient, decay, Adam, constraint."""
    _differentiate(stack, losses)
    for stage in (_decay, _adam_step, _constrain):
        stage(stack, step)


def watched_update(stack: Stack, losses: Tensor, step: int) -> list[dict[str, float]]:
    """`update`, bit for bit, and each run's line about it: its parts in polar coordinates (`polar.updates`)."""
    _differentiate(stack, losses)
    moments, settings = stack.optimizer.state[stack.flat], stack.configs[0].optimizer
    gradient = stack.flat.grad
    assert gradient is not None
    flats = [stack.flat.to(torch.float64, copy=True)]
    for stage in (_decay, _adam_step, _constrain):
        stage(stack, step)
        flats.append(stack.flat.to(torch.float64, copy=True))
    by_gradient = adam_gradient_part(
        gradient,
        moments["exp_avg_sq"],
        lr=settings.rate(step),
        beta1=settings.beta1,
        beta2=settings.beta2,
        eps=settings.eps,
        t=step + 1,
    )
    moved = [after - before for before, after in pairwise(flats)]
    parts = {"gradient": by_gradient, "momentum": moved[1] - by_gradient, "decay": moved[0], "constraint": moved[2]}
    one = {name: view[0] for name, view in stack.views.items()}
    at, *split = (tree.unravel(flat, one) for flat in (flats[0], *parts.values()))
    columns = update_columns(at, stack.gradients, dict(zip(parts, split, strict=True)))
    return _records(step, columns)


def _differentiate(stack: Stack, losses: Tensor) -> None:
    gradients = torch.autograd.grad(losses.sum(), list(stack.leaves.values()))
    for target, gradient in zip(stack.gradients.values(), gradients, strict=True):
        target.copy_(gradient)


@torch.no_grad()
def _decay(stack: Stack, step: int) -> None:
    stack.flat.mul_(1 - stack.configs[0].optimizer.rate(step) * stack.decay)


def _adam_step(stack: Stack, step: int) -> None:
    stack.optimizer.param_groups[0]["lr"] = stack.configs[0].optimizer.rate(step)
    stack.optimizer.step()


@torch.no_grad()
def _constrain(stack: Stack, step: int) -> None:
    if stack.constraint:
        stack.held = stack.constraint(step + 1, stack.views, stack.held)


@torch.no_grad()
def evaluate(stack: Stack, step: int, logits: Tensor, losses: Tensor) -> list[dict[str, float]]:
    """Each run's line of history: the training batch's own logits, and one forward of the test pairs."""
    model, unseen = stack.configs[0].model, stack.test_pairs
    test_logits = model.training_logits(stack.weights, unseen.inputs, stack.test_workspace)
    columns = {
        "train_loss": losses,
        "test_loss": cross_entropy(test_logits, unseen.labels).mean(-1),
        "train_acc": accuracy(logits, stack.train_pairs.labels),
        "test_acc": accuracy(test_logits, unseen.labels),
        "norm": tree.norm(stack.views, axes=1),
    }
    return _records(step, columns)


def state_of(stack: Stack, i: int) -> Params:
    """Everything of run `i` that the next step needs: numbers, moments, what its constraint holds."""
    moments = stack.optimizer.state[stack.flat]
    state = {name: moments[name][i] for name in ("exp_avg", "exp_avg_sq")} | {"flat": stack.flat[i]}
    held = stack.held if _is_held(stack.configs[i]) else {}
    return state | {f"held:{name}": value[i] for name, value in held.items()}


def _records(step: int, columns: dict[str, Tensor]) -> list[dict[str, float]]:
    """Columns `[run]` as one record for each run."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [{"step": step, **dict(zip(columns, row, strict=True))} for row in rows]


def _is_held(config: TrainConfig) -> bool:
    return config.constraint.fixed_norm or config.constraint.fixed_direction


def put_state(stack: Stack, states: Sequence[Params], step: int) -> None:
    """Set every run to a state taken by `state_of` at `step`."""
    moments = stack.optimizer.state[stack.flat]
    moments["step"].fill_(float(step))
    targets = {"flat": stack.flat, "exp_avg": moments["exp_avg"], "exp_avg_sq": moments["exp_avg_sq"]}
    for i, state in enumerate(states):
        for name, target in targets.items():
            target[i] = state[name]
        for name, held in stack.held.items():
            held[i] = state[f"held:{name}"] if _is_held(stack.configs[i]) else torch.nan


def subset(stack: Stack, kept: Sequence[int], step: int) -> Stack:
    """The stack of some of its runs, each in its state."""
    smaller = new_stack([stack.configs[i] for i in kept])
    put_state(smaller, [state_of(stack, i) for i in kept], step)
    return smaller
