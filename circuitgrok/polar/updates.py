"""One step of training in polar coordinates: what each part of the applied update does to norm and direction.

The step from theta to theta' is a sum of parts,

    gradient     what Adam makes of the present gradient alone: -lr (1 - b1) g / (1 - b1^t) / (sqrt(v^) + eps)
    momentum     the rest of Adam's step, from gradients of the past
    decay        -lr weight_decay theta
    constraint   what holding a norm or a direction adds afterwards

and each part is split along u = theta / r and across it. A part's radial component says how it moves the
norm by itself; a purely tangential step still ends at a larger norm, r'^2 = (r + radial)^2 + tangential^2.
Everything is a difference of the weights themselves, in float64, and so of the update that was applied.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.tree import ROLES, Params, combine, dot, norm, role

PARTS = ("gradient", "momentum", "decay", "constraint")
Columns = dict[str, Float[Tensor, " run"]]


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


def update_columns(at: Params, gradient: Params, parts: Mapping[str, Params]) -> Columns:
    """A step's parts in polar coordinates: of all weights together and of each role.

    Args:
        at: The weights before the step, `[run ...]`.
        gradient: Of the training loss there.
        parts: The parts of the step, by name; their sum, the applied step, is added as "applied".

    Returns:
        For all weights as `name[part]`, for a role as `name[part, role]`, in the units of the weights:
        `update_radial` (positive outwards) and `update_tangential` (a length). Further `update_angle`, the angle
        in radians between the weights before and after; `angular_rate`, the effective angular learning rate
        -<step, g> / (r^2 |g|^2), both taken across the radius: what gradient descent on the sphere of
        directions would have to have as its rate (lr / r^2 for plain gradient descent); and `cos_descent`, the cosine
        of -gradient to the weights, also by tensor: positive where descent makes the weights larger.
        nan where a length that divides is zero.

    Raises:
        ValueError: A part has other tensors than the weights.

    Example:
        >>> at = {"embed.W_E": torch.tensor([[3.0, 4.0]])}
        >>> step = {"embed.W_E": torch.tensor([[-0.6, -0.8]])}
        >>> columns = update_columns(at, step, {"decay": step})
        >>> columns["update_radial[applied]"].round(decimals=6), columns["update_angle"].round(decimals=6)
        (tensor([-1.], dtype=torch.float64), tensor([0.], dtype=torch.float64))
    """
    for name, part in parts.items():
        if part.keys() != at.keys():
            raise ValueError(
                f"part {name!r} and the weights differ in their tensors: {sorted(part.keys() ^ at.keys())}"
            )
    total = combine(lambda *pieces: sum(piece.double() for piece in pieces[1:]) + 0 * pieces[0], at, *parts.values())
    every = {**parts, "applied": total}
    groups = {"": list(at)} | {kind: [name for name in at if role(name) == kind] for kind in ROLES}
    columns: Columns = {}
    for group, names in groups.items():
        if names:
            here, uphill = ({name: tree[name] for name in names} for tree in (at, gradient))
            moved = {part: {name: tree[name] for name in names} for part, tree in every.items()}
            columns |= _group_columns(here, uphill, moved, group)
    cosines = {f"cos_descent[{n}]": _cosine_of_descent({n: at[n]}, {n: gradient[n]}) for n in at}
    return columns | cosines


def _group_columns(at: Params, gradient: Params, parts: Mapping[str, Params], group: str) -> Columns:
    r = norm(at, axes=1)
    suffix, alone = (f", {group}", f"[{group}]") if group else ("", "")
    columns, radial = {}, {}
    for name, part in parts.items():
        radial[name] = dot(part, at, axes=1) / r
        columns[f"update_radial[{name}{suffix}]"] = radial[name]
        columns[f"update_tangential[{name}{suffix}]"] = norm(_across(part, at), axes=1)
    uphill = _across(gradient, at)
    turned = torch.atan2(columns[f"update_tangential[applied{suffix}]"], r + radial["applied"])
    return columns | {
        f"update_angle{alone}": turned,
        f"angular_rate{alone}": -dot(parts["applied"], uphill, axes=1) / (r.square() * dot(uphill, uphill, axes=1)),
        f"cos_descent{alone}": _cosine_of_descent(at, gradient),
    }


def _cosine_of_descent(at: Params, gradient: Params) -> Tensor:
    return -dot(gradient, at, axes=1) / (norm(gradient, axes=1) * norm(at, axes=1))


def _across(vector: Params, at: Params) -> Params:
    """What is left of a vector across the weights."""
    share = dot(vector, at, axes=1) / dot(at, at, axes=1)
    return combine(lambda x, w: x.double() - share.view(-1, *[1] * (w.ndim - 1)) * w.double(), vector, at)
