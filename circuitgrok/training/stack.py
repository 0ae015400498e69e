"""The state of a stack of runs in training.

All trained weights of a stack lie in one flat tensor [run, number], so that the optimizer takes one
step for all of them; the network sees views of it under TransformerLens' names. Decoupled decay is a
factor per run, applied before the optimizer's own step, so that runs of one stack may differ in it. Runs share
no arithmetic (`circuitgrok.apart`): at one thread a run has the same bits in a stack as alone.

What a config varies is at work here as one `Applied` for each kind of intervention, and a step (`training.step`) asks
each when its turn comes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok import tree
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.config.upgrade import upgraded_state
from circuitgrok.device import CPU, is_elsewhere
from circuitgrok.interventions import losses, optimizers
from circuitgrok.interventions.base import KINDS, NEVER, Applied, Intervention, State, applied
from circuitgrok.interventions.batches import Batches
from circuitgrok.interventions.constraints import Constraint, Moved
from circuitgrok.interventions.gradients import GradientTransform
from circuitgrok.interventions.noise import DropoutRate, OnForward
from circuitgrok.interventions.penalties import Penalty
from circuitgrok.models.fused import Workspace
from circuitgrok.training.origin import checkpoint, initial_weights, moments
from circuitgrok.training.pairs import Batch, Shares, shares_of, side
from circuitgrok.tree import Params, role

PADDING = 64  # rows of the flat weights end on a vector register, so that no element sees a scalar tail


class Beginning(NamedTuple):
    """When the hold of a constraint begins in each run."""

    step: Int[Tensor, " run"]  # NEVER: not by a step
    train_acc: Float[Tensor, " run"]  # NaN: not by this event
    is_awaited: bool  # whether any begins by an event


@dataclass
class Stack:
    """What changes while training, and what each step needs to change it.

    Attributes:
        configs: One per run, equal in `stack_key`.
        flat: All trained numbers, `[run, number]`: what the optimizer steps.
        views: The trained tensors as views of `flat`, to change them.
        leaves: The same memory as autograd's leaves, to differentiate.
        gradients: Views of the gradient of `flat`.
        moving: What the optimizer steps in place of `flat` elsewhere than on the CPU: from zero and at the rate 1, so
            that the rate may be a tensor.
        fixed: The tensors that do not train.
        optimizer: What makes a step of a gradient.
        loss: Of logits and labels.
        decay: Per unit of learning rate, `[run 1]` or `[run number]`.
        decay_target: What weights decay to, `[run number]`; None for zero.
        at_work: The interventions by kind, in the order in which those of a family act: as they are defined.
        states: What each of them remembers, by kind.
        beginnings: Of each constraint, by kind.
        starts: What each penalty measures from that asks for it, by kind.
        train_pairs: All of them; a step may see a batch (`training.pairs`).
        test_pairs: The rest.
        train_shares: The parts of all training pairs whose accuracies are told; None where answers are real numbers.
        test_shares: Those of the rest.
        workspace: Buffers of the training batch's forward and backward.
        test_workspace: Buffers of the test batch's forward.
        clock: Steps that the optimizer had taken before step 0.
    """

    configs: list[TrainConfig]
    flat: Tensor
    views: Params
    leaves: Params
    gradients: Params
    moving: Tensor | None
    fixed: Params
    optimizer: optimizers.StackOptimizer
    loss: losses.Loss
    decay: Tensor
    decay_target: Tensor | None
    at_work: dict[str, Applied]
    states: dict[str, State]
    beginnings: dict[str, Beginning]
    starts: dict[str, Params]
    train_pairs: Batch
    test_pairs: Batch
    train_shares: Shares | None
    test_shares: Shares | None
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

    def of(self, *families: type[Intervention]) -> list[Applied]:
        """The interventions of some families, in their order."""
        return [one for one in self.at_work.values() if issubclass(one.kind, families)]

    def remember(self, kind: str, state: State) -> None:
        """What an intervention remembers from now on; elsewhere than on the CPU in the memory where it was."""
        if self.moving is None:
            self.states[kind] = state
        else:
            for name, old in self.states[kind].items():
                old.copy_(state[name])

    @property
    def is_noisy_forward(self) -> bool:
        """Whether the logits that are trained on are not those of the weights and of all training pairs."""
        return bool(self.of(OnForward, DropoutRate, Batches))


def new_stack(configs: Sequence[TrainConfig], device: torch.device = CPU) -> Stack:
    """The stack at step 0 on a device, constrained from the start where a config says so."""
    drawn = tree.stack(initial_weights(config) for config in configs)
    weights = {name: value.to(device) for name, value in drawn.items()}
    sides = (side(configs, True, device), side(configs, False, device))
    shares = (shares_of(configs, "train", device), shares_of(configs, "test", device))
    stack = _built(configs, weights, _starts(configs, weights), sides, shares)
    stack.decay_target = _decay_target(configs, stack.flat)
    constrain(stack, 0, None, torch.zeros(len(configs), dtype=torch.bool, device=device))
    for i, config in enumerate(configs):
        if config.init.start is not None and config.init.start_moments:
            saved, stack.clock = moments(config)
            for name, target in stack.optimizer.state.items():
                target[i] = saved[name]
    stack.optimizer.resume(stack.clock)
    return stack


def _built(
    configs: Sequence[TrainConfig],
    weights: Params,
    starts: dict[str, Params],
    sides: tuple[Batch, Batch],
    shares: tuple[Shares | None, Shares | None],
) -> Stack:
    """A stack at these weights, with nothing remembered yet; reads no file."""
    first = configs[0]
    trained = {name: value for name, value in weights.items() if first.model.is_trainable(name)}
    flat = tree.ravel(trained, axes=1)
    flat = torch.nn.functional.pad(flat, (0, -flat.shape[1] % PADDING)).contiguous()
    shapes = {name: value[0] for name, value in trained.items()}
    views = tree.unravel(flat, shapes)
    flat.grad = torch.zeros_like(flat)
    gradients = tree.unravel(flat.grad, shapes)
    moving = torch.zeros_like(flat) if is_elsewhere(flat.device) else None
    if moving is not None:
        moving.grad = flat.grad
    stepped = flat if moving is None else moving
    kinds = [kind for kind in KINDS if any(kind in config.kinds for config in configs)]  # as their families stand there
    at_work = {kind: applied([config.kinds.get(kind) for config in configs], flat.device) for kind in kinds}
    remembering = {k: one for k, one in at_work.items() if issubclass(one.kind, (GradientTransform, Constraint))}
    objective = first.objective
    return Stack(
        configs=list(configs),
        flat=flat,
        views=views,
        leaves={name: view.detach().requires_grad_() for name, view in views.items()},
        gradients=gradients,
        moving=moving,
        fixed={name: value for name, value in weights.items() if name not in trained},
        optimizer=optimizers.chosen(first.optimizer, stepped, tree.unravel(stepped, shapes)),
        loss=losses.chosen(objective.loss, objective.loss_precision, objective.label_smoothing),
        decay=_decay(configs, views, flat),
        decay_target=None,
        at_work=at_work,
        states={kind: one.start(views) for kind, one in remembering.items()},
        beginnings={k: _beginning(configs, k, flat) for k, one in at_work.items() if issubclass(one.kind, Constraint)},
        starts=starts,
        train_pairs=sides[0],
        test_pairs=sides[1],
        train_shares=shares[0],
        test_shares=shares[1],
        workspace=Workspace(),
        test_workspace=Workspace(),
    )


def _beginning(configs: Sequence[TrainConfig], kind: str, flat: Tensor) -> Beginning:
    """When the hold of a kind of constraint begins; never in a run without it."""
    held = [one if isinstance(one := config.kinds.get(kind), Constraint) else None for config in configs]
    steps = [NEVER if one is None or one.begins_at is None else one.begins_at for one in held]
    events = [math.nan if one is None or one.begins_when is None else one.begins_when for one in held]
    return Beginning(
        torch.tensor(steps, device=flat.device),
        torch.tensor(events, dtype=torch.float64, device=flat.device),
        not all(map(math.isnan, events)),
    )


def _starts(configs: Sequence[TrainConfig], weights: Params) -> dict[str, Params]:
    """What each penalty measures from that asks for it: the weights of step 0, or a named checkpoint's."""
    trained = {name: value for name, value in weights.items() if configs[0].model.is_trainable(name)}
    found = {}
    for kind in (one.kind for one in configs[0].interventions if isinstance(one, Penalty) and one.from_start):
        same_kind = [one for config in configs if isinstance(one := config.kinds[kind], Penalty)]
        rows = [
            checkpoint(config, one.start_checkpoint)
            if one.start_checkpoint
            else {name: value[i] for name, value in trained.items()}
            for i, (config, one) in enumerate(zip(configs, same_kind, strict=True))
        ]
        found[kind] = {name: torch.stack([row[name].to(like) for row in rows]) for name, like in trained.items()}
    return found


