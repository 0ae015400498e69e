"""The command line: what it prints where, how it ends, and what it does not import."""

import io
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import TINY, copied, files_of, flip, json_lines, tiny, tiny_flags

from circuitgrok.config.leaves import LEAVES
from circuitgrok.config.presets import PRESETS
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import Interrupted
from circuitgrok.faces.cli import COMMANDS, HELP, run
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.store.run import load
from circuitgrok.store.weights import file_name
from circuitgrok.table.llc import llc_along
from circuitgrok.table.measure import measure
from circuitgrok.training.loop import train
from circuitgrok.training.progress import LiveProgress, describe, ticks


def call(*argv: str) -> int:
    """The exit code, also where the parser exits by itself."""
    try:
        return run(list(argv))
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


# --- a light start (R20) ----------------------------------------------------------------------------

GUESTS = ["torch", "transformer_lens", "matplotlib", "sklearn", "pandas", "pydantic", "tyro"]


def imported_after(*argv: str) -> tuple[set[str], str]:
    """The heavy libraries that a command imported in a fresh process, and what it printed."""
    code = (
        "import sys; from circuitgrok.faces.cli import run; code = run(sys.argv[1:]); "
        f"print('imported', *sorted(set({GUESTS}) & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    *lines, last = done.stdout.splitlines()
    return set(last.split()[1:]), "\n".join(lines)


def test_help_imports_nothing_heavy_and_names_every_command_and_preset():
    imported, printed = imported_after("--help")
    assert imported == set() and printed + "\n" == HELP
    assert all(f"\n  {name} " in HELP for name in COMMANDS)


def test_every_preset_is_listed_with_its_line_and_its_time(capsys):
    assert call("presets") == 0
    lines = capsys.readouterr().out.splitlines()
    for name, preset in PRESETS.items():
        [line] = [line for line in lines if line.split()[0] == name]
        assert preset.line in line and re.search(r" \d+(\.\d)? (s|min|h) | – ", line)
        assert re.search(r"arXiv:\d{4}\.\d{5}|^ours|TransformerLens", preset.line)


def test_a_dense_network_on_digits_is_trained_by_its_flags(tmp_path, capsys):
    flags = "--task digits --model dense --n-train 50 --n-test 50 --width 8 --loss mse --steps 20 --alpha 2".split()
    assert call("train", "quickstart", *flags, "--out", str(tmp_path / "run"), "--quiet") == 0
    config = load(tmp_path / "run").config
    assert (config.task.kind, config.model.kind, config.leaves()["width"]) == ("digits", "dense", 8)
    assert "digits" in capsys.readouterr().out


def test_a_basin_is_explored_from_a_checkpoint(finished, tmp_path, capsys):
    out = tmp_path / "walk.parquet"
    step = finished.steps[-1]
    how = "--sampler hmc --step-size 1e-6 --n-leapfrog 3 --n-draws 8 --n-chains 2 --quiet".split()
    assert call("explore", f"{finished.path}@{step}", *how, "--out", str(out)) == 0
    table = pd.read_parquet(out)
    assert len(table) == 2 * 9 and (table["norm"] > 0).all() and "acceptance" in capsys.readouterr().out


def test_table_of_runs_needs_no_torch(finished):
    imported, printed = imported_after("runs", str(finished.path.parent))
    assert imported <= {"tyro"} and "finished" in printed


def test_module_is_the_command_line():
    done = subprocess.run([sys.executable, "-m", "circuitgrok", "trian"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and "did you mean 'train'?" in done.stderr


# --- bad input --------------------------------------------------------------------------------------

BAD: dict[str, tuple[list[str], str]] = {
    "no command": ([], "usage"),
    "unknown command": (["trian"], "unknown command 'trian'; did you mean 'train'?; there are train, sweep, presets"),
    "no preset": (["train"], "`circuitgrok train quickstart`, or --config FILE; there are quickstart, sphere"),
    "no preset, but flags": (["train", "--alpha", "2"], "the preset comes first"),
    "unknown preset": (["train", "nand"], "unknown preset 'nand'; did you mean 'nanda'?; there are quickstart"),
    "unknown preset of a sweep": (["sweep", "--preset", "nand"], "unknown preset 'nand'"),
    "p too small": (["train", "nanda", "--p", "2"], "p: must be greater than or equal to 3; got 2"),
    "nothing to train on": (["train", "nanda", "--frac-train", "0"], "frac_train: must be greater than 0; got 0.0"),
    "nothing to test on": (["train", "nanda", "--frac-train", "1"], "frac_train: must be less than 1; got 1.0"),
    "heads": (["train", "nanda", "--n-heads", "3"], "n_heads * d_head must be d_model; got 3 * 32 = 96"),
    "alpha zero": (["train", "nanda", "--alpha", "0"], "alpha: must be greater than 0; got 0.0"),
    "alpha below": (["train", "nanda", "--alpha", "-1"], "alpha: must be greater than 0; got -1.0"),
    "no steps": (["train", "nanda", "--steps", "0"], "steps: must be greater than or equal to 1; got 0"),
    "no threads": (["train", "nanda", "--threads", "0"], "threads must be at least 1; got 0"),
    "device with a number": (["train", "nanda", "--device", "cpu:0"], "a CPU has no number; got cpu:0"),
    "device of another maker": (["train", "nanda", "--device", "mps"], "mps has no float64"),
    "not finite": (["train", "nanda", "--lr", "nan"], "lr: "),
    "one bad of a grid": (["sweep", "--alpha", "1", "0", "--seed", "4", "5"], "alpha0-seed4: alpha: must be greater"),
    "value twice": (["sweep", "--alpha", "1", "1"], "a value is given twice"),
    "no folder": (["runs", "nowhere"], "nowhere is not a folder"),
    "nothing to measure": (["measure", "nowhere"], "nowhere holds no run (no config.json); `circuitgrok runs FOLDER`"),
    "nothing to examine": (["doctor", "nowhere"], "nowhere holds no run"),
    "nothing to import": (["import", "nowhere.pth", "--as", "nanda"], "nowhere.pth: No such file or directory"),
    "no checkpoint": (["explore", "nowhere", "--step-size", "1"], "start must be RUN_FOLDER@STEP"),
    "nothing to explore": (["explore", "nowhere@3", "--step-size", "1"], "nowhere holds no run"),
    "no such kind": (["train", "nanda", "--model", "cnn"], "model must be one of transformer, embedding_mlp"),
    "not of this kind": (
        ["train", "nanda", "--model", "dense", "--task", "digits", "--loss", "mse", "--n-out", "7"],
        "inputs and outputs must be the task's",
    ),
    "no weights": (["import", "nowhere.npz", "--as", "nanda"], ".bin, .safetensors; got 'nowhere.npz'"),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "said"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_with_2_one_line_and_no_file(argv, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*argv) == 2
    out, err = capsys.readouterr()
    if argv:
        assert out == "" and len(err.splitlines()) == 1 and err.startswith("circuitgrok: ")
    assert said in out + err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "nearest"),
    [
        (["train", "nanda", "--aplha", "2"], "--alpha"),
        (["train", "nanda", "--wieght-decay", "2"], "--weight-decay"),
        (["sweep", "--sede", "2"], "--seed"),
        (["measure", "somewhere", "--step", "2"], "--steps"),
    ],
)
def test_unknown_flag_is_refused_with_2_and_the_nearest_name(argv, nearest, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and nearest in err and argv[2 if argv[0] != "sweep" else 1] in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["train", "truong", "--attention-rate", "0.5"],
            "--attention-rate belongs to transformer; got modular_addition ",
        ),
        (
            ["sweep", "--task=digits", "--model", "dense", "--operation=divide"],
            "--operation belongs to modular_addition",
        ),
    ],
)
def test_a_flag_of_another_kind_is_refused_with_2_and_the_kind(argv, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and said in err
    assert list(tmp_path.iterdir()) == []


def test_from_is_another_name_of_start(finished, tmp_path):
    for flag in ("--from", "--start"):
        assert call("train", "nanda", flag, f"{finished.path}@5", "--out", str(tmp_path / flag), *tiny_flags()) == 0
    configs = [load(tmp_path / flag).config for flag in ("--from", "--start")]
    assert configs[0] == configs[1] and configs[0].init.start == f"{finished.path}@5"


def test_from_takes_a_home_folder(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(finished.path.parent))
    start = f"~/{finished.path.name}@5"
    assert call("train", "nanda", "--from", start, "--out", str(tmp_path / "run"), *tiny_flags()) == 0
    one = load(tmp_path / "run")
    assert one.at(0)["embed.W_E"].equal(finished.at(5)["embed.W_E"])


def test_folder_that_cannot_be_made_is_refused_with_2_and_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("here already")
    for place in ("file", "file/below"):
        assert call("train", "nanda", "--out", str(tmp_path / place), *tiny_flags()) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and str(tmp_path / "file") in err
    assert (tmp_path / "file").read_text() == "here already"


def test_folder_with_another_run_is_refused_with_2_and_the_difference(finished, tmp_path, capsys):
    other = copied(finished, tmp_path)
    before = files_of(other.path)
    assert call("train", "nanda", "--out", str(other.path), *tiny_flags(alpha=2)) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert "holds a different run (alpha 1.0 there, 2.0 asked); choose another --out" in err
    assert files_of(other.path) == before


def test_help_of_training_lists_every_field_with_the_presets_value(capsys):
    assert call("train", "omnigrok", "--help") == 0
    out = capsys.readouterr().out
    for name in LEAVES:
        assert f"--{name.replace('_', '-')} " in out
    assert "0.8" in out and "15000" in out


# --- training ---------------------------------------------------------------------------------------


def test_train_prints_a_summary_and_the_same_command_again_changes_no_byte(finished, tmp_path, capsys):
    argv = ["train", "nanda", "--out", str(tmp_path / "run"), *tiny_flags()]
    assert call(*argv) == 0
    first = capsys.readouterr()
    one = load(tmp_path / "run")
    assert one.config == tiny() == TrainConfig.preset("nanda").with_(**tiny().leaves())
    assert {name: content for name, content in files_of(finished.path).items()} == {
        name: content for name, content in files_of(one.path).items() if name in files_of(finished.path)
    }
    assert first.out.startswith("run: finished after 24 steps")
    for word in ("alpha", "memorised at", "norm r", "restricted", "figure"):
        assert f"\n  {word}" in first.out
    assert "step 24/24" in first.err and "step" not in first.out.splitlines()[1]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in one.path.rglob("*") if path.is_file()}
    assert call(*argv) == 0
    again = capsys.readouterr()
    assert "was finished already" in again.out and again.out.startswith(first.out)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in one.path.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }


