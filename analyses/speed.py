"""How fast are the training loop and the sampler?

In one process, interleaved, on the `nanda` model (p = 113, 3830 pairs, float32 weights, float64 loss):
our loop; a plain loop over TransformerLens' own bridge with the same loss, optimizer and trained
tensors (training only, and with the test evaluation at every step that public notebooks do); and, as a
unit, the six large matrix products of a step that multiplies attention's output as it stands. Then the
share of checkpoint writing, what measuring a checkpoint takes, and a stack of small runs against one by
one; and draws of SGLD against devinterp's sampler on the bridge, at equal step size, nbeta, localization
and full batch (if devinterp 1.x is there: extra `judges`).
Only ratios taken within one run mean anything.

    python analyses/speed.py [--quick] [--threads 2]

With `--device cuda` it measures what a GPU is for instead (`speed_on_device.py`), in some minutes.
"""

import itertools
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import circuitgrok as cg
from circuitgrok.foreign.lens import to_bridge
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.landscape.sampling import Sampling
from circuitgrok.samplers.sample import sample, start
from circuitgrok.samplers.sgld import sgld
from circuitgrok.samplers.target import Target
from circuitgrok.store import writer
from circuitgrok.store.environment import environment
from circuitgrok.store.files import write_atomically
from circuitgrok.study.asked import asked
from circuitgrok.study.registered import commit
from circuitgrok.table.checkpoints import Opened
from circuitgrok.table.groups import GROUPS
from circuitgrok.table.measure import quick_groups
from circuitgrok.training.beginning import start_facts
from circuitgrok.training.origin import initial_weights
from circuitgrok.training.stack import Stack, new_stack
from circuitgrok.training.step import evaluate, forward, update, watched_update
from circuitgrok.tree import Params

LOSSES_COMPARED = 20


class OurLoop:
    """The package's own step."""

    def __init__(self, configs: list[cg.TrainConfig]) -> None:
        self.stack: Stack = new_stack(configs)
        self.step = 0
        self.losses: list[float] = []

    def __call__(self) -> None:
        """One step."""
        ahead = forward(self.stack, self.step)
        self.losses.append(ahead.objective[0].item())
        update(self.stack, ahead, self.step)
        self.step += 1

    def watched(self) -> None:
        """A step that is taken apart, as those that leave a checkpoint are."""
        watched_update(self.stack, forward(self.stack, self.step), self.step)

    def with_evaluation(self) -> None:
        """A step that also evaluates both sides of the split."""
        ahead = forward(self.stack, self.step)
        evaluate(self.stack, self.step, ahead)
        update(self.stack, ahead, self.step)
        self.step += 1


class BridgeLoop:
    """A plain loop over TransformerLens' bridge, as a notebook would write it."""

    def __init__(self, config: cg.TrainConfig) -> None:
        model, task = config.transformer, config.task.draw()
        self.bridge = to_bridge(initial_weights(config), model)
        # tl_parameters() gives views: a parameter is frozen if its memory belongs to a tensor that does not train.
        views = self.bridge.tl_parameters()
        frozen = {views[name].data_ptr() for name in model.shapes() if not model.is_trainable(name)}
        trained = [w for w in self.bridge.parameters() if w.data_ptr() not in frozen]
        for parameter in self.bridge.parameters():
            parameter.requires_grad_(parameter.data_ptr() not in frozen)
        settings = config.optimizer
        self.optimizer = torch.optim.AdamW(
            trained, lr=settings.lr, betas=(settings.beta1, settings.beta2), weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda s: settings.rate(s) / settings.lr)
        self.train = task.inputs[task.is_train], task.labels[task.is_train]
        self.test = task.inputs[~task.is_train], task.labels[~task.is_train]
        self.losses: list[float] = []

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy at the last position, in float64."""
        return torch.nn.functional.cross_entropy(self.bridge(inputs)[:, -1].double(), labels)

    def __call__(self) -> None:
        """One step."""
        loss = self.loss(*self.train)
        self.losses.append(loss.item())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()

    def with_evaluation(self) -> None:
        """A step with the test loss, as public notebooks take it."""
        self()
        with torch.no_grad():
            self.loss(*self.test)


def products(config: cg.TrainConfig) -> Callable[[], None]:
    """The large matrix products of one step that multiplies attention's output, by torch's own `matmul`."""
    model, n = config.transformer, config.task.draw().n_train
    width = model.n_heads * model.d_head
    z, post, grad = torch.randn(n, width), torch.randn(n, model.d_mlp), torch.randn(n, model.n_classes)
    A, W, W_skip = (
        torch.randn(width, model.d_mlp),
        torch.randn(model.d_mlp, model.n_classes),
        torch.randn(width, model.n_classes),
    )

    def run() -> None:
        _ = z @ A, post @ W + z @ W_skip  # forward
        back = grad @ W.T
        _ = post.T @ grad, z.T @ back, back @ A.T + grad @ W_skip.T, z.T @ grad

    return run


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each task, taken in turn so that the machine's drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            begin = time.perf_counter()
            task()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(taken) for name, taken in times.items()}


def write_share(config: cg.TrainConfig, step_ms: float, watched_ms: float, rounds: int) -> dict[str, float]:
    """Share of a run's time that its scheduled checkpoints take: to write them, to take the step behind them apart."""
    weights = initial_weights(config)
    with tempfile.TemporaryDirectory() as folder:
        run = writer.create(Path(folder) / "run", config, environment(1), start_facts(config))
        steps = iter(range(10**6))
        ms = interleaved({"write": lambda: writer.write_checkpoint(run, next(steps), weights)}, rounds)["write"]
    count = len(config.schedule.checkpoint_steps())
    watch_ms, whole = watched_ms - step_ms, step_ms * config.schedule.steps
    return {
        "write_ms": ms,
        "watch_ms": watch_ms,
        "checkpoints": count,
        "share": ms * count / whole,
        "watch_share": watch_ms * count / whole,
    }


