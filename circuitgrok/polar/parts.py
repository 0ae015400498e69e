"""The polar coordinates of every head and every neuron, and the angle between any two checkpoints.

The weights that belong to one head, or to one neuron, are a vector of their own (`select`). So each has a norm and a
direction, and a network turns by some of its parts turning. Parts of a layer come side by side, `[ckpt part]`.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pdist

from circuitgrok.geometry import lengths
from circuitgrok.polar.path import Polar, joint_path
from circuitgrok.select import vectors
from circuitgrok.tree import Params

_COLUMNS = 1024  # entries of a tensor taken at a time: the float64 copy of 400 checkpoints takes 3 MB


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


def angle_matrix(stack: Params) -> Float[Tensor, "ckpt ckpt"]:
    """Angle between the weights of any two checkpoints: their distance on the sphere of directions.

    For a role or a tensor give only that (`select.weights`); for two runs, their stacks one behind the other.

    Args:
        stack: `[ckpt ...]` under each name; all tensors are taken as one vector.

    Returns:
        Radians, 0..pi, symmetric. To about 1e-16 up to a right angle, however small; from there on less and less,
        to 1e-8 at pi, which weights that were trained do not come near. nan where all weights are zero.

    Raises:
        ValueError: The tensors differ in their number of checkpoints.

    Example:
        >>> turned = torch.tensor([0.0, 1e-9, 1.0], dtype=torch.float64)
        >>> angles = angle_matrix({"w": torch.stack([turned.cos(), turned.sin()], dim=1)})
        >>> round(angles[0, 1].item(), 20), round(angles[2, 0].item(), 12)
        (1e-09, 1.0)
    """
    numbers = {len(value) for value in stack.values()}
    if len(numbers) != 1:
        raise ValueError(f"every tensor must have the same checkpoints; their numbers are {sorted(numbers)}")
    r = lengths(stack)
    square = torch.zeros(len(r) * (len(r) - 1) // 2, dtype=torch.float64, device=r.device)
    for value in stack.values():
        for block in value.flatten(1).split(_COLUMNS, dim=1):
            square += pdist(block.double() / r[:, None]).square()  # |u' - u|^2 of the pairs above the diagonal
    angles = torch.diag(0.0 * r / r)
    above = torch.triu_indices(len(r), len(r), offset=1, device=r.device)
    angles[above[0], above[1]] = 2 * torch.asin((square.sqrt() / 2).clamp(max=1))
    return angles + angles.triu(1).T
