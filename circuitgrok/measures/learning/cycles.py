"""What comes with a run's slingshots: how many, what float32's monitors say before, what test accuracy does after.

A run of another precision with the same weights and pairs, its twin, tells what a slingshot does from what time does.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from circuitgrok.measures.learning.crossings import events
from circuitgrok.measures.learning.slingshots import CALM, slingshots, summary

if TYPE_CHECKING:
    import pandas as pd

MONITORS = ("softmax_collapse", "zero_losses", "gradient_sum", "margin_max")  # of losses in less than float64


def gain(history: "pd.DataFrame", onsets: Sequence[int]) -> float:
    """Test accuracy over the `CALM` steps after a step less that over those before: the mean over the given steps.

    Args:
        history: Indexed by step, with the column `test_acc`.
        onsets: The steps; nan for none.

    Example:
        >>> import pandas as pd
        >>> steps = range(0, 1001, 10)
        >>> gain(pd.DataFrame({"test_acc": [0.75 if step > 500 else 0.25 for step in steps]}, index=steps), [500])
        0.5
    """
    accuracy, step = history["test_acc"], history.index
    changes = [
        accuracy[(step > at) & (step <= at + CALM)].mean() - accuracy[(step > at - CALM) & (step <= at)].mean()
        for at in onsets
    ]
    return float(sum(changes) / len(changes)) if changes else math.nan


def last_tenth(history: "pd.DataFrame") -> float:
    """Mean test accuracy over the last tenth of the record, so that no single spike decides."""
    return history["test_acc"].iloc[-max(1, len(history) // 10) :].mean()


def cycles(history: "pd.DataFrame", twin: "pd.DataFrame | None" = None) -> dict[str, float | int | str]:
    """One line of a table: a run's slingshots, the monitors, and test accuracies beside a twin's.

    Args:
        history: With the columns of `slingshots.slingshots` and `test_acc`; the columns `MONITORS` where there are.
        twin: That of a run to compare with at the same steps.

    Returns:
        `n_slingshots`, `onsets` (their steps, as words), `median_period` (steps), `median_jump` (decades),
        `median_norm_change`, `least_train_loss` and `.._at` (step); `end_test_acc` over the last tenth and
        `change_at_slingshots`, both also of the twin; `{monitor}_max`; at the first onset `collapsed_at_onset`, the
        share of pairs, and `gradient_sum_late`, `.._early`: means over the last `CALM` steps before that onset and
        the first `CALM` after memorising. nan where there is nothing to measure.

    Raises:
        UserError: As `slingshots.slingshots`.

    Source: Thilak et al. 2022 (arXiv:2206.04817), figure 1; Liu et al. 2026 (arXiv:2605.06152) for the monitors.
    """
    found = slingshots(history)
    told, onsets, memorised = summary(found), [cycle.onset for cycle in found], events(history)["memorised"].by
    shown, step = history.reindex(columns=list(MONITORS)), history.index
    onset, begin = onsets[0] if onsets else math.nan, math.nan if memorised is None else memorised
    return {
        "n_slingshots": told.n_cycles,
        "onsets": " ".join(map(str, onsets)),
        "median_period": told.median_period,
        "median_jump": float(np.median([cycle.jump for cycle in found])) if found else math.nan,
        "median_norm_change": told.median_norm_change,
        "least_train_loss": history["train_loss"].min(),
        "least_train_loss_at": int(history.index[int(history["train_loss"].argmin())]),
        "end_test_acc": last_tenth(history),
        "change_at_slingshots": gain(history, onsets),
        "change_of_twin": math.nan if twin is None else gain(twin, onsets),
        "twin_end_test_acc": math.nan if twin is None else last_tenth(twin),
        **{f"{name}_max": shown[name].max() for name in MONITORS},
        "collapsed_at_onset": shown["softmax_collapse"][step == onset].mean(),
        "gradient_sum_late": shown["gradient_sum"][(step > onset - CALM) & (step <= onset)].mean(),
        "gradient_sum_early": shown["gradient_sum"][(step >= begin) & (step < begin + CALM)].mean(),
    }
