"""The one door to dask: a scheduler that is reached at its address, and what it says when a worker has died."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from circuitgrok.errors import UserError
from circuitgrok.version import __version__

ANSWER_S = 10  # seconds for a scheduler to answer, and for a first worker to be there
DASK = "pip install 'circuitgrok[dask]'"


@contextlib.contextmanager
def dask_workers(address: str) -> Iterator[tuple[Executor, int]]:
    """An executor that hands out to the workers of a dask scheduler, and how many tasks they take at once.

    Args:
        address: Of the scheduler, as `dask scheduler` prints it: tcp://HOST:PORT.

    Raises:
        UserError: dask is not installed, nobody answers there, or the workers cannot do the work.
    """
    try:
        from distributed import Client  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(f"dask is not installed: `{DASK}`, here and where the workers are") from None
    try:
        _refuse_silence(address)
        client = Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        said = f"{error}".splitlines() or [type(error).__name__]
        raise UserError(
            f"no dask scheduler answers at {address!r} ({said[0][:200]}): `dask scheduler` starts one and prints its "
            f"address, such as tcp://10.0.0.1:8786"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=ANSWER_S)
        except OSError:
            raise UserError(
                f"the dask scheduler at {address} has no workers: start some by `dask worker {address} --nthreads 1`"
            ) from None
        told: Any = client.get_versions(packages=["circuitgrok"])
        threads: Any = client.nthreads()
        versions = {one["packages"].get("circuitgrok") for one in told["workers"].values()}
        if versions != {__version__}:
            said = ", ".join(sorted(version or "none" for version in versions))
            raise UserError(f"the workers at {address} need circuitgrok {__version__}, as it is here; they have {said}")
        yield client.get_executor(pure=False), sum(threads.values())


def _refuse_silence(address: str) -> None:
    """Refuse what takes connections and says nothing, for which dask would wait: a scheduler speaks first.

    Raises:
        OSError: Nobody is there, or nothing was said in time.
        ValueError: It is no address.
    """
    scheme, _, rest = address.rpartition("://")
    if scheme in ("", "tcp"):
        host, _, port = rest.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_S) as probe:
            if not probe.recv(1):
                raise OSError("it closed the connection")


def is_gone(executor: Executor) -> bool:
    """Whether an executor is dask's, and its scheduler is not reached any more: it has cancelled what it was given."""
    client = getattr(executor, "_client", None) if type(executor).__module__.startswith("distributed.") else None
    return client is not None and client.status not in ("running", "newly-created")


def is_lost_worker(error: Exception) -> bool:
    """Whether an executor's error says that a worker died, again and again, or was taken away."""
    if "distributed" not in sys.modules:
        return False
    from distributed.client import FutureCancelledError  # pyright: ignore[reportMissingImports]
    from distributed.scheduler import KilledWorker  # pyright: ignore[reportMissingImports]

    return isinstance(error, KilledWorker | FutureCancelledError)
