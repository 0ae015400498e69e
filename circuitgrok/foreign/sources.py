"""Where networks come from: a file, a folder or a pattern of files, or state dicts in memory; all become one thing.

Among files that hold a network each, the step is the last number in the file's name, or in that of its folder. A folder
that `circuitgrok export` or the Hugging Face hub wrote (`config.json` beside `model.safetensors`) is one network with
its settings.
"""

import glob
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.contents import Networks, networks_in
from circuitgrok.foreign.opening import SUFFIXES, read_foreign

MOST_FILES = 10_000
NOTE = "circuitgrok_export"  # in the head of a file, or in config.json: what an exported network says of itself


class Gathered(NamedTuple):
    """Networks, and what came with them.

    Attributes:
        file: Where they are from; a name alone for what was in memory.
        sha256: Of the file; of several, of their digests one after the other; of nothing in memory.
        networks: State dicts, as they were found.
        content: What else stands in the file, or in the last of several.
        settings: A JSON file of settings beside them, if there is one.
    """

    file: Path
    sha256: str
    networks: Networks
    content: Mapping[str, Any]
    settings: Path | None = None


def gathered(source: Any) -> Gathered:
    """The networks of a source.

    Args:
        source: A path (a file, a folder, a pattern such as `run/*.pt`) or several; or in memory a state dict, a
            network, a list of them, or a dict of them by step.

    Raises:
        UserError: It holds no networks, or several files of which one says no step.
        FileNotFoundError: There is no such file.
    """
    if isinstance(source, str | os.PathLike):
        return _at_path(Path(os.path.expanduser(source)))
    if isinstance(source, list | tuple) and source and all(isinstance(one, str | os.PathLike) for one in source):
        return _of_files([Path(os.path.expanduser(one)) for one in source], f"{len(source)} files")
    name = "what was given"
    return Gathered(Path("memory"), "", networks_in(source, name), _beside(source))


def _at_path(path: Path) -> Gathered:
    if path.is_dir():
        if (path / "config.json").is_file() and (path / "model.safetensors").is_file():
            one = _of_file(path / "model.safetensors")
            return one._replace(file=Path(os.path.abspath(path)), settings=path / "config.json")
        files = [file for file in sorted(path.iterdir()) if file.suffix in SUFFIXES]
        files = files or [file for file in sorted(path.glob("*/*")) if file.suffix in SUFFIXES]
        if not files:
            raise UserError(f"{path} holds no file of weights: {', '.join(SUFFIXES)} are read")
        return _of_files(files, str(path))
    if not path.exists() and re.search(r"[*?\[]", str(path)):
        files = [Path(found) for found in sorted(glob.glob(str(path), recursive=True))]
        files = [file for file in files if file.suffix in SUFFIXES]
        if not files:
            raise UserError(f"no file of weights ({', '.join(SUFFIXES)}) matches {path}")
        return _of_files(files, str(path))
    return _of_file(path)


def _of_file(path: Path) -> Gathered:
    content, digest, note = read_foreign(path)
    said = note if isinstance(note, dict) and isinstance(note.get("step"), int) else {}
    return Gathered(path, digest, networks_in(content, str(path)), {**_beside(content), **_of_run(said)})


def _of_run(note: Mapping[str, Any]) -> dict[str, Any]:
    """What a file that was written here says: its step, and if it was exported what it is."""
    return {name: note[name] for name in ("step", NOTE) if name in note}


def _of_files(files: Sequence[Path], name: str) -> Gathered:
    """One network of each file, in the order of their steps."""
    if len(files) == 1:
        return _of_file(files[0])
    if len(files) > MOST_FILES:
        raise UserError(f"{name} are {len(files)} files; at most {MOST_FILES} networks are opened together")
    steps: dict[int, Path] = {}
    for file in files:
        step = step_in(file)
        if step is None:
            raise UserError(f"{file} has no number in its name that could be its step; rename it, such as step_100.pt")
        if step in steps:
            raise UserError(f"{steps[step]} and {file} are both of step {step} by their names; give one of them")
        steps[step] = file
    found, digests, content = [], hashlib.sha256(), {}
    for step in sorted(steps):
        one = _of_file(steps[step])
        inner = [*one.networks.series, *([one.networks.final] if one.networks.final is not None else [])]
        if len(inner) != 1:
            raise UserError(f"{steps[step]} holds {len(inner)} networks; of several files each holds one")
        found.append(inner[0])
        digests.update(one.sha256.encode())
        content = one.content
    file = Path(os.path.abspath(files[0].parent if len({file.parent for file in files}) == 1 else name))
    return Gathered(file, digests.hexdigest(), Networks(found, sorted(steps), None), content)


def step_in(file: Path) -> int | None:
    """The last number in a file's name, or in its folder's; None if there is none.

    >>> step_in(Path("run3/step_000100.pt")), step_in(Path("checkpoint-500/pytorch_model.bin")), step_in(Path("a/b.pt"))
    (100, 500, None)
    """
    for name in (file.stem, file.parent.name):
        if numbers := re.findall(r"\d+", name):
            return int(numbers[-1])
    return None


def _beside(content: Any) -> Mapping[str, Any]:
    """What stands beside the networks, in a dict that is none itself; of a TransformerLens model its settings."""
    if (own := getattr(content, "cfg", None)) is not None and isinstance(content, torch.nn.Module):
        return {"config": {name: getattr(own, name, None) for name in ("n_heads", "act_fn", "normalization_type")}}
    if not isinstance(content, Mapping):
        return {}
    return {k: v for k, v in content.items() if isinstance(k, str) and not isinstance(v, Tensor)} | {
        k: v for k, v in content.items() if isinstance(v, Tensor) and ("." not in str(k))
    }


def read_mapping(path: Path) -> dict[str, str]:
    """A mapping {theirs: ours} in a JSON file.

    Raises:
        UserError: It is none.
    """
    from circuitgrok.foreign.opening import read_settings

    found = read_settings(path)
    if not isinstance(found, dict) or not all(isinstance(ours, str) for ours in found.values()):
        raise UserError(f"{path} must be a JSON object of names, theirs to ours, such as {json.dumps(_SHOWN)}")
    return found


_SHOWN = {"fc1.weight": "blocks.0.mlp.W_in.T", "scratch": ""}
