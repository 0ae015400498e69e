"""What a measure must do: a pure function of one network, which a stack of them does not change."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from circuitgrok.tree import Params


def check_measure(function: Callable[[Params], Any], stack: Params, *, rtol: float = 1e-10) -> None:
    """Raise AssertionError, with the rule that is broken, unless a function is a measure.

    It gives tensors with the stack's axis in front; a network's numbers do not depend on those measured beside it;
    the weights stay as they are; the same weights give the same numbers.

    Args:
        function: Of weights `[ckpt ...]`: a tensor, a NamedTuple or a mapping of tensors, each `[ckpt ...]`.
        stack: Weights of two networks or more, `[ckpt ...]`.
        rtol: Relative difference allowed between a network alone and in the stack, of the largest number beside it:
            sums are taken in another order there.

    Example:
        >>> from circuitgrok.tree import norm
        >>> stack = {"embed.W_E": torch.arange(12.0, dtype=torch.float64).reshape(2, 3, 2)}
        >>> check_measure(lambda params: norm(params, axes=1), stack)
        >>> check_measure(norm, stack)
        Traceback (most recent call last):
        AssertionError: a measure must have the axis of the 2 networks in front; got shape () for value
    """
    n = len(next(iter(stack.values())))
    assert n > 1, "give two networks or more: one alone cannot show whether they are kept apart"
    before = {name: value.clone() for name, value in stack.items()}
    whole, again = _named(function(stack)), _named(function(stack))
    for name, value in stack.items():
        assert torch.equal(value, before[name]), f"a measure must leave the weights as they are; {name} was changed"
    for name, value in whole.items():
        assert value.ndim and len(value) == n, (
            f"a measure must have the axis of the {n} networks in front; got shape {tuple(value.shape)} for {name}"
        )
        assert torch.equal(value.nan_to_num(), again[name].nan_to_num()), f"{name} is another number when asked twice"
    for i in range(n):
        alone = _named(function({name: value[i : i + 1].clone() for name, value in stack.items()}))
        for name, value in alone.items():
            here, there = value[0].double(), whole[name][i].double()
            scale = there.abs().nan_to_num().amax() if there.numel() else torch.tensor(0.0)
            near = torch.allclose(here, there, rtol=rtol, atol=rtol * float(scale), equal_nan=True)
            assert near, f"{name} of network {i} depends on what is measured beside it"


def _named(found: Any) -> dict[str, Tensor]:
    """Every tensor of a result, by name."""
    if isinstance(found, Tensor):
        return {"value": found}
    fields = found if isinstance(found, Mapping) else found._asdict()
    return {str(name): value for name, value in fields.items()}
