"""Learning coefficients along a run: one set of sampling numbers, chains of several checkpoints in one stack.

Every finished checkpoint is a line of `RUN/llc/<hash of the settings>.jsonl`, so that an interrupted measurement
goes on where it stopped, and a repeated one is read. A checkpoint's chains have random numbers of their own:
its estimate does not depend on what was measured beside it.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.canonical import canonical_json
from circuitgrok.errors import DamagedFile, UserError
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.curvature import random_starts, sharpness
from circuitgrok.landscape.llc import LLC, estimate_llc, refuse_unstable
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.checkpoints import Checkpoints, config_of, require_split
from circuitgrok.store.kept import Estimates
from circuitgrok.store.records import is_number, is_step
from circuitgrok.store.run import Run
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.table.needs import why_not
from circuitgrok.tasks.kinds import Dataset
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd


CHAINS_AT_ONCE = 32  # more in one stack go no faster, and a finished checkpoint is kept the later
COLUMNS = {"llc" if field == "llc" else f"llc_{field}": field for field in LLC._fields if field != "traces"}
TEXTS = ("llc_status", "llc_faults")
LATER = (  # lines that were kept before these were taken have them not
    "llc_spread", "llc_spread_se", "llc_displacement", "llc_window", "llc_prior", "llc_prior_se", "llc_noise",
    "llc_noise_se",
)  # fmt: skip

Tick = Callable[[int, int], None]


@in_plain_surroundings
def llc_of(
    params: Params,
    model: AnyModel,
    task: Dataset,
    sampling: Sampling,
    *,
    seeds: Sequence[int] | None = None,
    curvature: Tensor | None = None,
    temperatures: Float[Tensor, " point"] | None = None,
) -> LLC:
    """Learning coefficients of a stack of networks on one task, one point per network.

    Args:
        params: Their weights, `[point ...]`; sampled in their own dtype.
        model: Their model.
        task: Gives the pairs; n is the number of its training pairs, whatever the loss is a mean over.
        sampling: How to sample; `on`, `parameters` and `batch_size` are read here.
        seeds: An integer for each network; 0, 1, ... by default.
        curvature: Of the sampled loss at each network, where `sharpness_along` has found it already.
        temperatures: What each network's logits are divided by, for networks to be compared at equal loss
            (`landscape.matched`); 1 by default.

    Raises:
        UserError: No tensor matches `parameters`, `on` is no split or an empty one, `batch_size` exceeds its
            pairs, the task's answers are no classes, or the step size is above the stability bound.

    Example:
        >>> from circuitgrok.models.transformer import Transformer
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, d_model=8, d_head=8, n_heads=1, d_mlp=16), modular_addition(5, 0.5, 0)
        >>> weights = {k: v[None] for k, v in model.init(torch.Generator().manual_seed(0)).items()}
        >>> how = Sampling(step_size=1e-4, localization=1e3, n_draws=20)
        >>> llc_of(weights, model, task, how).traces.shape  # [point chain draw]
        torch.Size([1, 4, 20])
    """
    loss = _chain_loss(params, model, task, sampling, sampling.n_chains, temperatures)
    batches = sampling.batch_size and partial(loss.on_batches, sampling.batch_size)
    points = loss.start[:: sampling.n_chains]
    return estimate_llc(
        loss, points, task.n_train, sampling, seeds=seeds, batch_loss=batches or None, curvature=curvature
    )


@in_plain_surroundings
def llc_along(
    run: Checkpoints, sampling: Sampling, steps: Sequence[int] | None = None, tick: Tick | None = None
) -> "pd.DataFrame":
    """Learning coefficients at the checkpoints of a run: one row per step, with diagnostics and status.

    Args:
        run: An opened run, in whose folder estimates are kept; of other checkpoints nothing is kept.
        sampling: How to sample, the same at every checkpoint.
        steps: Checkpoints to measure; all by default.
        tick: Called with (checkpoints done, all).

    Returns:
        Columns `llc`, and `llc_` with the fields of `LLC`: mcse, r_hat, ess_bulk, ess_tail, drift, n_burnin,
        init_loss, mean_loss, acceptance, curvature, spread, spread_se, slope_shift, displacement, window, prior,
        prior_se, noise, noise_se, status, faults.

    Raises:
        UserError: As for `llc_of`; the stability bound is that of the sharpest checkpoint, found beforehand. Or the
            run minimised something else than a mean cross-entropy, or its split is a stand-in.
        RunError: A step without a checkpoint.
    """
    import pandas as pd

    _check(run)
    at, index = sorted(set(run.steps if steps is None else steps)), run.index if isinstance(run, Run) else {}
    kept = _kept(run, sampling)
    # a line of before there was a spread has not passed what `diagnostics_passed` says: it is measured anew
    lines = kept_estimates(kept) if kept else ()
    known = {line["step"]: line for line in lines if line.keys() >= {*COLUMNS}}
    done = {step: known[step] for step in at if step in known and known[step]["sha256"] == index.get(step)}
    left = [step for step in at if step not in done]
    if left:
        nbeta = sampling.inverse_temperature(run.task.n_train)
        curvature = sharpness_along(run, sampling, left)
        refuse_unstable(sampling, curvature, nbeta)
        block = max(1, CHAINS_AT_ONCE // sampling.n_chains)
        for i in range(0, len(left), block):
            here = left[i : i + block]
            tops = curvature[i : i + block]
            found = llc_of(run.stack(here), run.model, run.task, sampling, seeds=here, curvature=tops)
            new = {s: {"step": s, "sha256": index.get(s), **r} for s, r in zip(here, rows_of(found), strict=True)}
            if kept:
                kept.add(new.values())
            done |= new
            if tick:
                tick(len(done), len(at))
    table = pd.DataFrame([done[step] for step in at], index=pd.Index(at, name="step"), columns=list(COLUMNS))
    return table.astype({name: float for name in COLUMNS if name not in TEXTS})


def _kept(run: Checkpoints, sampling: Sampling) -> Estimates | None:
    """Where the estimates of a run are kept; None for checkpoints without a folder of a run."""
    if not isinstance(run, Run):
        return None
    return Estimates(run.path / "llc" / f"{settings_hash(sampling)}.jsonl", run.manifest["hash"], run.sealed)


def kept_estimates(kept: Estimates) -> Iterator[dict[str, Any]]:
    """The lines of a file of estimates, each with a step, its checkpoint's digest and every diagnostic.

    Raises:
        DamagedFile: They are not what was written, or of another shape.
    """
    for line in kept:
        texts = all(isinstance(line.get(name), str) for name in (*TEXTS, "sha256"))
        asked = [name for name in COLUMNS if name not in TEXTS and (name in line or name not in LATER)]
        numbers = all(line.get(name, "") is None or is_number(line.get(name)) for name in asked)
        if not texts or not numbers or not is_step(line.get("step")):
            raise DamagedFile(
                f"{kept.path} is damaged: the line of step {str(line.get('step'))[:20]} does not hold "
                f"{', '.join(COLUMNS)}; remove {kept.path.name} and {kept.path.name}.head to measure again"
            )
        yield line


@in_plain_surroundings
def sharpness_along(run: Checkpoints, sampling: Sampling, steps: Sequence[int]) -> Tensor:
    """Top curvature of the sampled loss at each checkpoint, `[step]`: the `curvature` of their estimates."""
    _check(run)
    found = []
    for i in range(0, len(steps), CHAINS_AT_ONCE):
        weights = run.stack(list(steps[i : i + CHAINS_AT_ONCE]))
        loss = _chain_loss(weights, run.model, run.task, sampling, 1)
        at = loss.start
        tried = [sharpness(loss, at, start[None]) for start in random_starts(sampling.n_chains, at.shape[1])]
        found.append(torch.stack(tried).amax(0))
    return torch.cat(found)


def _check(run: Checkpoints) -> None:
    """Refuses runs whose loss is not the one that is sampled, and a split that is not known."""
    if (reason := why_not("llc", config_of(run))) is not None:
        raise UserError(f"llc {reason}")
    require_split(run, "llc")


def settings_hash(sampling: Sampling) -> str:
    """First 16 hex digits of the SHA-256 of the settings."""
    return hashlib.sha256(canonical_json(sampling.model_dump(mode="json")).encode()).hexdigest()[:16]


def rows_of(found: LLC) -> list[dict[str, Any]]:
    """An estimate as one record per point, without the traces; what is not finite becomes None."""
    texts = {"llc_status": found.status, "llc_faults": ["; ".join(reasons) for reasons in found.faults]}
    numbers = {
        column: [x if math.isfinite(x) else None for x in getattr(found, field).double().tolist()]
        for column, field in COLUMNS.items()
        if column not in TEXTS
    }
    return [{name: values[i] for name, values in (numbers | texts).items()} for i in range(len(found.status))]


def _chain_loss(
    params: Params,
    model: AnyModel,
    task: Dataset,
    sampling: Sampling,
    copies: int,
    temperatures: Float[Tensor, " point"] | None = None,
) -> ChainLoss:
    networks = {name: value.repeat_interleave(copies, 0) for name, value in params.items()}
    where = task.where(sampling.on)
    if sampling.batch_size is not None and sampling.batch_size > int(where.sum()):
        raise UserError(f"batch_size must be at most the {int(where.sum())} pairs; got {sampling.batch_size}")
    each = None if temperatures is None else temperatures.repeat_interleave(copies)
    return ChainLoss(model, task, where, networks, chosen_pieces(model, sampling.parameters), each)
