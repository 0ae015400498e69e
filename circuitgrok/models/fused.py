"""The readout of a one-layer network, with a hand-written backward for the training loop.

From the mixed attention values z, with everything linear multiplied out,

    post   = act(constant_pre + z A)             A = W_O W_in
    logits = constant_out + post W + z W_skip    W = W_out W_U,  W_skip = W_O W_U

are the step's big matrix products: two forward, four backward. Autograd keeps both `pre` and `post`
and allocates a fresh gradient of each; at p = 113 the page faults of those buffers cost as much as
two of the products. Written by hand, ReLU and its mask work in place.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def readout(
    z: Float[Tensor, "*stack pair hd"],
    A: Float[Tensor, "*stack hd d_mlp"],
    constant_pre: Float[Tensor, "*stack 1 d_mlp"],
    W: Float[Tensor, "*stack d_mlp c"],
    W_skip: Float[Tensor, "*stack hd c"],
    constant_out: Float[Tensor, "*stack 1 c"],
    act: Callable[[Tensor], Tensor],
) -> Float[Tensor, "*stack pair c"]:
    """Logits from the mixed attention values, by plain operations."""
    return act(z @ A + constant_pre) @ W + z @ W_skip + constant_out


def fused_relu_readout(
    z: Float[Tensor, "run pair hd"],
    A: Float[Tensor, "run hd d_mlp"],
    constant_pre: Float[Tensor, "run 1 d_mlp"],
    W: Float[Tensor, "run d_mlp c"],
    W_skip: Float[Tensor, "run hd c"],
    constant_out: Float[Tensor, "run 1 c"],
    act: Callable[[Tensor], Tensor],
) -> Float[Tensor, "run pair c"]:
    """`readout` with act = ReLU for a stack of networks; first derivatives only."""
    return _ReluReadout.apply(z, A, constant_pre, W, W_skip, constant_out)  # pyright: ignore


class _ReluReadout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, A, constant_pre, W, W_skip, constant_out):  # noqa: ANN001, ANN205
        post = torch.baddbmm(constant_pre, z, A).relu_()
        ctx.save_for_backward(z, A, W, W_skip, post)
        return torch.baddbmm(constant_out, post, W).baddbmm_(z, W_skip)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # noqa: ANN001, ANN205  # pyright: ignore[reportIncompatibleMethodOverride]
        z, A, W, W_skip, post = ctx.saved_tensors
        grad_pre = grad @ W.mT
        torch.ops.aten.threshold_backward.grad_input(grad_pre, post, 0, grad_input=grad_pre)
        grad_z = torch.baddbmm(grad @ W_skip.mT, grad_pre, A.mT)
        return (
            grad_z,
            z.mT @ grad_pre,
            grad_pre.sum(1, keepdim=True),
            post.mT @ grad,
            z.mT @ grad,
            grad.sum(1, keepdim=True),
        )
