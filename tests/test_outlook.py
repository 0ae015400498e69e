"""What training would do, held against what it then does: stacks, runs, bytes; and nothing is written."""

import json

import pytest
import torch
from test_size import LONGEST, SHORTEST
from tiny import files_of, tiny, tiny_flags

from circuitgrok.errors import Interrupted, RunError, UserError
from circuitgrok.faces.ahead import outlook_lines, stack_rows
from circuitgrok.faces.cli import run as call
from circuitgrok.store.locking import locked
from circuitgrok.store.size import OTHER_FILES, run_bytes
from circuitgrok.study.sweep import planned
from circuitgrok.training import outlook as module
from circuitgrok.training.loop import Silent, train
from circuitgrok.training.outlook import Outlook, StackAhead, outlook
from circuitgrok.training.slurm import slurm

FOUR = {f"{width}-{seed}": tiny(d_mlp=width, seed=seed) for width in (8, 9) for seed in range(2)}


def ahead_of(out, configs=FOUR, **how) -> Outlook:
    return outlook(list(configs.values()), out, names=list(configs), **how)


def test_what_is_said_is_what_is_trained(tmp_path):
    groups = []

    class Watching(Silent):
        def begin(self, runs, start, steps):
            groups.append(([run.name for run in runs], start, steps))

    said = ahead_of(tmp_path)
    train(list(FOUR.values()), tmp_path, names=list(FOUR), progress=Watching())
    assert [(stack.names, stack.start, stack.steps) for stack in said.stacks] == groups
    assert said.missing == list(FOUR) and said.begun == said.held == said.finished == [] and said.there == 0
    done = ahead_of(tmp_path)
    assert done.stacks == [] and done.finished == list(FOUR) and done.bytes == 0 and done.seconds == 0


def test_bytes_are_those_of_the_files_but_for_the_digits_of_their_numbers(tmp_path):
    """A number of a record has between SHORTEST and LONGEST characters; the other files, OTHER_FILES at most a run."""
    said = ahead_of(tmp_path)
    runs = train(list(FOUR.values()), tmp_path, names=list(FOUR), save_every_s=0.0)  # two resume points
    numbers = sum(len(line) for run in runs for name in ("history", "updates") for line in run.records(f"{name}.jsonl"))
    of_run = {run.name: files_of(run.path) for run in runs}
    resume = sum(len(content) for files in of_run.values() for name, content in files.items() if "resume" in name)
    found = sum(len(content) for files in of_run.values() for content in files.values()) - resume
    at_most = sum(run_bytes(config).resume for config in FOUR.values())  # this part is a bound
    assert abs(said.bytes - at_most - found) <= numbers * (LONGEST - SHORTEST) + len(FOUR) * OTHER_FILES
    assert resume <= at_most < 2 * resume


def test_nothing_is_written_and_nobodys_random_numbers_move(tmp_path):
    before = torch.get_rng_state()
    with torch.inference_mode():
        ahead_of(tmp_path / "runs" / "deeper")
    assert list(tmp_path.iterdir()) == [] and torch.equal(before, torch.get_rng_state())


def test_runs_that_are_held_begun_or_finished_are_told_apart(tmp_path):
    class Stop(Silent):
        def at(self, step, records):
            if step == 10:
                raise Interrupted

    train([FOUR["8-0"]], tmp_path, names=["8-0"])
    with pytest.raises(Interrupted):
        train([FOUR["8-1"]], tmp_path, names=["8-1"], progress=Stop(), save_every_s=0.0)
    with locked(tmp_path / "9-0"):
        found = ahead_of(tmp_path)
    assert (found.finished, found.begun, found.held, found.missing) == (["8-0"], ["8-1"], ["9-0"], ["9-1"])
    [begun, missing] = found.stacks
    assert begun.names == ["8-1"] and 0 < begun.start <= 10 and missing.start == 0
    assert 0 < found.there == sum(map(len, files_of(tmp_path / "8-1").values()))
    assert (
        outlook_lines(found)[0]
        == "runs   1 finished, 1 trained by somebody else, 1 begun, 1 missing; 2 stacks to train"
    )


