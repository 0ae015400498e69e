"""Curvature of any loss at a point: products with its Hessian, the dense matrix, extreme eigenvalues.

A symmetric matrix of 50 000 rows is not written down; it is an `Operator`, a function that multiplies many vectors
at once. Everything further (extreme eigenvalues here, the whole spectrum in `lanczos`, blocks in `polar_hessian`)
sees operators only. The dense matrix is the oracle for small networks.

A Hessian-vector product is the gradient of <gradient, v>. The graph of the gradient is built once for each point and
kept, so that a product costs one backward pass through it.

Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian".
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.landscape.flat import LossFunction
from circuitgrok.surroundings import in_plain_surroundings

Operator = Callable[[Float[Tensor, "k dim"]], Float[Tensor, "k dim"]]
DENSE_LIMIT = 20_000
_AT_ONCE = 32  # vectors in one pass: enough to hide the cost of launching small operations
_TOLERANCE = 1e-8  # residual at which ARPACK stops, over 2 lambda_max at the lower end; eigenvalues err by less
_BASIS = 100  # vectors that ARPACK keeps: 40 MB for 50 000 weights


def hessian_operator(loss: LossFunction, at: Float[Tensor, " dim"]) -> Operator:
    """Multiplication by the Hessian of a loss at a point.

    Args:
        loss: Twice differentiable there (where a ReLU sits at its kink, the kink has no curvature).
        at: The point, in float64.

    Returns:
        A function of vectors `[k dim]`. It keeps the graph of the gradient: one per point, dropped with it.

    Raises:
        ValueError: `at` is not float64: float32 noise is about 1e-7 of the curvature, more than most eigenvalues.

    Example:
        >>> at = torch.tensor([1.0, 2.0], dtype=torch.float64)
        >>> hessian_operator(lambda w: w[0] ** 2 * w[1], at)(torch.eye(2, dtype=torch.float64))
        tensor([[4., 2.],
                [2., 0.]], dtype=torch.float64)
    """
    if at.dtype != torch.float64:
        raise ValueError(f"the point must be float64, because float32 noise hides small eigenvalues; got {at.dtype}")
    point = at.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(point), point, create_graph=True)

    def multiply(vectors: Float[Tensor, "k dim"]) -> Float[Tensor, "k dim"]:
        if not gradient.requires_grad:  # a linear loss
            return torch.zeros_like(vectors)
        parts = [
            torch.autograd.grad(
                gradient, point, part, retain_graph=True, is_grads_batched=True, materialize_grads=True
            )[0]
            for part in vectors.split(_AT_ONCE)
        ]
        return torch.cat(parts)

    return multiply


def as_matrix(operator: Operator, dim: int) -> Float[Tensor, "dim dim"]:
    """The matrix of a symmetric operator, written down; the mean of itself and its transpose.

    Args:
        operator: Symmetric, up to rounding.
        dim: Its size, at most 20 000 (3.2 GB in float64).

    Raises:
        ValueError: `dim` is larger.

    Example:
        >>> as_matrix(lambda rows: 2 * rows, 2)
        tensor([[2., 0.],
                [0., 2.]], dtype=torch.float64)
    """
    if dim > DENSE_LIMIT:
        raise UserError(
            f"a dense matrix may have at most {DENSE_LIMIT} rows; {dim} would take {8e-9 * dim**2:.1f} GB: "
            "use extreme_eigenpairs or spectral_density, or declare fewer tensors"
        )
    rows = torch.empty(dim, dim, dtype=torch.float64)
    for start in range(0, dim, _AT_ONCE):
        stop = min(start + _AT_ONCE, dim)
        unit = torch.zeros(stop - start, dim, dtype=torch.float64)
        unit[:, start:stop].fill_diagonal_(1.0)
        rows[start:stop] = operator(unit)
    return (rows + rows.T) / 2


class Eigenpairs(NamedTuple):
    """Some eigenvalues with their eigenvectors, largest first.

    Attributes:
        values: Eigenvalues.
        vectors: Orthonormal, one per row.
        residuals: |H v - lambda v|. Some eigenvalue of H lies within this distance of the one given.
    """

    values: Float[Tensor, " eig"]
    vectors: Float[Tensor, "eig dim"]
    residuals: Float[Tensor, " eig"]


@in_plain_surroundings
def extreme_eigenpairs(
    operator: Operator, dim: int, *, n_top: int, n_bottom: int, generator: torch.Generator
) -> Eigenpairs:
    """The largest and the smallest eigenvalues of a symmetric operator, by implicitly restarted Lanczos.

    The smallest are found as those of H - 2 lambda_max: ARPACK asks for an accuracy relative to the eigenvalue, which
    for one near zero would never be reached.

    Args:
        operator: Symmetric; called with one vector at a time.
        dim: Its size.
        n_top: How many of the largest, at least 1.
        n_bottom: How many of the smallest, 0 or more.
        generator: Draws the start vector.

    Returns:
        `n_top + n_bottom` pairs, largest first.

    Raises:
        ValueError: Fewer than one or more than `dim` - 1 are asked for: then write the matrix down.

    Example:
        >>> diagonal = torch.tensor([-1.0, 0.0, 2.0, 5.0], dtype=torch.float64)
        >>> draws = torch.Generator().manual_seed(0)
        >>> found = extreme_eigenpairs(lambda rows: rows * diagonal, 4, n_top=1, n_bottom=1, generator=draws)
        >>> found.values.round(decimals=8)
        tensor([ 5., -1.], dtype=torch.float64)

    Source: Lehoucq, Sorensen and Yang 1998, ARPACK users' guide.
    """
    if n_top < 1 or n_bottom < 0 or n_top + n_bottom >= dim:
        raise UserError(
            f"n_top must be at least 1 and n_top + n_bottom at most dim - 1 = {dim - 1}; got {n_top} and {n_bottom}: "
            "for all eigenvalues take torch.linalg.eigh of as_matrix"
        )
    start = torch.randn(dim, generator=generator, dtype=torch.float64)
    vectors = [_top(operator, start, n_top)]
    if n_bottom:
        shift = 2 * (vectors[0][:1] * operator(vectors[0][:1])).sum()
        vectors.append(_top(lambda rows: shift.abs() * rows - operator(rows), start, n_bottom).flip(0))
    found = torch.cat(vectors)
    products = operator(found)
    values = (found * products).sum(-1)
    return Eigenpairs(values, found, (products - values[:, None] * found).norm(dim=-1))


def _top(operator: Operator, start: Float[Tensor, " dim"], k: int) -> Float[Tensor, "k dim"]:
    """Eigenvectors of the k largest eigenvalues, largest first."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    def multiply(vector):
        return operator(torch.tensor(vector).reshape(1, -1))[0].numpy()

    matrix = LinearOperator((len(start), len(start)), matvec=multiply, dtype="float64")  # pyright: ignore[reportCallIssue]
    basis = min(len(start), max(_BASIS, 2 * k + 1))
    vectors = eigsh(matrix, k=k, which="LA", v0=start.numpy(), ncv=basis, tol=_TOLERANCE)[1]  # pyright: ignore
    return torch.tensor(vectors.T).flip(0).contiguous()
