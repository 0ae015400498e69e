"""Mixtures of table rows, with gradients by hand: what attention gives each pair, as a matrix sees it.

Attention's output is a sum over positions of a weight times a value that depends on one token, so its product with a
matrix M needs no product for each pair:

    z M = sum_i sum_h a_i[pair, h] T_i[token_i, h],    T_i[token, h] = u_i[token, h] M_h

with tables of a row for each token and head. Of n pairs, that is 2 heads multiplications for each number in place of
heads * d_head, forward and in both slopes. Tables are made and differentiated by products of p rows. The sums are
torch's embedding bags; what they need to know of the pairs, a `Plan`, is kept as long as the pairs stay the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from circuitgrok.apart import placed, room, rows_apart, spacing

bag = torch.ops.aten._embedding_bag_forward_only
bag_slopes = torch.ops.aten._embedding_bag_per_sample_weights_backward


class Plan(NamedTuple):
    """Where the rows of a stack's pairs stand in its tables, and the other way round.

    A table has for each run a row for each head, position and token, and at last one that all pairs share; rows of
    pairs and of tables are counted through the stack, with the gaps between runs.

    Attributes:
        n_pairs: Of each run.
        sizes: How many tokens each position can have.
        heads: Their number.
        rows: Of the table, for each pair: heads of the first position, of the second, the shared row.
        begins: For each pair where its rows begin in `rows`.
        weighted: `rows` without the shared one.
        pair: For each of `weighted` its pair.
        pairs: For each row of the table the pairs with that token, row after row.
        pairs_begin: For each row of the table where its pairs begin in `pairs`.
        weights: For each of `pairs` its weight's place among the weights of `rows`.
    """

    n_pairs: int
    sizes: tuple[int, ...]
    heads: int
    rows: Tensor
    begins: Tensor
    weighted: Tensor
    pair: Tensor
    pairs: Tensor
    pairs_begin: Tensor
    weights: Tensor


def plan(tokens: Sequence[Tensor], sizes: Sequence[int], heads: int) -> Plan:
    """The plan of pairs.

    Args:
        tokens: Of both positions, `[run pair]`.
        sizes: How many tokens each position can have.
        heads: Their number.
    """
    runs, n = tokens[0].shape
    n_rows = sum(sizes)
    device = tokens[0].device
    head, run = torch.arange(heads, device=device), torch.arange(runs, device=device)[:, None, None]
    apart_pairs, apart_rows = spacing(runs, n), spacing(runs, heads * n_rows + 1)
    token = torch.stack([tokens[0], tokens[1] + sizes[0]], 1)  # [run position pair]
    order = token.argsort(dim=-1, stable=True)
    weighted = (token.mT.unsqueeze(-1) + n_rows * head).flatten(2) + apart_rows * run  # [run pair position*head]
    shared = (heads * n_rows + apart_rows * run).expand(-1, n, 1)
    begins = torch.arange(apart_pairs, device=device).clamp(max=n) + n * run
    counted = token.new_zeros(runs, n_rows).scatter_add_(1, token.flatten(1), torch.ones_like(token).flatten(1))
    before = counted.cumsum(1).sub_(counted).unsqueeze(1) + 2 * n * head[:, None]  # [run head row]
    pairs_begin = token.new_full((runs, apart_rows), 2 * n * heads)
    pairs_begin[:, : heads * n_rows] = before.flatten(1)
    position = torch.arange(2, device=device)[:, None]
    places = ((order + n * run) * (2 * heads + 1) + heads * position).flatten(1)
    return Plan(
        n_pairs=n,
        sizes=tuple(sizes),
        heads=heads,
        rows=_row(torch.cat([weighted, shared], -1)),
        begins=_row(begins * (2 * heads + 1)),
        weighted=_row(weighted),
        pair=_row((torch.arange(n, device=device)[:, None] + apart_pairs * run).expand(-1, -1, 2 * heads)),
        pairs=_row((order + apart_pairs * run).flatten(1).unsqueeze(1).expand(-1, heads, -1)),
        pairs_begin=_row(pairs_begin + 2 * n * heads * run[:, 0]),
        weights=_row(places.unsqueeze(1) + head[:, None]),
    )


def _row(x: Tensor) -> Tensor:
    return x.flatten().contiguous()


def mixtures(
    of: Plan,
    weights: Sequence[Float[Tensor, "run pair head"]],
    values: Sequence[Float[Tensor, "run token hd"]],
    matrices: Sequence[Float[Tensor, "run hd width"]],
    shared: Sequence[Float[Tensor, "run 1 width"]],
) -> tuple[Tensor, ...]:
    """shared + z M `[run pair width]` for each matrix M, to be differentiated once.

    Args:
        of: The pairs.
        weights: Of both positions.
        values: Of both positions' tokens, heads side by side.
        matrices: What attention's output is multiplied by.
        shared: A row for all pairs, for each matrix.
    """
    return _Mixtures.apply(of, *weights, *values, *matrices, *shared)  # pyright: ignore


class _Mixtures(torch.autograd.Function):
    @staticmethod
    def forward(ctx, of, first, second, first_values, second_values, *rest):
        values = by_head(placed(torch.cat([first_values, second_values], 1)), of.heads)
        matrices, shared = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        matrices = [placed(matrix).unflatten(1, (of.heads, -1)) for matrix in matrices]
        coefs = torch.cat([first, second, first.new_ones(1, 1, 1).expand(*first.shape[:2], 1)], -1).flatten()
        tables, mixed = [], []
        for matrix, row in zip(matrices, shared, strict=True):
            table = rows_apart(row, len(row), of.heads * sum(of.sizes) + 1, row.shape[-1])
            tables_of_heads = table[:, :-1].unflatten(1, (of.heads, -1))
            _products(values, matrix, tables_of_heads)
            table[:, -1:] = row
            tables.append(table)
            sums = bag(flat(table), of.rows, of.begins, False, 0, False, coefs, False, -1)[0]
            mixed.append(sums.unflatten(0, (len(row), -1))[:, : of.n_pairs])
        ctx.save_for_backward(coefs, values, *matrices, *tables)
        ctx.plan = of
        return tuple(mixed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads):  # pyright: ignore[reportIncompatibleMethodOverride]
        coefs, values, *rest = ctx.saved_tensors
        of, runs = ctx.plan, len(values)
        matrices, tables = rest[: len(grads)], rest[len(grads) :]
        turned = coefs.index_select(0, of.weights)
        slopes, by_values, by_matrices = [], [], []
        for grad, matrix, table in zip(grads, matrices, tables, strict=True):
            rows = flat(_by_rows(grad))
            slopes.append(bag_slopes(rows, flat(table), of.weighted, of.begins, of.pair, 0, -1))
            sums = bag(rows, of.pairs, of.pairs_begin, False, 0, False, turned, False, -1)[0]
            of_heads = sums.unflatten(0, (runs, -1))[:, : of.heads * sum(of.sizes)].unflatten(1, (of.heads, -1))
            by_values.append(_products(of_heads, matrix.mT, room(values, *values.shape)))
            by_matrices.append(_products(values.mT, of_heads, room(matrix, *matrix.shape)).flatten(1, 2))
        slope = sum(slopes[1:], start=slopes[0]).view(runs, of.n_pairs, 2, of.heads)
        by_value = sum(by_values[1:], start=by_values[0]).transpose(1, 2).flatten(2)
        by_values = (room(part, *part.shape).copy_(part) for part in by_value.split(of.sizes, 1))
        by_shared = (grad.sum(1, keepdim=True) for grad in grads)
        return None, slope[:, :, 0], slope[:, :, 1], *by_values, *by_matrices, *by_shared


def _products(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """a b of each run's heads, run by run."""
    for run in zip(a, b, out, strict=True):
        torch.bmm(run[0], run[1], out=run[2])
    return out


def by_head(x: Tensor, heads: int) -> Tensor:
    """[run row head*d] -> [run head row d]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def flat(x: Tensor) -> Tensor:
    """The rows of all runs, one after the other, with those between runs."""
    runs, n, width = x.shape
    return x.as_strided(((runs - 1) * (x.stride(0) // width) + n, width), (width, 1))


def _by_rows(x: Tensor) -> Tensor:
    """The tensor, or its copy if it does not lie as `rows_apart`."""
    runs, n, width = x.shape
    lies = x.stride()[1:] == (width, 1) and (runs == 1 or x.stride(0) == spacing(runs, n) * width)
    return x if lies else rows_apart(x, *x.shape).copy_(x)
