"""State dicts of other hands, made plain: out of what wraps them, without prefixes, in one precision.

Training code wraps a network's weights in a dict with the optimizer's, `torch.compile` and data-parallel wrappers put a
word before every name, and mixed precision stores halves. None of this says anything about the network.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.foreign.inert import ConfigRecord, module_state

WRAPPERS = ("model_state_dict", "state_dict", "model", "model_state", "net", "network", "params", "weights", "module")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_BUFFERS = (".mask", ".IGNORE", ".causal_mask", ".attn_mask")
_HALVES = (torch.float16, torch.bfloat16)


def is_state_dict(value: Any) -> bool:
    """Whether a value is a dict of named tensors."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def unwrapped(value: Any) -> Mapping[str, Tensor] | None:
    """The state dict in a value: itself, that of a network, or one under a usual name; None where there is none.

    >>> list(unwrapped({"epoch": 3, "model_state_dict": {"w": torch.ones(2)}}) or ())
    ['w']
    """
    if isinstance(value, torch.nn.Module):
        return value.state_dict()
    if isinstance(value, ConfigRecord):
        return module_state(value) if "_modules" in vars(value) else None
    if is_state_dict(value):
        return value
    if not isinstance(value, Mapping):
        return None
    inner = (unwrapped(value[name]) for name in WRAPPERS if name in value)
    return next((found for found in inner if found is not None), None)


def plain_weights(weights: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """A state dict without buffers and prefixes, halves as float32, which is exact.

    Args:
        weights: Named tensors.
        notes: Gets a sentence where halves were found.

    Example:
        >>> list(plain_weights({"_orig_mod.module.embed.W_E": torch.ones(2)}, []))
        ['embed.W_E']
    """
    found = {name: value for name, value in weights.items() if not name.endswith(_BUFFERS)}
    while prefix := next((p for p in _PREFIXES if found and all(name.startswith(p) for name in found)), ""):
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    halves = sorted({str(value.dtype).removeprefix("torch.") for value in found.values() if value.dtype in _HALVES})
    note = f"{' and '.join(halves)} weights are taken as float32, which holds them exactly"
    if halves and note not in notes:
        notes.append(note)
    return {name: value.float() if value.dtype in _HALVES else value for name, value in found.items()}


def mismatches(found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> str:
    """What is missing, unknown or of another shape, for a message; empty if all tensors fit.

    Example:
        >>> mismatches({"embed.W_E": torch.zeros(3, 2)}, {"embed.W_E": (2, 3)})
        'embed.W_E: expected [2, 3], found [3, 2]'
    """
    problems = [
        f"{name}: expected {list(expected[name]) if name in expected else 'nothing'}, "
        f"found {list(found[name].shape) if name in found else 'nothing'}"
        for name in {**expected, **found}
        if name not in expected or name not in found or tuple(found[name].shape) != tuple(expected[name])
    ]
    return "; ".join(problems[:12]) + (f"; and {len(problems) - 12} more" if problems[12:] else "")


def common_dtype(params: Mapping[str, Tensor]) -> torch.dtype:
    """The one dtype of all tensors, float32 or float64; `ValueError` if there are several, or another."""
    dtypes = {value.dtype for value in params.values()}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        names = ", ".join(sorted(str(dtype) for dtype in dtypes))
        raise UserError(f"all tensors must be float32 or all float64; got {names}: cast them first")
    return dtypes.pop()


def copied(value: Tensor) -> Tensor:
    """A contiguous copy that needs no gradient."""
    return value.detach().clone(memory_format=torch.contiguous_format)


def shapes_of(weights: Mapping[str, Any]) -> str:
    """The names and shapes in a dict that was found, for a message."""
    found = [f"{k!s:.80} {list(v.shape) if isinstance(v, Tensor) else type(v).__name__}" for k, v in weights.items()]
    return f"found {', '.join(found[:24]) or 'nothing'}" + (f" and {len(found) - 24} more" if found[24:] else "")
