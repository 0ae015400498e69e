"""Courses: legs are one run cut in pieces."""

from tiny import tiny

from circuitgrok.study.asked import Asked
from circuitgrok.study.legs import course
from circuitgrok.study.question import train_missing
from circuitgrok.study.study import Study

KEPT = {"eval_every": 2, "keep_moments": True, "checkpoints_per_decade": 0, "checkpoint_on_move": 100.0}


def test_legs_are_the_run_that_was_not_interrupted_to_the_last_bit(tmp_path):
    given = Asked(quick=True, out=tmp_path, threads=1)
    [whole] = train_missing({"whole": tiny(steps=26, checkpoint_every=26, **KEPT)}, given).values()
    legs = [*train_missing({"leg0": tiny(steps=10, checkpoint_every=10, **KEPT)}, given).values()]
    for i in (1, 2):
        go_on = {"start": f"{legs[-1].path}@{legs[-1].steps[-1]}", "start_moments": True, "warmup": 0}
        legs += train_missing({f"leg{i}": tiny(steps=8, checkpoint_every=8, **KEPT, **go_on)}, given).values()
    found = course(*legs)
    assert found.history.index.tolist() == whole.history.index.tolist() == list(range(0, 27, 2))
    for column in ("train_loss", "test_loss", "norm"):
        assert found.history[column].tolist() == whole.history[column].tolist()
    assert found.state == "finished" and found.manifest == legs[0].manifest and found.config == legs[-1].config
    assert Study("Is it?", tiny(), {"a": {}}, seeds=[0]).table({"a-s0": found})["steps"].tolist() == [26]
