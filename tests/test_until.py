"""A run stops when its event has lasted, at the step that the table's rule says, and goes on without being asked to."""

import random
import signal
from itertools import accumulate

import pytest
from tiny import tiny

import circuitgrok as cg
from circuitgrok.errors import Interrupted, UserError
from circuitgrok.faces.cli import run as call
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, HOLD, crossing
from circuitgrok.store.run import load
from circuitgrok.store.writer import add_event
from circuitgrok.training import course
from circuitgrok.training.loop import train
from circuitgrok.training.progress import Silent
from circuitgrok.training.until import Until, Watch, until_of


def test_words_are_events_and_steps():
    for text, meant in {
        "grokked": ("grokked", 0),
        "memorised+0": ("memorised", 0),
        "grokked+99": ("grokked", 99),
    }.items():
        assert until_of(text) == Until(*meant) and str(until_of(text)) == text.removesuffix("+0")
    for text in ("grok", "grokked-5", "grokked+", "grokked+1.5", "", "GROKKED", "grokked + 5"):
        with pytest.raises(UserError, match="until is memorised or grokked, or such as grokked"):
            until_of(text)
    with pytest.raises(UserError, match="did you mean 'grokked'"):
        until_of("groked+5")


def test_the_step_is_that_of_the_crossing_and_is_told_when_its_hold_is_whole():
    """Over a thousand random histories, on even and uneven grids, some coarser than the hold."""
    draw, happened = random.Random(0), 0
    for _ in range(1000):
        gaps = draw.choice([(10,), (1, 2, 10, 30), (40,), (30, 80)])
        steps = list(accumulate((draw.choice(gaps) for _ in range(60)), initial=0))
        event, stays, more = draw.choice(list(ACCURACY_RULES)), draw.choice((0.6, 0.9)), draw.choice((0, 35, 200))
        column, level = ACCURACY_RULES[event]
        values = [1.0]
        for _ in steps[1:]:
            values.append(values[-1] if draw.random() < stays else 1.5 - values[-1])
        watch = Watch(Until(event, more))
        stopped = next((s for s, v in zip(steps, values, strict=True) if watch.see({"step": s, column: v})), None)
        found = crossing(steps, values, level).by
        if found is None or found + HOLD > steps[-1]:  # at the end of a record `crossing` takes a shorter hold
            assert (watch.happened, stopped) == (None, None)
            continue
        happened += 1
        due = next((s for s in steps if s > found and s >= found + max(HOLD, more)), None)
        assert (watch.happened, stopped) == (found, due)
    assert happened > 500


def test_an_event_that_is_lost_again_stays_an_event():
    watch = Watch(Until("grokked", 100))
    seen = [watch.see({"step": step, "test_acc": 1.0 if step <= 50 else 0.0}) for step in range(0, 130, 10)]
    assert seen.index(True) == 10 and watch.happened == 0


