"""The state of a stack of runs in training.

All trained weights of a stack lie in one flat tensor [run, number], so that the optimizer takes one
step for all of them; the network sees views of it under TransformerLens' names. Decoupled decay is a
factor per run, applied before the optimizer's own step, so that runs of one stack may differ in it. Runs share
no arithmetic (`circuitgrok.apart`): at one thread a run has the same bits in a stack as alone.

What a config varies comes as small objects (`training.assembly`), and a step (`training.step`) asks each.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from circuitgrok import tree
from circuitgrok.apart import placed
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.interventions.constraints import ConstraintState, Motion
from circuitgrok.interventions.gradients import GradientState, GradientTransform
from circuitgrok.interventions.losses import Loss
from circuitgrok.interventions.optimizers import Stepper
from circuitgrok.interventions.penalties import Anchor
from circuitgrok.models.fused import Workspace
from circuitgrok.store.resume import read_moments
from circuitgrok.store.run import Run, RunError
from circuitgrok.training import assembly
from circuitgrok.training.assembly import Hold, Noises
from circuitgrok.tree import Params, role

PADDING = 64  # rows of the flat weights end on a vector register, so that no element sees a scalar tail


class Batch(NamedTuple):
    """The pairs of one side of the split, for each run."""

    inputs: Tensor  # [run pair ...]
    labels: Tensor  # [run pair], or [run pair c] where answers are real numbers


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
        stepper: The optimizer.
        loss: Of logits and labels.
        temperature: What logits are divided by, `[run 1 1]`; None for 1.
        penalties: Coefficients `[run]` by name.
        anchor: What penalties refer to.
        transforms: What is done to the gradient, in order.
        remembered: What each transform remembers.
        decay: Per unit of learning rate, `[run 1]` or `[run number]`.
        decay_target: What weights decay to, `[run number]`; None for zero.
        holds: The constraints in order, and when they begin.
        held: What each constraint remembers: radii, or directions.
        noises: The kinds of noise at work.
        train_pairs: The full batch.
        test_pairs: The rest.
        workspace: Buffers of the training batch's forward and backward.
        test_workspace: Buffers of the test batch's forward.
        clock: Steps that the optimizer had taken before step 0.
    """

    configs: list[TrainConfig]
    flat: Tensor
    views: Params
    leaves: Params
    gradients: Params
    fixed: Params
    stepper: Stepper
    loss: Loss
    temperature: Tensor | None
    penalties: dict[str, Tensor]
    anchor: Anchor
    transforms: list[GradientTransform]
    remembered: list[GradientState]
    decay: Tensor
    decay_target: Tensor | None
    holds: list[Hold]
    held: list[ConstraintState]
    noises: Noises
    train_pairs: Batch
    test_pairs: Batch
    workspace: Workspace
    test_workspace: Workspace
    clock: int = 0

    @property
    def weights(self) -> Params:
        """All tensors, `[run ...]`, in the model's order."""
        return self.completed(self.leaves)

    def completed(self, trained: Params) -> Params:
        """Trained tensors and those that do not train, in the model's order."""
        shapes = self.configs[0].model.shapes()
        return {name: trained[name] if name in trained else self.fixed[name] for name in shapes}


def initial_weights(config: TrainConfig) -> Params:
    """The weights at step 0, in the run's precision: drawn, or those of a checkpoint times the alphas.

    Raises:
        RunError: The checkpoint to start from is not there, or of another shape.
        DamagedFile: It is not what was written.
    """
    if config.init.start is None:
        generator = torch.Generator().manual_seed(config.init.seed)
        scheme: Any = config.init.scheme  # one of the model's, as the config has checked
        weights = config.model.init(generator, scheme, config.init.alpha, config.init.alpha_by_role)
    else:
        factors = config.init.alpha_by_role
        found = _checkpoint(config, config.init.start)
        weights = {name: w * (config.init.alpha * factors.get(role(name), 1.0)) for name, w in found.items()}
    dtype = getattr(torch, config.numerics.precision)
    return {name: value.to(dtype) for name, value in weights.items()}


def _checkpoint(config: TrainConfig, named: str) -> Params:
    """The weights RUN_FOLDER@STEP of another run of the same shape, in float64."""
    source, step = _source(named)
    if source.config.model.shapes() != config.model.shapes():
        raise RunError(f"{named} holds a network of another shape than the one to train: give both one model")
    return {name: value.double() for name, value in source.at(step).items()}


