"""The forward pass with parts replaced: against the ablations of a table, TransformerLens' hooks, and by hand."""

import torch
from loops import for_each
from oracles import slow_excluded_logits, slow_restricted_logits
from test_last_block import random_params
from torch import Tensor

from circuitgrok.foreign.lens import to_bridge
from circuitgrok.inspection.edits import Ablate
from circuitgrok.inspection.replaced import replaced
from circuitgrok.measures.circuits.ablations import ablations
from circuitgrok.measures.parts.last_block import last_block
from circuitgrok.measures.parts.neurons import in_cluster, polynomial_neurons
from circuitgrok.measures.spectra.tuning import neuron_frequencies
from circuitgrok.models.dense import DenseMLP
from circuitgrok.models.embedding_mlp import EmbeddingMLP
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tasks.modular import ModularAddition, modular_addition
from circuitgrok.tasks.operations import as_addition

P = 7
TASK = modular_addition(p=P, frac_train=0.5)
KEYS = (1, 3)
BASE = {"p": P, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 12}
SHAPES = {
    "one layer": {},
    "two layers": {"n_layers": 2, "act": "gelu"},
    "LayerNorm": {"n_layers": 2, "normalization": "LN"},
    "without =": {"equals": False, "own_tokens": True, "causal": False, "attention_rate": 0.75},
    "p classes": {"d_vocab_out": "p", "n_layers": 3},
}
MLPS = {
    "embedding": EmbeddingMLP(p=P, d_embed=6, d_hidden=10, train_biases=("mlp", "unembed")),
    "summed": EmbeddingMLP(p=P, d_embed=6, d_hidden=10, depth=3, combine="sum", own_tokens=True, act="relu"),
    "quadratic": QuadraticMLP(p=P, n_neurons=10),
    "dense": DenseMLP(n_in=2 * P, n_out=P, width=10, depth=2, act="tanh"),
}


def transformer(name: str) -> Transformer:
    return Transformer.model_validate(BASE | SHAPES[name])


def close(ours: Tensor, theirs: Tensor, relative: float = 1e-10):
    """To 1e-10 of the largest logit. Either side sums about a thousand rounded terms, which is 1e-13 or so."""
    torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=relative * theirs.abs().max().item())


def after(model, params, *parts, task: Dataset = TASK) -> Tensor:
    edits = [Ablate(part=part, fill=fill) for part, fill in parts]
    return replaced(model, params, task, edits).logits


@for_each("name", SHAPES)
def test_nothing_replaced_is_the_network(name):
    model = transformer(name)
    params = random_params(model)
    found, block = replaced(model, params, TASK), last_block(params, model, TASK.inputs)
    close(found.logits, model.logits(params, TASK.inputs)[:, :P])
    close(found.neurons, block.post)
    close(found.reads, block.pre)
    assert found.pattern is not None
    close(found.pattern, block.pattern)


@for_each("name", SHAPES)
def test_one_replacement_is_the_ablation_of_the_table(name):
    model = transformer(name)
    params = random_params(model)
    block = last_block(params, model, TASK.inputs)
    every = ",".join(map(str, KEYS))
    names = {"key waves": f"waves {every}", "other waves": f"only waves {every}", "no cluster": f"no cluster {every}"}
    names |= {"clusters": f"cluster {every}"}
    table = ablations(block, torch.tensor(KEYS))
    assert len(table) == 14
    for part, ablation in table.items():
        for fill, logits in ablation(block).items():
            close(after(model, params, (names.get(part, part), fill)), logits)


class Hooked:
    """Edits of hook values, by TransformerLens: at every position, or at the last."""

    def __init__(self, model: Transformer, params) -> None:
        self.bridge, self.tokens, self.p = to_bridge(params, model), model.tokens(TASK.inputs), model.p

    def logits(self, *edits) -> Tensor:
        def hooked(edit):
            return lambda value, hook: edit(value.clone())

        hooks = [(name, hooked(edit)) for name, edit in edits]
        with torch.no_grad():
            return self.bridge.run_with_hooks(self.tokens, fwd_hooks=hooks)[:, -1, : self.p]


def set_to(where, fill: str):
    """Replace what an index names by zero, or by its mean over the pairs."""

    def edit(value: Tensor) -> Tensor:
        value[where] = 0 * value[where] if fill == "zero" else value[where].mean(0, keepdim=True)
        return value

    return edit


ALL = slice(None)


@for_each("name", ["one layer", "two layers", "LayerNorm", "p classes"])
def test_parts_of_any_layer_agree_with_hooks(name):
    model = transformer(name)
    params = random_params(model)
    hooked = Hooked(model, params)
    sites = {
        "head 1": ("attn.hook_z", (ALL, ALL, 1)),
        "neuron 2,5": ("mlp.hook_post", (ALL, ALL, torch.tensor([2, 5]))),
        "attention": ("hook_attn_out", (ALL,)),
        "mlp": ("hook_mlp_out", (ALL,)),
    }
    for layer in range(model.n_layers):
        for part, (site, where) in sites.items():
            for fill in ("zero", "mean"):
                theirs = hooked.logits((f"blocks.{layer}.{site}", set_to(where, fill)))
                close(after(model, params, (f"layer {layer} {part}", fill)), theirs)


