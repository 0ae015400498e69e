"""Penalties: slopes against finite differences, values in closed form, and runs that share no arithmetic."""

import math
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from oracles import generator, noise
from tiny import kinds_of
from torch import Tensor

from circuitgrok import tree
from circuitgrok.config.train_config import TrainConfig
from circuitgrok.interventions.base import KINDS, Applied
from circuitgrok.interventions.penalties import Coefficient, Penalty
from circuitgrok.models.transformer import Transformer
from circuitgrok.tree import Params

EPS = torch.finfo(torch.float64).eps
PENALTIES = kinds_of(Penalty)
MODEL = Transformer(p=5, d_model=6, n_heads=2, d_head=3, d_mlp=7)


class Anchor(NamedTuple):
    """What penalties may refer to beside the weights."""

    start: Params
    radius: Tensor
    bound: Tensor


def value_of(name: str, weights: Params, anchor: Anchor) -> Tensor:
    """The penalty at coefficient 1."""
    kind = KINDS[name]
    assert issubclass(kind, Penalty)
    fields = {"target_radius": anchor.radius.double(), "repel_bound": anchor.bound.double()}
    return Applied(kind, fields)(weights, **({"start": anchor.start} if kind.from_start else {}))


l1, l2, nuclear, spectral_entropy, target_norm, anti_decay, repulsion = (partial(value_of, name) for name in PENALTIES)


def stack(runs: int, dtype: torch.dtype = torch.float64, model: Transformer = MODEL) -> Params:
    """Random networks as training holds them: views into one flat tensor, biases that train set away from zero."""
    drawn = [model.init(generator(seed)) for seed in range(runs)]
    one = {name: value for name, value in tree.stack(drawn).items() if model.is_trainable(name)}
    flat = tree.ravel(one, axes=1).to(dtype)
    biased = flat + 0.1 * noise(runs, flat.shape[-1], seed=99).to(dtype)
    return tree.unravel(biased, {name: value[0] for name, value in one.items()})


def anchored(weights: Params) -> Anchor:
    """Start near the weights, radius above their norm, bound about the distance: no penalty is at a flat place."""
    start = {name: value.detach() + 0.1 * noise(*value.shape, seed=7) for name, value in weights.items()}
    norms = tree.norm(weights, axes=1).detach()
    return Anchor(start, radius=1.5 * norms, bound=0.1 * norms)


def one_of(params: Params, run: int) -> Params:
    return {name: value[run : run + 1] for name, value in params.items()}


def alone(anchor: Anchor, run: int) -> Anchor:
    return Anchor(one_of(anchor.start, run), anchor.radius[run : run + 1], anchor.bound[run : run + 1])


def value_and_slope(name: str, weights: Params, anchor: Anchor) -> tuple[Tensor, Params]:
    leaves = {key: value.detach().requires_grad_() for key, value in weights.items()}
    value = value_of(name, leaves, anchor)
    slopes = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(leaves, slopes, strict=True))


# Every penalty there is


