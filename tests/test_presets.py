"""Every preset trains, at a smaller size and (slow) as published; and its minutes are those that were measured."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from loops import for_each
from test_images import arrays, write

from circuitgrok.config.presets import PRESETS
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.store.run import Run
from circuitgrok.training.loop import train

TIMES = Path(__file__).parents[1] / "analyses" / "out" / "preset_times" / "table.csv"


def smaller(name: str) -> dict[str, Any]:
    """The leaves that make a preset quick without making it another: fewer numbers, smaller groups and images."""
    config = TrainConfig.preset(name)
    batch = {"batch_size": 16} if "batch_size" in config.kinds else {}
    match config.task.kind:
        case "composition":
            return {"group": "S4"} | batch
        case "modular_addition":
            return {"p": 23} | batch
        case "mnist":
            return {"n_train": 30, "n_test": 12} | batch
    return batch


def trained(name: str, folder: Path, **leaves: Any) -> Run:
    """Twenty steps of a preset, MNIST on files that are there."""
    own: dict[str, Any] = {"folder": str(write(folder / "mnist", arrays()))} if name == "omnigrok-mnist" else {}
    config = TrainConfig.preset(name).with_(steps=20, checkpoint_every=20, checkpoints_per_decade=0, **own | leaves)
    return train([config], folder, names=[name])[0]


def check(run: Run) -> None:
    history = run.history
    assert run.state == "finished" and run.steps[0] == 0 and run.steps[-1] == history.index[-1] == 20
    assert bool(history.map(lambda value: abs(value) < float("inf")).all().all())
    assert history["train_loss"].nunique() > 1


@for_each("name", PRESETS)
def test_preset_trains_twenty_steps_at_a_smaller_size(tmp_path, name):
    check(trained(name, tmp_path, **smaller(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_preset_trains_twenty_steps_as_published(tmp_path, name):
    check(trained(name, tmp_path, **(smaller(name) if name == "omnigrok-mnist" else {})))


@pytest.mark.skipif(not TIMES.exists(), reason="analyses/preset_times.py has not been run")
def test_minutes_of_the_presets_are_those_that_were_measured():
    """To 10 %: they are written with two digits."""
    table = pd.read_csv(TIMES, index_col="preset")["minutes"]
    assert set(table.index) == set(PRESETS)
    for name, minutes in table.dropna().items():
        assert PRESETS[str(name)].minutes == pytest.approx(minutes, rel=0.1)
