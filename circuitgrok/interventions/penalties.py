"""Penalties: terms that are added to a run's training loss, each times a coefficient of the run.

The rule of a penalty takes a stack's trained tensors to one number per run, at coefficient 1:

    loss of the run = data loss + coefficient * rule

It is differentiated with the loss, so that its gradient goes through the optimizer: Adam divides it by the
size of the whole gradient, and what it does depends on the loss beside it. Decoupled weight decay is no penalty.

A new one is a class, in any file or notebook; its coefficient bears its name:

    class FourthPowers(Penalty):
        '''Sum of the fourth powers of all trained numbers.'''

        kind = "fourth_powers"
        formula = "sum w^4"
        source = "this notebook"
        fourth_powers: Coefficient

        @staticmethod
        def rule(weights):
            squares = combine(torch.square, weights)
            return dot(squares, squares, axes=1)

Arithmetic is float64 whatever the weights are. Runs share none of it.

Source: what the penalties are for, Notsawo et al. 2025 (arXiv:2506.05718) and J. Hoogland et al. 2023, "Gradient
surfing: the hidden role of regularization" (jessehoogland.com).
"""

from collections.abc import Iterator
from functools import reduce
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.fields import FieldInfo
from torch import Tensor

from circuitgrok import apart
from circuitgrok.errors import UserError
from circuitgrok.interventions.base import PER_RUN, Intervention
from circuitgrok.tree import Params, combine, dot, is_bias, norm

_SURFING = "Hoogland et al. 2023, Gradient surfing: the hidden role of regularization"
_BEYOND_L2 = "Notsawo et al. 2025 (arXiv:2506.05718)"
CHECKPOINT = r"^.+@\d{1,9}$"  # RUN_FOLDER@STEP
Coefficient = Annotated[float, PER_RUN, Field(ge=0)]


class Penalty(Intervention):
    """A term of the training loss, which is the field named as its kind times `rule(weights)`, `[run]` in float64.

    Attributes:
        formula: In one short line of plain text, such as "sum |w|".
        from_start: Whether the rule also gets `start`, constant weights `[run ...]` to measure from: those of step 0,
            or of the checkpoint that `start_checkpoint` names.
    """

    section: ClassVar[str] = "penalties"
    formula: ClassVar[str]
    from_start: ClassVar[bool] = False

    @property
    def start_checkpoint(self) -> str | None:
        """The checkpoint RUN_FOLDER@STEP whose weights are the start; None for those of step 0."""
        return None

    @classmethod
    def _switch_field(cls) -> FieldInfo:
        field = super()._switch_field()
        field.description = f"coefficient of {cls.kind}, {cls.formula}"
        return field


class L1(Penalty):
    """Sum of the sizes of all trained numbers, biases included.

    Its gradient is the sign of each number, and 0 for a number that is exactly 0 (a subgradient), so that a
    tensor of zeros feels nothing of it until the loss moves it.
    """

    kind = "l1"
    capturable = True
    formula = "sum |w|"
    source = f"{_BEYOND_L2}, there for sparse solutions"
    l1: Coefficient

    @staticmethod
    def rule(weights: Params) -> Float[Tensor, " run"]:
        """At coefficient 1."""
        return dot(weights, combine(torch.sign, weights), axes=1)


class L2(Penalty):
    """Half the sum of squares of all trained numbers: L2 regularization, coupled to the optimizer.

    Its gradient, coefficient * w, is part of what the optimizer sees. For plain gradient descent that is weight
    decay at the same rate. It is not for Adam: once the data loss is small, Adam divides by the size of this
    very gradient, and every weight shrinks by about the learning rate a step, whatever the coefficient.
    `weight_decay` (AdamW, decoupled) multiplies the weights by 1 - lr * weight_decay outside of the optimizer,
    and is the gradient of no term of the loss.
    """

    kind = "l2"
    capturable = True
    formula = "sum w^2 / 2"
    source = "Loshchilov and Hutter 2017 (arXiv:1711.05101), section 2"
    l2: Coefficient

    @staticmethod
    def rule(weights: Params) -> Float[Tensor, " run"]:
        """At coefficient 1."""
        return dot(weights, weights, axes=1) / 2


