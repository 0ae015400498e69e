"""A device that every machine has: it computes on the CPU, and refuses what a GPU refuses.

Tensors there say that they are on the device "meta", on which torch's autograd runs without a driver, and hold their
numbers in a tensor of the CPU. So whole trainings and measures run, with numbers that can be compared, and what would
fail on a GPU fails here: a tensor of the CPU among others, or a generator of the CPU that draws there.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")
ACROSS = ("aten::copy_", "aten::_to_copy")  # what takes numbers from one device to another
READS = ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::is_nonzero")  # a GPU is waited for
INDEXED = ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_")  # by the CPU's indices too
LOOKS = (
    "aten::_linalg_svd",
    "aten::linalg_svd",
    "aten::_linalg_eigh",
    "aten::linalg_qr",
    "aten::linalg_inv_ex",
    "aten::masked_select",
    "aten::bincount",
    "aten::repeat_interleave",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::aminmax",
    "aten::_linalg_check_errors",
)  # what looks at results, or at how many there are, before it goes on
ANY_ORDER = ("aten::index_add_", "aten::index_add", "aten::embedding_dense_backward", "aten::histc", "aten::put_")
RESHAPED = ("aten::squeeze_", "aten::unsqueeze_", "aten::t_", "aten::transpose_", "aten::as_strided_")  # in place


class Waits(RuntimeError):
    """What a captured graph cannot hold: the host is needed."""


class Mixed(RuntimeError):
    """Tensors of two devices met."""


class There(Tensor):
    """A tensor on the stand-in."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "There":
        there = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=DEVICE,
        )
        there.numbers = numbers
        return there

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]

    def tolist(self) -> Any:
        """What torch refuses for subclasses."""
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        """What a GPU refuses."""
        raise Mixed("numpy reads no memory of a device")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {}, Counter())


class StandIn(TorchDispatchMode):
    """While it is entered, tensors can be made on the stand-in.

    Attributes:
        waits: How often numbers were read back, by operation: where a GPU would be waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._trace: Trace | None = None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self._trace is None:
            return computed(func, args, kwargs or {}, self.waits)
        self._trace.before(func, args, kwargs or {})
        found = computed(func, args, kwargs or {}, self.waits)
        self._trace.after(args, kwargs or {}, found)
        return found

    def captured(self, work: Callable[[], None]) -> "Trace":
        """What a graph would hold of the work: it is done, and what asks for the host is refused.

        Raises:
            Waits: It cannot be captured.
        """
        self._trace = trace = Trace()
        try:
            work()
        finally:
            self._trace = None
        return trace

    def __enter__(self) -> "StandIn":
        self._made = _Made()
        self._made.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._made.__exit__(*error)


class Trace:
    """Operations in their order, each with its numbers of Python and with the memory of its tensors.

    Memory is known by its address if it was there before, and otherwise by the operation that it came from: that is the
    graph's own. Two steps can be one graph if and only if they leave the same trace.

    Attributes:
        operations: As told above, one line for each.
    """

    def __init__(self) -> None:
        self.operations: list[str] = []
        self._made: dict[int, str] = {}

    def before(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Note an operation, or refuse it."""
        name = func._schema.name
        if name.startswith("profiler::"):
            return
        tensors = tensors_of(args, kwargs)
        there = [x for x in tensors if isinstance(x, There)]
        asked = kwargs.get("device")
        if name in READS or name in LOOKS or name in ANY_ORDER:
            raise Waits(f"{name} needs the host, or has no order")
        if kwargs.get("generator") is not None or any(x.ndim for x in tensors if not isinstance(x, There)):
            raise Waits(f"{name} of numbers of the host")
        if asked is not None and (asked.type == DEVICE.type) != bool(there) and there:
            raise Waits(f"{name} takes numbers from one device to another")
        if name in INDEXED and any(x.dtype in (torch.bool, torch.uint8) for x in tensors[1:] if x is not None):
            raise Waits(f"{name} by a mask")
        self.operations.append(f"{name} {mapped(self._memory, (args, list(kwargs.items())))}")

    def after(self, args: Any, kwargs: dict[str, Any], found: Any) -> None:
        """Know the memory that an operation has made."""
        given = {_address(x) for x in tensors_of(args, kwargs)}
        for i, x in enumerate(tensors_of(found, {})):
            if _address(x) not in given:
                self._made[_address(x)] = f"made by {len(self.operations)}.{i}"

    def _memory(self, x: Tensor) -> Any:
        if not isinstance(x, There):
            return x.item()
        where = self._made.get(_address(x), _address(x))
        return where, tuple(x.shape), x.stride(), x.storage_offset(), str(x.dtype)


def _address(x: Tensor) -> int:
    return (x.numbers if isinstance(x, There) else x).untyped_storage().data_ptr()


def tensors_of(args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    """All tensors among arguments."""
    found: list[Tensor] = []
    mapped(found.append, (args, list(kwargs.values())))
    return found


class _Made(TorchFunctionMode):
    """Numbers of Python become tensors there by way of the CPU: torch gives "meta" none."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return func(*args, **kwargs | {"device": "cpu"}).to(DEVICE)
        if func is Tensor.new_tensor and isinstance(args[0], There):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(DEVICE)
        if func is Tensor.__getitem__ and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]))
        return func(*args, **kwargs)


def computed(func: Any, args: Any, kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    """What an operation gives, on the device where it belongs.

    Raises:
        Mixed: It would not run on a GPU.
    """
    name = func._schema.name
    tensors = tensors_of(args, kwargs)
    there, here = [x for x in tensors if isinstance(x, There)], [x for x in tensors if not isinstance(x, There)]
    asked = kwargs.get("device")
    is_there = asked.type == DEVICE.type if asked is not None else bool(there)
    if there and any(x.ndim for x in here) and name not in ACROSS:
        if name not in INDEXED or not isinstance(args[0], There) or any(not isinstance(x, There) for x in args[2:3]):
            raise Mixed(f"{name} of {[(tuple(x.shape), type(x).__name__) for x in tensors]}")
        waits["indices of the CPU"] += 1
    if kwargs.get("generator") is not None and is_there:
        raise Mixed(f"{name} draws on the device by a generator of the CPU")
    if there and name in READS:
        waits[name] += 1
    wrapped = {id(x.numbers): x for x in there}
    given, values = mapped(lambda x: x.numbers if isinstance(x, There) else x, (args, list(kwargs.values())))
    named = dict(zip(kwargs, values, strict=True))
    if asked is not None:
        named["device"] = torch.device("cpu")
    found = func(*given, **named)
    if there and name in RESHAPED:
        with no_dispatch():
            func(*args, **kwargs)
    if there and asked is not None and not is_there:
        waits["to the CPU"] += 1

    return mapped(lambda x: wrapped[id(x)] if id(x) in wrapped else There(x) if is_there else x, found)


def mapped(f: Callable[[Tensor], Any], given: Any) -> Any:
    """What is given, with `f` of each tensor in its place."""
    if isinstance(given, Tensor):
        return f(given)
    return type(given)(mapped(f, one) for one in given) if type(given) in (list, tuple) else given
