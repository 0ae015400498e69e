"""How fast are stacks of runs, measuring and chains on a GPU?

On the `nanda` model (p = 113, 3830 pairs, float32 weights, float64 loss), one mark after the other, each printed as
soon as it is known, with the name of the machine first:

    training      models x steps per second of stacks of 1, 16 and 64 runs, captured as graphs and step by step
    grokking      seconds for 16 runs until all of them have grokked, files and evaluations included
    a sweep       seconds for 100 runs of 3000 steps, the same
    measuring     minutes for 400 checkpoints, all quick groups
    chains        draws of SGLD per second of 64 chains, against one chain on the CPU of the same machine

    python analyses/speed.py --device cuda [--quick]

On a GPU it is to take less than four minutes. With `--device cpu --quick` it shows that it runs; graphs are then plain
functions, and no number means anything.
"""

import json
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

import circuitgrok as cg
from circuitgrok.device import CPU, is_elsewhere, moved, resolved, same_bits_again
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.measures.learning.crossings import events
from circuitgrok.samplers.sample import sample, start
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import Target
from circuitgrok.store.environment import environment
from circuitgrok.store.files import write_atomically
from circuitgrok.study.asked import Asked, asked
from circuitgrok.study.registered import commit
from circuitgrok.table.checkpoints import Opened
from circuitgrok.table.groups import GROUPS
from circuitgrok.table.measure import quick_groups
from circuitgrok.training.captured import CapturedSteps
from circuitgrok.training.origin import initial_weights
from circuitgrok.training.stack import new_stack
from circuitgrok.training.steps import OneByOne

STACKS = (1, 16, 64)
SECONDS = 4.0  # for each of the marks that are rates


def never(step: int) -> bool:
    """No step is due."""
    return False


def waited(device: torch.device) -> float:
    """The time, once the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def rate(work: Callable[[], int], device: torch.device, seconds: float) -> float:
    """What a piece of work counts, per second, over some seconds; the first piece is not counted."""
    work()
    begin, done = waited(device), 0
    while waited(device) - begin < seconds:
        done += work()
    return done / (waited(device) - begin)


def training(config: cg.TrainConfig, runs: int, device: torch.device, seconds: float) -> dict[str, float]:
    """Models x steps per second of a stack, step by step and, elsewhere than on the CPU, captured."""
    configs = [config.with_(seed=seed) for seed in range(runs)]
    found = {}
    for name, kind in (("captured", CapturedSteps), ("step by step", OneByOne)):
        if name == "captured" and not is_elsewhere(device):
            continue  # a step of the CPU reads its learning rate from Python
        steps, now = kind(new_stack(configs, device)), [config.optimizer.warmup]

        def work(steps: Any = steps, now: list[int] = now, captured: bool = name == "captured") -> int:
            if not captured:
                steps.look(now[0], False)
            before, now[0] = now[0], steps.advance(now[0], never)
            return runs * (now[0] - before)

        with same_bits_again(device):
            found[name] = rate(work, device, seconds)
        del steps, work
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def trained(configs: list[cg.TrainConfig], device: torch.device) -> dict[str, float]:
    """Seconds of `cg.train`, its files included, and how many runs grokked."""
    with tempfile.TemporaryDirectory() as out:
        begin = waited(device)
        runs = cg.train(configs, out, device=device)
        seconds = waited(device) - begin
        grokked = sum(events(run.history)["grokked"].by is not None for run in runs)
    return {"runs": len(runs), "seconds": seconds, "grokked": grokked}


def measuring(config: cg.TrainConfig, device: torch.device, seconds: float) -> dict[str, float]:
    """Minutes for 400 checkpoints, from as many as are measured in some seconds."""
    dtype = torch.float64 if is_elsewhere(device) else torch.float32
    stack = {name: value[None].to(device, dtype) for name, value in initial_weights(config).items()}
    model, task = config.transformer, moved(config.task.draw(), device)
    freqs = torch.arange(1, min(5, model.p // 2) + 1, device=device)
    quick = [name for name in quick_groups() if name in GROUPS]

    def work() -> int:
        at = Opened(stack, model, task, freqs)
        for name in quick:
            GROUPS[name](at)
        return 1

    return {"minutes_for_400_checkpoints": 400 / rate(work, device, seconds) / 60}


def drawing(config: cg.TrainConfig, n_chains: int, device: torch.device, seconds: float) -> float:
    """Draws of SGLD per second, of all chains together."""
    how, task = Sampling(step_size=1e-6, localization=100.0, sampler="sgld"), moved(config.task.draw(), device)
    weights = {name: value.to(device) for name, value in initial_weights(config).items()}
    networks = {name: value.expand(n_chains, *value.shape).contiguous() for name, value in weights.items()}
    loss = ChainLoss(config.transformer, task, task.is_train, networks, chosen_pieces(config.transformer))
    target = Target(loss, loss.start, how.inverse_temperature(task.n_train), how.localization)
    sampler = sgld(target, step_size=how.step_size)
    chains = [start(sampler, loss.start, range(n_chains))]

    def work() -> int:
        chains[0], _ = sample(sampler, chains[0], 1)
        return n_chains

    return rate(work, device, seconds)


def measure_all(given: Asked) -> None:
    """Every mark, printed and written to `speed_on_DEVICE.json`."""
    device = resolved(given.device or "cuda")
    config, seconds, sizes, n_chains = cg.TrainConfig.preset("nanda"), SECONDS, STACKS, 64
    grokking, sweep = {"steps": 12_000, "runs": 16}, {"steps": 3000, "runs": 100}
    if given.quick:
        config = config.with_(p=11, d_model=16, d_head=4, d_mlp=32, frac_train=0.5)
        seconds, sizes, n_chains = 0.05, (1, 2), 2
        grokking, sweep = {"steps": 40, "runs": 2}, {"steps": 20, "runs": 3}
    result: dict[str, Any] = {"environment": environment(given.threads, device), "commit": commit()}
    print(json.dumps(result["environment"]), flush=True)

    def say(name: str, found: Any) -> None:
        result[name] = found
        print(f"{time.perf_counter() - begin:6.0f} s  {name}: {json.dumps(found)}", flush=True)

    begin = time.perf_counter()
    for size in sizes:
        say(f"models x steps per second, {size} runs", training(config, size, device, seconds))
    for name, of in (("until grokked", grokking), ("a sweep", sweep)):
        every: dict[str, Any] = {"eval_every": 100, "checkpoint_every": of["steps"], "checkpoints_per_decade": 0}
        configs = [config.with_(seed=seed, steps=of["steps"], **every) for seed in range(of["runs"])]
        say(f"{name}, {of['steps']} steps", trained(configs, device))
    say("measuring", measuring(config, device, seconds))
    draws = {
        "here": drawing(config, n_chains, device, seconds),
        "one chain on the CPU": drawing(config, 1, CPU, seconds),
    }
    say("draws per second", draws | {"times": draws["here"] / draws["one chain on the CPU"]})
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out / f"speed_on_{device.type}.json", (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    measure_all(asked("How fast is a GPU here?", __file__, "a small model", device="cuda, or cpu for a try"))
