"""The transformer: fast forward against the plain one, stacks against singles, inits against their names."""

import math
from typing import Any

import pytest
import torch
from loops import for_each
from torch.nn.functional import cross_entropy

from circuitgrok.models.forward import last_position_logits
from circuitgrok.models.fused import PLAIN, Workspace
from circuitgrok.models.transformer import Scheme, Transformer, base_std
from circuitgrok.tree import Params, combine, is_bias, norm, role, stack, unstack

P = 5
INPUTS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
SCHEMES: tuple[Scheme, ...] = ("nanda", "hooked_transformer", "bridge", "pizza")


def small(**fields: Any) -> Transformer:
    return Transformer.model_validate({"p": P, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 12} | fields)


ARCHITECTURES = [
    small(n_layers=n_layers, act=act, normalization=normalization)
    for n_layers in (1, 2, 3)
    for act in ("relu", "gelu")
    for normalization in ("none", "LN")
]
READINGS = [
    {"equals": False},
    {"own_tokens": True},
    {"attention_rate": 0.3},
    {"causal": False},
    {"equals": False, "causal": False, "attention_rate": 0.0, "own_tokens": True, "normalization": "LN"},
]
ARCHITECTURES += [small(n_layers=n_layers, **reading) for n_layers in (1, 3) for reading in READINGS]
IDS = [
    f"{m.n_layers}-{m.act}-{m.normalization}-{m.equals:d}{m.own_tokens:d}{m.causal:d}-{m.attention_rate}"
    for m in ARCHITECTURES
]


def random_params(model: Transformer, seed: int = 0, alpha: float = 1.0) -> Params:
    """A base init times alpha, with random biases and LayerNorms."""
    generator = torch.Generator().manual_seed(seed)
    params = model.init(generator, alpha=alpha)
    return {
        name: value
        + (0.3 * torch.randn(value.shape, generator=generator) if is_bias(name) or name.endswith(".w") else 0.0)
        for name, value in params.items()
    }


def random_stack(model: Transformer, n: int = 3) -> Params:
    return stack(random_params(model, seed) for seed in range(n))


def test_reading_without_equals_never_looks_at_its_embedding_or_place():
    with_it, without = small(n_layers=2), small(n_layers=2, equals=False)
    params = random_params(with_it)
    cut = params | {"embed.W_E": params["embed.W_E"][:P], "pos_embed.W_pos": params["pos_embed.W_pos"][:2]}
    at_b = with_it.activations(params, INPUTS)["logits"][:, 1]  # causal: position 1 does not see '='
    torch.testing.assert_close(without.logits(cut, INPUTS), at_b, rtol=1e-12, atol=1e-12)


def test_attention_rate_mixes_the_softmax_with_ones_that_are_not_normalised():
    whole, part = small(equals=False), small(equals=False, attention_rate=0.25)
    params = random_params(whole)
    learned = whole.activations(params, INPUTS[:, :2])["blocks.0.attn.hook_pattern"]
    mixed = part.activations(params, INPUTS[:, :2])["blocks.0.attn.hook_pattern"]
    torch.testing.assert_close(mixed[:, :, 1], 0.25 * learned[:, :, 1] + 0.75, rtol=1e-15, atol=0)
    assert (mixed[:, :, 0, 1] == 0).all()  # what is not seen gets nothing


def test_own_tokens_with_equal_halves_are_the_shared_embedding():
    shared, own = small(n_layers=2), small(n_layers=2, own_tokens=True)
    params = random_params(shared)
    W_E = params["embed.W_E"]
    twice = params | {"embed.W_E": torch.cat([W_E[:P], W_E[:P], W_E[P:]])}
    expected = shared.logits(params, INPUTS)
    torch.testing.assert_close(own.logits(twice, INPUTS), expected, rtol=0, atol=1e-13 * expected.abs().max().item())


# --- the function -----------------------------------------------------------------------------------


@for_each("alpha", [1.0, 20.0])
@for_each("model", ARCHITECTURES, ids=IDS)
def test_last_position_logits_equal_the_plain_forward(model, alpha):
    params = random_params(model, alpha=alpha)
    plain = model.activations(params, model.tokens(INPUTS))
    fast = model.logits(params, INPUTS)
    if alpha == 20.0 and model.normalization == "none":
        assert plain["blocks.0.attn.hook_attn_scores"][:, :, -1].abs().max() > 1000  # exp would overflow
    assert fast.isfinite().all()
    scale = plain["logits"].abs().max().item()
    torch.testing.assert_close(fast, plain["logits"][:, -1], rtol=0, atol=1e-13 * max(scale, 10))


