"""What networks score away from where they are: along the ray, along a great circle, and at best on a sphere.

A network theta = r u can be moved outwards, c theta, or turned towards another one on the great circle through both
directions; the two moves together give a slice of the landscape in polar coordinates, radius by angle. Neither
leaves anything to be trained. The reduced landscape does: it is the best loss that training finds on the sphere of
each radius, from runs that were held on it. Its curve over the radius falls and stays low for the training loss, an
L, and for the test loss it rises again, a U: networks of large norm fit the training set in ways that generalise and
in ways that do not.

Source: Z. Liu, E. Michaud, M. Tegmark, "Omnigrok: grokking beyond algorithmic data" (arXiv:2210.01117), for the
reduced landscape.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok import tree
from circuitgrok.geometry import great_circle, ray
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.circuits.restricted import parts_of
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.modular import Task
from circuitgrok.tasks.operations import as_addition
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Params], dict[str, Tensor]]  # of a stack `[network ...]`, under each column's name `[network]`
SPLITS = ("train", "test", "all")
_NUMBERS = 2**22  # neuron activations of the networks that go through one forward
_BEST = {"train_loss": "min", "test_loss": "min", "train_acc": "max", "test_acc": "max"}


@torch.no_grad()
def circuit_scores(
    params: Params, model: Transformer, task: Task, key_freqs: Int[Tensor, " freq"]
) -> dict[str, Float[Tensor, " network"]]:
    """Loss and accuracy in full, and loss restricted to the key frequencies and without them, on every split.

    Args:
        params: A stack of networks, `[network ...]`; run in their own dtype.
        model: Their model.
        task: All pairs, their labels and the split; other operations are taken as the addition they are.
        key_freqs: Found once, for all of them: other networks than the one they belong to may use other frequencies.

    Returns:
        "loss", "accuracy", "restricted_loss" and "excluded_loss", each for "[train]", "[test]" and "[all]", named as
        in the table of measures: over the numbers that can be right as classes, losses in nats.

    Example:
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model, task = Transformer(p=5, d_model=8, n_heads=2, d_head=4, d_mlp=16), modular_addition(5, 0.5)
        >>> networks = {name: torch.zeros(3, *shape) for name, shape in model.shapes().items()}
        >>> scores = circuit_scores(networks, model, task, torch.tensor([1]))
        >>> scores["excluded_loss[test]"].exp()  # chance
        tensor([5.0000, 5.0000, 5.0000], dtype=torch.float64)
    """
    hidden = as_addition(task)
    masks = {split: task.where(split)[hidden.pairs] for split in SPLITS}
    at_once = max(1, _NUMBERS // (len(task.inputs) * model.d_mlp))
    blocks = []
    for i in range(0, len(params["embed.W_E"]), at_once):
        logits = model.logits({name: value[i : i + at_once] for name, value in params.items()}, task.inputs)
        by_pair = _by_pair(hidden.table(logits).double(), hidden.labels, key_freqs)
        blocks.append({f"{n}[{s}]": x[:, where].mean(-1) for n, x in by_pair.items() for s, where in masks.items()})
    return {column: torch.cat([block[column] for block in blocks]) for column in blocks[0]}


def radial_profile(
    stack: Params, factors: Float[Tensor, " factor"], measure: Measure
) -> dict[str, Float[Tensor, "ckpt factor"]]:
    """What each network scores on its own ray, at c theta for each factor c of its norm.

    Args:
        stack: Checkpoints of a run, `[ckpt ...]`, or any other networks.
        factors: c; 1 is where the network is, 0 the origin.
        measure: What to score, such as `circuit_scores` on a task.

    Example:
        >>> stack = {"w": torch.tensor([[3.0, 4.0], [1.0, 0.0]])}
        >>> radial_profile(stack, torch.tensor([0.5, 1.0]), lambda x: {"norm": x["w"].norm(dim=-1)})["norm"]
        tensor([[2.5000, 5.0000],
                [0.5000, 1.0000]], dtype=torch.float64)
    """
    return tree.stack(measure(ray(factors, network)) for network in tree.unstack(stack))


def polar_slice(
    start: Params, end: Params, radii: Float[Tensor, " radius"], t: Float[Tensor, " point"], measure: Measure
) -> dict[str, Float[Tensor, "radius point"]]:
    """The landscape around a network in two directions: along the ray, and towards another network.

    Args:
        start: The network at t = 0, and at the radius of its own norm.
        end: The network at t = 1, such as the last checkpoint.
        radii: Norms, in the units of the weights.
        t: Shares of the way, as for `great_circle`; times angle(start, end) they are polar angles.
        measure: What to score, such as `circuit_scores` on a task.

    Raises:
        ValueError: As for `great_circle`.

    Example:
        >>> east, north = {"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 5.0])}
        >>> height = lambda networks: {"height": networks["w"][:, 1]}
        >>> polar_slice(east, north, torch.tensor([1.0, 4.0]), torch.tensor([1 / 3, 1.0]), height)["height"]
        tensor([[0.5000, 1.0000],
                [2.0000, 4.0000]], dtype=torch.float64)
    """
    scores = [measure(ray(radii, direction)) for direction in tree.unstack(great_circle(start, end, t))]
    return {column: values.T for column, values in tree.stack(scores).items()}


def reduced_landscape(radii: Sequence[float], histories: Sequence["pd.DataFrame"]) -> "pd.DataFrame":
    """Best losses and accuracies that training finds on the sphere of each radius: the L and the U.

    A run is read in three ways: `best`, over all its evaluations; `final`, at the last; and `reduced`, where its
    training loss is least (of equals the first). The last is what Omnigrok draws, the others bracket it: on the
    training side it is the best, on the test side what one gets who cannot see the test set.

    Args:
        radii: The norm on which each run was held, equal for runs that belong together.
        histories: Each run's history, with losses and accuracies on both sides of the split.

    Returns:
        One row for each radius (increasing), measure (`train_loss`, `test_loss`, `train_acc`, `test_acc`) and
        reading, with the number of runs and their min, median and max: for losses in nats, for accuracies 0..1.

    Raises:
        ValueError: There are not as many radii as histories, none at all, or a history lacks a column or has a
            number that is not finite.

    Example:
        >>> import pandas as pd
        >>> run = pd.DataFrame({"train_loss": [2.0, 0.1], "test_loss": [2.0, 3.0], "train_acc": 0.5, "test_acc": 0.1})
        >>> reduced_landscape([30.0], [run]).loc[(30.0, "test_loss")]["min"].to_dict()
        {'best': 2.0, 'final': 3.0, 'reduced': 3.0}

    Source: Liu, Michaud, Tegmark, arXiv:2210.01117, on the LU mechanism.
    """
    import pandas as pd

    if not 0 < len(radii) == len(histories):
        raise ValueError(f"there must be a radius for each history; got {len(radii)} for {len(histories)} histories")
    rows = [
        (radius, measure, reading, value)
        for run, (radius, history) in enumerate(zip(radii, histories, strict=True))
        for (measure, reading), value in _readings(run, history).items()
    ]
    keys = ["radius", "measure", "reading"]
    groups = pd.DataFrame(rows, columns=[*keys, "value"]).groupby(keys)["value"]
    return pd.DataFrame({"runs": groups.count(), "min": groups.min(), "median": groups.median(), "max": groups.max()})


def _by_pair(
    logits: Float[Tensor, "network pair c"], labels: Int[Tensor, " pair"], key_freqs: Int[Tensor, " freq"]
) -> dict[str, Float[Tensor, "network pair"]]:
    whole, restricted, excluded = (cross_entropy(part, labels) for part in parts_of(logits, key_freqs))
    right = (logits.argmax(-1) == labels).double()
    return {"loss": whole, "accuracy": right, "restricted_loss": restricted, "excluded_loss": excluded}


def _readings(run: int, history: "pd.DataFrame") -> dict[tuple[str, str], float]:
    """The measures of one run, each read in three ways."""
    missing = [name for name in _BEST if name not in history]
    if missing:
        raise ValueError(f"a history must have {', '.join(_BEST)}; run {run} lacks {', '.join(missing)}")
    values = history[list(_BEST)].to_numpy(dtype=float)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"every number of a history must be finite, and there must be some; run {run} has others")
    best = {name: getattr(values[:, i], which)() for i, (name, which) in enumerate(_BEST.items())}
    readings = {"best": best.values(), "final": values[-1], "reduced": values[values[:, 0].argmin()]}
    return {(name, at): row for at, taken in readings.items() for name, row in zip(_BEST, taken, strict=True)}
