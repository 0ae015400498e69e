"""Stopping when something has happened: `until="grokked+500"` ends a run 500 steps after it grokked.

It is about this call, not about the run: it is not in the config, and the same call without it goes on. What has
happened is told by the run's own evaluations and the rule of `measures/learning/crossings.py`, a level kept for the
whole hold of steps, so that a run stops at the same step whether it was interrupted or not, alone or in a stack.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from circuitgrok.errors import UserError, nearest
from circuitgrok.measures.learning.crossings import ACCURACY_RULES, HOLD, is_kept
from circuitgrok.store.run import Run

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
    """Follows the evaluations of one run, and knows when it may stop.

    Attributes:
        until: What it waits for.
        happened: Step of the event, once its hold is whole.
    """

    def __init__(self, until: Until) -> None:
        self.until = until
        self.happened: int | None = None
        self._column, self._level = ACCURACY_RULES[until.event]
        self._since: int | None = None  # first evaluation of those at the level up to now
        self._kept, self._last = 0, -1

    def see(self, record: Mapping[str, Any]) -> bool:
        """Take in the next evaluation, or one that was seen before; whether the run has come as far as was asked."""
        if self.happened is None and record["step"] > self._last:
            self._last = record["step"]
            if self._since is not None and is_kept(self._since, self._kept, self._last):
                self.happened = self._since
            elif record[self._column] < self._level:
                self._since, self._kept = None, 0
            else:
                since = self._since = self._last if self._since is None else self._since
                self._kept += 1
                if self._kept > 1 and self._last >= since + HOLD:
                    self.happened = since
        return self.happened is not None and record["step"] >= self.happened + self.until.more

    def __str__(self) -> str:
        return f"{self.until.event} at step {self.happened}"


def watch_of(run: Run, until: str, before: int) -> Watch:
    """A watch that has seen what a run evaluated before a step."""
    watch = Watch(until_of(until))
    for record in run.records("history.jsonl"):
        if "diverged" not in record and record["step"] < before:
            watch.see(record)
    return watch


def is_over(run: Run, until: Until) -> bool:
    """Whether a run has come as far as was asked, and stopped there or later."""
    watch, over = Watch(until), False
    for record in run.records("history.jsonl"):
        over = "diverged" not in record and watch.see(record)
    return over
