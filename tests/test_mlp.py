"""Networks of dense layers: tables against one-hot products, stacks against singles, inits against their names."""

import math
from itertools import count
from typing import Any

import pytest
import torch
from loops import for_each
from oracles import generator, noise
from pydantic import ValidationError
from torch import Tensor

from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.dropout import Dropout
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.fused import Workspace
from circuitgrok.models.mlp import QuadraticMLP, check_pairs
from circuitgrok.tree import Params, combine, is_bias, norm, role, stack, unstack

P = 7
PAIRS = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
FEATURES = noise(20, 5, seed=3)
MLP = EmbeddingMLP | QuadraticMLP | DenseMLP


def embedding(**fields: Any) -> EmbeddingMLP:
    return EmbeddingMLP.model_validate({"p": P, "d_embed": 4, "d_hidden": 9, "act": "relu"} | fields)


def dense(**fields: Any) -> DenseMLP:
    return DenseMLP.model_validate({"n_in": 2 * P, "n_out": P, "width": 9, "train_biases": ()} | fields)


QUADRATIC = QuadraticMLP(p=P, n_neurons=6)
CASES: list[tuple[MLP, Tensor]] = [
    (embedding(act=act, depth=depth, combine=combine, own_tokens=own_tokens), PAIRS)
    for act, depth in (("relu", 1), ("gelu", 3))
    for combine in ("concat", "sum")
    for own_tokens in (False, True)
]
CASES += [(QUADRATIC, PAIRS), (dense(depth=3), PAIRS), (dense(act="tanh", depth=1), PAIRS)]
CASES += [(dense(n_in=5, n_out=3, act=act, depth=depth), FEATURES) for act, depth in (("relu", 2), ("gelu", 4))]
IDS = [
    "-".join(str(value) for name, value in model.model_dump().items() if name in ("kind", "act", "depth", "combine"))
    + ("-own" if getattr(model, "own_tokens", False) else "")
    + ("-features" if inputs.is_floating_point() else "")
    for model, inputs in CASES
]
each_network = for_each(("model", "inputs"), CASES, ids=IDS)


def random_params(model: MLP, seed: int = 0) -> Params:
    """A base init, with random biases."""
    params = model.init(generator(seed))
    return {name: value + 0.3 * is_bias(name) * noise(*value.shape, seed=seed) for name, value in params.items()}


def random_stack(model: MLP, n: int = 3) -> Params:
    return stack(random_params(model, seed) for seed in range(n))


def slow_act(model: MLP, x: Tensor) -> Tensor:
    if isinstance(model, QuadraticMLP):
        return x * x
    gelu = x * (1 + torch.erf(x / math.sqrt(2))) / 2
    return {"relu": x.clamp(min=0), "gelu": gelu, "tanh": (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())}[model.act]


def slow_logits(model: MLP, params: Params, inputs: Tensor, masks: list[Tensor] | None = None) -> Tensor:
    """One network layer by layer on one-hot vectors; each mask multiplies what there is where it is drawn."""
    left = iter(masks or [])

    def masked(x: Tensor) -> Tensor:
        return x * next(left).reshape(x.shape) if masks else x

    x = inputs
    if not inputs.is_floating_point():
        a, b = torch.eye(P, dtype=torch.float64)[inputs[:, 0]], torch.eye(P, dtype=torch.float64)[inputs[:, 1]]
        if isinstance(model, EmbeddingMLP):
            W_E = params["embed.W_E"]
            x = masked(torch.cat([a @ W_E[:P], b @ (W_E[P:] if model.own_tokens else W_E)], dim=1))
            x = x[:, : model.d_embed] + x[:, model.d_embed :] if model.combine == "sum" else x
        else:
            x = torch.cat([a, b], dim=1)
    for layer in count():
        if f"blocks.{layer}.mlp.W_in" not in params:
            return x @ params["unembed.W_U"] + params.get("unembed.b_U", 0.0)
        pre = x @ params[f"blocks.{layer}.mlp.W_in"] + params.get(f"blocks.{layer}.mlp.b_in", 0.0)
        x = masked(slow_act(model, pre))
    raise AssertionError


# --- the function -----------------------------------------------------------------------------------


