"""A run on disk: a folder with its config, its history, and one verified file of weights per checkpoint.

    config.json                      config, hash, environment, initial norms, format version
    index.jsonl                      one line per checkpoint, written after its file: step, file, sha256
    step_000012300.safetensors       weights under TransformerLens' classic names
    history.jsonl                    one line per evaluation
    updates.jsonl                    one line per checkpoint but the last: the step that left it
    resume/                          optimizer state at the last two resume points (`circuitgrok.resume`)
    moments/                         optimizer state at every checkpoint, if keep_moments
    .lock, .holder                   who is writing: host, pid, since when

Files are whole or not there, every load verifies its digest, nothing is ever unpickled.
"""

import contextlib
import math
import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.errors import DamagedFile, UserError
from circuitgrok.files import (
    canonical_json,
    drop_temporaries,
    json_lines,
    read_json,
    read_verified,
    sha256,
    write_atomically,
)

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor
    from transformer_lens.model_bridge import TransformerBridge

    from circuitgrok.config import TrainConfig
    from circuitgrok.landscape.sampling import Sampling
    from circuitgrok.tree import Params

FORMAT = 1
SIDED = ("train_loss", "test_loss", "train_acc", "test_acc")
UNKNOWN_SPLITS = ("stand-in", "assumed", "unknown")  # the last two: imports before losses were compared


class RunError(UserError):
    """A folder is not the run that was asked for; the message says why and what to do."""


class LockedRun(RunError):
    """Another process is writing this run."""


