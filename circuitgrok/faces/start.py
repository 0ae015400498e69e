"""What the flags of `train` and `sweep` change: a preset, or the config in a file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from circuitgrok.errors import UserError
from circuitgrok.faces.fields import Leaf, config_leaves, kinds_of
from circuitgrok.faces.flags import config_values, kinds_of_flags, option_of, preset_and_rest
from circuitgrok.training.progress import load_torch

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig
    from circuitgrok.store.run import Run


def checkpoint_of(what: str, where: str) -> "tuple[Run, int]":
    """The run and the step of RUN_FOLDER@STEP.

    Args:
        what: The option, for the message.
        where: What was typed.

    Raises:
        UserError: It has not that form, or the folder holds no run.
    """
    from circuitgrok.store.run import load

    folder, mark, number = where.rpartition("@")
    if not mark or not number.isdigit():
        raise UserError(f"{what} must be RUN_FOLDER@STEP, such as checkpoints/reference@4000; got {where!r}")
    return load(folder), int(number)


class Start(NamedTuple):
    """Where a command line starts from.

    Attributes:
        name: The preset's, or the run's or file's.
        file: The file, if it is one.
        leaves: Every field by name; defaults are the values to start from.
        others: Kinds of task and model that flags ask for, where they are not those to start from.
        kinds: Those of the result.
        rest: The flags that are left.
    """

    name: str
    file: str
    leaves: Mapping[str, Leaf]
    others: Mapping[str, str]
    kinds: Mapping[str, str]
    rest: list[str]

    def changed(self, options: Any) -> dict[str, Any]:
        """The fields that the options of a command line set to something else than they start from, by name."""
        given = config_values(self.leaves, options)
        return {name: value for name, value in given.items() if value != self.leaves[name].default}

    def config(self) -> "TrainConfig":
        """The config to start from; needs torch."""
        from circuitgrok.config.train_config import TrainConfig
        from circuitgrok.store.configs import read_config

        return read_config(self.file) if self.file else TrainConfig.preset(self.name)


def start_of_train(argv: list[str]) -> Start:
    """Of `train PRESET ...` or `train --config FILE ...`.

    Raises:
        UserError: Both, neither, an unknown preset, or a file that holds no config.
    """
    file = option_of(argv, "--config")
    if not file:
        preset, rest = preset_and_rest(argv, "circuitgrok train")
        return _of_preset(preset, rest)
    if argv[0] != "--config" and not argv[0].startswith("-"):
        raise UserError(f"start from a preset or from a file: got {argv[0]} and --config {file}; leave out one")
    return _of_file(file, argv)


def start_of_sweep(argv: list[str]) -> Start:
    """Of `sweep --preset PRESET ...` or `sweep --config FILE ...`; quickstart where neither is said."""
    preset, file = option_of(argv, "--preset"), option_of(argv, "--config")
    if preset and file:
        raise UserError(f"start from a preset or from a file: got --preset {preset} and --config {file}")
    return _of_file(file, argv) if file else _of_preset(preset or "quickstart", argv)


def _of_preset(preset: str, rest: list[str]) -> Start:
    own = kinds_of(preset)
    kinds = kinds_of_flags(own, rest)
    others = {section: kind for section, kind in kinds.items() if kind != own[section]}
    return Start(preset, "", config_leaves(preset, kinds), others, kinds, rest)


def _of_file(file: str, rest: list[str]) -> Start:
    """With the file's values as defaults, after a change of kinds that flags ask for."""
    from circuitgrok.store.configs import read_config

    load_torch(quiet="--quiet" in rest)
    config = read_config(file)
    own = {"task": config.task.kind, "model": config.model.kind}
    kinds = kinds_of_flags(own, rest)
    others = {section: kind for section, kind in kinds.items() if kind != own[section]}
    values: Mapping[str, Any] = config.with_(**dict[str, Any](others)).leaves()
    fields = config_leaves("quickstart", kinds)
    leaves = {name: leaf._replace(default=values.get(name, leaf.default)) for name, leaf in fields.items()}
    path = Path(os.path.expanduser(file)).resolve()
    return Start(path.parent.name if path.name == "config.json" else path.stem, file, leaves, others, kinds, rest)
