"""Weights in polar coordinates: how far a run moves outwards, and how far it turns.

A point theta of weight space is a norm r times a direction u, and a small step is d theta = dr u + r du with
both parts orthogonal: |d theta|^2 = dr^2 + r^2 |du|^2. So a path has a radial length, the sum of |dr|, and an
arc length, the sum of r times the angle turned, in the units of the weights. Each can be asked of all
parameters together, of one part of the network (a role), of one tensor; of heads and neurons in `polar.parts`.

Angles come from phi = 2 atan2(|u' - u|, |u' + u|) in float64. The arccosine of the inner product
loses every angle below 1e-8, which is what neighbouring checkpoints are apart.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.tree import ROLES, Params, combine, norm, role

_COLUMNS = 1024  # entries of a tensor taken at a time: the float64 copy of 400 checkpoints takes 3 MB


def angle(u: Params | Tensor, v: Params | Tensor) -> Float[Tensor, ""]:
    """Angle between two vectors in radians, to about 1e-16 even where it is tiny or close to pi.

    Args:
        u: All tensors of a dict taken as one vector, or one tensor of any shape.
        v: The same names and shapes; the length of either vector does not matter.

    Returns:
        0..pi; nan if a vector is zero.

    Raises:
        ValueError: The names differ.

    Example:
        >>> u, v = torch.tensor([[1.0, 0.0], [5.0, 5e-9]], dtype=torch.float64)
        >>> round(angle(u, v).item(), 20)
        1e-09

    Source: W. Kahan, "How futile are mindless assessments of roundoff in floating-point computation?"
    (2006), on mangled angles.
    """
    one, other = _direction(_tree(u)), _direction(_tree(v))
    _check_names(one, other)
    apart, together = combine(torch.sub, one, other), combine(torch.add, one, other)
    return 2 * torch.atan2(norm(apart), norm(together))


class Polar(NamedTuple):
    """The polar coordinates of a path, or of many side by side, by checkpoint; lengths in the units of the weights.

    Attributes:
        norm: r.
        cos_start: Cosine of the angle to the first checkpoint.
        angle_start: That angle, in radians.
        cos_end: Cosine of the angle to the last checkpoint.
        angle_end: That angle, in radians.
        radial_distance: Sum of |dr| over the intervals so far.
        angular_distance: Sum of the angles between neighbouring checkpoints so far, in radians.
        arc_length: Sum of those angles, each times the mean of the norms at its ends.
        angular_speed: Radians per step over the interval that ends here; nan at the first checkpoint.
    """

    norm: Float[Tensor, " ckpt *part"]
    cos_start: Float[Tensor, " ckpt *part"]
    angle_start: Float[Tensor, " ckpt *part"]
    cos_end: Float[Tensor, " ckpt *part"]
    angle_end: Float[Tensor, " ckpt *part"]
    radial_distance: Float[Tensor, " ckpt *part"]
    angular_distance: Float[Tensor, " ckpt *part"]
    arc_length: Float[Tensor, " ckpt *part"]
    angular_speed: Float[Tensor, " ckpt *part"]


def polar_path(stack: Params, steps: Int[Tensor, " ckpt"]) -> dict[str, Polar]:
    """Polar coordinates of a stack of checkpoints: of all parameters, of each role and of each tensor.

    The distances are those of the polygon through the checkpoints, and so lower bounds that grow as
    checkpoints get denser.

    Args:
        stack: `[ckpt ...]` under each name.
        steps: The training step of each checkpoint, increasing.

    Returns:
        `Polar` under "global", under the name of each role, and under each tensor's name. A tensor or
        role that is zero at every checkpoint (an unused bias) is left out. One that is zero at some
        checkpoint has no direction there: angles to it are nan, and it adds nothing to the distances.

    Raises:
        ValueError: There are not as many steps as checkpoints, they do not increase, or all weights are zero.

    Example:
        >>> quarter = torch.linspace(0, torch.pi / 2, 5, dtype=torch.float64)
        >>> stack = {"embed.W_E": 2 * torch.stack([quarter.cos(), quarter.sin()], dim=1)}
        >>> path = polar_path(stack, torch.tensor([0, 10, 20, 30, 40]))
        >>> list(path)
        ['global', 'embed', 'embed.W_E']
        >>> round(path["global"].arc_length[-1].item(), 9)  # radius 2, a quarter turn
        3.141592654
    """
    _check_steps(stack.values(), steps)
    chords = {name: _chords(value.flatten(1)) for name, value in stack.items() if bool(value.any())}
    if not chords:
        raise UserError("weights that are zero at every checkpoint have no direction")
    groups = {"global": list(chords)}
    groups |= {part: [name for name in chords if role(name) == part] for part in ROLES}
    groups |= {name: [name] for name in chords}
    joined = {group: _join([chords[name] for name in names]) for group, names in groups.items() if names}
    return {group: _polar(path, steps) for group, path in joined.items()}


def joint_path(tensors: Sequence[Float[Tensor, "ckpt part _"]], steps: Int[Tensor, " step"]) -> Polar:
    """Polar coordinates of the vectors that several tensors make up together, as many vectors as there are parts.

    Args:
        tensors: What each of them gives to the vector of each part, on its last axis.
        steps: The training step of each checkpoint, increasing.

    Returns:
        `[ckpt part]` in each field. A vector that is zero at some checkpoint has no direction there: angles to it
        are nan, and it adds nothing to the distances.

    Raises:
        ValueError: There are not as many steps as checkpoints, or they do not increase.

    Example:
        >>> weights = torch.tensor([[[3.0], [1.0]], [[6.0], [0.0]]])  # two checkpoints of two parts
        >>> biases = torch.tensor([[[4.0], [0.0]], [[8.0], [1.0]]])
        >>> path = joint_path([weights, biases], torch.tensor([0, 1]))
        >>> path.norm.tolist(), path.angular_distance[1].round(decimals=4).tolist()
        ([[5.0, 1.0], [10.0, 1.0]], [0.0, 1.5708])
    """
    _check_steps(tensors, steps)
    at_once = max(1, _COLUMNS // max(tensor.shape[-1] for tensor in tensors))
    blocks = zip(*(tensor.split(at_once, dim=1) for tensor in tensors), strict=True)
    paths = [_polar(_join([_chords(tensor) for tensor in block]), steps) for block in blocks]
    return Polar(*(torch.cat(field, dim=1) for field in zip(*paths, strict=True)))


class _Chords(NamedTuple):
    """Of a path: its norms r, and how its directions u lie to the directions u' at three other checkpoints.

    The three are the first checkpoint, the last one, and the one before (for the first, itself).
    """

    norm: Float[Tensor, " ckpt *part"]
    apart: Float[Tensor, "3 ckpt *part"]  # |u' - u|^2
    together: Float[Tensor, "3 ckpt *part"]  # |u' + u|^2


def _others(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of those three checkpoints, for each checkpoint or to be broadcast over all."""
    return rows[:1], rows[-1:], torch.cat([rows[:1], rows[:-1]])


