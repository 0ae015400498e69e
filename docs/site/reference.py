"""The pages of the reference: the names of `cg` first, then room by room, all from docstrings and signatures."""

import ast
import inspect
import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from brought import NEW, ROOT, put
from pydantic import BaseModel
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

import circuitgrok

PACKAGE = ROOT / "circuitgrok"
HOMES = {f"circuitgrok.{home}.{name}": name for name, home in circuitgrok._HOMES.items() if not name.startswith("_")}
SECTIONS: Any = Config(napoleon_use_rtype=False, napoleon_use_ivar=True, napoleon_attr_annotations=False)
MARKUP = re.compile(r"(`[^`]*`)|([*|_\\])")
ROOMS = {  # as the map of the house has them, from the top
    "faces": "a person",
    "study": "a question",
    "kits": "checks to run on your own",
    "figures": "what is drawn",
    "inspection": "a checkpoint in the hand",
    "table": "a row for each checkpoint",
    "training": "a stack of runs",
    "landscape": "the loss around a point",
    "foreign": "TransformerLens, and files of other hands",
    "store": "a run on disk",
    "polar": "radial and angular motion",
    "config": "what decides a run",
    "measures": "functions of weights",
    "exact": "what is known in closed form",
    "tasks": "what is learned",
    "models": "what learns",
    "interventions": "what a run varies",
    "samplers": "chains on a potential",
    "": "arithmetic under all of it",
}


def write(docs: Path) -> None:
    """Write a page for `cg` and one for each room."""
    see_types()
    folder = docs / NEW / "api"
    put(folder / "cg.md", names_of_cg())
    there = ["", *(file.parent.name for file in PACKAGE.glob("*/__init__.py"))]
    rooms = {room: said for room, said in ROOMS.items() if room in there}
    rooms |= {room: "see the map" for room in there if room not in ROOMS}
    for room, said in rooms.items():
        put(folder / f"{room or 'top'}.md", page_of(room, said))
    listed = "\n".join(f"api/{room or 'top'}" for room in rooms)
    put(docs / NEW / "api.md", f"{ABOUT}\n\n```{{toctree}}\n:maxdepth: 1\n\napi/cg\n{listed}\n```\n")


ABOUT = """# Reference

The names of `cg` are what most scripts need. Below them everything is open as well, room by room: `cg.polar.path`,
`cg.measures.circuits.restricted`. Shapes stand in the types, `Float[Tensor, "ckpt pair c"]`: the names are of axes, and
`*stack` is any number of them. Names that begin with an underscore are not for use from outside."""


def names_of_cg() -> str:
    """The page of the public names."""
    parts = ["# circuitgrok", "`import circuitgrok as cg`: names are loaded when they are first used."]
    for name in sorted(set(HOMES.values()), key=str.lower):
        parts.append(documented("circuitgrok", name, getattr(circuitgrok, name)))
    return "\n\n".join(parts) + "\n"


def page_of(room: str, said: str) -> str:
    """A page with each file of a room and its public names."""
    files = sorted(PACKAGE.glob("*.py")) if not room else sorted((PACKAGE / room).rglob("*.py"))
    parts = [f"# {room or 'top'}: {said}"]
    for file in files:
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if file.stem in ("__init__", "__main__"):
            continue
        module = import_module(name)
        own = [
            key
            for key, value in vars(module).items()
            if not key.startswith("_") and getattr(value, "__module__", "") == name and callable(value)
            and (inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value)))
        ]  # fmt: skip
        title = "/".join(file.relative_to(PACKAGE / room if room else PACKAGE).with_suffix("").parts)
        parts.append(f"## {title}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```")
        for key in own:
            known = HOMES.get(f"{name}.{key}")
            parts.append(
                f"{{py:obj}}`cg.{known} <circuitgrok.{known}>` is among the names of the package."
                if known
                else documented(name, key, getattr(module, key))
            )
    return "\n\n".join(parts) + "\n"


