"""The circuit and the memories of a run side by side, by key frequencies that are known at the time, and their events.

Excluded and restricted losses need key frequencies. Those that are found at a run's end have seen the end; and a rule
with a threshold finds all frequencies as long as the spectrum is white, so that its circuit holds the memories too. So
here the key frequencies of a checkpoint are a number of them that is the same throughout, the strongest in W_L by that
checkpoint's own weights. By those of a later checkpoint the same columns tell what hindsight does.

The published circuit is an average over all pairs of equal sum, and carries the answers to training pairs over to the
others. What the circuit knows of pairs that nobody has seen is fitted to these alone (`measures.circuits.unseen`).
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.circuits.restricted import parts_of
from circuitgrok.measures.circuits.unseen import restricted_accuracy_unseen, restricted_loss_unseen
from circuitgrok.measures.learning.crossings import Event, crossing
from circuitgrok.measures.learning.memorization import answered_right, margin_shares, mean_margins
from circuitgrok.measures.learning.phases import NORM_FALL, fell, minimum
from circuitgrok.measures.spectra.fourier import fourier_gini, neuron_logit_spectrum
from circuitgrok.store.checkpoints import Checkpoints, config_of
from circuitgrok.table.checkpoints import Opened, checkpoints_of
from circuitgrok.tree import Params, norm

if TYPE_CHECKING:
    import pandas as pd

HALF = 0.5


def anatomy(run: Checkpoints, n_keys: int, known_at: int | None = None) -> "pd.DataFrame":
    """What the circuit and the rest each do at every checkpoint of a run on numbers modulo p, one row for each.

    Args:
        run: An opened run.
        n_keys: How many key frequencies: the strongest in W_L.
        known_at: The checkpoint whose weights they are strongest in; by default each row's own.

    Returns:
        By the step, columns as of `cg.measure`: `loss` and `accuracy` of `[train]`, `[test]` and
        `[test_mirror_unseen]`, `norm`, `gini[W_E]`, `gini[W_L]`, `excluded_loss[train]`, `restricted_loss[all]`,
        `restricted_loss_unseen` and `restricted_acc_unseen` (the circuit that is fitted to unseen mirrors),
        `circuit_share[train]`, `pairs_circuit[train]` and `pairs_rest[train]`: the shares of training pairs that the
        circuit, and the rest, answer right. Losses are in nats.

    Raises:
        RunError: There is no checkpoint `known_at`.

    Example:
        >>> import circuitgrok as cg
        >>> table = anatomy(cg.reference(), n_keys=3)
        >>> shown = ["accuracy[train]", "pairs_rest[train]", "circuit_share[train]"]
        >>> table.loc[[500, 4000], shown].round(1).values.tolist()
        [[1.0, 0.7, 0.1], [1.0, 0.1, 1.0]]
    """
    import pandas as pd

    known = None if known_at is None else _strongest(_opened(run, known_at), n_keys)
    rows = {}
    for step in run.steps:
        at = _opened(run, step)
        rows[step] = _columns(at, _strongest(at, n_keys) if known is None else known)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("step")


def _opened(run: Checkpoints, step: int) -> Opened:
    params: Params = {name: value[None] for name, value in run.at(step).items()}
    return checkpoints_of(config_of(run), params, torch.empty(0, dtype=torch.long))


def _strongest(at: Opened, n: int) -> Int[Tensor, " freq"]:
    """The frequencies of most energy in W_L of one checkpoint, in increasing order."""
    energy = neuron_logit_spectrum(at.W_L[0], at.hidden.m)
    return 1 + energy.argsort(descending=True, stable=True)[:n].sort().values


def _columns(at: Opened, keys: Int[Tensor, " freq"]) -> dict[str, float]:
    logits, labels, train, unseen = at.logits, at.labels, at.where("train"), at.where("test_mirror_unseen")
    parts = parts_of(logits, keys)
    right, shares = answered_right(parts, labels), margin_shares(mean_margins(parts, labels, train))
    losses = cross_entropy(logits, labels)
    columns = {}
    for split in ("train", "test", "test_mirror_unseen"):
        here = at.where(split)
        columns |= {
            f"loss[{split}]": losses[:, here].mean(),
            f"accuracy[{split}]": right.whole[:, here].double().mean(),
        }
    trained = {name: value for name, value in at.params.items() if at.model.is_trainable(name)}
    columns |= {
        "norm": norm(trained),
        "gini[W_E]": fourier_gini(at.W_E),
        "gini[W_L]": fourier_gini(at.W_L.mT),
        "excluded_loss[train]": cross_entropy(parts.rest[:, train], labels[train]).mean(),
        "restricted_loss[all]": cross_entropy(parts.circuit, labels).mean(),
        "restricted_loss_unseen": restricted_loss_unseen(logits, labels, keys, unseen),
        "restricted_acc_unseen": restricted_accuracy_unseen(logits, labels, keys, unseen),
        "circuit_share[train]": shares.circuit,
        "pairs_circuit[train]": right.circuit[:, train].double().mean(),
        "pairs_rest[train]": right.rest[:, train].double().mean(),
    }
    return {name: value.item() for name, value in columns.items()}


def events_of(table: "pd.DataFrame") -> dict[str, Event]:
    """When the circuit was there and when the memories went, of a run's `anatomy`, as intervals between checkpoints.

    Returns:
        By name, sustained as `crossings` and `phases` say:

        - `excluded_minimum`: excluded loss of the training pairs at its minimum, before it doubles
        - `circuit_reaches`: the circuit alone answers half of the unseen mirrors right
        - `circuit_carries`: the circuit has half of the mean margin on the training pairs
        - `rest_fell`: the rest answers right half of the training pairs that it did at most
        - `network_reaches`: the network answers half of the unseen mirrors right
        - `norm_fell`: the norm is half-way from its peak to its last value; censored if it lost less than 5 %

    Example:
        >>> import circuitgrok as cg
        >>> found = events_of(anatomy(cg.reference(), n_keys=3))
        >>> for name in ("excluded_minimum", "circuit_reaches", "network_reaches"):
        ...     print(f"{name}: {found[name]}")
        excluded_minimum: step 178–500
        circuit_reaches: step 1000–1500
        network_reaches: step 1500–1778
    """
    steps = [int(step) for step in table.index]

    def crossed(column: str) -> Event:
        return crossing(steps, table[column].tolist(), HALF)

    return {
        "excluded_minimum": minimum(steps, table["excluded_loss[train]"].tolist()),
        "circuit_reaches": crossed("restricted_acc_unseen"),
        "circuit_carries": crossed("circuit_share[train]"),
        "rest_fell": fell(steps, table["pairs_rest[train]"].tolist(), HALF),
        "network_reaches": crossed("accuracy[test_mirror_unseen]"),
        "norm_fell": _half_fallen(steps, table["norm"].tolist()),
    }


def _half_fallen(steps: list[int], norms: list[float]) -> Event:
    """When the norm had made half of its fall from its peak to where it ends, to stay there."""
    top, end = max(norms), norms[-1]
    if top - end < NORM_FALL * top:
        return Event(steps[-1], None, steps[-1])
    peak = norms.index(top)
    return crossing(steps[peak:], [(top - value) / (top - end) for value in norms[peak:]], HALF)
