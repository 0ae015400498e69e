"""How many bits of its labels a network holds: what remains to be told of them once its answers are known.

Labels that were drawn uniformly from c classes carry log2(c) bits each, and no rule; whatever a network spares of them
it has stored. Who has the network can write the labels down in `sum of -log2 q(label)` bits, q its softmax, so that the
rest is memorised: a lower bound of the mutual information between labels and weights, as any code is. With the answers
alone, right in a share of the pairs, the best code spends the entropy of which are wrong and of what they are instead.

Source: Morris et al. 2025 (arXiv:2505.24832) for memorising in bits; Song and Ye 2026 (arXiv:2605.09724) for networks
that learn modular arithmetic, 2.16 bits for each parameter.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

PUBLISHED = 2.16  # bits for each parameter: Song and Ye 2026, their transformers on random labels, free norm


def bits_by_loss(loss: Float[Tensor, "*stack"], n: int, classes: int) -> Float[Tensor, "*stack"]:
    """Bits of uniformly drawn labels that a network spares, by its cross-entropy.

    Args:
        loss: Mean cross-entropy over the pairs, in nats.
        n: Number of pairs.
        classes: Number of classes that the labels were drawn from.

    Returns:
        At most n log2(classes), which is everything; below 0 for a network that is surer than it is right.

    Raises:
        ValueError: No pairs, or fewer than two classes.

    Example:
        >>> bits_by_loss(torch.tensor([0.0, math.log(2)], dtype=torch.float64), n=10, classes=8)
        tensor([30., 20.], dtype=torch.float64)
    """
    _some(n, classes)
    return n * (math.log2(classes) - loss.double() / math.log(2))


def bits_by_accuracy(accuracy: Float[Tensor, "*stack"], n: int, classes: int) -> Float[Tensor, "*stack"]:
    """Bits of uniformly drawn labels that a network's answers spare, by the share of them that is right.

    A wrong answer says that the label is one of the others: below chance it spares bits, too.

    Args:
        accuracy: Share of right answers, 0..1.
        n: Number of pairs.
        classes: Number of classes that the labels were drawn from.

    Returns:
        0 at chance, n log2(classes) if all are right: n times the capacity of a symmetric channel.

    Raises:
        ValueError: No pairs, or fewer than two classes.

    Example:
        >>> bits_by_accuracy(torch.tensor([1.0, 0.125]), n=10, classes=8)
        tensor([30.,  0.], dtype=torch.float64)
    """
    _some(n, classes)
    right = accuracy.double()
    entropy = -(torch.xlogy(right, right) + torch.xlogy(1 - right, (1 - right) / (classes - 1)))
    return n * (math.log2(classes) - entropy / math.log(2))


def _some(n: int, classes: int) -> None:
    if n < 1 or classes < 2:
        raise ValueError(f"labels need a pair and two classes or more; got {n} of {classes} classes")
