"""Transplants: radii and directions by loops, invariance on orbits, homogeneous nets, planted analyses of variance."""

import math
from collections.abc import Callable

import pytest
import torch
from loops import for_each
from oracles import generator, noise
from scipy import stats
from test_transformer import small

from circuitgrok.geometry import angle
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.orbits import balance, inflate, part_norms
from circuitgrok.polar.transplants import (
    Grain,
    by_part,
    by_role,
    by_tensor,
    globally,
    swap_matrix,
    transplant,
    variance_shares,
)
from circuitgrok.tree import Params, norm, role, stack, unstack

P = 5
INPUTS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])


def network(model: Transformer, seed: int = 0) -> Params:
    """Random numbers of a size at which attention is not saturated, biases too."""
    return {name: 0.4 * noise(*shape, seed=100 * seed + i) for i, (name, shape) in enumerate(model.shapes().items())}


MODEL = small()
ONE, OTHER = network(MODEL, 1), network(MODEL, 2)
GRAINS: dict[str, Grain] = {"global": globally, "role": by_role, "tensor": by_tensor, "part": by_part(MODEL)}
GROUPS: dict[str, Callable[[str], str]] = {"global": lambda _: "", "role": role, "tensor": lambda name: name}
every_grain = for_each("grain", GRAINS.values(), ids=GRAINS)


def relu_net(x: Params, inputs: torch.Tensor) -> torch.Tensor:
    """Two layers without biases: homogeneous of degree 1 in each tensor."""
    return torch.relu(inputs @ x["blocks.0.mlp.W_in"]) @ x["unembed.W_U"]


def relu_nets(n: int) -> Params:
    """Networks of very different norms; at each norm another share of the answers is right."""
    shapes = {"blocks.0.mlp.W_in": (6, 20), "unembed.W_U": (20, 4)}
    scale = torch.logspace(-2, 2, n, dtype=torch.float64).reshape(-1, 1, 1)
    return {name: scale * noise(n, *shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}


def relu_scores(x: Params) -> dict[str, torch.Tensor]:
    logits, labels = relu_net(x, noise(50, 6, seed=8)), torch.arange(50) % 4
    right = logits.log_softmax(-1)[..., torch.arange(50), labels]
    return {"accuracy": (logits.argmax(-1) == labels).double().mean(-1), "loss": -right.mean(-1)}


# Radii and directions


@every_grain
def test_a_networks_direction_at_its_own_radius_is_the_network(grain):
    itself = transplant(ONE, ONE, grain)
    expected = MODEL.logits(ONE, INPUTS)
    torch.testing.assert_close(MODEL.logits(itself, INPUTS), expected, rtol=1e-11, atol=1e-11)
    written = balance(ONE, MODEL) if grain is GRAINS["part"] else ONE
    for name, value in itself.items():
        torch.testing.assert_close(value, written[name], rtol=4e-16, atol=0)


@for_each("name", GROUPS)
def test_each_group_has_the_norm_of_one_network_and_the_direction_of_the_other(name):
    moved, group = transplant(ONE, OTHER, GRAINS[name]), GROUPS[name]
    for vector in {group(tensor) for tensor in MODEL.shapes()}:
        members = [tensor for tensor in MODEL.shapes() if group(tensor) == vector]
        here, radius, direction = ({n: x[n] for n in members} for x in (moved, ONE, OTHER))
        assert norm(here).item() == pytest.approx(norm(radius).item(), rel=1e-14)
        assert angle(here, direction).item() <= 1e-15


def test_heads_and_neurons_have_the_norms_of_one_balanced_network_and_the_directions_of_the_other():
    model = small(n_layers=2, normalization="LN")
    one, other = network(model, 3), network(model, 4)
    moved = transplant(one, other, by_part(model))
    networks = balance(one, model), balance(other, model), moved
    radius, direction, _ = networks
    for layer in range(2):
        attn, mlp = f"blocks.{layer}.attn.", f"blocks.{layer}.mlp."
        heads = [attn + name for name in ("W_Q", "b_Q", "W_K", "b_K", "W_V", "b_V", "W_O")]
        for h in range(2):
            r, own = (sum(x[name][h].square().sum() for name in heads) ** 0.5 for x in (radius, direction))
            for name in heads:
                torch.testing.assert_close(moved[name][h], r / own * direction[name][h], rtol=1e-13, atol=0)
        for i in range(12):
            neurons = [(x[mlp + "W_in"][:, i], x[mlp + "b_in"][i, None], x[mlp + "W_out"][i]) for x in networks]
            r, own = (torch.cat(neuron).norm() for neuron in neurons[:2])
            torch.testing.assert_close(torch.cat(neurons[2]), r / own * torch.cat(neurons[1]), rtol=1e-13, atol=0)
        for name in (attn + "b_O", mlp + "b_out", f"blocks.{layer}.ln1.w"):
            expected = radius[name].norm() / direction[name].norm() * direction[name]
            torch.testing.assert_close(moved[name], expected, rtol=1e-13, atol=0)
    assert part_norms(moved, model).total.item() == pytest.approx(part_norms(radius, model).total.item(), rel=1e-13)


@every_grain
def test_a_stack_is_taken_apart_network_by_network(grain):
    one, other = stack([ONE, OTHER, ONE]), stack([OTHER, ONE, ONE])
    together = unstack(transplant(one, other, grain, 1))
    for radius, direction, found in zip(unstack(one), unstack(other), together, strict=True):
        for name, value in transplant(radius, direction, grain).items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-13)  # batched SVDs may round elsewhere