def source_digest(start: str) -> str:
    """Digest of the checkpoint RUN_FOLDER@STEP that a run starts from."""
    source, step = _source(start)
    source.at(step)  # refuses a step that is not there, and a file that is not what was written
    return source.index[step]


def _source(start: str) -> tuple[Run, int]:
    folder, step = start.rsplit("@", 1)
    return Run(Path(os.path.expanduser(folder))), int(step)


def new_stack(configs: Sequence[TrainConfig]) -> Stack:
    """The stack at step 0, constrained from the start where a config says so."""
    weights = tree.stack(initial_weights(config) for config in configs)
    sides = (_batch(configs, train=True), _batch(configs, train=False))
    stack = _built(configs, weights, _starts(configs, weights), sides)
    stack.decay_target = _decay_target(configs, stack.flat)
    constrain(stack, 0, None, torch.zeros(len(configs), dtype=torch.bool))
    _take_moments(stack)
    return stack


def _built(configs: Sequence[TrainConfig], weights: Params, starts: Params, sides: tuple[Batch, Batch]) -> Stack:
    """A stack at these weights, with nothing remembered yet; reads no file."""
    model = configs[0].model
    trained = {name: value for name, value in weights.items() if model.is_trainable(name)}
    flat = tree.ravel(trained, axes=1)
    flat = torch.nn.functional.pad(flat, (0, -flat.shape[1] % PADDING)).contiguous()
    shapes = {name: value[0] for name, value in trained.items()}
    views = tree.unravel(flat, shapes)
    flat.grad = torch.zeros_like(flat)
    gradients = tree.unravel(flat.grad, shapes)
    transforms, holds = assembly.transforms_of(configs), assembly.holds_of(configs)
    return Stack(
        configs=list(configs),
        flat=flat,
        views=views,
        leaves={name: view.detach().requires_grad_() for name, view in views.items()},
        gradients=gradients,
        fixed={name: value for name, value in weights.items() if name not in trained},
        stepper=assembly.stepper_of(configs, flat, views),
        loss=assembly.loss_of(configs[0]),
        temperature=_temperature(configs, flat),
        penalties=assembly.penalties_of(configs),
        anchor=assembly.anchor_of(configs, starts),
        transforms=transforms,
        remembered=[transform.start(gradients) for transform in transforms],
        decay=assembly.decay_of(configs, views, flat),
        decay_target=None,
        holds=holds,
        held=[hold.constraint.start(views) for hold in holds],
        noises=assembly.noises_of(configs),
        train_pairs=sides[0],
        test_pairs=sides[1],
        workspace=Workspace(),
        test_workspace=Workspace(),
    )


def _temperature(configs: Sequence[TrainConfig], flat: Tensor) -> Tensor | None:
    values = assembly.column(configs, "objective", "temperature", flat.dtype)
    return None if bool((values == 1).all()) else values[:, None, None]


def _starts(configs: Sequence[TrainConfig], weights: Params) -> Params:
    """Where repulsion measures from: the weights of step 0, or a named checkpoint's; nothing without repulsion."""
    if "repulsion" not in configs[0].penalties.coefficients:
        return {}
    trained = {name: value for name, value in weights.items() if configs[0].model.is_trainable(name)}
    rows = []
    for i, config in enumerate(configs):
        named = config.penalties.repel_from
        rows.append(_checkpoint(config, named) if named else {name: value[i] for name, value in trained.items()})
    return {name: torch.stack([row[name].to(value.dtype) for row in rows]) for name, value in trained.items()}


def _decay_target(configs: Sequence[TrainConfig], flat: Tensor) -> Tensor | None:
    to_init = torch.tensor([[c.optimizer.decay_to_init] for c in configs])
    return flat * to_init if bool(to_init.any()) else None


def _take_moments(stack: Stack) -> None:
    """The optimizer's state of the checkpoint that a run starts from, where it asks for that."""
    for i, config in enumerate(stack.configs):
        if config.init.start is not None and config.init.start_moments:
            source, step = _source(config.init.start)
            saved = read_moments(source, step)
            theirs = (source.config.optimizer.rule, source.config.numerics.precision)
            if theirs != (config.optimizer.rule, config.numerics.precision):
                raise RunError(
                    f"{config.init.start} was trained by {theirs[0]} in {theirs[1]}: start_moments needs both"
                )
            for name, target in stack.stepper.state.items():
                target[i] = saved[name]
            stack.clock = _source_clock(source, step)
    stack.stepper.resume(stack.clock)


