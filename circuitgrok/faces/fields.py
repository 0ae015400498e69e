"""What the command line must know of configs, samplers and measures before torch is imported: `fields.json`.

The file is generated from the classes themselves, by `python -m circuitgrok.faces.fields`; a test compares the two. So
`--help` and unknown flags are answered at once, from plain values.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Optional, Union, get_args, get_origin

from circuitgrok.config.presets import PRESETS, leaves_of
from circuitgrok.errors import UserError, nearest

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FILE = Path(__file__).with_name("fields.json")
TYPES = {"int": int, "float": float, "str": str, "bool": bool}
KINDS = ("task", "model")  # sections that are chosen by their kind


class Leaf(NamedTuple):
    """One field of a config or of a sampling.

    Attributes:
        name: Its own.
        type: `int`, `float`, `str`, `bool`; or `choice`, one of `choices`; or `choices`, any of them.
        help: What it is.
        default: None if it has none, or if none is the default.
        required: Whether it must be given.
        optional: Whether it may be None.
        choices: Its values, where they are words of a list.
        said: How a run's summary says it where it is not at its default; `{}` stands for the value.
        range: Which numbers it takes, such as "≥ 1"; empty where all.
    """

    name: str
    type: str
    help: str
    default: Any = None
    required: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    said: str = ""
    range: str = ""

    @property
    def annotation(self) -> Any:
        """The type, for a parser."""
        words = Literal[self.choices]  # pyright: ignore[reportInvalidTypeForm]
        kind = {"choice": words, "choices": tuple[words, ...], **TYPES}[self.type]
        return Optional[kind] if self.optional else kind  # noqa: UP045

    @property
    def plain(self) -> dict[str, Any]:
        """As it stands in the file: what differs from the defaults."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self._asdict().items()
            if name not in self._field_defaults or value != self._field_defaults[name]
        }


def leaf(content: dict[str, Any]) -> Leaf:
    """A field out of the file.

    >>> leaf({"name": "lr", "type": "float", "help": "learning rate", "default": 0.001}).annotation
    <class 'float'>
    """
    return Leaf(**_tuples(content))


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    """With tuples where JSON has lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


@cache
def description() -> dict[str, Any]:
    """The file's content."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def kinds_of(preset: str) -> dict[str, str]:
    """The kinds of task and model of a preset."""
    given, sections = leaves_of(preset), description()["sections"]
    return {section: str(given.get(section, next(iter(sections[section])))) for section in KINDS}


def check_kind(section: str, kind: str) -> None:
    """Refuses what is no kind of task or model.

    Raises:
        UserError: The message lists the kinds.
    """
    known = description()["sections"][section]
    if kind not in known:
        raise UserError(f"{section} must be one of {', '.join(known)}{nearest(kind, known)}; got {kind!r}")


def kinds_with(name: str) -> list[str]:
    """The kinds of task and model that have a leaf of this name.

    >>> kinds_with("attention_rate"), kinds_with("depth")
    (['transformer'], ['embedding_mlp', 'dense'])
    """
    sections = description()["sections"]
    return [k for s in KINDS for k, fields in sections[s].items() if any(f["name"] == name for f in fields)]


def config_leaves(preset: str, kinds: Mapping[str, str]) -> dict[str, Leaf]:
    """Every leaf of the config of a preset with these kinds of task and model, by name; defaults are its values."""
    said = _leaves(preset, kinds, description()["sections"])
    follows = description()["follows"][preset].get("/".join(kinds[section] for section in KINDS), {})
    return said | {name: said[name]._replace(default=value) for name, value in _tuples(follows).items()}


def _leaves(preset: str, kinds: Mapping[str, str], sections: Mapping[str, Any]) -> dict[str, Leaf]:
    """The same, as far as the preset and the defaults say."""
    found: dict[str, Leaf] = {}
    for section, fields in sections.items():
        found |= {f["name"]: leaf(f) for f in (fields[kinds[section]] if section in KINDS else fields)}
    given = leaves_of(preset)
    return {name: one._replace(default=given.get(name, one.default)) for name, one in found.items()}


