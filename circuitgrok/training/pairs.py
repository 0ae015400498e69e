"""The pairs of a stack: both sides of each run's split, and what a step sees of the training side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from circuitgrok.apart import placed
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.interventions.batches import Batches, MiniBatch, noise_columns
from circuitgrok.interventions.logits import OnLogits
from circuitgrok.tasks.shares import NOBODYS, Side, shares
from circuitgrok.training.moment import Moment
from circuitgrok.tree import Params

if TYPE_CHECKING:
    from circuitgrok.training.stack import Stack


class Batch(NamedTuple):
    """Pairs of each run of a stack."""

    inputs: Tensor  # [run pair ...]
    labels: Tensor  # [run pair], or [run pair c] where answers are real numbers

    def at(self, places: Tensor) -> "Batch":
        """The pairs at these places, `[run pair]`."""
        places = places.to(self.labels.device)
        rows = torch.arange(len(places), device=places.device)[:, None]
        inputs, labels = self.inputs[rows, places], self.labels[rows, places]
        return Batch(placed(inputs) if inputs.is_floating_point() else inputs, labels)


class Shares(NamedTuple):
    """Parts of one side of each run's split, by column of the history (`tasks.shares`)."""

    names: tuple[str, ...]
    labels: Tensor  # [run part pair], of a run without such a part NOBODYS throughout
    sizes: Tensor  # [run part], float64

    def accuracies(self, said: Tensor) -> dict[str, Tensor]:
        """Share of right answers by column, `[run]`, given what is said `[run pair]`; nan in a run without the part."""
        right = (said.unsqueeze(1) == self.labels).sum(-1)
        return dict(zip(self.names, (right.double() / self.sizes).unbind(1), strict=True))

    def of(self, kept: Sequence[int]) -> "Shares":
        """Those of some runs."""
        return Shares(self.names, self.labels[list(kept)], self.sizes[list(kept)])


def shares_of(configs: Sequence[TrainConfig], of: Side, device: torch.device) -> Shares | None:
    """The parts of one side of each run's split, on a device; None where answers are real numbers."""
    found = [shares(config.task.draw(), of) for config in configs]
    if not found[0]:
        return None
    names = tuple(dict.fromkeys(name for one in found for name in one))
    nobodys = torch.full_like(found[0][f"{of}_acc"], NOBODYS)
    labels = torch.stack([torch.stack([one.get(name, nobodys) for name in names]) for one in found])
    return Shares(names, labels.to(device), (labels != NOBODYS).sum(-1).double().to(device))


def side(configs: Sequence[TrainConfig], train: bool, device: torch.device) -> Batch:
    """All pairs of one side of each run's split, on a device; both sides have as many pairs in every run of a stack."""
    tasks = [config.task.draw() for config in configs]
    masks = [task.is_train if train else ~task.is_train for task in tasks]
    inputs = torch.stack([task.inputs[mask] for task, mask in zip(tasks, masks, strict=True)]).to(device)
    labels = torch.stack([task.labels[mask] for task, mask in zip(tasks, masks, strict=True)]).to(device)
    numerics = configs[0].numerics
    dtype = getattr(torch, numerics.forward_precision or numerics.precision)
    return Batch(placed(inputs.to(dtype)) if inputs.is_floating_point() else inputs, labels)


def seen_pairs(stack: "Stack", now: Moment) -> Batch:
    """What a step sees of the training pairs: all of them, or a batch."""
    pairs = stack.train_pairs
    for one in stack.of(Batches):
        pairs = pairs.at(now.places(one, pairs.labels.shape[1]))
    return pairs


def as_computed(stack: "Stack", weights: Params) -> Params:
    """Weights in the format that the forward pass is computed in; gradients come back in that of the weights."""
    precision = stack.configs[0].numerics.forward_precision
    return weights if precision is None else {n: w.to(getattr(torch, precision)) for n, w in weights.items()}


def as_seen(stack: "Stack", logits: Tensor) -> Tensor:
    """Logits as the loss sees them."""
    for one in stack.of(OnLogits):
        logits = one(logits)
    return logits


def clean_logits(stack: "Stack", pairs: Batch) -> Tensor:
    """Logits of the weights as they are, as the loss sees them."""
    workspace = stack.test_workspace if pairs is stack.test_pairs else stack.workspace
    weights = as_computed(stack, stack.weights)
    return as_seen(stack, stack.configs[0].model.training_logits(weights, pairs.inputs, workspace))


def batch_noise(stack: "Stack", now: Moment) -> dict[str, Tensor]:
    """How far the gradient of a step's batch is from that of all training pairs, by `[run]`; nothing of a full batch.

    Both are of the loss alone, at the weights as they are: other noise and penalties are no part of it.
    """
    batch = stack.configs[0].intervention(MiniBatch)
    if batch is None:
        return {}
    seen, n = seen_pairs(stack, now), stack.train_pairs.labels.shape[1]
    full, part = (loss_gradient(stack, pairs) for pairs in (stack.train_pairs, seen))
    return noise_columns(stack.views, full, part, n, seen.labels.shape[1], batch.batch_replacement)


def loss_gradient(stack: "Stack", pairs: Batch) -> Params:
    """Gradient of the mean loss of some pairs, `[run ...]`, at the weights as they are, without noise or penalties."""
    loss = stack.loss.training(clean_logits(stack, pairs), pairs.labels).sum()
    return dict(zip(stack.leaves, torch.autograd.grad(loss, list(stack.leaves.values())), strict=True))
