"""What the rows of the acceptance sheet are tried with."""

from pathlib import Path
from typing import NamedTuple

from circuitgrok.study.sheet import Row


class Given(NamedTuple):
    """Files that somebody brought, and what may be trained.

    Attributes:
        checkpoints: Folder of published checkpoints, each with the settings that lie beside it.
        mnist: Folder of MNIST in idx files.
        retrain: Whether rows may train.
        minutes: Of a row, by a dry run; rows that would take longer are not begun.
        out: Where runs go.
        threads: Of torch.
        quick: Small sizes, for tests: the numbers are then not those of the sheet.
    """

    checkpoints: Path | None
    mnist: Path | None
    retrain: bool
    minutes: float
    out: Path
    threads: int
    quick: bool


Rows = list[Row[Given]]
EXACT, JUDGED, SINGLE = "exact", "a judgement", "a judgement, about a single published seed"
