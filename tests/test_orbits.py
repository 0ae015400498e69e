"""Orbits: laws of the symmetries, the slow twin of every norm, a numerical minimisation, Gaussian references."""

import math
from pathlib import Path

import pytest
import torch
from loops import for_each
from oracles import generator, noise
from test_transformer import small
from torch.nn.functional import cross_entropy

from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.inflation import imbalance, inflated, inflated_to
from circuitgrok.polar.orbits import balance, balancedness, inflate, orbit_minimal_norm, part_norms, path_norm
from circuitgrok.store.run import load
from circuitgrok.tree import Params, is_bias, norm, stack, unstack

P = 5
INPUTS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
REFERENCE = Path(__file__).parents[1] / "checkpoints" / "reference"


MODELS = {
    "plain": small(),
    "three layers": small(n_layers=3),
    "LayerNorm": small(n_layers=2, normalization="LN"),
    "wide heads": small(d_head=12, allow_narrow_heads=True),  # more columns than rows
}
every_model = for_each("model", MODELS.values(), ids=MODELS)


def random_params(model: Transformer, seed: int = 0) -> Params:
    """A base init with random biases and LayerNorms: nothing is zero, nothing balanced."""
    drawn = model.init(generator(seed))
    shaken = {n: is_bias(n) or n.endswith(".w") for n in drawn}
    return {n: x + shaken[n] * 0.3 * noise(*x.shape, seed=seed + i) for i, (n, x) in enumerate(drawn.items())}


def random_move(model: Transformer, seed: int = 0) -> dict[str, torch.Tensor]:
    """beta in [0.1, 10], and invertible G = rotation diag(0.1..10) rotation for every head."""
    layers, heads, e = model.n_layers, model.n_heads, model.d_head

    def rotations(at: int) -> torch.Tensor:
        return torch.linalg.qr(noise(layers, heads, e, e, seed=seed + at)).Q

    def spread(*shape: int, at: int) -> torch.Tensor:
        return 10 ** (2 * torch.rand(*shape, generator=generator(seed + at), dtype=torch.float64) - 1)

    move = {"beta": spread(layers, model.d_mlp, at=1)}
    for i, kind in enumerate(("qk", "vo")):
        move[kind] = rotations(10 + i) @ (spread(layers, heads, e, at=20 + i).unsqueeze(-1) * rotations(30 + i))
    return move


def inverse(move: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: 1 / x if name == "beta" else torch.linalg.inv(x) for name, x in move.items()}


def columns(params: Params, layer: int, weight: str, bias: str) -> torch.Tensor:
    return torch.cat([params[f"blocks.{layer}.{weight}"], params[f"blocks.{layer}.{bias}"].unsqueeze(-2)], dim=-2)


def pairs(params: Params, model: Transformer, layer: int) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
    """The definition, written out: A and B of every head and neuron of a block, one at a time."""
    query, key, value = (columns(params, layer, f"attn.W_{x}", f"attn.b_{x}") for x in "QKV")
    output, out = params[f"blocks.{layer}.attn.W_O"], params[f"blocks.{layer}.mlp.W_out"]
    neuron = columns(params, layer, "mlp.W_in", "mlp.b_in")
    return {
        "qk": [(query[h], key[h]) for h in range(model.n_heads)],
        "vo": [(value[h], output[h].T) for h in range(model.n_heads)],
        "mlp": [(neuron[:, i : i + 1], out[i : i + 1].T) for i in range(model.d_mlp)],
    }


def same_function(model: Transformer, one: Params, other: Params) -> bool:
    """Logits equal to 1e-10: matrices of condition 100 turn errors of eps into 1e-14 per product, a few in a row."""
    expected, got = model.logits(one, INPUTS), model.logits(other, INPUTS)
    return bool((expected - got).abs().max() < 1e-10 * expected.abs().max())


def excess(params: Params, model: Transformer) -> dict[str, torch.Tensor]:
    """N^2 / N_min^2 - 1 of the whole and of each kind of pair."""
    norms, least = part_norms(params, model), orbit_minimal_norm(params, model)
    return {f: (getattr(norms, f) / getattr(least, f)) ** 2 - 1 for f in ("total", "qk", "vo", "mlp")}


