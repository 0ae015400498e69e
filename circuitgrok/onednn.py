"""Products of float32 matrices by oneDNN, which is built into torch on most machines.

torch's own `matmul` of float32 goes to Intel's library wherever that is there; on AMD's processors it leaves half of
the width of their registers unused, and oneDNN takes less than half of its time. Whether oneDNN multiplies is a fixed
function of the build of torch, of dtype, device and shapes, so the same on every step and machine of one kind.
"""

import torch
from torch import Tensor

BUILT = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
SMALLEST = 1_500_000  # multiplications; below them the 13 microseconds of a call outweigh what it saves


def multiplies(a: Tensor, b: Tensor) -> bool:
    """Whether the product of these matrices, or of each pair of a stack, is oneDNN's.

    >>> multiplies(torch.ones(4, 4), torch.ones(4, 4))
    False
    """
    enough = a.shape[-2] * a.shape[-1] * b.shape[-1] >= SMALLEST
    return enough and BUILT and a.dtype == b.dtype == torch.float32 and a.device.type == "cpu"


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b of two matrices, in one piece; not to be differentiated.

    The left factor is copied if its rows do not lie in one piece. So if only those of b's transpose do, or neither's,
    the transposed product is taken, in which b is the left factor.
    """
    if a.is_contiguous():
        return _linear(a, b.mT)
    return _linear(b.mT, a).mT.contiguous()


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
