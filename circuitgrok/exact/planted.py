"""A quadratic network with planted parts: circuits of known frequencies, looked-up pairs, decoys.

What is said to find circuits can be held against it. Neurons of a frequency are those of the network of largest margin
(`analytic.max_margin_network`), nine for each, or several nines whose phases are turned at random, u by s, v by t and
the output's by s + t, which leaves the sum as it is. A looked-up pair (a, b) has three neurons, which together add

    (U + V)^2 - U^2 - V^2 = 2 U V,      U = 1 at a, V = 1 at b,

to the logit of its label, and nothing to any other pair. Decoys read with large weights and write nothing.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from circuitgrok.exact.analytic import single_frequencies
from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.tree import Params


class Planted(NamedTuple):
    """A network and what was planted.

    Attributes:
        model: Its shape.
        params: Its weights, float64.
        group: Of each neuron: a frequency k; -1 - i for the i-th looked-up pair; 0 for decoys.
    """

    model: QuadraticMLP
    params: Params
    group: Int[Tensor, " neuron"]


def planted_network(
    p: int,
    freqs: Sequence[int],
    looked_up: Sequence[tuple[int, int, int]] = (),
    n_decoys: int = 0,
    *,
    nines: int = 1,
    circuit: float = 1.0,
    memory: float = 1.0,
    seed: int = 0,
) -> Planted:
    """A network of which every neuron's part is known, its neurons in random order.

    Args:
        p: Modulus, odd.
        freqs: Frequencies of the circuit, 1..(p - 1) / 2.
        looked_up: Pairs a, b and the label that is added for them.
        n_decoys: Neurons that read random weights of three times the size of the others and write none.
        nines: How many times nine neurons each frequency has.
        circuit: Logit that each frequency adds to the right answer, in the scale of cos(w_k (a + b - c)).
        memory: Logit that is added to a looked-up pair's label.
        seed: Of the decoys and of the order.

    Raises:
        ValueError: A frequency or a token that there is not.

    Example:
        >>> network = planted_network(7, [1, 3], [(2, 2, 6)], n_decoys=2, memory=20.0)
        >>> network.group.sort().values.tolist()[:6], len(network.group)
        ([-1, -1, -1, 0, 0, 1], 23)
        >>> network.model.logits(network.params, torch.tensor([[2, 3, 7], [2, 2, 7]])).argmax(-1)
        tensor([5, 6])
    """
    if not all(1 <= k <= (p - 1) // 2 for k in freqs):
        raise ValueError(f"frequencies must be in 1..{(p - 1) // 2}; got {list(freqs)}")
    if not all(0 <= token < p for pair in looked_up for token in pair):
        raise ValueError(f"looked-up pairs and labels must be in 0..{p - 1}; got {list(looked_up)}")
    draws = torch.Generator().manual_seed(seed)
    thirds = 2 * math.pi / 3 * torch.arange(3, dtype=torch.float64)
    own = torch.tensor(list(freqs), dtype=torch.long).repeat_interleave(9 * nines)
    turns = 2 * math.pi * torch.rand(2, len(freqs) * nines, generator=draws, dtype=torch.float64) * (nines > 1)
    phases = torch.cartesian_prod(thirds, thirds).T.repeat(1, len(freqs) * nines) + turns.repeat_interleave(9, 1)
    waves = single_frequencies(p, own, phases)
    size = (circuit / (4.5 * nines)) ** (1 / 3)
    reads = [size * waves["blocks.0.mlp.W_in"]]
    writes = [size * waves["unembed.W_U"]]
    groups = [own]
    for i, (a, b, label) in enumerate(looked_up):
        U, V = torch.zeros(2 * p).double(), torch.zeros(2 * p).double()
        U[a], V[p + b] = 1.0, 1.0
        reads.append(torch.stack([U + V, U, V], dim=1))
        write = torch.zeros(3, p).double()
        write[:, label] = memory / 2 * torch.tensor([1.0, -1.0, -1.0]).double()
        writes.append(write)
        groups.append(torch.full((3,), -1 - i))
    loud = 3 * reads[0].square().mean().sqrt() if len(freqs) else 1.0
    reads.append(loud * torch.randn(2 * p, n_decoys, generator=draws, dtype=torch.float64))
    writes.append(torch.zeros(n_decoys, p).double())
    groups.append(torch.zeros(n_decoys, dtype=torch.long))
    order = torch.randperm(sum(map(len, groups)), generator=draws)
    params = {"blocks.0.mlp.W_in": torch.cat(reads, 1)[:, order], "unembed.W_U": torch.cat(writes)[order]}
    return Planted(QuadraticMLP(p=p, n_neurons=len(order)), params, torch.cat(groups)[order])
