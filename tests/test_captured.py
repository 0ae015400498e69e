"""Captured steps: that a step can be a graph at all, which cannot, and that a run of graphs is the run step by step.

A graph holds operations, their numbers of Python and the memory of their tensors. The stand-in (`standin.py`) notes all
three, so that two steps that leave the same trace there are one graph; and it refuses what asks for the host.
"""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from typing import Any

import pytest
import torch
from loops import for_each
from standin import DEVICE, StandIn, Trace, Waits
from test_device import elsewhere, varied  # noqa: F401
from tiny import bits_of, json_lines, tiny
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.device import numbers
from circuitgrok.interventions.base import KINDS, applied
from circuitgrok.interventions.batches import Batches
from circuitgrok.interventions.penalties import Coefficient, Penalty
from circuitgrok.training import beginning, captured, course, loop
from circuitgrok.training.captured import CapturedSteps, Fed, Replayed, any_algorithms
from circuitgrok.training.loop import train
from circuitgrok.training.moment import moment
from circuitgrok.training.stack import Stack, everything, new_stack
from circuitgrok.training.steps import OneByOne, uncapturable
from circuitgrok.tree import dot

RULES: dict[str, dict[str, Any]] = {
    "sgd": {"rule": "sgd"},
    "sgd with momentum": {"rule": "sgd", "momentum": 0.9},
    "rmsprop": {"rule": "rmsprop"},
    "rmsprop with momentum": {"rule": "rmsprop", "momentum": 0.9},
    "lion": {"rule": "lion"},
    "muon": {"rule": "muon", "momentum": 0.9, "lr_rest": 0.001},
    "decay to init": {"decay_to_init": True, "decay_roles": ("mlp",)},
    "float64": {"precision": "float64"},
}


def traces(stack: Stack, there: StandIn, work: str, first: int, n: int = 2) -> list[list[str]]:
    """Of the work at so many steps, as one graph is to take them."""
    steps = CapturedSteps(stack)
    replayed = Replayed(stack, getattr(steps, work), first)
    fed = replayed._fed
    fed.fill(first, min(n, replayed.room))
    return [there.captured(replayed.once).operations for _ in range(min(n, replayed.room))]


# --- what can be a graph ----------------------------------------------------------------------------


def test_steps_of_every_run_are_one_graph_unless_an_intervention_says_that_they_cannot_be(varied):  # noqa: F811
    """And those that say so really cannot. Some holds begin with the weights of step 4, others at an event."""
    configs = varied | {name: tiny(**leaves) for name, leaves in RULES.items()}
    declared, found, evaluated = set(), set(), set()
    for name, config in configs.items():
        with StandIn() as there, any_algorithms():
            stack = new_stack([config], DEVICE)
            declared |= {name} if uncapturable(stack) else set()
            try:
                first, *others = traces(stack, there, "_move", 4 if "batch_size" in config.kinds else 2)
                assert len(first) > 50 and others
                found |= {name} if any(other != first for other in others) else set()
                one, *rest = traces(stack, there, "_look", 4)
                evaluated |= {name} if any(other != one for other in rest) else set()
            except Waits:
                found.add(name)
    assert declared == found and not evaluated
    assert {kind for name in declared for kind in configs[name].kinds} >= {"nuclear", "spectral_entropy"}
    assert len(declared) == 2


@pytest.fixture
def penalised():
    """A stack on the stand-in with a penalty of a rule of the test, which says that it can be captured."""

    def made(rule: Callable[..., Any]) -> Stack:
        class Own(Penalty):
            kind = "own"
            formula = "a test's"
            source = "this test"
            capturable = True
            own: Coefficient

        Own.rule = staticmethod(rule)
        stack = new_stack([tiny()], DEVICE)
        stack.at_work["own"] = applied([Own(own=1.0)], stack.flat.device)
        return stack

    yield made
    KINDS.pop("own")


def size(weights: Any) -> Any:
    return dot(weights, weights, axes=1)


def test_a_number_of_python_that_differs_between_steps_is_seen(penalised):
    seen = count(1)
    with StandIn() as there, any_algorithms():
        first, other = traces(penalised(lambda weights: size(weights) * float(next(seen))), there, "_move", 2)
        differing = [(a, b) for a, b in zip(first, other, strict=True) if a != b]
        assert differing and all(a.startswith("aten::mul ") for a, _ in differing)


