"""Verbs on a checkpoint that are one edit each: `cg.ablate`, `cg.patch`, `cg.radial`; and `cg.parts`, what there is.

What holds checkpoints is a run, or anything with `model`, `task`, `steps` and `at`. Losses are those of `cg.edited`.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, overload

from circuitgrok.inspection.available import parts_of
from circuitgrok.inspection.changed import Edited, edited
from circuitgrok.inspection.edits import Edit, Patch, Scale, edits_of
from circuitgrok.inspection.networks import Other, Scores, key_freqs_of, model_of, network
from circuitgrok.inspection.part_names import Fill
from circuitgrok.select import Grain
from circuitgrok.tree import norm

if TYPE_CHECKING:
    import pandas as pd

# Names of the table that mean the key frequencies, and what they are called with numbers.
OF_KEYS = {"key waves": "waves", "other waves": "only waves", "no cluster": "no cluster", "clusters": "cluster"}


@overload
def ablate(
    checkpoints: Any, step: int | None, part: str, *, fill: Fill | None = None, rule: str = "wl_energy"
) -> Edited: ...
@overload
def ablate(
    checkpoints: Any, step: int | None = None, *, part: str, fill: Fill | None = None, rule: str = "wl_energy"
) -> Edited: ...
@overload
def ablate(
    checkpoints: Any,
    step: int | None = None,
    part: list[str] | tuple[str, ...] = (),
    *,
    fill: Fill | None = None,
    rule: str = "wl_energy",
) -> "pd.DataFrame": ...
def ablate(
    checkpoints: Any,
    step: int | None = None,
    part: str | list[str] | tuple[str, ...] = (),
    *,
    fill: Fill | None = None,
    rule: str = "wl_energy",
) -> "Edited | pd.DataFrame":
    """What a checkpoint scores without a part of it.

    `freq 5` leaves out the sum waves cos, sin w_5 (a + b) of each neuron, which are the ablation `waves 5` of
    `cg.measure`; `excluded 5` takes the same waves out of the logits, those that came around the neurons too, as in
    Nanda's excluded loss. `only freq 5,7` replaces all else that varies in the neurons by its mean, `restricted 5,7`
    all else in the logits. All parts: `inspection/part_names.py`, and `cg.parts` for those of a checkpoint.

    Args:
        checkpoints: A run, or what else has `model`, `task`, `steps` and `at`.
        step: Of the checkpoint; the last by default.
        part: One, or a list of them. `key waves`, `other waves`, `no cluster` and `clusters` mean those of the key
            frequencies, as in the table.
        fill: What stands in the part's place, `zero` or `mean` over the pairs; by default the part's usual one.
        rule: Finds the key frequencies, at the last checkpoint.

    Returns:
        For one part scores and logits. For a list a table with a row for each part, and a first one, "", of the
        network as it is: train_loss, test_loss, train_acc, test_acc. All parts that there are for an empty list.

    Raises:
        UserError: There is no such part; the message lists those that there are.

    Example:
        >>> import circuitgrok as cg
        >>> run = cg.load("checkpoints/reference")
        >>> cg.ablate(run, 4000, "freq 5").test_acc.__round__(2)
        0.85
        >>> cg.ablate(run, 4000, ["head 0", "mlp"])["test_acc"].round(2).to_dict()
        {'': 1.0, 'head 0': 0.77, 'mlp': 0.19}
    """
    if isinstance(part, str):
        return edited(checkpoints, step, _ablation(checkpoints, part, fill, rule))
    one = network(checkpoints, step)
    rows = {"": one.scores(one.after().logits)}
    for name in part or parts(checkpoints, rule=rule):
        rows[name] = one.scores(one.after([_ablation(checkpoints, name, fill, rule)]).logits)
    return table_of(rows, "part")


def parts(checkpoints: Any, step: int | None = None, *, rule: str = "wl_energy") -> list[str]:
    """The parts of a checkpoint that `cg.ablate` knows, each frequency and set of frequencies that is key named.

    Besides these, `neuron 3,7` with any numbers, and any frequencies. Names do not depend on the step.

    Args:
        checkpoints: A run, or what else has `model`, `task`, `steps` and `at`.
        step: Of the checkpoint.
        rule: Finds the key frequencies, at the last checkpoint.

    Example:
        >>> import circuitgrok as cg
        >>> cg.parts(cg.load("checkpoints/reference"))[:8]
        ['head 0', 'head 1', 'head 2', 'head 3', 'attention', 'pattern', 'mlp', 'skip']
    """
    return parts_of(model_of(checkpoints), key_freqs_of(checkpoints, rule))


def patch(
    checkpoints: Any,
    step: int | None = None,
    *,
    source: Other,
    part: str = "*",
    grain: Grain = "global",
) -> Edited:
    """What a checkpoint scores with some weights of another.

    Args:
        checkpoints: A run, or what else has `model`, `task`, `steps` and `at`.
        step: Of the checkpoint; the last by default.
        source: The other checkpoint, `(checkpoints, step)`.
        part: Which weights: a role such as `mlp`, a glob, `head 2`, `neuron 3,7`; or `radius` or `direction` of all.
        grain: Where it is a radius or direction, what has one: `global`, `role`, `tensor`, `head`, `part`, `neuron`.

    Raises:
        UserError: No weights are chosen, or those of the source have another shape.

    Example:
        >>> import circuitgrok as cg
        >>> run = cg.load("checkpoints/reference")
        >>> round(cg.patch(run, 4000, source=(run, 0), part="radius").test_acc, 2)
        0.97
    """
    if part in ("radius", "direction"):
        edit = Patch(what=part, grain=grain)
    else:
        edit = Patch(weights=part)
    return edited(checkpoints, step, edit, sources={"source": source})


def radial(
    checkpoints: Any, step: int | None = None, factors: Iterable[float] = (0.5, 0.9, 1.0, 1.1, 2.0), part: str = "*"
) -> "pd.DataFrame":
    """What a checkpoint scores at other radii: its weights times each of some factors.

    Args:
        checkpoints: A run, or what else has `model`, `task`, `steps` and `at`.
        step: Of the checkpoint; the last by default.
        factors: Of the weights.
        part: Which weights are scaled: all, a role, a glob, `head 2`.

    Returns:
        A row for each factor: the norm of all weights there, and the scores.

    Example:
        >>> import circuitgrok as cg
        >>> cg.radial(cg.load("checkpoints/reference"), 4000, [0.5, 1.0]).test_acc.round(2).tolist()
        [0.03, 1.0]
    """
    one, rows, norms = network(checkpoints, step), {}, []
    for factor in factors:
        scaled = one._replace(params=one.weights([Scale(factor=factor, weights=part)]))
        norms.append(norm(scaled.params).item())
        rows[factor] = one.scores(scaled.after().logits)
    table = table_of(rows, "factor")
    table.insert(0, "norm", norms)
    return table


def _ablation(checkpoints: Any, part: str, fill: Fill | None, rule: str) -> Edit:
    """The ablation of a part; names of the table that mean key frequencies are put in numbers."""
    if part in OF_KEYS and (freqs := key_freqs_of(checkpoints, rule)):
        fill = "polynomial" if part == "clusters" else fill
        part = f"{OF_KEYS[part]} {','.join(map(str, freqs))}"
    [edit] = edits_of({"kind": "ablate", "part": part, "fill": fill})
    return edit


def table_of(rows: Mapping[Any, Scores], index: str) -> "pd.DataFrame":
    """A row of scores for each key."""
    import pandas as pd

    return pd.DataFrame([*rows.values()], index=pd.Index([*rows], name=index), columns=[*Scores._fields])
