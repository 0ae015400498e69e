"""What a user can mend: everything else that goes wrong is a fault of this package.

The command line prints the message of a `UserError` as one line and exits 2; any other error ends in a
traceback and exit 70. A message names the rule, what was got, and what to type next.
"""

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: the nearest that is, if any is near.

    >>> nearest("nand", ["nanda", "pizza"])
    "; did you mean 'nanda'?"
    """
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


class UserError(ValueError):
    """Input that this package refuses; the message says the rule, what was got, and what to do."""


class DamagedFile(UserError):
    """A file on disk is not what was written; the message says which, and what was expected."""


class RunError(UserError):
    """A folder is not the run that was asked for; the message says why and what to do."""


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop; the state is saved and the same command goes on."""


class Undefined(ValueError):
    """A number that does not exist for this network or task, such as a fifth component of four; the message says why.

    A group of measures gives it in the place of a column's values; the table has NaN there, and the reason in its
    `attrs["undefined"]`.
    """
