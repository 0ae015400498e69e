"""One text for one value: JSON with sorted keys, read within bounds, and its digest."""

import hashlib
import json
import re
from typing import Any

DEEPEST = 32  # lists and objects inside one another
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?$)|[\[\]{}]', re.DOTALL)


def sha256(*content: bytes | memoryview) -> str:
    """Hexadecimal SHA-256 of bytes, or of several pieces one behind the other.

    >>> sha256(b"")[:8], sha256(b"a", b"b") == sha256(b"ab")
    ('e3b0c442', True)
    """
    digest = hashlib.sha256()
    for piece in content:
        digest.update(piece)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text.

    >>> canonical_json({"b": 1, "a": [1.5]})
    '{"a":[1.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def from_json(content: bytes) -> Any:
    """The value that JSON text says, UTF-8, at most `DEEPEST` deep, its numbers finite.

    Raises:
        ValueError: It is no such text.

    Example:
        >>> from_json(b'{"step": 3}')
        {'step': 3}
    """
    if content.count(b"{") + content.count(b"[") > DEEPEST:
        depth = 0
        for token in _TOKEN.finditer(content):
            depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
            if depth > DEEPEST:
                raise ValueError(f"nested deeper than {DEEPEST}")
    return json.loads(content.decode("utf-8"), parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
