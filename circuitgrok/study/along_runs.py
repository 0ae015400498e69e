"""Learning coefficients of some checkpoints of many runs, with one set of sampling numbers, as rows that are kept.

Settings that suit one point are unstable at another. A point at which the step is above the stability bound has no
estimate there, status `unstable`: settings that differ from point to point would give numbers that are not comparable.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.curvature import random_starts, sharpness
from circuitgrok.landscape.matched import temperature_of_loss
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.store.checkpoints import Checkpoints
from circuitgrok.store.files import write_atomically
from circuitgrok.table.llc import llc_of, rows_of

Row = dict[str, Any]


def estimates_at(
    run: Checkpoints,
    steps: Sequence[int],
    sampling: Sampling,
    temperatures: Float[Tensor, " step"] | None = None,
) -> list[Row]:
    """Columns `llc`, `llc_...` at some checkpoints of a run; the status `unstable` alone where the step is too long.

    Args:
        run: An opened run.
        steps: Its checkpoints; their chains are sampled side by side.
        sampling: How, the same at all.
        temperatures: What the logits of each are divided by.

    Example:
        >>> import circuitgrok as cg
        >>> [row] = estimates_at(cg.reference(), [4000], Sampling(step_size=1e-5, localization=1e4, n_draws=8))
        >>> row["llc"] < row["llc_prior"] + 4 * row["llc_prior_se"] + 4 * (row["llc_mcse"] or 1)
        True
    """
    params, where = run.stack(list(steps)), run.task.where(sampling.on)
    loss = ChainLoss(run.model, run.task, where, params, chosen_pieces(run.model, sampling.parameters), temperatures)
    curvature = sharpness(loss, loss.start, random_starts(1, loss.start.shape[1]))
    nbeta = sampling.inverse_temperature(run.task.n_train)
    is_stable = [sampling.step_size < sampling.stability_bound(top, nbeta) for top in curvature.tolist()]
    rows: list[Row] = [{"llc_status": "unstable", "llc_curvature": top} for top in curvature.tolist()]
    chosen = torch.tensor(is_stable).nonzero().flatten()
    if len(chosen):
        found = llc_of(
            {name: value[chosen] for name, value in params.items()},
            run.model,
            run.task,
            sampling,
            seeds=[steps[i] for i in chosen.tolist()],
            curvature=curvature[chosen],
            temperatures=None if temperatures is None else temperatures[chosen],
        )
        for i, row in zip(chosen.tolist(), rows_of(found), strict=True):
            rows[i] = row
    return rows


def at_loss(run: Checkpoints, step: int, loss: float) -> tuple[Float[Tensor, " step"], float]:
    """The temperature at which a checkpoint has a training loss, and the logits' standard deviation at it."""
    where = run.task.where("train")
    with torch.no_grad():
        logits = run.model.logits(run.stack([step]), run.task.inputs[where])
    temperature = temperature_of_loss(logits, run.task.labels[where], loss)
    return temperature, (logits.double().std() / temperature).item()


def size_of_weights(run: Checkpoints, step: int) -> float:
    """Root mean square of the weights that train, which a window's width is a share of."""
    params = {name: value for name, value in run.at(step).items() if run.model.is_trainable(name)}
    n = sum(value.numel() for value in params.values())
    return math.sqrt(sum(value.double().square().sum().item() for value in params.values()) / n)


def kept(path: Path, made: Callable[[], list[Row]]) -> list[Row]:
    """What is made, written to a file; read from it if it is there, so that a killed study goes on."""
    if not path.exists():
        write_atomically(path, json.dumps(made()).encode())
    return json.loads(path.read_bytes())
