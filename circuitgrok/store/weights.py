"""Tensors in files: what is written is read back bit for bit, and only where the config asks for just these."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.canonical import canonical_json, from_json
from circuitgrok.errors import DamagedFile
from circuitgrok.store.records import resume_note

if TYPE_CHECKING:
    from torch import Tensor

    from circuitgrok.tree import Params

# Number formats as torch and as safetensors calls them, in the order in which a file has them from its end.
_TYPES = (
    ("bool", "BOOL"),
    ("uint8", "U8"),
    ("int8", "I8"),
    ("int16", "I16"),
    ("float16", "F16"),
    ("bfloat16", "BF16"),
    ("int32", "I32"),
    ("float32", "F32"),
    ("float64", "F64"),
    ("int64", "I64"),
)


def file_name(step: int) -> str:
    """Name of the file that holds the weights at a step.

    >>> file_name(12300)
    'step_000012300.safetensors'
    """
    return f"step_{step:09d}.safetensors"


def pack(weights: "Mapping[str, Tensor]", note: Mapping[str, Any]) -> bytes:
    """Weights as the bytes of a safetensors file, the same bytes for the same weights and note."""
    return b"".join(pieces(weights, note))


def pieces(weights: "Mapping[str, Tensor]", note: Mapping[str, Any]) -> "list[bytes | memoryview]":
    """What a packed file consists of: its header, and the memory of each tensor.

    One behind the other they are what safetensors' own `save` writes (tested), but no number is copied, so that other
    threads work while they are hashed and written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    order = sorted(tensors, key=lambda name: (-_rank(tensors[name]), name))  # the wide types first
    # One metadata entry only: safetensors writes several in an order of its own.
    header: dict[str, Any] = {"__metadata__": {"circuitgrok": canonical_json(dict(note))}}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].nbytes
        kind, shape = _TYPES[_rank(tensors[name])][1], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *(_memory(tensors[name]) for name in order)]


def _rank(value: "Tensor") -> int:
    return next(i for i, (name, _) in enumerate(_TYPES) if str(value.dtype) == f"torch.{name}")


def _memory(value: "Tensor") -> memoryview:
    import torch

    return value.reshape(-1).view(torch.uint8).numpy().data


def note_of(content: bytes) -> Any:
    """What a packed file says of itself beside its tensors; a ValueError if it is not such a file."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        return from_json(header["__metadata__"]["circuitgrok"].encode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no note of ours in it: {error}") from None


def unpack(content: bytes, file: Path, step: int, run: str) -> "tuple[Params, dict[str, Any]]":
    """The tensors and the note of a packed file, if it belongs to this step of the run with this config hash.

    Raises:
        DamagedFile: It is not such a file, or of another run or step.
    """
    from safetensors.torch import load

    kind = "a resume point" if file.parent.name == "resume" else "a safetensors file"
    try:
        tensors, note = load(content), note_of(content)
    except Exception as error:  # safetensors raises several kinds for one fault: not its format
        raise DamagedFile(f"{file} is not {kind}: {error}") from None
    wrong = resume_note(note, step, run)
    if wrong:
        raise DamagedFile(f"{file} does not belong here: {wrong}")
    return tensors, note


def fitting(weights: "Params", shapes: Mapping[str, tuple[int, ...]], file: Path) -> "Params":
    """The weights in the config's order, if they are the tensors it asks for."""
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != dict(shapes):
        wrong = sorted(set(found.items()) ^ set(shapes.items()))
        raise DamagedFile(f"{file} does not hold the tensors of its config; differing: {wrong[:4]}")
    return {name: weights[name] for name in shapes}


def largest(shapes: Mapping[str, tuple[int, ...]], copies: int) -> int:
    """Most bytes that `copies` sets of float64 weights can take in a file, header included."""
    return copies * 8 * sum(math.prod(shape) for shape in shapes.values()) + (1 << 20)