@each_network
def test_logits_are_products_with_one_hot_vectors(model, inputs):
    params = random_params(model)
    # float64 sums of at most 14 numbers of order 1 in at most 5 layers
    torch.testing.assert_close(model.logits(params, inputs), slow_logits(model, params, inputs), rtol=0, atol=1e-13)


@each_network
def test_stack_equals_each_network_alone_and_vmap_and_its_training_logits(model, inputs):
    params = random_stack(model)
    stacked = model.logits(params, inputs)
    alone = torch.stack([model.logits(one, inputs) for one in unstack(params)])
    vmapped = torch.func.vmap(lambda one: model.logits(one, inputs))(params)
    trained = model.training_logits(params, inputs.expand(3, -1, -1), Workspace())
    for other in (alone, vmapped, trained):
        torch.testing.assert_close(stacked, other, rtol=0, atol=1e-13)


@each_network
def test_each_network_of_a_stack_may_have_its_own_inputs(model, inputs):
    params = random_stack(model)
    own = torch.stack([inputs[torch.randperm(len(inputs), generator=generator(i))[:11]] for i in range(3)])
    alone = [model.logits(one, rows) for one, rows in zip(unstack(params), own, strict=True)]
    torch.testing.assert_close(model.logits(params, own), torch.stack(alone), rtol=0, atol=1e-13)
    torch.testing.assert_close(model.training_logits(params, own, Workspace()), torch.stack(alone), rtol=0, atol=1e-13)


@each_network
@pytest.mark.bits
def test_run_of_a_stack_has_the_same_bits_as_alone(model, inputs):
    """Forward and backward, at sizes that fill vector registers."""
    sizes = {"d_embed": 32, "d_hidden": 48, "n_neurons": 48, "width": 48}
    wide = type(model).model_validate(model.model_dump() | {k: v for k, v in sizes.items() if hasattr(model, k)})
    own = torch.stack([inputs.roll(i, 0) for i in range(3)])
    own = own.float() if own.is_floating_point() else own
    leaves = combine(Tensor.float, random_stack(wide))

    def logits_and_gradients(params: Params, rows: Tensor) -> list[Tensor]:
        params = combine(lambda value: value.clone().requires_grad_(), params)
        logits = wide.training_logits(params, rows, Workspace())
        return [logits.detach(), *torch.autograd.grad(logits.square().sum(), list(params.values()))]

    together = logits_and_gradients(leaves, own)
    for i in range(3):
        alone = logits_and_gradients(combine(lambda value, i=i: value[i : i + 1], leaves), own[i : i + 1])
        assert all(torch.equal(whole[i : i + 1], one) for whole, one in zip(together, alone, strict=True))


@each_network
def test_zero_weights_give_zero_logits_of_every_class(model, inputs):
    zeros = combine(torch.zeros_like, model.init(generator(0)))
    assert torch.equal(model.logits(zeros, inputs), torch.zeros(len(inputs), model.n_classes, dtype=torch.float64))


def test_own_tokens_with_equal_halves_are_the_shared_embedding():
    params = random_params(embedding())
    twice = params | {"embed.W_E": params["embed.W_E"].repeat(2, 1)}
    own, shared = embedding(own_tokens=True).logits(twice, PAIRS), embedding().logits(params, PAIRS)
    torch.testing.assert_close(own, shared, rtol=0, atol=1e-13 * max(shared.abs().max().item(), 10))


def test_summed_embeddings_do_not_tell_a_from_b_and_those_side_by_side_do():
    swapped = PAIRS[:, [1, 0, 2]]
    for combine_by, same in (("sum", True), ("concat", False)):
        model = embedding(combine=combine_by)
        params = model.init(generator(0))
        assert torch.allclose(model.logits(params, PAIRS), model.logits(params, swapped), atol=1e-13) is same


def test_features_are_taken_in_the_precision_of_the_network():
    model = dense(n_in=5)
    params = combine(Tensor.float, random_params(model))
    assert torch.equal(model.logits(params, FEATURES), model.logits(params, FEATURES.float()))


# --- derivatives ------------------------------------------------------------------------------------


