"""The whole spectrum of an operator from a few products: stochastic Lanczos quadrature, and Hutchinson's trace.

Lanczos started at a unit vector v turns a symmetric H into a small tridiagonal T whose eigenvalues theta_j and squared
first entries tau_j^2 of its eigenvectors are a Gauss quadrature: v^T f(H) v ~ sum_j tau_j^2 f(theta_j), exact for
polynomials up to degree 2 n_steps - 1. For v uniform on the sphere the mean of dim * v^T f(H) v is tr f(H).

In floating point the basis loses its orthogonality as soon as an eigenvalue has converged, and copies of it appear
(ghosts). Each new vector is therefore made orthogonal to all before it, twice, which keeps the basis so to rounding.

There are two errors. That of the probes has a standard error, sqrt(2 / (probes * dim)) at most of the root mean square
of f times dim. That of the quadrature has none; for x / (x + z) and no negative eigenvalue it falls with n_steps as
exp(-4 n_steps sqrt(z / largest)). For functions with a step or a kink it is bounded exactly instead: `step_sum` here,
and `circuitgrok.landscape.positive_part`.

Source: Golub and Meurant 2010, Matrices, Moments and Quadrature; Ubaru, Chen and Saad 2017.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.geometry import uniform
from circuitgrok.landscape.hessian import Operator


class Density(NamedTuple):
    """A spectrum as a few weighted nodes, one quadrature per probe.

    Attributes:
        nodes: Places on the axis of eigenvalues, increasing.
        weights: How many eigenvalues each stands for; not negative, with sum dim for each probe.
    """

    nodes: Float[Tensor, "probe node"]
    weights: Float[Tensor, "probe node"]


class Estimate(NamedTuple):
    """A mean over probes and its standard error."""

    value: Float[Tensor, "*of"]
    stderr: Float[Tensor, "*of"]


class Tridiagonal(NamedTuple):
    """What Lanczos leaves of a symmetric operator, for each start vector.

    Attributes:
        diagonal: The entries alpha.
        off_diagonal: The entries beta, not negative; 0 where the vectors so far span an invariant subspace.
        basis: The orthonormal vectors; zero behind a beta of 0.
    """

    diagonal: Float[Tensor, "probe step"]
    off_diagonal: Float[Tensor, "probe step-1"]
    basis: Float[Tensor, "probe step dim"]

    @property
    def matrix(self) -> Float[Tensor, "probe step step"]:
        """T itself, whose eigenvalues are the Ritz values."""
        beside = self.off_diagonal
        return torch.diag_embed(self.diagonal) + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)


def lanczos(
    operator: Operator,
    starts: Float[Tensor, "probe dim"],
    n_steps: int,
    enough: Callable[[Tridiagonal], bool] | None = None,
) -> Tridiagonal:
    """Lanczos with full reorthogonalisation, side by side from several start vectors.

    Args:
        operator: Symmetric; one call a step, with all probes at once.
        starts: Any length but zero, in float64.
        n_steps: At least 1, and at most these. More than dim adds nothing.
        enough: Asked after each step; steps end where it says so.

    Returns:
        T, and its basis: `probe * n_steps * dim` numbers of memory.

    Raises:
        ValueError: `n_steps` is below 1.

    Example:
        >>> diagonal = torch.tensor([1.0, 3.0], dtype=torch.float64)
        >>> lanczos(lambda rows: rows * diagonal, torch.ones(1, 2, dtype=torch.float64), 2).diagonal.round(decimals=9)
        tensor([[2., 2.]], dtype=torch.float64)
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1; got {n_steps}")
    basis = starts.new_zeros(len(starts), n_steps, starts.shape[1])
    alphas, betas = starts.new_zeros(len(starts), n_steps), starts.new_zeros(len(starts), n_steps)
    basis[:, 0] = starts / starts.norm(dim=-1, keepdim=True)
    scale = starts.new_zeros(len(starts))
    for step in range(n_steps):
        product = operator(basis[:, step])
        alphas[:, step] = (product * basis[:, step]).sum(-1)
        so_far = Tridiagonal(alphas[:, : step + 1], betas[:, :step], basis[:, : step + 1])
        if step + 1 == n_steps or (enough is not None and enough(so_far)):
            return so_far
        scale = scale.maximum(product.norm(dim=-1))
        rest = product.unsqueeze(-1)
        for _ in range(2):
            rest = rest - so_far.basis.mT @ (so_far.basis @ rest)
        beta = rest.squeeze(-1).norm(dim=-1)
        goes_on = beta > starts.shape[1] * torch.finfo(starts.dtype).eps * scale
        betas[:, step] = torch.where(goes_on, beta, 0.0)
        basis[:, step + 1] = torch.where(goes_on, 1 / beta, 0.0)[:, None] * rest.squeeze(-1)
    raise AssertionError("the last step returns")


