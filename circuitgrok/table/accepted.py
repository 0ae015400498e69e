"""Chains from a checkpoint with steps as long as what they meet allows: in sharper places than the start, shorter."""

from typing import TYPE_CHECKING, NamedTuple

from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.curvature import random_starts, sharpness
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.table.explore import explore_run

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.store.run import Run

ACCEPTED, HALVINGS = 0.9, 10  # mean acceptance from which steps are short enough; how often they are halved at most


class Ground(NamedTuple):
    """What the settings of chains depend on where they start.

    Attributes:
        curvature: The largest of the training loss.
        n_weights: How many weights move.
        square: Their squared norm.
    """

    curvature: float
    n_weights: int
    square: float


def ground(run: "Run", step: int) -> Ground:
    """What the settings of chains depend on at a checkpoint.

    Raises:
        RunError: No checkpoint at that step.
    """
    weights, model, task = run.at(step), run.config.model, run.task
    copies = {name: value.expand(2, *value.shape).clone() for name, value in weights.items()}
    loss = ChainLoss(model, task, task.is_train, copies, chosen_pieces(model))
    at = loss.start
    curvature = sharpness(loss, at, random_starts(*at.shape)).max().item()
    return Ground(curvature, at.shape[1], at[0].square().sum().item())


def explore_accepted(
    run: "Run", step: int, sampling: Sampling, *, prior: float = 0.0
) -> tuple["pd.DataFrame", Sampling]:
    """`explore_run`, begun anew with half the step size until chains are accepted and none diverges.

    What chains score has no part in that. After `HALVINGS` the last attempt stands as it is.

    Args:
        run: An opened run.
        step: The checkpoint to start from.
        sampling: How to sample; its step size is tried first.
        prior: As for `explore_run`.

    Returns:
        The table of `explore_run`, and the sampling with the step size that it was made with.

    Raises:
        RunError: No checkpoint at that step.
        UserError: As for `explore_run`.
    """
    table, _ = explore_run(run, step, sampling, prior=prior)
    for _ in range(HALVINGS):
        if table["acceptance"].mean() >= ACCEPTED and table["test_acc"].notna().all():
            break
        sampling = sampling.model_copy(update={"step_size": sampling.step_size / 2})
        table, _ = explore_run(run, step, sampling, prior=prior)
    return table, sampling