@each_network
def test_gradients_agree_with_the_slow_network_and_reach_every_tensor(model, inputs):
    params = random_params(model)
    weights = noise(len(inputs), model.n_classes, seed=9)

    def gradients(logits):
        leaves = combine(lambda value: value.clone().requires_grad_(), params)
        (logits(leaves) * weights).sum().backward()
        return combine(lambda leaf: leaf.grad, leaves)

    slow = gradients(lambda leaves: slow_logits(model, leaves, inputs))
    one_run = inputs[None]
    fast = gradients(
        lambda leaves: model.training_logits(combine(lambda leaf: leaf[None], leaves), one_run, Workspace())
    )
    for name, gradient in slow.items():
        assert gradient.abs().max() > 1e-3, name
        torch.testing.assert_close(fast[name], gradient, rtol=0, atol=1e-13 * max(1.0, gradient.abs().max().item()))


@for_each("model", [embedding(act="gelu"), QUADRATIC, dense(act="tanh")])
def test_second_derivatives_agree_with_the_slow_network(model):
    params, direction = random_params(model), random_params(model, seed=5)

    def second(logits):
        def along(t):
            return logits(combine(lambda value, step: value + t * step, params, direction)).square().mean()

        return torch.func.grad(torch.func.grad(along))(torch.zeros((), dtype=torch.float64))

    expected = second(lambda at: slow_logits(model, at, PAIRS))
    torch.testing.assert_close(second(lambda at: model.logits(at, PAIRS)), expected, rtol=1e-11, atol=0)


DEGREES = [(embedding(), 3), (embedding(depth=3), 5), (QUADRATIC, 3), (dense(depth=1), 2), (dense(depth=4), 5)]


@for_each(("model", "degree"), DEGREES, ids=[f"{model.kind}-{degree}" for model, degree in DEGREES])
def test_network_without_biases_is_homogeneous_and_its_answers_do_not_depend_on_the_norm(model, degree):
    params = model.init(generator(1))
    logits = model.logits(params, PAIRS)
    for c in (2.0**-5, 2.0**9):  # powers of two: not one bit may change
        scaled = model.logits(combine(lambda value, c=c: c * value, params), PAIRS)
        assert torch.equal(scaled, c**degree * logits)
        assert torch.equal(scaled.argmax(-1), logits.argmax(-1))


# --- dropout ----------------------------------------------------------------------------------------


class Recorded(Dropout):
    """Dropout that keeps its masks."""

    drawn: list[Tensor] = []

    def mask(self, rate: float, like: Tensor) -> Tensor:
        mask = super().mask(rate, like)
        self.drawn.append(mask)
        return mask


@each_network
def test_dropout_multiplies_embeddings_and_every_hidden_layer_by_its_masks(model, inputs):
    Recorded.drawn = []
    dropout = Recorded(0.25, 0.0, 0.5, [generator(i) for i in range(3)])
    params = random_stack(model)
    noisy = model.noisy_logits(params, inputs.expand(3, -1, -1), dropout)
    assert len(dropout.drawn) == getattr(model, "depth", 1) + isinstance(model, EmbeddingMLP)
    for i, one in enumerate(unstack(params)):
        expected = slow_logits(model, one, inputs, [mask[i] for mask in dropout.drawn])
        torch.testing.assert_close(noisy[i], expected, rtol=0, atol=1e-12)


@each_network
def test_dropout_of_nothing_is_the_network(model, inputs):
    params, own = random_stack(model, 2), inputs.expand(2, -1, -1)
    none = model.noisy_logits(params, own, Dropout(0.0, 0.0, 0.0, [generator(i) for i in range(2)]))
    torch.testing.assert_close(none, model.training_logits(params, own, Workspace()), rtol=0, atol=1e-13)


# --- descriptions -----------------------------------------------------------------------------------


@each_network
def test_every_tensor_has_a_role_and_its_shape(model, inputs):
    params = model.init(generator(0))
    assert {name: tuple(value.shape) for name, value in params.items()} == model.shapes()
    assert {role(name) for name in params} <= {"embed", "mlp", "unembed"}
    assert all(value.dtype == torch.float64 for value in params.values())