def documented(module: str, name: str, value: Any) -> str:
    """The directive for a class or a function."""
    if inspect.ismodule(value):
        return f"```{{eval-rst}}\n.. automodule:: {value.__name__}\n   :no-index:\n```"
    kind = "autoclass" if inspect.isclass(value) else "autofunction" if callable(value) else "autodata"
    members = "\n   :members:" if kind == "autoclass" else ""
    return f"```{{eval-rst}}\n.. {kind}:: {module}.{name}{members}\n```"


def see_types() -> None:
    """Import every file of the package, and give each the names that only type checkers see, for its signatures."""
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file.stem != "__main__"]
    for file in files:
        import_module(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    for file in files:
        if file.stem == "__init__":
            continue
        module = sys.modules[".".join(file.relative_to(ROOT).with_suffix("").parts)]
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for seen in node.body:
                    with suppress(ImportError):  # a library of an extra that is not installed here
                        exec(compile(ast.Module([seen], []), str(file), "exec"), vars(module))


def as_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A docstring in reStructuredText: plain words, where nothing is markup but lists, code, examples and sections."""
    text = [*plain(lines), *fields(obj)]
    if what == "module":
        text = blocks(text)
    kind: Any = "function" if what in ("attribute", "property", "data") else what  # there a colon would end a type
    lines[:] = [*GoogleDocstring(text, SECTIONS, what=kind, name=name, obj=obj).lines(), ""]


def plain(lines: list[str]) -> list[str]:
    """Lines in which only what stands in backticks or in an example may mean something to reStructuredText."""
    found, in_example = [], False
    for line in lines:
        in_example = line.lstrip().startswith((">>>", "...")) or (in_example and bool(line.strip()))
        bullet = re.match(r"\s*(\* )?", line)
        at = 0 if in_example or not bullet else bullet.end()
        found.append(line if in_example else line[:at] + MARKUP.sub(escaped, line[at:]))
    return found


def escaped(found: re.Match[str]) -> str:
    """Code, which is a link where it is a name; or a character that would be markup."""
    code = found[1] or ""
    return (code if re.fullmatch(r"`[\w.]+`", code) else f"`{code}`") if code else "\\" + found[2]


def blocks(lines: list[str]) -> list[str]:
    """What stands further in, in the docstring of a file, is a table or a command: it is shown as it is."""
    found: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        inside = line.startswith("    ") and not line.lstrip().startswith((">>>", "..."))
        if inside and not before.strip() and not any(last.startswith("    ") for last in found[-3:]):
            found += ["::", ""]
        found.append(re.sub(r"\\([*|_\\])", r"\1", line) if inside else line)
    return found


def fields(obj: Any) -> list[str]:
    """The fields of a config or an intervention, which it describes itself."""
    if not (inspect.isclass(obj) and issubclass(obj, BaseModel)) or not obj.model_fields:
        return []
    described = [
        f"    {name}: {plain([field.description])[0]}"
        + ("" if field.is_required() or field.default is None else f" (default ``{field.default!r}``)")
        for name, field in obj.model_fields.items()
        if field.description
    ]
    return ["", "Attributes:", *described] if described and "Attributes:" not in (obj.__doc__ or "") else []


def without_extras(app: Any, obj: Any, bound_method: bool) -> None:
    """Types without what pydantic reads beside them."""
    if inspect.isfunction(obj) and any("Annotated" in repr(kind) for kind in obj.__annotations__.values()):
        obj.__annotations__ = get_type_hints(obj)


def without_types(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returned: str) -> Any:
    """The signature of a config or an intervention without the bounds of its fields, which stand with them."""
    if not (inspect.isclass(obj) and issubclass(obj, BaseModel)):
        return None
    said = [f"{key}" + ("" if field.is_required() else "=…") for key, field in obj.model_fields.items()]
    return (f"({', '.join(said)})", None)


def no_alias(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields of a tuple stand under Attributes already, and pydantic's own settings say nothing."""
    return True if type(obj).__name__ in ("_tuplegetter", "member_descriptor") or name == "model_config" else None
