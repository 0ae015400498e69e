"""Some checkpoints of one run, and what its measures share: networks opened once, in the order of addition.

All of + - * / modulo p are addition in disguise (`tasks.operations`). Here pairs, classes and tokens are put in the
order of that addition modulo m, and so every measure of a circuit for addition serves them all. Operations that hide
no addition keep the order of their numbers. Tasks without numbers have outputs and labels, and no such order.

The networks may be transformers, opened at their last block, or MLPs, opened at their last hidden layer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import moved
from circuitgrok.errors import UserError
from circuitgrok.interventions.losses import LOSSES, CrossEntropy, Loss
from circuitgrok.measures.circuits.controls import rule_strengths
from circuitgrok.measures.parts.last_block import LastBlock, last_block
from circuitgrok.measures.spectra import key_freqs
from circuitgrok.measures.spectra.tuning import NeuronSpectrum, neuron_spectrum
from circuitgrok.models.kinds import AnyModel, transformer_of
from circuitgrok.models.mlp import LastHidden
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.orbits import NormParts, orbit_minimal_norm
from circuitgrok.tasks.composition import Composition, named_group
from circuitgrok.tasks.finite_groups import Group
from circuitgrok.tasks.kinds import Dataset, modular
from circuitgrok.tasks.operations import Relabelled, as_addition
from circuitgrok.tasks.teacher_student import TeacherStudent
from circuitgrok.tree import Params, unstack

SPLITS = ("train", "test", "all", "test_mirror_seen", "test_mirror_unseen")


@dataclass(frozen=True)
class Opened:
    """Some checkpoints of one run, `[ckpt ...]`; tables by pair are all m^2 pairs (i, j) in the order i * m + j.

    Attributes:
        params: The weights, `[ckpt ...]`.
        model: The run's model.
        task: The run's task.
        key_freqs: The run's key frequencies; none where there are no numbers.
        loss: What the run minimised, penalties apart.
        temperature: What that loss divided the logits by; so do all logits and outputs here.
        tolerance: Squared error below which an answer of a regression is right.
        group: The group whose elements are multiplied, if they are.
    """

    params: Params
    model: AnyModel
    task: Dataset
    key_freqs: Int[Tensor, " freq"]
    loss: Loss = CrossEntropy()
    temperature: float = 1.0
    tolerance: float = math.nan
    group: Group | None = None

    @cached_property
    def outputs(self) -> Float[Tensor, "ckpt pair c"]:
        """Of every example of the task, over all classes, in the order and the precision in which it was trained."""
        with torch.no_grad():
            return self._cooled(self.model.logits(self.params, self.task.inputs))

    @cached_property
    def hidden(self) -> Relabelled:
        """Where the task's pairs, classes and tokens stand in the addition modulo m that it is."""
        return as_addition(modular(self.task))

    @property
    def labels(self) -> Int[Tensor, " pair"]:
        """(i + j) mod m, or what the task has instead."""
        return self.hidden.labels

    @cached_property
    def is_corrupted(self) -> Bool[Tensor, " pair"]:
        """Which labels are wrong."""
        return modular(self.task).is_corrupted[self.hidden.pairs]

    @cached_property
    def splits(self) -> dict[str, Bool[Tensor, " pair"]]:
        """The pairs of each of `SPLITS`."""
        return {split: self.task.where(split)[self.hidden.pairs] for split in SPLITS}

    def where(self, split: str) -> Bool[Tensor, " pair"]:
        """The pairs of a named split."""
        return self.splits[split]

    @cached_property
    def inputs(self) -> Int[Tensor, "pair 3"]:
        """The tokens of every pair."""
        return self.task.inputs[self.hidden.pairs]

    @cached_property
    def last_blocks(self) -> list[LastBlock]:
        """Each transformer, opened at its last block at the last position."""
        model = transformer_of(self.model)
        with torch.no_grad():
            return [last_block(one, model, self.inputs) for one in unstack(self.params)]

    @cached_property
    def layer(self) -> LastHidden:
        """The last hidden layer of MLPs, or the neurons of the last block."""
        if isinstance(self.model, Transformer):
            return LastHidden(
                _stacked([one.pre for one in self.last_blocks]), _stacked([one.post for one in self.last_blocks])
            )
        with torch.no_grad():
            return self.model.last_hidden(self.params, self.inputs)

    @cached_property
    def logits(self) -> Float[Tensor, "ckpt pair m"]:
        """Over the m classes that can be right, in float64."""
        with torch.no_grad():
            if isinstance(self.model, Transformer):
                read = _stacked([self.hidden.classed(one.read(one.skip + one.mlp)) for one in self.last_blocks])
            else:
                read = self.hidden.classed(self.model.logits(self.params, self.inputs)).double()
        return self._cooled(read)

    def _cooled(self, logits: Tensor) -> Tensor:
        return logits if self.temperature == 1 else logits / self.temperature

    @property
    def neurons(self) -> Float[Tensor, "ckpt pair neuron"]:
        """The last block's neurons at the last position, after the nonlinearity."""
        return self.layer.post

    @property
    def reads(self) -> Float[Tensor, "ckpt pair neuron"]:
        """What these neurons read, before the nonlinearity."""
        return self.layer.pre

    @cached_property
    def spectra(self) -> list[NeuronSpectrum]:
        """Energy of each network's neurons by frequency and kind of wave."""
        if isinstance(self.model, Transformer):
            return [one.spectrum for one in self.last_blocks]
        return [neuron_spectrum(one) for one in self.neurons]

    @cached_property
    def least_norms(self) -> NormParts:
        """The least norm on each transformer's orbit, and of its parts."""
        return orbit_minimal_norm(self.params, transformer_of(self.model))

    @cached_property
    def W_E(self) -> Float[Tensor, "ckpt m d_model"]:
        """The embedding of the numbers (of a's, if b has its own), in float64.

        Where a and b come as one-hot vectors, it is what each a sends to the first hidden layer: a's rows of W_in.
        """
        name = "embed.W_E" if "embed.W_E" in self.params else "blocks.0.mlp.W_in"
        return self.params[name][:, self.hidden.tokens].double()

    @cached_property
    def W_L(self) -> Float[Tensor, "ckpt neuron m"]:
        """The last block's neuron-to-logit map, in float64; of an MLP it is W_U."""
        return self.model.neuron_to_logit(self.params)[..., self.hidden.classes]


