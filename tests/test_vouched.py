"""A run's files belong to it, its completion is written last, and what happened to it is told."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from loops import for_each
from tiny import bits_of, copied, files_of, flip, rewritten, tiny, usable_resume_steps

import circuitgrok.training.loop
from circuitgrok.errors import DamagedFile
from circuitgrok.faces.cli import run as command
from circuitgrok.faces.doctor import examine
from circuitgrok.faces.repair import repair
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.store import resume
from circuitgrok.store import run as runs
from circuitgrok.store.completion import Completion
from circuitgrok.store.kept import Estimates, digest_file, kept_text, write_vouched
from circuitgrok.store.lines import Lines
from circuitgrok.store.locking import holder
from circuitgrok.store.records import EVALUATED
from circuitgrok.store.run import Run, RunError, load
from circuitgrok.store.weights import file_name
from circuitgrok.table.llc import llc_along, settings_hash
from circuitgrok.training.loop import Interrupted, Silent, train

HOW = Sampling(step_size=2e-4, localization=1000.0, n_draws=24)


class Stopping(Silent):
    """Ends the process's work at a step, as a kill would; remembers what it was told."""

    def __init__(self, at: int) -> None:
        self.last, self.said = at, []

    def at(self, step, records) -> None:
        if step == self.last:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.said.append(text)


def stopped(folder: Path, at: int, **leaves) -> Run:
    with pytest.raises(KeyboardInterrupt):
        train([tiny(**leaves)], folder, names=["finished"], progress=Stopping(at), save_every_s=0.0)
    return load(folder / "finished")


def happened(run: Run) -> list[tuple[str, int]]:
    return [(event["event"], event["step"]) for event in run.events]


def completion_of(run: Run) -> Completion:
    found = run.completion
    assert found is not None
    return found


# --- complete.json comes last -----------------------------------------------------------------------


@for_each("kept", ["resume point", "digest", "event", "completion"])
def test_kill_anywhere_after_the_last_line_leaves_an_interrupted_run_that_the_same_command_completes(
    finished, tmp_path, monkeypatch, kept
):
    """The history has its last line; then come resume point, its digest, the event, complete.json."""

    module, name, is_last = {
        "resume point": (circuitgrok.store.resume, "pieces", lambda _, note: note["step"] == 24),
        "digest": (circuitgrok.store.resume, "_beside", lambda file: file.name == file_name(24)),
        "event": (circuitgrok.store.writer, "add_event", lambda *_: True),
        "completion": (circuitgrok.store.writer, "complete", lambda *_: True),
    }[kept]
    real = getattr(module, name)

    def killed(*given):
        if is_last(*given):
            raise KeyboardInterrupt
        return real(*given)

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(module, name, killed)
        train([tiny()], tmp_path, names=["finished"], save_every_s=0.0)
    run = load(tmp_path / "finished")
    assert run.history.index[-1] == 24 and run.state == "interrupted"
    missing = [finding for finding in examine(run) if not finding.good and finding.file == "complete.json"]
    assert len(missing) == 1 and "the history has come to its end" in missing[0].note
    [again] = train([tiny()], tmp_path, names=["finished"])
    assert again.state == "finished" and usable_resume_steps(again)[-1] == 24
    for name, content in bits_of(finished.path).items():
        assert bits_of(again.path)[name] == content


def test_finished_is_what_complete_json_says_and_not_the_last_line_of_the_history(finished, tmp_path):
    run = copied(finished, tmp_path)
    content = (run.path / "complete.json").read_bytes()
    for damaged in (content[:-1], content.replace(b"finished", b"diverged"), b"{}\n", b"[" * 999):
        (run.path / "complete.json").write_bytes(damaged)
        with pytest.raises(DamagedFile, match="complete.json is damaged"):
            _ = load(run.path).state
    (run.path / "complete.json").unlink()
    assert load(run.path).state == "interrupted"


@for_each("name", ["history.jsonl", "index.jsonl", "updates.jsonl", "events.jsonl"])
def test_record_that_lost_its_last_line_is_refused_by_its_reader_and_by_who_asks_for_the_state(
    finished, tmp_path, name
):
    run = copied(finished, tmp_path)
    lines = (run.path / name).read_bytes().splitlines(keepends=True)
    (run.path / name).write_bytes(b"".join(lines[:-1]))
    with pytest.raises(DamagedFile, match=rf"{name} is damaged: {len(lines) - 1} whole lines.*but {len(lines)} ending"):
        list(run.records(name))
    with pytest.raises(DamagedFile, match=f"{name} is damaged"):
        _ = run.state


