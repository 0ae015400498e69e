"""What was measured of a run and is kept beside it: tables with their digests, estimates line by line.

    measures.parquet, measures.parquet.sha256       a file and its digest
    llc/0f3a….jsonl, llc/0f3a….jsonl.head           sealed lines, and how many of them there must be at least

Both can be measured again: whatever does not fit is refused by name, and removing it makes room for a new measurement.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.canonical import canonical_json, from_json, sha256
from circuitgrok.errors import DamagedFile
from circuitgrok.store.files import read_plain, read_verified, write_atomically
from circuitgrok.store.lines import Head, JsonLines, Lines
from circuitgrok.store.records import is_digest
from circuitgrok.store.sealed import first_seal, open_line, seal_line

if TYPE_CHECKING:
    pass

LARGEST = 1 << 32


def digest_file(path: Path) -> Path:
    """Where the digest of a file is.

    >>> digest_file(Path("run/measures.parquet")).name
    'measures.parquet.sha256'
    """
    return path.with_name(f"{path.name}.sha256")


def write_vouched(path: Path, content: bytes) -> None:
    """Write a file and then its digest beside it; a kill in between leaves a file without one."""
    digest_file(path).unlink(missing_ok=True)
    write_atomically(path, content)
    write_atomically(digest_file(path), sha256(content).encode())


def read_vouched(path: Path, again: str = "measure again") -> bytes:
    """The bytes of a file that has its digest beside it.

    Args:
        path: The file.
        again: What a user does who has removed it.

    Raises:
        DamagedFile: It is not what was written, or has no digest.
    """
    again = f"remove it to {again} (and {digest_file(path).name})"
    try:
        digest = read_plain(digest_file(path), at_most=1000).decode("ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        raise DamagedFile(f"{path} has no readable digest beside it ({digest_file(path).name}); {again}") from None
    if not is_digest(digest):
        raise DamagedFile(f"{digest_file(path)} is damaged: it is no SHA-256; {again}")
    try:
        return read_verified(path, digest, LARGEST)
    except DamagedFile as error:
        said = str(error).replace("the index lists it", f"{digest_file(path).name} is there")
        raise DamagedFile(f"{said}; {again}") from None


def kept_text(path: Path, sealed: bool) -> str:
    """A text that was kept, "" if it must be written again: there is none, or it is not what was written.

    Args:
        path: The file.
        sealed: False for runs of the format without seals, whose texts may lack their digest.
    """
    try:
        if sealed or digest_file(path).exists():
            return read_vouched(path).decode("utf-8")
        return read_plain(path).decode("utf-8")
    except (FileNotFoundError, DamagedFile, UnicodeDecodeError):
        return ""


class Estimates:
    """Lines of estimates that are added block by block, bound to a run and to the name of their file.

    Args:
        path: The file, in a folder of the run.
        owner: Hash of the run's config.
        sealed: False for runs of the format without seals, whose files may lack them.
    """

    def __init__(self, path: Path, owner: str, sealed: bool = True) -> None:
        self.path, self._mark = path, path.with_name(f"{path.name}.head")
        self._name, self._owner = f"{path.parent.name}/{path.name}", owner
        self._sealed = sealed or self._mark.exists() or not path.exists()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The records.

        Raises:
            DamagedFile: Lines are missing, changed, or of another run; the message says how to measure them again.
        """
        try:
            said = self._head() if self._sealed else None
            lines = Lines(self.path, self._first())
            for record in lines:
                if said and lines.head.lines == said.lines and lines.head.seal != said.seal:
                    raise lines.damaged(f"is not the one that {self._mark.name} speaks of")
                yield record
            if said and lines.head.lines < said.lines:
                raise DamagedFile(f"{self.path} is damaged: {lines.head.lines} lines, but {said.lines} were written")
        except DamagedFile as error:
            raise DamagedFile(f"{error}; remove {self.path.name} and {self._mark.name} to measure again") from None

    def _first(self) -> str | None:
        return first_seal(self._owner, self._name) if self._sealed else None

    def _head(self) -> Head | None:
        """How much there must be; None before the first line."""
        owner = first_seal(self._owner, self._mark.name)
        try:
            content = read_plain(self._mark)
        except FileNotFoundError:
            if self.path.exists():
                raise DamagedFile(f"{self._mark} is missing though there is {self.path.name}") from None
            return None
        try:
            line, newline, rest = content.partition(b"\n")
            if not newline or rest:
                raise ValueError("is not one line")
            return Head(**from_json(open_line(line, owner)[0]))
        except (ValueError, TypeError) as error:
            raise DamagedFile(f"{self._mark} is damaged: it {error}") from None

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records, after cutting off what a kill left half-written; they are on the disk afterwards."""
        self.path.parent.mkdir(exist_ok=True)
        if self._sealed and not self.path.exists():
            self._write_head(Head(0, 0, self._first() or ""))
        lines = JsonLines(self.path, None, self._first())
        for record in records:
            lines.append(record)
        lines.sync()
        if self._sealed:
            self._write_head(lines.head)

    def mend(self) -> int:
        """Keep the lines up to the first that does not verify, and note their number; how many there are.

        Lines that are lost are measured again.
        """
        lines = Lines(self.path, self._first())
        with contextlib.suppress(DamagedFile):
            for _ in lines:
                pass
        good = JsonLines(self.path, lines.head.bytes, self._first())
        if self._sealed:
            self._write_head(good.head)
        return good.head.lines

    def _write_head(self, head: Head) -> None:
        text = canonical_json(head._asdict())
        write_atomically(self._mark, seal_line(text, first_seal(self._owner, self._mark.name))[0] + b"\n")
