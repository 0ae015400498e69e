"""Seals: each line of a file vouches for itself and for every line before it.

A line is a JSON object whose last entry is its seal, the first 32 hex digits of the SHA-256 of the seal before it and
of the line's own bytes without the seal. The chain begins with a seal made of the file's owner (the hash of a run's
config) and its name. So a line that was changed, moved, left out or taken from another run's file does not fit the
line before it. No secret goes into it: seals find accidents and mistakes, not forgers.
"""

import hashlib

_LENGTH = 32
_KEY = b'"seal":"'
_TAIL = len(_KEY) + _LENGTH + len(b'"}')


def first_seal(owner: str, name: str) -> str:
    """Where the chain of a file begins.

    >>> first_seal("b415bc0b045bfb5d", "history.jsonl") == first_seal("b415bc0b045bfb5d", "index.jsonl")
    False
    """
    return hashlib.sha256(f"{owner}/{name}".encode()).hexdigest()[:_LENGTH]


def seal_line(text: str, before: str) -> tuple[bytes, str]:
    """A JSON object with its seal inside, and that seal.

    Args:
        text: The object as JSON on one line, with an entry at least.
        before: The seal of the line before, or `first_seal`.

    Example:
        >>> line, seal = seal_line('{"step":0}', first_seal("run", "history.jsonl"))
        >>> line.decode() == f'{{"step":0,"seal":"{seal}"}}'
        True
    """
    body = text[:-1].encode() + b","
    seal = _link(before, body)
    return body + _KEY + seal.encode() + b'"}', seal


def open_line(line: bytes, before: str) -> tuple[bytes, str]:
    """The JSON object without its seal, and the seal, if it is the one that belongs here.

    Args:
        line: A sealed line, without the newline.
        before: The seal of the line before, or `first_seal`.

    Raises:
        ValueError: There is no seal, or another one: this line, or one before it, is not what was written here.

    Example:
        >>> open_line(seal_line('{"step":0}', "")[0], "")[0]
        b'{"step":0}'
    """
    body, tail = line[:-_TAIL], line[-_TAIL:]
    if not tail.startswith(_KEY) or not body.endswith(b","):
        raise ValueError("has no seal")
    seal = _link(before, body)
    if tail != _KEY + seal.encode() + b'"}':
        raise ValueError("does not fit its seal and the line before: changed, moved, or of another run")
    return body[:-1] + b"}", seal


def _link(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()[:_LENGTH]
