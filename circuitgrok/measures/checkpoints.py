"""Some checkpoints of one run, and what its measures share: networks opened once, in the order of addition.

Every operation that we train on is addition in disguise (`tasks.operations`). Here pairs, classes and tokens are
put in the order of that addition modulo m, and so every measure of a circuit for addition serves them all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.measures import key_freqs
from circuitgrok.measures.opened import Opened, opened_network
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.orbits import NormParts, orbit_minimal_norm
from circuitgrok.tasks.modular import Task
from circuitgrok.tasks.operations import Relabelled, as_addition
from circuitgrok.tree import Params, unstack

SPLITS = ("train", "test", "all", "test_mirror_seen", "test_mirror_unseen")


@dataclass(frozen=True)
class Checkpoints:
    """Some checkpoints of one run, `[ckpt ...]`; tables by pair are all m^2 pairs (i, j) in the order i * m + j.

    Attributes:
        params: The weights, `[ckpt ...]`.
        model: The run's model.
        task: The run's task.
        key_freqs: The run's key frequencies.
    """

    params: Params
    model: Transformer
    task: Task
    key_freqs: Int[Tensor, " freq"]

    @cached_property
    def hidden(self) -> Relabelled:
        """Where the task's pairs, classes and tokens stand in the addition modulo m that it is."""
        return as_addition(self.task)

    @property
    def labels(self) -> Int[Tensor, " pair"]:
        """(i + j) mod m, or what was drawn instead."""
        return self.hidden.labels

    @cached_property
    def splits(self) -> dict[str, Bool[Tensor, " pair"]]:
        """The pairs of each of `SPLITS`."""
        return {split: self.task.where(split)[self.hidden.pairs] for split in SPLITS}

    def where(self, split: str) -> Bool[Tensor, " pair"]:
        """The pairs of a named split."""
        return self.splits[split]

    @cached_property
    def opened(self) -> list[Opened]:
        """Each network, opened at its last block at the last position."""
        inputs = self.task.inputs[self.hidden.pairs]
        with torch.no_grad():
            return [opened_network(one, self.model, inputs) for one in unstack(self.params)]

    @cached_property
    def logits(self) -> Float[Tensor, "ckpt pair m"]:
        """Over the m classes that can be right, in float64."""
        with torch.no_grad():
            return _stacked([self.hidden.classed(one.read(one.skip + one.mlp)) for one in self.opened])

    @cached_property
    def neurons(self) -> Float[Tensor, "ckpt pair neuron"]:
        """The last block's neurons at the last position, after the nonlinearity."""
        return _stacked([one.post for one in self.opened])

    @cached_property
    def reads(self) -> Float[Tensor, "ckpt pair neuron"]:
        """What these neurons read, before the nonlinearity."""
        return _stacked([one.pre for one in self.opened])

    @cached_property
    def least_norms(self) -> NormParts:
        """The least norm on each network's orbit, and of its parts."""
        return orbit_minimal_norm(self.params, self.model)

    @cached_property
    def W_E(self) -> Float[Tensor, "ckpt m d_model"]:
        """The embedding of the numbers (of a's, if b has its own), in float64."""
        return self.params["embed.W_E"][:, self.hidden.tokens].double()

    @cached_property
    def W_L(self) -> Float[Tensor, "ckpt neuron m"]:
        """The last block's neuron-to-logit map, in float64."""
        W_out = self.params[f"blocks.{self.model.n_layers - 1}.mlp.W_out"].double()
        return W_out @ self.params["unembed.W_U"].double()[..., self.hidden.classes]


def _stacked(tables: list[Tensor]) -> Tensor:
    """The tables with an axis in front; of a single one no copy is made."""
    return torch.stack(tables) if len(tables) > 1 else tables[0].unsqueeze(0)


def key_frequencies(rule: str, params: Params, model: Transformer, task: Task) -> Int[Tensor, " freq"]:
    """The key frequencies of one network by a named rule, in increasing order.

    Raises:
        ValueError: Unknown rule.
    """
    check_rule(rule)
    return KEY_FREQUENCY_RULES[rule](_alone(params, model, task))


def check_rule(rule: str) -> None:
    """Refuses what is no rule for key frequencies.

    Raises:
        ValueError: Unknown rule.
    """
    if rule not in KEY_FREQUENCY_RULES:
        raise ValueError(f"unknown key-frequency rule {rule!r}; there are {', '.join(KEY_FREQUENCY_RULES)}")


def key_frequencies_by_rule(params: Params, model: Transformer, task: Task) -> dict[str, Int[Tensor, " freq"]]:
    """The key frequencies of one network by every named rule; they read them off different places and may disagree."""
    at = _alone(params, model, task)
    return {name: rule(at) for name, rule in KEY_FREQUENCY_RULES.items()}


def _alone(params: Params, model: Transformer, task: Task) -> Checkpoints:
    """One network as a stack of one, before it has key frequencies."""
    stack = {name: value[None] for name, value in params.items()}
    return Checkpoints(stack, model, task, torch.empty(0, dtype=torch.long))


KEY_FREQUENCY_RULES: dict[str, Callable[[Checkpoints], Tensor]] = {
    "wl_energy": lambda at: key_freqs.wl_energy(at.W_L[0], at.hidden.m),
    "embed_energy": lambda at: key_freqs.embed_energy(at.W_E[0], at.hidden.m),
    "logit_energy": lambda at: key_freqs.logit_energy(at.logits[0]),
    "neuron_argmax": lambda at: key_freqs.neuron_argmax(at.neurons[0]),
    "neuron_argmax_pure": lambda at: key_freqs.neuron_argmax(at.neurons[0], min_purity=0.85),
}
