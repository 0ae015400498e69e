"""What may warn of a network's generalising, at one checkpoint and from what is known by then.

Each function takes a run and a step and gives columns, as any function does that is to be in a `study.lead_table`.
Losses are those of the training pairs, but for `test_loss`, which is there for comparison: whatever warns has to do it
without the answers. Key frequencies are those that the rule finds *at the checkpoint*: a set that is found at the end
has seen the end. The one column that has, `foretold`, says so.

Draws are the same at every checkpoint, so that what differs along a run is the network.
"""

import math
from statistics import median

import torch

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.landscape.commutator import commutator, halves
from circuitgrok.landscape.density import flat, pair_losses
from circuitgrok.landscape.flat import loss_on
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.landscape.susceptibility import blocks_of, response
from circuitgrok.measures.circuits.restricted import excluded_losses, logit_circuit, restricted_losses, together
from circuitgrok.measures.parts.tickets import Tickets, alignment, foretold, tickets, worth
from circuitgrok.measures.spectra.complexity import participation_ratio
from circuitgrok.measures.spectra.fourier import fourier_gini
from circuitgrok.measures.spectra.sum_waves import rivals
from circuitgrok.polar.turning import bend
from circuitgrok.store.checkpoints import Checkpoints, config_of
from circuitgrok.table.checkpoints import Opened, checkpoints_of, key_frequencies
from circuitgrok.table.local_volume import local_volume
from circuitgrok.table.needs import Rule
from circuitgrok.table.susceptibilities import SPREAD
from circuitgrok.tree import norm


def warning_columns(run: Checkpoints, step: int, *, rule: Rule = "wl_energy") -> dict[str, float]:
    """Losses, norm, circuit and sparsity of one checkpoint of a run on numbers modulo p.

    Args:
        run: An opened run.
        step: The checkpoint.
        rule: Finds the key frequencies, at this checkpoint.

    Returns:
        `train_loss`, `test_loss`, `norm`, `restricted_loss` and `excluded_loss` (of the training pairs; nan without a
        key frequency), `gini[W_E]`, `gini[W_L]` and `n_keys`.

    Raises:
        RunError: There is no such checkpoint.

    Example:
        >>> import circuitgrok as cg
        >>> found = warning_columns(cg.reference(), 4000)
        >>> found["n_keys"], round(found["norm"], 1), found["excluded_loss"] > found["restricted_loss"]
        (3, 20.7, True)
    """
    params = run.at(step)
    keys = key_frequencies(rule, params, run.model, run.task)
    at = _opened(run, step, keys)
    train, test = at.where("train"), at.where("test")
    by_pair = cross_entropy(at.logits, at.labels)[0]
    restricted = excluded = math.nan
    if len(keys):
        circuit = together(logit_circuit(at.logits, keys))
        restricted = restricted_losses(circuit, at.labels)[0, 0, train].mean().item()
        excluded = excluded_losses(circuit, rivals(at.logits, at.labels))[0, 0, train].mean().item()
    trained = {name: value for name, value in params.items() if run.model.is_trainable(name)}
    return {
        "train_loss": by_pair[train].mean().item(),
        "test_loss": by_pair[test].mean().item(),
        "norm": norm(trained).item(),
        "restricted_loss": restricted,
        "excluded_loss": excluded,
        "gini[W_E]": fourier_gini(at.W_E)[0].item(),
        "gini[W_L]": fourier_gini(at.W_L.mT)[0].item(),
        "n_keys": len(keys),
    }


def commutator_columns(run: Checkpoints, step: int, *, n_draws: int = 5, seed: int = 0) -> dict[str, float]:
    """Medians over draws of how little gradient steps on two halves of the training pairs commute.

    Returns:
        `commutator`, the defect, and `commutator_share` (`landscape.commutator`).

    Example:
        >>> import circuitgrok as cg
        >>> 0 < commutator_columns(cg.reference(), 4000, n_draws=1)["commutator_share"] <= 1
        True
    """
    draws, found = torch.Generator().manual_seed(seed), []
    for _ in range(n_draws):
        one, other = (
            loss_on(run.model, run.at(step), run.task, half) for half in halves(run.task.where("train"), draws)
        )
        found.append(commutator(one.function, other.function, one.at))
    return {
        "commutator": median(each.defect for each in found),
        "commutator_share": median(each.share for each in found),
    }


def ticket_columns(run: Checkpoints, step: int) -> dict[str, float]:
    """How far neurons read and write in phase, and how far one frequency is ahead of the next, at one checkpoint.

    Returns:
        `alignment` (`measures.parts.tickets`), and `top_over_second`: what the frequency that gives most to right
        answers gives, over the next one; nan if no second one gives anything.

    Example:
        >>> import circuitgrok as cg
        >>> [ticket_columns(cg.reference(), step)["alignment"] > 0.9 for step in (0, 4000)]
        [False, True]
    """
    of = _tickets(_opened(run, step))
    first, second = worth(of).topk(2).values.tolist()
    return {"alignment": alignment(of).item(), "top_over_second": first / second if second > 0 else math.nan}


