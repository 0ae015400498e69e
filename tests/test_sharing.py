"""Stacks in several processes: the files of one process, whoever dies, is told to stop, or trains beside."""

import errno
import fcntl
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from tiny import bits_of, json_lines, tiny

from circuitgrok.errors import Interrupted, RunError
from circuitgrok.faces.cli import run as call
from circuitgrok.store.locking import locked
from circuitgrok.store.run import Run
from circuitgrok.training import sharing
from circuitgrok.training import work as working
from circuitgrok.training.loop import How, Silent, stacks, train
from circuitgrok.training.stopping import Stop
from circuitgrok.training.work import Worked, task_of, work

LEAVES = {"p": 7, "d_mlp": 8, "steps": 400, "eval_every": 20, "checkpoint_every": 100, "checkpoints_per_decade": 0}
CONFIGS = {f"{width}-{seed}": tiny(**LEAVES | {"d_mlp": width}, seed=seed) for width in (8, 9) for seed in range(2)}
BASE = ["--d-model", "8", "--n-heads", "2", "--d-head", "4", "--frac-train", "0.5"]
SLOW = {name: config.with_(steps=3000, checkpoint_every=1500) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same runs, trained in one process."""
    return trained(CONFIGS, tmp_path_factory.mktemp("alone"))


def trained(configs, out, **how) -> list[Run]:
    """On a busy machine a run takes long enough for a resume point half-way, unless there is none."""
    return train(list(configs.values()), out, names=list(configs), **{"save_every_s": math.inf, **how})


def same_files(runs, others) -> bool:
    return all(bits_of(one.path) == bits_of(other.path) for one, other in zip(runs, others, strict=True))


class Meddling(Silent):
    """Does something once, when the stacks are at work."""

    def __init__(self, what) -> None:
        self.what, self.done, self.notes, self.seen = what, False, [], []

    def note(self, text) -> None:
        self.notes.append(text)

    def stacks(self, now, done, of) -> None:
        self.seen.append((done, of))
        if now and not self.done:
            self.done = True
            self.what()


class Inline(Executor):
    """Somebody's executor: each task at once, in this process."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def kill_one(number):
    """Send a signal to the oldest worker."""
    os.kill(min(child.pid for child in multiprocessing.active_children() if child.pid), number)


# What is shared out


def test_stacks_are_split_so_that_every_worker_has_work():
    alike = {f"{seed}": tiny(seed=seed) for seed in range(7)}
    assert [len(stack) for stack in stacks(alike)] == [7]
    assert [len(stack) for stack in stacks(alike, parts=3)] == [3, 3, 1]
    assert [len(stack) for stack in stacks(alike | {"other": tiny(d_mlp=9)}, parts=2)] == [4, 3, 1]


def test_a_task_is_plain_values_that_a_worker_understands(tmp_path, alone):
    task = task_of(CONFIGS, CONFIGS, How(str(tmp_path), 1, "cpu", False, False, math.inf))
    assert work(task) == Worked([])
    assert same_files([Run(tmp_path / name) for name in CONFIGS], alone)


def test_any_executor_may_run_the_stacks(tmp_path, alone):
    watching = Meddling(lambda: None)
    assert same_files(trained(CONFIGS, tmp_path, executor=Inline(), progress=watching), alone)
    assert watching.seen[-1] == (2, 2)
    assert not list(tmp_path.glob(".going*"))


# Pools of our own


def where_i_compute(task) -> Worked:
    """In place of the work: what this process of the pool would compute on; slow enough for the other to take one."""
    time.sleep(0.5)
    return Worked([f"{task} {sharing._own['device']} {os.getpid()}"])


def test_each_process_of_a_pool_has_a_device_of_its_own_and_keeps_it():
    with sharing._pool(["cuda:0", "cuda:1"]) as pool:
        said = [note.split() for one in pool.map(where_i_compute, range(6)) for note in one.notes]
    assert {device for _, device, _ in said} == {"cuda:0", "cuda:1"}
    assert len({(device, pid) for _, device, pid in said}) == 2


def test_a_task_in_a_pool_is_trained_on_the_device_of_its_process(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(sharing, "_own", {"device": "cuda:1"})
    monkeypatch.setattr(sharing, "work", lambda task: seen.append(task.how.device) or Worked([]))
    sharing.work_in_pool(task_of(CONFIGS, CONFIGS, How(str(tmp_path), 1, "auto", False, False, 10.0)))
    assert seen == ["cuda:1"]


@pytest.mark.bits
def test_two_workers_write_what_one_process_writes_and_again_is_nothing_to_do(tmp_path, alone):
    runs = trained(CONFIGS, tmp_path, workers=2)
    assert [run.name for run in runs] == list(CONFIGS) and same_files(runs, alone)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.jsonl")}
    trained(CONFIGS, tmp_path, workers=2)
    assert before == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.jsonl")}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
@pytest.mark.slow
def test_what_a_worker_loses_the_next_one_goes_on_with(tmp_path, number):
    watching = Meddling(lambda: kill_one(number))
    runs = trained(SLOW, tmp_path / "shared", workers=2, progress=watching, save_every_s=0.2)
    assert watching.done and all(run.state == "finished" for run in runs)
    events = [[event["event"] for event in json_lines(run.path / "events.jsonl")] for run in runs]
    assert any("resumed" in found or found.count("begun") > 1 for found in events)
    for run, other in zip(runs, trained(SLOW, tmp_path / "alone"), strict=True):
        assert all((run.at(step)[name] == value).all() for step in run.steps for name, value in other.at(step).items())


@pytest.mark.slow
def test_a_signal_stops_every_worker_with_everything_saved_and_the_same_call_goes_on(tmp_path):
    watching = Meddling(lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="stopped by SIGTERM; everything is saved"):
        trained(SLOW, tmp_path / "shared", workers=2, progress=watching)
    assert not list((tmp_path / "shared").glob(".going*")) and not multiprocessing.active_children()
    begun = [Run(config.parent) for config in (tmp_path / "shared").glob("*/config.json")]
    assert begun and {run.state for run in begun} <= {"interrupted", "new"}
    runs = trained(SLOW, tmp_path / "shared", workers=2)
    for run, other in zip(runs, trained(SLOW, tmp_path / "alone"), strict=True):
        assert all((run.at(3000)[name] == value).all() for name, value in other.at(3000).items())


def test_a_worker_that_dies_every_time_ends_the_call_with_a_reason(tmp_path, monkeypatch):
    class Deadly(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.set_exception(BrokenProcessPool("a process in the process pool was terminated abruptly"))
            return future

    with pytest.raises(RunError, match="a worker died 3 times while it trained 8-0, 8-1: out of memory"):
        trained(CONFIGS, tmp_path, executor=Deadly())
    monkeypatch.setattr(working, "TRIES", 1)
    with pytest.raises(RunError, match="a worker died 1 times"):
        trained(CONFIGS, tmp_path, executor=Deadly())


def test_what_a_worker_refuses_is_refused_here(tmp_path):
    trained({"8-0": CONFIGS["8-0"].with_(lr=0.5)}, tmp_path)
    with pytest.raises(RunError, match="holds a different run"):  # before any work
        trained(CONFIGS, tmp_path, executor=Inline())
    assert not (tmp_path / "9-0").exists()
    with pytest.raises(ValueError, match="workers must be at least 1; got 0"):
        trained(CONFIGS, tmp_path, workers=0)


# Beside others


@pytest.mark.parametrize("how", [{}, {"executor": Inline()}], ids=["here", "shared"])
def test_a_run_that_somebody_trains_is_refused_or_left_to_them(tmp_path, how):
    watching = Meddling(lambda: None)
    with locked(tmp_path / "8-1"):
        with pytest.raises(RunError, match="8-1 is being trained by process"):
            trained(CONFIGS, tmp_path, **how)
        runs = trained(CONFIGS, tmp_path, skip_held=True, progress=watching, **how)
    assert [note for note in watching.notes if note.startswith("left out: ") and "8-1 is being trained by" in note]
    assert {run.name: (run.path / "config.json").exists() for run in runs} == dict.fromkeys(CONFIGS, True) | {
        "8-1": False
    }
    assert all(run.state == "finished" for run in runs if run.name != "8-1")


TWICE = """
import sys
sys.path.insert(0, sys.argv[1])
from test_sharing import SLOW, trained
trained(SLOW, sys.argv[2], skip_held=True)
"""


@pytest.mark.slow
def test_two_sweeps_on_one_folder_share_the_runs(tmp_path):
    here = str(Path(__file__).parent)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", TWICE, here, str(tmp_path)]
    both = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(one.communicate()[1][-500:], one.returncode) for one in both] == [("", 0)] * 2
    for name in SLOW:
        events = [event["event"] for event in json_lines(tmp_path / name / "events.jsonl")]
        assert Run(tmp_path / name).state == "finished" and events == ["begun", "finished"]


def test_where_locks_do_not_work_nothing_is_trained(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(RunError, match=r"locks do not work on this file system \(No locks available\)"):
        trained(CONFIGS, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


# Asked to stop


def test_a_file_that_is_gone_asks_to_stop_and_is_looked_for_now_and_then(tmp_path, monkeypatch):
    (tmp_path / "going").touch()
    stop = Stop(tmp_path / "going")
    assert not stop
    (tmp_path / "going").unlink()
    assert not stop  # looked just before
    monkeypatch.setattr("circuitgrok.training.stopping.LOOK_EVERY_S", 0.0)
    assert stop and stop.by == "a stop of the whole sweep"
    assert not Stop()


def test_the_same_signal_twice_stops_at_once_and_two_kinds_are_one_wish():
    stop = Stop()
    stop(signal.SIGUSR2, None)
    stop(signal.SIGTERM, None)
    assert stop.by == "SIGUSR2"
    with pytest.raises(KeyboardInterrupt, match="at once"):
        stop(signal.SIGUSR2, None)


def test_a_worker_stops_when_the_file_goes_with_everything_saved_and_begins_nothing_without_it(tmp_path):
    going = tmp_path / "going"
    going.touch()
    task = task_of(SLOW, SLOW, How(str(tmp_path), 1, "cpu", False, False, 10.0), str(going))
    threading.Timer(1.5, going.unlink).start()
    assert "everything is saved" in work(task).stopped
    assert "interrupted" in [Run(tmp_path / name).state for name in SLOW if (tmp_path / name / "config.json").exists()]
    elsewhere = task_of(SLOW, SLOW, How(str(tmp_path / "other"), 1, "cpu", False, False, 10.0), str(going))
    assert work(elsewhere).stopped == working.UNSEEN and not (tmp_path / "other").exists()


def test_a_worker_that_does_not_see_the_folder_is_said_to(tmp_path):
    class Elsewhere(Inline):
        def submit(self, fn, /, *args, **kwargs):
            return super().submit(fn, args[0]._replace(going="/another/machine/.going"))

    with pytest.raises(RunError, match="a worker does not see .*: put the runs on a disk that all workers share"):
        trained(CONFIGS, tmp_path, executor=Elsewhere())


def test_threads_of_one_process_write_what_one_thread_writes(tmp_path, alone):
    with ThreadPoolExecutor(2) as threads:
        assert same_files(trained(CONFIGS, tmp_path, executor=threads), alone)


def test_an_executor_that_is_shut_down_is_said_to_be_broken(tmp_path):
    with ThreadPoolExecutor(1) as over:
        pass
    with pytest.raises(RunError, match="the executor is broken"):
        trained(CONFIGS, tmp_path, executor=over)


def test_a_second_sweep_leaves_what_is_held_trains_the_rest_and_ends_well(tmp_path, capsys):
    flags = [word for name, value in LEAVES.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    argv = ["sweep", "--preset", "nanda", "--out", str(tmp_path), "--seed", "0", "1", "--workers", "1", *BASE, *flags]
    with locked(tmp_path / "seed1"):
        assert call(argv) == 0
    said = capsys.readouterr()
    assert "left out: " in said.err and "seed1 is being trained by process" in " ".join(said.err.split())
    assert [(tmp_path / f"seed{seed}" / "complete.json").exists() for seed in (0, 1)] == [True, False]
    assert call(argv) == 0 and Run(tmp_path / "seed1").state == "finished"