@for_each("name", ["two layers", "LayerNorm"])
def test_a_whole_layer_agrees_with_hooks(name):
    model = transformer(name)
    params = random_params(model)
    hooked, seen = Hooked(model, params), {}
    for layer in range(model.n_layers):
        at = f"blocks.{layer}."

        def remember(value):
            seen["before"] = value
            return value

        for fill in ("zero", "mean"):

            def edit(value, fill=fill):
                written = value - seen["before"]
                return seen["before"] + (0 * written if fill == "zero" else written.mean(0, keepdim=True))

            theirs = hooked.logits((at + "hook_resid_pre", remember), (at + "hook_resid_post", edit))
            close(after(model, params, (f"layer {layer}", fill)), theirs)


def test_what_is_behind_a_replaced_part_runs_on_what_is_there():
    model = transformer("two layers")
    params = random_params(model)
    hooked = Hooked(model, params)
    where = (ALL, ALL, torch.tensor([2, 5]))
    theirs = hooked.logits(
        ("blocks.0.attn.hook_z", set_to((ALL, ALL, 1), "mean")),
        ("blocks.1.attn.hook_z", set_to((ALL, ALL, 0), "zero")),
        ("blocks.1.mlp.hook_post", set_to(where, "mean")),
    )
    parts = [("neuron 2,5", "mean"), ("layer 0 head 1", "mean"), ("head 0", "zero")]
    close(after(model, params, *parts), theirs)
    close(after(model, params, *reversed(parts)), theirs)  # whatever their order in the list


@for_each("name", [*SHAPES, *MLPS])
def test_waves_at_the_logits_are_those_of_restricted_and_excluded_loss(name):
    model = transformer(name) if name in SHAPES else MLPS[name]
    params = random_params(model) if name in SHAPES else random_mlp(model)
    logits = replaced(model, params, TASK).logits
    close(after(model, params, ("excluded 1,3", None)), slow_excluded_logits(logits, [*KEYS]))
    close(after(model, params, ("restricted 1,3", None)), slow_restricted_logits(logits, [*KEYS]))


def random_mlp(model):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(*shape, generator=generator).double() for name, shape in model.shapes().items()}


@for_each("name", MLPS)
def test_neurons_of_dense_layers_by_hand(name):
    model, params = MLPS[name], random_mlp(MLPS[name])
    found = replaced(model, params, TASK)
    close(found.logits, model.logits(params, TASK.inputs))
    without = params["unembed.W_U"].clone()
    without[[2, 5]] = 0
    close(after(model, params, ("neuron 2,5", "zero")), model.logits(params | {"unembed.W_U": without}, TASK.inputs))
    mean = found.neurons[:, [2, 5]].mean(0) @ params["unembed.W_U"][[2, 5]]
    both = model.logits(params | {"unembed.W_U": without}, TASK.inputs) + mean
    close(after(model, params, ("neuron 2,5", "mean")), both)
    tuned = neuron_frequencies(found.neurons)
    inside = in_cluster(tuned) & (tuned.freq == 1)
    polynomial = torch.where(inside, polynomial_neurons(found.neurons, tuned.freq), found.neurons)
    change = (polynomial - found.neurons) @ params["unembed.W_U"]
    close(after(model, params, ("cluster 1", "polynomial")), found.logits + change)


def test_neurons_of_an_earlier_hidden_layer_by_hand():
    model = MLPS["summed"]
    params = random_mlp(model)
    cut = {**params, "blocks.1.mlp.W_in": params["blocks.1.mlp.W_in"].clone()}
    cut["blocks.1.mlp.W_in"][4] = 0
    close(after(model, params, ("layer 0 neuron 4", "zero")), model.logits(cut, TASK.inputs))


@for_each("operation", ["subtract", "multiply", "divide"])
def test_frequencies_are_those_of_the_hidden_addition(operation):
    task = ModularAddition(p=P, frac_train=0.5, operation=operation).draw()
    hidden = as_addition(task)
    model = transformer("one layer")
    params = random_params(model)
    logits = replaced(model, params, task).logits
    # Columns are functions on the pairs: in the order of the addition each is projected by the dense projector.
    in_order = logits[hidden.pairs]
    padded = torch.nn.functional.pad(in_order, (0, max(0, hidden.m - P)))[:, : hidden.m]
    excluded = slow_excluded_logits(padded, [2])
    ours = after(model, params, ("excluded 2", None), task=task)[hidden.pairs]
    close(ours[:, : hidden.m], excluded)