# Orbits


@every_model
def test_inflating_changes_the_norm_and_nothing_that_belongs_to_the_function(model):
    params, move = random_params(model), random_move(model)
    for part in (*({name: x} for name, x in move.items()), move):
        moved = inflate(params, model, **part)
        assert same_function(model, params, moved)
        assert norm(moved) > 1.01 * norm(params)
        least, again = orbit_minimal_norm(params, model), orbit_minimal_norm(moved, model)
        for field, one, other in zip(least._fields, least, again, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-10, atol=0, msg=field)
        torch.testing.assert_close(path_norm(moved, model), path_norm(params, model), rtol=1e-13, atol=0)


@every_model
def test_inverse_factors_undo_an_inflation_to_rounding(model):
    params, move = random_params(model), random_move(model)
    back = inflate(inflate(params, model, **move), model, **inverse(move))
    assert list(back) == list(params)
    for name, value in params.items():
        torch.testing.assert_close(back[name], value, rtol=0, atol=1e-12 * value.abs().max().item(), msg=name)


@for_each("length", [1.0, 1.3, 4.0])
def test_a_network_is_inflated_to_the_norm_asked_for_and_computes_the_same(length):
    model = small()
    params = random_params(model)
    target = length * norm(params).item()
    moved = inflated_to(params, model, target, seed=3)
    assert norm(moved).item() == pytest.approx(target, rel=1e-12)
    assert same_function(model, params, moved)
    as_float32 = inflated_to({name: value.float() for name, value in params.items()}, model, target, seed=3)
    assert as_float32["embed.W_E"].dtype == torch.float32
    assert norm(as_float32).item() == pytest.approx(target, rel=1e-6)


def test_no_inflation_makes_a_network_smaller_or_larger_than_all_that_is_tried():
    model = small()
    params = random_params(model)
    with pytest.raises(ValueError, match="at least the network's own"):
        inflated_to(params, model, 0.9 * norm(params).item(), seed=0)
    with pytest.raises(ValueError, match="no spread up to"):
        inflated_to(params, model, 1e20, seed=0)


@every_model
def test_balanced_networks_have_the_least_norm_of_their_orbit_and_the_same_function(model):
    params = random_params(model)
    for start in (params, inflate(params, model, **random_move(model))):
        balanced = balance(start, model)
        assert same_function(model, params, balanced)
        least = orbit_minimal_norm(params, model)
        for one, other in zip(least, part_norms(balanced, model), strict=True):
            torch.testing.assert_close(other, one, rtol=1e-10, atol=0)
        assert all(x.abs().max() < 1e-10 for x in balancedness(balanced, model))
        assert all(x.abs().min() > 1e-3 for x in excess(start, model).values())


@every_model
def test_a_balanced_network_stays_where_it_is(model):
    balanced = balance(random_params(model), model)
    for name, value in balance(balanced, model).items():
        # The square roots of singular values s lose eps/sqrt(s); the last ones here are near 1e-2 of the first.
        torch.testing.assert_close(value, balanced[name], rtol=0, atol=1e-11, msg=name)


@every_model
def test_inflating_and_balancing_again_gives_all_back_but_a_rotation_of_each_head(model):
    balanced = balance(random_params(model), model)
    back = balance(inflate(balanced, model, **random_move(model)), model)
    for layer in range(model.n_layers):
        here, there = pairs(balanced, model, layer), pairs(back, model, layer)
        for one, other in zip(here["mlp"], there["mlp"], strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-12)
        for one, other in zip(here["qk"] + here["vo"], there["qk"] + there["vo"], strict=True):
            for i, j in ((0, 0), (1, 1), (0, 1)):  # what a rotation shared by A and B leaves alone, and nothing else
                torch.testing.assert_close(other[i] @ other[j].T, one[i] @ one[j].T, rtol=0, atol=1e-10)