@pytest.mark.parametrize("name", PENALTIES)
def test_slope_is_that_of_finite_differences(name):
    weights = stack(2)
    anchor = anchored(weights)
    value, slope = value_and_slope(name, weights, anchor)
    for seed in range(3):
        along = {key: noise(*part.shape, seed=seed) for key, part in weights.items()}
        along = {key: part / tree.norm(along, axes=1).view(-1, *[1] * (part.ndim - 1)) for key, part in along.items()}

        def at(h: float, along: Params = along) -> Tensor:
            return value_of(name, tree.combine(lambda w, d: w + h * d, weights, along), anchor)

        # The fourth-order difference errs by f''''' h^4 / 30, which is 3e-10 of a slope that changes over lengths of
        # 0.1 (the smaller singular values), and by the rounding of six values, a few eps each, over h. No weight of
        # these networks passes through 0 on the way, where l1 has a kink.
        h = 1e-3
        numeric = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        error = (tree.dot(slope, along, axes=1) - numeric).abs()
        assert (error <= 1e-8 * tree.norm(slope, axes=1) + 32 * EPS * value.abs() / h).all()
        assert (tree.norm(slope, axes=1) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.bits
def test_a_run_in_a_stack_has_the_bits_it_has_alone(name, dtype):
    weights = stack(3, dtype)
    anchor = anchored(weights)
    value, slope = value_and_slope(name, weights, anchor)
    assert value.shape == (3,) and value.dtype == torch.float64
    for run in range(3):
        own, own_slope = value_and_slope(name, one_of(weights, run), alone(anchor, run))
        assert torch.equal(value[run], own[0])
        for key, part in slope.items():
            assert part.dtype == dtype and torch.equal(part[run], own_slope[key][0])


@pytest.mark.parametrize("name", PENALTIES)
def test_a_run_feels_nothing_of_its_neighbours(name):
    weights = stack(2)
    anchor = anchored(weights)
    leaves = {key: part.detach().requires_grad_() for key, part in weights.items()}
    first = value_of(name, leaves, anchor)[0]
    slopes = torch.autograd.grad(first, list(leaves.values()), allow_unused=True, materialize_grads=True)
    assert all(not slope[1].any() for slope in slopes)


@pytest.mark.parametrize("name", PENALTIES)
def test_value_and_slope_are_finite_at_initialization_in_float32(name):
    model = Transformer(
        p=7, d_model=8, n_heads=2, d_head=4, d_mlp=12, normalization="LN", train_biases=("mlp", "attention")
    )
    drawn = {key: value for key, value in model.init(generator(0)).items() if model.is_trainable(key)}
    weights = {key: value.float()[None] for key, value in drawn.items()}
    start = {key: value.clone() for key, value in weights.items()}  # biases are zero, and nothing has moved
    value, slope = value_and_slope(name, weights, Anchor(start, torch.tensor([50.0]), torch.tensor([3.0])))
    assert value.isfinite().all() and all(part.isfinite().all() for part in slope.values())


def test_every_one_says_what_it_is_in_one_line_each():
    for name in PENALTIES:
        kind: Any = KINDS[name]
        said = [kind.formula, kind.source, (kind.__doc__ or "").partition("\n")[0]]
        assert all(text and "\n" not in text for text in said), name
        assert kind.leaves()[name].description == f"coefficient of {name}, {kind.formula}"


# Closed forms


def hand_made() -> Params:
    """Two runs; the second is twice the first."""
    one = {
        "embed.W_E": torch.diag(torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64))[:2],
        "blocks.0.attn.W_Q": torch.stack([torch.eye(3), torch.ones(3, 3)]).double()[..., :2],  # two heads
        "blocks.0.attn.b_Q": torch.full((2, 3), 10.0, dtype=torch.float64),
        "blocks.0.mlp.b_in": torch.tensor([-1.0, 2.0], dtype=torch.float64),
    }
    return tree.stack([one, {name: 2 * value for name, value in one.items()}])


def nowhere(weights: Params) -> Anchor:
    """For penalties that do not look at it."""
    return Anchor(weights, torch.full((2,), torch.nan), torch.full((2,), torch.nan))


def test_sums_of_sizes_and_squares_by_hand():
    weights = hand_made()
    # W_E 3, 4; W_Q two ones in the first head, six in the second; b_Q six tens; b_in 1, 2.
    sizes, squares = 7 + 2 + 6 + 60 + 3, 25 + 2 + 6 + 600 + 5
    assert l1(weights, nowhere(weights)).tolist() == [sizes, 2 * sizes]
    assert l2(weights, nowhere(weights)).tolist() == [squares / 2, 4 * squares / 2]
    assert anti_decay(weights, nowhere(weights)).tolist() == [-squares, -4 * squares]


def test_singular_values_are_those_of_matrices_and_of_each_head():
    weights = hand_made()
    # W_E 3 and 4; the heads of W_Q [3, 2] are a piece of the identity (1, 1) and of ones (sqrt 6). No bias counts.
    total = 7 + 2 + math.sqrt(6)
    assert nuclear(weights, nowhere(weights)).tolist() == pytest.approx([total, 2 * total], rel=16 * EPS)
    entropy = -3 / 7 * math.log(3 / 7) - 4 / 7 * math.log(4 / 7) + math.log(2) + 0
    assert spectral_entropy(weights, nowhere(weights)).tolist() == pytest.approx([entropy, entropy], rel=32 * EPS)


