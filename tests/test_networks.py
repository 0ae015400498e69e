"""Checkpoints opened for inspection: from whatever holds them, and scored on both sides of the split."""

import math
from dataclasses import dataclass, field

import pytest
import torch
from oracles import slow_cross_entropy
from tiny_kinds import tiny_kind

from circuitgrok.errors import RunError, UserError
from circuitgrok.inspection.networks import Network, Scores, key_freqs_of, network, network_of
from circuitgrok.table.measure import measure


@dataclass
class Held:
    """Checkpoints that are no run."""

    model: object
    task: object
    params: dict = field(repr=False)
    steps: tuple = (0, 7)

    def at(self, step):
        return {name: value * (1 + step) for name, value in self.params.items()}


def test_a_run_and_what_merely_holds_checkpoints_are_opened_alike(finished):
    held = Held(finished.config.model, finished.task, finished.at(0))
    one, other = network(finished, 0), network_of((held, 0))
    assert torch.equal(one.after().logits, other.after().logits) and one.task is other.task
    last = network_of(held)
    assert torch.equal(last.params["embed.W_E"], 8 * finished.at(0)["embed.W_E"])


def test_scores_by_hand(finished):
    one = network(finished)
    logits = one.after().logits
    scores, labels, is_train = one.scores(logits), finished.task.labels, finished.task.is_train
    for side, where in (("train", is_train), ("test", ~is_train)):
        assert getattr(scores, f"{side}_loss") == pytest.approx(slow_cross_entropy(logits, labels, where), rel=1e-12)
        right = [int(row.argmax()) == int(label) for row, label in zip(logits[where], labels[where], strict=True)]
        assert getattr(scores, f"{side}_acc") == sum(right) / len(right)


def test_a_side_that_is_not_known_has_no_score(finished):
    one = network(finished)
    scores = one._replace(split_is_known=False).scores(one.after().logits)
    assert len(scores) == 4 and all(map(math.isnan, scores)) and isinstance(scores, Scores)


def test_key_frequencies_are_those_of_the_table(finished):
    for rule in ("wl_energy", "logit_energy"):
        assert list(key_freqs_of(finished, rule)) == measure(finished, ["circuits"], rule=rule).attrs["key_freqs"]
    with pytest.raises(UserError, match="unknown key-frequency rule 'loudest'"):
        key_freqs_of(finished, "loudest")


def test_answers_that_are_no_classes_have_no_scores():
    config = tiny_kind("teacher")
    params = config.model.init(torch.Generator().manual_seed(0))
    one = Network(config.model, config.task.draw(), {name: value.float() for name, value in params.items()})
    with pytest.raises(UserError, match="needs classes"):
        one.scores(one.after().logits)


def test_checkpoints_that_are_not_there_are_refused(finished):
    with pytest.raises(RunError, match="no checkpoint at step 12345"):
        network(finished, 12345)
    with pytest.raises(UserError, match="no checkpoint yet"):
        network(Held(finished.config.model, finished.task, {}, steps=()))