FAST = {"steps": 200, "eval_every": 2, "lr": 0.02, "weight_decay": 0.0, "checkpoint_every": 200}
FAST |= {"d_model": 16, "d_head": 8, "d_mlp": 64, "checkpoints_per_decade": 0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three runs of a stack, trained to their ends: two that memorise at different steps, and one that does not."""
    configs = [tiny(**FAST), tiny(**FAST | {"alpha": 0.5}), tiny(**FAST | {"alpha": 0.01})]
    return configs, train(configs, tmp_path_factory.mktemp("whole"), names=["a", "b", "c"])


def due(run, more):
    """Where a run has to stop, by its whole history; its last step, if it does not."""
    history = run.history
    watch = Watch(Until("memorised", more))
    found = (s for s, acc in history["train_acc"].items() if watch.see({"step": s, "train_acc": acc}))
    return next(found, history.index[-1])


def test_runs_of_a_stack_stop_each_at_its_step_and_go_on_to_the_bits_of_those_that_never_stopped(whole, tmp_path):
    configs, unbroken = whole
    ends = {run.name: due(run, 20) for run in unbroken}
    assert ends["a"] < ends["b"] < 200 == ends["c"], ends
    runs = train(configs, tmp_path, names=["a", "b", "c"], until="memorised+20")
    for run in runs:
        if ends[run.name] < 200:
            assert run.state == "stopped@memorised+20" and run.history.index[-1] == ends[run.name]
            assert run.events[-1] == {"event": "stopped", "step": ends[run.name], "until": "memorised+20"}
        else:
            assert run.state == "finished"
    before = [run.path.joinpath("history.jsonl").read_bytes() for run in runs]
    train(configs, tmp_path, names=["a", "b", "c"], until="memorised")  # has come further than that
    assert [run.path.joinpath("history.jsonl").read_bytes() for run in runs] == before
    again = train(configs, tmp_path, names=["a", "b", "c"])
    for run, other in zip(again, unbroken, strict=True):
        assert run.state == "finished"
        for file in ("history.jsonl", "index.jsonl", "updates.jsonl"):
            assert run.path.joinpath(file).read_bytes() == other.path.joinpath(file).read_bytes()


def test_a_stop_that_is_met_again_after_an_interruption_is_at_the_same_step(whole, tmp_path):
    """Resume points at every step, and the run goes on from one in the midst of the hold."""
    [config, *_], [run, *_] = whole
    end = due(run, 0)

    class Stopping(Silent):
        def at(self, step, records):
            if step == end - 4:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(config, tmp_path, names=["run"], until="memorised", progress=Stopping())
    stopped = train(config, tmp_path, names=["run"], until="memorised")
    assert stopped.state == "stopped@memorised" and stopped.history.index[-1] == end


def test_a_run_that_is_killed_before_it_says_that_it_stopped_stops_there_again(whole, tmp_path, monkeypatch):
    """Its history has come as far as was asked, and says nothing of a stop."""
    [config, *_], [run, *_] = whole

    def killed(there, event, *given, **facts):
        if event == "stopped":
            raise OSError("killed")
        return add_event(there, event, *given, **facts)

    with monkeypatch.context() as dying, pytest.raises(OSError, match="killed"):
        dying.setattr(course, "add_event", killed)
        train(config, tmp_path, names=["run"], until="memorised")
    left = load(tmp_path / "run")
    assert left.state == "interrupted" and left.history.index[-1] == due(run, 0)
    again = train(config, tmp_path, names=["run"], until="memorised")
    assert again.state == "stopped@memorised" and again.history.index[-1] == due(run, 0)


def test_one_config_gives_one_run_and_a_word_that_is_no_event_is_refused_before_any_folder(tmp_path):
    run = train(tiny(steps=2), tmp_path, names=["run"])
    assert run.state == "finished" and run.name == "run"
    with pytest.raises(UserError, match="until is memorised or grokked"):
        train(tiny(steps=3), tmp_path / "new", until="groked")
    assert not (tmp_path / "new").exists()


def test_workers_and_the_command_line_stop_there_too(whole, tmp_path, capsys):
    [config, *_], [run, *_] = whole
    [there] = train([config], tmp_path, names=["w"], until="memorised", workers=2)
    assert (there.state, there.history.index[-1]) == ("stopped@memorised", due(run, 0))
    (tmp_path / "c.json").write_text(config.model_dump_json())
    command = ["train", "--config", str(tmp_path / "c.json"), "--out", str(tmp_path / "run"), "--quiet"]
    assert call([*command, "--until", "memorised+6"]) == 0
    assert f"run: stopped@memorised+6 after {due(run, 6)} steps" in capsys.readouterr().out
    assert call(command) == 0
    assert "run: finished after 200 steps" in capsys.readouterr().out


def test_a_sweep_takes_runs_that_stopped_for_done_until_they_go_on(whole, tmp_path):
    [config, *_], _ = whole
    sweep = cg.sweep(config, {"alpha": [0.01, 1.0]}, out=tmp_path, until="memorised")
    assert sweep.table["state"].tolist() == ["finished", "stopped@memorised"] and sweep.missing == []
    assert sweep.table["class"].notna().all() and "1 stopped@memorised" in repr(sweep)
    assert sweep.train().table["state"].tolist() == ["finished", "finished"]
