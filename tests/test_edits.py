"""Edits: JSON in and out, one canonical name for one part, and refusals that say what there is."""

import json

import pytest
from loops import for_each

from circuitgrok.errors import UserError
from circuitgrok.inspection.edits import Ablate, Move, Patch, Scale, edits_json, edits_of, edits_schema

EVERY = (
    Scale(factor=0.9, weights="attention"),
    Patch(source="other", weights="head 2"),
    Patch(what="radius", grain="part"),
    Move(t=0.25, path="great_circle"),
    Ablate(part="neuron 3,7", fill="mean"),
)


def test_json_out_and_in_gives_equal_edits():
    assert edits_of(edits_json(EVERY)) == EVERY
    assert edits_of(json.loads(edits_json(EVERY))) == EVERY
    assert edits_of(EVERY) == EVERY and edits_of(EVERY[0]) == EVERY[:1] and edits_of([]) == ()


def test_names_of_one_part_are_one_edit():
    one, other = Ablate(part="freq 8, 5"), Ablate(part="waves 5,8", fill="zero")
    assert one == other and edits_json([one]) == edits_json([other])
    assert hash(one) == hash(other)


def test_schema_names_every_kind_and_field():
    schema = edits_schema()
    kinds = {model["properties"]["kind"]["const"]: set(model["properties"]) for model in schema["$defs"].values()}
    assert kinds == {type(edit).model_fields["kind"].default: set(type(edit).model_fields) for edit in EVERY}


@for_each(
    ("given", "words"),
    [
        ({"kind": "cut"}, "scale, patch, move, ablate"),
        ({"kind": "scale"}, "factor"),
        ({"kind": "scale", "factor": float("nan")}, "finite"),
        ({"kind": "ablate", "part": "mlp", "fill": "uniform"}, "zero or mean"),
        ({"kind": "ablate", "part": "freq 5", "fill": "mean"}, "may stand zero"),
        ({"kind": "patch", "grain": "row"}, "neuron"),
        ({"kind": "move", "t": 1, "past": 2}, "past"),
        ("[", "JSON"),
        ('{"kind": "scale"}', "tuple|array"),
    ],
)
def test_what_is_no_edit_is_refused(given, words):
    with pytest.raises(UserError, match=words):
        edits_of(given)