@dataclass(frozen=True)
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

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of config.json as plain values; needs no torch."""
        file = self.path / "config.json"
        if not file.exists():
            raise RunError(f"{self.path} holds no run (no config.json); `circuitgrok runs FOLDER` lists runs")
        manifest = read_json(file)
        if not isinstance(manifest, dict) or "config" not in manifest:
            raise DamagedFile(f"{file} is damaged: it holds no config")
        if manifest.get("format") != FORMAT:
            raise RunError(f"{file} has format {manifest.get('format')!r}; this version reads format {FORMAT}")
        return manifest

    @cached_property
    def config(self) -> "TrainConfig":
        """The validated config.

        Raises:
            DamagedFile: The config is refused, or has not the hash that was recorded beside it.
        """
        from pydantic import ValidationError

        from circuitgrok.config import TrainConfig, explain

        try:
            config = TrainConfig.model_validate(self.manifest["config"])
        except ValidationError as error:
            raise DamagedFile(f"{self.path / 'config.json'} is damaged: {'; '.join(explain(error))}") from None
        if config.hash != self.manifest.get("hash"):
            raise DamagedFile(f"{self.path / 'config.json'} is damaged: the config does not match its hash")
        return config

    @property
    def task(self) -> Any:
        """The run's task, drawn again from its config: a `Task`, or `Examples` of one that is not modular."""
        return self.config.task.task()

    @property
    def split_is_known(self) -> bool:
        """Whether the config's split is the one trained on: not where it stands in for that of an imported run."""
        imported = self.manifest["environment"].get("imported") or {}
        return imported.get("split") not in UNKNOWN_SPLITS

    @property
    def index(self) -> dict[int, str]:
        """The digest of each checkpoint, by step, in order."""
        found = {}
        for record in json_lines(self.path / "index.jsonl"):
            step, digest = record.get("step"), record.get("sha256")
            if not isinstance(step, int) or not isinstance(digest, str) or record.get("file") != file_name(step):
                raise DamagedFile(f"{self.path / 'index.jsonl'} is damaged: unexpected entry {record!r:.200}")
            found[step] = digest
        return dict(sorted(found.items()))

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint, in order."""
        return list(self.index)

    @property
    def history(self) -> "pd.DataFrame":
        """One row per evaluation, indexed by step: losses (nats), accuracies, weight norm.

        Losses and accuracies by side are nan where the split is not known.
        """
        import pandas as pd

        rows = [line for line in json_lines(self.path / "history.jsonl") if "diverged" not in line]
        if not rows:
            raise RunError(f"{self.path} has no history yet; train it with the command that made it")
        history = pd.DataFrame(rows).set_index("step")
        return history if self.split_is_known else history.assign(**dict.fromkeys(SIDED, math.nan))

    @property
    def updates(self) -> "pd.DataFrame":
        """One row per checkpoint but the last: the step that left it, in polar coordinates (`polar.updates`).

        Empty for runs that were written before this was recorded, or that were not trained here.
        """
        import pandas as pd

        rows = list(json_lines(self.path / "updates.jsonl"))
        return pd.DataFrame(rows, columns=None if rows else ["step"]).set_index("step")

    @property
    def state(self) -> str:
        """One of new, running, interrupted, finished, diverged; imported, if it was not trained here."""
        if "imported" in self.manifest.get("environment", {}):
            return "imported"
        last = next(iter(deque(json_lines(self.path / "history.jsonl"), maxlen=1)), {})
        if "diverged" in last:
            return "diverged"
        if last.get("step") == self.manifest["config"]["schedule"]["steps"]:
            return "finished"
        if holder(self.path):
            return "running"
        return "interrupted" if last else "new"

    def at(self, step: int) -> "Params":
        """The weights at a step, verified.

        Raises:
            RunError: No checkpoint there; the message names the nearest.
            DamagedFile: The file is not what was written.
        """
        index = self.index
        if step not in index:
            near = sorted(index, key=lambda s: abs(s - step))[:3]
            raise RunError(f"{self.name} has no checkpoint at step {step}; the nearest are {near}")
        return self._load(step, index[step])

    def _load(self, step: int, digest: str) -> "Params":
        from safetensors.torch import load

        shapes = self.config.model.shapes()
        content = read_verified(self.path / file_name(step), digest, at_most=largest(shapes, copies=1))
        try:
            weights = load(content)
        except Exception as error:  # safetensors raises several kinds for one fault: not its format
            raise DamagedFile(f"{self.path / file_name(step)} is not a safetensors file: {error}") from None
        return _fitting(weights, shapes, self.path / file_name(step))

    def stack(self, steps: Sequence[int] | None = None) -> "Params":
        """The weights at several steps (default: all), with a checkpoint axis in front."""
        from circuitgrok import tree

        index = self.index
        chosen = list(index) if steps is None else list(steps)
        return tree.stack(self._load(s, index[s]) if s in index else self.at(s) for s in chosen)

    def measure(
        self,
        names: Sequence[str] | None = None,
        steps: Sequence[int] | None = None,
        sampling: "Sampling | None" = None,
    ) -> "pd.DataFrame":
        """Measures along the run: one row per checkpoint, one column per measured number.

        Args:
            names: Groups of measures (`circuitgrok.measures.table.names_of_groups`); by default the quick ones,
                without `hessian` and `llc`.
            steps: Checkpoints to measure; all by default.
            sampling: How `llc` samples; by default as calibrated once on this run.
        """
        from circuitgrok.measures.table import measure_run

        return measure_run(self, names, steps, sampling=sampling)

    def bridge(self, step: int) -> "TransformerBridge":
        """The network at a step as a TransformerLens bridge, for hooks, caches and patching."""
        from circuitgrok.lens import to_bridge

        return to_bridge(self.at(step), self.config.transformer)


def load(path: str | os.PathLike[str]) -> Run:
    """Open a run's folder.

    Raises:
        RunError: The folder holds no run.
    """
    run = Run(Path(path))
    _ = run.manifest
    return run


def runs_below(folder: str | os.PathLike[str]) -> list[Run]:
    """All runs in a folder and its subfolders, by path."""
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{root} is not a folder; runs are written to checkpoints/ unless --out says otherwise")
    return [Run(file.parent) for file in sorted(root.rglob("config.json"))]


def file_name(step: int) -> str:
    """Name of the file that holds the weights at a step.

    >>> file_name(12300)
    'step_000012300.safetensors'
    """
    return f"step_{step:09d}.safetensors"


def create(path: Path, config: "TrainConfig", environment: Mapping[str, Any], start: Mapping[str, Any]) -> Run:
    """Make the folder of a run, or open it if it holds this very run.

    Raises:
        RunError: It holds another run; the message lists the fields that differ.
    """
    path.mkdir(parents=True, exist_ok=True)
    if (path / "config.json").exists():
        run = load(path)
        if run.state == "imported":
            raise RunError(
                f"{path} was imported, not trained here, and is left as it is: choose another --out; a run of yours "
                f"can start from its weights by --start {path}@STEP"
            )
        if run.config.hash != config.hash:
            changed = ", ".join(f"{k} {b!r} there, {a!r} asked" for k, (a, b) in config.differences(run.config).items())
            raise RunError(f"{path} holds a different run ({changed}); choose another --out")
        if run.manifest["start"].get("digest") != start.get("digest"):
            raise RunError(f"{path} started from a checkpoint that is another by now; choose another --out")
        return run
    manifest = {
        "format": FORMAT,
        "config": config.model_dump(mode="json"),
        "hash": config.hash,
        "environment": dict(environment),
        "start": dict(start),
    }
    write_atomically(path / "config.json", (canonical_json(manifest) + "\n").encode())
    return load(path)


def pack(weights: "Mapping[str, Tensor]", note: Mapping[str, Any]) -> bytes:
    """Weights as the bytes of a safetensors file, the same bytes for the same weights and note."""
    from safetensors.torch import save

    # One metadata entry only: safetensors writes several in an order of its own.
    tensors = {name: value.detach().contiguous() for name, value in weights.items()}
    return save(tensors, {"circuitgrok": canonical_json(dict(note))})


def write_checkpoint(run: Run, step: int, weights: "Params") -> dict[str, Any]:
    """Write the weights of a step; the line for the index, to be appended afterwards."""
    content = pack(weights, {"step": step, "config": run.manifest["hash"]})
    write_atomically(run.path / file_name(step), content)
    return {"step": step, "file": file_name(step), "sha256": sha256(content)}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run's lock; the kernel frees it if this process dies.

    Raises:
        LockedRun: Another process holds it; the message says which, and since when.
    """
    from filelock import FileLock, Timeout

    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0.3)  # longer than `holder` takes to look
    except Timeout:
        raise LockedRun(f"{path} is being trained by {_holder_text(path)}; wait, or stop that process") from None
    try:
        for folder in (path, path / "resume"):
            drop_temporaries(folder)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        write_atomically(path / ".holder", canonical_json(mine).encode())
        yield
    finally:
        (path / ".holder").unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> bool:
    """Whether some process holds the run's lock now."""
    from filelock import FileLock, Timeout

    if not (path / ".lock").exists():
        return False
    try:
        with FileLock(path / ".lock", timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _holder_text(path: Path) -> str:
    try:
        who = read_json(path / ".holder")
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, DamagedFile, KeyError, TypeError):
        return "another process"


def largest(shapes: Mapping[str, tuple[int, ...]], copies: int) -> int:
    """Most bytes that `copies` sets of float64 weights can take in a file, header included."""
    return copies * 8 * sum(math.prod(shape) for shape in shapes.values()) + (1 << 20)


def _fitting(weights: "Params", shapes: Mapping[str, tuple[int, ...]], file: Path) -> "Params":
    """The weights in the config's order, if they are the tensors it asks for."""
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != dict(shapes):
        wrong = sorted(set(found.items()) ^ set(shapes.items()))
        raise DamagedFile(f"{file} does not hold the tensors of its config; differing: {wrong[:4]}")
    return {name: weights[name] for name in shapes}
