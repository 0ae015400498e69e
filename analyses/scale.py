"""What does saving cost, and what do many checkpoints and many runs?

Saving: a step of the `nanda` model that is saved against an equal one that is not, in turn, in units of a plain step.
Many checkpoints: a tiny run with every step saved, and one of a tenth of its steps; what each question to it takes, and
how many files it opens. Many runs: a sweep of tiny runs in two processes, its table, its list, and the same command
again. Bytes: files of the same schedule at other p, d and steps. Thinned weights in fewer bits: what differences to a
kept neighbour in bfloat16 would do to measures.

Only ratios taken within one run mean anything.

    python analyses/scale.py [--quick] [--threads 2]
"""

import contextlib
import io
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import circuitgrok as cg
from circuitgrok.faces import cli
from circuitgrok.faces.doctor import examine
from circuitgrok.faces.listed import read
from circuitgrok.store.behind import Behind
from circuitgrok.store.environment import environment
from circuitgrok.store.files import write_atomically
from circuitgrok.store.weights import pack
from circuitgrok.store.writer import Writer, create
from circuitgrok.study.asked import asked
from circuitgrok.study.registered import commit
from circuitgrok.training.beginning import start_facts
from circuitgrok.training.origin import initial_weights
from circuitgrok.training.progress import Silent
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import evaluate, forward, update, watched_update

TINY: dict[str, Any] = {"p": 5, "d_model": 4, "n_heads": 1, "d_head": 4, "d_mlp": 8, "frac_train": 0.5, "warmup": 1}
EVERY_STEP: dict[str, Any] = {"eval_every": 1, "checkpoint_every": 1, "checkpoints_per_decade": 0}


class Files:
    """Counts the files below a folder that this process opens."""

    def __init__(self) -> None:
        self.folder, self.opened = "", Counter()
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        """Python is about to do something."""
        if event == "open" and self.folder and str(args[0]).startswith(self.folder):
            self.opened["checkpoints" if "step_" in str(args[0]) else "others"] += 1


def saving(config: cg.TrainConfig, rounds: int, block: int) -> dict[str, float]:
    """What a saved step takes longer than one that is only looked at, in plain steps; blocks end with files on disk."""
    stack, numbers = new_stack([config]), itertools.count()
    kinds = ("plain", "looked at", "saved", "saved, waited for")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    busy: dict[str, list[float]] = {kind: [] for kind in kinds}  # of the trainer's own thread, whoever else computes

    def one(kind: str, writer: Writer) -> None:
        step = next(numbers)
        ahead = forward(stack, step)
        if kind == "plain":
            return update(stack, ahead, step)
        [record] = evaluate(stack, step, ahead)
        if kind != "looked at":
            weights = {name: value[0] for name, value in stack.weights.items()}
            writer.record(record, weights, scheduled=True, on_move=1.0)
        [about] = watched_update(stack, ahead, step)
        if kind != "looked at":
            writer.record_update(about)
        if kind == "saved, waited for":  # as if there were no thread
            writer.behind.flush()

    with tempfile.TemporaryDirectory() as folder, Behind() as behind:
        run = create(Path(folder) / "run", config, environment(1), start_facts(config))
        writer = Writer.open(run, {}, behind)
        for _ in range(rounds):
            for kind in kinds:
                begin, own = time.perf_counter(), time.thread_time()
                for _ in range(block):
                    one(kind, writer)
                behind.flush()
                seconds[kind].append((time.perf_counter() - begin) / block)
                busy[kind].append((time.thread_time() - own) / block)

    def more(taken: dict[str, list[float]], kind: str) -> float:
        """Beyond a step that is looked at, in plain steps."""
        beyond = statistics.median(a - b for a, b in zip(taken[kind], taken["looked at"], strict=True))
        return beyond / statistics.median(taken["plain"])

    return {
        "ms_a_plain_step": 1e3 * statistics.median(seconds["plain"]),
        "saving": more(seconds, "saved"),
        "saving_without_a_thread": more(seconds, "saved, waited for"),
        "saving_in_the_trainers_own_processor_time": more(busy, "saved"),
        "evaluating_and_taking_apart": statistics.median(seconds["looked at"]) / statistics.median(seconds["plain"])
        - 1,
    }