def _decay(configs: Sequence[TrainConfig], views: Params, flat: Tensor) -> Tensor:
    """Decay per unit of learning rate: `[run 1]`, or `[run number]` if some roles are left out."""
    decay = flat.new_tensor([[c.optimizer.weight_decay] for c in configs])
    roles = {role(name) for name in views}
    if all(roles <= set(c.optimizer.decay_roles) for c in configs):
        return decay
    rows = []
    for config in configs:
        on = [(role(n) in config.optimizer.decay_roles, v[0].numel()) for n, v in views.items()]
        row = torch.cat([flat.new_full((size,), float(decays)) for decays, size in on])
        rows.append(torch.nn.functional.pad(row, (0, flat.shape[1] - len(row))))
    return decay * torch.stack(rows)


def _decay_target(configs: Sequence[TrainConfig], flat: Tensor) -> Tensor | None:
    to_init = [[c.optimizer.decay_to_init] for c in configs]
    return flat * torch.tensor(to_init, device=flat.device) if any(map(any, to_init)) else None


def begun(state: State, runs: Tensor) -> Tensor:
    """Which of `runs`, any numbers `[run]`, a constraint holds already: whatever it remembers of them is a number."""
    found = torch.zeros_like(runs, dtype=torch.bool)
    for value in state.values():
        found |= ~value.reshape(len(runs), -1)[:, 0].isnan()
    return found


