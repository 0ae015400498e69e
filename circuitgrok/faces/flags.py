"""The command line's flags: one for each field of a config, parsed into plain options, and back into values."""

from collections.abc import Mapping
from dataclasses import field, make_dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, get_args, get_origin

from circuitgrok.config.presets import PRESETS
from circuitgrok.errors import UserError
from circuitgrok.faces.fields import Leaf, check_kind, description, every_leaf, kinds_with, sampling_leaves
from circuitgrok.faces.typed import about, help_word, mended
from circuitgrok.text import show

if TYPE_CHECKING:
    from circuitgrok.landscape.sampling import Sampling

Flag = tuple[Any, Any, str]  # type, default, help
REQUIRED = object()
DEVICE: Flag = (str, "cpu", "where to compute: cpu, cuda, cuda:1, ...; auto: a GPU if there is one, else the CPU")
ALIASES = {"start": "--from"}
TRAIN_FLAGS = {
    "config": (
        str,
        "",
        "start from the config in a file instead of a preset: a run's folder, or a JSON file",
    ),
    "out": (str, "", "the run's folder (sweep: the folder of the runs); made from the preset by default"),
    "threads": (int, 1, "threads of torch; with 1, bits do not depend on what trains beside"),
    "device": DEVICE,
    "allow_inexact": (bool, False, "resume although torch, instruction set, threads or device have changed"),
    "dry_run": (bool, False, "say what would be trained, how long that takes and how much disk; writes nothing"),
    "log": (Literal["off", "tensorboard"], "off", "where to log the history, too: RUN/tensorboard (an extra)"),
    "quiet": (bool, False, "no progress"),
}


def preset_and_rest(argv: list[str], prog: str) -> tuple[str, list[str]]:
    """The preset, which decides the defaults shown by --help, and the rest."""
    if not argv or argv[0].startswith("-"):
        if argv and argv[0] in ("-h", "--help"):
            return "quickstart", argv
        raise UserError(f"the preset comes first: `{prog} quickstart`, or --config FILE; there are {preset_names()}")
    return argv[0], argv[1:]


def option_of(argv: list[str], flag: str) -> str | None:
    """The word that follows a flag, if it is there."""
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return None


def preset_names() -> str:
    """All presets, for a message."""
    return ", ".join(PRESETS)


def kinds_of_flags(own: Mapping[str, str], argv: list[str]) -> dict[str, str]:
    """The kinds of task and model to start from, or those that `--task` and `--model` name, before anything is parsed.

    Raises:
        UserError: Unknown kind, or a flag that only other kinds have.
    """
    kinds = {section: option_of(argv, f"--{section}") or kind for section, kind in own.items()}
    for section, kind in kinds.items():
        check_kind(section, kind)
    known = {leaf.name for leaf in every_leaf(kinds)}
    for flag in (word.split("=")[0] for word in argv if word.startswith("--")):
        name = flag.removeprefix("--").replace("-", "_")
        if name not in known and (others := kinds_with(name)):
            got = " and ".join(kinds.values())
            raise UserError(f"{flag} belongs to {' and '.join(others)}; got {got}: see --task and --model")
    return kinds


def field_flags(leaves: Mapping[str, Leaf], kinds: Mapping[str, str], many: bool) -> dict[str, Flag]:
    """A flag for each leaf field of a config: (type, default, help). Booleans are on or off."""
    import tyro

    flags: dict[str, Flag] = {}
    for section, kind in kinds.items():
        words = Literal[tuple(description()["sections"][section])]  # pyright: ignore
        flags[section] = (words, kind, f"kind of {section}; its fields are the flags shown")
    for name, leaf in leaves.items():
        if many and leaf.type == "choices":
            continue
        kind = Literal["on", "off"] if leaf.type == "bool" else leaf.annotation
        value, text = _on_off(leaf.default), leaf.help + (f"; {leaf.range}" if leaf.range else "")
        flags[name] = (tuple[kind, ...], (), f"{text} (preset: {value})") if many else (kind, value, text)
    for name in ALIASES.keys() & flags.keys():
        kind, value, text = flags[name]
        flags[name] = (Annotated[kind, tyro.conf.arg(aliases=[ALIASES[name]])], value, text)
    return flags


def headings(kinds: Mapping[str, str]) -> dict[str, str]:
    """The section of the config that each field stands in, for `--help`."""
    sections = description()["sections"]
    found = {section: section for section in kinds}
    for section, part in sections.items():
        found |= {f["name"]: section for f in (part[kinds[section]] if section in kinds else part)}
    return found


