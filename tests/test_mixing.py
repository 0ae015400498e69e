"""Mixtures of table rows against a sum that is written out, and products by oneDNN against float64."""

import itertools

import pytest
import torch
from calls import ends_of
from oracles import noise
from tiny import tiny
from torch import Tensor

from circuitgrok import onednn
from circuitgrok.apart import APART, LINE, bmm, placed, room, rows_apart
from circuitgrok.models.fused import Workspace
from circuitgrok.models.mixing import flat, mixtures, plan

SHAPES = {  # runs, pairs, heads, width of a head, widths of the matrices, tokens of either position
    "one-run": (1, 29, 2, 3, (16, 5), (7, 7)),
    "stack": (3, 29, 2, 3, (16, 5), (7, 7)),
    "own-tokens": (2, 40, 3, 2, (9, 4), (5, 8)),
    "one-head": (3, 17, 1, 6, (1, 33), (4, 4)),
    "one-pair": (2, 1, 2, 2, (3, 2), (3, 3)),
    "lines": (3, 32, 4, 8, (64, 32), (8, 8)),
}


class Case:
    """Operands of `mixtures`, float64, with what the gradients are multiplied by."""

    def __init__(self, shape: str) -> None:
        runs, n, self.heads, d_head, widths, self.sizes = SHAPES[shape]
        generator = torch.Generator().manual_seed(5)
        self.tokens = [torch.randint(size, (runs, n), generator=generator) for size in self.sizes]
        self.tokens[1][:, n // 2 :] = 0  # many pairs of one token, and tokens without a pair
        width = self.heads * d_head
        self.weights = [noise(runs, n, self.heads, seed=i) for i in range(2)]
        self.values = [noise(runs, size, width, seed=2 + i) for i, size in enumerate(self.sizes)]
        self.matrices = [noise(runs, width, x, seed=4 + i) for i, x in enumerate(widths)]
        self.shared = [noise(runs, 1, x, seed=6 + i) for i, x in enumerate(widths)]
        self.turned = [noise(runs, n, x, seed=8 + i) for i, x in enumerate(widths)]
        self.terms = n + sum(self.sizes) + sum(widths) + width + 2 * self.heads + 4  # added up for any number, at most

    def operands(self, dtype: torch.dtype, absolute: bool = False) -> list[Tensor]:
        given = [*self.weights, *self.values, *self.matrices, *self.shared]
        return [(x.abs() if absolute else x).to(dtype).requires_grad_() for x in given]

    def slopes(self, mixed: tuple[Tensor, ...], operands: list[Tensor], absolute: bool = False) -> list[Tensor]:
        turned = [(x.abs() if absolute else x).to(mixed[0].dtype) for x in self.turned]
        total = torch.stack([(turn * x).sum() for turn, x in zip(turned, mixed, strict=True)]).sum()
        return [*(x.detach() for x in mixed), *torch.autograd.grad(total, operands)]

    def ours(self, operands: list[Tensor]) -> tuple[Tensor, ...]:
        of = plan(self.tokens, self.sizes, self.heads)
        return mixtures(of, operands[:2], operands[2:4], operands[4:6], operands[6:])

    def written_out(self, operands: list[Tensor]) -> tuple[Tensor, ...]:
        """Every pair, position and head in turn."""
        runs, n = self.tokens[0].shape
        found = []
        for matrix, shared in zip(operands[4:6], operands[6:], strict=True):
            rows = []
            for run, pair in itertools.product(range(runs), range(n)):
                row = shared[run, 0]
                for position, head in itertools.product(range(2), range(self.heads)):
                    d_head = matrix.shape[1] // self.heads
                    of_head = slice(head * d_head, (head + 1) * d_head)
                    value = operands[2 + position][run, self.tokens[position][run, pair], of_head]
                    row = row + operands[position][run, pair, head] * (value @ matrix[run, of_head])
                rows.append(row)
            found.append(torch.stack(rows).unflatten(0, (runs, n)))
        return tuple(found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_mixtures_and_their_slopes_are_the_sum_written_out(shape, dtype):
    """Bound: each number is a sum of products; it is off by at most terms * u times the sum of their sizes."""
    case = Case(shape)
    rounded = [x.detach().double().requires_grad_() for x in case.operands(dtype)]
    case.turned = [x.to(dtype).double() for x in case.turned]
    operands = case.operands(dtype)
    ours = case.slopes(case.ours(operands), operands)
    exact = case.slopes(case.written_out(rounded), rounded)
    sizes = case.operands(torch.float64, absolute=True)
    magnitudes = case.slopes(case.written_out(sizes), sizes, absolute=True)
    for mine, its, magnitude in zip(ours, exact, magnitudes, strict=True):
        assert mine.dtype == dtype and mine.shape == its.shape
        assert ((mine - its).abs() <= 2 * case.terms * torch.finfo(dtype).eps * magnitude).all()


@pytest.mark.bits
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [name for name in SHAPES if SHAPES[name][0] > 1])
def test_each_runs_mixtures_have_the_bits_they_have_alone(shape, dtype):
    case = Case(shape)
    operands = case.operands(dtype)
    together = case.slopes(case.ours(operands), operands)
    for run in range(len(case.tokens[0])):
        alone = Case(shape)
        alone.tokens = [x[run : run + 1].clone() for x in case.tokens]
        alone.turned = [x[run : run + 1].clone() for x in case.turned]
        own = [x.detach()[run : run + 1].clone().requires_grad_() for x in operands]
        for theirs, mine in zip(together, alone.slopes(alone.ours(own), own), strict=True):
            assert torch.equal(theirs[run : run + 1], mine)


def test_a_plan_is_kept_for_the_same_tokens_and_made_anew_for_others():
    tokens, workspace = [torch.tensor([[0, 1, 2, 2]]), torch.tensor([[2, 2, 0, 1]])], Workspace()
    first = workspace.plan(tokens, (3, 3), 2)
    assert workspace.plan([x[:] for x in tokens], (3, 3), 2) is first  # another view of the same memory
    assert workspace.plan([x.clone() for x in tokens], (3, 3), 2) is not first
    again = workspace.plan(tokens, (3, 3), 2)
    tokens[0][0, 0] = 1
    changed = workspace.plan(tokens, (3, 3), 2)
    assert changed is not again and not torch.equal(changed.rows, again.rows)
    assert workspace.plan(tokens, (3, 3), 1) is not changed and workspace.plan(tokens, (4, 3), 1).sizes == (4, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 15, 16, 33])
