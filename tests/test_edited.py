"""Weights edited by hand: they come back as they were given, and what has no source is refused."""

import pytest
from tiny import tiny

import circuitgrok as cg
from circuitgrok.errors import RunError
from circuitgrok.foreign.edited import write_edited


def test_edited_weights_are_kept_with_where_they_come_from_and_refused_in_the_place_of_others(tmp_path):
    run, other = cg.train([tiny(steps=4), tiny(steps=4, seed=5)], tmp_path, names=["mine", "other"])
    halved = {name: value / 2 for name, value in run.at(4).items()}
    start = write_edited(run, 4, halved, tmp_path / "half", "halved")
    assert start == f"{tmp_path / 'half'}@4" == write_edited(run, 4, halved, tmp_path / "half", "halved")
    kept = cg.load(tmp_path / "half")
    assert all((kept.at(4)[name] == value).all() for name, value in halved.items())
    source = kept.manifest["environment"]["imported"]
    assert source["file"] == "mine@4" and source["sha256"] == run.index[4] and source["notes"] == ["halved"]
    with pytest.raises(RunError, match="holds another run"):
        write_edited(other, 4, other.at(4), tmp_path / "half", "halved")
    with pytest.raises(RunError):
        write_edited(run, 3, halved, tmp_path / "third", "halved")
