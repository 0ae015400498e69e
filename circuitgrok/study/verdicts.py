"""What an analysis concludes: claims with a measured number, its interval, and holds / fails / undecided.

An interval decides: a claim "x is above t" holds if the whole interval lies above t, fails if it lies
below, and is undecided otherwise. Every verdict is written with the command and commit that made it.
"""

import math
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Decision = Literal["holds", "fails", "undecided"]


class Interval(NamedTuple):
    """An estimate with the interval that it is known to."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


class Claim(NamedTuple):
    """A sentence that can fail, what was measured, and what follows."""

    text: str
    measured: str
    decision: Decision


class Asked(NamedTuple):
    """What an analysis was asked for on its command line."""

    quick: bool
    out: Path
    threads: int
    device: str | None = None


def asked(question: str, script: str, quick: str, device: str = "") -> Asked:
    """The options that every analysis has: `--quick`, `--out FOLDER`, `--threads N`.

    Args:
        question: Shown by `--help`.
        script: The analysis' own `__file__`; results go to `out/<its name>` beside it by default.
        quick: What `--quick` makes smaller.
        device: What `--device` is for, if there is that option.
    """
    import argparse

    file = Path(script)
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help=f"{quick}, for tests")
    parser.add_argument("--out", type=Path, default=file.parent / "out" / file.stem)
    parser.add_argument("--threads", type=int, default=2)
    if device:
        parser.add_argument("--device", help=device)
    given = parser.parse_args()
    return Asked(given.quick, given.out, given.threads, given.device if device else None)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of independent values with Student's confidence interval.

    Args:
        values: At least two finite numbers, one per seed (take logarithms of ratios first).
        level: Confidence level.

    Raises:
        ValueError: Fewer than two values, or one that is not finite.

    Example:
        >>> print(mean_interval([1.0, 2.0, 3.0]))
        2 [-0.484, 4.48]
    """
    from scipy.stats import sem, t

    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        raise ValueError(f"an interval of a mean needs two finite values or more; got {list(values)}")
    mean, error = math.fsum(values) / len(values), float(sem(values))
    low, high = t.interval(level, len(values) - 1, mean, error) if error else (mean, mean)
    return Interval(mean, float(low), float(high))


def share_interval(hits: int, n: int, level: float = 0.95) -> Interval:
    """Share of successes with Wilson's score interval.

    Raises:
        ValueError: `hits` is not in 0..n, or n is 0.

    Example:
        >>> print(share_interval(3, 3))
        1 [0.439, 1]
    """
    from scipy.stats import binomtest

    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"hits must lie in 0..n with n > 0; got {hits} of {n}")
    low, high = binomtest(hits, n).proportion_ci(level, "wilson")
    return Interval(hits / n, float(low), float(high))


def factor(interval: Interval) -> str:
    """An interval of the mean logarithm of a ratio, as that of the ratio's geometric mean, in words.

    >>> factor(Interval(0.0, -math.log(2), math.log(2)))
    'geometric mean and 95 % interval over seeds 1, 0.5, 2'
    """
    text = ", ".join(f"{math.exp(x):.3g}" for x in interval)
    return f"geometric mean and 95 % interval over seeds {text}"


def above(interval: Interval, threshold: float) -> Decision:
    """Whether the quantity is above a threshold, as far as its interval can tell.

    >>> above(Interval(2, 1, 3), 0.5), above(Interval(2, 1, 3), 2.5), above(Interval(2, 1, 3), 4)
    ('holds', 'undecided', 'fails')
    """
    if interval.low > threshold:
        return "holds"
    return "fails" if interval.high < threshold else "undecided"


def below(interval: Interval, threshold: float) -> Decision:
    """Whether the quantity is below a threshold, as far as its interval can tell.

    >>> below(Interval(2, 1, 3), 4), below(Interval(2, 1, 3), 2.5), below(Interval(2, 1, 3), 0.5)
    ('holds', 'undecided', 'fails')
    """
    if interval.high < threshold:
        return "holds"
    return "fails" if interval.low > threshold else "undecided"


def within(interval: Interval, bound: float) -> Decision:
    """Whether the quantity is smaller in size than a bound, as far as its interval can tell.

    >>> within(Interval(0, -1, 1), 2), within(Interval(0, -1, 1), 0.5), within(Interval(2, 1, 3), 0.5)
    ('holds', 'undecided', 'fails')
    """
    if max(abs(interval.low), abs(interval.high)) < bound:
        return "holds"
    return "fails" if interval.low > bound or interval.high < -bound else "undecided"


def write(
    folder: Path,
    question: str,
    claims: Sequence[Claim],
    notes: Sequence[str],
    table: "pd.DataFrame",
    figure: "Figure",
) -> None:
    """Write table.csv, figure.png, figure.svg and verdict.md of an analysis, each whole or not at all."""
    from circuitgrok.figures import save
    from circuitgrok.store.files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    write_atomically(folder / "table.csv", text.encode())
    save(figure, folder / "figure")
    lines = [f"# {question}", ""]
    lines += [f"* **{claim.decision}**: {claim.text} Measured: {claim.measured}." for claim in claims]
    lines += ["", *[f"{note}\n" for note in notes], f"Made by `{_command()}` at commit {commit()}."]
    write_atomically(folder / "verdict.md", ("\n".join(lines) + "\n").encode("utf-8", errors="backslashreplace"))


def commit() -> str:
    """The checkout's commit, marked if it has uncommitted changes; "unknown" outside a checkout.

    Changed results in analyses/out are no such changes: to write them is what analyses are for.
    """
    changes = ["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)analyses/out"]
    try:
        said = [
            subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--short", "HEAD"], changes)
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said[0] + (" with uncommitted changes" if said[1] else "")


def _command() -> str:
    return "python " + shlex.join([*sys.argv])
