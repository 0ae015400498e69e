"""The one door to devices: which there are, which a name means, and what of one decides bits.

Random numbers are drawn on the CPU everywhere and moved, so that a run begins with the same numbers on any device;
from the first product on, bits are the device's own.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import torch
from torch import Tensor

from circuitgrok.errors import UserError

T = TypeVar("T")
CPU = torch.device("cpu")
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # with it set, cuBLAS gives the same bits again on one stream
_SAME_BITS = ":4096:8"


def resolved(name: str | torch.device) -> torch.device:
    """The device that a name means, with its number where it is one of several: what tensors are moved to.

    Args:
        name: "cpu"; "cuda", the GPU that torch takes by default, or "cuda:1"; "auto", a GPU if there is one, else the
            CPU.

    Raises:
        UserError: It is not there, cannot do float64, or is none that this package computes on. The message says what
            is there.

    Example:
        >>> resolved("cpu")
        device(type='cpu')
    """
    if str(name) == "auto":
        return resolved("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
    except RuntimeError:
        raise UserError(f"there is no device {str(name)!r}: {_there()}") from None
    if found.type == "mps":
        raise UserError(f"{found} has no float64, in which losses and measures are taken: {_there()}")
    if found.type == "cpu" and found.index is not None:
        raise UserError(f"a CPU has no number; got {found}: {_there()}")
    if found.type == "cpu":
        return found
    if found.type != "cuda":
        raise UserError(f"nothing is computed on {found} here: {_there()}")
    if not torch.cuda.is_available():
        why = "torch sees no GPU" if torch.backends.cuda.is_built() else "this torch is built without CUDA"
        raise UserError(f"there is no {found}, {why}: {_there()}")
    number = torch.cuda.current_device() if found.index is None else found.index
    if number >= torch.cuda.device_count():
        raise UserError(f"there is no {found}: {_there()}")
    return torch.device("cuda", number)


def _there() -> str:
    """What to type."""
    known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if torch.cuda.is_available() else ["cpu"]
    return f"take {' or '.join(known)}, or auto"


def in_turn(name: str | torch.device, workers: int) -> list[str]:
    """What each of several workers computes on: on "cuda", or "auto" where there are GPUs, a GPU of its own.

    Raises:
        UserError: There are fewer GPUs than workers; or `resolved` refuses the name.

    Example:
        >>> in_turn("cpu", 2)
        ['cpu', 'cpu']
    """
    where = resolved(name)
    if where.type != "cuda" or workers == 1 or str(name) not in ("cuda", "auto"):
        return [str(where)] * workers
    if workers > torch.cuda.device_count():
        raise UserError(
            f"workers must be at most {torch.cuda.device_count()}, the GPUs that are here: each takes one stack at a "
            f"time, as large as its memory allows; got {workers}"
        )
    return [f"cuda:{number}" for number in range(workers)]


def memory_of(device: torch.device) -> int | None:
    """Bytes of memory of a GPU; None of what computes in the machine's own."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def moved(value: T, device: torch.device) -> T:
    """A tensor on a device, or the tensors that a dict or a dataclass holds; whatever else there is as it is.

    >>> from circuitgrok.tasks.modular import modular_addition
    >>> moved(modular_addition(p=5), torch.device("meta")).labels.device
    device(type='meta')
    """
    found: Any = value
    if isinstance(value, Tensor):
        found = value.to(device)
    elif isinstance(value, Mapping):
        found = {name: moved(one, device) for name, one in value.items()}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        found = dataclasses.replace(value, **moved(fields, device))
    return found


def is_elsewhere(device: torch.device) -> bool:
    """Whether a device is not the CPU, so that to read a number back from it is to wait for it.

    >>> is_elsewhere(CPU), is_elsewhere(torch.device("meta"))
    (False, True)
    """
    return device.type != "cpu"


def perhaps_any(where: Tensor) -> bool:
    """Whether any of a mask is true, on the CPU; elsewhere always yes, for to ask would be to wait.

    Only for what changes nothing where the mask is false.

    >>> perhaps_any(torch.tensor([False])), perhaps_any(torch.zeros(1, dtype=torch.bool, device="meta"))
    (False, True)
    """
    return is_elsewhere(where.device) or bool(where.any())


