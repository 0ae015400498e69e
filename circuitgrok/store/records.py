"""What each kind of record must look like: checks of values that were read from a file.

A check takes one record and gives None, or in words what is wrong with it. A JSON file may hold anything: a check asks
for types and ranges before any other code touches the values.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

LAST_STEP = 10**9 - 1  # names of files have nine digits
EVALUATED = ("train_loss", "test_loss", "train_acc", "test_acc", "norm")
_DIGEST = re.compile(r"[0-9a-f]{64}")

Check = Callable[[dict[str, Any]], str | None]


def is_step(value: Any) -> bool:
    """Whether a value can be a step.

    >>> is_step(3), is_step(True), is_step(-1), is_step(3.0)
    (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST_STEP


def is_number(value: Any) -> bool:
    """Whether a value is a finite number.

    >>> is_number(1), is_number(0.5), is_number(float("inf")), is_number("1"), is_number(10**400)
    (True, True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_digest(value: Any) -> bool:
    """Whether a value is a hexadecimal SHA-256.

    >>> is_digest("0" * 64), is_digest("0" * 63)
    (True, False)
    """
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def evaluation(record: dict[str, Any]) -> str | None:
    """A line of history: a step with finite numbers, or the step at which a run diverged and why.

    >>> evaluation({"step": 3, "diverged": "train_loss is nan"}), evaluation({"step": 3, "norm": 1.0})
    (None, 'has no number train_loss')
    """
    if "diverged" in record:
        right = isinstance(record["diverged"], str) and is_step(record.get("step")) and len(record) == 2
        return None if right else _odd(record)
    missing = next((name for name in EVALUATED if not is_number(record.get(name))), None)
    return f"has no number {missing}" if missing else numbers(record)


def numbers(record: dict[str, Any]) -> str | None:
    """A line of finite numbers by name.

    >>> numbers({"step": 3, "angle": 0.1}), numbers({"step": 3, "angle": [0.1]})
    (None, 'has no finite number at angle')
    """
    wrong = next((name for name, value in record.items() if not is_number(value)), None)
    if wrong is not None:
        return f"has no finite number at {wrong[:40]}"
    return None if is_step(record.get("step")) else "has no step"


def index_entry(record: dict[str, Any]) -> str | None:
    """A line of the index: a step, the file of its weights, and the file's digest."""
    named = is_step(record.get("step")) and record.get("file") == f"step_{record['step']:09d}.safetensors"
    right = named and is_digest(record.get("sha256")) and set(record) == {"step", "file", "sha256"}
    return None if right else _odd(record)


def event(record: dict[str, Any]) -> str | None:
    """A line of events: what happened, and at which step; of a thinning also which checkpoints are gone.

    >>> event({"event": "thinned", "step": 9, "removed": [[1, 3]]}), event({"event": "begun", "step": 0})
    (None, None)
    """
    right = isinstance(record.get("event"), str) and is_step(record.get("step"))
    if right and record["event"] == "thinned":
        right = isinstance(record.get("removed"), list) and all(map(_is_range, record["removed"]))
    return None if right else _odd(record)


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_step, value)) and value[0] <= value[1]


def _odd(record: dict[str, Any]) -> str:
    return f"unexpected entry {record!r:.200}"


# Lines of these files, each with its check.
CHECKS: dict[str, Check] = {
    "history.jsonl": evaluation,
    "index.jsonl": index_entry,
    "updates.jsonl": numbers,
    "saved_losses.jsonl": numbers,
    "events.jsonl": event,
}


def manifest(found: Any) -> str | None:
    """The content of config.json: config, its hash, the environment, and how the run started."""
    if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
        return "it holds no config"
    if not isinstance(found.get("hash"), str) or not 0 < len(found["hash"]) <= 64:
        return "it holds no hash of the config"
    environment, start = found.get("environment"), found.get("start")
    if not isinstance(environment, dict) or not isinstance(start, dict):
        return "environment and start must be objects"
    imported = environment.get("imported", {"file": ""})
    if not isinstance(imported, dict) or not isinstance(imported.get("file"), str):
        return "imported must name a file"
    if not is_number(start.get("norm")) or not isinstance(start.get("split_hash"), str):
        return "start must hold the norm and the split's hash"
    schedule = found["config"].get("schedule")
    if not isinstance(schedule, dict) or not is_step(schedule.get("steps")):
        return "its schedule has no steps"
    return None


def resume_note(note: Any, step: int, run: str) -> str | None:
    """What a file of weights says of itself: the step and the run it belongs to, and how long the records were.

    >>> resume_note({"step": 3, "config": "abc", "history_bytes": 99}, 3, "abc")
    >>> resume_note({"step": 3, "config": "abc"}, 4, "abc")
    'it is of step 3'
    """
    if not isinstance(note, Mapping):
        return "it does not say what it is"
    if note.get("config") != run:
        return f"it belongs to another run, of config {str(note.get('config'))[:20]}"
    if note.get("step") != step or not is_step(note["step"]):
        return f"it is of step {str(note.get('step'))[:20]}"
    for name, value in note.items():
        whole = name.endswith("_bytes") or name in ("recorded", "saved")
        if whole and not (isinstance(value, int) and not isinstance(value, bool) and value >= -1):
            return f"its {name[:40]} is no whole number"
        if name == "saved_loss" and not is_number(value):
            return "its saved_loss is no number"
    return None
