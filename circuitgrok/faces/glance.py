"""A history at a glance: what the table of runs needs of it, in one pass over the bytes, nothing verified.

Seals are for readers that use the numbers, and for the doctor. A table of runs asks for a few columns of every run:
lines in the form that is written here are taken apart by one pattern, others one by one.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from circuitgrok.canonical import from_json
from circuitgrok.errors import DamagedFile
from circuitgrok.measures.learning.crossings import ACCURACY_RULES
from circuitgrok.store.files import LONGEST, open_plain
from circuitgrok.store.records import evaluation

_BLOCK = 1 << 20  # bytes read at a time
_LINE = re.compile(
    rb'"step":([^,]+),"test_acc":([^,]+),"test_loss":[^,]+,(?:"test_mirror_unseen_acc":[^,]+,)?"train_acc":([^,}]+)'
)


class Glance(NamedTuple):
    """An evaluation, as far as the table of runs shows it."""

    step: int
    test_acc: float
    train_acc: float


def turning_points(path: Path) -> list[Glance]:
    """The evaluations in a history that decide when a level was crossed, lost or kept; long stretches are thinned.

    While no accuracy crosses its level, the first two evaluations of a stretch say where it began and that it was no
    single one, and the last one where it ended: crossings and losses are the same as those of all evaluations (tested).
    A half-written last line is dropped.

    Raises:
        DamagedFile: A line is longer than any that is written, or is no evaluation.
    """
    return _thinned(one for block in _whole_lines(path) for one in _evaluations(path, block))


def _evaluations(path: Path, block: bytes) -> Iterable[Glance]:
    """Those in some lines; if all are on the same sides of the levels, as many as `_thinned` keeps of them."""
    found = _LINE.findall(block)
    if len(found) != block.count(b"\n"):
        return _one_by_one(path, block)
    try:
        columns = dict(zip(Glance._fields, zip(*found, strict=True), strict=True))
        sides = ({float(word) >= level for word in columns[name]} for name, level in ACCURACY_RULES.values())
        if all(len(side) == 1 for side in sides):
            found = [*found[:2], *found[2:][-1:]]
        return [Glance(int(step), float(test), float(train)) for step, test, train in found]
    except ValueError:
        return _one_by_one(path, block)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The file in pieces that end where a line ends."""
    try:
        file = open_plain(path)
    except FileNotFoundError:
        return
    with file:
        rest = b""
        while block := file.read(_BLOCK):
            whole, newline, after = block.rpartition(b"\n")
            if newline:
                yield rest + whole + newline
                rest = after
            else:
                rest += after
            if len(rest) > LONGEST:
                raise DamagedFile(f"{path} is damaged: a line is longer than {LONGEST} bytes")


def _one_by_one(path: Path, block: bytes) -> Iterator[Glance]:
    for line in block.split(b"\n")[:-1]:
        try:
            record = from_json(line)
        except ValueError:
            record = None
        wrong = (
            evaluation({n: v for n, v in record.items() if n != "seal"}) if isinstance(record, dict) else "no record"
        )
        if wrong or record is None:
            raise DamagedFile(f"{path} is damaged: {line[:80]!r} {wrong}")
        if "diverged" not in record:
            yield Glance(*(record[name] for name in Glance._fields))


def _thinned(seen: Iterable[Glance]) -> list[Glance]:
    """The first two and the last evaluation of every stretch in which all stay on the same sides."""
    kept: list[Glance] = []
    for _, stretch in groupby(seen, key=_sides):
        same = iter(stretch)
        kept += [*islice(same, 2), *deque(same, maxlen=1)]
    return kept


def _sides(one: Glance) -> tuple[bool, ...]:
    return tuple(getattr(one, column) >= level for column, level in ACCURACY_RULES.values())