def every_leaf(kinds: Mapping[str, str]) -> list[Leaf]:
    """The leaves of any config with these kinds of task and model, at their defaults; of unknown kinds none."""
    sections = description()["sections"].items()
    return [leaf(f) for name, part in sections for f in (part.get(kinds[name], ()) if name in KINDS else part)]


def said_leaves() -> list[Leaf]:
    """The leaves that a run's summary mentions, in order."""
    sections = description()["sections"]
    found = [leaf(f) for section, fields in sections.items() if section not in KINDS for f in fields]
    return [one for one in found if one.said]


def sampling_leaves() -> dict[str, Leaf]:
    """Every number and name that a sampling takes."""
    return {one.name: one for one in map(leaf, description()["sampling"])}


def _described(name: str, field: "FieldInfo") -> Leaf:
    """A field of a pydantic model."""
    from circuitgrok.interventions.base import Said

    kind, optional = field.annotation, False
    if type(None) in get_args(kind):
        [kind], optional = [one for one in get_args(kind) if one is not type(None)], True
    if get_origin(kind) in (Union, UnionType):  # a word of a list, or a name that only files give
        kind = get_args(kind)[0]
    many = get_origin(kind) is tuple
    words = get_args(get_args(kind)[0] if many else kind)
    default = None if field.is_required() else field.default
    named = "choices" if many else "choice" if words else kind.__name__  # pyright: ignore
    said = next((str(mark) for mark in field.metadata if isinstance(mark, Said)), "")
    choices = tuple(map(str, words))
    return Leaf(
        name, named, field.description or name, default, field.is_required(), optional, choices, said, _range(field)
    )


def _range(field: "FieldInfo") -> str:
    """The bounds of a pydantic field, in words; ceilings that only spare the machine are not told."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = {n: getattr(mark, n) for mark in field.metadata for n in signs if getattr(mark, n, None) is not None}
    bounds = {name: bound for name, bound in bounds.items() if bound < 10**6}
    return ", ".join(f"{signs[name]} {bounds[name]:g}" for name in signs if name in bounds)


def generated() -> dict[str, Any]:
    """What the file must hold."""
    from circuitgrok.config.leaves import KINDS as CLASSES
    from circuitgrok.config.leaves import leaf_fields
    from circuitgrok.landscape.exploration import JITTER
    from circuitgrok.landscape.sampling import Sampling
    from circuitgrok.table.checkpoints import KEY_FREQUENCY_RULES
    from circuitgrok.table.measure import names_of_groups

    sections: dict[str, Any] = {}
    for section, name, field in leaf_fields():
        if section in CLASSES:
            sections[section] = {
                kind: [_described(n, f).plain for n, f in part.model_fields.items() if n != "kind"]
                for kind, part in CLASSES[section].items()
            }
        else:
            sections.setdefault(section, []).append(_described(name, field).plain)
    return {
        "sections": sections,
        "follows": {preset: _follows(preset, sections) for preset in PRESETS},
        "sampling": [_described(name, field).plain for name, field in Sampling.model_fields.items()],
        "jitter": JITTER,
        "groups": list(names_of_groups()),
        "rules": list(KEY_FREQUENCY_RULES),
    }


def _follows(preset: str, sections: dict[str, Any]) -> dict[str, Any]:
    """By kinds of task and model: leaves of the preset with these kinds that neither it nor its defaults say."""
    from circuitgrok.config.train_config import TrainConfig

    found = {}
    for task in sections["task"]:
        for model in sections["model"]:
            try:
                config = TrainConfig.preset(preset).with_(task=task, model=model)
            except UserError:  # only with other flags beside
                continue
            said = _leaves(preset, {"task": task, "model": model}, sections)
            follows = {n: value for n, value in config.leaves().items() if value != said[n].default}
            found |= {f"{task}/{model}": follows} if follows else {}
    return found


def main() -> None:
    """Write the file anew."""
    FILE.write_text(json.dumps(generated(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
