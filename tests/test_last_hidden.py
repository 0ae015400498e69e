"""An MLP opened at its last hidden layer, against the same network on one-hot vectors."""

import torch
from loops import for_each
from oracles import generator, noise
from torch.nn.functional import gelu, one_hot

from circuitgrok import tree
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.tasks.modular import modular_addition

P = 7
INPUTS = modular_addition(P).inputs
ACTS = {"relu": torch.relu, "gelu": gelu, "tanh": torch.tanh, "square": torch.square}
MODELS = {
    "quadratic": QuadraticMLP(p=P, n_neurons=9),
    "dense": DenseMLP(n_in=2 * P, n_out=P, width=6, depth=3, act="tanh"),
    "side by side": EmbeddingMLP(p=P, d_embed=5, d_hidden=6),
    "summed": EmbeddingMLP(p=P, d_embed=5, d_hidden=6, depth=2, combine="sum", act="relu"),
    "own tokens": EmbeddingMLP(p=P, d_embed=5, d_hidden=6, own_tokens=True),
}


def random_network(model, seed=0):
    """Every tensor random, biases too."""
    return {name: noise(*shape, seed=seed + i) for i, (name, shape) in enumerate(model.shapes().items())}


def slow_layers(model, params):
    """Before and after the last nonlinearity, by products with one-hot vectors."""
    a, b = (one_hot(INPUTS[:, i], P).double() for i in (0, 1))
    if isinstance(model, EmbeddingMLP):
        W_E = params["embed.W_E"]
        a, b = a @ W_E[:P], b @ W_E[P if model.own_tokens else 0 :]
    x = a + b if isinstance(model, EmbeddingMLP) and model.combine == "sum" else torch.cat([a, b], dim=1)
    act, pres = ACTS[getattr(model, "act", "square")], []
    for layer in range(getattr(model, "depth", 1)):
        at = f"blocks.{layer}.mlp."
        pres.append(x @ params[at + "W_in"] + params.get(at + "b_in", torch.zeros(())))
        x = act(pres[-1])
    return pres[-1], x


@for_each("name", MODELS)
def test_neurons_are_those_of_the_network_on_one_hot_vectors_and_W_U_reads_them(name):
    model, params = MODELS[name], random_network(MODELS[name])
    found, (pre, post) = model.last_hidden(params, INPUTS), slow_layers(model, params)
    # sums of up to 14 products of numbers about 1, three times over: 1e-13 is some hundred roundings
    torch.testing.assert_close(found.pre, pre, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found.post, post, rtol=1e-12, atol=1e-13)
    assert torch.equal(model.neuron_to_logit(params), params["unembed.W_U"])
    logits = found.post @ params["unembed.W_U"] + params.get("unembed.b_U", torch.zeros(()))
    torch.testing.assert_close(logits, model.logits(params, INPUTS), rtol=1e-12, atol=1e-12)


@for_each("name", MODELS)
def test_a_stack_is_opened_like_each_of_its_networks(name):
    model, networks = MODELS[name], [random_network(MODELS[name], seed=10 * i) for i in range(2)]
    together = model.last_hidden(tree.stack(networks), INPUTS)
    for i, network in enumerate(networks):
        alone = model.last_hidden(network, INPUTS)
        torch.testing.assert_close(together.pre[i], alone.pre, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(together.post[i], alone.post, rtol=1e-12, atol=1e-13)


def test_the_dtype_of_the_weights_is_kept():
    model = MODELS["quadratic"]
    params = {name: value.float() for name, value in model.init(generator(0)).items()}
    assert {part.dtype for part in model.last_hidden(params, INPUTS)} == {torch.float32}