class Nuclear(Penalty):
    """Sum of the singular values of all weight matrices: their nuclear norms.

    A matrix is the last two axes of a trained tensor that is no bias: of attention's `[head d_model d_head]` each
    head's own, and embeddings as well. Biases and LayerNorm are not counted. The gradient is U V^T over the
    singular values that are not zero to rounding (`_singular_values`); for zero ones it is the subgradient 0.

    The decompositions are the price: 30 ms per step and run for the network of Nanda et al. on one slow core.
    """

    kind = "nuclear"
    formula = "sum over matrices of sum_i s_i"
    source = f"{_BEYOND_L2}, there for solutions of low rank"
    nuclear: Coefficient

    @staticmethod
    def rule(weights: Params) -> Float[Tensor, " run"]:
        """At coefficient 1."""
        return reduce(torch.add, (values.flatten(1).sum(-1) for values in _singular_values(weights)))


class SpectralEntropy(Penalty):
    """Sum over all weight matrices of the entropy of their singular values' shares, in nats.

    0 for a matrix of rank one, up to ln(min(rows, columns)) for equal singular values; the exponential is the
    effective rank of Roy and Vetterli 2007. It does not change with the scale of a matrix and thus never pushes
    along the radius of one. Matrices, and the price, are those of `nuclear`.

    Towards zero the slope in a singular value grows as its -ln, without bound; one that is zero to rounding
    adds nothing and is left alone, as is a matrix of zeros.
    """

    kind = "spectral_entropy"
    formula = "sum over matrices of -sum_i q_i ln q_i, q = s / sum s"
    source = "DeMoss et al. 2024 (arXiv:2412.09810)"
    spectral_entropy: Coefficient

    @staticmethod
    def rule(weights: Params) -> Float[Tensor, " run"]:
        """At coefficient 1."""
        return reduce(torch.add, (_entropy(values).sum(-1) for values in _singular_values(weights)))


class TargetNorm(Penalty):
    """Squared distance of the norm of all trained numbers from `target_radius`.

    With R above the present norm it pulls outwards: the anti-regularization of the gradient-surfing post. The
    gradient is radial, 2 (r - R) w / r; it has no value at w = 0.
    """

    kind = "target_norm"
    capturable = True
    formula = "(r - R)^2, r = |w|"
    source = f"{_SURFING}, with R above the norm that training finds"
    target_norm: Coefficient
    target_radius: Annotated[float, PER_RUN] = Field(gt=0, description="norm that target_norm aims at")

    @staticmethod
    def rule(weights: Params, target_radius: Tensor) -> Float[Tensor, " run"]:
        """At coefficient 1."""
        return (norm(weights, axes=1) - target_radius).square()


class AntiDecay(Penalty):
    """Minus the sum of squares of all trained numbers: a reward for a growing norm.

    It is unbounded below. Nothing but the data loss, the learning rate and the length of training holds the norm;
    take a small coefficient, or `target_norm`.
    """

    kind = "anti_decay"
    capturable = True
    formula = "-sum w^2"
    source = "Golechha 2024 (arXiv:2405.12755), there times 2e-10"
    anti_decay: Coefficient

    @staticmethod
    def rule(weights: Params) -> Float[Tensor, " run"]:
        """At coefficient 1."""
        return -dot(weights, weights, axes=1)


class Repulsion(Penalty):
    """Minus a bounded reward for the displacement d of all trained numbers from `start`.

    Near the start it is -|d|^2 / 2, and far away it levels off at -B^2, B = `repel_bound`. The force, |d| exp(-|d|^2 /
    (2 B^2)), is largest at |d| = B, where it is B / sqrt(e) = 0.61 B; at 3 B it is 0.033 B, and 1 % of the reward is
    left to earn. At the start itself it is zero: a run that starts there is moved by the loss first.
    """

    kind = "repulsion"
    capturable = True
    formula = "-B^2 (1 - exp(-|w - w0|^2 / (2 B^2)))"
    source = f"{_SURFING}; this bounded form is ours"
    from_start = True
    repulsion: Coefficient
    repel_from: Annotated[str | None, PER_RUN] = Field(
        default=None, pattern=CHECKPOINT, description="checkpoint RUN_FOLDER@STEP that repulsion leaves; none: step 0"
    )
    repel_bound: Annotated[float, PER_RUN] = Field(
        default=1.0, gt=0, description="distance beyond which repulsion fades"
    )

    @property
    def start_checkpoint(self) -> str | None:
        """Where it is repelled from."""
        return self.repel_from

    @staticmethod
    def rule(weights: Params, start: Params, repel_bound: Tensor) -> Float[Tensor, " run"]:
        """At coefficient 1."""
        away = combine(lambda value, start: value.double() - start.double(), weights, start)
        square = repel_bound.square()
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