def config_values(leaves: Mapping[str, Leaf], options: Any) -> dict[str, Any]:
    """The config's fields out of parsed options, with booleans again."""
    values = {name: getattr(options, name) for name in leaves if hasattr(options, name)}
    for name in [name for name in values if leaves[name].type == "bool"]:
        value = values[name]
        values[name] = tuple(v == "on" for v in value) if isinstance(value, tuple) else value == "on"
    return values


def _on_off(value: Any) -> Any:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def in_name(value: Any) -> str:
    """A field's value as part of a folder's name."""
    text = "_".join(map(str, value)) if isinstance(value, tuple) else str(_on_off(value))
    return text.replace("/", "_")


def positional() -> Any:
    """Marks an argument that is given by its place."""
    import tyro

    return tyro.conf.Positional


def parse(
    prog: str, description: str, flags: dict[str, Flag], argv: list[str], groups: Mapping[str, str] | None = None
) -> Any:
    """Parse flags by tyro, which refuses unknown ones with the nearest name and exit code 2.

    Args:
        prog: The command, as it is typed.
        description: What it does.
        flags: By name.
        argv: What was typed behind the command.
        groups: The heading under which `--help` shows a flag; the others come first.

    Returns:
        An object with the value of each flag under its name.

    Raises:
        UserError: A word that a flag does not take.
        SystemExit: After `--help`, and `--help WORD`, which shows the flags that are about a word.
    """
    import tyro

    word = help_word(argv)
    if word is not None:
        show(*about(word, flags))
        raise SystemExit(0)
    argv = mended(argv, {name: kind for name, (kind, _, _) in flags.items()}, ALIASES)
    headed: dict[str, dict[str, Flag]] = {}
    for name, flag in flags.items():
        headed.setdefault((groups or {}).get(name, ""), {})[name] = flag
    fields = _fields(headed.pop("", {}))
    for heading, own in headed.items():
        part = make_dataclass(heading.title(), _fields(own))
        fields.append((heading, Annotated[part, tyro.conf.OmitArgPrefixes], field(default_factory=part)))
    parsed = vars(tyro.cli(make_dataclass("Options", fields), prog=prog, description=description, args=argv))
    flat = {name: value for name, value in parsed.items() if name not in headed}
    return SimpleNamespace(**flat, **{n: v for heading in headed for n, v in vars(parsed[heading]).items()})


def _fields(flags: Mapping[str, Flag]) -> list[Any]:
    """Fields of a dataclass that tyro makes flags of."""
    import tyro

    fields: list[Any] = []
    for name, (kind, default, text) in flags.items():
        extra = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
        base = get_args(kind)[0] if extra else kind
        kind = Annotated[(base, tyro.conf.arg(help=text), *extra)]  # pyright: ignore
        fields.append((name, kind) if default is REQUIRED else (name, kind, field(default=default)))
    return fields


def sampling_flags() -> dict[str, tuple[Any, Any, str]]:
    """A flag for each number that llc is sampled with, none of them given by default."""
    return {
        name: (Optional[leaf.annotation], None, f"llc: {leaf.help}")  # noqa: UP045
        for name, leaf in sampling_leaves().items()
    }


def sampling_given(options: Any) -> dict[str, Any]:
    """What was said of the sampling; nothing leaves it to calibration. Needs no torch.

    Raises:
        UserError: It is not for llc, or too little was said.
    """
    given = {name: getattr(options, name) for name in sampling_leaves() if getattr(options, name) is not None}
    if given and "llc" not in options.measures:
        raise UserError(f"--{next(iter(given)).replace('_', '-')} is for llc: add `--measures llc`")
    missing = {"step_size", "localization"} - set(given)
    if given and missing:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(missing))
        raise UserError(f"give {flags} too, or no sampling flag at all: then they are calibrated")
    return given


def sampling_of(given: Mapping[str, Any]) -> "Sampling":
    """A sampling with these numbers.

    Raises:
        UserError: A number is out of its range; the message says the rule.
    """
    from pydantic import ValidationError

    from circuitgrok.config.explain import explain
    from circuitgrok.landscape.sampling import Sampling

    try:
        return Sampling(**given)
    except ValidationError as error:
        raise UserError("; ".join(explain(error))) from None
