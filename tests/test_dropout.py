"""Dropout: a slow twin pair by pair, exact moments at linear sites, and masks that are each run's own."""

import math
from typing import Any

import pytest
import torch
from loops import for_each
from oracles import generator

from circuitgrok.models.dropout import Dropout, noisy_logits
from circuitgrok.models.transformer import LN_EPS, Transformer
from circuitgrok.tree import Params, dot, is_bias, stack

P = 5
INPUTS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
SITES = ("embed", "attention", "mlp")
RATES = {"embed": 0.2, "attention": 0.3, "mlp": 0.4}


def small(**fields: Any) -> Transformer:
    # d_mlp fills vector registers: the scalar code with which torch's GELU ends a tensor rounds differently
    return Transformer.model_validate({"p": P, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 16} | fields)


MODELS = {
    "1 layer": small(),
    "gelu": small(act="gelu"),
    "LN": small(normalization="LN"),
    "no equals": small(equals=False),
    "not causal": small(causal=False),
    "attention rate": small(attention_rate=0.3),
    "2 layers": small(n_layers=2),
    "2 layers, not causal": small(n_layers=2, causal=False, equals=False, own_tokens=True),
    "3 layers, LN": small(n_layers=3, normalization="LN", act="gelu", attention_rate=0.6),
}
each_model = for_each("model", MODELS.values(), ids=MODELS)


def networks(model: Transformer, n: int = 3, alpha: float = 1.0) -> Params:
    """A stack of base inits, with random biases and LayerNorms."""
    drawn = []
    for seed in range(n):
        numbers = generator(seed)
        params = model.init(numbers, alpha=alpha)
        noisy = {name for name in params if is_bias(name) or name.endswith(".w")}
        shift = {name: 0.3 * torch.randn(params[name].shape, generator=numbers).double() for name in sorted(noisy)}
        drawn.append({name: value + shift.get(name, 0.0) for name, value in params.items()})
    return stack(drawn)


def dropout(rates: dict[str, float], first: int = 0, n: int = 3) -> Dropout:
    """Run i draws from a generator of seed first + i."""
    return Dropout(*(rates.get(site, 0.0) for site in SITES), generators=[generator(first + i) for i in range(n)])


def slow_logits(model: Transformer, params: Params, inputs: torch.Tensor, drop: Dropout) -> torch.Tensor:
    """One network, every stream written out for one pair at a time, with the same numbers drawn in the same order."""
    [numbers] = drop.generators
    tokens = model.tokens(inputs)
    n_pairs, n_positions = tokens.shape
    h, e = model.n_heads, model.d_head

    def drawn(rate: float, *shape: int) -> torch.Tensor:
        if not rate:
            return torch.ones(n_pairs, *shape).double()
        uniform = torch.empty(n_pairs, *shape, dtype=torch.float64).uniform_(generator=numbers)
        return (uniform >= rate).double() / (1 - rate)

    def normed(name: str, x: torch.Tensor) -> torch.Tensor:
        if model.normalization == "none":
            return x
        scale = (x.var(unbiased=False) + LN_EPS).sqrt()
        return (x - x.mean()) / scale * params[name + ".w"] + params[name + ".b"]

    of_embedding = [drawn(drop.embed, model.d_model) for _ in range(n_positions)]
    masks = {}
    for layer in range(model.n_layers):
        for i in range(n_positions) if layer < model.n_layers - 1 else [n_positions - 1]:
            seen = i + 1 if model.causal else n_positions
            pattern = [drawn(drop.attention, h) for _ in range(seen)]
            masks[layer, i] = pattern, drawn(drop.mlp, model.d_mlp)
    answers = []
    for pair, row in enumerate(tokens.tolist()):
        streams = [
            (params["embed.W_E"][token] + params["pos_embed.W_pos"][i]) * of_embedding[i][pair]
            for i, token in enumerate(row)
        ]
        for layer in range(model.n_layers):
            at, after = f"blocks.{layer}.", list(streams)
            for i in range(n_positions):
                if (layer, i) not in masks:
                    continue
                pattern, of_neurons = masks[layer, i]
                x = streams[i] + params[at + "attn.b_O"]
                for head in range(h):
                    weights = {k: params[at + f"attn.W_{k}"][head] for k in "QKVO"}
                    biases = {k: params[at + f"attn.b_{k}"][head] for k in "QKV"}
                    query = normed(at + "ln1", streams[i]) @ weights["Q"] + biases["Q"]
                    seen = [normed(at + "ln1", s) for s in streams[: len(pattern)]]
                    scores = torch.stack([query @ (s @ weights["K"] + biases["K"]) for s in seen]) / math.sqrt(e)
                    shares = model.attention_rate * scores.softmax(0) + (1 - model.attention_rate)
                    for share, mask, s in zip(shares, pattern, seen, strict=True):
                        x = x + share * mask[pair, head] * (s @ weights["V"] + biases["V"]) @ weights["O"]
                pre = normed(at + "ln2", x) @ params[at + "mlp.W_in"] + params[at + "mlp.b_in"]
                post = torch.relu(pre) if model.act == "relu" else torch.nn.functional.gelu(pre)
                after[i] = x + (post * of_neurons[pair]) @ params[at + "mlp.W_out"] + params[at + "mlp.b_out"]
            streams = after
        answers.append(normed("ln_final", streams[-1]) @ params["unembed.W_U"] + params["unembed.b_U"])
    return torch.stack(answers)


