"""Which pairs are trained on: named, seeded rules, each a mask over all pairs of a square table, row by row.

A rule puts the pairs in an order that depends on the seed alone and takes the first of them. So at one seed a smaller
share is part of every larger one, and a network can go on with less than it was trained on and see nothing new:
that is how one asks whether it unlearns what it had grokked.

Where a b = b a, a test pair (a, b) whose mirror (b, a) is in the training set is no test: the answer has been seen.
`mirror_free` leaves no such pair. Both orders are on one side, a + b = b + a counted once, and pairs a = b are drawn
among themselves, so that the number of training pairs does not depend on the seed.

A split that no rule draws is listed pair by pair: its name is `listed:` and the digest of its mask. The mask itself is
not in a config. It is known in a process that was given the pairs (`listed_split`), or that opened a run whose folder
holds them.

Source: Nanda et al. 2023 (arXiv:2301.05217), authors' code, for `nanda`; Varma et al. 2023 (arXiv:2309.02390) for
training on after grokking with a smaller set.
"""

import math
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Int
from pydantic import BaseModel, Field, field_validator, model_validator
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.tasks.examples import digest

SplitRule = Literal["nanda", "randperm", "mirror_free"]
LISTED = "listed:"  # before the digest of a mask that no rule draws
_NAMED = r"^listed:[0-9a-f]{16}$"
_KNOWN: dict[str, Tensor] = {}  # masks of listed splits, by name


def nanda_split(n_pairs: int, frac_train: float, seed: int) -> Bool[Tensor, " pair"]:
    """Training mask of the progress-measures code: Python's shuffle of all pairs, the first int(f n).

    Source: Nanda et al. 2023 (arXiv:2301.05217), authors' code: `random.seed(seed)`, shuffle the
    row-major list of pairs.
    """
    return _mask(_shuffled(n_pairs, seed), frac_train)


def randperm_split(n_pairs: int, frac_train: float, seed: int) -> Bool[Tensor, " pair"]:
    """Training mask of the TransformerLens grokking demo: torch's randperm, the first int(f n)."""
    return _mask(_permuted(n_pairs, seed), frac_train)


def mirror_free_split(n_pairs: int, frac_train: float, seed: int) -> Bool[Tensor, " pair"]:
    """Training mask that holds (a, b) if and only if it holds (b, a).

    Args:
        n_pairs: m^2, all pairs of m numbers.
        frac_train: f, of the m pairs a = b, and of the m (m - 1) / 2 pairs of two numbers and their mirrors.
        seed: Of torch's randperm of the former, then of the latter.

    Returns:
        True at int(f m) pairs a = b and 2 int(f m (m - 1) / 2) others, whatever the seed.

    Example:
        >>> is_train = mirror_free_split(25, 0.4, seed=0).view(5, 5)
        >>> torch.equal(is_train, is_train.T), int(is_train.diagonal().sum()), int(is_train.sum())
        (True, 2, 10)
    """
    side, generator = math.isqrt(n_pairs), torch.Generator().manual_seed(seed)
    a, b = torch.triu_indices(side, side, offset=1)
    is_train = torch.zeros(n_pairs, dtype=torch.bool)
    for rows in (torch.arange(side)[None] * (side + 1), torch.stack([a * side + b, b * side + a])):
        order = torch.randperm(rows.shape[1], generator=generator)
        is_train[rows[:, order[: int(frac_train * len(order))]]] = True
    return is_train


def _shuffled(n_pairs: int, seed: int) -> Int[Tensor, " pair"]:
    order = list(range(n_pairs))
    random.Random(seed).shuffle(order)
    return torch.tensor(order)


def _permuted(n_pairs: int, seed: int) -> Int[Tensor, " pair"]:
    return torch.randperm(n_pairs, generator=torch.Generator().manual_seed(seed))


def _mask(order: Int[Tensor, " pair"], frac_train: float) -> Bool[Tensor, " pair"]:
    is_train = torch.zeros(len(order), dtype=torch.bool)
    is_train[order[: int(frac_train * len(order))]] = True
    return is_train


SPLITS: dict[str, Callable[[int, float, int], Tensor]] = {
    "nanda": nanda_split,
    "randperm": randperm_split,
    "mirror_free": mirror_free_split,
}

# The order of all pairs whose beginning is trained on, for the rules that have one.
ORDERS: dict[str, Callable[[int, int], Tensor]] = {"nanda": _shuffled, "randperm": _permuted}


def listed_split(is_train: Bool[Tensor, " pair"]) -> str:
    """The name of a split that is listed pair by pair, as the `split` of a task; from now on this process knows it.

    Args:
        is_train: The training pairs, row by row; at least one on each side.

    Raises:
        UserError: All pairs are on one side.

    Example:
        >>> listed_split(torch.tensor([True, False, True, True]))
        'listed:52a5c4a10657220c'
    """
    if bool(is_train.all()) or not bool(is_train.any()):
        raise UserError(f"a split must have a pair on each side; got {int(is_train.sum())} of {len(is_train)} to train")
    name = f"{LISTED}{digest(is_train.bool())}"
    _KNOWN.setdefault(name, is_train.bool().clone())
    return name


