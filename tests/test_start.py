"""Flags change a preset, or the config in a file: a run's own, a config's JSON, fields by name; nothing else is one."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import TINY, tiny, tiny_flags
from tiny_kinds import LEAVES, tiny_kind

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.faces.start import start_of_sweep, start_of_train
from circuitgrok.store.configs import read_config
from circuitgrok.store.run import load

FIXTURES = Path(__file__).parent / "fixtures"
FIELDS: dict[str, Any] = {"preset": "nanda", **TINY, "alpha": 0.5}


def test_every_form_of_a_file_gives_its_config(finished, tmp_path):
    assert read_config(finished.path) == read_config(finished.path / "config.json") == finished.config
    copy = tmp_path / "copied.json"
    copy.write_bytes((finished.path / "config.json").read_bytes())
    assert read_config(copy) == finished.config
    for name in LEAVES:
        (tmp_path / "own.json").write_text(tiny_kind(name).model_dump_json(indent=2))
        assert read_config(tmp_path / "own.json") == tiny_kind(name), name
    (tmp_path / "fields.json").write_text(json.dumps(FIELDS))
    assert read_config(str(tmp_path / "fields.json")) == tiny(alpha=0.5)
    old = sorted(FIXTURES.glob("format[12]/*/config.json"))
    assert old and all(read_config(file) == load(file.parent).config for file in old)


REFUSED = {
    '{"preset": "nand"}': "preset must be one of .*did you mean 'nanda'",
    '{"stepz": 3}': "unknown field 'stepz'; did you mean 'steps'",
    '{"steps": 0}': "steps",
    "[1]": "holds no config",
    "{}": "holds no config",
    "{": "is not JSON",
    '{"task": {"kind": "x"}, "model": {}, "schedule": {}}': "is no config",
}


def test_what_is_no_config_is_refused_with_the_reason(tmp_path, capsys):
    file = tmp_path / "config file.json"
    for text, said in REFUSED.items():
        file.write_text(text)
        with pytest.raises(UserError, match=said):
            read_config(file)
        assert call(["train", "--config", str(file)]) == 2, text
    assert call(["train", "--config", str(tmp_path / "no.json")]) == 2
    assert "no.json is not there" in capsys.readouterr().err
    assert call(["train", "nanda", "--config", str(file)]) == 2
    assert "start from a preset or from a file" in capsys.readouterr().err
    assert call(["sweep", "--preset", "nanda", "--config", str(file)]) == 2


def test_flags_change_what_the_file_says(finished, tmp_path):
    start = start_of_train(["--config", str(finished.path), "--alpha", "2"])
    assert start.config() == finished.config and start.name == finished.name
    assert {name: leaf.default for name, leaf in start.leaves.items()} == {
        name: finished.config.leaves()[name] for name in start.leaves
    }
    out = tmp_path / "again"
    assert call(["train", "--config", str(finished.path), "--alpha", "2", "--out", str(out), "--quiet"]) == 0
    assert load(out).config == finished.config.with_(alpha=2.0)


def test_other_kinds_keep_what_both_have(finished):
    start = start_of_sweep(["--config", str(finished.path), "--model", "quadratic_mlp"])
    assert start.others == {"model": "quadratic_mlp"} and start.leaves["p"].default == finished.config.modular.p
    with pytest.raises(UserError, match="belongs to transformer"):
        start_of_train(["--config", str(finished.path), "--model", "quadratic_mlp", "--n-heads", "2"])


def test_a_sweep_starts_from_a_file(finished, tmp_path):
    flags = ["--config", str(finished.path), "--alpha", "1", "2", "--steps", "2", "--out", str(tmp_path), "--quiet"]
    assert call(["sweep", *flags]) == 0
    assert load(tmp_path / "alpha2").config == finished.config.with_(alpha=2.0, steps=2)


def test_presets_start_as_before_and_the_sweep_from_quickstart():
    start = start_of_train(["nanda", *tiny_flags()])
    assert (start.name, start.file, start.config()) == ("nanda", "", TrainConfig.preset("nanda"))
    assert start_of_sweep([]).name == "quickstart" and start_of_sweep(["--preset=nanda"]).name == "nanda"
