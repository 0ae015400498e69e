"""Files of other hands: what torch.save wrote comes back; bombs, code, links and torn files are refused in one line."""

import json
import os
import pickle
import random
import re
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import for_each
from safetensors.torch import save_file

from circuitgrok.canonical import sha256
from circuitgrok.errors import UserError
from circuitgrok.foreign import opening as foreign
from circuitgrok.foreign.inert import ConfigRecord
from circuitgrok.foreign.opening import check_finite, read_foreign, read_settings

# --- what torch.save writes ---------------------------------------------------------------------------


def saved(value: Any, path: Path) -> Path:
    torch.save(value, path)
    return path


def test_everything_that_published_files_hold_comes_back(tmp_path):
    base = torch.arange(6.0)
    module = torch.nn.Linear(2, 3)
    adam = torch.optim.AdamW(module.parameters())
    module(torch.ones(2)).sum().backward()
    adam.step()
    content = {
        "model": module.state_dict(), "parameters": dict(module.named_parameters()), "optimizer": adam.state_dict(),
        "turned": base.view(2, 3).T, "halves": [base[:3], base[3:]], "same": [base, base], "none": torch.zeros(0, 3),
        "types": [torch.zeros(2, dtype=t) for t in (torch.float64, torch.int64, torch.bool, torch.bfloat16)],
        "scalar": torch.tensor(3), "train_losses": [1.0, 2, 10**12], "dtype": torch.float32, "sizes": torch.Size([2]),
        "device": torch.device("cpu"), "config": {"p": 113, "name": "ä", "on": (True, None)},
    }  # fmt: skip
    found = read_foreign(saved(content, tmp_path / "a.pth"))
    assert found.sha256 == sha256((tmp_path / "a.pth").read_bytes())
    again = found.content
    assert list(again) == list(content) and again["config"] == content["config"] and again["dtype"] == torch.float32
    assert isinstance(again["model"], OrderedDict) and again["train_losses"] == content["train_losses"]
    for name in ("turned", "none", "scalar"):
        assert torch.equal(again[name], content[name])
    assert torch.equal(torch.cat(again["halves"]), base)
    assert torch.equal(again["optimizer"]["state"][0]["exp_avg"], adam.state_dict()["state"][0]["exp_avg"])


def test_settings_are_finite_bounded_json(tmp_path):
    (tmp_path / "a.json").write_text('{"p": 7, "lr": 1e-3}')
    assert read_settings(tmp_path / "a.json") == {"p": 7, "lr": 1e-3}
    bad = {
        '{"a": [1, NaN]}': r"a.json.a\[1\] must be a finite number; got nan",
        '{"lr": 1e999}': r"a.json.lr must be a finite number; got inf",
        "[" * 40 + "]" * 40: "nests deeper than 32",
        "[" * 200_000: "nests deeper than 32",
        "{": "is not JSON",
        "": "is empty",
        " " * (foreign.LARGEST_TEXT + 1): "is larger than",
    }
    for text, message in bad.items():
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(UserError, match=message):
            read_settings(tmp_path / "a.json")
    check_finite({"a": [1, 2.0, None, "nan", torch.tensor(float("nan"))]}, "x")  # tensors are the caller's


# --- attacks: each makes a file and says how it is refused --------------------------------------------


def archive(content: bytes, path: Path, *beside: tuple[str, bytes]) -> Path:
    """An archive of torch with a pickle of one's own, and 16 bytes of storage."""
    records = [("data.pkl", content), ("version", b"3\n"), ("byteorder", b"little"), ("data/0", bytes(16)), *beside]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, value in records:
            file.writestr(f"a/{name}", value)
    return path


def storage(numbers: int) -> bytes:
    """Opcodes of `('storage', torch.FloatStorage, '0', 'cpu', numbers)`, loaded."""
    words = [b"X" + len(word).to_bytes(4, "little") + word for word in (b"storage", b"0", b"cpu")]
    count = b"\x8a\x08" + numbers.to_bytes(8, "little", signed=True)
    return b"(" + words[0] + b"ctorch\nFloatStorage\n" + words[1] + words[2] + count + b"tQ"


def tensor(numbers: int, size: int, stride: int = 1, offset: int = 0) -> bytes:
    """A pickle of one tensor over that storage."""
    whole = [b"\x8a\x08" + n.to_bytes(8, "little", signed=True) for n in (offset, size, stride)]
    args = storage(numbers) + whole[0] + whole[1] + b"\x85" + whole[2] + b"\x85\x89ccollections\nOrderedDict\n)R"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + args + b"tR."


