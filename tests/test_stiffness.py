"""Stiff directions: planted moves of a planted clock, random directions against chance, dense projections."""

import itertools
import math

import pytest
import torch
from loops import for_each
from oracles import dense_hessian, generator, grid, labels_of, noise, sum_projector, wave

from circuitgrok.landscape.flat import Flat, logits_on, loss_on
from circuitgrok.landscape.key_stiffness import key_stiffness
from circuitgrok.landscape.stiffness import LogitShares, chance_shares, logit_shares, role_shares, stiffness_map
from circuitgrok.measures.spectra.fourier import frequency_power
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import modular_addition
from circuitgrok.tree import ROLES, ravel

EPS = torch.finfo(torch.float64).eps
QUARTER = -math.pi / 2


def toy(p, freqs) -> Flat:
    """A clock in two matrices: W_E holds cos and sin of each frequency, their products add angles, W_U reads off.

    The logits are sum_k cos(w_k (a + b - c)).
    """
    x = torch.arange(p)
    waves = torch.stack([wave(k, x, p, phase) for k in freqs for phase in (0.0, QUARTER)])
    like = {"embed.W_E": waves.T.contiguous(), "unembed.W_U": waves}
    a, b = (axis.flatten() for axis in grid(p, 2))

    def logits(w):
        W_E, W_U = w[: p * len(waves)].view(p, -1), w[p * len(waves) :].view(-1, p)
        cos, sin = W_E[:, ::2], W_E[:, 1::2]
        both = [cos[a] * cos[b] - sin[a] * sin[b], sin[a] * cos[b] + cos[a] * sin[b]]
        return torch.stack(both, dim=-1).flatten(1) @ W_U

    return Flat(logits, ravel(like), like)


def move(flat: Flat, **changes):
    """A direction that changes the named tensors alone, `[1 dim]`."""
    full = {name: torch.zeros_like(value) for name, value in flat.like.items()}
    for short, change in changes.items():
        full[next(name for name in full if name.endswith(short))] += change
    return ravel(full)[None]


def total(shares: LogitShares):
    return shares.clock.sum(-1) + shares.single.sum(-1) + shares.bias + shares.rest


# Planted moves