def test_shapes_of_each_kind():
    assert embedding(depth=2, train_biases=("mlp",)).shapes() == {
        "embed.W_E": (7, 4),
        "blocks.0.mlp.W_in": (8, 9),
        "blocks.0.mlp.b_in": (9,),
        "blocks.1.mlp.W_in": (9, 9),
        "blocks.1.mlp.b_in": (9,),
        "unembed.W_U": (9, 7),
        "unembed.b_U": (7,),
    }
    other = embedding(combine="sum", own_tokens=True).shapes()
    assert (other["embed.W_E"], other["blocks.0.mlp.W_in"]) == ((14, 4), (4, 9))
    assert QUADRATIC.shapes() == {"blocks.0.mlp.W_in": (14, 6), "unembed.W_U": (6, 7)}
    assert dense(n_in=5, n_out=3, depth=1).shapes()["unembed.W_U"] == (9, 3)


def test_biases_train_by_role():
    model = dense(train_biases=("unembed",))
    assert [name for name in model.shapes() if is_bias(name) and model.is_trainable(name)] == ["unembed.b_U"]
    assert all(embedding().is_trainable(name) is not is_bias(name) for name in embedding().shapes())
    assert all(QUADRATIC.is_trainable(name) for name in QUADRATIC.shapes())


def test_hidden_activations_are_counted_over_all_layers():
    assert [m.activations_per_input for m in (embedding(depth=3), QUADRATIC, dense(depth=2))] == [27, 6, 18]


@each_network
def test_description_survives_json_and_refuses_what_it_does_not_know(model, inputs):
    assert type(model).model_validate_json(model.model_dump_json()) == model
    with pytest.raises(ValidationError):
        type(model).model_validate(model.model_dump() | {"heads": 4})
    with pytest.raises(ValidationError):
        model.p = 11


# --- inits ------------------------------------------------------------------------------------------

BIG = EmbeddingMLP(p=59, depth=2), QuadraticMLP(p=97, n_neurons=500), DenseMLP(train_biases=())
STDS = [
    (BIG[0], "fan_in", {"embed.W_E": 128, "blocks.0.mlp.W_in": 256, "blocks.1.mlp.W_in": 256, "unembed.W_U": 256}, 1.0),
    (BIG[1], "gromov", {"blocks.0.mlp.W_in": 1, "unembed.W_U": 1}, 0.05),  # 0.5 / 1000^(1/3)
    (BIG[1], "fan_in", {"blocks.0.mlp.W_in": 194, "unembed.W_U": 500}, 1.0),
    (BIG[1], "torch", {"blocks.0.mlp.W_in": 194, "unembed.W_U": 500}, math.sqrt(1 / 3)),
    # embeddings sqrt(2 / 256), W_U 1 / 16, layers uniform in +-1 / 16
    (BIG[0], "pizza", {"embed.W_E": 128, "blocks.0.mlp.W_in": 768, "blocks.1.mlp.W_in": 768, "unembed.W_U": 256}, 1.0),
    (BIG[2], "fan_in", {"blocks.0.mlp.W_in": 784, "blocks.1.mlp.W_in": 200, "unembed.W_U": 200}, 1.0),
    (BIG[2], "he", {"blocks.0.mlp.W_in": 784, "blocks.1.mlp.W_in": 200, "unembed.W_U": 200}, math.sqrt(2)),
    (BIG[2], "torch", {"blocks.0.mlp.W_in": 784, "blocks.1.mlp.W_in": 200, "unembed.W_U": 200}, math.sqrt(1 / 3)),
]


@pytest.mark.parametrize(("model", "scheme", "fan_in", "gain"), STDS, ids=[f"{m.kind}-{s}" for m, s, _, _ in STDS])
def test_each_matrix_has_the_standard_deviation_of_its_scheme(model, scheme, fan_in, gain):
    params = model.init(generator(0), scheme)
    assert set(fan_in) == {name for name in params if not is_bias(name)}
    for name, n in fan_in.items():
        value = params[name] * math.sqrt(n) / gain  # variance 1; its mean square has variance (kurtosis - 1) / count
        spread = math.sqrt((9 / 5 if scheme == "torch" else 3) - 1) / math.sqrt(value.numel())
        assert value.square().mean().item() == pytest.approx(1, abs=4 * spread), name
        assert value.mean().item() == pytest.approx(0, abs=4 / math.sqrt(value.numel())), name
    assert all((params[name] == 0).all() for name in params if is_bias(name))


