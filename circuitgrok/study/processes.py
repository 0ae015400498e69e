"""Jobs side by side, for what an analysis does after training: measuring runs, sampling potentials."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from circuitgrok.training.progress import ticks
from circuitgrok.training.stopping import end_with_parent

Found = TypeVar("Found")


def in_processes(jobs: Sequence[Callable[[], Found]], n_processes: int, what: str, of: str) -> list[Found]:
    """What each job returns, in the order of the jobs, which run in processes of one torch thread each.

    With one thread each a job's numbers do not depend on how many run beside it. After an error no further job begins,
    and if this process ends, its workers do.

    Args:
        jobs: Picklable calls without arguments: `functools.partial` of a module's function.
        n_processes: How many run at the same time.
        what: What they do, for the line that says how far they are ("measuring").
        of: What a job is of, in the plural ("runs").

    Raises:
        Exception: What a job raised.

    Example:
        >>> import math
        >>> from functools import partial
        >>> in_processes([partial(math.sqrt, x) for x in (4.0, 9.0)], 2, "taking roots of", "numbers")
        [2.0, 3.0]
    """
    pool = ProcessPoolExecutor(n_processes, get_context("spawn"), _begin_worker)
    with ticks(what, of) as tick, pool:
        waiting, found = [pool.submit(job) for job in jobs], []
        try:
            for i, job in enumerate(waiting):
                found.append(job.result())
                tick(i + 1, len(waiting))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _begin_worker() -> None:
    import torch

    end_with_parent()
    torch.set_num_threads(1)
