"""Studies: names and configs of the grid, the table against histories, and the template as a user lays it."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from test_images import arrays, write
from tiny import tiny

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import RunError, UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.measures.learning.crossings import ACCURACY_RULES
from circuitgrok.study import registered
from circuitgrok.study.asked import Asked
from circuitgrok.study.intervals import mean_interval
from circuitgrok.study.processes import in_processes
from circuitgrok.study.question import outlook_of
from circuitgrok.study.rows import at_events, censored, row
from circuitgrok.study.study import Studies, Study

ARMS = {"free": {}, "on the sphere": {"fixed_norm": True, "weight_decay": 0.0}}


def study(**changed):
    base = tiny(steps=20, checkpoint_every=20, eval_every=5, weight_decay=1.0)
    return Study("Is it?", base, ARMS, {"alpha": [0.5, 1.0]}, seeds=[3, 4]).with_(**changed)


def test_every_cell_has_a_config_with_its_leaves_and_seeds():
    configs = study().configs()
    assert list(configs)[:2] == ["free-alpha0.5-s3", "free-alpha0.5-s4"] and len(configs) == 8
    held = configs["on-the-sphere-alpha1-s4"]
    assert "fixed_norm" in held.kinds and held.optimizer.weight_decay == 0 and held.init.alpha == 1
    assert held.init.seed == 4 and held.task.data_seed == 4
    assert configs["free-alpha0.5-s3"].optimizer.weight_decay == 1


def test_an_arm_overrides_the_grid():
    [config] = study(arms={"one": {"alpha": 2.0}}, grid={"alpha": [1.0]}, seeds=[0]).configs().values()
    assert config.init.alpha == 2


def test_an_arm_may_be_found_from_the_cell_of_the_grid_and_the_seed():
    arms = {"apart": lambda cell: {"data_seed": 1000 + cell.init.seed, "alpha": 2 * cell.init.alpha}}
    configs, labels = study(arms=arms).configs(), study(arms=arms).labels()
    one = configs["apart-alpha0.5-s4"]
    assert (one.init.seed, one.task.data_seed, one.init.alpha) == (4, 1004, 1.0)
    assert labels["apart-alpha0.5-s4"] == {"arm": "apart", "alpha": 0.5, "seed": 4}  # the grid's


def test_several_studies_are_one_table_and_the_verdict_says_the_setting_of_each(tmp_path, capsys):
    from circuitgrok import figures
    from circuitgrok.study.claims import Share, where

    long = study(grid={}, arms={"free": {}}, steps=30, checkpoint_every=30)
    both = Studies("Are they?", {"radii": study(seeds=[3]), "long ones": long}, column="which")
    asked = Asked(quick=True, out=tmp_path / "out", threads=1)
    runs = both.train(asked)
    assert list(runs) == list(both.configs()) and list(runs)[-1] == "long-ones-free-s4" == runs[list(runs)[-1]].name
    table = both.table(runs)
    assert (
        table["which"].tolist() == ["radii"] * 4 + ["long ones"] * 2 and table["steps"].tolist() == [20] * 4 + [30] * 2
    )
    assert table["alpha"].tolist()[:4] == [0.5, 1.0, 0.5, 1.0] and table["alpha"][4:].isna().all()
    figure, ax = figures.sheet(1, 1, (2, 2))
    ax.plot([0, 1], [0, 1])
    claim = Share(where(which="radii"), lambda rows: rows["grokked_by"].notna()).is_all("All grok.")
    both = replace(both, claims=[claim])
    both.write(asked, table, figure, ["And this."])
    verdict = (tmp_path / "out" / "verdict.md").read_text("utf-8")
    assert verdict.strip() in capsys.readouterr().out and "share of runs: 0 of 4" in verdict and "And this." in verdict
    unit = table["r0"][4:].mean()
    radii, longer = (line for line in verdict.splitlines() if "runs, seeds" in line)
    assert radii.startswith("radii: ") and "20 steps" in radii and "free alpha 0.5: 1 of 1" in radii
    assert longer.startswith("long ones: ") and "30 steps" in longer and f"|θ₀| = {unit:.2f} at α = 1" in longer


def test_each_part_of_several_studies_has_its_own_rules():
    low = study(
        grid={}, arms={"free": {}}, seeds=[3], rules={"memorised": ("train_acc", 0.5), "grokked": ("test_acc", 0.4)}
    )
    both = Studies("Are they?", {"usual": low.with_(rules=ACCURACY_RULES), "low": low})
    steps = [10 * i for i in range(12)]
    accuracies = {"train_acc": [0.6] * 12, "test_acc": [0.5] * 12, "norm": [1.0] * 12}
    run: Any = SimpleNamespace(
        history=pd.DataFrame(accuracies, index=steps), manifest={"start": {"norm": 1.0}}, state="finished"
    )
    runs: dict[str, Any] = {name: run for name in both.configs()}
    table = both.table(runs)
    assert table["grokked_by"].isna().tolist() == [True, False] and table["memorised_by"].isna().tolist() == [
        True,
        False,
    ]
    usual, other = (both.parts[part].about(table[table["part"] == part])[1] for part in ("usual", "low"))
    assert "test_acc never held 0.95 within the budget: free: 1 of 1" in usual
    assert "test_acc never held 0.4 within the budget: no run" in other


def test_parts_are_changed_together_and_each_on_its_own_and_runs_are_grouped_by_labels():
    both = Studies("Are they?", {"radii": study(), "long ones": study(grid={})}, column="which")
    changed = both.with_({"long ones": {"steps": 40}}, steps=10, seeds=[7])
    assert [part.base.schedule.steps for part in changed.parts.values()] == [10, 40] and len(changed.labels()) == 6
    assert both.parts["radii"].base.schedule.steps == 20 and changed.column == "which"
    runs: dict[str, Any] = {name: name for name in changed.labels() if "alpha0.5" not in name}
    assert changed.grouped(runs) == {
        "free": ["radii-free-alpha1-s7", "long-ones-free-s7"],
        "on the sphere": ["radii-on-the-sphere-alpha1-s7", "long-ones-on-the-sphere-s7"],
    }
    assert changed.grouped(runs, "alpha", arm="free") == {1.0: ["radii-free-alpha1-s7"]}
    assert changed.grouped(runs, which="long ones", arm="free") == {"free": ["long-ones-free-s7"]}


def test_parts_whose_runs_would_have_one_name_are_refused():
    clash = {"a": study(arms={"b-c": {}}), "a-b": study(arms={"c": {}})}
    with pytest.raises(UserError, match="have one name"):
        Studies("Are they?", clash).labels()


def test_the_setting_says_every_size_of_the_training_set():
    sized = study(grid={"frac_train": [0.4, 0.6]}, seeds=[0], arms={"free": {}})
    small, large = (config.task.n_train for config in sized.configs().values())
    assert f"{small}, {large} to train on" in sized.setting(pd.DataFrame({"arm": ["free"] * 2, "r0": [1.0, 1.0]}))


def test_initial_norms_are_said_by_arm_only_where_arms_begin_apart():
    rows = pd.DataFrame({"arm": ["a", "a", "b", "b"], "alpha": [1.0, 2.0] * 2, "r0": [10.0, 20.4, 10.1, 20.2]})
    assert "|θ₀| = 10.10 at α = 1." in study().setting(rows)
    rows.loc[rows["arm"] == "b", "r0"] *= 3
    assert "|θ₀| = 10.10, but 30.30 (b) at α = 1." in study().setting(rows)


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
    assert [run for of_arm in asked.grouped(runs).values() for run in of_arm] == list(runs.values())
    assert [run.name for run in asked.grouped(runs)["on the sphere"]] == list(runs)[2:]
    for line, run in zip(table.to_dict("records"), runs.values(), strict=True):
        history = run.history
        assert line["final_norm"] == history["norm"].iloc[-1] and line["steps"] == 20
        assert line["best_test_acc"] == history["test_acc"].max() and line["n"] == len(run.steps)
        assert math.isnan(line["grokked_by"])
    rules = {"memorised": ("train_acc", 2.0), "grokked": ("test_loss", 0.0), "small": ("norm", 1e9)}
    at_once = asked.with_(rules=rules)
    other = at_once.table(runs)
    assert other["grokked_by"].tolist() == [0] * 4 and other["memorised_by"].isna().all()
    assert other["small_by"].isna().all() and "norm never held 1e+09" in censored(other, [], rules)
    assert "train_acc never held 2 within the budget: free: 2 of 2" in censored(other, [], at_once.rules)
    figure, ax = figures.sheet(1, 1, (2, 2))
    ax.plot([0, 1], [0, 1])
    claim = Share(where(), lambda rows: rows["grokked_by"].notna()).is_all("All grok.")
    asked.with_(claims=[claim]).write(of, table, figure, ["And this."])
    verdict = (tmp_path / "out" / "verdict.md").read_text("utf-8")
    assert verdict.strip() in capsys.readouterr().out
    assert "* **counterexample** (" in verdict and "All grok. Measured: share of runs: 0 of 4." in verdict
    assert "And this." in verdict and "not committed before the first run" in verdict and "*post hoc*" in verdict
    assert f"|θ₀| = {table['r0'].mean():.2f} at α = 1" in verdict and "seeds [3, 4]" in verdict
    assert "transformer (n_layers 1, n_heads 2, d_model 8, d_head 4, d_mlp 16);" in verdict
    assert "test_acc never held 0.95 within the budget: free alpha 1: 2 of 2" in verdict
    asked.train(of)  # again: all are finished, nothing is trained
    assert pd.read_csv(tmp_path / "out" / "table.csv")["r0"].tolist() == pytest.approx(table["r0"].tolist(), rel=1e-9)


def test_a_column_at_the_events_is_that_of_the_evaluation_from_which_they_hold():
    steps = [10 * i for i in range(12)]
    accuracies = {"train_acc": [float(step >= 30) for step in steps], "test_acc": [0.5] * 12}
    history = pd.DataFrame(accuracies | {"norm": [100.0 - step for step in steps]}, index=steps)
    then = at_events(cast(Any, SimpleNamespace(history=history)), "norm")
    assert then["norm_memorised"] == 70 and math.isnan(then["norm_grokked"]) and len(then) == 2


def test_a_table_of_checkpoints_is_written_and_decides_while_the_setting_is_that_of_the_runs(tmp_path):
    from circuitgrok import figures
    from circuitgrok.study.claims import Share, where

    runs = pd.DataFrame({"arm": ["a", "a"], "memorised_by": 1.0, "grokked_by": [2.0, math.nan], "state": "finished"})
    long, (figure, _) = pd.DataFrame({"step": [0, 1, 2]}), figures.sheet(1, 1, (2, 2))
    claim = Share(where(), lambda rows: rows["step"] > 0).is_all("All are late.")
    of, asked = study(grid={}), Asked(quick=True, out=tmp_path / "out", threads=1)
    of.write(asked, long.assign(seed=0), figure, runs=runs.assign(r0=2.5), made=[claim])
    assert pd.read_csv(tmp_path / "out" / "table.csv").equals(long.assign(seed=0))
    verdict = (tmp_path / "out" / "verdict.md").read_text("utf-8")
    assert "All are late. Measured: share of runs: 2 of 3." in verdict
    assert "2 runs, seeds [3, 4]" in verdict and "a: 1 of 2" in verdict and "|θ₀| = 2.50" in verdict


def test_a_replication_trains_as_many_other_seeds_and_says_both_words(tmp_path, monkeypatch, capsys):
    from circuitgrok import figures
    from circuitgrok.study.claims import Mean, Share, where

    norm = Mean(where(arm="free"), "r0", "norm").exceeds(1, "It begins above 1.")
    of = study(grid={}, arms={"free": {}}, seeds=[3, 4, 5], claims=[norm])
    script = tmp_path / "why.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--quick", "--replicate", "--threads", "1", "--out", str(tmp_path)])
    asked, twice = of.asked(str(script), of, "nothing")
    assert asked.replicates and list(twice.all_seeds) == [3, 4, 5, 6, 7, 8]
    table = twice.table(twice.train(asked))
    figure, ax = figures.sheet(1, 1, (2, 2))
    ax.plot([0, 1], [0, 1])
    late = Share(where(), lambda rows: rows["seed"] > 0).exceeds(0.9, "Most seeds are late.")
    twice.write(asked, table, figure, made=[late])
    verdict = (tmp_path / "verdict.md").read_text("utf-8")
    assert "* of the first seeds **holds**, of others **holds**, of all **holds** (" in verdict
    assert "2 of 2 claims got the same word, of the 1 that the first seeds decided 1." in verdict
    first = f"norm {mean_interval(table['r0'][:3].tolist())}"
    assert f"Measured: of the first seeds {first}; of others" in verdict
    assert "claim: It begins above 1. [power .8 at" in capsys.readouterr().out


def test_a_row_that_is_kept_stands_for_its_run_and_no_other(tmp_path):
    asked, of = study(grid={}, arms={"free": {}}), Asked(quick=True, out=tmp_path / "out", threads=1)
    table = asked.rows(of, lambda run: {"n": len(run.steps), "never": math.nan})
    shutil.rmtree(tmp_path / "out" / "runs")
    more = asked.with_(seeds=[3, 4, 5])
    again = more.rows(of, lambda run: {"n": -1, "never": math.nan})
    assert again[:2].equals(table) and again["n"].tolist() == [*table["n"], -1]
    assert [path.name for path in (tmp_path / "out" / "runs").glob("free*")] == ["free-s5"]
    assert again["r0"].tolist() == asked.table(asked.with_(seeds=[3, 4]).train(of))["r0"].tolist() + [again["r0"][2]]
    shutil.rmtree(tmp_path / "out" / "runs")
    other = asked.with_(alpha=2.0, seeds=[3]).rows(Asked(True, tmp_path / "out", 1))  # another config is another run
    assert other["r0"][0] == pytest.approx(2 * table["r0"][0], rel=1e-6)


def test_runs_whose_data_were_not_given_are_left_out_or_stand_by_their_kept_rows(tmp_path, monkeypatch, capsys):
    images = TrainConfig.preset("omnigrok-mnist").with_(
        n_train=20, n_test=8, width=8, batch_size=5, steps=4, checkpoint_every=4, eval_every=2
    )
    both = Studies("Are they?", {"here": study(grid={}, seeds=[3]), "images": Study("Is it?", images, ARMS, seeds=[3])})
    without = Asked(quick=True, out=tmp_path / "out", threads=1)
    table = both.rows(without)
    assert table["part"].tolist() == ["here"] * 2 and "left out: 2 runs that need --mnist" in capsys.readouterr().out
    assert "images: no runs" in both.about(table)[1]
    given = without._replace(mnist=write(tmp_path / "files", arrays()))
    whole = both.rows(given, lambda run: {"split": run.manifest["start"]["split_hash"]})
    assert whole["part"].tolist() == ["here"] * 2 + ["images"] * 2 and whole["split"][2] == whole["split"][3]
    shutil.rmtree(tmp_path / "out" / "runs")
    again = both.rows(given._replace(mnist=tmp_path / "elsewhere"))  # rows know nothing of the folder
    assert again.equals(whole) and both.rows(without).equals(whole) and not [*(tmp_path / "out").glob("runs/*-s3")]
    monkeypatch.setattr(sys, "argv", ["why.py", "--dry-run", "--out", str(tmp_path / "new")])
    with pytest.raises(SystemExit, match="0"):
        both.asked(str(tmp_path / "why.py"), both, "nothing")
    assert "0 of 2 runs are finished" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["why.py", "--mnist", "somewhere"])
    assert both.asked(str(tmp_path / "why.py"), both, "nothing")[0].mnist == Path("somewhere")
    with pytest.raises(SystemExit, match="2"):  # a study without images has no such option
        study().asked(str(tmp_path / "why.py"), study(), "nothing")


def test_claims_are_written_committed_and_recorded_before_the_first_run(tmp_path, monkeypatch, capsys):
    from circuitgrok.study.claims import Mean, where

    norm = Mean(where(arm="free"), "r0", "norm").exceeds(1, "It begins above 1.")
    of = study(grid={}, arms={"free": {}}, seeds=[3, 4], claims=[norm, "A sentence."])
    script = tmp_path / "why.py"
    script.write_text("1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "--claims"])
    with pytest.raises(SystemExit, match="0"):
        of.asked(str(script), of, "nothing")
    file = tmp_path / "out" / "why" / "claims.json"
    content = json.loads(file.read_bytes())
    assert [claim["text"] for claim in content["claims"]] == ["It begins above 1.", "A sentence."]
    assert content["claims"][0]["rule"] == "norm > 1" and content["seeds"] == [3, 4]
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for words in (["init", "-q"], ["add", "."], [*me, "commit", "-q", "-m", "claims"]):
        subprocess.run(["git", *words], check=True)
    asked = Asked(False, tmp_path / "out" / "why", 1, script=script)
    record = registered.registered(asked, of.question, of.all_seeds, of.claims)
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert record.commit == head and record.digest == content["digest"]
    assert registered.in_words(record, script).startswith(f"Claims (digest {record.digest[:12]}) committed at {head}")
    assert not registered.is_post_hoc("A sentence.", record) and registered.is_post_hoc("Another.", record)
    more = [*of.claims, "Another."]  # what was recorded stays, whatever is claimed later
    assert registered.registered(asked, of.question, of.all_seeds, more) == record
    script.write_text("2")
    assert "changed since then" in registered.in_words(record, script)


def test_claims_that_were_changed_after_their_commit_are_not_taken_as_committed(tmp_path, monkeypatch):
    of = study(grid={}, arms={"free": {}}, seeds=[3, 4], claims=["A sentence."])
    script = tmp_path / "why.py"
    file = tmp_path / "out" / "why" / "claims.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(registered.claims_file(of.question, of.all_seeds, ["Another sentence."]))
    monkeypatch.chdir(tmp_path)
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for words in (["init", "-q"], ["add", "."], [*me, "commit", "-q", "-m", "claims"]):
        subprocess.run(["git", *words], check=True)
    asked = Asked(False, tmp_path / "out" / "why", 1, script=script)
    assert not registered.registered(asked, of.question, of.all_seeds, of.claims).commit


def test_a_claim_that_the_seeds_cannot_decide_is_refused_before_training(tmp_path):
    from circuitgrok.study.claims import Share, where

    most = Share(where(), lambda rows: rows["r0"] > 0).exceeds(0.5, "Most runs begin.")
    few = study(grid={}, arms={"free": {}}, claims=[most])
    with pytest.raises(UserError, match="2 seeds cannot decide 'Most runs begin.'"):
        few.train(Asked(False, tmp_path, 1))
    assert not (tmp_path / "runs").exists()
    crowd = [most] * 40  # ten seeds decide one such claim, and not forty of them together
    registered.refuse_undecidable([most], 10)
    with pytest.raises(UserError, match="fewer claims"):
        registered.refuse_undecidable(crowd, 10)


def test_a_dry_run_says_what_would_be_trained_and_trains_nothing(tmp_path, monkeypatch, capsys):
    of = study(grid={}, arms={"free": {}})
    monkeypatch.setattr(sys, "argv", ["why.py", "--dry-run", "--threads", "1", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="0"):
        of.asked(str(tmp_path / "why.py"), of, "nothing")
    said = capsys.readouterr().out
    assert "2 runs to step 20" in said and "0 of 2 runs are finished" in said and not (tmp_path / "out").exists()


def test_a_dry_run_knows_a_second_stage_wherever_its_runs_began_and_refuses_what_differs_in_more(tmp_path):
    given = Asked(True, tmp_path, 1)
    source = study(grid={}, arms={"first": {}}).train(given)["first-s3"]
    second = study(grid={}, arms={"second": {}})  # as it is declared, before there is anything to start from
    second.with_(arms={"second": {"start": f"{source.path}@20"}}).train(given)
    assert "2 of 2 runs are finished" in outlook_of(second.configs(), given)
    with pytest.raises(RunError, match="second-s3"):
        outlook_of(second.with_(lr=0.5).configs(), given)


def test_jobs_in_processes_answer_in_their_order_each_with_one_thread():
    import os

    import torch

    jobs = [partial(math.sqrt, 4.0), torch.get_num_threads, os.getpid, partial(math.sqrt, 9.0)]
    root, threads, process, other = in_processes(jobs, 2, "trying", "jobs")
    assert (root, threads, other) == (2, 1, 3) and process != os.getpid()
    with pytest.raises(ValueError, match="domain"):
        in_processes([partial(math.sqrt, -1.0)], 1, "trying", "jobs")


SLEEPING = """
import time
from functools import partial
from circuitgrok.study.processes import in_processes
if __name__ == "__main__":
    in_processes([partial(print, "at work", flush=True), partial(time.sleep, 600), partial(time.sleep, 600)], 2, "", "")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there a process that is killed says so to nobody")
