"""Walks through a loss basin: chains that start at a checkpoint and sample the posterior of its training loss.

    exp(-U(w)),   U(w) = nbeta L(w) + (prior / 2) |w|^2 + (localization / 2) |w - w*|^2

With neither prior nor localization nothing but the loss holds the chains, and they go wherever it lets them; a prior
is L2 of coefficient prior / nbeta on the loss, on the weights that move. In the sphere's geometry chains turn and
keep their norm. Unlike for a learning coefficient the way counts as well as the law: every draw is kept, from the
first step on, with what the network does there.

The two quadratics are one, so that samplers see the localized posterior that they know:

    (p / 2) |w|^2 + (g / 2) |w - w*|^2 = ((p + g) / 2) |w - g w* / (p + g)|^2 + a constant

Whether the settings of a sampler can be believed is asked of a Gaussian (`equipartition`): of each degree of freedom
the kinetic energy must be 1/2, and w dU/dw must be 1.

Source: Neal 2011 (arXiv:1206.1901) for Hamiltonian Monte Carlo; Welling and Teh 2011 for SGLD.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok import tree
from circuitgrok.errors import UserError
from circuitgrok.geometry import angle
from circuitgrok.interventions.losses import accuracy, cross_entropy
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.curvature import random_starts, sharpness
from circuitgrok.landscape.llc import refuse_unstable
from circuitgrok.landscape.sampling import GEOMETRIES, SAMPLERS, Sampling
from circuitgrok.models.kinds import AnyModel
from circuitgrok.polar.profiles import Measure
from circuitgrok.samplers.diagnostics import diagnose, faults
from circuitgrok.samplers.geometry import FLAT, Geometry
from circuitgrok.samplers.hmc import hmc
from circuitgrok.samplers.sample import Chains, Draws, sample, start
from circuitgrok.samplers.target import LossGrad, Sampler, Target, squared_norm
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd


JITTER = 0.2  # of the length of a leapfrog; of the order that Neal 2011, section 5.4.2, gives for it
SURE = 4.0  # standard errors beyond which a mean is another


class Exploration(NamedTuple):
    """Where chains went.

    Attributes:
        table: One row per chain and draw, the start as draw 0; see `explore`.
        end: The networks after the last draw, `[chain ...]`; of a diverged chain the last that was finite.
    """

    table: "pd.DataFrame"
    end: Params


class Equipartition(NamedTuple):
    """Mean energies of a sampler on a Gaussian, and what is wrong with them.

    Attributes:
        kinetic: Kinetic energy per degree of freedom, 1/2 if all is well; nan for a sampler that has none.
        kinetic_mcse: Its standard error.
        virial: Mean of w dU/dw of each coordinate, 1 if all is well.
        virial_mcse: Standard errors.
        acceptance: Mean probability of accepting a step; nan for a sampler that has none.
        faults: Each rule that is broken, with its number; empty if nothing speaks against the sampler.

    Example:
        >>> print(Equipartition(0.51, 0.02, torch.tensor([1.1]), torch.tensor([0.25]), 0.9, []))
        kinetic energy 0.510 ± 0.020 (exact 0.5), w dU/dw 1.100 ± 0.250 (exact 1), faults: none
    """

    kinetic: float
    kinetic_mcse: float
    virial: Float[Tensor, " dim"]
    virial_mcse: Float[Tensor, " dim"]
    acceptance: float
    faults: list[str]

    def __str__(self) -> str:
        virial = ", ".join(f"{x:.3f} ± {error:.3f}" for x, error in zip(self.virial, self.virial_mcse, strict=True))
        kinetic = f"kinetic energy {self.kinetic:.3f} ± {self.kinetic_mcse:.3f} (exact 0.5), "
        faults = "; ".join(self.faults) or "none"
        return f"{'' if math.isnan(self.kinetic) else kinetic}w dU/dw {virial} (exact 1), faults: {faults}"


@in_plain_surroundings
def explore(
    weights: Params,
    model: AnyModel,
    task: Dataset,
    sampling: Sampling,
    *,
    prior: float = 0.0,
    jitter: float = JITTER,
    measure: Measure | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Exploration:
    """Chains from one network through the posterior of its training loss, with what each draw scores.

    Args:
        weights: The network; sampled in its own dtype.
        model: Its model.
        task: Its pairs, labels and split.
        sampling: Which sampler, with what steps; how many chains and draws, and sampler steps per draw (`n_thin`). The
            localization may be 0; draws of a burn-in are kept like all others.
        prior: Precision of a Gaussian about 0 on the weights that move; 0 is none.
        jitter: Of hmc: share by which a trajectory's leapfrogs may be shorter, drawn for each.
        measure: Asked for further columns at every draw: of a stack `[chain ...]`, numbers `[chain]` by name.
        tick: Called with (draws done, all).

    Returns:
        Columns `chain`, `draw`, `step` (of the sampler, so far); `train_loss`, `test_loss` (nats), `train_acc`,
        `test_acc`; `norm` of the trained weights and their `angle` from the start in radians; `potential` U as above;
        `kinetic` energy, `delta_H` of the last step and mean `acceptance` since the draw before, each nan where the
        sampler has none. A chain that diverged is nan from there on.

    Raises:
        UserError: The prior is negative, the step size is at or above the stability bound at the start, no tensor
            matches `parameters`, `on` is no split, or `batch_size` exceeds its pairs.

    Example:
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16), modular_addition(5, 0.5, 0)
        >>> weights = model.init(torch.Generator().manual_seed(0))
        >>> how = Sampling(sampler="hmc", step_size=1e-3, localization=0, geometry="sphere", n_chains=2, n_draws=8)
        >>> table, end = explore(weights, model, task, how)
        >>> len(table), bool(table["norm"].round(9).nunique() == 1), bool(table["angle"].iloc[-1] > 0.1)
        (18, True, True)
    """
    if not prior >= 0:
        raise UserError(f"a prior's precision must be 0 or more; got {prior}")
    copies = {name: value.expand(sampling.n_chains, *value.shape).clone() for name, value in weights.items()}
    loss = ChainLoss(model, task, task.where(sampling.on), copies, chosen_pieces(model, sampling.parameters))
    at, pull, nbeta = loss.start, prior + sampling.localization, sampling.inverse_temperature(task.n_train)
    target = Target(
        loss,
        at * (sampling.localization / pull) if pull else at,
        nbeta,
        pull,
        _batches(loss, sampling),
    )
    curvature = sharpness(loss, at, random_starts(sampling.n_chains, at.shape[1]))
    refuse_unstable(sampling.model_copy(update={"localization": pull}), curvature, nbeta)
    geometry = GEOMETRIES[sampling.geometry](at, loss(at).gradient)
    sampler = _sampler(sampling, target, geometry, jitter)

    def seen(chains: Chains, kept: Draws | None) -> dict[str, Tensor]:
        position = chains.state["position"]
        networks = loss.networks_at(position)
        row = _scores(networks, model, task, sampling.on) | _place(networks, weights, model)
        quadratic = prior * squared_norm(position) + sampling.localization * squared_norm(position - at)
        row["potential"] = target.nbeta * row.pop("loss") + quadratic / 2
        return row | _energies(chains, kept) | (measure(networks) if measure else {})

    chains = start(sampler, at, _seeds(sampling))
    rows = [seen(chains, None)]
    for draw in range(1, sampling.n_draws + 1):
        chains, kept = sample(sampler, chains, 1, n_thin=sampling.n_thin)
        rows.append(seen(chains, kept))
        if tick:
            tick(draw, sampling.n_draws)
    return Exploration(_table(rows, chains, sampling), loss.networks_at(chains.state["position"]))


@in_plain_surroundings
def equipartition(precision: Float[Tensor, " dim"], sampling: Sampling, *, jitter: float = JITTER) -> Equipartition:
    """Whether a sampler's settings share out energy as a Gaussian must, U(w) = sum_i a_i w_i^2 / 2.

    Chains start from the Gaussian itself, so that every draw counts: a sampler that leaves its law, or never moves
    within it (on half a turn w becomes -w, and w^2 stays), is found out.

    Args:
        precision: The a_i, positive: curvatures of U as chains of these settings meet them, in their dtype.
        sampling: The settings; of what a Gaussian has not (pairs, tensors, localization, geometry) nothing is read.
        jitter: Of hmc, as in `explore`.

    Returns:
        Energies with standard errors, and faults: means that are off by more than 4 of those, and chains that have
        not mixed.

    Raises:
        UserError: A precision is not positive and finite.

    Example:
        >>> how = Sampling(sampler="hmc", step_size=0.04, n_leapfrog=4, localization=0)
        >>> precision = torch.tensor([1.0, 4.0, 9.0])
        >>> found = equipartition(precision, how)
        >>> found.faults, bool(((found.virial - 1).abs() < 4 * found.virial_mcse).all()), round(found.kinetic, 1)
        ([], True, 0.5)
        >>> half_turn = Sampling(sampler="hmc", step_size=1.0, n_leapfrog=3, localization=0)
        >>> bool(equipartition(torch.tensor([1.0]), half_turn, jitter=0.0).faults)
        True
    """
    if not bool(((precision > 0) & precision.isfinite()).all()):
        raise UserError(f"precisions of a Gaussian must be positive and finite; got {precision.tolist()}")
    drawn = torch.randn(
        sampling.n_chains, len(precision), dtype=torch.float64, generator=torch.Generator().manual_seed(sampling.seed)
    )
    begin = (drawn / precision.double().sqrt()).to(precision)
    bowl = Target(lambda w: LossGrad((precision * w * w).double().sum(-1) / 2, precision * w), 0 * begin, 1.0, 0.0)
    sampler = _sampler(sampling, bowl, FLAT, jitter)
    chains, virials, kinetics, acceptances = start(sampler, begin, _seeds(sampling)), [], [], []
    for _ in range(sampling.n_draws):
        chains, kept = sample(sampler, chains, 1, n_thin=sampling.n_thin)
        virials.append(precision.double() * chains.state["position"].double().square())
        kinetics.append(_energies(chains, kept)["kinetic"] / len(precision))
        acceptances.append(kept.acceptance)
    virial = diagnose(torch.stack(virials, -1).movedim(1, 0), n_burnin=torch.zeros(len(precision), dtype=torch.int64))
    kinetic = diagnose(torch.stack(kinetics, -1), n_burnin=torch.tensor(0))
    found = [
        f"precision {a:.3g}: {fault}"
        for i, a in enumerate(precision.tolist())
        for fault in [*faults(virial.at(i)), *_off("w dU/dw", virial.mean[i], virial.mcse[i], 1.0)]
    ]
    if "kinetic" in chains.state:
        found += [*faults(kinetic), *_off("kinetic energy per degree of freedom", kinetic.mean, kinetic.mcse, 0.5)]
    return Equipartition(
        kinetic.mean.item(), kinetic.mcse.item(), virial.mean, virial.mcse, torch.cat(acceptances).mean().item(), found
    )


def _off(name: str, mean: Tensor, mcse: Tensor, exact: float) -> list[str]:
    off = (mean - exact).abs() > SURE * mcse
    return [f"{name} is {mean.item():.4g} +- {mcse.item():.2g}, and must be {exact:g}"] if off else []


def _sampler(sampling: Sampling, target: Target, geometry: Geometry, jitter: float) -> Sampler:
    if sampling.sampler != "hmc":
        return SAMPLERS[sampling.sampler](target, sampling, geometry)
    step_size, n_leapfrog = sampling.step_size, sampling.n_leapfrog
    return hmc(target, step_size=step_size, n_leapfrog=n_leapfrog, jitter=jitter, geometry=geometry)


def _batches(loss: ChainLoss, sampling: Sampling) -> Callable[..., LossGrad] | None:
    n_pairs = int(loss.where.sum())
    if sampling.batch_size is None:
        return None
    if sampling.batch_size > n_pairs:
        raise UserError(f"batch_size must be at most the {n_pairs} pairs; got {sampling.batch_size}")
    return partial(loss.on_batches, sampling.batch_size)


def _seeds(sampling: Sampling) -> list[int]:
    """A seed for every chain, 32 bits, the same however many chains there are beside it."""
    names = (f"{sampling.seed}/walk/{chain}" for chain in range(sampling.n_chains))
    return [int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) for name in names]


@torch.no_grad()
def _scores(networks: Params, model: AnyModel, task: Dataset, on: str) -> dict[str, Float[Tensor, " chain"]]:
    """Losses and accuracies of each network, one after the other; `loss` is that of the sampled split."""
    train, test, sampled = task.is_train, ~task.is_train, task.where(on)
    rows = []
    for network in tree.unstack(networks):
        logits = model.logits(network, task.inputs)
        losses = cross_entropy(logits, task.labels)
        right = [accuracy(logits[where], task.labels[where]) for where in (train, test)]
        rows.append(torch.stack([*(losses[where].mean() for where in (train, test, sampled)), *right]))
    names = ("train_loss", "test_loss", "loss", "train_acc", "test_acc")
    return dict(zip(names, torch.stack(rows, dim=1), strict=True))


def _place(networks: Params, weights: Params, model: AnyModel) -> dict[str, Float[Tensor, " chain"]]:
    """The trained weights in polar coordinates."""
    trained = [name for name in weights if model.is_trainable(name)]
    before = {name: weights[name] for name in trained}
    now = {name: networks[name] for name in trained}
    turned = [angle(network, before) for network in tree.unstack(now)]
    return {"norm": tree.norm(now, axes=1), "angle": torch.stack(turned)}


def _energies(chains: Chains, kept: Draws | None) -> dict[str, Float[Tensor, " chain"]]:
    """What a sampler knows of its last step; nan before the first, and where there is nothing to know."""
    unknown = torch.full((len(chains.generators),), torch.nan, dtype=torch.float64)
    if kept is None:
        return dict.fromkeys(("kinetic", "delta_H", "acceptance"), unknown)
    kinetic = chains.state.get("kinetic", unknown)
    return {"kinetic": kinetic, "delta_H": kept.energy_error[0], "acceptance": kept.acceptance[0]}


def _table(rows: Sequence[dict[str, Tensor]], chains: Chains, sampling: Sampling) -> "pd.DataFrame":
    """One line per chain and draw, the draws of a chain one after the other."""
    import pandas as pd

    draw = torch.arange(len(rows)).expand(sampling.n_chains, -1)
    chain = torch.arange(sampling.n_chains)[:, None].expand_as(draw)
    columns = {"chain": chain, "draw": draw, "step": draw * sampling.n_thin}
    stopped = (chains.stopped_at[:, None] >= 0) & (columns["step"] >= chains.stopped_at[:, None])
    for name in rows[0]:
        values = torch.stack([row[name].double() for row in rows], dim=1)
        columns[name] = values.masked_fill(stopped, torch.nan)
    return pd.DataFrame({name: values.flatten().numpy() for name, values in columns.items()})