@for_each(("p", "freqs"), [(7, [1, 3]), (11, [2, 5]), (8, [1, 3])])
@for_each("which", [0, 1])
def test_making_one_clock_stronger_touches_its_frequency_alone(p, freqs, which):
    flat = toy(p, freqs)
    k, columns = freqs[which], torch.arange(2 * len(freqs)) // 2 == which
    for change, role in (
        ({"W_E": flat.like["embed.W_E"] * columns}, "embed"),
        ({"W_U": flat.like["unembed.W_U"] * columns[:, None]}, "unembed"),
    ):
        found = stiffness_map(flat, move(flat, **change))
        own = torch.eye(p // 2, dtype=torch.float64)[k - 1]
        torch.testing.assert_close(found.logits.clock[0], own, rtol=0, atol=64 * EPS)
        assert found.roles[0].tolist() == pytest.approx([float(each == role) for each in ROLES], abs=8 * EPS)
        table = found.embed if role == "embed" else found.unembed
        other = found.unembed if role == "embed" else found.embed
        torch.testing.assert_close(table[0], own, rtol=0, atol=64 * EPS)
        assert other.abs().max() == 0


def test_reading_a_clock_off_at_another_frequency_is_the_rest():
    flat = toy(7, [2])
    found = stiffness_map(flat, move(flat, W_U=torch.stack([wave(3, torch.arange(7), 7)] * 2)))
    assert found.logits.rest.item() == pytest.approx(1, abs=64 * EPS)
    assert found.unembed[0].tolist() == pytest.approx([0, 0, 1], abs=64 * EPS)


def test_a_constant_added_to_the_embedding_gives_waves_of_one_number_and_is_no_wave_of_the_table():
    flat = toy(7, [2])
    found = stiffness_map(flat, move(flat, W_E=torch.ones(7, 2).double()))
    assert found.logits.single[0].tolist() == pytest.approx([0, 1, 0], abs=64 * EPS)
    assert found.embed.abs().max() < 64 * EPS and found.roles[0, 0].item() == pytest.approx(1)


def test_preferring_one_class_for_all_pairs_is_a_bias():
    change = torch.zeros(49, 7).double()
    change[:, 3] = 2.0
    found = logit_shares(change)
    assert found.bias.item() == pytest.approx(1, abs=64 * EPS)
    assert found.size.item() == pytest.approx(2 * math.sqrt(6) / 7, rel=64 * EPS)  # one of 7 less their mean


def test_the_size_is_the_root_mean_square_change_of_the_logits_for_a_step_of_unit_length():
    flat, p = toy(7, [2]), 7
    W_U = flat.like["unembed.W_U"]
    found = stiffness_map(flat, move(flat, W_U=5 * W_U))
    # Growing W_U at unit speed changes the logits cos(...), of mean square 1/2, at the speed 1 / |W_U|, |W_U|^2 = p.
    assert found.logits.size.item() == pytest.approx(math.sqrt(0.5 / p), rel=64 * EPS)


def test_the_stiffest_directions_of_a_planted_network_make_its_clocks_stronger_and_touch_no_other_frequency():
    p, freqs = 7, [1, 3]
    flat = toy(p, freqs)
    labels = labels_of(p)

    def loss(w):
        return torch.nn.functional.cross_entropy(4 * flat.function(w), labels)

    vectors = torch.linalg.eigh(dense_hessian(loss, flat.at)).eigenvectors.T.flip(0)[:2]
    found = stiffness_map(flat, vectors)
    # Scaling a clock is the one move that all translations of a, b and c leave as it is: nothing mixes with it.
    for shares in (found.logits.clock, found.embed / found.roles[:, :1], found.unembed / found.roles[:, 3:4]):
        assert shares[:, 1].max() < 1e-12  # k = 2 is not there
        torch.testing.assert_close(shares.sum(-1), torch.ones(2).double(), rtol=0, atol=1e-12)


# The decomposition


def slow_shares(change, p):
    """Clock, single and bias by dense projections on every product of waves, a class frequency at a time."""
    table = change[:, :p] - change[:, :p].mean(1, keepdim=True)
    axis = torch.arange(p)
    everything, clock, single = table.square().sum(), [], []
    for k in range(1, p // 2 + 1):
        functions = [wave(0, axis, p), wave(k, axis, p), wave(k, axis, p, QUARTER)]
        functions = [f / f.norm() for f in functions if f.norm() > 1e-6]
        of_class = [table @ f for f in functions[1:]]
        clock.append(sum((sum_projector(p, [k]) @ column).square().sum() for column in of_class))
        products = [torch.outer(f, g).flatten() for f, g in itertools.product(functions, functions)][1:]
        single.append(sum((f @ column) ** 2 for f in products for column in of_class) - clock[-1])
    bias = p * p * table.mean(0).square().sum()
    return torch.stack(clock) / everything, torch.stack(single) / everything, bias / everything


@for_each("p", [3, 4, 5, 8, 9, 13])
def test_shares_agree_with_dense_projections_and_add_up_to_one(p):
    change = noise(p * p, p + 1, seed=p)  # with an '=' class, to be left out
    found, (clock, single, bias) = logit_shares(change), slow_shares(change, p)
    for one, other in ((found.clock, clock), (found.single, single), (found.bias, bias)):
        torch.testing.assert_close(one, other, rtol=0, atol=p * p * EPS)
    assert total(found).item() == pytest.approx(1, abs=p * p * EPS)


def test_a_shift_of_all_classes_of_a_pair_is_not_seen():
    change, p = noise(25, 5), 5
    shifted = change + noise(p * p, 1, seed=1)
    for one, other in zip(logit_shares(change), logit_shares(shifted), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=64 * EPS)
    assert logit_shares(torch.ones(25, 5)).clock.isnan().all()


@pytest.mark.parametrize("p", [5, 6, 7])
def test_a_random_change_of_logits_has_the_shares_of_chance(p):
    draws = [logit_shares(noise(p * p, p, seed=seed)) for seed in range(100)]
    expected = chance_shares(p)
    assert total(expected).item() == pytest.approx(1, abs=8 * EPS)
    for found, chance in zip(zip(*draws, strict=True), expected, strict=True):
        values = torch.stack(found)
        chance = chance if chance is not expected.size else torch.tensor(math.sqrt((p - 1) / p))
        # The mean of a root lies below the root of the mean, by 1 / 4 of its relative variance 2 / dimensions.
        bias = 0.5 / (p**2 * (p - 1)) if values.shape == (100,) else 0.0
        stderr = values.std(0) / math.sqrt(100)
        assert ((values.mean(0) - chance).abs() < 4 * stderr + bias).all()


def test_a_random_direction_has_the_roles_share_of_the_weights_and_two_rows_of_each_table_for_a_frequency():
    model, p = Transformer(p=7, d_model=6, d_head=3, n_heads=2, d_mlp=8), 7
    task = modular_addition(p=p)
    logits = logits_on(model, model.init(generator(0)), task.inputs)
    found = stiffness_map(logits, noise(100, len(logits.at)))
    sizes = role_shares({name: torch.ones(1, *value.shape) for name, value in logits.like.items()})[0]
    for values, expected in (
        (found.roles, sizes),
        (found.embed, torch.full((p // 2,), 2 * 6 / len(logits.at)).double()),
        (found.unembed, torch.full((p // 2,), 2 * 6 / len(logits.at)).double()),
    ):
        assert ((values.mean(0) - expected).abs() <= 4 * values.std(0) / math.sqrt(100) + EPS).all()
    torch.testing.assert_close(found.roles.sum(-1), torch.ones(100).double(), rtol=0, atol=64 * EPS)


def test_what_a_direction_does_is_the_networks_own_change_along_it():
    model, task = Transformer(p=5, d_model=4, d_head=2, n_heads=2, d_mlp=8, act="gelu"), modular_addition(p=5)
    logits = logits_on(model, model.init(generator(0), alpha=2.0), task.inputs, ["attention", "mlp"])
    unit = noise(1, len(logits.at)) / noise(1, len(logits.at)).norm()
    ahead, behind = (logits.function(logits.at + sign * 1e-5 * unit[0]) for sign in (1, -1))
    expected, found = logit_shares((ahead - behind) / 2e-5), stiffness_map(logits, 3 * unit)
    for one, other in zip(found.logits, expected, strict=True):
        torch.testing.assert_close(one[0], other, rtol=1e-7, atol=1e-9)  # truncation 1e-10, rounding eps / 1e-5
    assert found.embed.abs().max() == 0 and found.unembed.abs().max() == 0  # not declared


def test_tables_are_split_by_the_spectrum_of_their_rows():
    flat = toy(7, [1, 3])
    direction = noise(1, len(flat.at))
    found = stiffness_map(flat, direction)
    W_E, W_U = direction[0, : 7 * 4].view(7, 4), direction[0, 7 * 4 :].view(4, 7)
    length = direction.square().sum()
    torch.testing.assert_close(found.embed[0], frequency_power(W_E) / length, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.unembed[0], frequency_power(W_U.T) / length, rtol=1e-12, atol=0)


def test_a_grid_that_is_not_complete_is_refused():
    with pytest.raises(ValueError, match="got 24, which is no square"):
        logit_shares(noise(24, 5))
    with pytest.raises(ValueError, match="one class for each of the 5 numbers is needed; got 4"):
        logit_shares(noise(25, 4))


def test_facts_of_key_frequencies_are_sums_over_the_hessians_own_eigenvectors():
    model, task = Transformer(p=5, d_model=4, d_head=4, n_heads=1, d_mlp=8), modular_addition(p=5, frac_train=0.6)
    params, keys, own = model.init(generator(0), alpha=2.0), torch.tensor([2]), torch.tensor([1, 2])
    facts, shares = key_stiffness(model, params, task, keys, own, generator(1), n_top=3, n_random=4)
    loss, at, _ = loss_on(model, params, task, task.is_train)
    values, vectors = torch.linalg.eigh(dense_hessian(loss, at))
    assert facts["largest"] == pytest.approx(values[-1].item(), rel=1e-7)
    assert facts["tenth"] == pytest.approx(values[-3].item(), rel=1e-7)  # the last of those that are asked for
    weights = values[-3:] / values[-3:].sum()
    found = stiffness_map(logits_on(model, params, task.inputs), vectors.mT[-3:])
    clock, alone = weights @ found.logits.clock, weights @ (found.logits.clock + found.logits.single)
    # ARPACK stops at 1e-8 of an eigenvalue; gaps between the eigenvalues are at least a thousandth of them
    assert facts["clock"] == pytest.approx(clock[1].item(), rel=1e-5)
    assert facts["alone"] == pytest.approx(alone[1].item(), rel=1e-5)
    assert facts["clock_other"] == pytest.approx(clock.mean().item(), rel=1e-5)
    assert facts["clock_own"] == pytest.approx(clock.sum().item() / (2 * 4 / 100), rel=1e-5)
    assert facts["precision"] == float(alone[1] > alone[0]) and facts["precision_clock"] == float(clock[1] > clock[0])
    assert facts["rest"] == pytest.approx((weights @ found.logits.rest).item(), rel=1e-5)
    torch.testing.assert_close(shares.flip(0), found.logits.clock + found.logits.single, rtol=1e-5, atol=1e-8)
    assert facts["clock_random"] != facts["clock"] and facts["precision_chance"] == 0.5
