"""More runs than a process may open files: they train in stacks that fit, each locked when its turn comes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import tiny

import circuitgrok.training.beginning
import circuitgrok.training.loop
from circuitgrok.errors import RunError
from circuitgrok.store import locking
from circuitgrok.store.locking import locked
from circuitgrok.store.run import runs_below
from circuitgrok.training.beginning import FILES_KEPT_FREE, FILES_PER_RUN
from circuitgrok.training.loop import train

LIMITED = """
import resource, sys
limit, count, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
sys.path.insert(0, sys.argv[4])
from tiny import tiny
from circuitgrok.training.loop import train
configs = [tiny(seed=seed, steps=2, p=5, d_mlp=4, checkpoints_per_decade=0) for seed in range(count)]
runs = train(configs, out, names=[f"run{seed}" for seed in range(count)])
assert all(run.state == "finished" for run in runs)
"""


def sweep_under_a_limit(limit, count, out):
    """Train `count` tiny runs in a process that may open `limit` files."""
    pytest.importorskip("resource", reason="limits are set by POSIX")
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", LIMITED, str(limit), str(count), str(out), here]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(runs_below(out)) == count


def test_more_runs_than_open_files_allow_train_all(tmp_path):
    sweep_under_a_limit(limit=110, count=30, out=tmp_path)  # stacks of 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_runs_train_where_1024_files_may_be_open(tmp_path):
    sweep_under_a_limit(limit=1024, count=1000, out=tmp_path)


def test_only_the_runs_at_work_are_locked_and_no_stack_is_larger_than_files_allow(tmp_path, monkeypatch):
    held, most, sizes, lock, work = set(), [0], [], locking.locked, circuitgrok.training.loop.train_stack

    class Counted:
        def __init__(self, path):
            self.path, self.inner = path, lock(path)

        def __enter__(self):
            self.inner.__enter__()
            held.add(self.path)
            most[0] = max(most[0], len(held))

        def __exit__(self, *error):
            held.discard(self.path)
            return self.inner.__exit__(*error)

    def counted(group, *rest):
        sizes.append(len(group))
        assert {run.path for run in group} == held
        work(group, *rest)

    monkeypatch.setattr(circuitgrok.training.loop, "locked", Counted)
    monkeypatch.setattr(circuitgrok.training.loop, "train_stack", counted)
    monkeypatch.setattr(circuitgrok.training.beginning, "open_files", lambda: FILES_KEPT_FREE + 3 * FILES_PER_RUN)
    train([tiny(seed=seed, steps=2) for seed in range(7)], tmp_path, names=[str(i) for i in range(7)])
    assert sizes == [3, 3, 1] and most == [3] and not held


def test_a_run_of_a_later_stack_that_another_process_trains_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(circuitgrok.training.beginning, "open_files", lambda: 0)  # stacks of one
    monkeypatch.setattr(circuitgrok.training.loop, "train_stack", lambda *_: pytest.fail("worked before it refused"))
    with locked(tmp_path / "2"), pytest.raises(RunError, match="is being trained by"):
        train([tiny(seed=seed, steps=2) for seed in range(3)], tmp_path, names=["0", "1", "2"])
