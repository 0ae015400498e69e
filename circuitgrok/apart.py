"""Arithmetic of a stack in which every run is computed exactly as it is alone.

Which bits a product has depends on more than its numbers: a library may take another path where a matrix begins
off a 64-byte boundary, and a loop over a vector does its last elements, which fill no register, one by one. In a
stack `[run ...]` that lies in one piece both come out otherwise than for the run alone, on some processors. So here

    room     a tensor whose runs each begin on a 64-byte boundary, as the tensor of one run does, with a gap between
             them: torch cannot take it for one batch, and multiplies one run after the other
    placed   a tensor as it is, if its runs begin so, or else its copy in a room

and what is not rounded exactly goes from placed tensors into rooms: a product by the same call of the library as for
the run alone, an exponential by the same call of torch. One run needs neither and gets the plain operation. Sums,
products, quotients and roots of two elements are rounded exactly wherever they lie, and stay torch's own; so do sums
along an axis, which are taken run by run.

All this is for the CPU. On another device every operation here is torch's own, for all runs at once; what a run's
bits are in a stack there is not promised.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok import onednn
from circuitgrok.device import is_elsewhere

LINE = 64  # bytes: the boundary on which torch's own tensors begin, and the widest register
LINE_ROWS = 16  # so many rows fill whole lines, whatever their width, of numbers of 4 bytes or more

Activation = Callable[[Tensor], Tensor]


class Arithmetic(NamedTuple):
    """The operations of a network that are not rounded exactly.

    Attributes:
        product: Of two matrices, or of the matrices of two stacks.
        affine: x W + b, of x, W and b.
        exp: Of every element.
        activations: By name.
        ones: What sums over pairs by their tokens, of tokens and a table: see `ones`; None for torch's own sums.
    """

    product: Callable[[Tensor, Tensor], Tensor]
    affine: Callable[[Tensor, Tensor, Tensor], Tensor]
    exp: Activation
    activations: dict[str, Activation]
    ones: Callable[[Tensor, Tensor], Tensor | None]


def is_plain(x: Float[Tensor, "run ..."]) -> bool:
    """Whether plain operations do for a stack: it is of one run, or not on the CPU.

    >>> is_plain(torch.ones(1, 2)), is_plain(torch.ones(3, 2)), is_plain(torch.ones(3, 2, device="meta"))
    (True, False, True)
    """
    return x.shape[0] == 1 or x.device.type != "cpu"


# --- where runs lie ---------------------------------------------------------------------------------


def room(like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """An uninitialised tensor `[run ...]` on the device of `like`, in its dtype or another, whose runs lie apart.

    Elsewhere than on the CPU it is in one piece.

    >>> one, three = (room(torch.ones(1), runs, 5, 7) for runs in (1, 3))
    >>> one.stride(), three.stride(), room(torch.ones(1, device="meta"), 3, 5, 7).stride()
    ((35, 7, 1), (48, 7, 1), (35, 7, 1))
    """
    dtype = dtype or like.dtype
    if is_elsewhere(like.device):
        return torch.empty(shape, dtype=dtype, device=like.device)
    return torch.empty_strided(shape, _strides(shape, dtype.itemsize), dtype=dtype, device=like.device)


def rows_apart(like: Tensor, runs: int, n: int, width: int) -> Float[Tensor, "run n width"]:
    """A `room` whose runs are a whole number of rows apart, so that all rows can be counted through.

    >>> one, three = (rows_apart(torch.ones(1), runs, 5, 7) for runs in (1, 3))
    >>> one.stride(), three.stride()
    ((35, 7, 1), (112, 7, 1))
    """
    return like.new_empty(runs, n if is_elsewhere(like.device) else spacing(runs, n), width)[:, :n]


def spacing(runs: int, n: int) -> int:
    """The rows from one run to the next in `rows_apart`: whole lines, and never without a gap."""
    return n if runs == 1 else (n // LINE_ROWS + 1) * LINE_ROWS


def placed(x: Float[Tensor, "run ..."]) -> Float[Tensor, "run ..."]:
    """The tensor, or its copy if its runs begin on other places of a line than they would alone.

    >>> apart, dense = torch.zeros(3, 4, 16), torch.zeros(3, 5, 7)
    >>> placed(apart) is apart, placed(dense) is dense, placed(dense[:1]).data_ptr() == dense.data_ptr()
    (True, False, True)
    """
    if is_plain(x) or x.stride(0) * x.itemsize % LINE == 0:
        return x
    x = x if all(x.stride()[1:]) else x.contiguous()
    first = _gapped(1 + sum((size - 1) * x.stride(i) for i, size in enumerate(x.shape[1:], 1)), x.itemsize)
    return torch.empty_strided(x.shape, (first, *x.stride()[1:]), dtype=x.dtype, device=x.device).copy_(x)


@lru_cache
def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Of a room."""
    first, *within = (math.prod(shape[axis:]) for axis in range(1, len(shape) + 1))
    return first if shape[0] == 1 else _gapped(first, itemsize), *within


