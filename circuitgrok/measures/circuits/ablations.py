"""Causal tests: loss and accuracy once a part of the last block has been replaced.

What a measure calls the circuit is only a circuit if the answer needs it. An ablation puts something else in the
place of one part, at the last position, and lets what stands behind it run: zero, or the part's mean over all p^2
pairs, which keeps what the part says to every pair alike. Each is a function of a network's last block
(`parts.last_block`) and returns logits by what stands in the part's place; `ablations` names them all.

A cluster of neurons is judged beside random sets of neurons of the same size (`control_scores`): any large set hurts.

Source: Nanda et al. 2023 (arXiv:2301.05217), section 4.4, for frequencies and for what the neurons write of them.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.parts.last_block import LastBlock, mixed_values, stacked
from circuitgrok.measures.parts.neurons import in_cluster, polynomial_neurons
from circuitgrok.measures.spectra.sum_waves import check_freqs, pair_sums, wave_tables

Replaced = dict[str, Tensor]  # logits [pair c] of the p numbers, in float64, by what stands in the part's place
Ablation = Callable[[LastBlock], Replaced]
FILLS: dict[str, Callable[[Tensor], Tensor]] = {
    "zero": lambda part: torch.zeros_like(part[:1]),
    "mean": lambda part: part.mean(0, keepdim=True),
}


def without_head(block: LastBlock, head: int) -> Replaced:
    """Logits without one head's mixed values z; b_O stays."""
    z, W_O = block.z[:, head], block["attn.W_O"][head]
    return {by: block.after_attention(fill(z) - z, W_O) for by, fill in FILLS.items()}


def without_attention(block: LastBlock) -> Replaced:
    """Logits without the whole attention output, b_O included."""
    out = block.resid_mid - block.resid_pre
    every = torch.eye(out.shape[1], dtype=out.dtype, device=out.device)
    return {by: block.after_attention(fill(out) - out, every) for by, fill in FILLS.items()}


def without_pattern(block: LastBlock) -> Replaced:
    """Logits if all heads' attention patterns are the same for all pairs: their mean, or uniform over positions.

    Uniform attention pays in sum what the pattern does, which is 1 for a softmax.
    """
    patterns = {"uniform": block.pattern.mean(1, keepdim=True).expand_as(block.pattern)}
    patterns["mean"] = FILLS["mean"](block.pattern)
    W_O = block["attn.W_O"].flatten(0, 1)
    return {
        by: block.after_attention((mixed_values(new, block.values) - block.z).flatten(1), W_O)
        for by, new in patterns.items()
    }


def without_neurons(block: LastBlock, where: Bool[Tensor, " neuron"]) -> Replaced:
    """Logits without a set of neurons; an empty set changes nothing."""
    mine = where.nonzero().flatten()
    written = block.post[:, mine] @ block.W_write[mine]
    return _filled(block, block.skip + block.mlp - written, written)


def without_mlp(block: LastBlock) -> Replaced:
    """Logits without the MLP's output, b_out included."""
    return _filled(block, block.skip, block.mlp)


def without_skip(block: LastBlock) -> Replaced:
    """Logits if the residual stream passes through the MLP only: the neurons see it, the unembedding does not."""
    return _filled(block, block.mlp, block.skip)


def without_sum_waves(block: LastBlock, freqs: Int[Tensor, " freq"]) -> Replaced:
    """Logits if each neuron is cleared of the sum waves cos, sin w_k (a + b) of some frequencies.

    These have no mean over the pairs, so that there is one ablation. Excluded loss takes the same waves out of the
    logits, where those that came around the MLP go too.
    """
    return {"zero": block.read(block.skip + block.mlp - _sum_waves(block, freqs))}


def sum_waves_alone(block: LastBlock, freqs: Int[Tensor, " freq"]) -> Replaced:
    """Logits if all of each neuron but the sum waves of some frequencies is replaced by its mean."""
    return {"mean": block.read(block.skip + FILLS["mean"](block.mlp) + _sum_waves(block, freqs))}