@pytest.mark.parametrize("width", [1, 7, 512])
def test_rows_apart_begin_on_a_line_and_are_counted_through(n, width, dtype):
    x = rows_apart(torch.empty(0, dtype=dtype), 3, n, width)
    assert x.shape == (3, n, width) and x[0].is_contiguous() and x.stride(0) > n * width
    assert {run.data_ptr() % LINE for run in x} == {0} and placed(x) is x
    rows = flat(x)
    assert (
        rows[x.stride(0) // width + n - 1].data_ptr() == x[1, -1].data_ptr()
        and rows[-1].data_ptr() == x[2, -1].data_ptr()
    )


# --- oneDNN -----------------------------------------------------------------------------------------

needs_onednn = pytest.mark.skipif(not onednn.BUILT, reason="torch was built without oneDNN")


def large(transposed: tuple[bool, bool], runs: int = 1) -> tuple[Tensor, Tensor]:
    """Factors of 130 x 170 and 170 x 90, in float32."""
    a, b = noise(runs, 130, 170, seed=1).float(), noise(runs, 170, 90, seed=2).float()
    return tuple(
        placed(x.mT.contiguous()).mT if turn else placed(x) for x, turn in zip((a, b), transposed, strict=True)
    )  # pyright: ignore


@needs_onednn
@pytest.mark.parametrize("transposed", list(itertools.product([False, True], repeat=2)))
def test_product_by_onednn_is_that_of_float64_however_the_factors_lie(transposed):
    a, b = large(transposed)
    assert onednn.multiplies(a, b)
    product, exact = onednn.product(a[0], b[0]), a[0].double() @ b[0].double()
    assert product.is_contiguous() and product.dtype == torch.float32
    bound = a.shape[-1] * torch.finfo(torch.float32).eps * (a[0].double().abs() @ b[0].double().abs())
    assert ((product - exact).abs() <= bound).all()


@needs_onednn
@pytest.mark.bits
@pytest.mark.parametrize("laid", [room, rows_apart])
@pytest.mark.parametrize("transposed", list(itertools.product([False, True], repeat=2)))
def test_each_runs_product_by_onednn_has_the_bits_it_has_alone(transposed, laid):
    a, b = large(transposed, runs=3)
    together = bmm(a, b, laid)
    assert together.stride() == laid(a, *together.shape).stride()
    for run in range(3):
        assert torch.equal(together[run], bmm(a[run : run + 1].clone(), b[run : run + 1].clone(), laid)[0])


@needs_onednn
def test_onednn_takes_large_products_of_float32_only():
    a, b = large((False, False))
    assert not onednn.multiplies(a.double(), b.double()) and not onednn.multiplies(a[:, :100, :100], b[:, :100])
    x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
    product = APART.product(x, y)
    slopes = torch.autograd.grad(product.square().sum(), (x, y))
    plain = torch.autograd.grad((x @ y).square().sum(), (x, y))
    assert torch.equal(product[0], onednn.product(a[0], b[0]))
    for mine, its in zip(slopes, plain, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4 * its.abs().max().item())


@needs_onednn
@pytest.mark.bits
def test_a_run_whose_products_are_onednns_has_the_bits_of_the_run_alone(monkeypatch):
    shape = {"p": 23, "d_model": 32, "n_heads": 4, "d_head": 8, "d_mlp": 320, "frac_train": 0.5, "warmup": 0}
    configs = [tiny(**shape, seed=i) for i in range(3)]
    taken, product = [], onednn.product
    monkeypatch.setattr(onednn, "product", lambda a, b: taken.append(a.shape) or product(a, b))
    together, records = ends_of(configs)
    assert len(taken) >= 3 * 3 * 3
    for i, config in enumerate(configs):
        alone, [record] = ends_of([config])
        assert torch.equal(together[i], alone[0]) and str(record) == str(records[i])  # nan is nan


@needs_onednn
@pytest.mark.bits
def test_two_threads_give_the_same_bits_twice():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        a, b = large((True, False))
        assert len({onednn.product(a[0], b[0]).numpy().tobytes() for _ in range(20)}) == 1
    finally:
        torch.set_num_threads(before)
