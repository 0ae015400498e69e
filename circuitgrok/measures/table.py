"""The table of measures along a run.

`measure_run` is what `Run.measure` calls. It takes the checkpoints a few at a time through every group
of measures that was asked for. A group is a function of such a stack that gives named columns; adding a
measure means adding a column to a group, or a group to `GROUPS`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from circuitgrok.measures.checkpoints import Checkpoints, check_rule, key_frequencies_by_rule
from circuitgrok.measures.groups import GROUPS, SLOW
from circuitgrok.polar.columns import polar_columns

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.landscape.sampling import Sampling
    from circuitgrok.runs import Run

Tick = Callable[[int, int], None]
_NUMBERS = 2**23  # neuron activations of the checkpoints that are taken together


def names_of_groups() -> tuple[str, ...]:
    """The groups that can be measured: `polar` looks at the whole path, `updates` at what was recorded in training."""
    return ("polar", *GROUPS, "updates", "llc")


def quick_groups() -> tuple[str, ...]:
    """The groups that are measured by default: all but those that take a second or more for each checkpoint."""
    return tuple(name for name in names_of_groups() if name not in SLOW)


def measure_run(
    run: "Run",
    names: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    *,
    rule: str = "wl_energy",
    sampling: "Sampling | None" = None,
    tick: Tick | None = None,
) -> "pd.DataFrame":
    """Measures along a run: one row per checkpoint, one column per number.

    Columns are `name` or `name[part]`, where a part is a split, a role, a tensor or a frequency. The key
    frequencies are found once, at the run's last checkpoint, by the named rule, and kept along the run;
    `attrs` of the table records the set, the rule, the checkpoint, and what the other rules say. Losses here are over
    the p numbers as classes ('=' is dropped), those of `run.history` over the classes that were trained on.
    Subtraction, products and quotients are measured as the addition that they are (`tasks.operations`).

    Args:
        run: An opened run.
        names: Groups to measure (`names_of_groups`); by default the quick ones, without the slow ones.
        steps: Checkpoints to measure, and the path that polar distances are taken along; all by default.
        rule: Rule that finds the key frequencies, a key of `checkpoints.KEY_FREQUENCY_RULES`.
        sampling: How to sample for llc; by default as calibrated once on this run (`calibration_of`).
        tick: Called with (checkpoints done, all) as the work goes on.

    Raises:
        ValueError: An unknown group or rule.
        RunError: A step without a checkpoint.
    """
    import pandas as pd

    known = names_of_groups()
    chosen = list(quick_groups() if names is None else names)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ValueError(f"unknown measures {unknown}; there are {', '.join(known)}")
    model, task = run.config.model, run.task
    at = sorted(set(run.steps if steps is None else steps))
    check_rule(rule)
    by_rule = key_frequencies_by_rule(run.at(run.steps[-1]), model, task)
    key_freqs = by_rule[rule]
    columns: dict[str, list[float]] = {}  # not tensors: small ones that live on keep the heap from being given back
    if "polar" in chosen:
        columns |= {name: value.tolist() for name, value in polar_columns(run.stack(at), model, at).items()}
    size = max(1, _NUMBERS // (len(task.inputs) * model.d_mlp))
    wanted = [GROUPS[name] for name in chosen if name in GROUPS]
    for i in range(0, len(at), size) if wanted else ():
        here = Checkpoints(run.stack(at[i : i + size]), model, task, key_freqs)
        for group in wanted:
            for name, value in group(here).items():
                columns.setdefault(name, []).extend(value.tolist())
        if tick:
            tick(min(i + size, len(at)), len(at))
    table = pd.DataFrame(columns, index=at, dtype="float64")
    table.index.name = "step"
    if "updates" in chosen:
        table = table.join(run.updates)  # the last checkpoint, and runs not trained here, have none: nan
    table.attrs = {
        "run": run.name,
        "config": run.config.hash,
        "key_freqs": key_freqs.tolist(),
        "key_freqs_rule": rule,
        "key_freqs_step": run.steps[-1],
        "key_freqs_by_rule": {name: freqs.tolist() for name, freqs in by_rule.items()},
    }
    return _with_llc(table, run, at, sampling, tick) if "llc" in chosen else table


def _with_llc(
    table: "pd.DataFrame", run: "Run", at: list[int], sampling: "Sampling | None", tick: Tick | None
) -> "pd.DataFrame":
    """The table with the columns of `llc_along`; attrs say the settings, and the step's bias at three checkpoints."""
    from circuitgrok.landscape.calibration import calibration_of, step_bias
    from circuitgrok.landscape.llc_along import llc_along

    how = calibration_of(run).sampling if sampling is None else sampling
    joined = table.join(llc_along(run, how, at, tick))
    probes = sorted({at[0], at[len(at) // 2], at[-1]})
    bias = step_bias(run, how, probes)
    joined.attrs = table.attrs | {
        "llc_sampling": how.model_dump(mode="json"),
        "llc_step_bias": {str(step): [row.bias, row.bias_se] for step, row in bias.iterrows()},
    }
    return joined
