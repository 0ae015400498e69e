"""An acceptance sheet: published numbers, what the package gets for each, and the band in which that should lie.

A row names a number, where it was published, and how it is got. Three words are told of it: `within` the band,
`outside`, and `not tried`, with what is missing: somebody's file, or hours of training. Medians over seeds are judged,
and their range is told; a published number of a single seed says nothing of that range, and the row says so. Bands are
set before a row is tried: exact, derived (from the spread of a draw), quoted, or a judgement.
"""

import csv
import io
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from circuitgrok.store.files import write_atomically

Given = TypeVar("Given")  # what rows are tried with: files, folders, what may be trained


class NotTried(Exception):
    """Why a row has no number: what it needs, and where that is from."""


class Band(NamedTuple):
    """Where a number should lie, ends included.

    Attributes:
        low: Lower end; -inf for none.
        high: Upper end; inf for none.
        why: Where the band is from: exact, derived, quoted, a judgement.
    """

    low: float
    high: float
    why: str

    def has(self, value: float) -> bool:
        """Whether a number lies within; nan never does."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.low:.6g}"
        if math.isinf(self.high):
            return f"≥ {self.low:.4g}"
        if math.isinf(self.low):
            return f"≤ {self.high:.4g}"
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return f"{self.low:.4g} to {self.high:.4g}" if half > 1e-3 * abs(middle) else f"{middle:.6g} ± {half:.2g}"


def about(value: float, give: float, why: str) -> Band:
    """The band of a number and what it may be off to either side.

    >>> print(about(42.2, 0.2, "derived"))
    42 to 42.4
    """
    return Band(value - give, value + give, why)


def by_factor(value: float, factor: float, why: str) -> Band:
    """The band of a number that may be off by a factor.

    >>> print(by_factor(100.0, 1.25, "judgement"))
    80 to 125
    """
    return Band(value / factor, value * factor, why)


def at_least(value: float, why: str) -> Band:
    """The band above a number.

    >>> print(at_least(0.98, "quoted"))
    ≥ 0.98
    """
    return Band(value, math.inf, why)


def at_most(value: float, why: str) -> Band:
    """The band below a number.

    >>> print(at_most(1e-9, "derived"))
    ≤ 1e-09
    """
    return Band(-math.inf, value, why)


class Got(NamedTuple):
    """A number that was got.

    Attributes:
        value: What is judged; of several seeds the median.
        low: The smallest over seeds; `value` of one number.
        high: The largest.
        n: How many seeds.
        said: What else was found.
    """

    value: float
    low: float
    high: float
    n: int = 1
    said: str = ""

    def __str__(self) -> str:
        one = f"{self.value:.6g}"
        return one if self.n == 1 else f"{one} ({self.low:.4g} to {self.high:.4g}, {self.n} seeds)"


def got(value: float, said: str = "") -> Got:
    """A single number.

    >>> print(got(0.25))
    0.25
    """
    return Got(float(value), float(value), float(value), 1, said)


def over_seeds(values: Sequence[float], said: str = "") -> Got:
    """The median over seeds and the range; a time that was not reached is inf, and a median of these is, too.

    >>> print(over_seeds([3.0, 1.0, math.inf]))
    3 (1 to inf, 3 seeds)
    """
    return Got(statistics.median(values), min(values), max(values), len(values), said)


@dataclass(frozen=True)
class Row(Generic[Given]):
    """A published number, and how it is got.

    Attributes:
        name: Short and unique, for `--only`: letters and a number, then what it is.
        what: The quantity, in a few words.
        source: Paper and place.
        expected: The number as published, or as it follows; a single seed is said to be one.
        band: Where it should lie.
        how: Gets it; raises `NotTried` with what is missing.
    """

    name: str
    what: str
    source: str
    expected: str
    band: Band
    how: Callable[[Given], Got]


@dataclass(frozen=True)
class Line:
    """A row of the sheet, tried or not.

    Attributes:
        name: Of the row.
        what: Of the row.
        source: Of the row.
        expected: Of the row.
        band: Of the row, as words.
        why: Of the band.
        got: The number as words; empty where it was not tried.
        word: within, outside or not tried.
        said: What else was found, or what is missing.
        seconds: That it took, as words.
        commit: At which it was tried.
    """

    name: str
    what: str
    source: str
    expected: str
    band: str
    why: str
    got: str
    word: str
    said: str
    seconds: str
    commit: str


def tried(row: Row[Given], given: Given, commit: str) -> Line:
    """A row with what was got, judged.

    Example:
        >>> row = Row("R1 one", "one", "nobody", "1", about(1, 0.1, "a judgement"), lambda given: got(given))
        >>> [tried(row, given, "abc").word for given in (1.05, 1.2, math.nan)]
        ['within', 'outside', 'outside']
        >>> def missing(given):
        ...     raise NotTried("needs a file")
        >>> line = tried(Row("R2", "two", "nobody", "2", about(2, 0, "exact"), missing), None, "abc")
        >>> line.word, line.said
        ('not tried', 'needs a file')
    """
    begin = time.perf_counter()
    try:
        found = row.how(given)
    except NotTried as missing:
        return untried(row, str(missing))
    word = "within" if row.band.has(found.value) else "outside"
    seconds = f"{time.perf_counter() - begin:.1f}"
    return replace(untried(row, found.said), got=str(found), word=word, seconds=seconds, commit=commit)


def untried(row: Row[Any], why: str) -> Line:
    """A row without a number, and why it has none."""
    band = row.band
    return Line(row.name, row.what, row.source, row.expected, str(band), band.why, "", "not tried", why, "", "")


class Kept:
    """Lines in a file, one for each row: a row that is not tried now keeps the line that it had.

    A line is kept only while its row is the same in all that was set before it was tried.

    Example:
        >>> import tempfile
        >>> row = Row("R1", "one", "nobody", "1", about(1, 0.1, "a judgement"), lambda given: got(1.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder) / "table.csv")
        ...     kept.add(tried(row, None, "abc"))
        ...     Kept(Path(folder) / "table.csv").line_of(row).got
        '1'
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8")))) if file.exists() else []
        self.lines: dict[str, Line] = {row["name"]: Line(**row) for row in rows}

    def line_of(self, row: Row[Any]) -> Line | None:
        """The line that a row has; None without one, or if the row's source, expectation or band is now another."""
        line = self.lines.get(row.name)
        then = line and (line.what, line.source, line.expected, line.band, line.why)
        return line if then == (row.what, row.source, row.expected, str(row.band), row.band.why) else None

    def add(self, line: Line) -> None:
        """Put a line in, in the place of an older one, and write the file."""
        self.lines[line.name] = line
        self.write([*self.lines.values()])

    def write(self, lines: Sequence[Line]) -> None:
        """Write these lines, in their order, and no others."""
        text = io.StringIO()
        table = csv.DictWriter(text, [field.name for field in fields(Line)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(line) for line in lines)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, text.getvalue().encode())


