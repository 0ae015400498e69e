"""Text from outside (names of runs and folders, values in files) on its way to a terminal, a table or a figure.

A folder may be called anything. What is printed here is one line of printable characters whatever it was: escape
codes would steer the terminal, line breaks fake a line of output, direction marks reorder it, and bytes that are no
UTF-8 cannot be encoded at all. In figures a dollar sign begins a formula. The markup of `rich` is not escaped but
never parsed: tables and bars are given `rich.text.Text`.
"""

import sys
from typing import TextIO

LONGEST_SHOWN = 4000  # characters of a line; a path has at most 4096 bytes


def plain(text: object, longest: int = LONGEST_SHOWN) -> str:
    r"""Text as printable characters on one line; everything else as an escape, and the middle left out if too long.

    >>> plain("a\x1b[31mb\nc\udcff"), plain("0123456789", longest=5)
    ('a\\x1b[31mb\\nc\\xff', '01…89')
    """
    said = str(text)
    if not said.isprintable():
        said = "".join(one if one.isprintable() else _escape(one) for one in said)
    if len(said) <= longest:
        return said
    kept = longest // 2
    return f"{said[:kept]}…{said[len(said) - kept :]}"


def _escape(one: str) -> str:
    """A character as Python writes it; a byte that was no UTF-8 as that byte."""
    code = ord(one)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries such bytes in names of files
        return f"\\x{code - 0xDC00:02x}"
    return one.encode("unicode_escape").decode("ascii")


def in_figure(text: object, longest: int = 80) -> str:
    r"""Text for a title or a label, in which a dollar sign is a dollar sign.

    >>> in_figure(r"run$\frac{$")
    'run\\$\\frac{\\$'
    """
    return plain(text, longest).replace("$", r"\$")


def show(*lines: object, file: TextIO | None = None) -> None:
    """Print each of the lines as one line of printable characters, to stdout by default."""
    for line in lines:
        print(plain(line), file=file or sys.stdout)
