"""Jobs of Slurm: what is asked for and refused; and, with a real Slurm on this machine, killed, moved, watched anew."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_sharing import Meddling, trained
from tiny import json_lines, tiny, tiny_flags

from circuitgrok.errors import Interrupted, RunError, UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.store.locking import locked
from circuitgrok.store.run import Run
from circuitgrok.training import queue
from circuitgrok.training import slurm as jobs
from circuitgrok.training.loop import How
from circuitgrok.training.slurm import Slurm, slurm, submit, work_as_job
from circuitgrok.training.work import task_of

sys.path.insert(0, str(Path(__file__).with_name("clusters")))
from slurm import missing, one_machine  # noqa: E402  # pyright: ignore

LEAVES = {"p": 7, "d_mlp": 8, "steps": 1500, "eval_every": 50, "checkpoint_every": 500, "checkpoints_per_decade": 2}
TWELVE = {f"seed{seed}": tiny(**LEAVES, seed=seed) for seed in range(12)}
FOUR = {f"seed{seed}": tiny(**LEAVES, seed=seed) for seed in range(4)}
QUICK = {name: config.with_(steps=60, checkpoint_every=20) for name, config in FOUR.items()}

# What is asked for


def test_options_of_sbatch_and_two_of_our_own():
    asked = slurm("partition=gpu, gres=gpu:a100:1,time=1-02:00:00,nodelist=n[1,3-5],cpus-per-task=2,stacks=9,at_once=4")
    assert asked == Slurm(
        {
            "partition": "gpu",
            "gres": "gpu:a100:1",
            "time": "1-02:00:00",
            "nodelist": "n[1,3-5]",
            "cpus_per_task": "2",
        },
        stacks=9,
        at_once=4,
    )
    assert slurm("time=30").stacks == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpu", "--slurm takes options of sbatch as NAME=VALUE, divided by commas, such as partition=gpu,gres=gpu:1,"),
        ("gpu", "got 'gpu'"),
        ("time=1,gpu", "got 'gpu' in 'time=1,gpu'"),
        ("time=", "got 'time='"),
        ("", "got ''"),
        ("Time=3", "got 'Time=3'"),
        ("time=1,time=2", "time is given twice; got 'time=1,time=2'"),
        ("time=1,array=0-3", "array is set by circuitgrok"),
        (
            "partition=gpu",
            "--slurm needs time=, after which a job saves and goes back on the queue, such as",
        ),
        ("time=1,stacks=0", "stacks is a whole number, 1 or more; got '0'"),
        ("time=1,at_once=few", "at_once is a whole number, 1 or more; got 'few'"),
    ],
)
def test_what_is_no_request_is_refused_with_what_was_got_and_an_example(text, says, tmp_path, capsys):
    with pytest.raises(UserError) as refused:
        slurm(text)
    assert says in str(refused.value)
    if text:
        assert (
            call(["sweep", "--preset", "nanda", *tiny_flags(), "--out", str(tmp_path / "runs"), "--slurm", text]) == 2
        )
        assert says in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_without_submitit_or_slurm_that_is_said_before_anything_is_made(tmp_path, capsys, monkeypatch):
    argv = ["sweep", "--preset", "nanda", *tiny_flags(), "--out", str(tmp_path / "runs"), "--slurm", "time=10"]
    pytest.importorskip("submitit", reason="needs submitit: `pip install 'circuitgrok[slurm]'`")
    monkeypatch.setattr(jobs.shutil, "which", lambda name: None)
    assert call(argv) == 2
    assert "there is no sbatch here: jobs are submitted on a machine of the cluster" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert call(argv) == 2
    assert "submitit is not installed: `pip install 'circuitgrok[slurm]'`" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# A Slurm that answers from a list


@pytest.fixture
def answers(monkeypatch):
    """What `squeue` and `scontrol` are asked, and what they say."""
    asked, says = [], {}

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, says.get("rc", 0), says.get(command[0], ""), "")

    monkeypatch.setattr(jobs.subprocess, "run", run)
    monkeypatch.setattr(queue, "refuse_without_slurm", lambda: None)
    monkeypatch.setattr(queue, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(queue, "ASK_EVERY_S", 0.0)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    return asked, says


def how(out, **changed) -> How:
    return How(str(out), 1, "cpu", False, True, 10.0)._replace(**changed)


def test_a_job_that_ends_well_says_nothing_and_one_that_is_refused_says_why(tmp_path, answers):
    work_as_job(task_of(QUICK, QUICK, how(tmp_path)), str(tmp_path))
    assert jobs.said_by("7", tmp_path) == {"notes": []} and Run(tmp_path / "seed0").state == "finished"
    other = {name: config.with_(lr=0.5) for name, config in QUICK.items()}
    work_as_job(task_of(other, other, how(tmp_path)), str(tmp_path))
    assert "holds a different run" in jobs.said_by("7", tmp_path)["refused"]
    with locked(tmp_path / "held" / "seed0"):
        work_as_job(task_of(QUICK, QUICK, how(tmp_path / "held")), str(tmp_path))
    assert "left out: " in jobs.said_by("7", tmp_path)["notes"][0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
@pytest.mark.parametrize("state", ["RUNNING", "COMPLETING", "CANCELLED", ""])
def test_a_job_that_a_signal_stops_saves_and_asks_to_go_on_unless_somebody_ends_it(
    tmp_path, answers, monkeypatch, number, state
):
    asked, answers[1]["squeue"] = answers[0], state
    stopped = iter(range(10**6))
    monkeypatch.setattr(
        "circuitgrok.training.steps.evaluate",
        lambda *given, found=sys.modules["circuitgrok.training.steps"].evaluate: (
            os.kill(os.getpid(), number) if next(stopped) == 3 else None,
            found(*given),
        )[1],
    )
    work_as_job(task_of(QUICK, QUICK, how(tmp_path)), str(tmp_path))
    assert {Run(tmp_path / name).state for name in QUICK} == {"interrupted"}
    assert (["scontrol", "requeue", "7"] in asked) == (state == "RUNNING")
    assert jobs.said_by("7", tmp_path) == {"stuck": 0, "moved": True}
    work_as_job(task_of(QUICK, QUICK, how(tmp_path)), str(tmp_path))  # put back on the queue
    assert {Run(tmp_path / name).state for name in QUICK} == {"finished"}


def test_a_job_that_never_has_time_to_train_a_step_is_put_back_twice(tmp_path, answers, monkeypatch):
    answers[1]["squeue"] = "RUNNING\n"
    monkeypatch.setattr(
        "circuitgrok.training.course.new_stack",
        lambda *given, found=sys.modules["circuitgrok.training.course"].new_stack: (
            os.kill(os.getpid(), signal.SIGUSR2),
            found(*given),
        )[1],
    )
    for times in (1, 2, 2):
        work_as_job(task_of(QUICK, QUICK, how(tmp_path)), str(tmp_path))
        assert answers[0].count(["scontrol", "requeue", "7"]) == times
    said = jobs.said_by("7", tmp_path)["refused"]
    assert said == "job 7 was stopped 3 times before it had trained a step: it needs a longer time="


def submitted(monkeypatch, states):
    """Submit to nobody: each call is an array of its own, its jobs in the next of these states."""
    arrays = []

    def submit(tasks, folder, where, tell):
        if not tasks:
            return {}
        arrays.append([list(task.configs) for task in tasks])
        return {f"{len(arrays)}_{i}": task for i, task in enumerate(tasks)}

    monkeypatch.setattr(queue, "submit", submit)
    monkeypatch.setattr(queue, "states_of_jobs", lambda: next(states))
    return arrays


def test_what_died_is_submitted_again_three_times_and_what_was_moved_for_ever(tmp_path, answers, monkeypatch):
    moved = [{f"{n}_0": "NODE_FAIL"} for n in range(1, 6)]
    died = [{"6_0": "TIMEOUT"}, {"7_0": "FAILED"}, {}, {"9_0": "TIMEOUT"}]
    arrays = submitted(monkeypatch, iter([*moved, *died]))
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "said-6_0.json").write_text('{"moved":true,"stuck":0}')  # it was no fault of the stack's
    with pytest.raises(RunError, match="a worker died 3 times while it trained seed0, seed1.* printed is in "):
        trained(QUICK, tmp_path, executor=slurm("time=1"))
    assert arrays == [[list(QUICK)]] * 9


def test_a_job_that_somebody_cancels_is_not_submitted_again(tmp_path, answers, monkeypatch):
    arrays = submitted(monkeypatch, iter([None, {"1_0": "RUNNING"}, {"1_0": "CANCELLED"}]))
    with pytest.raises(RunError, match="job 1_0 was cancelled; the same command submits its runs again"):
        trained(QUICK, tmp_path, executor=slurm("time=1"))
    assert len(arrays) == 1


def test_what_an_earlier_call_submitted_is_watched_and_what_is_not_known_is_not_guessed(tmp_path, answers, monkeypatch):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "submitted-3.json").write_text('{"3_0":["seed0","seed1"],"3_1":["seed2"]}')
    (tmp_path / "slurm" / "submitted-2.json").write_text('{"2_0":["seed3"]}')
    arrays = submitted(monkeypatch, iter([None]))
    with pytest.raises(RunError, match="Slurm does not answer, and what .*submitted-2.json names may be at work"):
        trained(QUICK, tmp_path, executor=slurm("time=1"))
    watching = Meddling(lambda: None)
    states = [{"3_0": "PENDING", "3_1": "FAILED"}, {"3_0": "CANCELLED", "1_0": "CANCELLED"}]
    arrays = submitted(monkeypatch, iter(states))
    with locked(tmp_path / "seed3"), pytest.raises(RunError, match="job 3_0 was cancelled"):
        trained(QUICK, tmp_path, executor=slurm("time=1"), progress=watching, skip_held=True)
    assert arrays == [[["seed2"]]]
    assert not (tmp_path / "slurm" / "submitted-2.json").exists()
    assert watching.notes[0] == "1 stacks of an earlier call are on the queue, and are watched"
    assert watching.notes[1].startswith("left out: ") and "seed3 is being trained by process" in watching.notes[1]
    (tmp_path / "slurm" / "submitted-3.json").write_text("[1]")
    with pytest.raises(RunError, match="submitted-3.json is not what was written; remove it once `squeue --me`"):
        submitted(monkeypatch, iter([{}]))
        trained(QUICK, tmp_path, executor=slurm("time=1"))


# A real one


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("submitit", reason="needs submitit: `pip install 'circuitgrok[slurm]'`")
    if lacking := missing():
        pytest.skip(lacking)
    with (
        pytest.MonkeyPatch.context() as patch,
        one_machine(tmp_path_factory.mktemp("slurm").resolve()) as found,
    ):
        for name, value in found.env.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setattr(queue, "LOOK_EVERY_S", 0.3)
        patch.setattr(queue, "ASK_EVERY_S", 1.0)
        yield found


def at_work(cluster, out) -> list[str]:
    """Jobs that have trained some steps and go on."""
    running = cluster.ask("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i").split()
    names = {job: runs for note in out.glob("slurm/submitted-*.json") for job, runs in jobs.read_json(note).items()}
    return [
        job
        for job in running
        if job in names and any(list((out / run / "resume").glob("*.safetensors")) for run in names[job])
    ]


def same_results(runs, others) -> None:
    """All that a run says of itself, but for when it was stopped and where it went on."""
    for run, other in zip(runs, others, strict=True):
        for name in ("history.jsonl", "index.jsonl", "updates.jsonl"):
            assert (run.path / name).read_bytes() == (other.path / name).read_bytes(), f"{run.name} {name}"
        assert run.state == other.state == "finished"
        for step in run.steps:
            assert all((run.at(step)[name] == value).all() for name, value in other.at(step).items())


def events_of(run) -> list[str]:
    return [event["event"] for event in json_lines(run.path / "events.jsonl")]


class AtWork(Meddling):
    """Does each of several things once, to a job of its own that is at work."""

    def __init__(self, cluster, out, *what) -> None:
        super().__init__(lambda: None)
        self.cluster, self.out, self.left, self.met = cluster, out, list(what), []

    def stacks(self, now, done, of) -> None:
        self.seen.append((done, of))
        for job in at_work(self.cluster, self.out) if self.left else []:
            if self.left and job not in self.met:
                self.met.append(job)
                self.left.pop(0)(job)

    def asking(self, *command):
        """Something to do: one of Slurm's commands."""
        return lambda job: self.cluster.ask(*command, job)


