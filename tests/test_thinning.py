"""Thinning: what goes is said first, what stays is verified, and a kill in between loses nothing else."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from loops import for_each
from test_runs import doctor, half_trained
from tiny import bits_of, copied, files_of, flip, json_lines, tiny

import circuitgrok as cg
from circuitgrok.errors import DamagedFile, RunError, UserError
from circuitgrok.faces.cli import run as command
from circuitgrok.measures.learning.crossings import events
from circuitgrok.store import thinning as module
from circuitgrok.store import writer
from circuitgrok.store.gaps import Gap
from circuitgrok.store.run import Run, load
from circuitgrok.store.thinning import thin, thinning
from circuitgrok.store.weights import file_name
from circuitgrok.training.loop import train


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Run:
    """A finished run with every step saved, and its moments."""
    sizes = {"d_model": 16, "d_head": 8, "d_mlp": 32, "steps": 60}  # with which it memorises
    config = tiny(eval_every=1, checkpoint_every=1, keep_moments=True, lr=0.03, frac_train=0.3, **sizes)
    return train([config], tmp_path_factory.mktemp("dense"), names=["dense"])[0]


# --- the plan ---------------------------------------------------------------------------------------


def test_plan_keeps_what_each_rule_asks_for_and_changes_nothing(dense):
    before = files_of(dense.path)
    assert thinning(dense, checkpoint_every=20).kept == [0, 20, 40, 60]
    assert thinning(dense, checkpoints_per_decade=2).kept == [0, 1, 3, 10, 32, 60]
    assert thinning(dense, checkpoint_every=25, checkpoints_per_decade=1).kept == [0, 1, 10, 25, 50, 60]
    for plan in (thinning(dense, checkpoint_every=7), thinning(dense, around_events=0)):
        assert sorted(plan.kept + plan.removed) == dense.steps
        sizes = [
            (dense.path / folder / file_name(step)).stat().st_size
            for step in plan.removed
            for folder in ("", "moments")
        ]
        assert plan.freed == sum(sizes)
    assert files_of(dense.path) == before


def test_plan_keeps_all_within_a_window_of_the_events_of_the_history(dense):
    found = [(event.after, event.by) for event in events(dense.history).values() if event.by is not None]
    assert found, "the run memorises"
    plan = thinning(dense, around_events=3)
    near = {s for s in dense.steps for after, by in found if after - 3 <= s <= by + 3}
    assert plan.kept == sorted(near | {0, 60}) and len(plan.removed) > 20


def test_of_sparse_checkpoints_the_nearest_to_what_is_asked_for_stays(finished):
    assert finished.steps == [0, 1, 2, 5, 8, 10, 16, 22, 24]
    assert thinning(finished, checkpoint_every=6).kept == [0, 5, 10, 16, 24]  # of 0, 6, 12, 18, 24


@for_each(
    ("rules", "said"),
    [
        ({}, "say what to keep by checkpoint_every, checkpoints_per_decade, around_events"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1 and at most 999999999; got 0"),
        ({"checkpoints_per_decade": 1001}, "checkpoints_per_decade must be at least 1 and at most 1000; got 1001"),
        ({"around_events": -1}, "around_events must be at least 0"),
    ],
)
def test_rules_out_of_range_are_refused(finished, rules, said):
    with pytest.raises(UserError, match=said):
        thinning(finished, **rules)


def test_run_that_is_not_over_is_refused(tmp_path):
    with pytest.raises(RunError, match="is interrupted: a run is thinned when it is over"):
        thinning(half_trained(tmp_path), checkpoint_every=10)


# --- carried out ------------------------------------------------------------------------------------


def test_thinned_run_has_what_was_kept_bit_for_bit_and_says_what_is_gone(dense, tmp_path, capsys):
    run = copied(dense, tmp_path)
    before, digests = files_of(run.path), run.index
    plan = thin(thinning(run, checkpoint_every=20))
    assert run.steps == load(run.path).steps == [0, 20, 40, 60]
    assert run.thinned == [Gap(0, 20, 19), Gap(20, 40, 19), Gap(40, 60, 19)]
    assert run.index == {step: digests[step] for step in run.steps}
    gone = {name for step in plan.removed for name in (file_name(step), f"moments/{file_name(step)}")}
    gone |= {f"moments/{file_name(step)}.sha256" for step in plan.removed}
    after = files_of(run.path)
    assert before.keys() - after.keys() == gone
    assert plan.freed == sum(len(before[name]) for name in gone if not name.endswith(".sha256"))
    assert {name for name in after if after[name] != before[name]} == {"events.jsonl", "complete.json"}
    assert run.events[-1] == {
        "event": "thinned",
        "step": 60,
        "removed": [[1, 19], [21, 39], [41, 59]],
        "rule": "first and last, every 20 steps",
        "checkpoints": 57,
    }
    code, lines = doctor(run, capsys)
    assert code == 0 and run.state == "finished"
    assert any("thinned: 57 checkpoints were removed, in 3 gaps" in line for line in lines)
    assert "4 checkpoints verified" in lines[-2]
    with pytest.raises(RunError, match=r"no checkpoint at step 19; the nearest are \[20, 0, 40\]"):
        run.at(19)
    assert events(run.history) == events(dense.history)


def test_measures_of_a_thinned_run_are_those_of_before_and_its_path_is_a_lower_bound_that_says_so(dense, tmp_path):
    groups: list[Any] = ["polar", "circuits", "updates"]
    run = copied(dense, tmp_path)
    before = cg.measure(run, groups)
    thin(thinning(run, checkpoint_every=20))
    after = cg.measure(run, groups)
    assert "thinned" not in before.attrs and list(after.index) == [0, 20, 40, 60]
    said = after.attrs["thinned"]
    assert said.startswith("57 checkpoints were removed between steps 0 and 60: radial_distance")
    same = [name for name in before if not str(name).startswith(("radial_d", "angular_", "arc_length"))]
    assert len(same) > 50
    pd.testing.assert_frame_equal(after[same], before.loc[after.index, same], rtol=1e-12, atol=1e-12)  # sums of others
    bounds = [name for name in before if str(name).startswith(("radial_distance", "angular_distance", "arc_length"))]
    full = before.loc[after.index, bounds]
    assert bool((after[bounds] <= full * (1 + 1e-12)).all(axis=None))
    assert bool((after["arc_length"].iloc[1:] < full["arc_length"].iloc[1:]).all())
    assert "thinned" not in cg.measure(run, ["circuits"]).attrs
    assert "thinned" not in cg.measure(run, ["polar"], [20]).attrs  # no path between


def test_a_run_is_thinned_again_and_again(dense, tmp_path):
    run = copied(dense, tmp_path)
    for every in (2, 10, 30):
        thin(thinning(run, checkpoint_every=every))
        assert run.steps == list(range(0, 61, every))
    assert run.thinned == [Gap(0, 30, 29), Gap(30, 60, 29)]
    plan = thinning(run, checkpoint_every=30)
    assert (plan.removed, plan.left, plan.freed) == ([], [], 0)


def test_many_gaps_are_said_in_several_lines(dense, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_GAPS_OF_A_LINE", 7)
    run = copied(dense, tmp_path)
    thin(thinning(run, checkpoint_every=2))
    assert run.steps == list(range(0, 61, 2)) and len(run.thinned) == 30
    assert [len(event["removed"]) for event in run.events if event["event"] == "thinned"] == [7, 7, 7, 7, 2]


def test_damage_of_what_is_kept_stops_a_thinning_before_it_removes_anything(dense, tmp_path):
    run = copied(dense, tmp_path)
    flip(run.path / file_name(20), -1)
    before, plan = files_of(run.path), thinning(run, checkpoint_every=20)
    with pytest.raises(DamagedFile, match=file_name(20)):
        thin(plan)
    assert {n: c for n, c in files_of(run.path).items() if n != ".holder"} == before


def test_a_plan_that_the_run_has_outlived_is_refused(dense, tmp_path):
    run = copied(dense, tmp_path)
    old = thinning(run, checkpoint_every=2)
    thin(thinning(run, checkpoint_every=10))
    with pytest.raises(RunError, match="has changed since the thinning was planned"):
        thin(old)


# --- kills ------------------------------------------------------------------------------------------


@for_each("killed", ["before the event", "behind the event", "among the files"])
def test_a_thinning_that_is_killed_leaves_a_whole_run_and_the_same_command_ends_it(dense, tmp_path, killed, capsys):
    run, whole = copied(dense, tmp_path / "killed"), copied(dense, tmp_path / "whole")
    thin(thinning(whole, checkpoint_every=20))
    with pytest.MonkeyPatch.context() as patch:

        def die(*_, **__):
            raise KeyboardInterrupt

        if killed == "before the event":
            patch.setattr(module, "add_event", die)
        elif killed == "behind the event":  # complete.json does not know of it yet
            patch.setattr(writer.Completion, "write", die)
        else:
            drop, left = module.drop_resume, iter(range(10))
            patch.setattr(module, "drop_resume", lambda *a: drop(*a) if next(left) < 9 else die())
        with pytest.raises(KeyboardInterrupt):
            thin(thinning(run, checkpoint_every=20))
    assert run.steps == (dense.steps if killed == "before the event" else [0, 20, 40, 60])
    assert doctor(run, capsys)[0] == 0 and run.state == "finished"
    assert all(torch.equal(run.at(step)["embed.W_E"], dense.at(step)["embed.W_E"]) for step in run.steps)
    assert command(["thin", str(run.path), "--checkpoint-every", "20", "--yes"]) == 0
    assert bits_of(run.path) == bits_of(whole.path)


def test_events_that_are_damaged_leave_the_kept_checkpoints_readable_and_the_others_missing_by_name(dense, tmp_path):
    run = copied(dense, tmp_path)
    thin(thinning(run, checkpoint_every=20))
    lines = (run.path / "events.jsonl").read_bytes().splitlines(keepends=True)
    (run.path / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    run = load(run.path)
    assert torch.equal(run.at(20)["embed.W_E"], dense.at(20)["embed.W_E"])
    with pytest.raises(DamagedFile, match=rf"{file_name(19)} is missing though the index lists it"):
        run.at(19)
    with pytest.raises(DamagedFile, match="events.jsonl is damaged"):
        _ = run.events


# --- training goes on -------------------------------------------------------------------------------


def test_thinned_run_is_left_alone_by_its_command_and_a_longer_one_starts_from_its_end(dense, tmp_path):
    run = copied(dense, tmp_path)
    thin(thinning(run, checkpoint_every=20))
    before = files_of(run.path)
    train([run.config], tmp_path, names=[run.name])
    assert files_of(run.path) == before
    more = {"steps": 10, "start_moments": True}
    longer, same = (
        train([dense.config.with_(start=f"{source.path}@60", **more)], tmp_path, names=[name])[0]
        for name, source in (("longer", run), ("same", dense))
    )
    assert longer.state == "finished"
    assert torch.equal(longer.at(10)["embed.W_E"], same.at(10)["embed.W_E"])


@for_each("start", [0, 41])
def test_thinned_run_that_is_trained_again_has_its_checkpoints_from_there_on(dense, tmp_path, start):
    """As after `doctor --repair` of a record that lost something."""
    folder = tmp_path / "again"

    class Stopping(cg.training.progress.Silent):
        def at(self, step, records) -> None:
            if step == 42:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([dense.config], folder, names=["dense"], progress=Stopping(), save_every_s=0.0)
    point = files_of(folder / "dense" / "resume")
    [run] = train([dense.config], folder, names=["dense"])
    thin(thinning(run, checkpoint_every=20))
    (run.path / "complete.json").unlink()
    for file in (run.path / "resume").glob("*"):
        file.unlink()
    if start:
        for name, content in point.items():
            (run.path / "resume" / name).write_bytes(content)
    else:
        (run.path / "history.jsonl").write_bytes(b"")
    [again] = train([dense.config], folder, names=["dense"])
    assert again.steps == (dense.steps if not start else [0, 20, 40, *range(42, 61)])
    assert all(torch.equal(again.at(s)["embed.W_E"], dense.at(s)["embed.W_E"]) for s in again.steps)


# --- the command ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


def test_command_says_what_goes_and_asks_before_it_removes(dense, tmp_path, monkeypatch, capsys):
    run = copied(dense, tmp_path)
    before = files_of(run.path)
    argv = ["thin", str(run.path), "--checkpoint-every", "20", "--around-events", "1"]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert command(argv) == 2
    said = capsys.readouterr()
    assert "of 61 checkpoints go" in said.out and "MB with them" in said.out
    assert "first and last, every 20 steps, all within 1 steps of memorised and grokked" in said.out
    assert "nothing was removed: there is nobody to ask; --yes removes without asking" in said.err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert command(argv) == 0
    assert "nothing was removed" in capsys.readouterr().out and files_of(run.path) == before
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert command(argv) == 0
    assert run.steps == thinning(dense, checkpoint_every=20, around_events=1).kept
    capsys.readouterr()
    assert command([*argv, "--yes"]) == 0 and "nothing to remove" in capsys.readouterr().out
    assert command(["thin", str(run.path)]) == 2
    assert "say what to keep by checkpoint_every" in capsys.readouterr().err


def test_summary_that_was_kept_is_written_anew_and_says_what_the_path_cannot_tell(dense, tmp_path, capsys):
    run = copied(dense, tmp_path)
    (run.path / "summary.txt").write_text("old\n")
    assert command(["thin", str(run.path), "--checkpoint-every", "20", "--yes"]) == 0
    assert not (Path(run.path) / "summary.txt").exists()
    capsys.readouterr()
    assert command(["measure", str(run.path), "--quiet"]) == 0
    assert "thinned      57 checkpoints were removed between steps 0 and 60" in capsys.readouterr().out


def test_event_of_a_thinning_that_no_thinning_writes_is_refused(dense, tmp_path):
    run = copied(dense, tmp_path)
    for wrong in ([[3, 1]], [[1]], "all", [[1, 2.5]]):
        writer.add_event(run, "thinned", 60, removed=wrong)
        with pytest.raises(DamagedFile, match="unexpected entry"):
            _ = run.events
        lines = [line for line in json_lines(run.path / "events.jsonl") if line["event"] != "thinned"]
        writer.write_records(run, "events.jsonl", lines)
        said = json.loads((run.path / "complete.json").read_text())
        (run.path / "complete.json").unlink()
        writer.complete(run, "finished", 60, said["resume"], {})


# --- without its resume point -----------------------------------------------------------------------


def test_a_run_without_its_resume_point_is_whole_measured_as_ever_and_not_trained_on(dense, tmp_path, capsys):
    copy = copied(dense, tmp_path)
    before = cg.measure(copy, ["polar"])
    plan = thinning(copy, drop_resume_point=True)
    assert plan.removed == [] and plan.kept == dense.steps and plan.resume and "cannot go on" in str(plan)
    assert plan.freed == sum(file.stat().st_size for file in (copy.path / "resume").glob("*.safetensors"))
    thin(plan)
    assert list((copy.path / "resume").glob("*")) == []
    whole = load(copy.path)
    assert whole.state == "finished" and doctor(whole, capsys)[0] == 0
    pd.testing.assert_frame_equal(cg.measure(whole, ["polar"]), before)
    [same] = train([dense.config], tmp_path, names=[copy.path.name])  # the same command finds it finished
    assert same.steps == dense.steps and same.state == "finished"


def test_killed_between_the_two_it_is_as_good_as_either_and_the_same_command_removes_the_rest(
    dense, tmp_path, monkeypatch, capsys
):
    copy = copied(dense, tmp_path)

    def killed(run: Run, steps: Any, folder: str = "resume") -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "drop_resume", killed)
    with pytest.raises(KeyboardInterrupt):
        thin(thinning(copy, drop_resume_point=True))
    monkeypatch.undo()
    assert load(copy.path).state == "finished" and doctor(copy, capsys)[0] == 0
    thin(thinning(load(copy.path), drop_resume_point=True))
    assert list((copy.path / "resume").glob("*")) == [] and doctor(copy, capsys)[0] == 0
