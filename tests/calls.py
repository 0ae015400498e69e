"""What torch is asked to do while a stack trains: every call whose bits depend on where its numbers lie."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import evaluate, forward, update, watched_update

LINE = 64
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "linalg_svd", "_linalg_svd"}
FUNCTIONS = {  # of elements, not rounded exactly, so that one at the end of a loop may come out otherwise
    "exp", "expm1", "log", "log1p", "cos", "sin", "atan2", "tanh", "tanh_backward", "gelu", "gelu_backward", "erf",
    "sigmoid", "addcmul", "addcdiv", "lerp",
}  # fmt: skip


class Call(NamedTuple):
    """One call, with what its bits depend on.

    Attributes:
        name: Of the operation, without its in-place and out variants.
        operands: Of each factor, and of the result: shape and strides within a run, and where on a line it begins.
        faults: What makes a run's part another than it would be alone.
    """

    name: str
    operands: tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...]
    faults: tuple[str, ...]


class Calls(TorchDispatchMode):
    """Records the calls on tensors `[run ...]` of so many runs, backward passes included."""

    def __init__(self, n_runs: int) -> None:
        super().__init__()
        self.n_runs = n_runs
        self.seen: list[Call] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if name in PRODUCTS | FUNCTIONS:
            given = [x for x in args if isinstance(x, Tensor)]
            given = given[1:] if name in ("addmm", "addmv", "baddbmm") else given  # what is added is copied first
            first = result[0] if isinstance(result, tuple | list) else result
            self.seen.append(self._call(name, given, first))
        return result

    def _call(self, name: str, given: Sequence[Tensor], result: Tensor) -> Call:
        whole = self.n_runs > 1 and result.ndim > 0 and result.shape[0] == self.n_runs
        faults = []
        if whole and name in PRODUCTS:
            faults += [
                f"{name}: the runs of {list(x.shape)} are {x.stride(0) * x.element_size()} bytes apart"
                for x in (*given, result)
                if x.ndim > 1 and x.shape[0] == self.n_runs and x.stride(0) * x.element_size() % LINE
            ]
        if whole and result.is_contiguous() and (name in PRODUCTS or result[0].numel() % LINE):
            faults.append(f"{name}: one call for all runs of {list(result.shape)}, which lie in one piece")
        within = [(x.shape[1:], x.stride()[1:], x.data_ptr() % LINE) for x in (*given, result) if x.ndim == 3]
        return Call(name, tuple((tuple(s), tuple(t), a) for s, t, a in within), tuple(faults))


def calls_of(configs: Sequence[TrainConfig], steps: int = 2) -> list[Call]:
    """The calls of a few training steps, each with its evaluation; the last step is taken apart."""
    stack = new_stack(configs)
    with Calls(len(configs)) as calls:
        for step in range(steps):
            ahead = forward(stack, step)
            evaluate(stack, step, ahead)
            (watched_update if step == steps - 1 else update)(stack, ahead, step)
    return calls.seen


def ends_of(configs: Sequence[TrainConfig], steps: int = 3) -> tuple[Tensor, list[dict[str, Any]]]:
    """The weights `[run number]` after some steps, and each run's records on the way."""
    stack, records = new_stack(configs), [{} for _ in configs]
    for step in range(steps):
        ahead = forward(stack, step)
        for lines in (evaluate(stack, step, ahead), watched_update(stack, ahead, step)):
            for record, line in zip(records, lines, strict=True):
                record |= {f"{step} {name}": value for name, value in line.items()}
    return stack.flat.detach(), records
