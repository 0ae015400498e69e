"""How long does a run of each preset take, from the median time of its steps?

A step, an evaluation and a checkpoint (written, and the step that leaves it taken apart) are timed one by one, on
one thread; a run takes as many of each as its schedule says. The minutes are to be copied to `config.presets`.

    python analyses/preset_times.py            # every preset: minutes, on a machine that does nothing else
    python analyses/preset_times.py --quick    # three small ones: seconds
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import circuitgrok as cg
from circuitgrok.config.presets import MACHINE, PRESETS
from circuitgrok.store.environment import environment
from circuitgrok.store.files import write_atomically
from circuitgrok.store.writer import create, write_checkpoint
from circuitgrok.study.asked import asked
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import evaluate, forward, update, watched_update

SMALL = ("quickstart", "omnigrok-teacher", "parity")
WARM_UP = 3  # calls that are not counted


def median_ms(rounds: int, called: Any) -> float:
    """Median time of a call with a step's number, after a warm-up, in milliseconds."""
    times = []
    for step in range(WARM_UP + rounds):
        begin = time.perf_counter()
        called(step)
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[WARM_UP:])


def measured(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """One preset as a line of the table; nan where its data are not there."""
    config = cg.TrainConfig.preset(name)
    schedule, line = config.schedule, {"preset": name, "steps": config.schedule.steps}
    try:
        stack = new_stack([config])
    except ValueError as missing:
        print(f"{name}: left out, {missing}")
        return line
    start = {"norm": 0.0, "split_hash": config.task.draw().split_hash}
    run, weights = create(folder / name, config, environment(1), start), {k: v[0] for k, v in stack.weights.items()}

    def plain(step: int) -> None:
        update(stack, forward(stack, step), step)

    step_ms, ahead = median_ms(rounds, plain), forward(stack, 0)
    evaluation_ms = median_ms(rounds, lambda step: evaluate(stack, step, ahead))
    watched_ms = median_ms(rounds, lambda step: watched_update(stack, forward(stack, step), step))
    checkpoint_ms = median_ms(rounds, lambda step: write_checkpoint(run, step, weights)) + max(watched_ms - step_ms, 0)
    kept = schedule.checkpoint_steps()
    evaluations = len(kept | {*range(0, schedule.steps, schedule.eval_every)})
    times = {"ms_per_step": step_ms, "ms_per_evaluation": evaluation_ms, "ms_per_checkpoint": checkpoint_ms}
    spent = sum(n * ms for n, ms in zip((schedule.steps, evaluations, len(kept)), times.values(), strict=True))
    return line | times | {"minutes": spent / 6e4}


def main() -> None:
    given = asked("How long does a run of each preset take?", __file__, "three small presets")
    rounds, names = (2, SMALL) if given.quick else (12, tuple(PRESETS))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        table = pd.DataFrame([measured(name, rounds, Path(folder)) for name in names])
    given.out.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index=False, float_format="%.4g", lineterminator="\n")
    write_atomically(given.out / "table.csv", text.encode())
    print(f"minutes on {MACHINE}:")
    print(table[["preset", "minutes"]].to_string(index=False, float_format="%.2g"))


if __name__ == "__main__":
    main()
