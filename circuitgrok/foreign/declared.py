"""What a pickle of torch declares, read off its opcodes: no class that it names is more than a name here.

A pickle is a program for a machine with a stack and a memo. Here that machine runs with nothing to call: a container is
the list of what it holds, a tensor the number of bytes that it would fill, and any name but those of tensors,
containers and objects that are read as records (`foreign.inert`) ends it. It takes memory in proportion to the pickle,
whatever sizes stand in it.
"""

import math
import pickletools
from collections.abc import Mapping
from typing import Any, NamedTuple

from circuitgrok.errors import UserError
from circuitgrok.foreign.inert import STAND_INS, is_record

MOST_OPCODES = 1_000_000  # a tensor takes about 30, a loss one; a second to read
DEEPEST = 32  # dicts and lists inside each other
SAVE_AGAIN = (
    "nothing is unpickled here: where it was written, save the weights alone with "
    "torch.save(model.state_dict(), path), or a dict of state dicts, lists and numbers, and load that"
)
MOST_VALUES = 10_000_000  # of lists and dicts, each counted as often as it stands there
_ITEM_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8,
    "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "UntypedStorage": 1,
}  # fmt: skip
_STORAGES = {f"{home}.{name}": size for home in ("torch", "torch.storage") for name, size in _ITEM_BYTES.items()}
_DTYPES = {f"torch.{name}" for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "bool")}
_TENSOR, _PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
_BYTES = "_codecs.encode"
_PLAIN = ("collections.OrderedDict", "torch.Size", "torch.device")
_NAMES = {_TENSOR, _PARAMETER, _BYTES, *_PLAIN, *_STORAGES, *_DTYPES}
_VALUES = {
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"
}  # fmt: skip
_EMPTY = {"EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"}
_TAKEN = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Tensor(int):
    """The bytes that a tensor would fill."""


class _Name(str):
    """A class or function that is named."""


class Declared(NamedTuple):
    """What a pickle says of itself.

    Attributes:
        filled: Bytes that its tensors would fill, each as often as it stands there.
        objects: Names that something of ours stands for (`inert.stand_ins`).
    """

    filled: int
    objects: set[str]


def declared(content: bytes, records: Mapping[str, int]) -> Declared:
    r"""What the tensors of a pickle would fill, and which other objects it names.

    Args:
        content: The pickle.
        records: Bytes stored for each storage, by its key.

    Raises:
        UserError: It names anything but tensors, containers and what is read as a record, or a tensor is larger than
            its record; the message wants the file's name before it.

    Example:
        >>> declared(b"\x80\x02].", {})
        Declared(filled=0, objects=set())
        >>> declared(b"\x80\x02cos\nsystem\n.", {})
        Traceback (most recent call last):
        circuitgrok.errors.UserError: holds more than tensors ('os.system'), and nothing is unpickled here: ...
    """
    objects: set[str] = set()
    try:
        found = _filled(_described(content, records, objects), {})
        if found.values > MOST_VALUES:
            raise UserError(
                f"holds {found.values:.1e} values, counted as often as they stand there; at most {MOST_VALUES:.0e} "
                "are read"
            )
        return Declared(found.bytes, objects)
    except UserError:
        raise
    except Exception:  # whatever a forged program makes of this machine
        raise UserError(f"is damaged, and {SAVE_AGAIN}") from None


