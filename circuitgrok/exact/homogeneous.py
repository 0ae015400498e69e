"""A network whose accuracy cannot depend on its radius: relu(U_a + V_b) W without biases, homogeneous of degree two.

It is the control of everything that is said about radius and direction: c theta gives c^2 times the logits.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.tasks.modular import Task
from circuitgrok.tree import Params


def logits(params: Params, inputs: Int[Tensor, "pair pos"]) -> Float[Tensor, "*stack pair p"]:
    """Its logits on pairs (a, b).

    Args:
        params: `U` and `V` `[p width]`, `W` `[width p]`, or a stack of them.
        inputs: a and b first; what follows is not seen.

    Example:
        >>> params, pair = {name: torch.ones(3, 3) for name in "UVW"}, torch.tensor([[0, 1]])
        >>> logits(params, pair), logits({name: 2 * value for name, value in params.items()}, pair)
        (tensor([[6., 6., 6.]]), tensor([[24., 24., 24.]]))
    """
    hidden = params["U"][..., inputs[:, 0], :] + params["V"][..., inputs[:, 1], :]
    return hidden.relu() @ params["W"]


def trained(tasks: Sequence[Task], steps: int, keep: int, width: int = 256) -> Params:
    """Evenly spread checkpoints `[task ckpt ...]` under AdamW (rate 1e-3, decay 2), one network for each task.

    Args:
        tasks: Of one p, with splits of their own.
        steps: Of the optimizer, on all training pairs.
        keep: How many checkpoints, the first and last step among them; `keep - 1` divides `steps`, or more are kept.
        width: Number of neurons.
    """
    p, inputs, labels = tasks[0].p, tasks[0].inputs, tasks[0].labels
    generator = torch.Generator().manual_seed(0)
    shapes = {"U": (p, width), "V": (p, width), "W": (width, p)}
    params = {
        name: torch.randn(len(tasks), *shape, generator=generator).div_(math.sqrt(shape[0])).requires_grad_()
        for name, shape in shapes.items()
    }
    optimizer = torch.optim.AdamW(list(params.values()), 1e-3, (0.9, 0.98), weight_decay=2.0)
    is_train = torch.stack([task.is_train for task in tasks])
    kept = []
    for step in range(steps + 1):
        if step % (steps // (keep - 1)) == 0:
            kept.append({name: value.detach().clone() for name, value in params.items()})
        losses = (cross_entropy(logits(params, inputs), labels) * is_train).sum(1) / is_train.sum(1)
        gradients = torch.autograd.grad(losses.sum(), list(params.values()))
        for value, gradient in zip(params.values(), gradients, strict=True):
            value.grad = gradient
        optimizer.step()
    return {name: torch.stack([at[name] for at in kept], dim=1) for name in params}


def scores(params: Params, task: Task) -> dict[str, Float[Tensor, " network"]]:
    """Accuracy and loss (nats) of a stack on both sides of a task's split, in float64: `accuracy[train]` and so on."""
    found = logits({name: value.double() for name, value in params.items()}, task.inputs)
    by_pair = {"accuracy": (found.argmax(-1) == task.labels).double(), "loss": cross_entropy(found, task.labels)}
    return {f"{k}[{s}]": x[:, task.where(s)].mean(-1) for k, x in by_pair.items() for s in ("train", "test")}
