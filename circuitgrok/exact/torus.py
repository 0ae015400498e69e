"""Walks down a loss on a flat torus, with noise of two shapes, and where Gibbs' law would have them.

Particles go down a loss U with noise, and what leaves [-R, R)^2 on one side comes in on the other:

    x <- x - lr g + sqrt(noise^2 + (shaped lr |g|)^2) xi,   g = grad U,   xi ~ N(0, 1) for each coordinate.

With noise that is the same everywhere (shaped = 0) the law at rest is exp(-nbeta U), nbeta = 2 lr / noise^2, in the
limit of small steps, at singular points as at others. Noise that grows with the gradient, as that of batches does,
vanishes where the loss is flat: particles leave such places more slowly than they come, and the density there is above
Gibbs'. Where that noise is along the gradient only, it does not move along a valley at all. Across a valley of
curvature h the variance stays finite if (1 - lr h)^2 + (shaped lr h)^2 < 1.

Source: Hoogland 2023, "Spooky action at a distance in the loss landscape" (a walk on a torus whose valleys cross), with
no numbers; noise that vanishes on a valley: arXiv:2306.04251, section 3.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitgrok.exact.surfing import Plan, Walk, cross_potential, slope

LEAST, MOST = 1e-6, 1e12  # inverse temperatures between which one is looked for


def torus_walk(
    generator: torch.Generator,
    *,
    n_particles: int,
    steps: int,
    lr: float,
    noise: float,
    half_width: float,
    record: int,
    energy: Callable[[Tensor], Tensor] = cross_potential,
    shaped: float = 0.0,
    along: bool = False,
    start: Float[Tensor, "particle 2"] | None = None,
) -> Walk:
    """Positions of particles that go down a potential with noise on the torus [-R, R)^2.

    In the limit of small steps they settle at the density proportional to exp(-nbeta U), nbeta = 2 lr / noise^2, and
    `gibbs_occupancy` says how many are then near the crossing. At a finite step the rest is discretisation; noise that
    is shaped by the gradient has another law.

    Args:
        generator: Source of the starts and the noise.
        n_particles: How many.
        steps: How many; a multiple of `record`. Relaxation takes some 2 (R / (pi noise))^2 of them.
        lr: Step size.
        noise: Standard deviation of what is added to each coordinate at each step.
        half_width: R; what leaves on one side comes in on the other.
        record: Keep the positions at the start and after every so many steps.
        energy: Potential of points [particle 2]; the cross with a = 1 if not given.
        shaped: Standard deviation of further noise, in units of the step lr |grad U|.
        along: Further noise is along the gradient; else in all directions.
        start: Where the particles start; uniform on the square if not given.

    Returns:
        Steps 0, record, .., `steps`, and the positions then, in float64, all in [-R, R].

    Raises:
        ValueError: A number is out of its range, or `steps` is not a multiple of `record`.

    Example:
        >>> walk = torus_walk(
        ...     torch.Generator().manual_seed(0), n_particles=5, steps=9, lr=0.1, noise=1.0, half_width=1.0, record=3
        ... )
        >>> walk.steps, walk.positions.shape, walk.positions.abs().max() <= 1
        (tensor([0, 3, 6, 9]), torch.Size([4, 5, 2]), tensor(True))

    Source: Hoogland 2023, "Spooky action at a distance in the loss landscape".
    """
    plan = Plan(generator, n_particles, steps, lr, noise, half_width, record).checked()
    if shaped < 0:
        raise ValueError(f"shaped must be 0 or more; got {shaped}")

    def move(x: Tensor) -> Tensor:
        step = lr * slope(energy, x)
        size = noise if along or not shaped else (noise**2 + shaped**2 * step.square().sum(-1, keepdim=True)).sqrt()
        kick = size * plan.normal()
        if along and shaped:
            kick = kick + shaped * step * plan.normal(1)
        return wrapped(x - step + kick, half_width)

    return plan.walked(plan.uniform() if start is None else start, move)


def wrapped(x: Tensor, half_width: float) -> Tensor:
    """The same place of a torus in [-R, R)."""
    return torch.remainder(x + half_width, 2 * half_width) - half_width


class Gibbs(NamedTuple):
    """A loss on a grid of the square, for what the law exp(-nbeta U) says of it.

    Attributes:
        points: Midpoints of the cells.
        energy: The loss there.
    """

    points: Float[Tensor, "point 2"]
    energy: Float[Tensor, " point"]

    def share(self, inside: Bool[Tensor, " point"], nbeta: float) -> float:
        """The share of the law's mass in some of the cells."""
        weight = torch.exp(-nbeta * (self.energy - self.energy.min()))
        return (weight[inside].sum() / weight.sum()).item()

    def box(self, share: float, nbeta: float) -> float:
        """Half the side of the square about the origin whose share of the law's mass is nearest to one, to a cell."""
        far = self.points.abs().amax(-1)
        edges = far.unique() + (self.points[1] - self.points[0]).abs().max() / 2
        return min(edges.tolist(), key=lambda edge: abs(self.share(far < edge, nbeta) - share))

    def drawn(self, generator: torch.Generator, n: int, nbeta: float) -> Float[Tensor, "particle 2"]:
        """Points drawn from the law, each uniform in its cell."""
        weight = torch.exp(-nbeta * (self.energy - self.energy.min()))
        cell = torch.multinomial(weight, n, replacement=True, generator=generator)
        side = (self.points[1] - self.points[0]).abs().max()
        return self.points[cell] + side * (torch.rand(n, 2, generator=generator, dtype=torch.float64) - 0.5)

    def mean_energy(self, nbeta: float) -> float:
        """The mean loss of the law."""
        weight = torch.exp(-nbeta * (self.energy - self.energy.min()))
        return ((weight * self.energy).sum() / weight.sum()).item()

    def nbeta_of(self, mean_energy: float) -> float:
        """The inverse temperature at which the law has a mean loss; the loss falls with it.

        Raises:
            ValueError: There is none.
        """
        low, high = math.log(LEAST), math.log(MOST)
        if not self.mean_energy(MOST) < mean_energy < self.mean_energy(LEAST):
            raise ValueError(
                f"mean_energy must be between those of a cold and a hot law, {self.mean_energy(MOST):.3g} and "
                f"{self.mean_energy(LEAST):.3g}; got {mean_energy:.3g}"
            )
        while high - low > 1e-5:
            middle = (low + high) / 2
            low, high = (middle, high) if self.mean_energy(math.exp(middle)) > mean_energy else (low, middle)
        return math.exp(low)


