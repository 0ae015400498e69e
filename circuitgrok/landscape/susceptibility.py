"""Susceptibilities: how the loss that one block of weights causes goes with the loss of each pair, near a network.

A block C (a neuron, a head) moves, all other weights stay where they are. With phi_C the rise of the training loss L,
l_x the loss of a pair x, trained on or not, and the block's posterior about its own weights w*_C,

    density  ~  exp(-nbeta phi_C) N(w*_C, sigma^2),      chi[C, x] = -nbeta Cov[phi_C, l_x].

It is a response: were L changed to L + h l_x, E[phi_C] would change by chi h. Pairs that a block answers alike have
like columns, and blocks that serve the same pairs like rows; nothing of waves or frequencies goes in.

A block is small and sigma is too, so that the posterior is near the Gaussian: draws come from this and are weighted by
exp(-nbeta phi_C). There is no chain, no step and no burn-in; `worth` says how many draws count, and few do where the
loss is stiff against 1 / nbeta. Draws come in pairs +-, which takes the slope of l_x out of the noise. With all weights
equal, nbeta 0 in the density alone, what is left is noise without a likelihood: the baseline `blind`.

Source: Baker et al. 2025, "Structural Inference" (arXiv:2504.18274), whose weight-restricted posterior this is; they
take L off l_x, which changes a row by a constant, and sample by SGLD.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok import select, tree
from circuitgrok.errors import UserError
from circuitgrok.models.kinds import AnyModel

PairLosses = Callable[[Float[Tensor, "row dim"]], Float[Tensor, "row pair"]]


class Response(NamedTuple):
    """Of every block; losses in nats."""

    chi: Float[Tensor, "block pair"]  # -nbeta Cov[phi_C, l_x], squared nats times nbeta
    se: Float[Tensor, "block pair"]  # its standard error over pairs of draws
    blind: Float[Tensor, "block pair"]  # the same under the Gaussian alone
    rise: Float[Tensor, " block"]  # E[phi_C]
    worth: Float[Tensor, " block"]  # how many draws count: 1 / sum of squared weights


class Blocks(NamedTuple):
    """Blocks of the trained weights.

    Attributes:
        names: As in `inspection.part_names`: `neuron 3`, `head 0`.
        places: Of their weights in the flat vector of trained weights.
    """

    names: list[str]
    places: Int[Tensor, "block weight"]


def blocks_of(model: AnyModel, kind: select.Owner, layer: int | None = None) -> Blocks:
    """The neurons or heads of a layer, by what each owns of the trained weights.

    Args:
        model: Their network.
        kind: `neuron` or `head`.
        layer: Counted from 0; the last by default.

    Raises:
        UserError: The network has none there.

    Example:
        >>> from circuitgrok.models.mlp import QuadraticMLP
        >>> names, places = blocks_of(QuadraticMLP(p=3, n_neurons=2), "neuron")
        >>> names, places.tolist()[1]
        (['neuron 0', 'neuron 1'], [1, 3, 5, 7, 9, 11, 15, 16, 17])
    """
    trained = {name: torch.Size(shape) for name, shape in model.shapes().items() if model.is_trainable(name)}
    layers = [int(name.split(".")[1]) for name in trained if name.startswith("blocks.")]
    at = max(layers) if layer is None else layer
    own = select.owned(trained, f"blocks.{at}", kind)
    if not own:
        raise UserError(f"{model.called} has no {kind}s that train in layer {at}; it has {', '.join(trained)}")
    n = sum(shape.numel() for shape in trained.values())
    like = {name: torch.empty(shape, device="meta") for name, shape in trained.items()}
    places = tree.unravel(torch.arange(n), like)
    shares = [places[name].movedim(axis, 0) for name, axis in own.items()]
    index = torch.cat([share.reshape(len(share), -1) for share in shares], dim=1)
    said = "" if layer is None else f"layer {layer} "
    return Blocks([f"{said}{kind} {i}" for i in range(len(index))], index)


def response(
    losses: PairLosses,
    point: Float[Tensor, " dim"],
    index: Int[Tensor, "block weight"],
    is_train: Bool[Tensor, " pair"],
    *,
    nbeta: float,
    sigma: float,
    n_draws: int = 128,
    seed: int = 0,
    tick: Callable[[int, int], None] | None = None,
) -> Response:
    """The susceptibilities of blocks of weights, each moved alone about a point.

    Args:
        losses: Of every pair, for rows of weights.
        point: The weights w*.
        index: The places of each block's weights.
        is_train: The pairs whose mean loss is L.
        nbeta: Inverse temperature; n / ln n by custom, n the number of training pairs.
        sigma: Standard deviation of the Gaussian, in the unit of the weights.
        n_draws: Even; half of them are the others with the opposite sign.
        seed: Of the draws; a block's do not depend on which others there are.
        tick: Told after each block: blocks done, in all.

    Raises:
        UserError: `nbeta` or `sigma` is not positive, or `n_draws` odd or below 4.

    Example:
        Two weights, and two pairs that each depend on one of them; only the first is trained on:

        >>> losses = lambda w: w.square() / 2
        >>> every, one = torch.tensor([[0], [1]]), torch.tensor([True, False])
        >>> found = response(losses, torch.zeros(2).double(), every, one, nbeta=1.0, sigma=1.0, n_draws=4000)
        >>> found.chi.abs() > 4 * found.se  # exact: -(1/2) (1/2)^2 = -0.125, and 0
        tensor([[ True, False],
                [False, False]])
        >>> bool((found.chi[0, 0] + 0.125).abs() < 4 * found.se[0, 0])
        True
    """
    if not (nbeta > 0 and sigma > 0 and n_draws >= 4 and n_draws % 2 == 0):
        raise UserError(f"nbeta, sigma above 0 and an even n_draws from 4 on; got {nbeta}, {sigma}, {n_draws}")
    first = losses(point[None])[0, is_train].mean()
    found = []
    for i, places in enumerate(index):
        draws = torch.Generator(device=point.device).manual_seed(1_000_003 * seed + i)
        half = torch.randn(n_draws // 2, len(places), generator=draws, dtype=point.dtype, device=point.device)
        rows = point.repeat(n_draws, 1)
        rows[:, places] += sigma * torch.stack([half, -half], dim=1).flatten(0, 1)
        each = losses(rows).double()
        rise = each[:, is_train].mean(1) - first
        weights = (-nbeta * rise).softmax(0)
        even = torch.full_like(weights, 1 / n_draws)
        chi, se = _covariance(rise, each, weights)
        blind, _ = _covariance(rise, each, even)
        found.append((-nbeta * chi, nbeta * se, -nbeta * blind, weights @ rise, 1 / weights.square().sum()))
        if tick:
            tick(i + 1, len(index))
    return Response(*(torch.stack(column) for column in zip(*found, strict=True)))


def without(
    losses: PairLosses,
    point: Float[Tensor, " dim"],
    index: Int[Tensor, "block weight"],
    groups: Bool[Tensor, "group block"],
) -> Float[Tensor, "group pair"]:
    """The loss of every pair when the blocks of each group are set to zero.

    Example:
        >>> each = torch.tensor([[True, False], [True, True]])
        >>> without(lambda w: w.square(), torch.tensor([3.0, 2.0]), torch.tensor([[0], [1]]), each)
        tensor([[0., 4.],
                [0., 0.]])
    """
    rows = point.repeat(len(groups), 1)
    for row, group in zip(rows, groups, strict=True):
        row[index[group].flatten()] = 0
    return losses(rows)


def _covariance(
    one: Float[Tensor, " draw"], each: Float[Tensor, "draw pair"], weights: Float[Tensor, " draw"]
) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
    """The weighted covariance of one number with each of others, and its standard error over pairs of draws."""
    units = weights.unflatten(0, (-1, 2)).sum(1)
    product = (one - weights @ one)[:, None] * (each - weights @ each)
    mean = weights @ product
    off = (weights[:, None] * (product - mean)).unflatten(0, (-1, 2)).sum(1)
    left = 1 - units.square().sum()  # one unit in so many is lost to the means
    return mean / left, off.square().sum(0).sqrt() / left