# --- the function -----------------------------------------------------------------------------------


@each_model
def test_without_dropout_it_is_the_plain_forward_and_nothing_is_drawn(model):
    params, off = networks(model), dropout({})
    before = [numbers.get_state() for numbers in off.generators]
    found, plain = model.noisy_logits(params, INPUTS, off), model.logits(params, INPUTS)
    # the same function with its products in another order: as the fast forward is held to the plain one
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-13 * max(plain.abs().max().item(), 10))
    assert all(torch.equal(numbers.get_state(), old) for numbers, old in zip(off.generators, before, strict=True))


@each_model
@pytest.mark.parametrize("sites", [*[(site,) for site in SITES], SITES], ids="+".join)
def test_with_dropout_it_is_the_slow_twin_pair_by_pair(model, sites):
    rates = {site: RATES[site] for site in sites}
    params, inputs = networks(model, 1), INPUTS[3:16:3]
    [found] = model.noisy_logits(params, inputs, dropout(rates, n=1))
    expected = slow_logits(model, {name: value[0] for name, value in params.items()}, inputs, dropout(rates, n=1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13 * max(expected.abs().max().item(), 10))
    plain = model.logits(params, inputs)[0]
    assert (found - plain).abs().amax(-1).min() > 1e-3  # every pair has lost something


@each_model
@pytest.mark.bits
def test_a_run_has_the_same_bits_in_a_stack_as_alone(model):
    params, drop = networks(model), dropout(RATES)
    together = noisy_logits(model, params, INPUTS, drop)
    for i in range(3):
        one = {name: value[i : i + 1] for name, value in params.items()}
        alone = noisy_logits(model, one, INPUTS, dropout(RATES, first=i, n=1))
        assert torch.equal(alone[0], together[i])


def test_each_run_may_have_its_own_inputs():
    model = MODELS["2 layers"]
    params = networks(model, 2)
    inputs = torch.stack([INPUTS[:7], INPUTS[9:16]])
    found = noisy_logits(model, params, inputs, dropout(RATES, n=2))
    shared = noisy_logits(model, params, INPUTS[9:16], dropout(RATES, n=2))
    assert torch.equal(found[1], shared[1]) and not torch.equal(found[0], shared[0])


@for_each("name", ["gelu", "3 layers, LN"])
def test_gradients_flow_through_the_masks_as_differences_say(name):
    model, params = MODELS[name], networks(MODELS[name], 2)
    towards = {n: torch.randn(v.shape, generator=generator(7), dtype=torch.float64) for n, v in params.items()}
    weights = torch.randn(2, 25, model.n_classes, generator=generator(8), dtype=torch.float64)

    def score(params: Params) -> torch.Tensor:
        return (noisy_logits(model, params, INPUTS, dropout(RATES, n=2)) * weights).sum()

    leaves = {n: v.requires_grad_() for n, v in params.items()}
    gradients = torch.autograd.grad(score(leaves), list(leaves.values()))
    slope = dot(dict(zip(leaves, gradients, strict=True)), towards).item()
    with torch.no_grad():
        ahead, behind = (score({n: v + s * 1e-5 * towards[n] for n, v in params.items()}).item() for s in (1, -1))
    # of the difference: h^2 = 1e-10 times a third derivative, and 1e-16 / h = 1e-11 times the size of a score
    assert (ahead - behind) / 2e-5 == pytest.approx(slope, rel=1e-6)
    assert abs(slope) > 1


# --- the law ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_drop_a_share_and_keep_the_mean(rate, dtype):
    n = 40_000
    mask = dropout({}, n=2).mask(rate, torch.empty(2, n, dtype=dtype))
    assert mask.dtype == dtype and mask.unique().tolist() == [0.0, torch.tensor(1 / (1 - rate), dtype=dtype).item()]
    dropped = (mask == 0).double().mean(-1)
    assert ((dropped - rate).abs() < 4 * math.sqrt(rate * (1 - rate) / n)).all()
    both = ((mask[0] == 0) & (mask[1] == 0)).double().mean().item()  # runs drop independently of each other
    assert abs(both - rate**2) < 4 * math.sqrt(rate**2 * (1 - rate**2) / n)


def test_a_mask_is_filled_in_the_order_of_its_axes_whatever_the_strides():
    like = torch.empty(3, 4, 5)
    turned = torch.empty(5, 4, 3).permute(2, 1, 0)
    assert torch.equal(dropout({}).mask(0.5, like), dropout({}).mask(0.5, turned))


LINEAR = {  # what makes the logits depend linearly on a site's mask
    "embed": ({"attention_rate": 0.0}, "mlp.W_out"),  # attention that is all ones
    "attention": ({}, "mlp.W_out"),
    "mlp": ({}, None),
}


@pytest.mark.parametrize("site", SITES)
def test_dropout_keeps_the_mean_of_what_depends_on_it_linearly(site):
    fields, silenced = LINEAR[site]
    model, n = small(**fields), 2000
    params = networks(model, 1)
    params = {name: torch.zeros_like(v) if silenced and name.endswith(silenced) else v for name, v in params.items()}
    many = {name: value.expand(n, *value.shape[1:]) for name, value in params.items()}
    drawn = noisy_logits(model, many, INPUTS[6:9], dropout({site: 0.5}, n=n))
    error = drawn.std(0) / math.sqrt(n)
    shift = (drawn.mean(0) - model.logits(params, INPUTS[6:9])[0]) / error
    assert shift.abs().max() < 4
    assert error.min() > 1e-3


def test_dropped_neurons_add_the_variance_of_a_sum_of_independent_terms():
    model, n, rate = small(), 2000, 0.4
    params = networks(model, 1)
    one = {name: value[0] for name, value in params.items()}
    post = model.activations(one, INPUTS[6:9])["blocks.0.mlp.hook_post"][:, -1]
    W_L = one["blocks.0.mlp.W_out"] @ one["unembed.W_U"]
    expected = rate / (1 - rate) * torch.einsum("bm,mc->bc", post.square(), W_L.square())
    many = {name: value.expand(n, *value.shape[1:]) for name, value in params.items()}
    squares = (
        noisy_logits(model, many, INPUTS[6:9], dropout({"mlp": rate}, n=n)) - model.logits(params, INPUTS[6:9])
    ).square()
    assert ((squares.mean(0) - expected).abs() < 4 * squares.std(0) / math.sqrt(n)).all()
    assert (squares.std(0) / math.sqrt(n) < 0.1 * expected).all()


# --- refusals ---------------------------------------------------------------------------------------


@for_each("rate", [-0.1, 1.0, math.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="dropout rate must be 0 or more and below 1; got"):
        noisy_logits(MODELS["1 layer"], networks(MODELS["1 layer"]), INPUTS, dropout({"mlp": rate}))


def test_runs_without_a_generator_are_refused():
    with pytest.raises(ValueError, match="each run needs a generator; got 2 for 3 runs"):
        noisy_logits(MODELS["1 layer"], networks(MODELS["1 layer"]), INPUTS, dropout({"mlp": 0.1}, n=2))
