"""IDX files: bytes written by hand, and every kind of damage."""

import gzip
import struct

import pytest
import torch
from loops import for_each

from circuitgrok.tasks.idx import read_idx

TINY = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])


@pytest.fixture
def file(tmp_path):
    return tmp_path / "some-images-idx3-ubyte"


def test_array_is_read_row_by_row(file):
    file.write_bytes(TINY)
    assert torch.equal(read_idx(file), torch.tensor([[1, 2, 3], [4, 5, 255]], dtype=torch.uint8))


def test_compressed_file_is_read_under_any_name(file):
    file.write_bytes(gzip.compress(TINY, mtime=0))
    assert read_idx(file).tolist() == [[1, 2, 3], [4, 5, 255]]


@for_each("sizes", [(300,), (2, 3, 5), (0, 28, 28), (1, 1, 1, 1)])
def test_sizes_are_big_endian_and_any_number_of_axes_is_read(file, sizes):
    count = torch.Size(sizes).numel()
    file.write_bytes(bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + bytes(range(256)) * 2)
    file.write_bytes(file.read_bytes()[: 4 + 4 * len(sizes) + count])
    assert read_idx(file).shape == sizes and read_idx(file).flatten().tolist() == [i % 256 for i in range(count)]


def test_array_can_be_written_to(file):
    file.write_bytes(TINY)
    read_idx(file)[0, 0] = 7
    assert file.read_bytes() == TINY


COMPRESSED = gzip.compress(TINY, mtime=0)


@for_each(
    ("content", "message"),
    [
        (b"", "is no IDX file: these begin with two zero bytes, it with ''"),
        (b"\x00\x00\x08", "is no IDX file"),
        (b"<html>", "is no IDX file: .*, it with '3c 68 74 6d'"),
        (TINY[:2] + b"\x0d" + TINY[3:], "must hold unsigned bytes, type 0x08; its header says type 0x0d"),
        (TINY[:3] + b"\x00" + TINY[4:], "is damaged: 18 bytes are no header for 0 axes"),
        (TINY[:3] + b"\x09" + TINY[4:], "is damaged: 18 bytes are no header for 9 axes"),
        (TINY[:-1], "is damaged: its header says 2 x 3 bytes, and there are 5; get it again"),
        (TINY + b"\x00", "is damaged: its header says 2 x 3 bytes, and there are 7"),
        (COMPRESSED[:-9], "is damaged: it cannot be decompressed"),
        (COMPRESSED[:12] + b"\xff\xff" + COMPRESSED[14:], "is damaged: it cannot be decompressed"),
        (COMPRESSED[:-8] + bytes(8), "is damaged: it cannot be decompressed"),
    ],
)
def test_damaged_file_is_refused_by_its_name_and_what_is_wrong(file, content, message):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file} {message}"):
        read_idx(file)
