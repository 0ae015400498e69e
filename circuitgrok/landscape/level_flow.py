"""Motion along a level set of the loss at unit speed, in any direction that is asked for: surfing without descending.

At a position w with loss L, gradient g and asked-for direction v, for each chain

    n = unit(g),   t = unit(v - <v, n> n),   w <- w + step t - ln(L / level) L / |g| n

The first move is tangential to the level set, the second Newton's step of ln L back to the level, at most three times
as long as the first; one gradient serves both. A move raises ln L by about step^2 / 2 times the curvature of ln L along
t, which the next one takes back, so that the loss stays off its level in second order of the step, however long the
way. On a sphere n and v are made tangential to it as well, and moves are great circles.

Speed is one: the length of v counts for nothing, and all directions go the same way in the same number of steps. What
comes to the end of its way, such as the least norm on the level, goes to and fro there within a step.

Source: P.-A. Absil, R. Mahony, R. Sepulchre, "Optimization Algorithms on Matrix Manifolds" (2008), section 4.1, for a
step along the tangent space that is retracted.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.geometry import tangent, unit
from circuitgrok.landscape.curvature import StackLoss
from circuitgrok.samplers.geometry import FLAT, Geometry

Positions = Float[Tensor, "chain dim"]
Direction = Callable[[Positions], Positions]  # where to go from positions; lengths do not matter
LIMIT = 3.0  # of the length of a correction, in units of the step


class Surfed(NamedTuple):
    """Chains on their level set, and how they came there.

    Attributes:
        position: Where they are.
        way: Length of what was moved along the level set, for each chain; float64.
        corrected: Length of what was moved across it, back to the level.
        off: Mean |ln(L / level)| that was met before the moves of the last call; not finite where a chain is lost.
        off_most: The largest of them.
    """

    position: Positions
    way: Float[Tensor, " chain"]
    corrected: Float[Tensor, " chain"]
    off: Float[Tensor, " chain"]
    off_most: Float[Tensor, " chain"]


def begun(position: Positions) -> Surfed:
    """Chains that have not moved yet.

    >>> begun(torch.ones(2, 3)).way
    tensor([0., 0.], dtype=torch.float64)
    """
    none = torch.zeros(len(position), dtype=torch.float64, device=position.device)
    return Surfed(position, none, none, none, none)


def surfed(
    loss: StackLoss,
    chains: Surfed,
    direction: Direction,
    *,
    level: float | Float[Tensor, " chain"],
    step: float,
    n_steps: int,
    geometry: Geometry = FLAT,
) -> Surfed:
    """Chains after some more steps along the level set, all as long.

    Args:
        loss: Of every chain, with its gradient; positive.
        chains: From `begun`, or where an earlier call left them; near the level (`levelled`).
        direction: Where to go, such as `directions.descending` a penalty; asked anew at every step.
        level: Of the loss, positive; or each chain's own.
        step: Length of each step along the level set.
        n_steps: One gradient each, and what the direction costs.
        geometry: Where chains may move: everywhere, or on the sphere through each position.

    Raises:
        UserError: A level or the step is not positive.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> a = torch.tensor([1.0, 4.0])  # an ellipse, whose nearest point to 0 is (0, 1/2)
        >>> bowl = lambda w: LossGrad((a * w * w).double().sum(-1) / 2, a * w)
        >>> chains = surfed(bowl, begun(torch.tensor([[1.0, 0.0]])), lambda w: torch.tensor([[-1.0, 0.1]]),
        ...                 level=0.5, step=0.01, n_steps=50)
        >>> chains.way, bool((bowl(chains.position).value - 0.5).abs() < 1e-3)
        (tensor([0.5000], dtype=torch.float64), True)
    """
    if not (bool(torch.as_tensor(level > 0).all()) and step > 0):
        raise UserError(f"levels and step must be positive; got {level} and {step:g}")
    position, way, corrected, *_ = chains
    off = off_most = torch.zeros_like(way)
    for _ in range(n_steps):
        value, gradient = loss(position)
        across = geometry.tangent(position, gradient)
        normal, steepness = unit(across), across.norm(dim=-1).double()
        wanted = geometry.tangent(position, direction(position))
        ahead = unit(tangent(tangent(wanted, normal), normal))  # twice, so that rounding of the first time is gone
        excess = (value / level).log()
        back = (excess * value / steepness).clamp(-LIMIT * step, LIMIT * step)
        position, _ = geometry.move(position, step * ahead - back[:, None].to(position) * normal)
        way = way + step * ahead.norm(dim=-1).double()
        corrected, off = corrected + back.abs(), off + excess.abs() / n_steps
        off_most = torch.maximum(off_most, excess.abs())
    return Surfed(position, way, corrected, off, off_most)


def levelled(
    loss: StackLoss,
    position: Positions,
    level: float | Float[Tensor, " chain"],
    *,
    within: float = 1e-3,
    n_steps: int = 100,
) -> Positions:
    """Positions on the level set nearby: Newton's steps of ln L along the gradient.

    Args:
        loss: Of every chain, with its gradient; positive.
        position: Where each starts.
        level: Of the loss; or each chain's own.
        within: Of |ln(L / level)|; chains that are there stay where they are.
        n_steps: At most, one gradient each. A chain that has not come there by then is where it is.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = lambda w: LossGrad(w.double().square().sum(-1) / 2, w)
        >>> levelled(bowl, torch.tensor([[3.0, 4.0]]), 0.5).round(decimals=2)
        tensor([[0.6000, 0.8000]])
    """
    for _ in range(n_steps):
        value, gradient = loss(position)
        excess = (value / level).log()
        if bool((excess.abs() <= within).all()):
            break
        back = torch.where(excess.abs() <= within, 0.0, excess * value) / gradient.double().square().sum(-1)
        position = position - back[:, None].to(position) * gradient
    return position
