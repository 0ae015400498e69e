"""Edits: small frozen objects that say what is changed in a network, with JSON in and out.

Edits of weights are applied in their order. Ablations come after them, on one forward pass: what stands earlier in
the network is replaced first, so that what is behind it, means included, is that of the changed network.

    [{"kind": "scale", "factor": 1.1}, {"kind": "ablate", "part": "head 0", "fill": "mean"}]

Weights are chosen by a pattern (`select`): a role, a glob, a path, a head; and besides `head 2` and `neuron 3,7` of
the last block, `layer 0 head 2` of another. Other checkpoints have names, under which they are given beside the edits.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from circuitgrok.errors import UserError
from circuitgrok.inspection.part_names import FILLS, Fill, parse
from circuitgrok.select import Grain


class _Edit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Scale(_Edit):
    """Some weights times a number."""

    kind: Literal["scale"] = "scale"
    factor: float = Field(description="what the weights are multiplied by")
    weights: str = Field(default="*", description="which weights: a pattern; all by default")


class Patch(_Edit):
    """Some weights, or their radius or direction alone, from another checkpoint."""

    kind: Literal["patch"] = "patch"
    source: str = Field(default="source", description="name of the other checkpoint")
    weights: str = Field(default="*", description="which weights: a pattern; all by default")
    what: Literal["weights", "radius", "direction"] = Field(
        default="weights", description="what is taken from there: the weights, their norm, or their direction"
    )
    grain: Grain = Field(default="global", description="what one radius and direction are of (polar/transplants.py)")


class Move(_Edit):
    """Some weights a part of the way towards another checkpoint's.

    Straight, (1 - t) own + t other; or with the direction on the great circle between, and the norm between the norms.
    """

    kind: Literal["move"] = "move"
    source: str = Field(default="source", description="name of the other checkpoint")
    t: float = Field(description="share of the way: 0 stays, 1 arrives")
    path: Literal["straight", "great_circle"] = Field(default="straight", description="the way")
    weights: str = Field(default="*", description="which weights: a pattern; all by default")


class Ablate(_Edit):
    """Something else in the place of a part."""

    kind: Literal["ablate"] = "ablate"
    part: str = Field(description="which part (inspection/part_names.py), such as head 0, neuron 12,40, freq 5, mlp")
    fill: Fill | None = Field(default=None, description="what stands in its place; by default the part's usual one")

    @model_validator(mode="after")
    def _fill_fits(self) -> "Ablate":
        part = parse(self.part)
        fills = FILLS[part.what]
        if self.fill is not None and self.fill not in fills:
            raise ValueError(f"in the place of {part} may stand {' or '.join(fills)}; got {self.fill!r}")
        # A frozen object's own validator writes the canonical name, so that equal edits have equal JSON.
        object.__setattr__(self, "part", str(part))
        object.__setattr__(self, "fill", self.fill or fills[0])
        return self


Edit = Annotated[Scale | Patch | Move | Ablate, Field(discriminator="kind")]
_EDITS: TypeAdapter[tuple[Edit, ...]] = TypeAdapter(tuple[Edit, ...])
KINDS = tuple(get_args(model.model_fields["kind"].annotation)[0] for model in (Scale, Patch, Move, Ablate))


def edits_of(given: Any) -> tuple[Edit, ...]:
    """Edits from objects, from plain values with their `kind`, or from JSON text; one or several.

    Raises:
        UserError: One is of no known kind, or has a value that is none of its own.

    Example:
        >>> edits_of('[{"kind": "ablate", "part": "freq 5"}]')
        (Ablate(kind='ablate', part='waves 5', fill='zero'),)
        >>> edits_of(Scale(factor=2))
        (Scale(kind='scale', factor=2.0, weights='*'),)
    """
    single = isinstance(given, (_Edit, dict))
    try:
        if isinstance(given, (str, bytes)):
            return _EDITS.validate_json(given)
        return _EDITS.validate_python(tuple([given] if single else given))
    except ValidationError as error:
        raise UserError("; ".join(map(_wrong, error.errors()))) from None


def _wrong(error: Any) -> str:
    """What is wrong with a value, by its place."""
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return said
    return f"edits are objects whose kind is one of {', '.join(KINDS)}; {'.'.join(map(str, error['loc']))}: {said}"


def edits_json(edits: Iterable[Edit]) -> str:
    """The JSON text of edits, which `edits_of` reads.

    >>> edits_json([Scale(factor=2)])
    '[{"kind":"scale","factor":2.0,"weights":"*"}]'
    """
    return _EDITS.dump_json(tuple(edits)).decode()


def edits_schema() -> dict[str, Any]:
    """The JSON schema of a list of edits.

    >>> sorted(edits_schema()["$defs"])
    ['Ablate', 'Move', 'Patch', 'Scale']
    """
    return _EDITS.json_schema()
