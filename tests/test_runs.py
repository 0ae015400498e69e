"""A run survives kills, signals and full disks with its bits, and damage is found before use."""

import json
import os
import pickle
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from loops import for_each
from safetensors.torch import load as load_tensors
from tiny import (
    bits_of,
    copied,
    files_of,
    flip,
    json_lines,
    resealed_config,
    rewritten,
    tiny,
    tiny_flags,
    usable_resume_steps,
)
from workers import Ended

import circuitgrok as cg
from circuitgrok.canonical import canonical_json, sha256
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import DamagedFile
from circuitgrok.faces.cli import run as command
from circuitgrok.faces.doctor import examine
from circuitgrok.store import resume, writer
from circuitgrok.store.locking import LockedRun, holder, locked
from circuitgrok.store.run import Run, RunError, load, runs_below
from circuitgrok.store.thinning import thinning
from circuitgrok.store.weights import file_name, pack
from circuitgrok.store.writer import write_checkpoint
from circuitgrok.training.loop import train
from circuitgrok.training.origin import initial_weights
from circuitgrok.training.progress import Silent

# --- opening and reading ----------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.bits
def test_weights_come_back_bit_for_bit_with_dtype_and_order(tmp_path, precision):
    config = tiny(precision=precision, steps=1)
    [run] = train([config], tmp_path, names=["run"])
    weights = run.at(0)
    assert list(weights) == list(config.model.shapes())
    for name, value in initial_weights(config).items():
        assert value.dtype == weights[name].dtype == getattr(torch, precision)
        assert torch.equal(value, weights[name])


def test_run_is_opened_from_its_folder_alone(finished):
    run = cg.load(str(finished.path))
    assert (run.config, run.state, run.steps) == (tiny(), "finished", sorted(tiny().schedule.checkpoint_steps()))
    assert run.task is tiny().task.draw()
    assert {"torch", "isa", "threads", "device", "circuitgrok"} <= set(run.manifest["environment"])


