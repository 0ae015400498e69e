"""Interventions of a config: from plain values and from flat leaves to objects, one of each kind, in one order."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from circuitgrok.config.explain import explain
from circuitgrok.errors import UserError, nearest
from circuitgrok.interventions import (
    batch_noise,
    batches,
    constraints,
    dropout_parts,
    fixed_norm,
    gradients,
    limits,
    logits,
    noise,
    penalties,
)
from circuitgrok.interventions.base import KINDS, Intervention

# Imported, so that `KINDS` holds theirs.
_BUILT_IN = (batch_noise, batches, constraints, dropout_parts, fixed_norm, gradients, limits, logits, noise, penalties)
_ORDER = ("objective", "batches", "penalties", "transforms", "constraint", "noise")


def in_order(kinds: Iterable[str]) -> list[str]:
    """Kinds in the order in which a config has them: by section, and in each as they were defined."""
    place = {kind: i for i, kind in enumerate(KINDS)}
    return sorted(kinds, key=lambda kind: (_ORDER.index(KINDS[kind].section), place[kind]))


def intervention_leaves() -> list[tuple[str, str, FieldInfo]]:
    """(section, name, field) of every leaf of every kind, in order; a name that several kinds have, once."""
    found: dict[str, tuple[str, str, FieldInfo]] = {}
    for kind in in_order(KINDS):
        for name, field in KINDS[kind].leaves().items():
            found.setdefault(name, (KINDS[kind].section, name, field))
    return list(found.values())


def owners() -> dict[str, list[str]]:
    """Leaf -> the kinds of intervention that have it.

    >>> owners()["norm_grain"]
    ['norm_cap', 'fixed_norm']
    """
    found: dict[str, list[str]] = {}
    for kind in in_order(KINDS):
        for name in KINDS[kind].leaves():
            found.setdefault(name, []).append(kind)
    return found


def of_kinds(given: Any) -> tuple[Intervention, ...]:
    """Objects, or plain values with their `kind`, as a config has them.

    Raises:
        ValueError: A kind is unknown or there twice, a value is out of range, or fields of one name differ.
    """
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"interventions must be a list, an object each; got {given!r}")
    found = {}
    for one in map(_object, given):
        if one.kind in found:
            raise ValueError(f"interventions must be of different kinds; got {one.kind} twice")
        found[one.kind] = one
    seen: dict[str, Any] = {}
    for one in found.values():
        for name in type(one).model_fields:
            value = getattr(one, name)
            if seen.setdefault(name, value) != value:
                raise ValueError(f"{name} is one number for all that have it; got {seen[name]!r} and {value!r}")
    return tuple(found[kind] for kind in in_order(found))


def _object(given: Any) -> Intervention:
    """An intervention from plain values."""
    if isinstance(given, Intervention):
        return given
    kind = given.get("kind") if isinstance(given, Mapping) else None
    if kind not in KINDS:
        raise ValueError(
            f"unknown kind of intervention {kind!r}{nearest(str(kind), KINDS)}; one of your own must be imported first"
        )
    try:
        return KINDS[kind].model_validate({name: value for name, value in given.items() if name != "kind"})
    except ValidationError as error:
        raise ValueError("; ".join(explain(error, KINDS[kind].model_fields))) from None


def changed(there: Iterable[Intervention], leaves: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Plain values of the interventions of a config in which some leaves change.

    One comes if the leaf named as its kind is set to something, goes if that is set to its value when off, and else
    keeps what is not given. A leaf of what is not there may only have its default.

    Raises:
        UserError: A leaf would change nothing, because what has it is off.
    """
    before = {one.kind: one for one in there}
    found: dict[str, dict[str, Any]] = {}
    for kind in in_order(KINDS):
        cls, one = KINDS[kind], before.get(kind)
        value = leaves.get(kind, cls.off if one is None else one.switch)
        if kind not in cls.model_fields and not isinstance(value, bool):
            raise UserError(f"{kind}: must be true or false; got {value!r}")
        if value == cls.off:
            continue
        kept = {} if one is None else {name: getattr(one, name) for name in cls.model_fields}
        fields = kept | {name: leaves[name] for name in cls.model_fields if name in leaves}
        found[kind] = {"kind": kind} | {n: v for n, v in fields.items() if n == kind or _says(v, cls.model_fields[n])}
    for name, kinds in owners().items():
        idle = name in leaves and not any(kind in found for kind in kinds)
        if idle and leaves[name] != KINDS[kinds[0]].leaves()[name].default:
            raise UserError(
                f"{name} is of {' or '.join(kinds)}, which is off: set {kinds[-1]} too; got {name} = {leaves[name]!r}"
            )
    return list(found.values())


def _says(value: Any, field: FieldInfo) -> bool:
    """Whether it is a value: none is, where a field may be none."""
    return value is not None or not field.is_required()
