"""A config out of a file: of a run, or written by hand."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.canonical import from_json
from circuitgrok.errors import DamagedFile, UserError, nearest
from circuitgrok.store.files import read_plain
from circuitgrok.store.manifest import CONFIG

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig

SECTIONS = {"task", "model", "schedule"}  # what a config's own JSON has, and a list of its fields has not


def read_config(path: str | os.PathLike[str]) -> "TrainConfig":
    """The config that a file says.

    Args:
        path: A run's folder or its config.json, whatever its format; a config's own JSON, of `model_dump_json`;
            or fields by their names, as `with_` takes them, with `preset` for what they change:
            {"preset": "nanda", "alpha": 0.8}.

    Raises:
        RunError: The folder holds no run.
        UserError: The file is none of these; the message says which field is wrong.

    Example:
        >>> read_config("checkpoints/reference").schedule.steps
        4000
    """
    from pydantic import ValidationError

    from circuitgrok.config.explain import explain
    from circuitgrok.config.leaves import LEAVES
    from circuitgrok.config.train_config import TrainConfig
    from circuitgrok.store.run import load

    file = Path(os.path.expanduser(path))
    if file.is_dir():
        return load(file).config
    content = _content(file)
    if {"config", "hash", "format"} <= content.keys():
        if file.name == CONFIG:
            return load(file.parent).config  # verified
        content = content["config"]
    try:
        if SECTIONS <= content.keys():
            return TrainConfig.model_validate(content)
        return _of_fields(content)
    except ValidationError as error:
        raise UserError(f"{file} is no config: {'; '.join(explain(error, LEAVES))}") from None
    except UserError as error:
        raise UserError(f"{file} is no config: {error}") from None


def _content(file: Path) -> Mapping[str, Any]:
    rule = "a config is a run's config.json, a config's own JSON, or fields by name, such as"
    try:
        found = from_json(read_plain(file))
    except FileNotFoundError:
        raise UserError(f"{file} is not there: name a run's folder or a JSON file") from None
    except DamagedFile:
        raise
    except ValueError as error:
        raise UserError(f'{file} is not JSON: {error}; {rule} {{"preset": "nanda", "alpha": 0.8}}') from None
    if not isinstance(found, dict) or not found:
        raise UserError(f'{file} holds no config: {rule} {{"preset": "nanda", "alpha": 0.8}}')
    return found


def _of_fields(content: Mapping[str, Any]) -> "TrainConfig":
    from circuitgrok.config.presets import PRESETS
    from circuitgrok.config.train_config import TrainConfig

    fields = dict(content)
    preset = fields.pop("preset", None)
    if preset is None:
        return TrainConfig().with_(**fields)
    if preset not in PRESETS:
        raise UserError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}{nearest(str(preset), PRESETS)}")
    return TrainConfig.preset(preset).with_(**fields)
