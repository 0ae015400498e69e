"""What every study tells of a run as a row of its table, and of all of them: setting, censored times, norms."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from circuitgrok.measures.learning.crossings import ACCURACY_RULES, events, known_rules
from circuitgrok.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

Rules = Mapping[str, tuple[str, float]]  # column and level that it must reach, by the name of the event


class Recorded(Protocol):
    """What a line of the table is read from: a run, or legs that are taken as one."""

    @property
    def history(self) -> "pd.DataFrame":
        """Evaluations, by step."""
        ...

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Where it started."""
        ...

    @property
    def state(self) -> str:
        """How it ended."""
        ...


R = TypeVar("R", bound=Recorded)


def row(run: Recorded, rules: Rules = ACCURACY_RULES) -> dict[str, Any]:
    """What every study tells of a run: start, end, best accuracies, and when it memorised and grokked.

    The time of an event is an interval: `NAME_after` is the last step at which it had not happened, 0 at least, and
    `NAME_by` the first at which it had, nan where it is censored, at `steps`. Beside the events of the rules there is
    `grokked_unseen`, the same level as `grokked` on test pairs whose mirror was not trained on, if the history has that
    accuracy at every evaluation; a run without it has neither column.
    """
    history = run.history
    times: dict[str, float] = {}
    for name, event in events(history, known_rules(history, rules)).items():
        times |= {f"{name}_after": max(event.after, 0), f"{name}_by": math.nan if event.by is None else event.by}
    last = history.iloc[-1]
    return {
        "r0": run.manifest["start"]["norm"],
        "state": run.state,
        "steps": int(history.index[-1]),
        "final_norm": last["norm"],
        "train_acc": last["train_acc"],
        "test_acc": last["test_acc"],
        "best_train_acc": history["train_acc"].max(),
        "best_test_acc": history["test_acc"].max(),
        **times,
    }


def at_events(run: Run, column: str) -> dict[str, float]:
    """A column of a run's history when it memorised and when it grokked, nan where that is censored.

    Args:
        run: The run.
        column: A column of its history, such as `norm`.

    Returns:
        `<column>_memorised` and `<column>_grokked`, in the column's unit.

    Raises:
        KeyError: The history has no such column.

    Example:
        >>> import tempfile
        >>> from circuitgrok.config.train_config import TrainConfig
        >>> from circuitgrok.training.loop import train
        >>> config = TrainConfig.preset("quickstart").with_(p=5, d_model=8, d_head=2, d_mlp=8, steps=2)
        >>> [run] = train([config], tempfile.mkdtemp())
        >>> at_events(run, "norm")
        {'norm_memorised': nan, 'norm_grokked': nan}
    """
    values = run.history[column]
    return {
        f"{column}_{name}": math.nan if event.by is None else float(values.loc[event.by])
        for name, event in events(run.history).items()
    }


def tabulate(
    labels: Mapping[str, Mapping[str, Any]],
    runs: Mapping[str, R],
    more: Callable[[R], Mapping[str, Any]],
    rules: Mapping[str, Rules],
) -> "pd.DataFrame":
    """One line per run: its labels, what every study tells of a run by the run's rules, and `more` of it."""
    import pandas as pd

    return pd.DataFrame([{**labels[name], **row(run, rules[name]), **more(run)} for name, run in runs.items()])


def censored(table: "pd.DataFrame", grid: Sequence[str], rules: Rules = ACCURACY_RULES) -> str:
    """How many runs of each arm and value of the grid did not come to each event, and how many diverged."""
    said = []
    for event, (name, level) in rules.items():
        cells = table.groupby(["arm", *grid], sort=False)[f"{event}_by"]
        counts = [(cell, int(times.isna().sum()), len(times)) for cell, times in cells]
        missed = [f"{_cell(cell, grid)}: {n} of {size}" for cell, n, size in counts if n]
        said.append(f"{name} never held {level:g} within the budget: {', '.join(missed) or 'no run'}")
    return f"Censored: {'; '.join(said)}. Diverged: {int((table['state'] == 'diverged').sum())} runs."


def norms(table: "pd.DataFrame") -> str:
    """The mean initial norm; where arms begin apart, as other networks do, that of the first and of these."""
    first, *others = table.groupby("arm", sort=False)["r0"].mean().items()
    apart = [f"{norm:.2f} ({arm})" for arm, norm in others if abs(norm / first[1] - 1) > 0.01]
    return f"{first[1]:.2f}, but {', '.join(apart)}" if apart else f"{table['r0'].mean():.2f}"


def listed(values: "pd.Series | pd.DataFrame", form: str, between: str = ", ") -> str:
    """Each row of some values in words, for a note; "none" without any.

    Args:
        values: With what they are of in the index.
        form: Of one row: braces for each level of the index, then for each column.
        between: What stands between two rows.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"arm": ["a", "a", "b"], "alpha": [1.0, 2.0, 1.0], "steps": [10, 20, 30]})
        >>> listed(table.groupby("arm")["steps"].mean(), "{} {:g}"), listed(table.set_index("arm")[:0], "{}")
        ('a 15, b 30', 'none')
        >>> listed(table.set_index(["arm", "alpha"]), "{}, α = {:g}: {} steps", "; ")
        'a, α = 1: 10 steps; a, α = 2: 20 steps; b, α = 1: 30 steps'
    """
    return between.join(form.format(*row) for row in values.reset_index().itertuples(index=False)) or "none"


def slug(text: str) -> str:
    """A text as the name of a folder.

    >>> slug("on the sphere, 0.9")
    'on-the-sphere-0.9'
    """
    return re.sub(r"[^\w.+-]+", "-", text).strip("-")


def name_of(line: Mapping[str, Any]) -> str:
    """The name of a run, from its arm, its values of the grid and its seed.

    >>> name_of({"arm": "free", "alpha": 0.5, "seed": 3})
    'free-alpha0.5-s3'
    """
    parts = [f"{leaf}{_text(value)}" for leaf, value in line.items() if leaf not in ("arm", "seed")]
    return slug("-".join([str(line["arm"]), *parts, f"s{line['seed']}"]))


def _cell(cell: Any, grid: Sequence[str]) -> str:
    arm, *values = cell if isinstance(cell, tuple) else (cell,)
    return " ".join([str(arm), *(f"{leaf} {_text(value)}" for leaf, value in zip(grid, values, strict=True))])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
