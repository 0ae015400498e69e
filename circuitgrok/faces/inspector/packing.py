"""How plain values and arrays travel to a page: one run of bytes, read by `web/src/packing.js`.

4 bytes          length of the text that follows, little-endian
text             JSON: {"content": plain values, "arrays": {name: [type, shape, offset]}}, padded by spaces
arrays           little-endian, each at an offset divisible by 8, counted from the end of the text
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

TYPES = {"float64": "f8", "float32": "f4", "int32": "i4", "uint16": "u2", "int16": "i2", "uint8": "u1"}


def packed(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Plain values and arrays as bytes; numbers that are not finite become null in the values, and stay in arrays.

    Raises:
        ValueError: An array of a type that pages do not have.

    Example:
        >>> content, arrays = unpacked(packed({"name": "run"}, {"norm": np.array([1.5, 2.0])}))
        >>> content, arrays["norm"]
        ({'name': 'run'}, array([1.5, 2. ]))
    """
    listed, parts, offset = {}, [], 0
    for name, array in arrays.items():
        if array.dtype.name not in TYPES:
            raise ValueError(f"an array must be one of {', '.join(TYPES)}; {name} is {array.dtype.name}")
        content_of = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).tobytes()
        listed[name] = [TYPES[array.dtype.name], list(array.shape), offset]
        parts.append(content_of + bytes(-len(content_of) % 8))
        offset += len(parts[-1])
    text = json.dumps({"content": _finite(content), "arrays": listed}, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return b"".join([len(text).to_bytes(4, "little"), text, *parts])


def unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `packed` packed.

    Args:
        content: All its bytes.
    """
    ends = 4 + int.from_bytes(content[:4], "little")
    whole = json.loads(content[4:ends])
    arrays = {
        name: np.frombuffer(content, f"<{kind}", int(np.prod(shape)), ends + offset).reshape(shape)
        for name, (kind, shape, offset) in whole["arrays"].items()
    }
    return whole["content"], arrays


def _finite(value: Any) -> Any:
    """The same without numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