def test_checkpoint_is_readable_without_our_code(finished):
    content = (finished.path / "step_000000024.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["circuitgrok"]) == {"config": finished.config.hash, "step": 24}
    assert load_tensors(content).keys() == finished.config.model.shapes().keys()
    listed = list(json_lines(finished.path / "index.jsonl"))
    assert {"file": "step_000000024.safetensors", "sha256": sha256(content), "step": 24} in listed


def test_stack_is_the_checkpoints_one_behind_the_other(finished):
    stacked = finished.stack([24, 0, 8])
    for i, step in enumerate([24, 0, 8]):
        assert all(torch.equal(value[i], finished.at(step)[name]) for name, value in stacked.items())
    assert len(finished.stack()["embed.W_E"]) == len(finished.steps)


def test_missing_step_is_refused_with_the_nearest_there_are(finished):
    for ask in (lambda: finished.at(11), lambda: finished.stack([0, 11])):
        with pytest.raises(RunError, match=r"no checkpoint at step 11; the nearest are \[10, 8, 16\]"):
            ask()


def test_folder_without_a_run_is_refused_with_what_to_type(tmp_path):
    with pytest.raises(RunError, match=r"holds no run \(no config.json\); `circuitgrok runs FOLDER` lists runs"):
        load(tmp_path)
    with pytest.raises(RunError, match="is not a folder"):
        runs_below(tmp_path / "nowhere")


def test_runs_below_a_folder_are_found_at_any_depth(finished, tmp_path):
    for place in ("b", "a/deep/er"):
        copied(finished, tmp_path / place)
    assert [str(run.path.relative_to(tmp_path)) for run in runs_below(tmp_path)] == [
        "a/deep/er/finished",
        "b/finished",
    ]


def test_state_follows_the_run_through_its_life(tmp_path):
    states = []

    class Watching(Silent):
        def at(self, step, records) -> None:
            if step in (0, 3):
                states.append(load(tmp_path / "run").state)
            if step == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([tiny()], tmp_path, names=["run"], progress=Watching())
    states.append(load(tmp_path / "run").state)
    (tmp_path / "run" / "history.jsonl").write_bytes(b"")
    states.append(load(tmp_path / "run").state)
    [run] = train([tiny()], tmp_path, names=["run"])
    assert [*states, run.state] == ["running", "running", "interrupted", "new", "finished"]


def test_history_that_is_empty_is_refused_with_what_to_do(finished, tmp_path):
    run = rewritten(copied(finished, tmp_path), "history.jsonl", [], outcome=None)
    with pytest.raises(RunError, match="no history yet; train it with the command that made it"):
        _ = run.history


def test_other_run_in_the_folder_is_refused_with_the_fields_that_differ(finished, tmp_path):
    run = copied(finished, tmp_path)
    before = files_of(run.path)
    with pytest.raises(RunError, match=r"different run \(alpha 1.0 there, 2.0 asked, steps 24 there, 25 asked\)"):
        train([tiny(alpha=2.0, steps=25)], tmp_path, names=[run.name])
    assert files_of(run.path) == before


def test_finished_run_is_left_as_it_is(finished, tmp_path):
    run = copied(finished, tmp_path)
    before = files_of(run.path)
    [again] = train([tiny()], tmp_path, names=[run.name])
    assert again.state == "finished" and files_of(run.path) == before


# --- many checkpoints -------------------------------------------------------------------------------


def with_checkpoints(finished: Run, folder: Path, count: int) -> Run:
    """A finished run with so many checkpoints, all of the same weights, a line of history for each."""
    config, weights = tiny(steps=count - 1), finished.at(24)
    run = writer.create(folder / f"{count}", config, finished.manifest["environment"], finished.manifest["start"])
    [line] = [line for line in finished.records("history.jsonl") if line["step"] == 24]
    writer.write_records(run, "index.jsonl", [write_checkpoint(run, step, weights) for step in range(count)])
    writer.write_records(run, "history.jsonl", [line | {"step": step} for step in range(count)])
    writer.add_event(run, "finished", count - 1)
    writer.complete(run, "finished", count - 1, {}, {})
    return run


def test_work_grows_no_faster_than_the_number_of_checkpoints_and_not_at_all_where_one_is_asked_for(finished, tmp_path):
    """Calls of Python's functions and of its built-in ones: they are counted, nothing is timed."""
    runs = [with_checkpoints(finished, tmp_path, count) for count in (50, 250)]

    def calls(question: Any, run: Run) -> int:
        count = 0

        def seen(_: Any, event: str, __: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        question(load(run.path))  # what is imported and made once
        fresh = load(run.path)
        _ = fresh.config, fresh.steps
        sys.setprofile(seen)
        try:
            question(fresh)
        finally:
            sys.setprofile(None)
        return count

    once = {
        "at": lambda run: run.at(30),
        "stack": lambda run: run.stack([0, 10, 20, 30]),
        "state": lambda run: run.state,
    }
    each = {
        "steps": lambda run: load(run.path).steps,
        "history": lambda run: run.history,
        "doctor": examine,
        "stack of all": lambda run: run.stack(),
        "thinning": lambda run: thinning(run, checkpoint_every=10, checkpoints_per_decade=3),
        "again": lambda run: train([run.config], run.path.parent, names=[run.name]),
    }
    time.sleep(0.1)  # a file that has just been written is read again
    for name, question in (once | each).items():
        few, many = (calls(question, run) for run in runs)
        assert many <= few * (1.05 if name in once else 5.25), (name, few, many)


# --- kill -9 (R1, R3) -------------------------------------------------------------------------------


def whole(folder: Path) -> int:
    """Verify every file under a final name, listed or not; how many there are."""
    seen = 0
    run = Run(folder)
    if not (folder / "config.json").exists():
        assert not list(folder.glob("step_*")) and not (folder / "resume").exists()
        return 0
    assert run.config.hash == run.manifest["hash"]
    for step in run.steps:
        run.at(step)
    for name in ("history.jsonl", "index.jsonl"):
        list(json_lines(folder / name))
    for file in [*folder.glob("step_*"), *(folder / "resume").glob("step_*.safetensors")]:
        tensors = load_tensors(file.read_bytes())  # refuses every truncation
        assert all(bool(value.isfinite().all()) for name, value in tensors.items() if "radius" not in name)
        seen += 1
    for file in (folder / "resume").glob("*.sha256"):
        step = int(file.name[5:14])
        if file.with_suffix("").exists():
            resume.read_resume(run, step)
        seen += 1
    return seen


def newest(folder: Path) -> int:
    """The newest resume point, -1 if there is none."""
    try:
        return max((int(name[5:14]) for name in os.listdir(folder / "resume") if name.startswith("step_")), default=-1)
    except FileNotFoundError:
        return -1


def train_through_kills(workers: Any, leaves: list[dict[str, Any]], names: list[str], out: Path, kills: int) -> int:
    """Start the same run again and again, kill it at a random moment; how many files were verified."""
    dice, killed, seen = random.Random(7), 0, 0
    while True:
        pid = workers.train(leaves, out, names=names, save_every_s=0.0)
        if killed < kills:
            if killed < kills // 4:  # anywhere from the first instruction on
                time.sleep(dice.uniform(0, 0.03))
            else:  # some steps on
                first, steps = newest(out / names[0]), dice.randrange(1, 5)
                workers.until(pid, lambda first=first, steps=steps: newest(out / names[0]) >= first + steps)
                time.sleep(dice.uniform(0, 0.01))
            os.kill(pid, signal.SIGKILL)
        ended = workers.wait(pid)
        seen += sum(whole(out / name) for name in names if (out / name).exists())
        if ended.code == 0:
            assert killed >= kills, f"the run was over after {killed} kills"
            return seen
        assert ended.code == -signal.SIGKILL, ended.stderr
        killed += 1


def test_run_killed_at_thirty_random_moments_ends_with_the_bits_of_the_unbroken_run(workers, tmp_path):
    """Weights, optimizer state, history, index, config: every file, byte for byte, and none left over."""
    config = tiny(steps=160, eval_every=1, checkpoint_every=3, checkpoint_on_move=0.05)
    leaves = config.leaves()
    assert workers.wait(workers.train([leaves], tmp_path / "unbroken", names=["run"], save_every_s=0.0)).code == 0
    assert train_through_kills(workers, [leaves], ["run"], tmp_path / "killed", kills=30) >= 300
    unbroken, killed = bits_of(tmp_path / "unbroken"), bits_of(tmp_path / "killed")
    assert unbroken.keys() == killed.keys()
    assert [name for name in unbroken if unbroken[name] != killed[name]] == []
    assert {"run/resume/step_000000160.safetensors", "run/step_000000160.safetensors"} <= set(killed)


def test_run_that_saves_every_step_is_whole_and_can_go_on_whenever_it_is_killed(workers, tmp_path):
    """What waits to be written is lost with the process, and nothing that was written speaks of it."""
    config = tiny(steps=120, eval_every=1, checkpoint_every=1, keep_moments=True)
    leaves, dice = config.leaves(), random.Random(3)
    [unbroken] = train([config], tmp_path, names=["unbroken"])
    assert unbroken.steps == list(range(121))
    folder = tmp_path / "killed" / "run"
    for _ in range(12):
        pid = workers.train([leaves], folder.parent, names=["run"], save_every_s=0.0)
        first, more = newest(folder), dice.randrange(1, 4)
        workers.until(pid, lambda first=first, more=more: newest(folder) >= first + more)
        time.sleep(dice.uniform(0, 0.005))
        os.kill(pid, signal.SIGKILL)
        assert workers.wait(pid).code == -signal.SIGKILL
        whole(folder)
        run = Run(folder)
        with_digest = {int(file.name[5:14]) for file in (folder / "resume").glob("*.sha256")}
        assert with_digest <= {*usable_resume_steps(run)} & {*run.steps}
        assert {*run.steps} >= {line["step"] for line in json_lines(folder / "history.jsonl")}
        assert all(resume.read_moments(run, step) for step in json_steps(folder / "updates.jsonl"))
    assert workers.wait(workers.train([leaves], folder.parent, names=["run"])).code == 0
    assert_same_bits(Run(folder), unbroken)


def json_steps(path: Path) -> list[int]:
    """The steps of the lines of a record."""
    return [line["step"] for line in json_lines(path)]


@pytest.mark.parametrize("last_good", [0, 5])
def test_what_fails_while_files_are_written_ends_training_with_its_own_words_and_the_rest_is_whole(
    finished, tmp_path, monkeypatch, last_good
):
    written = []

    def failing(run, step, weights):
        if step > last_good:
            raise RuntimeError("planted in the writer")
        written.append(step)
        return write_checkpoint(run, step, weights)

    monkeypatch.setattr(writer, "write_checkpoint", failing)
    config = tiny(eval_every=1, checkpoint_every=1)
    with pytest.raises(RuntimeError, match="planted in the writer"):
        train([config], tmp_path, names=["run"], save_every_s=0.0)
    monkeypatch.undo()
    run = load(tmp_path / "run")
    assert run.state == "interrupted" and run.steps == written == list(range(last_good + 1))
    assert list(run.history.index) == run.steps
    assert usable_resume_steps(run) == run.steps[-2:]
    assert whole(run.path) and not [name for name in files_of(run.path) if name.endswith(".tmp")]
    [again] = train([config], tmp_path, names=["run"])
    assert again.state == "finished" and again.steps == list(range(25))
    assert torch.equal(again.at(24)["embed.W_E"], finished.at(24)["embed.W_E"])


def test_stack_killed_at_random_moments_gives_each_run_the_bits_it_has_alone(workers, tmp_path):
    """Kills fall between the resume points of two runs of a stack, too."""
    configs = {"a": tiny(steps=60, eval_every=2), "b": tiny(steps=60, eval_every=2, fixed_norm=True, seed=1)}
    for name, config in configs.items():
        train([config], tmp_path / "alone", names=[name], save_every_s=0.0)
    leaves = [config.leaves() for config in configs.values()]
    train_through_kills(workers, leaves, list(configs), tmp_path / "killed", kills=12)
    assert bits_of(tmp_path / "alone") == bits_of(tmp_path / "killed")


def test_resume_point_beyond_where_a_stack_goes_on_does_not_outlive_its_history(tmp_path):
    """Run a is saved at 12 and b only at 6, so both go on from 6; a's point at 12 speaks of lines that are cut off."""
    configs = [tiny(), tiny(seed=1)]
    train(configs, tmp_path / "whole", names=["a", "b"])
    a, b = (Run(tmp_path / "cut" / name) for name in ("a", "b"))

    class Killed(Silent):
        def __init__(self, at: int) -> None:
            self.last = at

        def at(self, step, records) -> None:
            if step == self.last:
                raise KeyboardInterrupt

    def go_on(until: int) -> None:
        with pytest.raises(KeyboardInterrupt):
            train(configs, tmp_path / "cut", names=["a", "b"], progress=Killed(until), save_every_s=0.0)

    go_on(until=7)
    for run in (a, b):
        shutil.copytree(run.path / "resume", tmp_path / "at-6" / run.name)
    go_on(until=13)
    for run, gone in ((a, [11]), (b, [11, 12])):
        resume.drop_resume(run, gone)
        shutil.copytree(tmp_path / "at-6" / run.name, run.path / "resume", dirs_exist_ok=True)
    resume.drop_resume(a, [5])
    assert (usable_resume_steps(a), usable_resume_steps(b)) == ([6, 12], [5, 6])
    go_on(until=8)
    resume.drop_resume(b, [7])  # killed after a was saved there and before b was
    train(configs, tmp_path / "cut", names=["a", "b"])
    for run in (a, b):
        assert_same_bits(run, load(tmp_path / "whole" / run.name))


def test_run_killed_between_its_last_line_and_its_last_resume_point_gets_it_still(finished, tmp_path):
    [run] = train([tiny()], tmp_path, names=[finished.name], save_every_s=0.0)
    resume.drop_resume(run, [24])
    [again] = train([tiny()], tmp_path, names=[finished.name], save_every_s=0.0)
    last = "resume/step_000000024.safetensors"
    assert (again.path / last).read_bytes() == (finished.path / last).read_bytes()


def test_finished_run_without_resume_points_is_not_trained_again(finished, tmp_path):
    run = copied(finished, tmp_path)
    resume.drop_resume(run, resume.resume_steps(run))
    before = files_of(run.path)
    train([tiny()], tmp_path, names=[run.name])
    assert files_of(run.path) == before


def test_leftovers_of_killed_writers_are_cleared_by_the_next_start(finished, tmp_path):
    run = copied(finished, tmp_path)
    for place in (run.path, run.path / "resume"):
        (place / ".step_000000024.safetensors.99.tmp").write_bytes(b"half")
    train([tiny()], tmp_path, names=[run.name])
    assert files_of(run.path) == files_of(finished.path)


def test_two_processes_give_the_same_bits(workers, finished, tmp_path):
    """R10, and the trainer's imports: a fresh process beside this one, and a forked one."""
    code = (
        "import sys, circuitgrok.training.loop as t; from circuitgrok.config.train_config import TrainConfig\n"
        f"t.train([TrainConfig().with_(**{finished.config.leaves()!r})], sys.argv[1], names=['finished'])\n"
        "print(sorted({'transformer_lens', 'matplotlib', 'sklearn', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "fresh")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    workers.wait(workers.train([finished.config.leaves()], tmp_path / "forked", names=["finished"]))
    expected = files_of(finished.path.parent)
    assert files_of(tmp_path / "fresh") == expected == files_of(tmp_path / "forked")


# --- signals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signal_saves_the_state_ends_with_75_and_the_same_command_goes_on(workers, tmp_path, number):
    leaves = {"steps": 60, "eval_every": 1}
    train([tiny(**leaves)], tmp_path, names=["unbroken"])
    argv = ["sweep", "--preset", "nanda", "--out", str(tmp_path / "sweep"), *tiny_flags(**leaves)]
    pid = workers.cli(*argv)
    history = tmp_path / "sweep" / "run" / "history.jsonl"
    assert workers.until(pid, lambda: history.exists() and history.stat().st_size > 0)
    os.kill(pid, number)
    stopped = workers.wait(pid)
    assert stopped.code == 75
    assert "everything is saved: the same command goes on" in stopped.stderr.splitlines()[-1]
    run = load(history.parent)
    last = list(json_lines(history))[-1]["step"]
    assert run.state == "interrupted" and usable_resume_steps(run)[-1] == last < 60
    assert workers.wait(workers.cli(*argv)).code == 0
    assert_same_bits(run, load(tmp_path / "unbroken"))


# --- damage (R4, R7) --------------------------------------------------------------------------------

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def spoiled(finished, tmp_path_factory) -> Run:
    """A copy of the finished run whose last checkpoint is damaged anew by each example."""
    return copied(finished, tmp_path_factory.mktemp("spoiled"))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_mutation_of_a_checkpoint_is_refused_by_name(finished, spoiled, data):
    content = (finished.path / file_name(24)).read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "grow"]))
    changed = {
        "flip": content[:at] + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))]) + content[at + 1 :],
        "cut": content[:at],
        "grow": content + content[: at + 1],
    }[kind]
    (spoiled.path / file_name(24)).write_bytes(changed)
    with pytest.raises(DamagedFile, match=rf"{file_name(24)}.*expected SHA-256 {sha256(content)[:12]}"):
        spoiled.at(24)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_mutation_of_the_index_yields_other_weights(finished, spoiled, data):
    """A flipped index is refused, or what it still lists is what was written."""
    content = (finished.path / "index.jsonl").read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    changed = content[:at] + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))]) + content[at + 1 :]
    (spoiled.path / "index.jsonl").write_bytes(changed)
    (spoiled.path / file_name(24)).write_bytes((finished.path / file_name(24)).read_bytes())
    assume(changed != content)
    try:
        found = spoiled.index
    except DamagedFile as error:
        assert "index.jsonl is damaged" in str(error)
        return
    for step in set(found) & set(finished.index):
        if found[step] == finished.index[step]:
            assert torch.equal(spoiled.at(step)["embed.W_E"], finished.at(step)["embed.W_E"])
        else:
            with pytest.raises(DamagedFile):
                spoiled.at(step)
    for step in set(found) - set(finished.index):
        with pytest.raises(DamagedFile, match="missing"):
            spoiled.at(step)