def reduced(module: str, name: str, number: int) -> bytes:
    return f"\x80\x02c{module}\n{name}\n".encode("latin-1") + b"\x8a\x08" + number.to_bytes(8, "little") + b"\x85R."


def deflated(path: Path) -> Path:
    saved({"w": torch.zeros(10**6)}, path)
    with zipfile.ZipFile(path) as file:
        records = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in records.items():
            file.writestr(name, value)
    return path


def same_bytes_again(path: Path) -> Path:
    """Ten entries of the directory that show the same megabyte."""
    archive(b"\x80\x02}.", path, ("data/1", bytes(10**6)))
    with zipfile.ZipFile(path, "a") as file:
        for i in range(2, 12):
            entry = zipfile.ZipInfo(f"a/data/{i}")
            source = file.getinfo("a/data/1")
            entry.file_size = entry.compress_size = source.file_size
            entry.CRC, entry.header_offset = source.CRC, source.header_offset
            file.filelist.append(entry)
        file._didModify = True  # pyright: ignore
    return path


def in_itself(path: Path) -> Path:
    held: list[Any] = []
    held.append(held)
    return saved(held, path)


def curves(path: Path) -> Path:
    """A numpy archive, under the name of one of torch."""
    import numpy as np

    np.savez(path.with_suffix(".npz"), w=np.zeros(3))
    path.with_suffix(".npz").rename(path)
    return path


