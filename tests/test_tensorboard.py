"""TensorBoard as a listener: what it holds is the history, resuming leaves no line twice, and bits do not change."""

import sys

import pytest
import torch
from tiny import tiny, tiny_flags

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.faces import cli
from circuitgrok.training.progress import Silent, Together
from circuitgrok.training.tensorboard import TensorBoard

pytestmark = pytest.mark.filterwarnings("ignore")  # of tensorboard's own imports


def logged(folder) -> dict[str, dict[int, float]]:
    """Every scalar in a log, by its name and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: {event.step: event.value for event in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


def test_log_of_each_run_of_a_stack_is_its_history(tmp_path):
    configs = [tiny(), tiny(alpha=0.5)]
    runs = cg.train(configs, tmp_path, names=["one", "two"], progress=TensorBoard())
    bare = cg.train(configs, tmp_path / "bare", names=["one", "two"])
    for run, other in zip(runs, bare, strict=True):
        there = logged(run.path / "tensorboard")
        assert set(there) == set(run.history.columns)
        for column, values in there.items():
            assert list(values) == [int(step) for step in run.history.index]
            assert list(values.values()) == pytest.approx(run.history[column].tolist(), rel=1e-6)  # float32
        assert all(torch.equal(value, other.at(24)[name]) for name, value in run.at(24).items())


def test_command_logs_and_says_what_it_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["train", "nanda", *tiny_flags(), "--out", "mine", "--quiet", "--log", "tensorboard"]) == 0
    assert logged(tmp_path / "mine" / "tensorboard")["test_acc"]
    capsys.readouterr()
    assert cli.run(["sweep", "--alpha", "1", "2", "--workers", "2", "--log", "tensorboard"]) == 2
    assert "leave out --workers" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"needs the extra: pip install 'circuitgrok\[tensorboard\]'"):
        TensorBoard()


def test_listeners_are_all_told_everything():
    told: list[str] = []

    class Ear(Silent):
        def __init__(self, name: str) -> None:
            self.name = name

        def note(self, text: str) -> None:
            told.append(f"{self.name} {text}")

        def end(self) -> None:
            told.append(f"{self.name} end")

    both = Together(Ear("a"), Ear("b"))
    both.begin([], 0, 3)
    both.at(1, None)
    both.stacks([], 0, 1)
    both.note("x")
    both.end()
    assert told == ["a x", "b x", "a end", "b end"]
