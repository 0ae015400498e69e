"""Arithmetic on `Params`: a model is a dict of tensors under TransformerLens' classic names.

A collection of models (runs while training, checkpoints while measuring, chains while sampling) is
the same dict with one more axis in front. Every function here takes both: `axes` says how many
leading axes are stack axes, and whatever is summed is summed over the rest. Inner products are
accumulated in float64, because a norm is a sum of 10^5 squares and angles are differences of norms.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

Params = dict[str, Tensor]
Role = Literal["embed", "attention", "mlp", "unembed", "normalization"]
ROLES: tuple[Role, ...] = get_args(Role)


def role(name: str) -> Role:
    """The part of the network that a tensor belongs to.

    Positions belong to `embed`. Names are matched by their path, never by a substring such as
    `"b_"` or `"embed"` (which would also catch the unembedding).

    >>> role("blocks.0.attn.W_Q"), role("unembed.W_U"), role("pos_embed.W_pos")
    ('attention', 'unembed', 'embed')
    """
    path = name.split(".")
    first, parent = path[0], (path[-2] if len(path) > 1 else "")
    if first in ("embed", "pos_embed"):
        return "embed"
    if first == "unembed":
        return "unembed"
    if first == "ln_final" or parent in ("ln1", "ln2"):
        return "normalization"
    if parent == "attn":
        return "attention"
    if parent == "mlp":
        return "mlp"
    raise ValueError(f"no role is known for a tensor named {name!r}; known roles are {', '.join(ROLES)}")


def is_bias(name: str) -> bool:
    """Whether the tensor is a bias: its own name (the last part of the path) starts with `b`.

    >>> is_bias("blocks.0.mlp.b_in"), is_bias("embed.W_E"), is_bias("blocks.0.ln1.b")
    (True, False, True)
    """
    return name.rsplit(".", 1)[-1].startswith("b")


def dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor], axes: int = 0) -> Tensor:
    """Inner product over all tensors, in float64, one number for each index of the stack axes.

    >>> dot({"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([3.0, 4.0])}).item()
    25.0
    """
    total: Tensor | None = None
    for name, value in a.items():
        term = (value.double() * b[name].double()).unsqueeze(-1).flatten(axes).sum(-1)
        total = term if total is None else total + term
    if total is None:
        raise ValueError("an inner product of empty Params has no value")
    return total


def norm(params: Mapping[str, Tensor], axes: int = 0) -> Tensor:
    """Euclidean norm of all tensors taken as one vector, in float64.

    >>> norm({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}).item()
    5.0
    """
    return dot(params, params, axes).sqrt()


def along(numbers: Tensor, like: Tensor) -> Tensor:
    """One number for each index of the stack axes, ready to meet a tensor that has more axes behind.

    >>> along(torch.tensor([1.0, 2.0]), torch.ones(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    return numbers.view(*numbers.shape, *[1] * (like.ndim - numbers.ndim))


def combine(f: Callable[..., Tensor], *trees: Mapping[str, Tensor]) -> Params:
    """`f` applied to the tensors of equal name.

    >>> combine(torch.add, {"w": torch.ones(2)}, {"w": torch.ones(2)})
    {'w': tensor([2., 2.])}
    """
    return {name: f(*(tree[name] for tree in trees)) for name in trees[0]}


def scaled(numbers: Tensor, tensors: Mapping[str, Tensor]) -> Params:
    """Each index of the stack axes times its number, in float64.

    >>> scaled(torch.tensor([1.0, 2.0]), {"w": torch.tensor([[3.0], [4.0]])})
    {'w': tensor([[3.],
            [8.]], dtype=torch.float64)}
    """
    return combine(lambda x: along(numbers, x) * x.double(), tensors)


def rescale(tensors: Mapping[str, Tensor], factor: Tensor) -> None:
    """Multiply in place each index of the stack axes by its number, rounded to the tensors' dtype before.

    >>> weights = {"w": torch.ones(2, 3)}
    >>> rescale(weights, torch.tensor([1.0, 2.0]))
    >>> weights["w"].sum(1)
    tensor([3., 6.])
    """
    for value in tensors.values():
        value.mul_(along(factor.to(value.dtype), value))


def stack(trees: Iterable[Mapping[str, Tensor]]) -> Params:
    """Equal-shaped `Params` as one, with a new axis in front.

    >>> stack([{"w": torch.zeros(3)}, {"w": torch.ones(3)}])["w"].shape
    torch.Size([2, 3])
    """
    listed = list(trees)
    return {name: torch.stack([tree[name] for tree in listed]) for name in listed[0]}


def unstack(stacked: Mapping[str, Tensor]) -> list[Params]:
    """The inverse of `stack`: one `Params` (views) for each index of the first axis.

    >>> [t["w"].item() for t in unstack({"w": torch.tensor([1.0, 2.0])})]
    [1.0, 2.0]
    """
    length = next(iter(stacked.values())).shape[0]
    return [{name: value[i] for name, value in stacked.items()} for i in range(length)]


def ravel(params: Mapping[str, Tensor], axes: int = 0) -> Tensor:
    """All tensors flattened and concatenated, in the dict's order: `[*stack, total]`.

    >>> ravel({"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([3.0])})
    tensor([1., 2., 3.])
    """
    return torch.cat([value.unsqueeze(-1).flatten(axes) for value in params.values()], dim=-1)


def unravel(flat: Tensor, like: Mapping[str, Tensor]) -> Params:
    """Views into `[*stack, total]` with the names and (unstacked) shapes of `like`.

    Trailing numbers of `flat` beyond the total of `like` are padding and left alone.

    >>> unravel(torch.arange(3.0), {"a": torch.zeros(1, 2), "b": torch.zeros(1)})["a"]
    tensor([[0., 1.]])
    """
    views, start = {}, 0
    for name, value in like.items():
        size = math.prod(value.shape)
        views[name] = flat[..., start : start + size].view(flat.shape[:-1] + value.shape)
        start += size
    return views
