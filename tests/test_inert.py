"""Objects of a foreign file: their fields come back, no code of theirs does, and attacks are refused by name."""

import argparse
import builtins
import collections
import dataclasses
import enum
import os
import subprocess
import sys
import types
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from loops import for_each
from test_foreign import archive, saved

from circuitgrok.errors import UserError
from circuitgrok.foreign.inert import ConfigRecord, is_record, module_state
from circuitgrok.foreign.opening import read_foreign


class Activation(enum.Enum):
    RELU = "relu"


@dataclasses.dataclass
class Settings:
    p: int = 113
    lr: Any = 1e-3
    inner: Any = None


class Slotted:
    __slots__ = ("p",)

    def __init__(self, p: int) -> None:
        self.p = p


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 3), torch.nn.ReLU(), torch.nn.Linear(3, 5))
        self.register_buffer("mask", torch.ones(2))
        self.register_buffer("scratch", torch.ones(2), persistent=False)


def read(value: Any, folder: Path) -> Any:
    return read_foreign(saved({"config": value, "w": torch.ones(2)}, folder / "a.pth")).content["config"]


def test_harmless_objects_come_back_as_their_fields(tmp_path):
    settings = Settings(
        113,
        np.float64(0.25),
        {
            "namespace": argparse.Namespace(p=7, act=Activation.RELU),
            "simple": types.SimpleNamespace(path=PurePosixPath("/runs/a b"), here=Path("runs") / "x"),
            "default": collections.defaultdict(list, {"epochs": [1, 2]}),
            "ordered": collections.OrderedDict(a=1),
            "numbers": [np.float32(0.5), np.int64(-3), np.bool_(True), np.uint8(200), np.float16(2)],
            "torch": [torch.float32, torch.device("cpu"), torch.Size([2])],
            "epochs": range(0, 50, 10),
            "slots": Slotted(59),
            "seen": {1, 2},
            "array": np.arange(6.0).reshape(2, 3),
            "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
            "empty": np.zeros((0, 3), dtype=np.float32),
        },
    )
    found: Any = read(settings, tmp_path)
    assert isinstance(found, ConfigRecord) and not isinstance(found, Settings)
    found = types.SimpleNamespace(**vars(found))
    assert (found.p, found.lr) == (113, 0.25) and type(found.lr) is float
    inner = found.inner
    assert (inner["namespace"].p, inner["namespace"].act) == (7, "relu")
    assert (inner["simple"].path, inner["simple"].here) == ("/runs/a b", "runs/x")
    assert inner["default"] == {"epochs": [1, 2]} and type(inner["default"]) is dict and inner["ordered"] == {"a": 1}
    assert inner["numbers"] == [0.5, -3, True, 200, 2.0] and inner["torch"][0] is torch.float32
    assert [type(number) for number in inner["numbers"]] == [float, int, bool, int, float]
    assert inner["slots"].p == 59 and inner["seen"] == {1, 2} and list(inner["epochs"]) == [0, 10, 20, 30, 40]
    assert torch.equal(inner["array"], torch.arange(6.0, dtype=torch.float64).reshape(2, 3))
    assert torch.equal(inner["columns"], torch.arange(6).reshape(2, 3)) and inner["empty"].shape == (0, 3)


def test_no_class_of_the_file_is_imported(tmp_path):
    (tmp_path / "theirs.py").write_text("print('imported')\nclass Config: pass\n")
    write = "import sys, torch; sys.path.insert(0, sys.argv[1]); from theirs import Config; c = Config(); c.p = 7\n"
    code = write + "torch.save({'w': torch.ones(2), 'config': c}, sys.argv[1] + '/a.pth')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True)
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from circuitgrok.foreign.opening import read_foreign\n"
        "assert read_foreign(Path(sys.argv[1]) / 'a.pth').content['config'].p == 7 and 'theirs' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_network_that_was_saved_whole_is_its_state_dict(tmp_path):
    net = Net()
    found = module_state(read(net, tmp_path))
    assert list(found) == list(net.state_dict())  # the buffer that is not persistent is left out
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())
    with pytest.raises(UserError, match="holds an object with the fields p, lr, inner, and no weights"):
        module_state(read(Settings(), tmp_path))


# --- attacks ----------------------------------------------------------------------------------------


