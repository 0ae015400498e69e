"""One checkpoint, opened: its network with its task, what it answers after edits, and how well.

It is taken from what holds checkpoints: a `Run`, or anything with `model`, `task`, `steps` and `at`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.inspection.available import has_frequencies
from circuitgrok.inspection.edits import Ablate, Edit
from circuitgrok.inspection.replaced import Activations, replaced
from circuitgrok.inspection.weight_edits import edited_weights
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.models.kinds import AnyModel
from circuitgrok.table.checkpoints import key_frequencies
from circuitgrok.tasks.kinds import Dataset, check_classes
from circuitgrok.tree import Params

Other = Any  # what holds checkpoints with a step, (checkpoints, step), or alone for its last


class Scores(NamedTuple):
    """How well a network answers on both sides of the split; nan where the split is not known.

    Attributes:
        train_loss: Mean cross-entropy over the training pairs, in nats, over the p numbers as classes.
        test_loss: The same over the test pairs.
        train_acc: Share of right answers, 0..1.
        test_acc: The same over the test pairs.
    """

    train_loss: float
    test_loss: float
    train_acc: float
    test_acc: float


class Network(NamedTuple):
    """One network on all pairs of its task."""

    model: AnyModel
    task: Dataset
    params: Params
    split_is_known: bool = True

    def after(
        self, edits: Sequence[Edit] = (), sources: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> Activations:
        """What the network holds and answers after edits, those of weights first.

        Raises:
            UserError: An edit makes no sense for this network, or its source is not given.
        """
        params = self.weights(edits, sources)
        return replaced(self.model, params, self.task, [edit for edit in edits if isinstance(edit, Ablate)])

    def weights(self, edits: Sequence[Edit], sources: Mapping[str, Mapping[str, Tensor]] | None = None) -> Params:
        """The weights after edits."""
        return edited_weights(self.params, edits, sources)

    def scores(self, logits: Float[Tensor, "pair c"]) -> Scores:
        """Of logits of all pairs.

        Raises:
            UserError: The task's answers are no classes.
        """
        check_classes(self.task)
        labels, is_train = self.task.labels, self.task.is_train
        if not self.split_is_known:
            return Scores(*[math.nan] * 4)
        loss, right = cross_entropy(logits, labels), (logits.argmax(-1) == labels).double()
        return Scores(*(values[side].mean().item() for values in (loss, right) for side in (is_train, ~is_train)))


def network(checkpoints: Any, step: int | None = None) -> Network:
    """The network of a checkpoint; of the last by default.

    Raises:
        RunError: There is no such checkpoint.
    """
    known = getattr(checkpoints, "split_is_known", True)
    at = last_step(checkpoints) if step is None else step
    return Network(model_of(checkpoints), checkpoints.task, checkpoints.at(at), known)


def network_of(other: Other) -> Network:
    """The network of checkpoints with a step, or of the last of them."""
    return network(*other) if isinstance(other, tuple) else network(other)


def model_of(checkpoints: Any) -> AnyModel:
    """The shape of the networks; a run has it in its config."""
    return checkpoints.model if hasattr(checkpoints, "model") else checkpoints.config.model


def last_step(checkpoints: Any) -> int:
    """The last step that has a checkpoint.

    Raises:
        UserError: There is none.
    """
    steps = list(checkpoints.steps)
    if not steps:
        raise UserError(f"{checkpoints!r} has no checkpoint yet")
    return steps[-1]


def key_freqs_of(checkpoints: Any, rule: str = "wl_energy") -> tuple[int, ...]:
    """The key frequencies of the last checkpoint, as in `cg.measure`; none where the task has no frequencies.

    Raises:
        UserError: An unknown rule.
    """
    if not has_frequencies(checkpoints.task):
        return ()
    params = checkpoints.at(last_step(checkpoints))
    return tuple(key_frequencies(rule, params, model_of(checkpoints), checkpoints.task).tolist())