@for_each("model", ARCHITECTURES, ids=IDS)
def test_training_logits_are_the_logits(model):
    params = random_stack(model)
    torch.testing.assert_close(
        model.training_logits(params, INPUTS, Workspace()), model.logits(params, INPUTS), rtol=1e-12, atol=1e-12
    )


@for_each("model", ARCHITECTURES, ids=IDS)
def test_stack_equals_each_network_alone_and_vmap(model):
    params = random_stack(model)
    stacked = model.logits(params, INPUTS)
    alone = torch.stack([model.logits(one, INPUTS) for one in unstack(params)])
    vmapped = torch.func.vmap(lambda one: model.logits(one, INPUTS))(params)
    torch.testing.assert_close(stacked, alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(stacked, vmapped, rtol=1e-12, atol=1e-12)


@for_each("model", ARCHITECTURES, ids=IDS)
def test_each_network_of_a_stack_may_have_its_own_inputs(model):
    params = random_stack(model)
    inputs = torch.stack([INPUTS[torch.randperm(25, generator=torch.Generator().manual_seed(i))[:7]] for i in range(3)])
    alone = [model.logits(one, rows) for one, rows in zip(unstack(params), inputs, strict=True)]
    torch.testing.assert_close(model.logits(params, inputs), torch.stack(alone), rtol=1e-12, atol=1e-12)


@for_each("model", [ARCHITECTURES[0], ARCHITECTURES[-1]], ids=[IDS[0], IDS[-1]])
def test_one_pair_alone_gives_its_row_of_the_table(model):
    params = random_stack(model)
    table = model.logits(params, INPUTS)
    torch.testing.assert_close(model.logits(params, INPUTS[7:8]), table[:, 7:8], rtol=1e-12, atol=1e-12)


@for_each("classes", ["p", "p+1"])
def test_zero_weights_cost_the_log_of_the_number_of_classes(classes):
    model = small(d_vocab_out=classes)
    zeros = combine(torch.zeros_like, model.init(torch.Generator()))
    labels = INPUTS[:, :2].sum(1) % P
    loss = cross_entropy(model.logits(zeros, INPUTS), labels)
    assert loss.item() == pytest.approx(math.log(P + (classes == "p+1")), rel=1e-15)


@for_each("token", [0, P - 1, P + 1])
def test_wrong_third_token_is_refused(token):
    model = small()
    inputs = INPUTS.clone()
    inputs[3, 2] = token
    with pytest.raises(ValueError, match=r"last token of every input must be '=' \(5\)"):
        model.logits(random_params(model), inputs)


@for_each("token", [-1, P])
def test_number_outside_the_alphabet_is_refused_and_not_read_from_the_next_network_of_a_stack(token):
    model = small()
    inputs = INPUTS.clone()
    inputs[3, 0] = token
    with pytest.raises(ValueError, match=r"first two tokens of every input must be in 0\.\.4"):
        model.logits(random_stack(model), inputs)


# --- derivatives ------------------------------------------------------------------------------------


FEW = 7  # pairs, for which no tables are made


@pytest.mark.parametrize("fields", [{}, {"act": "gelu"}, {"attention_rate": 0.3}, {"own_tokens": True}], ids=str)
@pytest.mark.parametrize("n_pairs", [25, FEW])
@pytest.mark.parametrize("own_inputs", [False, True])
def test_fused_backward_equals_autograd_of_the_plain_forward(own_inputs, n_pairs, fields):
    model, params = small(**fields), random_stack(small(**fields))
    inputs = torch.stack([INPUTS, INPUTS.flip(0), INPUTS.roll(4, 0)]) if own_inputs else INPUTS
    inputs = inputs[..., :n_pairs, :]
    weights = torch.randn(3, n_pairs, model.n_classes, generator=torch.Generator().manual_seed(9)).double()

    def gradients(logits):
        leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
        out = logits(leaves)
        (out * weights).square().sum().backward()
        return out.detach(), combine(lambda leaf: leaf.grad, leaves)

    workspace = Workspace()
    gradients(lambda leaves: 2 * model.training_logits(leaves, inputs, workspace))  # leaves its buffers full
    fused, fused_gradients = gradients(lambda leaves: model.training_logits(leaves, inputs, workspace))
    plain, plain_gradients = gradients(lambda leaves: last_position_logits(model, leaves, inputs, PLAIN))
    torch.testing.assert_close(fused, plain, rtol=1e-12, atol=1e-12)
    for name, gradient in plain_gradients.items():
        scale = max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=0, atol=1e-12 * scale)
        if not name.endswith("b_K"):  # softmax does not see it: zero up to rounding
            assert gradient.abs().max() > 1e-3, name


