"""The Hessian in polar coordinates: its radial, mixed and tangential blocks, and the Hessian of the sphere.

At a point theta = r u the projection P = 1 - u u^T splits a move into one along the ray and one along the sphere of
norm r. Along a geodesic of that sphere, with unit speed e, the point is theta(s) = r cos(s/r) u + r sin(s/r) e, and

    d^2 L / ds^2 at s = 0  =  e^T (P H P - (<grad L, theta> / r^2) P) e

The second term is there because the sphere is curved: a gradient that points outwards makes every geodesic bend down
from it. P H P alone is the curvature of a straight move, which leaves the sphere.

Source: Absil, Mahony and Sepulchre 2008, Optimization Algorithms on Matrix Manifolds, section 5.5.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.geometry import tangent, unit
from circuitgrok.landscape.flat import LossFunction
from circuitgrok.landscape.hessian import Operator, hessian_operator


class PolarBlocks(NamedTuple):
    """A symmetric matrix H at a point r u, split along and across the ray.

    Attributes:
        radial: u^T H u, the curvature along the ray.
        mixed: P H u, how the tangential gradient turns as the norm changes; `[dim]`, orthogonal to u.
        tangential: P H P, as an operator. The direction u itself is an eigenvector with eigenvalue 0.
    """

    radial: Float[Tensor, ""]
    mixed: Float[Tensor, " dim"]
    tangential: Operator


def polar_blocks(operator: Operator, at: Float[Tensor, " dim"]) -> PolarBlocks:
    """Radial, mixed and tangential block of a symmetric operator at a point.

    Args:
        operator: The Hessian there, the Gauss-Newton matrix, or any other.
        at: The point; not the origin, which has no direction.

    Raises:
        ValueError: The point is the origin.

    Example:
        >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 5.0]], dtype=torch.float64)
        >>> blocks = polar_blocks(lambda rows: rows @ matrix, torch.tensor([3.0, 0.0], dtype=torch.float64))
        >>> blocks.radial.item(), blocks.mixed.tolist()
        (2.0, [0.0, 1.0])
    """
    u = _direction(at)
    along = operator(u[None])[0]
    radial = along @ u
    return PolarBlocks(radial, tangent(along, u), lambda rows: tangent(operator(tangent(rows, u)), u))


def sphere_hessian_operator(loss: LossFunction, at: Float[Tensor, " dim"]) -> Operator:
    """Multiplication by the Riemannian Hessian of a loss on the sphere through a point: P H P - (<grad, theta>/r^2) P.

    If the loss does not depend on the norm, <grad, theta> = 0 and this is P H P.

    Args:
        loss: Twice differentiable at the point.
        at: The point, in float64; the sphere is that of its norm around the origin.

    Returns:
        A function of vectors `[k dim]`; their radial parts are dropped.

    Raises:
        ValueError: The point is the origin, or not float64.

    Example:
        A linear loss is not flat on the circle: at the top it falls off to both sides.

        >>> top = torch.tensor([0.0, 2.0], dtype=torch.float64)
        >>> sphere_hessian_operator(lambda w: w[1], top)(torch.eye(2, dtype=torch.float64))
        tensor([[-0.5000,  0.0000],
                [ 0.0000,  0.0000]], dtype=torch.float64)
    """
    u = _direction(at)
    point = at.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(point), point)
    bend = gradient @ at / at.square().sum()
    flat = hessian_operator(loss, at)

    def multiply(rows: Float[Tensor, "k dim"]) -> Float[Tensor, "k dim"]:
        ahead = tangent(rows, u)
        return tangent(flat(ahead), u) - bend * ahead

    return multiply


def _direction(at: Float[Tensor, " dim"]) -> Float[Tensor, " dim"]:
    if not at.norm() > 0:
        raise ValueError("polar coordinates need a point with a direction; got the origin")
    return unit(at)
