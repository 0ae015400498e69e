"""Quadratic networks for modular addition with known answers: exact oracles for every measure of circuits.

A neuron with one frequency k, phases u and v and the output phase u + v,

    cos(w_k q + u + v) (cos(w_k a + u) + cos(w_k b + v))^2,    w_k = 2 pi k / p,

holds cos(w_k (a + b - q)) / 2 and other waves that depend on its phases. Over random phases the others average
out (`gromov_network`); over the nine pairs of phases in {0, 2 pi / 3, 4 pi / 3} they cancel exactly, and what
is left has the largest margin that any network of that norm can have (`max_margin_network`).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.models.mlp import QuadraticMLP
from circuitgrok.tree import Params


def gromov_network(p: int, n_neurons: int, generator: torch.Generator) -> Params:
    """A network that adds modulo p with all frequencies and random phases.

    Neuron i has frequency 1 + i mod (p - 1) / 2 and its own two phases, uniform in 0..2 pi. For p from 23 on
    5.6 p neurons are right on every pair; a smaller p needs more of them for each frequency.

    Args:
        p: Modulus, odd.
        n_neurons: Width.
        generator: Of the phases.

    Returns:
        Params of `QuadraticMLP(p, n_neurons)`, float64. All amplitudes are (2 / n_neurons)^(1/3), with which
        the answer's logit is 1 in the mean over all pairs, whatever the phases.

    Raises:
        ValueError: p is even or below 3, or n_neurons below 1.

    Example:
        >>> params = gromov_network(11, 80, torch.Generator().manual_seed(0))
        >>> logits = QuadraticMLP(p=11, n_neurons=80).logits(params, torch.tensor([[3, 9, 11], [5, 5, 11]]))
        >>> logits.argmax(-1)
        tensor([ 1, 10])

    Source: Gromov 2023 (arXiv:2301.02679), the analytic solution, with the amplitude for outputs that are
    not divided by powers of p and n_neurons.
    """
    _check_odd(p)
    if n_neurons < 1:
        raise ValueError(f"n_neurons must be at least 1; got {n_neurons}")
    freqs = 1 + torch.arange(n_neurons) % ((p - 1) // 2)
    phases = 2 * math.pi * torch.rand(2, n_neurons, generator=generator, dtype=torch.float64)
    amplitude = (2 / n_neurons) ** (1 / 3)
    return {name: amplitude * wave for name, wave in single_frequencies(p, freqs, phases).items()}


def max_margin_network(p: int) -> Params:
    """The network of largest margin at given L_{2,3} norm: each frequency with nine neurons.

    Args:
        p: Modulus, odd (the proof that nothing is larger is for primes).

    Returns:
        Params of `QuadraticMLP(p, 9 * (p - 1) / 2)`, float64, amplitudes 1. The logits are (9 / 2) times the
        sum of cos(w_k (a + b - q)) over all k, and every pair and every wrong class has the margin 9 p / 4.

    Raises:
        ValueError: p is even or below 3.

    Example:
        >>> round((normalized_margin(max_margin_network(7)) / max_margin(7)).item(), 12)
        1.0

    Source: Morwani et al. 2023 (arXiv:2311.07568), the construction for cyclic groups.
    """
    _check_odd(p)
    thirds = 2 * math.pi / 3 * torch.arange(3, dtype=torch.float64)
    nine = torch.cartesian_prod(thirds, thirds).T
    n_freqs = (p - 1) // 2
    return single_frequencies(p, torch.arange(1, n_freqs + 1).repeat_interleave(9), nine.repeat(1, n_freqs))


def max_margin(p: int) -> float:
    """The largest `normalized_margin` of any quadratic network for addition modulo p.

    It takes 4 (p - 1) neurons and all (p - 1) / 2 frequencies to reach it.

    Example:
        >>> round(max_margin(71), 6)
        0.000461

    Source: Morwani et al. 2023 (arXiv:2311.07568): sqrt(2 / 27) / (sqrt(p) (p - 1)), for primes.
    """
    _check_odd(p)
    return math.sqrt(2 / 27) / (math.sqrt(p) * (p - 1))


def normalized_margin(params: Params) -> Float[Tensor, "*stack"]:
    """Smallest margin of modular addition over all pairs, at L_{2,3} norm 1.

    The margin of a pair is the logit of (a + b) mod p less the largest other one. The network is homogeneous
    of degree 3, so that the smallest margin is divided by the cube of the norm.

    Args:
        params: Of a `QuadraticMLP`, or of a stack of them.

    Returns:
        At most `max_margin(p)`; positive if and only if accuracy is 1. In float64.

    Example:
        >>> wrong = {"blocks.0.mlp.W_in": torch.ones(6, 2), "unembed.W_U": torch.ones(2, 3)}
        >>> normalized_margin(wrong)
        tensor(0., dtype=torch.float64)

    Source: Morwani et al. 2023 (arXiv:2311.07568), section 3.
    """
    exact = {name: value.double() for name, value in params.items()}
    n_neurons, p = exact["unembed.W_U"].shape[-2:]
    numbers = torch.arange(p, device=exact["unembed.W_U"].device)
    pairs = torch.cartesian_prod(numbers, numbers)
    inputs = torch.nn.functional.pad(pairs, (0, 1), value=p)
    logits = QuadraticMLP(p=p, n_neurons=n_neurons).logits(exact, inputs)
    answers = (pairs.sum(1, keepdim=True) % p).expand(*logits.shape[:-1], 1)
    margins = logits.gather(-1, answers).squeeze(-1) - logits.scatter(-1, answers, -math.inf).amax(-1)
    return margins.amin(-1) / l23_norm(exact) ** 3


def l23_norm(params: Params) -> Float[Tensor, "*stack"]:
    """L_{2,3} norm of a quadratic network: the L3 norm over neurons of the length of all a neuron's weights.

    Args:
        params: Of a `QuadraticMLP`, or of a stack of them; a neuron's weights are its row of U, V and W.

    Returns:
        In float64.

    Example:
        >>> params = {"blocks.0.mlp.W_in": torch.ones(6, 8), "unembed.W_U": torch.ones(8, 3)}
        >>> round(l23_norm(params).item(), 12)  # (8 * 3^3)^(1/3)
        6.0
    """
    into = params["blocks.0.mlp.W_in"].double().square().sum(-2)
    out = params["unembed.W_U"].double().square().sum(-1)
    return (into + out).pow(1.5).sum(-1).pow(1 / 3)


def single_frequencies(p: int, freqs: Int[Tensor, " neuron"], phases: Float[Tensor, "2 neuron"]) -> Params:
    """Neurons of one frequency each, amplitude 1, with phases u and v and the output phase u + v.

    Example:
        >>> waves = single_frequencies(5, torch.tensor([1]), torch.zeros(2, 1).double())
        >>> waves["unembed.W_U"].round(decimals=2)
        tensor([[ 1.0000,  0.3100, -0.8100, -0.8100,  0.3100]], dtype=torch.float64)
    """
    turns = (torch.arange(p)[:, None] * freqs) % p  # whole numbers: large multiples of 2 pi cost no digits
    angles = 2 * math.pi * turns.double() / p
    of_a, of_b = ((angles + phase).cos() for phase in phases)
    return {"blocks.0.mlp.W_in": torch.cat([of_a, of_b]), "unembed.W_U": (angles + phases.sum(0)).cos().T.contiguous()}


def _check_odd(p: int) -> None:
    if p < 3 or p % 2 == 0:
        raise ValueError(f"p must be odd and at least 3, so that every frequency has a cosine and a sine; got {p}")