class Calls:
    """An object that asks to be made by a call."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.reduced


def named(name: str, rest: bytes = b".") -> bytes:
    """A pickle that begins with a name."""
    module, _, last = name.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{last}\n".encode() + rest


ATTACKS: dict[str, tuple[Any, str]] = {
    "system": (Calls(os.system, "touch hacked"), r"'(posix|nt)\.system'"),
    "eval": (Calls(eval, "1"), "'__builtin__.eval'"),
    "exec": (Calls(exec, "1"), "'__builtin__.exec'"),
    "import": (Calls(__import__, "os"), "'__builtin__.__import__'"),
    "open": (Calls(open, "hacked", "w"), r"'(io|_io)\.open'"),
    "getattr": (Calls(getattr, Calls(getattr, "x", "join"), "__self__"), "'__builtin__.getattr'"),
    "getattr of a record": (Calls(getattr, Settings(), "__class__"), "'__builtin__.getattr'"),
    "popen": (Calls(subprocess.Popen, "touch hacked"), "'(subprocess|commands).Popen'"),
    "partial": (partial(os.system, "touch hacked"), "'functools.partial'"),
    "map": (Calls(map, os.system, ["touch hacked"]), "'__builtin__.(i?map)'|'itertools.imap'"),
    "torch's loader": (Calls(torch.load, "x.pth"), "'torch.serialization.load'"),
    "torch's hub": (Calls(torch.hub.load, "x", "y"), "'torch.hub.load'"),
    "numpy's loader": (Calls(np.load, "x.npy"), "'numpy.*load'"),
    "a function of theirs": (Calls(partial, 3), "'functools.partial'"),
    "set of a thousand": (Calls(Settings, 1, 2), "it calls .*Settings"),
    "types": (Calls(type, "X", (), {}), "'__builtin__.type'"),
    "array of objects": (np.array([Settings()], dtype=object), "numpy values of type 'O8'"),
    "text as numpy": (np.array(["a"]), "numpy values of type 'U1'"),
    "encode": (Calls(__import__("codecs").encode, "x", "rot13"), "it calls '_codecs.encode'"),
    "a bare function": (os.system, r"'(posix|nt)\.system'"),
    "a bare class": (subprocess.Popen, "'(subprocess|commands).Popen'"),
}  # fmt: skip


@for_each(("attack", "message"), ATTACKS.values(), ids=ATTACKS.keys())
def test_attack_is_refused_by_the_name_of_what_it_wants(tmp_path, monkeypatch, attack, message):
    monkeypatch.chdir(tmp_path)
    content = tmp_path / "a.pth"
    saved({"model": {"w": torch.ones(2)}, "config": attack}, content)
    with pytest.raises(UserError, match=message) as caught:
        read_foreign(content)
    assert "\n" not in str(caught.value) and not (tmp_path / "hacked").exists()


FORGED: dict[str, tuple[bytes, str]] = {
    "a module that torch blocks": (named("os.system"), "'os.system'"),
    "a submodule": (named("os.path.join"), "'os.path.join'"),
    "a name with dots": (named("__main__.Config.__init__.__globals__"), "'__main__.Config.__init__.__globals__'"),
    "class state": (named("__main__.Config", b"}X\x01\x00\x00\x00aK\x01sb."), "is damaged, and nothing is unpickled"),
    "an inner class": (named("builtins.object"), "'builtins.object'"),
    "copyreg": (named("copyreg._reconstructor"), "'copyreg._reconstructor'"),
    "old copyreg": (named("copy_reg._reconstructor"), "'copy_reg._reconstructor'"),
    "a number of many bytes": (
        named("numpy._core.multiarray.scalar", b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87RX\x01\x00\x00\x00a"
              b"\x86R."),
        "is damaged",
    ),
    "an array larger than its bytes": (
        named("numpy._core.multiarray._reconstruct", b"cnumpy\nndarray\nK\x00\x85K\x00\x87R(K\x01J\xff\xff\xff\x7f\x85"
              b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R\x89c_codecs\nencode\nX\x00\x00\x00\x00X\x06\x00\x00\x00"
              b"latin1\x86Rtb."),
        "a numpy array of type <f8",
    ),
    "stack global": (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "was not written by torch.save"),
    "persistent id": (named("__main__.Config", b"Q."), "is damaged"),
    "extension": (b"\x80\x02\x82\x01.", "was not written by torch.save"),
    "instance": (b"\x80\x02(c__main__\nConfig\no.", "was not written by torch.save"),
}  # fmt: skip


@for_each(("content", "message"), FORGED.values(), ids=FORGED.keys())
def test_forged_pickle_is_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read_foreign(archive(content, tmp_path / "a.pth"))
    assert "\n" not in str(caught.value)


def test_state_of_an_object_sets_fields_of_a_record_and_nothing_else(tmp_path):
    before = dict(vars(ConfigRecord))
    tricks = {"__class__": "x", "__dict__": {"a": 1}, "__setstate__": 3, "p": 7}
    made = Calls(Settings, state=tricks)
    found = read_foreign(saved({"config": made}, tmp_path / "a.pth")).content["config"]
    assert isinstance(found, ConfigRecord) and vars(found) == tricks and dict(vars(ConfigRecord)) == before
    pair = Calls(Settings, state=(None, {"__class__": "x", "p": 3}))
    found = read_foreign(saved({"config": pair}, tmp_path / "a.pth")).content["config"]
    assert isinstance(found, ConfigRecord) and vars(found) == {"__class__": "x", "p": 3}


def test_lists_that_hold_each_other_many_times_are_refused_at_once(tmp_path):
    laughs: list[Any] = [1.0] * 10
    for _ in range(24):  # 2^24 times ten numbers, in a file of a kilobyte
        laughs = [laughs, laughs]
    with pytest.raises(UserError, match=r"holds 2.0e\+08 values, counted as often as they stand there"):
        read_foreign(saved({"config": laughs}, tmp_path / "a.pth"))
    shared = [1.0] * 10  # what stands in a file a few times is no bomb
    assert read_foreign(saved([shared] * 100, tmp_path / "b.pth")).content == [shared] * 100


def test_names_that_are_read_as_records_are_classes_outside_of_the_library():
    good = ["__main__.Config", "my.deep.Settings", "torch.nn.modules.linear.Linear", "transformer_lens.x.Config"]
    bad = ["os.PathLike", "subprocess.Popen", "mine.run", "torch.nn.Linear", "torch.Tensor", "numpy.Config", "Config",
           "builtins.Exception", "__builtin__.Warning", "concurrent.futures.Executor"]  # fmt: skip
    assert all(map(is_record, good)) and not any(map(is_record, bad))
    assert not [name for name in vars(builtins) if is_record(f"builtins.{name}")]
