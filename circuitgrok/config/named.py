"""Writes `config/leaf_types.py`, the types of `TrainConfig.with_`'s arguments: `python -m circuitgrok.config.named`."""

from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

FILE = Path(__file__).with_name("leaf_types.py")
HEAD = '''"""Arguments of `TrainConfig.with_` for type checkers; made by `python -m circuitgrok.config.named`."""

from collections.abc import Sequence
from typing import Literal, TypedDict


class Leaves(TypedDict, total=False):
    """A field for each leaf of a config of any kind, of its name and type."""

'''


def generated() -> str:
    """What the file must hold."""
    from circuitgrok.config.leaves import KINDS, leaf_fields

    found: dict[str, list[str]] = {section: [said(Literal[tuple(kinds)])] for section, kinds in KINDS.items()}  # pyright: ignore
    for task in KINDS["task"].values():
        for model in KINDS["model"].values():
            for _, name, field in leaf_fields({"task": task, "model": model}):
                mine = found.setdefault(name, [])
                mine += [said(field.annotation)] if said(field.annotation) not in mine else []
    return HEAD + "".join(f"    {name}: {' | '.join(types)}\n" for name, types in found.items())


def said(kind: Any) -> str:
    """A type as code; a tuple as any sequence, which is accepted too.

    >>> said(tuple[Literal["embed", "mlp"], ...]), said(float | None)
    ("Sequence[Literal['embed', 'mlp']]", 'float | None')
    """
    if get_origin(kind) is Literal:
        return f"Literal[{', '.join(map(repr, get_args(kind)))}]"
    if get_origin(kind) is tuple:
        return f"Sequence[{said(get_args(kind)[0])}]"
    if get_origin(kind) is Annotated:
        return said(get_args(kind)[0])
    if get_args(kind):
        return " | ".join(map(said, get_args(kind)))
    return "None" if kind is NoneType else kind.__name__


if __name__ == "__main__":
    FILE.write_text(generated(), encoding="utf-8")
