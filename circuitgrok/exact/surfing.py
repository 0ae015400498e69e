"""Gradient surfing: do noise and decay carry particles to the place where two valleys cross?

The loss min(x_0^2, x_1^2) is zero on a cross, whose centre is singular. Decay pulls to a point c off the cross,

    U(x) = a min(x_0^2, x_1^2) + (decay / 2) |x - c|^2,

and many particles go down from a uniform start on the square [-R, R]^2 with momentum and noise of their own,

    v <- momentum v + (1 - momentum) (-grad U),   x <- x + lr v + noise xi,   xi ~ N(0, 1) for each coordinate.

What can be said exactly, without momentum and with lr a < 1: without noise and decay only the smaller coordinate
moves, so that P(|x|_inf < q) = (q / R)^2 at all times, less than the q / R of particles uniform on the cross: the
crossing repels. With decay and c = (-1, -1) a particle drifts along its arm, x(t) + 1 = (x(0) + 1) (1 - lr decay)^t,
passes the crossing at lr decay t of about ln(1 + x(0)), and ends in the minimum (-decay / (2 a + decay), -1) or its
mirror image, which are not at the crossing. A crowd there is traffic, and gone at lr decay t = 2: show the time
course, never one time. The learning coefficient cannot tell: at the crossing it is 1/2 with m = 1, as on the arms.

Source: Hoogland 2023, "Gradient surfing: the hidden role of regularization", which gives no a, lr, decay, noise or R.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

CENTRE = (-1.0, -1.0)


class Walk(NamedTuple):
    """Where the particles were, and when."""

    steps: Int[Tensor, " time"]
    positions: Float[Tensor, "time particle 2"]


class Occupancy(NamedTuple):
    """Share of the particles near the crossing, and its binomial standard error (0 if it is none or all)."""

    fraction: Float[Tensor, "*stack"]
    stderr: Float[Tensor, "*stack"]


def cross_potential(
    x: Float[Tensor, "*batch 2"], *, a: float = 1.0, decay: float = 0.0, centre: tuple[float, float] = CENTRE
) -> Float[Tensor, "*batch"]:
    """Height of two crossing valleys, with a pull to a point off them if there is decay.

    Args:
        x: Points of the plane.
        a: Steepness; the curvature across a valley is 2 a.
        decay: Strength of the pull.
        centre: Where it pulls to.

    Returns:
        a min(x_0^2, x_1^2) + (decay / 2) |x - centre|^2; zero on both axes without decay.

    Example:
        >>> cross_potential(torch.tensor([[0.0, 2.0], [1.0, 2.0], [-1.0, -1.0]]))
        tensor([0., 1., 1.])

    Source: Hoogland 2023, "Gradient surfing".
    """
    return a * x.square().amin(-1) + _pull(x, decay, centre)


def surf(
    generator: torch.Generator,
    *,
    n_particles: int,
    steps: int,
    lr: float,
    noise: float,
    decay: float,
    momentum: float,
    half_width: float,
    record: int,
    centre: tuple[float, float] = CENTRE,
    energy: Callable[[Tensor], Tensor] = cross_potential,
) -> Walk:
    """Positions of particles that go down a loss with decay, momentum and noise, from a uniform start.

    The same generator state gives the same starts and the same noise, times its size, whatever the other
    parameters are: differences between two settings can be taken particle by particle.

    Args:
        generator: Source of the starts and the noise, on the device where the particles will be.
        n_particles: How many, each on its own.
        steps: How many; a multiple of `record`.
        lr: Step size eta. Across a valley a step multiplies by 1 - eta (2 a + decay).
        noise: Standard deviation epsilon of what is added to each coordinate at each step, not scaled by lr.
        decay: Strength lambda of the pull to `centre`.
        momentum: beta in 0..1, below 1. The gradient is weighted by 1 - beta, so that beta adds a lag but no speed.
        half_width: R of the square [-R, R]^2 of the starts. It has no walls.
        record: Keep the positions at the start and after every so many steps.
        centre: Where decay pulls to.
        energy: Loss of points [particle 2], summed with the pull; the cross with a = 1 if not given.

    Returns:
        Steps 0, record, .., `steps`, and the positions then, in float64.

    Raises:
        ValueError: A number is out of its range, or `steps` is not a multiple of `record`.

    Example:
        >>> plain = dict(lr=0.1, noise=0.0, decay=0.0, momentum=0.0, half_width=2.0)
        >>> walk = surf(torch.Generator().manual_seed(0), n_particles=1000, steps=100, record=50, **plain)
        >>> occupancy(walk.positions, 1.0).fraction  # 1 / 4 but for chance, at all times
        tensor([0.2560, 0.2560, 0.2560], dtype=torch.float64)

    Source: Hoogland 2023, "Gradient surfing".
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in 0..1, below 1; got {momentum}")
    if decay < 0:
        raise ValueError(f"decay must be 0 or more; got {decay}")
    plan = Plan(generator, n_particles, steps, lr, noise, half_width, record).checked()
    x = plan.uniform()
    v = torch.zeros_like(x)

    def move(x: Tensor) -> Tensor:
        nonlocal v
        v = momentum * v - (1 - momentum) * slope(lambda x: energy(x) + _pull(x, decay, centre), x)
        return x + lr * v + noise * plan.normal()

    return plan.walked(x, move)


