"""Rows of a study's table that are kept in a file, beside its verdict, so that runs need not be there to be counted.

A row is of one run: its name and the hash of its config say of which. Runs are large and stay where they were trained;
rows are small and go into the repository, where a replication elsewhere adds those of other seeds.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.store.files import write_atomically


def kept_rows(file: Path, configs: Mapping[str, TrainConfig]) -> dict[str, dict[str, Any]]:
    """The rows in a file of those of some runs whose config is that of the row, by the run's name.

    Example:
        >>> import tempfile
        >>> file, config = Path(tempfile.mkdtemp()) / "rows.jsonl", TrainConfig()
        >>> keep_rows(file, {"a": {"seed": 0, "grokked_by": math.nan}}, {"a": config})
        >>> kept_rows(file, {"a": config, "b": config}), kept_rows(file, {"a": config.with_(alpha=2.0)})
        ({'a': {'seed': 0, 'grokked_by': nan}}, {})
    """
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    found = {line.pop("run"): (line.pop("config"), line) for line in map(json.loads, lines)}
    return {
        name: {column: math.nan if value is None else value for column, value in found[name][1].items()}
        for name, config in configs.items()
        if name in found and found[name][0] == config.hash
    }


def keep_rows(file: Path, rows: Mapping[str, Mapping[str, Any]], configs: Mapping[str, TrainConfig]) -> None:
    """Write rows, one line for each run; what is not a number is null."""
    lines = [
        json.dumps(
            {"run": name, "config": configs[name].hash, **_plain(row)},
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
