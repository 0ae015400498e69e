"""Spheres in the space of weights: lengths and directions, radial and tangential parts, angles, great circles.

A step v from theta = r u has the radial part <u, v> and the tangential part v_t = v - <u, v> u. With e = v_t / |v_t|
and phi = |v_t| / r, the exponential map goes along the great circle to cos(phi) theta + r sin(phi) e, and parallel
transport along it takes a tangent vector w to w + <e, w> ((cos(phi) - 1) e - sin(phi) u).

The arithmetic stands here in two forms. Chains of a sampler are rows of a tensor, in their own dtype. Networks are
dicts of tensors, in which all that lies behind the first `axes` axes is one vector (`select.vectors`), in float64;
the bits of trained runs hang on the order of their operations.

Source: P.-A. Absil, R. Mahony, R. Sepulchre, "Optimization Algorithms on Matrix Manifolds" (2008), sections 5.4, 8.1.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok import apart
from circuitgrok.tree import Params, along, combine, dot, norm, scaled


def unit(rows: Float[Tensor, "*stack dim"]) -> Float[Tensor, "*stack dim"]:
    """Directions of rows, in their dtype; a row that is zero has none and stays zero.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    length = rows.norm(dim=-1, keepdim=True)
    return rows / torch.where(length == 0, 1.0, length)


def tangent(rows: Float[Tensor, "*stack dim"], unit: Float[Tensor, "*#stack dim"]) -> Float[Tensor, "*stack dim"]:
    """Rows less their parts along unit vectors, in their dtype.

    >>> tangent(torch.tensor([7.0, 2.0]), torch.tensor([1.0, 0.0]))
    tensor([0., 2.])
    """
    return rows - (unit * rows).sum(-1, keepdim=True) * unit


def move(
    position: Float[Tensor, "*stack dim"], velocity: Float[Tensor, "*stack dim"]
) -> tuple[Float[Tensor, "*stack dim"], Float[Tensor, "*stack dim"]]:
    """Where rows with tangential velocities are on their great circles after unit time, and their velocities there.

    Norms are kept to rounding; the angle turned is the speed over the norm.

    >>> there, velocity = move(torch.tensor([2.0, 0.0]), torch.tensor([0.0, torch.pi]))  # a quarter turn
    >>> there.round(decimals=5), velocity.round(decimals=4)
    (tensor([-0., 2.]), tensor([-3.1416, -0.0000]))
    """
    radius = position.norm(dim=-1, keepdim=True)
    speed = velocity.norm(dim=-1, keepdim=True)
    ahead, angle = unit(velocity), speed / radius
    moved = angle.cos() * position + radius * angle.sin() * ahead
    carried = speed * (angle.cos() * ahead - angle.sin() / radius * position)
    moved = moved * (radius / moved.norm(dim=-1, keepdim=True))
    return moved, tangent(carried, unit(moved))


