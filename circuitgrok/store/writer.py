"""Whoever writes a run: its folder, its checkpoints, its records while it trains, its events, and what comes last."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.canonical import canonical_json, sha256
from circuitgrok.device import held
from circuitgrok.errors import RunError
from circuitgrok.store.behind import Behind
from circuitgrok.store.completion import NAME, Completion
from circuitgrok.store.files import SUBFOLDERS, drop_temporaries, write_atomically
from circuitgrok.store.lines import Head, JsonLines, head_at
from circuitgrok.store.manifest import CONFIG, write_manifest
from circuitgrok.store.resume import CUT_BACK, write_moments, write_resume
from circuitgrok.store.run import FACTS, OWN, SPLIT, Run, load
from circuitgrok.store.sealed import seal_line
from circuitgrok.store.weights import file_name, pieces

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig
    from circuitgrok.tree import Params

RECORDS = ("history.jsonl", "index.jsonl", "updates.jsonl", "saved_losses.jsonl", "events.jsonl")


def create(path: Path, config: "TrainConfig", environment: Mapping[str, Any], start: Mapping[str, Any]) -> Run:
    """Make the folder of a run, or open it if it holds this very run; what killed writers left over is removed.

    Raises:
        RunError: It holds another run (the message lists the fields that differ), or files of a run that lost its
            config.json.
        DamagedFile: Its config.json is not what was written.
    """
    pairs = _listed_pairs(config)
    path.mkdir(parents=True, exist_ok=True)
    if not (path / CONFIG).exists() and not (path / CONFIG).is_symlink():
        left = sorted(f.name for f in path.iterdir() if FACTS.fullmatch(f.name))
        left += [f"{name}/" for name in SUBFOLDERS if (path / name).exists()]
        if left:
            raise RunError(
                f"{path} has no config.json, but {', '.join(left[:4])}{', …' * (len(left) > 4)} of a run: put its "
                f"config.json back, choose another --out, or remove those files"
            )
        if pairs is not None:
            write_atomically(path / SPLIT, pairs)
        facts = {"config": config.model_dump(mode="json"), "hash": config.hash}
        write_manifest(path, {**facts, "environment": dict(environment), "start": dict(start)})
    run = load(path)
    refuse_another(run, config, start, imports="imported" in environment)
    for folder in (path, path / "resume", path / "moments"):
        if not folder.is_symlink() or folder == path:
            drop_temporaries(folder, OWN)
    return run


def _listed_pairs(config: "TrainConfig") -> bytes | None:
    """The training pairs of a split that no rule draws, as they lie in the run's folder.

    Raises:
        UserError: This process does not know them.
    """
    from circuitgrok.tasks.splits import LISTED, packed

    split = getattr(config.task, "split", "")
    return packed(split) if split.startswith(LISTED) else None


def refuse_another(run: Run, config: "TrainConfig", start: Mapping[str, Any], imports: bool = False) -> None:
    """Refuse a folder that holds another run than the one to train, or to bring in.

    Raises:
        RunError: It does, or this run began otherwise than it would now; the message lists what differs.
    """
    if "imported" in run.manifest["environment"] and not imports:
        raise RunError(
            f"{run.path} was imported, not trained here, and is left as it is: choose another --out; a run of yours "
            f"can start from its weights by --start {run.path}@STEP"
        )
    if run.config.hash != config.hash:
        changed = ", ".join(f"{k} {b!r} there, {a!r} asked" for k, (a, b) in config.differences(run.config).items())
        raise RunError(f"{run.path} holds a different run ({changed}); choose another --out")
    if run.manifest["start"].get("digest") != start.get("digest"):
        raise RunError(f"{run.path} started from a checkpoint that is another by now; choose another --out")
    then, now = (facts["split_hash"] for facts in (run.manifest["start"], start))
    if then != now:
        raise RunError(
            f"{run.path} was trained on a task with split {then}, but drawn again it has {now}: bring back the files "
            f"that its examples were read from, or choose another --out"
        )


def write_checkpoint(run: Run, step: int, weights: "Params") -> dict[str, Any]:
    """Write the weights of a step; the line for the index, to be appended afterwards."""
    content = pieces(weights, {"step": step, "config": run.manifest["hash"]})
    write_atomically(run.path / file_name(step), *content)
    return {"step": step, "file": file_name(step), "sha256": sha256(*content)}


def write_records(run: Run, name: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole record at once."""
    first, lines = run.first(name), []
    seal = first or ""
    for record in records:
        text = canonical_json(dict(record))
        line, seal = (text.encode(), "") if first is None else seal_line(text, seal)
        lines.append(line + b"\n")
    write_atomically(run.path / name, b"".join(lines))