@for_each("at", [0, 1], ids=["radius", "direction"])
def test_transplants_by_part_are_the_same_function_however_the_networks_are_written(at):
    def turned(seed: int) -> torch.Tensor:
        rotation = torch.linalg.qr(noise(1, 2, 4, 4, seed=seed)).Q
        return rotation * 10 ** (torch.rand(1, 2, 1, 4, generator=generator(seed), dtype=torch.float64) - 0.5)

    beta = 10 ** (2 * torch.rand(1, 12, generator=generator(7), dtype=torch.float64) - 1)
    pair = [ONE, OTHER]
    moved = [inflate(x, MODEL, beta=beta, qk=turned(1), vo=turned(2)) if i == at else x for i, x in enumerate(pair)]

    def logits(networks: list[Params], grain: Grain) -> torch.Tensor:
        return MODEL.logits(transplant(networks[0], networks[1], grain), INPUTS)

    torch.testing.assert_close(logits(moved, by_part(MODEL)), logits(pair, by_part(MODEL)), rtol=1e-9, atol=1e-9)
    # Tensors tell how they are written.
    assert (logits(moved, by_tensor) - logits(pair, by_tensor)).abs().max() > 1e-2


def test_a_larger_unembedding_scales_the_logits_and_changes_no_answer():
    direction = OTHER | {"unembed.b_U": torch.zeros(P + 1, dtype=torch.float64)}
    radius = direction | {"unembed.W_U": 3.7 * noise(8, P + 1, seed=5)}
    moved = MODEL.logits(transplant(radius, direction, by_tensor), INPUTS)
    factor = radius["unembed.W_U"].norm() / direction["unembed.W_U"].norm()
    torch.testing.assert_close(moved, factor * MODEL.logits(direction, INPUTS), rtol=1e-12, atol=1e-12)


def test_what_is_zero_in_the_direction_stays_zero_and_takes_the_radius_of_zero():
    without = OTHER | {"blocks.0.mlp.b_in": torch.zeros(12, dtype=torch.float64)}
    assert not transplant(ONE, without, by_tensor)["blocks.0.mlp.b_in"].any()
    assert not transplant(without, ONE, by_tensor)["blocks.0.mlp.b_in"].any()
    assert transplant(without, ONE, globally)["blocks.0.mlp.b_in"].all()


# Swap matrices


@every_grain
def test_a_swap_matrix_holds_what_each_transplant_scores_alone(grain):
    radius, direction = (stack(network(MODEL, s) for s in seeds) for seeds in ((1, 2, 3), (4, 5)))
    found = swap_matrix(radius, direction, grain, lambda x: {"mean": MODEL.logits(x, INPUTS).square().mean((-2, -1))})
    for i, one in enumerate(unstack(radius)):
        for j, other in enumerate(unstack(direction)):
            expected = MODEL.logits(transplant(one, other, grain), INPUTS).square().mean()
            torch.testing.assert_close(found["mean"][i, j], expected, rtol=1e-10, atol=0)


def test_the_diagonal_of_one_stack_is_what_its_networks_score_and_no_more_are_made_at_once():
    networks, sizes = relu_nets(6), []

    def counted(x: Params) -> dict[str, torch.Tensor]:
        sizes.append(len(x["unembed.W_U"]))
        return relu_scores(x)

    found = swap_matrix(networks, networks, globally, counted)
    assert sizes == [6] * 6
    for name, scores in relu_scores(networks).items():
        torch.testing.assert_close(found[name].diagonal(), scores, rtol=1e-13, atol=0)