def test_nuclear_norm_is_the_least_half_sum_of_squares_of_two_factors():
    matrix = noise(4, 6)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    balanced = (left * values.sqrt()).square().sum() / 2 + (values.sqrt()[:, None] * right).square().sum() / 2
    at = {"embed.W_E": matrix[None]}
    assert nuclear(at, nowhere(at)).item() == pytest.approx(balanced.item(), rel=32 * EPS)
    _, slope = value_and_slope("nuclear", at, nowhere(at))
    torch.testing.assert_close(slope["embed.W_E"][0], left @ right, rtol=0, atol=64 * EPS)


def test_spectral_entropy_does_not_change_with_scale_and_does_not_push_along_the_radius():
    weights = {"a.W": noise(2, 4, 5), "b.W": noise(2, 3, 4, 2, seed=1)}
    scaled = {"a.W": 1e3 * weights["a.W"], "b.W": weights["b.W"]}
    value, slope = value_and_slope("spectral_entropy", weights, nowhere(weights))
    torch.testing.assert_close(spectral_entropy(scaled, nowhere(weights)), value, rtol=64 * EPS, atol=0)
    for key, part in weights.items():
        radial = tree.dot({key: part}, {key: slope[key]}, axes=1)
        assert (radial.abs() <= 256 * EPS * tree.norm({key: part}, axes=1) * tree.norm({key: slope[key]}, axes=1)).all()


@pytest.mark.parametrize("name", ["nuclear", "spectral_entropy"])
def test_equal_and_vanishing_singular_values_have_finite_slopes(name):
    orthogonal = torch.linalg.qr(noise(5, 5)).Q
    thin = torch.outer(noise(5), noise(5, seed=1))
    weights = {"equal.W": orthogonal[None], "rank_one.W": thin[None], "zero.W": torch.zeros(1, 3, 4).double()}
    value, slope = value_and_slope(name, weights, nowhere(weights))
    assert not slope["zero.W"].any()
    if name == "nuclear":
        expected = {"equal.W": orthogonal, "rank_one.W": thin / thin.norm()}  # U V^T of what is not zero
        assert value.item() == pytest.approx(5 + thin.norm().item(), rel=32 * EPS)
    else:  # the largest entropy, and the least: stationary both
        expected = {"equal.W": torch.zeros(5, 5).double(), "rank_one.W": torch.zeros(5, 5).double()}
        assert value.item() == pytest.approx(math.log(5), rel=32 * EPS)
    for key, part in expected.items():
        torch.testing.assert_close(slope[key][0], part, rtol=0, atol=64 * EPS)


def test_l1_leaves_a_number_that_is_zero():
    weights = {"w": torch.tensor([[0.0, -2.0, 3.0]])}
    assert value_and_slope("l1", weights, nowhere(weights))[1]["w"].tolist() == [[0.0, -1.0, 1.0]]


def test_target_norm_pulls_along_the_radius_outwards_or_inwards():
    weights = {"a": torch.tensor([[3.0, 0.0], [3.0, 0.0]]), "b": torch.tensor([4.0, 4.0])}  # r = 5
    anchor = nowhere(weights)._replace(radius=torch.tensor([7.0, 2.0]))
    value, slope = value_and_slope("target_norm", weights, anchor)
    assert value.tolist() == [4.0, 9.0]
    outwards, inwards = 2 * -2 / 5, 2 * 3 / 5  # 2 (r - R) / r
    torch.testing.assert_close(slope["a"], torch.tensor([[3 * outwards, 0.0], [3 * inwards, 0.0]]))
    torch.testing.assert_close(slope["b"], torch.tensor([4 * outwards, 4 * inwards]))
    assert target_norm(weights, anchor._replace(radius=torch.tensor([5.0, 5.0]))).tolist() == [0.0, 0.0]


