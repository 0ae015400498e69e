"""Principal components of a run's path through weight space, and what a random walk would show in their place.

The path of T checkpoints lies in a space of at most T - 1 dimensions, so that the T x T Gram matrix of the centred
checkpoints says all: its eigenvalues are the variances along the components, its eigenvectors the scores.

That a few components explain most of a path says nothing by itself. In many dimensions the steps of a random walk are
orthogonal, with squared lengths g_1 .. g_{T-1}, say, and after centring its Gram matrix is the pseudo-inverse of the
Laplacian of a chain with conductances 1 / g_i. For equal g its eigenvalues are g / (4 sin^2(pi k / 2T)), and component
k explains the share

    (3 / 2) / ((T^2 - 1) sin^2(pi k / 2T))  ->  6 / (pi k)^2 = 0.61, 0.15, 0.07, ...

A path is of low dimension if it beats that. Unequal steps (checkpoints that get sparser, a run that slows down) raise
the first shares of the walk too; so it is taken with the steps of the path itself.

Source: J. Antognini, J. Sohl-Dickstein, "PCA of high dimensional random walks with comparison to neural network
training" (arXiv:1806.08805), for the limit; the exact form follows from the chain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.geometry import lengths
from circuitgrok.select import vectors
from circuitgrok.tree import Params

_COLUMNS = 1024  # entries of a tensor taken at a time: the float64 copy of 400 checkpoints takes 3 MB


class TrajectoryPCA(NamedTuple):
    """A path in its principal components, in decreasing order of variance.

    Attributes:
        explained: Share of the variance along each component; they sum to 1.
        scores: The checkpoints in these coordinates, in the units of the weights; each component's sign is such
            that its largest score is positive.
        null_by_step: What a random walk explains that moves equally far, squared, with every training step.
        null_by_length: What a random walk explains whose moves between checkpoints are as long as the path's.
        over_null: `explained` over `null_by_length`: 1 throughout for a random walk.
        tail_over_null: The share left to a component and all behind it, over that of the walk. 1 in the first entry,
            and then below 1 for a path of fewer dimensions, which may well have a first component below the walk's.
            Like `over_null` it is nan where the walk has no more components, because some moves have length 0.
    """

    explained: Float[Tensor, " component"]
    scores: Float[Tensor, "ckpt component"]
    null_by_step: Float[Tensor, " component"]
    null_by_length: Float[Tensor, " component"]
    over_null: Float[Tensor, " component"]
    tail_over_null: Float[Tensor, " component"]


def trajectory_pca(stack: Params, steps: Int[Tensor, " ckpt"]) -> dict[str, TrajectoryPCA]:
    """Principal components of the path of the weights: of all parameters, and of each role.

    Every checkpoint counts the same, so that components lean to where checkpoints are dense.

    Args:
        stack: `[ckpt ...]` under each name.
        steps: The training step of each checkpoint, increasing.

    Returns:
        `TrajectoryPCA` with ckpt - 1 components under "global" and under the name of each role. A role that does not
        move (frozen, or an unused bias) is left out.

    Raises:
        ValueError: Fewer than two checkpoints, not as many steps, steps that do not increase, or a path that does not
            move at all.

    Example:
        >>> along = torch.tensor([0.0, 1.0, 2.0, 4.0])
        >>> stack = {"embed.W_E": along[:, None] * torch.tensor([3.0, 4.0])}
        >>> path = trajectory_pca(stack, torch.tensor([0, 10, 20, 40]))["global"]
        >>> round(path.explained[0].item(), 9), path.scores[:, 0]  # a straight line
        (1.0, tensor([-8.7500, -3.7500,  1.2500, 11.2500], dtype=torch.float64))
    """
    _check(stack, steps)
    roles = vectors(stack, "role").items()
    by_role = {part: _total([_moments(value) for value in every.tensors.values()]) for part, every in roles}
    return _decomposed({"global": _total(list(by_role.values()))} | by_role, steps)


def direction_pca(stack: Params, steps: Int[Tensor, " ckpt"]) -> dict[str, TrajectoryPCA]:
    """Principal components of the path of the direction u = theta / |theta|: of all parameters, and of each role.

    What is left of `trajectory_pca` when the norm, which falls by half in many runs, no longer counts. The direction
    of a role is that of its own weights.

    Args:
        stack: `[ckpt ...]` under each name.
        steps: The training step of each checkpoint, increasing.

    Returns:
        As for `trajectory_pca`; scores have no unit. A role that is zero at some checkpoint has no direction there and
        is left out.

    Raises:
        ValueError: As for `trajectory_pca`, or all weights are zero at some checkpoint.

    Example:
        >>> along = torch.tensor([1.0, 2.0, 4.0])
        >>> turned = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> path = direction_pca({"embed.W_E": along[:, None] * turned}, torch.tensor([0, 10, 20]))
        >>> path["global"].scores[:, 0].round(decimals=4)  # there and back, whatever the norm
        tensor([-0.4714,  0.9428, -0.4714], dtype=torch.float64)
    """
    _check(stack, steps)
    moments = {}
    for part, (tensors, _) in (vectors(stack, "global") | vectors(stack, "role")).items():
        norms = lengths(tensors)
        if bool((norms > 0).all()):
            moments[part] = _total([_moments(value, norms) for value in tensors.values()])
    return _decomposed(moments, steps)


def random_walk_ratios(squared_lengths: Float[Tensor, " interval"]) -> Float[Tensor, " component"]:
    """Shares of the variance that the principal components of a random walk explain, in the limit of many dimensions.

    Exact for steps that are orthogonal; with d dimensions each share has a relative spread of about sqrt(2 / d).

    Args:
        squared_lengths: Mean squared length of each step, up to a common factor: the training steps between
            checkpoints for a walk of constant diffusion, or the squared lengths of a path's moves.

    Returns:
        As many as there are intervals, in decreasing order, summing to 1; about 6 / (pi k)^2 for equal steps.

    Raises:
        ValueError: No interval, or a squared length that is negative, not finite, or zero for all of them.

    Example:
        >>> random_walk_ratios(torch.ones(499))[:4].round(decimals=4)
        tensor([0.6079, 0.1520, 0.0675, 0.0380], dtype=torch.float64)

    Source: Antognini and Sohl-Dickstein, arXiv:1806.08805, theorem 1, for the limit of many equal steps.
    """
    gaps = squared_lengths.double()
    if not (len(gaps) and bool((gaps >= 0).all()) and bool(gaps.isfinite().all()) and bool(gaps.any())):
        raise ValueError(f"squared lengths must be finite, 0 or more, and not all 0; got {gaps.tolist()[:9]}")
    walk = torch.cat([gaps.new_zeros(1, len(gaps)), torch.tril(gaps.sqrt().expand(len(gaps), -1))])
    variances = torch.linalg.svdvals(walk - walk.mean(0)).square()
    return variances / variances.sum()


class _Moments(NamedTuple):
    """Of the checkpoints as points, over some coordinates."""

    gram: Float[Tensor, "ckpt ckpt"]  # of the centred points
    moved: Float[Tensor, " interval"]  # squared lengths of the moves


def _moments(tensor: Float[Tensor, "ckpt ..."], norms: Float[Tensor, " ckpt"] | None = None) -> _Moments:
    """Those of one tensor's entries, divided by a norm per checkpoint; blocks are centred before they are multiplied.

    Centring the Gram matrix instead would lose moves that are 1e-8 of the norm.
    """
    n = len(tensor)
    gram = torch.zeros(n, n, dtype=torch.float64, device=tensor.device)
    moved = gram.new_zeros(n - 1)
    for block in tensor.flatten(1).split(_COLUMNS, dim=1):
        points = block.double() if norms is None else block.double() / norms[:, None]
        moved += points.diff(dim=0).square().sum(1)
        centred = points - points.mean(0)
        gram += centred @ centred.T
    return _Moments(gram, moved)


def _total(parts: Sequence[_Moments]) -> _Moments:
    return _Moments(*(torch.stack(field).sum(0) for field in zip(*parts, strict=True)))


def _decomposed(moments: dict[str, _Moments], steps: Int[Tensor, " ckpt"]) -> dict[str, TrajectoryPCA]:
    """The components of every part that moves."""
    found = {part: _pca(path, steps) for part, path in moments.items() if bool(path.moved.any())}
    if "global" not in found:
        raise ValueError("a path that does not move, or a direction that is nowhere, has no principal components")
    return found


def _pca(path: _Moments, steps: Int[Tensor, " ckpt"]) -> TrajectoryPCA:
    variance, vectors = torch.linalg.eigh(path.gram)
    variance = variance.flip(0)[:-1].clamp(min=0)  # the last one is that of the mean, which is gone
    vectors = vectors.flip(1)[:, :-1]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    explained = variance / variance.sum()
    by_length = random_walk_ratios(path.moved)
    exists = by_length > torch.finfo(by_length.dtype).eps
    return TrajectoryPCA(
        explained=explained,
        scores=vectors * largest.sign() * variance.sqrt(),
        null_by_step=random_walk_ratios(steps.diff().double()),
        null_by_length=by_length,
        over_null=torch.where(exists, explained / by_length, torch.nan),
        tail_over_null=torch.where(exists, _tails(explained) / _tails(by_length), torch.nan),
    )


def _tails(shares: Float[Tensor, " component"]) -> Float[Tensor, " component"]:
    """Sum of each entry and those behind it, from the small ones up."""
    return shares.flip(0).cumsum(0).flip(0)


def _check(stack: Params, steps: Int[Tensor, " ckpt"]) -> None:
    lengths = {len(value) for value in stack.values()}
    if lengths != {len(steps)} or len(steps) < 2:
        raise ValueError(f"two checkpoints or more are needed, a step for each; got {len(steps)} for {sorted(lengths)}")
    if not bool((steps.diff() > 0).all()):
        raise ValueError(f"steps must increase; got {steps.tolist()}")