def uniform(n: int, dim: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
    """Unit vectors drawn independently and uniformly from the sphere (Haar measure), in float64.

    >>> uniform(2, 3, torch.Generator().manual_seed(0)).norm(dim=1).round(decimals=9)
    tensor([1., 1.], dtype=torch.float64)
    """
    return unit(torch.randn(n, dim, generator=generator, dtype=torch.float64))


def to_radius(radius: Float[Tensor, "*vector"], tensors: Params, axes: int) -> Float[Tensor, "*vector"]:
    """The factor that brings each vector to its radius: 1 where it has none (0, NaN) or no direction; NaN stays NaN.

    >>> to_radius(torch.tensor([10.0, torch.nan]), {"w": torch.tensor([[3.0, 4.0], [3.0, 4.0]])}, axes=1)
    tensor([2., 1.], dtype=torch.float64)
    """
    found = norm(tensors, axes)
    return torch.where((radius > 0) & (found != 0), radius / found, 1.0)


def lengths(stack: Mapping[str, Float[Tensor, "ckpt ..."]]) -> Float[Tensor, " ckpt"]:
    """Norms of all tensors taken as one vector, in float64, without a float64 copy of any.

    >>> lengths({"a": torch.tensor([[3.0]]), "b": torch.tensor([[4.0]])})
    tensor([5.], dtype=torch.float64)
    """
    each = [torch.linalg.vector_norm(value.flatten(1), dim=1, dtype=torch.float64) for value in stack.values()]
    return torch.linalg.vector_norm(torch.stack(each), dim=0)


def direction(params: Mapping[str, Tensor], axes: int = 0) -> Params:
    """Each vector divided by its norm, in float64; nan where it is zero.

    >>> direction({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])})
    {'a': tensor([0.6000], dtype=torch.float64), 'b': tensor([0.8000], dtype=torch.float64)}
    """
    r = norm(params, axes)
    return {name: value.double() / along(r, value) for name, value in params.items()}


def across(vectors: Mapping[str, Tensor], at: Mapping[str, Tensor], axes: int = 0) -> Params:
    """The parts of vectors that are orthogonal to others of any length, in float64; nan where those are zero.

    >>> across({"a": torch.tensor([1.0]), "b": torch.tensor([5.0])}, {"a": torch.ones(1), "b": torch.ones(1)})
    {'a': tensor([-2.], dtype=torch.float64), 'b': tensor([2.], dtype=torch.float64)}
    """
    share = dot(vectors, at, axes) / dot(at, at, axes)
    return combine(lambda v, w: v.double() - along(share, w) * w.double(), vectors, at)


def decompose(
    vectors: Mapping[str, Tensor], unit: Mapping[str, Tensor], axes: int = 0
) -> tuple[Float[Tensor, "*vector"], Params]:
    """Radial and tangential part of vectors (gradients, steps) at points of given `direction`, in float64.

    The radial part is a number, positive outwards, and |vector|^2 = radial^2 + |tangential|^2. A step of tangential
    part t still ends at a larger norm, sqrt((r + radial)^2 + |t|^2), because it leaves the sphere along the tangent.

    Raises:
        ValueError: The names of the vectors and those of the directions differ.

    Example:
        >>> at, step = {"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([-3.0, 21.0])}
        >>> radial, tangential = decompose(step, direction(at))
        >>> radial.item(), tangential["w"].tolist()
        (15.0, [-12.0, 9.0])
    """
    _check_names(vectors, unit)
    radial = dot(unit, vectors, axes)
    return radial, combine(lambda x, u: x.double() - along(radial, u) * u, vectors, unit)


def angle(u: Params | Tensor, v: Params | Tensor) -> Float[Tensor, ""]:
    """Angle between two vectors in radians, to about 1e-16 even where it is tiny or close to pi.

    The arccosine of the inner product loses every angle below 1e-8, which is what neighbouring checkpoints are apart.

    Args:
        u: All tensors of a dict taken as one vector, or one tensor of any shape.
        v: The same names and shapes; the length of either vector does not matter. The angle is nan if one is zero.

    Raises:
        ValueError: The names differ.

    Example:
        >>> angle(*torch.tensor([[1.0, 0.0], [5.0, 5e-9]], dtype=torch.float64)).item()
        1e-09

    Source: W. Kahan, "How futile are mindless assessments of roundoff in floating-point computation?" (2006).
    """
    one, other = (direction({"": vector} if isinstance(vector, Tensor) else vector) for vector in (u, v))
    _check_names(one, other)
    apart, together = combine(torch.sub, one, other), combine(torch.add, one, other)
    return 2 * torch.atan2(norm(apart), norm(together))


def _check_names(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    if one.keys() != other.keys():
        raise ValueError(f"the vectors differ in their names: only one has {sorted(one.keys() ^ other.keys())}")


def great_circle(start: Params, end: Params, t: Float[Tensor, " point"]) -> Params:
    """Directions `[point ...]` on the great circle from one network's to another's, at shares t of the angle between.

    Args:
        start: The network whose direction is at t = 0; its norm does not matter.
        end: The one at t = 1.
        t: Any numbers; the angle from `start` is t angle(start, end).

    Raises:
        ValueError: The names differ, a network is zero, or the two are opposite, and no circle is the most direct.

    Example:
        >>> east, north = {"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 5.0])}
        >>> great_circle(east, north, torch.tensor([1 / 3]))["w"]
        tensor([[0.8660, 0.5000]], dtype=torch.float64)

    Source: K. Shoemake, "Animating rotation with quaternion curves" (1985).
    """
    turn = angle(start, end)
    if not float(turn) < math.pi - 1e-6:
        raise ValueError(f"the networks must have directions that are not opposite; their angle is {float(turn):g}")
    t = t.double()
    here, there = (torch.where(turn > 0, (share * turn).sin() / turn.sin(), share) for share in (1 - t, t))
    return combine(torch.add, ray(here / norm(start), start), ray(there / norm(end), end))


def turned(
    params: Mapping[str, Tensor], radians: float, generator: torch.Generator, moves: Callable[[str], bool]
) -> Params:
    """A network turned by an angle towards a direction that is drawn uniformly, its norm kept; in float64.

    Args:
        params: One network.
        radians: The angle.
        generator: Where the direction comes from.
        moves: Whether a tensor of this name has a part in the direction, such as a model's `is_trainable`.

    Raises:
        ValueError: A tensor that has none is not zero: it could not keep its values.

    Example:
        >>> start = {"w": torch.tensor([3.0, 4.0]), "b": torch.tensor([0.0])}
        >>> there = turned(start, 1.0, torch.Generator().manual_seed(0), lambda name: name == "w")
        >>> round(angle(start, there).item(), 12), round(norm(there).item(), 12), there["b"].item()
        (1.0, 5.0, 0.0)
    """
    if fixed := [name for name, value in params.items() if not moves(name) and bool(value.any())]:
        raise ValueError(f"what does not turn must be zero, and {', '.join(fixed)} is not")
    drawn = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64) * float(moves(name))
        for name, value in params.items()
    }
    ahead, r = direction(across(drawn, params)), norm(params)
    return combine(lambda w, e: math.cos(radians) * w.double() + math.sin(radians) * r * e, params, ahead)


