"""Ablations: against TransformerLens' hooks, on planted circuits, and where nothing may change."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import pytest
import torch
from loops import for_each
from oracles import (
    generator,
    grid,
    noise,
    slow_cross_entropy,
    slow_excluded_logits,
    slow_restricted_logits,
    sum_projector,
    wave,
)
from test_last_block import random_params
from torch import Tensor

from circuitgrok.foreign.lens import to_bridge
from circuitgrok.measures.circuits.ablations import (
    ablation_scores,
    ablations,
    clusters_as_polynomials,
    control_scores,
    key_clusters,
    sum_waves_alone,
    without_attention,
    without_head,
    without_mlp,
    without_neurons,
    without_pattern,
    without_skip,
    without_sum_waves,
)
from circuitgrok.measures.parts.last_block import LastBlock, last_block
from circuitgrok.measures.parts.neurons import polynomial_neurons
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import Task, modular_addition
from circuitgrok.tree import combine

P = 7
EPS = torch.finfo(torch.float64).eps
SPLITS = ("train", "test", "all", "test_mirror_seen", "test_mirror_unseen")
FILLS = {"zero": torch.zeros_like, "mean": lambda part: part.mean(0).expand_as(part)}
SHAPES = {
    f"{n_layers}-{normalization}": Transformer(
        p=P, n_layers=n_layers, n_heads=2, d_model=8, d_head=4, d_mlp=12, normalization=normalization
    )
    for n_layers in (1, 2)
    for normalization in ("none", "LN")
}


def of(task: Task, splits: Sequence[str] = SPLITS) -> tuple[Tensor, Tensor]:
    """A task's labels, and the pairs of some of its splits."""
    return task.labels, torch.stack([task.where(split) for split in splits])


def block_at_random(model: Transformer) -> LastBlock:
    return last_block(random_params(model), model, modular_addition(p=model.p).inputs)


def full_logits(block: LastBlock) -> torch.Tensor:
    return block.read(block.skip + block.mlp)