def occupancy(positions: Float[Tensor, "*stack particle dim"], q: float) -> Occupancy:
    """Share of the particles in the open square |x|_inf < q about the crossing.

    Args:
        positions: With as many axes in front as there are times, seeds, settings.
        q: Half the side of the square; positive.

    Returns:
        The share, 0..1, and sqrt(share (1 - share) / particles). With none of n inside, the 95 % bound is 3 / n.

    Raises:
        ValueError: `q` is not positive.

    Example:
        >>> share, stderr = occupancy(torch.tensor([[0.1, 0.1], [0.1, 0.9], [-0.9, 0.1], [0.0, 2.0]]), 0.5)
        >>> round(share.item(), 4), round(stderr.item(), 4)
        (0.25, 0.2165)
    """
    if not q > 0:
        raise ValueError(f"q must be positive; got {q}")
    share = (positions.abs().amax(-1) < q).double().mean(-1)
    return Occupancy(share, (share * (1 - share) / positions.shape[-2]).sqrt())


class Plan(NamedTuple):
    """What all walks of this room need: see `surf`."""

    generator: torch.Generator
    n_particles: int
    steps: int
    lr: float
    noise: float
    half_width: float
    record: int

    def checked(self) -> "Plan":
        """The plan itself.

        Raises:
            ValueError: A number is out of its range, or `steps` is not a multiple of `record`.
        """
        if self.n_particles < 1 or self.record < 1 or self.steps < 0 or self.steps % self.record:
            raise ValueError(
                "there must be a particle, and steps a multiple of record, which is 1 or more; "
                f"got n_particles = {self.n_particles}, steps = {self.steps}, record = {self.record}"
            )
        if not (self.lr > 0 and self.noise >= 0 and self.half_width > 0):
            raise ValueError(
                "lr and half_width must be positive and noise 0 or more; "
                f"got lr = {self.lr}, half_width = {self.half_width}, noise = {self.noise}"
            )
        return self

    def uniform(self) -> Float[Tensor, "particle 2"]:
        """Points of the square [-R, R]^2."""
        kind = {"generator": self.generator, "dtype": torch.float64, "device": self.generator.device}
        return self.half_width * (2 * torch.rand(self.n_particles, 2, **kind) - 1)

    def normal(self, columns: int = 2) -> Float[Tensor, "particle column"]:
        """Standard normal numbers, the next of the stream."""
        kind = {"generator": self.generator, "dtype": torch.float64, "device": self.generator.device}
        return torch.randn(self.n_particles, columns, **kind)

    def walked(self, x: Float[Tensor, "particle 2"], move: Callable[[Tensor], Tensor]) -> Walk:
        """The positions at the steps that are recorded, each from the one before by a move."""
        kept = [x]
        for step in range(1, self.steps + 1):
            x = move(x)
            if step % self.record == 0:
                kept.append(x)
        return Walk(torch.arange(0, self.steps + 1, self.record), torch.stack(kept))


def slope(energy: Callable[[Tensor], Tensor], x: Float[Tensor, "particle 2"]) -> Float[Tensor, "particle 2"]:
    """The gradient of a loss at each point."""
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        [found] = torch.autograd.grad(energy(at).sum(), at)
    return found


def _pull(x: Float[Tensor, "*batch 2"], decay: float, centre: tuple[float, float]) -> Float[Tensor, "*batch"]:
    return decay / 2 * (x - torch.tensor(centre, dtype=x.dtype, device=x.device)).square().sum(-1)