def test_memory_that_a_rule_keeps_from_step_to_step_is_seen(penalised):
    kept: list[Any] = []

    def rule(weights: Any) -> Any:
        kept.append(size(weights).detach())
        return size(weights) + kept[max(0, len(kept) - 2)]

    with StandIn() as there, any_algorithms():
        first, other = traces(penalised(rule), there, "_move", 2)
        assert len(first) == len(other) and first != other


@for_each(
    "rule",
    [
        lambda weights: size(weights) * size(weights).sum().item(),
        lambda weights: size(weights) * len(size(weights).tolist()),
        lambda weights: size(weights) * bool((size(weights) > 0).all()),
        lambda weights: size(weights) + (w := weights["unembed.W_U"])[w > 0].sum(),
        lambda weights: size(weights) + (weights["unembed.W_U"] > 0).nonzero().sum(),
        lambda weights: size(weights) + torch.ones(1).to(DEVICE),
        lambda weights: size(weights) + torch.linalg.svdvals(weights["unembed.W_U"]).sum(),
        lambda weights: size(weights).index_select(0, torch.zeros(1, dtype=torch.long, device=DEVICE)),
    ],
)
def test_what_asks_for_the_host_or_has_no_order_is_refused_in_a_captured_step(rule, penalised):
    with StandIn() as there, any_algorithms():
        stack = penalised(rule)
        with pytest.raises(Waits):
            traces(stack, there, "_move", 2)


# --- what the host gives ----------------------------------------------------------------------------


def test_a_block_of_steps_is_given_what_each_of_them_has_alone():
    configs = [tiny(batch_size=16, batch_replacement=True, noise_seed=seed) for seed in range(2)]
    with StandIn():
        stack = new_stack(configs, DEVICE)
        fed, [batches] = Fed(stack, 3), stack.of(Batches)

        def asked() -> list[Any]:
            now = fed.moment()
            return [now.number, now.rate, now.places(batches, 60), numbers(drawn, now.generators("walk"), DEVICE)]

        def drawn(generators: Any) -> torch.Tensor:
            return torch.stack([torch.rand(2, generator=one) for one in generators])

        asked()
        rows = fed.settle()
        fed.fill(5, 4)
        assert rows >= 4
        for step in range(5, 9):
            now = moment(stack, step)
            number, rate, places, walked = (one.cpu() for one in asked())
            assert number.item() == step and rate.item() == now.rate
            assert torch.equal(places, now.places(batches, 60))
            assert torch.equal(walked, drawn(now.generators("walk")))
            fed.row.add_(1)


# --- runs of graphs ---------------------------------------------------------------------------------


class Graph:
    """What a GPU does, on the stand-in: the first time the operations are noted, and ever after they must be these."""

    there: Any

    def __init__(self, work: Callable[[], None], prepare: Callable[[], None], device: torch.device) -> None:
        self._work, self._trace = work, None
        prepare()

    def __call__(self) -> None:
        trace: Trace = self.there.captured(self._work)
        assert self._trace is None or self._trace.operations == trace.operations
        self._trace = trace


