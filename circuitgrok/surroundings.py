"""What the caller set for all of torch and numpy, put aside while a public function computes, and put back.

Grad and inference mode, autocast, default device and dtype, deterministic algorithms, the precision of float32 products
and numpy's error states decide what code inside computes, or whether it runs at all. The entry points compute as in a
fresh process. The number of threads is left to the caller (`train` takes its own).
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
NUMPY: Any = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}  # of a fresh process


@contextlib.contextmanager
def plain_surroundings() -> Iterator[None]:
    """Torch and numpy as a fresh process has them; on leaving, also by an error, as the caller had them.

    Example:
        >>> with torch.inference_mode(), plain_surroundings():
        ...     torch.ones(1, requires_grad=True).exp().requires_grad
        True
    """
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with contextlib.ExitStack() as put_aside:
        put_aside.enter_context(np.errstate(**NUMPY))
        if torch.get_default_device() != torch.device("cpu"):
            put_aside.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                put_aside.enter_context(torch.autocast(kind, enabled=False))
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            put_aside.callback(torch.set_default_dtype, dtype)
        if precision != "highest":
            torch.set_float32_matmul_precision("highest")
            put_aside.callback(torch.set_float32_matmul_precision, precision)
        if deterministic:
            torch.use_deterministic_algorithms(False)
            put_aside.callback(torch.use_deterministic_algorithms, True, warn_only=warn_only)
        put_aside.enter_context(torch.inference_mode(False))
        put_aside.enter_context(torch.enable_grad())
        yield


def in_plain_surroundings(function: Callable[P, R]) -> Callable[P, R]:
    """The function, computing in `plain_surroundings`; tensors made in inference mode are copied on the way in.

    Example:
        >>> @in_plain_surroundings
        ... def zero(): return torch.zeros(1)
        >>> with torch.device("meta"):
        ...     zero().device, torch.zeros(1).device
        (device(type='cpu'), device(type='meta'))
    """

    @functools.wraps(function)
    def plainly(*args: P.args, **kwargs: P.kwargs) -> R:
        with plain_surroundings():
            return function(*map(_usable, args), **{name: _usable(value) for name, value in kwargs.items()})  # pyright: ignore

    return plainly


def _usable(value: Any) -> Any:
    """An argument that autograd can work with: the same, but for tensors made in inference mode."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, Mapping) and any(isinstance(one, Tensor) and one.is_inference() for one in value.values()):
        return {name: _usable(one) for name, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):  # a task
        found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        copied = {name: one.clone() for name, one in found.items() if isinstance(one, Tensor) and one.is_inference()}
        return dataclasses.replace(value, **copied) if copied else value
    return value
