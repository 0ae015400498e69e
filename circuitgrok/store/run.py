"""A run on disk: a folder with its config, its history, and one verified file of weights per checkpoint.

    config.json                      config, hash, environment, initial norms, format version
    index.jsonl                      one line per checkpoint, written after its file: step, file, sha256
    step_000012300.safetensors       weights under TransformerLens' classic names
    split.bits                       the training pairs of a split that no rule draws, eight in a byte
    history.jsonl                    one line per evaluation
    updates.jsonl                    one line per checkpoint but the last: the step that left it
    events.jsonl                     begun, resumed, fell back, another environment, stopped, finished
    complete.json                    written last: how long the records are (`circuitgrok.store.completion`)
    resume/                          optimizer state at the last two resume points (`circuitgrok.store.resume`)
    moments/                         optimizer state at every checkpoint, if keep_moments
    llc/                             learning coefficients and their calibration, where they were measured
    .lock, .holder                   who is writing: host, pid, since when

Files are whole or not there, every load verifies its digest or its seals, nothing is ever unpickled. Runs of format 1
have records without seals and no complete.json: they are read as they stand.
"""

import contextlib
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.errors import DamagedFile, RunError, UserError
from circuitgrok.store.completion import Completion, read_completion
from circuitgrok.store.files import read_plain, read_verified
from circuitgrok.store.gaps import Gap, removed_ranges, split
from circuitgrok.store.lines import Lines, last_record
from circuitgrok.store.locking import holder
from circuitgrok.store.manifest import UNSEALED, read_manifest
from circuitgrok.store.records import CHECKS
from circuitgrok.store.sealed import first_seal
from circuitgrok.store.weights import file_name, fitting, largest, unpack

if TYPE_CHECKING:
    import pandas as pd

    from circuitgrok.config.train_config import TrainConfig
    from circuitgrok.models.kinds import AnyModel
    from circuitgrok.tree import Params

# What a folder without config.json may not hold, and the files whose temporaries may be removed.
FACTS = re.compile(r"step_\d{9}\.safetensors|complete\.json|(history|index|updates|events|saved_losses)\.jsonl")
OWN = re.compile(
    r"step_\d{9}\.safetensors(\.sha256)?|(config|complete)\.json|(history|index|updates|events|saved_losses)\.jsonl"
    r"|split\.bits|\.holder|summary\.txt(\.sha256)?|figure\.(png|svg)|measures\.parquet(\.sha256)?"
)
_ANY_ORDER = ("events.jsonl", "saved_losses.jsonl")
_SETTLED_NS = 50_000_000  # clocks of file systems tick this slowly: a younger file may change within the tick
SPLIT = "split.bits"
UNKNOWN_SPLITS = ("stand-in", "assumed", "unknown")  # the last two: imports before losses were compared


def without_sides(history: "pd.DataFrame") -> "pd.DataFrame":
    """A history in which all that needs the split is nan: losses and accuracies by side and by parts of them."""
    sided = [name for name in map(str, history) if name.startswith(("train_", "test_"))]
    return history.assign(**dict.fromkeys(sided, math.nan))


