"""Devices: which names are refused, and that a run elsewhere draws, trains, resumes and is measured as on the CPU.

Tests of `elsewhere` run on the stand-in of `standin.py` everywhere; `pytest -m gpu` runs the same on a GPU.
"""

import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from loops import for_each
from standin import DEVICE, Mixed, StandIn, There
from test_interventions_in_training import CASES, FINISHED, advance, same
from tiny import bits_of, tiny
from tiny_kinds import LEAVES, tiny_kind
from torch import Tensor

from circuitgrok import apart, device
from circuitgrok.config.bounds import size_of
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import Beforehand, facts, in_turn, moved, numbers, resolved, same_bits_again
from circuitgrok.errors import Interrupted, RunError, UserError
from circuitgrok.landscape.chain_loss import ChainLoss, chosen_pieces
from circuitgrok.models import fused
from circuitgrok.store.environment import OF_GPU, differences, environment
from circuitgrok.store.run import load
from circuitgrok.table import measure as measuring
from circuitgrok.table.measure import measure, names_of_groups
from circuitgrok.table.needs import fitting
from circuitgrok.training import beginning, course, loop
from circuitgrok.training import stack as stack_room
from circuitgrok.training.beginning import BYTES_PER_NUMBER, STACK_NUMBERS, room, stacks
from circuitgrok.training.loop import train
from circuitgrok.training.origin import initial_weights
from circuitgrok.training.progress import Silent
from circuitgrok.training.stack import Stack, new_stack, state_of, subset
from circuitgrok.training.step import forward, update
from circuitgrok.training.steps import OneByOne

STEPS = 5
MODELS: dict[str, dict[str, Any]] = {
    "layer norm": {"normalization": "LN"},
    "two layers": {"n_layers": 2},
    "not causal": {"n_layers": 2, "causal": False},
    "without =": {"equals": False},
    "gelu": {"act": "gelu"},
    "own tokens": {"own_tokens": True},
}


@pytest.fixture(params=["stand-in", pytest.param("cuda", marks=pytest.mark.gpu)])
def elsewhere(request, monkeypatch):
    """A device that is not the CPU."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("there is no GPU")
        yield resolved("cuda")
        return
    for module in (loop, beginning, measuring):
        monkeypatch.setattr(module, "resolved", torch.device)
    with StandIn():
        yield DEVICE


# --- names ------------------------------------------------------------------------------------------


@for_each(
    ("name", "says"),
    [
        ("cpu:0", "a CPU has no number; got cpu:0: take cpu, or auto"),
        ("mps", "mps has no float64, in which losses and measures are taken: take cpu, or auto"),
        ("cuda", "there is no cuda, this torch is built without CUDA: take cpu, or auto"),
        ("cuda:1", "there is no cuda:1, this torch is built without CUDA: take cpu, or auto"),
        ("xpu", "nothing is computed on xpu here: take cpu, or auto"),
        ("gpu", "there is no device 'gpu': take cpu, or auto"),
        ("", "there is no device '': take cpu, or auto"),
    ],
)
def test_device_that_cannot_be_computed_on_is_refused_with_what_to_type(name, says, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(UserError) as refused:
        resolved(name)
    assert str(refused.value) == says


def test_without_a_gpu_auto_is_the_cpu_and_a_torch_for_gpus_says_that_it_sees_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    assert resolved("auto") == resolved(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(UserError, match="there is no cuda:0, torch sees no GPU"):
        resolved("cuda:0")


def test_with_gpus_a_device_has_its_number_and_auto_is_the_one_that_torch_takes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert [str(resolved(name)) for name in ("auto", "cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:1", "cuda:0", "cpu"]
    with pytest.raises(UserError, match="there is no cuda:2: take cpu or cuda:0 or cuda:1, or auto"):
        resolved("cuda:2")


def gpus(monkeypatch, count, memory=8 * 2**30) -> None:
    """As if there were so many GPUs, of which nothing more is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=memory))


def test_workers_take_gpus_in_turn_each_one_of_its_own(monkeypatch):
    assert in_turn("cpu", 3) == in_turn("auto", 3) == ["cpu"] * 3
    gpus(monkeypatch, 3)
    assert in_turn("cuda", 2) == in_turn("auto", 2) == ["cuda:0", "cuda:1"]
    assert in_turn("cuda", 1) == ["cuda:0"]
    assert in_turn("cuda:2", 2) == ["cuda:2"] * 2  # who names one means it
    with pytest.raises(UserError, match="workers must be at most 3, the GPUs that are here: each takes one stack"):
        in_turn("cuda", 4)


