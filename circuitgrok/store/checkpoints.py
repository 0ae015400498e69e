"""Checkpoints of anybody: what can be measured and drawn, whether it is a run's folder or tensors in memory.

Whatever has the five members of `Checkpoints` can be measured: a `Run`, what `open_checkpoints` gives, or an object of
one's own. What more is known of it is used where it is there: a `config` (else one is made of model and task), a
`name`, a `history`, and whether the split is the one trained on (`split_is_known`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from circuitgrok import tree
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.interventions.losses import LOSSES
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.run import Run, RunError, without_sides
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tasks.modular import ModularAddition, Task
from circuitgrok.tasks.shares import NOBODYS, Side, shares
from circuitgrok.tasks.splits import listed_split, share_of
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = 2**24  # activations that are held at once


@runtime_checkable
class Checkpoints(Protocol):
    """Networks of one model on one task, by step.

    Example:
        >>> import circuitgrok as cg
        >>> isinstance(cg.load("checkpoints/reference"), Checkpoints)
        True
    """

    @property
    def model(self) -> AnyModel:
        """The shape of every network."""
        ...

    @property
    def task(self) -> Dataset:
        """The pairs, with their labels and their split."""
        ...

    @property
    def steps(self) -> list[int]:
        """Steps that have a network, in order: updates behind its weights."""
        ...

    def at(self, step: int) -> Params:
        """The weights at a step."""
        ...

    def stack(self, steps: Sequence[int] | None = None) -> Params:
        """The weights at several steps (default: all), with a checkpoint axis in front."""
        ...


def config_of(checkpoints: Checkpoints) -> TrainConfig:
    """The config of some checkpoints: their own, or one with their model and task, and usual for the rest.

    Raises:
        UserError: They have none, and their task is not an operation modulo p.
    """
    own = getattr(checkpoints, "config", None)
    if isinstance(own, TrainConfig):
        return own
    task = checkpoints.task
    if not isinstance(task, Task):
        raise UserError(
            "checkpoints whose task is not an operation modulo p need a `config` beside model and task: open them by "
            "open_checkpoints(source, model=…, task=…)"
        )
    return config_with(checkpoints.model, task_config(task))


def config_with(model: AnyModel, task: Any) -> TrainConfig:
    """A config of a model and a task, and usual for the rest.

    Raises:
        UserError: The two do not fit each other.
    """
    leaves = {name: getattr(task, name) for name in type(task).model_fields if name != "kind"}
    leaves |= {name: getattr(model, name) for name in type(model).model_fields if name != "kind"}
    if getattr(task, "p", None) is not None and getattr(model, "p", task.p) != task.p:
        raise UserError(f"p must be one number; got {task.p} of the task and {getattr(model, 'p', None)} of the model")
    return TrainConfig().with_(task=task.kind, model=model.kind, **leaves)


def task_config(task: Task) -> ModularAddition:
    """The config of a task that was drawn or made by hand; its split is listed pair by pair.

    Raises:
        UserError: Its labels are not those of its operation.
    """
    if bool(task.is_corrupted.any()) or task.operation == "random":
        raise UserError("a task with wrong or random labels is given by its config, circuitgrok.tasks.modular")
    split = listed_split(task.is_train.cpu())
    share = share_of(task.n_train, len(task.is_train))
    return ModularAddition(p=task.p, operation=task.operation, split=split, frac_train=share)


def name_of(checkpoints: Checkpoints) -> str:
    """What they are called: a run by its folder, others by their own name."""
    return str(getattr(checkpoints, "name", type(checkpoints).__name__))


def start_norm(checkpoints: Checkpoints) -> float:
    """The norm of the first network: that at the start of training where it is there."""
    if isinstance(checkpoints, Run):
        return float(checkpoints.manifest["start"]["norm"])
    return tree.norm(checkpoints.at(saved_steps(checkpoints)[0])).item()


def is_trained_here(checkpoints: Checkpoints) -> bool:
    """Whether a config's init and schedule made them: they are a run, and none that was imported."""
    return isinstance(checkpoints, Run) and "imported" not in checkpoints.manifest["environment"]


def split_is_known(checkpoints: Checkpoints) -> bool:
    """Whether the task's split is the one trained on: it is, unless they say that it stands in for one."""
    return bool(getattr(checkpoints, "split_is_known", True))


def require_split(checkpoints: Checkpoints, what: str) -> None:
    """Refuse what needs the training set, where that is not known.

    Raises:
        UserError: The split is a stand-in; the message begins with `what`.
    """
    if not split_is_known(checkpoints):
        raise UserError(
            f"{what} needs the training set, and the split of {name_of(checkpoints)} is a stand-in: open or import the "
            "file again with its split (split=, or --data-seed, --frac-train and --split), or measure other groups"
        )


def saved_steps(checkpoints: Checkpoints) -> list[int]:
    """The steps, where there must be some.

    Raises:
        RunError: There is no network.
    """
    if isinstance(checkpoints, Run):
        return checkpoints.saved_steps()
    if not (steps := checkpoints.steps):
        raise RunError(f"{name_of(checkpoints)} has no checkpoint yet; train it with the command that made it")
    return steps


def history_of(checkpoints: Checkpoints) -> "pd.DataFrame":
    """One row per evaluation: that which was written while training, else one per network, evaluated now.

    Columns are `train_loss`, `test_loss` (of the config's loss), `train_acc`, `test_acc`, accuracies of parts of the
    sides (`tasks.shares`) and `norm`; by side they are nan where the split is not known.
    """
    import pandas as pd

    own = getattr(checkpoints, "history", None)
    if isinstance(own, pd.DataFrame):
        return own
    history = pd.DataFrame([evaluated(checkpoints, step) for step in saved_steps(checkpoints)]).set_index("step")
    return history if split_is_known(checkpoints) else without_sides(history)


def evaluated(checkpoints: Checkpoints, step: int) -> dict[str, float]:
    """One line of a history: loss and accuracy of a network on both sides of its task's split, and its norm."""
    return evaluation(step, checkpoints.at(step), config_of(checkpoints), checkpoints.task)


def evaluation(step: int, params: Params, config: TrainConfig, task: Dataset) -> dict[str, float]:
    """The same of weights; loss is the config's.

    Raises:
        UserError: The answers of the task are real numbers.
    """
    if task.labels.is_floating_point():
        raise UserError("accuracies need classes; the answers of this task are real numbers")
    record: dict[str, float] = {"step": step, "norm": tree.norm(params).item()}
    for side in get_args(Side):
        told, total = shares(task, side), 0.0
        every = torch.stack(list(told.values()), dim=1)  # [pair part], of which the first is the side
        right = torch.zeros(len(told), dtype=torch.int64, device=every.device)
        for inputs, labels in slices(config.model, task.inputs[task.where(side)], every):
            with torch.no_grad():
                logits = config.model.logits(params, inputs) / config.temperature
            total += LOSSES[config.objective.loss].exact(logits, labels[:, 0]).item() * len(labels)
            right += (logits.argmax(-1, keepdim=True) == labels).sum(0)
        sizes = (every != NOBODYS).sum(0)
        record |= {
            f"{side}_loss": total / len(every),
            **dict(zip(told, (right.double() / sizes).tolist(), strict=True)),
        }
    return record


def slices(model: AnyModel, inputs: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Inputs and labels, as many rows at a time as activations and logits leave room for."""
    rows = max(1, _NUMBERS // max(model.activations_per_input, model.n_classes))
    return list(zip(inputs.split(rows), labels.split(rows), strict=True))
