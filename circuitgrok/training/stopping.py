"""How work is asked to stop: by a signal, by a file that whoever handed it out takes away, by the end of who did."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

STOPPING = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
LOOK_EVERY_S = 1.0  # for the file


class Stop:
    """Whether something asked us to stop; `by` says what.

    Args:
        file: One that asks by being gone, for a process that no signal reaches.

    Example:
        >>> stop = Stop(Path("/nowhere/going"))
        >>> bool(stop), stop.by
        (True, 'a stop of the whole sweep')
    """

    def __init__(self, file: Path | None = None) -> None:
        self.by = ""
        self._file, self._looked = file, 0.0

    def __bool__(self) -> bool:
        if not self.by and self._file is not None and time.monotonic() - self._looked > LOOK_EVERY_S:
            self._looked = time.monotonic()
            self.by = "" if self._file.exists() else "a stop of the whole sweep"
        return bool(self.by)

    def __call__(self, number: int, _: Any) -> None:
        """A signal arrived; the same one again stops at once, while a scheduler may send several kinds."""
        name = signal.Signals(number).name
        if self.by == name:
            raise KeyboardInterrupt("stopped at once, at the second signal; the last resume point holds")
        self.by = self.by or name


@contextlib.contextmanager
def stop_signals(file: Path | None = None) -> Iterator[Stop]:
    """Turn the signals of `STOPPING` into a request, where they can be handled (the main thread)."""
    stop, previous = Stop(file), {}
    with contextlib.suppress(ValueError):
        for number in (getattr(signal, name) for name in STOPPING if hasattr(signal, name)):
            previous[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """Let this worker end when the process that started it does."""
    parent = parent_process()
    assert parent is not None, "only workers have a process that started them"

    def end_with_it() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_it, daemon=True).start()