def test_gradient_of_the_dead_key_bias_is_zero():
    model, params = small(), random_params(small())
    gradient = torch.func.grad(lambda q: model.logits(q, INPUTS).square().mean())(params)
    assert gradient["blocks.0.attn.b_K"].abs().max() < 1e-14


def test_fused_backward_refuses_a_second_derivative_instead_of_giving_a_wrong_one():
    model = small()
    params = {name: value.requires_grad_() for name, value in random_stack(model).items()}
    loss = model.training_logits(params, INPUTS, Workspace()).square().sum()
    gradient = torch.autograd.grad(loss, params["blocks.0.mlp.W_in"], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@for_each("model", [ARCHITECTURES[2], ARCHITECTURES[7]], ids=[IDS[2], IDS[7]])
def test_logits_pass_gradcheck(model):
    tiny = model.model_copy(update={"p": 3, "n_heads": 1, "d_model": 3, "d_head": 3, "d_mlp": 3})
    inputs = torch.tensor([[0, 1, 3], [2, 2, 3]])
    params = random_params(tiny)
    names = list(params)

    def logits(*values):
        return tiny.logits(dict(zip(names, values, strict=True)), inputs)

    values = tuple(params[name].requires_grad_() for name in names)
    assert torch.autograd.gradcheck(logits, values, fast_mode=model.n_layers > 1)
    if model.n_layers == 1:
        assert torch.autograd.gradgradcheck(logits, values, fast_mode=True)


# --- the base inits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_std_of_each_matrix_is_that_of_its_named_base(scheme, n_layers):
    model = Transformer(p=31, n_layers=n_layers, d_model=64, d_head=16, d_mlp=128, d_vocab_out="p")
    params = model.init(torch.Generator().manual_seed(1), scheme=scheme)
    std = {"nanda": 1 / 8, "hooked_transformer": 0.1, "bridge": 0.1, "pizza": 1 / 8}[scheme]
    exceptions = {"nanda": {"W_U": 1 / math.sqrt(32)}, "hooked_transformer": {}}
    exceptions["pizza"] = {"W_U": 1 / math.sqrt(32), "W_in": 1 / math.sqrt(128)}
    exceptions["bridge"] = dict.fromkeys(["W_O", "W_out"], 0.1 / math.sqrt(2 * n_layers))
    for name, value in params.items():
        if is_bias(name):
            assert not value.any()
            continue
        expected = exceptions[scheme].get(name.rsplit(".", 1)[-1], std)
        assert base_std(model, scheme, name) == pytest.approx(expected, rel=1e-12)
        n = value.numel()
        assert value.square().mean().sqrt().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * n)), name
        assert abs(value.mean().item()) < 4 * expected / math.sqrt(n), name


@for_each(
    ("scheme", "classes", "expected"),
    [("nanda", "p+1", 42.2), ("hooked_transformer", "p", 33.6), ("bridge", "p", 30.4), ("pizza", "p+1", 37.4)],
)
def test_norm_of_each_base_init_at_the_reference_size(scheme, classes, expected):
    model = Transformer(d_vocab_out=classes)
    assert norm(model.init(torch.Generator().manual_seed(0), scheme)).item() == pytest.approx(expected, rel=0.01)


def test_torch_scheme_draws_as_torchs_own_layers_do():
    model = Transformer(
        p=31, n_heads=2, d_model=64, d_head=16, d_mlp=128, allow_narrow_heads=True, train_biases=("mlp", "unembed")
    )
    params = model.init(torch.Generator().manual_seed(1), "torch")
    inputs = {"O": 32, "out": 128}
    for name, value in params.items():
        n, last = value.numel(), name.rsplit("_", 1)[-1]
        if role(name) == "embed":
            assert value.std().item() == pytest.approx(1, rel=4 / math.sqrt(2 * n)), name
        elif is_bias(name) and not model.is_trainable(name):
            assert not value.any(), name
        else:  # the largest of n falls short of the bound by bound / (n + 1) in the mean
            bound = 1 / math.sqrt(inputs.get(last, 64))
            assert bound * (1 - 10 / n) < value.abs().max().item() <= bound, name
            assert value.std().item() == pytest.approx(bound / math.sqrt(3), rel=4 * math.sqrt(0.2 / n)), name


