"""Sums over the positive eigenvalues, between the least and the most that the moments of Lanczos allow.

    sum over eigenvalues x > 0 of x / (x + z),   and of x itself

A network has thousands of eigenvalues at and near 0, where these functions have their kink. A Gauss quadrature puts
its nodes there by chance, a little to the right or to the left of 0, and is off by the number of those eigenvalues
times that little: up and down with the number of nodes, and alike for all probes, so that their spread does not show
it. The place of one node can be chosen. With n entries on the diagonal of Lanczos' T, replace the last,

    alpha_n -> xi + beta_(n-1)^2 / delta_(n-1),
    delta_1 = alpha_1 - xi,   delta_k = alpha_k - xi - beta_(k-1)^2 / delta_(k-1)

and xi is a node of a rule Q_xi that is exact up to degree 2n - 2. Then

    Q_0 <= v^T f(H) v <= max over xi of Q_xi

and as Q_0 and that Q_xi are spectra themselves, with the same moments, no others tell more. Proof: (x + z) f(x) is
max(x, 0), a straight line on either side of 0. Let p of degree 2n - 2 equal f, at the nodes of Q_0 with its slope and
at 0 without. e = max(x, 0) - (x + z) p is 0 at -z, 0 and twice at the n - 1 other nodes; by Rolle's theorem, on
either side of 0 by itself, its second derivative, a polynomial of degree 2n - 3, has 2n - 3 zeros, and so no more.
Hence f - p changes sign nowhere but perhaps at 0. There it does not, for it has one sign at both ends, where an even
power decides; and it is positive, as the slope of f rises at 0. So Q_0 f = Q_0 p = v^T p(H) v <= v^T f(H) v. At the
largest Q_xi the p that equals f with its slope at all n nodes has degree 2n - 2 too (the derivative by xi is its next
coefficient times that of a moment which rises with xi), and the same count gives p >= f. It also says that Q_xi, from
one passage of a node through 0 to the next, has this one maximum. For max(x, 0) itself leave out z.

Where in between the truth is depends on what lies at 0: a lump of zeros, and it is the lower end; a smooth density,
and it is two thirds of the way up (by Euler and Maclaurin, h^2 / 12 under and h^2 / 24 over). The value given is one
third of the way up; the ends are then at most four times a sixth of the width away, which is the quadrature's part of
the error.

Source: Golub and Meurant 2010, Matrices, Moments and Quadrature, chapter 6, for prescribed nodes; Karlin and Studden
1966, Tchebycheff Systems, for bounds by moments.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.landscape.lanczos import Density, Tridiagonal, density, probe_error

Share = Callable[[Float[Tensor, "*of node"]], Float[Tensor, "of_f *of node"]]
SEARCHED, REFINED = 25, 9  # places that a node is tried at on its way from 0 to the next, and again about the best
UP = 1 / 3  # of the way from the lower bound to the upper


class PositiveSum(NamedTuple):
    """A sum over positive eigenvalues.

    Attributes:
        value: Mean over probes.
        error: Standard error: the probes' part and the quadrature's together.
        lower: Mean over probes of the least that their moments allow.
        upper: Mean of the most; both are of these probes, without the probes' error.
    """

    value: Float[Tensor, " f"]
    error: Float[Tensor, " f"]
    lower: Float[Tensor, " f"]
    upper: Float[Tensor, " f"]


def shares(z: Float[Tensor, " z"]) -> Share:
    """The functions max(x, 0) / (x + z), one for each z.

    Raises:
        ValueError: A z is not positive.

    Example:
        >>> shares(torch.tensor([1.0, 3.0]))(torch.tensor([-2.0, 1.0]))
        tensor([[0.0000, 0.5000],
                [0.0000, 0.2500]])
    """
    if not bool((z > 0).all()):
        raise ValueError(f"z must be positive; got {z.tolist()}: the limit z -> 0 is the rank, see inertia")

    def of(x: Float[Tensor, "*of node"]) -> Float[Tensor, "of_f *of node"]:
        positive = x.clamp(min=0.0)
        return positive / (positive + z.to(x).reshape(-1, *[1] * x.ndim))

    return of


def positive(x: Float[Tensor, "*of node"]) -> Float[Tensor, "1 *of node"]:
    """The function max(x, 0)."""
    return x.clamp(min=0.0)[None]


def positive_sum(found: Tridiagonal, f: Share) -> PositiveSum:
    """Sums of functions over the positive eigenvalues, with an error that holds both probes and quadrature.

    Args:
        found: From `lanczos` at random probes, 2 steps or more; they are one for all functions.
        f: `shares(z)`, `positive`, or several of them together, a function along the first axis.

    Raises:
        ValueError: Fewer than 2 steps.

    Example:
        >>> from circuitgrok.landscape.lanczos import lanczos, random_probes
        >>> spectrum = torch.cat([torch.zeros(900), torch.linspace(-1, 2, 100)]).double()
        >>> probes = random_probes(6, 1000, torch.Generator().manual_seed(0))
        >>> found = positive_sum(lanczos(lambda rows: rows * spectrum, probes, 40), shares(torch.tensor([0.1])))
        >>> exact = (spectrum.clamp(min=0) / (spectrum.clamp(min=0) + 0.1)).sum()
        >>> bool((found.value - exact).abs() < 4 * found.error)
        True
    """
    dim = found.basis.shape[-1]
    lower, upper = (dim * bound.mean(-1) for bound in bounds(found, f))
    value, quadrature = lower + UP * (upper - lower), (upper - lower) / 6
    return PositiveSum(value, torch.hypot(probe_error(density(found), f), quadrature), lower, upper)


def bounds(found: Tridiagonal, f: Share) -> tuple[Float[Tensor, "f probe"], Float[Tensor, "f probe"]]:
    """The least and the most of v^T f(H) v that the moments of each unit probe v allow; see the proof above.

    Args:
        found: From `lanczos`, 2 steps or more.
        f: As for `positive_sum`.

    Returns:
        Bounds of each function and probe. The upper one is found by search, to a per cent of the width.

    Raises:
        ValueError: Fewer than 2 steps.
    """
    if found.diagonal.shape[-1] < 2:
        raise ValueError(f"bounds need 2 steps of Lanczos or more; got {found.diagonal.shape[-1]}")
    zero = found.diagonal.new_zeros(len(found.diagonal), 1)
    nodes, weights = _rules(found, zero)
    lower = (weights * f(nodes)).sum(-1)[..., 0]
    span = nodes.abs().amax(-1)
    right = nodes.masked_fill(nodes <= 1e-12 * span[..., None], torch.inf).amin(-1)
    end = torch.where(right.isfinite(), right, 1e3 * span)  # [probe 1]; the node that was at 0 moves up to here
    grid = torch.linspace(-14, 14, SEARCHED, dtype=nodes.dtype)  # of log(xi / (end - xi)): both ends are looked at
    nodes, weights = _rules(found, end * grid.sigmoid())
    tried = (weights * f(nodes)).sum(-1)  # [f probe place]
    around = torch.linspace(-1, 1, REFINED, dtype=nodes.dtype) * (grid[1] - grid[0])
    finer = (grid[tried.argmax(-1)][..., None] + around).sigmoid().movedim(0, 1)  # [probe f place]
    nodes, weights = _rules(found, end * finer.flatten(1))
    again = (weights * f(nodes)).sum(-1).unflatten(-1, finer.shape[1:])  # [f probe f place]
    summit = again.diagonal(dim1=0, dim2=2).amax(1).T
    return lower, torch.maximum(summit, lower)


def _rules(found: Tridiagonal, places: Float[Tensor, "probe place"]) -> Density:
    """Nodes and weights of Q_xi for each probe and place xi, `[probe place node]`; weights of a probe have sum 1."""
    alphas, betas = found.diagonal, found.off_diagonal
    delta, pull = alphas[:, :1] - places, torch.zeros_like(places)
    tiny = torch.finfo(alphas.dtype).tiny
    for k in range(1, alphas.shape[1]):
        pull = betas[:, k - 1 : k].square() / torch.where(delta == 0, tiny, delta)
        delta = alphas[:, k : k + 1] - places - pull
    matrix = found.matrix[:, None].repeat(1, places.shape[1], 1, 1)
    matrix[..., -1, -1] = places + pull
    nodes, vectors = torch.linalg.eigh(matrix)
    return Density(nodes, vectors[..., 0, :].square())
