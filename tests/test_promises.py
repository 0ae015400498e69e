"""Promises that are about the whole tool and stand in no other file: bits here, closeness elsewhere, cost, light start.

`docs/promises.md` has the table of all of them, each with its test and its figure.
"""

import hashlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny

import circuitgrok as cg
from circuitgrok.store.behind import Behind
from circuitgrok.store.environment import environment
from circuitgrok.store.writer import Writer, create
from circuitgrok.training.loop import start_facts
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import evaluate, forward, update, watched_update

ROOT = Path(__file__).parents[1]
PUBLISHED_SHAPE = {"p": 113, "d_model": 128, "n_heads": 4, "d_head": 32, "d_mlp": 512, "n_layers": 1}


def digest(run: cg.Run) -> str:
    """SHA-256 of the file of the last weights."""
    return hashlib.sha256((run.path / f"step_{run.steps[-1]:09d}.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_r10_two_hundred_steps_twice_and_in_a_stack_of_four_have_one_digest(tmp_path, precision):
    configs = [tiny(steps=200, seed=seed, precision=precision) for seed in range(4)]
    once, again = (cg.train([configs[2]], tmp_path / name, names=["run"])[0] for name in ("once", "again"))
    stacked = cg.train(configs, tmp_path / "stack", names=list("abcd"))
    assert digest(once) == digest(again) == digest(stacked[2])
    assert len({digest(run) for run in stacked}) == 4


def elsewhere(out: Path, threads: int, **variables: str) -> dict[str, torch.Tensor]:
    """The weights after ten steps at the published size, from a process with other surroundings."""
    code = (
        "import sys, circuitgrok as cg\n"
        "config = cg.TrainConfig.preset('nanda').with_(steps=10, warmup=0, eval_every=10, checkpoints_per_decade=0)\n"
        f"cg.train([config], sys.argv[1], names=['run'], threads={threads})\n"
    )
    subprocess.run([sys.executable, "-c", code, str(out)], env=os.environ | variables, cwd=ROOT, check=True)
    return load_file(out / "run" / "step_000000010.safetensors")


@pytest.mark.slow
def test_r11_other_threads_and_instructions_give_close_weights_and_other_bits(tmp_path):
    here = elsewhere(tmp_path / "one", threads=1)
    others = {
        "two threads": elsewhere(tmp_path / "two", threads=2),
        "plain instructions": elsewhere(tmp_path / "plain", threads=1, ATEN_CPU_CAPABILITY="default"),
    }
    config = cg.TrainConfig.preset("nanda")
    task, model = config.task.draw(), config.model

    def loss(weights: dict[str, torch.Tensor]) -> float:
        doubled = {name: value.double() for name, value in weights.items()}
        with torch.no_grad():
            logits = model.logits(doubled, task.inputs[task.is_train])
        return torch.nn.functional.cross_entropy(logits, task.labels[task.is_train]).item()

    for what, weights in others.items():
        assert abs(loss(weights) / loss(here) - 1) < 1e-5, what
    # there are processors on which two threads give the same bits, and plain instructions may be all that one has
    varied = [what for what, weights in others.items() if any(not torch.equal(weights[n], here[n]) for n in here)]
    assert varied, "nothing was varied"


@pytest.mark.slow
def test_r17_checkpoints_cost_little_of_a_step_at_the_published_size(tmp_path):
    """What a saved step takes longer than an equal one that is not saved, over a plain step; all in turn.

    A block of saved steps ends when all its files are on the disk.
    """
    config = cg.TrainConfig.preset("nanda").with_(warmup=0)
    assert {name: getattr(config.model, name) for name in PUBLISHED_SHAPE} == PUBLISHED_SHAPE
    stack = new_stack([config])
    run = create(tmp_path / "run", config, environment(1), start_facts(config))
    numbers, block = itertools.count(), 6

    def plain() -> None:
        step = next(numbers)
        update(stack, forward(stack, step), step)

    def looked_at(writer: Writer | None) -> None:
        step = next(numbers)
        ahead = forward(stack, step)
        [record] = evaluate(stack, step, ahead)
        if writer:
            weights = {name: value[0] for name, value in stack.weights.items()}
            writer.record(record, weights, scheduled=True, on_move=1.0)
        [about] = watched_update(stack, ahead, step)
        if writer:
            writer.record_update(about)

    with Behind() as behind:
        writer = Writer.open(run, {}, behind)
        kinds = {"plain": plain, "looked at": lambda: looked_at(None), "saved": lambda: looked_at(writer)}
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(10):
            for name, one in kinds.items():
                begin = time.perf_counter()
                for _ in range(block):
                    one()
                behind.flush()
                seconds[name].append((time.perf_counter() - begin) / block)
    assert len(run.steps) == 10 * block
    more = statistics.median(a - b for a, b in zip(seconds["saved"], seconds["looked at"], strict=True))
    each = more / statistics.median(seconds["plain"])
    scheduled = each * len(config.schedule.checkpoint_steps()) / config.schedule.steps
    print(f"saving costs {each:.3f} of a step; on the default schedule {scheduled:.5f} of a run")
    assert scheduled < 0.03
    assert each < 0.2  # every step saved; docs/promises.md has the figure of a quiet machine


def test_r20_importing_the_trainer_brings_no_heavy_guest():
    code = "import sys, circuitgrok.training.loop; print(*{name.split('.')[0] for name in sys.modules})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert "torch" in said.split()
    assert {"transformer_lens", "transformers", "matplotlib", "sklearn", "pandas"} & set(said.split()) == set()


@pytest.mark.slow
def test_r20_training_measuring_and_looking_open_no_socket(tmp_path):
    code = (
        "import sys\n"
        "def guard(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.bind', 'socket.sendto'):\n"
        "        raise RuntimeError(f'{event} {args}')\n"
        "sys.addaudithook(guard)\n"
        "from circuitgrok.faces import cli\n"
        "from tiny import tiny_flags\n"
        "out = sys.argv[1]\n"
        "assert cli.run(['train', 'nanda', *tiny_flags(), '--out', out]) == 0\n"
        "assert cli.run(['measure', out]) == 0\n"
        "assert cli.run(['runs', out]) == 0\n"
        "assert cli.run(['doctor', out]) == 0\n"
        "import circuitgrok as cg\n"
        "cg.lens.bridge(cg.load(out), 0)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": path})
    assert ended.returncode == 0, ended.stderr[-2000:]
