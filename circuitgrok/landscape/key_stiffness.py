"""How far the stiffest directions of the loss belong to key frequencies, beside three kinds of chance.

Chance has three meanings: independent logits (dimensions over dimensions), other frequencies in the same directions,
and random directions of the same network. The last counts most: a network's Jacobian has preferences without any
curvature. Key frequencies and clocks are those of Nanda et al. 2023 (arXiv:2301.05217); the split is `stiffness_map`'s.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.landscape.flat import logits_on, loss_on
from circuitgrok.landscape.hessian import extreme_eigenpairs, hessian_operator
from circuitgrok.landscape.stiffness import LogitShares, chance_shares, stiffness_map
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import Task
from circuitgrok.tree import ROLES, Params


def key_stiffness(
    model: Transformer,
    params: Params,
    task: Task,
    keys: Int[Tensor, " key"],
    own: Int[Tensor, " own"],
    generator: torch.Generator,
    n_top: int = 10,
    n_random: int = 20,
) -> tuple[dict[str, float], Float[Tensor, "eig freq"]]:
    """Shares of key frequencies in what the stiffest directions do to the logits, and in what random ones do.

    Args:
        model: The network; `params` are its weights.
        params: Where the Hessian of the training loss is taken.
        task: A modular task on all pairs.
        keys: Frequencies that are asked for, 1..p // 2.
        own: Those of this network itself, if `keys` are another's.
        generator: For the eigensolver's start and the random directions.
        n_top: Eigenvectors; means over them are weighted by the eigenvalue.
        n_random: Random directions; means over them are plain.

    Returns:
        Facts, and each eigenvector's share in functions of each frequency alone. The facts: `train_loss`; `largest`,
        `tenth` (the last of `n_top`) and `residual` (the largest |Hv - λv| / λ) of the eigenvalues; shares of key
        frequencies in `clock` and in all functions of one of them, `alone`; `precision`, the share of key frequencies
        among as many that `alone` ranks first, and `precision_clock` by the clock; each also of random directions
        (`_random`) and of independent logits (`_chance`); `clock_other` of as many frequencies drawn blindly;
        `clock_own` over its chance; `bias`, `rest` (`LogitShares`); `role[...]` of the weights.

    Example:
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, d_model=4, d_head=4, n_heads=1, d_mlp=8), modular_addition(p=5)
        >>> generator, keys = torch.Generator().manual_seed(0), torch.tensor([2])
        >>> facts, shares = key_stiffness(model, model.init(generator), task, keys, keys, generator, 3, 4)
        >>> facts["precision_chance"], facts["clock_chance"], tuple(shares.shape)
        (0.5, 0.04, (3, 2))
    """
    loss, at, _ = loss_on(model, params, task, task.is_train)
    logits = logits_on(model, params, task.inputs)
    pairs = extreme_eigenpairs(hessian_operator(loss, at), len(at), n_top=n_top, n_bottom=0, generator=generator)
    drawn = torch.randn(n_random, len(at), generator=generator, dtype=at.dtype)
    stiff, chosen = stiffness_map(logits, pairs.vectors), stiffness_map(logits, drawn)
    weights, chance = pairs.values / pairs.values.sum(), chance_shares(model.p)
    clock, alone = _mean(stiff.logits, weights)
    by_random = _shares(*_mean(chosen.logits, torch.full((n_random,), 1 / n_random, dtype=at.dtype)), keys)
    by_chance = _shares(chance.clock, chance.clock + chance.single, keys)
    by_chance["precision"] = len(keys) / len(alone)  # hypergeometric
    facts = {
        "train_loss": loss(at).item(),
        "largest": pairs.values[0].item(),
        "tenth": pairs.values[-1].item(),
        "residual": (pairs.residuals / pairs.values).max().item(),
        **_shares(clock, alone, keys),
        **{f"{name}_random": value for name, value in by_random.items()},
        **{f"{name}_chance": value for name, value in by_chance.items()},
        "clock_other": len(keys) * clock.mean().item(),  # the mean over all sets of as many frequencies
        "clock_own": (clock[own - 1].sum() / chance.clock[own - 1].sum()).item(),
        "precision_clock": _shares(clock, clock, keys)["precision"],
        "bias": (weights @ stiff.logits.bias).item(),
        "rest": (weights @ stiff.logits.rest).item(),
        **{f"role[{name}]": share for name, share in zip(ROLES, (weights @ stiff.roles).tolist(), strict=True)},
    }
    return facts, stiff.logits.clock + stiff.logits.single


def _mean(directions: LogitShares, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean over directions of the share of each frequency's clock, and of all functions of it alone."""
    return weights @ directions.clock, weights @ (directions.clock + directions.single)


def _shares(clock: Tensor, alone: Tensor, keys: Tensor) -> dict[str, float]:
    largest = alone.argsort(descending=True)[: len(keys)] + 1
    precision = torch.isin(largest, keys).double().mean().item()
    return {"clock": clock[keys - 1].sum().item(), "alone": alone[keys - 1].sum().item(), "precision": precision}
