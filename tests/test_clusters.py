"""dask: a real scheduler and two workers train the stacks, one of them is killed; what is refused, and how soon."""

import builtins
import os
import signal
import socket
import threading
import time

import pytest
from test_sharing import BASE, CONFIGS, LEAVES, Meddling, same_files, trained
from tiny import json_lines, tiny_flags

from circuitgrok.errors import Interrupted, RunError, UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.store.run import Run
from circuitgrok.training import clusters
from circuitgrok.training.clusters import dask_workers, is_lost_worker

distributed = pytest.importorskip("distributed", reason="needs dask: `pip install 'circuitgrok[dask]'`")
pytestmark = pytest.mark.filterwarnings("ignore")  # dask's own, of every kind, also when a worker is killed
LONG = {name: config.with_(steps=2000, checkpoint_every=1000) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers, each a process with one thread, on this machine."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as found:
        yield found


def pids(address: str) -> set[int]:
    with distributed.Client(address, set_as_default=False) as client:
        return set(client.run(os.getpid).values())


@pytest.mark.slow
def test_dasks_workers_write_what_one_process_writes(tmp_path, cluster):
    with dask_workers(cluster.scheduler_address) as (executor, workers):
        assert workers == 2
        runs = trained(CONFIGS, tmp_path / "dask", executor=executor, workers=workers)
    assert same_files(runs, trained(CONFIGS, tmp_path / "alone"))
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:  # as anybody makes one
        again = trained(CONFIGS, tmp_path / "anybody", executor=client.get_executor())
    assert same_files(again, runs)


@pytest.mark.slow
def test_the_stack_of_a_worker_that_is_killed_is_handed_out_again_and_nothing_is_lost(tmp_path, cluster):
    before = pids(cluster.scheduler_address)
    at_work = {}

    def kill_one():
        pid = next(pid for path in (tmp_path / "dask").glob("*/.holder") if (pid := json_pid(path)) in before)
        at_work["killed"] = pid
        os.kill(pid, signal.SIGKILL)

    watching = Meddling(kill_one)
    with dask_workers(cluster.scheduler_address) as (executor, workers):
        runs = trained(LONG, tmp_path / "dask", executor=executor, workers=workers, progress=watching, save_every_s=0.2)
    assert at_work["killed"] in before - pids(cluster.scheduler_address)
    assert {run.state for run in runs} == {"finished"}
    events = [[event["event"] for event in json_lines(run.path / "events.jsonl")] for run in runs]
    assert any("resumed" in found or found.count("begun") > 1 for found in events)
    for run, other in zip(runs, trained(LONG, tmp_path / "alone"), strict=True):
        assert all((run.at(step)[name] == value).all() for step in run.steps for name, value in other.at(step).items())


def json_pid(path) -> int:
    from circuitgrok.store.files import read_json

    return read_json(path)["pid"]


@pytest.mark.slow
def test_a_signal_stops_dasks_workers_too_and_the_same_call_goes_on(tmp_path, cluster):
    watching = Meddling(lambda: os.kill(os.getpid(), signal.SIGTERM))
    with dask_workers(cluster.scheduler_address) as (executor, workers):
        with pytest.raises(Interrupted, match="stopped by SIGTERM; everything is saved"):
            trained(LONG, tmp_path / "dask", executor=executor, workers=workers, progress=watching)
        there = [Run(path.parent) for path in (tmp_path / "dask").glob("*/config.json")]
        assert there and {run.state for run in there} <= {"interrupted", "new"}  # nobody holds one any more
        runs = trained(LONG, tmp_path / "dask", executor=executor, workers=workers)
    assert {run.state for run in runs} == {"finished"}


@pytest.mark.slow
def test_the_command_line_takes_a_scheduler(tmp_path, cluster, capsys):
    flags = [word for name, value in LEAVES.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    grid = ["--out", str(tmp_path), "--seed", "0", "1", *BASE, *flags]
    assert call(["sweep", "--preset", "nanda", *grid, "--dask", cluster.scheduler_address]) == 0
    assert [Run(tmp_path / f"seed{seed}").state for seed in (0, 1)] == ["finished"] * 2
    assert "2 of 2 stacks done" in capsys.readouterr().err


# What is refused


def sweep(*more: str) -> int:
    return call(["sweep", "--preset", "nanda", *tiny_flags(), *more])


def test_where_nobody_answers_that_is_said_in_seconds(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(clusters, "ANSWER_S", 1)
    with socket.socket() as silent:  # takes connections, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (silent.getsockname()[1], 1):
            began = time.monotonic()
            assert sweep("--out", str(tmp_path / "runs"), "--dask", f"tcp://127.0.0.1:{port}") == 2
            assert time.monotonic() - began < 60  # one second is waited for an answer; dask alone waits for ever
            said = capsys.readouterr().err
            assert f"no dask scheduler answers at 'tcp://127.0.0.1:{port}'" in said
            assert "`dask scheduler` starts one" in said
    assert sweep("--out", str(tmp_path / "runs"), "--dask", "here:and:there") == 2
    assert "no dask scheduler answers at 'here:and:there'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_scheduler_without_workers_says_how_to_start_one(monkeypatch):
    monkeypatch.setattr(clusters, "ANSWER_S", 1)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, silence_logs=50) as empty,
        pytest.raises(UserError, match=r"has no workers: start some by `dask worker \S+ --nthreads 1`"),
        dask_workers(empty.scheduler_address),
    ):
        raise AssertionError


def test_a_scheduler_that_goes_away_is_not_waited_for(tmp_path):
    cluster = distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, silence_logs=50)
    with distributed.Client(cluster.scheduler_address, set_as_default=False, timeout=1) as client:
        threading.Timer(1.0, cluster.close).start()
        with pytest.raises(RunError, match="dask's scheduler is gone; its workers stop and save"):
            trained(CONFIGS, tmp_path, executor=client.get_executor())
    assert not list(tmp_path.glob(".going*"))


def test_workers_with_another_circuitgrok_are_refused(monkeypatch):
    monkeypatch.setattr(clusters, "__version__", "0.0.7")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
        ) as here,
        pytest.raises(UserError, match=r"need circuitgrok 0\.0\.7, as it is here; they have \d"),
        dask_workers(here.scheduler_address),
    ):
        raise AssertionError


def test_without_dask_the_line_for_pip_is_said(tmp_path, capsys, monkeypatch):
    found = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.split(".")[0] == "distributed":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert sweep("--out", str(tmp_path / "runs"), "--dask", "tcp://127.0.0.1:8786") == 2
    assert "dask is not installed: `pip install 'circuitgrok[dask]'`, here and where" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--dask", "tcp://a:1", "--workers", "2"], "got --dask and --workers: leave out one"),
        (["--slurm", "time=1:00:00", "--workers", "2"], "got --slurm and --workers: leave out one"),
        (["--slurm", "time=1:00:00", "--dask", "tcp://a:1"], "got --dask and --slurm: leave out one"),
    ],
)
def test_two_ways_at_once_are_refused(tmp_path, capsys, given, says):
    assert sweep("--out", str(tmp_path / "runs"), *given) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_what_dask_says_of_a_lost_worker_is_known_and_other_faults_are_not():
    from distributed.client import FutureCancelledError  # pyright: ignore[reportMissingImports]
    from distributed.scheduler import KilledWorker  # pyright: ignore[reportMissingImports]

    assert is_lost_worker(FutureCancelledError("key", "lost"))
    assert is_lost_worker(KilledWorker.__new__(KilledWorker))
    assert not is_lost_worker(ValueError("no"))
