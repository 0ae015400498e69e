"""Where chains may move: everywhere, orthogonal to a direction, or on the sphere of their own norm.

A geometry takes a vector to its tangential part, and moves a position along a geodesic by a tangential
velocity, carrying the velocity with it. Moving forth and back (with the velocity turned round) returns to
the start, and no volume is lost on the way, which is what makes Hamiltonian Monte Carlo exact on all of them.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.geometry import move, tangent, unit

Vectors = Float[Tensor, "chain dim"]


@runtime_checkable
class Geometry(Protocol):
    """A set that chains stay in."""

    def tangent(self, position: Vectors, vector: Vectors) -> Vectors:
        """The part of a vector along which one can move from the position."""
        ...

    def move(self, position: Vectors, velocity: Vectors) -> tuple[Vectors, Vectors]:
        """Where the geodesic with this tangential velocity is after unit time, and the velocity there."""
        ...

    def freedom(self, position: Vectors) -> Float[Tensor, " chain"]:
        """Number of directions in which a chain may move along straight lines; nan if there are none such."""
        ...


@dataclass(frozen=True)
class Euclidean:
    """The whole space."""

    def tangent(self, position: Vectors, vector: Vectors) -> Vectors:
        """The vector itself."""
        return vector

    def move(self, position: Vectors, velocity: Vectors) -> tuple[Vectors, Vectors]:
        """A straight line."""
        return position + velocity, velocity

    def freedom(self, position: Vectors) -> Float[Tensor, " chain"]:
        """All of them."""
        return torch.full_like(position[:, 0], position.shape[1], dtype=torch.float64)


@dataclass(frozen=True)
class Orthogonal:
    """The hyperplane through each chain's position that is orthogonal to a direction of its own.

    With the gradient at a point that is not critical, or the radial direction, as `normal`, motion along it is
    removed.

    Attributes:
        normal: Any length; a zero row removes nothing. `[chain dim]`.
    """

    normal: Vectors

    def tangent(self, position: Vectors, vector: Vectors) -> Vectors:
        """The vector less its part along the normal, twice, so that rounding of the first time is gone."""
        along = unit(self.normal)
        return tangent(tangent(vector, along), along)

    def move(self, position: Vectors, velocity: Vectors) -> tuple[Vectors, Vectors]:
        """A straight line in the hyperplane."""
        return position + velocity, velocity

    def freedom(self, position: Vectors) -> Float[Tensor, " chain"]:
        """All but the normal."""
        return position.shape[1] - (self.normal.norm(dim=-1) > 0).double()


@dataclass(frozen=True)
class Sphere:
    """The sphere about the origin through each chain's position; the norm is kept to rounding."""

    def tangent(self, position: Vectors, vector: Vectors) -> Vectors:
        """The vector less its radial part."""
        return tangent(vector, unit(position))

    def move(self, position: Vectors, velocity: Vectors) -> tuple[Vectors, Vectors]:
        """A great circle."""
        return move(position, velocity)

    def freedom(self, position: Vectors) -> Float[Tensor, " chain"]:
        """None: great circles are not straight."""
        return torch.full_like(position[:, 0], torch.nan, dtype=torch.float64)


FLAT = Euclidean()
