"""A valley with two wide places on a torus: one where another valley crosses it, and one that is only flat.

    U(x) = a min(s(x_1) x_0^2, d^2)       or, smooth,   a s x_0^2 d^2 / (l^2 + s x_0^2 + d^2),

d the distance of x_1 from -R/2, where the valley x_0 = 0 is crossed by another, and s = 1 but around x_1 = R/2, where
it falls smoothly to `flat`: the valley is wider there, and its zeros are a straight line all the same. With
`flat` such that squares about both places hold the same mass of exp(-nbeta U), what is drawn to singularities and what
is drawn to flat places can be told apart. Of the smooth kind with l > 0 the loss at the crossing is a x_0^2 d^2 / l^2
(learning coefficient 1/2, multiplicity 2), of the other 1/2 and 1 there as everywhere. The flat place can be
flat to fourth order, `flat` x_0^4 / (k^2 + x_0^2): singular (1/4), without a crossing.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.exact.torus import Gibbs, gibbs, wrapped

Energy = Callable[[Float[Tensor, "*batch 2"]], Float[Tensor, "*batch"]]


def crossing_and_basin(
    *,
    flat: float,
    reach: float,
    half_width: float,
    a: float = 1.0,
    smooth: float | None = None,
    quartic: float | None = None,
) -> Energy:
    """The loss with a crossing at (0, -R/2) and a flat place at (0, R/2), zero along x_0 = 0 and x_1 = -R/2.

    Args:
        flat: Curvature at the flat place over that of the valley, in 0..1 without 0.
        reach: Half the length over which the valley is flatter, at most R/2.
        half_width: R of the torus [-R, R)^2.
        a: Steepness of the valley.
        smooth: l of the smooth kind; none: the minimum of two parabolas.
        quartic: k of a flat place without curvature; none: it has one, `flat`.

    Raises:
        ValueError: `flat` or `reach` is out of its range.

    Example:
        >>> energy = crossing_and_basin(flat=0.25, reach=0.5, half_width=2.0)
        >>> energy(torch.tensor([[0.2, 0.0], [0.2, 1.0], [0.2, -1.0], [1.0, -1.1]])).mul(1000).round()
        tensor([40., 10.,  0., 10.])
    """
    if not 0 < flat <= 1 or not 0 < reach <= half_width / 2:
        raise ValueError(f"flat must be in 0..1 and reach in 0..{half_width / 2}; got {flat} and {reach}")

    def energy(x: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        across, along = x.unbind(-1)
        off = wrapped(along - half_width / 2, half_width).abs() / reach
        least = flat if quartic is None else flat * across.square() / (quartic**2 + across.square())
        narrow = 1 - (1 - least) * torch.cos(torch.pi / 2 * (2 * off - 1).clamp(0, 1)).square()
        valley, other = narrow * across.square(), wrapped(along + half_width / 2, half_width).square()
        if smooth is None:
            return a * torch.minimum(valley, other)
        return a * valley * other / (smooth**2 + valley + other)

    return energy


def places(x: Float[Tensor, "*batch 2"], q: float, half_width: float) -> dict[str, Bool[Tensor, "*batch"]]:
    """Which points lie in squares |.|_inf < q about the crossing, the flat place, and two places of the bare valley.

    Example:
        >>> at = places(torch.tensor([[0.0, -1.0], [0.0, 1.2], [0.1, 0.0], [0.0, -1.9]]), 0.25, 2.0)
        >>> {name: where.nonzero().flatten().tolist() for name, where in at.items()}
        {'crossing': [0], 'basin': [1], 'arm': [2, 3]}
    """
    near = x[..., 0].abs() < q

    def about(centre: float) -> Bool[Tensor, "*batch"]:
        return near & (wrapped(x[..., 1] - centre, half_width).abs() < q)

    return {"crossing": about(-half_width / 2), "basin": about(half_width / 2), "arm": about(0) | about(half_width)}


def matched_flatness(
    *,
    nbeta: float,
    q: float,
    reach: float,
    half_width: float,
    smooth: float | None = None,
    quartic: float | None = None,
) -> tuple[float, Gibbs]:
    """The flatness at which both places hold the same mass of exp(-nbeta U), and the loss with it on a grid.

    Raises:
        ValueError: No flatness of 1e-4 or more makes the flat place as wide as the crossing.

    Example:
        >>> flat, law = matched_flatness(nbeta=80.0, q=0.25, reach=0.5, half_width=2.0)
        >>> at = places(law.points, 0.25, 2.0)
        >>> round(flat, 2), round(law.share(at["crossing"], 80.0) / law.share(at["basin"], 80.0), 4)
        (0.41, 1.0)
    """

    def made(flat: float) -> Gibbs:
        made = crossing_and_basin(flat=flat, reach=reach, half_width=half_width, smooth=smooth, quartic=quartic)
        return gibbs(made, half_width)

    def excess(law: Gibbs) -> float:
        at = places(law.points, q, half_width)
        return law.share(at["basin"], nbeta) / law.share(at["crossing"], nbeta) - 1

    low, high = 1e-4, 1.0
    if excess(made(low)) < 0:
        raise ValueError(f"no flatness makes the flat place as wide as the crossing at nbeta = {nbeta:g}, q = {q:g}")
    while high / low > 1 + 1e-6:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if excess(made(middle)) > 0 else (low, middle)
    return low, made(low)
