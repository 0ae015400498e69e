"""Tensors in files: the bytes of safetensors, without a copy of the numbers."""

import json

import torch
from safetensors.torch import load, save
from tiny_kinds import LEAVES, tiny_kind

from circuitgrok.canonical import canonical_json
from circuitgrok.store.weights import note_of, pack, pieces
from circuitgrok.training.origin import initial_weights
from circuitgrok.training.stack import new_stack, state_of

NOTE = {"step": 3, "config": "b415bc0b045bfb5d", "saved_loss": 1.5, "said": 'ü "quoted" \\ /'}
FORMATS = "bool uint8 int8 int16 float16 bfloat16 int32 float32 float64 int64".split()


def saved(tensors: dict[str, torch.Tensor]) -> bytes:
    """What safetensors itself writes."""
    return save({name: value.contiguous() for name, value in tensors.items()}, {"circuitgrok": canonical_json(NOTE)})


def test_packed_bytes_are_those_of_safetensors_for_every_network_and_its_resume_point():
    for name in LEAVES:
        for precision in ("float32", "float64"):
            config = tiny_kind(name, precision=precision)
            state = state_of(new_stack([config]), 0)
            for tensors in (initial_weights(config), state):
                assert pack(tensors, NOTE) == saved(tensors), (name, precision)


def test_packed_bytes_are_those_of_safetensors_for_every_format_shape_and_order_in_memory():
    dice = torch.Generator().manual_seed(0)
    numbers = torch.randint(0, 2, (4, 3), generator=dice)
    tensors = {f"{name}.{i}": numbers.to(getattr(torch, name), copy=True) for i in (1, 0) for name in FORMATS}
    tensors |= {
        "turned": numbers.float().T,
        "number": torch.tensor(3.0),
        "none": torch.zeros(0, 5),
        "z": numbers[:, 1].clone(),
    }
    packed = pack(tensors, NOTE)
    assert packed == saved(tensors)
    assert note_of(packed) == NOTE
    assert all(torch.equal(value, tensors[name]) for name, value in load(packed).items())
    assert len(packed) % 8 == sum(value.nbytes for value in tensors.values()) % 8  # numbers begin on a word
    assert json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])["number"]["shape"] == []


def test_pieces_are_the_memory_of_the_tensors():
    value = torch.zeros(3)
    [_, piece] = pieces({"w": value}, NOTE)
    value.fill_(1.0)
    assert bytes(piece) == bytes(torch.ones(3).numpy().data)
