"""Arithmetic on Params: laws that hold with and without stack axes."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from loops import for_each

from circuitgrok.models.transformer import Transformer
from circuitgrok.tree import Params, combine, dot, is_bias, norm, ravel, role, stack, unravel, unstack

SHAPES = {"embed.W_E": (4, 3), "blocks.0.attn.W_Q": (2, 3, 2), "unembed.b_U": (5,), "scalar": ()}
TOTAL = 12 + 12 + 5 + 1


def draw(seed: int, leading: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> Params:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(leading + s, generator=generator, dtype=dtype) for n, s in SHAPES.items()}


# --- names ------------------------------------------------------------------------------------------


def test_every_tensor_of_a_transformer_has_its_role():
    names = Transformer(n_layers=2, normalization="LN").shapes()
    by_role = {r: {n for n in names if role(n) == r} for r in map(role, names)}
    assert by_role["embed"] == {"embed.W_E", "pos_embed.W_pos"}
    assert by_role["unembed"] == {"unembed.W_U", "unembed.b_U"}
    assert len(by_role["attention"]) == 2 * 8 and all(".attn." in n for n in by_role["attention"])
    assert len(by_role["mlp"]) == 2 * 4 and all(".mlp." in n for n in by_role["mlp"])
    assert len(by_role["normalization"]) == 2 * 4 + 2


@for_each("name", ["scalar", "W_E", "blocks.0.conv.W", "blocks.0.hook_embed"])
def test_name_without_a_role_is_refused(name):
    with pytest.raises(ValueError, match=f"no role is known for a tensor named '{name}'; known roles are embed"):
        role(name)


def test_biases_are_told_by_their_own_name():
    names = Transformer(normalization="LN").shapes()
    biases = {n.removeprefix("blocks.0.") for n in names if is_bias(n)}
    attention, mlp = {f"attn.b_{x}" for x in "QKVO"}, {"mlp.b_in", "mlp.b_out"}
    assert biases == attention | mlp | {"ln1.b", "ln2.b", "ln_final.b", "unembed.b_U"}


# --- inner product ----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(100, 199), st.floats(-8, 8))
def test_dot_is_that_of_the_flat_vectors_and_an_inner_product(i, j, c):
    x, y = draw(i), draw(j)
    torch.testing.assert_close(dot(x, y), ravel(x) @ ravel(y), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dot(x, y), dot(y, x), rtol=1e-12, atol=1e-12)
    scaled = combine(lambda v: c * v, x)
    torch.testing.assert_close(dot(scaled, y), c * dot(x, y), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(norm(scaled), abs(c) * norm(x), rtol=1e-12, atol=1e-12)
    assert dot(x, y).abs() <= norm(x) * norm(y)
    torch.testing.assert_close(dot(combine(torch.add, x, y), y), dot(x, y) + dot(y, y), rtol=1e-12, atol=1e-12)


@for_each("leading", [(3,), (3, 2)])
def test_over_stack_axes_there_is_one_number_each(leading):
    x, y = draw(0, leading), draw(1, leading)
    result = dot(x, y, axes=len(leading))
    assert result.shape == leading
    for index in torch.cartesian_prod(*map(torch.arange, leading)).view(-1, len(leading)).tolist():
        at = tuple(index)
        single = dot({n: v[at] for n, v in x.items()}, {n: v[at] for n, v in y.items()})
        torch.testing.assert_close(result[at], single, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm(x, len(leading)), dot(x, x, len(leading)).sqrt())
    torch.testing.assert_close(norm(x), norm(x, len(leading)).square().sum().sqrt(), rtol=1e-12, atol=0)


def test_sums_are_taken_in_float64():
    x = {"w": torch.tensor([1e4] + [1e-2] * 10_000)}  # in float32 each 1e-4 is lost beside 1e8
    assert dot(x, x).dtype == torch.float64
    assert dot(x, x).item() == pytest.approx(1e8 + 1.0, abs=1e-4)
    assert norm({"w": torch.full((4,), 1e30)}).item() == pytest.approx(2e30, rel=1e-6)  # float32 overflows


def test_inner_product_of_nothing_is_refused():
    with pytest.raises(ValueError, match="empty Params"):
        norm({})


def test_gradient_of_the_norm_is_the_direction():
    x = {n: v.requires_grad_() for n, v in draw(0).items()}
    norm(x).backward()
    for value in x.values():
        torch.testing.assert_close(value.grad, (value / norm(x)).detach())


# --- stacks -----------------------------------------------------------------------------------------


def test_unstack_inverts_stack_and_gives_views():
    trees = [draw(i) for i in range(3)]
    stacked = stack(trees)
    assert {n: v.shape for n, v in stacked.items()} == {n: torch.Size((3, *s)) for n, s in SHAPES.items()}
    for tree, back in zip(trees, unstack(stacked), strict=True):
        assert list(back) == list(SHAPES)
        assert all(torch.equal(back[n], tree[n]) for n in SHAPES)
    unstack(stacked)[1]["embed.W_E"].zero_()
    assert not stacked["embed.W_E"][1].any() and stacked["embed.W_E"][0].any()


def test_stack_takes_an_iterator():
    assert stack(draw(i) for i in range(2))["scalar"].shape == (2,)


def test_combine_goes_by_name_not_by_order():
    x = draw(0)
    reversed_x = dict(reversed(list(x.items())))
    assert all(not value.any() for value in combine(torch.sub, x, reversed_x).values())


# --- flat vectors -----------------------------------------------------------------------------------


@for_each("leading", [(), (3,), (3, 2)])
def test_unravel_inverts_ravel_over_any_stack_axes(leading):
    params, like = draw(0, leading), draw(1)
    flat = ravel(params, axes=len(leading))
    assert flat.shape == (*leading, TOTAL)
    back = unravel(flat, like)
    assert list(back) == list(SHAPES)
    assert all(torch.equal(back[n], params[n]) for n in SHAPES)


def test_ravel_concatenates_in_the_order_of_the_dict():
    params = draw(0)
    expected = torch.tensor([x for value in params.values() for x in value.flatten().tolist()]).double()
    torch.testing.assert_close(ravel(params), expected, rtol=0, atol=1e-6)


def test_unravel_gives_views_and_leaves_padding_alone():
    flat = torch.zeros(2, TOTAL + 3)
    for value in unravel(flat, draw(0)).values():
        value += 1
    assert flat[:, :TOTAL].eq(1).all() and not flat[:, TOTAL:].any()


def test_ravel_and_unravel_under_vmap_are_those_of_the_stack():
    stacked = draw(0, (4,))
    flat = torch.func.vmap(ravel)(stacked)
    assert torch.equal(flat, ravel(stacked, axes=1))
    like = draw(1)
    back = torch.func.vmap(lambda row: unravel(row, like))(flat)
    assert all(torch.equal(back[n], stacked[n]) for n in SHAPES)
    torch.testing.assert_close(torch.func.vmap(norm)(stacked), norm(stacked, axes=1), rtol=1e-12, atol=0)


def test_norm_of_a_flat_vector_is_that_of_its_params():
    params = draw(0, dtype=torch.float32)
    assert norm(params).item() == pytest.approx(math.sqrt((ravel(params).double() ** 2).sum().item()), rel=1e-12)
