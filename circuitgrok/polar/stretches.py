"""How far a run goes in each of its phases: radially, and along the arc."""

from collections.abc import Mapping, Sequence

from circuitgrok.polar.path import Polar


def checkpoint_by(steps: Sequence[int], step: int) -> int:
    """The place of the last checkpoint by a step, in a run's list of them.

    Raises:
        ValueError: There is none.

    Example:
        >>> checkpoint_by([0, 10, 20, 30], 25)
        2
    """
    return max(i for i, saved in enumerate(steps) if saved <= step)


def stretches(path: Polar, steps: Sequence[int], until: Mapping[str, int]) -> dict[str, float]:
    """Lengths of the polygon through a run's checkpoints, phase by phase: lower bounds of the way that it went.

    Args:
        path: Of `polar_path`, of one group of weights.
        steps: Of its checkpoints.
        until: The last step of each phase, in order; each phase begins where the one before ended, the first at the
            first checkpoint.

    Returns:
        `radial_distance, PHASE` and `arc_length, PHASE` in the units of the weights, and `radial_per_arc, PHASE`;
        nan where a phase has no arc.

    Example:
        >>> import torch
        >>> from circuitgrok.polar.path import polar_path
        >>> stack = {"embed.W_E": torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 3.0]])}
        >>> path = polar_path(stack, torch.tensor([0, 10, 20]))["global"]
        >>> found = stretches(path, [0, 10, 20], {"growing": 10, "turning": 20})
        >>> found["radial_distance, growing"], found["radial_distance, turning"]
        (2.0, 0.0)
        >>> round(found["arc_length, turning"], 4)  # 3 times a quarter turn
        4.7124
    """
    found, before = {}, 0
    for phase, step in until.items():
        i = checkpoint_by(steps, step)
        radial, arc = ((along[i] - along[before]).item() for along in (path.radial_distance, path.arc_length))
        found |= {f"radial_distance, {phase}": radial, f"arc_length, {phase}": arc}
        found |= {f"radial_per_arc, {phase}": radial / arc if arc else float("nan")}
        before = i
    return found
