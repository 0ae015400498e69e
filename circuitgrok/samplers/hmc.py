"""Hamiltonian Monte Carlo: trajectories of nearly constant energy, and a test that makes them exact.

A step draws a velocity v ~ N(0, step_size), tangential, follows `n_leapfrog` times

    v <- v - (step_size / 2) grad U(w);   w, v <- geodesic from w with v;   v <- v - (step_size / 2) grad U(w)

with the tangential part of each gradient, and accepts where it comes to with probability min(1, exp(-error)),
error the change of H = U(w) + |v|^2 / (2 step_size). Velocity is length per leapfrog: in the usual terms the
leapfrog's step is h = sqrt(step_size), and the first move is that of SGLD with the same step size. The error
is of order h^2 = step_size along a trajectory of given length h n_leapfrog. A leapfrog can be retraced
and keeps volume, on each of the geometries, so that nothing else enters the test. It may be followed at a step size
that is drawn anew for each trajectory, since that draw does not look at where the chain is.

Source: Duane et al. 1987; Neal 2011 (arXiv:1206.1901), section 3.2 on drawn step sizes; along geodesics Byrne and
Girolami 2013 (arXiv:1301.6064).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.samplers.geometry import FLAT, Geometry
from circuitgrok.samplers.sgld import of_chains
from circuitgrok.samplers.spread import spread
from circuitgrok.samplers.target import Generators, Info, Sampler, State, Target, squared_norm, standard_normal


def hmc(
    target: Target,
    *,
    step_size: float | Float[Tensor, " chain"],
    n_leapfrog: int,
    jitter: float = 0.0,
    geometry: Geometry = FLAT,
) -> Sampler:
    """The sampler that follows `n_leapfrog` leapfrogs of length sqrt(step_size) a step, one gradient each, and tests.

    Exact at any step size, however few proposals it accepts. On a quadratic with curvature a the leapfrog is stable for
    step_size a < 4; and a trajectory must not be half a period or a whole one, h n_leapfrog sqrt(a) = pi, 2 pi, or
    the chain never mixes there: with `jitter` no trajectory is always that. What a chain keeps as `kinetic` is its
    |v|^2 / (2 step_size) where the trajectory ended, or began, if it was rejected: with the position it has the law
    exp(-H).

    Args:
        target: What to sample, by its full loss.
        step_size: Square of the leapfrog's length; positive; one for all chains, or each chain's own.
        n_leapfrog: Leapfrogs a step; 1 or more.
        jitter: Each chain's trajectory takes leapfrogs that are shorter by a share drawn from 0 to this; below 1.
        geometry: Where chains may move.

    Raises:
        UserError: `step_size` is not positive and finite, `n_leapfrog` is below 1, `jitter` is out of range, or the
            target has minibatches.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(2, 3), 10.0, 1.0)
        >>> sampler = hmc(bowl, step_size=1e-2, n_leapfrog=5)
        >>> chains = [torch.Generator().manual_seed(i) for i in range(2)]
        >>> state, info = sampler.step(sampler.init(torch.zeros(2, 3), chains), chains)
        >>> info.acceptance.round(decimals=2)
        tensor([0.9000, 0.9900], dtype=torch.float64)
    """
    size, root = of_chains(step_size, target.centre)
    check_leapfrogs(n_leapfrog)
    if not 0 <= jitter < 1:
        raise UserError(f"jitter must be 0 or more and below 1; got {jitter}")
    if target.batch_loss is not None:
        raise UserError(
            "a test needs the full loss, and this target has minibatches: leave out batch_loss, or use sgld"
        )

    def init(position: Float[Tensor, "chain dim"], generators: Generators) -> State:
        return at_rest(target, position)

    def step(state: State, generators: Generators) -> tuple[State, Info]:
        share = 1 - jitter * _uniform(state["energy"], generators)[:, None].to(state["position"]) if jitter else 1.0
        length, variance = root * share, size * share**2
        noise = length * standard_normal(state["position"], generators)
        velocity = geometry.tangent(state["position"], noise)
        state = state | {"kinetic": kinetic(velocity, variance)}
        proposal, velocity = trajectory(target, geometry, state, velocity, variance, n_leapfrog)
        proposal = proposal | {"kinetic": kinetic(velocity, variance)}
        error = proposal["energy"] + proposal["kinetic"] - (state["energy"] + state["kinetic"])
        error = error.where(error.isfinite(), torch.inf)  # a force that is not finite has spoiled the velocity
        acceptance = error.clamp(min=0).neg().exp()
        state = chosen(_uniform(acceptance, generators) < acceptance, proposal, state)
        return state, Info(state["loss"], acceptance, error)

    def spread_of(state: State) -> Tensor:
        return spread(target, geometry, state["position"], state["force"])

    return Sampler(init, step, spread_of)


def at_rest(target: Target, position: Float[Tensor, "chain dim"]) -> State:
    """What a chain at a position keeps, without a velocity."""
    state = _at(target, position)
    return state | {"kinetic": torch.zeros_like(state["energy"])}


def trajectory(
    target: Target, geometry: Geometry, place: State, velocity: Tensor, variance: float | Tensor, n_leapfrog: int
) -> tuple[State, Tensor]:
    """Where so many leapfrogs come to, and the velocity there; `variance` is the square of a leapfrog's length."""

    def kicked(velocity: Float[Tensor, "chain dim"], place: State) -> Float[Tensor, "chain dim"]:
        return velocity - geometry.tangent(place["position"], variance / 2 * place["force"])

    for _ in range(n_leapfrog):
        position, velocity = geometry.move(place["position"], kicked(velocity, place))
        place = _at(target, position)
        velocity = kicked(velocity, place)
    return place, velocity


def kinetic(velocity: Float[Tensor, "chain dim"], variance: float | Tensor) -> Float[Tensor, " chain"]:
    """|v|^2 / (2 variance)."""
    return (squared_norm(velocity)[:, None] / (2 * variance)).squeeze(1)


def check_leapfrogs(n_leapfrog: int) -> None:
    """Refuses a trajectory without leapfrogs."""
    if n_leapfrog < 1:
        raise UserError(f"n_leapfrog must be 1 or more; got {n_leapfrog}")


def chosen(accepted: Tensor, proposal: State, state: State) -> State:
    """The proposal for chains that accept it, the state for the others."""
    rows = {name: accepted.reshape(-1, *[1] * (old.ndim - 1)) for name, old in state.items()}
    return {name: torch.where(rows[name], proposal[name], old) for name, old in state.items()}


def _at(target: Target, position: Float[Tensor, "chain dim"]) -> State:
    loss = target.loss(position)
    energy = target.energy(position, loss)
    return {"position": position, "force": target.force(position, loss), "loss": loss.value, "energy": energy}


def _uniform(like: Float[Tensor, " chain"], generators: Generators) -> Float[Tensor, " chain"]:
    """Independent numbers in [0, 1), each chain's from its own generator."""
    drawn = torch.empty_like(like)
    for number, generator in zip(drawn, generators, strict=True):
        number.uniform_(generator=generator)
    return drawn
