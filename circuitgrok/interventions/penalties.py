"""Penalties: terms that are added to a run's training loss, each times a coefficient of the run.

A penalty is a function of a stack's trained tensors that gives one number per run, at coefficient 1:

    loss of the run = data loss + coefficient * penalty

It is differentiated with the loss, so that its gradient goes through the optimizer: Adam divides it by the
size of the whole gradient, and what it does depends on the loss beside it. Decoupled weight decay is no penalty.

`PENALTIES` holds them by name. A new one is a function under the decorator `penalty`, in any file or notebook:

    @penalty("sum w^4", source="this notebook")
    def fourth_powers(weights: Params, anchor: Anchor) -> Tensor:
        '''Sum of the fourth powers of all trained numbers.'''
        squares = combine(torch.square, weights)
        return dot(squares, squares, axes=1)

Arithmetic is float64 whatever the weights are. Runs share none of it.

Source: what the penalties are for, Notsawo et al. 2025 (arXiv:2506.05718) and J. Hoogland et al. 2023, "Gradient
surfing: the hidden role of regularization" (jessehoogland.com).
"""

import inspect
from collections.abc import Callable, Iterator
from functools import reduce
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok import apart
from circuitgrok.errors import UserError
from circuitgrok.tree import Params, combine, dot, is_bias, norm

_SURFING = "Hoogland et al. 2023, Gradient surfing: the hidden role of regularization"
_BEYOND_L2 = "Notsawo et al. 2025 (arXiv:2506.05718)"


class Anchor(NamedTuple):
    """What a penalty may refer to beside the weights. All of it is constant: nothing here is differentiated.

    Attributes:
        start: The weights that displacement is measured from, `[run ...]`, under the names of the trained tensors.
        radius: The norm of all trained tensors to aim at.
        bound: The distance from `start` at which `repulsion` pushes hardest; from three of them on it is over.
    """

    start: Params
    radius: Float[Tensor, " run"]
    bound: Float[Tensor, " run"]


PenaltyFunction = Callable[[Params, Anchor], Float[Tensor, " run"]]


class Penalty(NamedTuple):
    """A penalty that a config can name.

    Attributes:
        formula: In one short line of plain text.
        function: Trained tensors `[run ...]` and the anchor to one float64 number per run.
        description: First line of the function's docstring.
        source: Where it comes from.
    """

    formula: str
    function: PenaltyFunction
    description: str
    source: str


PENALTIES: dict[str, Penalty] = {}


def penalty(formula: str, source: str) -> Callable[[PenaltyFunction], PenaltyFunction]:
    """Decorator that enters a function in `PENALTIES` under its own name, and leaves the function as it is.

    Args:
        formula: In one short line of plain text, such as "sum |w|".
        source: A paper and its section, or who says so.

    Raises:
        ValueError: The name is taken.

    Example:
        >>> @penalty("largest |w|", source="an example")
        ... def largest(weights: Params, anchor: Anchor) -> torch.Tensor:
        ...     '''Size of the largest trained number.'''
        ...     each = [value.double().abs().flatten(1).amax(-1) for value in weights.values()]
        ...     return torch.stack(each).amax(0)
        >>> PENALTIES.pop("largest").description
        'Size of the largest trained number.'
    """

    def register(function: PenaltyFunction) -> PenaltyFunction:
        name = function.__name__
        if name in PENALTIES:
            raise ValueError(
                f"every penalty has a name of its own; {name!r} is taken by {PENALTIES[name].formula!r}: "
                f"rename the function, or PENALTIES.pop({name!r}) first to replace it"
            )
        description = (inspect.getdoc(function) or formula).partition("\n")[0]
        PENALTIES[name] = Penalty(formula, function, description, source)
        return function

    return register


@penalty("sum |w|", source=f"{_BEYOND_L2}, there for sparse solutions")
def l1(weights: Params, anchor: Anchor) -> Float[Tensor, " run"]:
    """Sum of the sizes of all trained numbers, biases included.

    Its gradient is the sign of each number, and 0 for a number that is exactly 0 (a subgradient), so that a
    tensor of zeros feels nothing of it until the loss moves it.
    """
    return dot(weights, combine(torch.sign, weights), axes=1)


@penalty("sum w^2 / 2", source="Loshchilov and Hutter 2017 (arXiv:1711.05101), section 2")
def l2(weights: Params, anchor: Anchor) -> Float[Tensor, " run"]:
    """Half the sum of squares of all trained numbers: L2 regularization, coupled to the optimizer.

    Its gradient, coefficient * w, is part of what the optimizer sees. For plain gradient descent that is weight
    decay at the same rate. It is not for Adam: once the data loss is small, Adam divides by the size of this
    very gradient, and every weight shrinks by about the learning rate a step, whatever the coefficient.
    `weight_decay` (AdamW, decoupled) multiplies the weights by 1 - lr * weight_decay outside of the optimizer,
    and is the gradient of no term of the loss.
    """
    return dot(weights, weights, axes=1) / 2


