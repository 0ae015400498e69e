"""JSON lines: records that are appended, each with its seal, and checked line by line when read.

A line goes to the system as soon as it is appended; a kill leaves a half-written last line (no newline at its end),
which is dropped when read. What a seal is, says `circuitgrok.store.sealed`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from circuitgrok.canonical import canonical_json, from_json
from circuitgrok.errors import DamagedFile
from circuitgrok.store.files import LONGEST, open_plain
from circuitgrok.store.sealed import open_line, seal_line


class Head(NamedTuple):
    """How far a file of lines has come: whole lines, their bytes, and the seal of the last (or where it begins)."""

    lines: int
    bytes: int
    seal: str


class Lines:
    """The whole lines of a file, checked while they are read; a half-written last line is dropped.

    Args:
        path: The file; one that is not there has no lines.
        first: Where its chain of seals begins; None for a file without seals.
        until: Read no further than this many bytes.

    Attributes:
        head: Of what was read so far.
        half: Bytes of a half-written last line, once all was read.
    """

    def __init__(self, path: Path, first: str | None = None, until: int | None = None) -> None:
        self.path, self.first, self.until = path, first, until
        self.head, self.half = Head(0, 0, first or ""), 0

    def raw(self) -> Iterator[bytes]:
        """Each line without its seal, not parsed yet.

        Raises:
            DamagedFile: A line does not fit its seal, or is longer than `LONGEST`.
        """
        try:
            file = open_plain(self.path)
        except FileNotFoundError:
            return
        with file:
            while self.until is None or self.head.bytes < self.until:
                line = file.readline(LONGEST + 1)
                if not line.endswith(b"\n"):
                    self.half = len(line)
                    if len(line) > LONGEST:
                        raise self.damaged(f"longer than {LONGEST} bytes", self.head.lines + 1)
                    return
                text, seal = line[:-1], ""
                if self.first is not None:
                    try:
                        text, seal = open_line(text, self.head.seal)
                    except ValueError as error:
                        raise self.damaged(str(error), self.head.lines + 1) from None
                self.head = Head(self.head.lines + 1, self.head.bytes + len(line), seal)
                yield text

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for record in self.parsed():
            if self.first is None and "seal" in record:
                raise self.damaged("has a seal, in a file without seals")
            yield record

    def parsed(self) -> Iterator[dict[str, Any]]:
        """Each line of `raw` as the record that it must be.

        Raises:
            DamagedFile: As `raw`, or a line is not a JSON object.
        """
        for text in self.raw():
            try:
                record = from_json(text)
            except ValueError:
                raise self.damaged("is not JSON") from None
            if not isinstance(record, dict):
                raise self.damaged("is not a record")
            yield record

    def damaged(self, what: str, line: int | None = None) -> DamagedFile:
        """The error that names the file and the line, by default the one last read."""
        return DamagedFile(f"{self.path} is damaged: line {line or self.head.lines} {what}")


class JsonLines:
    """A JSON-lines file to append to, cut back first to a length known to be good.

    Args:
        path: The file; made if it is not there.
        length: Bytes to keep; None for every whole line.
        first: Where its chain of seals begins; None for a file without seals.

    Raises:
        DamagedFile: It is shorter than `length`, or a line that is kept does not fit its seal.
    """

    def __init__(self, path: Path, length: int | None = 0, first: str | None = None) -> None:
        self.path, self.sealed = path, first is not None
        self.head = head_at(path, length, first)
        with open_plain(path, "ab") as file:
            file.truncate(self.head.bytes)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record as a line and hand it to the system."""
        text = canonical_json(record)
        line, seal = seal_line(text, self.head.seal) if self.sealed else (text.encode(), "")
        with open_plain(self.path, "ab") as file:
            file.write(line + b"\n")
        self.head = Head(self.head.lines + 1, self.head.bytes + len(line) + 1, seal)

    def sync(self) -> int:
        """Flush to the disk; the length in bytes."""
        with open_plain(self.path, "ab") as file:
            os.fsync(file.fileno())
        return self.head.bytes


def head_at(path: Path, length: int | None, first: str | None) -> Head:
    """How far a file has come at a length, by default at its last whole line.

    Raises:
        DamagedFile: It is shorter, or a line up to there does not fit its seal, or a line goes on beyond it.
    """
    lines = Lines(path, first, length)
    for _ in lines.raw():
        pass
    if length is not None and lines.head.bytes != length:
        found = path.stat().st_size if path.exists() else 0
        raise DamagedFile(f"{path} is damaged: it is {found} bytes long, but {length} had been written")
    return lines.head


def last_record(path: Path) -> dict[str, Any] | None:
    """The last whole line of a file, its seal taken off and not checked; None if there is none. Reads the end only.

    Raises:
        DamagedFile: It is no record.
    """
    try:
        file = open_plain(path)
    except FileNotFoundError:
        return None
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * LONGEST))
        whole, newline, _ = file.read().rpartition(b"\n")
    if not newline:
        return None
    try:
        record = from_json(whole.rpartition(b"\n")[2])
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise DamagedFile(f"{path} is damaged: its last line is not a record")
    return {name: value for name, value in record.items() if name != "seal"}
