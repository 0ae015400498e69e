"""The two costly parts of a one-layer step, plainly and with hand-written, in-place gradients.

From the attention weights a_i and values v_i of the three positions, with everything linear multiplied out,

    z      = sum_i a_i v_i[token_i]                         (`weighted_values`)
    post   = act(constant_pre + z A)                        A = W_O W_in            (`readout`)
    logits = constant_out + post W + z W_skip               W = W_out W_U,  W_skip = W_O W_U

the readout holds the step's big matrix products: two forward, four backward. Autograd keeps a fresh
copy of every intermediate, and at p = 113 the page faults of those buffers cost as much as two of the
products. Written by hand, masks work in place, and the largest buffers are kept from step to step in a
`Workspace`. The fused forms give first derivatives only, and one backward per forward.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok import apart
from circuitgrok.apart import Arithmetic, bmm, placed, room


class Rows(NamedTuple):
    """Vectors at one position: `rows[token]` for each pair; without token a row per pair (or one for all)."""

    rows: Tensor
    token: Tensor | None

    def map(self, f: Callable[[Tensor], Tensor]) -> "Rows":
        """The same pairs, another vector for each row."""
        return Rows(f(self.rows), self.token)

    def flat_token(self) -> Tensor:
        """The token of each pair as a row of `rows` with its stack axis flattened."""
        assert self.token is not None
        stack, n_rows, _ = self.rows.shape
        first = n_rows * torch.arange(stack, device=self.rows.device)[:, None]
        return (self.token.expand(stack, -1) + first).reshape(-1)

    def spread(self) -> Tensor:
        """One row per pair (a single row stays single and broadcasts)."""
        if self.token is None:
            return self.rows
        if self.rows.ndim == 2:
            return self.rows.index_select(0, self.token)
        stack, _, width = self.rows.shape
        return self.rows.reshape(-1, width).index_select(0, self.flat_token()).view(stack, -1, width)


class Workspace:
    """Buffers that a stack's training steps write into again and again."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def buffer(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """A `room` of that shape, with the dtype and device of `like`; its content is left over."""
        found = self._buffers.get(name)
        if found is None or found.shape != shape or found.dtype != like.dtype or found.device != like.device:
            found = self._buffers[name] = room(like, *shape)
        return found

    def dense(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """The same in one piece: for what is only moved, added and multiplied element by element."""
        return self.buffer(name, like, 1, *shape)[0]


class Kernels(NamedTuple):
    """How the two parts are computed, plainly or fused, and by what arithmetic all the rest."""

    weighted_values: Callable[[Sequence[Tensor], Sequence[Rows]], Tensor]
    readout: Callable[..., Tensor]
    arithmetic: Arithmetic


def weighted_values(weights: Sequence[Tensor], values: Sequence[Rows]) -> Tensor:
    """Mix of the positions' values for each pair, by plain operations: `[*stack, pair, head * d_head]`.

    Args:
        weights: For each position the attention paid to it, `[*stack, pair, head]`.
        values: For each position its values, heads side by side.
    """
    n_heads = weights[0].shape[-1]
    mixed = [
        weight.unsqueeze(-1) * value.spread().unflatten(-1, (n_heads, -1))
        for weight, value in zip(weights, values, strict=True)
    ]
    return sum(mixed[1:], start=mixed[0]).flatten(-2)


def readout(
    arithmetic: Arithmetic,
    z: Float[Tensor, "*stack pair hd"],
    A: Float[Tensor, "*stack hd d_mlp"],
    constant_pre: Float[Tensor, "*stack 1 d_mlp"],
    W: Float[Tensor, "*stack d_mlp c"],
    W_skip: Float[Tensor, "*stack hd c"],
    constant_out: Float[Tensor, "*stack 1 c"],
    act: Callable[[Tensor], Tensor],
) -> Float[Tensor, "*stack pair c"]:
    """Logits from the mixed values, by plain operations."""
    product = arithmetic.product
    return product(act(product(z, A) + constant_pre), W) + product(z, W_skip) + constant_out


PLAIN = Kernels(weighted_values, partial(readout, apart.PLAIN), apart.PLAIN)
APART = Kernels(weighted_values, partial(readout, apart.APART), apart.APART)


def fused(workspace: Workspace, act: str) -> Kernels:
    """The fused forms, for a stack of one-layer networks; the readout only for ReLU."""
    relu = partial(_fused_readout, workspace)
    return Kernels(partial(_fused_values, workspace), relu if act == "relu" else APART.readout, apart.APART)


def _fused_values(workspace: Workspace, weights: Sequence[Tensor], values: Sequence[Rows]) -> Tensor:
    first, second, last = values
    tokens = first.flat_token(), second.flat_token()
    return _WeightedValues.apply(workspace, tokens, *weights, first.rows, second.rows, last.rows)  # pyright: ignore


def _fused_readout(workspace: Workspace, *operands: Any) -> Tensor:
    return _ReluReadout.apply(workspace, *operands[:-1])  # pyright: ignore


class _WeightedValues(torch.autograd.Function):
    """`weighted_values` where two positions hold tables and the third one row for all pairs."""

    @staticmethod
    def forward(ctx, workspace, tokens, a0, a1, a2, v0, v1, v2):
        stack, pairs, heads = a0.shape
        width = v0.shape[-1]
        spread = [
            torch.index_select(
                v.reshape(-1, width), 0, token, out=workspace.buffer(name, v, 1, stack * pairs, width)[0]
            )
            for name, v, token in (("v0", v0, tokens[0]), ("v1", v1, tokens[1]))
        ]
        x0, x1 = (x.view(stack, pairs, heads, -1) for x in spread)
        z = torch.mul(x0, a0.unsqueeze(-1), out=room(x0, *x0.shape))
        z.addcmul_(x1, a1.unsqueeze(-1)).addcmul_(v2.view(stack, 1, heads, -1), a2.unsqueeze(-1))
        ctx.save_for_backward(a0, a1, a2, x0, x1, v2)
        ctx.workspace, ctx.tokens, ctx.n_rows = workspace, tokens, (v0.shape[-2], v1.shape[-2])
        return z.flatten(-2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        a0, a1, a2, x0, x1, v2 = ctx.saved_tensors
        stack, pairs, heads, d_head = x0.shape
        split = grad.reshape(stack, pairs, heads, d_head)
        scratch = ctx.workspace.dense("scratch", x0, *x0.shape)
        last = v2.view(stack, 1, heads, d_head)
        grad_a = [torch.mul(split, x, out=scratch).sum(-1) for x in (x0, x1, last)]
        grad_v = []
        for a, token, n_rows in zip((a0, a1), ctx.tokens, ctx.n_rows, strict=True):
            table = grad.new_zeros(stack * n_rows, heads * d_head)
            torch.mul(split, a.unsqueeze(-1), out=scratch)
            table.index_add_(0, token, scratch.view(stack * pairs, -1))
            grad_v.append(table.view(stack, n_rows, -1))
        by_head = bmm(placed(a2.mT), placed(grad)).view(
            stack, heads, heads, d_head
        )  # the diagonal pairs each head with itself
        grad_v.append(by_head.diagonal(dim1=1, dim2=2).mT.reshape(stack, 1, -1))
        return None, None, *grad_a, *grad_v


class _ReluReadout(torch.autograd.Function):
    """`readout` with act = ReLU."""

    @staticmethod
    def forward(ctx, workspace, z, A, constant_pre, W, W_skip, constant_out):
        z, A, W, W_skip = placed(z), placed(A), placed(W), placed(W_skip)
        post = workspace.buffer("post", z, *z.shape[:2], A.shape[-1])
        torch.baddbmm(constant_pre, z, A, out=post).relu_()
        ctx.save_for_backward(z, A, W, W_skip, post)
        ctx.workspace = workspace
        logits = room(z, *z.shape[:2], W.shape[-1])
        return torch.baddbmm(constant_out, post, W, out=logits).baddbmm_(z, W_skip)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        z, A, W, W_skip, post = ctx.saved_tensors
        grad = placed(grad)
        grad_pre = torch.bmm(grad, W.mT, out=ctx.workspace.buffer("grad_pre", post, *post.shape))
        torch.ops.aten.threshold_backward.grad_input(grad_pre, post, 0, grad_input=grad_pre)
        return (
            None,
            bmm(grad, W_skip.mT).baddbmm_(grad_pre, A.mT),
            bmm(z.mT, grad_pre),
            grad_pre.sum(1, keepdim=True),
            bmm(post.mT, grad),
            bmm(z.mT, grad),
            grad.sum(1, keepdim=True),
        )
