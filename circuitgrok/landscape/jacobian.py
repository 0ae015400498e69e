"""The Jacobian of a network's logits: products with it, the Gauss-Newton matrix, and the directions that it misses.

J takes a direction of weight space to a change of the logits (`push`), its transpose takes a weighting of the logits
to a gradient (`pull`). Both are backward passes: J^T u is linear in u, and differentiating it by u gives J back.

Many weights give the same function: a ReLU neuron can be scaled in and out, keys against queries, a residual stream
turned, a constant added to all classes. Where the rank of J is locally constant, the weights of equal function form a
surface of dimension d - rank J around the point. A closed formula would have to know each symmetry and every overlap;
the rank knows them all. The Gauss-Newton matrix has these directions as exact zeros, and so has the Hessian at a
critical point. Zeros beyond their number come from data that leave directions free, or were learned.

Source: Schraudolph 2002, "Fast curvature matrix-vector products for second-order gradient descent".
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.landscape.flat import Logits
from circuitgrok.landscape.hessian import Operator

JACOBIAN_LIMIT = 2**28
_AT_ONCE = 32


class Linearized(NamedTuple):
    """Logits at a point, and their Jacobian J in both directions, for many vectors at once.

    Attributes:
        outputs: The logits.
        push: v -> J v, from `[k dim]` to `[k pair c]`.
        pull: u -> J^T u, from `[k pair c]` to `[k dim]`.
    """

    outputs: Float[Tensor, "pair c"]
    push: Callable[[Float[Tensor, "k dim"]], Float[Tensor, "k pair c"]]
    pull: Callable[[Float[Tensor, "k pair c"]], Float[Tensor, "k dim"]]


def linearized(logits: Logits, at: Float[Tensor, " dim"]) -> Linearized:
    """The logits around a point to first order.

    Args:
        logits: Differentiable twice (in the mechanical sense: a ReLU will do).
        at: The point, in float64.

    Returns:
        Products that keep one graph, dropped with them.

    Example:
        >>> outputs, push, pull = linearized(lambda w: (w**2)[None], torch.tensor([1.0, 3.0], dtype=torch.float64))
        >>> push(torch.ones(1, 2, dtype=torch.float64))
        tensor([[[2., 6.]]], dtype=torch.float64)
    """
    point = at.detach().clone().requires_grad_()
    outputs = logits(point)
    weighting = torch.zeros_like(outputs, requires_grad=True)
    (pulled,) = torch.autograd.grad(outputs, point, weighting, create_graph=True)

    def products(of: Tensor, by: Tensor, vectors: Tensor) -> Tensor:
        return torch.cat(
            [
                torch.autograd.grad(of, by, part, retain_graph=True, is_grads_batched=True)[0]
                for part in vectors.split(_AT_ONCE)
            ]
        )

    return Linearized(
        outputs.detach(),
        lambda vectors: products(pulled, weighting, vectors),
        lambda weightings: products(outputs, point, weightings),
    )


def gauss_newton_operator(logits: Logits, at: Float[Tensor, " dim"]) -> Operator:
    """Multiplication by the Gauss-Newton matrix of the mean cross-entropy: (1/n) sum_pairs J^T (diag(q) - q q^T) J.

    With q the softmax of the pair's logits, this is also the Fisher matrix: the mean of the squared gradient over
    labels drawn from q itself. No labels enter. The Hessian has the term (1/n) sum (q - y) d^2 z besides, which
    vanishes if the logits are linear in the weights, or if q is the distribution y of the labels. It does not become
    negligible as the loss falls: q - y and q (1 - q) shrink at the same rate.

    Args:
        logits: Of the pairs to average over, as a function of the vector.
        at: The point, in float64.

    Returns:
        A function of vectors `[k dim]`; the matrix has no negative eigenvalue.

    Example:
        >>> at = torch.zeros(2, dtype=torch.float64)
        >>> gauss_newton_operator(lambda w: w[None], at)(torch.eye(2, dtype=torch.float64))  # q = (1/2, 1/2)
        tensor([[ 0.2500, -0.2500],
                [-0.2500,  0.2500]], dtype=torch.float64)

    Source: Schraudolph 2002; Martens 2020 (arXiv:1412.1193), section 9, for its being the Fisher matrix.
    """
    outputs, push, pull = linearized(logits, at)
    probs, best = outputs.softmax(-1), outputs.argmax(-1, keepdim=True)

    def multiply(vectors: Float[Tensor, "k dim"]) -> Float[Tensor, "k dim"]:
        change = push(vectors)
        change = change - change.gather(-1, best.expand(len(change), -1, -1))  # no 1 - q is taken of a q near 1
        weighted = probs * (change - (probs * change).sum(-1, keepdim=True))
        return pull(weighted / len(outputs))

    return multiply


class SymmetryRank(NamedTuple):
    """Number of directions that the logits do not see, and how clear the count is.

    Attributes:
        directions: d - rank.
        rank: Number of singular values of the Jacobian above `threshold`.
        threshold: max(rows, d) eps times the largest singular value: what rounding makes of a zero.
        kept: The smallest singular value above the threshold; inf if there is none.
        dropped: The largest one below it; 0 if there is none. A rank with `kept` not far above it is not to be trusted.
    """

    directions: int
    rank: int
    threshold: float
    kept: float
    dropped: float


def symmetry_rank(logits: Logits, at: Float[Tensor, " dim"]) -> SymmetryRank:
    """Number of directions along which no logit changes to first order, other than all classes of a pair alike.

    At a special point (zero weights, a neuron at its kink) the count can exceed the dimension of the symmetries. A
    neuron that is never active is counted too, with all its weights.

    Args:
        logits: Of all p^2 pairs, as a function of the vector. Of the training pairs alone, the count takes in the
            directions that these data leave free.
        at: The point, in float64.

    Returns:
        Counts, with the singular values next to the cut, in logits per unit of weight.

    Raises:
        UserError: The Jacobian has more than 2^28 entries (2 GB).

    Example:
        A product of two weights sees one direction of two; a constant added to both classes is not seen.

        >>> at = torch.tensor([2.0, 3.0, 1.0], dtype=torch.float64)
        >>> symmetry_rank(lambda w: torch.stack([w[0] * w[1] + w[2], w[2]])[None], at).directions
        2
    """
    outputs, push, pull = linearized(logits, at)
    if outputs.numel() * len(at) > JACOBIAN_LIMIT:
        raise UserError(
            f"the Jacobian may have at most 2^28 entries; got {outputs.numel()} logits times {len(at)} weights: "
            "declare fewer tensors or take a smaller network"
        )
    if len(at) < outputs.numel():
        columns = push(torch.eye(len(at), dtype=at.dtype))
        jacobian = (columns - columns.mean(-1, keepdim=True)).flatten(1)
    else:  # centring the classes is symmetric: it can be done to the weightings
        units = torch.eye(outputs.numel(), dtype=at.dtype).unflatten(-1, outputs.shape)
        jacobian = pull(units - units.mean(-1, keepdim=True))
    sizes = torch.linalg.svdvals(jacobian)
    threshold = max(jacobian.shape) * torch.finfo(jacobian.dtype).eps * sizes[0].item()
    rank = int((sizes > threshold).sum())
    kept = sizes[rank - 1].item() if rank else float("inf")
    dropped = sizes[rank].item() if rank < len(sizes) else 0.0
    return SymmetryRank(len(at) - rank, rank, threshold, kept, dropped)
