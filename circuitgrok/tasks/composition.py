"""Composition in a finite group: every pair of elements, their product, and a seeded split.

Elements are tokens 0..n - 1 in the order of `tasks.finite_groups`, where 0 is the neutral one, and '=' is token n. All
n^2 pairs are there, in the order a * n + b, so that the label is the group's table read row by row. Unlike the
operations modulo p, a group need not commute: in S5 the pairs (a, b) and (b, a) mostly have different answers, and
seeing one says nothing of the other.

Source: Power et al. 2022 (arXiv:2201.02177) for composition in S5; Chughtai et al. 2023 (arXiv:2302.03025) for
symmetric, cyclic and dihedral groups, and for training on 0.4 of the pairs.
"""

import math
import re
from functools import lru_cache
from typing import Literal

import torch
from pydantic import Field, field_validator, model_validator

from circuitgrok.tasks.examples import Examples, digest
from circuitgrok.tasks.finite_groups import Group, cyclic_group, dihedral_group, symmetric_group
from circuitgrok.tasks.splits import SplitPairs, training_mask

FAMILIES = {"S": symmetric_group, "C": cyclic_group, "D": dihedral_group}
LARGEST = 1000  # elements; the table has their square


class Composition(SplitPairs, frozen=True):
    """The task a b in a finite group, in a config: `draw()` draws it."""

    kind: Literal["composition"] = "composition"
    group: str = Field(
        default="S5", description="S3..S6: permutations; C3, C4, ...: cyclic; D3, D4, ...: symmetries of a polygon"
    )
    frac_train: float = Field(default=0.4, gt=0, lt=1, description="share of the pairs to train on")

    @property
    def p(self) -> int:
        """Number of elements, and of tokens other than '='."""
        return _order(self.group)

    @property
    def n_classes(self) -> int:
        """Number of classes: every element is an answer."""
        return self.p

    @property
    def n_pairs(self) -> int:
        """Number of all pairs: n^2."""
        return self.p**2

    @field_validator("group")
    @classmethod
    def _group_is_known(cls, group: str) -> str:
        sizes = {"S": range(3, 7), "C": range(3, LARGEST + 1), "D": range(3, LARGEST // 2 + 1)}
        if not re.fullmatch("[SCD][1-9][0-9]{0,3}", group) or int(group[1:]) not in sizes[group[0]]:
            known = ", ".join(f"{family}{n[0]}..{family}{n[-1]}" for family, n in sizes.items())
            raise ValueError(f"group must be one of {known}: groups of 3..{LARGEST} elements; got {group!r}")
        return group

    @model_validator(mode="after")
    def _mirrors_share_a_label(self) -> "Composition":
        if self.split == "mirror_free" and not self.group.startswith("C"):
            raise ValueError(
                f"split mirror_free is for groups that commute, C3, C4, ...: elsewhere (b, a) does not give the answer "
                f"of (a, b) away; got {self.group}: use nanda or randperm"
            )
        return self

    @property
    def formula(self) -> str:
        """The task in a line, for titles and tables.

        >>> Composition(group="D4").formula
        'a b in D4'
        """
        return f"a b in {self.group}"

    def draw(self) -> Examples:
        """All pairs and their products, drawn once and kept.

        Example:
            >>> task = Composition(group="S3").draw()
            >>> task.inputs.shape, task.n_train
            (torch.Size([36, 3]), 14)
            >>> task.labels.view(6, 6)[1]  # 1 swaps the last two of three letters
            tensor([1, 0, 4, 5, 2, 3])
        """
        return _drawn(self)


def named_group(name: str) -> Group:
    """The group of a name such as S5, C113 or D8, with its irreps.

    Example:
        >>> named_group("D8").order
        16
    """
    return FAMILIES[name[0]](int(name[1:]))


def _order(name: str) -> int:
    family, n = name[0], int(name[1:])
    return math.factorial(n) if family == "S" else 2 * n if family == "D" else n


@lru_cache(maxsize=64)
def _drawn(config: Composition) -> Examples:
    n = config.p
    a, b = (x.flatten() for x in torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij"))
    is_train = training_mask(config.split, config.n_pairs, config.frac_train, config.data_seed)
    inputs = torch.stack([a, b, torch.full_like(a, n)], dim=1)
    return Examples(inputs, named_group(config.group).table.flatten(), is_train, digest(is_train))
