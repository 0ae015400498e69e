"""Edits of weights: what a pattern chooses, algebra of scale, patch and move, and radii by hand."""

import itertools

import pytest
import torch
from loops import for_each
from oracles import noise
from test_last_block import random_params

from circuitgrok import geometry
from circuitgrok.errors import UserError
from circuitgrok.inspection.edits import Move, Patch, Scale
from circuitgrok.inspection.weight_edits import edited_weights, slices
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.transplants import globally, transplant
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.tree import norm

EPS = torch.finfo(torch.float64).eps
MODEL = Transformer(p=7, n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=12)
MINE, OTHER = random_params(MODEL), random_params(MODEL, seed=100)
SOURCES = {"source": OTHER}
PATTERNS = ("*", "attention", "blocks.*.attn.W_[QK]", "blocks.0", "head 1", "layer 0 neuron 3,7")


def same(ours, theirs, rounding=4):
    """To a few roundings of each number's own size, or of the largest one's where numbers are sums."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=rounding * EPS, atol=rounding * EPS)


def test_a_homogeneous_network_answers_the_same_at_any_scale():
    model, task = DenseMLP(n_in=14, n_out=7, width=9, depth=2, act="relu", train_biases=()), modular_addition(p=7)
    params = model.init(torch.Generator().manual_seed(0))
    scaled = edited_weights(params, [Scale(factor=2.0)])
    assert torch.equal(model.logits(scaled, task.inputs), 2.0**3 * model.logits(params, task.inputs))


@for_each("pattern", PATTERNS)
def test_scale_and_patch_touch_what_is_chosen_and_nothing_else(pattern):
    chosen = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in MINE.items()}
    for name, axis, indices in slices(MINE, pattern):
        chosen[name] |= True if indices is None else axis_mask(MINE[name], axis, indices)
    assert any(bool(where.any()) for where in chosen.values())
    doubled = edited_weights(MINE, [Scale(factor=2.0, weights=pattern)])
    patched = edited_weights(MINE, [Patch(weights=pattern)], SOURCES)
    for name, where in chosen.items():
        assert torch.equal(doubled[name], torch.where(where, 2 * MINE[name], MINE[name]))
        assert torch.equal(patched[name], torch.where(where, OTHER[name], MINE[name]))


def axis_mask(value, axis, indices):
    mask = torch.zeros(value.shape[axis], dtype=torch.bool)
    mask[list(indices)] = True
    return mask.view([-1 if i == axis else 1 for i in range(value.ndim)])


def test_a_head_and_a_neuron_own_their_numbers():
    owned = {"attn.W_Q": 8 * 4, "attn.W_K": 8 * 4, "attn.W_V": 8 * 4, "attn.W_O": 4 * 8}
    owned |= {"attn.b_Q": 4, "attn.b_K": 4, "attn.b_V": 4}
    for pattern, layer in (("head 1", 1), ("layer 0 head 1", 0), ("blocks.0.attn.head.1", 0)):
        sizes = {piece.name: piece.of(MINE).numel() for piece in slices(MINE, pattern)}
        assert sizes == {f"blocks.{layer}.{name}": size for name, size in owned.items()}
    sizes = {piece.name: piece.of(MINE).numel() for piece in slices(MINE, "neuron 3,7")}
    assert sizes == {"blocks.1.mlp.W_in": 16, "blocks.1.mlp.b_in": 2, "blocks.1.mlp.W_out": 16}


def test_a_neuron_of_dense_layers_writes_into_the_next():
    params = DenseMLP(n_in=14, n_out=7, width=9, depth=2).init(torch.Generator().manual_seed(0))
    names = [(piece.name, piece.axis) for piece in slices(params, "layer 0 neuron 2")]
    assert names == [("blocks.0.mlp.W_in", 1), ("blocks.0.mlp.b_in", 0), ("blocks.1.mlp.W_in", 0)]
    assert [piece.name for piece in slices(params, "neuron 2")][-1] == "unembed.W_U"


@for_each("path", ["straight", "great_circle"])
def test_a_move_begins_at_home_and_ends_at_the_source(path):
    same(edited_weights(MINE, [Move(t=0.0, path=path)], SOURCES), MINE, rounding=8)
    same(edited_weights(MINE, [Move(t=1.0, path=path)], SOURCES), OTHER, rounding=8)


@for_each("t", [-0.5, 0.25, 0.5, 1.5])
def test_on_the_great_circle_the_angle_is_a_share_of_the_whole_and_the_norm_goes_straight(t):
    there = edited_weights(MINE, [Move(t=t, path="great_circle")], SOURCES)
    whole = geometry.angle(MINE, OTHER)
    torch.testing.assert_close(geometry.angle(MINE, there), abs(t) * whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(norm(there), (1 - t) * norm(MINE) + t * norm(OTHER), rtol=1e-12, atol=0)


def test_radius_and_direction_of_all_are_a_transplant():
    patched = edited_weights(MINE, [Patch(what="radius")], SOURCES)
    same(patched, transplant(radius=OTHER, direction=MINE, grain=globally))
    same(
        edited_weights(MINE, [Patch(what="direction")], SOURCES),
        transplant(radius=MINE, direction=OTHER, grain=globally),
    )


@for_each("what", ["radius", "direction"])
def test_radii_of_neurons_by_hand(what):
    patched = edited_weights(MINE, [Patch(what=what, grain="neuron", weights="mlp")], SOURCES)
    expected = {name: value.clone() for name, value in MINE.items()}
    length, turn = (OTHER, MINE) if what == "radius" else (MINE, OTHER)
    for layer, tensor in itertools.product((0, 1), ("W_in", "W_out")):
        name = f"blocks.{layer}.mlp.{tensor}"
        for j in range(MINE[name].shape[1]):
            r = sum(float(x) ** 2 for x in length[name][:, j]) ** 0.5
            s = sum(float(x) ** 2 for x in turn[name][:, j]) ** 0.5
            expected[name][:, j] = turn[name][:, j] / s * r
    same(patched, expected, rounding=16)  # biases have no vector of this grain, and stay


@for_each("grain", ["global", "role", "tensor", "head", "part", "neuron"])
def test_a_radius_of_ones_own_changes_nothing(grain):
    for what in ("radius", "direction"):
        same(edited_weights(MINE, [Patch(what=what, grain=grain)], {"source": MINE}), MINE, rounding=16)


def test_edits_are_applied_in_their_order_and_keep_the_dtype():
    single = {name: value.float() for name, value in MINE.items()}
    one = edited_weights(single, [Scale(factor=2.0), Patch(weights="mlp")], SOURCES)
    other = edited_weights(single, [Patch(weights="mlp"), Scale(factor=2.0)], SOURCES)
    assert torch.equal(2 * one["blocks.0.mlp.W_in"], other["blocks.0.mlp.W_in"])
    assert {value.dtype for value in one.values()} == {torch.float32}


@for_each(
    ("edit", "words"),
    [
        (Scale(factor=1, weights="atention"), "no tensor matches"),
        (Scale(factor=1, weights="head 2"), "there are 2 heads"),
        (Scale(factor=1, weights="neuron 12"), "there are 12 neurons"),
        (Scale(factor=1, weights="layer 2 head 0"), "there are 0 heads"),
        (Patch(source="gone"), "under the name 'gone'; there are source"),
    ],
)
def test_what_is_not_there_is_refused(edit, words):
    with pytest.raises(UserError, match=words):
        edited_weights(MINE, [edit], SOURCES)


def test_a_source_of_another_shape_is_refused():
    with pytest.raises(UserError, match=r"one shape in both networks; got \[8, 8\] and \[9, 8\]"):
        edited_weights(MINE, [Patch(weights="embed.W_E")], {"source": OTHER | {"embed.W_E": noise(9, 8)}})