def ray(factors: Float[Tensor, " factor"], params: Mapping[str, Tensor]) -> Params:
    """One network times each factor, `[factor ...]`, in float64."""
    return scaled(factors.double(), {name: value[None] for name, value in params.items()})


class Arc(NamedTuple):
    """A piece of a great circle, for each of many vectors, in float64."""

    start: Params  # unit vectors u at which it starts, `[*vector ...]`
    ahead: Params  # unit tangent vectors e in which it sets out; zero where nothing moves
    angle: Float[Tensor, "*vector"]  # phi, radians


def arc(before: Params, after: Params, radius: Float[Tensor, "*vector"]) -> Arc:
    """The great circle along which the tangential part of a step sets out, and how far it goes.

    Args:
        before: `[*vector ...]`, on the sphere or off it by a rounding.
        after: Where a step through flat space has led. The angle is NaN where it is not finite, or `before` is zero.
        radius: Of the sphere.

    Example:
        >>> path = arc({"w": torch.tensor([[3.0, 0.0]])}, {"w": torch.tensor([[2.5, 0.6]])}, torch.tensor([3.0]))
        >>> path.angle.round(decimals=6), path.ahead["w"]
        (tensor([0.2000], dtype=torch.float64), tensor([[0., 1.]], dtype=torch.float64))
    """
    axes = radius.ndim
    start = scaled(1 / norm(before, axes), before)
    step = combine(lambda old, new: new.double() - old.double(), before, after)
    _, tangential = decompose(step, start, axes)
    length = norm(tangential, axes)
    ahead = scaled(1 / torch.where(length == 0, 1.0, length), tangential)  # 0 / 1 where nothing moves
    return Arc(start, ahead, length / radius)


def end(path: Arc, radius: Float[Tensor, "*vector"]) -> Params:
    """Where the arc ends: r (cos(phi) u + sin(phi) e), with the norm r to rounding.

    >>> path = Arc({"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[0.0, 1.0]])}, torch.tensor([torch.pi]))
    >>> end(path, torch.tensor([2.0]))["w"][:, 0].round(decimals=6)
    tensor([-2.], dtype=torch.float64)
    """
    cosine, sine = (apart.each(f, path.angle) for f in (torch.cos, torch.sin))
    point = combine(torch.add, scaled(cosine, path.start), scaled(sine, path.ahead))
    return scaled(radius / norm(point, path.angle.ndim), point)


def transported(path: Arc, vector: Params) -> Params:
    """The tangential part of a vector carried along the arc: tangential at its end, as long as at its start.

    >>> quarter = torch.tensor([torch.pi / 2])
    >>> path = Arc({"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[0.0, 1.0]])}, quarter)
    >>> transported(path, {"w": torch.tensor([[7.0, 3.0]])})["w"].round(decimals=5)[:, 0]
    tensor([-3.], dtype=torch.float64)
    """
    axes = path.angle.ndim
    _, tangential = decompose(vector, path.start, axes)
    forward = dot(path.ahead, tangential, axes)
    turned = scaled(forward * (apart.each(torch.cos, path.angle) - 1), path.ahead)
    sunk = scaled(forward * apart.each(torch.sin, path.angle), path.start)
    return combine(lambda w, e, u: w + e - u, tangential, turned, sunk)
