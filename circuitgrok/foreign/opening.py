"""Files that other people wrote: what a `.pth`, `.pt` or `.safetensors` holds, and nothing that it could do.

A file of torch is a zip archive: one pickle, and the bytes of every storage beside it. Torch's own safe reader runs
no code, but it takes what memory a file declares: 2 kB can say one number, repeated 10^9 times, or ask for a tensor of
any size by its class. So the pickle is first read as a description (`foreign.declared`), and only a file whose
tensors lie in its own records, uncompressed, is given to torch.

Old files of torch (before 1.6) take the declared sizes before they can be compared, and are refused.
"""

import contextlib
import hashlib
import math
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from circuitgrok.errors import UserError
from circuitgrok.foreign.declared import DEEPEST, SAVE_AGAIN, declared
from circuitgrok.foreign.inert import plain, stand_ins

MOST_RECORDS = 100_000  # of an archive: one for each storage
LARGEST_PICKLE = 2**24
LARGEST_TEXT = 2**20
SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
_CHUNK = 2**22


class Foreign(NamedTuple):
    """What a file holds.

    Attributes:
        content: Tensors and numbers in plain containers.
        sha256: Of the file.
        note: What a safetensors file that was written here says of itself; None of others.
    """

    content: Any
    sha256: str
    note: Any = None


def read_foreign(path: Path) -> Foreign:
    """The content of a file of `SUFFIXES`.

    No code of the file is run and no class that it names is imported. A config object that was saved beside the
    weights, or a network that was saved whole, is read as an `inert.ConfigRecord` of its fields; functions, and classes
    of Python's own library, are refused by name.

    Raises:
        UserError: The file is of another kind, no plain file, damaged, holds other objects, or declares more than
            is stored in it.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"w": torch.zeros(1).expand(10**9)}, f"{folder}/bomb.pth")
        ...     read_foreign(Path(folder) / "bomb.pth")
        Traceback (most recent call last):
        circuitgrok.errors.UserError: .../bomb.pth declares more than it holds: a tensor of 4000000000 bytes...
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"weights are read from {', '.join(SUFFIXES)}; got {path.name!r}")
    with opened(path) as file:
        digest = _digest(path, file)
        if path.suffix != ".safetensors":
            return Foreign(_archive(path, file), digest)
        return Foreign(_safetensors(path, file), digest, _note(file))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A plain file, open for reading; links, folders, pipes, devices and empty files are refused.

    Raises:
        UserError: It is none; the message says what it is.
        OSError: It is not there, or may not be read.
    """
    if path.is_symlink():
        raise UserError(f"{path} is a link, and none is followed: give the file itself, {os.path.realpath(path)}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file in it")
    never_waits = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | never_waits)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is a pipe or a device; give a plain file")
        if not found.st_size:
            raise UserError(f"{path} is empty: was it copied whole?")
        yield file


def read_settings(path: Path) -> Any:
    """The value in a JSON file of another hand: at most 1 MiB, at most 32 deep.

    Raises:
        UserError: No plain file, no JSON, or beyond these bounds.
    """
    import json

    with opened(path) as file:
        text = file.read(LARGEST_TEXT + 1)
    if len(text) > LARGEST_TEXT:
        raise UserError(f"{path} is larger than {LARGEST_TEXT} bytes; settings of a run are a few hundred")
    try:
        value = json.loads(text)
    except RecursionError:
        raise UserError(f"{path} nests deeper than {DEEPEST}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    check_finite(value, str(path))
    return value


def check_finite(value: Any, name: str, depth: int = 0) -> None:
    """Refuses nan and infinity among the numbers in plain containers, by the name of the place.

    Example:
        >>> check_finite({"lr": [1.0, math.inf]}, "config")
        Traceback (most recent call last):
        circuitgrok.errors.UserError: config.lr[1] must be a finite number; got inf
    """
    if depth > DEEPEST:
        raise UserError(f"{name[:80]}… nests deeper than {DEEPEST}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must be a finite number; got {value}")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_finite(inner, f"{name}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            check_finite(inner, f"{name}[{i}]", depth + 1)


def _digest(path: Path, file: BinaryIO) -> str:
    """The SHA-256; the archive's directory is counted on the way, before anything lists it."""
    found, records = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        found.update(chunk)
        records += chunk.count(b"PK\x01\x02")
    if records > MOST_RECORDS:
        raise UserError(f"{path} holds more than {MOST_RECORDS} tensors; save fewer checkpoints in one file")
    file.seek(0)
    return found.hexdigest()


def _safetensors(path: Path, file: BinaryIO) -> Any:
    from safetensors.torch import load_file

    head = int.from_bytes(file.read(8), "little")
    if head > min(LARGEST_PICKLE, os.fstat(file.fileno()).st_size - 8):
        raise UserError(f"{path} is not a readable safetensors file: it declares a head of {head} bytes")
    try:
        return load_file(path)
    except OSError:
        raise
    except Exception as error:  # the reader raises several kinds for one fault: not its format
        raise UserError(f"{path} is not a readable safetensors file: {error}") from None


def _note(file: BinaryIO) -> Any:
    """The note in the head of a safetensors file, if it has one of ours."""
    import json

    file.seek(0)
    head = file.read(int.from_bytes(file.read(8), "little"))
    try:
        return json.loads(json.loads(head)["__metadata__"]["circuitgrok"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _archive(path: Path, file: BinaryIO) -> Any:
    import torch

    if file.read(4) != b"PK\x03\x04":
        raise UserError(f"{path} is damaged, or no archive of torch (1.6 or later), and {SAVE_AGAIN}")
    try:
        objects = _check_declared(path, file)
        file.seek(0)
        with torch.serialization.safe_globals(stand_ins(objects)):
            return plain(torch.load(file, map_location="cpu", weights_only=True))
    except UserError as error:
        raise UserError(f"{path} {error}".replace(f"{path} {path}", str(path))) from None
    except Exception:  # whatever a damaged or hostile file makes a reader raise; torch's advice is unsafe
        raise UserError(f"{path} is damaged, cut short or holds more than tensors, and {SAVE_AGAIN}") from None


def _check_declared(path: Path, file: BinaryIO) -> set[str]:
    """The objects that an archive names; refuses one that would take more memory than a few times its own size."""
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        packed = [e.filename for e in entries if e.compress_type or e.compress_size != e.file_size]
        if packed:
            raise UserError(f"{path} is compressed ({packed[0]!r}); torch never does that: save it again by torch.save")
        # Torch's reader finds a name whatever its case.
        records = {entry.filename.lower(): entry.file_size for entry in entries}
        stored = sum(entry.file_size for entry in entries)
        if stored > size or len(records) < len(entries):
            raise UserError(f"{path} declares more than it holds: {stored} bytes of records in {size}")
        [name] = [name for name in records if name.endswith("/data.pkl")]
        if records[name] > LARGEST_PICKLE:
            raise UserError(f"{path} has {records[name]} bytes beside its tensors; at most {LARGEST_PICKLE} are read")
        content = archive.read(next(entry for entry in entries if entry.filename.lower() == name))
    said = declared(content, {full.split("/data/")[-1]: held for full, held in records.items()})
    # Twice, for the last network may stand in a file under two names.
    if said.filled > 2 * size:
        raise UserError(f"declares more than it holds: its tensors would fill {said.filled} bytes, of {size} stored")
    return said.objects
