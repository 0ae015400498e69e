"""The Metropolis-adjusted Langevin algorithm: SGLD's move as a proposal, and a test that makes it exact.

The proposal w' ~ N(w - (step_size / 2) grad U(w), step_size) is accepted with probability

    min(1, exp(-U(w')) q(w | w') / (exp(-U(w)) q(w' | w)))

with q its density. One leapfrog of Hamiltonian Monte Carlo is the same proposal, and the change of its H is
minus the logarithm of this ratio, so that the one is written as the other.

Source: Roberts and Tweedie 1996, Bernoulli 2 (4); as one leapfrog Neal 2011 (arXiv:1206.1901), section 5.2.
"""

from circuitgrok.samplers.geometry import FLAT, Geometry
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.target import Sampler, Target


def mala(target: Target, *, step_size: float, geometry: Geometry = FLAT) -> Sampler:
    """The sampler w' = w - (step_size / 2) grad U + sqrt(step_size) xi with a Metropolis test, one gradient a step.

    Its acceptance tells how much SGLD with the same step size is off: near 1, hardly.

    Args:
        target: What to sample, by its full loss.
        step_size: Variance epsilon of the proposal's noise; positive.
        geometry: Where chains may move.

    Raises:
        ValueError: `step_size` is not positive and finite, or the target has minibatches.

    Example:
        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = Target(lambda w: LossGrad(w.double().square().sum(-1) / 2, w), torch.zeros(1, 3), 10.0, 1.0)
        >>> sampler = mala(bowl, step_size=1e-3)
        >>> chain = [torch.Generator().manual_seed(0)]
        >>> state, info = sampler.step(sampler.init(torch.zeros(1, 3), chain), chain)
        >>> info.acceptance > 0.99
        tensor([True])
    """
    return hmc(target, step_size=step_size, n_leapfrog=1, geometry=geometry)
