"""Verbs on a checkpoint: against the table of measures, against the general form, and their refusals."""

import math
from typing import Any

import pytest
import torch
from loops import for_each
from tiny_kinds import LEAVES, tiny_kind

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.inspection.edits import edits_of
from circuitgrok.inspection.replaced import replaced
from circuitgrok.training.loop import train

RUN = cg.load("checkpoints/reference")


def test_parts_have_the_numbers_of_the_table():
    table = cg.measure(RUN, ["ablations"], steps=[1000, 4000])
    losses = [name[5:-8] for name in map(str, table) if name.startswith("loss[") and name.endswith(", train]")]
    compared: list[Any] = [name.rpartition(", ") for name in losses if not name.startswith("random")]
    assert len(compared) == 30
    for step in table.index:
        for part, _, fill in compared:
            found = cg.ablate(RUN, step, part, fill=fill)
            for side in ("train", "test"):
                # Float32 on both sides, in another order of sums: to its rounding of logits of some tens.
                assert getattr(found, f"{side}_loss") == pytest.approx(
                    table.loc[step, f"loss[{part}, {fill}, {side}]"], rel=1e-4, abs=1e-5
                )


def test_frequencies_at_the_logits_have_the_numbers_of_the_table():
    table = cg.measure(RUN, ["circuits"], steps=4000).loc[4000]
    for part in ("excluded", "restricted"):
        loss = cg.ablate(RUN, 4000, f"{part} 5,6,9").train_loss
        assert loss == pytest.approx(table[f"{part}_loss[train]"], rel=1e-4)


# What comes later finds the earlier one done: a neuron that is its mean varies no more, and is in no cluster.
IN_TURN = [
    [{"kind": "ablate", "part": "neuron 207", "fill": "mean"}, {"kind": "ablate", "part": "cluster 5"}],
    [{"kind": "ablate", "part": "cluster 5"}, {"kind": "ablate", "part": "no cluster 6", "fill": "mean"}],
    [{"kind": "ablate", "part": "waves 5"}, {"kind": "ablate", "part": "only waves 5,6"}],
    [{"kind": "ablate", "part": "waves 9"}, {"kind": "ablate", "part": "mlp", "fill": "mean"}],
]


@for_each("edits", IN_TURN)
def test_parts_are_replaced_in_one_order_whatever_that_of_the_list(edits):
    both = cg.edited(RUN, 4000, edits)
    assert torch.equal(both.logits, cg.edited(RUN, 4000, edits[::-1]).logits)
    assert both.after != cg.edited(RUN, 4000, edits[1]).after or edits[1]["part"] == "mlp"


def test_a_neuron_at_its_mean_is_in_no_cluster():
    assert cg.neurons(RUN, 4000).cluster[207] == 5
    block = replaced(RUN.config.model, RUN.at(4000), RUN.task, edits_of(IN_TURN[0]))  # pyright: ignore
    mean = replaced(RUN.config.model, RUN.at(4000), RUN.task).neurons[:, 207].mean()
    assert mean > 0 and torch.equal(block.neurons[:, 207], mean.expand(len(block.neurons)))


def test_a_list_of_parts_is_a_table_and_an_empty_one_has_all():
    table = cg.ablate(RUN, 4000, ["head 0", "freq 5"], fill="zero")
    assert list(table.index) == ["", "head 0", "freq 5"] and table.index.name == "part"
    assert tuple(table.loc["freq 5"]) == cg.ablate(RUN, 4000, "waves 5").after
    assert tuple(table.loc[""]) == cg.edited(RUN, 4000).before
    assert list(cg.ablate(RUN, 4000).index) == ["", *cg.parts(RUN)]


def test_a_patch_of_everything_is_the_source():
    assert cg.patch(RUN, 4000, source=(RUN, 500)).after == cg.edited(RUN, 500).after
    assert cg.patch(RUN, 4000, source=(RUN, 500), part="head 2").after not in (
        cg.edited(RUN, 500).after,
        cg.edited(RUN, 4000).after,
    )


def test_radius_and_direction_together_are_the_source():
    early, late = (RUN, 500), (RUN, 4000)
    one, other = cg.patch(*late, source=early, part="radius"), cg.patch(*early, source=late, part="direction")
    # Both are the late direction at the early radius; weights agree to a rounding of float32.
    assert one.test_loss == pytest.approx(other.test_loss, rel=1e-4)


def test_radii_are_scaled_and_said():
    table = cg.radial(RUN, 4000, [0.5, 1.0, 1.1])
    assert table.norm.tolist() == pytest.approx([factor * table.norm.tolist()[1] for factor in (0.5, 1.0, 1.1)])
    scores = table.drop(columns="norm")
    assert tuple(scores.loc[1.0]) == cg.edited(RUN, 4000).after
    assert tuple(scores.loc[1.1]) == cg.edited(RUN, 4000, {"kind": "scale", "factor": 1.1}).after
    silent = cg.radial(RUN, 4000, [0.0], part="unembed")
    assert silent.train_loss.item() == pytest.approx(math.log(29), rel=1e-12)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    names = [name for name in LEAVES if name != "teacher"]
    out = tmp_path_factory.mktemp("kinds")
    return {name: train([tiny_kind(name)], out, names=[name])[0] for name in names}


def test_every_kind_of_network_has_its_parts_and_verbs(kinds):
    for name, run in kinds.items():
        table = cg.ablate(run)
        assert list(table.index) == ["", *cg.parts(run)], name
        assert cg.patch(run, 0, source=run).after == cg.edited(run).after, name
        assert cg.ablate(run, part="neuron 0,3").before == cg.edited(run).before, name
        assert len(cg.radial(run)) == 5, name


@for_each(
    ("part", "words"),
    [("hed 0", "did you mean 'head 0'"), ("head 7", "there are 4 heads"), ("freq 15", "in 1..14")],
)
def test_what_is_no_part_of_the_run_is_refused(part, words):
    with pytest.raises(UserError, match=words):
        cg.ablate(RUN, 4000, part)


def test_names_of_key_frequencies_need_some(kinds):
    with pytest.raises(UserError, match="no part 'key waves'"):
        cg.ablate(kinds["digits"], part="key waves")
