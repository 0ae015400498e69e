"""Runs small enough to train in a test, and their files."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from circuitgrok.canonical import canonical_json
from circuitgrok.config.objects import in_order
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.interventions.base import KINDS, Intervention
from circuitgrok.models.kinds import transformer_of
from circuitgrok.store.completion import NAME
from circuitgrok.store.lines import Lines
from circuitgrok.store.resume import resume_points
from circuitgrok.store.run import Run, load
from circuitgrok.store.sealed import first_seal, seal_line
from circuitgrok.store.writer import complete, write_records

TINY = {
    "p": 11,
    "d_model": 8,
    "n_heads": 2,
    "d_head": 4,
    "d_mlp": 16,
    "steps": 24,
    "eval_every": 4,
    "checkpoint_every": 8,
    "checkpoints_per_decade": 3,
    "checkpoint_on_move": 100.0,
    "warmup": 5,
    "lr": 0.01,
    "frac_train": 0.5,
}


def kinds_of(family: type[Intervention]) -> list[str]:
    """The kinds of a family of interventions, in their order."""
    return [kind for kind in in_order(KINDS) if issubclass(KINDS[kind], family)]


def tiny(**leaves: Any) -> TrainConfig:
    """A config that trains in milliseconds; about 3 kB of weights a checkpoint."""
    return TrainConfig.preset("nanda").with_(**TINY | leaves)


def tiny_flags(**leaves: Any) -> list[str]:
    """The same config on the command line, for the preset nanda."""
    given = TINY | leaves
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def logits_at(run: Run, step: int) -> torch.Tensor:
    """Of all pairs over the p numbers, by the plain forward, in float64."""
    model = transformer_of(run.config.model)
    return model.activations(run.at(step), run.task.inputs)["logits"][:, -1, : model.p].double()


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON-lines file as they stand there, their seals taken off and not checked."""
    for record in Lines(path).parsed():
        record.pop("seal", None)
        yield record


def usable_resume_steps(run: Run) -> list[int]:
    """Steps of the resume points that training can go on from, in order."""
    return [step for step, wrong in resume_points(run).items() if not wrong]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder except the lock, by its path in there."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


def bits_of(folder: Path) -> dict[str, bytes]:
    """The same without what tells how often a run was interrupted: events, and complete.json's word about them."""
    files = {name: content for name, content in files_of(folder).items() if Path(name).name != "events.jsonl"}
    for name in files:
        if Path(name).name == "complete.json":
            said = json.loads(files[name])
            del said["records"]["events.jsonl"], said["seal"]
            files[name] = json.dumps(said).encode()
    return files


def rewritten(run: Run, name: str, records: list[dict[str, Any]] | None = None, outcome: str | None = "") -> Run:
    """The run with another record, or the same, under seals that fit, and so complete.json, if there was one.

    Args:
        run: To be changed.
        name: Of the record.
        records: Its lines; by default those that it has.
        outcome: Of the run; by default as it was, None for an unfinished one.
    """
    records = list(json_lines(run.path / name)) if records is None else records
    write_records(run, name, records)
    if (run.path / NAME).exists():
        said = json.loads((run.path / NAME).read_text())
        (run.path / NAME).unlink()
        if outcome is not None:
            complete(run, outcome or said["outcome"], said["step"], said["resume"], {})
    return load(run.path)


def resealed_config(run: Run, change: Callable[[str], str]) -> None:
    """Change the text of config.json and give it a seal that fits."""
    found = json.loads((run.path / "config.json").read_text())
    del found["seal"]
    line, _ = seal_line(change(canonical_json(found)), first_seal("", "config.json"))
    (run.path / "config.json").write_bytes(line + b"\n")


def copied(run: Run, to: Path) -> Run:
    """The same run in a folder of its own, to be damaged."""
    shutil.copytree(run.path, to / run.name)
    return load(to / run.name)


def flip(file: Path, position: int, bit: int = 0) -> None:
    """Flip one bit of a file; a negative position counts from the end."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)