def add_event(run: Run, event: str, step: int, **facts: Any) -> Head:
    """Append what happened to events.jsonl, and note in complete.json, if there is one, that there is more of it."""
    events = JsonLines(run.path / "events.jsonl", None, run.first("events.jsonl"))
    events.append({"event": event, "step": step, **facts})
    events.sync()
    if completion := run.completion:
        completion._replace(records={**completion.records, "events.jsonl": events.head}).write(run.path)
    return events.head


def complete(run: Run, outcome: str, step: int, resume: Mapping[str, str], heads: Mapping[str, Head]) -> None:
    """Say that a run is complete; nothing to say in the format without seals.

    Args:
        run: All of whose files are written.
        outcome: finished, diverged, imported.
        step: Its last.
        resume: The resume point that must be there, and its digest.
        heads: How far the records have come, where that is known; the others are read.
    """
    if not run.sealed:
        return
    found = dict(heads)
    for name in RECORDS:
        if name not in found and (run.path / name).exists():
            found[name] = head_at(run.path / name, None, run.first(name))
    Completion(run.manifest["hash"], run.seal, outcome, step, found, dict(resume)).write(run.path)


def reopen(run: Run) -> None:
    """Take back that a run is complete, before its records are cut."""
    (run.path / NAME).unlink(missing_ok=True)


@dataclass
class Writer:
    """One run's records while it trains, and what its next line depends on.

    Whoever trains decides what is written, and copies it; `behind` writes it, in this order, and alone touches the
    records.
    """

    run: Run
    behind: Behind
    history: JsonLines
    index: JsonLines
    updates: JsonLines
    recorded: int = -1  # last step in the history
    saved: int = -1  # last step with a checkpoint
    saved_loss: float = 0.0  # logarithm of the test loss at the last checkpoint
    diverged: bool = False

    @classmethod
    def open(cls, run: Run, note: Mapping[str, Any], behind: Behind) -> "Writer":
        """The records, cut back to what they held at the resume point that left `note`."""
        reopen(run)
        files = {
            name: JsonLines(run.path / f"{name}.jsonl", note.get(f"{name}_bytes", 0), run.first(f"{name}.jsonl"))
            for name in CUT_BACK
        }
        facts = {name: note[name] for name in ("recorded", "saved", "saved_loss") if name in note}
        return cls(run, behind, **files, **facts)

    def record(self, record: dict[str, Any], weights: "Params", scheduled: bool, on_move: float) -> None:
        """One line of history, and a checkpoint if scheduled or if the test loss moved since the last."""
        bad = [f"{name} is {value}" for name, value in record.items() if not math.isfinite(value)]
        step = record["step"]
        if bad:
            self.diverged = True
            self.behind.give(lambda: self._diverge(step, ", ".join(bad)))
        elif step > self.recorded:
            loss = math.log(max(record["test_loss"], 1e-300))
            if scheduled or abs(loss - self.saved_loss) > on_move:
                numbers = held(weights)
                self.behind.give(lambda: self.index.append(write_checkpoint(self.run, step, numbers())), _size(weights))
                self.saved, self.saved_loss = step, loss
            self.behind.give(lambda: self.history.append(record))
            self.recorded = step

    def record_update(self, record: dict[str, Any]) -> None:
        """One line about the step that leaves a checkpoint; what has no value is left out."""
        finite = {name: value for name, value in record.items() if math.isfinite(value)}
        self.behind.give(lambda: self.updates.append(finite))

    def keep_moments(self, step: int, state: "Params") -> None:
        """The optimizer's state beside a checkpoint."""
        numbers = held(state)
        self.behind.give(lambda: write_moments(self.run, step, numbers()), _size(state))

    def save(self, step: int, state: "Params", last: bool) -> None:
        """A resume point, behind everything that it depends on; at the `last` step the run is complete with it."""
        numbers = held(state)
        facts = {"recorded": self.recorded, "saved": self.saved, "saved_loss": self.saved_loss}

        def write() -> None:
            digest = write_resume(self.run, step, numbers(), facts | self._synced())
            if last:
                self._finish("finished", step, {file_name(step): digest})

        self.behind.give(write, _size(state))

    def _synced(self) -> dict[str, Any]:
        """How far the records have come, all of them on the disk."""
        found: dict[str, Any] = {}
        for name in CUT_BACK:
            lines: JsonLines = getattr(self, name)
            found[f"{name}_bytes"] = lines.sync()
            if lines.sealed:
                found[f"{name}_seal"] = lines.head.seal
        return found

    def _diverge(self, step: int, how: str) -> None:
        self.history.append({"step": step, "diverged": how})
        self._synced()
        self._finish("diverged", step, {})

    def _finish(self, outcome: str, step: int, resume: Mapping[str, str]) -> None:
        """Say that the run is complete; everything else is on the disk."""
        heads = {f"{name}.jsonl": getattr(self, name).head for name in CUT_BACK}
        heads["events.jsonl"] = add_event(self.run, outcome, step)
        complete(self.run, outcome, step, resume, heads)


def _size(tensors: "Params") -> int:
    return sum(value.nbytes for value in tensors.values())