def clusters_as_polynomials(block: LastBlock, key_freqs: Int[Tensor, " freq"]) -> Replaced:
    """Logits if each neuron of a key frequency's cluster is replaced by its polynomial, `polynomial_neurons`."""
    cluster = key_clusters(block, key_freqs)
    mine = cluster.nonzero().flatten()
    post = block.post[:, mine]
    change = polynomial_neurons(post, cluster[mine]).to(post.dtype) - post
    return {"polynomial": block.read(block.skip + block.mlp + change @ block.W_write[mine])}


def key_clusters(block: LastBlock, key_freqs: Int[Tensor, " freq"]) -> Int[Tensor, " neuron"]:
    """The key frequency in whose cluster (`neurons.in_cluster`) each neuron is; 0 for none."""
    freq = block.tuned.freq
    return torch.where(in_cluster(block.tuned) & torch.isin(freq, key_freqs.to(freq.device)), freq, 0)


def ablations(block: LastBlock, key_freqs: Int[Tensor, " freq"]) -> dict[str, Ablation]:
    """The ablations of a network, by name; names depend on its shape and the key frequencies alone.

    `head 0`, ...; `attention`, its whole output; `pattern`, who attends where; `cluster 5`, ... the neurons of a key
    frequency, `no cluster`, the others, and `clusters`, all of them, as polynomials; `waves 5`, ... the sum waves of a
    key frequency, `key waves` those of all, `other waves` everything else that varies; `mlp`; `skip`, the stream
    around it.

    Args:
        block: The network, over all pairs.
        key_freqs: Distinct integers in 1..p // 2, of the whole run; clusters are the network's own.

    Returns:
        Functions of the last block.

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> from circuitgrok.measures.parts.last_block import last_block
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16)
        >>> params = model.init(torch.Generator().manual_seed(0))
        >>> block = last_block(params, model, modular_addition(p=5).inputs)
        >>> table = ablations(block, torch.tensor([2]))
        >>> list(table)[:4], list(table["head 0"](block))
        (['head 0', 'attention', 'pattern', 'cluster 2'], ['zero', 'mean'])
    """
    check_freqs(key_freqs, len(block.mlp_sums))
    table: dict[str, Ablation] = {f"head {i}": partial(without_head, head=i) for i in range(block.model.n_heads)}
    table |= {"attention": without_attention, "pattern": without_pattern}
    table |= {
        name: partial(without_neurons, where=where)
        for name, where in _sets(key_clusters(block, key_freqs), key_freqs).items()
    }
    table["clusters"] = partial(clusters_as_polynomials, key_freqs=key_freqs)
    table |= {f"waves {k}": partial(without_sum_waves, freqs=key_freqs[key_freqs == k]) for k in key_freqs.tolist()}
    table["key waves"] = partial(without_sum_waves, freqs=key_freqs)
    table["other waves"] = partial(sum_waves_alone, freqs=key_freqs)
    return table | {"mlp": without_mlp, "skip": without_skip}


class Scores(NamedTuple):
    """How well a network answers on each split, in the order of `splits`; nan for a split without pairs.

    Attributes:
        loss: Mean cross-entropy over the p numbers, in nats, from a float64 log-softmax.
        accuracy: Share of right answers, 0..1.
    """

    loss: Float[Tensor, "*stack split"]
    accuracy: Float[Tensor, "*stack split"]


def ablation_scores(
    block: LastBlock, labels: Int[Tensor, " pair"], where: Bool[Tensor, "split pair"], key_freqs: Int[Tensor, " freq"]
) -> dict[str, Scores]:
    """Loss and accuracy under every ablation of `ablations`, on each split.

    Args:
        block: The network, over all pairs.
        labels: The right class of each pair.
        where: The pairs of each split; `Task.where` knows some by name.
        key_freqs: Distinct integers in 1..p // 2, found once and held along the run.

    Returns:
        By the ablation and what stands in the part's place: `head 0, zero`, `pattern, uniform`, ...

    Raises:
        ValueError: A frequency is out of range or repeated.

    Example:
        >>> from circuitgrok.measures.parts.last_block import last_block
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16), modular_addition(p=5)
        >>> block = last_block(model.init(torch.Generator().manual_seed(0)), model, task.inputs)
        >>> where = torch.stack([task.where("train"), task.where("test")])
        >>> ablation_scores(block, task.labels, where, torch.tensor([1]))["mlp, mean"].loss.shape
        torch.Size([2])
    """
    return _scores(block, ablations(block, key_freqs), labels, where)