def _chords(tensor: Float[Tensor, "ckpt *part d"]) -> _Chords:
    """The chords of one tensor; where it is zero its direction is taken as zero."""
    r = torch.linalg.vector_norm(tensor, dim=-1, dtype=torch.float64)
    apart, together = torch.zeros(2, 3, *r.shape, dtype=torch.float64, device=r.device)
    columns = max(1, _COLUMNS // math.prod(r.shape[1:]))
    for block in tensor.split(columns, dim=-1):
        u = block.double().contiguous() / torch.where(r > 0, r, 1.0)[..., None]
        for i, other in enumerate(_others(u)):
            apart[i] += torch.linalg.vector_norm(other - u, dim=-1).square()
            together[i] += torch.linalg.vector_norm(other + u, dim=-1).square()
    return _Chords(r, apart, together)


def _join(parts: Sequence[_Chords]) -> _Chords:
    """The chords of several tensors taken as one vector, from those of each.

    Let a and a' be a tensor's share n/r of the norm at two checkpoints, so that its part of the joint
    direction is a u. Then |a' u' - a u|^2 = (a' - a)^2 + a' a |u' - u|^2, and likewise for the sum. No
    term is negative, nothing cancels, and small angles are as exact as those of the tensors.
    """
    norms, apart, together = (torch.stack(field, dim=-1) for field in zip(*parts, strict=True))
    r = torch.linalg.vector_norm(norms, dim=-1)
    here = norms / r[..., None]
    there = torch.stack([other.expand_as(here) for other in _others(here)])
    across, product = (there - here).square(), there * here
    return _Chords(r, (across + product * apart).sum(-1), (across + product * together).sum(-1))


def _polar(path: _Chords, steps: Int[Tensor, " ckpt"]) -> Polar:
    start, end, turned = 2 * torch.atan2(path.apart.sqrt(), path.together.sqrt())
    r, gap = path.norm, turned[1:]
    between = steps.diff().double().reshape(-1, *[1] * (r.ndim - 1))
    passed = torch.where((r[1:] == 0) | (r[:-1] == 0), 0.0, gap)
    return Polar(
        norm=r,
        cos_start=start.cos(),
        angle_start=start,
        cos_end=end.cos(),
        angle_end=end,
        radial_distance=_running(r.diff(dim=0).abs()),
        angular_distance=_running(passed),
        arc_length=_running((r[1:] + r[:-1]) / 2 * passed),
        angular_speed=torch.cat([torch.full_like(r[:1], torch.nan), gap / between]),
    )


def _running(lengths: Float[Tensor, " interval *part"]) -> Float[Tensor, " ckpt *part"]:
    """Sums of the intervals up to each checkpoint, 0 at the first."""
    return torch.cat([lengths.new_zeros(1, *lengths.shape[1:]), lengths.cumsum(0)])


def _tree(vector: Params | Tensor) -> Params:
    return {"": vector} if isinstance(vector, Tensor) else vector


def _direction(params: Params) -> Params:
    r = norm(params)
    return {name: value.double() / r for name, value in params.items()}


def _check_names(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    if one.keys() != other.keys():
        raise ValueError(f"the vectors differ in their names: only one has {sorted(one.keys() ^ other.keys())}")


def _check_steps(tensors: Iterable[Tensor], steps: Int[Tensor, " ckpt"]) -> None:
    lengths = {len(tensor) for tensor in tensors}
    if lengths != {len(steps)}:
        raise ValueError(f"steps must be one per checkpoint; got {len(steps)} for {sorted(lengths)} checkpoints")
    if not bool((steps.diff() > 0).all()):
        raise ValueError(f"steps must increase; got {steps.tolist()}")
