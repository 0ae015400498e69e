"""Planted circuits and slow twins, written from the definitions and from nothing in the package.

Everything is float64. The twins use loops and dense p^2 x p^2 matrices, so that p is small here.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import torch
from torch import Tensor


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def grid(p: int, axes: int) -> tuple[Tensor, ...]:
    """The coordinates of all points of Z_p^axes, each of shape [p, ..., p]."""
    return torch.meshgrid(*[torch.arange(p)] * axes, indexing="ij")


def wave(k: int, x: Tensor, p: int, phase: float = 0.0) -> Tensor:
    return torch.cos(2 * math.pi * k / p * x.double() + phase)


def labels_of(p: int) -> Tensor:
    a, b = grid(p, 2)
    return ((a + b) % p).flatten()


def other_labels(p: int, seed: int = 0) -> Tensor:
    """Labels that are not (a + b) mod p: nothing may take them for granted."""
    return torch.randint(p, (p * p,), generator=generator(seed))


def everywhere(p: int) -> Tensor:
    return torch.ones(p * p, dtype=torch.bool)


def planted_circuit(p: int, freqs: list[int], scale: float = 8.0) -> tuple[Tensor, Tensor]:
    """Logits scale * sum_k cos(w_k (a + b - c)) as [p^2, p], and the labels (a + b) mod p."""
    a, b, c = grid(p, 3)
    logits = scale * torch.stack([wave(k, a + b - c, p) for k in freqs]).sum(0)
    return logits.reshape(p * p, p), labels_of(p)


def planted_neurons(p: int, freqs: list[int]) -> Tensor:
    """One neuron per frequency: cos(w_k a + 0.3) + cos(w_k b - 0.4) + their product, as [p^2, neuron]."""
    a, b = grid(p, 2)
    pairs = [(wave(k, a, p, 0.3), wave(k, b, p, -0.4)) for k in freqs]
    return torch.stack([(of_a + of_b + of_a * of_b).flatten() for of_a, of_b in pairs], dim=1)


def sum_projector(p: int, freqs: list[int]) -> Tensor:
    """The dense [p^2, p^2] projection on cos(w_k (a + b)) and sin(w_k (a + b))."""
    a, b = grid(p, 2)
    projector = torch.zeros(p * p, p * p, dtype=torch.float64)
    for k, phase in itertools.product(freqs, (0.0, -math.pi / 2)):
        direction = wave(k, a + b, p, phase).flatten()
        if direction.norm() > 1e-6:  # the sine of k = p / 2 is zero everywhere
            direction = direction / direction.norm()
            projector += torch.outer(direction, direction)
    return projector


def block_projector(p: int, k: int) -> Tensor:
    """The dense [p^2, p^2] projection on the products of {1, cos, sin} of a and of b, less the constant."""
    a, b = grid(p, 2)
    functions = [[wave(0, x, p), wave(k, x, p), wave(k, x, p, -math.pi / 2)] for x in (a, b)]
    products = torch.stack([(f * g).flatten() for f, g in itertools.product(*functions)][1:], dim=1)
    left, size, _ = torch.linalg.svd(products, full_matrices=False)
    left = left[:, size > 1e-6]
    return left @ left.T


def slow_restricted_logits(logits: Tensor, freqs: list[int]) -> Tensor:
    return sum_projector(logits.shape[-1], freqs) @ logits + logits.mean(0)


def slow_excluded_logits(logits: Tensor, freqs: list[int]) -> Tensor:
    return logits - sum_projector(logits.shape[-1], freqs) @ logits


def slow_cross_entropy(logits: Tensor, labels: Tensor, where: Tensor) -> float:
    losses = []
    for row, label, picked in zip(logits.tolist(), labels.tolist(), where.tolist(), strict=True):
        if picked:
            losses.append(math.log(math.fsum(math.exp(z - row[label]) for z in row)))
    return math.fsum(losses) / len(losses)


def slow_restricted_loss(logits: Tensor, labels: Tensor, freqs: list[int], where: Tensor) -> float:
    return slow_cross_entropy(slow_restricted_logits(logits, freqs), labels, where)


def slow_excluded_loss(logits: Tensor, labels: Tensor, freqs: list[int], where: Tensor) -> float:
    return slow_cross_entropy(slow_excluded_logits(logits, freqs), labels, where)


def share_right(logits: Tensor, labels: Tensor, where: Tensor) -> float:
    """Accuracy: of equal logits the first one counts."""
    right = [
        row.index(max(row)) == label for row, label in zip(logits[where].tolist(), labels[where].tolist(), strict=True)
    ]
    return sum(right) / len(right)


def slow_margins(logits: Tensor, labels: Tensor) -> list[float]:
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    return [row[right] - max(z for c, z in enumerate(row) if c != right) for row, right in rows]


def slow_sum_table(logits: Tensor) -> Tensor:
    p = math.isqrt(len(logits))
    table = torch.zeros(p, logits.shape[1], dtype=torch.float64)
    for a, b in itertools.product(range(p), repeat=2):
        table[(a + b) % p] += logits[a * p + b] / p
    return table


def slow_cosine_fit(logits: Tensor) -> Tensor:
    """Coefficients of the cubes cos(w_k (a + b - c)), k = 1..p // 2, in a dense least-squares fit."""
    p = logits.shape[-1]
    a, b, c = grid(p, 3)
    cubes = torch.stack([wave(k, a + b - c, p).flatten() for k in range(p // 2 + 1)], dim=1)
    return torch.linalg.lstsq(cubes, logits.reshape(-1, 1)).solution[1:, 0]


def slow_frac_explained(logits: Tensor, freqs: list[int]) -> float:
    """1 - residual / variance for the fit by the cubes of `freqs` and a constant."""
    p = logits.shape[-1]
    a, b, c = grid(p, 3)
    cubes = torch.stack([wave(k, a + b - c, p).flatten() for k in [0, *freqs]], dim=1)
    fit = cubes @ torch.linalg.lstsq(cubes, logits.reshape(-1, 1)).solution
    residual = logits.reshape(-1, 1) - fit
    return 1 - (residual.square().sum() / (logits - logits.mean()).square().sum()).item()


def slow_power(table: Tensor) -> np.ndarray:
    """Energy of each frequency by numpy's FFT over the rows; k and p - k are one frequency."""
    p = len(table)
    energy = (np.abs(np.fft.fft(table.numpy(), axis=0)) ** 2).sum(axis=1) / p
    return np.array([energy[k] + (energy[p - k] if p - k != k else 0.0) for k in range(1, p // 2 + 1)])


def slow_gini(values: list[float]) -> float:
    n = len(values)
    return sum(abs(x - y) for x in values for y in values) / n**2 / (2 * sum(values) / n)


def slow_angle(u: Tensor, v: Tensor) -> float:
    """The arccosine of the normalised inner product, with 60 digits."""
    with mpmath.workdps(60):
        one, other = ([mpmath.mpf(x) for x in vector.flatten().tolist()] for vector in (u, v))
        cosine = mpmath.fdot(one, other) / mpmath.sqrt(mpmath.fdot(one, one) * mpmath.fdot(other, other))
        return float(mpmath.acos(cosine))


def dense_hessian(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """By one double backward for each row."""
    found = torch.autograd.functional.hessian(loss, at)
    assert isinstance(found, Tensor)
    return found


def lookup_table(p: int, frac_train: float = 0.3, scale: float = 100.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A planted memoriser, `[p^2, p]`, and which pairs are unseen: neither they nor their mirrors were trained on.

    Its logits are `scale` at the right class of a training pair, at a class drawn at random for all others, else 0.
    """
    draw = generator(seed)
    is_train = torch.zeros(p * p, dtype=torch.bool)
    is_train[torch.randperm(p * p, generator=draw)[: int(frac_train * p * p)]] = True
    says = torch.where(is_train, labels_of(p), torch.randint(p, (p * p,), generator=draw))
    logits = scale * torch.nn.functional.one_hot(says, p).double()
    return logits, ~is_train & ~is_train.view(p, p).T.flatten()


def same_on_stacks(measure: Callable[..., Any], *stacks: Tensor) -> None:
    """A measure of tables gives each of stacks `[2 2 ...]` what it gives it alone, by its own axes and by vmap."""

    def fields(found: Any) -> tuple[Tensor, ...]:
        return (found,) if isinstance(found, Tensor) else tuple(found)

    together, mapped = fields(measure(*stacks)), fields(torch.vmap(torch.vmap(measure))(*stacks))
    for i, j in itertools.product(range(2), range(2)):
        for alone, *both in zip(fields(measure(*(x[i, j] for x in stacks))), together, mapped, strict=True):
            for found in both:
                torch.testing.assert_close(found[i, j], alone, rtol=1e-12, atol=1e-12, equal_nan=True)


def four_errors(n: int) -> float:
    """As many standard errors, estimated from n independent numbers, as are exceeded as seldom as four known ones."""
    from scipy.stats import norm, t

    return float(t.isf(norm.sf(4), n - 1))
