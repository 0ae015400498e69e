"""Scores before and after edits: the general verb."""

import pytest
import torch

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.inspection.changed import in_words
from circuitgrok.inspection.edits import Move, Patch, edits_of


def test_no_edit_leaves_the_scores_of_the_network(finished):
    found = cg.edited(finished)
    logits = finished.config.model.logits(finished.at(finished.steps[-1]), finished.task.inputs)[:, :11]
    torch.testing.assert_close(found.logits, logits.double(), rtol=0, atol=1e-5 * logits.abs().max().item())
    assert found.before == found.after and repr(found).startswith("no edit: train loss ")


def test_edits_of_weights_come_before_ablations_whatever_their_order(finished):
    scale, ablate = {"kind": "scale", "factor": 1.5, "weights": "attention"}, {"kind": "ablate", "part": "head 0"}
    one, other = (cg.edited(finished, 8, edits) for edits in ([scale, ablate], [ablate, scale]))
    assert torch.equal(one.logits, other.logits)
    assert one.after != one.before == cg.edited(finished, 8).after


def test_sources_are_called_by_their_names(finished):
    edits = [{"kind": "patch", "source": "early"}, {"kind": "move", "source": "late", "t": 1.0}]
    for order, step in ((edits, 24), (edits[::-1], 0)):
        found = cg.edited(finished, 8, order, sources={"early": (finished, 0), "late": finished})
        assert found.after == cg.edited(finished, step).after
    with pytest.raises(UserError, match="there are none"):
        cg.edited(finished, 8, edits)


def test_scores_are_said_in_a_line(finished):
    found = cg.edited(finished, 8, {"kind": "ablate", "part": "freq 5"})
    assert (found.train_loss, found.test_loss, found.train_acc, found.test_acc) == found.after
    assert repr(found).startswith(
        f"waves 5, zero: train loss {found.before.train_loss:.4g} -> {found.train_loss:.4g}, "
    )
    assert "\n" not in repr(found)


def test_every_edit_has_words():
    said = [in_words(edit) for edit in (Move(t=0.5, source="late"), Patch(what="radius", weights="mlp"))]
    assert said == ["* 0.5 of the way to late", "radius of mlp of source"]
    assert [in_words(edit) for edit in edits_of([{"kind": "ablate", "part": "only freq 5"}])] == ["only waves 5, mean"]
