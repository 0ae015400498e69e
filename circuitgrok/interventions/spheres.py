"""The spheres that vectors of weights are held on: which vectors, and how long they are to be.

Which vectors are meant is the grain: `global`, `tensor` or `neuron`, as `select` has them.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok import select
from circuitgrok.device import perhaps_any
from circuitgrok.select import Vectors
from circuitgrok.tree import Params, along, norm

Grain = Literal["global", "tensor", "neuron"]


@dataclass(frozen=True)
class Spheres:
    """The spheres of a stack of runs: which vectors, and how long they are to be.

    A radius belongs to all weights; other grains share it among their vectors in the proportions found
    when a hold begins. A vector that is zero then (a fresh bias) has no direction: its radius is 0, and
    whoever holds norms leaves it free.

    Attributes:
        grain: Which vectors.
        radius: Norm of all weights together, `[run]`; NaN for `factor` times the one found.
        factor: What multiplies the norms found where no radius is given, `[run]`.
    """

    grain: Grain
    radius: Float[Tensor, " run"]
    factor: Float[Tensor, " run"]

    @classmethod
    def found(cls, grain: Grain, weights: Params) -> "Spheres":
        """Those through the weights of each run `[run ...]`.

        >>> Spheres.found("global", {"w": torch.ones(2, 3)}).factor
        tensor([1., 1.], dtype=torch.float64)
        """
        first = next(iter(weights.values()))
        ones = first.new_ones(len(first), dtype=torch.float64)
        return cls(grain, torch.full_like(ones, torch.nan), ones)

    def vectors(self, weights: Params) -> dict[str, Vectors]:
        """The vectors of weights `[run ...]`, as views, under the names that their radii have.

        >>> Spheres("global", torch.ones(1), torch.ones(1)).vectors({"w": torch.ones(1, 2)})
        {'radius': Vectors(tensors={'w': tensor([[1., 1.]])}, axes=1)}
        """
        return {"radius": Vectors(weights, 1)} if self.grain == "global" else select.vectors(weights, self.grain)

    def start(self, weights: Params) -> Params:
        """The radii before any hold: NaN for every vector, `[run ...]`."""
        return {name: torch.full_like(norm(*every), torch.nan) for name, every in self.vectors(weights).items()}

    def begin(self, begins: Bool[Tensor, " run"], weights: Params, radii: Params) -> Params:
        """The radii, with those of runs that begin taken from the weights they begin with.

        Example:
            >>> given, found = torch.tensor([10.0, torch.nan]), torch.tensor([1.0, 0.5])
            >>> spheres = Spheres("tensor", radius=given, factor=found)
            >>> weights = {"a": torch.tensor([[3.0], [3.0]]), "b": torch.tensor([[4.0], [4.0]])}
            >>> radii = spheres.begin(torch.tensor([True, True]), weights, spheres.start(weights))
            >>> radii["a"].tolist(), radii["b"].tolist()
            ([6.0, 1.5], [8.0, 2.0])
        """
        if not perhaps_any(begins):
            return radii
        is_found = self.radius.isnan()
        share = torch.where(is_found, self.factor, self.radius / norm(weights, axes=1))
        begun = {}
        for name, every in self.vectors(weights).items():
            found = norm(*every)
            wanted = along(share, found) * found
            if self.grain == "global":  # the whole takes all of the radius, without a rounding
                wanted = torch.where(is_found, wanted, self.radius)
            begun[name] = torch.where(along(begins, found), wanted, radii[name])
        return begun