def _source_clock(source: Run, step: int) -> int:
    """Steps that an optimizer has taken by a run's step, those before it started included."""
    init = source.config.init
    if init.start is None or not init.start_moments:
        return step
    return step + _source_clock(*_source(init.start))


def _batch(configs: Sequence[TrainConfig], train: bool) -> Batch:
    tasks = [config.task.draw() for config in configs]
    masks = [task.is_train if train else ~task.is_train for task in tasks]
    inputs = torch.stack([task.inputs[mask] for task, mask in zip(tasks, masks, strict=True)])
    labels = torch.stack([task.labels[mask] for task, mask in zip(tasks, masks, strict=True)])
    dtype = getattr(torch, configs[0].numerics.precision)
    return Batch(placed(inputs.to(dtype)) if inputs.is_floating_point() else inputs, labels)


def begun(state: ConstraintState, n_runs: int) -> Tensor:
    """Runs that a constraint holds already: whatever it remembers of them is a number."""
    found = torch.zeros(n_runs, dtype=torch.bool)
    for value in state.values():
        found |= ~value.reshape(n_runs, -1)[:, 0].isnan()
    return found


@torch.no_grad()
def constrain(stack: Stack, step: int, before: Params | None, reached: Tensor) -> None:
    """Let the holds begin that begin at `step` or at an event, and correct the weights by every constraint in order.

    Args:
        stack: At the weights of `step`, not yet corrected.
        step: Updates behind the weights.
        before: The weights before the last of them; None at step 0, or where no constraint asks.
        reached: Runs whose training accuracy has just reached what their holds wait for, `[run]`.
    """
    moment = stack.stepper.moment
    shapes = {name: view[0] for name, view in stack.views.items()}
    moments = None if moment is None or not stack.holds else tree.unravel(moment, shapes)
    for i, hold in enumerate(stack.holds):
        begins = (hold.from_step == step) | (reached & ~hold.from_train_acc.isnan())
        stack.held[i] = hold.constraint(Motion(begins, before, moments), stack.views, stack.held[i])


def _tensors(stack: Stack) -> Params:
    """Everything that the next step needs, every tensor `[run ...]`, by the name it is saved under."""
    found = {**stack.stepper.state, "flat": stack.flat}
    for i, state in enumerate(stack.held):
        found |= {f"held{i or ''}:{name}": value for name, value in state.items()}  # NaN: not held
    for i, state in enumerate(stack.remembered):
        found |= {f"transform{i}:{name}": value for name, value in state.items()}
    return found


def state_of(stack: Stack, i: int) -> Params:
    """Everything of run `i` that the next step needs: numbers, moments, what its constraint holds."""
    rows = {name: value[i] for name, value in _tensors(stack).items()}
    return {name: row for name, row in rows.items() if not (name.startswith("held") and bool(row.isnan().all()))}


def put_state(stack: Stack, states: Sequence[Params], step: int) -> None:
    """Set every run to a state taken by `state_of` at `step`; what a state has not is not held yet."""
    for name, target in _tensors(stack).items():
        for i, state in enumerate(states):
            if name in state:
                target[i] = state[name]
    stack.stepper.resume(stack.clock + step)


def subset(stack: Stack, kept: Sequence[int], step: int) -> Stack:
    """The stack of some of its runs, each in its state: a slice of what is in memory, no file is read again."""

    def rows(tensors: Params) -> Params:
        return {name: value.detach()[list(kept)] for name, value in tensors.items()}

    def pairs(side: Batch) -> Batch:
        return Batch(*(value[list(kept)] for value in side))

    configs = [stack.configs[i] for i in kept]
    sides = (pairs(stack.train_pairs), pairs(stack.test_pairs))
    smaller = _built(configs, rows(stack.weights), rows(stack.anchor.start), sides)
    if stack.decay_target is not None and any(config.optimizer.decay_to_init for config in configs):
        smaller.decay_target = stack.decay_target[list(kept)]
    smaller.clock = stack.clock
    put_state(smaller, [state_of(stack, i) for i in kept], step)
    return smaller