def test_balancing_goes_to_the_nearest_of_the_balanced_networks():
    model = small(d_mlp=1)
    params = random_params(model)
    balanced = balance(params, model)

    def distance(there: Params) -> float:
        return norm({name: there[name] - params[name] for name in params}).item()

    for seed in range(20):
        rotations = [torch.linalg.matrix_exp(0.1 * (x - x.mT)) for x in noise(2, 1, 2, 4, 4, seed=seed)]
        rotated = inflate(balanced, model, qk=rotations[0], vo=rotations[1])
        assert norm(rotated).item() == pytest.approx(norm(balanced).item(), rel=1e-12)
        assert distance(rotated) > distance(balanced)


def test_gradient_flow_conserves_the_difference_of_the_two_sides_of_every_pair():
    model = small(n_layers=2)
    params = {name: value.requires_grad_() for name, value in random_params(model).items()}
    labels = torch.randint(0, P, (P * P,), generator=generator(1))
    cross_entropy(model.logits(params, INPUTS), labels).backward()
    slopes, seen = {name: value.grad for name, value in params.items() if value.grad is not None}, []
    for layer in range(model.n_layers):
        here, slope = pairs(params, model, layer), pairs(slopes, model, layer)
        for kind, both in here.items():
            for (A, B), (dA, dB) in zip(both, slope[kind], strict=True):
                change, other = A.T @ dA, (B.T @ dB).T  # half of d/dt A^T A and of d/dt B^T B
                torch.testing.assert_close(change, other, rtol=0, atol=1e-14)
                seen.append(change.abs().max().item())
    assert sum(size > 1e-3 for size in seen) > len(seen) / 2  # some neurons are off on every pair


# Norms


@every_model
def test_norms_agree_with_loops_over_heads_and_neurons_and_with_the_svd_of_full_products(model):
    params = random_params(model)
    norms, least = part_norms(params, model), orbit_minimal_norm(params, model)
    for layer in range(model.n_layers):
        for kind, both in pairs(params, model, layer).items():
            plain = math.fsum((A.norm() ** 2 + B.norm() ** 2).item() for A, B in both)
            nuclear = math.fsum(2 * torch.linalg.svdvals(A @ B.T).sum().item() for A, B in both)
            assert getattr(norms, kind)[layer].item() ** 2 == pytest.approx(plain, rel=1e-13)
            assert getattr(least, kind)[layer].item() ** 2 == pytest.approx(nuclear, rel=1e-13)


@every_model
def test_every_tensor_is_counted_once(model):
    params = random_params(model)
    norms = part_norms(params, model)
    assert norms.total.item() == pytest.approx(norm(params).item(), rel=1e-14)
    inside = {"qk": "W_Q b_Q W_K b_K", "vo": "W_V b_V W_O", "mlp": "W_in b_in W_out", "biases": "b_O b_out b_U"}
    inside |= {"embed": "W_E", "pos_embed": "W_pos", "unembed": "W_U"}
    for part, name in ((part, name) for part, names in inside.items() for name in names.split()):
        doubled = {n: 2 * x if n.rsplit(".", 1)[-1] == name else x for n, x in params.items()}
        fields = zip(norms._fields, norms, part_norms(doubled, model), strict=True)
        changed = [field for field, before, after in fields if not torch.equal(before, after)]
        assert changed == ["total", part]
    parts = [x for f, x in zip(norms._fields, orbit_minimal_norm(params, model), strict=True) if f != "total"]
    total = orbit_minimal_norm(params, model).total.item()
    assert total == pytest.approx(math.sqrt(math.fsum(x.square().sum().item() for x in parts)), rel=1e-14)


def test_minimising_numerically_over_the_orbit_reaches_the_least_norm_and_never_goes_below():
    model = small(d_model=4, d_head=2, d_mlp=3)
    params = random_params(model)
    least = orbit_minimal_norm(params, model).total.item() ** 2
    seen = []
    for seed in range(3):
        log_beta = noise(1, 3, seed=seed).requires_grad_()
        qk, vo = ((torch.eye(2) + 0.3 * noise(1, 2, 2, 2, seed=seed + i)).requires_grad_() for i in (10, 20))
        moved = [log_beta, qk, vo]
        optimizer = torch.optim.LBFGS(moved, max_iter=200, tolerance_change=0, line_search_fn="strong_wolfe")

        def closure(optimizer=optimizer, log_beta=log_beta, qk=qk, vo=vo):
            optimizer.zero_grad()
            square = norm(inflate(params, model, beta=log_beta.exp(), qk=qk, vo=vo)).square()
            square.backward()
            seen.append(square.item())
            return square

        optimizer.step(closure)
        assert seen[-1] == pytest.approx(least, rel=1e-10)  # LBFGS stops at slopes of 1e-7, whose square is 1e-14
    assert max(seen) > 1.1 * least and min(seen) > least * (1 - 1e-13)