def close(ours, theirs, relative=1000 * EPS):
    """Relative to the largest entry; by default to the rounding of a hundred sums of a dozen terms."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=relative * theirs.abs().max().item())


# Through TransformerLens' hooks


class Hooked:
    """The same ablations as edits of hook values at the last position of the last block."""

    def __init__(self, model: Transformer) -> None:
        self.model, self.inputs = model, modular_addition(p=model.p).inputs
        self.bridge = to_bridge(random_params(model), model)
        self.at = f"blocks.{model.n_layers - 1}."

    def logits(self, name, edit):
        def hook(value, hook):
            value = value.clone()
            value[:, -1] = edit(value[:, -1])
            return value

        with torch.no_grad():
            return self.bridge.run_with_hooks(self.inputs, fwd_hooks=[(self.at + name, hook)])[:, -1, : self.model.p]

    def last(self, name):
        with torch.no_grad():
            return self.bridge.run_with_cache(self.inputs)[1][self.at + name][:, -1]


@pytest.fixture(scope="module", params=SHAPES.values(), ids=list(SHAPES))
def both(request) -> tuple[LastBlock, Hooked]:
    return block_at_random(request.param), Hooked(request.param)


def agree(ours, by_hooks):
    """To 1e-10 of the largest logit. Either side sums about a thousand rounded terms, which is 1e-13 or so."""
    assert list(ours) == list(by_hooks)
    for by, logits in ours.items():
        close(logits, by_hooks[by], relative=1e-10)


def masked(part, where, fill):
    return torch.where(where, fill(part), part)


@for_each("head", [0, 1])
def test_without_a_head_agrees_with_hooks(both, head):
    block, hooked = both
    mine = (torch.arange(2) == head)[:, None]
    by_hooks = {by: hooked.logits("attn.hook_z", lambda z, f=f: masked(z, mine, f)) for by, f in FILLS.items()}
    agree(without_head(block, head), by_hooks)


def test_without_neurons_agrees_with_hooks(both):
    block, hooked = both
    mine = torch.arange(12) % 3 == 1
    by_hooks = {by: hooked.logits("mlp.hook_post", lambda x, f=f: masked(x, mine, f)) for by, f in FILLS.items()}
    agree(without_neurons(block, mine), by_hooks)


@for_each(
    ("ablation", "name"), [(without_attention, "hook_attn_out"), (without_mlp, "hook_mlp_out")], ids=["attn", "mlp"]
)
def test_without_all_of_attention_or_mlp_agrees_with_hooks(both, ablation, name):
    block, hooked = both
    agree(ablation(block), {by: hooked.logits(name, fill) for by, fill in FILLS.items()})


def test_without_the_skip_agrees_with_hooks(both):
    block, hooked = both
    out, mid = hooked.last("hook_mlp_out"), hooked.last("hook_resid_mid")
    by_hooks = {by: hooked.logits("hook_resid_post", lambda _, f=f: out + f(mid)) for by, f in FILLS.items()}
    agree(without_skip(block), by_hooks)


def test_without_the_pattern_agrees_with_hooks(both):
    block, hooked = both

    def with_pattern(fill):
        def hook(value, hook):
            value = value.clone()
            value[:, :, -1] = fill(value[:, :, -1])
            return value

        hooks = [(hooked.at + "attn.hook_pattern", hook)]
        with torch.no_grad():
            return hooked.bridge.run_with_hooks(hooked.inputs, fwd_hooks=hooks)[:, -1, :P]

    by_hooks = {
        by: with_pattern(fill) for by, fill in {"uniform": lambda x: 0 * x + 1 / 3, "mean": FILLS["mean"]}.items()
    }
    agree(without_pattern(block), by_hooks)


@for_each("freqs", [[1], [2, 3], []])
def test_sum_waves_taken_out_or_alone_agree_with_dense_projections_at_the_hook(both, freqs):
    block, hooked = both
    project = sum_projector(P, freqs)
    out = hooked.logits("mlp.hook_post", lambda x: x - project @ x)
    agree(without_sum_waves(block, torch.tensor(freqs, dtype=torch.long)), {"zero": out})
    alone = hooked.logits("mlp.hook_post", lambda x: x.mean(0) + project @ x)
    agree(sum_waves_alone(block, torch.tensor(freqs, dtype=torch.long)), {"mean": alone})


def test_a_modulus_that_is_even_has_a_highest_wave_without_a_sine():
    model = Transformer(p=8, n_heads=1, d_model=8, d_head=8, d_mlp=12)
    block, hooked, project = block_at_random(model), Hooked(model), sum_projector(8, [4])
    out = hooked.logits("mlp.hook_post", lambda x: x - project @ x)
    agree(without_sum_waves(block, torch.tensor([4])), {"zero": out})


# Planted circuits


def planted_part(p: int, k: int, n: int) -> torch.Tensor:
    """Logits of n neurons of one frequency: sum_j relu(cos(w a + f_j) + cos(w b + f_j)) cos(w c + 2 f_j)."""
    a, b, c = grid(p, 3)
    phases = [2 * math.pi * j / n for j in range(n)]
    parts = [torch.relu(wave(k, a, p, f) + wave(k, b, p, f)) * wave(k, c, p, 2 * f) for f in phases]
    return torch.stack(parts).sum(0).reshape(p * p, p)


def planted_network(p: int, sizes: dict[int, int], n_stray: int = 2) -> tuple[LastBlock, list[int]]:
    """A network of one uniform head whose neurons are those of `planted_part`, and strays; the frequency of each."""
    d, n = 2 * p + 1, sum(sizes.values()) + n_stray
    model = Transformer(p=p, n_heads=1, d_model=d, d_head=d, d_mlp=n, d_vocab_out="p")
    params = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in model.shapes().items()}
    params["embed.W_E"].fill_diagonal_(1.0)  # a token of its own for each number and '=', then one place per class
    params["blocks.0.attn.W_V"][0].fill_diagonal_(3.0)
    params["blocks.0.attn.W_O"][0].fill_diagonal_(1.0)
    params["unembed.W_U"][p + 1 :].fill_diagonal_(1.0)
    x, of_neuron = torch.arange(p), [k for k, size in sizes.items() for _ in range(size)] + [0] * n_stray
    phases = [2 * math.pi * j / size for size in sizes.values() for j in range(size)]
    for j, phase in enumerate(phases):
        params["blocks.0.mlp.W_in"][:p, j] = wave(of_neuron[j], x, p, phase)
        params["blocks.0.mlp.W_out"][j, p + 1 :] = wave(of_neuron[j], x, p, 2 * phase)
    params["blocks.0.mlp.W_in"][:p, len(phases) :] = noise(p, n_stray)
    params["blocks.0.mlp.W_out"][len(phases) :, p + 1 :] = noise(n_stray, p, seed=1)
    return last_block(params, model, modular_addition(p=p).inputs), of_neuron


FREQS, SIZES = torch.tensor([2, 5]), {2: 5, 5: 7}


@pytest.fixture(scope="module")
def planted() -> tuple[LastBlock, torch.Tensor, dict[int, torch.Tensor], torch.Tensor]:
    """The last block, the frequency of each neuron, the logits of each frequency and those of the strays."""
    block, of_neuron = planted_network(13, SIZES)
    parts = {k: planted_part(13, k, n) for k, n in SIZES.items()}
    return block, torch.tensor(of_neuron), parts, full_logits(block) - sum(parts.values())


def test_clusters_of_planted_frequencies_are_found_and_others_are_none(planted):
    block, of_neuron, _, _ = planted
    assert torch.equal(key_clusters(block, FREQS), of_neuron)
    assert torch.equal(key_clusters(block, torch.tensor([3, 5])), of_neuron * (of_neuron == 5))


@for_each(("k", "other"), [(2, 5), (5, 2)])
def test_without_a_planted_frequencys_neurons_its_logits_vanish_and_the_others_stay(planted, k, other):
    block, _, parts, stray = planted
    ablated = ablations(block, FREQS)[f"cluster {k}"](block)
    close(ablated["zero"], parts[other] + stray)
    close(ablated["mean"], parts[k].mean(0) + parts[other] + stray)


def test_without_the_neurons_of_no_cluster_the_planted_circuit_is_left(planted):
    block, _, parts, stray = planted
    ablated = ablations(block, FREQS)["no cluster"](block)
    close(ablated["zero"], parts[2] + parts[5])
    close(ablated["mean"], parts[2] + parts[5] + stray.mean(0))


def test_where_all_goes_through_the_neurons_their_waves_are_those_of_the_logits(planted):
    block, _, _, _ = planted
    table, logits = ablations(block, FREQS), full_logits(block)
    for k in (2, 5):
        close(table[f"waves {k}"](block)["zero"], slow_excluded_logits(logits, [k]))
    close(table["key waves"](block)["zero"], slow_excluded_logits(logits, [2, 5]))
    close(table["other waves"](block)["mean"], slow_restricted_logits(logits, [2, 5]))


def test_a_skip_that_writes_nothing_is_not_missed_and_the_mlp_is_all_there_is(planted):
    block, _, _, _ = planted
    for logits in without_skip(block).values():
        close(logits, full_logits(block))
    assert not without_mlp(block)["zero"].any()
    loss = ablation_scores(block, *of(modular_addition(p=13)), FREQS)["mlp, zero"].loss
    torch.testing.assert_close(loss, torch.full((5,), math.log(13), dtype=torch.float64), rtol=0, atol=4 * EPS)


# Where nothing may change


@for_each("model", SHAPES.values(), ids=SHAPES.keys())
def test_a_head_that_writes_nothing_is_not_missed_and_the_other_is(model):
    params = random_params(model)
    params[f"blocks.{model.n_layers - 1}.attn.W_O"][1] = 0.0
    block = last_block(params, model, modular_addition(p=P).inputs)
    for logits in without_head(block, 1).values():
        close(logits, full_logits(block))
    assert all((logits - full_logits(block)).abs().max() > 1e-3 for logits in without_head(block, 0).values())


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_a_pattern_that_is_uniform_can_be_made_so(rate):
    model = Transformer.model_validate(SHAPES["1-none"].model_dump() | {"attention_rate": rate})
    params = random_params(model) | {"blocks.0.attn.W_Q": torch.zeros(2, 8, 4, dtype=torch.float64)}
    params["blocks.0.attn.b_Q"] = torch.zeros(2, 4, dtype=torch.float64)
    block = last_block(params, model, modular_addition(p=P).inputs)
    for logits in without_pattern(block).values():
        close(logits, full_logits(block))


def test_means_change_nothing_in_a_network_that_says_the_same_to_all_pairs():
    model = SHAPES["2-LN"]
    params = random_params(model)
    params["embed.W_E"][:] = params["embed.W_E"][0].clone()
    block = last_block(params, model, modular_addition(p=P).inputs)
    for name, ablation in ablations(block, torch.tensor([1, 3])).items():
        for by, logits in ablation(block).items():
            if by == "mean" or name.startswith(("waves", "key waves")):
                close(logits, full_logits(block))


def test_a_cluster_without_neurons_is_not_missed():
    block = block_at_random(SHAPES["1-none"])
    nobody = torch.zeros(12, dtype=torch.bool)
    for logits in without_neurons(block, nobody).values():
        close(logits, full_logits(block))


@for_each("model", SHAPES.values(), ids=SHAPES.keys())
def test_weights_in_float32_give_the_same_logits_to_their_rounding(model):
    exact, inputs, freqs = random_params(model), modular_addition(p=P).inputs, torch.tensor([1, 3])
    rounded = combine(lambda x: x.float(), exact)
    blocks = [last_block(params, model, inputs) for params in (rounded, exact)]
    tables = [ablations(one, freqs) for one in blocks]
    for name, ablation in tables[0].items():
        twin = tables[1][name](blocks[1])
        for by, logits in ablation(blocks[0]).items():
            assert logits.dtype == torch.float64
            close(logits, twin[by], relative=1000 * torch.finfo(torch.float32).eps)


def test_clusters_as_polynomials_are_the_network_with_those_neurons_replaced():
    model = SHAPES["1-none"]
    params, task, freqs = random_params(model), modular_addition(p=P), torch.tensor([1, 2, 3])
    a, b = (x.flatten() for x in grid(P, 2))
    drive = 4 * (wave(2, a, P) + wave(2, b, P))[:, None].double()  # pure enough to make a cluster
    block = dataclasses.replace(last_block(params, model, task.inputs), post=(drive + torch.ones(1, 12)).relu())
    block = dataclasses.replace(block, mlp=block.b_write + block.post @ block.W_write)
    cluster = key_clusters(block, freqs)
    assert cluster.tolist() == [2] * 12
    replaced = polynomial_neurons(block.post, cluster)
    by_hand = block.skip + block.b_write + replaced @ block.W_write + params["unembed.b_U"][:P]
    [logits] = clusters_as_polynomials(block, freqs).values()
    close(logits, by_hand)
    assert (replaced - block.post).abs().max() > 0.1


def test_where_there_is_no_cluster_no_polynomial_changes_anything():
    block = block_at_random(SHAPES["1-none"])
    assert not key_clusters(block, torch.tensor([1])).any()
    close(clusters_as_polynomials(block, torch.tensor([1]))["polynomial"], block.read(block.skip + block.mlp))


# Scores


def test_scores_are_loss_and_accuracy_of_the_ablated_logits_on_each_split():
    block, task, freqs = (
        block_at_random(SHAPES["1-none"]),
        modular_addition(p=P, frac_train=0.5),
        torch.tensor([1, 3]),
    )
    scores = ablation_scores(block, *of(task), freqs)
    names = set()
    for part, ablation in ablations(block, freqs).items():
        for by, logits in ablation(block).items():
            names.add(f"{part}, {by}")
            loss, accuracy = scores[f"{part}, {by}"]
            right = logits.argmax(-1) == task.labels
            for i, split in enumerate(SPLITS):
                where = task.where(split)
                assert loss[i].item() == pytest.approx(slow_cross_entropy(logits, task.labels, where), rel=1e-12)
                assert accuracy[i].item() == pytest.approx(
                    (right & where).sum().item() / where.sum().item(), rel=4 * EPS
                )
    assert set(scores) == names


def test_names_depend_on_shape_and_key_frequencies_alone():
    block, task = block_at_random(SHAPES["2-LN"]), modular_addition(p=P)
    parts = "head 0|head 1|attention|cluster 1|cluster 3|no cluster|mlp|skip".split("|")
    expected = {f"{part}, {by}" for part in parts for by in ("zero", "mean")} | {"pattern, uniform", "pattern, mean"}
    expected |= {"waves 1, zero", "waves 3, zero", "key waves, zero", "other waves, mean", "clusters, polynomial"}
    assert set(ablation_scores(block, *of(task), torch.tensor([1, 3]))) == expected


def test_a_split_without_pairs_scores_nan_and_nothing_else_does():
    drawn = modular_addition(p=P, frac_train=0.5)
    is_train = (drawn.is_train | drawn.mirror_seen).clone()  # both orders are trained on
    task = Task(P, drawn.inputs, drawn.labels, is_train, drawn.split_hash)
    block, freqs = block_at_random(SHAPES["1-none"]), torch.tensor([2])
    for scores in (
        ablation_scores(block, *of(task), freqs),
        control_scores(block, *of(task), freqs, seed=0),
    ):
        for fields in scores.values():
            for field in fields:
                assert field.isnan().tolist() == [split == "test_mirror_seen" for split in SPLITS]


# Controls


def test_control_is_mean_and_spread_over_random_sets_of_the_clusters_sizes(planted):
    block, of_neuron, _, _ = planted
    task, n = modular_addition(p=13), len(of_neuron)
    control, draws = control_scores(block, *of(task, ["test"]), FREQS, seed=5, n_draws=3), generator(5)
    dealt = [of_neuron[torch.randperm(n, generator=draws)] for _ in range(3)]
    for name, k in {"cluster 2": 2, "cluster 5": 5, "no cluster": 0}.items():
        losses = []
        for of_draw in dealt:
            assert (of_draw == k).sum() == (of_neuron == k).sum()
            post = torch.where(of_draw == k, block.post.mean(0), block.post)
            changed = dataclasses.replace(block, mlp=post @ block.W_write + block.b_write)
            losses.append(slow_cross_entropy(full_logits(changed), task.labels, task.where("test")))
        scores = control[f"random as {name}, mean"]
        assert scores.loss.item() == pytest.approx(statistics.mean(losses), rel=1e-12)
        assert scores.loss_std.item() == pytest.approx(statistics.stdev(losses), rel=1e-9)
        assert statistics.stdev(losses) > 1e-3


def test_if_all_neurons_are_in_one_cluster_every_random_set_is_that_cluster():
    block, _ = planted_network(13, {4: 5}, n_stray=0)
    task, freqs = modular_addition(p=13), torch.tensor([4])
    scores = ablation_scores(block, *of(task), freqs)
    control = control_scores(block, *of(task), freqs, seed=0)
    for by in ("zero", "mean"):
        real, random = scores[f"cluster 4, {by}"], control[f"random as cluster 4, {by}"]
        for mean, std, expected in ((random[0], random[1], real.loss), (random[2], random[3], real.accuracy)):
            torch.testing.assert_close(mean, expected, rtol=4 * EPS, atol=0)
            torch.testing.assert_close(std, torch.zeros_like(std), rtol=0, atol=8 * EPS)


def test_equal_seeds_deal_alike_and_others_do_not(planted):
    block, _, _, _ = planted
    task = modular_addition(p=13)
    one, same, other = (control_scores(block, *of(task, ["all"]), FREQS, seed=seed) for seed in (0, 0, 1))
    name = "random as cluster 2, zero"
    assert torch.equal(one[name].loss, same[name].loss)
    assert not torch.equal(one[name].loss, other[name].loss)


# Refusals


@for_each("freqs", [[4], [0], [2, 2]])
def test_frequencies_out_of_range_or_repeated_are_refused(freqs):
    block, task = block_at_random(SHAPES["1-none"]), modular_addition(p=P)
    with pytest.raises(ValueError, match=r"distinct integers in 1\.\.3 for p = 7; got \["):
        ablation_scores(block, *of(task), torch.tensor(freqs))
    with pytest.raises(ValueError, match=r"distinct integers in 1\.\.3 for p = 7; got \["):
        control_scores(block, *of(task), torch.tensor(freqs), seed=0)


def test_one_draw_has_no_spread_and_is_refused():
    block, task = block_at_random(SHAPES["1-none"]), modular_addition(p=P)
    with pytest.raises(ValueError, match="n_draws of 2 or more; got 1"):
        control_scores(block, *of(task), torch.tensor([1]), seed=0, n_draws=1)
