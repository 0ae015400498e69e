"""Studies: names and configs of the grid, the table against histories, and the template as a user lays it."""

import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from tiny import tiny

from circuitgrok.errors import UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.study.processes import in_processes
from circuitgrok.study.study import Study, censored
from circuitgrok.study.verdicts import Asked

ARMS = {"free": {}, "on the sphere": {"fixed_norm": True, "weight_decay": 0.0}}


def study(**changed):
    base = tiny(steps=20, checkpoint_every=20, eval_every=5, weight_decay=1.0)
    return Study("Is it?", base, ARMS, {"alpha": [0.5, 1.0]}, seeds=[3, 4]).with_(**changed)


def test_every_cell_has_a_config_with_its_leaves_and_seeds():
    configs = study().configs()
    assert list(configs)[:2] == ["free-alpha0.5-s3", "free-alpha0.5-s4"] and len(configs) == 8
    held = configs["on-the-sphere-alpha1-s4"]
    assert held.constraint.fixed_norm and held.optimizer.weight_decay == 0 and held.init.alpha == 1
    assert held.init.seed == 4 and held.task.data_seed == 4
    assert configs["free-alpha0.5-s3"].optimizer.weight_decay == 1


def test_an_arm_overrides_the_grid():
    [config] = study(arms={"one": {"alpha": 2.0}}, grid={"alpha": [1.0]}, seeds=[0]).configs().values()
    assert config.init.alpha == 2


def test_arms_whose_runs_would_have_one_name_are_refused():
    with pytest.raises(UserError, match="have one name"):
        study(arms={"a b": {}, "a-b": {}}).configs()


def test_leaves_of_the_base_and_fields_of_the_study_are_changed_by_name():
    changed = study(steps=7, seeds=[1])
    assert changed.base.schedule.steps == 7 and changed.seeds == [1] and study().base.schedule.steps == 20


def test_the_table_is_what_the_histories_say_and_what_is_written_says_the_setting(tmp_path, capsys):
    from circuitgrok import figures
    from circuitgrok.study.claims import Share, where

    asked, of = study(grid={"alpha": [1.0]}), Asked(quick=True, out=tmp_path / "out", threads=1)
    runs = asked.train(of)
    table = asked.table(runs, lambda run: {"n": len(run.steps)})
    assert table["arm"].tolist() == ["free", "free", "on the sphere", "on the sphere"]
    for line, run in zip(table.to_dict("records"), runs.values(), strict=True):
        history = run.history
        assert line["final_norm"] == history["norm"].iloc[-1] and line["steps"] == 20
        assert line["best_test_acc"] == history["test_acc"].max() and line["n"] == len(run.steps)
        assert math.isnan(line["grokked_by"])
    figure, ax = figures.sheet(1, 1, (2, 2))
    ax.plot([0, 1], [0, 1])
    claim = Share(where(), lambda rows: rows["grokked_by"].notna()).is_all("All grok.")
    asked.write(of, table, [claim], figure, ["And this."])
    verdict = (tmp_path / "out" / "verdict.md").read_text("utf-8")
    assert verdict.strip() in capsys.readouterr().out
    assert "**fails**: All grok. Measured: share of runs: 0 of 4." in verdict and "And this." in verdict
    assert f"|θ₀| = {table['r0'].mean():.2f} at α = 1" in verdict and "seeds [3, 4]" in verdict
    assert "test_acc never held 0.95 within the budget: free alpha 1: 2 of 2" in verdict
    asked.train(of)  # again: all are finished, nothing is trained
    assert pd.read_csv(tmp_path / "out" / "table.csv")["r0"].tolist() == pytest.approx(table["r0"].tolist(), rel=1e-9)


def test_a_table_of_checkpoints_is_written_and_decides_while_the_setting_is_that_of_the_runs(tmp_path):
    from circuitgrok import figures
    from circuitgrok.study.claims import Share, where

    runs = pd.DataFrame({"arm": ["a", "a"], "memorised_by": 1.0, "grokked_by": [2.0, math.nan], "state": "finished"})
    long, (figure, _) = pd.DataFrame({"step": [0, 1, 2]}), figures.sheet(1, 1, (2, 2))
    claim = Share(where(), lambda rows: rows["step"] > 0).is_all("All are late.")
    of, asked = study(grid={}), Asked(quick=True, out=tmp_path / "out", threads=1)
    of.write_long(asked, runs.assign(r0=2.5), long, [claim], figure)
    assert pd.read_csv(tmp_path / "out" / "table.csv").equals(long)
    verdict = (tmp_path / "out" / "verdict.md").read_text("utf-8")
    assert "**fails**: All are late. Measured: share of runs: 2 of 3." in verdict
    assert "2 runs, seeds [3, 4]" in verdict and "a: 1 of 2" in verdict and "|θ₀| = 2.50" in verdict


def test_jobs_in_processes_answer_in_their_order_each_with_one_thread():
    import os

    import torch

    jobs = [partial(math.sqrt, 4.0), torch.get_num_threads, os.getpid, partial(math.sqrt, 9.0)]
    root, threads, process, other = in_processes(jobs, 2, "trying", "jobs")
    assert (root, threads, other) == (2, 1, 3) and process != os.getpid()
    with pytest.raises(ValueError, match="domain"):
        in_processes([partial(math.sqrt, -1.0)], 1, "trying", "jobs")


def test_diverged_runs_are_counted():
    table = pd.DataFrame({"arm": ["a"], "memorised_by": [1.0], "grokked_by": [math.nan], "state": ["diverged"]})
    assert censored(table, []) == (
        "Censored: train_acc never held 0.99 within the budget: no run; test_acc never held 0.95 within the budget: "
        "a: 1 of 1. Diverged: 1 runs."
    )


def test_a_study_that_is_laid_runs_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(["new-study", "my_question", "--question", "Is it so?"]) == 0
    assert "python my_question.py --quick" in capsys.readouterr().out
    command = [sys.executable, "my_question.py", "--quick", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    verdict = (tmp_path / "out" / "my_question" / "verdict.md").read_text("utf-8")
    assert verdict.startswith("# Is it so?") and verdict.count("\n* **") == 3
    assert {"figure.png", "figure.svg", "table.csv"} <= {p.name for p in (tmp_path / "out" / "my_question").iterdir()}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["My Question"], "name must be small letters"),
        (["../x"], "name must be small letters"),
        (["x", "--question", 'a"b'], "question must be one line"),
        (["x", "--out", "missing"], "missing is not a folder"),
        (["there"], "is there already"),
    ],
)
def test_a_study_that_cannot_be_laid_is_refused_with_2(argv, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("there.py").write_text("mine")
    assert call(["new-study", *argv]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.py"] and Path("there.py").read_text() == "mine"
