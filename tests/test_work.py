"""How far stacks are, from the files of their runs: the step of the run behind, and the time left."""

import pytest
from tiny import tiny

from circuitgrok.training import work
from circuitgrok.training.loop import How
from circuitgrok.training.work import Courses, task_of

PAIR = {"one": tiny(steps=100), "two": tiny(steps=100, seed=1)}
LINE = '{{"norm":3.0,"step":{},"test_acc":0.5,"test_loss":1.0,"train_acc":1.0,"train_loss":0.1,"seal":"0"}}\n'


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr(work.time, "monotonic", lambda: now[0])
    return now


def test_a_stack_is_where_its_run_behind_is_and_time_is_left_at_the_pace_so_far(tmp_path, clock):
    courses = Courses({0: task_of(PAIR, PAIR, How(str(tmp_path), 1, "cpu", False, False, 10.0))})
    assert courses.now([0]) == []  # nothing is there yet

    def seen(at, **steps):
        clock[0] = at
        for name, step in steps.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "history.jsonl").write_text(LINE.format(step))
        [line] = courses.now([0])
        return line

    first = seen(5.0, one=10, two=20)
    assert (first.label, first.step, first.steps, first.left_s) == ("2 runs", 10, 100, None)
    assert "test acc ≥ 0.95: 0/2" in first.text
    assert seen(15.0, one=20, two=20).left_s == pytest.approx(80.0)  # ten steps in ten seconds
    assert seen(500.0).left_s == pytest.approx(80.0)  # no news: the pace is as it was
    assert seen(515.0, one=60, two=70).left_s == pytest.approx(510 / 50 * 40)
    assert seen(520.0, one=30, two=30).left_s is None  # cut back to where it goes on
    assert seen(530.0, one=40, two=40).left_s == pytest.approx(60.0)


def test_what_cannot_be_read_has_no_line(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "history.jsonl").write_text("damaged\n")
    courses = Courses({0: task_of(PAIR, ["one"], How(str(tmp_path), 1, "cpu", False, False, 10.0))})
    assert courses.now([0]) == []