@torch.no_grad()
def constrain(stack: Stack, step: int | Tensor, before: Params | None, reached: Tensor) -> None:
    """Let the holds begin that begin at `step` or at an event, and correct the weights by every constraint in order.

    Args:
        stack: At the weights of `step`, not yet corrected.
        step: Updates behind the weights.
        before: The weights before the last of them; None at step 0, or where no constraint asks.
        reached: Runs whose training accuracy has just reached what their holds wait for, `[run]`.
    """
    if not stack.beginnings:
        return
    moment = stack.optimizer.moment
    shapes = {name: view[0] for name, view in stack.views.items()}
    moving = None if moment is None else tree.unravel(moment, shapes)
    for kind, (at_step, train_acc, _) in stack.beginnings.items():
        begins = (at_step == step) | (reached & ~train_acc.isnan())
        moved = Moved(begins, before, moving)
        stack.remember(kind, stack.at_work[kind](moved, stack.views, stack.states[kind]))


def everything(stack: Stack) -> Params:
    """Everything that the next step needs, every tensor `[run ...]`, by the name it is saved under."""
    remembered = {f"{kind}:{name}": value for kind, state in stack.states.items() for name, value in state.items()}
    return {**stack.optimizer.state, "flat": stack.flat, **remembered}


def state_of(stack: Stack, i: int) -> Params:
    """Everything of run `i` that the next step needs: numbers, moments, what its interventions remember.

    What does not hold it yet is left out, and so is what only its neighbours have: it is the same in any stack.
    """
    rows = {name: value[i] for name, value in everything(stack).items()}
    unheld = {n for n in rows if n.partition(":")[0] in stack.beginnings and bool(rows[n].isnan().all())}
    return {name: row for name, row in rows.items() if name not in unheld}


def put_state(stack: Stack, states: Sequence[Params], step: int) -> None:
    """Set every run to a state taken by `state_of` at `step`; what a state has not is not held yet."""
    of_today = [upgraded_state(state, list(c.kinds)) for state, c in zip(states, stack.configs, strict=True)]
    for name, target in everything(stack).items():
        for i, state in enumerate(of_today):
            if name in state:
                target[i] = state[name]
    stack.optimizer.resume(stack.clock + step)


def subset(stack: Stack, kept: Sequence[int], step: int) -> Stack:
    """The stack of some of its runs, each in its state: a slice of what is in memory, no file is read again."""

    def rows(tensors: Params) -> Params:
        return {name: value.detach()[list(kept)] for name, value in tensors.items()}

    def pairs(all_runs: Batch) -> Batch:
        return Batch(*(value[list(kept)] for value in all_runs))

    configs = [stack.configs[i] for i in kept]
    sides = (pairs(stack.train_pairs), pairs(stack.test_pairs))
    shares = (stack.train_shares and stack.train_shares.of(kept), stack.test_shares and stack.test_shares.of(kept))
    starts = {kind: rows(start) for kind, start in stack.starts.items()}
    smaller = _built(configs, rows(stack.weights), starts, sides, shares)
    if stack.decay_target is not None and any(config.optimizer.decay_to_init for config in configs):
        smaller.decay_target = stack.decay_target[list(kept)]
    smaller.clock = stack.clock
    put_state(smaller, [state_of(stack, i) for i in kept], step)
    return smaller
