"""The command line's flags: one for each field of a config, parsed into plain options, and back into values."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, get_args, get_origin

from circuitgrok.errors import UserError

if TYPE_CHECKING:
    from circuitgrok.config import TrainConfig
    from circuitgrok.landscape.sampling import Sampling

REQUIRED = object()
ALIASES = {"start": "--from"}
TRAIN_FLAGS = {
    "out": (str, "", "the run's folder (sweep: the folder of the runs); made from the preset by default"),
    "threads": (int, 1, "threads of torch; with 1, bits do not depend on what trains beside"),
    "allow_inexact": (bool, False, "resume although torch, instruction set or threads have changed"),
    "quiet": (bool, False, "no progress"),
}


def preset_and_rest(argv: list[str], prog: str) -> tuple[str, list[str]]:
    """The preset, which decides the defaults shown by --help, and the rest."""
    if not argv or argv[0].startswith("-"):
        if argv and argv[0] in ("-h", "--help"):
            return "quickstart", argv
        raise UserError(f"the preset comes first: `{prog} quickstart`; there are {preset_names()}")
    return argv[0], argv[1:]


def preset_option(argv: list[str]) -> str:
    """The preset that `--preset` names, before anything is parsed; quickstart without it."""
    return _option(argv, "--preset") or "quickstart"


def _option(argv: list[str], flag: str) -> str | None:
    """The word that follows a flag, if it is there."""
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return None


def preset_names() -> str:
    """All presets, for a message."""
    from circuitgrok.presets import PRESETS

    return ", ".join(PRESETS)


def of_kinds(config: "TrainConfig", argv: list[str]) -> "TrainConfig":
    """The config with the kinds of task and model that `--task` and `--model` name, before anything is parsed.

    Raises:
        UserError: Unknown kind, or a flag that only other kinds have.
    """
    from circuitgrok.config import KINDS, kinds_with

    chosen = {section: found for section in KINDS if (found := _option(argv, f"--{section}"))}
    config = config.with_(**chosen)
    known, here = config.leaves(), [getattr(config, section).kind for section in KINDS]
    for flag in (word.split("=")[0] for word in argv if word.startswith("--")):
        name = flag.removeprefix("--").replace("-", "_")
        if name not in known and (kinds := kinds_with(name)):
            raise UserError(
                f"{flag} belongs to {' and '.join(kinds)}; got {' and '.join(here)}: see --task and --model"
            )
    return config


def field_flags(config: "TrainConfig", many: bool) -> dict[str, tuple[Any, Any, str]]:
    """A flag for each leaf field of a config: (type, default, help). Booleans are on or off."""
    import tyro

    from circuitgrok.config import KINDS, leaf_fields

    flags, defaults = {}, config.leaves()
    for section, kinds in KINDS.items():
        kind, text = Literal[tuple(kinds)], f"kind of {section}; its fields are the flags shown"  # pyright: ignore
        flags[section] = (kind, getattr(config, section).kind, text)
    for _, name, field in leaf_fields(config):
        if many and isinstance(defaults[name], tuple):
            continue
        kind = Literal["on", "off"] if field.annotation is bool else field.annotation
        value = _on_off(defaults[name])
        text = field.description or name
        flags[name] = (tuple[kind, ...], (), f"{text} (preset: {value})") if many else (kind, value, text)
    for name in ALIASES.keys() & flags.keys():
        kind, value, text = flags[name]
        flags[name] = (Annotated[kind, tyro.conf.arg(aliases=[ALIASES[name]])], value, text)
    return flags


def config_fields(config: "TrainConfig", options: Any) -> dict[str, Any]:
    """The config's fields out of parsed options, with booleans again."""
    from circuitgrok.config import leaf_fields

    values = {name: getattr(options, name) for _, name, _ in leaf_fields(config) if hasattr(options, name)}
    booleans = {name for _, name, field in leaf_fields(config) if field.annotation is bool}
    for name in booleans & set(values):
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


def parse(prog: str, description: str, flags: dict[str, tuple[Any, Any, str]], argv: list[str]) -> Any:
    """Parse flags by tyro, which refuses unknown ones with the nearest name and exit code 2."""
    import dataclasses

    import tyro

    fields: list[Any] = []
    for name, (kind, default, text) in flags.items():
        extra = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
        base = get_args(kind)[0] if extra else kind
        kind = Annotated[(base, tyro.conf.arg(help=text), *extra)]  # pyright: ignore
        fields.append((name, kind) if default is REQUIRED else (name, kind, dataclasses.field(default=default)))
    options = dataclasses.make_dataclass("Options", fields)
    return tyro.cli(options, prog=prog, description=description, args=argv)


def sampling_flags() -> dict[str, tuple[Any, Any, str]]:
    """A flag for each number that llc is sampled with, none of them given by default."""
    from circuitgrok.landscape.sampling import Sampling

    return {
        name: (Optional[field.annotation], None, f"llc: {field.description}")  # noqa: UP045
        for name, field in Sampling.model_fields.items()
    }


def sampling_of(options: Any) -> "Sampling | None":
    """The sampling that was asked for; None, if nothing was, leaves it to calibration."""
    from pydantic import ValidationError

    from circuitgrok.config import explain
    from circuitgrok.landscape.sampling import Sampling

    given = {name: getattr(options, name) for name in Sampling.model_fields if getattr(options, name) is not None}
    if not given:
        return None
    if "llc" not in options.measures:
        raise UserError(f"--{next(iter(given)).replace('_', '-')} is for llc: add `--measures llc`")
    try:
        return Sampling(**given)
    except ValidationError as error:
        missing = {"step_size", "localization"} - set(given)
        if missing:
            flags = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(missing))
            raise UserError(f"give {flags} too, or no sampling flag at all: then they are calibrated") from None
        raise UserError("; ".join(explain(error))) from None
