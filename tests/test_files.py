"""Files are whole or not there, and damage is found before use."""

import hashlib
import json
import os
import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, assume, given, settings
from loops import for_each
from tiny import json_lines

from circuitgrok.canonical import canonical_json, from_json, sha256
from circuitgrok.errors import DamagedFile
from circuitgrok.store.files import LONGEST, drop_temporaries, open_plain, read_json, read_verified, write_atomically
from circuitgrok.store.lines import JsonLines, Lines
from circuitgrok.store.sealed import first_seal

# The folder is shared by the examples of one test, and every example writes its file anew.
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


# --- atomic writes ----------------------------------------------------------------------------------


def test_written_bytes_are_read_back_and_replaced(tmp_path):
    file = tmp_path / "a"
    for content in (b"first", b"second, longer", b""):
        write_atomically(file, content)
        assert file.read_bytes() == content
    assert os.listdir(tmp_path) == ["a"]


@for_each("broken", ["fsync", "replace"])
@for_each("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
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


@for_each("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError):
        canonical_json(value)


@for_each("content", [b'{"a":', b"", b"\xff\xfe"])
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


# --- one door ---------------------------------------------------------------------------------------


def not_plain(folder: Path) -> dict[str, Path]:
    """Whatever is no plain file, by name, each beside a file that must not change."""
    (folder / "theirs").write_bytes(WRITTEN)
    (folder / "resume-of-others").mkdir()
    (folder / "resume-of-others" / "a").write_bytes(WRITTEN)
    (folder / "link").symlink_to(folder / "theirs")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for name in ("resume", "moments", "llc"):
        (folder / name).symlink_to(folder / "resume-of-others")
    names = ("link", "dangling", "folder", "pipe", "resume/a", "moments/a", "llc/a")
    return {name: folder / name for name in names}


@for_each("windows", [False, True])
def test_nothing_but_a_plain_file_is_read_written_or_appended_to(tmp_path, monkeypatch, windows):
    """Where the system has no O_NOFOLLOW and no O_NONBLOCK, links and folders are refused by their looks."""
    paths = not_plain(tmp_path)
    if windows:
        monkeypatch.delattr(os, "O_NOFOLLOW")
        paths.pop("pipe")  # a pipe in a folder is Unix's own
    for name, path in paths.items():
        for mode in ("rb", "wb", "ab"):
            with pytest.raises(DamagedFile, match=r"plain (files|folders) inside"):
                open_plain(path, mode)
        with pytest.raises(DamagedFile, match=r"plain (files|folders) inside"):
            JsonLines(path)
        if "/" in name:
            with pytest.raises(DamagedFile, match="plain folders inside"):
                write_atomically(path, b"ours")
    assert (tmp_path / "theirs").read_bytes() == WRITTEN == (tmp_path / "resume-of-others" / "a").read_bytes()
    assert not (tmp_path / "nowhere").exists()


def test_writing_over_a_link_replaces_the_link_and_not_what_it_points_to(tmp_path):
    path = not_plain(tmp_path)["link"]
    write_atomically(path, b"ours")
    assert path.read_bytes() == b"ours" and not path.is_symlink()
    assert (tmp_path / "theirs").read_bytes() == WRITTEN


def test_folders_that_cannot_be_opened_are_not_flushed(tmp_path, monkeypatch):
    opened, opening = [], os.open

    def as_on_windows(path, flags, *mode):
        opened.append(Path(path))
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, flags & ~os.O_CLOEXEC, *mode)

    for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(os, "open", as_on_windows)
    write_atomically(tmp_path / "a", b"content")
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == b"content" and tmp_path not in opened


@for_each("content", [b"[" * 10**5, b'{"a":' * 10**5, b"[" * 33 + b"]" * 33])
def test_json_that_nests_too_deep_is_refused_without_following_it(content):
    with pytest.raises(ValueError, match="nested deeper than 32"):
        from_json(content)


def test_json_as_deep_as_allowed_and_brackets_in_strings_are_read(tmp_path):
    assert from_json(b"[" * 32 + b"]" * 32) != []
    assert from_json(b'{"[[[' + b"[" * 100 + b'\\"[":1}') == {"[[[" + "[" * 100 + '"[': 1}
    assert from_json(b"[" + b"[1]," * 99 + b"[1]]") == [[1]] * 100


@for_each("content", [b"NaN", b'{"a":-Infinity}', b"[Infinity]", b"9" * 5000, b"\xff\xfe[\x00]\x00"])
def test_json_with_what_json_does_not_know_is_refused(content):
    with pytest.raises(ValueError):
        from_json(content)


@for_each("tail", [b"", b"\n"])
def test_line_beyond_the_bound_is_refused_and_never_held(tmp_path, tail):
    file = written_lines(tmp_path)
    with open(file, "ab") as lines:
        lines.write(b'{"a":"' + b"x" * LONGEST + b'"}' + tail)
    with pytest.raises(DamagedFile, match=rf"line {len(RECORDS) + 1} longer than {LONGEST} bytes"):
        list(json_lines(file))
    with pytest.raises(DamagedFile, match=f"larger than {LONGEST} bytes"):
        read_json(file)


# --- seals ------------------------------------------------------------------------------------------

FIRST = first_seal("run", "history.jsonl")


def sealed_lines(folder: Path) -> Path:
    lines = JsonLines(folder / "history.jsonl", 0, FIRST)
    for record in RECORDS:
        lines.append(record)
    return folder / "history.jsonl"


def test_sealed_lines_are_json_with_one_more_entry_and_each_hangs_on_those_before(tmp_path):
    before, seals = FIRST, []
    for line, record in zip(sealed_lines(tmp_path).read_text().splitlines(), RECORDS, strict=True):
        found = json.loads(line)
        before = hashlib.sha256((before + canonical_json(record)[:-1] + ",").encode()).hexdigest()[:32]
        assert found == record | {"seal": before}
        seals.append(before)
    lines = Lines(tmp_path / "history.jsonl", FIRST)
    assert list(lines) == RECORDS and lines.head == (len(RECORDS), lines.path.stat().st_size, seals[-1])


@settings(max_examples=300, deadline=None, suppress_health_check=SHARED_FOLDER, derandomize=True)
@given(data=st.data())
def test_no_mutation_of_sealed_lines_gives_other_records(tmp_path, data):
    """What is read of a mutated file is the beginning of what was written, or nothing."""
    content = sealed_lines(tmp_path).read_bytes()
    at, lines = data.draw(st.integers(0, len(content) - 1)), content.splitlines(keepends=True)
    i, j = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    swapped = [*lines]
    swapped[i], swapped[j] = lines[j], lines[i]
    changed = {
        "flip": content[:at] + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))]) + content[at + 1 :],
        "insert": content[:at] + data.draw(st.binary(min_size=1, max_size=3)) + content[at:],
        "cut": content[:at],
        "swap": b"".join(swapped),
        "double": b"".join([*lines[:i], lines[i], *lines[i:]]),
        "lose": b"".join([*lines[:i], *lines[i + 1 :]]),
    }[data.draw(st.sampled_from(["flip", "insert", "cut", "swap", "double", "lose"]))]
    assume(changed != content)
    (tmp_path / "history.jsonl").write_bytes(changed)
    read, lines_read = [], Lines(tmp_path / "history.jsonl", FIRST)
    try:
        for record in lines_read:
            read.append(record)
    except DamagedFile as error:
        assert f"history.jsonl is damaged: line {len(read) + 1} " in str(error)
    else:
        assert lines_read.head.lines < len(RECORDS)  # the end was cut, or made a half line
    assert read == RECORDS[: len(read)]


def test_lines_go_on_from_the_seal_before_and_not_from_another_files(tmp_path):
    file = sealed_lines(tmp_path)
    half = file.read_bytes()[:-3]
    file.write_bytes(half)
    lines = JsonLines(file, None, FIRST)
    lines.append({"step": 99})
    assert list(Lines(file, FIRST)) == [*RECORDS[:-1], {"step": 99}]
    for other in (first_seal("run", "index.jsonl"), first_seal("other", "history.jsonl")):
        with pytest.raises(DamagedFile, match="line 1 does not fit its seal"):
            JsonLines(file, None, other)
    with pytest.raises(DamagedFile, match="line 1 has a seal, in a file without seals"):
        list(Lines(file))