def test_old_run_without_seals_reads_as_it_did_and_the_doctor_calls_it_unsealed():
    run = load("checkpoints/reference")
    assert (run.sealed, run.state, len(run.history), len(run.updates), run.events) == (False, "finished", 412, 25, [])
    findings = examine(run)
    assert all(finding.good for finding in findings) and "unsealed" in findings[0].note
    assert repair(run) == ["the run has an old format without seals: nothing proves what its files held"]


# --- files belong to their run ----------------------------------------------------------------------


def test_resume_points_of_another_run_are_not_gone_on_from(finished, tmp_path):
    other = stopped(tmp_path / "other", at=20, seed=1)
    run = stopped(tmp_path, at=17)
    shutil.rmtree(run.path / "resume")
    shutil.copytree(other.path / "resume", run.path / "resume")
    with pytest.raises(DamagedFile, match=f"it belongs to another run, of config {other.config.hash}"):
        resume.read_resume(run, 19)
    watching = Stopping(-1)
    [again] = train([tiny()], tmp_path, names=["finished"], progress=watching)
    assert "belongs to another run" in watching.said[0]
    assert torch.equal(again.at(24)["embed.W_E"], finished.at(24)["embed.W_E"])
    assert happened(again) == [("begun", 0), ("fell_back", 0), ("resumed", 0), ("finished", 24)]


def test_resume_point_of_another_step_is_not_gone_on_from(tmp_path):
    run = stopped(tmp_path, at=17)
    for ending in ("", ".sha256"):
        shutil.copy(run.path / "resume" / f"{file_name(15)}{ending}", run.path / "resume" / f"{file_name(16)}{ending}")
    with pytest.raises(DamagedFile, match=f"{file_name(16)} does not belong here: it is of step 15"):
        resume.read_resume(run, 16)
    assert usable_resume_steps(run) == [15]


def test_folder_that_lost_its_config_is_not_taken_for_an_empty_one(finished, tmp_path):
    run = copied(finished, tmp_path)
    (run.path / "config.json").unlink()
    before = files_of(run.path)
    for config in (tiny(), tiny(alpha=2.0)):
        with pytest.raises(RunError, match=r"has no config.json, but complete.json, events.jsonl, .* of a run"):
            train([config], tmp_path, names=[run.name])
    assert files_of(run.path) == before


def test_task_that_is_drawn_otherwise_now_is_refused(finished, tmp_path, monkeypatch):
    run = stopped(tmp_path, at=17)
    drawn = run.config.task.draw()
    other = tiny(data_seed=5).task.draw()
    monkeypatch.setattr(type(run.config.task), "draw", lambda self: other)
    with pytest.raises(RunError, match=f"split {drawn.split_hash}, but drawn again it has {other.split_hash}"):
        train([tiny()], tmp_path, names=["finished"])
    with pytest.raises(DamagedFile, match=f"split {drawn.split_hash}, but drawn again it has {other.split_hash}"):
        _ = run.task
    assert [finding.file for finding in examine(run) if not finding.good] == ["its task"]


def test_nothing_is_removed_from_a_folder_that_is_no_run_or_another(finished, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "config.json").write_text("{}")
    left = [".draft.7.tmp", f".{file_name(24)}.99.tmp"]
    for name in left:
        (theirs / name).write_bytes(b"half")
    with pytest.raises(DamagedFile, match="it holds no config"):
        train([tiny()], tmp_path, names=["theirs"])
    assert {*left, "config.json"} <= {*os.listdir(theirs)}
    run = copied(finished, tmp_path)
    for name in left:
        (run.path / name).write_bytes(b"half")
    with pytest.raises(RunError, match="holds a different run"):
        train([tiny(alpha=2.0)], tmp_path, names=[run.name])
    assert {*left} <= {*os.listdir(run.path)}
    train([tiny()], tmp_path, names=[run.name])
    assert {*left} & {*os.listdir(run.path)} == {".draft.7.tmp"}


@for_each("folder", ["resume", "moments"])
def test_linked_folder_of_states_is_neither_read_nor_emptied(finished, tmp_path, folder):
    run = copied(finished, tmp_path)
    theirs = tmp_path / "theirs"
    shutil.copytree(run.path / "resume", theirs)
    if (run.path / folder).exists():
        shutil.rmtree(run.path / folder)
    (run.path / folder).symlink_to(theirs)
    before = files_of(theirs)
    with pytest.raises(DamagedFile, match="is a link"):
        resume.read_resume(run, 24, folder)
    with pytest.raises(DamagedFile, match="is a link"):
        resume.drop_resume(run, [24], folder)
    assert files_of(theirs) == before and f"{folder}/" in {f.file for f in examine(run) if not f.good}


# --- who is at work ---------------------------------------------------------------------------------


