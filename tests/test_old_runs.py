"""Runs written by 0.1.0 before records were sealed (format 1) open, measure and go on as they did.

The fixtures were written by commit 30eb1ac: `finished` of 60 steps, and `half` of the same config, stopped by a
signal at step 40. `finished.csv` is what that commit measured of the first.
"""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

import circuitgrok as cg
from circuitgrok.table.measure import measure

FIXTURES = Path(__file__).parent / "fixtures" / "format1"


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
