"""Stochastic gradient Langevin dynamics: a step down the gradient and one of noise, never rejected.

    w <- w - (step_size / 2) grad U(w) + sqrt(step_size) xi

The step size epsilon is the variance of the noise. On a quadratic with curvature a of U along a direction the
chain is stable for epsilon a < 4 and its stationary variance there is 1 / (a (1 - epsilon a / 4)): too wide, by
an error that no convergence diagnostic of the chain itself can see. What can is the probability with which MALA
would have accepted each step: it is reported (on full batches), and not acted on.

Source: Welling and Teh 2011; the localized form Lau et al. 2023 (arXiv:2308.12108), algorithm 1.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.samplers.geometry import FLAT, Geometry
from circuitgrok.samplers.spread import spread
from circuitgrok.samplers.target import Generators, Info, Sampler, State, Target, squared_norm, standard_normal


def sgld(target: Target, *, step_size: float | Float[Tensor, " chain"], geometry: Geometry = FLAT) -> Sampler:
    """The sampler w <- w - (step_size / 2) grad U + sqrt(step_size) xi, one gradient a step.

    Args:
        target: What to sample; minibatches are used if it has them.
        step_size: Variance epsilon of the noise; positive; one for all chains, or each chain's own.
        geometry: Where chains may move; drift and noise are both made tangential.

    Raises:
        ValueError: `step_size` is not positive and finite.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(1, 3), 10.0, 1.0)
        >>> sampler = sgld(bowl, step_size=1e-3)
        >>> chain = [torch.Generator().manual_seed(0)]
        >>> state, info = sampler.step(sampler.init(torch.zeros(1, 3), chain), chain)
        >>> state["position"].shape, info.loss.dtype
        (torch.Size([1, 3]), torch.float64)
    """
    size, root = of_chains(step_size, target.centre)

    def at(position: Float[Tensor, "chain dim"], generators: Generators) -> tuple[State, Tensor]:
        loss = target.estimate(position, generators)
        force = target.force(position, loss)
        return {"position": position, "force": force, "energy": target.energy(position, loss)}, loss.value

    def init(position: Float[Tensor, "chain dim"], generators: Generators) -> State:
        return at(position, generators)[0]

    def step(state: State, generators: Generators) -> tuple[State, Info]:
        noise = root * standard_normal(state["position"], generators)
        drift = geometry.tangent(state["position"], -size / 2 * state["force"] + noise)
        position, velocity = geometry.move(state["position"], drift)
        moved, loss = at(position, generators)
        if target.batch_loss is not None:  # energies of different pairs are not to be compared
            untested = torch.full_like(loss, torch.nan)
            return moved, Info(loss, untested, untested)
        left = velocity - geometry.tangent(position, size / 2 * moved["force"])
        kinetic = squared_norm(left) - squared_norm(geometry.tangent(state["position"], noise))
        error = moved["energy"] - state["energy"] + kinetic / (2 * step_size)
        return moved, Info(loss, error.clamp(min=0).neg().exp(), error)

    def spread_of(state: State) -> Tensor:
        return spread(target, geometry, state["position"], state["force"], kick=size / 4)

    return Sampler(init, step, spread_of)


def of_chains(step_size: float | Float[Tensor, " chain"], like: Tensor) -> tuple[float | Tensor, float | Tensor]:
    """A step size and its root, to be multiplied with vectors `[chain dim]` like some; refused if it is none.

    >>> of_chains(torch.tensor([1.0, 4.0]).double(), torch.zeros(2, 5))[1]
    tensor([[1.],
            [2.]])
    """
    if not isinstance(step_size, Tensor):
        check_step_size(step_size)
        return step_size, math.sqrt(step_size)
    for size in step_size.tolist():
        check_step_size(size)
    column = step_size[:, None].to(like)
    return column, column.sqrt()


def check_step_size(step_size: float) -> None:
    """Refuses a step size that is none."""
    if not 0 < step_size < math.inf:
        raise ValueError(f"step_size must be positive and finite; got {step_size}")
