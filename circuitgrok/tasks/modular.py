"""Addition modulo p: every pair (a, b), its label, and a seeded split that carries its own hash.

All p^2 pairs are always there, in the order a * p + b, because Fourier measures need the complete
grid whatever split a loss is taken on. A split is drawn once from a stored seed by a named rule and
never again. Addition commutes, so a test pair (a, b) whose mirror (b, a) is in the training set is
easier than one whose mirror is not; `mirror_seen` keeps the two apart.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

SplitRule = Literal["nanda", "randperm"]


@dataclass(frozen=True)
class Task:
    """One task, drawn and fixed.

    Attributes:
        p: The modulus.
        inputs: Tokens (a, b, '='), one row per pair in the order a * p + b; '=' is token p.
        labels: (a + b) mod p.
        is_train: Which pairs are trained on; the others are the test set.
        split_hash: First 16 hex digits of the SHA-256 of `is_train`: equal hashes, equal splits.
    """

    p: int
    inputs: Int[Tensor, "pair 3"]
    labels: Int[Tensor, " pair"]
    is_train: Bool[Tensor, " pair"]
    split_hash: str

    @cached_property
    def mirror_seen(self) -> Bool[Tensor, " pair"]:
        """Whether (b, a) is in the training set; for a = b this is whether the pair itself is."""
        return self.is_train.view(self.p, self.p).T.reshape(-1)

    @property
    def n_train(self) -> int:
        """Number of training pairs."""
        return int(self.is_train.sum())

    def where(self, split: str) -> Bool[Tensor, " pair"]:
        """The pairs of a named split: train, test, all, test_mirror_seen or test_mirror_unseen."""
        masks = {
            "train": self.is_train,
            "test": ~self.is_train,
            "all": torch.ones_like(self.is_train),
            "test_mirror_seen": ~self.is_train & self.mirror_seen,
            "test_mirror_unseen": ~self.is_train & ~self.mirror_seen,
        }
        if split not in masks:
            raise ValueError(f"split must be one of {', '.join(masks)}; got {split!r}")
        return masks[split]


def nanda_split(p: int, frac_train: float, seed: int) -> Bool[Tensor, " pair"]:
    """Training mask of the progress-measures code: Python's shuffle of all pairs, the first int(f p^2).

    Source: Nanda et al. 2023 (arXiv:2301.05217), authors' code: `random.seed(seed)`, shuffle the
    row-major list of pairs.
    """
    order = list(range(p * p))
    random.Random(seed).shuffle(order)
    return _mask(p, torch.tensor(order), frac_train)


def randperm_split(p: int, frac_train: float, seed: int) -> Bool[Tensor, " pair"]:
    """Training mask of the TransformerLens grokking demo: torch's randperm, the first int(f p^2)."""
    return _mask(p, torch.randperm(p * p, generator=torch.Generator().manual_seed(seed)), frac_train)


def _mask(p: int, order: Int[Tensor, " pair"], frac_train: float) -> Bool[Tensor, " pair"]:
    is_train = torch.zeros(p * p, dtype=torch.bool)
    is_train[order[: int(frac_train * p**2)]] = True
    return is_train


SPLITS: dict[SplitRule, Callable[[int, float, int], Tensor]] = {
    "nanda": nanda_split,
    "randperm": randperm_split,
}


class ModularAddition(BaseModel):
    """The task (a + b) mod p in a config: `task()` draws it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["modular_addition"] = "modular_addition"
    p: int = Field(default=113, ge=3, description="modulus; any integer from 3, prime or not")
    frac_train: float = Field(default=0.3, gt=0, lt=1, description="share of the p^2 pairs to train on")
    data_seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the train/test split")
    split: SplitRule = Field(default="nanda", description="rule that draws the split")

    @model_validator(mode="after")
    def _both_sides_have_a_pair(self) -> "ModularAddition":
        n_train = int(self.frac_train * self.p**2)
        if not 0 < n_train < self.p**2:
            raise ValueError(
                f"frac_train must leave at least one pair on each side of the split: "
                f"{self.frac_train} of {self.p**2} pairs is {n_train}"
            )
        return self

    def task(self) -> Task:
        """The task, drawn once and kept."""
        return _modular_addition(self.p, self.frac_train, self.data_seed, self.split)


def modular_addition(p: int = 113, frac_train: float = 0.3, seed: int = 0, split: SplitRule = "nanda") -> Task:
    """All p^2 pairs of addition modulo p with a seeded split.

    Args:
        p: Modulus, at least 3.
        frac_train: Share of the pairs to train on, inside (0, 1).
        seed: Seed of the split.
        split: `nanda` or `randperm`, the rule that draws it.

    Raises:
        ValueError: A value out of range.

    Example:
        >>> task = modular_addition(p=5, frac_train=0.4, seed=0)
        >>> task.inputs.shape, task.labels[7].item(), task.n_train
        (torch.Size([25, 3]), 3, 10)
    """
    return ModularAddition(p=p, frac_train=frac_train, data_seed=seed, split=split).task()


@lru_cache(maxsize=64)
def _modular_addition(p: int, frac_train: float, seed: int, split: SplitRule) -> Task:
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    inputs = torch.stack([a.flatten(), b.flatten(), torch.full((p * p,), p)], dim=1)
    is_train = SPLITS[split](p, frac_train, seed)
    digest = hashlib.sha256(bytes(is_train.tolist())).hexdigest()[:16]
    return Task(p, inputs, (a + b).flatten() % p, is_train, digest)
