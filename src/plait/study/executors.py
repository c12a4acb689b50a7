"""How jobs are carried out: one after another here, or by several processes at once."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from plait.errors import PlaitError

T = TypeVar("T")


def inline(jobs: Sequence[T], work: Callable[[T], None], workers: int) -> Iterator[T]:
    """Do the jobs here, in order; yield each when it is done."""
    for job in jobs:
        work(job)
        yield job


def processes(jobs: Sequence[T], work: Callable[[T], None], workers: int) -> Iterator[T]:
    """Do the jobs in `workers` spawned processes, which end with this one; yield each when it is done.

    Raises:
        PlaitError: a process died, as when memory runs out. What the first failing job raised, otherwise.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)) or 1, mp_context=context, initializer=_worker) as pool:
        waiting = {pool.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        except BrokenProcessPool as error:
            raise PlaitError("a worker process died, perhaps for want of memory: try fewer --workers") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


EXECUTORS = {"inline": inline, "processes": processes}


def _worker() -> None:
    """A worker leaves interrupts to its parent, and ends when the parent does, however that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    watch = threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True)
    watch.start()