def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    command = [sys.executable, str(tmp_path / "sleeping.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as whole:
        assert whole.stdout and whole.stdout.readline() == "at work\n"
        whole.kill()
        whole.communicate(timeout=60)  # the pipe is theirs as well: its end comes when the last of them is gone


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


# --- rows ---------------------------------------------------------------------------------------------


def recorded(**columns):
    """A run that was evaluated every ten steps, as far as its row looks at it."""
    n = len(columns["test_acc"])
    history = pd.DataFrame({"train_acc": [1.0] * n, "norm": [3.0] * n} | columns, index=range(0, 10 * n, 10))
    return cast(Any, SimpleNamespace(history=history, manifest={"start": {"norm": 5.0}}, state="finished"))


def test_the_time_of_every_event_is_an_interval_and_that_of_unseen_pairs_is_there_where_the_history_knows_them():
    test_acc, unseen = [0.5] * 3 + [0.97] * 12, [0.5] * 6 + [0.96] * 9
    of = row(recorded(test_acc=test_acc, test_mirror_unseen_acc=unseen))
    assert (of["memorised_after"], of["memorised_by"]) == (0, 0)
    assert (of["grokked_after"], of["grokked_by"]) == (20, 30)
    assert (of["grokked_unseen_after"], of["grokked_unseen_by"]) == (50, 60)
    of = row(recorded(test_acc=test_acc, test_mirror_unseen_acc=[0.5] * 15))
    assert of["grokked_unseen_after"] == of["steps"] == 140 and math.isnan(of["grokked_unseen_by"])
    for known in ({}, {"test_mirror_unseen_acc": [math.nan] * 3 + [1.0] * 12}):
        of = row(recorded(test_acc=test_acc, **known))
        assert "grokked_by" in of and not [name for name in of if name.startswith("grokked_unseen")]
