"""How often resume points are written: seldom enough that training does not live to be saved."""

import time
from collections.abc import Callable

from circuitgrok.store.behind import Behind

TIMES = 9  # as long as the last points took to write, before the next: a tenth of the time at most


class Pace:
    """When the next resume points of a stack are due.

    They are so many seconds after the last are on the disk, and longer if these took long: a stack of a thousand small
    runs has a thousand files to bring to the disk. While points are being written no others are asked for. With 0
    seconds they are due after every step.

    Args:
        every_s: Seconds from the last points to the next.
        clock: Gives seconds.

    Example:
        >>> now = [0.0]
        >>> pace = Pace(10, lambda: now[0])
        >>> def after(seconds):
        ...     now[0] += seconds
        ...     return pace.is_due()
        >>> after(9), after(2)
        (False, True)
        >>> pace.begins(); now[0] += 4; pace.ends()  # 4 seconds to write
        >>> after(35), after(2)
        (False, True)
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = every_s, clock
        self._begun = self._ended = clock()
        self._waits = False

    def is_due(self) -> bool:
        """Whether points are to be written now."""
        if not self._every:
            return True
        rest = max(self._every, TIMES * (self._ended - self._begun))
        return not self._waits and self._clock() - self._ended > rest

    def begins(self) -> None:
        """The first of them is being written."""
        self._begun = self._clock()

    def ends(self) -> None:
        """All of them are on the disk."""
        self._ended, self._waits = self._clock(), False

    def around(self, behind: Behind, write: Callable[[], None]) -> None:
        """Have points written, and take the time of it where it is done."""
        self._waits = True
        behind.give(self.begins)
        write()
        behind.give(self.ends)
