"""Which weights: patterns by plain loops over names, and vectors of every grain by slow loops over indices."""

import itertools
import math
from fnmatch import fnmatchcase
from typing import get_args

import pytest
import torch
from loops import for_each
from oracles import noise
from torch import Tensor

from circuitgrok.models.transformer import Transformer
from circuitgrok.select import PARTS, Grain, Piece, names, over, pieces, vectors, weights
from circuitgrok.tree import ROLES, norm, role

EPS = torch.finfo(torch.float64).eps
GRAINS = get_args(Grain)
MODEL = Transformer(
    p=5, n_layers=2, d_model=4, n_heads=3, d_head=2, d_mlp=6, normalization="LN", allow_narrow_heads=True
)


# Patterns


@for_each("part", ROLES)
def test_a_role_chooses_its_tensors_in_their_order(part):
    assert names(MODEL.shapes(), part) == [name for name in MODEL.shapes() if role(name) == part]


@for_each("glob", ["*", "*.W_[QK]", "blocks.1.*", "*n", "pos_embed.W_pos", "*.b_?"])
def test_a_glob_that_matches_whole_names_chooses_them_and_nothing_else(glob):
    assert names(MODEL.shapes(), glob) == [name for name in MODEL.shapes() if fnmatchcase(name, glob)]


@for_each("path", ["blocks.0", "blocks.?.attn", "blocks", "ln_final", "*.ln1"])
def test_a_path_that_is_no_name_chooses_what_lies_under_it(path):
    parts = path.split(".")
    under = [name for name in MODEL.shapes() if len(name.split(".")) > len(parts)]
    under = [n for n in under if fnmatchcase(n, f"{path}.*")]
    assert names(MODEL.shapes(), path) == under and under


@for_each("pattern", ["mpl", "*.w_e", "blocks.2", "blocks.0.attn.head", "Embed"])
def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is(pattern):
    for chosen in (lambda: names(MODEL.shapes(), pattern), lambda: weights(network(), pattern)):
        with pytest.raises(ValueError, match="no tensor matches '.*'; there are embed.W_E, "):
            chosen()
    with pytest.raises(ValueError, match="no trained tensor has the role 'attention'; there are unembed.W_U"):
        names(["unembed.W_U"], "attention")


def test_a_head_owns_its_index_of_its_layers_tensors_and_its_pieces_are_views():
    net = network(runs=None)
    owned = [n for n in net if n.startswith("blocks.1.attn.") and not n.endswith("b_O")]
    chosen = weights(net, "blocks.1.attn.head.2")
    assert list(chosen) == owned
    for name, value in chosen.items():
        assert torch.equal(value, net[name][2]) and value.data_ptr() == net[name][2].data_ptr()
    stacked = network(runs=3)
    for piece in pieces(MODEL.shapes(), "blocks.1.attn.head.2"):
        assert torch.equal(piece.of(stacked), stacked[piece.name][:, 2])
        whole = piece.put(stacked, torch.zeros_like(piece.of(stacked)))
        others = [0, 1]
        assert not whole[:, 2].any() and torch.equal(whole[:, others], stacked[piece.name][:, others])
    assert pieces(MODEL.shapes(), "unembed.b_U") == [Piece("unembed.b_U")]


def test_a_head_that_is_not_there_is_refused():
    for pattern in ("blocks.0.attn.head.3", "blocks.2.attn.head.0"):
        with pytest.raises(ValueError, match="there are 2 layers of 3 heads, from 0"):
            pieces(MODEL.shapes(), pattern)
    with pytest.raises(ValueError, match="no head 'blocks.0.attn.head.0': a stone has none"):
        pieces({"blocks.0.mlp.W_in": (3, 4)}, "blocks.0.attn.head.0", "a stone")


# Vectors


def network(runs: int | None = 2) -> dict[str, Tensor]:
    front = () if runs is None else (runs,)
    return {name: noise(*front, *shape, seed=i) for i, (name, shape) in enumerate(MODEL.shapes().items())}


def lengths(grain: Grain, axes: int = 1) -> dict[str, Tensor]:
    every = vectors(network() if axes else network(runs=None), grain, axes)
    return {name: norm(*of) for name, of in every.items()}


def length(*numbers: Tensor) -> float:
    return math.sqrt(math.fsum(x * x for part in numbers for x in part.flatten().tolist()))