def test_a_stack_is_as_large_as_the_memory_of_its_device_allows(monkeypatch):
    configs = {seed: tiny(seed=seed) for seed in range(10)}
    size = size_of(configs[0])
    each = BYTES_PER_NUMBER * max(size.neurons, size.state)
    gpus(monkeypatch, 2, memory=4 * each + each // 2)
    assert room("cuda:1") == room("cuda", sharers=2) == 4 * each + each // 2  # a GPU is not shared
    assert [len(names) for names in stacks(configs, room=room("cuda"))] == [4, 4, 2]
    assert [len(names) for names in stacks(configs, parts=5, room=room("cuda"))] == [2] * 5
    monkeypatch.setattr(beginning, "memory", lambda: 6 * each)
    assert [len(names) for names in stacks(configs, room=room("cpu", sharers=2))] == [3, 3, 3, 1]
    monkeypatch.setattr(beginning, "memory", lambda: None)
    assert room("cpu", sharers=2) == STACK_NUMBERS * BYTES_PER_NUMBER
    assert [len(names) for names in stacks(configs)] == [10]  # where only the worker knows


PEAK = """
import resource
from circuitgrok.config.bounds import size_of
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import evaluate, forward, update

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def train(configs):
    stack = new_stack(configs)
    for step in range(2):
        ahead = forward(stack, step)
        evaluate(stack, step, ahead)
        update(stack, ahead, step)

train([TrainConfig.preset("quickstart").with_(p=5, d_model=8, d_head=2, d_mlp=8)])  # what libraries take once
configs = [TrainConfig.preset("quickstart").with_(seed=seed, precision="float64") for seed in range(40)]
before, size = peak(), size_of(configs[0])
train(configs)
print((peak() - before) / len(configs) / max(size.neurons, size.state))
"""


@pytest.mark.slow
def test_a_run_takes_no_more_bytes_at_work_than_it_is_given_room_for():
    """On the CPU, in float64: weights, optimizer, what autograd keeps and both evaluations; at least the neurons."""
    found = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert 8 <= float(found.stdout) <= BYTES_PER_NUMBER


def test_training_and_measuring_refuse_a_device_before_they_touch_a_file(tmp_path, finished):
    with pytest.raises(UserError, match="a CPU has no number"):
        train([tiny()], tmp_path / "runs", device="cpu:0")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UserError, match="a CPU has no number"):
        measure(finished, "fourier", device="cpu:0")


def test_what_is_drawn_beforehand_is_drawn_of_each_steps_own_generators_and_reads_the_device_once():
    recipes, read = [], []

    class Std(Tensor):
        def tolist(self) -> Any:
            read.append(1)
            return super().tolist()

    def draw(own: Any, std: Any) -> Tensor:
        return torch.randn(2, generator=own[0]) * std[0]

    def take(recipe: Any) -> Tensor:
        recipes.append(recipe)
        return torch.zeros(2)

    std = torch.full((1,), 3.0).as_subclass(Std)
    assert numbers(draw, Beforehand(take), device.CPU, std).tolist() == [0, 0] and not read
    found = [recipes[0]([torch.Generator().manual_seed(seed)]) for seed in (1, 2, 1)]
    live = numbers(draw, [torch.Generator().manual_seed(2)], device.CPU, torch.full((1,), 3.0))
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], live) and len(read) == 1


# --- what is recorded -------------------------------------------------------------------------------