def test_swapped_missing_and_linked_checkpoints_are_refused_by_name(finished, tmp_path):
    run = copied(finished, tmp_path)
    files = {step: run.path / file_name(step) for step in (0, 8, 16, 24)}
    files[8].write_bytes((finished.path / file_name(16)).read_bytes())
    files[16].unlink()
    files[24].unlink()
    files[24].symlink_to(finished.path / file_name(24))
    for step, said in {8: "expected SHA-256", 16: "is missing though the index lists it", 24: "is a link"}.items():
        with pytest.raises(DamagedFile, match=rf"{file_name(step)} .*{said}"):
            run.at(step)
    run.at(0)


def relisted(run: Run, entry: dict[str, Any]) -> Run:
    """The run with another entry for its last checkpoint, under seals that fit."""
    return rewritten(run, "index.jsonl", [*list(json_lines(run.path / "index.jsonl"))[:-1], entry])


@for_each(
    "entry",
    [
        {"step": 24, "file": "../step_000000024.safetensors"},
        {"step": 24, "file": "/etc/passwd"},
        {"step": 24, "file": "step_000000016.safetensors"},
        {"step": "24", "file": "step_000000024.safetensors"},
        {"step": 24},
        {"file": "step_000000024.safetensors"},
    ],
)
def test_index_entry_that_names_another_file_is_refused(finished, tmp_path, entry):
    run = copied(finished, tmp_path)
    run = relisted(run, {"sha256": run.index[24]} | entry)
    with pytest.raises(DamagedFile, match=r"index.jsonl is damaged: line 9 unexpected entry"):
        run.at(24)


