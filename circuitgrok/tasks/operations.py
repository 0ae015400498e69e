"""How all four of + - * / modulo p are addition in disguise: the same table, its rows, columns and classes renamed.

The nonzero residues of a prime p are the powers g^0, ..., g^(p - 2) of a primitive root g. So

    g^i * g^j = g^(i + j),    g^i / g^-j = g^(i + j),    i - (-j) = i + j,

and multiplication and division are addition modulo m = p - 1, subtraction is addition modulo m = p. With
pairs, classes and tokens put in that order, everything that is measured on addition modulo m is measured
on them unchanged:

    hidden = as_addition(task)
    restricted_losses(logit_circuit(hidden.table(logits), key_freqs), hidden.labels)[:, task.is_train[hidden.pairs]]
    frequency_power(W_E[hidden.tokens])

Frequencies are then those of the discrete logarithm. Another primitive root permutes them, and changes
nothing else. The second operand of subtraction and division runs backwards, which turns the sign of a
phase and leaves every energy alone.

Random labels, a^2 + a b + b^2 and a b^2 are no group's table under any names, because classes repeat in a row: b and
-a - b have one quadratic form, b and -b one square. Their pairs stay in the order a * p + b, with frequencies those
of the numbers themselves, so that the same questions can be asked of a network without such a circuit.

Source: Nanda et al. 2023 (arXiv:2301.05217) for addition; Chughtai et al. 2023 (arXiv:2302.03025) for groups.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.tasks.modular import Task


@dataclass(frozen=True)
class Relabelled:
    """Where the rows, classes and tokens of a task stand in the table of addition modulo m.

    Attributes:
        m: Order of the hidden cyclic group: p, or p - 1 if numbers are multiplied or divided.
        pairs: Which of the task's pairs stands at i * m + j.
        classes: Which of the task's classes is k, the result of i + j = k mod m.
        tokens: Which of the task's numbers is i, as the first operand.
        labels: The task's labels as k, at i * m + j: (i + j) mod m, unless they are corrupted or no addition.
        true_labels: The same without corruption.
    """

    m: int
    pairs: Int[Tensor, " pair"]
    classes: Int[Tensor, " m"]
    tokens: Int[Tensor, " m"]
    labels: Int[Tensor, " pair"]
    true_labels: Int[Tensor, " pair"]

    def table(self, logits: Float[Tensor, "*stack pair c"]) -> Float[Tensor, "*stack pair m"]:
        """Logits in the order of addition modulo m; classes that are never right (0 of a product, '=') are left out."""
        return self.classed(logits[..., self.pairs, :])

    def classed(self, logits: Float[Tensor, "*stack pair c"]) -> Float[Tensor, "*stack pair m"]:
        """The classes that can be right, in the order of addition modulo m; a view where they are in order already."""
        in_order = bool((self.classes == torch.arange(self.m, device=self.classes.device)).all())
        return logits[..., : self.m] if in_order else logits[..., self.classes]


def as_addition(task: Task) -> Relabelled:
    """A task's table of pairs as the table of addition modulo m, m = p or p - 1.

    Random labels, a^2 + a b + b^2 and a b^2 have no hidden group; their pairs stay in the order of addition modulo
    p, so that the same questions can be asked of a network that has no such circuit to find.

    Returns:
        What to index the task's pairs, classes and numbers with. For addition itself, all in order.

    Example:
        >>> from circuitgrok.tasks.modular import ModularAddition
        >>> hidden = as_addition(ModularAddition(p=5, operation="multiply").draw())
        >>> hidden.m, hidden.tokens, hidden.labels.view(4, 4)[1]  # powers of 2; 2 * 2^j = 2^(1 + j)
        (4, tensor([1, 2, 4, 3]), tensor([1, 2, 3, 0]))
    """
    p, device = task.p, task.labels.device
    grouped = task.operation in ("multiply", "divide")
    names = (powers(primitive_root(p), p) if grouped else torch.arange(p)).to(device)
    m, first = len(names), int(grouped)
    backwards = task.operation in ("subtract", "divide")
    seconds = names[-torch.arange(m, device=device) % m] if backwards else names
    pairs = ((names[:, None] - first) * m + seconds - first).flatten()
    index = torch.zeros(p, dtype=torch.long, device=device)
    index[names] = torch.arange(m, device=device)
    return Relabelled(m, pairs, names, names, index[task.labels[pairs]], index[task.true_labels[pairs]])


def primitive_root(p: int) -> int:
    """The smallest g whose powers are all the nonzero residues of the prime p.

    Raises:
        ValueError: p is not prime.

    Example:
        >>> [primitive_root(p) for p in (3, 5, 7, 41, 113)]
        [2, 2, 3, 6, 3]
    """
    for g in range(1, p):
        if len(set(powers(g, p).tolist()) - {0}) == p - 1:
            return g
    raise ValueError(f"p must be prime: only then are all of 1..p - 1 powers of one number; got {p}")


def powers(g: int, p: int) -> Int[Tensor, " m"]:
    """g^0, g^1, ..., g^(p - 2) modulo p: the table whose inverse is the discrete logarithm.

    Example:
        >>> powers(3, 7)
        tensor([1, 3, 2, 6, 4, 5])
    """
    found = [1]
    while len(found) < p - 1:
        found.append(found[-1] * g % p)
    return torch.tensor(found)
