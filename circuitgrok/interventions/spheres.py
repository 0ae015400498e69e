"""Spheres in the space of weights, and motion along their great circles.

A vector of weights of constant norm lies on a sphere. Which vectors are meant is the grain:

    global   all trained numbers of a run together, biases and embeddings included
    tensor   each tensor of a run
    neuron   the vector that comes into each output of a weight matrix: a column of W [in out], and of
             each head for attention. The embeddings' rows, a token's and a position's, are theirs.
             Biases and the gains of LayerNorm have no such vector and stay free.

A step v from theta, u = theta / r, has the tangential part v_t = v - <u, v> u. With e = v_t / |v_t| and
phi = |v_t| / r, the exponential map goes along the great circle to cos(phi) theta + r sin(phi) e, and parallel
transport along it takes a tangent vector w to w + <e, w> ((cos(phi) - 1) e - sin(phi) u). All of it in float64.

Source: P.-A. Absil, R. Mahony, R. Sepulchre, "Optimization Algorithms on Matrix Manifolds" (2008), sections
5.4 and 8.1; the vectors of neurons: A. Kosson et al., "Rotational Equilibrium" (arXiv:2305.17212).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok import apart
from circuitgrok.tree import Params, along, combine, dot, is_bias, norm, role

Grain = Literal["global", "tensor", "neuron"]


class Vectors(NamedTuple):
    """Many vectors of weights, as tensors: all that lies behind the first `axes` axes is one vector.

    Attributes:
        tensors: Views, `[*vector ...]`; `vector` is run, or run and output, or run, head and output.
        axes: How many axes count vectors.
    """

    tensors: Params
    axes: int


def vectors(weights: Params, grain: Grain) -> dict[str, Vectors]:
    """The vectors whose norms a grain is about, by the name of their tensor; "radius" for all tensors together.

    Args:
        weights: `[run ...]`, under TransformerLens' names.
        grain: As above.

    Returns:
        Views: changing them in place changes the weights.

    Example:
        >>> weights = {"blocks.0.attn.W_Q": torch.ones(1, 2, 5, 3), "blocks.0.attn.b_Q": torch.ones(1, 2, 3)}
        >>> [(name, norm(*every).shape) for name, every in vectors(weights, "tensor").items()]
        [('blocks.0.attn.W_Q', torch.Size([1])), ('blocks.0.attn.b_Q', torch.Size([1]))]
        >>> [(name, norm(*every).shape) for name, every in vectors(weights, "neuron").items()]
        [('blocks.0.attn.W_Q', torch.Size([1, 2, 3]))]
    """
    if grain == "global":
        return {"radius": Vectors(weights, 1)}
    if grain == "tensor":
        return {name: Vectors({name: value}, 1) for name, value in weights.items()}
    matrices = {name: value for name, value in weights.items() if value.ndim > 2 and not is_bias(name)}
    return {
        name: Vectors({name: value if role(name) == "embed" else value.mT}, value.ndim - 1)
        for name, value in matrices.items()
    }


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

    def start(self, weights: Params) -> Params:
        """The radii before any hold: NaN for every vector, `[run ...]` by the names of `vectors`."""
        return {name: torch.full_like(norm(*every), torch.nan) for name, every in vectors(weights, self.grain).items()}

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
        if not bool(begins.any()):
            return radii
        is_found = self.radius.isnan()
        share = torch.where(is_found, self.factor, self.radius / norm(weights, axes=1))
        begun = {}
        for name, every in vectors(weights, self.grain).items():
            found = norm(*every)
            wanted = along(share, found) * found
            if self.grain == "global":  # the whole takes all of the radius, without a rounding
                wanted = torch.where(is_found, wanted, self.radius)
            begun[name] = torch.where(along(begins, found), wanted, radii[name])
        return begun


class Arc(NamedTuple):
    """A piece of a great circle, for each of many vectors, in float64.

    Attributes:
        start: Unit vectors u at which it starts, `[*vector ...]`.
        ahead: Unit tangent vectors e in which it sets out; zero where nothing moves.
        angle: The angle phi in radians that it turns, `[*vector]`.
    """

    start: Params
    ahead: Params
    angle: Tensor


def arc(before: Params, after: Params, radius: Float[Tensor, "*vector"]) -> Arc:
    """The great circle along which the tangential part of a step sets out, and how far it goes.

    Args:
        before: `[*vector ...]`, on the sphere or off it by a rounding.
        after: Where a step through flat space has led.
        radius: Of the sphere.

    Returns:
        The angle is the length of the tangential part over the radius, 0 for a radial step; NaN where `before`
        is zero or the step is not finite.

    Example:
        >>> path = arc({"w": torch.tensor([[3.0, 0.0]])}, {"w": torch.tensor([[2.5, 0.6]])}, torch.tensor([3.0]))
        >>> path.angle.round(decimals=6), path.ahead["w"]
        (tensor([0.2000], dtype=torch.float64), tensor([[0., 1.]], dtype=torch.float64))
    """
    axes = radius.ndim
    start = _times(1 / norm(before, axes), before)
    step = combine(lambda old, new: new.double() - old.double(), before, after)
    across = _tangential(step, start, axes)
    length = norm(across, axes)
    ahead = _times(1 / torch.where(length == 0, 1.0, length), across)  # 0 / 1 where nothing moves
    return Arc(start, ahead, length / radius)


def end(path: Arc, radius: Float[Tensor, "*vector"]) -> Params:
    """Where the arc ends: r (cos(phi) u + sin(phi) e), with the norm r to rounding.

    Example:
        >>> path = Arc({"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[0.0, 1.0]])}, torch.tensor([torch.pi]))
        >>> end(path, torch.tensor([2.0]))["w"][:, 0].round(decimals=6)
        tensor([-2.], dtype=torch.float64)
    """
    cosine, sine = (apart.each(f, path.angle) for f in (torch.cos, torch.sin))
    point = combine(torch.add, _times(cosine, path.start), _times(sine, path.ahead))
    return _times(radius / norm(point, path.angle.ndim), point)


def transported(path: Arc, vector: Params) -> Params:
    """A vector carried along the arc: tangential at the end, as long as its tangential part was at the start.

    Its radial part is dropped, since no step can use it on the sphere.

    Example:
        >>> quarter = torch.tensor([torch.pi / 2])
        >>> path = Arc({"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[0.0, 1.0]])}, quarter)
        >>> transported(path, {"w": torch.tensor([[7.0, 3.0]])})["w"].round(decimals=5)[:, 0]
        tensor([-3.], dtype=torch.float64)
    """
    axes = path.angle.ndim
    tangential = _tangential(vector, path.start, axes)
    forward = dot(path.ahead, tangential, axes)
    turned = _times(forward * (apart.each(torch.cos, path.angle) - 1), path.ahead)
    sunk = _times(forward * apart.each(torch.sin, path.angle), path.start)
    return combine(lambda w, e, u: w + e - u, tangential, turned, sunk)


def _times(numbers: Tensor, tensors: Params) -> Params:
    return combine(lambda x: along(numbers, x) * x.double(), tensors)


def _tangential(vector: Params, unit: Params, axes: int) -> Params:
    radial = dot(unit, vector, axes)
    return combine(lambda x, u: x.double() - along(radial, u) * u, vector, unit)
