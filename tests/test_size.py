"""Bytes of a run from its config, against the files of a run."""

import json

import pytest
from loops import for_each
from tiny import tiny
from tiny_kinds import LEAVES, tiny_kind

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.store.size import (
    HISTORY_LINE,
    REMEMBERED,
    UPDATES_LINE,
    checkpoint_bytes,
    checkpoints_bytes,
    resume_point_bytes,
    run_bytes,
)
from circuitgrok.store.weights import file_name
from circuitgrok.training.loop import train
from circuitgrok.training.stack import new_stack, state_of

SHORTEST, LONGEST = len("0"), len("-2.2250738585072014e-308")  # of a finite float64 in JSON


@pytest.fixture(scope="module")
def finished_here(tmp_path_factory):
    """Runs of every kind, in one number format or the other."""
    configs = {name: tiny_kind(name) for name in LEAVES} | {
        "plain": tiny(),
        "float64": tiny(precision="float64", steps=120, checkpoint_every=7),
        "two layers": tiny(n_layers=2, keep_moments=True),
    }
    runs = train(list(configs.values()), tmp_path_factory.mktemp("runs"), names=list(configs))
    return {name: run for name, run in zip(configs, runs, strict=True) if run.state == "finished"}


def bytes_below(folder, pattern="*") -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern) if file.is_file())


def test_files_of_weights_are_as_long_as_was_said_to_the_byte(finished_here):
    assert len(finished_here) == len(LEAVES) + 3
    for name, run in finished_here.items():
        lengths = {step: (run.path / file_name(step)).stat().st_size for step in run.steps}
        assert lengths == {step: checkpoint_bytes(run.config, step) for step in run.steps}, name
        assert run_bytes(run.config).checkpoints == checkpoints_bytes(run.config, run.steps) == sum(lengths.values())


def test_records_are_as_long_as_their_numbers_allow(finished_here):
    """A line of n numbers is (LONGEST - SHORTEST) n longer at most than one of the shortest."""
    for name, run in finished_here.items():
        records = {record: [*run.records(f"{record}.jsonl")] for record in ("history", "updates")}
        shortest = {record: min(len(json.dumps(line)) for line in lines) for record, lines in records.items()}
        numbers = sum(len(line) for lines in records.values() for line in lines)
        lines = {record: (run.path / f"{record}.jsonl").stat().st_size / len(records[record]) for record in records}
        said = run_bytes(run.config, lines["history"], lines["updates"])
        found = bytes_below(run.path, "*.json*")
        assert shortest["history"] > 0 and abs(said.records - found) <= numbers * (LONGEST - SHORTEST) + 8000, name


def test_lines_of_a_run_that_is_not_there_yet_are_as_long_as_those_of_one_that_is(finished_here):
    run = finished_here["plain"]
    for record, said in (("history", HISTORY_LINE), ("updates", UPDATES_LINE)):
        numbers = [len(line) for line in run.records(f"{record}.jsonl")]
        length = (run.path / f"{record}.jsonl").stat().st_size / len(numbers)
        assert abs(length - said) <= max(numbers) * (LONGEST - SHORTEST), record


def test_resume_points_take_what_was_said_at_most(finished_here):
    for name, run in finished_here.items():
        found = bytes_below(run.path / "resume") + (bytes_below(run.path / "moments") if "two" in name else 0)
        said = run_bytes(run.config).resume
        digests = 64 * (2 + len(run.steps))
        assert found <= said + digests and found > said / 4, name


@for_each("rule", REMEMBERED)
def test_no_rule_remembers_more_than_was_said(rule):
    config = tiny(rule=rule, **({"momentum": 0.9} if rule in ("sgd", "rmsprop", "muon") else {}))
    state = state_of(new_stack([config]), 0)
    assert sum(value.nbytes for value in state.values()) <= resume_point_bytes(config)


@for_each(
    "leaves",
    [{"grokfast_ema": 2.0}, {"grokfast_ma": 2.0, "grokfast_window": 5}, {"fixed_norm": True}, {"l2": 0.1}],
)
def test_no_intervention_remembers_more_than_was_said(leaves):
    config = tiny(**leaves)
    state = state_of(new_stack([config]), 0)
    assert sum(value.nbytes for value in state.values()) <= resume_point_bytes(config)


def test_a_config_of_a_million_checkpoints_is_counted():
    config = TrainConfig().with_(steps=999_990, checkpoint_every=10)
    assert run_bytes(config).checkpoints >= 1e5 * checkpoint_bytes(config)