@penalty("sum over matrices of sum_i s_i", source=f"{_BEYOND_L2}, there for solutions of low rank")
def nuclear(weights: Params, anchor: Anchor) -> Float[Tensor, " run"]:
    """Sum of the singular values of all weight matrices: their nuclear norms.

    A matrix is the last two axes of a trained tensor that is no bias: of attention's `[head d_model d_head]` each
    head's own, and embeddings as well. Biases and LayerNorm are not counted. The gradient is U V^T over the
    singular values that are not zero to rounding (`_singular_values`); for zero ones it is the subgradient 0.

    The decompositions are the price: 30 ms per step and run for the network of Nanda et al. on one slow core.
    """
    return reduce(torch.add, (values.flatten(1).sum(-1) for values in _singular_values(weights)))


@penalty("sum over matrices of -sum_i q_i ln q_i, q = s / sum s", source="DeMoss et al. 2024 (arXiv:2412.09810)")
def spectral_entropy(weights: Params, anchor: Anchor) -> Float[Tensor, " run"]:
    """Sum over all weight matrices of the entropy of their singular values' shares, in nats.

    0 for a matrix of rank one, up to ln(min(rows, columns)) for equal singular values; the exponential is the
    effective rank of Roy and Vetterli 2007. It does not change with the scale of a matrix and thus never pushes
    along the radius of one. Matrices, and the price, are those of `nuclear`.

    Towards zero the slope in a singular value grows as its -ln, without bound; one that is zero to rounding
    adds nothing and is left alone, as is a matrix of zeros.
    """
    return reduce(torch.add, (_entropy(values).sum(-1) for values in _singular_values(weights)))


@penalty("(r - R)^2, r = |w|", source=f"{_SURFING}, with R above the norm that training finds")
def target_norm(weights: Params, anchor: Anchor) -> Float[Tensor, " run"]:
    """Squared distance of the norm of all trained numbers from `anchor.radius`.

    With R above the present norm it pulls outwards: the anti-regularization of the gradient-surfing post. The
    gradient is radial, 2 (r - R) w / r; it has no value at w = 0.
    """
    return (norm(weights, axes=1) - anchor.radius).square()


@penalty("-sum w^2", source="Golechha 2024 (arXiv:2405.12755), there times 2e-10")
def anti_decay(weights: Params, anchor: Anchor) -> Float[Tensor, " run"]:
    """Minus the sum of squares of all trained numbers: a reward for a growing norm.

    It is unbounded below. Nothing but the data loss, the learning rate and the length of training holds the norm;
    take a small coefficient, or `target_norm`.
    """
    return -dot(weights, weights, axes=1)


@penalty("-B^2 (1 - exp(-|w - w0|^2 / (2 B^2)))", source=f"{_SURFING}; this bounded form is ours")
def repulsion(weights: Params, anchor: Anchor) -> Float[Tensor, " run"]:
    """Minus a bounded reward for the displacement d of all trained numbers from `anchor.start`.

    Near the start it is -|d|^2 / 2, and far away it levels off at -B^2, B = `anchor.bound`. The force, |d| exp(-|d|^2 /
    (2 B^2)), is largest at |d| = B, where it is B / sqrt(e) = 0.61 B; at 3 B it is 0.033 B, and 1 % of the reward is
    left to earn. At the start itself it is zero: a run that starts there is moved by the loss first.
    """
    away = combine(lambda value, start: value.double() - start.double(), weights, anchor.start)
    square = anchor.bound.double().square()
    return square * apart.each(torch.expm1, -dot(away, away, axes=1) / (2 * square))


def _singular_values(weights: Params) -> Iterator[Float[Tensor, "run matrix value"]]:
    """Of the weight matrices of each tensor: one, or one per head. What is zero to rounding is 0.

    A singular value up to eps * max(rows, columns) times the largest is rounding of zero. Its singular vectors
    are arbitrary, and its logarithm says nothing: by the `where` it gets no gradient. Among the others the
    gradient of a symmetric function is U diag(slope) V^T, also where some are equal.
    """
    matrices = [value for name, value in weights.items() if value.ndim > 2 and not is_bias(name)]
    if not matrices:
        raise UserError(
            f"a penalty on singular values needs a weight matrix that trains; there are only {', '.join(weights)}: "
            f"train another role, or take a penalty on the numbers such as l1"
        )
    for value in matrices:
        values = apart.each(torch.linalg.svdvals, value.double().unsqueeze(1).flatten(1, -3))
        zero = torch.finfo(torch.float64).eps * max(value.shape[-2:]) * values[..., :1]
        yield torch.where(values > zero, values, 0.0)


def _entropy(values: Float[Tensor, "run matrix value"]) -> Float[Tensor, "run matrix"]:
    """Entropy of shares, 0 for shares of nothing. In place of 0 the logarithm is taken of 1, so that nothing is inf."""
    total = values.sum(-1, keepdim=True)
    share = values / torch.where(total > 0, total, 1.0)
    return -(share * apart.each(torch.log, torch.where(share > 0, share, 1.0))).sum(-1)
