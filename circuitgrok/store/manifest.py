"""config.json: the config, its hash, the environment and how the run started, under one seal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuitgrok.canonical import canonical_json, from_json
from circuitgrok.errors import DamagedFile, RunError
from circuitgrok.store.files import read_plain, write_atomically
from circuitgrok.store.records import manifest
from circuitgrok.store.sealed import first_seal, open_line, seal_line

FORMAT = 3  # configs with interventions; those of format 2 had a field for each that could be
UNSEALED = 1  # the format before records had seals
CONFIG = "config.json"


def write_manifest(path: Path, facts: Mapping[str, Any]) -> None:
    """Put config.json into a folder: `config`, its `hash`, `environment` and `start`."""
    line, _ = seal_line(canonical_json({"format": FORMAT, **facts}), first_seal("", CONFIG))
    write_atomically(path / CONFIG, line + b"\n")


def read_manifest(path: Path) -> tuple[dict[str, Any], str]:
    """The content of a folder's config.json, and its seal, which is empty in runs of format 1.

    Raises:
        RunError: There is none, or it has a format that this version cannot read.
        DamagedFile: It is not what was written.
    """
    file = path / CONFIG
    try:
        content = read_plain(file)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{path} holds no run (no config.json); `circuitgrok runs FOLDER` lists runs") from None
    try:
        found = from_json(content)
    except ValueError as error:
        raise DamagedFile(f"{file} is not JSON: {error}") from None
    wrong = manifest(found)
    if wrong:
        raise DamagedFile(f"{file} is damaged: {wrong}")
    if type(found.get("format")) is not int or found["format"] not in range(UNSEALED, FORMAT + 1):
        said = str(found.get("format"))[:20]
        raise RunError(f"{file} has format {said}; this version reads formats {UNSEALED} to {FORMAT}")
    seal = found.pop("seal", "")
    if found["format"] == UNSEALED:
        if seal:
            raise DamagedFile(f"{file} is damaged: it has a seal, but a format without seals")
        return found, ""
    try:
        line, newline, rest = content.partition(b"\n")
        if not newline or rest:
            raise ValueError("is not one line")
        return found, open_line(line, first_seal("", CONFIG))[1]
    except ValueError as error:
        raise DamagedFile(f"{file} is damaged: it {error}; restore it, or train into another folder") from None
