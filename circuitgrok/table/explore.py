"""Walks through a loss basin from a checkpoint of a run."""

from collections.abc import Callable

from circuitgrok.errors import UserError
from circuitgrok.landscape.exploration import JITTER, Exploration, explore
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.polar.profiles import Measure
from circuitgrok.store.checkpoints import Checkpoints, config_of, require_split
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.table.needs import why_not


@in_plain_surroundings
def explore_run(
    run: Checkpoints,
    step: int,
    sampling: Sampling,
    *,
    prior: float = 0.0,
    jitter: float = JITTER,
    measure: Measure | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Exploration:
    """`explore` from a checkpoint of a run.

    Args:
        run: An opened run, or other checkpoints.
        step: The checkpoint to start from.
        sampling: How to sample.
        prior: Precision of a Gaussian about 0 on the weights that move; 0 is none.
        jitter: Of hmc: share by which a trajectory's leapfrogs may be shorter, drawn for each.
        measure: Asked for further columns at every draw.
        tick: Called with (draws done, all).

    Raises:
        RunError: No checkpoint at that step.
        UserError: As for `explore`; or the run's loss is not the mean cross-entropy, or its split is a stand-in.
    """
    if reason := why_not("llc", config_of(run)):
        raise UserError(f"the posterior that is explored {reason}")
    require_split(run, "explore")
    return explore(run.at(step), run.model, run.task, sampling, prior=prior, jitter=jitter, measure=measure, tick=tick)