def kill(out):
    """Something to do: end the process that trains, at once."""

    def killed(job):
        note = out / "slurm" / f"submitted-{job.partition('_')[0]}.json"
        [pid] = {jobs.read_json(out / run / ".holder")["pid"] for run in jobs.read_json(note)[job]}
        os.kill(pid, signal.SIGKILL)

    return killed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twelve_runs_as_an_array_of_which_one_is_killed_and_one_requeued_are_those_of_a_local_sweep(tmp_path, cluster):
    watching = AtWork(cluster, tmp_path / "slurm", kill(tmp_path / "slurm"))
    watching.left += [watching.asking("scontrol", "requeue"), watching.asking("scancel", "--signal=USR2")]
    runs = trained(TWELVE, tmp_path / "slurm", executor=slurm("time=30,stacks=4"), progress=watching, save_every_s=0.3)
    assert not watching.left and watching.seen[-1] == (4, 4)
    assert any("with runs unfinished: submitted again" in note for note in watching.notes)
    assert sum("resumed" in events_of(run) for run in runs) >= 6  # two stacks of three at least
    same_results(runs, trained(TWELVE, tmp_path / "alone"))
    assert not cluster.ask("squeue", "--noheader")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_who_submitted_may_go_and_the_same_call_watches_again_and_submits_nothing_twice(tmp_path, cluster):
    leaving = Meddling(lambda: os.kill(os.getpid(), signal.SIGTERM))
    asked = slurm("time=30,stacks=2")
    with pytest.raises(Interrupted, match=r"2 stacks go on in Slurm: `squeue --jobs=\d+` shows them, `scancel \d+`"):
        trained(FOUR, tmp_path / "slurm", executor=asked, progress=leaving, save_every_s=0.3)
    watching = Meddling(lambda: None)
    runs = trained(FOUR, tmp_path / "slurm", executor=asked, progress=watching, save_every_s=0.3)
    assert "stacks of an earlier call are on the queue, and are watched" in watching.notes[0]
    assert len(list(tmp_path.glob("slurm/slurm/*_submission.sh"))) == 1
    assert [events_of(run) for run in runs] == [["begun", "finished"]] * 4
    same_results(runs, trained(FOUR, tmp_path / "alone"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jobs_that_have_to_make_room_save_and_go_on_afterwards(tmp_path, cluster):
    urgent = ["sbatch", "--partition=urgent", "--nodes=2", "--output=/dev/null", "--wrap=sleep 3"]
    watching = Meddling(lambda: cluster.ask(*urgent))
    runs = trained(FOUR, tmp_path / "slurm", executor=slurm("partition=plain,time=30,stacks=2"), progress=watching)
    assert watching.done and sum("stopped" in events_of(run) for run in runs) >= 2  # at the signal, not by a kill
    same_results(runs, trained(FOUR, tmp_path / "alone"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cancelled_jobs_are_not_revived_and_the_same_call_goes_on(tmp_path, cluster):
    asked = slurm("time=30,stacks=2")
    watching = AtWork(cluster, tmp_path / "slurm")
    watching.left.append(watching.asking("scancel"))
    with pytest.raises(RunError, match=r"job \d+_\d was cancelled; the same command submits its runs again"):
        trained(FOUR, tmp_path / "slurm", executor=asked, progress=watching, save_every_s=0.3)
    assert not cluster.ask("squeue", "--noheader")
    runs = trained(FOUR, tmp_path / "slurm", executor=asked)
    assert sum("resumed" in events_of(run) for run in runs) == 2
    same_results(runs, trained(FOUR, tmp_path / "alone"))


@pytest.mark.slow
def test_what_sbatch_refuses_is_passed_on(tmp_path, cluster):
    with pytest.raises(UserError, match="sbatch refused partition=nowhere,time=5: .*invalid partition specified"):
        trained(QUICK, tmp_path / "slurm", executor=slurm("partition=nowhere,time=5"))
    tasks = [task_of(QUICK, QUICK, how(tmp_path))]
    with pytest.raises(UserError, match="sbatch refused time=soon: "):
        submit(tasks, tmp_path / "slurm", slurm("time=soon"), print)