def measuring(config: cg.TrainConfig, rounds: int) -> dict[str, float]:
    """What measuring one checkpoint takes, in milliseconds and in forward passes over all pairs."""
    params, model, task = initial_weights(config), config.transformer, config.task.draw()
    stack = {name: value[None] for name, value in params.items()}
    freqs = torch.arange(1, min(5, model.p // 2) + 1)

    def columns(names: Sequence[str]) -> None:
        at = Opened(stack, model, task, freqs)
        for name in names:
            GROUPS[name](at)

    quick = [name for name in quick_groups() if name in GROUPS]
    tasks: dict[str, Callable[[], object]] = {
        "forward": lambda: model.logits(params, task.inputs),
        "quick groups": lambda: columns(quick),
        "ablations": lambda: columns(["ablations"]),
    }
    ms = interleaved(tasks, rounds)
    return {
        **{f"{name.replace(' ', '_')}_ms": value for name, value in ms.items()},
        "quick_groups_in_forwards": ms["quick groups"] / ms["forward"],
        "minutes_for_400_checkpoints": ms["quick groups"] * 400 / 6e4,
    }


def stacking(rounds: int, size: int) -> dict[str, float]:
    """Models x steps per second of a stack of quickstart runs, against the same runs one by one."""
    configs = [cg.TrainConfig.preset("quickstart").with_(seed=seed) for seed in range(size)]
    together, alone = OurLoop(configs), [OurLoop([config]) for config in configs]
    ms = interleaved({"stack": together, "one by one": lambda: [loop() for loop in alone]}, rounds)
    return {
        "runs": size,
        "stack_models_steps_per_s": 1e3 * size / ms["stack"],
        "one_by_one_models_steps_per_s": 1e3 * size / ms["one by one"],
        "ratio": ms["one by one"] / ms["stack"],
    }


def chain_step(params: Params, config: cg.TrainConfig, n_chains: int, how: Sampling) -> Callable[[], None]:
    """A function that moves `n_chains` chains of our SGLD by one draw."""
    model, task = config.transformer, config.task.draw()
    networks = {name: value.expand(n_chains, *value.shape).contiguous() for name, value in params.items()}
    loss = ChainLoss(model, task, task.is_train, networks, chosen_pieces(model))
    target = Target(loss, loss.start, how.inverse_temperature(task.n_train), how.localization)
    sampler = sgld(target, step_size=how.step_size)
    chains = [start(sampler, loss.start, range(n_chains))]

    def draw() -> None:
        chains[0], _ = sample(sampler, chains[0], 1)

    return draw


def judge_draws(
    params: Params, config: cg.TrainConfig, how: Sampling, n_draws: int
) -> Callable[[], list[float]] | None:
    """A function that takes draws by devinterp's own loop and gives the milliseconds of each; None without it."""
    try:
        from devinterp.backends.default.slt.sampler import sample_single_chain  # pyright: ignore
        from devinterp.optim.sgld import SGLD  # pyright: ignore
    except ImportError:
        return None
    model, task = config.transformer, config.task.draw()
    bridge = to_bridge(params, model)
    data = torch.utils.data.TensorDataset(task.inputs[task.is_train], task.labels[task.is_train])
    loader = torch.utils.data.DataLoader(data, batch_size=task.n_train)
    settings = {"lr": how.step_size, "localization": how.localization}
    settings["nbeta"] = how.inverse_temperature(task.n_train)

    def evaluate(network: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(network(batch[0])[:, -1].double(), batch[1])

    def draws() -> list[float]:
        times: list[float] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a full batch it warns that batches repeat
            sample_single_chain(
                bridge,
                loader,
                evaluate,  # pyright: ignore[reportArgumentType]
                dict(settings),
                num_draws=n_draws,
                sampling_method=SGLD,
                verbose=False,
                callbacks=[lambda **_: times.append(1e3 * time.perf_counter())],  # pyright: ignore
            )
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    return draws


def sampling(config: cg.TrainConfig, small: cg.TrainConfig, rounds: int) -> dict[str, Any]:
    """Draws per second of one chain, ours and devinterp's in turn; minutes of a trajectory of small networks."""
    how, params = Sampling(step_size=1e-6, localization=100.0, sampler="sgld"), initial_weights(config)
    ours, judge = chain_step(params, config, 1, how), judge_draws(params, config, how, n_draws=6)
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        mine += [interleaved({"ours": ours}, 1)["ours"] for _ in range(5)]
        theirs += judge() if judge else []
    block = 32
    stacked = interleaved({"stack": chain_step(initial_weights(small), small, block, how)}, rounds)["stack"]
    return {
        "ms_a_draw": statistics.median(mine),
        "devinterp_ms_a_draw": statistics.median(theirs) if theirs else None,
        "times_faster_than_devinterp": statistics.median(theirs) / statistics.median(mine) if theirs else None,
        "quickstart_stack_ms_a_draw_of_each_chain": stacked / block,
        "minutes_for_100_checkpoints_of_4_chains_of_200_draws": stacked / block * 100 * 4 * 200 / 6e4,
    }


def main() -> None:
    given = asked(
        "How fast are the training loop and the sampler?",
        __file__,
        "a small model and few rounds",
        device="measure stacks of runs, checkpoints and chains on this device instead: cuda, or cpu for a try",
    )
    torch.set_num_threads(given.threads)
    if given.device:
        import speed_on_device  # pyright: ignore[reportMissingImports]: beside this file

        speed_on_device.measure_all(given)
        return
    config = cg.TrainConfig.preset("nanda")
    if given.quick:
        config = config.with_(p=11, d_model=16, d_head=4, d_mlp=32, frac_train=0.5, steps=500)
    rounds = 5 if given.quick else 40
    ours, bridge = OurLoop([config]), BridgeLoop(config)
    for _ in range(LOSSES_COMPARED):
        ours()
        bridge()
    agreement = max(abs(a / b - 1) for a, b in zip(ours.losses, bridge.losses, strict=True))
    tasks: dict[str, Callable[[], object]] = {
        "our loop": ours,
        "our loop, step taken apart": ours.watched,
        "our loop, with test evaluation": ours.with_evaluation,
        "bridge loop": bridge,
        "bridge loop, with test evaluation": bridge.with_evaluation,
        "six matrix products alone": products(config),
    }
    ms = interleaved(tasks, rounds)
    result: dict[str, Any] = {
        "median_ms_per_step": ms,
        "times_faster_than_bridge": ms["bridge loop"] / ms["our loop"],
        "times_faster_with_test_evaluation": ms["bridge loop, with test evaluation"]
        / ms["our loop, with test evaluation"],
        "times_the_matrix_products": ms["our loop"] / ms["six matrix products alone"],
        "first_losses_differ_by": agreement,
        "checkpoints": write_share(config, ms["our loop"], ms["our loop, step taken apart"], rounds),
        "measuring": measuring(config, rounds // 4),
        "stacking": stacking(rounds, 3 if given.quick else 9),
        "sampling": sampling(config, config if given.quick else cg.TrainConfig.preset("quickstart"), rounds // 4),
        "environment": environment(given.threads),
        "commit": commit(),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out / "speed.json", (json.dumps(result, indent=1) + "\n").encode())
    print("\n".join(f"{value:10.2f} ms  {name}" for name, value in ms.items()))
    print(json.dumps({k: v for k, v in result.items() if k != "median_ms_per_step"}, indent=1))


if __name__ == "__main__":
    main()
