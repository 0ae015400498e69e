"""Replica exchange on a sphere: chains at many temperatures that trade places, so that cold ones are never caught.

A ladder has a rung for each inverse temperature, from 0 upwards; a chain at rung k has the law

    d mu_r(w) exp(-b_k L(w)) / Z(b_k),    mu_r uniform on the sphere of radius r,   Z(0) = 1.

A round is a trajectory of Hamiltonian Monte Carlo along great circles at every rung, before which the lowest draws its
position anew from mu_r itself; then neighbours k, k + 1 trade positions with probability

    min(1, exp((b_{k+1} - b_k) (L_{k+1} - L_k))),

even and odd pairs in turn. Both keep the joint law of a ladder exactly. Steps are tuned to an acceptance while burning
in and stand still afterwards. Several ladders run side by side and share nothing but that tuning; their spread is the
error.

Source: Swendsen and Wang 1986; Hukushima and Nemoto 1996 (cond-mat/9512035); on spheres Byrne and Girolami 2013
(arXiv:1301.6064).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.geometry import unit
from circuitgrok.samplers.geometry import Sphere
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.target import Generators, LossGrad, Target, standard_normal

ACCEPTED = 0.8  # of the trajectories, by the steps that burning in looks for
JITTER = 0.2  # by which share trajectories are shorter at most
GAIN = 0.3  # by how much ln of a step moves for each unit of acceptance that is off

SummedLoss = Callable[[Float[Tensor, "chain dim"]], LossGrad]


class Exchanged(NamedTuple):
    """What the rounds after burn-in were like, and where the chains are."""

    losses: Float[Tensor, "round ladder rung"]  # L, at the end of each round's trajectory, before trading; float64
    observed: Float[Tensor, "round ladder k"] | None  # what `observe` said of the coldest rung
    positions: Float[Tensor, "ladder rung dim"]  # after the last round
    step_sizes: Float[Tensor, " rung"]  # as tuned
    acceptance: Float[Tensor, " rung"]  # of trajectories, in the mean
    traded: Float[Tensor, " pair"]  # share of the trades between neighbours that took place


def exchange(
    loss: SummedLoss,
    start: Float[Tensor, "ladder rung dim"],
    betas: Float[Tensor, " rung"],
    generators: Generators,
    *,
    n_rounds: int,
    n_burnin: int,
    n_leapfrog: int = 8,
    step_sizes: Float[Tensor, " rung"] | None = None,
    observe: Callable[[Float[Tensor, "ladder dim"]], Float[Tensor, "ladder k"]] | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Exchanged:
    """Rounds of replica exchange of several ladders.

    Args:
        loss: L and its gradient for rows of positions, ladder by ladder, in each from the lowest rung to the coldest.
        start: Where the chains start; their norms are the radius, and are kept.
        betas: Inverse temperatures of the rungs: 0, then rising.
        generators: One for each chain, in the same order.
        n_rounds: Rounds that are told of, 1 or more.
        n_burnin: Rounds before, in which step sizes are tuned.
        n_leapfrog: Leapfrogs of a trajectory.
        step_sizes: Squares of the leapfrogs' lengths to start from; by default the square of a tenth of the radius.
        observe: Asked at the positions of the coldest rung after each round that is told of.
        tick: Told after each round: rounds done, rounds in all.

    Raises:
        UserError: The temperatures do not rise from 0, or there is not one generator for each chain.

    Example:
        >>> def towards_a_pole(w):
        ...     return LossGrad(-w[:, 0].double(), -torch.eye(3).double()[0].expand_as(w))
        >>> draws = [torch.Generator().manual_seed(i) for i in range(6)]
        >>> start = unit(torch.ones(2, 3, 3).double())
        >>> found = exchange(towards_a_pole, start, torch.tensor([0.0, 1.0, 3.0]), draws, n_rounds=200, n_burnin=50)
        >>> [round(mean, 1) for mean in found.losses.mean((0, 1)).tolist()]  # 1 / b - coth b
        [0.0, -0.3, -0.7]
    """
    _check(start, betas, generators)
    n_ladders, n_rungs, dim = start.shape
    radius = start[0, 0].norm()
    sizes = (radius.double() / 10).square().repeat(n_rungs) if step_sizes is None else step_sizes.double()
    rungs = torch.arange(n_rungs, device=start.device)
    is_lowest = (rungs == 0).repeat(n_ladders)[:, None]
    position = start.flatten(0, 1)
    target = Target(loss, torch.zeros_like(position), betas.double().repeat(n_ladders), 0.0)
    losses, seen, accepted, trades = [], [], [], []
    for done in range(n_burnin + n_rounds):
        steps = sizes.repeat(n_ladders)
        sampler = hmc(target, step_size=steps, n_leapfrog=n_leapfrog, jitter=JITTER, geometry=Sphere())
        anywhere = radius * unit(standard_normal(position, generators))
        start_of_round = sampler.init(torch.where(is_lowest, anywhere, position), generators)
        state, info = sampler.step(start_of_round, generators)
        value = state["loss"].view(n_ladders, n_rungs)
        acceptance = info.acceptance.view(n_ladders, n_rungs).mean(0)
        trade, tried = _trades(value, betas, generators, first=done % 2)
        position = state["position"].view(n_ladders, n_rungs, dim).gather(1, _places(trade)[..., None].expand_as(start))
        position = position.flatten(0, 1)
        if done < n_burnin:
            sizes = sizes * (GAIN * (acceptance - ACCEPTED)).exp().where(rungs > 0, 1.0)
        else:
            losses.append(value)
            accepted.append(acceptance)
            trades.append(trade.double().mean(0).where(tried, torch.nan))
            if observe:
                seen.append(observe(position.view_as(start)[:, -1]).double())
        if tick:
            tick(done + 1, n_burnin + n_rounds)
    observed = torch.stack(seen) if seen else None
    of_pairs = torch.stack(trades).nanmean(0)
    return Exchanged(
        torch.stack(losses), observed, position.view_as(start), sizes, torch.stack(accepted).mean(0), of_pairs
    )


def _trades(
    value: Float[Tensor, "ladder rung"], betas: Float[Tensor, " rung"], generators: Generators, first: int
) -> tuple[Bool[Tensor, "ladder pair"], Bool[Tensor, " pair"]]:
    """Which pairs of neighbours trade places, and which were asked: every second one, from `first` on."""
    n_ladders, n_rungs = value.shape
    tried = torch.arange(n_rungs - 1, device=value.device) % 2 == first
    ln_ratio = betas.double().diff() * value.diff(dim=1)
    drawn = torch.empty(n_ladders * n_rungs, dtype=torch.float64, device=value.device)
    for number, generator in zip(drawn, generators, strict=True):
        number.uniform_(generator=generator)
    return tried & (drawn.view(n_ladders, n_rungs)[:, :-1].log() < ln_ratio), tried


def _places(trade: Bool[Tensor, "ladder pair"]) -> Int[Tensor, "ladder rung"]:
    """From which rung each rung's position comes.

    >>> _places(torch.tensor([[False, True, False]])).tolist()
    [[0, 2, 1, 3]]
    """
    up, down = torch.nn.functional.pad(trade, (0, 1)), torch.nn.functional.pad(trade, (1, 0))
    return torch.arange(trade.shape[1] + 1, device=trade.device) + up.long() - down.long()


def _check(start: Float[Tensor, "ladder rung dim"], betas: Float[Tensor, " rung"], generators: Generators) -> None:
    n_ladders, n_rungs, _ = start.shape
    if len(betas) != n_rungs or n_rungs < 2 or betas[0] != 0 or not bool((betas.diff() > 0).all()):
        raise UserError(f"inverse temperatures must rise from 0, one for each of {n_rungs} rungs; got {betas.tolist()}")
    if len(generators) != n_ladders * n_rungs:
        raise UserError(f"each of {n_ladders * n_rungs} chains needs a generator; got {len(generators)}")