def checkpoints_of(config: TrainConfig, params: Params, key_freqs: Int[Tensor, " freq"]) -> Opened:
    """Some checkpoints of a run of a config, with the loss that it minimised, all on the device of the weights."""
    device = next(iter(params.values())).device
    return Opened(
        params,
        config.model,
        moved(config.task.draw(), device),
        key_freqs,
        LOSSES[config.objective.loss],
        config.temperature,
        config.task.tolerance if isinstance(config.task, TeacherStudent) else math.nan,
        moved(named_group(config.task.group), device) if isinstance(config.task, Composition) else None,
    )


def _stacked(tables: list[Tensor]) -> Tensor:
    """The tables with an axis in front; of a single one no copy is made."""
    return torch.stack(tables) if len(tables) > 1 else tables[0].unsqueeze(0)


def key_frequencies(rule: str, params: Params, model: AnyModel, task: Dataset) -> Int[Tensor, " freq"]:
    """The key frequencies of one network by a named rule, in increasing order.

    Raises:
        ValueError: Unknown rule, or a task without numbers modulo p.
    """
    check_rule(rule)
    return KEY_FREQUENCY_RULES[rule](_alone(params, model, task))


def check_rule(rule: str) -> None:
    """Refuses what is no rule for key frequencies.

    Raises:
        ValueError: Unknown rule.
    """
    if rule not in KEY_FREQUENCY_RULES:
        raise UserError(f"unknown key-frequency rule {rule!r}; there are {', '.join(KEY_FREQUENCY_RULES)}")


def key_frequencies_by_rule(params: Params, model: AnyModel, task: Dataset) -> dict[str, Int[Tensor, " freq"]]:
    """The key frequencies of one network by every named rule; they read them off different places and may disagree."""
    at = _alone(params, model, task)
    return {name: rule(at) for name, rule in KEY_FREQUENCY_RULES.items()}


def strongest_frequencies(rule: str, params: Params, model: AnyModel, task: Dataset, n: int) -> Int[Tensor, " freq"]:
    """As many frequencies of one network as were asked for: the strongest by a named rule, in increasing order.

    What a rule finds has the size that its threshold gives it. A network that only memorised uses all frequencies, and
    restricted to all of them its loss says nothing; beside a network with a few it is to have as many.

    Args:
        rule: Whose strengths are compared (`controls.rule_strengths`); a rule that finds n finds these.
        params: One network.
        model: Its shape.
        task: Numbers modulo p.
        n: How many, 1 or more and at most all.

    Raises:
        UserError: An unknown rule, or n is out of range.
    """
    check_rule(rule)
    at = _alone(params, model, task)
    if not 1 <= n <= at.hidden.m // 2:
        raise UserError(f"n_keys must be in 1..{at.hidden.m // 2}, all frequencies; got {n}")
    strengths = rule_strengths(at.W_E[0], at.W_L[0], at.neurons[0], at.logits[0])[rule.removesuffix("_pure")]
    return 1 + strengths.argsort(descending=True, stable=True)[:n].sort().values


def _alone(params: Params, model: AnyModel, task: Dataset) -> Opened:
    """One network as a stack of one, before it has key frequencies."""
    stack = {name: value[None] for name, value in params.items()}
    return Opened(stack, model, task, task.labels.new_empty(0, dtype=torch.long))


KEY_FREQUENCY_RULES: dict[str, Callable[[Opened], Tensor]] = {
    "wl_energy": lambda at: key_freqs.wl_energy(at.W_L[0], at.hidden.m),
    "embed_energy": lambda at: key_freqs.embed_energy(at.W_E[0], at.hidden.m),
    "logit_energy": lambda at: key_freqs.logit_energy(at.logits[0]),
    "neuron_argmax": lambda at: key_freqs.neuron_argmax(at.neurons[0]),
    "neuron_argmax_pure": lambda at: key_freqs.neuron_argmax(at.neurons[0], min_purity=0.85),
}
