"""Potentials with a known learning coefficient as losses of a stack of chains, and how stiff they are."""

import math

import torch
from torch import Tensor

from circuitgrok.exact.potentials import Potential
from circuitgrok.landscape.curvature import StackLoss
from circuitgrok.samplers.target import LossGrad

GRID = 150  # points of an axis at which the curvature is looked at


def differentiated(potential: Potential) -> StackLoss:
    """A potential as a loss of a stack of chains, with its gradient by autograd.

    Example:
        >>> from circuitgrok.exact.potentials import POTENTIALS
        >>> loss = differentiated(POTENTIALS["x^2"])(torch.tensor([[3.0], [1.0]]))
        >>> [round(ratio, 6) for ratio in (loss.gradient / loss.value[:, None]).flatten().tolist()]
        [0.666667, 2.0]
    """

    def loss(w: Tensor) -> LossGrad:
        at = w.detach().requires_grad_()
        value = potential.energy(at)
        (gradient,) = torch.autograd.grad(value.sum(), at)
        return LossGrad(value.detach(), gradient)

    return loss


def stiffness(potential: Potential, nbeta: float, localization: float) -> float:
    """Largest curvature of U = nbeta K + (localization / 2) |w|^2 where its density is above exp(-6) of the top.

    Args:
        potential: K, which depends on the sizes of the coordinates alone.
        nbeta: Its factor.
        localization: Of the pull to the origin.

    Returns:
        The largest eigenvalue of U's Hessian on a grid of the positive coordinates.

    Example:
        >>> from circuitgrok.exact.potentials import POTENTIALS
        >>> stiffness(POTENTIALS["x^2"], 10.0, 5.0) / stiffness(POTENTIALS["x^2"], 0.0, 5.0)
        5.0
    """

    def energy(w: Tensor) -> Tensor:
        return nbeta * potential.energy(w) + localization / 2 * w.square().sum(-1)

    axis = torch.linspace(0, math.sqrt(12 / localization), GRID, dtype=torch.float64)
    points = torch.cartesian_prod(*[axis] * potential.dim).reshape(-1, potential.dim)
    hessians = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(energy)))(points[energy(points) < 6])
    return torch.linalg.eigvalsh(hessians).amax().item()
