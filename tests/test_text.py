"""Names that would steer a terminal, end a table, or begin a formula: through the real commands and saved figures."""

import ast
import io
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from loops import for_each
from tiny import copied, tiny_flags

import circuitgrok
from circuitgrok.faces.cli import run as call
from circuitgrok.figures import run_figure, save
from circuitgrok.store.run import Run, load
from circuitgrok.text import in_figure, plain, show
from circuitgrok.training.progress import LiveProgress

HOSTILE = {
    "markup": "[red]",
    "end of markup": "c[/red]d",
    "link": "[link=file:x]y",
    "escape": "a\x1b[31m\x1b[2Jb",
    "bell and return": "a\x07\rb",
    "line": "one\ntwo",
    "emoji": ":bomb:",
    "dollar": "$",
    "formula": r"run$\frac{$",
    "whole formula": r"$\undefined$",
    "direction": "a\u202egnp.b",
    "long": "n" * 250,
    "bytes": "bad\udcff\udc80",
    "surprise": "%s{0}{x!r}\\",
}


@pytest.fixture
def hostile(request, finished, tmp_path) -> Run:
    name = HOSTILE[request.param]
    try:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copied(finished, tmp_path).path.rename(tmp_path / name)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system does not take the name")
    return load(tmp_path / name)


def harmless(printed: str) -> None:
    """Nothing in it can steer a terminal, and it can be encoded."""
    assert all(one.isprintable() for line in printed.split("\n") for one in line)
    printed.encode("utf-8")


@for_each("text", HOSTILE.values(), ids=HOSTILE)
def test_plain_text_is_one_printable_line_and_says_what_was_there(text, capsys):
    said = plain(text)
    harmless(said)
    assert "\n" not in said and plain(said) == said
    if text.isprintable():
        assert said == text
    show(text)
    assert capsys.readouterr().out == f"{said}\n"


def test_a_very_long_text_keeps_both_ends():
    said = plain("a" * 9000 + "z", longest=100)
    assert len(said) == 101 and said.startswith("aaa") and said.endswith("az")


@pytest.mark.parametrize("hostile", HOSTILE, indirect=True)
def test_every_command_takes_a_run_of_any_name_and_prints_it_harmlessly(hostile, capsys):
    """The name is there as it is, or with what would do harm as escapes; nothing is swallowed as markup."""
    for argv in (["runs", str(hostile.path.parent)], ["doctor", str(hostile.path)], ["runs", str(hostile.path)]):
        assert call(argv) == 0
        out, err = capsys.readouterr()
        harmless(out)
        assert err == "" and (argv[0] == "doctor" or plain(hostile.name) in out)
    os.remove(hostile.path / "step_000000024.safetensors")
    assert call(["measure", str(hostile.path), "--quiet"]) == 2
    out, err = capsys.readouterr()
    harmless(out + err)
    assert err.count("\n") == 1 and plain(hostile.name) in err
    assert call(["measure", str(hostile.path.parent / f"{hostile.name[:200]}x"), "--quiet"]) == 2
    harmless(capsys.readouterr().err)


@pytest.mark.parametrize("hostile", ["escape", "formula", "bytes"], indirect=True)
def test_training_into_a_folder_of_any_name_prints_and_draws_it_harmlessly(hostile, capsys):
    out = str(hostile.path.parent / f"{hostile.name}2")
    for _ in range(2):  # trained, then summarised from what was saved
        assert call(["train", "nanda", *tiny_flags(), "--out", out]) == 0
        said = capsys.readouterr()
        harmless(said.out + said.err)
        assert plain(hostile.name) in said.out
    assert (Path(out) / "figure.png").stat().st_size > 1000


@pytest.mark.parametrize("hostile", ["escape", "formula", "long", "bytes"], indirect=True)
def test_a_saved_figure_has_the_name_as_it_is_and_is_whole_xml(hostile, measured):
    paths = save(run_figure(hostile, measured), hostile.path.parent / "figure")
    said = "".join(ElementTree.parse(paths[1]).getroot().itertext())
    assert plain(hostile.name, longest=40) in said
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_a_name_in_a_figure_is_never_a_formula():
    import matplotlib.cbook

    for text in HOSTILE.values():
        assert not matplotlib.cbook.is_math_text(in_figure(text))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


@pytest.mark.parametrize("hostile", ["markup", "end of markup", "escape", "emoji", "bytes"], indirect=True)
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_progress_shows_a_name_as_it_is(hostile, stream, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    written = stream()
    progress = LiveProgress(written)
    progress.begin([hostile], 0, 10)
    progress.at(10, [{"train_loss": 1.0, "test_loss": 1.0, "test_acc": 0.5, "norm": 3.0}])
    progress.note(f"{hostile.name}: a note")
    progress.end()
    said = written.getvalue()
    assert plain(hostile.name) in said and "\x1b[31m" not in said and "\x1b[2J" not in said


def test_commands_print_only_through_the_one_place():
    """But for the help, and a table that was drawn of plain cells."""
    faces = Path(circuitgrok.__file__).parent / "faces"
    for file in (faces / "cli.py", *(faces / "commands").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                assert ast.unparse(node.args[0]) in ("HELP", "drawn.get()"), f"{file.name}:{node.lineno}"