def many_checkpoints(steps: int, files: Files) -> dict[str, Any]:
    """A run with every step saved: seconds and opened files of each question to it."""
    config = cg.TrainConfig().with_(**TINY, **EVERY_STEP, steps=steps)
    found: dict[str, Any] = {}

    def counted(name: str, question: Callable[[], Any]) -> Any:
        files.opened.clear()
        begin = time.perf_counter()
        answer = question()
        found[name] = {"seconds": time.perf_counter() - begin, **files.opened}
        return answer

    class Stopping(Silent):
        def at(self, step: int, records: Any) -> None:
            if step == steps - 2:
                raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        out, files.folder = Path(folder), folder
        begin = time.perf_counter()
        with contextlib.suppress(KeyboardInterrupt):
            cg.train([config], out, names=["run"], progress=Stopping(), save_every_s=0.5)
        found["training"] = {"seconds": time.perf_counter() - begin}
        counted("going on to the end", lambda: cg.train([config], out, names=["run"]))
        run = counted("load", lambda: cg.load(out / "run"))
        kept = counted("steps", lambda: run.steps)
        counted("steps again", lambda: run.steps)
        counted("at", lambda: run.at(steps // 2))
        slice_of = kept[:: max(1, len(kept) // 100)][:100]
        counted("stack of 100", lambda: run.stack(slice_of))
        counted("polar columns of 100", lambda: cg.measure(run, "polar", slice_of))
        counted("a line of the table of runs", lambda: read(cg.load(out / "run")))
        counted("the same command again", lambda: cg.train([config], out, names=["run"]))
        counted("doctor", lambda: examine(cg.load(out / "run")))
        plan = counted("plan of a thinning", lambda: cg.thinning(run, checkpoint_every=100))
        counted("thinning to every 100th", lambda: cg.thin(plan))
        counted("steps of the thinned run", lambda: cg.load(out / "run").steps)
        files.folder = ""
    return found


def many_runs(count: int) -> dict[str, float]:
    """A sweep of so many tiny runs in two processes: seconds of each thing to do with it."""
    base = cg.TrainConfig().with_(**TINY, steps=4, eval_every=2, checkpoint_every=4, checkpoints_per_decade=0)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:

        def timed(name: str, work: Callable[[], Any]) -> Any:
            begin = time.perf_counter()
            done = work()
            found[name] = time.perf_counter() - begin
            return done

        def go() -> Any:
            return cg.sweep(base, {"alpha": [0.5, 1.0]}, seeds=range(count // 2), out=folder, workers=2)

        sweep = timed("training", go)
        timed("the same call again", go)
        table = timed("table", lambda: sweep.table)
        assert (table["state"] == "finished").all() and len(table) == count
        with contextlib.redirect_stdout(io.StringIO()):
            timed("circuitgrok runs", lambda: cli.run(["runs", folder]))
    return found


def bytes_of_files() -> list[dict[str, Any]]:
    """A checkpoint's bytes at several sizes, and of which its header."""
    rows = []
    sizes = [(p, d) for p in (29, 59, 113) for d in (32, 64, 128)]
    for p, d in sizes:
        config = cg.TrainConfig.preset("nanda").with_(p=p, d_model=d, d_head=d // 4, d_mlp=4 * d)
        weights = initial_weights(config)
        numbers = sum(value.numel() for value in weights.values())
        length = len(pack(weights, {"step": 12300, "config": config.hash}))
        rows.append({"p": p, "d_model": d, "numbers": numbers, "bytes": length, "header": length - 4 * numbers})
    return rows


def in_fewer_bits(run: cg.Run) -> dict[str, float]:
    """Every other checkpoint as its difference to the one before in half the bits: the worst errors of measures."""
    kept = run.steps
    errors: dict[str, float] = {}
    task, model = run.task, run.config.model
    for format in (torch.bfloat16, torch.float16):
        worst, loss_error = 0.0, 0.0
        for before, step in itertools.pairwise(kept):
            near, here = run.at(before), run.at(step)
            again = {n: near[n] + (here[n] - near[n]).to(format).to(here[n].dtype) for n in here}
            if step == 1:  # the warm-up's first rate is zero
                continue
            moved = sum(float(((again[n] - here[n]).double() ** 2).sum()) for n in here) ** 0.5
            by = sum(float(((near[n] - here[n]).double() ** 2).sum()) for n in here) ** 0.5
            worst = max(worst, moved / by)
            losses = [
                torch.nn.functional.cross_entropy(model.logits(w, task.inputs).double(), task.labels).item()
                for w in (again, here)
            ]
            loss_error = max(loss_error, abs(losses[0] / losses[1] - 1))
        name = str(format).removeprefix("torch.")
        errors |= {f"{name}, error in units of the step": worst, f"{name}, relative error of the loss": loss_error}
    return errors


def main() -> None:
    given = asked("What do saving, many checkpoints and many runs cost?", __file__, "small models, few runs")
    torch.set_num_threads(given.threads)
    config = cg.TrainConfig.preset("nanda").with_(warmup=0)
    if given.quick:
        config = config.with_(p=11, d_model=16, d_head=4, d_mlp=32, frac_train=0.5)
    steps, count = (40, 4) if given.quick else (20_000, 1000)
    files = Files()
    reference = cg.load(Path(__file__).parents[1] / "checkpoints" / "reference")
    parts: dict[str, Callable[[], Any]] = {
        "saving": lambda: saving(config, *((3, 3) if given.quick else (30, 8))),
        "bytes": bytes_of_files,
        "in_fewer_bits": lambda: in_fewer_bits(reference),
        "runs": lambda: {str(n): many_runs(n) for n in (max(2, count // 10), count)},
        "checkpoints": lambda: {str(n): many_checkpoints(n, files) for n in (steps // 10, steps)},
        "environment": lambda: environment(given.threads),
        "commit": commit,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {}
    for name, part in parts.items():
        result[name] = part()
        print(json.dumps({name: result[name]}, indent=1), flush=True)
        write_atomically(given.out / "scale.json", (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
