"""The table of measures along a run.

`measure` takes the checkpoints a few at a time through every group
of measures that was asked for. A group is a function of such a stack that gives named columns; adding a
measure means adding a column to a group, or a group to `GROUPS`. Which groups make sense for which run is in `needs`.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import CPU, moved, resolved
from circuitgrok.errors import Undefined, UserError
from circuitgrok.measures.circuits.unseen import NO_SPARSE_SPECTRUM, is_sparse, why_undefined
from circuitgrok.store.checkpoints import Checkpoints, config_of, name_of, require_split, saved_steps, split_is_known
from circuitgrok.store.run import Run
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.table.checkpoints import (
    SPLITS,
    Opened,
    check_rule,
    checkpoints_of,
    key_frequencies_by_rule,
    strongest_frequencies,
)
from circuitgrok.table.groups import GROUPS, SLOW
from circuitgrok.table.needs import Group, Rule, fitting, why_not
from circuitgrok.table.polar import polar_columns
from circuitgrok.tasks.kinds import Dataset, modular
from circuitgrok.tasks.modular import Task
from circuitgrok.tasks.operations import Relabelled, as_addition
from circuitgrok.tree import Params

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.landscape.sampling import Sampling

Tick = Callable[[int, int], None]
# Columns that would be others with another split; all of the groups hessian and llc would.
_BY_SPLIT = re.compile(
    r".*(\[|, )(train|test)\w*\]$|excluded_loss(_random(_sd)?|\[\d+\])$|(efficiency|label_fit)\[.*"
    r"|restricted_loss_(unseen|blank).*"
)
_OF_TRAINING = ("hessian", "llc")
_NUMBERS = 2**23  # neuron activations of the checkpoints that are taken together


def names_of_groups() -> tuple[Group, ...]:
    """The groups that can be measured: `polar` looks at the whole path, `updates` at what was recorded in training."""
    names: tuple[Any, ...] = ("polar", *GROUPS, "updates", "llc")  # with groups of one's own
    return names


def quick_groups(config: TrainConfig | None = None) -> tuple[Group, ...]:
    """The groups that are measured by default: all but those that take a second or more for each checkpoint.

    Args:
        config: Of the run, for the groups that make sense for it; by default the transformer on addition modulo p.

    Example:
        >>> quick_groups(TrainConfig().with_(model="dense", task="digits"))
        ('polar', 'scores', 'updates')
    """
    quick: list[Group] = [name for name in names_of_groups() if name not in SLOW]
    return tuple(fitting(quick, TrainConfig() if config is None else config))


def check_groups(names: Sequence[str], config: TrainConfig) -> None:
    """Refuses groups of measures that there are not, and those that make no sense for runs of a config.

    Raises:
        UserError: The message says why, and lists the groups that there are.
    """
    known = names_of_groups()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"unknown measures {unknown}; there are {', '.join(known)}")
    reasons = [f"{name} {reason}" for name in names if (reason := why_not(name, config)) is not None]
    if reasons:
        raise UserError(f"{'; '.join(reasons)}; groups for this run: {', '.join(fitting(known, config))}")


@in_plain_surroundings
def measure(
    run: Checkpoints,
    names: Group | Sequence[Group] | None = None,
    steps: int | Sequence[int] | None = None,
    *,
    rule: Rule = "wl_energy",
    n_keys: int | None = None,
    sampling: "Sampling | None" = None,
    device: str | torch.device = "cpu",
    tick: Tick | None = None,
) -> "pd.DataFrame":
    """Measures along a run, or along checkpoints of anybody: one row per checkpoint, one column per number.

    Columns are `name` or `name[part]`, where a part is a split, a role, a tensor, a frequency or an irrep. On tasks of
    numbers modulo p the key frequencies are found once, at the run's last checkpoint, by the named rule, and kept along
    the run; `attrs` of the table records the set, the rule, the checkpoint, what the other rules say, and whether the
    set is sparse (`spectrum`). Subtraction, products and quotients are measured as the addition that they are
    (`tasks.operations`). A column that has no value, for this network or task or at some checkpoints, such as a mean
    over no pairs, is nan there, and `attrs["undefined"]` says why.

    Losses there are cross-entropies over the p numbers as classes ('=' is dropped), whatever was trained; those of
    `run.history`, and of the group `scores` for all other tasks, are the trained loss over the classes that were
    trained on. Where the loss divided the logits by a temperature, so does the table.

    Args:
        run: An opened run, or other `Checkpoints`: what `open_checkpoints` gives, or an object of one's own. Nothing is
            kept of what is estimated on checkpoints without a folder, as `attrs["kept"]` says.
        names: Groups to measure (`names_of_groups`), or one; by default the quick ones that make sense for the run.
        steps: Checkpoints to measure, or one, and the path that polar distances are taken along; all by default.
        rule: Rule that finds the key frequencies, a key of `checkpoints.KEY_FREQUENCY_RULES`.
        n_keys: How many key frequencies: the strongest by the rule at the last checkpoint, whatever its threshold says.
            For a run that is held beside another, with as many as that one has: a network that only memorised uses all
            frequencies, and nothing can be said of its loss restricted to these. By default what the rule finds.
        sampling: How to sample for llc; by default as calibrated once on this run (`calibration_of`).
        device: Where to measure: "cpu", "cuda", "cuda:1", or "auto", a GPU if there is one. There weights are taken in
            float64, whatever the run's precision. Groups hessian and llc are measured on the CPU always.
        tick: Called with (checkpoints done, all) as the work goes on.

    Of a run whose checkpoints were thinned, `attrs["thinned"]` says what the columns of `polar` can no longer tell.

    Where the split of an imported run is not known, columns that depend on it are nan, as `attrs["undefined"]` says.

    Raises:
        UserError: An unknown group or rule, a group that makes no sense for this run, or a device that is not there.
        RunError: A step without a checkpoint, or a run without any.

    Example:
        >>> import circuitgrok as cg
        >>> table = measure(cg.reference(), ["polar", "circuits"])
        >>> table.loc[[0, 4000], ["norm", "angle_start", "restricted_loss[all]"]].round(2).to_numpy().tolist()
        [[29.54, 0.0, 3.48], [20.75, 1.38, 0.0]]
        >>> table.attrs["key_freqs"]
        [5, 6, 9]
        >>> measure(cg.reference(), "circuits", 4000, n_keys=2).attrs["key_freqs"]
        [6, 9]
    """
    import pandas as pd

    config, model, task = config_of(run), run.model, run.task
    quick = [name for name in quick_groups(config) if name != "updates" or isinstance(run, Run)]
    chosen = quick if names is None else (names,) if isinstance(names, str) else tuple(names)
    check_groups(chosen, config)
    check_rule(rule)
    where = resolved(device)
    if "updates" in chosen and not isinstance(run, Run):
        raise UserError("updates are recorded while training, and only runs that were trained here have them")
    if blind := [name for name in chosen if name in _OF_TRAINING]:
        require_split(run, ", ".join(blind))
    known, saved = split_is_known(run), saved_steps(run)
    at = sorted(set(saved if steps is None else (steps,) if isinstance(steps, int) else steps))
    by_rule = (
        key_frequencies_by_rule(_on(run.at(saved[-1]), where), model, moved(task, where))
        if why_not("circuits", config) is None
        else {}
    )
    key_freqs = by_rule.get(rule, torch.empty(0, dtype=torch.long, device=where))
    if n_keys is not None:
        if not by_rule:
            raise UserError(f"n_keys is of key frequencies, and there are none: {why_not('circuits', config)}")
        key_freqs = strongest_frequencies(rule, _on(run.at(saved[-1]), where), model, moved(task, where), n_keys)
    columns: dict[str, list[float]] = {}  # not tensors: small ones that live on keep the heap from being given back
    if "polar" in chosen:
        columns |= {name: value.tolist() for name, value in polar_columns(_on(run.stack(at), where), model, at).items()}
    undefined: dict[str, str] = {}
    size = max(1, _NUMBERS // (len(task.inputs) * model.activations_per_input))
    wanted = [GROUPS[name] for name in chosen if name in GROUPS]
    for i in range(0, len(at), size) if wanted else ():
        stack = run.stack(at[i : i + size])
        here = checkpoints_of(config, _on(stack, where), key_freqs)
        for group in wanted:
            for name, value in group(here).items():
                if isinstance(value, Undefined):
                    undefined[name] = str(value)
                columns.setdefault(name, []).extend(_values(value, here).tolist())
        if tick:
            tick(min(i + size, len(at)), len(at))
    table = pd.DataFrame(columns, index=at, dtype="float64")
    table.index.name = "step"
    if "updates" in chosen and isinstance(run, Run):
        table = table.join(run.updates)  # the last checkpoint, and runs not trained here, have none: nan
    table.attrs = {"run": name_of(run), "config": config.hash}
    if not isinstance(run, Run):
        table.attrs["kept"] = "in this table only: these checkpoints have no folder of a run"
    undefined |= _of_no_pairs(list(columns), task)
    if not known:
        sided = [name for name in map(str, table) if _BY_SPLIT.fullmatch(name)]
        table[sided] = math.nan
        undefined |= dict.fromkeys(sided, "the split is a stand-in, not the one trained on")
    if by_rule:
        hidden = as_addition(modular(task))
        undefined = _of_keys(key_freqs, hidden, task.where("test_mirror_unseen"), table) | undefined
        table.attrs |= {
            "key_freqs": key_freqs.tolist(),
            "key_freqs_rule": rule if n_keys is None else f"{rule}, the {n_keys} strongest",
            "key_freqs_step": saved[-1],
            "key_freqs_by_rule": {name: freqs.tolist() for name, freqs in by_rule.items()},
            "n_freqs": hidden.m // 2,
            "spectrum": "sparse" if is_sparse(key_freqs, hidden.m) else NO_SPARSE_SPECTRUM,
        }
    if undefined:
        table.attrs["undefined"] = undefined
    if "polar" in chosen and isinstance(run, Run) and (said := _thinned(run, at)):
        table.attrs["thinned"] = said
    return _with_llc(table, run, at, sampling, tick) if "llc" in chosen else table


def _on(params: Params, device: torch.device) -> Params:
    """Weights as they are measured on a device."""
    return params if device == CPU else {name: value.to(device, torch.float64) for name, value in params.items()}


def _thinned(run: Run, at: Sequence[int]) -> str:
    """What the path can no longer tell, where checkpoints between the measured ones were removed; "" if none were."""
    inside = [gap for gap in run.thinned if at[0] <= gap.after and (gap.before or math.inf) <= at[-1]]
    if not inside:
        return ""
    return (
        f"{sum(gap.removed for gap in inside)} checkpoints were removed between steps {inside[0].after} and "
        f"{inside[-1].before}: radial_distance, angular_distance and arc_length are those of the path through the kept "
        f"ones, at most what they were, and angular_speed is a mean over longer intervals"
    )


def _values(value: Tensor | Undefined, at: Opened) -> Tensor:
    """A column at some checkpoints."""
    n = len(next(iter(at.params.values())))
    return torch.full((n,), math.nan) if isinstance(value, Undefined) else value


def _of_no_pairs(columns: Sequence[str], task: Dataset) -> dict[str, str]:
    """Columns that are means over a split without a pair, and that it has none."""
    if not isinstance(task, Task):
        return {}
    empty = [split for split in SPLITS if not bool(task.where(split).any())]
    return {name: f"no pair is in {split}" for split in empty for name in columns if name.endswith(f"[{split}]")}


def _of_keys(key_freqs: Tensor, hidden: Relabelled, unseen: Tensor, table: "pd.DataFrame") -> dict[str, str]:
    """Columns that these key frequencies, or errors of a network, leave without a value somewhere, and why."""
    reasons = why_undefined(key_freqs, unseen[hidden.pairs])
    reasons |= {"is_pizza": "of a network that errs on some pair there is no telling"}
    return {name: why for name, why in reasons.items() if name in table and bool(table[name].isna().any())}


def _with_llc(
    table: "pd.DataFrame", run: Checkpoints, at: list[int], sampling: "Sampling | None", tick: Tick | None
) -> "pd.DataFrame":
    """The table with the columns of `llc_along`; attrs say the settings, and the step's bias at three checkpoints."""
    from circuitgrok.table.calibration import calibration_of, step_bias
    from circuitgrok.table.llc import llc_along

    how = calibration_of(run).sampling if sampling is None else sampling
    joined = table.join(llc_along(run, how, at, tick))
    probes = sorted({at[0], at[len(at) // 2], at[-1]})
    bias = step_bias(run, how, probes)
    joined.attrs = table.attrs | {
        "llc_sampling": how.model_dump(mode="json"),
        "llc_step_bias": {str(step): [row.bias, row.bias_se] for step, row in bias.iterrows()},
    }
    return joined
