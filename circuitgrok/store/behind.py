"""Files written behind the trainer: one thread that does what it is given, in the order in which it was given.

Training goes on while bytes are packed, hashed, flushed and renamed. What depends on an earlier file is a later job of
the same thread, so the order of files on the disk is that of the jobs; a job that fails is the last that is done.
"""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

MOST_WAITING = 1 << 27  # bytes of tensors that may wait to be written
LOOK_EVERY_S = 0.2  # for a signal that came just before the wait: Python tells of it only when that ends
_LINE = 1 << 10  # what a job counts that holds no tensors: a line of a record


class Behind:
    """A thread that does jobs in order, as a context that ends when all are done.

    Args:
        most: Bytes that may wait; `give` waits before there are more. One job may be larger.

    Example:
        >>> done = []
        >>> with Behind() as behind:
        ...     for step in range(3):
        ...         behind.give(lambda step=step: done.append(step))
        >>> done
        [0, 1, 2]
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most, self._waiting, self._open, self._over = most, 0, True, False
        self._jobs: deque[tuple[Callable[[], object], int]] = deque()
        self._failed: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="circuitgrok writes")

    def give(self, job: Callable[[], object], size: int = 0) -> None:
        """Have a job done after all that were given before.

        Args:
            job: What is to be done; what it reads must not change any more.
            size: Bytes that it holds.

        Raises:
            Exception: What an earlier job raised; no job is done after that one.
        """
        size += _LINE
        with self._changed:
            self._changed.wait_for(lambda: self._failed or not self._waiting or self._waiting + size <= self._most)
            self._raise()
            self._jobs.append((job, size))
            self._waiting += size
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all that was given is done; raises what a job raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed or not self._waiting)
            self._raise()

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or not self._open)
                if not self._jobs:
                    self._over = True
                    self._changed.notify_all()
                    return
                job, size = self._jobs.popleft()
            failed = None
            try:
                job()
            except BaseException as error:
                failed = error
            del job  # and the tensors that it holds
            with self._changed:
                self._waiting -= size
                if failed is not None:
                    self._failed = failed
                    self._drop()
                self._changed.notify_all()

    def _drop(self) -> None:
        self._waiting -= sum(size for _, size in self._jobs)
        self._jobs.clear()

    def __enter__(self) -> "Behind":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do what still waits, also when the trainer failed; a signal meanwhile leaves out all but what is at work."""
        stopped: BaseException | None = None
        while not self._over:
            try:
                with self._changed:
                    self._open = False
                    if stopped is not None:
                        self._drop()
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._over, LOOK_EVERY_S)
            except KeyboardInterrupt as again:  # Python's own `join` takes an interrupted one for the thread's end
                stopped = again
        self._thread.join()
        if stopped is not None:
            raise stopped
        if error is None:
            self._raise()
