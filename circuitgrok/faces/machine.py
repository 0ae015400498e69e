"""Whether this machine keeps the promise about bits: a run has the same ones in a stack as alone, and again.

Small networks of several kinds, at widths that fill no register, train a few steps alone and in a stack, at one
thread; their weights are compared bit for bit. Whether the library's own batched products depend on where a matrix
begins is told beside it: on some processors they do, and training is right there all the same.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.store.environment import environment
from circuitgrok.training.stack import new_stack
from circuitgrok.training.step import forward, update

RUNS, STEPS = 3, 2
PAIRS = {"p": 11, "frac_train": 0.5}
STREAM = {**PAIRS, "d_model": 6, "n_heads": 2, "d_head": 3}
TRIED: dict[str, dict[str, Any]] = {
    "transformer": {**STREAM, "d_mlp": 9},
    "transformer, float64": {**STREAM, "d_mlp": 13, "precision": "float64"},
    "transformer, large products": {
        "p": 23,
        "frac_train": 0.5,
        "d_model": 12,
        "n_heads": 2,
        "d_head": 6,
        "d_mlp": 250,
    },
    "transformer, GELU": {**STREAM, "d_mlp": 10, "act": "gelu"},
    "transformer, 2 layers": {**STREAM, "d_mlp": 7, "n_layers": 2},
    "transformer, dropout": {**STREAM, "d_mlp": 14, "dropout_mlp": 0.2},
    "embedding MLP": {**PAIRS, "model": "embedding_mlp", "d_embed": 5, "d_hidden": 19},
    "quadratic MLP": {**PAIRS, "model": "quadratic_mlp", "n_neurons": 11},
    "dense MLP": {
        "task": "sparse_parity",
        "n_bits": 9,
        "k": 2,
        "n_train": 50,
        "n_test": 40,
        "model": "dense",
        "width": 23,
    },
}
WIDTHS = (5, 6, 7, 9, 10, 11, 13, 23, 37, 113)  # of products; none fills registers of 16 numbers


class Promise(NamedTuple):
    """What was tried, and whether it held."""

    name: str
    good: bool


def promises() -> Iterator[Promise]:
    """Train each of `TRIED`; the caller sets the threads.

    >>> found = next(promises())
    >>> found.name, found.good
    ('transformer: alone as in a stack', True)
    """
    for name, leaves in TRIED.items():
        configs = [TrainConfig().with_(**leaves, seed=i, warmup=0, lr=0.01) for i in range(RUNS)]
        together = _trained(configs)
        alone = torch.cat([_trained([config]) for config in configs])
        yield Promise(f"{name}: alone as in a stack", torch.equal(together, alone))
        yield Promise(f"{name}: again", torch.equal(together, _trained(configs)))


def sensitive_widths(widths: Sequence[int] = WIDTHS) -> list[int]:
    """The widths at which the library gives a matrix of a batch other bits than the matrix alone.

    >>> sensitive_widths([16])
    []
    """
    draw = torch.Generator().manual_seed(0)
    found = []
    for width in widths:
        a, b = (torch.randn(3, *shape, generator=draw) for shape in ((49, 48), (48, width)))
        whole = a @ b
        if any(not torch.equal(whole[i], (a[i : i + 1].clone() @ b[i : i + 1].clone())[0]) for i in range(3)):
            found.append(width)
    return found


def report() -> tuple[list[str], bool]:
    """Lines about this machine, and whether every promise holds; at one thread, which the caller's are set back to."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad():
            found, widths = list(promises()), sensitive_widths()
    finally:
        torch.set_num_threads(before)
    lines = [f"{'ok     ' if promise.good else 'BROKEN '} {promise.name}" for promise in found]
    lines += [f"        {key:18s} {value}" for key, value in environment(1).items() if value != ""]
    told = f"depend on its place at widths {', '.join(map(str, widths))}" if widths else "do not depend on its place"
    lines.append(f"        bits of a matrix in the library's own batches {told}")
    good = all(promise.good for promise in found)
    lines.append(
        "a run has the same bits alone, in a stack and again, here, at one thread"
        if good
        else "this machine does not keep the promise about bits: train each run alone, and tell us the lines above"
    )
    return lines, good


def _trained(configs: Sequence[TrainConfig]) -> Tensor:
    """The weights `[run number]` after a few steps."""
    stack = new_stack(configs)
    for step in range(STEPS):
        update(stack, forward(stack, step), step)
    return stack.flat.detach()
