"""Slingshots: cycles late in training, in which the last layer grows, the training loss spikes, and growth stops.

A network that has fitted its training set without weight decay can go on growing its last layer, faster and
faster, until the loss jumps by many decades; then the norm stands still and the loss falls again. A slingshot
is read off a history by three rules, all of them needed:

* the training loss rises by `MIN_DECADES` or more within `RISE_WITHIN` steps,
* the training accuracy had been at least `MEMORISED` for `CALM` steps, which leaves out the oscillations of
  learning itself,
* the norm of the last layer goes from growth to a plateau within `CALM` steps of the rise: at some step the
  norm gained g >= `MIN_GROWTH` of itself over the last `CALM` steps and gains g / 2 at most over the next, so
  that its second difference is negative.

That growth must halve, and its least size, are ours: the sign of a second difference alone is negative in
every norm that slows down, and half the time in one that only trembles.

Source: Thilak et al. 2022 (arXiv:2206.04817), figure 1; Liu et al. 2026 (arXiv:2605.06152) on what float32 has to do
with it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from circuitgrok.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MIN_DECADES = 2.0  # of training loss
RISE_WITHIN = 50  # steps
MEMORISED = 0.999  # training accuracy
CALM = 200  # steps
MIN_GROWTH = 1e-3  # of the last layer's norm, in CALM steps
QUANTUM = 2.0**-23  # of a float32 cross-entropy
COLUMNS = ("train_loss", "train_acc", "norm_unembed")


class Slingshot(NamedTuple):
    """One cycle.

    Attributes:
        onset: Step of the last evaluation before the loss rises.
        peak: Step of the largest loss.
        jump: Rise of the loss from onset to peak, in decades.
        bend: Step at which the growth of the norm breaks off: where its second difference is the least.
        norm_change: What the last layer's norm gained over the cycle, up to `CALM` steps after the peak. The cycle
            begins `CALM` steps after the peak of the slingshot before; the first one at the evaluation from which
            on the training accuracy had been at least `MEMORISED`.
    """

    onset: int
    peak: int
    jump: float
    bend: int
    norm_change: float


class SlingshotSummary(NamedTuple):
    """All cycles of a run.

    Attributes:
        n_cycles: How many there are.
        median_period: Steps from peak to peak; nan for fewer than two.
        median_norm_change: Gain of the last layer's norm per cycle; nan for none.
    """

    n_cycles: int
    median_period: float
    median_norm_change: float


def slingshots(history: "pd.DataFrame") -> list[Slingshot]:
    """The slingshots in a history, by the three rules of this file, in order.

    Rises that begin within `CALM` steps of each other are one slingshot, so that the ringing of a loss after its
    peak is not counted again; nor is a later spike, unless the norm grew and stopped again since the plateau of the
    one before. A spike whose plateau the record does not reach (`CALM` steps) is not counted.

    A loss of exactly 0, as float32 gives for a network that is sure enough, has no logarithm. It is taken as the
    smallest positive loss of the history, or 2^-23 = 1.2e-7 if that is smaller (a float32 cross-entropy of less
    is 0). So `jump` is then a lower bound, and a loss that flickers between 0 and its smallest values is calm.

    Args:
        history: Indexed by step, with the columns `train_loss` (nats), `train_acc` and `norm_unembed` (norm of the
            last layer's weights), at steps that need not be evenly spaced but at most `RISE_WITHIN` apart.

    Raises:
        UserError: A column is missing, the steps do not increase or are too far apart, a loss is negative, or a
            loss or norm is not finite.

    Example:
        >>> import pandas as pd
        >>> steps = range(0, 1001, 10)
        >>> history = pd.DataFrame({
        ...     "train_loss": [1e-2 if step == 610 else 1e-6 for step in steps],
        ...     "train_acc": 1.0,
        ...     "norm_unembed": [10 + min(step, 600) / 100 for step in steps],
        ... }, index=steps)
        >>> slingshots(history)
        [Slingshot(onset=600, peak=610, jump=4.0, bend=600, norm_change=6.0)]

    Source: Thilak et al. 2022 (arXiv:2206.04817), figure 1, for the phases of a cycle; the numbers are ours.
    """
    steps, loss, accuracy, norm = _columns(history)
    decades = _decades(loss)
    calm_since = _calm_since(steps, accuracy)
    found: list[Slingshot] = []
    for rising in _rises(steps, decades, calm_since):
        window = slice(rising[0], int(np.searchsorted(steps, steps[rising[-1]] + RISE_WITHIN, side="right")))
        peak = window.start + int(decades[window].argmax())
        onset = peak - int(decades[window.start : peak + 1][::-1].argmin())  # the last of the lowest
        begin = float(found[-1].peak + CALM if found else calm_since[rising[0]])
        bend = _bend(steps, norm, (steps[onset] - CALM, steps[peak] + CALM), begin)
        if bend is not None:
            before, after = np.interp([begin, steps[peak] + CALM], steps, norm)
            jump = float(decades[peak] - decades[onset])
            found.append(Slingshot(int(steps[onset]), int(steps[peak]), jump, bend, float(after - before)))
    return found


def summary(found: Sequence[Slingshot]) -> SlingshotSummary:
    """Count, period and growth of a run's slingshots.

    Args:
        found: From `slingshots`.

    Example:
        >>> summary([Slingshot(100 * i, 100 * i + 10, 3.0, 100 * i, 0.5) for i in (5, 9, 15)])
        SlingshotSummary(n_cycles=3, median_period=500.0, median_norm_change=0.5)
    """
    periods = [later.peak - earlier.peak for earlier, later in pairwise(found)]
    changes = [cycle.norm_change for cycle in found]
    medians = [float(np.median(values)) if values else float("nan") for values in (periods, changes)]
    return SlingshotSummary(len(found), *medians)


def _columns(history: "pd.DataFrame") -> list[np.ndarray]:
    """Steps and the three columns as float64, checked."""
    missing = [column for column in COLUMNS if column not in history.columns]
    if missing:
        raise UserError(
            f"slingshots are read off the columns {', '.join(COLUMNS)}; this history lacks {', '.join(missing)}: "
            f"it has {', '.join(map(str, history.columns))}"
        )
    steps, *columns = (np.asarray(each, dtype=float) for each in (history.index, *(history[name] for name in COLUMNS)))
    gaps = np.diff(steps)
    if (gaps <= 0).any():
        raise UserError(f"the steps of a history must increase; they do not after step {_step(steps, gaps <= 0)}")
    if (gaps > RISE_WITHIN).any():
        raise UserError(
            f"a slingshot's rise takes {RISE_WITHIN} steps at most, and evaluations must not be further apart; "
            f"got {gaps.max():.0f} steps after step {_step(steps, gaps == gaps.max())}: "
            f"train with eval_every at most {RISE_WITHIN}, better 10"
        )
    loss, _, norm = columns
    bad = ~np.isfinite(loss) | ~np.isfinite(norm) | (loss < 0)
    if bad.any():
        raise UserError(f"losses and norms must be finite, and no loss negative; not so at step {_step(steps, bad)}")
    return [steps, *columns]


def _step(steps: np.ndarray, where: np.ndarray) -> int:
    return int(steps[where.argmax()])


def _decades(loss: np.ndarray) -> np.ndarray:
    """log10 of the loss, 0 taken as said in `slingshots`."""
    return np.log10(np.where(loss > 0, loss, loss[loss > 0].min(initial=QUANTUM)))


def _calm_since(steps: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """For each evaluation the step since which the accuracy has been high; after the step itself if it is not."""
    high = accuracy >= MEMORISED
    first = np.maximum.accumulate(np.where(high, 0, np.arange(1, len(steps) + 1)))
    return np.append(steps, np.inf)[first]


def _rises(steps: np.ndarray, decades: np.ndarray, calm_since: np.ndarray) -> list[list[int]]:
    """Evaluations before which all was calm and after which the loss rises, those close to each other together."""
    ends = np.searchsorted(steps, steps + RISE_WITHIN, side="right")
    groups: list[list[int]] = []
    for i in np.flatnonzero(steps - calm_since >= CALM).tolist():
        if decades[i : ends[i]].max() - decades[i] >= MIN_DECADES:
            if groups and steps[i] - steps[groups[-1][-1]] <= CALM:
                groups[-1].append(i)
            else:
                groups.append([i])
    return groups


def _bend(steps: np.ndarray, norm: np.ndarray, near: tuple[float, float], begin: float) -> int | None:
    """The step at which growth of the norm since `begin` turns into a plateau most sharply; None if it does not."""
    at = steps[(steps >= max(near[0], begin + CALM)) & (steps <= min(near[1], steps[-1] - CALM))]
    past, present, future = (np.interp(at + shift, steps, norm) for shift in (-CALM, 0, CALM))
    gained, gains = present - past, future - present
    plateau = (gained >= MIN_GROWTH * past) & (gains <= gained / 2)
    if not plateau.any():
        return None
    return int(at[np.where(plateau, gains - gained, np.inf).argmin()])