def test_run_whose_lock_cannot_be_written_is_interrupted_and_not_running(tmp_path, monkeypatch):
    run = stopped(tmp_path, at=17)
    (run.path / ".lock").chmod(0o444)
    assert not holder(run.path) and run.state == "interrupted"
    (run.path / ".lock").unlink()
    os.mkfifo(run.path / ".lock")
    assert not holder(run.path)
    with pytest.raises(DamagedFile, match=r"\.lock is a link, a folder or a pipe"):
        train([tiny()], tmp_path, names=["finished"])


# --- events -----------------------------------------------------------------------------------------


def test_events_tell_how_a_run_came_to_its_end(tmp_path, monkeypatch):
    class Asking(Silent):
        def at(self, step, records) -> None:
            if step == 5:
                os.kill(os.getpid(), 15)

    with pytest.raises(Interrupted):
        train([tiny()], tmp_path, names=["run"], progress=Asking())
    monkeypatch.setattr(circuitgrok.training.loop, "differences", lambda there, here: ["isa 'AVX2' then, 'AVX512' now"])
    [run] = train([tiny()], tmp_path, names=["run"], allow_inexact=True)
    assert happened(run) == [("begun", 0), ("stopped", 5), ("environment", 5), ("resumed", 5), ("finished", 24)]
    assert run.events[1]["signal"] == "SIGTERM" and run.events[2]["differences"] == ["isa 'AVX2' then, 'AVX512' now"]
    assert completion_of(run).records["events.jsonl"].lines == 5


def test_diverged_run_is_complete_as_such(tmp_path):
    [run] = train([tiny(lr=1e6, steps=10**4, checkpoint_every=10**4)], tmp_path, names=["run"])
    assert run.state == "diverged" and completion_of(run).resume == {}
    assert happened(run) == [("begun", 0), ("diverged", completion_of(run).step)]
    assert all(finding.good for finding in examine(run))


# --- what is read, and how often --------------------------------------------------------------------


def test_index_is_read_once_for_many_checkpoints_and_again_after_it_has_changed(finished, tmp_path, monkeypatch):
    run = copied(finished, tmp_path)
    for name in ("index.jsonl", "complete.json", "events.jsonl"):
        os.utime(run.path / name, (1e9, 1e9))
    read = []
    monkeypatch.setattr(runs, "Lines", lambda path, first: (read.append(path.name), Lines(path, first))[1])
    for step in run.steps * 3:
        run.at(step)
    assert read == ["index.jsonl", "events.jsonl"]
    entries = list(Lines(run.path / "index.jsonl", run.first("index.jsonl")))
    rewritten(run, "index.jsonl", entries[:-1])
    assert run.steps == finished.steps[:-1]


@for_each(
    ("name", "record", "said"),
    [
        ("history.jsonl", {"step": "0"}, "no number train_loss"),
        ("history.jsonl", {"step": 3, "diverged": 1}, "unexpected entry"),
        (
            "history.jsonl",
            dict.fromkeys(["step", *EVALUATED[:-1]], 1),
            "no number norm",
        ),
        ("updates.jsonl", {"step": 0, "angle": [1.0]}, "no finite number at angle"),
        ("updates.jsonl", {"angle": 1.0}, "has no step"),
        ("updates.jsonl", {"step": 1.5}, "has no step"),
        ("events.jsonl", {"step": 0, "event": ["begun"]}, "unexpected entry"),
        ("index.jsonl", {"step": True}, "unexpected entry"),
    ],
)
def test_record_of_another_shape_is_refused_with_file_and_line_though_its_seal_is_right(
    finished, tmp_path, name, record, said
):
    run = rewritten(copied(finished, tmp_path), name, [record])
    with pytest.raises(DamagedFile, match=f"{name} is damaged: line 1 .*{said}"):
        list(run.records(name))


def test_records_whose_steps_do_not_increase_are_refused_with_or_without_seals(finished, tmp_path):
    run = copied(finished, tmp_path)
    entries = list(run.records("index.jsonl"))
    run = rewritten(run, "index.jsonl", [entries[0], entries[2], entries[1]])
    with pytest.raises(DamagedFile, match="index.jsonl is damaged: line 3 is of step 1, after one of step 2"):
        _ = run.index


# --- estimates --------------------------------------------------------------------------------------


def test_half_line_of_estimates_is_cut_off_and_measured_again(finished, tmp_path):
    run = copied(finished, tmp_path)
    whole = llc_along(run, HOW, run.steps[-2:])
    file = run.path / "llc" / f"{settings_hash(HOW)}.jsonl"
    kept = Estimates(file, run.config.hash)
    [first, second] = kept
    for path in (file, file.with_name(f"{file.name}.head")):
        path.unlink()
    kept.add([first])
    with open(file, "ab") as lines:
        lines.write(json.dumps(second).encode()[:40])
    again = llc_along(run, HOW, run.steps[-2:])
    exact = ["llc", "llc_mcse", "llc_status"]  # the curvature is found for all checkpoints at once, to its last bits
    assert again[exact].equals(whole[exact])
    assert [line["step"] for line in Estimates(file, run.config.hash)] == run.steps[-2:]


