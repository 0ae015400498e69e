"""Local learning coefficient: how fast the volume of nearly optimal weights grows around a point.

    llc = nbeta (E[L(w)] - L(w*)),   w from exp(-nbeta L(w) - (localization / 2) |w - w*|^2)

estimated from chains that start at w*. On a quadratic with curvatures h_i the exact value is
(1/2) sum_i nbeta h_i / (nbeta h_i + localization), half the effective dimension at z = localization / nbeta; at
singular points it is smaller than any Hessian can say. It depends on nbeta and on the localization, so compare
only estimates made alike, and believe none whose status is not `diagnostics_passed`:

    diverged               a chain became non-finite: there is no estimate (nan)
    one_chain              a single chain that shows no fault; whether others would agree cannot be known
    not_converged          the chains disagree, drift, or are too short (`faults` says which)
    not_a_critical_point   the loss still has a slope at w* that moves the estimate by more than its error
    diagnostics_passed     none of these was found

`diagnostics_passed` promises that the chains agree, do not drift and are long enough for the error that is given. It
does not promise that the estimate is right: not that the step is small enough (`calibration.step_bias`), and not that
the chains arrived. Chains that have all gone the same short way agree with each other, and 47 of 155 estimates that had
passed on deep linear networks were more than 10 % off. `spread` needs no burn-in to tell: it is 1 for stationary
chains (`circuitgrok.samplers.spread`). Of those 47 all had 0.11 to 0.78, four standard errors or more below 1. So had
45 of the 108 that were within 10 %, at 0.58 to 0.89. So it is a warning and no part of the status: far below 1 the
chains have not been everywhere yet, but the loss may not care about where they have not been.

Nor is a number that passed a local one: it is that of a window of finite width. `window` says how far the chains went,
over the size of the weights; above 0.1 they were somewhere else. `prior` and `noise` (`landscape.noise_rise`) say
what Gaussian noise of that width does without any posterior: what an estimate adds is its distance from these.

Source: Lau et al. 2023 (arXiv:2308.12108), section 4; refined forms Wang et al. 2024 (arXiv:2410.02984).
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.geometry import unit
from circuitgrok.landscape.curvature import StackLoss, hessian_product, random_starts, sharpness
from circuitgrok.landscape.noise_rise import Rise, noise_rise
from circuitgrok.landscape.sampling import GEOMETRIES, SAMPLERS, Sampling
from circuitgrok.samplers.diagnostics import diagnose, faults, status
from circuitgrok.samplers.geometry import Geometry
from circuitgrok.samplers.sample import sample, start
from circuitgrok.samplers.target import Target, squared_norm
from circuitgrok.surroundings import in_plain_surroundings

SHIFT_TOLERANCE = 0.05  # share of an estimate by which a slope at the point may move it
NOISE_PAIRS = 4  # Gaussian displacements with both signs for each chain


class LLC(NamedTuple):
    """An estimate for each point, with what is needed to judge it; all `[point]` unless said otherwise."""

    llc: Tensor  # nbeta (E[L] - L(w*)); nan if a chain diverged
    mcse: Tensor  # Monte Carlo standard error of `llc`
    r_hat: Tensor
    ess_bulk: Tensor
    ess_tail: Tensor
    drift: Tensor  # early against late draws, in standard errors
    n_burnin: Tensor  # draws that were thrown away
    init_loss: Tensor  # L(w*)
    mean_loss: Tensor  # E[L]
    acceptance: Tensor  # mean probability of accepting a step, tested (mala, hmc) or not (sgld); nan for others
    curvature: Tensor  # largest at w*, from differences of gradients: kinks of ReLU between them count
    spread: Tensor  # share of directions that the chains have spread along, 1 if stationary; nan on a sphere
    spread_se: Tensor  # its Monte Carlo standard error
    slope_shift: Tensor  # what the slope at w* adds to `llc`; 0 at a critical point
    displacement: Tensor  # of the draws from w*, root mean square per weight
    window: Tensor  # the displacement over the root mean square of the weights at w*; above 0.1 not local
    prior: Tensor  # what `llc` would be of chains that do not see the loss, noise of 1/sqrt(localization); never below
    prior_se: Tensor  # its Monte Carlo standard error
    noise: Tensor  # nbeta (E[L] - L(w*)) under Gaussian noise as wide as the displacement
    noise_se: Tensor  # its Monte Carlo standard error
    status: list[str]
    faults: list[list[str]]  # why, where the diagnostics are not passed
    traces: Tensor  # the draws of L, [point chain draw]


@in_plain_surroundings
def estimate_llc(
    loss: StackLoss,
    points: Float[Tensor, "point dim"],
    n_examples: int,
    sampling: Sampling,
    *,
    seeds: Sequence[int] | None = None,
    batch_loss: Callable | None = None,
    curvature: Float[Tensor, " point"] | None = None,
    tick: Callable[[int, int, float], None] | None = None,
) -> LLC:
    """Local learning coefficients of several points, their chains sampled side by side.

    Args:
        loss: L and its gradient for a stack `[point * chain, dim]`, the chains of a point next to each other.
        points: Where; chains start there and are pulled back there.
        n_examples: Number n of training examples, which sets nbeta unless `sampling` gives it.
        sampling: How to sample.
        seeds: An integer for each point, by default 0, 1, ...; with `sampling.seed` it decides its chains' noise.
        batch_loss: L on minibatches, if the chains are to see these; draws are still judged on the whole L.
        curvature: Top eigenvalue of the Hessian at each point, where it is known; else it is found.
        tick: Called with (draws done, all, mean loss).

    Raises:
        UserError: The step size is at or above the stability bound of some point; the message says the bound.

    Example:
        The exact coefficient is 100 / 2 * 50 / (50 + 50) = 25. This step makes it 1 / (1 - 0.004 * 100 / 4) larger:

        >>> from circuitgrok.samplers.target import LossGrad
        >>> bowl = lambda w: LossGrad(w.double().square().sum(-1) / 2, w)  # curvature 1 in each of 100 directions
        >>> how = Sampling(step_size=4e-3, localization=50.0, nbeta=50.0, sampler="sgld", n_draws=1000)
        >>> found = estimate_llc(bowl, torch.zeros(1, 100), 100, how)
        >>> found.status, bool((found.llc - 25 / 0.9).abs() < 4 * found.mcse)
        (['diagnostics_passed'], True)
    """
    centre = points.repeat_interleave(sampling.n_chains, 0)
    first = loss(centre)
    nbeta = sampling.inverse_temperature(n_examples)
    if curvature is None:
        starts = random_starts(sampling.n_chains, centre.shape[1])
        curvature = sharpness(loss, centre, starts).unflatten(0, (-1, sampling.n_chains)).amax(1)
    refuse_unstable(sampling, curvature, nbeta)
    geometry = GEOMETRIES[sampling.geometry](centre, first.gradient)
    target = Target(loss, centre, nbeta, sampling.localization, batch_loss)
    sampler = SAMPLERS[sampling.sampler](target, sampling, geometry)
    seeds = range(len(points)) if seeds is None else seeds
    streams = _streams(sampling, seeds)

    def watched(position: Tensor) -> Tensor:
        moved = squared_norm(position - centre) / centre.shape[1]
        return torch.stack([moved, loss(position).value] if batch_loss else [moved], dim=1)

    chains, draws = sample(
        sampler,
        start(sampler, centre, streams),
        sampling.n_draws,
        n_thin=sampling.n_thin,
        observe=watched,
        tick=tick,
    )
    observed = torch.as_tensor(draws.observed)
    losses = observed[..., 1] if batch_loss else draws.loss
    traces = losses.T.unflatten(0, (-1, sampling.n_chains))
    given = sampling.n_burnin
    found = diagnose(traces, n_burnin=None if given is None else torch.full((len(points),), given))
    spread = diagnose(draws.spread.T.unflatten(0, (-1, sampling.n_chains)), n_burnin=found.n_burnin)
    init_loss = first.value.unflatten(0, (-1, sampling.n_chains))[:, 0]
    llc = nbeta * (found.mean - init_loss)
    shift = _slope_shift(loss, centre, first.gradient, geometry, nbeta, sampling.localization)
    shift = shift.unflatten(0, (-1, sampling.n_chains))[:, 0]
    mcse = nbeta * found.mcse
    moved = observed[..., 0].T.unflatten(0, (-1, sampling.n_chains))
    kept = [trace[:, cut:].mean().sqrt() for trace, cut in zip(moved, found.n_burnin.tolist(), strict=True)]
    displacement, size = torch.stack(kept), (squared_norm(points) / points.shape[1]).sqrt()

    def risen(sigma: Tensor, law: str) -> Rise:
        drawn = _streams(sampling, seeds, law)
        return noise_rise(loss, centre, sigma, nbeta, seeds=drawn, n_pairs=NOISE_PAIRS, geometry=geometry)

    prior = risen(torch.full_like(size, sampling.localization).rsqrt(), "prior")
    noise = risen(displacement, "noise")
    each = [found.at(i) for i in range(len(points))]
    reasons, states = [faults(one) for one in each], [status(one) for one in each]
    sloped = shift.abs() > torch.maximum(2 * mcse, SHIFT_TOLERANCE * llc.abs())
    for reason, tilt, flagged in zip(reasons, shift.tolist(), sloped.tolist(), strict=True):
        if flagged:
            reason.append(f"the slope at the point shifts the estimate by {tilt:.3g}")
    return LLC(
        llc=llc,
        mcse=mcse,
        r_hat=found.r_hat,
        ess_bulk=found.ess_bulk,
        ess_tail=found.ess_tail,
        drift=found.drift,
        n_burnin=found.n_burnin,
        init_loss=init_loss,
        mean_loss=found.mean,
        acceptance=draws.acceptance.mean(0).unflatten(0, (-1, sampling.n_chains)).mean(1),
        curvature=curvature,
        spread=spread.mean,
        spread_se=spread.mcse,
        slope_shift=shift,
        displacement=displacement,
        window=displacement / size,
        prior=prior.rise,
        prior_se=prior.se,
        noise=noise.rise,
        noise_se=noise.se,
        status=[
            "not_a_critical_point" if s in ("diagnostics_passed", "one_chain") and tilted else s
            for s, tilted in zip(states, sloped, strict=True)
        ],
        faults=reasons,
        traces=traces,
    )


def refuse_unstable(sampling: Sampling, curvature: Float[Tensor, " point"], nbeta: float) -> None:
    """Refuses a step size with which chains run away in a quadratic of the largest of these curvatures.

    Raises:
        UserError: The message says the bound.
    """
    worst = curvature.amax().item()
    bound = sampling.stability_bound(worst, nbeta)
    if not sampling.step_size < bound:
        raise UserError(
            f"step_size must be below {bound:.3g}, where chains run away along the sharpest direction (curvature "
            f"{worst:.3g}, nbeta {nbeta:.3g}, localization {sampling.localization:.3g}); got {sampling.step_size:.3g}"
        )


def _streams(sampling: Sampling, seeds: Sequence[int], law: str = "") -> list[int]:
    """A seed for every chain, 32 bits mixed from (seed, point, chain): torch's generator drops all bits above."""
    names = (
        f"{sampling.seed}/{point}/{chain}{law and '/' + law}" for point in seeds for chain in range(sampling.n_chains)
    )
    return [int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) for name in names]


def _slope_shift(
    loss: StackLoss, centre: Tensor, gradient: Tensor, geometry: Geometry, nbeta: float, localization: float
) -> Tensor:
    """What a slope g along a direction of curvature h adds: -((nbeta g)^2 / k) (1 - nbeta h / (2 k)).

    k = nbeta h + localization; where that is not positive the local posterior has no peak, and the shift is -inf.
    """
    slope = geometry.tangent(centre, gradient)
    length, ahead = slope.norm(dim=-1), unit(slope)
    bend = (hessian_product(loss, centre, ahead) * ahead).double().sum(-1)
    k = nbeta * bend + localization
    shift = -((nbeta * length.double()) ** 2) / k * (1 - nbeta * bend / (2 * k))
    return torch.where(length == 0, 0.0, torch.where(k > 0, shift, -math.inf))
