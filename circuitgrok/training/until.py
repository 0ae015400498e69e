"""Stopping when something has happened: `until="grokked+500"` ends a run 500 steps after it grokked.

It is about this call, not about the run: it is not in the config, and the same call without it goes on. What has
happened is told by the run's own evaluations and the rule of `measures/learning/crossings.py`, a level kept for its
whole hold, so that a run stops at the same step whether it was interrupted or not, alone or in a stack.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from circuitgrok.errors import UserError, nearest
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, HOLD

_WORD = re.compile(r"(\w+)(?:\+(\d+))?")


class Until(NamedTuple):
    """An event, and how many steps after it.

    Attributes:
        event: A key of `ACCURACY_RULES`.
        more: Steps of training after it.
    """

    event: str
    more: int

    def __str__(self) -> str:
        return f"{self.event}+{self.more}" if self.more else self.event


def until_of(text: str) -> Until:
    """The event that a word names, such as `grokked` or `memorised+1000`.

    Raises:
        UserError: It names none.

    Example:
        >>> until_of("grokked+500")
        Until(event='grokked', more=500)
    """
    word = _WORD.fullmatch(text)
    if word is None or word[1] not in ACCURACY_RULES:
        near = nearest(text.partition("+")[0], ACCURACY_RULES)
        raise UserError(f"until is {' or '.join(ACCURACY_RULES)}, or such as grokked+500; got {text!r}{near}")
    return Until(word[1], int(word[2] or 0))


class Watch:
    """Follows the evaluations of one run, and knows when it may stop."""

    def __init__(self, until: Until) -> None:
        self._column, self._level = ACCURACY_RULES[until.event]
        self._more = until.more
        self._since: int | None = None  # first evaluation of those at the level up to now
        self._kept = 0
        self.happened: int | None = None  # step of the event
        self.is_over = False

    def see(self, record: Mapping[str, Any]) -> bool:
        """Take in the next evaluation; whether the run has come as far as was asked."""
        if self.happened is None:
            if record[self._column] >= self._level:
                self._since = record["step"] if self._since is None else self._since
                self._kept += 1
            else:
                self._since, self._kept = None, 0
            if self._kept > HOLD:
                self.happened = self._since
        self.is_over = self.happened is not None and record["step"] >= self.happened + self._more
        return self.is_over