def foretold_columns(run: Checkpoints, step: int, *, rule: Rule = "wl_energy") -> dict[str, float]:
    """Whether what frequencies are worth at one checkpoint tells which the last one has: hindsight, no warning.

    Returns:
        `foretold`: the chance that a key frequency of the end is worth more here than another one; 0.5 by chance.

    Example:
        >>> import circuitgrok as cg
        >>> foretold_columns(cg.reference(), 4000)
        {'foretold': 1.0}
    """
    values = worth(_tickets(_opened(run, step)))
    keys = key_frequencies(rule, run.at(run.steps[-1]), run.model, run.task)
    wins = torch.zeros(len(values), dtype=torch.bool)
    wins[keys[keys <= len(values)] - 1] = True
    return {"foretold": foretold(values, wins)}


def turning_columns(run: Checkpoints, step: int, *, gap: int = 50) -> dict[str, float]:
    """How much the path of the trained weights turned between its last two moves of equally many steps.

    Returns:
        `turning` in radians and `path_curvature` (`polar.turning`); nan where there is no checkpoint one or two gaps
        before.

    Example:
        >>> import circuitgrok as cg
        >>> 0 < turning_columns(cg.reference(), 2000, gap=1000)["turning"] < math.pi
        True
    """
    steps = [step - 2 * gap, step - gap, step]
    if not {*steps} <= {*run.steps}:
        return {"turning": math.nan, "path_curvature": math.nan}
    path = [{k: v for k, v in run.at(s).items() if run.model.is_trainable(k)} for s in steps]
    turned, curvature = bend(path)
    return {"turning": turned.item(), "path_curvature": curvature.item()}


def susceptibility_columns(
    run: Checkpoints, step: int, *, n_blocks: int = 16, n_draws: int = 16, seed: int = 0
) -> dict[str, float]:
    """In how many directions the susceptibilities of some of the last layer's neurons lie, from two sets of draws.

    Args:
        run: An opened run.
        step: The checkpoint.
        n_blocks: How many neurons, evenly among all.
        n_draws: For each neuron and set.
        seed: Of the draws.

    Returns:
        `susceptibility_rank`: `complexity.participation_ratio` of their rows, as noise-free as two looks make it; and
        `susceptibility_signal`, the length of the first look over that of its standard errors.

    Example:
        >>> import circuitgrok as cg
        >>> found = susceptibility_columns(cg.reference(), 4000, n_blocks=4, n_draws=8)
        >>> found["susceptibility_rank"] > 0
        True
    """
    point, task = flat(run.model, run.at(step)), run.task
    places = blocks_of(run.model, "neuron").places
    chosen = places[torch.linspace(0, len(places) - 1, min(n_blocks, len(places))).long()]
    nbeta = Sampling(step_size=1.0, localization=0.0).inverse_temperature(task.n_train)
    sigma = SPREAD * point.square().mean().sqrt().item()
    losses = pair_losses(run.model, task, torch.ones_like(task.is_train))
    looks = [
        response(losses, point, chosen, task.is_train, nbeta=nbeta, sigma=sigma, n_draws=n_draws, seed=one)
        for one in (2 * seed, 2 * seed + 1)
    ]
    first, second = (look.chi for look in looks)
    rank = participation_ratio(first, second).item()
    return {
        "susceptibility_rank": rank if rank > 0 else math.nan,  # where noise prevails it may be anything
        "susceptibility_signal": (first.norm() / looks[0].se.norm()).item(),
    }


def volume_columns(run: Checkpoints, step: int, *, n_rays: int = 8) -> dict[str, float]:
    """The local volume by a few rays: `ln_volume`, a lower bound in nats, and `ray_angle`, how far a ray gets.

    Example:
        >>> import circuitgrok as cg
        >>> volume_columns(cg.reference(), 4000, n_rays=4)["ln_volume"] < 0
        True
    """
    [row] = local_volume(run, [step], n_rays=n_rays).to_dict("records")
    return {"ln_volume": row["ln_volume"], "ray_angle": row["angle"]}


def _opened(run: Checkpoints, step: int, keys: torch.Tensor | None = None) -> Opened:
    config: TrainConfig = config_of(run)
    none = torch.empty(0, dtype=torch.long) if keys is None else keys
    return checkpoints_of(config, {name: value[None] for name, value in run.at(step).items()}, none)


def _tickets(at: Opened) -> Tickets:
    return tickets(at.reads[0], at.W_L[0])