ATTACKS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "stride 0": (lambda f: saved({"w": torch.zeros(1).expand(2 * 10**9)}, f), "a tensor of 8000000000 bytes over 4"),
    "windows": (lambda f: saved({"w": torch.zeros(2000).unfold(0, 1000, 1)}, f), "a tensor of 4004000 bytes over"),
    "many views": (lambda f: saved([torch.zeros(10**4)[:]] * 10**4, f), "its tensors would fill 400000000 bytes, of 6"),
    "deflated": (deflated, "is compressed"),
    "the same bytes again": (same_bytes_again, "declares more than it holds: 11000"),
    "long storage": (lambda f: archive(tensor(2 * 10**9, 4), f), "declares more than it holds: 8000000000 bytes of re"),
    "negative": (lambda f: archive(tensor(-(2**62), 4), f), "declares more than it holds"),
    "beyond": (lambda f: archive(tensor(4, 4, offset=1), f), "a tensor of 16 bytes over 16"),
    "backwards": (lambda f: archive(tensor(4, 4, stride=-1), f), "a tensor of 16 bytes over 16"),
    "class that takes memory": (lambda f: archive(reduced("torch", "FloatTensor", 2 * 10**9), f), "torch.FloatTensor"),
    "storage that does": (lambda f: archive(reduced("torch", "FloatStorage", 2 * 10**9), f), "calls .torch.FloatSto"),
    "bytes that do": (lambda f: archive(reduced("builtins", "bytearray", 8 * 10**9), f), "'builtins.bytearray'"),
    "far memo": (lambda f: archive(b"\x80\x02}r\xff\xff\xff\x7f.", f), "not written by torch.save"),
    "two cases": (lambda f: archive(b"\x80\x02}.", f, ("DATA.pkl", b"\x80\x02].")), "declares more than it holds"),
    "in itself": (in_itself, "nests lists and dicts deeper than 32"),
    "deep": (lambda f: archive(b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", f), "is damaged, and nothing"),
    "many lists": (lambda f: archive(b"\x80\x02(" + b"]" * (10**6 + 9) + b"l.", f), "too many tensors or numbers"),
    "long pickle": (lambda f: archive(b"\x80\x02]." + bytes(2**24), f), "bytes beside its tensors"),
    "many records": (lambda f: wrote(f, b"PK\x03\x04" + b"PK\x01\x02" * 100_001), "more than 100000 tensors"),
    "old": (lambda f: old(f), "no archive of torch .1.6 or later., and nothing is unpickled here"),
    "numpy": (curves, "cut short or holds more than tensors"),
    "no archive": (lambda f: wrote(f, b"PK\x03\x04" + bytes(99)), "cut short or holds more than tensors"),
    "long head": (lambda f: wrote(f.with_suffix(".safetensors"), b"\xff" * 7 + bytes(99)), "declares a head of"),
    "short head": (lambda f: wrote(f.with_suffix(".safetensors"), b"abc"), "not a readable safetensors file"),
}  # fmt: skip


def wrote(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def old(path: Path) -> Path:
    torch.save({"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    return path


def attempt(folder: Path) -> None:
    """Make every attack, read it in this process, and print what was said, and the memory that it took (kB)."""
    import resource

    read_foreign(saved({"w": torch.zeros(1000)}, folder / "first.pth"))  # what is imported late
    files = {name: make(folder / f"{i}.pth") for i, (name, (make, _)) in enumerate(ATTACKS.items())}
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + 2**28, pages + 2**28))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    said = {}
    for name, file in files.items():
        start = time.process_time()
        try:
            message = f"read: {read_foreign(file)!r:.80}"
        except UserError as error:
            message = str(error)
        said[name] = (message, time.process_time() - start)
    print(json.dumps({"said": said, "taken": peak() - before}))


def peak() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


@pytest.fixture(scope="module")
def attacked(tmp_path_factory) -> dict[str, Any]:
    """What a fresh process said of every attack, under a limit on its memory."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("memory is read from /proc")
    code = f"import test_foreign; test_foreign.attempt(test_foreign.Path({str(tmp_path_factory.mktemp('a'))!r}))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@for_each("name", ATTACKS)
def test_attack_is_refused_in_one_line(attacked, name):
    message = attacked["said"][name][0]
    assert re.search(ATTACKS[name][1], message) and "\n" not in message


def test_all_attacks_together_take_little_memory(attacked):
    assert attacked["taken"] < 200 * 1024  # kB; the smallest bomb would take 400 MB


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@for_each("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_never_run(tmp_path, protocol):
    target = tmp_path / "hacked"
    content = pickle.dumps({"w": Payload(target)}, protocol)
    for file in (archive(content, tmp_path / "zip.pth"), wrote(tmp_path / "bare.pth", content)):
        with pytest.raises(UserError, match="nothing is unpickled here"):
            read_foreign(file)
        assert not target.exists()
    pickle.loads(content)
    assert target.exists()  # the payload itself is live


def test_file_cannot_change_what_stands_for_its_classes(tmp_path):
    name = "transformer_lens.HookedTransformerConfig"
    planted = f"\x80\x02c{name}\nHookedTransformerConfig\n".encode("latin-1") + b"}X\x01\x00\x00\x00aK\x01sb."
    with pytest.raises(UserError, match="is damaged, and nothing is unpickled here"):
        read_foreign(archive(planted, tmp_path / "a.pth"))
    assert not hasattr(ConfigRecord, "a")


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    good = saved({"w": torch.zeros(3)}, tmp_path / "good.pth")
    (tmp_path / "link.pth").symlink_to(good)
    (tmp_path / "folder.pth").mkdir()
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "empty.pth").touch()
    said = {"link": "is a link, and none is followed: give the file itself, .*good.pth", "folder": "is a folder",
            "pipe": "is a pipe or a device", "empty": "is empty"}  # fmt: skip
    for name, message in said.items():
        with pytest.raises(UserError, match=message):
            read_foreign(tmp_path / f"{name}.pth")
    with pytest.raises(FileNotFoundError):
        read_foreign(tmp_path / "absent.pth")


@for_each("suffix", [".pth", ".safetensors"])
def test_torn_and_changed_files_are_refused_or_read_and_nothing_else(tmp_path, suffix):
    file, rng = tmp_path / f"a{suffix}", random.Random(0)
    weights = {name: torch.randn(3, 5, generator=torch.Generator().manual_seed(0)) for name in ("a", "b")}
    (torch.save if suffix == ".pth" else save_file)(weights, file)
    whole = file.read_bytes()
    torn = [whole[: rng.randrange(1, len(whole))] for _ in range(60)]
    for content in torn:
        with pytest.raises(UserError):
            read_foreign(wrote(file, content))
    read = 0
    for _ in range(200):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        try:
            read_foreign(wrote(file, bytes(changed)))
            read += 1  # a byte of padding, or of a number
        except UserError:
            pass
    assert read < 200


def test_archive_in_memory_is_what_the_attacks_start_from(tmp_path):
    found = read_foreign(archive(tensor(4, 4), tmp_path / "a.pth")).content  # the forger's own pickle, honest
    assert torch.equal(found, torch.zeros(4))
