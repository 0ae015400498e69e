"""A loop over cases fails for every case that does, by name, and gives each the fixtures that it would have alone."""

import os

import pytest
from loops import for_each


def test_every_case_that_fails_is_named_whatever_it_raises():
    @for_each("b", [1, 2])
    @for_each("a", [1, 2, 3], ids=["one", "two", "three"])
    def check(a, b):
        with pytest.raises(KeyError):
            assert a != 2, "even"
            if b == 1 or a == 1:
                raise KeyError

    with pytest.raises(BaseExceptionGroup, match=r"2 of 2 cases failed: b = 1; b = 2") as found:
        check()
    assert [str(group).split(" (")[0] for group in found.value.exceptions] == [
        "1 of 3 cases failed: two",
        "2 of 3 cases failed: two; three",
    ]


def test_a_loop_without_a_case_is_refused():
    with pytest.raises(ValueError, match="no case"):
        for_each("a", [])


@for_each("name", ["one", "two"])
def test_each_case_has_an_empty_folder_and_nothing_patched_or_printed(name, tmp_path, monkeypatch, capsys):
    assert not list(tmp_path.iterdir()) and "LOOPED" not in os.environ and capsys.readouterr() == ("", "")
    (tmp_path / name).touch()
    monkeypatch.setenv("LOOPED", name)
    print(name)