def test_torch_scheme_fills_the_interval_of_a_linear_layer_biases_too():
    params = DenseMLP().init(generator(0))
    for name, value in params.items():
        bound = 1 / math.sqrt(784 if ".0." in name else 200)
        missing = bound * (1 - 4 / len(value.flatten()))  # the largest of n falls short by bound / (n + 1) in the mean
        assert missing < value.abs().max() < bound, name


def test_weights_do_not_depend_on_which_biases_train():
    params = DenseMLP().init(generator(0))
    for name, value in DenseMLP(train_biases=()).init(generator(0)).items():
        assert torch.equal(value, torch.zeros_like(value) if is_bias(name) else params[name])


def test_reference_norms():
    """Sums of squares: n draws of mean square s have standard deviation s sqrt(2 n), or s sqrt(4 n / 5) if uniform."""
    p59 = norm(EmbeddingMLP(p=59).init(generator(0))).item() ** 2
    assert p59 == pytest.approx(374, abs=4 * math.sqrt(2 * (59 / 128 + 1 + 59 / 256)))
    assert math.sqrt(374) == pytest.approx(19.34, abs=0.005)
    mnist = norm(DenseMLP().init(generator(0), "torch")).item() ** 2
    layers = [(784 * 200, 784), (200, 784), (200 * 200, 200), (200, 200), (200 * 10, 200), (10, 200)]
    assert sum(n / (3 * fan_in) for n, fan_in in layers) == pytest.approx(137.1, abs=0.05)
    spread = math.sqrt(sum(4 / 5 * n / (3 * fan_in) ** 2 for n, fan_in in layers))
    assert mnist == pytest.approx(11.71**2, abs=4 * spread + 0.1)  # 11.71 is given to 0.005


@for_each("model", [EmbeddingMLP(p=5), QUADRATIC, DenseMLP(n_in=5, n_out=3)])
def test_alpha_multiplies_every_number_and_the_role_its_own(model):
    one, all_of_it = model.init(generator(0)), model.init(generator(0), alpha=8.0)
    assert all(torch.equal(all_of_it[name], 8 * value) for name, value in one.items())
    some = model.init(generator(0), alpha=2.0, alpha_by_role={"unembed": 0.25, "attention": 3.0})
    for name, value in one.items():
        assert torch.equal(some[name], (0.5 if role(name) == "unembed" else 2.0) * value)


@each_network
def test_first_scheme_is_the_default_and_another_models_is_refused(model, inputs):
    default, first = model.init(generator(0)), model.init(generator(0), model.schemes[0])
    assert all(torch.equal(default[name], first[name]) for name in default)
    with pytest.raises(ValueError, match=rf"one of {', '.join(model.schemes)} for this model; got 'nanda'"):
        model.init(generator(0), "nanda")


# --- what is refused --------------------------------------------------------------------------------


@for_each("model", [embedding(), QUADRATIC, dense()])
@for_each("number", [-1, P])
def test_number_outside_the_alphabet_is_refused_and_not_read_from_the_next_network_of_a_stack(model, number):
    inputs = PAIRS.clone()
    inputs[3, 1] = number
    with pytest.raises(ValueError, match=rf"must be in 0\.\.6; got {min(number, 0)}\.\.{max(number, 6)}"):
        model.logits(random_stack(model), inputs)


@for_each("inputs", [PAIRS[:, :2], PAIRS.double(), torch.zeros(4, 14, dtype=torch.uint8)])
def test_inputs_that_are_not_three_integers_are_refused(inputs):
    with pytest.raises(ValueError, match=r"three integers \(a, b, '='\); got torch\.\w+ \[\d+, \d+\]"):
        check_pairs(inputs, P)


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match="n_in = 14 features; got 5"):
        dense().logits(random_params(dense()), FEATURES)


def test_integers_for_a_network_that_cannot_read_pairs_are_refused():
    model = dense(n_in=5)
    with pytest.raises(ValueError, match="n_in must be 2 p; got n_in = 5: give float features"):
        model.logits(random_params(model), PAIRS)