MANY: dict[str, Any] = {
    "walk_noise": 0.01, "gradient_noise": 0.01, "label_noise": 0.2, "dropout_mlp": 0.1, "grokfast_ma": 2.0,
    "grokfast_window": 3, "grokfast_ema": 1.0, "orthograd": "tensor", "l2": 0.01, "repulsion": 0.1, "norm_cap": 1.5,
    "batch_size": 16, "temperature": 2.0, "keep_moments": True, "eval_every": 7, "steps": 16,
}  # fmt: skip
GROWING: dict[str, Any] = {  # by a factor of 1 + 2 lr anti_decay in each step
    "rule": "sgd", "weight_decay": 0.0, "eval_every": 24, "checkpoint_every": 24, "checkpoints_per_decade": 0,
}  # fmt: skip
RUNS: dict[str, list[TrainConfig]] = {
    "plain": [tiny(seed=seed, keep_moments=True) for seed in range(2)],
    "parts of the split": [tiny(), tiny(data_seed=1, corrupted=0.2), tiny(split="mirror_free", corrupted=0.1)],
    "everything": [tiny(**MANY), tiny(**MANY, seed=1)],
    "holds": [tiny(fixed_norm=True, norm_from_step=9), tiny(fixed_direction=True, hold_from_train_acc=0.12), tiny()],
    "arcs": [tiny(fixed_norm=True, norm_motion="geodesic", norm_transport=True, norm_from_step=9)],
    "diverging": [tiny(**GROWING, anti_decay=coef, seed=seed) for seed, coef in enumerate((1e-6, 1e5, 1e-6))],
    "diverging one by one": [tiny(**GROWING, anti_decay=coef) for coef in (1e5, 1e-6, 1e4, 1e5, 1e6)],
    "all diverging": [tiny(**GROWING, anti_decay=1e5, seed=seed) for seed in range(2)],
}


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same operations, none of them captured."""
    monkeypatch.setattr(course, "steps_of", OneByOne)
    monkeypatch.setattr(loop, "same_bits_again", lambda _: nullcontext())


@for_each("name", list(RUNS))
def test_captured_runs_are_those_step_by_step_bit_for_bit_also_where_one_diverges(elsewhere, name, tmp_path):  # noqa: F811
    names = [f"run{i}" for i in range(len(RUNS[name]))]
    with pytest.MonkeyPatch.context() as patch:
        if elsewhere == DEVICE:
            [Graph.there] = _get_current_dispatch_mode_stack()
            patch.setattr(captured, "graph_of", Graph)
        there = train(RUNS[name], tmp_path / "captured", names=names, device=str(elsewhere), save_every_s=1e9)
    with pytest.MonkeyPatch.context() as patch:
        one_by_one(patch)
        here = train(RUNS[name], tmp_path / "plain", names=names, device=str(elsewhere), save_every_s=1e9)
    for one, other in zip(there, here, strict=True):
        assert one.state == other.state and bits_of(one.path) == bits_of(other.path), one.name
        assert [e["event"] for e in one.events] == [e["event"] for e in other.events]
    assert ("diverged" in {run.state for run in there}) == ("diverging" in name)
    if name == "diverging":
        assert [run.state for run in there] == ["finished", "diverged", "finished"]
        [*_, last] = json_lines(there[1].path / "history.jsonl")
        assert 2 < last["step"] < 24 and "train_loss is nan" in last["diverged"]


def test_the_device_is_waited_for_once_in_a_block_however_long_it_is(tmp_path, monkeypatch):
    for module in (loop, beginning):
        monkeypatch.setattr(module, "resolved", torch.device)
    waits = []
    for steps in (16, 32, 96):
        with StandIn() as there:
            config = tiny(steps=steps, eval_every=steps, checkpoint_every=steps, checkpoints_per_decade=0)
            train([config], tmp_path / str(steps), device="meta")
            waits.append(there.waits.total())
    assert waits[0] == waits[1] == waits[2]


def test_on_a_gpu_the_work_is_warmed_up_on_a_stream_aside_captured_once_and_then_replayed(monkeypatch):
    """In torch's order, told by a driver that only notes what it is asked for."""
    told: list[str] = []

    class Stream:
        def __init__(self, name: Any = "aside") -> None:
            self.name = name if isinstance(name, str) else "aside"

        def wait_stream(self, other: "Stream") -> None:
            told.append(f"{self.name} waits for {other.name}")

    class Within:
        def __init__(self, what: Any = None) -> None:
            self.what = getattr(what, "name", "graph")

        def __enter__(self) -> None:
            told.append(f"in {self.what}")

        def __exit__(self, *_: Any) -> None:
            told.append(f"out of {self.what}")

    class Driver:
        replay = staticmethod(lambda: told.append("replay"))

    for name, fake in {
        "device": lambda _: nullcontext(), "Stream": Stream, "current_stream": lambda _: Stream("main"),
        "stream": Within, "synchronize": lambda _: told.append("wait"), "CUDAGraph": Driver, "graph": Within,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, fake)
    replay = captured.graph_of(lambda: told.append("work"), lambda: told.append("fill"), torch.device("cuda", 0))
    replay()
    replay()
    warm = ["aside waits for main", "in aside", *["fill", "work"] * 3, "out of aside", "main waits for aside", "wait"]
    assert told == [*warm, "in graph", "work", "out of graph", "replay", "replay"]


def test_a_block_that_is_taken_back_leaves_everything_as_it_was():
    with StandIn(), any_algorithms():
        stack = new_stack([tiny(**MANY), tiny(**MANY, seed=1)], DEVICE)
        steps = CapturedSteps(stack)
        before = {name: value.cpu().clone() for name, value in everything(stack).items()}
        counters = [counter.item() for counter in stack.optimizer.counters]
        steps._keep()
        steps._replayed("move", 0)(0, 3)
        assert not torch.equal(stack.flat.cpu(), before["flat"])
        steps._put_back()
        assert all(torch.equal(value.cpu(), before[name]) for name, value in everything(stack).items())
        assert [counter.item() for counter in stack.optimizer.counters] == counters
