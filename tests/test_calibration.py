"""Calibration: the rung that is taken, the reasons that are given, and what a step's bias is."""

import pandas as pd
import pytest
from tiny import tiny

from circuitgrok.errors import DamagedFile
from circuitgrok.faces.cli import run as command
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.store.kept import digest_file
from circuitgrok.table import calibration as module
from circuitgrok.table.calibration import calibrate, calibration_of, step_bias
from circuitgrok.table.llc import llc_of
from circuitgrok.training.loop import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    [run] = train([tiny(steps=60, checkpoint_every=20)], tmp_path_factory.mktemp("runs"), names=["calibrated"])
    return run


@pytest.fixture(autouse=True)
def short_ladder(monkeypatch):
    monkeypatch.setattr(module, "LADDER", (3e3, 1e3, 300.0))


@pytest.mark.slow
def test_the_lowest_good_rung_is_taken_and_the_reasons_are_given(run):
    tried = []
    found = calibrate(run, tick=tried.append)
    table = found.table
    assert found.sampling.n_draws == 200 and found.sampling.nbeta is None
    good = table.groupby("localization")["fault"].apply(lambda faults: (faults == "").all())
    assert found.sampling.localization == min(good.index[good])
    assert sorted(set(table["localization"])) == sorted(tried) and set(tried) <= set(module.LADDER)
    below = [rung for rung in tried if rung < found.sampling.localization]
    assert not any(good[rung] for rung in below)
    text = "\n".join(found.explanation)
    assert "n / ln n with n = 60 training pairs" in text
    assert f"localization {found.sampling.localization:g}: the smallest" in text
    assert (f"at {below[0]:g}, step" in text) if below else True
    assert (table["step_size"] * table["localization"] <= module.PULL * (1 + 1e-12)).all()


@pytest.mark.slow
def test_no_good_rung_is_an_error_that_says_why(run, monkeypatch):
    monkeypatch.setattr(module, "LADDER", (3e3, 1e3))
    with pytest.raises(ValueError, match="in 10 draws no localization of .* gives chains to be believed .*draws"):
        calibrate(run, n_draws=10)


@pytest.mark.slow
def test_the_bias_of_a_step_is_twice_what_half_the_step_takes_away(run):
    how = Sampling(step_size=2e-4, localization=1000.0, n_draws=40)
    table = step_bias(run, how, run.steps[-2:])
    for step_size, column in ((2e-4, "llc"), (1e-4, "llc_half_step")):
        given = how.model_copy(update={"step_size": step_size})
        alone = llc_of(run.stack(run.steps[-2:]), run.config.model, run.task, given, seeds=run.steps[-2:])
        assert table[column].tolist() == alone.llc.tolist()
    assert table["bias"].tolist() == (2 * (table["llc"] - table["llc_half_step"])).tolist()
    assert (table["bias_se"] > 2 * table[["mcse", "mcse_half_step"]].max(axis=1)).all()


def test_a_calibration_is_made_once_and_then_kept(run, monkeypatch):
    first = calibration_of(run)
    monkeypatch.setattr(module, "calibrate", None)
    again = calibration_of(run)
    assert again.sampling == first.sampling and again.explanation == first.explanation
    pd.testing.assert_frame_equal(again.table[first.table.columns], first.table, check_exact=False, rtol=1e-12)
    file = run.path / "llc" / "calibration.json"
    file.write_text("{}")
    with pytest.raises(DamagedFile, match="remove it to calibrate anew"):
        calibration_of(run)
    file.unlink()
    with pytest.raises(DamagedFile, match="calibration.json is missing though calibration.json.sha256 is there"):
        calibration_of(run)
    digest_file(file).unlink()


def test_the_command_calibrates_where_no_numbers_are_given_and_says_and_draws_why(run, capsys):
    assert command(["measure", str(run.path), "--measures", "llc", "--steps", "60", "--quiet"]) == 0
    said = capsys.readouterr().out
    found = calibration_of(run)
    assert all(line in said for line in found.explanation)
    assert (run.path / "llc" / "calibration.png").stat().st_size > 5000
    table = pd.read_parquet(run.path / "measures.parquet")
    assert table.attrs["llc_sampling"] == found.sampling.model_dump(mode="json")
