"""Rooms of the package, whose files are imported when they are first asked for."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any


def doors(room: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: its files and rooms by name, none of them imported before.

    Example:
        >>> import circuitgrok as cg
        >>> cg.measures.spectra.fourier.__name__
        'circuitgrok.measures.spectra.fourier'
    """

    def names() -> list[str]:
        spec = find_spec(room)
        return sorted(found.name for found in iter_modules(spec.submodule_search_locations if spec else None))

    def inside(name: str) -> Any:
        there = [] if name.startswith("__") else names()
        if name not in there:
            raise AttributeError(f"{room} has no {name!r}" + (f"; it has {', '.join(there)}" if there else ""))
        return import_module(f"{room}.{name}")

    return inside, names
