"""Parts: each head and neuron against the path of its own weights, planted turns, angles of all pairs by 60 digits."""

import math

import pytest
import torch
from loops import for_each
from oracles import generator, noise, slow_angle
from test_transformer import small

from circuitgrok import select
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.orbits import balance, inflate
from circuitgrok.polar.parts import part_paths
from circuitgrok.polar.path import Polar, polar_path
from circuitgrok.tree import norm, ravel, role, stack

EPS = torch.finfo(torch.float64).eps
FIELDS = Polar._fields


def network(model: Transformer, seed: int = 0):
    """Random numbers everywhere, biases too."""
    return {name: noise(*shape, seed=100 * seed + i) for i, (name, shape) in enumerate(model.shapes().items())}


def weights_of_neuron(x, layer: int, i: int):
    into, bias, out = (x[f"blocks.{layer}.mlp.{name}"] for name in ("W_in", "b_in", "W_out"))
    return {"mlp.W_in": into[..., i], "mlp.b_in": bias[..., i, None], "mlp.W_out": out[..., i, :]}


def weights_of_head(x, layer: int, h: int):
    block = f"blocks.{layer}.attn."
    weights = {f"attn.{w}": x[block + w][..., h, :, :] for w in ("W_Q", "W_K", "W_V", "W_O")}
    return weights | {f"attn.{b}": x[block + b][..., h, :] for b in ("b_Q", "b_K", "b_V")}


# Heads and neurons


@for_each("model", [small(d_mlp=140), small(n_layers=2), small(d_head=12, allow_narrow_heads=True), small(act="gelu")])
def test_every_part_travels_the_path_of_its_own_weights(model):
    steps = torch.tensor([0, 3, 10, 11])
    checkpoints = stack(network(model, seed) for seed in range(4))
    paths = part_paths(checkpoints, steps)
    assert len(paths) == 2 * model.n_layers
    for layer in range(model.n_layers):
        for kind, n_parts, weights_of in (
            ("attn.head", model.n_heads, weights_of_head),
            ("mlp.neuron", model.d_mlp, weights_of_neuron),
        ):
            alone = [polar_path(weights_of(checkpoints, layer, i), steps)["global"] for i in range(n_parts)]
            for field in FIELDS:
                expected = torch.stack([getattr(path, field) for path in alone], dim=1)
                found = getattr(paths[f"blocks.{layer}.{kind}"], field)
                torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14, equal_nan=True)


def test_a_neuron_that_turns_by_a_planted_angle_is_the_only_one_to_move():
    at = network(small())
    block, i, turn = "blocks.0.mlp.", 7, 0.25
    here = ravel(weights_of_neuron(at, 0, i))
    across = noise(len(here), seed=9)
    across = across - (across @ here) / (here @ here) * here
    there = math.cos(turn) * here + math.sin(turn) * here.norm() * across / across.norm()
    moved = {name: value.clone() for name, value in at.items()}
    moved[block + "W_in"][:, i], moved[block + "b_in"][i], moved[block + "W_out"][i] = there[:8], there[8], there[9:]
    paths = part_paths(stack([at, moved]), torch.tensor([0, 100]))
    neurons = paths["blocks.0.mlp.neuron"]
    assert neurons.angular_distance[1, i].item() == pytest.approx(turn, rel=16 * EPS)
    assert neurons.arc_length[1, i].item() == pytest.approx(turn * here.norm().item(), rel=16 * EPS)
    assert neurons.angular_speed[1, i].item() == pytest.approx(turn / 100, rel=16 * EPS)
    assert neurons.radial_distance[1, i].item() <= 8 * EPS * here.norm().item()
    assert neurons.angle_start[1].nonzero().tolist() == [[i]]
    assert paths["blocks.0.attn.head"].angle_start[1].tolist() == [0.0, 0.0]


def test_a_neuron_that_turns_by_a_billionth_is_seen_to_a_millionth_of_that():
    at = network(small())
    moved = {name: value.clone() for name, value in at.items()}
    moved["blocks.0.mlp.b_in"] += 1e-9
    paths = part_paths(stack([at, moved]), torch.tensor([0, 1]))
    vectors = [[ravel(weights_of_neuron(x, 0, i)) for x in (at, moved)] for i in range(12)]
    exact = [slow_angle(*pair) for pair in vectors]  # weights are rounded to 1e-16 of themselves: 1e-7 of the angle
    assert paths["blocks.0.mlp.neuron"].angle_end[0].tolist() == pytest.approx(exact, rel=1e-6)


def test_squares_of_the_parts_and_of_the_shared_biases_add_up_to_those_of_the_roles():
    model = small(n_layers=2)
    checkpoints = stack(network(model, seed) for seed in range(3))
    paths = part_paths(checkpoints, torch.arange(3))
    for part, kind, shared in (("attention", "attn.head", "*.b_O"), ("mlp", "mlp.neuron", "*.b_out")):
        squares = sum(paths[f"blocks.{layer}.{kind}"].norm.square().sum(1) for layer in range(2))
        whole = norm({name: value for name, value in checkpoints.items() if role(name) == part}, 1)
        torch.testing.assert_close(
            squares + norm(select.weights(checkpoints, shared), 1) ** 2, whole**2, rtol=1e-13, atol=0
        )


def test_rescaled_neurons_turn_as_they_are_written_and_rest_once_balanced():
    model, at = small(), network(small())
    beta = 10 ** (torch.rand(1, 12, generator=generator(0), dtype=torch.float64) - 0.5)
    checkpoints = stack([at, inflate(at, model, beta=beta)])
    assert part_paths(checkpoints, torch.arange(2))["blocks.0.mlp.neuron"].angle_start[1].min() > 1e-3
    neurons = part_paths(balance(checkpoints, model), torch.arange(2))["blocks.0.mlp.neuron"]
    torch.testing.assert_close(neurons.norm[0], neurons.norm[1], rtol=1e-14, atol=0)
    assert neurons.angle_start[1].max() <= 16 * EPS


def test_a_neuron_that_dies_has_no_angle_from_then_on_and_spoils_no_other():
    model = small()
    checkpoints = stack(network(model, seed) for seed in range(3))
    for weights, axis in (("W_in", 1), ("b_in", 0), ("W_out", 0)):
        checkpoints[f"blocks.0.mlp.{weights}"][2].index_fill_(axis, torch.tensor([4]), 0.0)
    neurons = part_paths(checkpoints, torch.arange(3))["blocks.0.mlp.neuron"]
    assert neurons.angle_start[:, 4].isnan().tolist() == [False, False, True]
    assert neurons.angular_distance[2, 4] == neurons.angular_distance[1, 4] > 0
    assert neurons.angle_start[2].isnan().nonzero().tolist() == [[4]]


def test_steps_that_do_not_fit_the_checkpoints_are_refused():
    checkpoints = stack(network(small(), seed) for seed in range(3))
    with pytest.raises(ValueError, match=r"got 2 for \[3\] checkpoints"):
        part_paths(checkpoints, torch.arange(2))