def _described(content: bytes, records: Mapping[str, int], objects: set[str]) -> Any:
    """What the pickle would build; names that something of ours stands for are added to `objects`."""
    stack: list[Any] = []
    outer: list[list[Any]] = []
    memo: dict[int, Any] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if count >= MOST_OPCODES:
            raise UserError("holds too many tensors or numbers; save fewer checkpoints in one file")
        if name in _VALUES:
            stack.append(argument)
        elif name in _EMPTY:
            stack.append([])
        elif name in _TAKEN:
            n = _TAKEN[name]
            stack[len(stack) - n :] = [tuple(stack[len(stack) - n :])]
        elif name == "MARK":
            outer.append(stack)
            stack = []
        elif name in ("TUPLE", "APPENDS", "SETITEMS"):
            inner, stack = stack, outer.pop()
            if name == "TUPLE":
                stack.append(tuple(inner))
            else:
                stack[-1].extend(inner)
        elif name == "SETITEM":
            value, _ = stack.pop(), stack.pop()
            stack[-1].append(value)
        elif name in ("APPEND", "BUILD"):
            value = stack.pop()
            stack[-1].append(value)
        elif name == "GLOBAL":
            stack.append(_named(argument, objects))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            stack.append(_called(function, arguments))
        elif name == "BINPERSID":
            stack.append(_stored(stack.pop(), records))
        elif name in ("BINPUT", "LONG_BINPUT"):
            if int(argument or 0) > len(content):  # a place in the memo may be one in an array
                raise UserError(f"was not written by torch.save, and {SAVE_AGAIN}")
            memo[int(argument or 0)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name not in ("PROTO", "STOP"):
            raise UserError(f"was not written by torch.save ({name}), and {SAVE_AGAIN}")
    return stack.pop()


def _named(argument: Any, objects: set[str]) -> _Name:
    name = str(argument).replace(" ", ".")
    if name in STAND_INS or (name not in _NAMES and is_record(name)):
        objects.add(name)
    elif name not in _NAMES:
        raise UserError(f"holds more than tensors ({name[:80]!r}), and {SAVE_AGAIN}")
    return _Name(name)


def _called(function: Any, arguments: Any) -> Any:
    """What a call would give."""
    if function == _TENSOR:
        (item, numbers), offset, size, stride = arguments[:4]
        fills = math.prod(size) * item
        inside = offset + sum((n - 1) * by for n, by in zip(size, stride, strict=True)) < numbers
        if fills and (min(offset, *size, *stride, 0) < 0 or not inside or fills > numbers * item):
            raise UserError(
                f"declares more than it holds: a tensor of {fills} bytes over {numbers * item} stored; "
                "save contiguous copies of its tensors (value.contiguous().clone())"
            )
        return _Tensor(fills)
    if function == _PARAMETER:
        return arguments[0]
    if isinstance(function, _Name) and (function in _PLAIN or function in STAND_INS):
        return list(arguments)
    if function == _BYTES and arguments[1:] == ("latin1",):
        return []
    # An object of one's own is made empty, an enum of its one value.
    simple = len(arguments) < 2 and all(isinstance(one, str | int | float) for one in arguments)
    if isinstance(function, _Name) and function not in _NAMES and simple:
        return list(arguments)
    raise UserError(f"holds more than tensors (it calls {function!r:.80}), and {SAVE_AGAIN}")


def _stored(pid: Any, records: Mapping[str, int]) -> tuple[int, int]:
    """Bytes of a number, and how many numbers, in a storage that has a record of at least that size."""
    kind, name, key, _, numbers = pid
    item = _STORAGES[name]
    if kind != "storage" or not 0 <= numbers * item <= records.get(str(key).lower(), -1):
        raise UserError(f"declares more than it holds: {numbers * item} bytes of record {key!r}")
    return item, numbers


class _Filled(NamedTuple):
    """Bytes of the tensors in a value, numbers and texts in it, each as often as it stands there, and its depth."""

    bytes: int
    values: int
    deep: int


def _filled(value: Any, known: dict[int, _Filled]) -> _Filled:
    if isinstance(value, _Tensor):
        return _Filled(value, 1, 0)
    if not isinstance(value, list | tuple):
        return _Filled(0, 1, 0)
    if id(value) not in known:
        known[id(value)] = _Filled(0, 0, DEEPEST + 1)  # what holds itself is endless
        found = [_filled(one, known) for one in value]
        deep = 1 + max((one.deep for one in found), default=0)
        known[id(value)] = _Filled(sum(one.bytes for one in found), 1 + sum(one.values for one in found), deep)
        if deep > DEEPEST:
            raise UserError(f"nests lists and dicts deeper than {DEEPEST}")
    return known[id(value)]
