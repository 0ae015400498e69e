"""Scores of a checkpoint before and after edits.

Losses are mean cross-entropies in nats over the p numbers as classes ('=' is dropped), as in `cg.measure`, from a
float64 log-softmax; over all classes where the task has no numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from circuitgrok.inspection.edits import Ablate, Edit, Patch, Scale, edits_of
from circuitgrok.inspection.networks import Other, Scores, network, network_of


@dataclass(frozen=True, repr=False)
class Edited:
    """A network before and after edits.

    Attributes:
        edits: What was done.
        before: Scores of the network as it was.
        after: Scores of the network that it became.
        logits: After the edits, by pair and class, in float64.
    """

    edits: tuple[Edit, ...]
    before: Scores
    after: Scores
    logits: Float[Tensor, "pair c"]

    @property
    def train_loss(self) -> float:
        """After the edits, in nats."""
        return self.after.train_loss

    @property
    def test_loss(self) -> float:
        """After the edits, in nats."""
        return self.after.test_loss

    @property
    def train_acc(self) -> float:
        """After the edits, 0..1."""
        return self.after.train_acc

    @property
    def test_acc(self) -> float:
        """After the edits, 0..1."""
        return self.after.test_acc

    def __repr__(self) -> str:
        said = ", ".join(map(in_words, self.edits)) or "no edit"
        scores = zip(Scores._fields, self.before, self.after, strict=True)
        return f"{said}: " + ", ".join(f"{name.replace('_', ' ')} {x:.4g} -> {y:.4g}" for name, x, y in scores)


def edited(
    checkpoints: Any, step: int | None = None, edits: Any = (), *, sources: Mapping[str, Other] | None = None
) -> Edited:
    """What a checkpoint scores before and after edits of its weights and parts.

    Edits of weights are applied in their order; ablations then, on one forward pass, what stands earlier in the network
    first.

    Args:
        checkpoints: A run, or what else has `model`, `task`, `steps` and `at`.
        step: Of the checkpoint; the last by default.
        edits: Objects of `inspection.edits`, their plain values, or their JSON text; one or several.
        sources: Other checkpoints, each `(checkpoints, step)`, under the names by which patches and moves call them.

    Raises:
        UserError: An edit is none, or makes no sense for this network; the message says what there is.
        RunError: There is no such checkpoint.

    Example:
        >>> import circuitgrok as cg
        >>> run = cg.load("checkpoints/reference")
        >>> edits = [{"kind": "scale", "factor": 0.9}, {"kind": "ablate", "part": "head 2"}]
        >>> round(cg.edited(run, 4000, edits).test_acc, 2)
        0.65
    """
    chosen, one = edits_of(edits), network(checkpoints, step)
    given = {name: network_of(other).params for name, other in (sources or {}).items()}
    logits = one.after(chosen, given).logits
    return Edited(chosen, one.scores(one.after().logits), one.scores(logits), logits)


def in_words(edit: Edit) -> str:
    """An edit in a few words.

    >>> [in_words(edit) for edit in (Scale(factor=1.1), Patch(weights="head 2"), Ablate(part="mlp"))]
    ['* times 1.1', 'head 2 of source', 'mlp, zero']
    """
    match edit:
        case Scale():
            return f"{edit.weights} times {edit.factor:g}"
        case Patch():
            return f"{'' if edit.what == 'weights' else f'{edit.what} of '}{edit.weights} of {edit.source}"
        case Ablate():
            return f"{edit.part}, {edit.fill}"
        case _:
            return f"{edit.weights} {edit.t:g} of the way to {edit.source}"
