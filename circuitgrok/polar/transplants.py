"""The swap test: the direction of one network at the radius of another, theta = r_A u_B.

If accuracy is a matter of direction alone and loss of radius, then a network that grokked stays right at the radius
of one that memorised, and no radius makes the latter generalise. What "radius" means is a choice, called a grain
here: a network has one norm, or one for each role, each tensor, or each head and neuron. The last says something
about the function only if the networks are written alike, so that both are brought to the least norm of their
orbits first (`orbits.balance`).

A radius is not a scale of the logits: paths through a block multiply two, four or six matrices, and attention
sharpens, so that moving along the ray shifts the weight between them. Where all weights enter with one power,
accuracy cannot depend on the radius. That is the control.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok import select, tree
from circuitgrok.models.transformer import Transformer
from circuitgrok.polar.factorial import Share, shares
from circuitgrok.polar.orbits import balance
from circuitgrok.polar.profiles import Measure
from circuitgrok.tree import Params, combine, norm


class Coordinates(NamedTuple):
    """Networks as radii times directions; both in float64.

    Attributes:
        radii: Under each name the norms of the vectors that the tensor has a share of, to be broadcast over it.
        directions: The tensors, each of these vectors divided by its norm. A vector that is zero has none: it is zero.
    """

    radii: Params
    directions: Params


Grain = Callable[[Params, int], Coordinates]  # networks, and how many axes of stacks they have in front


def by(grain: select.Grain) -> Grain:
    """The vectors of one of `select`'s grains.

    Example:
        >>> radii, directions = by("global")({"w": torch.tensor([3.0]), "b": torch.tensor([4.0])}, 0)
        >>> radii["w"].item(), radii["b"].item(), directions["b"].item()
        (5.0, 5.0, 0.8)
    """

    def coordinates(params: Params, axes: int) -> Coordinates:
        lengths = {name: norm(*every) for name, every in select.vectors(params, grain, axes).items()}
        radii = select.over(lengths, params, grain, axes)
        return Coordinates(radii, combine(lambda x, r: x.double() / torch.where(r > 0, r, 1.0), params, radii))

    return coordinates


globally, by_role, by_tensor = by("global"), by("role"), by("tensor")


def by_part(model: Transformer) -> Grain:
    """A vector for each head, each neuron, and each tensor that belongs to neither, of balanced networks.

    So a network that is written in another way (`orbits.inflate`) has the same radii, and its transplants are the
    same functions. A network's own radii and directions give it back balanced.

    Args:
        model: The networks' shape.

    Example:
        >>> model = Transformer(p=5, d_model=8, n_heads=2, d_head=4, d_mlp=16)
        >>> radii, _ = by_part(model)(model.init(torch.Generator().manual_seed(0)), 0)
        >>> radii["blocks.0.attn.W_O"].shape, radii["blocks.0.mlp.W_in"].shape, radii["embed.W_E"].shape
        (torch.Size([2, 1, 1]), torch.Size([1, 16]), torch.Size([1, 1]))
    """
    return lambda params, axes: by("part")(balance(params, model), axes)


def transplant(radius: Params, direction: Params, grain: Grain, axes: int = 0) -> Params:
    """The network with the direction of one network at the radius of another, r_A u_B.

    Args:
        radius: A, of which only the norms matter: one network, or a stack of them.
        direction: B, as many networks.
        grain: What is one vector: `globally`, `by_role`, `by_tensor`, `by_part(model)`.
        axes: How many axes of stacks the tensors have in front.

    Returns:
        All tensors, in float64. A vector that is zero in B stays so, whatever its norm in A.

    Example:
        >>> grokked = {"w": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
        >>> memorised = {"w": torch.tensor([0.0, 6.0]), "b": torch.tensor([8.0])}
        >>> transplant(memorised, grokked, globally)
        {'w': tensor([6., 0.], dtype=torch.float64), 'b': tensor([8.], dtype=torch.float64)}
    """
    return combine(torch.mul, grain(radius, axes).radii, grain(direction, axes).directions)


def swap_matrix(
    radius: Params, direction: Params, grain: Grain, measure: Measure
) -> dict[str, Float[Tensor, "radius direction"]]:
    """What the direction of each network scores at the radius of each other one.

    With one stack given twice, the diagonal is what its networks score where they are. One direction is taken to
    all radii at a time, so that there are never more transplants than there are radii.

    Args:
        radius: The networks that give the radii, `[network ...]`: checkpoints of a run, or several runs.
        direction: The networks that give the directions, `[network ...]`; another stack, or the same.
        grain: What is one vector: `globally`, `by_role`, `by_tensor`, `by_part(model)`.
        measure: What to score, such as `profiles.circuit_scores` on a task.

    Example:
        >>> stack = {"w": torch.tensor([[1.0, 1.0], [4.0, 0.0]])}
        >>> swap_matrix(stack, stack, globally, lambda networks: {"largest": networks["w"].amax(-1)})["largest"]
        tensor([[1.0000, 1.4142],
                [2.8284, 4.0000]], dtype=torch.float64)
    """
    radii = grain(radius, 1).radii
    scores = [measure(combine(torch.mul, radii, u)) for u in tree.unstack(grain(direction, 1).directions)]
    return {column: values.T for column, values in tree.stack(scores).items()}


class VarianceShares(NamedTuple):
    """How much of what a swap matrix shows is due to the radius, to the direction, and to neither alone; sums to 1."""

    radius: Share
    direction: Share
    interaction: Share


def variance_shares(matrices: Float[Tensor, "run radius direction"]) -> VarianceShares:
    """Two-way decomposition of swap matrices: `factorial.shares` of radius and direction.

    With m the mean of a run's matrix x, m_i and m_j those of its rows and columns,

        x_ij - m = (m_i - m) + (m_j - m) + (x_ij - m_i - m_j + m)

    Args:
        matrices: One quantity of a `swap_matrix` for each run. Of a loss rather its logarithm: a sum of squares of
            losses is about the largest of them.

    Returns:
        nan throughout if no matrix varies.

    Raises:
        ValueError: There are fewer than two radii or directions, or a number is not finite.

    Example:
        >>> direction_decides = torch.tensor([[0.3, 1.0], [0.3, 1.0]])
        >>> shares = variance_shares(torch.stack([direction_decides, 0.9 * direction_decides]))
        >>> round(shares.direction.estimate, 6), round(shares.direction.low, 6), abs(round(shares.radius.high, 6))
        (1.0, 1.0, 0.0)
    """
    return VarianceShares(*shares(matrices, ("radius", "direction")).values())
