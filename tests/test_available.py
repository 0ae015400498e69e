"""Which parts a network has: all that are named can be replaced, and what is not there is refused with what is."""

import pytest
import torch
from loops import for_each
from test_last_block import random_params
from test_replaced import KEYS, MLPS, SHAPES, TASK, after, random_mlp, transformer

from circuitgrok.errors import UserError
from circuitgrok.inspection.available import parts_of
from circuitgrok.inspection.replaced import replaced
from circuitgrok.models.dense import DenseMLP


@for_each(
    ("name", "part", "words"),
    [
        ("one layer", "head 2", "there are 2 heads.*head 0..1, attention"),
        ("one layer", "neuron 12", "there are 12 neurons"),
        ("one layer", "freq 4", "frequencies are in 1..3"),
        ("one layer", "layer 1 mlp", "there are 1 layers"),
        ("quadratic", "head 0", "a quadratic MLP has neurons alone; this network has neuron 0..9, cluster 1..3"),
        ("dense", "skip", "has neurons alone"),
    ],
)
def test_a_part_that_is_not_there_is_refused_with_those_that_are(name, part, words):
    model = transformer(name) if name in SHAPES else MLPS[name]
    with pytest.raises(UserError, match=words):
        after(model, {}, (part, None))


def test_frequencies_of_a_task_without_numbers_are_refused():
    from circuitgrok.tasks.images import Digits

    model = DenseMLP(n_in=64, n_out=10, width=9)
    with pytest.raises(UserError, match="frequencies are of tasks on all pairs.*this network has neuron 0..8$"):
        after(model, {}, ("freq 1", None), task=Digits(n_train=20, n_test=20).draw())


@for_each("name", [*SHAPES, *MLPS])
def test_every_part_that_is_named_can_be_replaced(name):
    model = transformer(name) if name in SHAPES else MLPS[name]
    params = random_params(model) if name in SHAPES else random_mlp(model)
    names = parts_of(model, KEYS)
    assert len(set(names)) == len(names)
    clean = replaced(model, params, TASK).logits
    for part in names:
        logits = after(model, params, (part, None))
        assert logits.shape == clean.shape and bool(logits.isfinite().all())
        assert "cluster" in part or not torch.allclose(logits, clean)