def _gapped(extent: int, itemsize: int) -> int:
    """The numbers from one run to the next, if each takes so many: whole lines, and never without a gap."""
    line = LINE // itemsize
    return (extent // line + 1) * line


# --- operations -------------------------------------------------------------------------------------


def product(a: Float[Tensor, "*run n k"], b: Float[Tensor, "*run k m"]) -> Float[Tensor, "*run n m"]:
    """a b, of each run as of the run alone. In a stack, or by oneDNN, it may be differentiated once.

    >>> a, b = torch.ones(3, 5, 2), torch.ones(3, 2, 7)
    >>> torch.equal(product(a, b), a @ b)
    True
    """
    if a.ndim == 2 or is_plain(a) and not onednn.multiplies(a, b):
        return a @ b
    return _Product.apply(a, b)  # pyright: ignore


def affine(
    x: Float[Tensor, "*run row k"], weight: Float[Tensor, "*run k width"], bias: Float[Tensor, "*run width"]
) -> Float[Tensor, "*run row width"]:
    """x W + b, of each run as of the run alone. In a stack it may be differentiated once."""
    if weight.ndim == 2 or is_plain(weight):
        return plain_affine(x, weight, bias)
    return _Affine.apply(x, weight, bias)  # pyright: ignore


def exp(x: Float[Tensor, "run ..."]) -> Float[Tensor, "run ..."]:
    """The exponential of every element, of each run as of the run alone.

    >>> exp(torch.zeros(2, 3))
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    return x.exp() if is_plain(x) else _Exp.apply(x)  # pyright: ignore


def each(f: Callable[..., Tensor], *tensors: Float[Tensor, "run ..."]) -> Float[Tensor, "run ..."]:
    """Any function of a run's numbers, of one run after the other: for few numbers, or where each takes long.

    >>> each(torch.atan2, torch.zeros(3), torch.ones(3))
    tensor([0., 0., 0.])
    """
    if tensors[0].ndim == 0 or is_plain(tensors[0]):
        return f(*tensors)
    return torch.cat([f(*(x.clone() for x in run)) for run in zip(*(x.split(1) for x in tensors), strict=True)])


def ones(tokens: Int[Tensor, "*run pair"], table: Float[Tensor, "run row width"]) -> Tensor | None:
    """1 where a pair's token is the row of a table, else 0, `[run row pair]`; None on the CPU.

    Its product with slopes of pairs is the slope of the table. Elsewhere torch sums rows with equal tokens in the order
    in which threads come by, or waits for the device to look at the tokens.

    >>> ones(torch.tensor([[1, 0]], device="meta"), torch.zeros(1, 3, 2, device="meta")).shape
    torch.Size([1, 3, 2])
    """
    if not is_elsewhere(table.device):
        return None
    tokens = tokens.expand(len(table), -1)
    rows = torch.arange(table.shape[1], device=table.device)
    return (tokens.unsqueeze(1) == rows[:, None]).to(table.dtype)


def picked(
    table: Float[Tensor, "run row width"], places: Int[Tensor, " place"], ones: Float[Tensor, "run row pair"]
) -> Float[Tensor, "run pair width"]:
    """Rows of tables that lie one after the other, with a slope that is a product with `ones`.

    >>> table = torch.tensor([[[1.0], [2.0], [3.0]]], requires_grad=True)
    >>> found = picked(table, torch.tensor([2, 2, 0]), torch.tensor([[[0.0, 0, 1], [0, 0, 0], [1, 1, 0]]]))
    >>> found.flatten().tolist(), torch.autograd.grad(found.sum(), table)[0].flatten().tolist()
    ([3.0, 3.0, 1.0], [1.0, 0.0, 2.0])
    """
    return _Picked.apply(table, places, ones)  # pyright: ignore


class _Picked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, places, ones):
        ctx.save_for_backward(ones)
        return table.reshape(-1, table.shape[-1]).index_select(0, places).view(len(table), -1, table.shape[-1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        [ones] = ctx.saved_tensors
        return torch.bmm(ones, grad), None, None


def plain_affine(
    x: Float[Tensor, "*stack row k"], weight: Float[Tensor, "*stack k width"], bias: Float[Tensor, "*stack width"]
) -> Float[Tensor, "*stack row width"]:
    """x W + b."""
    if weight.ndim == 2:
        return torch.addmm(bias, x, weight)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight)


def bmm(a: Tensor, b: Tensor, laid: Callable[..., Tensor] = room) -> Tensor:
    """The product of two stacks that are placed, into a room or what else is `laid`; not to be differentiated."""
    if not onednn.multiplies(a, b):
        return torch.bmm(a, b, out=laid(a, a.shape[0], a.shape[1], b.shape[2]))
    if a.shape[0] == 1:
        return onednn.product(a[0], b[0])[None]
    products = laid(a, a.shape[0], a.shape[1], b.shape[2])
    for of_run, *factors in zip(products, a, b, strict=True):
        of_run.copy_(onednn.product(*factors))
    return products


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        a, b = placed(a), placed(b)
        ctx.save_for_backward(a, b)
        return bmm(a, b)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        return _slopes(ctx, grad)


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        x, weight = placed(x), placed(weight)
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias.unsqueeze(-2), x, weight, out=room(x, *x.shape[:2], weight.shape[2]))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        return *_slopes(ctx, grad), grad.sum(1) if ctx.needs_input_grad[2] else None


def _slopes(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """By the factors of a product."""
    a, b = ctx.saved_tensors
    grad = placed(grad)
    by_a, by_b = ctx.needs_input_grad[:2]
    return bmm(grad, b.mT) if by_a else None, bmm(a.mT, grad) if by_b else None


class _Exp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        value = torch.exp(placed(x), out=room(x, *x.shape))
        ctx.save_for_backward(value)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad * ctx.saved_tensors[0]


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x, value = placed(x), room(x, *x.shape)
        for run in zip(x.split(1), value.split(1), strict=True):
            torch.ops.aten.gelu.out(run[0], out=run[1])  # of one piece: torch does others by another kernel
        ctx.save_for_backward(x)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        [x] = ctx.saved_tensors
        slope = room(x, *x.shape)
        for run in zip(placed(grad).split(1), x.split(1), slope.split(1), strict=True):
            torch.ops.aten.gelu_backward.grad_input(run[0], run[1], grad_input=run[2])
        return slope


class _Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        value = torch.tanh(placed(x), out=room(x, *x.shape))
        ctx.save_for_backward(value)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        [value] = ctx.saved_tensors
        return torch.ops.aten.tanh_backward.grad_input(grad, value, grad_input=room(value, *value.shape))


def _gelu(x: Tensor) -> Tensor:
    return torch.nn.functional.gelu(x) if is_plain(x) else _Gelu.apply(x)  # pyright: ignore


def _tanh(x: Tensor) -> Tensor:
    return torch.tanh(x) if is_plain(x) else _Tanh.apply(x)  # pyright: ignore


ACTIVATIONS: dict[str, Activation] = {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "tanh": torch.tanh}
PLAIN = Arithmetic(torch.matmul, plain_affine, torch.exp, ACTIVATIONS, lambda tokens, table: None)
APART = Arithmetic(product, affine, exp, ACTIVATIONS | {"gelu": _gelu, "tanh": _tanh}, ones)