@dataclass(frozen=True, repr=False)
class Run:
    """A run's folder, opened for reading.

    Example:
        >>> run = Run(Path("checkpoints/reference"))
        >>> run.state, run.steps[0], sorted(run.history.columns)[-1]
        ('finished', 0, 'train_loss')
    """

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def __repr__(self) -> str:
        from circuitgrok.store.card import line

        return line(self)

    def _repr_html_(self) -> str:
        from circuitgrok.store.card import card

        return card(self)

    @cached_property
    def _document(self) -> tuple[dict[str, Any], str]:
        return read_manifest(self.path)

    @property
    def manifest(self) -> dict[str, Any]:
        """The content of config.json as plain values; needs no torch."""
        return self._document[0]

    @property
    def sealed(self) -> bool:
        """Whether the records have seals: all but those of runs in the old format."""
        return self.manifest["format"] != UNSEALED

    def first(self, name: str) -> str | None:
        """Where the chain of a record's seals begins; None for one without seals."""
        return first_seal(self.manifest["hash"], name) if self.sealed or name == "events.jsonl" else None

    @property
    def seal(self) -> str:
        """The seal of config.json; empty in the old format."""
        return self._document[1]

    @property
    def completion(self) -> Completion | None:
        """What was written last; None if the run is not complete, or of the old format.

        Raises:
            DamagedFile: It is not what was written for this run.
        """
        return read_completion(self.path, self.manifest["hash"], self.seal) if self.sealed else None

    @cached_property
    def config(self) -> "TrainConfig":
        """The validated config.

        Raises:
            DamagedFile: The config is refused, or has not the hash that was recorded beside it.
        """
        from pydantic import ValidationError

        from circuitgrok.config.explain import explain
        from circuitgrok.config.leaves import LEAVES, hash_of
        from circuitgrok.config.train_config import TrainConfig
        from circuitgrok.config.upgrade import is_old

        content = self.manifest["config"]
        try:
            config = TrainConfig.model_validate(content)
        except ValidationError as error:
            raise DamagedFile(f"{self.path / 'config.json'} is damaged: {'; '.join(explain(error, LEAVES))}") from None
        if (hash_of(content) if is_old(content) else config.hash) != self.manifest.get("hash"):
            raise DamagedFile(f"{self.path / 'config.json'} is damaged: the config does not match its hash")
        self._take_note_of_split(getattr(config.task, "split", ""))
        return config

    def _take_note_of_split(self, split: str) -> None:
        """Read the training pairs that no rule draws.

        Raises:
            DamagedFile: They are missing, or not those that the config names.
        """
        from circuitgrok.tasks.splits import LISTED, unpacked

        if not split.startswith(LISTED):
            return
        file = self.path / SPLIT
        try:
            unpacked(read_plain(file), split)
        except FileNotFoundError:
            raise DamagedFile(f"{file} is missing, though the config's split is {split}") from None
        except (ValueError, UserError) as error:
            raise DamagedFile(f"{file} is damaged: it {error}") from None

    @property
    def model(self) -> "AnyModel":
        """The shape of every network."""
        return self.config.model

    @property
    def task(self) -> Any:
        """The run's task, drawn again from its config: a `Task`, or `Examples` of one that is not modular.

        Raises:
            DamagedFile: It is not the one that the run was trained on: files that it is read from were replaced.
        """
        task, then = self.config.task.draw(), self.manifest["start"]["split_hash"]
        if task.split_hash != then:
            raise DamagedFile(
                f"{self.path} was trained on a task with split {then}, but drawn again it has {task.split_hash}: "
                f"bring back the files that its examples were read from"
            )
        return task

    def records(self, name: str) -> Iterator[dict[str, Any]]:
        """The lines of a record, such as history.jsonl, verified while they are read.

        Raises:
            DamagedFile: A line is not what was written, or some are missing; the message names file and line.
        """
        try:
            yield from self._verified(name)
        except DamagedFile as error:
            raise DamagedFile(f"{error}; `circuitgrok doctor {self.path}` says what can be saved") from None

    def _verified(self, name: str) -> Iterator[dict[str, Any]]:
        completion, lines = self.completion, Lines(self.path / name, self.first(name))
        said = completion.records.get(name) if completion else None
        check, before, ended = CHECKS[name], -1, False
        for record in lines:
            wrong = check(record)
            if not wrong and name not in _ANY_ORDER and (record["step"] <= before or ended):
                wrong = f"is of step {record['step']}, after one of step {before}{' that ended the run' * ended}"
            if not wrong and said and lines.head.lines == said.lines and lines.head.seal != said.seal:
                wrong = "is not the one that ended the record when the run was complete"
            if wrong:
                raise lines.damaged(wrong)
            before, ended = record["step"], "diverged" in record
            yield record
        if completion:
            completion.check(self.path, name, lines.head, lines.half)

    @property
    def split_is_known(self) -> bool:
        """Whether the config's split is the one trained on: not where it stands in for that of an imported run."""
        imported = self.manifest["environment"].get("imported") or {}
        return imported.get("split") not in UNKNOWN_SPLITS

    @property
    def index(self) -> dict[int, str]:
        """The digest of each checkpoint, by step, in order."""
        return dict(self._index())

    @property
    def thinned(self) -> list[Gap]:
        """Where checkpoints were removed (`circuitgrok.store.thinning`), in order; empty if none were."""
        return list(self._listed()[1])

    def _index(self) -> dict[int, str]:
        return self._listed()[0]

    def _listed(self) -> tuple[dict[int, str], list[Gap]]:
        """The index without what was removed, and the gaps; read again only if its files have changed."""
        now = tuple(_identity(self.path / name) for name in ("index.jsonl", "complete.json", "events.jsonl"))
        if now not in self._read:
            self._read.clear()
            written = {record["step"]: record["sha256"] for record in self.records("index.jsonl")}
            kept, gaps = split(list(written), removed_ranges(self._readable_events()))
            found = {step: written[step] for step in kept}, gaps
            if time.time_ns() - max(changed for _, _, changed in now) < _SETTLED_NS:
                return found
            self._read[now] = found
        return self._read[now]

    def _readable_events(self) -> Iterator[dict[str, Any]]:
        """The events up to the first that is damaged: damage there is no reason to read no checkpoint."""
        with contextlib.suppress(DamagedFile):
            yield from self.records("events.jsonl")

    @cached_property
    def _read(self) -> dict[Any, tuple[dict[int, str], list[Gap]]]:
        """The index as last read, by what its files looked like then."""
        return {}

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint, in order."""
        return list(self._index())

    def saved_steps(self) -> list[int]:
        """The same, where there must be some.

        Raises:
            RunError: There is no checkpoint yet.
        """
        if not (steps := self.steps):
            raise RunError(f"{self.path} has no checkpoint yet; train it with the command that made it")
        return steps

    @property
    def history(self) -> "pd.DataFrame":
        """One row per evaluation, indexed by step: losses (nats), accuracies, weight norm (`docs/runs.md`).

        Losses and accuracies by side are nan where the split is not known.
        """
        import pandas as pd

        rows = [line for line in self.records("history.jsonl") if "diverged" not in line]
        if not rows:
            raise RunError(f"{self.path} has no history yet; train it with the command that made it")
        history = pd.DataFrame(rows).set_index("step")
        return history if self.split_is_known else without_sides(history)

    @property
    def updates(self) -> "pd.DataFrame":
        """One row per checkpoint but the last: the step that left it, in polar coordinates (`polar.updates`).

        Empty for runs that were written before this was recorded, or that were not trained here.
        """
        import pandas as pd

        rows = list(self.records("updates.jsonl"))
        return pd.DataFrame(rows, columns=None if rows else ["step"]).set_index("step")

    @property
    def events(self) -> list[dict[str, Any]]:
        """What happened to the run beside training: begun, resumed, fell back, stopped, finished, in order."""
        return list(self.records("events.jsonl"))

    @property
    def state(self) -> str:
        """One of new, running, interrupted, finished, diverged; imported, if it was not trained here.

        A run that stopped since it was asked to is "stopped@grokked+500", or whatever it was to stop at.

        The last three need a complete.json that fits the ends of the records, whatever their last line says.

        Raises:
            DamagedFile: What says that the run is complete does not fit its records.
        """
        if self.sealed:
            completion = self.completion
            if completion:
                completion.glance(self.path)
                return completion.outcome
        elif "imported" in self.manifest["environment"]:
            return "imported"
        last = last_record(self.path / "history.jsonl")
        if not self.sealed and last:
            if "diverged" in last:
                return "diverged"
            if last.get("step") == self.manifest["config"]["schedule"]["steps"]:
                return "finished"
        if holder(self.path):
            return "running"
        if last is None:
            return "new"
        what = last_record(self.path / "events.jsonl") or {}
        return f"stopped@{what['until']}" if what.get("event") == "stopped" and "until" in what else "interrupted"

    def at(self, step: int) -> "Params":
        """The weights at a step, verified.

        Raises:
            RunError: No checkpoint there; the message names the nearest.
            DamagedFile: The file is not what was written.
        """
        index = self._index()
        if step not in index:
            self.saved_steps()
            near = sorted(index, key=lambda s: abs(s - step))[:3]
            raise RunError(f"{self.name} has no checkpoint at step {step}; the nearest are {near}")
        return self._load(step, index[step])

    def _load(self, step: int, digest: str) -> "Params":
        from circuitgrok.surroundings import plain_surroundings

        file, shapes = self.path / file_name(step), self.config.model.shapes()
        content = read_verified(file, digest, at_most=largest(shapes, copies=1))
        with plain_surroundings():
            return fitting(unpack(content, file, step, self.manifest["hash"])[0], shapes, file)

    def stack(self, steps: Sequence[int] | None = None) -> "Params":
        """The weights at several steps (default: all), with a checkpoint axis in front."""
        from circuitgrok import tree
        from circuitgrok.surroundings import plain_surroundings

        index = self._index()
        chosen = self.saved_steps() if steps is None else list(steps)
        with plain_surroundings():
            return tree.stack(self._load(s, index[s]) if s in index else self.at(s) for s in chosen)


def load(path: str | os.PathLike[str]) -> Run:
    """Open a run's folder; `~` is the home folder.

    Raises:
        RunError: The folder holds no run.

    Example:
        >>> run = load("checkpoints/reference")
        >>> run.state, run.at(4000)["blocks.0.mlp.W_in"].shape
        ('finished', torch.Size([64, 256]))
    """
    run = Run(Path(os.path.expanduser(path)))
    _ = run.manifest
    return run


def runs_below(folder: str | os.PathLike[str]) -> list[Run]:
    """All runs in a folder and its subfolders, by path; no link is followed, and no run is looked into for others."""
    root = Path(os.path.expanduser(folder))
    if not root.is_dir():
        raise RunError(f"{root} is not a folder; runs are written to checkpoints/ unless --out says otherwise")
    found, ahead = [], [root]
    while ahead:
        folder = ahead.pop()
        if os.path.lexists(folder / "config.json"):
            found.append(Run(folder))  # thousands of checkpoints may lie beside it
            continue
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            ahead += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(found, key=lambda run: run.path)


def _identity(file: Path) -> tuple[int, int, int]:
    """What tells whether a file was changed: where it lies, its size, and when."""
    try:
        found = file.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