@for_each("scheme", Transformer.schemes)
def test_alpha_multiplies_every_weight_but_layer_norm(scheme):
    model = small(normalization="LN")
    one = model.init(torch.Generator().manual_seed(3), scheme)
    many = model.init(torch.Generator().manual_seed(3), scheme, alpha=4.0)
    for name, value in one.items():
        assert torch.equal(many[name], value if role(name) == "normalization" else 4 * value), name


def test_alpha_by_role_multiplies_on_top():
    model = small()
    one = model.init(torch.Generator().manual_seed(3))
    many = model.init(torch.Generator().manual_seed(3), alpha=2.0, alpha_by_role={"mlp": 4.0, "embed": 0.5})
    factors = {"embed": 1.0, "attention": 2.0, "mlp": 8.0, "unembed": 2.0}
    for name, value in one.items():
        assert torch.equal(many[name], factors[role(name)] * value), name


def test_init_is_drawn_in_float64_and_a_float32_network_is_its_rounding():
    model = small(n_layers=2)
    one, two = (model.init(torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(value.dtype == torch.float64 and torch.equal(value, two[name]) for name, value in one.items())
    rounded = combine(lambda x: x.float(), one)
    logits = model.logits(rounded, INPUTS)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), model.logits(one, INPUTS), rtol=1e-5, atol=1e-5)
    other = model.init(torch.Generator().manual_seed(6))
    assert not any(torch.equal(other[name], value) for name, value in one.items() if not is_bias(name))


def test_init_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    small().init(torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)


# --- the description --------------------------------------------------------------------------------


@for_each("model", ARCHITECTURES, ids=IDS)
def test_init_has_the_announced_names_and_shapes_in_order(model):
    params = model.init(torch.Generator())
    assert [(name, tuple(value.shape)) for name, value in params.items()] == list(model.shapes().items())


def test_reference_size_has_the_known_number_of_parameters():
    model = Transformer(train_biases=("mlp",), d_vocab_out="p+1")
    trained = sum(math.prod(shape) for name, shape in model.shapes().items() if model.is_trainable(name))
    assert trained == 226_816
    everything = Transformer(train_biases=("attention", "mlp", "unembed"), d_vocab_out="p").shapes()
    assert sum(math.prod(shape) for shape in everything.values()) - 113 == 227_200  # b_U is their buffer


def test_what_trains_is_chosen_by_role():
    model = small(train_biases=("attention",), normalization="LN")
    frozen = {name for name in model.shapes() if not model.is_trainable(name)}
    assert frozen == {"blocks.0.mlp.b_in", "blocks.0.mlp.b_out", "unembed.b_U"}
    none = small(train_biases=())
    assert all(none.is_trainable(name) != is_bias(name) for name in none.shapes())


def test_heads_that_do_not_fill_the_stream_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="got 4 \\* 16 = 64 and d_model 128: set d_head to 32 or set allow_narrow"):
        Transformer(d_head=16)
    with pytest.raises(ValueError, match="change one of them or set allow_narrow_heads"):
        Transformer(n_heads=3, d_head=32)
    assert Transformer(d_head=16, allow_narrow_heads=True).shapes()["blocks.0.attn.W_O"] == (4, 16, 128)


@for_each(
    "wrong",
    [{"d_modle": 128}, {"p": 2}, {"n_layers": 0}, {"act": "tanh"}, {"normalization": "RMS"}, {"d_mlp": 0}],
)
def test_wrong_or_unknown_field_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Transformer(**wrong)


def test_derived_values_follow_their_field_and_fields_are_frozen():
    model = Transformer(p=59)
    assert model.shapes()["embed.W_E"] == (60, 128) and model.n_classes == 60
    with pytest.raises(ValueError, match="frozen"):
        model.p = 61
    assert Transformer.model_validate_json(model.model_dump_json()) == model
