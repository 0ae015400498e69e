"""The local volume of checkpoints: the share of their sphere that rays from them reach while the training loss is low.

A second complexity beside the learning coefficient: -ln V in nats counts, to a level of the loss, what lies around a
checkpoint, where the coefficient says how that shrinks with the level. Directions are drawn where the loss is flat, by
second moments of its gradient at a typical distance (`landscape.local_volume` has the formulas).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.geometry import tangent, unit
from circuitgrok.landscape.density import flat, summed_loss, summed_value
from circuitgrok.landscape.local_volume import local_volume_of
from circuitgrok.samplers.exchange import SummedLoss
from circuitgrok.store.checkpoints import Checkpoints, config_of, require_split
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.table.needs import why_not

if TYPE_CHECKING:
    import pandas as pd

RISE = 0.1  # nats a pair
N_PROBES = 64  # of the gradient, for where the loss is flat
POWERS = (0.25, 0.5, 1.0)  # of the variances of directions: a quarter of all rays by each, and a quarter uniform
FLOOR = 0.1  # of the mean root of the second moments, below which none counts


@in_plain_surroundings
def local_volume(
    run: Checkpoints, steps: Sequence[int] | None = None, *, rise: float = RISE, n_rays: int = 128, seed: int = 0
) -> "pd.DataFrame":
    """ln of the share of the sphere through each checkpoint that rays from it reach before its training loss has risen.

    Args:
        run: An opened run, or other checkpoints, trained on a mean cross-entropy.
        steps: Checkpoints; the last by default.
        rise: By how much the mean training loss may rise, in nats.
        n_rays: Directions for each checkpoint.
        seed: Of all draws.

    Returns:
        By step: `ln_volume` in nats, a lower bound; `se` of it, nan where one ray holds more than half; `worth`, how
        many rays count; `angle`, the median angle of the crossings, in radians; `uniform`, ln V from a quarter as many
        uniform directions; `per_weight`, ln V by the number of trained weights.

    Raises:
        UserError: The loss is none that can be measured here, the split is a stand-in, or `rise` is not positive.

    Example:
        >>> import circuitgrok as cg
        >>> table = local_volume(cg.reference(), [0, 4000], n_rays=8)
        >>> bool(table["ln_volume"][4000] < table["ln_volume"][0]), list(table.index)
        (True, [0, 4000])
    """
    import pandas as pd

    if reason := why_not("llc", config_of(run)):
        raise UserError(f"the loss whose level is asked for {reason}")
    require_split(run, "local_volume")
    if not rise > 0:
        raise UserError(f"rise must be positive; got {rise}")
    asked = [run.steps[-1]] if steps is None else list(steps)
    pairs = run.model, run.task, run.task.is_train
    loss, value, n = summed_loss(*pairs), summed_value(*pairs), int(run.task.is_train.sum())

    def mean_loss(rows: Float[Tensor, "row dim"]) -> Float[Tensor, " row"]:
        return value(rows) / n

    lines = []
    for step in asked:
        point = flat(run.model, run.at(step))
        level = mean_loss(point[None]).item() + rise
        plain = local_volume_of(mean_loss, point, level, seed, n_rays=max(1, n_rays // 4))
        typical = plain.angles.median().item()
        flat_there = flatness(loss, point, typical, seed + 1)
        spreads = [flat_there**power for power in POWERS]
        found = local_volume_of(mean_loss, point, level, seed, n_rays=n_rays, spreads=spreads)
        numbers = {"ln_volume": found.ln_volume, "se": found.se, "worth": found.worth}
        numbers |= {"angle": found.angles.median().item(), "uniform": plain.ln_volume}
        lines.append(numbers | {"per_weight": found.ln_volume / len(point)})
    return pd.DataFrame(lines, index=pd.Index(asked, name="step"))


def flatness(loss: SummedLoss, point: Float[Tensor, " dim"], angle: float, seed: int) -> Float[Tensor, " dim"]:
    """Variances of directions that are large where the loss is flat: 1 over the root mean square of its gradient.

    The gradient is taken at the ends of great circles of one angle, in random directions; of a quadratic with diagonal
    curvatures h its root mean square is in proportion to h, so that ellipsoids are looked at along their axes.
    """
    draws = torch.Generator(device=point.device).manual_seed(seed)
    normal = torch.randn(N_PROBES, len(point), generator=draws, dtype=point.dtype, device=point.device)
    ahead, at = unit(tangent(normal, unit(point))), torch.tensor(angle, dtype=point.dtype)
    there = at.cos() * point + point.norm() * at.sin() * ahead
    root = loss(there).gradient.square().mean(0).sqrt()
    return 1 / (root + FLOOR * root.mean())
