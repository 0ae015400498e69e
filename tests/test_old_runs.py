"""Runs written by 0.1.0 before open, measure and go on as they did.

Format 1, before records were sealed: commit 30eb1ac wrote `finished`, of 60 steps, and `half` of the same config,
stopped by a signal at step 40. `finished.csv` is what that commit measured of the first.

Format 2 had a field for each intervention that could be at work, and what constraints remember by their place in the
stack: commit f920188 wrote runs that were stopped at step 40 of 60; `ends` are the weights of unbroken ones.
"""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import circuitgrok as cg
from circuitgrok.config.leaves import hash_of
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.table.measure import measure

FIXTURES = Path(__file__).parent / "fixtures" / "format1"
FORMAT_2 = Path(__file__).parent / "fixtures" / "format2"


@pytest.mark.parametrize("name", ["finished", "half"])
def test_an_old_run_opens_with_its_recorded_hash(name):
    run = cg.load(FIXTURES / name)
    manifest = json.loads((FIXTURES / name / "config.json").read_text())
    assert run.config.hash == manifest["hash"] == "dc85ffe4a7fa0cec"
    assert run.config.task.draw().split_hash == manifest["start"]["split_hash"]


def test_an_old_run_is_read_whole():
    run = cg.load(FIXTURES / "finished")
    assert (run.state, run.steps, list(run.history.index)) == ("finished", [0, 30, 60], list(range(0, 61, 5)))
    assert len(run.updates) == 2
    assert cg.load(FIXTURES / "half").state == "interrupted"


def test_an_old_run_measures_as_it_did():
    then = pd.read_csv(FIXTURES / "finished.csv", index_col="step")
    now = measure(cg.load(FIXTURES / "finished"), ["polar", "fourier", "circuits"])[list(then.columns)]
    # Weights are read in float64: sums of at most 1000 terms. Losses are of logits that the network computed in
    # float32: a logit has passed 100 roundings at most (all widths together), of numbers below 10, and a loss moves by
    # 2 for 1 of a logit: 2 * 100 * 2^-24 * 10 = 1.2e-4.
    of_logits = [name for name in then if "loss[" in str(name)]
    assert len(of_logits) == 4
    pd.testing.assert_frame_equal(now.drop(columns=of_logits), then.drop(columns=of_logits), rtol=1e-10, atol=1e-12)
    pd.testing.assert_frame_equal(now[of_logits], then[of_logits], rtol=0, atol=1.2e-4)


def test_an_old_half_run_goes_on_to_where_the_whole_one_ended(tmp_path):
    shutil.copytree(FIXTURES / "half", tmp_path / "half")
    config = cg.load(FIXTURES / "half").config
    [run] = cg.train([config], tmp_path, names=["half"], allow_inexact=True)
    whole = cg.load(FIXTURES / "finished")
    assert (run.state, run.steps) == ("finished", whole.steps)
    assert torch.equal(run.at(30)["embed.W_E"], whole.at(30)["embed.W_E"])
    # Adam moves a weight by lr = 1e-3 a step at most; another processor's rounding turns a few of the 20 where a
    # gradient is near zero. Moments that were lost would move weights by 0.0063 in the mean, 63 times the bound.
    last, expected = run.at(60), whole.at(60)
    moved = torch.cat([(last[name] - expected[name]).abs().flatten() for name in expected])
    assert moved.mean() < 1e-4


OLD = {
    "held": "temperature l1 repulsion grokfast_ema orthograd rescale_factor norm_cap fixed_norm dropout_mlp",
    "noisy": "target_norm grokfast_ma gradient_noise fixed_direction label_noise weight_noise walk_noise",
    "second": "fixed_norm",  # its hold was the second of its stack
    "rescaled": "rescale_factor",
}


@pytest.mark.parametrize("name", OLD)
def test_a_run_of_format_2_opens_with_its_interventions_and_its_recorded_hash(name):
    run = cg.load(FORMAT_2 / name)
    manifest = json.loads((FORMAT_2 / name / "config.json").read_text())
    assert (manifest["format"], run.state, run.config.hash) == (2, "interrupted", manifest["hash"])
    assert set(run.config.kinds) == set(OLD[name].split())
    leaves = {k: v for section in manifest["config"].values() for k, v in section.items() if k != "kind"}
    now = run.config.leaves()
    off = {k for k in leaves if leaves[k] != (list(now[k]) if isinstance(now.get(k), tuple) else now.get(k))}
    assert not off - {"target_norm"} or now["target_norm"] == leaves.get("target_norm", 0)


@pytest.mark.parametrize("names", [["held"], ["noisy"], ["second", "rescaled"], ["second"], ["rescaled"]])
def test_a_run_of_format_2_goes_on_to_where_it_would_have_ended_alone_or_beside_others(names, tmp_path):
    for name in names:
        shutil.copytree(FORMAT_2 / name, tmp_path / name)
    configs = [cg.load(tmp_path / name).config for name in names]
    for run in cg.train(configs, tmp_path, names=names, allow_inexact=True):
        expected = load_file(FORMAT_2 / "ends" / f"{run.name}.safetensors")
        last = run.at(60)
        moved = torch.cat([(last[name] - expected[name]).abs().flatten() for name in expected])
        # As above: a few weights turn by rounding elsewhere. Without its hold `second` ends 2 % nearer to the origin.
        assert run.state == "finished" and moved.mean() < 1e-4, run.name
        if "fixed_norm" in run.config.kinds:
            norms = run.history["norm"].loc[40:]
            assert norms.std() < 1e-5 * norms.mean()


def test_a_value_that_changed_nothing_in_format_2_is_left_behind_and_the_run_opens(tmp_path):
    """A decay of Grokfast without Grokfast could be set, and was in the hash."""
    shutil.copytree(FORMAT_2 / "rescaled", tmp_path / "run")
    content = json.loads((FORMAT_2 / "rescaled" / "config.json").read_text())["config"]
    content["transforms"]["grokfast_decay"] = 0.5
    assert TrainConfig.model_validate(content) == cg.load(FORMAT_2 / "rescaled").config
    assert hash_of(content) != cg.load(FORMAT_2 / "rescaled").config.hash
