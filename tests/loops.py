"""One test for all its cases: what `pytest.mark.parametrize` would make many tests of, run and reported as one."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def anew(fixtures: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    """The fixtures of a test for one of its cases: an empty folder, nothing patched and nothing printed yet."""
    own = dict(fixtures)
    with pytest.MonkeyPatch.context() as patch:
        if "monkeypatch" in own:
            own["monkeypatch"] = patch
        if "tmp_path" in own:
            own["tmp_path"] = fixtures["tmp_path"] / str(number)
            own["tmp_path"].mkdir()
        if "capsys" in own:
            own["capsys"].readouterr()
        yield own


def for_each(
    names: str | tuple[str, ...], cases: Iterable[Any], ids: Iterable[str] | None = None
) -> Callable[..., Any]:
    """The test over all cases, which ends with every exception of those that fail, each named by its case.

    Args:
        names: Of the arguments, as `pytest.mark.parametrize` takes them. The other ones of the test are its fixtures,
            which all cases share but for those in `anew`.
        cases: Their values; with several names a tuple of values for each case.
        ids: The names of the cases; by default their values.

    Raises:
        ValueError: No case.

    >>> @for_each("number", [1, 2, 3, 4])
    ... def test_numbers_are_odd(number):
    ...     assert number % 2 == 1, "even"
    >>> test_numbers_are_odd()
    Traceback (most recent call last):
    ExceptionGroup: 2 of 4 cases failed: number = 2; number = 4 (2 sub-exceptions)
    """
    given: list[dict[str, Any]] = [
        dict(zip(names, case, strict=True)) if isinstance(names, tuple) else {names: case} for case in cases
    ]
    if not given:
        raise ValueError("no case")
    said = (
        list(ids) if ids else [", ".join(f"{name} = {value!r:.100}" for name, value in case.items()) for case in given]
    )

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def all_cases(**fixtures: Any) -> None:
            wrong = []
            for number, (name, case) in enumerate(zip(said, given, strict=True)):
                try:
                    with anew(fixtures, number) as own:
                        test(**own, **case)
                except (Exception, BaseExceptionGroup, pytest.fail.Exception) as why:
                    why.add_note(f"in the case of {name}")
                    wrong.append((name, why))
            if wrong:
                failed = f"{len(wrong)} of {len(given)} cases failed: {'; '.join(name for name, _ in wrong)}"
                raise BaseExceptionGroup(failed, [why for _, why in wrong])

        asked = inspect.signature(test)
        fixtures = [parameter for name, parameter in asked.parameters.items() if name not in given[0]]
        vars(all_cases)["__signature__"] = asked.replace(parameters=fixtures)
        return all_cases

    return decorate
