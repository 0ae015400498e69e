"""Stochastic gradient Hamiltonian Monte Carlo: a velocity with friction, never tested.

    v <- (1 - friction) v - (step_size / 2) grad U(w) + sqrt(friction step_size) xi;   w <- w + v

With friction 1 it is SGLD with the same step size. With less, velocities live for 1 / friction steps and the chain
moves as SGLD with step size epsilon / friction would, at a smaller error. The variance of the noise follows from a
quadratic: with U = a w^2 / 2 positions are the autoregression

    w_(t+1) = (2 - friction - epsilon a / 2) w_t - (1 - friction) w_(t-1) + noise,

whose stationary variance, with noise of variance s, is s / (friction epsilon a (1 - epsilon a / (4 (2 - friction)))).
That tends to 1 / a for small epsilon, at every friction, with s = friction epsilon and no other. What remains,

    1 / (a (1 - epsilon a / (4 (2 - friction)))),   stable for epsilon a < 4 (2 - friction),

is too wide by at most what SGLD is. Gradients of minibatches add their own variance to that of the noise; none is
taken off.

Source: Chen, Fox and Guestrin 2014 (arXiv:1402.4102), equation 15 with eta = step_size / 2, alpha = friction and an
estimate of 0 for the gradients' noise.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.samplers.geometry import FLAT, Geometry
from circuitgrok.samplers.sgld import check_step_size
from circuitgrok.samplers.spread import spread
from circuitgrok.samplers.target import Generators, Info, Sampler, State, Target, standard_normal


def sghmc(target: Target, *, step_size: float, friction: float, geometry: Geometry = FLAT) -> Sampler:
    """The sampler v <- (1 - friction) v - (step_size / 2) grad U + sqrt(friction step_size) xi, w <- w + v.

    Chains start at rest. One gradient a step.

    Args:
        target: What to sample; minibatches are used if it has them.
        step_size: Variance epsilon that the noise would have at friction 1; positive.
        friction: Share of the velocity lost in a step; above 0, and 1 at most.
        geometry: Where chains may move; the velocity is tangential and carried along geodesics.

    Raises:
        ValueError: `step_size` is not positive and finite, or `friction` is out of range.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(1, 3), 10.0, 1.0)
        >>> sampler = sghmc(bowl, step_size=1e-3, friction=0.1)
        >>> chain = [torch.Generator().manual_seed(0)]
        >>> state, info = sampler.step(sampler.init(torch.zeros(1, 3), chain), chain)
        >>> torch.equal(state["position"], state["velocity"])  # from rest at 0
        True
    """
    check_step_size(step_size)
    if not 0 < friction <= 1:
        raise ValueError(f"friction must be above 0 and 1 at most; got {friction}")

    def init(position: Float[Tensor, "chain dim"], generators: Generators) -> State:
        loss = target.estimate(position, generators)
        return {"position": position, "force": target.force(position, loss), "velocity": torch.zeros_like(position)}

    def step(state: State, generators: Generators) -> tuple[State, Info]:
        position, noise = state["position"], standard_normal(state["position"], generators)
        velocity = (1 - friction) * state["velocity"] - step_size / 2 * state["force"]
        velocity = geometry.tangent(position, velocity + math.sqrt(friction * step_size) * noise)
        position, velocity = geometry.move(position, velocity)
        loss = target.estimate(position, generators)
        state = {"position": position, "force": target.force(position, loss), "velocity": velocity}
        untested = torch.full_like(loss.value, torch.nan)
        return state, Info(loss.value, untested, untested)

    def spread_of(state: State) -> Tensor:
        kick, carried = step_size / (4 * friction), (1 - friction) / friction * state["velocity"]
        return spread(target, geometry, state["position"], state["force"], kick=kick, carried=carried)

    return Sampler(init, step, spread_of)
