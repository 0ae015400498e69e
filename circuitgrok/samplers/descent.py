"""Descent in trajectories from rest: what Hamiltonian Monte Carlo becomes when nothing is warm.

As the temperature falls, the velocities that `hmc` draws fall with it, and what is left of a step is

    v <- 0;   `n_leapfrog` times  v <- v - (step_size / 2) grad U;  w <- w + v;  v <- v - (step_size / 2) grad U

taken if U does not rise: descent with momentum that is forgotten after each trajectory. With one leapfrog it is
gradient descent with rate step_size / 2. It draws nothing, so that beside chains of as many gradients it tells what of
their way is descent on the same potential.

Source: the limit of `circuitgrok.samplers.hmc`; restarts of momentum O'Donoghue and Candes 2015 (arXiv:1204.3982).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.samplers.geometry import FLAT, Geometry
from circuitgrok.samplers.hmc import at_rest, check_leapfrogs, chosen, kinetic, trajectory
from circuitgrok.samplers.sgld import of_chains
from circuitgrok.samplers.target import Generators, Info, Sampler, State, Target


def descent(
    target: Target, *, step_size: float | Float[Tensor, " chain"], n_leapfrog: int, geometry: Geometry = FLAT
) -> Sampler:
    """`hmc` without any velocity at the start of a step; what would raise U is not taken.

    Its acceptance is what `hmc` would make of the error of H, so that its steps can be chosen in the same way.

    Args:
        target: What to go down, by its full loss.
        step_size: Square of the leapfrog's length; positive; one for all chains, or each chain's own.
        n_leapfrog: Leapfrogs a step, one gradient each; 1 or more.
        geometry: Where chains may move.

    Raises:
        UserError: `step_size` is not positive and finite, or `n_leapfrog` is below 1.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(1, 2), 1.0, 0.0)
        >>> down = descent(bowl, step_size=0.2, n_leapfrog=1)
        >>> state, info = down.step(down.init(torch.ones(1, 2), []), [])
        >>> state["position"]
        tensor([[0.9000, 0.9000]])
    """
    size, _ = of_chains(step_size, target.centre)
    check_leapfrogs(n_leapfrog)

    def init(position: Float[Tensor, "chain dim"], generators: Generators) -> State:
        return at_rest(target, position)

    def step(state: State, generators: Generators) -> tuple[State, Info]:
        rest = torch.zeros_like(state["position"])
        end, velocity = trajectory(target, geometry, state, rest, size, n_leapfrog)
        end = end | {"kinetic": kinetic(velocity, size)}
        error = end["energy"] + end["kinetic"] - state["energy"]
        error = error.where(error.isfinite(), torch.inf)
        taken = error.isfinite() & (end["energy"] <= state["energy"])
        state = chosen(taken, end, state)
        return state, Info(state["loss"], error.clamp(min=0).neg().exp(), error)

    return Sampler(init, step)
