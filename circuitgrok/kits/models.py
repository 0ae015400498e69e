"""What a model must do: shapes, initial weights and logits that belong together, alone and in a stack."""

from typing import Any

import torch
from torch import Tensor

from circuitgrok.tree import Params, role, stack


def check_model(model: Any, inputs: Tensor) -> None:
    """Raise AssertionError, with the rule that is broken, unless a config is a model of circuitgrok.

    `shapes` names what `init` draws; a generator decides the draw, and alpha multiplies it; every tensor has a role;
    `logits` has one row per input, is differentiable in every weight that trains, leaves the weights as they are, and
    gives a network the same numbers in a stack as alone.

    Args:
        model: With `shapes`, `init`, `logits`, `is_trainable`, `schemes`, `n_classes`, `activations_per_input`.
        inputs: Some inputs `[pair k]`.

    Example:
        >>> from circuitgrok.models.dense import DenseMLP
        >>> draw = torch.Generator().manual_seed(0)
        >>> features = torch.randn(6, 5, generator=draw, dtype=torch.float64)
        >>> check_model(DenseMLP(n_in=5, n_out=3, width=7), features)
    """
    for scheme in model.schemes:
        _check_init(model, scheme)
    params = _biased(_init(model, 0, model.schemes[0]))
    logits = model.logits(params, inputs)
    assert logits.shape == (len(inputs), model.n_classes), (
        f"logits must be [pair c] = {(len(inputs), model.n_classes)}; got {tuple(logits.shape)}"
    )
    assert model.activations_per_input > 0, "activations_per_input must count the hidden activations of an input"
    networks = [params, _biased(_init(model, 1, model.schemes[0]))]
    before = stack(networks)
    together = stack(networks)
    found = model.logits(together, inputs)
    for name, value in together.items():
        assert torch.equal(value, before[name]), f"logits must leave the weights as they are; {name} was changed"
    for i, network in enumerate(networks):
        # sums of a stack may be taken in another order: a few hundred terms of float64
        near = torch.allclose(found[i], model.logits(network, inputs), rtol=1e-10, atol=1e-12)
        assert near, f"network {i} has other logits in a stack than alone"
    _check_slope(model, params, inputs)


def _check_init(model: Any, scheme: str) -> None:
    one, again, other = (_init(model, seed, scheme) for seed in (0, 0, 1))
    shapes = {name: tuple(value.shape) for name, value in one.items()}
    assert shapes == dict(model.shapes()), f"{scheme}: shapes says {model.shapes()}, and init draws {shapes}"
    assert all(torch.equal(one[name], again[name]) for name in one), f"{scheme}: a generator must decide the draw"
    trained = [name for name in one if model.is_trainable(name)]
    assert trained, "some tensor must train"
    assert any(not torch.equal(one[name], other[name]) for name in trained), f"{scheme}: every seed draws the same"
    for name in one:
        role(name)  # refuses a name without a role
    doubled = model.init(torch.Generator().manual_seed(0), scheme, 2.0)
    scaled = [name for name in one if not name.split(".")[-2].startswith("ln")]  # but for the gains of a LayerNorm
    near = all(torch.allclose(doubled[name].double(), 2 * one[name], rtol=1e-6) for name in scaled)
    assert near, f"{scheme}: alpha must multiply every initial weight"


def _check_slope(model: Any, params: Params, inputs: Tensor) -> None:
    """Every tensor that trains moves the logits, and by what autograd says."""
    leaves = {name: value.clone().requires_grad_(model.is_trainable(name)) for name, value in params.items()}
    weighted = torch.linspace(-1, 1, len(inputs) * model.n_classes, dtype=torch.float64).reshape(len(inputs), -1)
    trained = [name for name in leaves if leaves[name].requires_grad]
    total = (model.logits(leaves, inputs) * weighted).sum()
    slopes = torch.autograd.grad(total, [leaves[name] for name in trained], allow_unused=True)
    unused = [name for name, slope in zip(trained, slopes, strict=True) if slope is None]
    assert not unused, f"{', '.join(unused)} train but do not move the logits"
    step, draw = 1e-6, torch.Generator().manual_seed(5)
    along = {name: torch.randn(params[name].shape, generator=draw, dtype=torch.float64) for name in trained}
    ends = [
        (model.logits(params | {name: params[name] + h * along[name] for name in trained}, inputs) * weighted).sum()
        for h in (step, -step)
    ]
    exact = sum((slope * along[name]).sum() for name, slope in zip(trained, slopes, strict=True) if slope is not None)
    numeric = (ends[0] - ends[1]) / (2 * step)
    # Rounding of two sums over the step is some 1e-10 of what slopes of this size can do, and the step's square is
    # less: the rule is the same for a network of small logits.
    size = sum(float(slope.square().sum()) for slope in slopes if slope is not None) ** 0.5
    error = 1e-7 * size * sum(float(part.square().sum()) for part in along.values()) ** 0.5
    assert abs(float(numeric - exact)) < error, f"slopes must be those of finite differences: {exact} against {numeric}"


def _init(model: Any, seed: int, scheme: str) -> Params:
    return {name: value.double() for name, value in model.init(torch.Generator().manual_seed(seed), scheme).items()}


def _biased(params: Params) -> Params:
    """The weights with all numbers off zero, where a ReLU or an absolute value has no slope."""
    draw = torch.Generator().manual_seed(3)
    return {
        name: value + 0.01 * torch.randn(value.shape, generator=draw, dtype=torch.float64)
        for name, value in params.items()
    }
