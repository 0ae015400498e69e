"""What a run's networks score where they are not: with each other's radius, and along their own rays."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from circuitgrok import tree
from circuitgrok.polar.profiles import Measure, circuit_scores, radial_profile
from circuitgrok.polar.transplants import Grain, swap_matrix
from circuitgrok.store.run import Run
from circuitgrok.table.checkpoints import key_frequencies


def scores_of(run: Run) -> Measure:
    """What networks score on a run's task, as `circuit_scores`; key frequencies are those of its last checkpoint."""
    model, task = run.config.transformer, run.task
    keys = key_frequencies("wl_energy", run.at(run.steps[-1]), model, task)
    return lambda networks: circuit_scores(networks, model, task, keys)


def spread(steps: Sequence[int], n: int) -> list[int]:
    """`n` steps, evenly spread over a list of them, the first and the last among them.

    Example:
        >>> spread([0, 1, 2, 5, 10, 20, 40], 3)
        [0, 5, 40]
    """
    return [steps[round(i * (len(steps) - 1) / (n - 1))] for i in range(n)]


def swaps(run: Run, steps: Sequence[int], grain: Grain) -> dict[str, Float[Tensor, "radius direction"]]:
    """The scores of every checkpoint's direction at every checkpoint's radius; on the diagonal, of the checkpoints.

    Args:
        run: A run of a transformer.
        steps: Of its checkpoints.
        grain: What has a radius: the network, each tensor, each head and neuron.
    """
    stack = run.stack(steps)
    return swap_matrix(stack, stack, grain, scores_of(run))


def rays(run: Run, steps: Sequence[int], factors: Float[Tensor, " factor"]) -> dict[str, Float[Tensor, "ckpt factor"]]:
    """The scores of checkpoints at multiples of their norms; factor 1 is where they are."""
    return radial_profile(run.stack(steps), factors, scores_of(run))


def at_radius_of(run: Run, direction: int, radius: int) -> dict[str, float]:
    """The scores of one checkpoint's direction at the radius of another, both given by their steps."""
    network = run.at(direction)
    factor = tree.norm(run.at(radius)) / tree.norm(network)
    moved = {name: value.double()[None] * factor for name, value in network.items()}
    return {name: score.item() for name, score in scores_of(run)(moved).items()}
