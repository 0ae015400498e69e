"""The polar coordinates of every head and every neuron.

The weights that belong to one head, or to one neuron, are a vector of their own (`select`). So each has a norm and a
direction, and a network turns by some of its parts turning. Parts of a layer come side by side, `[ckpt part]`.
"""

from jaxtyping import Int
from torch import Tensor

from circuitgrok.polar.path import Polar, joint_path
from circuitgrok.select import vectors
from circuitgrok.tree import Params


def part_paths(stack: Params, steps: Int[Tensor, " ckpt"]) -> dict[str, Polar]:
    """Polar coordinates of every head and every neuron along a stack of checkpoints.

    They see more than those of the tensors: a layer whose neurons turn one after the other turns all the time.
    Which vectors count as one neuron does not depend on how it is scaled, but their directions do: `orbits.balance`
    before, if only the function is meant.

    Args:
        stack: `[ckpt ...]` under each name, of transformers.
        steps: The training step of each checkpoint, increasing.

    Returns:
        `Polar` of `[ckpt part]` under "blocks.{l}.attn.head" and "blocks.{l}.mlp.neuron" of each layer l. A part that
        is zero has no direction: angles to it are nan, and it adds nothing to the distances.

    Raises:
        ValueError: There are not as many steps as checkpoints, or they do not increase.

    Example:
        >>> from circuitgrok.models.transformer import Transformer
        >>> model = Transformer(p=5, d_model=8, n_heads=2, d_head=4, d_mlp=16)
        >>> one = model.init(torch.Generator().manual_seed(0))
        >>> two = one | {"blocks.0.mlp.W_out": one["blocks.0.mlp.W_out"].index_fill(0, torch.tensor([3]), 0.0)}
        >>> stack = {name: torch.stack([value, two[name]]) for name, value in one.items()}
        >>> paths = part_paths(stack, torch.tensor([0, 100]))
        >>> paths["blocks.0.attn.head"].norm.shape, paths["blocks.0.mlp.neuron"].arc_length[1].nonzero().tolist()
        (torch.Size([2, 2]), [[3]])
    """
    parts = {name: every.tensors for name, every in vectors(stack, "part").items() if name not in stack}
    return {
        name: joint_path([share.unsqueeze(-1).flatten(2) for share in tensors.values()], steps)
        for name, tensors in parts.items()
    }