def test_what_training_refuses_is_refused(tmp_path):
    train([FOUR["8-0"].with_(lr=0.5)], tmp_path, names=["8-0"])
    with pytest.raises(RunError, match="holds a different run"):
        ahead_of(tmp_path)
    with pytest.raises(UserError, match="a CPU has no number"):
        ahead_of(tmp_path / "other", device="cpu:0")


def test_workers_and_jobs_get_the_stacks_that_they_would_get(tmp_path):
    many = {f"{seed}": tiny(seed=seed) for seed in range(6)}
    assert [len(stack.names) for stack in ahead_of(tmp_path, many, workers=2).stacks] == [3, 3]
    found = ahead_of(tmp_path, many, executor=slurm("time=1,stacks=3,at_once=1"))
    assert [len(stack.names) for stack in found.stacks] == [2, 2, 2]
    assert found.seconds == pytest.approx(sum(stack.seconds for stack in found.stacks))  # one after the other


def test_time_is_that_of_the_parts_times_how_often_they_come(tmp_path, monkeypatch):
    """24 steps; evaluations at 0, 4, … 24 and at the checkpoints between, 1, 2, 5, 10 and 22; nine checkpoints."""
    costs = module._Costs(step=1.0, evaluation=100.0, checkpoint=10_000.0, history_line=0, updates_line=0)
    monkeypatch.setattr(module, "_measure", lambda *_: costs)
    [stack] = ahead_of(tmp_path, {"one": tiny()}).stacks
    assert sorted(tiny().schedule.checkpoint_steps()) == [0, 1, 2, 5, 8, 10, 16, 22, 24]
    assert stack.seconds == 24 + 100 * (7 + 5) + 10_000 * 9


def test_a_time_is_measured_and_longer_runs_take_longer(tmp_path):
    short, long = (ahead_of(tmp_path, {"one": tiny(steps=steps)}).stacks[0] for steps in (24, 24_000))
    assert 0 < short.seconds < long.seconds


def test_a_sweep_has_an_outlook_too(tmp_path):
    sweep = planned(tiny(), {"alpha": [0.5, 1]}, seeds=range(2), out=tmp_path / "scan")
    assert sweep.outlook().missing == sweep.missing and not (tmp_path / "scan").exists()


def test_words(tmp_path):
    stack = StackAhead(["a", "b", "c"], "a transformer", 10, 24, 7200.0, 5_000_000)
    found = Outlook([stack], [], [], ["a"], ["b", "c"], 7200.0, 1_000_000, 3_000_000)
    assert stack_rows(found) == [("a, b, … 1 more", "3", "a transformer", "10–24", "2.0 h", "5.0 MB")]
    lines = outlook_lines(found, workers=1000, threads=1)
    assert lines[0] == "runs   1 begun, 2 missing; 1 stack to train"
    assert "about 2.0 h by 1000 workers, longer on the" in lines[1]
    assert lines[2].startswith("disk   4.0 MB more") and lines[2].endswith("3.0 MB are free, which is TOO LITTLE")
    assert "by workers of Slurm, if they are free, and as fast" in outlook_lines(found, elsewhere="Slurm")[1]


@pytest.mark.parametrize("command", [["train", "nanda"], ["sweep", "--preset", "nanda", "--seed", "0", "1"]])
def test_the_command_line_says_it_and_writes_nothing(tmp_path, capsys, command):
    argv = [*command, *tiny_flags(), "--out", str(tmp_path / "runs"), "--dry-run"]
    assert call(argv) == 0
    said = capsys.readouterr().out
    assert "missing; 1 stack to train" in said and "time   about" in said and "disk   " in said
    assert said.endswith("nothing was written\n") and not (tmp_path / "runs").exists()
    assert call(argv[:-1]) == 0
    capsys.readouterr()
    before = {name: content for name, content in files_of(tmp_path).items() if name != "sweep.csv"}
    assert call(argv) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("finished; 0 stacks to train")
    assert json.dumps(sorted(before)) == json.dumps(sorted(name for name in files_of(tmp_path) if name != "sweep.csv"))
