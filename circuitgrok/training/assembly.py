"""From the configs of a stack to the objects that train it, each acting on all runs at once.

Every number that a config holds becomes a tensor `[run]`; which objects there are is the same for all runs of a
stack (`TrainConfig.stack_key`). Nothing here knows the loop, and the loop knows no config field.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.interventions import constraints as norms
from circuitgrok.interventions import gradients, noise, optimizers
from circuitgrok.interventions.losses import LOSSES, Loss, LowPrecisionCrossEntropy, SmoothedCrossEntropy
from circuitgrok.interventions.penalties import PENALTIES, Anchor
from circuitgrok.interventions.spheres import Spheres
from circuitgrok.models.dropout import Dropout
from circuitgrok.tree import Params, role

NEVER = -1


class Hold(NamedTuple):
    """A constraint, and when each run's hold begins."""

    constraint: norms.Constraint
    from_step: Int[Tensor, " run"]  # NEVER: not by a step
    from_train_acc: Float[Tensor, " run"]  # NaN: not by this event


class Noises(NamedTuple):
    """The kinds of noise at work; None where a stack has none of a kind."""

    weights: noise.WeightNoise | None
    walk: noise.WalkNoise | None
    gradient: noise.GradientNoise | None
    labels: noise.LabelNoise | None
    rates: tuple[float, float, float] | None  # of dropout

    @property
    def in_forward(self) -> bool:
        """Whether the logits that are trained on are not those of the weights."""
        return self.weights is not None or self.rates is not None