def test_of_a_gpu_model_and_libraries_are_recorded_and_any_difference_counts(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(device, "version", lambda name: "1.2.3")
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    one, cpu = environment(1, torch.device("cuda", 1)), environment(1)
    assert {name: one[name] for name in ("device", *OF_GPU)} == {
        "device": "cuda",
        "device_name": "a GPU",
        "cuda": "12.6",
        "cublas": "1.2.3",
        "cublas_workspace": ":4096:8",
        "products": "plain",
    }
    assert (one["arithmetic"], cpu["arithmetic"]) == (4, 3)
    assert facts(torch.device("cpu")) == {"device": "cpu"} and not set(OF_GPU) & set(cpu)
    assert differences(cpu, one) == ["device 'cpu' then, 'cuda' now", "arithmetic 3 then, 4 now"]
    for key in OF_GPU:
        assert differences(one | {key: "another"}, one) == [f"{key} 'another' then, {one[key]!r} now"]


def test_on_a_gpu_sums_are_asked_to_be_the_same_again_and_afterwards_all_is_as_it_was(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with same_bits_again(torch.device("cuda", 0)):
        assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with same_bits_again(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()


# --- the stand-in refuses what a GPU refuses --------------------------------------------------------


def test_stand_in_refuses_tensors_of_two_devices_and_generators_of_another():
    with StandIn() as there:
        one, cpu = torch.ones(2, device=DEVICE), torch.ones(2)
        assert (one + 1).tolist() == (one + torch.tensor(1.0)).tolist() == (one + cpu.to(DEVICE)).tolist() == [2, 2]
        assert there.waits
        for wrong in (
            lambda: one + cpu,
            lambda: torch.cat([one, cpu]),
            lambda: cpu[torch.zeros(1, dtype=torch.long, device=DEVICE)],
            lambda: torch.where(cpu > 0, one, 0.0),
            lambda: one.normal_(generator=torch.Generator()),
            lambda: torch.rand(2, device=DEVICE, generator=torch.Generator()),
        ):
            with pytest.raises(Mixed):
                wrong()


# --- training ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def varied(finished) -> dict[str, TrainConfig]:
    """Every intervention, and every kind of network and task, also with dropout."""

    def config(**leaves: Any) -> TrainConfig:
        there = {name: f"{finished.path}@24" if value == FINISHED else value for name, value in leaves.items()}
        return tiny(**{"steps": 12, "warmup": 2, "checkpoint_every": STEPS, "checkpoints_per_decade": 0} | there)

    found = {str(case): config(**case.leaves) for case in CASES}
    found |= {name: config(**leaves) for name, leaves in MODELS.items()}
    found["from a checkpoint"] = config(start=FINISHED, start_moments=True)
    found |= {f"{name} dropped": tiny_kind(name, dropout_mlp=0.2) for name in LEAVES}
    return found | {name: tiny_kind(name) for name in LEAVES}


def test_a_run_elsewhere_draws_the_same_numbers_and_leaves_none_of_its_tensors_behind(varied, monkeypatch):
    """The stand-in computes by the CPU, so that all bits are those of a run there by the operations of elsewhere."""
    wrong = []
    for name, config in varied.items():
        with monkeypatch.context() as as_elsewhere:
            for module in (apart, fused, stack_room):
                as_elsewhere.setattr(module, "is_elsewhere", lambda _: True)
            here = state_of(advance(new_stack([config]), range(STEPS), watched=2), 0)
        with StandIn():
            there = state_of(advance(new_stack([config], DEVICE), range(STEPS), watched=2), 0)
            is_there = all(isinstance(value, There) for value in there.values())
            back = moved(there, torch.device("cpu"))
        if not (is_there and same(here, back)):
            wrong.append(name)
    assert not wrong


@pytest.mark.gpu
def test_every_intervention_and_network_trains_on_a_gpu_and_draws_the_same_numbers(varied):
    """The first loss is of the same weights, noise, masks, labels and batch: it is the CPU's but for roundings."""
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    wrong = []
    for name, config in varied.items():
        stack = new_stack([config], resolved("cuda"))
        here, there = (forward(one, 0).objective.item() for one in (new_stack([config]), stack))
        eps = torch.finfo(getattr(torch, config.objective.loss_precision)).eps + torch.finfo(stack.flat.dtype).eps
        ended = state_of(advance(stack, range(STEPS), watched=2), 0)
        is_there = all(value.device == stack.flat.device for value in ended.values())
        is_finite = bool(stack.flat.isfinite().all())
        if not (is_there and is_finite and abs(here - there) <= n_terms(stack) * eps * max(1.0, abs(here))):
            wrong.append(name)
    assert not wrong


def n_terms(stack: Stack) -> int:
    """The most terms that one sum of a step has: pairs times positions times heads, or inputs of a layer."""
    return max(stack.train_pairs.labels.shape[1] * 6, *(max(view.shape[1:]) for view in stack.views.values()))


def losses(stack: Stack, steps: int) -> Tensor:
    """What is minimised at each step, `[step run]`."""
    found = []
    for step in range(steps):
        ahead = forward(stack, step)
        found.append(ahead.objective.detach().cpu().double())
        update(stack, ahead, step)
    return torch.stack(found)


def rounding(configs: list[TrainConfig], steps: int) -> Tensor:
    """How far other roundings can lead the losses of runs, by step: those of the CPU's run, disturbed.

    Each sum of n products is that of numbers disturbed by up to n roundings, so that a step in another order is a step
    from weights so disturbed; n is at most the number of terms that a gradient has, pairs times heads times positions.
    What one rounding of every weight does, is found by a run that begins with one.
    """
    plain, disturbed = new_stack(configs), new_stack(configs)
    eps = torch.finfo(plain.flat.dtype).eps
    sign = torch.randint(2, plain.flat.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    disturbed.flat.mul_(1 + eps * sign)
    one, other = losses(plain, steps), losses(disturbed, steps)
    return n_terms(plain) * torch.maximum((one - other).abs(), eps * one.abs()).cummax(0).values


TWIN = {"steps": 200, "warmup": 10, "lr": 0.001}


@for_each("precision", ["float32", "float64"])
def test_losses_of_two_hundred_steps_begin_as_on_the_cpu(elsewhere, precision):
    """Bounds for twenty steps: later ones differ by what training makes of a rounding."""
    configs = [tiny(precision=precision, **TWIN), tiny(precision=precision, seed=1, data_seed=1, **TWIN)]
    n = 20 if elsewhere == DEVICE else 200
    here, there = losses(new_stack(configs), 20), losses(new_stack(configs, elsewhere), n)
    assert bool(there.isfinite().all()) and there.device.type == "cpu"
    assert bool(((here - there[:20]).abs() <= rounding(configs, 20)).all())
    assert not torch.equal(there[0], there[19])


def test_a_run_elsewhere_is_within_rounding_of_itself_in_a_stack(elsewhere):
    configs = [tiny(seed=seed, data_seed=seed, **TWIN) for seed in range(3)]
    together = losses(new_stack(configs, elsewhere), 20)
    alone = torch.cat([losses(new_stack([config], elsewhere), 20) for config in configs], dim=1)
    assert bool(((together - alone).abs() <= rounding(configs, 20)).all())


def test_a_run_whose_neighbour_has_diverged_stays_where_it_is(elsewhere):
    leaves: dict[str, Any] = {"walk_noise": 0.01, "grokfast_ema": 2.0, "repulsion": 0.1, "decay_to_init": True, **HELD}
    stack = advance(new_stack([tiny(seed=seed, **leaves) for seed in range(3)], elsewhere), range(STEPS))
    smaller = subset(stack, [0, 2], STEPS)
    assert all(value.device == stack.flat.device for value in (*smaller.weights.values(), *smaller.train_pairs))
    for i, kept in enumerate([0, 2]):
        assert same(*(moved(state_of(*of), torch.device("cpu")) for of in ((stack, kept), (smaller, i))))
    assert bool(losses(smaller, 2).isfinite().all())


HELD: dict[str, Any] = {"fixed_norm": True, "norm_from_step": 4}


class StoppingAt(Silent):
    """Asks training to stop at a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def at(self, step: int, records: Any) -> None:
        """Ask by a signal."""
        if step >= self._step:
            signal.raise_signal(signal.SIGTERM)


def test_a_run_elsewhere_goes_on_to_its_own_bits_and_its_files_are_read_anywhere(elsewhere, tmp_path):
    configs = [tiny(keep_moments=True, walk_noise=0.01, batch_size=16), tiny(seed=1, keep_moments=True, **HELD)]
    whole = train(configs, tmp_path / "whole", names=["a", "b"], device=str(elsewhere))
    with pytest.raises(Interrupted):
        train(configs, tmp_path / "broken", names=["a", "b"], device=str(elsewhere), progress=StoppingAt(13))
    broken = train(configs, tmp_path / "broken", names=["a", "b"], device=str(elsewhere))
    for one, other in zip(whole, broken, strict=True):
        without = [
            {n: b for n, b in bits_of(run.path).items() if "resume/step" not in n or "024" in n} for run in (one, other)
        ]
        assert without[0] == without[1]
        assert one.manifest["environment"]["device"] == elsewhere.type
        assert all(value.device.type == "cpu" for value in one.at(24).values())


def test_a_run_of_one_device_goes_on_on_another_only_when_asked_and_says_so(elsewhere, tmp_path):
    with pytest.raises(Interrupted):
        train([tiny()], tmp_path, names=["run"], progress=StoppingAt(13))
    with pytest.raises(RunError, match=f"device 'cpu' then, '{elsewhere.type}' now.*--allow-inexact"):
        train([tiny()], tmp_path, names=["run"], device=str(elsewhere))
    [run] = train([tiny()], tmp_path, names=["run"], device=str(elsewhere), allow_inexact=True)
    assert run.state == "finished" and run.config.hash == tiny().hash
    said = next(event for event in load(run.path).events if event["event"] == "environment")
    assert f"device 'cpu' then, '{elsewhere.type}' now" in said["differences"]


class Counting(Silent):
    """How often the device had been waited for, by step."""

    def __init__(self, there: StandIn) -> None:
        self._there, self.waits = there, []

    def at(self, step: int, records: Any) -> None:
        """Look."""
        self.waits.append(self._there.waits.total())


def test_a_step_that_is_not_captured_waits_for_the_device_once_to_see_whether_losses_are_finite(tmp_path, monkeypatch):
    """Steps beside evaluations; what else waits is in docs/speed.md."""
    for module in (loop, beginning):
        monkeypatch.setattr(module, "resolved", torch.device)
    monkeypatch.setattr(course, "steps_of", OneByOne)
    config = tiny(eval_every=24, checkpoint_every=24, checkpoints_per_decade=0)
    with StandIn() as there:
        counting = Counting(there)
        train([config], tmp_path, device="meta", progress=counting)
    assert np.diff(counting.waits)[1:-1].tolist() == [1] * 22


def test_the_loss_that_chains_walk_on_and_its_gradient_are_those_of_the_cpu_elsewhere(elsewhere):
    """In float64: sums of as many terms as `n_terms` says, each with its rounding."""
    config = tiny(precision="float64")
    task, pieces = config.task.draw(), chosen_pieces(config.model)
    networks = {name: torch.stack([value, 1.1 * value]) for name, value in initial_weights(config).items()}
    here = ChainLoss(config.model, task, task.is_train, networks, pieces)
    there = ChainLoss(
        config.model, moved(task, elsewhere), moved(task.is_train, elsewhere), moved(networks, elsewhere), pieces
    )
    one, other = here(here.start), there(there.start)
    bound = n_terms(new_stack([config])) * torch.finfo(torch.float64).eps
    assert other.value.device == elsewhere
    assert bool(((other.value.cpu() - one.value).abs() <= bound * one.value).all())
    assert bool(((other.gradient.cpu() - one.gradient).abs() <= 4 * bound * one.gradient.abs().max()).all())


# --- measures ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measurable(tmp_path_factory):
    """Runs in float64 of every kind of network and task."""
    configs = {name: tiny_kind(name, precision="float64") for name in LEAVES} | {
        name: tiny(precision="float64", corrupted=0.1, **leaves) for name, leaves in ({"plain": {}} | MODELS).items()
    }
    return train(list(configs.values()), tmp_path_factory.mktemp("measurable"), names=list(configs))


def test_every_measure_elsewhere_is_that_of_the_cpu_to_ten_digits(elsewhere, measurable):
    for run in measurable:
        slow = ("llc", "hessian", "updates") if run.name != "plain" else ("llc", "updates")
        groups: list[Any] = [name for name in fitting(names_of_groups(), run.config) if name not in slow]
        at = run.steps[-2:]
        here, there = measure(run, groups, at), measure(run, groups, at, device=str(elsewhere))
        assert list(here) == list(there) and here.attrs == there.attrs, run.name
        np.testing.assert_allclose(there.to_numpy(), here.to_numpy(), rtol=1e-10, atol=1e-10, err_msg=run.name)


def test_weights_of_a_float32_run_are_measured_in_float64_elsewhere(elsewhere, finished):
    here, there = (
        measure(finished, "circuits", 24, device=name)["loss[all]"].item() for name in ("cpu", str(elsewhere))
    )
    exact = {name: value.double() for name, value in finished.at(24).items()}
    logits = finished.config.model.logits(exact, finished.task.inputs)[:, : finished.config.task.p]
    assert there == pytest.approx(torch.nn.functional.cross_entropy(logits, finished.task.labels).item(), rel=1e-13)
    assert there != here and there == pytest.approx(here, rel=1e-5)