def training_mask(split: str, n_pairs: int, frac_train: float, seed: int) -> Bool[Tensor, " pair"]:
    """The training pairs of a split: drawn by its rule, or those that were listed.

    Raises:
        UserError: A listed split that this process does not know, or one of another number of pairs.
    """
    if not split.startswith(LISTED):
        return SPLITS[split](n_pairs, frac_train, seed)
    if split not in _KNOWN:
        raise UserError(
            f"the pairs of split {split} are not in the config: open the run that has them (cg.load), or give them by "
            "circuitgrok.tasks.splits.listed_split"
        )
    found = _KNOWN[split]
    if len(found) != n_pairs or int(found.sum()) != int(frac_train * n_pairs):
        raise UserError(
            f"split {split} has {int(found.sum())} of {len(found)} pairs to train on; the task has {n_pairs} pairs, "
            f"and frac_train {frac_train:g} of them is {int(frac_train * n_pairs)}"
        )
    return found


def packed(split: str) -> bytes:
    """The mask of a listed split as bytes, eight pairs in each: what lies in a run's folder.

    Raises:
        UserError: This process does not know it.
    """
    if split not in _KNOWN:
        raise UserError(f"the pairs of split {split} are not known here: open the run that has them")
    mask = _KNOWN[split]
    return len(mask).to_bytes(8, "little") + _bits(mask).tobytes()


def unpacked(content: bytes, split: str) -> None:
    """Take note of a listed split from its bytes.

    Raises:
        ValueError: They are not those of that split.

    Example:
        >>> name = listed_split(torch.arange(9) < 4)
        >>> unpacked(packed(name), name)
    """
    n = int.from_bytes(content[:8], "little")
    bits = torch.frombuffer(bytearray(content[8:] or b"\0"), dtype=torch.uint8)
    mask = ((bits[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1).flatten().bool()
    if len(content) != 8 + (n + 7) // 8 or listed_split(mask[:n]) != split:
        raise ValueError(f"does not hold the pairs of split {split}")


def _bits(mask: Bool[Tensor, " pair"]) -> Any:
    import numpy as np

    return np.packbits(mask.numpy(), bitorder="little")


def share_of(n_train: int, n_pairs: int) -> float:
    """The shortest share f with int(f n_pairs) = n_train.

    Example:
        >>> share_of(3830, 113**2)
        0.3
    """
    near = ((n_train + 0.5) / n_pairs, n_train / n_pairs)
    return next(f for d in range(1, 17) for x in near if int((f := round(x, d)) * n_pairs) == n_train)


def train_size(rule: str, n_pairs: int, frac_train: float) -> int:
    """Number of training pairs that a rule draws, the same for all seeds.

    Example:
        >>> train_size("nanda", 113**2, 0.3), train_size("mirror_free", 113**2, 0.3)
        (3830, 3829)
    """
    if rule != "mirror_free":
        return int(frac_train * n_pairs)
    side = math.isqrt(n_pairs)
    return int(frac_train * side) + 2 * int(frac_train * (side * (side - 1) // 2))


class SplitPairs(BaseModel, ABC, frozen=True, extra="forbid", allow_inf_nan=False):
    """What tasks on all pairs of a square table have in common: a rule that splits them, its share and its seed."""

    frac_train: float = Field(default=0.3, gt=0, lt=1, description="share of the pairs to train on")
    data_seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the train/test split")
    split: SplitRule | Annotated[str, Field(pattern=_NAMED)] = Field(
        default="nanda", description="rule that draws the split; mirror_free: (a, b) and (b, a) on one side"
    )

    @field_validator("split", mode="before")
    @classmethod
    def _rule_or_list(cls, given: Any) -> Any:
        if given not in SPLITS and not re.fullmatch(_NAMED, str(given)):
            raise ValueError(f"split: must be one of {', '.join(SPLITS)}; got {given!r}")
        return given

    @property
    @abstractmethod
    def n_pairs(self) -> int:
        """Number of all pairs."""

    @property
    def n_train(self) -> int:
        """Number of training pairs."""
        return train_size(self.split, self.n_pairs, self.frac_train)

    @property
    def n_features(self) -> None:
        """None: inputs are tokens."""
        return None

    @model_validator(mode="after")
    def _both_sides_have_a_pair(self) -> "SplitPairs":
        if not 0 < self.n_train < self.n_pairs:
            raise ValueError(
                f"frac_train must leave at least one pair on each side of the split: "
                f"{self.frac_train} of {self.n_pairs} pairs is {self.n_train}"
            )
        return self
