"""Tables of one checkpoint's neurons, and of two checkpoints side by side: `cg.neurons`, `cg.compare`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from circuitgrok import geometry
from circuitgrok.errors import UserError
from circuitgrok.inspection.available import has_frequencies
from circuitgrok.inspection.edits import Patch
from circuitgrok.inspection.networks import (
    Network,
    Other,
    key_freqs_of,
    network,
    network_of,
)
from circuitgrok.inspection.weight_edits import slices
from circuitgrok.measures.parts.neurons import in_cluster, neuron_phases
from circuitgrok.measures.spectra.tuning import neuron_frequencies
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.kinds import modular
from circuitgrok.tasks.operations import as_addition
from circuitgrok.tree import ROLES, norm, role

if TYPE_CHECKING:
    import pandas as pd


def neurons(checkpoints: Any, step: int | None = None) -> "pd.DataFrame":
    """The neurons of a checkpoint's last block or hidden layer, those of one frequency together.

    Args:
        checkpoints: A run, or what else has `model`, `task`, `steps` and `at`.
        step: Of the checkpoint; the last by default.

    Returns:
        A row for each neuron, by its number: `freq` that it is tuned to (0 for a neuron that does not vary) and
        `purity`, the share of its variance that this explains; `cluster`, the frequency again where the purity is .85
        or more, else 0; `phase_a`, `phase_b` of what it reads and `phase_out` of what it writes, in radians;
        `norm_in` of its weights and bias, `norm_out` of what it writes with. Sorted by frequency, then purity.

    Raises:
        UserError: The task is not on all pairs of numbers modulo p.

    Example:
        >>> import circuitgrok as cg
        >>> table = cg.neurons(cg.load("checkpoints/reference"), 4000)
        >>> table.shape, table[table.cluster > 0].cluster.value_counts().sort_index().to_dict()
        ((256, 8), {5: 60, 6: 68, 9: 38})

    Source: `measures.parts.neurons`, where clusters and phases are defined.
    """
    import pandas as pd

    one = network(checkpoints, step)
    if not has_frequencies(one.task):
        raise UserError("a frequency of a neuron is that of all pairs of numbers modulo p; this task has none")
    held, hidden = one.after(), as_addition(modular(one.task))
    tuned = neuron_frequencies(held.neurons[hidden.pairs])
    writes = one.model.neuron_to_logit(one.params)[:, hidden.classes]
    phases = neuron_phases(held.reads[hidden.pairs], writes, tuned.freq)
    into, out = _norms(one, held.neurons.shape[1])
    columns = {
        "freq": tuned.freq,
        "purity": tuned.purity,
        "cluster": torch.where(in_cluster(tuned), tuned.freq, 0),
        "phase_a": phases.u,
        "phase_b": phases.v,
        "phase_out": phases.out,
        "norm_in": into,
        "norm_out": out,
    }
    table = pd.DataFrame({name: value.numpy() for name, value in columns.items()})
    table.index.name = "neuron"
    return table.sort_values(["freq", "purity"], ascending=[True, False], kind="stable")


def _norms(one: Network, n: int) -> tuple[Tensor, Tensor]:
    """What comes into each neuron of the last layer, with its bias, and what leaves it."""
    squares: list[Tensor] = [torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)]
    for piece in slices(one.params, "neuron 0"):
        weights = one.params[piece.name].double().movedim(piece.axis, 0).reshape(n, -1)
        squares[piece.name.endswith(("W_out", "W_U"))] += weights.square().sum(1)
    return squares[0].sqrt(), squares[1].sqrt()


def compare(one: Other, other: Other, *, rule: str = "wl_energy") -> "pd.DataFrame":
    """Two checkpoints side by side, and each with every part of the other.

    Args:
        one: `(checkpoints, step)`, or checkpoints for their last.
        other: The same.
        rule: Finds the key frequencies, at the last checkpoint of each.

    Returns:
        Columns `a` and `b`, a row for each number: `norm`, `norm[role]`; the scores; `n_key_freqs`, and how many are
        `shared_key_freqs`; where the shapes are the same, `angle` between the two in radians, `angle[role]`, and
        `test_loss[part swapped]` and `test_acc[part swapped]`: `a` with this part of `b`, `b` with this part of `a`,
        for each role and head, the radius and the direction. `attrs["key_freqs"]` has the frequencies of both.

    Raises:
        UserError: A rule is unknown.

    Example:
        >>> import circuitgrok as cg
        >>> run = cg.load("checkpoints/reference")
        >>> table = cg.compare((run, 500), (run, 4000))
        >>> table.loc["norm"].round(2).to_dict(), table.loc["test_acc[direction swapped]"].round(2).to_dict()
        ({'a': 30.93, 'b': 20.75}, {'a': 0.95, 'b': 0.08})
    """
    import pandas as pd

    networks = [network_of(side) for side in (one, other)]
    freqs = [key_freqs_of(side[0] if isinstance(side, tuple) else side, rule) for side in (one, other)]
    rows = {"norm": [norm(side.params).item() for side in networks]}
    for part in [name for name in ROLES if all(_of_role(side, name) for side in networks)]:
        rows[f"norm[{part}]"] = [norm(_of_role(side, part)).item() for side in networks]
    scores = [side.scores(side.after().logits) for side in networks]
    rows |= {name: [getattr(side, name) for side in scores] for name in scores[0]._fields}
    rows["n_key_freqs"] = [float(len(keys)) for keys in freqs]
    rows["shared_key_freqs"] = [float(len({*freqs[0]} & {*freqs[1]}))] * 2
    if _shapes(networks[0]) == _shapes(networks[1]):
        rows |= dict(_angles(*networks)) | dict(_swaps(*networks))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["a", "b"])
    table.attrs = {"key_freqs": {"a": list(freqs[0]), "b": list(freqs[1])}, "key_freqs_rule": rule}
    return table


def _shapes(one: Network) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in one.params.items()}


def _of_role(one: Network, part: str) -> dict[str, Tensor]:
    return {name: value for name, value in one.params.items() if role(name) == part}


def _angles(a: Network, b: Network) -> Iterator[tuple[str, list[float]]]:
    yield "angle", [geometry.angle(a.params, b.params).item()] * 2
    for part in ROLES:
        if _of_role(a, part):
            yield f"angle[{part}]", [geometry.angle(_of_role(a, part), _of_role(b, part)).item()] * 2


def _swaps(a: Network, b: Network) -> Iterator[tuple[str, list[float]]]:
    """Scores of each network with a part of the other."""
    edits = {part: Patch(weights=part) for part in ROLES if _of_role(a, part)}
    if isinstance(a.model, Transformer):
        edits |= {f"head {i}": Patch(weights=f"head {i}") for i in range(a.model.n_heads)}
    edits |= {"radius": Patch(what="radius"), "direction": Patch(what="direction")}
    for part, edit in edits.items():
        both = ((a, b), (b, a))
        found = [mine.scores(mine.after([edit], {"source": theirs.params}).logits) for mine, theirs in both]
        for score in ("test_loss", "test_acc"):
            yield f"{score}[{part} swapped]", [getattr(side, score) for side in found]
