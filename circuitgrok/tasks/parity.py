"""Sparse parity: whether an odd number of the first k of n bits is set; the other bits mean nothing.

A bit is a feature +1 if it is clear and -1 if it is set, so that the label is (1 - x_1 x_2 ... x_k) / 2. Over all 2^n
inputs this product has no correlation with any other product of features: a network that looks at fewer than k of the
right bits sees nothing at all, while one that stores the training set need not know which bits count.

Source: Barak et al. 2022 (arXiv:2207.08799) for the task; Merrill, Tsilivis, Shukla 2023 (arXiv:2303.11873) for
n = 40, k = 3 and 1000 training examples, where the few neurons that come to generalise are those whose norms grow.
"""

import random
from functools import lru_cache
from typing import Literal

import torch
from pydantic import BaseModel, Field, model_validator

from circuitgrok.tasks.examples import Examples, joined


class SparseParity(BaseModel, frozen=True, extra="forbid"):
    """The parity of k of n bits, in a config: `draw()` draws it. No input is drawn twice, on either side."""

    kind: Literal["sparse_parity"] = "sparse_parity"
    n_bits: int = Field(default=40, ge=1, le=2**16, description="number of bits of an input")
    k: int = Field(default=3, ge=1, description="number of bits that count: the first")
    n_train: int = Field(default=1000, ge=1, description="number of training examples")
    n_test: int = Field(default=1000, ge=1, description="number of test examples")
    data_seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the inputs")

    @property
    def p(self) -> None:
        """None: inputs are features."""
        return None

    @property
    def n_classes(self) -> int:
        """Number of classes: even and odd."""
        return 2

    @property
    def n_features(self) -> int:
        """Number of features of an input."""
        return self.n_bits

    @property
    def n_pairs(self) -> int:
        """Number of all examples."""
        return self.n_train + self.n_test

    @model_validator(mode="after")
    def _bits_are_there(self) -> "SparseParity":
        if self.k > self.n_bits:
            raise ValueError(f"k must be at most n_bits, of which it is a part; got {self.k} of {self.n_bits} bits")
        if self.n_pairs > 2**self.n_bits:
            raise ValueError(
                f"n_train + n_test must be at most 2^n_bits, because no input is drawn twice: got {self.n_train} + "
                f"{self.n_test} of {2**self.n_bits} inputs; take fewer, or more bits"
            )
        return self

    @property
    def formula(self) -> str:
        """The task in a line, for titles and tables.

        >>> SparseParity().formula
        'parity of 3 of 40 bits'
        """
        return f"parity of {self.k} of {self.n_bits} bits"

    def draw(self) -> Examples:
        """All examples, drawn once and kept.

        Example:
            >>> task = SparseParity(n_bits=2, k=2, n_train=3, n_test=1).draw()
            >>> torch.equal(task.labels, (task.inputs.prod(1) < 0).long()), task.n_train
            (True, 3)
        """
        return _drawn(self)


@lru_cache(maxsize=64)
def _drawn(config: SparseParity) -> Examples:
    stream, drawn = random.Random(config.data_seed), {}
    while len(drawn) < config.n_pairs:  # a dict keeps the order, and one of each
        drawn[stream.getrandbits(config.n_bits)] = None
    bits = torch.tensor([[code >> i & 1 for i in range(config.n_bits)] for code in drawn])
    labels = bits[:, : config.k].sum(1) % 2
    features, n_test = 1.0 - 2 * bits.double(), config.n_test
    return joined((features[n_test:], labels[n_test:]), (features[:n_test], labels[:n_test]))
