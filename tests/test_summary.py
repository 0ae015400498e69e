"""A run in words: the numbers are those of its history and its table."""

import re

import pytest
from tiny import copied, tiny

from circuitgrok.files import canonical_json
from circuitgrok.measures.crossings import events
from circuitgrok.runs import load
from circuitgrok.summary import run_row, summary_lines
from circuitgrok.training import train

NUMBER = r"[-+]?\d+\.?\d*(?:e[-+]\d+)?"


@pytest.fixture(scope="module")
def told(finished):
    """The summary's lines by their first words, with the table they are told of."""
    table = finished.measure(["polar", "circuits"])
    first, *lines = summary_lines(finished, table)
    return first, {line[2:15].strip(): line[15:] for line in lines}, table


def numbers(text: str) -> list[str]:
    return re.findall(NUMBER, text)


def test_summary_tells_state_steps_and_place(finished, told):
    assert told[0] == f"finished: finished after 24 steps, {len(finished.steps)} checkpoints in {finished.path}"


def test_summary_tells_alpha_with_its_base_init_and_the_norm(finished, told):
    norm = finished.manifest["start"]["norm"]
    assert told[1]["alpha"].startswith(f"1×nanda, |θ₀| = {norm:.2f}")
    assert "42.20" in told[1]["alpha"]


def test_numbers_of_the_summary_are_those_of_the_history(finished, told):
    history, lines = finished.history, told[1]
    norm = history["norm"]
    assert numbers(lines["norm r"]) == [f"{norm[0]:.2f}", f"{norm.max():.2f}", str(norm.idxmax()), f"{norm[24]:.2f}"]
    assert numbers(lines["accuracy"]) == [f"{history[f'{split}_acc'][24]:.4f}" for split in ("train", "test")]
    assert numbers(lines["loss"]) == [f"{history[f'{split}_loss'][24]:.2e}" for split in ("train", "test")]
    for name, event in events(history).items():
        assert lines[f"{name} at"].startswith(f"{event}   (")


def test_numbers_of_the_summary_are_those_of_the_table(told):
    _, lines, table = told
    end = table.loc[24]
    assert numbers(lines["turned"]) == [
        f"{end['angle_start']:.2f}", f"{end['radial_distance']:.1f}", f"{end['arc_length']:.1f}"
    ]  # fmt: skip
    restricted = numbers(lines["restricted"])
    assert restricted[:2] == [f"{end['restricted_loss[all]']:.2e}", f"{end['loss[all]']:.2e}"]
    assert restricted[-1] == "11"
    assert numbers(lines["excluded"])[0] == f"{end['excluded_loss[train]']:.2e}"
    assert numbers(lines["explained"])[0] == f"{end['frac_explained']:.4f}"
    freqs, rule = lines["key freqs"].split("   ")
    assert freqs == ", ".join(map(str, table.attrs["key_freqs"]))
    assert rule.startswith("(rule wl_energy at step 24; but ")
    by_rule = table.attrs["key_freqs_by_rule"]
    differing = {name for name, found in by_rule.items() if found != table.attrs["key_freqs"]}
    assert differing and {name for name in by_rule if f"{name}:" in rule} == differing
    assert lines["phases"].startswith("memorisation to ")


def planted(finished, folder, train_acc, test_acc):
    """The finished run with another history."""
    run = copied(finished, folder)
    records = [
        {"step": 2 * i, "train_acc": a, "test_acc": b, "train_loss": 0.5, "test_loss": 2.0, "norm": 3.0}
        for i, (a, b) in enumerate(zip(train_acc, test_acc, strict=True))
    ]
    (run.path / "history.jsonl").write_text("".join(canonical_json(r) + "\n" for r in records))
    return load(run.path)


def test_summary_and_table_of_runs_tell_when_a_run_memorised_and_grokked(finished, tmp_path, told):
    run = planted(finished, tmp_path, [0.1, 0.9] + [1.0] * 11, [0.0] * 5 + [0.99] * 8)
    lines = summary_lines(run, told[2])
    assert any("memorised at step 2–4   (train_acc ≥ 0.99" in line for line in lines)
    assert any("grokked at   step 8–10   (test_acc ≥ 0.95" in line for line in lines)
    row = run_row(run)
    assert (row.memorised, row.grokked, row.state, row.steps) == ("2–4", "8–10", "finished", "24/24")


def test_row_of_a_run_tells_alpha_with_base_init_and_norm(tmp_path):
    [run] = train([tiny(alpha=0.5, scheme="bridge", fixed_norm=True, steps=2)], tmp_path, names=["run"])
    row, norm = run_row(run), run.manifest["start"]["norm"]
    assert row.alpha == f"0.5×bridge r₀={norm:.1f} norm held"
    assert row.name == str(run.path) and row.task == "modular addition p=11 f=0.5"
    last = run.history.iloc[-1]
    assert (row.train_acc, row.test_acc) == (f"{last['train_acc']:.4f}", f"{last['test_acc']:.4f}")


def test_row_of_a_run_that_has_not_begun_or_has_diverged_says_so(finished, tmp_path):
    run = copied(finished, tmp_path)
    (run.path / "history.jsonl").write_text("")
    assert run_row(run)[3:] == ("new", "0/24", "–", "–", "–", "–")
    (run.path / "history.jsonl").write_text('{"diverged":"train_loss is nan","step":3}\n')
    assert run_row(run).state == "diverged"
