"""Rules that make a step from a gradient, for a stack whose trained numbers lie in one flat tensor [run, number].

A `StackOptimizer` steps the whole stack in place and shows what it remembers as tensors with the run axis first, to be
saved and put back. Weight decay is not its business: the stack applies decoupled decay itself. With g the gradient,
m and v running averages of g and of its square, and hats for Adam's correction of their zero start,

    adam      -lr m^ / (sqrt(v^) + eps)
    sgd       -lr b,  b <- momentum b + g
    rmsprop   -lr b,  b <- momentum b + g / (sqrt(v) + eps)
    lion      -lr sign(beta1 m + (1 - beta1) g)
    muon      -lr scale orth(m) for each hidden matrix, Adam for the rest

The arithmetic is that of torch.optim and lion_pytorch. Where g and what is remembered are zero no rule moves
anything, and so the padding at the end of a row of the flat tensor stays zero.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.tree import Params, is_bias, role, unravel


@dataclass(frozen=True)
class StackOptimizer:
    """What makes steps from gradients: it changes `flat` in place, by what lies in `flat.grad`.

    Attributes:
        optimizers: What steps, each with the factor from the stack's learning rate to its own.
        state: All that a run remembers, `[run number]`: the live tensors, to be saved or written into.
        moment: The first moment among them, an average or sum of gradients; None if the rule keeps none.
        part: The gradient's part of the step just taken, from its rate and number, or None.
    """

    optimizers: tuple[tuple[torch.optim.Optimizer, float], ...]
    state: dict[str, Tensor]
    moment: Tensor | None
    part: Callable[[float, int], Tensor] | None

    def step(self, lr: float) -> None:
        """Take one step at this learning rate, without decay."""
        for optimizer, ratio in self.optimizers:
            optimizer.param_groups[0]["lr"] = lr * ratio
            optimizer._warned_capturable_if_run_uncaptured = True  # pyright: ignore: it may be, by who takes the step
            optimizer.step()

    @property
    def counters(self) -> list[Tensor]:
        """The numbers of steps taken, as torch keeps them: live tensors."""
        states = (remembered for optimizer, _ in self.optimizers for remembered in optimizer.state.values())
        return [remembered["step"] for remembered in states if "step" in remembered]

    def resume(self, step: int) -> None:
        """Count on from `step` steps taken, after the caller has written into the tensors of `state`."""
        for counter in self.counters:
            counter.fill_(float(step))

    def gradient_part(self, lr: float, t: int) -> Tensor | None:
        """The part of step number `t`, just taken, that the present gradient made, `[run number]` in float64.

        What is left of the step comes from gradients of the past. None where a step is no sum over gradients.
        """
        return self.part(lr, t) if self.part else None


def chosen(settings: Any, flat: Float[Tensor, "run number"], views: Params) -> StackOptimizer:
    """The optimizer that a config names, without decay.

    Args:
        settings: `rule` and its numbers, as a config's section `optimizer` has them.
        flat: All trained numbers, with their gradient in `flat.grad`.
        views: The tensors as views of `flat`, `[run ...]`.
    """
    match settings.rule:
        case "adam":
            return adam(flat, settings.beta1, settings.beta2, settings.eps)
        case "sgd":
            return sgd(flat, settings.momentum)
        case "rmsprop":
            return rmsprop(flat, settings.beta2, settings.eps, settings.momentum)
        case "lion":
            return lion(flat, settings.beta1, settings.beta2)
        case "muon":
            ratio = 1.0 if settings.lr_rest is None else settings.lr_rest / settings.lr
            return muon(flat, views, settings.momentum, settings.beta1, settings.beta2, settings.eps, ratio)
    raise ValueError(f"unknown rule of the step {settings.rule!r}")


def adam(flat: Float[Tensor, "run number"], beta1: float, beta2: float, eps: float) -> StackOptimizer:
    """Adam, which with the stack's decoupled decay is AdamW; it remembers `exp_avg` and `exp_avg_sq`.

    Args:
        flat: All trained numbers, with their gradient in `flat.grad`.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment; positive, or the padding is divided by zero.

    Example:
        >>> flat = torch.tensor([[1.0, 1.0]])
        >>> flat.grad = torch.tensor([[2.0, -0.5]])
        >>> adam(flat, beta1=0.9, beta2=0.98, eps=1e-8).step(0.25)  # the first step is -lr * sign
        >>> flat
        tensor([[0.7500, 1.2500]])

    Source: D. Kingma, J. Ba, "Adam" (arXiv:1412.6980), algorithm 1.
    """
    optimizer = torch.optim.AdamW([flat], 0.0, (beta1, beta2), eps, weight_decay=0, fused=True, **_captured(flat))
    state = {"exp_avg": torch.zeros_like(flat), "exp_avg_sq": torch.zeros_like(flat)}
    optimizer.state[flat] = {"step": _counter(flat), **state}

    def part(lr: float, t: int) -> Tensor:
        settings = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        return adam_gradient_part(_gradient(flat), state["exp_avg_sq"], **settings, t=t)

    return StackOptimizer(((optimizer, 1.0),), state, state["exp_avg"], part)


def adam_gradient_part(
    gradient: Float[Tensor, "run number"],
    second_moment: Float[Tensor, "run number"],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
) -> Float[Tensor, "run number"]:
    """The part of Adam's step that the present gradient makes, in the units of the weights, float64.

    Args:
        gradient: At the weights before the step.
        second_moment: Adam's, after it has seen this gradient.
        lr: Learning rate of this step.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Adam's epsilon.
        t: Number of this step; the first is 1.

    Returns:
        Adam's step if all earlier gradients had been zero in the first moment. At the first step it is all of it.

    Example:
        >>> gradient = torch.tensor([[2.0, -0.5]])
        >>> settings = {"lr": 0.1, "beta1": 0.9, "beta2": 0.98, "eps": 0.0, "t": 1}
        >>> adam_gradient_part(gradient, 0.02 * gradient.square(), **settings).round(decimals=6)  # -lr * sign
        tensor([[-0.1000,  0.1000]], dtype=torch.float64)

    Source: D. Kingma, J. Ba, "Adam" (arXiv:1412.6980), algorithm 1, by linearity in the first moment.
    """
    scale = (second_moment.double() / (1 - beta2**t)).sqrt() + eps
    return -lr * (1 - beta1) / (1 - beta1**t) * gradient.double() / scale


def sgd(flat: Float[Tensor, "run number"], momentum: float) -> StackOptimizer:
    """Gradient descent; with momentum it remembers `momentum_buffer`, the sum of momentum^age times gradient.

    Args:
        flat: All trained numbers, with their gradient in `flat.grad`.
        momentum: In 0..1; at 0 nothing is remembered.

    Example:
        >>> flat = torch.tensor([[1.0, 1.0]])
        >>> flat.grad = torch.tensor([[2.0, -0.5]])
        >>> sgd(flat, momentum=0.0).step(0.5)
        >>> flat
        tensor([[0.0000, 1.2500]])

    Source: torch.optim.SGD, without dampening and not Nesterov's.
    """
    optimizer = torch.optim.SGD([flat], 0.0, momentum)
    state = {"momentum_buffer": torch.zeros_like(flat)} if momentum else {}
    optimizer.state[flat] = dict(state)
    return StackOptimizer(
        ((optimizer, 1.0),), state, state.get("momentum_buffer"), lambda lr, t: -lr * _gradient(flat).double()
    )


def rmsprop(flat: Float[Tensor, "run number"], alpha: float, eps: float, momentum: float) -> StackOptimizer:
    """RMSprop, not centred; it remembers `square_avg`, and with momentum `momentum_buffer`, an average of steps.

    Args:
        flat: All trained numbers, with their gradient in `flat.grad`.
        alpha: Decay of the average of squares, which starts at zero and is not corrected for it.
        eps: Added to the root of that average; positive, or the padding is divided by zero.
        momentum: In 0..1, of the preconditioned gradients.

    Example:
        >>> flat = torch.tensor([[1.0, 1.0]])
        >>> flat.grad = torch.tensor([[2.0, -0.5]])
        >>> rmsprop(flat, alpha=0.75, eps=1e-8, momentum=0.0).step(0.25)  # -lr sign / sqrt(1 - alpha)
        >>> flat
        tensor([[0.5000, 1.5000]])

    Source: torch.optim.RMSprop; T. Tieleman, G. Hinton, Coursera lecture 6e (2012).
    """
    optimizer = torch.optim.RMSprop([flat], 0.0, alpha, eps, momentum=momentum, **_captured(flat))
    names = ("square_avg", "momentum_buffer") if momentum else ("square_avg",)
    state = {name: torch.zeros_like(flat) for name in names}
    optimizer.state[flat] = {"step": _counter(flat), **state}

    def part(lr: float, t: int) -> Tensor:
        return -lr * _gradient(flat).double() / (state["square_avg"].double().sqrt() + eps)

    return StackOptimizer(((optimizer, 1.0),), state, None, part)


def lion(flat: Float[Tensor, "run number"], beta1: float, beta2: float) -> StackOptimizer:
    """Lion: every number moves by the same length, with the sign of an average; it remembers `exp_avg`.

    Args:
        flat: All trained numbers, with their gradient in `flat.grad`.
        beta1: Weight of the remembered average against the present gradient in the sign.
        beta2: Decay of the remembered average.

    Example:
        >>> flat = torch.tensor([[1.0, 1.0, 0.0]])
        >>> flat.grad = torch.tensor([[2.0, -0.5, 0.0]])
        >>> lion(flat, beta1=0.9, beta2=0.99).step(0.25)
        >>> flat
        tensor([[0.7500, 1.2500, 0.0000]])

    Source: X. Chen et al., "Symbolic Discovery of Optimization Algorithms" (arXiv:2302.06675).
    """
    from lion_pytorch import Lion

    optimizer = Lion([flat], 1.0, (beta1, beta2), weight_decay=0.0)  # refuses a rate of zero; `step` sets it
    state = {"exp_avg": torch.zeros_like(flat)}
    optimizer.state[flat] = dict(state)
    return StackOptimizer(((optimizer, 1.0),), state, state["exp_avg"], None)


def muon(
    flat: Float[Tensor, "run number"],
    views: Params,
    momentum: float,
    beta1: float,
    beta2: float,
    eps: float,
    rest_ratio: float,
) -> StackOptimizer:
    """Muon for the hidden matrices, Adam for the rest: embeddings, unembedding, biases and gains.

    A hidden matrix moves by lr sqrt(max(1, out / in)) times its averaged gradient (Nesterov's) with all singular
    values brought near 1, by five Newton-Schulz steps in bfloat16. Each head's W_Q, W_K, W_V, W_O is a matrix of its
    own. Tensors are `[in out]` here and `[out in]` in torch, so that torch is given them transposed. The first
    moments of both rules are in `exp_avg`; Adam's second moments, zero for matrices, in `exp_avg_sq`.

    Args:
        flat: All trained numbers, with their gradient in `flat.grad`, which must stay the same tensor.
        views: The tensors as views of `flat`, `[run ...]`.
        momentum: Decay of the matrices' average (0.95 in torch).
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        eps: Adam's epsilon.
        rest_ratio: Adam's learning rate over that of the matrices.

    Raises:
        ValueError: `flat` has no gradient yet, or there is no hidden matrix among the tensors.

    Example:
        >>> flat = torch.zeros(1, 4)
        >>> flat.grad = torch.tensor([[3.0, 0.0, 0.0, 3.0]])
        >>> views = {"blocks.0.mlp.W_in": flat.view(1, 2, 2)}
        >>> muon(flat, views, momentum=0.95, beta1=0.9, beta2=0.98, eps=1e-8, rest_ratio=1.0).step(0.1)
        >>> ((-0.15 < flat) & (flat < -0.05)).tolist()  # -0.1 times a singular value near 1, on the diagonal
        [[True, False, False, True]]

    Source: K. Jordan et al., "Muon" (2024), as in torch.optim.Muon with its defaults.
    """
    if flat.grad is None:
        raise ValueError("muon steps pieces of the flat tensor: give flat.grad its memory first")
    shapes = {name: view[0] for name, view in views.items()}
    state = {"exp_avg": torch.zeros_like(flat), "exp_avg_sq": torch.zeros_like(flat)}
    slopes, first, second = (unravel(whole, shapes) for whole in (flat.grad, state["exp_avg"], state["exp_avg_sq"]))
    matrices, rest = {}, {}
    for name, view in views.items():
        hidden = role(name) not in ("embed", "unembed") and not is_bias(name) and view.ndim > 2
        pieces = zip(*(_pieces(tree[name], hidden) for tree in (views, slopes, first, second)), strict=True)
        for piece, slope, average, square in pieces:
            piece.grad = slope
            if hidden:
                matrices[piece] = {"momentum_buffer": average}
            else:
                rest[piece] = {"step": _counter(flat), "exp_avg": average, "exp_avg_sq": square}
    if not matrices:
        raise UserError(f"muon needs a hidden matrix, of a block; got {', '.join(views)}: choose another rule")
    orthogonal = torch.optim.Muon(list(matrices), 0.0, weight_decay=0, momentum=momentum)
    orthogonal.state.update(matrices)
    settings = {"betas": (beta1, beta2), "eps": eps, "weight_decay": 0, "fused": True, **_captured(flat)}
    adaptive = torch.optim.AdamW([{"params": list(rest)}], 0.0, **settings)  # a group may be empty, a list may not
    adaptive.state.update(rest)
    return StackOptimizer(((orthogonal, 1.0), (adaptive, rest_ratio)), state, state["exp_avg"], None)


def _pieces(tensor: Tensor, hidden: bool) -> Iterator[Tensor]:
    """One contiguous view for each run; of hidden matrices one for each matrix, transposed to `[out in]`."""
    if not hidden:
        return iter(tensor)
    return (matrix.mT for run in tensor for matrix in run.reshape(-1, *run.shape[-2:]))


def _captured(flat: Tensor) -> dict[str, bool]:
    """What torch asks of an optimizer whose steps a GPU may take as a captured graph."""
    return {"capturable": True} if flat.device.type == "cuda" else {}


def _counter(flat: Tensor) -> Tensor:
    """The number of steps taken, as torch keeps it."""
    return torch.zeros((), device=flat.device)


def _gradient(flat: Tensor) -> Tensor:
    assert flat.grad is not None
    return flat.grad
