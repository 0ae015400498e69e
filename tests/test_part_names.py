"""Names of parts: one grammar, its everyday words, and what is refused."""

import pytest
from loops import for_each

from circuitgrok.errors import UserError
from circuitgrok.inspection.part_names import COUNTED, FILLS, Part, parse


@for_each(
    ("text", "part"),
    [
        ("head 0", Part("head", (0,))),
        ("  head   3 ", Part("head", (3,))),
        ("layer 1 head 2", Part("head", (2,), 1)),
        ("layer 1", Part("layer", (), 1)),
        ("neuron 12,40, 7", Part("neuron", (7, 12, 40))),
        ("freq 5", Part("waves", (5,))),
        ("waves 5, 5,2", Part("waves", (2, 5))),
        ("only freq 5,7", Part("only waves", (5, 7))),
        ("no cluster 3", Part("no cluster", (3,))),
        ("skip", Part("skip")),
        ("layer 0 mlp", Part("mlp", (), 0)),
        ("restricted 5", Part("restricted", (5,))),
    ],
)
def test_name_means_a_part(text, part):
    assert parse(text) == part


@for_each("what", FILLS)
def test_a_parts_own_name_means_it_again(what):
    part = Part(what, (1,) if what in COUNTED else (), 2 if what == "layer" else None)
    assert parse(str(part)) == part


@for_each(
    "text",
    ["", "hed 0", "head", "head 0,1", "mlp 3", "waves", "layer", "layer x", "layer 0 waves 3", "layer 0 5", "head -1",
     "head 1.5", "5", "only 5", "Head 0"],
)  # fmt: skip
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UserError, match="part"):
        parse(text)


def test_a_refusal_says_the_nearest_and_all_that_there_are():
    with pytest.raises(UserError, match="did you mean 'head 0'.*pattern, head 0, attention.*restricted 0, layer 0"):
        parse("hed 0")
