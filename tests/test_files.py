"""Files are whole or not there, and damage is found before use."""

import json
import os
import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, assume, given, settings

from circuitgrok.errors import DamagedFile
from circuitgrok.files import (
    canonical_json,
    drop_temporaries,
    read_json,
    read_verified,
    sha256,
    write_atomically,
)
from circuitgrok.lines import JsonLines, json_lines

# The folder is shared by the examples of one test, and every example writes its file anew.
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


# --- atomic writes ----------------------------------------------------------------------------------


def test_written_bytes_are_read_back_and_replaced(tmp_path):
    file = tmp_path / "a"
    for content in (b"first", b"second, longer", b""):
        write_atomically(file, content)
        assert file.read_bytes() == content
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failing_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, broken, error):
    def fail(*_):
        raise error

    file = tmp_path / "a"
    write_atomically(file, b"old")
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(type(error)):
        write_atomically(file, b"new")
    monkeypatch.undo()
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_failing_first_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == []


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b)))
    write_atomically(tmp_path / "a", b"content")
    assert order == ["fsync", "rename", "fsync"]  # the file, its name, the folder


def test_temporaries_of_killed_writers_are_dropped_and_nothing_else(tmp_path):
    kept = {"a", ".lock", ".holder", "b.tmp", ".theirs.123.tmp", ".a.tmp", ".a.x.tmp"}
    for name in (*kept, ".a.123.tmp", ".step_000000001.safetensors.9.tmp"):
        (tmp_path / name).write_bytes(b"")
    drop_temporaries(tmp_path, re.compile(r"a|step_\d{9}\.safetensors"))
    assert set(os.listdir(tmp_path)) == kept


# --- verified reads ---------------------------------------------------------------------------------

WRITTEN = bytes(range(256)) * 2


@settings(max_examples=300, deadline=None, suppress_health_check=SHARED_FOLDER, derandomize=True)
@given(data=st.data())
def test_every_mutation_is_refused_with_both_digests(tmp_path, data):
    kind = data.draw(st.sampled_from(["flip", "truncate", "append", "insert", "delete", "swap"]))
    at = data.draw(st.integers(0, len(WRITTEN) - 1))
    extra = data.draw(st.binary(min_size=1, max_size=8))
    changed = {
        "flip": WRITTEN[:at] + bytes([WRITTEN[at] ^ 1 << data.draw(st.integers(0, 7))]) + WRITTEN[at + 1 :],
        "truncate": WRITTEN[:at],
        "append": WRITTEN + extra,
        "insert": WRITTEN[:at] + extra + WRITTEN[at:],
        "delete": WRITTEN[:at] + WRITTEN[at + 1 :],
        "swap": WRITTEN[at + 1 :] + WRITTEN[: at + 1] if at + 1 < len(WRITTEN) else WRITTEN[::-1],
    }[kind]
    assume(changed != WRITTEN)  # a rotation by its period is none
    file = tmp_path / "weights"
    file.write_bytes(changed)
    with pytest.raises(DamagedFile) as refused:
        read_verified(file, sha256(WRITTEN), at_most=1024)
    for part in (str(file), sha256(WRITTEN)[:12], sha256(changed)[:12], str(len(changed))):
        assert part in str(refused.value)


def test_what_was_written_is_read(tmp_path):
    write_atomically(tmp_path / "weights", WRITTEN)
    assert read_verified(tmp_path / "weights", sha256(WRITTEN), at_most=len(WRITTEN)) == WRITTEN


def test_larger_than_the_weights_can_be_is_refused_without_reading_it_all(tmp_path):
    file = tmp_path / "weights"
    with open(file, "wb") as sparse:
        sparse.truncate(2**40)  # no memory holds this
    with pytest.raises(DamagedFile, match="larger than 1000 bytes"):
        read_verified(file, sha256(WRITTEN), at_most=1000)


