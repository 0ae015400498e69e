"""The polar coordinates of every head and every neuron.

The weights that belong to one head, or to one neuron, are a vector of their own: a head is its W_Q, b_Q, W_K, b_K,
W_V, b_V and W_O, a neuron what enters it (a column of W_in, its b_in) and what leaves it (a row of W_out). So each
has a norm and a direction, and a network turns by some of its parts turning. Parts of a layer come side by side,
`[ckpt part]`; b_O and b_out belong to all parts of a layer, and so to none.
"""

from jaxtyping import Int
from torch import Tensor

from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.path import Polar, joint_path
from circuitgrok.tree import Params

# The axis, from the end, that counts the parts of a kind, in each tensor that they own a share of.
PARTS: dict[str, dict[str, int]] = {
    "attn.head": {
        "attn.W_Q": -3, "attn.b_Q": -2, "attn.W_K": -3, "attn.b_K": -2, "attn.W_V": -3, "attn.b_V": -2, "attn.W_O": -3,
    },
    "mlp.neuron": {"mlp.W_in": -1, "mlp.b_in": -1, "mlp.W_out": -2},
}  # fmt: skip


def part_paths(stack: Params, model: Transformer, steps: Int[Tensor, " ckpt"]) -> dict[str, Polar]:
    """Polar coordinates of every head and every neuron along a stack of checkpoints.

    They see more than those of the tensors: a layer whose neurons turn one after the other turns all the time.
    Which vectors count as one neuron does not depend on how it is scaled, but their directions do: `orbits.balance`
    before, if only the function is meant.

    Args:
        stack: `[ckpt ...]` under each name.
        model: The networks' shape.
        steps: The training step of each checkpoint, increasing.

    Returns:
        `Polar` of `[ckpt part]` under "blocks.{l}.attn.head" and "blocks.{l}.mlp.neuron" of each layer l. A part that
        is zero has no direction: angles to it are nan, and it adds nothing to the distances.

    Raises:
        ValueError: There are not as many steps as checkpoints, or they do not increase.

    Example:
        >>> model = Transformer(p=5, d_model=8, n_heads=2, d_head=4, d_mlp=16)
        >>> one = model.init(torch.Generator().manual_seed(0))
        >>> two = one | {"blocks.0.mlp.W_out": one["blocks.0.mlp.W_out"].index_fill(0, torch.tensor([3]), 0.0)}
        >>> stack = {name: torch.stack([value, two[name]]) for name, value in one.items()}
        >>> paths = part_paths(stack, model, torch.tensor([0, 100]))
        >>> paths["blocks.0.attn.head"].norm.shape, paths["blocks.0.mlp.neuron"].arc_length[1].nonzero().tolist()
        (torch.Size([2, 2]), [[3]])
    """
    paths = {}
    for layer in range(model.n_layers):
        for kind, axes in PARTS.items():
            tensors = [(stack[f"blocks.{layer}.{name}"], axis) for name, axis in axes.items()]
            shares = [tensor.unsqueeze(-1).movedim(axis - 1, 1).flatten(2) for tensor, axis in tensors]
            paths[f"blocks.{layer}.{kind}"] = joint_path(shares, steps)
    return paths
