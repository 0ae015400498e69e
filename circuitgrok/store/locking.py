"""One run, one process: who is writing a run, told by a lock that the kernel frees when its holder dies."""

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from circuitgrok.canonical import canonical_json
from circuitgrok.errors import DamagedFile, RunError
from circuitgrok.store.files import open_plain, read_json, write_atomically


class LockedRun(RunError):
    """Another process is writing this run."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run's lock; the kernel frees it if this process dies.

    Raises:
        LockedRun: Another process holds it; the message says which, and since when.
        RunError: Locks do not work in this folder, so that nobody could keep another process from the run.
        DamagedFile: The lock is a link or a folder.
    """
    from filelock import FileLock, Timeout

    path.mkdir(parents=True, exist_ok=True)
    open_plain(path / ".lock", "ab").close()
    _refuse_without_locks(path)
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0.3)  # longer than `holder` takes to look
    except Timeout:
        raise LockedRun(f"{path} is being trained by {_holder_text(path)}; wait, or stop that process") from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        write_atomically(path / ".holder", canonical_json(mine).encode())
        yield
    finally:
        (path / ".holder").unlink(missing_ok=True)
        lock.release()


def _refuse_without_locks(path: Path) -> None:
    """Refuse a folder whose file system has no locks, which are all that keeps two processes from one run."""
    try:
        import fcntl
    except ImportError:  # Windows, where filelock locks otherwise
        return
    with open_plain(path / ".lock") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # held: they work
            return
        except OSError as error:
            raise RunError(
                f"{path}: locks do not work on this file system ({error.strerror}), so that two processes could train "
                f"one run: put the runs on another disk, and move them afterwards"
            ) from None


def holder(path: Path) -> bool:
    """Whether some process holds the run's lock now; where a lock cannot be looked at, nobody does."""
    try:
        import fcntl
    except ImportError:  # Windows
        return _holder_by_lock(path)
    try:
        with open_plain(path / ".lock") as file:  # to read: the run may be on a disk that is not ours to write
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, DamagedFile):
        return False
    return False


def _holder_by_lock(path: Path) -> bool:
    from filelock import FileLock, Timeout

    if not (path / ".lock").exists():
        return False
    try:
        with FileLock(path / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _holder_text(path: Path) -> str:
    try:
        who = read_json(path / ".holder")
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, DamagedFile, KeyError, TypeError):
        return "another process"
