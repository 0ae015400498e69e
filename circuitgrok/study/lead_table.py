"""A table of early warnings: indicators in its rows, and how many runs each warns of, how long before.

What is watched along runs is any function of a run and a step that gives numbers by name; an `Indicator` says which of
these numbers warns, and on which side. Both are passed in, so that one function of one's own is one row more, judged by
the same rule beside the others: levels by controls of other seeds, at a share of false alarms (`early_warning`).

Runs are watched from where they have memorised on, at as many steps after it in all of them: an indicator that told
nothing but the time since then would reach the same values in controls, and warn of nothing.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from circuitgrok.measures.learning.crossings import ACCURACY_RULES, events, known_rules
from circuitgrok.store.run import Run
from circuitgrok.study.alarms import Indicator
from circuitgrok.study.early_warning import leads

if TYPE_CHECKING:
    import pandas as pd

Column = Callable[[Run, int], Mapping[str, float]]
EVENT = "grokked_unseen"


def lead_table(
    runs: Mapping[str, Run],
    columns: Sequence[Column],
    indicators: Mapping[str, Indicator],
    controls: Collection[str],
    since: Sequence[int],
    *,
    share: float = 0.05,
    event: str = EVENT,
) -> "pd.DataFrame":
    """Which indicator warns of how many runs, how long before, at a share of false alarms.

    Args:
        runs: By name; those whose seeds differ judge each other.
        columns: Functions of a run and a step that give numbers by name.
        indicators: Which of these numbers warn, by the names that the rows of the answer have.
        controls: The names of runs in which the event never comes.
        since: Steps after memorising at which runs are watched, as far as there are checkpoints.
        share: Of the controls of other seeds that may give an alarm.
        event: What is warned of: `grokked_unseen`, or `grokked`.

    Returns:
        As `summed_up` gives it.

    Example:
        The norm, and a column of one's own, along four short runs of which one is told to have grokked:

        >>> import tempfile
        >>> import circuitgrok as cg
        >>> config = cg.TrainConfig.preset("quickstart").with_(p=7, d_model=8, d_head=2, d_mlp=16, steps=60, lr=0.02)
        >>> config = config.with_(warmup=0, eval_every=5, checkpoint_every=10, checkpoints_per_decade=0)
        >>> made = [config.with_(seed=seed, weight_decay=decay) for seed in (0, 1) for decay in (2.0, 0.0)]
        >>> runs = {run.name: run for run in cg.train(made, tempfile.mkdtemp(), names=["a", "still a", "b", "still b"])}
        >>> def largest(run, step):
        ...     return {"largest": max(value.abs().max().item() for value in run.at(step).values())}
        >>> def norm(run, step):
        ...     return {"norm": run.history["norm"][step]}
        >>> warns = {"norm falls": Indicator("norm"), "largest weight": Indicator("largest", rises=True)}
        >>> found = lead_table(runs, [norm, largest], warns, ["still a", "still b"], [0, 10, 20], event="grokked")
        >>> list(found.index), list(found)[:3]
        (['norm falls', 'largest weight'], ['warned', 'n', 'median_lead'])
    """
    import pandas as pd

    rows = []
    for name, run in runs.items():
        when = times(run, event)
        of = {"run": name, "seed": run.config.init.seed, event: when[event], "is_control": name in controls}
        rows += [{**of, **row} for row in watched(run, columns, watched_steps(run, since, event), when["memorised"])]
    table = pd.DataFrame(rows)
    return summed_up(leads(table, indicators, table["is_control"], share=share, by=event), table, event)


def times(run: Run, event: str = EVENT) -> dict[str, float]:
    """When a run memorised, and when the event came; nan where it did not."""
    found = events(run.history, known_rules(run.history, ACCURACY_RULES))
    by = {name: found[name].by if name in found else None for name in ("memorised", event)}
    return {name: math.nan if step is None else float(step) for name, step in by.items()}


def watched_steps(run: Run, since: Sequence[int], event: str = EVENT) -> list[int]:
    """Checkpoints at some steps after memorising or next after them, up to the first that has seen the event."""
    when = times(run, event)
    memorised, end = when["memorised"], when[event]
    if math.isnan(memorised):
        return []
    asked = [next((s for s in run.steps if s >= memorised + d), None) for d in since]
    found = sorted({step for step in asked if step is not None})
    late = [step for step in found if step >= end]
    return [step for step in found if not step >= end] + late[:1]


def watched(run: Run, columns: Sequence[Column], steps: Sequence[int], memorised: float) -> list[dict[str, float]]:
    """A row for each of some steps: `step`, `since` (steps from memorising), and what every function gives.

    Raises:
        ValueError: Two functions give columns of one name.
    """
    rows = []
    for step in steps:
        row: dict[str, float] = {"step": step, "since": step - memorised}
        for column in columns:
            found = column(run, step)
            if again := row.keys() & found.keys():
                raise ValueError(f"two functions give the columns {sorted(again)}")
            row |= found
        rows.append(row)
    return rows


def relative(table: "pd.DataFrame", indicators: Mapping[str, Indicator]) -> "pd.DataFrame":
    """The table with every indicator less its first value in the run, or over it if it is logarithmic.

    What a run has from its start on, because of its arm, does not warn then; what changes while it is watched may.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"run": ["a", "a"], "norm": [20.0, 15.0], "loss": [0.5, 0.1]})
        >>> indicators = {"norm": Indicator("norm"), "loss": Indicator("loss", is_logarithmic=True)}
        >>> relative(table, indicators)[["norm", "loss"]].values.tolist()
        [[0.0, 1.0], [-5.0, 0.2]]
    """
    changed = {}
    for one in indicators.values():
        first = table.groupby("run")[one.column].transform("first")
        changed[one.column] = table[one.column] / first if one.is_logarithmic else table[one.column] - first
    return table.assign(**changed)


def summed_up(found: "pd.DataFrame", table: "pd.DataFrame", event: str = EVENT) -> "pd.DataFrame":
    """A row for each indicator, of what `leads` found.

    Args:
        found: Alarms and leads.
        table: What they were found in.
        event: The column with the time of the event.

    Returns:
        `warned`: share of the runs with an event that it warned of; `n` of them; `median_lead` in steps and
        `median_share` of the time of the event, 0 where there was no warning; `at_once`: share of the warnings at the
        first checkpoint that was watched, which tell what a run is rather than when; `false_alarms`: share of the
        controls; `unfounded`: of the other runs, in which the event did not come, either, and `n_without` of them.
    """
    import pandas as pd

    when, first = table.groupby("run")[event].first(), table.groupby("run")["step"].first()
    rows = {}
    for name, of in found.groupby("indicator", sort=False):
        controls, others = of[of["is_control"]], of[~of["is_control"]]
        told, without = others[others["lead"].notna()], others[others["lead"].isna()]
        warned = told[told["lead"] > 0]
        rows[name] = {
            "warned": (told["lead"] > 0).mean(),
            "n": len(told),
            "median_lead": told["lead"].median(),
            "median_share": (told["lead"] / told["run"].map(when).astype(float)).median(),
            "at_once": (warned["alarm"] == warned["run"].map(first).astype(float)).mean(),
            "false_alarms": controls["alarm"].notna().mean(),
            "unfounded": without["alarm"].notna().mean(),
            "n_without": len(without),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
