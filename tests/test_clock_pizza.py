"""Clock or pizza: on planted logits, on networks whose gradients are known, and against loops over all triples."""

import itertools
import math

import numpy as np
import pytest
import torch
from loops import for_each
from oracles import generator, grid, labels_of, noise, wave
from test_transformer import random_params, small

from circuitgrok.measures.parts.clock_pizza import (
    LogitGradients,
    circularity,
    distance_irrelevance,
    gradient_symmetricity,
    is_pizza,
    logit_gradients,
    one_circle,
    sample_triples,
)
from circuitgrok.measures.parts.logit_forms import accompanying_share, circle_turns, logit_forms, wave_heights
from circuitgrok.models.transformer import Transformer
from circuitgrok.table.checkpoints import Opened
from circuitgrok.table.groups import circle_columns
from circuitgrok.tasks.modular import ModularAddition
from circuitgrok.tree import stack, unstack

MODULI = [5, 6, 7, 8, 9]
EVERY_WAVE = [(p, k) for p in (5, 7, 8, 9, 13) for k in range(1, p // 2 + 1)]


def all_freqs(p):
    return torch.arange(1, p // 2 + 1)


def clock(p, k):
    a, b, c = grid(p, 3)
    return wave(k, a + b - c, p)


def pizza(p, k, turn=0.0):
    a, b, c = grid(p, 3)
    return torch.cos(math.pi * k * (a - b).double() / p - turn / 2).abs() * wave(k, a + b - c, p)


def flat(cube):
    return cube.reshape(-1, cube.shape[-1])


def overlap(p, k):
    """Squared cosine of the clock and the pizza of one frequency, from the closed form of sum_d |cos(pi k d / p)|."""
    m = p // math.gcd(p, k)  # |cos(pi k d / p)| runs through |cos(pi j / m)|, j < m, p / m times
    total = 1 / math.sin(math.pi / (2 * m)) if m % 2 else 1 / math.tan(math.pi / (2 * m))
    return 2 * (total / m) ** 2


def slow_fit(logits, waves):
    """Coefficients of a dense least-squares fit by waves on all triples, and its share of the variance."""
    columns = torch.stack([w.flatten() for w in waves], dim=1)
    target = logits.reshape(-1, 1) - logits.mean()
    found = torch.linalg.lstsq(columns, target).solution
    return found[:, 0], 1 - ((target - columns @ found).square().sum() / target.square().sum()).item()


# The forms


@for_each(("p", "k"), EVERY_WAVE)
def test_planted_clock_and_pizza_are_explained_in_full_by_their_own_form_and_by_the_other_in_closed_form(p, k):
    of_clock, of_pizza = (logit_forms(7 + 3 * flat(f(p, k)), torch.tensor([k])) for f in (clock, pizza))
    # Cosines are off by eps times their angle, below 2 pi p; sums of p^2 products in float64 add as much again.
    for forms, own, other in ((of_clock, "clock", "pizza"), (of_pizza, "pizza", "clock")):
        shares = [getattr(forms, form).item() for form in (own, "both", "any")]
        assert shares == pytest.approx([1, 1, 1], abs=1e-13)
        assert getattr(forms, other).item() == pytest.approx(overlap(p, k), abs=1e-13)
    assert [of_clock.alpha.item(), of_clock.alpha_beside.item(), of_clock.beta_beside.item()] == pytest.approx(
        [3, 3, 0], abs=1e-12
    )
    assert [of_pizza.beta.item(), of_pizza.beta_beside.item(), of_pizza.alpha_beside.item()] == pytest.approx(
        [3, 3, 0], abs=1e-12
    )


@for_each(("p", "k"), [(7, 1), (8, 3), (8, 4), (9, 3)])
def test_other_frequencies_explain_nothing_of_a_planted_wave(p, k):
    others = torch.tensor([j for j in range(1, p // 2 + 1) if j != k])
    for planted in (clock(p, k), pizza(p, k)):
        assert logit_forms(flat(planted), others).any.tolist() == pytest.approx([0] * len(others), abs=1e-13)


@for_each("p", MODULI)
def test_forms_agree_with_dense_least_squares_over_all_triples_and_frequencies_at_once(p):
    logits, freqs = noise(p * p, p, seed=p), all_freqs(p)
    clocks, pizzas = ([form(p, k) for k in freqs.tolist()] for form in (clock, pizza))
    forms = logit_forms(logits, freqs)
    alpha, clock_share = slow_fit(logits, clocks)
    beta, pizza_share = slow_fit(logits, pizzas)
    beside, both_share = slow_fit(logits, clocks + pizzas)
    found = torch.stack([forms.alpha, forms.beta, forms.alpha_beside, forms.beta_beside])
    expected = torch.stack([alpha, beta, *beside.unflatten(0, (2, -1))])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)  # p^3 eps, times condition numbers below 10
    shares = [share.sum().item() for share in (forms.clock, forms.pizza, forms.both)]
    assert shares == pytest.approx([clock_share, pizza_share, both_share], abs=1e-12)


@for_each("p", MODULI)
def test_turned_pizzas_agree_with_dense_least_squares_too(p):
    logits, freqs, turns = noise(2, p * p, p, seed=p), all_freqs(p), noise(2, p // 2, seed=p + 1)
    forms = logit_forms(logits, freqs, turns)
    for i in range(2):
        pizzas = [pizza(p, k, turn) for k, turn in zip(freqs.tolist(), turns[i].tolist(), strict=True)]
        beta, share = slow_fit(logits[i], pizzas)
        both = slow_fit(logits[i], [clock(p, k) for k in freqs.tolist()] + pizzas)[1]
        torch.testing.assert_close(forms.beta[i], beta, rtol=0, atol=1e-12)
        assert forms.pizza[i].sum().item() == pytest.approx(share, abs=1e-12)
        assert forms.both[i].sum().item() == pytest.approx(both, abs=1e-12)


@for_each("p", MODULI)
def test_heights_agree_with_a_dense_fit_of_one_wave_for_each_distance(p):
    logits, freqs = noise(p * p, p, seed=p), all_freqs(p)
    a, b, _ = grid(p, 3)
    waves = [clock(p, k) * ((a - b) % p == d) for k in freqs.tolist() for d in range(p)]
    expected, share = slow_fit(logits, waves)
    torch.testing.assert_close(wave_heights(logits, freqs), expected.unflatten(0, (-1, p)), rtol=0, atol=1e-12)
    assert logit_forms(logits, freqs).any.sum().item() == pytest.approx(share, abs=1e-12)


@for_each(("p", "k", "class_mean_matters"), [(7, 3, False), (8, 3, False), (8, 4, True)])
def test_means_of_pairs_and_classes_change_the_variance_and_no_coefficient(p, k, class_mean_matters):
    logits, freq = noise(p * p, p) + 5 * noise(p * p, 1, seed=1) + 5 * noise(p, seed=2), torch.tensor([k])
    for dim, changes in ((-1, False), (-2, class_mean_matters)):
        centred = logits - logits.mean(dim, keepdim=True)
        before, after = logit_forms(logits, freq), logit_forms(centred, freq)
        assert torch.allclose(before.beta, after.beta, rtol=0, atol=1e-12) != changes
        if not changes:
            ratio = (logits.var() / centred.var()).item()
            assert after.both.item() == pytest.approx(before.both.item() * ratio, rel=1e-10)


def test_forms_of_a_stack_are_those_of_its_members_in_any_order_and_under_vmap():
    logits, freqs = noise(3, 49, 7), torch.tensor([3, 1])
    together = logit_forms(logits, freqs)
    mapped = torch.func.vmap(lambda one: logit_forms(one, freqs))(logits)
    for i in range(3):
        alone = logit_forms(logits[i], freqs.flip(0))
        for both, vmapped, single in zip(together, mapped, alone, strict=True):
            torch.testing.assert_close(both[i], single.flip(0), rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(vmapped[i], single.flip(0), rtol=1e-12, atol=1e-13)


def test_forms_refuse_the_class_of_equals_and_what_is_no_frequency():
    with pytest.raises(ValueError, match=r"\[p\^2, p\], without the class of '='; got \[25, 6\]"):
        logit_forms(noise(25, 6), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"distinct integers in 1..2 for p = 5; got \[3\]"):
        wave_heights(noise(25, 5), torch.tensor([3]))


def test_forms_of_constant_logits_are_nan():
    assert logit_forms(torch.ones(25, 5), torch.tensor([1])).both.isnan().all()


# Distance irrelevance


def of_right_logit(p, height):
    """Noise, but for the right logits, which have the given height `[a, b]`."""
    logits, labels = noise(p * p, p), labels_of(p)
    return logits.scatter(-1, labels[:, None], height.reshape(-1, 1).double()), labels


def test_irrelevance_is_zero_for_a_function_of_the_distance_and_one_for_a_function_of_the_sum():
    a, b = grid(7, 2)
    values = torch.arange(7.0) ** 2
    assert distance_irrelevance(*of_right_logit(7, values[(a - b) % 7])).item() == 0
    assert distance_irrelevance(*of_right_logit(7, values[(a + b) % 7])).item() == pytest.approx(1, rel=1e-14)


@for_each(("x", "y"), [(3.0, 4.0), (1.0, 0.1)])
def test_irrelevance_of_a_sum_of_both_is_the_share_of_standard_deviation_that_the_sum_has(x, y):
    a, b = grid(11, 2)  # odd: distance and sum are independent over the pairs
    logits, labels = of_right_logit(11, x * wave(2, a - b, 11) + y * wave(3, a + b, 11))
    assert distance_irrelevance(logits, labels).item() == pytest.approx(y / math.hypot(x, y), rel=1e-13)


@for_each("p", MODULI)
def test_irrelevance_agrees_with_loops_over_distances(p):
    logits, labels = noise(2, p * p, p, seed=p), labels_of(p)
    for one, found in zip(logits.numpy(), distance_irrelevance(logits, labels), strict=True):
        by_distance = [[one[i * p + (i + d) % p, (2 * i + d) % p] for i in range(p)] for d in range(p)]
        expected = np.mean([np.std(heights) for heights in by_distance]) / np.std(by_distance)
        assert found.item() == pytest.approx(expected, rel=1e-13)


# Circularity


def test_circularity_is_the_share_of_the_strongest_frequency_in_each_component():
    p, x = 13, torch.arange(13)
    mixed = math.sqrt(0.7) * wave(4, x, p) + math.sqrt(0.3) * wave(5, x, p)
    functions = [wave(1, x, p), wave(1, x, p, -math.pi / 2), wave(2, x, p), mixed]
    table = torch.stack([size * f for size, f in zip((4, 3, 2, 1), functions, strict=True)], dim=1)
    assert circularity(table, p).item() == pytest.approx((1 + 1 + 1 + 0.7) / 4, abs=1e-13)


@for_each("p", MODULI)
def test_circularity_agrees_with_numpy(p):
    table = noise(2, p + 1, 6, seed=p)
    for one, found in zip(table.numpy(), circularity(table, p), strict=True):
        rows = one[:p] - one[:p].mean(0)
        axes = np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :4]
        energy = np.abs(np.fft.fft(rows @ axes, axis=0)) ** 2
        folded = np.array([energy[k] + (energy[p - k] if 2 * k != p else 0) for k in range(1, p // 2 + 1)])
        assert found.item() == pytest.approx((folded.max(0) / folded.sum(0)).mean(), abs=1e-11)


def test_circularity_of_gaussian_rows_is_the_mean_of_the_first_harmonic_terms():
    found = circularity(noise(400, 13, 8), 13)  # shares of a random direction are uniform on the simplex of 6
    expected = sum(1 / i for i in range(1, 7)) / 6
    assert abs(found.mean().item() - expected) < 4 * found.std().item() / math.sqrt(len(found))


def test_circularity_needs_four_components():
    with pytest.raises(ValueError, match="4 centred rows of width 8 have 3 components; asked for 4"):
        circularity(noise(5, 8), 4)


# Gradient symmetricity

ARCHITECTURES = [
    small(),
    small(n_layers=3, act="gelu"),
    small(normalization="LN", d_vocab_out="p"),
    small(equals=False, attention_rate=0.3, causal=False),
    small(equals=False, n_layers=2, own_tokens=True, causal=False),
]
IDS = ["one", "three", "LN", "without-equals", "own-tokens"]
TRIPLES = torch.tensor([[0, 3, 3], [4, 4, 1], [2, 0, 0], [1, 3, 4]])


def with_own_tokens(model, params):
    """The same network with a second copy of the embedding for b, so that each number has a row of its own."""
    if model.own_tokens:
        return model, params
    twin = Transformer.model_validate(model.model_dump() | {"own_tokens": True})
    numbers, rest = params["embed.W_E"][: model.p], params["embed.W_E"][model.p :]
    return twin, params | {"embed.W_E": torch.cat([numbers, numbers, rest])}


def slow_logit(model, params, a, b, c):
    inputs = torch.tensor([[a, b, model.p]])
    return model.activations(params, model.tokens(inputs))["logits"][0, -1, c]


@for_each("model", ARCHITECTURES, ids=IDS)
def test_gradients_agree_with_autograd_through_the_plain_forward(model):
    params = random_params(model)
    found = logit_gradients(model, params, TRIPLES)
    twin, doubled = with_own_tokens(model, params)
    for i, (a, b, c) in enumerate(TRIPLES.tolist()):
        W_E = doubled["embed.W_E"].clone().requires_grad_()
        slow_logit(twin, doubled | {"embed.W_E": W_E}, a, b, c).backward()
        assert W_E.grad is not None
        torch.testing.assert_close(found.of_a[i], W_E.grad[a], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(found.of_b[i], W_E.grad[model.p + b], rtol=1e-11, atol=1e-12)


def test_gradients_agree_with_finite_differences():
    model = small(act="gelu", n_layers=2)
    params = random_params(model)
    found = logit_gradients(model, params, TRIPLES)
    twin, doubled = with_own_tokens(model, params)
    step = 1e-5  # errors: step^2 times a third derivative, and eps / step; both about 1e-10 here
    for i, (a, b, c) in enumerate(TRIPLES.tolist()):
        for row, gradient in ((a, found.of_a[i]), (model.p + b, found.of_b[i])):
            for j in range(model.d_model):
                moved = [doubled["embed.W_E"].clone() for _ in range(2)]
                moved[0][row, j] += step
                moved[1][row, j] -= step
                up, down = (slow_logit(twin, doubled | {"embed.W_E": W_E}, a, b, c) for W_E in moved)
                assert gradient[j].item() == pytest.approx(((up - down) / (2 * step)).item(), abs=1e-8)


@for_each("act", ["relu", "gelu"])
def test_a_network_that_only_sees_the_sum_of_the_embeddings_has_symmetricity_one(act):
    model = small(act=act, attention_rate=0.0)
    params = random_params(model)
    params["pos_embed.W_pos"][1] = params["pos_embed.W_pos"][0]
    mean, stderr = gradient_symmetricity(logit_gradients(model, params, sample_triples(5, generator(0))))
    assert mean.item() == pytest.approx(1, abs=1e-14) and stderr.item() < 1e-15


def test_symmetricity_of_a_linear_network_is_that_of_its_two_matrices():
    model = small(equals=False, attention_rate=0.0)
    params = random_params(model)
    params["blocks.0.mlp.W_out"].zero_()
    through = torch.einsum("hde,hef->df", params["blocks.0.attn.W_V"], params["blocks.0.attn.W_O"])
    by_a, by_b = through @ params["unembed.W_U"], params["unembed.W_U"] + through @ params["unembed.W_U"]
    cosines = torch.cosine_similarity(by_a, by_b, dim=0)
    triples = sample_triples(5, generator(1), n=20)
    expected = [cosines[c].item() for c in triples[:, 2].tolist()]
    mean, stderr = gradient_symmetricity(logit_gradients(model, params, triples))
    assert mean.item() == pytest.approx(np.mean(expected), rel=1e-12)
    assert stderr.item() == pytest.approx(np.std(expected, ddof=1) / math.sqrt(20), rel=1e-12)


def test_sampled_triples_estimate_the_mean_over_all_of_them():
    model = small(equals=False)
    params = random_params(model)
    every = torch.tensor(list(itertools.product(range(5), repeat=3)))
    exact = gradient_symmetricity(logit_gradients(model, params, every)).mean
    mean, stderr = gradient_symmetricity(logit_gradients(model, params, sample_triples(5, generator(0), n=400)))
    assert abs(mean - exact) < 4 * stderr
    assert 0.01 < stderr < 0.1  # cosines of random networks spread over some tenths


def test_gradients_of_a_stack_are_those_of_its_members_also_in_float32():
    model = small(equals=False)
    params = stack({name: x.float() for name, x in random_params(model, seed).items()} for seed in range(3))
    together = logit_gradients(model, params, TRIPLES)
    for i, alone in enumerate(logit_gradients(model, one, TRIPLES) for one in unstack(params)):
        for both, single in zip(together, alone, strict=True):
            assert both.dtype == torch.float64
            torch.testing.assert_close(both[i], single, rtol=1e-12, atol=1e-13)


def test_gradients_are_taken_also_where_none_are_recorded():
    model = small()
    params = random_params(model)
    with torch.no_grad():
        found = logit_gradients(model, params, TRIPLES)
    assert torch.equal(found.of_a, logit_gradients(model, params, TRIPLES).of_a) and not found.of_a.requires_grad


def test_a_single_triple_has_no_error_and_a_gradient_that_vanishes_no_cosine():
    one = LogitGradients(torch.ones(1, 2), torch.ones(1, 2))
    assert gradient_symmetricity(one).stderr.isnan()
    assert gradient_symmetricity(LogitGradients(torch.zeros(1, 2), torch.ones(1, 2))).mean.isnan()


def test_triples_are_drawn_by_the_generator_and_outside_numbers_refused():
    assert torch.equal(sample_triples(7, generator(1)), sample_triples(7, generator(1)))
    assert sample_triples(3, generator(0), n=200).unique().tolist() == [0, 1, 2]
    model = small()
    with pytest.raises(ValueError, match=r"all three in 0..4"):
        logit_gradients(model, random_params(model), torch.tensor([[0, 1, 5]]))


# Circles, and the verdict


@for_each("p", [7, 8])
def test_turns_of_planted_circles_are_found_at_every_frequency_and_turn_their_slices(p):
    x, freqs = torch.arange(p), torch.arange(1, (p + 1) // 2)
    turns = torch.tensor([[0.4, -2.0, 3.0], [-0.1, 1.0, 0.0]], dtype=torch.float64)[:, : len(freqs)]
    plane = torch.linalg.qr(noise(2, 8, 6)).Q

    def table(of):
        waves = [wave(k, x, p, t - f) for k, t in zip(freqs.tolist(), of, strict=True) for f in (0, math.pi / 2)]
        return torch.stack(waves, dim=1)

    W_E = torch.stack(
        [
            torch.cat([table([0.0] * len(freqs)), table(turn.tolist()), torch.ones(1, 6)]) @ axes.T
            for turn, axes in zip(turns, plane, strict=True)
        ]
    )
    torch.testing.assert_close(circle_turns(W_E, p, freqs), turns, rtol=0, atol=1e-13)
    # The midpoint of a's and b's places on the circle is |cos((w_k (a - b) - turn) / 2)| from the centre.
    circle = W_E[0] @ plane[0][:, :2]
    a, b = grid(p, 2)
    middle = torch.linalg.vector_norm(circle[a] + circle[p + b], dim=-1) / 2
    forms = logit_forms(flat(middle[..., None] * clock(p, 1)), freqs[:1], turns[0, :1])
    assert forms.pizza.item() == pytest.approx(1, abs=1e-13)


def test_turns_need_tokens_of_bs_own():
    with pytest.raises(ValueError, match="one token for each of the 10 numbers is needed; got 6"):
        circle_turns(noise(6, 3), 5, torch.tensor([1]))


@for_each(("p", "k"), [(7, 1), (7, 3), (9, 4)])
def test_a_circle_of_twice_the_frequency_accompanies_the_pizza_with_the_cosine_of_the_distance(p, k):
    model = Transformer(p=p, n_heads=1, d_model=4, d_head=4, d_mlp=1, attention_rate=0, d_vocab_out="p")
    params = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in model.shapes().items()}
    x, quarter = torch.arange(p), -math.pi / 2
    double, single = [wave(2 * k, x, p, phase) for phase in (0, quarter)], [wave(k, x, p, f) for f in (0, quarter)]
    params["embed.W_E"][:p] = torch.stack([*double, *single], dim=1) + 1.0
    params["embed.W_E"][p] = 1.0
    params["blocks.0.attn.W_V"][0] = params["blocks.0.attn.W_O"][0] = torch.eye(4)
    params["unembed.W_U"][:2] = torch.stack(single)
    alone = one_circle(model, params, min(2 * k, p - 2 * k))
    assert torch.equal(alone["embed.W_E"][p], params["embed.W_E"][p])
    inputs = torch.tensor([[a, b, p] for a, b in itertools.product(range(p), repeat=2)])
    heights = wave_heights(model.logits(alone, inputs), torch.tensor([k]))[0]
    torch.testing.assert_close(heights, 2 * wave(k, x, p), rtol=0, atol=1e-13)
    without = wave_heights(model.logits(one_circle(model, params, k), inputs), torch.tensor([k]))[0]
    torch.testing.assert_close(without, torch.zeros(p).double(), rtol=0, atol=1e-13)


@for_each("p", MODULI)
def test_the_accompanying_form_agrees_with_dense_least_squares_turned_or_not(p):
    logits, freqs, turns = noise(p * p, p, seed=p), all_freqs(p), noise(p // 2, seed=1)
    a, b, _ = grid(p, 3)
    for turned in (None, turns):
        shares = accompanying_share(logits, freqs, turned)
        for k, share in zip(freqs.tolist(), shares.tolist(), strict=True):
            slices = wave(k, a - b, p, 0.0 if turned is None else -turned[k - 1].item() / 2)
            assert share == pytest.approx(slow_fit(logits, [slices * clock(p, k)])[1], abs=1e-12)


def planted_circles(p, k, turn):
    """A network that adds the circles of a and b, b's turned, and reads them by the wave of k: own tokens, no noise.

    Its circle of 2 k writes 2 cos(w_k (a - b) - turn / 2) cos(w_k (a + b - c)), which is no wave of any other circle.
    """
    model = Transformer(
        p=p, n_heads=1, d_model=4, d_head=4, d_mlp=1, attention_rate=0, d_vocab_out="p", own_tokens=True
    )
    params = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in model.shapes().items()}
    x, quarter = torch.arange(p), -math.pi / 2
    for first, of in ((0, 0.0), (p, turn)):
        waves = [wave(2 * k, x, p, of + phase) for phase in (0, quarter)]
        others = [wave(k, x, p, phase) for phase in (0, quarter)]  # a circle of k that nothing is read of
        params["embed.W_E"][first : first + p] = torch.stack([*waves, *others], dim=1)
    params["blocks.0.attn.W_V"][0] = params["blocks.0.attn.W_O"][0] = torch.eye(4)
    params["unembed.W_U"][:2] = torch.stack([wave(k, x, p, turn / 2 + phase) for phase in (0, quarter)])
    return model, params


@for_each("turn", [0.0, 0.7, -2.0])
@for_each(("p", "k"), [(7, 1), (7, 3), (9, 4), (13, 2)])
def test_columns_by_circle_tell_of_a_planted_network_what_accompanies_and_that_the_circle_itself_is_silent(p, k, turn):
    model, params = planted_circles(p, k, turn)
    stacked = {name: torch.stack([value, 2 * value]) for name, value in params.items()}
    task = ModularAddition(p=p, frac_train=0.5).draw()
    columns = circle_columns(Opened(stacked, model, task, torch.tensor([k])))
    assert set(columns) == {f"circle_pizza[{k}]", f"circle_clock[{k}]", f"accompanying_pizza[{k}]"}
    assert columns[f"accompanying_pizza[{k}]"].tolist() == pytest.approx([1, 1], abs=1e-12)
    silent = columns[f"circle_pizza[{k}]"].nan_to_num()  # nothing but rounding, or nothing at all
    assert columns[f"circle_pizza[{k}]"].isnan().all() or silent.max() < 1e-12


def test_half_of_an_even_modulus_has_no_circle_of_twice_its_frequency():
    model, params = planted_circles(8, 1, 0.0)
    stacked = {name: value[None] for name, value in params.items()}
    columns = circle_columns(Opened(stacked, model, ModularAddition(p=8).draw(), torch.tensor([2, 4])))
    assert [name for name in columns if name.startswith("accompanying")] == ["accompanying_pizza[2]"]


@for_each("own_tokens", [False, True])
@for_each("p", [5, 8])
def test_circles_add_up_to_the_embedding_about_its_mean(p, own_tokens):
    model = small(p=p, own_tokens=own_tokens)
    params = stack(random_params(model, seed) for seed in range(2))
    circles = [one_circle(model, params, k)["embed.W_E"] for k in range(1, p // 2 + 1)]
    halves = params["embed.W_E"][:, :-1].unflatten(1, (-1, p))
    mean = halves.mean(2, keepdim=True).expand_as(halves).flatten(1, 2)
    total = torch.stack([circle[:, :-1] - mean for circle in circles]).sum(0) + mean
    torch.testing.assert_close(total, params["embed.W_E"][:, :-1], rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match=f"distinct integers in 1..{p // 2}"):
        one_circle(model, params, 0)


def test_a_pizza_is_symmetric_and_sees_the_distance():
    symmetricity = torch.tensor([0.99, 0.98, 0.99, 0.97, torch.nan], dtype=torch.float64)
    irrelevance = torch.tensor([0.59, 0.3, 0.6, 0.7, 0.1], dtype=torch.float64)
    assert is_pizza(symmetricity, irrelevance).tolist() == [True, False, False, False, False]
