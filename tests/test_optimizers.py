"""Steps from gradients: every rule against its reference library on separate tensors, bit for bit where it can be."""

from collections.abc import Callable

import pytest
import torch
from lion_pytorch import Lion
from oracles import noise
from torch import Tensor
from torch.nn import Parameter

from circuitgrok import tree
from circuitgrok.interventions.optimizers import StackOptimizer, adam, adam_gradient_part, lion, muon, rmsprop, sgd

EPS = torch.finfo(torch.float64).eps
SHAPES = {
    "embed.W_E": (6, 8),
    "blocks.0.attn.W_Q": (2, 8, 4),
    "blocks.0.attn.b_Q": (2, 4),
    "blocks.0.attn.W_O": (2, 4, 8),
    "blocks.0.mlp.W_in": (8, 16),
    "blocks.0.mlp.b_in": (16,),
    "blocks.0.mlp.W_out": (16, 8),
    "blocks.0.ln1.w": (8,),
    "unembed.W_U": (8, 7),
}
NUMBERS = sum(torch.Size(shape).numel() for shape in SHAPES.values())  # 528: 48 behind a multiple of 64
MATRICES = [name for name in SHAPES if ".W_" in name and name.startswith("blocks")]
RATES = [0.0, 0.01, 0.02, 0.02, 0.015]  # warm-up: the first rate is zero

Rule = Callable[[Tensor], StackOptimizer]


def views_of(flat: Tensor) -> tree.Params:
    return tree.unravel(flat, {name: torch.empty(shape) for name, shape in SHAPES.items()})


RULES: dict[str, Rule] = {
    "adam": lambda flat: adam(flat, beta1=0.9, beta2=0.98, eps=1e-8),
    "sgd": lambda flat: sgd(flat, momentum=0.0),
    "sgd with momentum": lambda flat: sgd(flat, momentum=0.9),
    "rmsprop": lambda flat: rmsprop(flat, alpha=0.98, eps=1e-8, momentum=0.0),
    "rmsprop with momentum": lambda flat: rmsprop(flat, alpha=0.98, eps=1e-8, momentum=0.9),
    "lion": lambda flat: lion(flat, beta1=0.9, beta2=0.99),
    "muon": lambda flat: muon(
        flat, views_of(flat), momentum=0.95, beta1=0.9, beta2=0.98, eps=1e-8, rest_ratio=0.5
    ),
}  # fmt: skip
REFERENCES = {
    "adam": lambda tensors: torch.optim.AdamW(tensors, betas=(0.9, 0.98), eps=1e-8, weight_decay=0, fused=True),
    "sgd": lambda tensors: torch.optim.SGD(tensors),
    "sgd with momentum": lambda tensors: torch.optim.SGD(tensors, momentum=0.9),
    "rmsprop": lambda tensors: torch.optim.RMSprop(tensors, alpha=0.98, eps=1e-8),
    "rmsprop with momentum": lambda tensors: torch.optim.RMSprop(tensors, alpha=0.98, eps=1e-8, momentum=0.9),
    "lion": lambda tensors: Lion(tensors, betas=(0.9, 0.99)),
}


def drawn(seed: int, runs: list[int], dtype=torch.float32) -> Tensor:
    """Weights or a gradient, `[run number]`, padded with zeros; run i draws the same in every stack."""
    numbers = torch.stack([noise(NUMBERS, seed=1000 * seed + run) for run in runs]).to(dtype)
    return torch.nn.functional.pad(numbers, (0, -NUMBERS % 64))


def fresh(rule: str, runs: list[int], dtype=torch.float32) -> tuple[Tensor, StackOptimizer]:
    flat = drawn(0, runs, dtype)
    flat.grad = torch.zeros_like(flat)
    return flat, RULES[rule](flat)


def slope_of(flat: Tensor) -> Tensor:
    assert flat.grad is not None
    return flat.grad


