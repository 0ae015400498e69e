"""One step of training in polar coordinates: what each part of the applied update does to norm and direction.

The step from theta to theta' is a sum of parts,

    gradient     what Adam makes of the present gradient alone: -lr (1 - b1) g / (1 - b1^t) / (sqrt(v^) + eps)
    momentum     the rest of Adam's step, from gradients of the past
    decay        -lr weight_decay theta
    noise        what is added to the weights at random, if anything is
    constraint   what holding a norm or a direction adds afterwards

(for other rules `interventions.optimizers` says the gradient's part; Lion's and Muon's steps are no sum over
gradients and stand whole under gradient), and each part is split along u = theta / r and across it. A part's
radial component says how it moves the norm by itself; a purely tangential step still ends at a larger norm,
r'^2 = (r + radial)^2 + tangential^2.
Everything is a difference of the weights themselves, in float64, and so of the update that was applied.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok import apart
from circuitgrok.geometry import across
from circuitgrok.tree import ROLES, Params, combine, dot, norm, role

Columns = dict[str, Float[Tensor, " run"]]


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
        columns[f"update_tangential[{name}{suffix}]"] = norm(across(part, at, axes=1), axes=1)
    uphill = across(gradient, at, axes=1)
    aside, ahead = columns[f"update_tangential[applied{suffix}]"], r + radial["applied"]
    turned = apart.each(torch.atan2, aside, ahead)
    return columns | {
        f"update_angle{alone}": turned,
        f"angular_rate{alone}": -dot(parts["applied"], uphill, axes=1) / (r.square() * dot(uphill, uphill, axes=1)),
        f"cos_descent{alone}": _cosine_of_descent(at, gradient),
    }


def _cosine_of_descent(at: Params, gradient: Params) -> Tensor:
    return -dot(gradient, at, axes=1) / (norm(gradient, axes=1) * norm(at, axes=1))