@for_each("grain", [globally, by_tensor])
def test_of_a_homogeneous_network_only_the_direction_decides_what_is_right_but_not_the_loss(grain):
    networks = relu_nets(6)
    matrix = swap_matrix(networks, networks, grain, relu_scores)
    assert bool((matrix["accuracy"] == matrix["accuracy"][0]).all()) and matrix["accuracy"][0].std() > 0
    shares = variance_shares(matrix["accuracy"][None])
    assert shares.direction.estimate == pytest.approx(1, abs=1e-12)
    assert variance_shares(matrix["loss"].log()[None]).radius.estimate > 0.5  # from 1e-4 of a logit to 1e4


# Shares of variance


def planted(of_radius: list[float], of_direction: list[float], both: float) -> torch.Tensor:
    """A table with given row and column effects, and an interaction that is orthogonal to them; all about 5."""
    rows, columns = (torch.tensor(x, dtype=torch.float64) for x in (of_radius, of_direction))
    rows, columns = rows - rows.mean(), columns - columns.mean()
    return 5 + rows[:, None] + columns + both * rows[:, None] * columns


def test_planted_effects_are_recovered_with_their_closed_form():
    a, b, c = [0.0, 1.0, 5.0], [2.0, -1.0, 0.0, 4.0], 0.3
    shares = variance_shares(planted(a, b, c)[None])
    of_a, of_b = ((sum(x * x for x in e) - sum(e) ** 2 / len(e)) for e in (a, b))  # sums of squares about the mean
    squares = [len(b) * of_a, len(a) * of_b, c**2 * of_a * of_b]
    assert [share.estimate for share in shares] == pytest.approx([x / sum(squares) for x in squares], rel=1e-12)


def test_shares_agree_with_sums_over_every_cell():
    x = noise(4, 3, 5)
    squares = torch.zeros(3, dtype=torch.float64)
    for run in x:
        for i in range(3):
            for j in range(5):
                row, column, mean = run[i].mean(), run[:, j].mean(), run.mean()
                squares += torch.stack([row - mean, column - mean, run[i, j] - row - column + mean]) ** 2
    found = torch.tensor([share.estimate for share in variance_shares(x)], dtype=torch.float64)
    torch.testing.assert_close(found, squares / squares.sum(), rtol=1e-10, atol=0)
    assert found.sum().item() == pytest.approx(1, rel=1e-14)
    assert (squares.sum() / (x - x.mean((1, 2), keepdim=True)).square().sum()).item() == pytest.approx(1, rel=1e-13)


def test_runs_of_one_variance_give_the_mean_of_their_shares_and_students_interval():
    x = noise(6, 3, 4)
    x = x / x.std((1, 2), keepdim=True)  # then the ratio of the sums is a mean, and leaving one out its standard error
    shares = [variance_shares(run[None]) for run in x]
    for field, share in variance_shares(x)._asdict().items():
        alone = torch.tensor([getattr(run, field).estimate for run in shares], dtype=torch.float64)
        stderr = (alone.std() / math.sqrt(6)).item()
        low, high = stats.t.interval(0.95, 5, loc=alone.mean().item(), scale=stderr)
        assert share == pytest.approx((alone.mean().item(), stderr, max(low, 0), min(high, 1)), rel=1e-9, abs=1e-12)


def test_shares_see_neither_the_level_of_a_run_nor_the_unit_and_transposing_swaps_them():
    x, level = noise(4, 3, 5), noise(4, 1, 1, seed=1)
    shares = variance_shares(x)
    for share, same in zip(shares, variance_shares(7 * (x + level)), strict=True):
        assert same == pytest.approx(share, rel=1e-11)
    turned = variance_shares(x.mT)
    assert turned.direction == pytest.approx(shares.radius) and turned.interaction == pytest.approx(shares.interaction)


def test_a_run_in_which_nothing_varies_has_no_say_in_the_estimate():
    x = noise(3, 3, 5)
    with_it = variance_shares(torch.cat([x, torch.full((1, 3, 5), 0.2)]))
    assert [s.estimate for s in with_it] == pytest.approx([s.estimate for s in variance_shares(x)], rel=1e-12)


def test_one_run_has_no_interval_and_no_variance_no_shares():
    for share in variance_shares(noise(1, 3, 5)):
        assert math.isfinite(share.estimate) and all(math.isnan(x) for x in share[1:])
    assert all(math.isnan(x) for share in variance_shares(torch.ones(3, 2, 2)) for x in share)


def test_tables_that_cannot_be_decomposed_are_refused():
    with pytest.raises(ValueError, match="two levels of each factor at least; got 1 of radius, 4 of direction"):
        variance_shares(torch.ones(3, 1, 4))
    with pytest.raises(ValueError, match="must be finite"):
        variance_shares(torch.tensor([[[1.0, torch.nan], [0.0, 1.0]]]))