def walk(flat: Tensor, optimizer: StackOptimizer, steps: range, runs: list[int]) -> None:
    for step in steps:
        slope_of(flat).copy_(drawn(1 + step, runs))
        optimizer.step(RATES[step])


# --- the reference library on tensors of their own ---------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", REFERENCES)
@pytest.mark.bits
def test_every_rule_has_the_bits_of_its_library_on_one_tensor_for_each_run(rule, dtype):
    """The whole row as one tensor, so that no number lies in another place of a vector register."""
    runs = [0, 1, 2]
    flat, optimizer = fresh(rule, runs, dtype)
    alone = [Parameter(row.clone()) for row in flat]
    library = REFERENCES[rule](alone)
    for step, lr in enumerate(RATES):
        gradient = drawn(1 + step, runs, dtype)
        slope_of(flat).copy_(gradient)
        for tensor, row in zip(alone, gradient, strict=True):
            tensor.grad = row.clone()
        library.param_groups[0]["lr"] = lr
        optimizer.step(lr)
        library.step()
        assert all(torch.equal(row, tensor) for row, tensor in zip(flat, alone, strict=True)), step


@pytest.mark.parametrize("rule", REFERENCES)
def test_every_rule_agrees_with_its_library_on_the_networks_own_tensors(rule):
    """Tensors end inside a vector register, where torch fuses no multiplication with an addition: a rounding each."""
    flat, optimizer = fresh(rule, [0], torch.float64)
    tensors = [Parameter(view[0].clone()) for view in views_of(flat).values()]
    library = REFERENCES[rule](tensors)
    for step, lr in enumerate(RATES):
        slope_of(flat).copy_(drawn(1 + step, [0], torch.float64))
        for tensor, slope in zip(tensors, views_of(slope_of(flat)).values(), strict=True):
            tensor.grad = slope[0].clone()
        library.param_groups[0]["lr"] = lr
        optimizer.step(lr)
        library.step()
    for view, tensor in zip(views_of(flat).values(), tensors, strict=True):
        # five steps under 1 each (rmsprop: lr / sqrt(0.02), momentum sums five) of at most ten roundings, weights < 5
        torch.testing.assert_close(view[0], tensor.detach(), rtol=0, atol=5 * 10 * 5 * EPS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.bits
def test_muon_has_the_bits_of_torchs_on_linear_layers_and_of_adam_on_the_rest(dtype):
    """Layers as torch has them, `[out in]`, a head's each; which decides how far a matrix that is not square moves."""
    flat, optimizer = fresh("muon", [0, 1], dtype)
    hidden = {
        (run, name, head): Parameter(matrix.clone().mT)
        for name, view in views_of(flat).items()
        if name in MATRICES
        for run in range(2)
        for head, matrix in enumerate(view[run].reshape(-1, *view.shape[-2:]))
    }
    rest = {
        (run, name): Parameter(view[run].clone())
        for name, view in views_of(flat).items()
        if name not in MATRICES
        for run in range(2)
    }
    assert len(hidden) == 2 * (2 + 2 + 1 + 1) and len(rest) == 2 * 5
    orthogonal = torch.optim.Muon(hidden.values(), weight_decay=0)
    adaptive = torch.optim.AdamW(rest.values(), betas=(0.9, 0.98), eps=1e-8, weight_decay=0, fused=True)
    for step, lr in enumerate(RATES):
        slope_of(flat).copy_(drawn(1 + step, [0, 1], dtype))
        slopes = views_of(slope_of(flat))
        for (run, name, head), matrix in hidden.items():
            matrix.grad = slopes[name][run].reshape(-1, *slopes[name].shape[-2:])[head].clone().mT
        for (run, name), tensor in rest.items():
            tensor.grad = slopes[name][run].clone()
        orthogonal.param_groups[0]["lr"], adaptive.param_groups[0]["lr"] = lr, 0.5 * lr
        optimizer.step(lr)
        orthogonal.step()
        adaptive.step()
    views = views_of(flat)
    for (run, name, head), matrix in hidden.items():
        assert torch.equal(views[name][run].reshape(-1, *views[name].shape[-2:])[head].mT, matrix), name
    for (run, name), tensor in rest.items():
        assert torch.equal(views[name][run], tensor), name


def test_muon_on_a_network_without_a_hidden_matrix_is_refused():
    flat = torch.zeros(1, 64)
    flat.grad = torch.zeros_like(flat)
    views = {"embed.W_E": flat[:, :48].view(1, 6, 8), "blocks.0.attn.b_Q": flat[:, 48:56].view(1, 2, 4)}
    settings = {"momentum": 0.95, "beta1": 0.9, "beta2": 0.98, "eps": 1e-8, "rest_ratio": 1.0}
    with pytest.raises(ValueError, match=r"needs a hidden matrix, of a block; got embed.W_E, blocks.0.attn.b_Q"):
        muon(flat, views, **settings)
    with pytest.raises(ValueError, match="give flat.grad its memory first"):
        muon(torch.zeros(1, 64), views, **settings)


def test_muon_steps_a_network_of_hidden_matrices_alone():
    flat = torch.zeros(1, 64)
    flat.grad = torch.eye(8).view(1, 64).clone()
    views = {"blocks.0.mlp.W_in": flat.view(1, 8, 8)}
    muon(flat, views, momentum=0.95, beta1=0.9, beta2=0.98, eps=1e-8, rest_ratio=1.0).step(0.1)
    on_diagonal = flat.view(8, 8).diagonal()
    assert ((on_diagonal > -0.15) & (on_diagonal < -0.05)).all()  # Newton-Schulz leaves singular values in 0.5..1.5
    assert torch.equal(flat.view(8, 8) - on_diagonal.diag(), torch.zeros(8, 8))


# --- stacks, padding, states -------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.bits
def test_a_run_in_a_stack_has_the_bits_of_the_run_alone(rule):
    flat, optimizer = fresh(rule, [0, 1, 2])
    walk(flat, optimizer, range(5), [0, 1, 2])
    for run in range(3):
        alone, lonely = fresh(rule, [run])
        walk(alone, lonely, range(5), [run])
        assert torch.equal(flat[run], alone[0]) and not torch.equal(flat[run], drawn(0, [run])[0])
        assert all(torch.equal(value[run], lonely.state[name][0]) for name, value in optimizer.state.items())


@pytest.mark.parametrize("rule", RULES)
def test_padding_stays_zero_and_every_number_before_it_moves(rule):
    flat, optimizer = fresh(rule, [0, 1])
    walk(flat, optimizer, range(5), [0, 1])
    assert torch.equal(flat[:, NUMBERS:], torch.zeros(2, flat.shape[1] - NUMBERS)) and flat.shape[1] > NUMBERS
    assert (flat != drawn(0, [0, 1]))[:, :NUMBERS].all()
    assert all(torch.equal(value[:, NUMBERS:], flat[:, NUMBERS:]) for value in optimizer.state.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.bits
def test_a_state_put_back_in_another_stack_goes_on_with_the_same_bits(rule):
    flat, optimizer = fresh(rule, [0, 1, 2])
    walk(flat, optimizer, range(3), [0, 1, 2])
    saved = {name: value.clone() for name, value in optimizer.state.items()}
    weights = flat.clone()
    walk(flat, optimizer, range(3, 5), [0, 1, 2])
    moved, goes_on = fresh(rule, [2, 0])
    moved.copy_(weights[[2, 0]])
    for name, value in goes_on.state.items():
        value.copy_(saved[name][[2, 0]])
    goes_on.resume(3)
    walk(moved, goes_on, range(3, 5), [2, 0])
    assert torch.equal(moved, flat[[2, 0]])


def test_adam_counts_its_steps_from_where_it_is_resumed():
    """Adam's correction depends on the count: without it the step would be another one."""
    lengths = []
    for count in (0, 3):
        flat, optimizer = fresh("adam", [0])
        optimizer.resume(count)
        slope_of(flat).copy_(drawn(1, [0]))
        optimizer.step(0.01)
        lengths.append((flat - drawn(0, [0])).norm().item())
    # the moments of one gradient are (1 - beta) g and (1 - beta) g^2, and each correction divides by 1 - beta^t
    expected = (1 - 0.9) / (1 - 0.9**4) * ((1 - 0.98**4) / (1 - 0.98)) ** 0.5
    # float32: a difference of weights of order 1, of length 0.2
    assert lengths[1] / lengths[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_the_moment_is_the_live_tensor_of_the_state_that_the_next_step_uses(rule):
    flat, optimizer = fresh(rule, [0, 1])
    walk(flat, optimizer, range(3), [0, 1])
    if rule in ("sgd", "rmsprop", "rmsprop with momentum"):
        assert optimizer.moment is None
        return
    assert optimizer.moment is not None and any(optimizer.moment is value for value in optimizer.state.values())
    assert (optimizer.moment != 0)[:, :NUMBERS].all()
    before = flat.clone()
    optimizer.moment.zero_()
    slope_of(flat).zero_()
    optimizer.step(0.01)
    assert torch.equal(flat, before)  # no moment and no gradient: nothing moves, in any rule


# --- the part of a step that the present gradient made ------------------------------------------------


@pytest.mark.parametrize("rule", ["adam", "sgd", "sgd with momentum", "rmsprop", "rmsprop with momentum"])
def test_gradient_part_is_what_the_step_would_lack_without_the_gradient_at_the_same_second_moment(rule):
    """By torch itself: a second step with gradient zero, from a second moment that becomes what the first one's did."""
    squares = {"adam": ("exp_avg_sq", 0.98), "rmsprop": ("square_avg", 0.98)}.get(rule.split()[0])
    flat, optimizer = fresh(rule, [0, 1], torch.float64)
    walk(flat, optimizer, range(3), [0, 1])
    at, state = flat.clone(), {name: value.clone() for name, value in optimizer.state.items()}
    slope_of(flat).copy_(drawn(7, [0, 1], torch.float64))
    optimizer.step(0.02)
    part = optimizer.gradient_part(0.02, 4)
    assert part is not None
    without, other = fresh(rule, [0, 1], torch.float64)
    without.copy_(at)
    for name, value in other.state.items():
        value.copy_(state[name])
    if squares:
        other.state[squares[0]].copy_(optimizer.state[squares[0]] / squares[1])  # decays to the same, as g is zero
    other.resume(3)
    other.step(0.02)
    # weights under 5 are rounded twice; the rest is a step under 0.2 of at most ten roundings
    torch.testing.assert_close(part, flat - without, rtol=0, atol=2 * 5 * EPS + 0.2 * 10 * EPS)
    assert part.dtype == torch.float64 and (part.abs() > 0)[:, :NUMBERS].all()


@pytest.mark.parametrize("rule", ["lion", "muon"])
def test_a_step_that_is_no_sum_over_gradients_has_no_such_part(rule):
    flat, optimizer = fresh(rule, [0])
    walk(flat, optimizer, range(2), [0])
    assert optimizer.gradient_part(0.01, 2) is None


def test_adams_gradient_part_is_the_difference_of_two_steps_written_out():
    g, m, v, t = noise(1, 7, seed=0), noise(1, 7, seed=1), noise(1, 7, seed=2).square(), 9
    v_new = 0.98 * v + 0.02 * g.square()

    def step(first_moment: Tensor) -> Tensor:
        return -0.1 * first_moment / (1 - 0.9**t) / ((v_new / (1 - 0.98**t)).sqrt() + 1e-8)

    part = adam_gradient_part(g, v_new, lr=0.1, beta1=0.9, beta2=0.98, eps=1e-8, t=t)
    torch.testing.assert_close(part, step(0.9 * m + 0.1 * g) - step(0.9 * m), rtol=0, atol=1e-14)
