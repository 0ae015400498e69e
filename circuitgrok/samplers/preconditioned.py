"""SGLD with a step size for each coordinate, learnt from the forces at first and then held.

    w <- w - (step_size / 2) G grad U(w) + sqrt(step_size G) xi,   G = 1 / (stability + sqrt(V))

with V the mean of the squared coordinates of grad U over the start and the first `n_adapt` steps, as in RMSprop:
steep coordinates take small steps, flat ones large ones. Li et al. let V follow the chain for ever. Then G depends on
where the chain is, and the stationary law is only right with another drift, step_size / 2 times Gamma, whose
coordinate i is the derivative by w_i of E[G_ii | w], stationary mean of what V remembers. No formula gives that for a
V with a memory: to differentiate V as if all of it were of this place (a running mean of 2 force_i H_ii) is right once
the chain stands still while V forgets, which takes steps so small that nothing is gained; to differentiate the newest
term only, times 1 - decay, or to leave Gamma out, is right when V forgets nothing; and where a gradient jumps, both
are wrong at all steps. With V held, Gamma is 0: the law is exact in the limit of small steps on any landscape, for one
gradient a step. On a quadratic of curvature a the variance is 1 / (a (1 - step_size G a / 4)), as for SGLD.

Source: Li et al. 2016 (arXiv:1512.07666) for G and Gamma; Andrieu and Thoms 2008, Statistics and Computing 18, on
adaptation that must end.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.samplers.geometry import FLAT, Euclidean, Geometry
from circuitgrok.samplers.sgld import check_step_size
from circuitgrok.samplers.spread import spread
from circuitgrok.samplers.target import Generators, Info, Sampler, State, Target, standard_normal


def preconditioned_sgld(
    target: Target, *, step_size: float, stability: float, n_adapt: int, geometry: Geometry = FLAT
) -> Sampler:
    """The sampler w <- w - (step_size / 2) G grad U + sqrt(step_size G) xi, with G held after `n_adapt` steps.

    Draws of the first `n_adapt` steps are of no law; count them as burn-in. Each chain learns its own G.

    Args:
        target: What to sample; minibatches are used if it has them, and their noise counts in V.
        step_size: What G multiplies; positive. SGLD's step size in units of `stability`.
        stability: In units of grad U, which has nbeta in it; positive. No coordinate takes more than
            step_size / stability, and the first steps from a minimum, where all forces are small, take that much.
        n_adapt: Steps in which G is learnt; 1 or more.
        geometry: Only the flat one: G would turn tangential steps off the others.

    Raises:
        ValueError: `step_size` or `stability` is not positive and finite, `n_adapt` is below 1, or the geometry
            is not flat.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> a = torch.tensor([1.0, 9.0])
        >>> bowl = Target(lambda w: LossGrad((a * w * w).double().sum(-1) / 2, a * w), torch.zeros(1, 2), 10.0, 0.0)
        >>> sampler = preconditioned_sgld(bowl, step_size=0.1, stability=1.0, n_adapt=500)
        >>> chain = [torch.Generator().manual_seed(0)]
        >>> state = sampler.init(torch.zeros(1, 2), chain)
        >>> for _ in range(500):
        ...     state, info = sampler.step(state, chain)
        >>> (state["mean_square"] / (10 * a)).sqrt().round()  # a w has variance a: both are sqrt(a)
        tensor([[1., 1.]])
    """
    check_step_size(step_size)
    if not 0 < stability < math.inf:
        raise ValueError(f"stability must be positive and finite; got {stability}; it is in units of grad U")
    if n_adapt < 1:
        raise ValueError(f"n_adapt must be 1 or more; got {n_adapt}")
    if not isinstance(geometry, Euclidean):
        raise ValueError(f"a preconditioned step leaves {type(geometry).__name__}: use sgld, sghmc, mala or hmc there")

    def init(position: Float[Tensor, "chain dim"], generators: Generators) -> State:
        force = target.force(position, target.estimate(position, generators))
        seen = torch.ones(len(position), dtype=torch.int64, device=position.device)
        return {"position": position, "force": force, "mean_square": force.square(), "n_seen": seen}

    def step(state: State, generators: Generators) -> tuple[State, Info]:
        position, mean_square, seen = state["position"], state["mean_square"], state["n_seen"]
        step_sizes = step_size / (stability + mean_square.sqrt())
        drift = -step_sizes / 2 * state["force"]
        position = position + drift + step_sizes.sqrt() * standard_normal(position, generators)
        loss = target.estimate(position, generators)
        force = target.force(position, loss)
        learning = seen <= n_adapt
        updated = mean_square + (force.square() - mean_square) / (seen + 1)[:, None]
        mean_square = torch.where(learning[:, None], updated, mean_square)
        state = {"position": position, "force": force, "mean_square": mean_square, "n_seen": seen + learning}
        untested = torch.full_like(loss.value, torch.nan)
        return state, Info(loss.value, untested, untested)

    def spread_of(state: State) -> Tensor:
        kick = step_size / 4 / (stability + state["mean_square"].sqrt())
        return spread(target, geometry, state["position"], state["force"], kick=kick)

    return Sampler(init, step, spread_of)