def test_balancedness_agrees_with_its_definition_and_a_neurons_says_how_far_its_norm_is_from_the_least():
    model = MODELS["three layers"]
    params = random_params(model)
    qk, vo, mlp = balancedness(params, model)
    for layer in range(model.n_layers):
        both = pairs(params, model, layer)
        for measured, kind in ((qk, "qk"), (vo, "vo")):
            grams = [(A.T @ A, B.T @ B) for A, B in both[kind]]
            expected = [((G - H).norm() / (G.norm() + H.norm())).item() for G, H in grams]
            assert measured[layer].tolist() == pytest.approx(expected, rel=1e-12)
        sizes = [(A.norm().item(), B.norm().item()) for A, B in both["mlp"]]
        assert mlp[layer].tolist() == pytest.approx([(a * a - b * b) / (a * a + b * b) for a, b in sizes], rel=1e-10)
        ratios = [(a * a + b * b) / (2 * a * b) for a, b in sizes]
        assert (1 / (1 - mlp[layer] ** 2).sqrt()).tolist() == pytest.approx(ratios, rel=1e-12)


def test_path_norm_agrees_with_a_walk_along_every_path():
    model = small(n_layers=2, d_model=4, d_head=2, d_mlp=3)
    params = random_params(model)
    for layer, measured in enumerate(path_norm(params, model).tolist()):
        neurons = pairs(params, model, layer)["mlp"]
        walks = [abs(x * y) for a, b in neurons for x in a.flatten().tolist() for y in b.flatten().tolist()]
        assert measured == pytest.approx(math.fsum(walks), rel=1e-13)


# Edges


def test_what_has_nothing_at_one_end_counts_as_zero_and_is_balanced_at_zero():
    model = small()
    params = random_params(model)
    attn, mlp = "blocks.0.attn.", "blocks.0.mlp."
    params[mlp + "W_out"][:3] = 0
    params[mlp + "W_in"][:, 2:6], params[mlp + "b_in"][2:6] = 0, 0
    params[attn + "W_O"][0] = 0
    params[attn + "W_K"][0], params[attn + "b_K"][0] = 0, 0
    for name in ("W_V", "b_V"):
        params[attn + name][1, ..., 2:] = params[attn + name][1, ..., :2]  # of rank 2 of 4
    balanced = balance(params, model)
    assert same_function(model, params, balanced)
    assert not balanced[mlp + "W_in"][:, :6].any() and not balanced[mlp + "W_out"][:6].any()
    assert not balanced[attn + "W_Q"][0].any() and not balanced[attn + "W_V"][0].any()
    least, stays = orbit_minimal_norm(params, model), part_norms(balance(balanced, model), model)
    torch.testing.assert_close(part_norms(balanced, model).total, least.total, rtol=1e-12, atol=0)
    torch.testing.assert_close(stays.total, least.total, rtol=1e-12, atol=0)
    measured = balancedness(params, model)
    assert measured.mlp[0, 2] == 0  # nothing at both ends
    assert measured.mlp[0, [0, 1, 3]].tolist() == [1, 1, -1]
    assert all(x.isfinite().all() for x in measured)


def test_gelu_neurons_count_as_they_stand_and_cannot_be_rescaled():
    model = small(act="gelu")
    params, move = random_params(model), random_move(model)
    # sums of some hundred squares
    torch.testing.assert_close(orbit_minimal_norm(params, model).mlp, part_norms(params, model).mlp, rtol=1e-12, atol=0)
    balanced = balance(params, model)
    assert torch.equal(balanced["blocks.0.mlp.W_in"], params["blocks.0.mlp.W_in"])
    heads = {name: move[name] for name in ("qk", "vo")}
    assert same_function(model, params, balanced)
    assert same_function(model, params, inflate(params, model, **heads))
    with pytest.raises(ValueError, match="only ReLU neurons can be rescaled; got beta for act = 'gelu'"):
        inflate(params, model, **move)


