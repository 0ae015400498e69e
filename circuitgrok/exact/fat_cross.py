"""A Gaussian walk inside two crossing lines of some width on a torus: does the crossing hold it?

The lines are min(|x_0|, |x_1|) <= w, and there is no loss. Where a step that would leave is not taken, the law at rest
is uniform by area, exactly and for steps of any size: nothing lingers at the crossing, whose area counts once. Where it
is projected to the nearest point, steps that are not small against w keep away from the crossing: to land within q of
it both coordinates must be below q, which for a point of an arm takes chance in two coordinates and not in one.

Source: Hoogland 2023, "Spooky action at a distance in the loss landscape" (walks on sets that cross themselves).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.exact.surfing import Plan, Walk
from circuitgrok.exact.torus import wrapped


def fat_cross_walk(
    generator: torch.Generator,
    *,
    n_particles: int,
    steps: int,
    noise: float,
    width: float,
    half_width: float,
    record: int,
    rule: Literal["refuse", "project"],
) -> Walk:
    """Positions of a Gaussian walk that stays inside two crossing lines, min(|x_0|, |x_1|) <= w, on a torus.

    Args:
        generator: Source of the starts and the noise.
        n_particles: How many; they start uniform by area, or by length at w = 0.
        steps: How many; a multiple of `record`.
        noise: Standard deviation of a step in each coordinate.
        width: w, 0 of lines without width, on which only projected steps move.
        half_width: R of the torus [-R, R)^2.
        record: Keep the positions at the start and after every so many steps.
        rule: What becomes of a step that leaves: it is not taken, or goes to the nearest point inside.

    Returns:
        Steps 0, record, .., `steps`, and the positions then, in float64.

    Raises:
        ValueError: A number is out of its range, or `steps` is not a multiple of `record`.

    Example:
        >>> how = dict(n_particles=100, steps=20, noise=0.5, width=0.1, half_width=1.0, record=20)
        >>> walk = fat_cross_walk(torch.Generator().manual_seed(0), rule="project", **how)
        >>> walk.positions.abs().amin(-1).max().item()
        0.1
    """
    plan = Plan(generator, n_particles, steps, 1.0, noise, half_width, record).checked()
    if not 0 <= width <= half_width:
        raise ValueError(f"width must be in 0..{half_width}; got {width}")

    def projected(x: Tensor) -> Tensor:
        is_first = x[:, :1].abs() < x[:, 1:].abs()
        return torch.where(torch.cat([is_first, ~is_first], dim=1), x.clamp(-width, width), x)

    def move(x: Tensor) -> Tensor:
        ahead = wrapped(x + noise * plan.normal(), half_width)
        if rule == "project":
            return projected(ahead)
        return torch.where((ahead.abs().amin(-1) <= width)[:, None], ahead, x)

    return plan.walked(_uniform(plan, width), move)


def fat_cross_share(q: float, *, width: float, half_width: float) -> float:
    """Share of the area of two crossing lines of width 2 w on [-R, R]^2 that lies in |x|_inf < q; of length at w = 0.

    Raises:
        ValueError: Not 0 <= w <= q <= R.

    Example:
        >>> fat_cross_share(0.5, width=0.0, half_width=2.0), round(fat_cross_share(0.5, width=0.5, half_width=2.0), 4)
        (0.25, 0.1429)
    """
    if not 0 <= width <= q <= half_width or q == 0:
        raise ValueError(f"0 <= width <= q <= half_width, and q > 0; got {width}, {q}, {half_width}")
    return q / half_width * (2 - width / q) / (2 - width / half_width)


def _uniform(plan: Plan, width: float) -> Float[Tensor, "particle 2"]:
    """Points of two lines; those of the second that lie on the first as well are drawn again."""
    scale = torch.tensor([width / plan.half_width, 1.0], dtype=torch.float64, device=plan.generator.device)
    x, is_open = plan.uniform(), torch.ones(plan.n_particles, dtype=torch.bool, device=plan.generator.device)
    while is_open.any():
        drawn, is_second = plan.uniform(), plan.normal(1)[:, 0] > 0
        x = torch.where(is_open[:, None], torch.where(is_second[:, None], drawn * scale.flip(0), drawn * scale), x)
        is_open = is_open & is_second & (drawn[:, 0].abs() <= width)
    return x
