"""Files that are whole or not there: atomic writes, digests, JSON lines. Knows nothing of networks.

A file is written under a temporary name, flushed to the disk and renamed; then the folder is flushed.
What is killed half-way leaves the old file, or none. JSON lines are appended; a half-written last
line (no newline at its end) is dropped when read.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from circuitgrok.errors import DamagedFile


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all.

    Raises:
        OSError: The disk is full or refuses; nothing is left under the final name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def drop_temporaries(folder: Path) -> None:
    """Remove what writers that were killed half-way left beside the files of a folder."""
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256.

    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()


def read_verified(path: Path, digest: str, at_most: int) -> bytes:
    """The bytes of a plain file inside its folder, if their SHA-256 is `digest`.

    Raises:
        DamagedFile: Missing, not a plain file, larger than `at_most`, or not the bytes that were written.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DamagedFile(f"{path} is a link or a folder; checkpoints are plain files inside the run's folder")
    try:
        with open(path, "rb") as file:
            content = file.read(at_most + 1)
    except FileNotFoundError:
        raise DamagedFile(f"{path} is missing though the index lists it") from None
    if len(content) > at_most:
        raise DamagedFile(f"{path} is larger than {at_most} bytes, more than these weights can take")
    found = sha256(content)
    if found != digest:
        raise DamagedFile(
            f"{path} is damaged: expected SHA-256 {digest[:12]}…, found {found[:12]}… ({len(content)} bytes)"
        )
    return content


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text.

    >>> canonical_json({"b": 1, "a": [1.5]})
    '{"a":[1.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_json(path: Path) -> Any:
    """The value in a JSON file; `DamagedFile` if it does not parse."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path} is not JSON: {error}") from None


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON-lines file; a half-written last line is dropped.

    Raises:
        DamagedFile: A line before the last does not parse.
    """
    if not path.exists():
        return
    content = path.read_bytes()
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise DamagedFile(f"{path} is damaged: line {number} is not JSON") from None
        if not isinstance(record, dict):
            raise DamagedFile(f"{path} is damaged: line {number} is not a record")
        yield record


class JsonLines:
    """An open JSON-lines file to append to; `truncate` cuts it back to a length known to be good."""

    def __init__(self, path: Path, length: int = 0) -> None:
        self.path = path
        found = path.stat().st_size if path.exists() else 0
        if found < length:
            raise DamagedFile(f"{path} is {found} bytes long, but {length} had been written")
        self._file = open(path, "ab")  # noqa: SIM115 - closed by close()
        self._file.truncate(length)
        self._file.seek(0, os.SEEK_END)  # truncating leaves the position, and so `sync`, where it was

    def append(self, record: dict[str, Any]) -> None:
        """Write one record as a line and hand it to the system."""
        self._file.write(canonical_json(record).encode() + b"\n")
        self._file.flush()

    def sync(self) -> int:
        """Flush to the disk; the length in bytes."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