def density(found: Tridiagonal) -> Density:
    """The Gauss quadrature of each start vector, its weights in numbers of eigenvalues.

    Example:
        >>> spectrum = torch.tensor([1.0, 3.0], dtype=torch.float64)
        >>> density(lanczos(lambda rows: rows * spectrum, torch.ones(1, 2).double(), 2)).weights.round(decimals=9)
        tensor([[1., 1.]], dtype=torch.float64)
    """
    nodes, vectors = torch.linalg.eigh(found.matrix)
    return Density(nodes, found.basis.shape[-1] * vectors[:, 0].square())


def spectral_density(
    operator: Operator, dim: int, *, n_steps: int, n_probes: int, generator: torch.Generator
) -> Density:
    """The spectrum of a symmetric operator as weighted nodes, one Gauss quadrature for each random probe.

    Args:
        operator: Symmetric.
        dim: Its size.
        n_steps: Nodes per probe. To see structure of width z at the lower end take several sqrt(largest / z).
        n_probes: At least 2, to have an error.
        generator: Draws the probes, uniform on the sphere, so that no basis is preferred.

    Raises:
        ValueError: Fewer than 2 probes, or no step.

    Example:
        >>> draws = torch.Generator().manual_seed(0)
        >>> nodes, weights = spectral_density(lambda rows: 3 * rows, 5, n_steps=4, n_probes=2, generator=draws)
        >>> nodes[:, -1].round(decimals=9), weights[:, -1]  # one eigenvalue, five times; nodes at 0 weigh nothing
        (tensor([3., 3.], dtype=torch.float64), tensor([5., 5.], dtype=torch.float64))
    """
    return density(lanczos(operator, random_probes(n_probes, dim, generator), min(n_steps, dim)))


def spectral_sum(density: Density, f: Callable[[Tensor], Float[Tensor, "*of probe node"]]) -> Estimate:
    """Sum of a function over all eigenvalues, tr f(H), with its standard error over the probes.

    Args:
        density: From `spectral_density`.
        f: Takes the nodes; new axes in front are kept, for a family of functions.

    Returns:
        The error does not hold that of the quadrature, which is small if f is smooth on the scale of the nodes.

    Example:
        >>> density = Density(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([[2.0, 2.0], [1.0, 3.0]]))
        >>> [round(x.item(), 4) for x in spectral_sum(density, torch.square)]  # 20 and 28
        [24.0, 4.0]
    """
    return over_probes((density.weights * f(density.nodes)).sum(-1))


def over_probes(values: Float[Tensor, "*of probe"]) -> Estimate:
    """Mean over the last axis and its standard error."""
    return Estimate(values.mean(-1), values.std(-1) / values.shape[-1] ** 0.5)


def probe_error(density: Density, f: Callable[[Tensor], Float[Tensor, "*of probe node"]]) -> Float[Tensor, "*of"]:
    """Standard error of a sum over all eigenvalues that is a mean over probes, from theory and not from their spread.

    A probe uniform on the sphere gives tr f(H) with variance 2 dim / (dim + 2) (tr f(H)^2 - (tr f(H))^2 / dim), and
    both traces are known far better than the spread of a few probes is.

    Args:
        density: From `spectral_density`.
        f: As for `spectral_sum`.

    Example:
        >>> both = Density(torch.tensor([[0.0, 2.0]] * 8), torch.tensor([[1.0, 1.0]] * 8))
        >>> probe_error(both, lambda nodes: nodes)  # variance 2 * 2 / 4 * (4 - 4 / 2) for a probe
        tensor(0.5000)

    Source: Girard 1989, for the sphere.
    """
    values = f(density.nodes)
    dim = density.weights.sum(-1).mean()
    first, second = ((density.weights * part).sum(-1).mean(-1) for part in (values, values.square()))
    variance = 2 * dim / (dim + 2) * (second - first.square() / dim).clamp(min=0.0)
    return (variance / len(density.nodes)).sqrt()


def random_probes(n_probes: int, dim: int, generator: torch.Generator) -> Float[Tensor, "probe dim"]:
    """Unit vectors uniform on the sphere, float64.

    Raises:
        ValueError: Fewer than 2.

    Example:
        >>> random_probes(2, 3, torch.Generator().manual_seed(0)).norm(dim=1).round(decimals=9)
        tensor([1., 1.], dtype=torch.float64)
    """
    if n_probes < 2:
        raise ValueError(f"n_probes must be at least 2, so that there is an error; got {n_probes}")
    return uniform(n_probes, dim, generator)