def test_missing_file_link_folder_and_pipe_are_refused_by_name(tmp_path):
    (tmp_path / "elsewhere").write_bytes(WRITTEN)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # a reader would wait for ever
    for name, said in {
        "link": "plain files",
        "dangling": "plain files",
        "folder": "plain files",
        "pipe": "plain files",
        "missing": "is missing",
    }.items():
        with pytest.raises(DamagedFile, match=rf"{name}.*{said}"):
            read_verified(tmp_path / name, sha256(WRITTEN), at_most=1024)


# --- JSON -------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=SHARED_FOLDER, derandomize=True)
@given(value=VALUES)
def test_canonical_json_comes_back_and_is_a_fixed_point(tmp_path, value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert "\n" not in text and "\r" not in text  # one value, one line of a JSON-lines file
    write_atomically(tmp_path / "value.json", text.encode())
    assert read_json(tmp_path / "value.json") == value


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": {"y": 1, "x": 2}, "a": 3}) == canonical_json({"a": 3, "b": {"x": 2, "y": 1}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError):
        canonical_json(value)


@pytest.mark.parametrize("content", [b'{"a":', b"", b"\xff\xfe"])
def test_file_that_is_not_json_is_refused_by_name(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(DamagedFile, match="config.json is not JSON"):
        read_json(tmp_path / "config.json")


# --- JSON lines -------------------------------------------------------------------------------------

RECORDS = [{"step": i, "loss": 1 / (i + 3)} for i in range(6)]


def written_lines(folder: Path) -> Path:
    lines = JsonLines(folder / "history.jsonl")
    for record in RECORDS:
        lines.append(record)
    return folder / "history.jsonl"


def test_lines_come_back_and_a_file_that_is_not_there_has_none(tmp_path):
    assert list(json_lines(written_lines(tmp_path))) == RECORDS
    assert list(json_lines(tmp_path / "none.jsonl")) == []


def test_lines_are_in_the_file_as_soon_as_they_are_appended(tmp_path):
    lines = JsonLines(tmp_path / "history.jsonl")
    lines.append(RECORDS[0])
    assert list(json_lines(tmp_path / "history.jsonl")) == RECORDS[:1]


def test_wherever_the_file_is_cut_the_half_written_line_is_dropped(tmp_path):
    file = written_lines(tmp_path)
    content = file.read_bytes()
    for length in range(len(content) + 1):
        file.write_bytes(content[:length])
        assert list(json_lines(file)) == RECORDS[: content[:length].count(b"\n")]


@settings(max_examples=200, deadline=None, suppress_health_check=SHARED_FOLDER, derandomize=True)
@given(line=st.integers(0, 4), bad=st.sampled_from([b"", b"{", b"[1]", b"3", b'{"a":1}}', b"\xff", b"nul"]))
def test_damaged_line_before_the_last_is_refused_with_its_number(tmp_path, line, bad):
    file = written_lines(tmp_path)
    lines = file.read_bytes().split(b"\n")
    lines[line] = bad
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(DamagedFile, match=rf"history.jsonl is damaged: line {line + 1} is not"):
        list(json_lines(file))


def test_cut_back_file_goes_on_from_there_and_knows_its_length(tmp_path):
    file = written_lines(tmp_path)
    content = file.read_bytes()
    length = len(b"".join(content.splitlines(keepends=True)[:2]))
    lines = JsonLines(file, length)
    assert lines.sync() == length == file.stat().st_size  # also before anything is appended
    lines.append({"step": 99})
    assert lines.sync() == file.stat().st_size
    assert list(json_lines(file)) == [*RECORDS[:2], {"step": 99}]


def test_file_shorter_than_what_had_been_written_is_refused_and_left_alone(tmp_path):
    file = written_lines(tmp_path)
    content = file.read_bytes()
    with pytest.raises(DamagedFile, match=f"is {len(content)} bytes long, but {len(content) + 1} had been written"):
        JsonLines(file, len(content) + 1)
    assert file.read_bytes() == content