class ControlScores(NamedTuple):
    """What a network answers without random neurons, on each split, over the draws.

    Attributes:
        loss: Mean over the draws.
        loss_std: Standard deviation over the draws, with n - 1: of one draw, not of their mean.
        accuracy: Mean over the draws.
        accuracy_std: Standard deviation over the draws.
    """

    loss: Float[Tensor, "*stack split"]
    loss_std: Float[Tensor, "*stack split"]
    accuracy: Float[Tensor, "*stack split"]
    accuracy_std: Float[Tensor, "*stack split"]


def control_scores(
    block: LastBlock,
    labels: Int[Tensor, " pair"],
    where: Bool[Tensor, "split pair"],
    key_freqs: Int[Tensor, " freq"],
    *,
    seed: int,
    n_draws: int = 4,
) -> dict[str, ControlScores]:
    """Loss and accuracy without as many neurons as a cluster has, drawn at random, for each cluster.

    A draw deals all neurons anew to clusters of the network's sizes. Equal seeds deal alike in every network.

    Args:
        block: As for `ablation_scores`.
        labels: As for `ablation_scores`.
        where: As for `ablation_scores`.
        key_freqs: As for `ablation_scores`.
        seed: Of the draws.
        n_draws: How many, 2 or more.

    Returns:
        `random as cluster 5, zero`, ..., `random as no cluster, mean`.

    Raises:
        ValueError: Fewer than two draws, or a frequency is out of range or repeated.

    Example:
        >>> from circuitgrok.measures.parts.last_block import last_block
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16), modular_addition(p=5)
        >>> block = last_block(model.init(torch.Generator().manual_seed(0)), model, task.inputs)
        >>> test = task.where("test")[None]
        >>> list(control_scores(block, task.labels, test, torch.tensor([1]), seed=0))[:2]
        ['random as cluster 1, zero', 'random as cluster 1, mean']
    """
    if n_draws < 2:
        raise ValueError(f"a spread takes n_draws of 2 or more; got {n_draws}")
    check_freqs(key_freqs, len(block.mlp_sums))
    cluster, generator = key_clusters(block, key_freqs), torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(n_draws):
        dealt = cluster[torch.randperm(len(cluster), generator=generator).to(cluster.device)]
        table = {
            f"random as {name}": partial(without_neurons, where=where)
            for name, where in _sets(dealt, key_freqs).items()
        }
        draws.append(_scores(block, table, labels, where))
    return {
        name: ControlScores(loss.mean(0), loss.std(0), accuracy.mean(0), accuracy.std(0))
        for name, (loss, accuracy) in stacked(draws).items()
    }


def _filled(block: LastBlock, rest: Tensor, part: Tensor) -> Replaced:
    """Logits of what is written, rest + part, with the part replaced."""
    return {by: block.read(rest + fill(part)) for by, fill in FILLS.items()}


def _sum_waves(block: LastBlock, freqs: Int[Tensor, " freq"]) -> Float[Tensor, "pair out"]:
    """What the neurons write of their sum waves of some frequencies: the same waves of all they write."""
    table = wave_tables(block.mlp_sums, freqs).sum(-3)
    return table.to(block.mlp.dtype)[pair_sums(table.mT)]


def _sets(cluster: Int[Tensor, " neuron"], key_freqs: Int[Tensor, " freq"]) -> dict[str, Tensor]:
    """Masks of neurons: the cluster of each key frequency, and the rest."""
    return {f"cluster {k}": cluster == k for k in key_freqs.tolist()} | {"no cluster": cluster == 0}


def _scores(block: LastBlock, table: dict[str, Ablation], labels: Tensor, where: Tensor) -> dict[str, Scores]:
    of_pair = {}
    for part, ablation in table.items():
        for by, logits in ablation(block).items():
            loss, right = cross_entropy(logits, labels), logits.argmax(-1) == labels
            of_pair[f"{part}, {by}"] = torch.stack([loss, right.double()])
    values = torch.stack(list(of_pair.values()))
    means = torch.stack([values[..., split].mean(-1) for split in where], dim=-1)
    return {name: Scores(*both) for name, both in zip(of_pair, means, strict=True)}
