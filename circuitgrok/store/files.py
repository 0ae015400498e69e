"""Files that are whole or not there: one door for reading and writing, and atomic writes.

Everything inside a run is opened here: plain files only, no link is followed, no pipe waited for, and nothing is read
beyond a bound. A file is written under a temporary name, flushed to the disk and renamed; then the folder is flushed.
What is killed half-way leaves the old file, or none. Knows nothing of networks.
"""

import contextlib
import errno
import os
import re
import stat
from pathlib import Path
from typing import IO, Any

from circuitgrok.canonical import from_json, sha256
from circuitgrok.errors import DamagedFile

LONGEST = 1 << 20  # bytes of a line, and of a JSON file
SUBFOLDERS = ("resume", "moments", "llc")  # of a run: they must be real folders


def open_plain(path: Path, mode: str = "rb") -> IO[bytes]:
    """Open a plain file: to read ("rb"), to write anew ("wb"), or to append ("ab").

    Raises:
        DamagedFile: It is a link, a folder, a pipe or a device, or lies in a folder of the run that is a link.
        OSError: It is missing, or the system refuses.
    """
    flags = {"rb": os.O_RDONLY, "wb": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "ab": os.O_WRONLY | os.O_CREAT}[mode]
    flags |= os.O_APPEND if mode == "ab" else 0
    for optional in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # Windows has the last only
        flags |= getattr(os, optional, 0)
    if path.parent.name in SUBFOLDERS and path.parent.is_symlink():
        raise DamagedFile(f"{path.parent} is a link; the folders of a run are plain folders inside it")
    if path.is_symlink() or path.is_dir():
        raise _not_plain(path)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _not_plain(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_plain(path)
    return os.fdopen(descriptor, mode)


def _not_plain(path: Path) -> DamagedFile:
    return DamagedFile(f"{path} is a link, a folder or a pipe; a run's files are plain files inside its folder")


def read_plain(path: Path, at_most: int = LONGEST) -> bytes:
    """The bytes of a plain file; `DamagedFile` if there are more than `at_most`."""
    with open_plain(path) as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise DamagedFile(f"{path} is larger than {at_most} bytes, more than it can be")
    return content


def write_atomically(path: Path, *content: bytes | memoryview) -> None:
    """Put bytes, or several pieces one behind the other, at `path`: whole or not at all.

    Raises:
        OSError: The disk is full or refuses; nothing is left under the final name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open_plain(temporary, "wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def drop_temporaries(folder: Path, own: re.Pattern[str]) -> None:
    """Remove what writers that were killed half-way left in a folder, of the files whose names match."""
    for left in folder.glob(".*.tmp"):
        named = re.fullmatch(r"\.(.+)\.\d+\.tmp", left.name)
        if named and own.fullmatch(named[1]) and not left.is_dir():
            left.unlink(missing_ok=True)


def read_verified(path: Path, digest: str, at_most: int) -> bytes:
    """The bytes of a plain file inside its folder, if their SHA-256 is `digest`.

    Raises:
        DamagedFile: Missing, not a plain file, larger than `at_most`, or not the bytes that were written.
    """
    try:
        content = read_plain(path, at_most)
    except FileNotFoundError:
        raise DamagedFile(f"{path} is missing though the index lists it") from None
    found = sha256(content)
    if found != digest:
        raise DamagedFile(
            f"{path} is damaged: expected SHA-256 {digest[:12]}…, found {found[:12]}… ({len(content)} bytes)"
        )
    return content


def read_json(path: Path) -> Any:
    """The value in a JSON file; `DamagedFile` if it does not parse."""
    try:
        return from_json(read_plain(path))
    except DamagedFile:
        raise
    except ValueError as error:
        raise DamagedFile(f"{path} is not JSON: {error}") from None
