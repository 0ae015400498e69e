"""What an analysis writes: table, figure, and a verdict with each claim's word, p-value, plan, command and commit."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from circuitgrok.study.evidence import ALPHA, DECIDED, Claim
from circuitgrok.study.registered import commit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

AGAIN = ("of the first seeds", "of others", "of all")  # whose words a replication puts side by side


class Decided(NamedTuple):
    """Claims of an analysis with their words, by some seeds or by several sets of them.

    Attributes:
        by_seeds: The claims, in one order, by the name of the seeds; one name, or those of `AGAIN`.
        post_hoc: Sentences that were not claimed before the runs.
    """

    by_seeds: Mapping[str, Sequence[Claim]]
    post_hoc: frozenset[str] = frozenset()

    def lines(self) -> list[str]:
        """A line for each claim."""
        made = []
        for several in zip(*self.by_seeds.values(), strict=True):
            last = several[-1]
            late = "*post hoc* " if last.text in self.post_hoc else ""
            words = [f"**{claim.decision}**" for claim in several]
            measured = [claim.measured for claim in several]
            if len(several) > 1:
                words = [f"{name} {word}" for name, word in zip(self.by_seeds, words, strict=True)]
                measured = [f"{name} {said}" for name, said in zip(self.by_seeds, measured, strict=True)]
            made.append(f"* {', '.join(words)} ({last.said}): {late}{last.text} Measured: {'; '.join(measured)}.")
        return made

    def replicated(self) -> list[str]:
        """How many words other seeds gave again; nothing without a replication."""
        if len(self.by_seeds) == 1:
            return []
        first, again, _ = self.by_seeds.values()
        same = [a.decision == b.decision for a, b in zip(first, again, strict=True)]
        decided = [is_same for is_same, claim in zip(same, first, strict=True) if claim.decision in DECIDED]
        return [
            f"Replication with as many other seeds: {sum(same)} of {len(same)} claims got the same word, of the "
            f"{len(decided)} that the first seeds decided {sum(decided)}. The p-value and level are those of all seeds."
        ]


def write(
    folder: Path,
    question: str,
    decided: Decided,
    notes: Sequence[str],
    table: "pd.DataFrame",
    figure: "Figure",
    machine: str = "",
) -> None:
    """Write table.csv, figure.png, figure.svg and verdict.md of an analysis, each whole or not at all.

    Args:
        folder: Where.
        question: The title.
        decided: The claims.
        notes: What else is said.
        table: What the claims were decided by.
        figure: What is shown.
        machine: Where it was made, in words.
    """
    from circuitgrok.figures import save
    from circuitgrok.store.files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    write_atomically(folder / "table.csv", text.encode())
    save(figure, folder / "figure")
    n = len(next(iter(decided.by_seeds.values())))
    rule = (
        f"A word is that of the interval at Holm's level over the {n} claims (α = {ALPHA:g} in all); intervals in the "
        "text are of 95 %."
    )
    lines = [f"# {question}", "", *decided.lines(), "", rule, ""]
    lines += [f"{note}\n" for note in [*decided.replicated(), *notes]]
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    lines += [f"Made by `{_command()}` at commit {commit()}, {now} UTC{f', on {machine}' if machine else ''}."]
    write_atomically(folder / "verdict.md", ("\n".join(lines) + "\n").encode("utf-8", errors="backslashreplace"))


def _command() -> str:
    return "python " + shlex.join([*sys.argv])
