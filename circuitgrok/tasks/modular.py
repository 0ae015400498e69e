"""Operations modulo p: every pair (a, b), its label, and a seeded split that carries its own hash.

All pairs of an operation's domain are always there, row by row, because Fourier measures need the complete
grid whatever split a loss is taken on. The domain of addition and subtraction is all p^2 pairs, in the
order a * p + b. Multiplication and division are those of the group of nonzero residues: p is prime, a and b
run over 1..p - 1, so that there are (p - 1)^2 pairs, in the order (a - 1) * (p - 1) + (b - 1), and class 0
is never right. `tasks.operations` shows how each is addition in disguise. The quadratic form a^2 + a b + b^2
and a b^2 are defined on all p^2 pairs for any p, and are no addition in any disguise.

Everything is drawn once from a stored seed and never again: the split by a named rule (`tasks.splits`), random
labels, and which training labels are replaced by a wrong one. In operations that commute (add, multiply,
quadratic) a test pair (a, b) whose mirror (b, a) is in the training set is easier than one whose mirror is not,
because both have one label; `mirror_seen` keeps the two apart, and the split `mirror_free` leaves none seen.

Source: Power et al. 2022 (arXiv:2201.02177), who divide with a = 0 too, p (p - 1) pairs, where the group
has none; Nanda et al. 2023 (arXiv:2301.05217), authors' code, for the quadratic form; Zhang et al. 2017
(arXiv:1611.03530) for corrupted and random labels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Int
from pydantic import Field, model_validator
from torch import Tensor

from circuitgrok.tasks.examples import digest
from circuitgrok.tasks.splits import SplitPairs, SplitRule, training_mask

Operation = Literal["add", "subtract", "multiply", "divide", "random", "quadratic", "times_square"]


@dataclass(frozen=True, repr=False)
class Task:
    """One task, drawn and fixed.

    Attributes:
        p: The modulus.
        inputs: Tokens (a, b, '='), one row per pair of the domain, row by row; '=' is token p.
        labels: What is to be answered: (a + b) mod p, or the like; wrong where it has been corrupted.
        is_train: Which pairs are trained on; the others are the test set.
        split_hash: First 16 hex digits of the SHA-256 of `is_train`: equal hashes, equal splits.
        operation: What is done to a and b.

    Example:
        >>> task = modular_addition(p=29, frac_train=0.5)
        >>> task.n_train, task.inputs.shape, task.inputs[30].tolist(), task.labels[30].item()
        (420, torch.Size([841, 3]), [1, 1, 29], 2)
    """

    p: int
    inputs: Int[Tensor, "pair 3"]
    labels: Int[Tensor, " pair"]
    is_train: Bool[Tensor, " pair"]
    split_hash: str
    operation: Operation = "add"

    def __repr__(self) -> str:
        pairs = f"{len(self.labels)} pairs, {self.n_train} of them trained on"
        return f"Task({FORMULAS[self.operation]} modulo {self.p}: {pairs}, split {self.split_hash})"

    @cached_property
    def true_labels(self) -> Int[Tensor, " pair"]:
        """What the operation gives for each pair, before any corruption; random labels are true as they are."""
        if self.operation == "random":
            return self.labels
        return ANSWERS[self.operation](self.inputs[:, 0], self.inputs[:, 1], self.p)

    @cached_property
    def is_corrupted(self) -> Bool[Tensor, " pair"]:
        """Which labels are wrong; only training pairs are."""
        return self.labels != self.true_labels

    @cached_property
    def mirror_seen(self) -> Bool[Tensor, " pair"]:
        """Whether (b, a) is in the training set; for a = b this is whether the pair itself is."""
        side = len(operands(self.operation, self.p))
        return self.is_train.view(side, side).T.reshape(-1)

    @property
    def n_train(self) -> int:
        """Number of training pairs."""
        return int(self.is_train.sum())

    def where(self, split: str) -> Bool[Tensor, " pair"]:
        """The pairs of a named split.

        Those are train, test, all, test_mirror_seen, test_mirror_unseen, train_clean and train_corrupted.
        """
        masks = {
            "train": self.is_train,
            "test": ~self.is_train,
            "all": torch.ones_like(self.is_train),
            "test_mirror_seen": ~self.is_train & self.mirror_seen,
            "test_mirror_unseen": ~self.is_train & ~self.mirror_seen,
            "train_clean": self.is_train & ~self.is_corrupted,
            "train_corrupted": self.is_train & self.is_corrupted,
        }
        if split not in masks:
            raise ValueError(f"split must be one of {', '.join(masks)}; got {split!r}")
        return masks[split]


def operands(operation: Operation, p: int) -> range:
    """The numbers that a and b run over: 1..p - 1 if they are multiplied or divided, else 0..p - 1."""
    return range(1 if operation in ("multiply", "divide") else 0, p)


def _divide(a: Tensor, b: Tensor, p: int) -> Tensor:
    inverses = torch.tensor([0, *(pow(x, -1, p) for x in range(1, p))], device=b.device)
    return a * inverses[b] % p


ANSWERS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "add": lambda a, b, p: (a + b) % p,
    "subtract": lambda a, b, p: (a - b) % p,
    "multiply": lambda a, b, p: a * b % p,
    "divide": _divide,
    "quadratic": lambda a, b, p: (a * a + a * b + b * b) % p,
    "times_square": lambda a, b, p: a * (b * b % p) % p,
}


COMMUTING: tuple[Operation, ...] = ("add", "multiply", "quadratic")
FORMULAS: dict[Operation, str] = {
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a * b",
    "divide": "a / b",
    "random": "random labels",
    "quadratic": "a^2 + a b + b^2",
    "times_square": "a b^2",
}


class ModularAddition(SplitPairs, frozen=True):
    """The task (a + b) mod p in a config, or another operation on its tokens: `draw()` draws it."""

    kind: Literal["modular_addition"] = "modular_addition"
    p: int = Field(default=113, ge=3, le=2**20, description="modulus, from 3; prime for multiply and divide")
    operation: Operation = Field(
        default="add",
        description="what is done to a and b; random: labels without rule; quadratic: a^2 + a b + b^2; "
        "times_square: a b^2",
    )
    corrupted: float = Field(default=0.0, ge=0, le=1, description="share of the training pairs with a wrong label")
    label_seed: int = Field(default=0, ge=0, lt=2**63, description="seed of random and of corrupted labels")

    @property
    def n_pairs(self) -> int:
        """Number of pairs of the domain: p^2, or (p - 1)^2 if they are multiplied or divided."""
        return len(operands(self.operation, self.p)) ** 2

    @property
    def n_classes(self) -> int:
        """Number of classes: p, even where some are never right."""
        return self.p

    @property
    def n_corrupted(self) -> int:
        """Number of training pairs with a wrong label: the share, rounded."""
        return round(self.corrupted * self.n_train)

    @model_validator(mode="after")
    def _group_is_there(self) -> "ModularAddition":
        if self.operation in ("multiply", "divide") and any(self.p % d == 0 for d in range(2, math.isqrt(self.p) + 1)):
            raise ValueError(
                f"p must be prime to {self.operation}: else some numbers from 1 to p - 1 have no inverse; got {self.p}"
            )
        return self

    @model_validator(mode="after")
    def _mirrors_share_a_label(self) -> "ModularAddition":
        if self.split == "mirror_free" and self.operation not in (*COMMUTING, "random"):
            raise ValueError(
                f"split mirror_free is for operations that commute, {', '.join(COMMUTING)} (and random, to compare): "
                f"elsewhere (b, a) does not give the answer of (a, b) away; got {self.operation}: use nanda or randperm"
            )
        return self

    @model_validator(mode="after")
    def _something_is_corrupted(self) -> "ModularAddition":
        if self.corrupted and self.operation == "random":
            raise ValueError(f"corrupted must be 0 for random labels, which have no wrong ones; got {self.corrupted}")
        if self.corrupted and not self.n_corrupted:
            raise ValueError(
                f"corrupted must be 0 or reach one pair: {self.corrupted} of {self.n_train} training pairs rounds to 0"
            )
        return self

    @property
    def formula(self) -> str:
        """The task in a line, such as a + b mod 113, for titles and tables.

        >>> ModularAddition(p=7, operation="divide", corrupted=0.1).formula
        'a / b mod 7, 10% of the labels corrupted'
        """
        wrong = f", {self.corrupted:.0%} of the labels corrupted" if self.corrupted else ""
        return f"{FORMULAS[self.operation]} mod {self.p}{wrong}"

    def draw(self) -> Task:
        """The task, drawn once and kept."""
        return _drawn(self)


def modular_addition(p: int = 113, frac_train: float = 0.3, seed: int = 0, split: SplitRule = "nanda") -> Task:
    """All p^2 pairs of addition modulo p with a seeded split.

    Args:
        p: Modulus, at least 3.
        frac_train: Share of the pairs to train on, inside (0, 1).
        seed: Seed of the split.
        split: `nanda`, `randperm` or `mirror_free`, the rule that draws it.

    Raises:
        ValueError: A value out of range.

    Example:
        >>> task = modular_addition(p=5, frac_train=0.4, seed=0)
        >>> task.inputs.shape, task.labels[7].item(), task.n_train
        (torch.Size([25, 3]), 3, 10)
    """
    return ModularAddition(p=p, frac_train=frac_train, data_seed=seed, split=split).draw()


@lru_cache(maxsize=64)
def _drawn(config: ModularAddition) -> Task:
    p, operation = config.p, config.operation
    numbers = torch.tensor(operands(operation, p))
    a, b = (x.flatten() for x in torch.meshgrid(numbers, numbers, indexing="ij"))
    is_train = training_mask(config.split, config.n_pairs, config.frac_train, config.data_seed)
    generator = torch.Generator().manual_seed(config.label_seed)
    if operation == "random":
        labels = torch.randint(p, a.shape, generator=generator)
    else:
        true = ANSWERS[operation](a, b, p)
        labels = _corrupted(true, is_train, config.n_corrupted, operands(operation, p), generator)
    inputs = torch.stack([a, b, torch.full_like(a, p)], dim=1)
    return Task(p, inputs, labels, is_train, digest(is_train), operation)


def _corrupted(
    labels: Int[Tensor, " pair"], is_train: Bool[Tensor, " pair"], n: int, classes: range, generator: torch.Generator
) -> Int[Tensor, " pair"]:
    """The labels, n of the training pairs' replaced by any other class with equal probability.

    Both draws are for all training pairs, so that with one seed a smaller n replaces some of the same labels
    by the same ones.
    """
    train = is_train.nonzero().flatten()
    order = torch.randperm(len(train), generator=generator)
    shifts = torch.randint(1, len(classes), train.shape, generator=generator)
    chosen, new = train[order[:n]], labels.clone()
    new[chosen] = (labels[chosen] - classes.start + shifts[:n]) % len(classes) + classes.start
    return new