class Payload:
    """Unpickled, it would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@for_each("forged", [False, True], ids=["digest-as-written", "digest-forged"])
@for_each("place", ["checkpoint", "resume"])
def test_pickle_posing_as_weights_is_refused_and_does_nothing(finished, tmp_path, forged, place):
    run, mark = copied(finished, tmp_path), tmp_path / "payload-ran"
    hostile = pickle.dumps(Payload(mark))
    if place == "checkpoint":
        (run.path / file_name(24)).write_bytes(hostile)
        if forged:
            run = relisted(run, {"step": 24, "file": file_name(24), "sha256": sha256(hostile)})
        with pytest.raises(DamagedFile, match="not a safetensors file" if forged else "expected SHA-256"):
            run.at(24)
    else:
        (run.path / "resume" / file_name(24)).write_bytes(hostile)
        if forged:
            (run.path / "resume" / f"{file_name(24)}.sha256").write_text(sha256(hostile))
            with pytest.raises(DamagedFile, match="is not the digest that was written"):
                resume.read_resume(run, 24)
            (run.path / "complete.json").unlink()
        with pytest.raises(DamagedFile, match="not a resume point" if forged else "expected SHA-256"):
            resume.read_resume(run, 24)
    assert not mark.exists()
    pickle.loads(hostile)
    assert mark.exists()  # it would have


@for_each("header", [2**62, 2**31, 10**6])
def test_header_that_promises_too_much_is_refused(finished, tmp_path, header):
    run = copied(finished, tmp_path)
    hostile = header.to_bytes(8, "little") + b"{}" * 100
    (run.path / file_name(24)).write_bytes(hostile)
    run = relisted(run, {"step": 24, "file": file_name(24), "sha256": sha256(hostile)})
    with pytest.raises(DamagedFile, match="not a safetensors file"):
        run.at(24)


def test_tensors_of_another_config_are_refused_though_their_digest_is_right(finished, tmp_path):
    run = copied(finished, tmp_path)
    [other] = train([tiny(d_mlp=8)], tmp_path, names=["other"])
    disguised = pack(other.at(24), {"step": 24, "config": run.config.hash})
    for foreign, said in (
        ((other.path / file_name(24)).read_bytes(), f"belongs to another run, of config {other.config.hash}"),
        (disguised, r"does not hold the tensors of its config.*\(8, 8\)\), .*\(8, 16\)\)"),
        ((run.path / file_name(16)).read_bytes(), "does not belong here: it is of step 16"),
    ):
        (run.path / file_name(24)).write_bytes(foreign)
        run = relisted(run, {"step": 24, "file": file_name(24), "sha256": sha256(foreign)})
        with pytest.raises(DamagedFile, match=said):
            run.at(24)


@for_each(
    ("change", "said"),
    [
        (lambda text: text.replace('"alpha":1.0', '"alpha":1.5'), "does not match its hash"),
        (lambda text: text.replace('"alpha":1.0', '"alpha":-1'), "config.json is damaged: alpha: "),
        (lambda text: text.replace('"alpha":1.0', '"alhpa":1.0'), "config.json is damaged: unknown field 'alhpa'"),
        (lambda text: text[:-20] + "}", "config.json is not JSON"),
        (lambda text: '{"a":1}', "config.json is damaged: it holds no config"),
    ],
)
def test_damaged_config_is_refused_in_one_line(finished, tmp_path, change, said):
    run = copied(finished, tmp_path)
    text = (run.path / "config.json").read_text()
    (run.path / "config.json").write_text(change(text))
    assert (run.path / "config.json").read_text() != text
    with pytest.raises(DamagedFile, match="config.json is (damaged|not JSON)") as refused:
        Run(run.path).at(24)
    assert "\n" not in str(refused.value)
    (run.path / "config.json").write_text(text)
    resealed_config(run, change)
    with pytest.raises(DamagedFile, match=said) as refused:
        _ = Run(run.path).config
    assert "\n" not in str(refused.value)


@for_each(
    "change",
    [
        lambda text: text.replace('"threads":1', '"threads":2'),
        lambda text: text.replace('"norm":', '"norm":1'),
        lambda text: text.replace('"split_hash":"', '"split_hash":"0'),
        lambda text: text[:-1],
        lambda text: text + "\n",
        lambda text: " " + text,
    ],
)
def test_config_is_vouched_for_to_the_last_byte(finished, tmp_path, change):
    run = copied(finished, tmp_path)
    text = (run.path / "config.json").read_text()
    (run.path / "config.json").write_text(change(text))
    assert (run.path / "config.json").read_text() != text
    with pytest.raises(DamagedFile, match="config.json is damaged"):
        load(run.path)


def test_newer_format_is_refused_with_both_numbers(finished, tmp_path):
    run = copied(finished, tmp_path)
    resealed_config(run, lambda text: text.replace('"format":3', '"format":4'))
    with pytest.raises(RunError, match="has format 4; this version reads formats 1 to 3"):
        load(run.path)
    resealed_config(run, lambda text: text.replace('"format":4', '"format":1'))
    with pytest.raises(DamagedFile, match="it has a seal, but a format without seals"):
        load(run.path)


def half_trained(folder: Path, until: int = 17, **leaves: Any) -> Run:
    """A run that was stopped, with resume points at the last two steps."""

    class Stopping(Silent):
        def at(self, step, records) -> None:
            if step == until:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([tiny(**leaves)], folder, names=["finished"], progress=Stopping(), save_every_s=0.0)
    run = load(folder / "finished")
    assert usable_resume_steps(run) == [until - 2, until - 1]
    return run


def assert_same_bits(run: Run, other: Run) -> None:
    """Every file; of the resume points, whose moments depend on the clock, the last."""
    last = file_name(run.config.schedule.steps)
    one, two = (
        {name: content for name, content in bits_of(r.path).items() if "resume" not in name or last in name}
        for r in (run, other)
    )
    assert one == two


@pytest.mark.parametrize("damage", ["flip", "cut", "no digest", "missing", "link"])
@pytest.mark.bits
def test_damaged_newest_resume_point_falls_back_to_the_one_before(finished, tmp_path, damage):
    run = half_trained(tmp_path)
    newest_point = run.path / "resume" / file_name(16)
    match damage:
        case "flip":
            flip(newest_point, -5)
        case "cut":
            newest_point.write_bytes(newest_point.read_bytes()[:-100])
        case "no digest":
            (run.path / "resume" / f"{file_name(16)}.sha256").unlink()
        case "missing":
            newest_point.unlink()
        case "link":
            newest_point.rename(tmp_path / "elsewhere")
            newest_point.symlink_to(tmp_path / "elsewhere")
    assert usable_resume_steps(run) == [15]
    starts = []

    class Watching(Silent):
        def begin(self, runs, start, steps) -> None:
            starts.append(start)

    train([tiny()], tmp_path, names=["finished"], progress=Watching())
    assert starts == [15]
    assert_same_bits(run, finished)


@pytest.mark.bits
def test_without_any_resume_point_training_starts_again_with_the_same_bits(finished, tmp_path):
    run = half_trained(tmp_path)
    for file in (run.path / "resume").glob("*.safetensors"):
        flip(file, -5)
    train([tiny()], tmp_path, names=["finished"])
    assert_same_bits(run, finished)


class Notes(Silent):
    """Remembers what it was told, and where training began."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.starts: list[int] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def begin(self, runs, start, steps) -> None:
        self.starts.append(start)