def gibbs(energy: Callable[[Tensor], Tensor], half_width: float, n: int = 400) -> Gibbs:
    """The loss at the midpoints of n^2 cells of [-R, R]^2; right where it changes little over a cell at 1 / nbeta.

    Example:
        >>> law = gibbs(cross_potential, 2.0)
        >>> share = law.share(law.points.abs().amax(-1) < 0.5, 20.0)
        >>> round(share, 3), round(gibbs_occupancy(0.5, nbeta=20.0, half_width=2.0), 3)
        (0.2, 0.2)
        >>> round(law.nbeta_of(law.mean_energy(7.0)), 3)
        7.0
    """
    middles = half_width * ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1)
    points = torch.cartesian_prod(middles, middles)
    return Gibbs(points, energy(points))


def gibbs_occupancy(q: float, *, nbeta: float, half_width: float) -> float:
    """Share of the density ~ exp(-nbeta min(x_0^2, x_1^2)) on [-R, R]^2 that lies in |x|_inf < q.

    From (q / R)^2, the share of the area, at nbeta = 0 it rises to q / R, that of the length of the cross.

    Args:
        q: Half the side of the inner square, in 0..R.
        nbeta: Inverse temperature, positive; times a if the valleys have steepness a.
        half_width: R.

    Returns:
        f(q) / f(R) with f(q) = q erf(s q) - (1 - exp(-(s q)^2)) / (s sqrt(pi)), s = sqrt(nbeta).

    Raises:
        ValueError: `nbeta` is not positive, or `q` is not in 0..R.

    Example:
        >>> [round(gibbs_occupancy(0.5, nbeta=nbeta, half_width=2.0), 4) for nbeta in (1e-6, 10.0, 1e6)]
        [0.0625, 0.1776, 0.2498]
    """
    if not nbeta > 0 or not 0 <= q <= half_width:
        raise ValueError(f"nbeta must be positive and q in 0..{half_width}; got nbeta = {nbeta} and q = {q}")
    scale = math.sqrt(nbeta)

    def inner(q: float) -> float:
        return q * math.erf(scale * q) + math.expm1(-((scale * q) ** 2)) / (scale * math.sqrt(math.pi))

    return inner(q) / inner(half_width)