def test_shifts_that_the_softmax_or_another_bias_undoes_are_not_minimised():
    model = small()
    params = random_params(model)
    attn = "blocks.0.attn."
    through = torch.einsum("he,hed->d", params[attn + "b_V"], params[attn + "W_O"])
    handed = params | {attn + "b_V": torch.zeros(2, 4).double(), attn + "b_O": params[attn + "b_O"] + through}
    shifted = params | {attn + "b_K": params[attn + "b_K"] + noise(2, 4)}
    least = orbit_minimal_norm(params, model).total
    for other in (handed, shifted):
        assert same_function(model, params, other)
        assert abs(orbit_minimal_norm(other, model).total / least - 1) > 1e-6


def singular(*shape: int) -> torch.Tensor:
    return torch.diag_embed(torch.ones(shape).index_fill(-1, torch.tensor([shape[-1] - 1]), 0.0))


@for_each(
    ("move", "message"),
    [
        ({"beta": torch.ones(1, 11)}, r"beta must be \[1, 12\] or \[3, 1, 12\], to fit the network; got \[1, 11\]"),
        ({"beta": torch.ones(2, 1, 12)}, r"got \[2, 1, 12\]"),
        ({"qk": torch.eye(4).expand(1, 3, 4, 4)}, r"qk must be \[1, 2, 4, 4\] or \[3, 1, 2, 4, 4\]"),
        ({"vo": torch.eye(3).expand(1, 2, 3, 3)}, r"vo must be \[1, 2, 4, 4\] or"),
        ({"beta": torch.linspace(-1, 1, 12)[None]}, "beta must be positive: .*; its least is -1"),
        ({"vo": singular(1, 2, 4)}, "every matrix of vo must be invertible; 2 of them are singular"),
    ],
)
def test_what_is_no_symmetry_is_refused(move, message):
    model = small()
    with pytest.raises(ValueError, match=message):
        inflate(stack(random_params(model, seed) for seed in range(3)), model, **move)


# Stacks


