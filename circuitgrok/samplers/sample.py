"""The one loop: any sampler, a stack of chains, what is kept of them, and where to go on from.

A chain whose loss or position stops being finite has diverged. It is frozen where it last was finite, what
is recorded of it is nan from then on, and its neighbours never notice: chains share no random numbers, and
what is put back is copied, not computed. `diagnostics` tells such a chain from one that has not converged.

Generators are copied before the first step, so that the chains that are handed in stay as they are, also if
the loop is interrupted: sampling from them again gives the same draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.samplers.target import Generators, Info, Sampler, State


@dataclass(frozen=True)
class Chains:
    """Everything that the next step of a stack of chains needs.

    Attributes:
        state: What the sampler keeps, `[chain ...]`; "position" among it.
        generators: One for each chain.
        steps: Steps of the sampler so far, burn-in and thinned ones too.
        stopped_at: Number of the step, counted from 1, that led a chain to what is not finite; -1 if none did.
    """

    state: State
    generators: list[torch.Generator]
    steps: int
    stopped_at: Int[Tensor, " chain"]


class Draws(NamedTuple):
    """What was kept of the chains; float64, and nan for a chain from the draw on in which it diverged."""

    loss: Float[Tensor, "draw chain"]  # L at the draw, as the sampler saw it: of a minibatch, if it was given those
    acceptance: Float[Tensor, "draw chain"]  # mean over the steps that led to the draw; nan if there was no test
    energy_error: Float[Tensor, "draw chain"]  # of the last of these steps; nan if there was no test
    observed: Float[Tensor, "draw chain k"] | None  # what `observe` answered, if it was asked
    spread: Float[Tensor, "draw chain"]  # share of directions that the chain has spread along; nan if not known


def start(sampler: Sampler, position: Float[Tensor, "chain dim"], seeds: Sequence[int]) -> Chains:
    """Chains that have not moved yet.

    Args:
        sampler: What will move them.
        position: Where each starts.
        seeds: One integer for each chain, from which its own generator is made.

    Raises:
        ValueError: Not one seed for each chain, two chains with the same seed (they would draw the same
            numbers), or a position that is not finite.

    Example:
        >>> from circuitgrok.samplers.sgld import sgld
        >>> from circuitgrok.samplers.target import LossGrad, Target
        >>> bowl = Target(lambda w: LossGrad(w.square().sum(-1) / 2, w), torch.zeros(2, 3), 10.0, 1.0)
        >>> chains = start(sgld(bowl, step_size=1e-2), torch.zeros(2, 3), seeds=[0, 1])
        >>> chains.steps, chains.stopped_at
        (0, tensor([-1, -1]))
    """
    if len(seeds) != len(position) or len(set(seeds)) != len(seeds):
        raise ValueError(f"each of {len(position)} chains needs a seed of its own; got {list(seeds)}")
    if not position.isfinite().all():
        broken = (~position.isfinite()).any(-1).nonzero().flatten().tolist()
        raise UserError(f"chains must start where all numbers are finite; chains {broken} do not")
    generators = [torch.Generator(device=position.device).manual_seed(seed) for seed in seeds]
    state = sampler.init(position.clone(), generators)
    return Chains(state, generators, 0, torch.full((len(seeds),), -1, device=position.device))


def saved(chains: Chains) -> dict[str, Tensor]:
    """All of the chains as tensors that share no memory, to be written as safetensors.

    Returns:
        "state.<name>" for what the sampler keeps, "generators" (bytes, `[chain byte]`), "steps" and "stopped_at".
    """
    return {
        **{f"state.{name}": part.detach().clone().contiguous() for name, part in chains.state.items()},
        "generators": torch.stack([generator.get_state() for generator in chains.generators]),
        "steps": torch.tensor(chains.steps),
        "stopped_at": chains.stopped_at.clone(),
    }


def restored(tensors: dict[str, Tensor]) -> Chains:
    """The chains that were saved; sampling goes on from them bit for bit.

    Args:
        tensors: From `saved`, on the device to go on with.

    Raises:
        ValueError: One of the tensors is missing.

    Example:
        >>> from circuitgrok.samplers.sgld import sgld
        >>> from circuitgrok.samplers.target import LossGrad, Target
        >>> bowl = Target(lambda w: LossGrad(w.square().sum(-1) / 2, w), torch.zeros(2, 3), 10.0, 1.0)
        >>> sampler = sgld(bowl, step_size=1e-2)
        >>> chains, _ = sample(sampler, start(sampler, torch.zeros(2, 3), seeds=[0, 1]), 5)
        >>> again = restored(saved(chains))
        >>> torch.equal(sample(sampler, chains, 5)[1].loss, sample(sampler, again, 5)[1].loss)
        True
    """
    missing = {"state.position", "generators", "steps", "stopped_at"} - tensors.keys()
    if missing:
        raise ValueError(f"saved chains need {sorted(missing)}; got {sorted(tensors)}")
    state = {name.removeprefix("state."): part for name, part in tensors.items() if name.startswith("state.")}
    generators = [torch.Generator(device=state["position"].device) for _ in tensors["generators"]]
    for generator, content in zip(generators, tensors["generators"].cpu(), strict=True):
        generator.set_state(content.clone())  # a copy is aligned, which bytes out of a file need not be: torch crashes
    return Chains(state, generators, int(tensors["steps"]), tensors["stopped_at"])


def sample(
    sampler: Sampler,
    chains: Chains,
    n_draws: int,
    *,
    n_burnin: int = 0,
    n_thin: int = 1,
    observe: Callable[[Float[Tensor, "chain dim"]], Float[Tensor, "chain k"]] | None = None,
    tick: Callable[[int, int, float], None] | None = None,
) -> tuple[Chains, Draws]:
    """Runs the chains for n_burnin + n_draws * n_thin steps.

    Args:
        sampler: The one that the chains were started with.
        chains: Where to go on from; they stay as they are.
        n_draws: Draws to keep, 1 or more.
        n_burnin: Steps before, of which nothing is kept; 0 or more.
        n_thin: Steps for each draw, the last of which is kept; 1 or more.
        observe: Asked at the positions of each draw that is kept: a loss on other data, a norm.
        tick: Told after every step: steps done, steps in all, mean loss of the chains that have not diverged.

    Returns:
        The chains after the last step, and the draws.

    Raises:
        ValueError: `n_draws`, `n_burnin` or `n_thin` is out of range.

    Example:
        >>> from circuitgrok.samplers.sgld import sgld
        >>> from circuitgrok.samplers.target import LossGrad, Target
        >>> bowl = Target(lambda w: LossGrad(w.square().sum(-1) / 2, w), torch.zeros(2, 3), 10.0, 1.0)
        >>> sampler = sgld(bowl, step_size=1e-2)
        >>> chains = start(sampler, torch.zeros(2, 3), seeds=[0, 1])
        >>> chains, draws = sample(sampler, chains, 100, n_burnin=20, n_thin=2, observe=lambda w: w[:, :1])
        >>> chains.steps, draws.loss.shape, draws.observed.shape
        (220, torch.Size([100, 2]), torch.Size([100, 2, 1]))
    """
    if n_draws < 1 or n_burnin < 0 or n_thin < 1:
        raise ValueError(
            f"n_draws and n_thin must be 1 or more and n_burnin 0 or more; got {n_draws}, {n_thin} and {n_burnin}"
        )
    generators = [generator.clone_state() for generator in chains.generators]
    state, stopped_at = chains.state, chains.stopped_at
    shape = n_draws, len(generators)
    loss, acceptance, energy_error = state["position"].new_zeros(3, *shape, dtype=torch.float64)
    spread = torch.full_like(loss, torch.nan)
    observed: list[Tensor] = []
    total = n_burnin + n_draws * n_thin
    for step in range(total):
        state, info, stopped_at = _advance(sampler, state, generators, stopped_at, chains.steps + step + 1)
        draw, of_draw = divmod(step - n_burnin, n_thin)
        if draw >= 0:
            acceptance[draw].add_(info.acceptance, alpha=1 / n_thin)
        if draw >= 0 and of_draw == n_thin - 1:
            loss[draw], energy_error[draw] = info.loss, info.energy_error
            if sampler.spread:
                spread[draw] = torch.where(stopped_at < 0, sampler.spread(state), torch.nan)
            if observe:
                answer = observe(state["position"]).double()
                observed.append(torch.where(_beside(stopped_at < 0, answer), answer, torch.nan))
        if tick:
            tick(step + 1, total, info.loss.nanmean().item())
    draws = Draws(loss, acceptance, energy_error, torch.stack(observed) if observed else None, spread)
    return Chains(state, generators, chains.steps + total, stopped_at), draws


def _advance(
    sampler: Sampler, state: State, generators: Generators, stopped_at: Int[Tensor, " chain"], step: int
) -> tuple[State, Info, Int[Tensor, " chain"]]:
    """One step, of which the rows of diverged chains are not taken."""
    new, info = sampler.step(state, generators)
    evidence = info.loss + new["position"].sum(-1)
    running = (stopped_at < 0) & evidence.isfinite()
    if running.all():
        return new, info, stopped_at
    stopped_at = torch.where(running | (stopped_at >= 0), stopped_at, step)
    kept = {name: torch.where(_beside(running, part), part, state[name]) for name, part in new.items()}
    return kept, Info(*(torch.where(running, part, torch.nan) for part in info)), stopped_at


def _beside(of_chain: Tensor, tensor: Tensor) -> Tensor:
    """A vector over chains, shaped to go with a tensor that has more axes."""
    return of_chain.reshape(-1, *[1] * (tensor.ndim - 1))