def test_repulsion_is_a_parabola_near_the_start_and_level_far_away():
    bound, distance = 2.0, torch.tensor([1e-6, 20.0], dtype=torch.float64)
    start = {"w": noise(2, 3), "v": noise(2, seed=1)}
    weights = {"w": start["w"], "v": start["v"] + distance}
    value = repulsion(weights, Anchor(start, torch.zeros(2), torch.full((2,), bound)))
    # v is known to a rounding of numbers below 4, which is 4 eps of 1e-6; the next term of the series is 1e-13.
    assert value[0].item() == pytest.approx(-0.5e-12, rel=2 * 4 * EPS / 1e-6)
    assert value[1].item() == pytest.approx(-(bound**2), rel=4 * EPS)  # exp(-50) is below a rounding


def test_the_force_of_repulsion_is_largest_at_the_bound():
    bound = 3.0
    distances = torch.tensor([0.0, 0.9, 1.0, 1.1, 3.0], dtype=torch.float64) * bound
    start = {"w": torch.zeros(5, 1, dtype=torch.float64)}
    anchor = Anchor(start, torch.zeros(5), torch.full((5,), bound))
    value, slope = value_and_slope("repulsion", {"w": distances[:, None]}, anchor)
    force = -slope["w"][:, 0]
    assert force[0] == 0 and force.argmax() == 2
    assert force[2].item() == pytest.approx(bound / math.sqrt(math.e), rel=8 * EPS)
    assert force[4].item() == pytest.approx(0.033 * bound, rel=0.02)  # as said: to two digits
    assert 1 + value[4].item() / bound**2 == pytest.approx(0.011, rel=0.02)


def test_penalties_on_singular_values_refuse_what_has_no_matrix():
    biases = {"blocks.0.mlp.b_in": torch.ones(2, 4), "blocks.0.attn.b_Q": torch.ones(2, 2, 3)}
    for function in (nuclear, spectral_entropy):
        with pytest.raises(ValueError, match=r"needs a weight matrix that trains; there are only blocks.0.mlp.b_in,"):
            function(biases, nowhere(biases))


# One of one's own


def test_a_notebook_adds_a_penalty_in_a_few_lines():
    known = dict(KINDS)

    class FourthPowers(Penalty):
        """Sum of the fourth powers of all trained numbers."""

        kind = "fourth_powers"
        formula = "sum w^4"
        source = "a notebook"
        fourth_powers: Coefficient

        @staticmethod
        def rule(weights: Params) -> Tensor:
            squares = tree.combine(torch.square, weights)
            return tree.dot(squares, squares, axes=1)

    try:
        assert KINDS["fourth_powers"] is FourthPowers
        test_slope_is_that_of_finite_differences("fourth_powers")
        test_a_run_in_a_stack_has_the_bits_it_has_alone("fourth_powers", torch.float32)
        weights = {"w": torch.tensor([[1.0, 2.0]])}
        assert value_of("fourth_powers", weights, nowhere(weights)).tolist() == [17.0]
        config = TrainConfig().with_(**dict[str, Any]({"fourth_powers": 0.5}))
        assert TrainConfig.model_validate_json(config.model_dump_json()) == config != TrainConfig()
        assert (
            config.leaves()["fourth_powers"] == 0.5
            and config.with_(**dict[str, Any]({"fourth_powers": 0})) == TrainConfig()
        )
    finally:
        del KINDS["fourth_powers"]
    assert KINDS == known
    with pytest.raises(ValueError, match="unknown kind of intervention 'fourth_powers'.*must be imported first"):
        TrainConfig.model_validate_json(config.model_dump_json())


def test_a_name_that_is_taken_is_refused_and_stays_what_it_was():
    before = KINDS["l1"]
    with pytest.raises(ValueError, match=r"'l1' is taken by circuitgrok.interventions.penalties.L1: rename yours"):

        class Other(Penalty):
            kind = "l1"
            formula = "|w|"
            source = "a test"
            l1: Coefficient

    assert KINDS["l1"] is before