@every_model
def test_stacks_and_vmap_give_what_single_networks_give(model):
    networks = [random_params(model, seed) for seed in range(4)]
    together = stack(networks)
    grid = {name: value.unflatten(0, (2, 2)) for name, value in together.items()}
    for measure in (part_norms, orbit_minimal_norm, balancedness, lambda *x: (path_norm(*x),)):
        alone = [torch.stack(field) for field in zip(*(measure(one, model) for one in networks), strict=True)]
        mapped = torch.vmap(lambda one, measure=measure: measure(one, model))(together)
        results = zip(alone, measure(together, model), mapped, measure(grid, model), strict=True)
        for field, stacked, by_vmap, nested in results:
            torch.testing.assert_close(stacked, field, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(by_vmap, field, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(nested.flatten(0, 1), field, rtol=1e-12, atol=1e-14)


@every_model
def test_networks_of_a_stack_move_by_themselves(model):
    networks, moves = ([f(model, seed) for seed in range(3)] for f in (random_params, random_move))
    together, move = stack(networks), stack(moves)
    one_for_each = unstack(inflate(together, model, **move))
    shared = unstack(inflate(together, model, **moves[0]))
    for i, (one, balanced) in enumerate(zip(networks, unstack(balance(together, model)), strict=True)):
        for got, expected in (
            (one_for_each[i], inflate(one, model, **moves[i])),
            (shared[i], inflate(one, model, **moves[0])),
            (balanced, balance(one, model)),
        ):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


def test_networks_in_float32_are_measured_and_moved_in_float64():
    model = small()
    short = {name: value.float() for name, value in random_params(model).items()}
    long = {name: value.double() for name, value in short.items()}
    for one, other in zip(orbit_minimal_norm(short, model), orbit_minimal_norm(long, model), strict=True):
        assert one.dtype == torch.float64
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)  # in float32 it would be 1e-7
    for moved in (balance(short, model), inflate(short, model, beta=torch.full((1, 12), 3.0))):
        assert {value.dtype for value in moved.values()} == {torch.float64}
        assert same_function(model, long, moved)


# References


def test_gaussian_weights_exceed_the_least_norm_by_what_random_matrices_say():
    """N^2 / N_min^2 of the base init at p = 113.

    A neuron has |a|^2 and |b|^2 of d = 128 Gaussian squares each, so E|a|^2 / E[|a||b|] = d / E[chi_d]^2. A head has
    the product of two d x e Gaussian matrices: squared singular values x of mean 1 follow, for large d, the free
    product of two Marchenko-Pastur laws of ratio c = e / d, whose moments (1/s) sum_j C(s, j + 1) C(2 s, j) c^j
    give E sqrt(x) = 1 - c/4 at s = 1/2. Real entries make it 1 - (e + 1) / (4 d) + O(1/d^2).
    """
    model, draws = Transformer(), 24
    measured = excess(stack(model.init(generator(seed)) for seed in range(draws)), model)
    chi = math.sqrt(2) * math.exp(math.lgamma(64.5) - math.lgamma(64))
    expected = {"mlp": 128 / chi**2 - 1, "qk": 1 / (1 - 33 / 512) - 1, "vo": 1 / (1 - 33 / 512) - 1}
    published = {"mlp": (0.0035, 0.0037), "qk": (0.066, 0.069, 0.070), "vo": ()}  # single draws, three digits
    for kind, value in expected.items():
        sample = measured[kind].flatten()
        deviation = sample.std().item()
        # The ratio of sums is biased by its relative variance, below 1e-5; left out of 1 - 33/512: 1/d^2 = 6e-5.
        assert abs(sample.mean().item() - value) < 4 * deviation / math.sqrt(draws) + 7e-5
        assert all(abs(one - value) < 4 * deviation + 5e-4 for one in published[kind])


def test_a_run_with_weight_decay_ends_nearly_balanced_in_every_block():
    run = load(REFERENCE)
    model, weights = run.config.transformer, run.stack([run.steps[0], run.steps[-1]])
    for ratio in excess(weights, model).values():
        # No theorem for Adam: under gradient flow the differences would be e^-16 of what they were, excesses e^-32.
        start, end = ratio.flatten().tolist()
        assert 0 < end < 0.1 * start


def test_what_is_inflated_computes_the_same_and_is_moved_by_factors_and_turns_within_the_spread():
    model = small(n_layers=2)
    params = random_params(model)
    moved = inflated(params, model, 4.0, generator(3))
    # float64 rounding through two layers, turned by matrices of condition number 16 or less
    assert torch.allclose(model.logits(moved, INPUTS), model.logits(params, INPUTS), rtol=1e-10, atol=1e-10)
    ratio = moved["blocks.1.mlp.W_in"] / params["blocks.1.mlp.W_in"]
    assert ratio.std(0).max() < 1e-12 and (ratio >= 1 / 4).all() and (ratio <= 4).all() and ratio[0].std() > 0.5
    turn = params["blocks.0.attn.W_Q"][0].pinverse() @ moved["blocks.0.attn.W_Q"][0]  # G
    assert torch.allclose(turn, turn.mT, atol=1e-10) and torch.linalg.cond(turn) < 16
    again = inflated(params, model, 4.0, generator(3))
    assert all(torch.equal(moved[name], again[name]) for name in moved)
    single = inflated({name: value.float() for name, value in params.items()}, model, 4.0, generator(3))
    assert {value.dtype for value in single.values()} == {torch.float32}


def test_imbalance_is_balancedness_in_units_of_squares_and_zero_where_balanced():
    model = small(n_layers=2)
    params = random_params(model)
    both = stack([params, balance(params, model)])
    [far, near] = imbalance(both, model)
    squares = [params[f"blocks.1.mlp.{name}"].double().square() for name in ("W_in", "W_out", "b_in")]
    total = squares[0].sum(0) + squares[1].sum(1) + squares[2]
    assert far[1].item() == pytest.approx((balancedness(params, model).mlp[1].abs() * total).sum().item(), rel=1e-12)
    assert near.max() < 1e-12 * far.min()  # in float64
