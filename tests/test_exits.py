"""How a command ends: what a user can mend is one line and 2, a fault of this package a traceback and 70."""

import numpy as np
import pytest
import torch
from loops import for_each
from tiny import copied, tiny

import circuitgrok
from circuitgrok.faces.cli import run as call
from circuitgrok.store import run as runs
from circuitgrok.store.environment import environment
from circuitgrok.store.run import load
from circuitgrok.store.writer import create
from circuitgrok.table.measure import measure
from circuitgrok.training.beginning import start_facts

AT = ("--step-size", "1e-4", "--localization", "100", "--n-draws", "8")
# What only shows once the run is there: words after RUN, and what is said.
REFUSED = {
    "batch of llc": ("measure", ["--measures", "llc", *AT, "--batch-size", "999"], "batch_size must be at most the"),
    "batch of explore": ("explore", [*AT, "--batch-size", "999"], "batch_size must be at most the 60 pairs; got 999"),
    "prior": ("explore", [*AT, "--prior", "-1"], "a prior's precision must be 0 or more; got -1.0"),
    "jitter": ("explore", [*AT, "--sampler", "hmc", "--jitter", "2"], "jitter must be 0 or more and below 1; got 2.0"),
    "head": ("measure", ["--measures", "llc", *AT, "--parameters", "blocks.7.attn.head.9"], "no head"),
    "role": ("measure", ["--measures", "llc", *AT, "--parameters", "normalization"], "no trained tensor has the role"),
    "irreps": ("measure", ["--measures", "irreps"], "irreps needs the elements of a finite group"),
    "rule": ("measure", ["--rule", "loudest"], "loudest"),
}


@for_each(("command", "words", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_run_cannot_give_is_refused_with_2_and_leaves_no_table(command, words, said, finished, tmp_path, capsys):
    one = copied(finished, tmp_path)
    at = f"{one.path}@24" if command == "explore" else str(one.path)
    try:
        assert call([command, at, *words, "--quiet"]) == 2
    except SystemExit as parsed:
        assert parsed.code == 2
    out, err = capsys.readouterr()
    assert said in err and "Traceback" not in err
    assert not list(one.path.glob("*.parquet"))


def broadcast(*_: object) -> np.ndarray:
    """A ValueError as only a fault inside raises it."""
    return np.zeros(2) + np.zeros(3)


def fails(*_: object) -> None:
    """A fault of another kind."""
    raise KeyError("planted")


def tensor(*_: object) -> torch.Tensor:
    """A RuntimeError as torch raises it."""
    return torch.zeros(2) @ torch.zeros(3)


@for_each("planted", [broadcast, fails, tensor])
def test_a_fault_inside_ends_with_70_a_traceback_and_what_to_report(planted, finished, monkeypatch, capsys):
    monkeypatch.setattr(runs, "runs_below", planted)
    assert call(["runs", str(finished.path.parent), *[]]) == 70
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Traceback") and f"in {planted.__name__}" in err
    last = err.splitlines()[-1]
    assert last.startswith("circuitgrok: this is a fault of circuitgrok, not of what you typed.")
    for told in (
        f"`circuitgrok runs {finished.path.parent}`",
        f"circuitgrok {circuitgrok.__version__}",
        torch.__version__,
    ):
        assert told in last


def test_a_run_that_has_not_begun_says_so(tmp_path, capsys):
    """Killed between config.json and the first checkpoint."""
    config = tiny()
    one = create(tmp_path / "new", config, environment(1), start_facts(config))
    said = f"{one.path} has no checkpoint yet; train it with the command that made it"
    for argv in (["measure", str(one.path)], ["explore", f"{one.path}@0", *AT]):
        assert call([*argv, "--quiet"]) == 2
        assert capsys.readouterr().err == f"circuitgrok: {said}\n"
    assert load(one.path).state == "new"
    for ask in (lambda: one.at(0), one.stack, lambda: measure(one), lambda: measure(one, "polar", 0)):
        with pytest.raises(runs.RunError, match="has no checkpoint yet"):
            ask()
    assert call(["runs", str(tmp_path)]) == 0


def test_a_string_is_one_group_and_a_number_one_step(finished):
    table = measure(finished, "scale", 24)
    assert table.equals(measure(finished, ["scale"], [24])) and table.index.tolist() == [24]
