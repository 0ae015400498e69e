"""Whether chains have spread as far as their law does: a number that is 1 in the mean, whatever the landscape.

For a density exp(-U) over d directions integration by parts gives E[grad U . (w - w*)] = d, one for each direction: a
stiff one is at once at its share, a flat one only when the chain has spread along it, and chains that have all gone
the same short way stay below, however well they agree. Unadjusted samplers have another law, by their step size. But
of any chain that is stationary E |w - w*|^2 stays, and written out for the update w <- w - (e/2) g + sqrt(e) xi with
g = grad U that says

    E[g . (w - w*)] - (e/4) E |g|^2 = d,

exactly at every step size, also with g from a minibatch. With a preconditioner G take |w - w*|^2 in the metric 1 / G;
the second term is then (e/4) g . G g. For v <- (1 - f) v - (e/2) g + sqrt(f e) xi, w <- w + v, the means of |w|^2,
w . v and |v|^2 together say

    E[g . (w - w*)] + ((1 - f) / f) E[v . g] - (e / (4 f)) E |g|^2 = d.

Divided by d each of these is `spread`. In a quadratic it is, t steps after the start, 1 - exp(-e k t) in the mean over
directions of curvature k. What it cannot see: how much the directions that lag matter to the loss, nor anything that
chains which have not met (a second minimum) would have to tell.

Source: the virial theorem; for the exact law of a quadratic see `circuitgrok.samplers.sgld`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.samplers.geometry import Geometry
from circuitgrok.samplers.target import Target


def spread(
    target: Target,
    geometry: Geometry,
    position: Float[Tensor, "chain dim"],
    force: Float[Tensor, "chain dim"],
    *,
    kick: float | Float[Tensor, "#chain #dim"] = 0.0,
    carried: Float[Tensor, "chain dim"] | None = None,
) -> Float[Tensor, " chain"]:
    """Share of its directions that a chain has spread along, 1 in the mean over a stationary chain; float64.

    Args:
        target: Gives the centre w*.
        geometry: Forces are made tangential, and its freedom is the d.
        position: Of each chain.
        force: The gradient g of U there, as the next step will use it.
        kick: What |g|^2 is taken times and subtracted: e/4 for SGLD, 0 for a sampler that tests its steps.
        carried: Of SGHMC, (1 - f) / f times the velocity that led here.

    Returns:
        nan on a sphere, where w - w* is not tangential.

    Example:
        >>> from circuitgrok.samplers.geometry import FLAT
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(1, 2), 10.0, 1.0)
        >>> at = torch.tensor([[0.3, 0.3]])  # of variance 1 / 11 in the mean
        >>> spread(bowl, FLAT, at, bowl.force(at, bowl.loss(at))).round(decimals=3)
        tensor([0.9900], dtype=torch.float64)
    """
    tangent = geometry.tangent(position, force)
    arm = position - target.centre - kick * tangent
    if carried is not None:
        arm = arm + carried
    return (arm * tangent).sum(-1, dtype=torch.float64) / geometry.freedom(position)
