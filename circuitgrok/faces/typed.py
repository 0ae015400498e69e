"""What was typed behind a command, before it is parsed: whole numbers as people write them, choices, `--help WORD`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from circuitgrok.errors import UserError, nearest

_NUMBER = re.compile(r"[+-]?\d[\d_]*(\.\d*)?([eE][+-]?\d+)?")
HELP = ("-h", "--help")


class Values(NamedTuple):
    """What a flag takes: whole numbers, or one of some words."""

    whole: bool
    words: tuple[str, ...]


def values_of(kind: Any) -> Values:
    """What a type takes; of an option or a list what one of its values takes.

    >>> values_of(tuple[int, ...]), values_of(Literal["on", "off"] | None).words
    (Values(whole=True, words=()), ('on', 'off'))
    """
    parts, whole, words = [kind], False, ()
    while parts:
        one = parts.pop()
        if get_origin(one) is Literal:
            words += get_args(one)
        elif get_origin(one) is Annotated:
            parts.append(get_args(one)[0])
        elif get_args(one):
            parts += get_args(one)
        whole = whole or one is int
    return Values(whole, tuple(map(str, words)))


def mended(argv: Sequence[str], kinds: Mapping[str, Any], aliases: Mapping[str, str]) -> list[str]:
    """The words, with whole numbers in digits.

    Args:
        argv: As typed.
        kinds: The type of each flag, by its name.
        aliases: Other names of flags, `--from`, by the flag's.

    Raises:
        UserError: A word that the flag does not take, with the nearest that it does.

    Example:
        >>> mended(["--steps", "1e4", "--lr=1e-3"], {"steps": int, "lr": float}, {})
        ['--steps', '10000', '--lr=1e-3']
        >>> mended(["--split", "nande"], {"split": Literal["nanda", "randperm"]}, {})
        Traceback (most recent call last):
        circuitgrok.errors.UserError: --split takes one of nanda, randperm; got 'nande'; did you mean 'nanda'?
    """
    takes = {f"--{name.replace('_', '-')}": values_of(kind) for name, kind in kinds.items()}
    takes |= {f"--{name}": values_of(kind) for name, kind in kinds.items()}
    takes |= {alias: values_of(kinds[name]) for name, alias in aliases.items() if name in kinds}
    found, flag = [], ""
    for word in argv:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            found.append(f"{flag}={_mended(flag, value, takes.get(flag))}" if equals else word)
        else:
            found.append(_mended(flag, word, takes.get(flag)))
    return found


def _mended(flag: str, word: str, takes: Values | None) -> str:
    if takes is None:
        return word
    if takes.words and not takes.whole and word not in takes.words and not (word == "None" or word.startswith("-")):
        raise UserError(f"{flag} takes one of {', '.join(takes.words)}; got {word!r}{nearest(word, takes.words)}")
    if takes.whole and _NUMBER.fullmatch(word):
        number = Decimal(word.replace("_", ""))
        if number == number.to_integral_value() and abs(number) < Decimal(10) ** 18:
            return str(int(number))
        raise UserError(f"{flag} takes a whole number; got {word!r}")
    return word


def help_word(argv: Sequence[str]) -> str | None:
    """The word that `--help` is asked about; None if it is not, or about everything."""
    for word, behind in zip(argv, argv[1:], strict=False):
        if word in HELP and not behind.startswith("-"):
            return behind.strip("-").replace("-", "_")
    return None


def about(word: str, flags: Mapping[str, tuple[Any, Any, str]]) -> Iterator[str]:
    """The flags whose names or descriptions have a word in them, a line each.

    Raises:
        UserError: None has; the nearest name is given.
    """
    there = {name: text for name, (_, _, text) in flags.items() if word in name or word.replace("_", " ") in text}
    if not there:
        raise UserError(f"no flag is about {word!r}, --help lists all{nearest(word, flags)}")
    for name, text in there.items():
        kind, default, _ = flags[name]
        values = values_of(kind).words
        said = f" (one of {', '.join(values)})" if values and values != ("on", "off") else ""
        usual = "" if default in ((), "") or type(default) is object else f"  [{default}]"
        yield f"--{name.replace('_', '-')}{usual}: {text}{said}"
