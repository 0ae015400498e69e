"""Somebody's networks in our terms: weights by step, a config that rebuilds model, task and split, and what is claimed.

Steps count updates. An epoch e was saved after its update, so its weights have e + 1 behind them; a training loss
was taken before its update, so that of epoch e belongs to step e.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from circuitgrok import tree
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.foreign.claims import Claims
from circuitgrok.foreign.split_search import STAND_IN
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.checkpoints import evaluation
from circuitgrok.store.run import RunError, without_sides
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Published:
    """Somebody's networks in our terms; they are `Checkpoints`.

    Attributes:
        source: The file's name, its SHA-256 and the layout it was read as.
        networks: Weights, by the number of updates behind them, in order.
        config: Rebuilds model, task and split, and states the optimizer's settings as far as they are known.
        claims: Losses that the file claims, by step: `train_loss`, `test_loss`, in nats, over its own classes.
        split: Where the config's split comes from: `in the file`, `given`, `found: frac .9 seed 0` or `stand-in`.
        notes: What was assumed, contradicted, left out or cannot be known, a sentence each.
        keys: What each tensor of the file is in ours, where names were somebody's own.
    """

    source: dict[str, str]
    networks: dict[int, Params]
    config: TrainConfig
    claims: Claims
    split: str
    notes: tuple[str, ...]
    keys: dict[str, str] | None = None

    def __repr__(self) -> str:
        networks = f"{len(self.networks)} network{'s' * (len(self.networks) != 1)}"
        steps = f"steps {self.steps[0]} to {self.steps[-1]}" if len(self.networks) > 1 else f"step {self.steps[0]}"
        task = self.config.task.formula
        return f"Checkpoints({self.name!r}: {task}, {self.model.called}, {networks}, {steps}; split {self.split})"

    @property
    def name(self) -> str:
        """That of the file."""
        return self.source["file"]

    @property
    def model(self) -> AnyModel:
        """The shape of every network."""
        return self.config.model

    @property
    def task(self) -> Dataset:
        """The pairs with their labels, and the split, whatever it is."""
        return self.config.task.draw()

    @property
    def steps(self) -> list[int]:
        """Steps that have a network, in order."""
        return list(self.networks)

    @property
    def split_is_known(self) -> bool:
        """Whether the split is the one trained on, as far as anybody can tell."""
        return self.split != STAND_IN

    def at(self, step: int) -> Params:
        """The weights at a step.

        Raises:
            RunError: There is no network; the message names the nearest.
        """
        if step not in self.networks:
            near = sorted(self.networks, key=lambda known: abs(known - step))[:3]
            raise RunError(f"{self.name} has no network at step {step}; the nearest are {near}")
        return dict(self.networks[step])

    def stack(self, steps: Sequence[int] | None = None) -> Params:
        """The weights at several steps (default: all), with a checkpoint axis in front."""
        return tree.stack(self.at(step) for step in (self.steps if steps is None else steps))

    @property
    def history(self) -> "pd.DataFrame":
        """The networks, evaluated here: one row each, as in a run's history; nan by side of a stand-in."""
        import pandas as pd

        history = pd.DataFrame(self.evaluated).set_index("step")
        return history if self.split_is_known else without_sides(history)

    @cached_property
    def evaluated(self) -> list[dict[str, float]]:
        """The networks, evaluated on the config's split, whatever it is."""
        return [evaluation(step, params, self.config, self.task) for step, params in self.networks.items()]

    def on_all(self, score: Literal["loss", "acc"]) -> float:
        """Loss or accuracy of the last network on all pairs, whatever the split."""
        last = self.evaluated[-1]
        n, n_train = self.config.task.n_pairs, self.config.task.n_train
        return (last[f"train_{score}"] * n_train + last[f"test_{score}"] * (n - n_train)) / n

    def claimed(self, column: str, step: int) -> tuple[int, float] | None:
        """What the file claims for the weights at a step: the loss there, or else the one before the last update."""
        near = (at for at in (step, step - 1) if column in self.claims.get(at, {}))
        return next(((at, self.claims[at][column]) for at in near), None)
