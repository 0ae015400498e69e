"""Runs small enough to train in a test, and their files."""

import shutil
from pathlib import Path
from typing import Any

import torch

from circuitgrok.config import TrainConfig, transformer_of
from circuitgrok.runs import Run, load

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


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder except the lock, by its path in there."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


def copied(run: Run, to: Path) -> Run:
    """The same run in a folder of its own, to be damaged."""
    shutil.copytree(run.path, to / run.name)
    return load(to / run.name)


def flip(file: Path, position: int, bit: int = 0) -> None:
    """Flip one bit of a file; a negative position counts from the end."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)