class Beforehand(list[torch.Generator]):
    """Generators of a step that may be taken again and again: what is drawn from them lies on the device before it.

    Attributes:
        take: Gives the tensor, from what draws it on the CPU of a step's own generators.
    """

    def __init__(self, take: Callable[[Callable[[Sequence[torch.Generator]], Tensor]], Tensor]) -> None:
        super().__init__()
        self.take = take


def numbers(
    draw: Callable[..., Tensor], generators: Sequence[torch.Generator], device: torch.device, *of_run: Tensor
) -> Tensor:
    """What `draw(generators, *of_run)` makes on the CPU, on a device.

    Args:
        draw: Of one generator for each run, and of numbers of Python.
        generators: From which to draw, or what says that they are not there yet.
        device: Where the tensor is to be.
        of_run: Tensors `[run]` that never change.

    Example:
        >>> def draw(generators, std): return torch.randn(1, generator=generators[0]) * std[0]
        >>> numbers(draw, [torch.Generator()], CPU, torch.zeros(1)).abs()
        tensor([0.])
    """
    if not isinstance(generators, Beforehand):
        return draw(generators, *(one.tolist() for one in of_run)).to(device)
    known: list[list[Any]] = []  # read once, when first drawn

    def drawn_again(own: Sequence[torch.Generator]) -> Tensor:
        if not known:
            known.extend(one.tolist() for one in of_run)
        return draw(own, *known)

    return generators.take(drawn_again)


def held(tensors: Mapping[str, Tensor]) -> Callable[[], dict[str, Tensor]]:
    """The numbers that tensors have now, in the CPU's memory: a function that gives them, to be called from any thread.

    From a GPU they are copied into pinned memory behind what it computes just now, and waited for only when asked for.

    Example:
        >>> weights = {"w": torch.zeros(2)}
        >>> before = held(weights)
        >>> _ = weights["w"].add_(1)
        >>> before()
        {'w': tensor([0., 0.])}
    """
    there = {value.device for value in tensors.values() if value.is_cuda}
    copies = {name: _copied(value.detach()) for name, value in tensors.items()}
    copied = [torch.cuda.current_stream(device).record_event() for device in there]

    def here() -> dict[str, Tensor]:
        for event in copied:
            event.synchronize()
        return copies

    return here


def _copied(value: Tensor) -> Tensor:
    """A copy in the CPU's memory; from a GPU one that is under way."""
    if not value.is_cuda:
        return value.to(CPU, copy=True)
    return torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)


def facts(device: torch.device) -> dict[str, Any]:
    """What is recorded of a device: its kind, and of a GPU its model and the libraries that compute there.

    Its number is left out: two GPUs of one model give the same bits.

    Example:
        >>> facts(torch.device("cpu"))
        {'device': 'cpu'}
    """
    if device.type != "cuda":
        return {"device": device.type}
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda or "",
        "cublas": _cublas(),
        "cublas_workspace": os.environ.get(WORKSPACE, _SAME_BITS),  # as it will be in training
        "products": "plain",  # the one form there is, whatever the shapes (`models.fused`)
    }


def _cublas() -> str:
    """The version of cuBLAS as its package says; torch does not. Empty if it came another way."""
    major = (torch.version.cuda or "").partition(".")[0]
    for package in (f"nvidia-cublas-cu{major}", "nvidia-cublas"):
        with contextlib.suppress(PackageNotFoundError):
            return version(package)
    return ""


@contextlib.contextmanager
def same_bits_again(device: torch.device) -> Iterator[None]:
    """What makes a GPU give the same bits a second time, where torch knows how; nothing is needed on a CPU.

    Sums of rows with equal indices are otherwise added in the order in which threads come by. `CUBLAS_WORKSPACE_CONFIG`
    stays set: cuBLAS reads it when it is first used.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault(WORKSPACE, _SAME_BITS)
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
