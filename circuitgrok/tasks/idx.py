"""The IDX format of the MNIST files: a header with the sizes of an array, and its bytes.

The header is two zero bytes, a byte for the type of the numbers, a byte for the number of axes, and each axis' size as
a big-endian 32-bit integer. Here numbers are unsigned bytes, type 0x08, as in all files of MNIST. A file may be
compressed by gzip; this is told from its first bytes, not from its name.

Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits, section on file formats.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from circuitgrok.errors import UserError

GZIP = b"\x1f\x8b"
UNSIGNED_BYTES = 0x08


def read_idx(path: Path) -> UInt8[Tensor, "..."]:
    """The array of an IDX file of unsigned bytes.

    Args:
        path: The file, plain or compressed.

    Returns:
        One axis for each of the file's.

    Raises:
        UserError: The file is damaged, cut short, of another format, or holds another type of numbers.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("tiny").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
        >>> read_idx(Path("tiny"))
        tensor([[1, 2, 3],
                [4, 5, 6]], dtype=torch.uint8)
    """
    content = path.read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} is damaged: it cannot be decompressed ({error}); get it again") from None
    if len(content) < 4 or content[:2] != b"\x00\x00":
        raise UserError(f"{path} is no IDX file: these begin with two zero bytes, it with {content[:4].hex(' ')!r}")
    kind, n_axes = content[2], content[3]
    if kind != UNSIGNED_BYTES:
        raise UserError(f"{path} must hold unsigned bytes, type 0x08; its header says type 0x{kind:02x}")
    start = 4 + 4 * n_axes
    if not n_axes or len(content) < start:
        raise UserError(f"{path} is damaged: {len(content)} bytes are no header for {n_axes} axes; get it again")
    sizes = struct.unpack(f">{n_axes}I", content[4:start])
    if math.prod(sizes) != len(content) - start:
        of_sizes = " x ".join(map(str, sizes))
        raise UserError(
            f"{path} is damaged: its header says {of_sizes} bytes, and there are {len(content) - start}; get it again"
        )
    return torch.from_numpy(np.frombuffer(content[start:], np.uint8).reshape(sizes).copy())