@for_each("name", ["history.jsonl", "index.jsonl", "updates.jsonl"])
@for_each("damage", ["lost", "flip", "swap"])
def test_record_that_is_not_what_it_was_is_never_gone_on_with_and_training_says_so(finished, tmp_path, name, damage):
    run = half_trained(tmp_path)
    content = (run.path / name).read_bytes()
    lines = content.splitlines(keepends=True)
    half = len(content) // 2
    (run.path / name).write_bytes(
        {
            "lost": content[:half],
            "flip": content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
            "swap": b"".join([*lines[:3], lines[4], lines[3], *lines[5:]]),
        }[damage]
    )
    notes = Notes()
    train([tiny()], tmp_path, names=["finished"], progress=notes)
    assert notes.starts == [0]
    assert len(notes.said) == 1 and "the resume point at step 16 cannot be used" in notes.said[0]
    assert f"{name} is damaged" in notes.said[0]
    events = [(event["event"], event["step"]) for event in run.events]
    assert events == [("begun", 0), ("fell_back", 0), ("resumed", 0), ("finished", 24)]
    assert_same_bits(run, finished)


# --- the doctor -------------------------------------------------------------------------------------


def doctor(run: Run, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = command(["doctor", str(run.path)])
    return code, capsys.readouterr().out.splitlines()


def test_doctor_finds_nothing_wrong_with_a_whole_run(finished, capsys):
    code, lines = doctor(finished, capsys)
    assert code == 0
    files = ["config", "history", "index", "updates", "events", "task", "complete", "resume point"]
    assert lines[-1] == f"all {len(files) + len(finished.steps)} files are good; the run is finished"
    assert f"{len(finished.steps)} checkpoints verified" in lines[-2]


def test_doctor_finds_a_damaged_line_about_an_update(finished, tmp_path, capsys):
    run = copied(finished, tmp_path)
    lines = (run.path / "updates.jsonl").read_bytes().splitlines(keepends=True)
    (run.path / "updates.jsonl").write_bytes(b"".join([lines[0], b"{half\n", *lines[2:]]))
    code, said = doctor(run, capsys)
    assert code == 1 and any("updates.jsonl is damaged: line 2 has no seal" in line for line in said)


def test_doctor_lists_all_damage_and_says_what_can_be_used(tmp_path, capsys):
    run = half_trained(tmp_path)
    count = len(run.steps)
    flip(run.path / file_name(8), -1)
    (run.path / file_name(2)).unlink()
    flip(run.path / "resume" / file_name(16), -1)
    code, lines = doctor(run, capsys)
    assert code == 1
    damaged = [line.split()[1].rstrip(":") for line in lines if line.startswith("DAMAGED")]
    assert damaged == [file_name(2), file_name(8), f"resume/{file_name(16)}"]
    assert f"3 damaged; {count - 2} of {count} checkpoints can be used" in lines[-1]
    assert "training can go on from step 15" in lines[-1]


def test_doctor_tells_a_file_that_the_index_does_not_list(finished, tmp_path, capsys):
    run = copied(finished, tmp_path)
    (run.path / file_name(3)).write_bytes((run.path / file_name(2)).read_bytes())
    code, lines = doctor(run, capsys)
    assert code == 0
    assert any(file_name(3) in line and "not in the index" in line for line in lines)


@for_each("name", ["config.json", "index.jsonl", "history.jsonl"])
def test_doctor_names_a_damaged_record(finished, tmp_path, capsys, name):
    run = copied(finished, tmp_path)
    lines = (run.path / name).read_text().splitlines()
    lines[0] = lines[0][: len(lines[0]) // 2]
    (run.path / name).write_text("\n".join(lines) + "\n")
    code, said = doctor(Run(run.path), capsys)
    assert code == 1
    assert any(line.startswith(f"DAMAGED {name}") for line in said)
    assert ("cannot be opened" in said[-1]) == (name != "history.jsonl")


# --- the disk is full (R5) --------------------------------------------------------------------------


@for_each("full_at", ["resume point", "history"])
def test_full_disk_ends_with_74_keeps_what_was_saved_and_goes_on_when_there_is_room(workers, tmp_path, full_at):
    """A limit on the size of a file stands in for the disk: EFBIG comes from the same calls as ENOSPC."""
    leaves = {"steps": 100, "eval_every": {"history": 1, "resume point": 25}[full_at]}
    [unbroken] = train([tiny(**leaves)], tmp_path, names=["unbroken"])
    largest = {
        "history": (unbroken.path / "history.jsonl").stat().st_size // 2,
        "resume point": 2 * (unbroken.path / file_name(100)).stat().st_size,  # it takes three times the weights
    }
    argv = ["sweep", "--preset", "nanda", "--quiet", "--out", str(tmp_path / "sweep"), *tiny_flags(**leaves)]
    ended = workers.wait(workers.cli(*argv, largest_file=largest[full_at], save_every_s=0.02))
    assert ended.code == 74, ended.stderr
    assert len(ended.stderr.splitlines()) == 1 and "what was saved before is whole" in ended.stderr
    run = load(tmp_path / "sweep" / "run")
    assert run.state == "interrupted" and run.steps
    assert all(torch.equal(run.at(s)["embed.W_E"], unbroken.at(s)["embed.W_E"]) for s in run.steps)
    assert not [name for name in files_of(run.path) if name.endswith(".tmp")]
    assert workers.wait(workers.cli(*argv)).code == 0
    assert_same_bits(run, unbroken)


# --- one run, one process (R6) ----------------------------------------------------------------------


def test_of_several_processes_one_trains_and_the_others_name_it_until_it_is_killed(workers, tmp_path):
    flags = tiny_flags(steps=10**6, eval_every=1)
    argv = ["train", "nanda", "--quiet", "--out", str(tmp_path / "run"), *flags]
    history = tmp_path / "run" / "history.jsonl"
    running = {workers.cli(*argv) for _ in range(4)}

    def ended(pid: int) -> Ended:
        running.remove(pid)
        return workers.wait(pid)

    def holder() -> dict[str, Any]:
        file = tmp_path / "run" / ".holder"
        return json.loads(file.read_text()) if file.exists() else {"pid": None}

    try:
        assert any(workers.until(pid, lambda: history.exists() and history.stat().st_size > 0) for pid in running)
        first = holder()
        assert first["pid"] in running and first["host"] == socket.gethostname()
        assert [ended(pid).code for pid in running - {first["pid"]}] == [2, 2, 2]
        late = workers.wait(workers.cli(*argv))
        assert late.code == 2 and len(late.stderr.splitlines()) == 1
        assert f"process {first['pid']} on {first['host']} since {first['since']}" in late.stderr
        os.kill(first["pid"], signal.SIGKILL)
        assert ended(first["pid"]).code == -signal.SIGKILL
        running.add(second := workers.cli(*argv))
        assert workers.until(second, lambda: holder()["pid"] == second)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            workers.wait(pid)


def test_held_run_is_refused_inside_one_process_too_and_free_afterwards(tmp_path):
    with locked(tmp_path):
        assert holder(tmp_path)
        who = f"process {os.getpid()} on {socket.gethostname()} since 20"
        with pytest.raises(LockedRun, match=who), locked(tmp_path):
            pass
    assert not holder(tmp_path) and not (tmp_path / ".holder").exists()
    with locked(tmp_path):
        pass


def test_looking_at_a_run_does_not_keep_a_trainer_from_starting(tmp_path, monkeypatch):
    """`circuitgrok runs` takes the lock for an instant; a trainer that comes just then waits for it."""
    looking = filelock.FileLock(tmp_path / ".lock")
    looking.acquire()
    monkeypatch.setattr(time, "sleep", lambda _: looking.release())
    with locked(tmp_path):
        assert not looking.is_locked


# --- elsewhere --------------------------------------------------------------------------------------


@for_each("key", ["torch", "isa", "threads", "machine"])
def test_other_environment_is_refused_with_the_difference_unless_allowed(finished, tmp_path, key):
    run = half_trained(tmp_path)
    here = run.manifest["environment"][key]

    def change(text: str) -> str:
        manifest = json.loads(text)
        manifest["environment"][key] = "another" if isinstance(here, str) else here + 1
        return canonical_json(manifest)

    resealed_config(run, change)
    with pytest.raises(RunError, match=rf"begun with {key} .* then, {re.escape(repr(here))} now.*--allow-inexact"):
        train([tiny()], tmp_path, names=["finished"])
    [again] = train([tiny()], tmp_path, names=["finished"], allow_inexact=True)
    assert again.state == "finished"
    [noted] = [event for event in again.events if event["event"] == "environment"]
    assert noted["step"] == 16 and [said.split()[0] for said in noted["differences"]] == [key]
    assert torch.equal(again.at(24)["embed.W_E"], finished.at(24)["embed.W_E"])  # the same machine in truth


@pytest.mark.bits
def test_run_resumes_the_same_whatever_was_trained_before_it_in_the_process(finished, tmp_path):
    run = half_trained(tmp_path)
    train([tiny(seed=9)], tmp_path, names=["other"])
    torch.manual_seed(1)
    train([TrainConfig.model_validate(run.manifest["config"])], tmp_path, names=["finished"])
    assert_same_bits(run, finished)