def test_all_numbers_those_of_a_role_and_those_of_a_tensor_are_one_vector():
    net = network()
    for run in range(2):
        assert lengths("global")["global"][run].item() == pytest.approx(length(*(v[run] for v in net.values())))
        for part, found in lengths("role").items():
            own = [value[run] for name, value in net.items() if role(name) == part]
            assert found[run].item() == pytest.approx(length(*own), rel=4 * EPS)
        for name, found in lengths("tensor").items():
            assert found[run].item() == pytest.approx(length(net[name][run]), rel=4 * EPS)
    assert lengths("role").keys() == set(ROLES) and list(lengths("tensor")) == list(net)


def test_a_neuron_is_what_comes_into_an_output_and_a_token_is_its_row():
    net, found = network(), lengths("neuron")
    assert found.keys() == {name for name in net if ".W_" in name}  # neither biases nor gains
    first = {name: tuple(of.shape[1:]) for name, of in found.items() if "blocks.1" not in name}
    assert first == {
        "embed.W_E": (6,),
        "pos_embed.W_pos": (3,),
        **{f"blocks.0.attn.W_{x}": (3, 2) for x in "QKV"},
        "blocks.0.attn.W_O": (3, 4),
        "blocks.0.mlp.W_in": (6,),
        "blocks.0.mlp.W_out": (4,),
        "unembed.W_U": (6,),
    }
    for run, name in itertools.product(range(2), found):
        for index in itertools.product(*map(range, found[name].shape[1:])):
            value = net[name][run][index[:-1]]
            by_hand = length(value[index[-1]] if "embed.W_E" in name or "W_pos" in name else value[:, index[-1]])
            assert found[name][run][index].item() == pytest.approx(by_hand, rel=4 * EPS)


@for_each("axes", [0, 1])
def test_a_head_and_a_neuron_with_what_leaves_it_are_one_vector_each(axes):
    net, found = network(runs=2 if axes else None), lengths("part", axes)
    heads = lengths("head", axes)
    assert list(heads) == ["blocks.0.attn.head", "blocks.1.attn.head"]
    assert all(torch.equal(heads[name], found[name]) for name in heads)
    rest = {n for n in net if n.split(".", 2)[-1] not in {own for owned in PARTS.values() for own in owned}}
    assert found.keys() == rest | {f"blocks.{layer}.{kind}" for layer in range(2) for kind in PARTS}
    at = (1,) if axes else ()
    for layer in ("blocks.0.", "blocks.1."):
        one = {name.removeprefix(layer): value[at] for name, value in net.items() if name.startswith(layer)}
        for h in range(3):
            own = [one[f"attn.{x}"][h] for x in ("W_Q", "b_Q", "W_K", "b_K", "W_V", "b_V", "W_O")]
            assert found[f"{layer}attn.head"][at][h].item() == pytest.approx(length(*own), rel=4 * EPS)
        for i in range(6):
            own = (one["mlp.W_in"][:, i], one["mlp.b_in"][i], one["mlp.W_out"][i])
            assert found[f"{layer}mlp.neuron"][at][i].item() == pytest.approx(length(*own), rel=4 * EPS)


@for_each("grain", GRAINS)
def test_squares_of_all_vectors_of_a_grain_add_up_to_those_of_the_tensors_that_have_some(grain):
    squares = torch.stack([of.square().reshape(2, -1).sum(1) for of in lengths(grain).values()]).sum(0)
    within = [name for every in vectors(network(), grain).values() for name in every.tensors]
    assert len(set(within)) == len(within)  # each number is in one vector
    own = torch.stack([lengths("tensor")[name].square() for name in within]).sum(0)
    torch.testing.assert_close(squares, own, rtol=32 * EPS, atol=0)
    if grain in ("global", "role", "tensor", "part"):
        assert set(within) == set(network())


@for_each("grain", GRAINS)
def test_vectors_are_views(grain):
    net = network()
    within = {name for every in vectors(net, grain).values() for name in every.tensors}
    for every in vectors(net, grain).values():
        for value in every.tensors.values():
            value.zero_()
    assert {name for name, value in net.items() if value.any()} == set(net) - within


@for_each("axes", [0, 1])
@for_each("grain", GRAINS)
def test_numbers_laid_out_over_the_tensors_meet_their_own_vectors(grain, axes):
    net = network(runs=2 if axes else None)
    laid = over({name: norm(*every) for name, every in vectors(net, grain, axes).items()}, net, grain, axes)
    units = {name: net[name] / r for name, r in laid.items()}
    assert units.keys() == {name for every in vectors(net, grain, axes).values() for name in every.tensors}
    for name, every in vectors(net, grain, axes).items():
        own = {n: units[n] for n in every.tensors}
        whole = vectors(own, grain, axes)[name]
        torch.testing.assert_close(norm(*whole), torch.ones_like(norm(*whole)), rtol=8 * EPS, atol=0)
