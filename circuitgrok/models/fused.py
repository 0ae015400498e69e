"""The costly parts of a one-layer step, plainly and with hand-written gradients.

From the attention weights a_i and values v_i of the three positions, with everything linear multiplied out,

    z      = sum_i a_i v_i[token_i]                         (`weighted_values`)
    post   = act(constant_pre + z A)                        A = W_O W_in
    logits = constant_out + post W + z W_skip               W = W_out W_U,  W_skip = W_O W_U

The weights of '=' are what the others leave of their sum, so z is a constant and two positions' values less those of
'='; and z A and z W_skip are mixtures of rows of tables (`circuitgrok.models.mixing`), not products. What is left of a
step's big products are the one with W and its two slopes. The fused form gives first derivatives only, and one
backward per forward.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok import apart
from circuitgrok.apart import Arithmetic, bmm, placed, rows_apart
from circuitgrok.device import is_elsewhere
from circuitgrok.models.mixing import Plan, mixtures, plan


class Rows(NamedTuple):
    """Vectors at one position: `rows[token]` for each pair; without token a row per pair (or one for all)."""

    rows: Tensor
    token: Tensor | None
    ones: Tensor | None = None  # what sums over pairs by their tokens, if torch is not to

    def map(self, f: Callable[[Tensor], Tensor]) -> "Rows":
        """The same pairs, another vector for each row."""
        return Rows(f(self.rows), self.token, self.ones)

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
        if self.ones is not None:
            return apart.picked(self.rows, self.flat_token(), self.ones)
        stack, _, width = self.rows.shape
        return self.rows.reshape(-1, width).index_select(0, self.flat_token()).view(stack, -1, width)


class Workspace:
    """What a stack's steps keep of their pairs, as long as these are the same tokens in the same memory."""

    def __init__(self) -> None:
        self._tokens: tuple[Tensor, ...] = ()
        self._known: tuple[object, ...] = ()
        self._plan: Plan | None = None

    def plan(self, tokens: Sequence[Tensor], sizes: Sequence[int], heads: int) -> Plan:
        """`mixing.plan`, made anew if the tokens are others than before."""
        known = (*((x.data_ptr(), x.shape, x.stride(), x._version) for x in tokens), *sizes, heads)
        if self._plan is None or known != self._known:
            self._plan, self._known = plan(tokens, sizes, heads), known
            self._tokens = tuple(tokens)  # so that nothing else can come to lie there
        return self._plan


class Kernels(NamedTuple):
    """How a layer's output is computed, plainly or fused, and by what arithmetic all the rest."""

    readout: Callable[..., Tensor]
    arithmetic: Arithmetic


def weighted_values(weights: Sequence[Tensor], values: Sequence[Rows]) -> Tensor:
    """Mix of the positions' values for each pair: `[*stack, pair, head * d_head]`.

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
    weights: Sequence[Tensor],
    values: Sequence[Rows],
    A: Float[Tensor, "*stack hd d_mlp"],
    constant_pre: Float[Tensor, "*stack 1 d_mlp"],
    W: Float[Tensor, "*stack d_mlp c"],
    W_skip: Float[Tensor, "*stack hd c"],
    constant_out: Float[Tensor, "*stack 1 c"],
    act: str,
) -> Float[Tensor, "*stack pair c"]:
    """Logits from attention weights and values, by plain operations."""
    product, z = arithmetic.product, weighted_values(weights, values)
    neurons = arithmetic.activations[act](product(z, A) + constant_pre)
    return product(neurons, W) + product(z, W_skip) + constant_out


PLAIN = Kernels(partial(readout, apart.PLAIN), apart.PLAIN)


def fused(workspace: Workspace, attention: float) -> Kernels:
    """The fused form, for a stack of one-layer networks whose attention weights always sum to `attention`."""
    return Kernels(partial(_fused_readout, workspace, attention), apart.APART)


def _fused_readout(
    workspace: Workspace,
    attention: float,
    weights: Sequence[Tensor],
    values: Sequence[Rows],
    A: Tensor,
    constant_pre: Tensor,
    W: Tensor,
    W_skip: Tensor,
    constant_out: Tensor,
    act: str,
) -> Tensor:
    product, heads = apart.product, weights[0].shape[-1]
    *first_two, last = values
    sizes = [value.rows.shape[-2] for value in first_two]
    here = not is_elsewhere(A.device)
    if here and weights[0].shape[-2] * 2 < heads * sum(sizes):  # tables would have more rows than there are pairs
        z = weighted_values(weights, values)
        pre, skipped = product(z, A) + constant_pre, product(z, W_skip) + constant_out
    else:
        always = attention * last.rows
        shared = constant_pre + product(always, A), constant_out + product(always, W_skip)
        beside = [value.map(lambda rows: rows - last.rows) for value in first_two]
        if here:
            tokens = [value.token.expand(len(A), -1) for value in first_two if value.token is not None]
            rows = [value.rows for value in beside]
            pre, skipped = mixtures(workspace.plan(tokens, sizes, heads), weights[:2], rows, (A, W_skip), shared)
        else:  # what mixtures save are a processor's products
            z = weighted_values(weights[:2], beside)
            pre, skipped = (torch.baddbmm(row, z, matrix) for row, matrix in zip(shared, (A, W_skip), strict=True))
    if act == "relu":
        return _ReluReadout.apply(pre, W, skipped)  # pyright: ignore
    return product(apart.APART.activations[act](pre), W) + skipped


class _ReluReadout(torch.autograd.Function):
    """ReLU(pre) W + skipped; `pre` is overwritten."""

    @staticmethod
    def forward(ctx, pre, W, skipped):
        post, W = placed(pre.detach().relu_()), placed(W)
        ctx.save_for_backward(post, W)
        return bmm(post, W).add_(skipped)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        post, W = ctx.saved_tensors
        grad = placed(grad)
        grad_pre = bmm(grad, W.mT, rows_apart)
        torch.ops.aten.threshold_backward.grad_input(grad_pre, post, 0, grad_input=grad_pre)
        return grad_pre, bmm(post.mT, grad), grad
