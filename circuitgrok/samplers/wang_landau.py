"""The share of a sphere in each bin of one or two scores, by a walk that is made to visit all bins alike.

Walkers move along great circles by angles of all sizes, and go to a bin with probability min(1, g(old) / g(new)), g the
share of the sphere in a bin as known so far. While learning, ln g of a bin that is visited grows by an amount that
falls to zero, by halves at first and then as bins over rounds (Belardinelli and Pereyra); a bin that is found late
begins as the rarest one known. Afterwards g stands still, the walk
is an ordinary Markov chain with a known law, and what it visits more or less than others corrects g. So learning that
has not ended makes the error larger, and does not bias.

Shares are of all that was reached, the outermost bins being open; a bin that no walker found has none.

Source: Wang and Landau 2001 (cond-mat/0011174); Belardinelli and Pereyra 2007 (cond-mat/0702414); of losses and
accuracies of networks arXiv:2505.11411.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.geometry import move, tangent, unit

ANGLES = (-4.0, 0.5)  # of moves: their logarithm is uniform between these

Scores = Callable[[Float[Tensor, "walker dim"]], Float[Tensor, "walker score"]]


class Shares(NamedTuple):
    """ln of the share of a sphere in each bin."""

    ln_share: Float[Tensor, "*bins"]  # nats, of all that was reached; -inf of a bin that was not
    visits: Int[Tensor, "*bins"]  # of all walkers, in the rounds that count
    learnt: bool  # whether what is added fell as bins over rounds in the end


def wang_landau(
    scores: Scores,
    edges: Sequence[Float[Tensor, " _"]],
    start: Float[Tensor, "walker dim"],
    seed: int,
    *,
    n_learn: int,
    n_rounds: int,
) -> Shares:
    """ln of the share of the sphere through the starts in each bin of the scores.

    Args:
        scores: Of rows of positions: one or more, such as ln of a loss, and an accuracy.
        edges: Of each score, between its bins, rising; values below the first and above the last have a bin each.
        start: Where walkers start.
        seed: Of all draws. Runs of other seeds are independent, and their spread is the error.
        n_learn: Rounds of learning at most.
        n_rounds: Rounds with g as learnt, of which the second half counts.

    Raises:
        UserError: Edges do not rise, or one is not finite.

    Example:
        >>> from circuitgrok.geometry import uniform
        >>> start = uniform(64, 3, torch.Generator().manual_seed(0))
        >>> heights = torch.tensor([-0.8, 0.0, 0.8]).double()  # a sphere's zones have areas as their heights
        >>> found = wang_landau(lambda w: w[:, :1], [heights], start, 0, n_learn=2000, n_rounds=2000)
        >>> found.ln_share.exp().round(decimals=1).tolist()
        [0.1, 0.4, 0.4, 0.1]
    """
    for edge in edges:
        if not bool((edge.diff() > 0).all()) or not bool(edge.isfinite().all()):
            raise UserError(f"edges of bins must be finite and rise; got {edge.tolist()}")
    shape = [len(edge) + 1 for edge in edges]
    n_bins, draws = math.prod(shape), torch.Generator(device=start.device).manual_seed(seed)
    ln_g = torch.zeros(n_bins, dtype=torch.float64, device=start.device)
    seen, visits = torch.zeros_like(ln_g, dtype=torch.bool), torch.zeros_like(ln_g, dtype=torch.long)
    position, bins, amount, learnt, since = start, _bins(scores(start), edges, shape), 1.0, False, visits.clone()
    for rounds in range(1, n_learn + 1):
        position, bins = _moved(scores, edges, shape, position, bins, ln_g, draws)
        met = bins.bincount(minlength=n_bins)
        found = (met > 0) & ~seen
        if bool(found.any() and seen.any()):  # begins as the rarest that is known: else it would hold walkers for long
            ln_g[found], since = ln_g[seen].min(), torch.zeros_like(since)
        ln_g += amount * met / len(bins)
        seen |= found
        since += met
        if learnt:
            amount = n_bins / rounds
        elif bool((since[seen] > 0).all()) and int(since.sum()) >= n_bins * len(bins):  # all met, in a sweep or more
            amount, since = amount / 2, torch.zeros_like(since)
            learnt = amount <= n_bins / rounds
    for done in range(n_rounds):
        position, bins = _moved(scores, edges, shape, position, bins, ln_g, draws)
        if 2 * done >= n_rounds:  # learning has spread walkers evenly, which is not yet the law of the g that it found
            visits += bins.bincount(minlength=n_bins)
    ln_share = torch.where(visits > 0, ln_g + visits.double().log(), -torch.inf)
    return Shares((ln_share - torch.logsumexp(ln_share, 0)).view(shape), visits.view(shape), learnt)


def _bins(scores: Tensor, edges: Sequence[Tensor], shape: Sequence[int]) -> Int[Tensor, " walker"]:
    """The bin of each walker, of all scores together, in row-major order."""
    found = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    for score, edge, size in zip(scores.unbind(-1), edges, shape, strict=True):
        found = found * size + torch.bucketize(score.contiguous(), edge.to(score))
    return found


def _moved(
    scores: Scores,
    edges: Sequence[Tensor],
    shape: Sequence[int],
    position: Tensor,
    bins: Tensor,
    ln_g: Tensor,
    draws: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """A move of every walker, taken by the shares known so far."""
    low, high = ANGLES
    drawn = torch.rand(2, len(position), generator=draws, device=position.device, dtype=torch.float64)
    angle = (low + (high - low) * drawn[0]).exp().to(position)[:, None]
    ahead = torch.empty_like(position).normal_(generator=draws)
    ahead = unit(tangent(ahead, unit(position)))
    there, _ = move(position, angle * position.norm(dim=-1, keepdim=True) * ahead)
    new = _bins(scores(there), edges, shape)
    taken = drawn[1].log() < ln_g[bins] - ln_g[new]
    return torch.where(taken[:, None], there, position), torch.where(taken, new, bins)