def test_folder_is_named_by_what_differs_from_the_preset(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = {"p": 5, "d_model": 8, "n_heads": 1, "d_head": 8, "d_mlp": 8, "steps": 2}
    flags = [word for name, value in small.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert call("train", "nanda", *flags, "--alpha", "1", "--fixed-norm", "on", "--d-vocab-out", "p", "--quiet") == 0
    [folder] = (tmp_path / "checkpoints").iterdir()
    assert folder.name == "nanda-p5-n_heads1-d_model8-d_head8-d_mlp8-d_vocab_outp-fixed_normon-steps2"
    config = load(folder).config
    assert "fixed_norm" in config.kinds and config.model.n_classes == 5 and config.init.alpha == 1.0
    assert capsys.readouterr().err == ""


def test_run_that_diverges_ends_with_1_and_says_so(tmp_path, capsys):
    assert call("train", "nanda", "--out", str(tmp_path / "wild"), *tiny_flags(lr=1e6, steps=200)) == 1
    assert "wild: diverged after" in capsys.readouterr().out
    *_, last = json_lines(tmp_path / "wild" / "history.jsonl")
    assert "is nan" in last["diverged"]
    assert call("train", "nanda", "--out", str(tmp_path / "dead"), *tiny_flags(alpha=1e30)) == 1
    assert "diverged, no checkpoint to measure" in capsys.readouterr().out


def test_sweep_trains_the_grid_and_tells_alpha_with_base_init_and_norm(tmp_path, capsys):
    flags = tiny_flags(steps=8)
    argv = ["sweep", "--preset", "nanda", "--out", str(tmp_path), *flags, "--alpha", "0.5", "1", "--seed", "0", "1"]
    assert call(*argv) == 0
    out, err = capsys.readouterr()
    names = [f"alpha{alpha:g}-seed{seed}" for alpha in (0.5, 1) for seed in (0, 1)]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(names)
    for name in names:
        one = load(tmp_path / name)
        row = next(line for line in out.splitlines() if name in line)
        assert f"{one.config.init.alpha:g}×nanda r₀={one.manifest['start']['norm']:.1f}" in row
        assert "finished" in row and "8/8" in row
    assert err.startswith("4 runs as one stack: step 0/8")
    assert call(*argv) == 0  # and again: all are finished
    assert call("runs", str(tmp_path)) == 0
    assert out.splitlines()[0] in capsys.readouterr().out


WRITTEN = ["sweep.parquet", "sweep.csv", "phases.png", "phases.svg"]


def files_in(folder):
    return {path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".sha256"}


def test_sweep_writes_its_table_and_its_phase_diagram_and_says_so(tmp_path, capsys):
    values = ["--alpha", "0.5", "1", "--frac-train", "0.4", "0.6", "--seed", "0", "1"]
    argv = ["sweep", "--preset", "nanda", "--quiet", "--out", str(tmp_path), *tiny_flags(steps=8), *values]
    assert call(*argv, "--delay", "3") == 0
    out = capsys.readouterr().out
    assert f"{tmp_path}/sweep.parquet, sweep.csv, phases.png, phases.svg written" in out
    assert "frac_train (2) × alpha (2) × 2 seeds; 8 finished" in out and "missing" not in out
    assert files_in(tmp_path) == set(WRITTEN)
    table = pd.read_parquet(tmp_path / "sweep.parquet")
    configs = {
        name: TrainConfig.preset("nanda").with_(**dict[str, Any](TINY | {"steps": 8} | leaves))
        for name, leaves in (
            (f"frac_train{share:g}-alpha{alpha:g}-seed{seed}", {"frac_train": share, "alpha": alpha, "seed": seed})
            for share in (0.4, 0.6)
            for alpha in (0.5, 1.0)
            for seed in (0, 1)
        )
    }
    assert list(table["name"]) == list(configs)
    assert [load(tmp_path / name).config for name in table["name"]] == list(configs.values())
    assert list(table.columns[:2]) == ["frac_train", "alpha"] and set(table["steps"]) == {8.0}
    csv = pd.read_csv(tmp_path / "sweep.csv")
    pd.testing.assert_frame_equal(csv[["alpha", "test_loss", "r0"]], table[["alpha", "test_loss", "r0"]])
    before = {name: (tmp_path / name).read_bytes() for name in WRITTEN}
    assert call(*argv, "--delay", "3") == 0  # and again: the same files
    assert {name: (tmp_path / name).read_bytes() for name in WRITTEN} == before


def test_sweep_over_seeds_alone_writes_a_table_and_no_figure(tmp_path, capsys):
    argv = ["sweep", "--preset", "nanda", "--quiet", "--out", str(tmp_path), *tiny_flags(steps=2), "--seed", "0", "1"]
    assert call(*argv) == 0
    assert files_in(tmp_path) == set(WRITTEN[:2]) and "sweep.csv written" in capsys.readouterr().out


def test_sweep_that_is_stopped_writes_the_table_of_what_is_there(tmp_path, capsys, monkeypatch):
    def stopped(configs, out, *, names, **how):
        train(configs[:1], out, names=names[:1])
        raise Interrupted("stopped at step 0; everything is saved: the same command goes on")

    monkeypatch.setattr("circuitgrok.training.loop.train", stopped)
    values = ["--alpha", "0.5", "1", "2"]
    argv = ["sweep", "--preset", "nanda", "--quiet", "--out", str(tmp_path), *tiny_flags(steps=8), *values]
    assert call(*argv) == 75
    out, err = capsys.readouterr()
    assert "2 of 3 runs are missing there, such as alpha1; the same command goes on" in out and "stopped" in err
    table = pd.read_parquet(tmp_path / "sweep.parquet")
    assert list(table["state"]) == ["finished", "missing", "missing"] and files_in(tmp_path) == set(WRITTEN)


@pytest.mark.parametrize("flag", ["--alpha", "--weight-decay", "--from"])
def test_sweep_over_a_flag_without_values_is_refused_with_2(flag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("sweep", "--preset", "nanda", flag, "--seed", "0", "1") == 2
    out, err = capsys.readouterr()
    said = {"--from": "--start"}.get(flag, flag)
    assert out == "" and f"{said} needs values" in err and list(tmp_path.iterdir()) == []


def test_table_of_runs_goes_on_past_what_it_cannot_read(finished, tmp_path, capsys):
    good = copied(finished, tmp_path)
    for name, content in {"torn": '{"config":', "newer": '{"config": {}, "format": 99}', "foreign": "[]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    assert call("runs", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert str(good.path) in out and out.count("unreadable") == 3


def test_empty_folder_has_no_runs_and_says_how_to_make_one(tmp_path, capsys):
    assert call("runs", str(tmp_path)) == 0
    assert "no runs below" in capsys.readouterr().out


# --- importing --------------------------------------------------------------------------------------


def test_import_makes_a_run_that_every_command_takes(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": finished.at(24)}, "old.pth")
    argv = ["import", "old.pth", "--as", "hooked-transformer", "--step", "24", "--frac-train", "0.5"]
    argv += ["--data-seed", "0", "--split", "nanda"]
    assert call(*argv) == 0
    out, err = capsys.readouterr()
    last = finished.history.iloc[-1]
    assert err == "" and out.splitlines()[-1].startswith("checkpoints/old is imported; `circuitgrok measure")
    assert f"train loss   {last['train_loss']:.2e} here, the file claims none" in out
    one = load("checkpoints/old")
    assert (one.config.task, one.config.model) == (finished.config.task, finished.config.model)
    for command in ("doctor", "measure", "runs"):
        assert (
            call(command, *(["checkpoints/old"] if command != "runs" else []), *["--quiet"] * (command == "measure"))
            == 0
        )
        assert "imported" in capsys.readouterr().out
    before = files_of(one.path)
    assert call(*argv) == 0 and call("train", "nanda", "--out", "checkpoints/old", *tiny_flags()) == 2
    assert "was imported, not trained here" in capsys.readouterr().err
    assert files_of(one.path) == before


def test_import_of_what_does_not_fit_ends_with_2_one_line_and_no_run(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(finished.at(24), "old.pth")
    for argv, said in [
        (["--as", "nanda", "--step", "24"], "not the nanda layout: expected blocks.0.attn.W_O [d_model head*d_head]"),
        (["--as", "hooked-transformer"], "give --step"),
        (["--as", "pizza"], "give the config_<id>.json"),
        (["--as", "clock"], "clock"),
    ]:
        assert call("import", "old.pth", *argv) == 2
        out, err = capsys.readouterr()
        assert out == "" and said in err and (len(err.splitlines()) == 1 or "clock" in argv)
    assert [path.name for path in tmp_path.iterdir()] == ["old.pth"]


# --- measuring and examining ------------------------------------------------------------------------


def test_measure_writes_the_table_that_the_run_gives(finished, tmp_path, capsys):
    one = copied(finished, tmp_path)
    assert call("measure", str(one.path)) == 0
    out, err = capsys.readouterr()
    written, expected = pd.read_parquet(one.path / "measures.parquet"), measure(one)
    pd.testing.assert_frame_equal(written, expected, check_exact=True)
    assert written.attrs == expected.attrs
    assert out.splitlines()[-2].startswith(f"{len(expected)} checkpoints × {expected.shape[1]} columns")
    assert out.startswith("finished: finished after 24 steps") and "measuring" in err


def test_measure_takes_groups_steps_rule_and_place(finished, tmp_path, capsys):
    out = tmp_path / "some.parquet"
    chosen = ["--measures", "scale", "circuits", "--steps", "0", "24", "--rule", "logit_energy", "--n-keys", "2"]
    assert call("measure", str(finished.path), *chosen, "--out", str(out), "--quiet") == 0
    written = pd.read_parquet(out)
    assert written.index.tolist() == [0, 24] and written.attrs["key_freqs_rule"] == "logit_energy, the 2 strongest"
    np.testing.assert_array_equal(written["logit_std"], measure(finished, ["scale"], steps=[0, 24])["logit_std"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--steps", "7"], "no checkpoint at step 7; the nearest are [8, 5"),
        (["--measures", "polr"], "polar"),
        (["--n-keys", "99"], "n_keys must be in 1.."),
    ],
)
def test_measure_refuses_what_is_not_there(finished, tmp_path, capsys, argv, said):
    assert call("measure", str(finished.path), *argv, "--out", str(tmp_path / "x.csv")) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_measure_samples_learning_coefficients_with_the_numbers_that_are_given(finished, tmp_path, capsys):
    one = copied(finished, tmp_path)
    flags = ["--measures", "llc", "--steps", "24", "--step-size", "2e-4", "--localization", "1000", "--n-draws", "24"]
    assert call("measure", str(one.path), *flags, "--quiet") == 0
    table = pd.read_parquet(one.path / "measures.parquet")
    how = Sampling(step_size=2e-4, localization=1000.0, n_draws=24)
    assert table.attrs["llc_sampling"] == how.model_dump(mode="json")
    assert table["llc"].tolist() == llc_along(one, how, [24])["llc"].tolist()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--measures", "llc", "--nbeta", "0"], "give --localization and --step-size too"),
        (["--measures", "llc", "--nbeta", "0", *(GIVEN := ["--step-size", "1e-4", "--localization", "100"])], "nbeta"),
        (["--measures", "llc", *GIVEN, "--n-draws", "50", "--n-burnin", "50"], "n_burnin must be below n_draws"),
        (["--measures", "llc", *GIVEN, "--sampler", "nuts"], "nuts"),
        (["--measures", "llc", *GIVEN, "--parameters", "mpl"], "no tensor matches 'mpl'"),
        (["--measures", "llc", "--step-size", "9", "--localization", "100"], "step_size must be below"),
        (["--step-size", "1e-4"], "--step-size is for llc: add `--measures llc`"),
    ],
)
def test_measure_refuses_bad_sampling(finished, tmp_path, capsys, flags, said):
    one = copied(finished, tmp_path)
    before = files_of(one.path)
    assert call("measure", str(one.path), *flags, "--quiet") == 2
    assert said in capsys.readouterr().err
    assert files_of(one.path) == before


def test_measure_refuses_a_place_that_is_not_there_in_one_line(finished, tmp_path, capsys):
    place = tmp_path / "nowhere" / "table.parquet"
    assert call("measure", str(finished.path), "--measures", "scale", "--quiet", "--out", str(place)) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and str(place.parent) in err


def test_damaged_checkpoint_is_refused_by_measure_and_found_by_the_doctor(finished, tmp_path, capsys):
    one = copied(finished, tmp_path)
    assert call("doctor", str(one.path)) == 0
    flip(one.path / file_name(8), -1)
    capsys.readouterr()
    assert call("measure", str(one.path), "--quiet") == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and f"{file_name(8)} is damaged: expected SHA-256" in err
    assert call("doctor", str(one.path)) == 1
    out = capsys.readouterr().out
    assert f"DAMAGED {file_name(8)}: " in out and "checkpoints can be used" in out


# --- progress ---------------------------------------------------------------------------------------


def test_progress_off_a_terminal_is_plain_lines(finished):
    stream = io.StringIO()
    progress = LiveProgress(stream)
    record = {"step": 0, "train_loss": 0.01, "test_loss": 5.0, "test_acc": 0.25, "train_acc": 1.0, "norm": 30.0}
    progress.begin([finished], 0, 3)
    for step in range(4):
        progress.at(step, [record] if step % 2 == 0 else None)
    progress.end()
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("finished: step 0/3") and lines[-1].startswith("finished: step 3/3")
    assert len(lines) == 2 and "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()
    assert all(describe([record]) in line for line in lines)


def test_progress_of_a_stack_is_medians_and_how_many_have_grokked():
    records = [
        {"step": 5, "train_loss": loss, "test_loss": 2 * loss, "test_acc": acc, "train_acc": 1.0, "norm": norm}
        for loss, acc, norm in ((1.0, 0.2, 10.0), (0.1, 0.95, 20.0), (0.01, 1.0, 60.0))
    ]
    said = describe(records)
    assert said.startswith("medians: loss 1.0e-01  test loss 2.0e-01  test acc 0.950  norm 20.0")
    assert said.endswith("test acc ≥ 0.95: 2/3")


@pytest.mark.parametrize(("quiet", "said"), [(False, "measuring: 3 checkpoints\n"), (True, "")])
def test_ticks_off_a_terminal_are_one_line_at_the_end(capsys, quiet, said):
    with ticks("measuring", "checkpoints", quiet) as tick:
        for done in (1, 2, 3):
            tick(done, 3)
    out, err = capsys.readouterr()
    assert (out, err) == ("", said)


def test_ticks_off_a_terminal_say_now_and_then_how_long_is_left(capsys, monkeypatch):
    clock = iter([0.0, 8.0, 16.0, 24.0, 40.0])  # the beginning, then each call
    monkeypatch.setattr("circuitgrok.training.progress.time.monotonic", lambda: next(clock, 50.0))
    with ticks("counting", "rounds") as tick:
        for done in (30, 35, 40, 45):  # blocks of five; some were done before
            tick(done, 100)
    # eight seconds for five, of which sixty-five are left; then within ten seconds nothing; then 32 for fifteen
    said = ["counting: 35/100 rounds, 104 s left", "counting: 45/100 rounds, 117 s left"]
    assert capsys.readouterr().err.splitlines() == said