def counted(lines: Sequence[Line]) -> str:
    """How many lines have each word.

    >>> counted([])
    '0 within, 0 outside, 0 not tried'
    """
    return ", ".join(
        f"{sum(line.word == word for line in lines)} {word}" for word in ("within", "outside", "not tried")
    )


def as_markdown(groups: Mapping[str, Sequence[Line]]) -> str:
    """Tables of lines, one under each heading; what was not tried is a list below its table.

    Example:
        >>> line = Line("R1", "one", "nobody", "1", "1", "exact", "1", "within", "", "0.1", "abc")
        >>> print(as_markdown({"First": [line]}))
        ## First
        <BLANKLINE>
        | row | what | expected | band | got | |
        |---|---|---|---|---|---|
        | R1 | one (nobody) | 1 | 1: exact | 1 | **within** |
    """
    parts = []
    for heading, lines in groups.items():
        rows = [_cells(line) for line in lines if line.word != "not tried"]
        table = ["| row | what | expected | band | got | |", "|---|---|---|---|---|---|", *rows] if rows else []
        left: dict[str, list[str]] = {}
        for line in lines:
            if line.word == "not tried":
                left.setdefault(line.said, []).append(f"{line.name} ({line.what}: {line.expected})")
        listed = [f"* not tried, {why}: {'; '.join(names)}." for why, names in left.items()]
        parts.append("\n\n".join([f"## {heading}", *("\n".join(block) for block in (table, listed) if block)]))
    return "\n\n".join(parts)


def _cells(line: Line) -> str:
    found = f"{line.got}; {line.said}" if line.said else line.got
    cells = (line.name, f"{line.what} ({line.source})", line.expected, f"{line.band}: {line.why}", found)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + f" | **{line.word}** |"
