"""The commutator defect: how far two gradient steps on disjoint batches end apart when their order is exchanged.

From w a step of length eta on batch A and one on batch B end, in the two orders, at w_AB and w_BA,

    w_BA - w_AB = eta^2 (H_A g_B - H_B g_A) + O(eta^3),

g and H the gradients and Hessians of the batches' mean losses at w. On quadratics the remainder is zero. The defect is
the limit of |w_AB - w_BA| / (|eta g_A| |eta g_B|) for small steps: two Hessian-vector products, with no eta to choose.

Its unit is one over a weight: a loss multiplied by a number, with all its gradients, leaves it as it is. Where pairs
are fitted, gradients and curvatures of a cross-entropy vanish together, and it tells how steeply logits depend on
weights. `share` is the same length over |H_A g_B| + |H_B g_A|, without a unit: 0 where the steps commute, at most 1.

Source: Y. Xu 2026 (arXiv:2602.16967), whose normalisation and median over batches this is, there at steps of 1e-3.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.landscape.flat import LossFunction
from circuitgrok.landscape.hessian import hessian_operator


class Commutator(NamedTuple):
    """Of two losses at one point.

    Attributes:
        defect: |H_A g_B - H_B g_A| / (|g_A| |g_B|); nan where a gradient is zero.
        share: |H_A g_B - H_B g_A| / (|H_A g_B| + |H_B g_A|), 0 to 1; nan where neither product is there.
        cosine: Of the angle between the two gradients.
    """

    defect: float
    share: float
    cosine: float


def commutator(one: LossFunction, other: LossFunction, at: Float[Tensor, " dim"]) -> Commutator:
    """How little the gradient steps of two losses commute at a point.

    Args:
        one: The loss of batch A, twice differentiable.
        other: That of batch B.
        at: The point, in float64.

    Raises:
        ValueError: `at` is not float64.

    Example:
        Bowls that are stiff along different axes commute, and do not where one of them is turned:

        >>> at = torch.tensor([1.0, 1.0], dtype=torch.float64)
        >>> one = lambda w: w[0] ** 2 / 2
        >>> commutator(one, lambda w: w[1] ** 2 / 2, at).defect
        0.0
        >>> commutator(one, lambda w: (w[0] + w[1]) ** 2 / 2, at).share  # |(2, 0) - (1, 1)| / (2 + 2 ** 0.5)
        0.4142135623730951
    """
    gradients = [_gradient(loss, at) for loss in (one, other)]
    g_one, g_other = gradients
    first = hessian_operator(one, at)(g_other[None])[0]
    second = hessian_operator(other, at)(g_one[None])[0]
    apart, lengths = (first - second).norm(), g_one.norm() * g_other.norm()
    return Commutator(
        defect=(apart / lengths).item(),
        share=(apart / (first.norm() + second.norm())).item(),
        cosine=(g_one @ g_other / lengths).item(),
    )


def halves(where: Bool[Tensor, " pair"], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two disjoint batches of some pairs, drawn at random, half of the pairs each; an odd one is left out.

    Raises:
        UserError: There are fewer than two pairs.

    Example:
        >>> one, other = halves(torch.tensor([True, True, False, True]), torch.Generator().manual_seed(0))
        >>> int(one.sum()), int(other.sum()), bool((one & other).any())
        (1, 1, False)
    """
    places = where.nonzero().flatten()
    if len(places) < 2:
        raise UserError(f"two batches need two pairs at least; got {len(places)}")
    order = places[torch.randperm(len(places), generator=generator).to(places.device)]
    half = len(places) // 2
    one, other = torch.zeros_like(where), torch.zeros_like(where)
    one[order[:half]], other[order[half : 2 * half]] = True, True
    return one, other


def _gradient(loss: LossFunction, at: Float[Tensor, " dim"]) -> Float[Tensor, " dim"]:
    point = at.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(point), point)
    return gradient
