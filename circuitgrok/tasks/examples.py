"""Examples with their labels and a split: what tasks draw that are not an operation modulo p.

Training examples that are drawn one by one come before the test examples. The order in which a task draws them is such
that at one seed the test set does not depend on how many there are to train on, and a smaller training set is part of
every larger one: what differs between two sizes is the size.

Features are float64 whatever the network's dtype, so that both precisions see the same numbers, one of them rounded.
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Labelled = tuple[Tensor, Tensor]  # inputs [pair k] and their labels [pair] or [pair c]


@dataclass(frozen=True, repr=False)
class Examples:
    """One task, drawn and fixed.

    Attributes:
        inputs: One example a row: tokens (a, b, '='), or float64 features.
        labels: What is to be answered: a class, or in a regression float64 values.
        is_train: Which examples are trained on; the others are the test set.
        split_hash: First 16 hex digits of a SHA-256: equal hashes, equal examples on equal sides.
    """

    inputs: Int[Tensor, "pair k"] | Float[Tensor, "pair k"]
    labels: Int[Tensor, " pair"] | Float[Tensor, "pair c"]
    is_train: Bool[Tensor, " pair"]
    split_hash: str

    def __repr__(self) -> str:
        inputs = " × ".join(map(str, self.inputs.shape[1:]))
        examples = f"{len(self.labels)} of {inputs} inputs, {self.n_train} of them trained on"
        return f"{type(self).__name__}({examples}, split {self.split_hash})"

    @property
    def true_labels(self) -> Int[Tensor, " pair"] | Float[Tensor, "pair c"]:
        """The labels: none of these is ever wrong."""
        return self.labels

    @property
    def n_train(self) -> int:
        """Number of training examples."""
        return int(self.is_train.sum())

    def where(self, split: str) -> Bool[Tensor, " pair"]:
        """The examples of a named split: train, test or all.

        Raises:
            ValueError: Another name.
        """
        masks = {"train": self.is_train, "test": ~self.is_train, "all": torch.ones_like(self.is_train)}
        if split not in masks:
            raise ValueError(f"split must be one of {', '.join(masks)}; got {split!r}")
        return masks[split]


def joined(train: Labelled, test: Labelled) -> Examples:
    """Training examples and then test examples; the hash is that of all that they hold, to the bit.

    Example:
        >>> one, two = torch.ones(1, 3), torch.zeros(2, 3)
        >>> joined((one, torch.tensor([4])), (two, torch.tensor([5, 6]))).is_train
        tensor([ True, False, False])
    """
    inputs, labels = (torch.cat(both) for both in zip(train, test, strict=True))
    is_train = torch.arange(len(inputs)) < len(train[0])
    return Examples(inputs, labels, is_train, digest(is_train, inputs, labels))


def digest(*tensors: Tensor) -> str:
    """First 16 hex digits of the SHA-256 of the tensors' bytes, one after the other.

    Example:
        >>> digest(torch.tensor([True])) == hashlib.sha256(bytes([1])).hexdigest()[:16]
        True
    """
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
