"""The leaves of a config: every field by a name of its own, wherever it stands."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from circuitgrok.canonical import canonical_json
from circuitgrok.config.objects import intervention_leaves
from circuitgrok.config.sections import Init, Noise, Numerics, Objective, Optimizer, Schedule
from circuitgrok.config.upgrade import FIRST
from circuitgrok.errors import nearest
from circuitgrok.models.kinds import AnyModel
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.composition import Composition
from circuitgrok.tasks.images import Digits, Mnist
from circuitgrok.tasks.modular import ModularAddition
from circuitgrok.tasks.parity import SparseParity
from circuitgrok.tasks.teacher_student import TeacherStudent

AnyTask = ModularAddition | Composition | SparseParity | TeacherStudent | Digits | Mnist
KINDS: dict[str, dict[str, Any]] = {
    section: {kind.model_fields["kind"].default: kind for kind in get_args(union)}
    for section, union in (("task", AnyTask), ("model", AnyModel))
}
DEFAULT_KINDS: dict[str, Any] = {"task": ModularAddition, "model": Transformer}
# In the order of `--help`; None where only interventions have leaves.
SECTIONS: dict[str, Any] = DEFAULT_KINDS | {
    "init": Init,
    "objective": Objective,
    "optimizer": Optimizer,
    "batches": None,
    "penalties": None,
    "transforms": None,
    "constraint": None,
    "noise": Noise,
    "schedule": Schedule,
    "numerics": Numerics,
}


def leaf_fields(kinds: Mapping[str, Any] = DEFAULT_KINDS) -> Iterator[tuple[str, str, FieldInfo]]:
    """(section, leaf, pydantic field) of every leaf of a config, in order; `kind` tags are not leaves.

    Those of interventions stand in the section of their kind, at their values when off.

    Args:
        kinds: Classes of task and model.
    """
    of_interventions = intervention_leaves()
    for section, part in (SECTIONS | dict(kinds)).items():
        if part:
            yield from ((section, name, field) for name, field in part.model_fields.items() if name != "kind")
        yield from (leaf for leaf in of_interventions if leaf[0] == section)


def leaf_paths(kinds: Mapping[str, Any] = DEFAULT_KINDS) -> dict[str, list[str]]:
    """Leaf -> the sections it stands in, with these classes of task and model; none for one of interventions."""
    paths: dict[str, list[str]] = {name: [] for _, name, _ in intervention_leaves()}
    for section, part in (SECTIONS | dict(kinds)).items():
        for name in (name for name in part.model_fields if name != "kind") if part else ():
            paths.setdefault(name, []).append(section)
    return paths


LEAVES = leaf_paths()  # of the default kinds


def kinds_with(name: str) -> list[str]:
    """The kinds of task and model that have a leaf of this name.

    >>> kinds_with("attention_rate"), kinds_with("depth")
    (['transformer'], ['embedding_mlp', 'dense'])
    """
    named = [kind for kinds in KINDS.values() for kind, part in kinds.items() if name in part.model_fields]
    return [] if name == "kind" else named


def unknown(name: str, paths: Mapping[str, Any]) -> str:
    """What to say of a leaf that is not there."""
    if elsewhere := kinds_with(name):
        return f"field {name!r} belongs to {' and '.join(elsewhere)}, not to the kinds of task and model chosen here"
    return f"unknown field {name!r}{nearest(name, [*paths, *KINDS])}"


def hash_of(content: Mapping[str, Mapping[str, Any]]) -> str:
    """First 16 hex digits of the SHA-256 of a config's leaves by section, as plain values.

    Those of the first format are always in it, others where they are not at their defaults.
    """
    kinds = {section: KINDS[section][content[section]["kind"]] for section in KINDS}
    usual = {(section, name): field.default for section, name, field in leaf_fields(kinds)}
    kept = {}
    for section, part in content.items():
        first = FIRST.get(part.get("kind", section), frozenset())
        differing = {name: value for name, value in part.items() if _plain(usual.get((section, name))) != value}
        kept[section] = {name: value for name, value in part.items() if name in first or name in differing}
    return hashlib.sha256(canonical_json({name: part for name, part in kept.items() if part}).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value