def test_estimate_without_its_diagnostics_or_of_another_run_is_refused(finished, tmp_path):
    run = copied(finished, tmp_path)
    llc_along(run, HOW, run.steps[-1:])
    file = run.path / "llc" / f"{settings_hash(HOW)}.jsonl"
    mark = file.with_name(f"{file.name}.head")
    [line] = Estimates(file, run.config.hash)
    for owner, record, said in (
        (run.config.hash, {"step": 24, "sha256": "0" * 64, "llc": 1.0}, "does not hold llc, llc_mcse"),
        (run.config.hash, line | {"llc_r_hat": "1.0"}, "does not hold"),
        ("another", line, "does not fit its seal"),
    ):
        file.unlink()
        mark.unlink()
        Estimates(file, owner).add([record])
        with pytest.raises(DamagedFile, match=f"{file.name}.* damaged.*{said}.*to measure again"):
            llc_along(run, HOW, run.steps[-1:])


# --- repair -----------------------------------------------------------------------------------------


def mended(run: Run, capsys) -> list[str]:
    """Repair by the command; what it says. The doctor finds nothing afterwards."""
    code = command(["doctor", str(run.path), "--repair"])
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("repair")]
    assert code == 0, said
    assert [finding for finding in examine(load(run.path)) if not finding.good] == []
    return said


@for_each("name", ["index.jsonl", "complete.json", f"resume/{file_name(24)}.sha256"])
@for_each("damage", ["flip", "cut", "removed"])
def test_what_the_other_files_prove_is_rebuilt_byte_for_byte(finished, tmp_path, capsys, name, damage):
    run, before = copied(finished, tmp_path), bits_of(finished.path)
    content = (run.path / name).read_bytes()
    match damage:
        case "flip":
            flip(run.path / name, 30)
        case "cut":
            (run.path / name).write_bytes(content[:-40])
        case "removed":
            (run.path / name).unlink()
    said = mended(run, capsys)
    assert any(name.removesuffix(".sha256") in line for line in said)
    assert bits_of(run.path) == before and load(run.path).state == "finished"
    assert happened(load(run.path))[-1][0] == "repaired"


@for_each("name", ["history.jsonl", "updates.jsonl"])
def test_record_that_nothing_proves_makes_the_run_interrupted_and_training_goes_on(finished, tmp_path, capsys, name):
    run = copied(finished, tmp_path)
    flip(run.path / name, 40)
    with pytest.raises(DamagedFile, match=name):
        list(run.records(name))
    assert command(["doctor", str(run.path), "--repair"]) == 1
    said = capsys.readouterr().out
    assert f"{name}: cannot be rebuilt; the run is interrupted now" in said
    assert load(run.path).state == "interrupted"
    [again] = train([tiny()], tmp_path, names=[run.name])
    assert again.state == "finished" and bits_of(again.path) == bits_of(finished.path)


def test_events_and_resume_points_that_do_not_verify_are_cut_and_removed(finished, tmp_path, capsys):
    run = copied(finished, tmp_path)
    flip(run.path / "events.jsonl", -10)
    flip(run.path / "resume" / file_name(24), -10)
    said = "\n".join(mended(run, capsys))
    assert "events.jsonl: 1 events kept" in said and f"resume/{file_name(24)}: removed" in said
    run = load(run.path)
    assert run.state == "finished" and [event["event"] for event in run.events] == ["begun", "repaired"]
    assert completion_of(run).resume == {}


def test_weights_that_are_damaged_cannot_be_rebuilt_and_the_doctor_says_so(finished, tmp_path, capsys):
    run = copied(finished, tmp_path)
    flip(run.path / file_name(8), -1)
    assert command(["doctor", str(run.path), "--repair"]) == 1
    assert f"{file_name(8)}: cannot be rebuilt" in capsys.readouterr().out
    assert len(load(run.path).steps) == len(finished.steps)


@for_each("damage", ["flip", "no digest"])
def test_summary_that_does_not_verify_is_written_again_and_an_old_one_is_printed(tmp_path, damage):
    saved = tmp_path / "summary.txt"
    assert kept_text(saved, sealed=True) == ""
    write_vouched(saved, b"grokked at 100\n")
    assert kept_text(saved, sealed=True) == "grokked at 100\n"
    if damage == "flip":
        flip(saved, 12)
        assert kept_text(saved, sealed=False) == ""
    else:
        digest_file(saved).unlink()
        assert kept_text(saved, sealed=False) == "grokked at 100\n"
    assert kept_text(saved, sealed=True) == ""
