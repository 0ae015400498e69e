"""The one way in: `open_checkpoints` makes of anybody's files or tensors what everything here measures and draws."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitgrok.errors import DamagedFile
from circuitgrok.foreign.reading import read_published
from circuitgrok.foreign.sources import read_mapping
from circuitgrok.models.kinds import AnyModel
from circuitgrok.store.checkpoints import Checkpoints
from circuitgrok.store.files import read_json
from circuitgrok.store.manifest import CONFIG
from circuitgrok.store.run import load


def open_checkpoints(
    source: Any,
    *,
    model: AnyModel | None = None,
    task: Any = None,
    split: Any = None,
    keys: Mapping[str, str] | str | os.PathLike[str] | None = None,
    steps: int | Sequence[int] | None = None,
    layout: str | None = None,
    config: str | Path | None = None,
    **given: Any,
) -> Checkpoints:
    """Somebody's networks, for `cg.measure`, figures and all else that takes `Checkpoints`; nothing is written.

    What is not said is read off the source: the layout off names and shapes, model and p off the shapes, steps off the
    file or the files' names, the split off the pairs that the file lists, or it is searched for by the losses that the
    file claims. What was assumed is in `.notes`, and where the split came from in `.split`; where nothing tells it,
    columns by side are nan.

    Args:
        source: A file (`.pth`, `.pt`, `.ckpt`, `.bin`, `.safetensors`), a folder, a pattern such as `"run/*.pt"`, or a
            list of files; or a state dict, a network, a list of these, or a dict of them by step. The folder of a run,
            and what is `Checkpoints` already, is opened as it is.
        model: The network's shape, where it cannot be read off the weights alone (heads of a bridge, activation).
        task: A config of a task, or a drawn one; by default addition modulo the p of the network.
        split: The training pairs: a mask, places in the row-major list of pairs, pairs of numbers, or a rule's name.
        keys: What each tensor is in ours, {theirs: ours} (`circuitgrok.foreign.mapping`), or a JSON file of that; by
            default names and shapes suggest it, as `.keys` shows.
        steps: Updates behind each network, in order, where the source does not say; else which networks to open.
        layout: One of `circuitgrok.foreign.layouts`; by default the one that the names and shapes are of.
        config: A JSON file with the settings of the published run.
        given: Fields of our config that the source does not say, such as `act`, `n_heads`, `data_seed`; they win.

    Raises:
        UserError: The source holds no network that fits, would need unpickling, or its networks do not have the losses
            that it claims; one line says what was expected and found, and what to give.

    Example:
        >>> import torch
        >>> import circuitgrok as cg
        >>> run = cg.load("checkpoints/reference")
        >>> weights = {step: run.at(step) for step in run.steps[-2:]}
        >>> found = open_checkpoints(weights, split=run.task.is_train)
        >>> cg.measure(found, "circuits")["restricted_loss[all]"].lt(0.1).tolist()
        [True, True]
    """
    if isinstance(source, Checkpoints):
        return source
    if isinstance(source, str | os.PathLike) and _is_run(Path(os.path.expanduser(source))):
        return load(source)
    mapping = read_mapping(Path(os.path.expanduser(keys))) if isinstance(keys, str | os.PathLike) else keys
    return read_published(
        source, layout, config, model=model, task=task, split=split, keys=mapping, steps=steps, **given
    )


def _is_run(folder: Path) -> bool:
    """Whether a folder is that of a run; others may have a config.json, too."""
    try:
        found = read_json(folder / CONFIG)
    except (OSError, DamagedFile):
        return (folder / "index.jsonl").exists()
    return isinstance(found, dict) and {"config", "hash"} <= found.keys()
