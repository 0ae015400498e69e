"""Rows of a study's table that are kept in a file, beside its verdict, so that runs need not be there to be counted.

A row has a name and a digest of all that its numbers hang on: of a run the hash of its config. Runs, and chains that
took hours, are large and stay where they were made; rows are small and go into the repository, where a replication
elsewhere adds those of other seeds.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuitgrok.store.files import write_atomically


def kept_rows(file: Path, digests: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The rows in a file that have one of some names and its digest, by name.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rows.jsonl"
        >>> keep_rows(file, {"a": {"seed": 0, "grokked_by": math.nan}}, {"a": "c0ffee"})
        >>> kept_rows(file, {"a": "c0ffee", "b": "c0ffee"}), kept_rows(file, {"a": "decade"})
        ({'a': {'seed': 0, 'grokked_by': nan}}, {})
    """
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    found = {line.pop("run"): (line.pop("config"), line) for line in map(json.loads, lines)}
    return {
        name: {column: math.nan if value is None else value for column, value in found[name][1].items()}
        for name, digest in digests.items()
        if name in found and found[name][0] == digest
    }


def keep_rows(file: Path, rows: Mapping[str, Mapping[str, Any]], digests: Mapping[str, str]) -> None:
    """Write rows, one line for each; what is not a number is null."""
    lines = [
        json.dumps(
            {"run": name, "config": digests[name], **_plain(row)},
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        for name, row in rows.items()
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, "".join(f"{line}\n" for line in lines).encode())


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    values = {column: value.item() if hasattr(value, "item") else value for column, value in row.items()}
    return {
        column: None if isinstance(value, float) and not math.isfinite(value) else value
        for column, value in values.items()
    }
