"""How a path of weights bends from checkpoint to checkpoint: the angle by which its moves turn, and its curvature.

Three checkpoints w, w', w'' make two moves. The angle between these is 0 on a straight path, about a right angle for a
random walk of many dimensions, and pi where the path goes back on itself. The circle through the three points has the
curvature 1 / R = 2 sin(angle at w') / |w'' - w| (Menger's), which on a smooth path tends to that of the path as
checkpoints get denser; on a jagged one, as with noise or an optimizer that oscillates, both grow with their density, so
that only equal distances in steps compare.

Source: K. Menger 1930 for the curvature of three points.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.geometry import angle
from circuitgrok.tree import Params, combine, norm


class Bend(NamedTuple):
    """Of three checkpoints in a row.

    Attributes:
        turning: Angle between the two moves, in radians, 0 to pi; nan if one of them has length 0.
        curvature: Of the circle through the three points, per unit of weights; 0 on a straight line.
    """

    turning: Float[Tensor, ""]
    curvature: Float[Tensor, ""]


def bend(path: Sequence[Params]) -> Bend:
    """How much a path turns at the second of three checkpoints.

    Args:
        path: Three networks, all of their tensors taken as one vector.

    Raises:
        ValueError: There are not three, or their names differ.

    Example:
        >>> corner = [{"w": torch.tensor(point)} for point in ([0.0, 0.0], [3.0, 0.0], [3.0, 3.0])]
        >>> turned, curvature = bend(corner)
        >>> round(turned.item(), 4), round(1 / curvature.item(), 4)  # R is half the hypotenuse
        (1.5708, 2.1213)
    """
    if len(path) != 3:
        raise ValueError(f"three checkpoints are needed; got {len(path)}")
    before, here, after = ({name: value.double() for name, value in point.items()} for point in path)
    first, second = combine(torch.sub, here, before), combine(torch.sub, after, here)
    turning = angle(first, second)
    return Bend(turning, 2 * turning.sin() / norm(combine(torch.sub, after, before)))