def column(configs: Sequence[TrainConfig], section: str, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """A leaf of every config as a tensor `[run]`; None is NaN."""
    found = [getattr(getattr(config, section), name) for config in configs]
    return torch.tensor([math.nan if value is None else value for value in found], dtype=dtype)


def loss_of(config: TrainConfig) -> Loss:
    """The stack's loss."""
    chosen = config.objective
    if chosen.label_smoothing:
        return SmoothedCrossEntropy(chosen.label_smoothing)
    if chosen.loss_precision != "float64":
        return LowPrecisionCrossEntropy(getattr(torch, chosen.loss_precision))
    return LOSSES[chosen.loss]


def penalties_of(configs: Sequence[TrainConfig]) -> dict[str, Tensor]:
    """Coefficients `[run]` by the penalty's name."""
    names = configs[0].penalties.coefficients
    for name in names:
        if name not in PENALTIES:
            raise UserError(f"penalty {name!r} is not registered here: import the module that defines it")
    return {n: torch.tensor([c.penalties.coefficients[n] for c in configs], dtype=torch.float64) for n in names}


def anchor_of(configs: Sequence[TrainConfig], starts: Params) -> Anchor:
    """What the penalties refer to; `starts` are the weights that repulsion measures from."""
    return Anchor(starts, column(configs, "penalties", "target_radius"), column(configs, "penalties", "repel_bound"))


def transforms_of(configs: Sequence[TrainConfig]) -> list[gradients.GradientTransform]:
    """What is done to the gradient, in order."""
    first, found = configs[0].transforms, []
    if first.grokfast_ema:
        amplitude = column(configs, "transforms", "grokfast_ema")
        found.append(gradients.GrokfastEMA(amplitude, column(configs, "transforms", "grokfast_decay")))
    if first.grokfast_ma:
        found.append(gradients.GrokfastMA(column(configs, "transforms", "grokfast_ma"), first.grokfast_window))
    if first.orthograd != "off":
        kind = {"tensor": gradients.OrthoGradPerTensor, "global": gradients.OrthoGrad}[first.orthograd]
        found.append(kind(column(configs, "transforms", "orthograd_rescale", torch.bool)))
    return found


def stepper_of(configs: Sequence[TrainConfig], flat: Tensor, views: Params) -> optimizers.Stepper:
    """The optimizer, without decay."""
    rule = configs[0].optimizer
    match rule.rule:
        case "adam":
            return optimizers.adam(flat, rule.beta1, rule.beta2, rule.eps)
        case "sgd":
            return optimizers.sgd(flat, rule.momentum)
        case "rmsprop":
            return optimizers.rmsprop(flat, rule.beta2, rule.eps, rule.momentum)
        case "lion":
            return optimizers.lion(flat, rule.beta1, rule.beta2)
        case "muon":
            ratio = 1.0 if rule.lr_rest is None else rule.lr_rest / rule.lr
            return optimizers.muon(flat, views, rule.momentum, rule.beta1, rule.beta2, rule.eps, ratio)


def decay_of(configs: Sequence[TrainConfig], views: Params, flat: Tensor) -> Tensor:
    """Decay per unit of learning rate: `[run 1]`, or `[run number]` if some roles are left out."""
    decay = torch.tensor([[c.optimizer.weight_decay] for c in configs], dtype=flat.dtype)
    roles = {role(name) for name in views}
    if all(roles <= set(c.optimizer.decay_roles) for c in configs):
        return decay
    rows = []
    for config in configs:
        on = [(role(n) in config.optimizer.decay_roles, v[0].numel()) for n, v in views.items()]
        row = torch.cat([torch.full((size,), float(decays), dtype=flat.dtype) for decays, size in on])
        rows.append(torch.nn.functional.pad(row, (0, flat.shape[1] - len(row))))
    return decay * torch.stack(rows)


def holds_of(configs: Sequence[TrainConfig]) -> list[Hold]:
    """The constraints in order: a single rescaling, a cap, then a held norm or direction."""
    chosen, found = [c.constraint for c in configs], []
    never = torch.full((len(configs),), math.nan, dtype=torch.float64)

    def steps(taken: Callable[[Any], int | None]) -> Tensor:
        return torch.tensor([NEVER if (step := taken(c)) is None else step for c in chosen])

    if any(c.rescale_factor != 1 for c in chosen):
        once = steps(lambda c: c.rescale_at_step if c.rescale_factor != 1 else None)
        found.append(Hold(norms.RescaleOnce(column(configs, "constraint", "rescale_factor")), once, never))
    if chosen[0].norm_cap is not None:
        ceilings = Spheres(chosen[0].norm_grain, never, column(configs, "constraint", "norm_cap"))
        found.append(Hold(norms.NormCap(ceilings), steps(lambda c: 0), never))
    event = column(configs, "constraint", "hold_from_train_acc")
    if chosen[0].fixed_direction:
        begins = steps(lambda c: c.direction_from_step if c.hold_from_train_acc is None else None)
        found.append(Hold(norms.FixedDirection(), begins, event))
    elif any(c.fixed_norm for c in chosen):
        begins = steps(lambda c: c.norm_from_step if c.fixed_norm and c.hold_from_train_acc is None else None)
        given = (column(configs, "constraint", name) for name in ("norm_radius", "norm_factor"))
        spheres = Spheres(chosen[0].norm_grain, *given)
        moves = chosen[0].norm_motion == "geodesic"
        held = norms.Geodesic(spheres, chosen[0].norm_transport) if moves else norms.FixedNorm(spheres)
        found.append(Hold(held, begins, event))
    return found


def noises_of(configs: Sequence[TrainConfig]) -> Noises:
    """The stack's kinds of noise."""
    first = configs[0].noise
    tangential = column(configs, "noise", "noise_tangential", torch.bool)
    std = {name: column(configs, "noise", name) for name in ("weight_noise", "walk_noise", "gradient_noise")}
    return Noises(
        noise.WeightNoise(std["weight_noise"], tangential) if first.weight_noise else None,
        noise.WalkNoise(std["walk_noise"], tangential) if first.walk_noise else None,
        noise.GradientNoise(std["gradient_noise"], tangential) if first.gradient_noise else None,
        noise.LabelNoise(column(configs, "noise", "label_noise")) if first.label_noise else None,
        (first.dropout_embed, first.dropout_attention, first.dropout_mlp) if first.drops else None,
    )


def generators(configs: Sequence[TrainConfig], step: int, purpose: str) -> list[torch.Generator]:
    """A generator for each run, from its noise seed, the step and what is drawn."""
    return noise.streams([config.noise.noise_seed for config in configs], purpose, step)


def dropout(configs: Sequence[TrainConfig], rates: tuple[float, float, float], step: int) -> Dropout:
    """The dropout of a step."""
    return Dropout(*rates, generators(configs, step, "dropout"))
