"""What stands for the objects of a foreign file: their fields, and none of their code.

A pickle names classes and functions. Each name that is let through is given something of ours in its place, so that
nothing that a file names is ever imported or called:

* numbers and arrays of numpy become numbers and tensors, a path its text, a `defaultdict` a dict, an enum its value;
* an object of any class of one's own (a dataclass of settings, a `Namespace`, a whole `torch.nn.Module`) becomes a
  `ConfigRecord` with the fields that were saved.

Names of Python's own library are refused, but for those listed here, and so are functions: their names begin with a
small letter.
"""

import math
import struct
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from circuitgrok.errors import UserError

_DTYPES = {
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64, "b1": torch.bool, "u1": torch.uint8,
    "i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64,
}  # fmt: skip
_LETTERS = {"f2": "e", "f4": "f", "f8": "d", "b1": "?", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
            "i1": "b", "i2": "h", "i4": "i", "i8": "q"}  # fmt: skip
_OLD_NAMES = {*IMPORT_MAPPING, *(home for home, _ in NAME_MAPPING)}  # of Python 2, which files of protocol 2 have
_REFUSED = (sys.stdlib_module_names | _OLD_NAMES | {"torch", "numpy", "builtins"}) - {"__main__"}
_MODULES = "torch.nn.modules."  # whole networks that were saved as they are


class ConfigRecord:
    """Stands for an object in a file: the fields that were saved, and nothing that it could do."""

    def __new__(cls, *values: Any) -> Any:
        """An empty record; of an enum, which is saved as its class and one value, that value."""
        if len(values) == 1 and isinstance(values[0], str | int | float):
            return values[0]
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Take the fields: a dict, or with slots a pair of dicts."""
        for part in state if isinstance(state, tuple) else (state,):
            for name, value in part.items() if isinstance(part, Mapping) else ():
                self.__dict__[str(name)] = value


class _Type:
    """A numpy type of numbers: its code, such as f8."""

    def __init__(self, code: str = "", *flags: Any) -> None:
        if code not in _LETTERS:
            raise UserError(f"holds numpy values of type {code!r:.20}; numbers are read, of {', '.join(_LETTERS)}")
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Array:
    """A numpy array: its shape and its numbers, as a tensor."""

    tensor = torch.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, raw = state
        if kind.code not in _DTYPES or len(raw) != math.prod(shape) * int(kind.code[1]) or kind.order == ">":
            raise UserError(f"holds a numpy array of type {kind.order}{kind.code}; save it as a tensor or a list")
        flat = torch.frombuffer(bytearray(raw), dtype=_DTYPES[kind.code]) if raw else torch.zeros(0)
        self.tensor = flat.reshape(shape[::-1]).permute(*range(len(shape))[::-1]) if by_columns else flat.reshape(shape)


def _scalar(kind: _Type, raw: bytes) -> float | int | bool:
    """A numpy number as Python's."""
    return struct.unpack(kind.order + _LETTERS[kind.code], raw)[0]


def _array(*_: Any) -> _Array:
    return _Array()


def _path(*parts: str) -> str:
    """A path as its text."""
    return "/".join(parts).replace("//", "/", 1)


def _dict(*_: Any) -> dict[Any, Any]:
    """What a `defaultdict` holds, without what it would make."""
    return {}


def _no_bytes(*_: Any) -> bytes:
    """Bytes that have none: all others are written as text."""
    return b""


class Namespace(ConfigRecord):
    """Stands for a namespace of settings."""


class _Nothing:
    """Stands for a class that a `defaultdict` would call."""


# What stands for a name of Python's library or numpy's; in files of protocol 2 `builtins` has its old name.
STAND_INS: dict[str, Any] = {
    "argparse.Namespace": Namespace,
    "types.SimpleNamespace": Namespace,
    "collections.defaultdict": _dict,
    **{f"__builtin__.{kind}": _Nothing for kind in ("list", "dict", "int", "float")},
    "__builtin__.set": set,
    "__builtin__.xrange": range,
    "__builtin__.bytes": _no_bytes,
    **{
        f"{home}.{kind}": _path
        for home in ("pathlib", "pathlib._local")
        for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")
    },
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _array for core in ("core", "_core")},
    "numpy.dtype": _Type,
    "numpy.ndarray": _Array,
}


def is_record(name: str) -> bool:
    """Whether an object of a class of that name is read as a record of its fields.

    >>> [is_record(name) for name in ("__main__.Config", "os.system", "builtins.eval", "mine.run", "torch.Tensor")]
    [True, False, False, False, False]
    """
    home, _, last = name.rpartition(".")
    ours = home.split(".")[0] not in _REFUSED or name.startswith(_MODULES)
    return bool(home) and ours and last[:1].isupper()


def stand_ins(names: set[str]) -> list[Any]:
    """What stands for each of these names, as torch's reader takes it: by the file's name, and by today's."""
    found: list[Any] = []
    for name in sorted(names):
        here = STAND_INS[name] if name in STAND_INS else type("Record", (ConfigRecord,), {})
        home, _, last = name.rpartition(".")
        today = ".".join(NAME_MAPPING.get((home, last), (IMPORT_MAPPING.get(home, home), last)))
        found += [(here, known) for known in dict.fromkeys((name, today))]
    return found


def plain(value: Any) -> Any:
    """A file's content without what is left of numpy: arrays as tensors, in containers and records too."""
    if isinstance(value, _Array):
        return value.tensor
    if isinstance(value, ConfigRecord):
        value.__dict__.update({name: plain(inner) for name, inner in vars(value).items()})
    elif isinstance(value, dict):
        for key, inner in value.items():
            value[key] = plain(inner)
    elif isinstance(value, list):
        value[:] = [plain(inner) for inner in value]
    elif type(value) is tuple:
        return tuple(plain(inner) for inner in value)
    return value


def module_state(record: ConfigRecord, prefix: str = "") -> dict[str, Tensor]:
    """The state dict of a network that was saved whole: its parameters and buffers by their names.

    Raises:
        UserError: It is no network: it has no parameters.
    """
    fields, found = vars(record), {}
    if not {"_parameters", "_modules"} <= fields.keys():
        raise UserError(f"holds an object with the fields {', '.join(fields)[:200] or 'none'}, and no weights")
    forgotten = fields.get("_non_persistent_buffers_set") or ()
    for part in ("_parameters", "_buffers"):
        inner = fields.get(part) or {}
        found |= {f"{prefix}{n}": v for n, v in inner.items() if isinstance(v, Tensor) and n not in forgotten}
    for name, inner in (fields["_modules"] or {}).items():
        if isinstance(inner, ConfigRecord):
            found |= module_state(inner, f"{prefix}{name}.")
    return found
